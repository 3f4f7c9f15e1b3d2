//! Before the operator goes, what it changed for a while on the search clusters is put back.
//!
//! Whoever takes it away asks for that by an annotation of the leader's Lease, which the leader reads every two seconds anyway. While it is
//! asked for, every Reindex is suspended, its tasks are cancelled, and no restart begins; one that has begun goes on to its end. The
//! objects stay, and go on where an operator is there again.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::{Reindex, SearchCluster};

use super::{reindex::owes_cleanup, search_cluster::is_open};

/// Annotation of the lease: the time until which it is asked for.
pub const UNTIL: &str = "reindex.dev/winding-down-until";

/// How long it holds. Pods are gone by then if all went well, and if not, copies soon go on.
const HOLDS: SignedDuration = SignedDuration::from_mins(2);

/// Asks for it, or does so for longer.
pub fn ask(annotations: &mut BTreeMap<String, String>, now: Timestamp) {
    annotations.insert(UNTIL.to_owned(), (now + HOLDS).to_string());
}

/// Whether it is asked for now.
pub fn is_asked(annotations: &BTreeMap<String, String>, now: Timestamp) -> bool {
    annotations.get(UNTIL).and_then(|until| until.parse().ok()).is_some_and(|until: Timestamp| now < until)
}

/// What is still to be ended or put back, in words.
pub fn left(reindexes: &[Reindex], clusters: &[SearchCluster]) -> Vec<String> {
    let copies = reindexes.iter().filter(|reindex| reindex.status.as_ref().is_some_and(owes_cleanup)).map(|reindex| {
        format!("Reindex {}: its tasks may run, or its index's settings are to be put back", name(reindex))
    });
    let changes = clusters
        .iter()
        .filter(|cluster| is_open(cluster.status.as_ref()))
        .map(|cluster| format!("SearchCluster {}: a change of its allowlist goes on", name(cluster)));
    copies.chain(changes).collect()
}

fn name(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn it_holds_for_two_minutes_and_longer_where_it_is_asked_for_again() {
        let mut annotations = BTreeMap::new();
        assert!(!is_asked(&annotations, at(0)));
        ask(&mut annotations, at(0));
        assert!(is_asked(&annotations, at(0)) && is_asked(&annotations, at(119)) && !is_asked(&annotations, at(120)));
        ask(&mut annotations, at(100));
        assert!(is_asked(&annotations, at(219)) && !is_asked(&annotations, at(220)));
    }

    #[test]
    fn what_is_no_time_asks_for_nothing() {
        let annotations = BTreeMap::from([(UNTIL.to_owned(), "for ever".to_owned())]);
        assert!(!is_asked(&annotations, at(0)));
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
        let left = left(&reindexes, &clusters);
        let of: Vec<_> = left.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(of, ["Reindex shop/copying", "Reindex shop/tuned", "SearchCluster search/restarts"]);
    }
}
