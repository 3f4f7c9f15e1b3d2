//! The controller of Reindexes.
//!
//! One pass of [`reconcile`]:
//! 1. observe: look at what this stage needs (I/O)
//! 2. decide: what follows (pure, `plan::reindex`)
//! 3. write: the new status, which holds the intent, under the resourceVersion that was read (I/O)
//! 4. act: do it, and write what came of it (I/O)
//!
//! Passes follow one another until one says to wait.

mod act;
mod allowlist;
mod cleanup;
mod convert;
mod gate;
mod mend;
mod observe;
mod preflight;
mod prove;
mod repair;
mod sides;
mod survey;
mod too_large;
mod validate;
mod writing;

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    runtime::controller::Action,
};
use serde_json::json;

use crate::{
    api::{FIELD_MANAGER, FINALIZER, Reindex},
    plan::reindex::{self as plan, Decision, Observation, Requeue, Stage, stage},
};

use super::{context::Context, error::Error, events, status};

/// More passes than a Reindex has stages: a loop that turns this often would turn for ever.
const MAX_PASSES: usize = 12;

/// Brings one Reindex as far as it goes now.
///
/// # Errors
/// Trouble with the apiserver, or a conflict: both are tried again.
pub async fn reconcile(reindex: Arc<Reindex>, ctx: Arc<Context>) -> Result<Action, Error> {
    let mut reindex = Arc::unwrap_or_clone(reindex);
    if reindex.metadata.deletion_timestamp.is_some() {
        ctx.proofs.stop(&reindex.uid().unwrap_or_default());
        return cleanup::cleanup(&ctx, &reindex).await;
    }
    for _ in 0..MAX_PASSES {
        match pass(&ctx, &mut reindex).await? {
            Requeue::Now => {}
            Requeue::After(wait) => return Ok(Action::requeue(wait)),
            Requeue::OnChange => return expire(&ctx, &reindex).await,
        }
    }
    Ok(Action::requeue(Duration::from_secs(1)))
}

/// Deletes an object whose time is over, or waits for that.
async fn expire(ctx: &Context, reindex: &Reindex) -> Result<Action, Error> {
    match plan::time_to_live(reindex, Timestamp::now()) {
        None => Ok(Action::await_change()),
        Some(left) if !left.is_zero() => Ok(Action::requeue(left)),
        Some(_) => {
            let api: Api<Reindex> = Api::namespaced(ctx.client.clone(), &reindex.namespace().unwrap_or_default());
            // Another one of its name has a time of its own.
            let preconditions = Preconditions { uid: reindex.uid(), resource_version: reindex.resource_version() };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            api.delete(&reindex.name_any(), &params)
                .await
                .map_err(Error::kube("delete a Reindex whose time is over"))?;
            let (namespace, name) = (reindex.namespace(), reindex.name_any());
            tracing::info!(kind = "Reindex", namespace, name, "deleted: its time is over");
            Ok(Action::await_change())
        }
    }
}

async fn pass(ctx: &Context, reindex: &mut Reindex) -> Result<Requeue, Error> {
    let stage = stage(reindex);
    // Held only while a task may run or settings are changed, so that nothing else can hold a deletion up.
    let owes = matches!(
        stage,
        Stage::Survey | Stage::Copy | Stage::Repair | Stage::Restore | Stage::Resume | Stage::Verify | Stage::Release
    );
    set_finalizer(ctx, reindex, owes).await?;
    if stage != Stage::Verify {
        ctx.proofs.stop(&reindex.uid().unwrap_or_default());
    }
    let seen = observe::observe(ctx, reindex, stage).await?;
    if !needs_proof(&seen) {
        ctx.proofs.stop(&reindex.uid().unwrap_or_default());
    }
    let decision = plan::decide(reindex, seen, Timestamp::now());
    let effect = decision.effect.clone();
    let requeue = follow(ctx, reindex, decision).await?;
    let Some(effect) = effect else { return Ok(requeue) };
    match act::act(ctx, reindex, effect).await? {
        Some(outcome) => {
            let decision = plan::settle(reindex, outcome, Timestamp::now());
            follow(ctx, reindex, decision).await
        }
        None => Ok(requeue),
    }
}

/// Whether a comparison of documents goes on after this was seen, or its outcome is still wanted: the status may have to be written twice.
fn needs_proof(seen: &Observation) -> bool {
    matches!(
        seen,
        Observation::Proving(_) | Observation::Verify(_) | Observation::Trouble(_) | Observation::GateClosed(_)
    )
}

/// Writes the status, then tells people: an event never speaks of what was not written.
async fn follow(ctx: &Context, reindex: &mut Reindex, decision: Decision) -> Result<Requeue, Error> {
    if let Some(written) =
        status::write(&ctx.client, reindex, &decision.status).await.map_err(Error::kube("write the status"))?
    {
        *reindex = written;
    }
    for note in decision.notes {
        events::tell(ctx, reindex, note).await;
    }
    Ok(decision.requeue)
}

/// Sets or removes the finalizer, where that changes anything.
async fn set_finalizer(ctx: &Context, reindex: &mut Reindex, wanted: bool) -> Result<(), Error> {
    let mut finalizers = reindex.finalizers().to_vec();
    if finalizers.iter().any(|finalizer| finalizer == FINALIZER) == wanted {
        return Ok(());
    }
    match wanted {
        true => finalizers.push(FINALIZER.to_owned()),
        false => finalizers.retain(|finalizer| finalizer != FINALIZER),
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": reindex.resource_version()}});
    let api: Api<Reindex> = Api::namespaced(ctx.client.clone(), &reindex.namespace().unwrap_or_default());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    *reindex = api
        .patch(&reindex.name_any(), &params, &Patch::Merge(patch))
        .await
        .map_err(Error::kube("set the finalizer"))?;
    Ok(())
}
