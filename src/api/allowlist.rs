//! `SearchCluster.status.allowlist`: what is allowed, what is wanted, and the one change that is on its way.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest list of entries that a status holds.
pub const MAX_ENTRIES: usize = 256;

/// The allowlist of reindex sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowlistStatus {
    /// The setting's name on this cluster.
    pub key: String,
    /// Entries (`host:port`, globs allowed) that every node has loaded.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub effective: Vec<String>,
    /// Entries that the operator added to the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub managed: Vec<String>,
    /// Entries that the operator took out of the configuration again, and that are in effect until nodes restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub removed: Vec<String>,
    /// Entries that Reindexes need, with those that need them; 32 entries at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub needs: Vec<EntryNeeds>,
    /// Nodes that lack entries which other nodes have loaded; ten nodes at most. Absent where all nodes have loaded the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub lacking: Vec<NodeLacks>,
    /// Entries that Reindexes need and that are not effective yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub pending: Vec<String>,
    /// The exact text to add to the configuration by hand, where the operator doesn't do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// Trust in sources, where `allowlist.trustSource` is set and a Reindex reads by TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustStatus>,
    /// The change that is on its way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
}

/// Who needs an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryNeeds {
    /// The entry.
    pub entry: String,
    /// How many Reindexes need it.
    pub count: i32,
    /// Ten of them, as `namespace/name`.
    #[schemars(length(max = 10))]
    pub reindexes: Vec<String>,
}

/// What a node has not loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeLacks {
    /// Name of the node.
    pub node: String,
    /// Ten of the entries that it lacks.
    #[schemars(length(max = 10))]
    pub entries: Vec<String>,
}

/// Whether the nodes trust the certificate authorities of sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustStatus {
    /// The ConfigMap of this namespace that holds the authorities.
    pub config_map: String,
    /// Sources whose authorities it holds, as `namespace/name`; ten at most.
    #[schemars(length(max = 10))]
    pub sources: Vec<String>,
    /// Every node has been started with the setting that reads the ConfigMap, as far as these sources need that.
    pub effective: bool,
    /// Sources whose authorities it does without, and why; ten at most. Their entries are allowed all the same, and nobody else waits for
    /// them. One that is mended is added by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub left_out: Vec<LeftOut>,
}

/// A source whose authority the nodes are not made to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Its SearchCluster, as `namespace/name`.
    pub source: String,
    /// Why, as one of `AuthorityUnknown`, `NotPermitted` and `TooManyAuthorities`.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
}

/// One change of the allowlist: frozen before anything is touched, later needs form the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Identity: a hash of what is changed and restarted.
    pub id: String,
    /// The entries that it adds.
    #[schemars(length(max = 256))]
    pub entries: Vec<String>,
    /// Entries that it takes out, as no Reindex needs them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub removes: Vec<String>,
    /// The ConfigMap with authorities of sources that it has the nodes trust; absent where it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// How far it is.
    pub phase: BatchPhase,
    /// The generation of the SearchCluster for which it was made; a failed one is tried again after the next edit of the spec.
    pub generation: i64,
    /// Those of them that no configuration held before; only they are taken out again when it fails. Absent until the edit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub added: Option<Vec<String>>,
    /// When it was frozen.
    pub started_at: Time,
    /// When it ended, one way or the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// When the configuration was edited; nodes are restarted some seconds later, when the edit has spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Time>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Shards that were unassigned before; the restart may leave no others.
    #[serde(default)]
    pub unassigned_before: i32,
    /// What the operator changed on the cluster around the node that restarts, to be put back on every exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrowed: Option<Borrowed>,
    /// Nodes that have loaded the entries, where somebody else restarts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<i32>,
    /// When that number last grew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<Time>,
    /// How the cloud that runs the cluster knows the change. Absent until it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_change: Option<CloudChange>,
    /// The nodes that the operator restarts, in order; the elected master last. Empty where somebody else restarts them.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub nodes: Vec<BatchNode>,
}

/// A change that a cloud accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudChange {
    /// Id of the request, under which the change is recorded.
    pub request_id: String,
    /// When the instance had been changed last before, as the cloud tells it.
    pub updated_at_before: String,
}

/// Cluster settings that were changed for the time of a node's restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Borrowed {
    /// `cluster.routing.allocation.enable` (persistent) as it was before; absent if it wasn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_enable: Option<String>,
    /// The node was put into the voting configuration exclusions.
    #[serde(default)]
    pub voting_exclusion: bool,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum BatchPhase {
    /// Nothing is touched: it waits for somebody's approval, or for the maintenance window.
    Proposed,
    /// No copy may start on this cluster; those that run are waited for.
    Draining,
    /// The configuration is being edited.
    Editing,
    /// Nodes restart one by one.
    Restarting,
    /// The configuration was changed; whoever runs the cluster brings it to the nodes.
    RollingOut,
    /// It failed: what was changed is being put back.
    RollingBack,
    /// Every node has loaded it.
    Done,
    /// Stopped. Where the operator restarts nodes, what was changed is put back; where somebody else does, the configuration is left
    /// as it is: taking the entries out again would restart every node once more.
    Failed,
}

impl BatchPhase {
    /// While a batch is in this phase no copy may start on the cluster.
    pub fn closes_the_gate(self) -> bool {
        match self {
            BatchPhase::Draining
            | BatchPhase::Editing
            | BatchPhase::Restarting
            | BatchPhase::RollingOut
            | BatchPhase::RollingBack => true,
            BatchPhase::Proposed | BatchPhase::Done | BatchPhase::Failed => false,
        }
    }
}

/// One node of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchNode {
    /// The pod.
    pub pod: String,
    /// The node's name in the search cluster.
    pub name: String,
    /// The node's persistent id; a node that comes back with another has lost its data.
    pub id: String,
    /// The pod's UID before the restart.
    #[serde(rename = "podUID")]
    pub pod_uid: String,
    /// How far it is.
    pub state: NodeState,
    /// When the restart was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// How far a node of a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum NodeState {
    /// Not yet its turn.
    Pending,
    /// It restarts; never begun twice in one batch.
    Restarting,
    /// It is back with the new configuration.
    Done,
}
