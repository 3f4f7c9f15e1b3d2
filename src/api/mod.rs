//! The custom resources of the group `reindex.dev`: what a person writes and what the operator answers.
//!
//! Types, their doc comments (which become `kubectl explain`), validation rules and condition names. Nothing here talks to
//! anything: serde only.

pub mod allowlist;
pub mod conditions;
pub mod crd;
pub mod reindex;
pub mod reindex_status;
mod schema;
pub mod search_cluster;
pub mod writing;

pub use allowlist::{AllowlistStatus, Batch, BatchNode, BatchPhase, NodeState};
pub use reindex::{Reindex, ReindexSpec};
pub use reindex_status::ReindexStatus;
pub use search_cluster::{SearchCluster, SearchClusterSpec, SearchClusterStatus};

use kube::api::PostParams;
use serde::{Deserialize, Serialize};

/// The API group of every kind here.
pub const GROUP: &str = "reindex.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// Keeps a `Reindex` until its task on the destination is cancelled, and a `SearchCluster` until its restart, and the
/// Reindexes that write to it, are put back.
pub const FINALIZER: &str = "reindex.dev/cleanup";

/// The annotation of a SearchCluster that approves of the change with this id.
pub const APPROVAL: &str = "reindex.dev/approve-allowlist";
/// The field manager of every write.
pub const FIELD_MANAGER: &str = "reindex-operator";

/// With its name: how an object is created, or written whole.
pub fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// Names a SearchCluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// Name of the SearchCluster.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the SearchCluster. Default: the namespace of the object that holds this reference. Another namespace's
    /// SearchCluster must admit this one under `spec.access`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

impl ClusterRef {
    /// The namespace that is meant when the reference stands in an object of `own`.
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }

    /// Whether it names this SearchCluster, where it stands in an object of `own`.
    pub fn names(&self, own: &str, cluster: &SearchCluster) -> bool {
        Some(&self.name) == cluster.metadata.name.as_ref()
            && Some(self.namespace_or(own)) == cluster.metadata.namespace.as_deref()
    }
}
