//! Copies documents again that differ between both sides, and writes down which do.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use serde_json::{Value, json};

use crate::{
    api::{
        Reindex, SearchCluster,
        reindex_status::{Difference, DifferenceKind, Tuning},
    },
    controller::{connect::Connected, context::Context, error::Error},
    plan::reindex::{Outcome, created},
    search::{DocumentVersion, SearchClient, SearchError, documents::Held},
};

use super::{
    act::{ensure_still_ours, gone, is_refusal, open_both, request},
    convert, gate,
    observe::{apiserver, is_ours},
    prove::read_primaries,
    repair::delete_and_forget,
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
///
/// The intent stands in status. Whatever breaks off here, the same round is begun again: deleting twice does no harm, and a task that was
/// started after all is found by its id. What is written anew on the destination before it could be deleted stays: it is compared once more
/// anyway, and takes another of the few rounds if it still differs.
pub async fn mend(ctx: &Context, reindex: &Reindex, round: i32, differences: &[Difference]) -> Result<Outcome, Error> {
    // What was compared is not so any more.
    ctx.proofs.stop(&reindex.uid().unwrap_or_default());
    let status = reindex.status.clone().unwrap_or_default();
    match gate::closed(ctx, &status).await {
        Ok(None) => {}
        Ok(Some(cluster)) => return Ok(Outcome::GateClosed(cluster)),
        Err(error) => return Ok(Outcome::NotStarted(apiserver(&error))),
    }
    let sides = match sides::resolve(ctx, reindex).await {
        Ok(Ok(sides)) => sides,
        Ok(Err(_)) => return Ok(Outcome::Unclear(gone())),
        Err(error) => return Ok(Outcome::NotStarted(apiserver(&error))),
    };
    let (destination, source) = match open_both(ctx, &sides).await {
        Ok(both) => both,
        Err(trouble) => return Ok(Outcome::Unclear(trouble)),
    };
    let mending = Mending { ctx, reindex, round, destination, source };
    let looked = mending.look(&sides.destination, differences).await;
    if let Err(outcome) = ensure_still_ours(ctx, reindex).await {
        return Ok(outcome);
    }
    let mended = match looked {
        Ok(Some(in_the_way)) => mending.begin(differences, &in_the_way).await,
        // The next look says so.
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = &mended {
        let (namespace, name, uid) = (reindex.namespace(), reindex.name_any(), reindex.uid());
        tracing::warn!(kind = "Reindex", namespace, name, uid, round, %error, "a repair was not begun");
    }
    Ok(match mended {
        Ok(()) => Outcome::Mended,
        Err(error) if is_refusal(&error) => Outcome::MendRefused(convert::trouble("one of the clusters", &error)),
        Err(error) => Outcome::Unclear(convert::trouble("one of the clusters", &error)),
    })
}

/// One round of a repair.
struct Mending<'a> {
    ctx: &'a Context,
    reindex: &'a Reindex,
    round: i32,
    destination: Connected,
    source: Connected,
}

impl Mending<'_> {
    /// What stands in the way, as it is now; None where the index is another one: the bulk of a task would make one anew that is gone, or
    /// fill somebody else's.
    async fn look(
        &self,
        cluster: &SearchCluster,
        differences: &[Difference],
    ) -> Result<Option<Vec<Held>>, SearchError> {
        if !is_ours(&self.destination, self.reindex).await? {
            return Ok(None);
        }
        let in_the_way = |difference: &&Difference| match difference.kind {
            DifferenceKind::Missing => false,
            DifferenceKind::Different => true,
            DifferenceKind::Extra => self.reindex.spec.verification.repair.delete_extras,
        };
        let of = |difference: &Difference| DocumentVersion {
            id: difference.id.clone(),
            routing: difference.routing.clone(),
            version: 0,
        };
        let documents: Vec<_> = match self.tuning() {
            Some(_) => differences.iter().filter(in_the_way).map(of).collect(),
            None => vec![],
        };
        let primaries = read_primaries(self.destination.client.clone(), cluster);
        primaries.versions_of(&self.reindex.spec.destination.index, &documents).await.map(Some)
    }

    /// The settings that are put back; only an index of ours has them, and only there anything is deleted.
    fn tuning(&self) -> Option<&Tuning> {
        let status = self.reindex.status.as_ref()?;
        status.tuning.as_ref().filter(|_| created(status))
    }

    /// Deletes, and starts the task.
    async fn begin(&self, differences: &[Difference], in_the_way: &[Held]) -> Result<(), SearchError> {
        let (reindex, index) = (self.reindex, &self.reindex.spec.destination.index);
        let destination = &self.destination.client;
        let id = format!("reindex/{}/{MENDING}{}", reindex.uid().unwrap_or_default(), self.round);
        // What it has copied would be deleted.
        if runs(destination, &id).await? {
            return Ok(());
        }
        if let Some(tuning) = self.tuning() {
            // Where nothing stands in the way, too: what is missing somebody else may have deleted a moment ago.
            delete_and_forget(destination, index, convert::settings(tuning), in_the_way, self.ctx.pauses.clock).await?;
        }
        let Some(query) = to_be_copied(differences, reindex.spec.source.query.as_ref()) else { return Ok(()) };
        let plan = reindex.status.as_ref().and_then(|status| status.plan.as_ref());
        let batch_size = plan.map_or(1, |plan| plan.batch_size);
        let limit = reindex.spec.execution.requests_per_second.map(f64::from);
        let request = request(reindex, &self.source, Some(&query.value), batch_size, limit);
        // Deleting took its time: a request that was given up may have come through.
        if runs(destination, &id).await? {
            return Ok(());
        }
        let task = destination.start_reindex(&request, &id).await?;
        let (namespace, name, uid) = (reindex.namespace(), reindex.name_any(), reindex.uid());
        tracing::info!(kind = "Reindex", namespace, name, uid, opaque_id = id, task = %task, "a repair's task was started");
        Ok(())
    }
}

/// Whether the task with this `X-Opaque-Id` runs.
async fn runs(destination: &SearchClient, id: &str) -> Result<bool, SearchError> {
    Ok(destination.reindex_tasks().await?.iter().any(|task| task.opaque_id.as_deref() == Some(id)))
}

/// The query that finds the documents of the source which a repair copies.
pub struct ToBeCopied {
    /// The query.
    pub value: Value,
    /// How many there are at least: an id may stand in several indices behind one name.
    pub documents: u64,
}

/// What of these differences is copied; None where all that is to be done is deleting.
pub fn to_be_copied(differences: &[Difference], user: Option<&Value>) -> Option<ToBeCopied> {
    let ids: BTreeSet<&str> = differences
        .iter()
        .filter(|difference| difference.kind != DifferenceKind::Extra)
        .map(|difference| difference.id.as_str())
        .collect();
    if ids.is_empty() {
        return None;
    }
    let documents = ids.len() as u64;
    let ids = json!({"ids": {"values": ids}});
    let value = match user {
        Some(user) => json!({"bool": {"filter": [user, ids]}}),
        None => ids,
    };
    Some(ToBeCopied { value, documents })
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
    let (data, listed) = listed(differences);
    let place = match write(ctx, reindex, data).await {
        Ok(name) => format!("ConfigMap {name} names {listed} of them"),
        Err(error) if is_passing(&error) => {
            return Err(Error::Kube { action: "write which documents differ", source: error });
        }
        Err(error) => {
            tracing::debug!(%error, "no ConfigMap is written");
            log(reindex, differences);
            let why =
                if is_denied(&error) { "it may not create ConfigMaps" } else { "the ConfigMap could not be written" };
            format!("the operator's log names {} of them ({why})", differences.len())
        }
    };
    Ok(Outcome::DifferencesTold(format!("{message}. {place}")))
}

async fn write(ctx: &Context, reindex: &Reindex, data: BTreeMap<String, String>) -> Result<String, kube::Error> {
    let suffix = "-differences";
    let name: String = reindex.name_any().chars().take(LONGEST_NAME - suffix.len()).collect::<String>() + suffix;
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &reindex.namespace().unwrap_or_default());
    let object = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            owner_references: reindex.owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
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

/// One line of JSON a document, by kind, and how many of them have room.
fn listed(differences: &[Difference]) -> (BTreeMap<String, String>, usize) {
    let (mut data, mut bytes, mut count) = (BTreeMap::<String, String>::new(), 0, 0);
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
        count += 1;
    }
    (data, count)
}

fn log(reindex: &Reindex, differences: &[Difference]) {
    for some in differences.chunks(NAMED) {
        let named: Vec<_> =
            some.iter().map(|difference| json!([difference.kind, difference.id, difference.routing])).collect();
        let (namespace, name, uid) = (reindex.namespace(), reindex.name_any(), reindex.uid());
        tracing::warn!(kind = "Reindex", namespace, name, uid, documents = %json!(named), "documents differ");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_map_names_as_many_documents_as_it_has_room_for_and_says_how_many() {
        let long = |n: usize| Difference {
            kind: DifferenceKind::Missing,
            // Longest id that an engine takes, each character six bytes of JSON.
            id: format!("{n:04}{}", "\u{1}".repeat(508)),
            routing: None,
        };
        let many: Vec<_> = (0..1000).map(long).collect();
        let (data, count) = listed(&many);
        assert!(data.values().map(String::len).sum::<usize>() <= MOST_BYTES);
        assert_eq!(data["missing"].lines().count(), count);
        assert!((200..1000).contains(&count), "{count}");
        assert_eq!(listed(&many[..3]).1, 3);
    }

    #[test]
    fn what_a_repair_copies_is_what_the_source_should_hold_of_the_users_documents() {
        let of = |kind, id: &str| Difference { kind, id: id.into(), routing: None };
        let all =
            [of(DifferenceKind::Missing, "a"), of(DifferenceKind::Different, "b"), of(DifferenceKind::Extra, "c")];
        let user = json!({"term": {"x": 1}});
        let found = to_be_copied(&all, Some(&user)).unwrap();
        let ids = json!({"ids": {"values": ["a", "b"]}});
        assert_eq!((found.value, found.documents), (json!({"bool": {"filter": [user, ids]}}), 2));
        assert_eq!(to_be_copied(&all, None).unwrap().value, ids);
        assert!(to_be_copied(&all[2..], None).is_none(), "there is nothing to copy");
        let twice = [of(DifferenceKind::Missing, "a"), of(DifferenceKind::Different, "a")];
        assert_eq!(to_be_copied(&twice, None).unwrap().documents, 1, "the same id with two routings");
    }
}
