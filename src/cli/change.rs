//! What a person says to the objects.

use std::io::Write;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::{
    api::{
        APPROVAL, BatchPhase,
        conditions::{self, ALLOWLIST_READY},
        reindex::DeletionPolicy,
    },
    plan::report::is_finished,
};

use super::{End, Fault, Place, show};

/// Approves of the very change that is proposed; what it is, is shown before.
pub async fn approve(place: &Place, name: &str, yes: bool) -> Result<End, Fault> {
    let cluster = place.cluster(name).await?;
    let status = cluster.status.unwrap_or_default();
    let says = conditions::get(&status.conditions, ALLOWLIST_READY).map(|condition| condition.message.clone());
    let batch = status.allowlist.and_then(|allowlist| allowlist.batch);
    let Some(batch) = batch.filter(|batch| batch.phase == BatchPhase::Proposed) else {
        return Err(Fault::NothingProposed { name: name.to_owned(), says: says.unwrap_or_default() });
    };
    show(format_args!("{}\n", says.unwrap_or_default()))?;
    if !yes && !confirmed("Approve of exactly this change?")? {
        return Ok(End::Otherwise);
    }
    let patch = json!({"metadata": {"annotations": {APPROVAL: batch.id}}});
    let api = place.clusters();
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(Fault::kube("approve"))?;
    show(format_args!("approved: SearchCluster {name} begins with it in a moment\n"))?;
    Ok(End::Well)
}

/// Suspends it, or lets it go on.
pub async fn suspend(place: &Place, name: &str, suspend: bool) -> Result<End, Fault> {
    let reindex = place.reindex(name).await?;
    if let Some(status) = reindex.status.as_ref().filter(|status| is_finished(status)) {
        let phase = status.phase.map_or(String::new(), |phase| phase.to_string());
        return Err(Fault::Ended { name: name.to_owned(), phase });
    }
    let patch = json!({"spec": {"suspend": suspend}});
    let api = place.reindexes();
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(Fault::kube("change spec.suspend"))?;
    show(format_args!("{} Reindex {name}\n", if suspend { "suspending" } else { "resuming" }))?;
    Ok(End::Well)
}

/// Deletes it, and has its tasks ended, whatever its deletionPolicy; the operator puts settings back before the object goes.
pub async fn cancel(place: &Place, name: &str, yes: bool) -> Result<End, Fault> {
    let reindex = place.reindex(name).await?;
    let index = &reindex.spec.destination.index;
    show(format_args!(
        "Reindex {name} is deleted and its tasks are ended; what is in index {index} of the destination stays.\n"
    ))?;
    if !yes && !confirmed("Cancel it?")? {
        return Ok(End::Otherwise);
    }
    let api = place.reindexes();
    if reindex.spec.deletion_policy == DeletionPolicy::Orphan {
        let patch = json!({"spec": {"deletionPolicy": DeletionPolicy::Cancel}});
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(Fault::kube("change spec.deletionPolicy"))?;
    }
    api.delete(name, &DeleteParams::default()).await.map_err(Fault::kube("delete the Reindex"))?;
    show(format_args!("cancelled Reindex {name}\n"))?;
    Ok(End::Well)
}

/// Asks on the terminal; everything but yes is no.
fn confirmed(question: &str) -> Result<bool, Fault> {
    show(format_args!("{question} [y/N] "))?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    if std::io::stdin().read_line(&mut answer).map_err(Fault::Ask)? == 0 {
        show("\n")?;
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
