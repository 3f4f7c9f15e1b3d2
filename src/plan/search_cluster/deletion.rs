//! What deleting a SearchCluster waits for: always something that ends.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Batch, Reindex, SearchCluster},
    plan::{
        cleanup::{has_finalizer, is_overdue},
        report::Note,
        words::{first_names, full_name},
    },
};

use super::is_open;

/// How many Reindexes are named.
const NAMED: usize = 5;

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The object may go.
    Release(Option<Note>),
    /// It is still worked with: something is put back.
    Wait,
}

/// Reindexes that may have tasks there, or settings that are to be put back: they hold a finalizer of their own as long.
pub fn held_by<'a>(cluster: &SearchCluster, reindexes: impl IntoIterator<Item = &'a Reindex>) -> Vec<String> {
    let holds = |reindex: &&Reindex| has_finalizer(*reindex) && writes_to(reindex, cluster);
    reindexes.into_iter().filter(holds).map(full_name).collect()
}

fn writes_to(reindex: &Reindex, cluster: &SearchCluster) -> bool {
    reindex.spec.destination.cluster_ref.names(&reindex.namespace().unwrap_or_default(), cluster)
}

/// Whether the SearchCluster is to hear that the Reindex holds it from now on, or, where it is waited for, no longer. Else it finds out by
/// itself: many small copies would keep it busy.
pub fn is_to_hear(cluster: &SearchCluster, reindex: &Reindex, winding_down: bool) -> bool {
    let is_deleted = cluster.metadata.deletion_timestamp.is_some();
    writes_to(reindex, cluster)
        && match (has_finalizer(cluster), has_finalizer(reindex)) {
            (false, true) => !is_deleted,
            // One that is gone is told with the finalizer that it had.
            (true, _) => is_deleted || winding_down,
            (false, false) => false,
        }
}

/// Decides from those that hold it; None while nobody deletes it.
pub fn deletion(cluster: &SearchCluster, held_by: &[String], now: Timestamp) -> Option<Deletion> {
    cluster.metadata.deletion_timestamp.as_ref()?;
    if !is_open(cluster.status.as_ref()) && held_by.is_empty() {
        return Some(Deletion::Release(None));
    }
    if !is_overdue(cluster, now) {
        return Some(Deletion::Wait);
    }
    let message = format!("not everything was put back in time: {}", left(cluster, held_by).join("; "));
    Some(Deletion::Release(Some(Note { warning: true, reason: "CleanupGivenUp", message })))
}

/// What stays, for a person to put back.
fn left(cluster: &SearchCluster, held_by: &[String]) -> Vec<String> {
    let batch = cluster.status.as_ref().and_then(|status| status.allowlist.as_ref()?.batch.as_ref());
    let mut left = batch.filter(|_| is_open(cluster.status.as_ref())).map(left_of_batch).unwrap_or_default();
    if !held_by.is_empty() {
        let named = first_names(held_by, NAMED);
        left.push(format!("tasks of Reindex {named} may run on, and their indices may lack replicas and refresh"));
    }
    left
}

fn left_of_batch(batch: &Batch) -> Vec<String> {
    let mut left = vec![];
    if let Some(borrowed) = &batch.borrowed {
        let before = borrowed.allocation_enable.as_deref().unwrap_or("null");
        left.push(format!("cluster.routing.allocation.enable was {before} before"));
        if borrowed.voting_exclusion {
            left.push("a node is excluded from the vote (DELETE /_cluster/voting_config_exclusions)".to_owned());
        }
    }
    match batch.added.as_deref() {
        None | Some([]) => left.push("a change of the allowlist was not brought to its end".to_owned()),
        Some(added) => left.push(format!("the configuration of its nodes has {} more", added.join(", "))),
    }
    left
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::api::FINALIZER;

    use super::*;

    fn cluster(deleted: Option<&str>, status: Value) -> SearchCluster {
        let object = json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": "es-1", "namespace": "search", "deletionTimestamp": deleted},
            "spec": {"endpoint": "http://es-1:9200"}, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn reindex(destination: &str, finalizers: &[&str]) -> Reindex {
        let object = json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
            "metadata": {"name": "r", "namespace": "search", "finalizers": finalizers},
            "spec": {
                "source": {"clusterRef": {"name": "es-2"}, "index": "i"},
                "destination": {"clusterRef": {"name": destination}, "index": "i"},
            },
        });
        serde_json::from_value(object).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn message(decision: Option<Deletion>) -> String {
        let Some(Deletion::Release(Some(note))) = decision else { panic!("{decision:?}") };
        assert_eq!((note.warning, note.reason), (true, "CleanupGivenUp"));
        note.message
    }

    #[test]
    fn who_writes_there_and_holds_a_finalizer_holds_it() {
        let there = cluster(None, json!(null));
        let all = [reindex("es-1", &[FINALIZER]), reindex("es-1", &["another"]), reindex("es-2", &[FINALIZER])];
        assert_eq!(held_by(&there, &all), ["search/r"]);
    }

    #[test]
    fn it_hears_what_it_must_know_at_once_and_nothing_else() {
        let held = |mut cluster: SearchCluster| {
            cluster.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
            cluster
        };
        let (free, holds) = (reindex("es-1", &[]), reindex("es-1", &[FINALIZER]));
        let (there, deleted) = (cluster(None, json!({})), cluster(Some("1970-01-01T00:00:00Z"), json!({})));
        assert!(is_to_hear(&there, &holds, false));
        assert!(!is_to_hear(&there, &reindex("es-2", &[FINALIZER]), false), "another one");
        assert!(!is_to_hear(&held(there.clone()), &holds, false), "it knows");
        assert!(!is_to_hear(&held(there.clone()), &free, false), "nobody waits for it");
        assert!(is_to_hear(&held(there), &free, true));
        assert!(is_to_hear(&held(deleted.clone()), &free, false));
        assert!(is_to_hear(&held(deleted), &holds, false), "it may be gone");
    }

    #[test]
    fn nobody_waits_where_nothing_is_owed_and_else_for_two_minutes() {
        let nothing = cluster(Some("1970-01-01T00:00:00Z"), json!({}));
        let held = ["search/r".to_owned()];
        assert_eq!(deletion(&cluster(None, json!({})), &held, at(0)), None);
        assert_eq!(deletion(&nothing, &[], at(0)), Some(Deletion::Release(None)));
        assert_eq!(deletion(&nothing, &held, at(119)), Some(Deletion::Wait));
        let told = message(deletion(&nothing, &held, at(120)));
        assert!(told.contains("tasks of Reindex search/r may run on"), "{told}");
    }

    #[test]
    fn what_a_restart_leaves_is_told() {
        let open = json!({"allowlist": {"key": "k", "batch": {
            "id": "b", "entries": ["es-2:9200"], "phase": "Restarting", "generation": 1, "startedAt": "1970-01-01T00:00:00Z",
            "added": ["es-2:9200"], "borrowed": {"allocationEnable": "all", "votingExclusion": true},
        }}});
        let open = cluster(Some("1970-01-01T00:00:00Z"), open);
        assert_eq!(deletion(&open, &[], at(1)), Some(Deletion::Wait));
        let told = message(deletion(&open, &[], at(120)));
        for part in ["allocation.enable was all before", "voting_config_exclusions", "has es-2:9200 more"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
