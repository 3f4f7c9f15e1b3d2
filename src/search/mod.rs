//! Client for the HTTP API of Elasticsearch and OpenSearch: one file an API area, wire types that tolerate unknown
//! fields, and an error that knows what may be retried and what may be shown.
//!
//! | module | what it covers |
//! |---|---|
//! | [`connect`] | address and trust; the [`SearchClient`] |
//! | [`credentials`] | how it is let in |
//! | [`cluster`] | who the cluster is, its health, nodes and shards |
//! | [`index`] | definitions, documents counted, sequence numbers |
//! | [`documents`] | versions of single documents on either side |
//! | [`scan`] | every document behind a name, a page at a time, and single ones by id |
//! | [`reindex`] | starting a remote `_reindex`, and the harmless probe of one |
//! | [`writing`] | what becomes of a document on its way |
//! | [`ingest`] | ingest pipelines |
//! | [`tasks`] | following, finding and cancelling tasks |
//! | [`settings`] | shard allocation and voting around a node's restart; refresh and replicas while an index is filled |
//! | [`room`] | disks, numbers of shards, blocks, clocks |
//! | [`template`] | what would become of an index that is created |
//! | [`privileges`] | what the user may do |
//! | [`survey`] | how large documents are, how they spread, what the nodes can take |
//! | [`error`] | [`SearchError`] |
//!
//! Every call is one HTTP request with a deadline; nothing here retries, caches or sleeps. Callers decide that from
//! [`SearchError::is_retryable`].

pub mod cluster;
pub mod connect;
pub mod credentials;
pub mod documents;
pub mod error;
pub mod index;
pub mod ingest;
pub mod privileges;
pub mod reindex;
pub mod room;
pub mod scan;
pub mod settings;
pub mod survey;
pub mod tasks;
pub mod template;
pub mod writing;

mod fault;
mod name;
mod request;

pub use cluster::{ClusterInfo, Distribution, Health, HealthStatus, NodeInfo, ShardCopy, Version};
pub use connect::{Connection, Connections, SearchClient, Tls, authorities, system_authorities};
pub use credentials::{ApiKey, Credentials, InvalidApiKey};
pub use documents::{DocumentVersion, VersionPages};
pub use error::{Rejection, SearchError, TlsFault};
pub use index::{AliasDefinition, IndexDefinition, ShardPosition};
pub use reindex::{ProbeVerdict, ReindexRequest, RemoteSource};
pub use request::{Exchange, Watcher};
pub use room::{ClusterLimits, IndexSize, NodeDisk, Watermark};
pub use scan::{Hit, Pages, Scan};
pub use settings::{AllocationEnable, BulkLoadSettings};
pub use survey::NodeCapacity;
pub use tasks::{
    RunningTask, TaskError, TaskErrorClass, TaskFailure, TaskId, TaskResponse, TaskRetries, TaskState, TaskStatus,
};
pub use template::{IndexTemplate, LegacyTemplate, TemplateBody};
pub use writing::{Script, Writing};
