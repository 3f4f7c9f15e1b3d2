//! How many tasks of all Reindexes a cluster takes at once, and whose turn it is.

use std::collections::BTreeSet;

use crate::api::{Reindex, reindex_status::PartitionState};

use super::{partitions, report::is_finished};

/// The limits of the two clusters of a Reindex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// UUID of the destination, and how many tasks may run on it.
    pub tasks: Option<(String, i32)>,
    /// UUID of the source, and how many tasks may read from it: its open scrolls by the shards that each task reads.
    pub readers: Option<(String, i32)>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_unlimited(&self) -> bool {
        self.tasks.is_none() && self.readers.is_none()
    }
}

/// Which side of a Reindex a limit counts.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// How many more tasks `reindex` may start, given every Reindex as the apiserver has it. Namespaces that want some share evenly.
pub fn slots(reindex: &Reindex, all: &[Reindex], limits: &Limits) -> i32 {
    let of = |limit: &Option<(String, i32)>, side| {
        limit.as_ref().map_or(i32::MAX, |(uuid, most)| share(reindex, all, uuid, side, *most))
    };
    of(&limits.tasks, Side::Destination).min(of(&limits.readers, Side::Source))
}

fn share(reindex: &Reindex, all: &[Reindex], uuid: &str, side: Side, most: i32) -> i32 {
    let here: Vec<&Reindex> =
        all.iter().filter(|other| is_copying(other) && cluster(other, side) == Some(uuid)).collect();
    let own = namespace(reindex);
    let mut namespaces: BTreeSet<&str> = here.iter().map(|other| namespace(other)).collect();
    namespaces.insert(own);
    let fair = (most as usize).div_ceil(namespaces.len()) as i32;
    let running: i32 = here.iter().map(|other| tasks(other)).sum();
    let own_running: i32 = here.iter().filter(|other| namespace(other) == own).map(|other| tasks(other)).sum();
    (most - running).min(fair - own_running).max(0)
}

/// Whether `reindex`, whose intents are written, stays within the limits: two that wrote at the same time see each other now, and the
/// older one goes first.
pub fn admits(reindex: &Reindex, all: &[Reindex], limits: &Limits) -> bool {
    let of = |limit: &Option<(String, i32)>, side| {
        limit.as_ref().is_none_or(|(uuid, most)| {
            let age = |other: &Reindex| {
                (other.metadata.creation_timestamp.clone().map(|time| time.0), other.metadata.uid.clone())
            };
            let before = |other: &&Reindex| {
                other.metadata.uid != reindex.metadata.uid
                    && is_copying(other)
                    && cluster(other, side) == Some(uuid)
                    && (age(other) < age(reindex) || known(other) == tasks(other))
            };
            let others: i32 = all.iter().filter(before).map(tasks).sum();
            others + tasks(reindex) <= *most
        })
    };
    of(&limits.tasks, Side::Destination) && of(&limits.readers, Side::Source)
}

fn is_copying(reindex: &Reindex) -> bool {
    let status = reindex.status.as_ref();
    status.is_some_and(|status| {
        let unfinished = status.plan.as_ref().is_some_and(|plan| !partitions::all_done(plan)) && !is_finished(status);
        (unfinished && !reindex.spec.suspend) || tasks(reindex) > 0
    })
}

fn cluster(reindex: &Reindex, side: Side) -> Option<&str> {
    let status = reindex.status.as_ref()?;
    match side {
        Side::Source => Some(status.source.as_ref()?.cluster_uuid.as_str()),
        Side::Destination => Some(status.destination.as_ref()?.cluster_uuid.as_str()),
    }
}

fn namespace(reindex: &Reindex) -> &str {
    reindex.metadata.namespace.as_deref().unwrap_or_default()
}

/// Tasks that run, or may run.
fn tasks(reindex: &Reindex) -> i32 {
    count(reindex, |state| state != PartitionState::Waiting)
}

/// Tasks that are known to run.
fn known(reindex: &Reindex) -> i32 {
    count(reindex, |state| matches!(state, PartitionState::Running | PartitionState::Cancelling))
}

fn count(reindex: &Reindex, wanted: impl Fn(PartitionState) -> bool) -> i32 {
    let partitions = reindex.status.iter().flat_map(|status| &status.partitions);
    partitions.filter(|partition| wanted(partition.state)).count() as i32
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A Reindex that copies between clusters `s` and `d`, with so many tasks in each state.
    fn copying(namespace: &str, created: i64, running: usize, starting: usize) -> Reindex {
        let partition = |id: usize, state: &str| json!({"id": id, "attempt": 1, "state": state, "startedAt": "2026-01-01T00:00:00Z"});
        let partitions: Vec<Value> = (0..running)
            .map(|id| partition(id, "Running"))
            .chain((0..starting).map(|id| partition(100 + id, "Starting")))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
            "metadata": {"name": "r", "namespace": namespace, "uid": format!("{namespace}-{created}"),
                "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z")},
            "spec": {"source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"}},
            "status": {
                "source": {"clusterUUID": "s", "version": "7", "indices": [], "remote": "https://a:9200"},
                "destination": {"clusterUUID": "d", "version": "7"},
                "plan": {"round": 0, "batchSize": 1, "parallelism": 8, "done": "",
                    "indices": [{"name": "i", "uuid": "u", "history": "h", "noted": 1, "highest": 1, "ranges": ":1 1:1 1:1"}]},
                "partitions": partitions,
            },
        }))
        .unwrap()
    }

    fn tasks_of(most: i32) -> Limits {
        Limits { tasks: Some(("d".into(), most)), readers: None }
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        assert_eq!(slots(&copying("n", 1, 0, 0), &[], &Limits::default()), i32::MAX);
    }

    #[test]
    fn what_others_run_is_not_free() {
        let own = copying("n", 1, 1, 0);
        let other = copying("n", 2, 2, 0);
        assert_eq!(slots(&own, &[own.clone(), other.clone()], &tasks_of(4)), 1);
        assert_eq!(slots(&own, &[own.clone(), other], &tasks_of(3)), 0);
        let elsewhere = Limits { tasks: Some(("x".into(), 4)), readers: None };
        assert_eq!(slots(&own, std::slice::from_ref(&own), &elsewhere), 4);
        let readers = Limits { tasks: None, readers: Some(("s".into(), 2)) };
        assert_eq!(slots(&own, std::slice::from_ref(&own), &readers), 1);
    }

    #[test]
    fn namespaces_share_evenly() {
        let own = copying("n", 1, 3, 0);
        let other = copying("m", 2, 0, 0);
        assert_eq!(slots(&own, &[own.clone(), other.clone()], &tasks_of(6)), 0, "its half is used up");
        assert_eq!(slots(&other, &[own.clone(), other.clone()], &tasks_of(6)), 3);
        assert_eq!(slots(&own, std::slice::from_ref(&own), &tasks_of(6)), 3, "alone it may have all");
    }

    #[test]
    fn of_two_that_start_at_once_only_as_many_go_on_as_fit() {
        let (old, new) = (copying("n", 1, 0, 2), copying("m", 2, 0, 2));
        let all = [old.clone(), new.clone()];
        assert!(admits(&old, &all, &tasks_of(3)) && !admits(&new, &all, &tasks_of(3)));
        assert!(admits(&new, &all, &tasks_of(4)));
        // What runs already is there, however young it is.
        let running = copying("m", 2, 2, 0);
        assert!(!admits(&old, &[old.clone(), running], &tasks_of(3)));
    }
}
