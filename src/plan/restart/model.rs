//! What a change of the allowlist is decided from, and what it is made of.

use std::collections::BTreeSet;

use crate::{
    api::{Batch, BatchNode, allowlist::Borrowed},
    plan::allowlist::Change,
};

/// A node of the search cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Persistent id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Its IP, which is its pod's.
    pub ip: String,
    /// It may vote and be elected.
    pub master_eligible: bool,
    /// Entries that it has loaded.
    pub allowlist: Vec<String>,
    /// ConfigMaps with authorities of sources that it was started to read.
    pub sources: Vec<String>,
    /// Where it keeps its data.
    pub path_data: Vec<String>,
}

/// A copy of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its index.
    pub index: String,
    /// Its number.
    pub number: u32,
    /// Whether it is the primary.
    pub primary: bool,
    /// Whether it can be read.
    pub started: bool,
    /// Id of its node.
    pub node: Option<String>,
}

/// The search cluster, looked at closely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Id of the elected master.
    pub master: String,
    /// Its shards.
    pub shards: Vec<Shard>,
    /// Indices whose replicas an unfinished Reindex has switched off. Nobody else needs them yet, and it waits while nodes restart.
    pub filling: BTreeSet<String>,
    /// Shards that are being made or moved.
    pub moving: i64,
    /// Shards without a node.
    pub unassigned: i64,
    /// `cluster.routing.allocation.enable`, persistent.
    pub allocation_enable: Option<String>,
    /// The same as a transient setting, which would override ours.
    pub transient_allocation: Option<String>,
    /// Reindex tasks that run on it, whoever started them.
    pub tasks: usize,
}

/// One node pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its StatefulSet.
    pub stateful_set: String,
    /// Replicas that are declared; None if the StatefulSet does not exist.
    pub replicas: Option<i32>,
    /// A rollout has begun and not ended, or waits for somebody.
    pub rolling_out: bool,
    /// Its configuration: `configmap/key`.
    pub config: String,
    /// Who applies that again and again.
    pub owner: Option<String>,
    /// Entries in the configuration, or why it can't be edited.
    pub entries: Result<Vec<String>, String>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// A pod of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// UID; a new one is a new pod.
    pub uid: String,
    /// IP.
    pub ip: Option<String>,
    /// It is ready, and not on its way out.
    pub ready: bool,
    /// Paths in its container that survive the pod.
    pub durable_paths: Vec<String>,
}

/// Why a change does not go on right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Reason of a condition.
    pub reason: &'static str,
    /// What is in the way, and what to do.
    pub message: String,
    /// It passes by itself, or by what somebody does anyway; else a person must act.
    pub passes: bool,
}

impl Blocked {
    /// A person must act.
    pub fn by(reason: &'static str, message: String) -> Blocked {
        Blocked { reason, message, passes: false }
    }

    /// It is waited for.
    pub fn passing(reason: &'static str, message: String) -> Blocked {
        Blocked { reason, message, passes: true }
    }
}

/// What a person allowed beyond the careful default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// `allowlist.allowUnavailable`.
    pub unavailable: bool,
    /// `allowlist.interruptRunning`.
    pub interrupt: bool,
    /// `allowlist.overrideGitOps`.
    pub override_git_ops: bool,
}

/// What is seen while a batch is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The search cluster; None while it can't be reached.
    pub view: Option<View>,
    /// The node pools.
    pub pools: Vec<Pool>,
    /// Copies into or out of the cluster that run, by name; read from the apiserver, not from a cache.
    pub copies: Vec<String>,
    /// The SearchCluster is being deleted.
    pub deleting: bool,
}

/// What is done after the batch was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make the batch's change of the configuration.
    Edit(Change),
    /// Keep replicas where they are, flush, take the node out of the vote if need be, and evict its pod.
    Restart(BatchNode, Borrowed),
    /// Put back what was changed on the cluster.
    GiveBack(Borrowed),
    /// Take back the change of the configuration by its opposite, and put back what was changed on the cluster.
    RollBack(Change, Option<Borrowed>),
    /// Edit the configuration without a restart: take out what nobody needs any more, or put back what is needed again.
    Tidy(Change),
}

/// The next state of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The batch; None if it was given up before anything was touched.
    pub batch: Option<Batch>,
    /// What is done then.
    pub effect: Option<Effect>,
    /// What it waits for or does.
    pub doing: Blocked,
}
