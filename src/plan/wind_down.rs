//! Before the operator goes, what it changed for a while on the search clusters is put back.
//!
//! Whoever takes it away asks for that by an annotation of the leader's Lease, which the leader reads every two seconds anyway. While it is
//! asked for, every Reindex is suspended: tasks that copy ranges are cancelled, one that repairs is waited for. No restart begins; one that
//! has begun goes on to its end. The objects stay, and go on where an operator is there again.

use std::collections::BTreeMap;

use crate::api::{Reindex, SearchCluster};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{cleanup::has_finalizer, reindex::owes_cleanup, search_cluster::is_open, words::full_name};

/// Annotation of the lease: the time until which it is asked for.
pub const UNTIL: &str = "reindex.dev/winding-down-until";
/// Annotation of the lease: the time until which whoever leads has heard that it is.
const HEARD: &str = "reindex.dev/winding-down-heard";

/// How long it holds. Pods are gone by then if all went well, and if not, copies soon go on.
const HOLDS: SignedDuration = SignedDuration::from_mins(2);

/// Asks for it, or does so for longer. Until when.
pub fn ask(annotations: &mut BTreeMap<String, String>, now: Timestamp) -> Timestamp {
    let until = now + HOLDS;
    annotations.insert(UNTIL.to_owned(), until.to_string());
    until
}

/// Whether it is asked for now; that it was heard is noted with the answer.
pub fn heed(annotations: &mut BTreeMap<String, String>, now: Timestamp) -> bool {
    match time(annotations, UNTIL).filter(|until| now < *until) {
        Some(until) => {
            annotations.insert(HEARD.to_owned(), until.to_string());
            true
        }
        None => {
            annotations.remove(HEARD);
            false
        }
    }
}

/// Whether whoever leads has heard this asking, or a later one, and still heeds it.
pub fn is_heard(annotations: &BTreeMap<String, String>, asked: Timestamp, now: Timestamp) -> bool {
    time(annotations, HEARD).is_some_and(|heard| heard >= asked && now < heard)
}

fn time(annotations: &BTreeMap<String, String>, name: &str) -> Option<Timestamp> {
    annotations.get(name)?.parse().ok()
}

/// What of a Reindex is still to be ended or put back, in words. The finalizer goes last.
pub fn left_of_reindex(reindex: &Reindex) -> Option<String> {
    let owes = has_finalizer(reindex) || reindex.status.as_ref().is_some_and(owes_cleanup);
    owes.then(|| {
        format!("Reindex {}: its tasks may run, or its index's settings are to be put back", full_name(reindex))
    })
}

/// The same of a SearchCluster.
pub fn left_of_cluster(cluster: &SearchCluster) -> Option<String> {
    let owes = has_finalizer(cluster) || is_open(cluster.status.as_ref());
    owes.then(|| {
        format!(
            "SearchCluster {}: a change of its allowlist goes on, or it is needed to put things back",
            full_name(cluster)
        )
    })
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use crate::api::FINALIZER;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn it_holds_for_two_minutes_and_longer_where_it_is_asked_for_again() {
        let mut annotations = BTreeMap::new();
        assert!(!heed(&mut annotations, at(0)));
        let asked = ask(&mut annotations, at(0));
        assert!(!is_heard(&annotations, asked, at(1)));
        assert!(heed(&mut annotations, at(119)) && is_heard(&annotations, asked, at(119)));
        let again = ask(&mut annotations, at(119));
        assert!(is_heard(&annotations, asked, at(119)) && !is_heard(&annotations, again, at(119)));
        assert!(!is_heard(&annotations, asked, at(120)), "whoever leads may have forgotten it");
        assert!(heed(&mut annotations, at(238)) && is_heard(&annotations, again, at(238)));
        assert!(!heed(&mut annotations, at(239)));
        assert!(!is_heard(&annotations, asked, at(1)), "what is over is no answer to whoever asks next");
    }

    #[test]
    fn what_is_no_time_asks_for_nothing() {
        let mut annotations = BTreeMap::from([(UNTIL.to_owned(), "for ever".to_owned())]);
        assert!(!heed(&mut annotations, at(0)));
    }

    fn reindex(name: &str, status: serde_json::Value) -> Reindex {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "source": {"clusterRef": {"name": "old"}, "index": "a"},
                "destination": {"clusterRef": {"name": "new"}, "index": "a"},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn partition(state: &str) -> serde_json::Value {
        json!({"partitions": [{"id": 0, "state": state, "attempt": 1, "startedAt": "2026-11-26T12:00:00Z"}]})
    }

    fn cluster(name: &str, phase: &str) -> SearchCluster {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": name, "namespace": "search"},
            "spec": {"endpoint": "https://es:9200", "provider": {}},
            "status": {"allowlist": {"key": "reindex.remote.whitelist", "batch": {
                "id": "b", "phase": phase, "entries": [], "generation": 1, "startedAt": "2026-11-26T12:00:00Z",
            }}},
        }))
        .unwrap()
    }

    #[test]
    fn tasks_settings_and_restarts_are_waited_for_and_nothing_else() {
        let tuning = json!({"numberOfReplicas": "1"});
        let reindexes = [
            reindex("new", json!({})),
            reindex("copying", partition("Running")),
            reindex("tuned", json!({"tuning": tuning})),
            reindex("between", partition("Waiting")),
            reindex("ended", json!({"phase": "Complete"})),
        ];
        let clusters = [cluster("asks", "Proposed"), cluster("restarts", "Restarting"), cluster("done", "Done")];
        let mut held = reindex("held", json!({}));
        held.finalizers_mut().push(FINALIZER.to_owned());
        let reindexes = reindexes.iter().chain([&held]).filter_map(left_of_reindex);
        let left: Vec<_> = reindexes.chain(clusters.iter().filter_map(left_of_cluster)).collect();
        let of: Vec<_> = left.iter().map(|line| line.split(':').next().unwrap()).collect();
        let named =
            ["Reindex shop/copying", "Reindex shop/tuned", "Reindex shop/held", "SearchCluster search/restarts"];
        assert_eq!(of, named);
    }
}
