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

/// The most scrolls that a comparison opens on one cluster where nobody set another number: a cluster has 500.
const MOST_SCROLLS: i32 = 100;

/// How many tasks may read from a source that allows so many open scrolls, of which comparisons hold some: each reads all shards. One may,
/// however few are allowed, where nothing is compared.
pub fn readers(allowed: i32, shards: i32, compared: i32) -> i32 {
    let least = i32::from(compared == 0);
    ((allowed - compared) / shards.max(1)).max(least)
}

/// A side of a comparison, which is read by scrolls.
pub struct Scrolled {
    /// UUID of the cluster.
    pub cluster: String,
    /// Shards that each part reads.
    pub shards: i32,
    /// In how many parts it is read at best; 0 where it isn't by scrolls.
    pub parts: i32,
    /// Scrolls that the cluster allows, if somebody said so.
    pub allowed: Option<i32>,
}

impl Scrolled {
    /// Scrolls of so many parts of it.
    fn scrolls(&self, parts: i32) -> i32 {
        parts * self.shards.max(1)
    }

    /// No more parts than shards, which would cost a pass over all ids each, and no more scrolls than allowed; None where nothing is left.
    /// `open`: scrolls of others; where there are none it may always be read. `own`: what the other side of the comparison is to have.
    fn fitting(&self, open: i32, own: i32) -> Option<i32> {
        let shards = self.shards.max(1);
        let best = self.parts.min(shards).min((MOST_SCROLLS / shards).max(1));
        match self.allowed {
            _ if best == 0 => Some(0),
            None => Some(best),
            Some(allowed) => {
                let least = i32::from(open == 0);
                Some(best.min((allowed - open - own) / shards).max(least)).filter(|parts| *parts > 0)
            }
        }
    }
}

/// In how many parts both sides of a comparison are read, and the scrolls that these are, by cluster.
pub type Parts = ([u32; 2], Vec<(String, i32)>);

/// How much of a comparison may be read at once; None where it has to wait. `others`: scrolls that other comparisons may hold open on a
/// cluster. What copies hold is counted like what [`slots`] counts.
pub fn parts(sides: &[Scrolled; 2], all: &[Reindex], others: &dyn Fn(&str) -> i32) -> Option<Parts> {
    let open = |side: &Scrolled| {
        let here = all.iter().filter(|reindex| cluster(reindex, Side::Source) == Some(side.cluster.as_str()));
        others(&side.cluster) + here.map(scrolls_of).sum::<i32>()
    };
    let [first, second] = sides;
    let beside = |scrolls: i32| if first.cluster == second.cluster { scrolls } else { 0 };
    // What the first took of one cluster the second could never have, however long it waits: so a part is kept for it.
    let kept = second.scrolls(second.parts.min(1));
    let fitting = first.fitting(open(first), beside(kept))?;
    let taken = first.scrolls(fitting);
    let rest = second.fitting(open(second), beside(taken))?;
    let scrolls = vec![(first.cluster.clone(), taken), (second.cluster.clone(), second.scrolls(rest))];
    Some(([fitting, rest].map(|parts| parts.max(1).unsigned_abs()), scrolls))
}

/// Scrolls that the tasks of a copy hold open on its source, or may.
fn scrolls_of(reindex: &Reindex) -> i32 {
    let plan = reindex.status.as_ref().and_then(|status| status.plan.as_ref());
    tasks(reindex) * plan.map_or(1, |plan| plan.source_shards.max(1))
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
            let others = all.iter().filter(|other| {
                other.metadata.uid != reindex.metadata.uid && is_copying(other) && cluster(other, side) == Some(uuid)
            });
            // What runs already is there, however young it is.
            let others: i32 =
                others.map(|other| if age(other) < age(reindex) { tasks(other) } else { known(other) }).sum();
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
    fn what_is_compared_is_not_free_for_copies_and_one_may_copy_where_nothing_is() {
        assert_eq!([readers(10, 5, 0), readers(10, 5, 5), readers(10, 5, 10), readers(10, 5, 11)], [2, 1, 0, 0]);
        assert_eq!(readers(3, 5, 0), 1);
        assert_eq!(readers(3, 0, 0), 3);
    }

    fn scrolled(cluster: &str, shards: i32, parts: i32, allowed: Option<i32>) -> Scrolled {
        Scrolled { cluster: cluster.into(), shards, parts, allowed }
    }

    #[test]
    fn a_comparison_reads_in_as_many_parts_as_fit_beside_what_is_open_and_waits_where_none_does() {
        let fitting = |shards, parts, allowed, open| scrolled("s", shards, parts, allowed).fitting(open, 0);
        assert_eq!(fitting(5, 4, None, 1000), Some(4), "nobody set a limit");
        assert_eq!(
            (fitting(2, 4, None, 0), fitting(40, 4, None, 0), fitting(400, 4, None, 0)),
            (Some(2), Some(2), Some(1))
        );
        assert_eq!(
            (fitting(5, 4, Some(15), 0), fitting(5, 4, Some(15), 5), fitting(5, 4, Some(15), 10)),
            (Some(3), Some(2), Some(1))
        );
        assert_eq!((fitting(5, 4, Some(15), 11), fitting(5, 4, Some(15), 99)), (None, None));
        assert_eq!((fitting(5, 4, Some(3), 0), fitting(5, 4, Some(3), 1)), (Some(1), None), "alone it may always read");
        assert_eq!(fitting(5, 0, Some(3), 99), Some(0), "it is looked up there");
        assert_eq!(fitting(0, 4, Some(3), 0), Some(1), "an index without shards");
    }

    #[test]
    fn a_comparison_counts_copies_other_comparisons_and_its_own_other_side() {
        let mut copy = copying("n", 1, 1, 1);
        copy.status.as_mut().unwrap().plan.as_mut().unwrap().source_shards = 3;
        let sides = [scrolled("s", 2, 4, Some(12)), scrolled("d", 2, 4, Some(12))];
        let nothing = |_: &str| 0;
        let free = parts(&sides, &[], &nothing).unwrap();
        assert_eq!(free, ([2, 2], vec![("s".into(), 4), ("d".into(), 4)]));
        let beside =
            parts(&sides, std::slice::from_ref(&copy), &|cluster: &str| if cluster == "s" { 4 } else { 10 }).unwrap();
        assert_eq!(beside.0, [1, 1], "two tasks on three shards and four scrolls leave two of twelve");
        assert_eq!(parts(&sides, std::slice::from_ref(&copy), &|_: &str| 5), None);
        let one = [scrolled("s", 2, 4, Some(6)), scrolled("s", 2, 4, Some(6))];
        assert_eq!(parts(&one, &[], &nothing).unwrap().0, [2, 1], "both sides are on one cluster");
        let looked_up = [scrolled("s", 2, 1, Some(6)), scrolled("d", 2, 0, Some(6))];
        assert_eq!(parts(&looked_up, &[], &nothing).unwrap(), ([1, 1], vec![("s".into(), 2), ("d".into(), 0)]));
    }

    #[test]
    fn a_comparison_of_two_indexes_of_one_cluster_keeps_a_part_for_its_other_side() {
        let nothing = |_: &str| 0;
        let one = |allowed| [scrolled("s", 5, 4, Some(allowed)), scrolled("s", 5, 4, Some(allowed))];
        assert_eq!(parts(&one(20), &[], &nothing), Some(([3, 1], vec![("s".into(), 15), ("s".into(), 5)])));
        assert_eq!(parts(&one(3), &[], &nothing).unwrap().0, [1, 1], "alone it may always read");
        assert_eq!(parts(&one(20), &[], &|_: &str| 10).unwrap().0, [1, 1]);
        assert_eq!(parts(&one(20), &[], &|_: &str| 11), None, "one part would fit, and two don't");
    }

    /// Scrolls of a comparison on each of these clusters, given what others hold on each; None where it waits.
    fn taken(sides: &[Scrolled; 2], open: i32) -> Option<Vec<i32>> {
        let (_, scrolls) = parts(sides, &[], &|_: &str| open)?;
        let on = |cluster: &str| scrolls.iter().filter(|(there, _)| there == cluster).map(|(_, scrolls)| scrolls).sum();
        Some(sides.iter().map(|side| on(&side.cluster)).collect())
    }

    #[test]
    fn alone_a_comparison_may_always_begin_and_it_keeps_to_a_limit_that_holds_a_part_of_each_side() {
        for (first, second, allowed) in
            (1..=8).flat_map(|a| (1..=8).flat_map(move |b| (1..=40).map(move |l| (a, b, l))))
        {
            for (other, parts) in [("s", 4), ("d", 4), ("s", 0), ("d", 0)] {
                let sides = [scrolled("s", first, 4, Some(allowed)), scrolled(other, second, parts, Some(allowed))];
                let on_one =
                    if other == "s" { first + second * parts.min(1) } else { first.max(second * parts.min(1)) };
                let case = format!("{first} and {second} shards on s and {other} in {parts} parts, {allowed} scrolls");
                let alone = taken(&sides, 0).unwrap_or_else(|| panic!("{case}: it waits for ever"));
                assert!(alone.iter().all(|scrolls| *scrolls <= allowed.max(on_one)), "{case}: {alone:?}");
                for open in 1..=allowed {
                    let begins = taken(&sides, open);
                    assert_eq!(begins.is_some(), open + on_one <= allowed, "{case}, {open} open");
                    let keeps = begins.iter().flatten().all(|scrolls| *scrolls == 0 || scrolls + open <= allowed);
                    assert!(keeps, "{case}, {open} open: {begins:?}");
                }
            }
        }
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

    #[test]
    fn what_a_younger_one_runs_counts_while_it_starts_more() {
        let (old, young) = (copying("n", 1, 0, 2), copying("m", 2, 2, 1));
        let all = [old.clone(), young.clone()];
        assert!(!admits(&old, &all, &tasks_of(3)), "two run");
        assert!(admits(&old, &all, &tasks_of(4)), "what the younger one starts waits");
        assert!(!admits(&young, &all, &tasks_of(4)) && admits(&young, &all, &tasks_of(5)));
    }
}
