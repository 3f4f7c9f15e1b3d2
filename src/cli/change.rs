//! What a person says to the objects.

use std::io::Write;

use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use crate::{
    api::{
        APPROVAL, BatchPhase, Reindex,
        conditions::{self, ALLOWLIST_READY},
        reindex::DeletionPolicy,
        search_cluster::Management,
    },
    plan::report::is_finished,
    text::one_line,
};

use super::{End, Fault, Place, approval, show};

/// Approves of the very change that is proposed; what it is, is shown before.
pub async fn approve(place: &Place, name: &str, yes: bool) -> Result<End, Fault> {
    let cluster = place.cluster(name).await?;
    let (status, name) = (cluster.status.clone().unwrap_or_default(), name.to_owned());
    let condition = conditions::get(&status.conditions, ALLOWLIST_READY);
    let says = condition.map_or(String::new(), |condition| one_line(&condition.message));
    let management = cluster.spec.allowlist.management;
    if management != Management::Approval {
        return Err(Fault::NotByApproval { name, management, says });
    }
    let batch = status.allowlist.and_then(|allowlist| allowlist.batch);
    let Some(batch) = batch.filter(|batch| batch.phase == BatchPhase::Proposed) else {
        return Err(Fault::NothingProposed { name, says });
    };
    show(approval::change(&cluster, &batch, Timestamp::now()))?;
    if !yes && !confirmed("Approve of exactly this change?")? {
        return Ok(End::Otherwise);
    }
    let patch = json!({"metadata": {"annotations": {APPROVAL: batch.id}}});
    let api = place.clusters();
    api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(Fault::kube("approve"))?;
    let begin = if cluster.spec.allowlist.window.is_some() { "in its maintenance window" } else { "in a moment" };
    show(format_args!("approved: SearchCluster {name} begins with it {begin}\n"))?;
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

/// Deletes the one that was shown, and has its tasks ended, whatever its deletionPolicy; the operator puts settings back before the object
/// goes.
pub async fn cancel(place: &Place, name: &str, yes: bool) -> Result<End, Fault> {
    let reindex = place.reindex(name).await?;
    let index = &reindex.spec.destination.index;
    show(format_args!(
        "Reindex {name} is deleted and its tasks are ended; what is in index {index} of the destination stays.\n"
    ))?;
    if !yes && !confirmed("Cancel it?")? {
        return Ok(End::Otherwise);
    }
    match delete(place, &reindex).await {
        Ok(()) => show(format_args!("cancelled Reindex {name}\n"))?,
        Err(fault) => return Err(unless_it_is_gone(place, &reindex, fault).await),
    }
    Ok(End::Well)
}

/// Only under its UID: what may have its name by now is not what was shown.
async fn delete(place: &Place, shown: &Reindex) -> Result<(), Fault> {
    let (api, name) = (place.reindexes(), shown.name_any());
    if shown.spec.deletion_policy == DeletionPolicy::Orphan {
        // Not under its resourceVersion: a copy that goes on is written again and again.
        let patch = json!({"metadata": {"uid": shown.uid()}, "spec": {"deletionPolicy": DeletionPolicy::Cancel}});
        let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(Fault::kube("change spec.deletionPolicy"))?;
    }
    let preconditions = Preconditions { uid: shown.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    api.delete(&name, &params).await.map_err(Fault::kube("delete the Reindex"))?;
    Ok(())
}

/// Why it could not be deleted, in words for people: an apiserver says only that UIDs differ.
async fn unless_it_is_gone(place: &Place, shown: &Reindex, fault: Fault) -> Fault {
    let name = shown.name_any();
    match place.reindexes().get_opt(&name).await {
        Ok(None) => Fault::Deleted(name),
        Ok(Some(found)) if found.uid() != shown.uid() => Fault::Replaced(name),
        _ => fault,
    }
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
