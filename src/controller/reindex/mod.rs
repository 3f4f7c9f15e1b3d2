//! The controller of Reindexes.
//!
//! One pass of [`reconcile`]:
//! 1. observe: look at what this stage needs (I/O)
//! 2. decide: what follows (pure, `plan::reindex`)
//! 3. write: the new status, which holds the intent, under the resourceVersion that was read (I/O); what nothing follows from but the next
//!    look is written with what comes next ([`Draft`])
//! 4. act: do it, and write what came of it (I/O); that a task was started may wait for a moment, to be written with what came of the task
//!
//! Passes follow one another until one says to wait, or until something was done and written: then others have their turn.

mod act;
mod allowlist;
mod cleanup;
mod convert;
mod draft;
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

use std::{pin::pin, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
    runtime::controller::Action,
};
use tokio::time::{sleep, timeout};

use crate::{
    api::Reindex,
    plan::reindex::{self as plan, Effect, Observation, Outcome, Requeue, Stage, stage},
    telemetry::waits::waiting,
};

use super::{
    context::{Context, Shared},
    error::Error,
};

use draft::Draft;

/// Passes in one go; then others have their turn.
const MAX_PASSES: usize = 12;
/// How long people see nothing of what was decided, while the next look goes on.
const SOON: Duration = Duration::from_secs(1);

/// Brings one Reindex as far as it goes now.
///
/// # Errors
/// Trouble with the apiserver, or a conflict: both are tried again.
pub async fn reconcile(reindex: Arc<Reindex>, shared: Arc<Shared>) -> Result<Action, Error> {
    let ctx = Context::new(shared);
    if reindex.metadata.deletion_timestamp.is_some() {
        ctx.proofs.stop(&reindex.uid().unwrap_or_default());
        return cleanup::cleanup(&ctx, &reindex).await;
    }
    let mut draft = Draft::of(Arc::unwrap_or_clone(reindex));
    let ended = passes(&ctx, &mut draft).await;
    // What was decided before an error stands; what could not be written does not: nobody has acted on it.
    let written = match draft.is_refused() {
        true => Ok(()),
        false => draft.write(&ctx).await,
    };
    let requeue = ended?;
    written?;
    match requeue {
        // As a rule what was written wakes it before.
        Requeue::Now | Requeue::Shortly => Ok(Action::requeue(Duration::from_secs(1))),
        Requeue::After(wait) => Ok(Action::requeue(wait)),
        Requeue::OnChange => expire(&ctx, draft.reindex()).await,
    }
}

async fn passes(ctx: &Context, draft: &mut Draft) -> Result<Requeue, Error> {
    for _ in 0..MAX_PASSES {
        // It is large, and would be part of all that is around it.
        match Box::pin(pass(ctx, draft)).await? {
            Requeue::Now if draft.is_through() => return Ok(Requeue::Now),
            Requeue::Now => {}
            Requeue::Shortly => {
                let _waiting = waiting();
                sleep(ctx.pauses.task).await;
            }
            requeue => return Ok(requeue),
        }
    }
    Ok(Requeue::Now)
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
            let (namespace, name, uid) = (reindex.namespace(), reindex.name_any(), reindex.uid());
            tracing::info!(kind = "Reindex", namespace, name, uid, "deleted: its time is over");
            Ok(Action::await_change())
        }
    }
}

async fn pass(ctx: &Context, draft: &mut Draft) -> Result<Requeue, Error> {
    draft.heed(*ctx.winding_down.borrow());
    let (stage, uid) = (stage(draft.reindex()), draft.reindex().uid().unwrap_or_default());
    // Held only while a task may run or settings are changed, so that nothing else can hold a deletion up.
    let owes = matches!(
        stage,
        Stage::Survey | Stage::Copy | Stage::Repair | Stage::Restore | Stage::Resume | Stage::Verify | Stage::Release
    );
    draft.set_finalizer(ctx, owes).await?;
    if stage != Stage::Verify {
        ctx.proofs.stop(&uid);
    }
    let seen = look(ctx, draft, stage).await?;
    if !needs_proof(&seen) {
        ctx.proofs.stop(&uid);
    }
    // What was looked at is not what is to be decided then.
    if draft.heed(*ctx.winding_down.borrow()) {
        return Ok(Requeue::Now);
    }
    let decision = plan::decide(draft.reindex(), seen, Timestamp::now());
    let (effect, requeue) = draft.decided(decision);
    let Some(effect) = effect else { return Ok(requeue) };
    draft.write(ctx).await?;
    // The intent is written: whoever has the operator wound down sees it, or it is seen here that they do.
    let begins = matches!(effect, Effect::StartTasks { .. } | Effect::Mend { .. });
    let outcome = match begins && *ctx.winding_down.borrow() {
        true => Some(Outcome::WindingDown),
        false => Box::pin(act::act(ctx, draft.reindex(), effect)).await?,
    };
    match outcome {
        Some(outcome) => {
            let decision = plan::settle(draft.reindex(), outcome, Timestamp::now());
            let (_, requeue) = draft.decided(decision);
            if requeue != Requeue::Shortly {
                draft.write(ctx).await?;
            }
            Ok(requeue)
        }
        None => Ok(requeue),
    }
}

/// Looks; where that takes long, what was decided before is written meanwhile, for people to see what is waited for.
async fn look(ctx: &Context, draft: &mut Draft, stage: Stage) -> Result<Observation, Error> {
    let reindex = draft.reindex().clone();
    let mut seen = pin!(observe::observe(ctx, &reindex, stage));
    match timeout(SOON, seen.as_mut()).await {
        Ok(seen) => seen,
        Err(_) => {
            draft.write(ctx).await?;
            seen.await
        }
    }
}

/// Whether a comparison of documents goes on after this was seen, or its outcome is still wanted: the status may have to be written twice.
fn needs_proof(seen: &Observation) -> bool {
    matches!(
        seen,
        Observation::Proving(_) | Observation::Verify(_) | Observation::Trouble(_) | Observation::GateClosed(_)
    )
}
