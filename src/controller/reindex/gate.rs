//! What keeps a copy from starting: the gate, which is closed while a cluster is about to restart or restarts, and another Reindex that
//! fills the same index.

use kube::ResourceExt;

use crate::{
    api::{Reindex, ReindexStatus, SearchCluster},
    controller::{context::Context, error::Error, scope},
    plan::{
        reindex::{DESTINATION_BUSY, comes_first},
        validate::Trouble,
        words::full_name,
    },
};

/// The SearchCluster that keeps this copy from starting, as the apiserver has it now.
pub async fn closed(ctx: &Context, status: &ReindexStatus) -> Result<Option<String>, Error> {
    let live = scope::list(&ctx.client, &ctx.scope, "read the gates of the SearchClusters").await?;
    Ok(live.iter().find(|cluster| keeps_from_starting(cluster, status)).map(full_name))
}

/// The same as the watch last told: where it is closed the intent to start needs not be written, only to be withdrawn.
pub fn seen_closed(ctx: &Context, status: &ReindexStatus) -> Option<String> {
    ctx.clusters
        .state()
        .iter()
        .find(|cluster| keeps_from_starting(cluster, status))
        .map(|cluster| full_name(cluster.as_ref()))
}

/// Any SearchCluster that stands for the source's or the destination's UUID.
fn keeps_from_starting(cluster: &SearchCluster, reindex: &ReindexStatus) -> bool {
    let source = reindex.source.as_ref().map(|source| &source.cluster_uuid);
    let destination = reindex.destination.as_ref().map(|destination| &destination.cluster_uuid);
    let Some(status) = &cluster.status else { return false };
    let Some(uuid) = &status.cluster_uuid else { return false };
    let batch = status.allowlist.as_ref().and_then(|allowlist| allowlist.batch.as_ref());
    [source, destination].contains(&Some(uuid)) && batch.is_some_and(|batch| batch.phase.closes_the_gate())
}

/// Another Reindex, of these, that must end before this one may write into the destination index.
pub fn busy<'a>(reindex: &Reindex, mut all: impl Iterator<Item = &'a Reindex>) -> Option<Trouble> {
    all.find(|other| comes_first(other, reindex)).map(|other| Trouble {
        reason: DESTINATION_BUSY,
        message: format!(
            "Reindex {}/{} has the same destination index {} and came first: it must end before this one goes on",
            other.namespace().unwrap_or_default(),
            other.name_any(),
            reindex.spec.destination.index
        ),
    })
}
