//! Where the allowlist is kept and how it is changed, one file for each provider.
//!
//! - [`provider`]: the provider of a SearchCluster, which is one of the following
//! - [`stateful_sets`]: a ConfigMap that StatefulSets mount; nodes restart by eviction
//! - [`eck`]: an Elasticsearch object of Elastic Cloud on Kubernetes, which restarts the nodes
//! - [`open_search_operator`]: an OpenSearchCluster object of the OpenSearch operator, which restarts the nodes
//! - [`alibaba_cloud`]: a managed instance; the vendor restarts the nodes
//! - [`object`]: such an object, read and patched
//! - [`setting`]: the edit of a setting in such an object
//! - [`sources`]: what has nodes read the authorities of sources, in such an object
//! - [`config_text`]: the edit of an `elasticsearch.yml`, which keeps every other byte
//! - [`gitops`]: whether somebody else applies an object again and again
//!
//! The provider `none` has no file: nothing can be changed, a person is told what to do.

pub mod alibaba_cloud;
pub mod config_text;
pub mod eck;
pub mod gitops;
pub mod object;
pub mod open_search_operator;
pub mod provider;
pub mod setting;
pub mod sources;
pub mod stateful_sets;
