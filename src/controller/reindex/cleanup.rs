//! What is done before a deleted Reindex may go.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;

use crate::{
    api::Reindex,
    controller::{context::Context, error::Error, events, finalizer},
    plan::{
        cleanup::{self as plan, Cleanup},
        reindex::Outcome,
        report::Note,
    },
};

use super::{act, observe};

/// Cancels what still runs, then lets the object go; gives up after two minutes.
pub async fn cleanup(ctx: &Context, reindex: &Reindex) -> Result<Action, Error> {
    if !plan::has_finalizer(reindex) {
        return Ok(Action::await_change());
    }
    let seen = match plan::owes_cancel(reindex) {
        true => observe::running_tasks(ctx, reindex).await?,
        false => Ok(vec![]),
    };
    match plan::decide(reindex, seen, Timestamp::now()) {
        Cleanup::Release(note) => let_go(ctx, reindex, note).await,
        Cleanup::Restore(tuning, note) => match act::restore(ctx, reindex, &tuning).await? {
            Outcome::Unclear(trouble) => match plan::give_up(reindex, &trouble, Timestamp::now()) {
                Some(note) => let_go(ctx, reindex, Some(note)).await,
                None => Ok(Action::requeue(plan::PAUSE)),
            },
            _ => let_go(ctx, reindex, note).await,
        },
        Cleanup::Cancel(tasks) => {
            act::cancel_tasks(ctx, reindex, &tasks).await?;
            Ok(Action::requeue(Duration::from_secs(1)))
        }
        Cleanup::Wait(wait) => Ok(Action::requeue(wait)),
    }
}

async fn let_go(ctx: &Context, reindex: &Reindex, note: Option<Note>) -> Result<Action, Error> {
    events::tell(ctx, reindex, note);
    release(ctx, reindex).await
}

/// The object may be gone already: that is what was wanted.
async fn release(ctx: &Context, reindex: &Reindex) -> Result<Action, Error> {
    match finalizer::set(&ctx.client, &mut reindex.clone(), false).await {
        Err(Error::Kube { source: kube::Error::Api(status), .. }) if status.code == 404 => Ok(Action::await_change()),
        other => other.map(|_| Action::await_change()),
    }
}
