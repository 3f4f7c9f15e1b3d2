//! What every reconcile is given.

use std::collections::HashSet;

use kube::{Client, ResourceExt, runtime::reflector::Store};

use crate::{
    allowlist::alibaba_cloud::OperatorIdentity,
    api::{Reindex, SearchCluster},
    controller::{events::Events, own_writes::OwnWrites, proofs::Proofs, public_authorities::PublicAuthorities},
    plan::scope::Scope,
    search::Connections,
    telemetry::metrics::Metrics,
};

/// Shared by all reconciles of both kinds.
pub struct Context {
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
    /// What was written of Reindexes and the watch has not told yet.
    pub own_writes: OwnWrites,
    /// Counters.
    pub metrics: Metrics,
}

impl Context {
    /// UIDs of the Reindexes that are worked on.
    pub fn known(&self) -> HashSet<String> {
        self.reindexes.state().iter().filter_map(|reindex| reindex.uid()).collect()
    }
}
