//! Copies documents again that differ between both sides, and writes down which do.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde_json::{Value, json};

use crate::{
    api::{
        Reindex,
        reindex_status::{Difference, DifferenceKind},
    },
    controller::{context::Context, error::Error},
    plan::reindex::{Outcome, created},
    search::{BulkLoadSettings, DocumentVersion, SearchClient, SearchError},
};

use super::{
    act::{gone, open_both, request},
    convert, gate,
    observe::is_ours,
    repair::forget_deletions,
    sides,
};

/// What stands in place of a range's number in the `X-Opaque-Id` of a task that copies such documents.
pub const MENDING: &str = "repair/";
/// Longest name of a ConfigMap.
const LONGEST_NAME: usize = 253;
/// Bytes of documents that a ConfigMap is given; it may have 1 MiB.
const MOST_BYTES: usize = 900_000;
/// Documents that one line of the log names.
const NAMED: usize = 50;

/// Deletes on the destination what stands in the way, in an index of ours, and starts a task that copies what is missing or different. A
/// document in a higher version would not be overwritten, and a deleted one's version is remembered for a while: it is forgotten at once.
pub async fn mend(ctx: &Context, reindex: &Reindex, round: i32, differences: &[Difference]) -> Result<Outcome, Error> {
    // What was compared is not so any more.
    ctx.proofs.stop(&reindex.uid().unwrap_or_default());
    let status = reindex.status.clone().unwrap_or_default();
    if let Some(cluster) = gate::closed(ctx, &status).await? {
        return Ok(Outcome::GateClosed(cluster));
    }
    let Ok(sides) = sides::resolve(ctx, reindex).await? else { return Ok(Outcome::Unclear(gone())) };
    let (destination, source) = match open_both(ctx, &sides).await {
        Ok(both) => both,
        Err(trouble) => return Ok(Outcome::Unclear(trouble)),
    };
    let mended = async {
        // The bulk of a task would make an index anew that is gone, or fill somebody else's.
        if !is_ours(&destination, reindex).await? {
            return Ok(());
        }
        if created(&status)
            && let Some(tuning) = &status.tuning
        {
            clear(&destination.client, reindex, convert::settings(tuning), differences).await?;
        }
        let ids: Vec<&str> = differences
            .iter()
            .filter(|difference| difference.kind != DifferenceKind::Extra)
            .map(|difference| difference.id.as_str())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let query = only(&ids, reindex.spec.source.query.as_ref());
        let batch_size = status.plan.as_ref().map_or(1, |plan| plan.batch_size);
        let limit = reindex.spec.execution.requests_per_second.map(f64::from);
        let request = request(reindex, &source, Some(&query), batch_size, limit);
        let id = format!("reindex/{}/{MENDING}{round}", reindex.uid().unwrap_or_default());
        destination.client.start_reindex(&request, &id).await.map(drop)
    };
    let mended: Result<(), SearchError> = mended.await;
    Ok(match mended {
        Ok(()) => Outcome::Mended,
        Err(error) => Outcome::Unclear(convert::trouble("one of the clusters", &error)),
    })
}

async fn clear(
    destination: &SearchClient,
    reindex: &Reindex,
    settings: BulkLoadSettings,
    differences: &[Difference],
) -> Result<(), SearchError> {
    let index = &reindex.spec.destination.index;
    let forgetful = BulkLoadSettings { gc_deletes: Some("0s".to_owned()), ..settings };
    destination.set_bulk_load_settings(index, &forgetful).await?;
    let in_the_way = |difference: &&Difference| match difference.kind {
        DifferenceKind::Missing => false,
        DifferenceKind::Different => true,
        DifferenceKind::Extra => reindex.spec.verification.repair.delete_extras,
    };
    for difference in differences.iter().filter(in_the_way) {
        let document = DocumentVersion { id: difference.id.clone(), routing: difference.routing.clone(), version: 0 };
        destination.delete_document(index, &document).await?;
    }
    // What is missing somebody else may have deleted a moment ago.
    forget_deletions(destination, index).await
}

fn only(ids: &[&str], user: Option<&Value>) -> Value {
    let ids = json!({"ids": {"values": ids}});
    match user {
        Some(user) => json!({"bool": {"filter": [user, ids]}}),
        None => ids,
    }
}

/// Writes down which documents differ: into a ConfigMap that goes with the Reindex if the operator may create one, else into the log.
/// Returns the message, and where to read them.
pub async fn tell(
    ctx: &Context,
    reindex: &Reindex,
    message: &str,
    differences: &[Difference],
) -> Result<Outcome, Error> {
    if differences.is_empty() {
        return Ok(Outcome::DifferencesTold(message.to_owned()));
    }
    let count = differences.len();
    let place = match write(ctx, reindex, differences).await {
        Ok(name) => format!("ConfigMap {name} names {count} of them"),
        Err(error) if is_passing(&error) => {
            return Err(Error::Kube { action: "write which documents differ", source: error });
        }
        Err(error) => {
            tracing::debug!(%error, "no ConfigMap is written");
            log(reindex, differences);
            let why =
                if is_denied(&error) { "it may not create ConfigMaps" } else { "the ConfigMap could not be written" };
            format!("the operator's log names {count} of them ({why})")
        }
    };
    Ok(Outcome::DifferencesTold(format!("{message}. {place}")))
}

async fn write(ctx: &Context, reindex: &Reindex, differences: &[Difference]) -> Result<String, kube::Error> {
    let suffix = "-differences";
    let name: String = reindex.name_any().chars().take(LONGEST_NAME - suffix.len()).collect::<String>() + suffix;
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &reindex.namespace().unwrap_or_default());
    let object = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            owner_references: reindex.owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(listed(differences)),
        ..ConfigMap::default()
    };
    match api.create(&PostParams::default(), &object).await {
        // It was written already, by an operator that was interrupted then; somebody else's stays as it is.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let there = api.get(&name).await?;
            let ours = there.owner_references().iter().any(|owner| Some(&owner.uid) == reindex.metadata.uid.as_ref());
            if ours { Ok(name) } else { Err(kube::Error::Api(status)) }
        }
        other => other.map(|_| name),
    }
}

/// One line of JSON a document, by kind.
fn listed(differences: &[Difference]) -> BTreeMap<String, String> {
    let (mut data, mut bytes) = (BTreeMap::<String, String>::new(), 0);
    for difference in differences {
        let mut line = json!({"id": difference.id});
        if let Some(routing) = &difference.routing {
            line["routing"] = json!(routing);
        }
        let line = format!("{line}\n");
        bytes += line.len();
        if bytes > MOST_BYTES {
            break;
        }
        data.entry(difference.kind.to_string().to_lowercase()).or_default().push_str(&line);
    }
    data
}

fn log(reindex: &Reindex, differences: &[Difference]) {
    for some in differences.chunks(NAMED) {
        let named: Vec<_> =
            some.iter().map(|difference| json!([difference.kind, difference.id, difference.routing])).collect();
        tracing::warn!(
            reindex = %reindex.name_any(), namespace = reindex.namespace(), documents = %json!(named), "documents differ"
        );
    }
}

/// The right is missing.
fn is_denied(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Whether it is worth trying again: the apiserver did not answer, or not now.
fn is_passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 429 || status.code >= 500,
        _ => true,
    }
}
