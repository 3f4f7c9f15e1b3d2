//! The controller of SearchClusters.
//!
//! One pass of [`reconcile`], of one that is not deleted, or that something holds:
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
    plan::{
        cleanup::{PAUSE, has_finalizer, is_overdue},
        search_cluster::{
            self as plan,
            deletion::{Deletion, deletion, held_by},
            is_open,
        },
    },
};

use super::{
    context::{Context, Shared},
    error::Error,
    events, finalizer, scope, status,
};

/// Brings one SearchCluster one step on.
///
/// # Errors
/// Trouble with the apiserver or the cluster, or a conflict: all are tried again.
pub async fn reconcile(cluster: Arc<SearchCluster>, shared: Arc<Shared>) -> Result<Action, Error> {
    let ctx = Context::new(shared);
    let mut cluster = Arc::unwrap_or_clone(cluster);
    let held_by = holders(&ctx, &cluster).await?;
    if let Some(Deletion::Release(note)) = deletion(&cluster, &held_by, Timestamp::now()) {
        events::tell(&ctx, &cluster, note.filter(|_| has_finalizer(&cluster)));
        finalizer::set(&ctx.client, &mut cluster, false).await?;
        return Ok(Action::await_change());
    }
    let is_deleted = cluster.metadata.deletion_timestamp.is_some();
    // Before calls that may take long. One that is deleted takes no finalizer any more.
    if !held_by.is_empty() && !is_deleted {
        finalizer::set(&ctx.client, &mut cluster, true).await?;
    }
    let seen = observe::observe(&ctx, &cluster).await?;
    let decision = plan::decide(&cluster, &seen, Timestamp::now());
    // Held only while there is something to be put back.
    let is_held = is_open(Some(&decision.status)) || !held_by.is_empty();
    if !is_held || !is_deleted {
        finalizer::set(&ctx.client, &mut cluster, is_held).await?;
    }
    if let Some(written) =
        status::write(&ctx.client, &cluster, &decision.status).await.map_err(Error::kube("write the status"))?
    {
        cluster = written;
    }
    events::tell(&ctx, &cluster, decision.notes);
    if let Some(effect) = decision.effect {
        act::act(&ctx, &cluster, effect).await?;
    }
    // Whoever deletes it waits.
    let requeue = if is_deleted { decision.requeue.min(PAUSE) } else { decision.requeue };
    Ok(Action::requeue(requeue))
}

/// Reindexes that hold it: as the apiserver has them where it would go, or lose its finalizer, without any, since a cache that is not filled
/// yet knows none.
async fn holders(ctx: &Context, cluster: &SearchCluster) -> Result<Vec<String>, Error> {
    let known = held_by(cluster, ctx.reindexes.state().iter().map(AsRef::as_ref));
    if !known.is_empty() || !has_finalizer(cluster) {
        return Ok(known);
    }
    match scope::list(&ctx.client, &ctx.scope, "list the Reindexes").await {
        Ok(live) => Ok(held_by(cluster, &live)),
        // Deleting always ends.
        Err(_) if is_overdue(cluster, Timestamp::now()) => Ok(known),
        Err(error) => Err(error),
    }
}
