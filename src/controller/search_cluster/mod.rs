//! The controller of SearchClusters.
//!
//! One pass of [`reconcile`]:
//! 1. observe: look at the cluster; closely, where its allowlist may have to change. Authorities of sources are kept in a ConfigMap of
//!    our own on the way, which has to hold them before any node may be told to read it (I/O)
//! 2. decide: what is reported, and the next step of a change (pure, `plan::search_cluster`)
//! 3. write: the new status, which holds the intent, under the resourceVersion that was read (I/O)
//! 4. act: edit, restart or put back (I/O)

mod act;
mod observe;
mod trust;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;

use crate::{
    api::SearchCluster,
    plan::search_cluster::{self as plan, is_open},
};

use super::{context::Context, error::Error, events, finalizer, status};

/// Brings one SearchCluster one step on.
///
/// # Errors
/// Trouble with the apiserver or the cluster, or a conflict: all are tried again.
pub async fn reconcile(cluster: Arc<SearchCluster>, ctx: Arc<Context>) -> Result<Action, Error> {
    let mut cluster = Arc::unwrap_or_clone(cluster);
    if cluster.metadata.deletion_timestamp.is_some() && (!is_open(cluster.status.as_ref()) || is_overdue(&cluster)) {
        finalizer::set(&ctx.client, &mut cluster, false).await?;
        return Ok(Action::await_change());
    }
    let seen = observe::observe(&ctx, &cluster).await?;
    let decision = plan::decide(&cluster, &seen, Timestamp::now());
    // Held only while there is something to be put back.
    let is_open = is_open(Some(&decision.status));
    // One that is deleted takes no finalizer any more.
    if !is_open || cluster.metadata.deletion_timestamp.is_none() {
        finalizer::set(&ctx.client, &mut cluster, is_open).await?;
    }
    if let Some(written) =
        status::write(&ctx.client, &cluster, &decision.status).await.map_err(Error::kube("write the status"))?
    {
        cluster = written;
    }
    for note in decision.notes {
        events::tell(&ctx, &cluster, note);
    }
    if let Some(effect) = decision.effect {
        act::act(&ctx, &cluster, effect).await?;
    }
    Ok(Action::requeue(decision.requeue))
}

/// A deletion waits two minutes for what is to be put back, no longer.
fn is_overdue(cluster: &SearchCluster) -> bool {
    let since = cluster.metadata.deletion_timestamp.as_ref();
    since.is_some_and(|since| Timestamp::now().duration_since(since.0) >= crate::plan::cleanup::PATIENCE)
}
