//! What every reconcile is given.

use std::{collections::HashSet, ops::Deref, sync::Arc, time::Duration};

use kube::{Client, ResourceExt, runtime::reflector::Store};
use tokio::sync::watch;

use crate::{
    allowlist::alibaba_cloud::OperatorIdentity,
    api::{Reindex, SearchCluster},
    controller::{
        events::Events, failures::Failures, own_writes::OwnWrites, proofs::Proofs,
        public_authorities::PublicAuthorities, read_once::ReadOnce,
    },
    plan::scope::Scope,
    search::Connections,
    telemetry::metrics::Metrics,
};

/// What one reconcile works with: what all share, and what it has asked.
pub struct Context {
    shared: Arc<Shared>,
    /// What it has asked, once.
    pub read: ReadOnce,
}

/// Shared by all reconciles of both kinds.
pub struct Shared {
    /// Talks to the apiserver.
    pub client: Client,
    /// Where events are told.
    pub events: Events,
    /// Every Reindex that is worked on, as the watch last told; for waking and for wishes, never for the gate.
    pub reindexes: Store<Reindex>,
    /// Every SearchCluster that is worked on, as the watch last told.
    pub clusters: Store<SearchCluster>,
    /// The namespaces that the operator works in.
    pub scope: Scope,
    /// The operator's own identity at Alibaba Cloud.
    pub operator_identity: OperatorIdentity,
    /// The certificate authorities of the operator's image.
    pub public_authorities: PublicAuthorities,
    /// Connections to the search clusters.
    pub connections: Connections,
    /// Comparisons of documents that go on.
    pub proofs: Proofs,
    /// Whether the operator is about to be uninstalled: see [`wind_down`](crate::plan::wind_down).
    pub winding_down: watch::Receiver<bool>,
    /// What a pass waits for.
    pub pauses: Pauses,
    /// What was written of Reindexes and the watch has not told yet.
    pub own_writes: OwnWrites,
    /// Passes that failed.
    pub failures: Failures,
    /// Counters.
    pub metrics: Metrics,
}

/// For how long a pass waits for what an engine does by itself. Engines in memory, which do it at once, need no pauses.
pub struct Pauses {
    /// For a task that was just started: a small copy is done by then, and its number need not be written.
    pub task: Duration,
    /// For an engine's clock, which moves every 200 ms (`thread_pool.estimated_time_interval`).
    pub clock: Duration,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses { task: Duration::from_millis(100), clock: Duration::from_millis(250) }
    }
}

impl Context {
    /// That of a reconcile that begins.
    pub fn new(shared: Arc<Shared>) -> Context {
        Context { shared, read: ReadOnce::default() }
    }
}

impl Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// UIDs of the Reindexes that are worked on.
    pub fn known(&self) -> HashSet<String> {
        self.reindexes.state().iter().filter_map(|reindex| reindex.uid()).collect()
    }
}
