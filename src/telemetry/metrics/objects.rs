//! What the objects say, read from the caches when somebody asks.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt, runtime::reflector::Store};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

use crate::{
    api::{
        Batch, Reindex, ReindexStatus, SearchCluster,
        allowlist::NodeState,
        conditions::{self, ALLOWLIST_READY, FAILED, READY, STALLED},
        reindex_status::{Phase, Progress},
    },
    plan::report::is_finished,
};

/// How long a Reindex that failed has a line: whoever is called by it comes sooner, and failed ones that are kept would be ever more.
const SHOWN: SignedDuration = SignedDuration::from_hours(1);

/// The caches, once this instance leads.
#[derive(Default)]
pub(super) struct Objects(OnceLock<(Store<Reindex>, Store<SearchCluster>)>);

impl Objects {
    pub(super) fn show(&self, reindexes: Store<Reindex>, clusters: Store<SearchCluster>) {
        // An instance leads once and ends when it no longer does.
        let _ = self.0.set((reindexes, clusters));
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Objects")
    }
}

type Labels = Vec<(&'static str, String)>;

/// What a Reindex's progress says, one metric each.
type Measure = (&'static str, &'static str, fn(&Progress) -> i64);

const PROGRESS: [Measure; 7] = [
    ("reindex_documents", "Documents to copy", |progress| progress.documents_total),
    ("reindex_documents_copied", "Documents copied", |progress| progress.documents_copied),
    ("reindex_documents_verified", "Documents that the verification has read, of both sides", |progress| {
        progress.documents_verified.unwrap_or_default()
    }),
    ("reindex_documents_per_second", "Documents copied a second since the copy began", |progress| {
        progress.documents_per_second.unwrap_or_default()
    }),
    ("reindex_partitions", "Ranges in all", |progress| i64::from(progress.partitions_total)),
    ("reindex_partitions_done", "Ranges that are copied", |progress| i64::from(progress.partitions_done)),
    ("reindex_partitions_running", "Ranges whose task runs", |progress| i64::from(progress.partitions_running)),
];

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some((reindexes, clusters)) = self.0.get() else { return Ok(()) };
        let (reindexes, clusters) = (reindexes.state(), clusters.state());
        let live: Vec<_> = reindexes.iter().filter(|reindex| is_live(reindex)).collect();
        gauge(&mut encoder, "reindexes", "Reindexes by phase", None, phases(&reindexes))?;
        for (name, help, value) in PROGRESS {
            let series = live.iter().filter_map(|reindex| {
                let progress = reindex.status.as_ref()?.progress.as_ref()?;
                Some((named(reindex.as_ref()), value(progress)))
            });
            gauge(&mut encoder, name, help, None, series)?;
        }
        let failures = live.iter().map(|reindex| (named(reindex.as_ref()), failures(reindex)));
        gauge(&mut encoder, "reindex_failures", "Failed attempts of ranges that are not copied yet", None, failures)?;
        let none = ReindexStatus::default();
        let states = live.iter().map(|reindex| {
            let status = reindex.status.as_ref().unwrap_or(&none);
            let ready = conditions::get(&status.conditions, READY);
            let reason = ready.map_or_else(|| NOT_SEEN.to_owned(), |ready| ready.reason.clone());
            let labels =
                vec![("phase", phase(reindex).to_string()), ("state", state(status).to_owned()), ("reason", reason)];
            ([named(reindex.as_ref()), labels].concat(), 1)
        });
        gauge(&mut encoder, "reindex_state", "1 for what an unfinished Reindex does or waits for", None, states)?;
        let begun = live.iter().filter_map(|reindex| {
            let at = reindex.status.as_ref()?.start_time.as_ref()?.0;
            Some((named(reindex.as_ref()), at.as_second()))
        });
        let help = "When an unfinished Reindex began, since 1970";
        gauge(&mut encoder, "reindex_start_time", help, Some(&Unit::Seconds), begun)?;
        gauge(
            &mut encoder,
            "verifications",
            "Reindexes by what their verification came to",
            None,
            verdicts(&reindexes),
        )?;
        let failed = reindexes.iter().filter_map(|reindex| failed(reindex, Timestamp::now()));
        let help = "1 for a Reindex that failed within the last hour";
        gauge(&mut encoder, "reindex_failed", help, None, failed)?;
        let states = clusters.iter().flat_map(|cluster| {
            let of = |type_: &'static str| {
                let found = conditions::get(&cluster.status.as_ref()?.conditions, type_)?;
                let labels = vec![
                    ("condition", type_.to_owned()),
                    ("status", found.status.clone()),
                    ("reason", found.reason.clone()),
                ];
                Some(([named(cluster.as_ref()), labels].concat(), 1))
            };
            [of(READY), of(ALLOWLIST_READY), of(STALLED)].into_iter().flatten().collect::<Vec<_>>()
        });
        let help = "1 for the state of a condition of a SearchCluster";
        gauge(&mut encoder, "search_cluster_condition", help, None, states)?;
        let batches: Vec<_> =
            clusters.iter().filter_map(|cluster| Some((named(cluster.as_ref()), batch(cluster)?))).collect();
        let changes = batches.iter().map(|(name, batch)| {
            let phase = vec![("phase", batch.phase.to_string())];
            ([name.clone(), phase].concat(), 1)
        });
        let help = "1 for how far the last change of a SearchCluster's allowlist is";
        gauge(&mut encoder, "allowlist_change", help, None, changes)?;
        let help = "Nodes that the last change of a SearchCluster's allowlist restarts, by how far they are";
        gauge(&mut encoder, "allowlist_change_nodes", help, None, batches.iter().flat_map(restarts))
    }
}

fn batch(cluster: &SearchCluster) -> Option<&Batch> {
    cluster.status.as_ref()?.allowlist.as_ref()?.batch.as_ref()
}

/// A line for each state, so that one which comes to nothing falls to 0.
fn restarts((name, batch): &(Labels, &Batch)) -> [(Labels, i64); 3] {
    [NodeState::Pending, NodeState::Restarting, NodeState::Done].map(|state| {
        let nodes = batch.nodes.iter().filter(|node| node.state == state).count();
        ([name.clone(), vec![("state", state.to_string())]].concat(), i64::try_from(nodes).unwrap_or(i64::MAX))
    })
}

/// Its series end with the object, or when it has finished: there are as many as there are copies that go on.
fn is_live(reindex: &Reindex) -> bool {
    !reindex.status.as_ref().is_some_and(is_finished)
}

/// The line of one that failed a moment ago. It begins with the object's end, so that nothing is missed that came before the first scrape.
fn failed(reindex: &Reindex, now: Timestamp) -> Option<(Labels, i64)> {
    let status = reindex.status.as_ref()?;
    let failed = conditions::get(&status.conditions, FAILED).filter(|condition| condition.status == "True")?;
    let ended = status.completion_time.as_ref()?.0;
    let reason = vec![("reason", failed.reason.clone())];
    (now.duration_since(ended) < SHOWN).then(|| ([named(reindex), reason].concat(), 1))
}

/// The reason of one that no pass has brought to a status.
const NOT_SEEN: &str = "NotSeen";

/// Whether it goes on by itself.
fn state(status: &ReindexStatus) -> &'static str {
    match status {
        _ if status.phase == Some(Phase::Suspended) => "Suspended",
        _ if conditions::is_true(&status.conditions, STALLED) => "Stalled",
        _ => "Reconciling",
    }
}

/// One that no pass has looked at yet is about to be validated.
fn phase(reindex: &Reindex) -> Phase {
    reindex.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Validating)
}

fn phases(reindexes: &[Arc<Reindex>]) -> impl Iterator<Item = (Labels, i64)> + use<> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for reindex in reindexes {
        *counts.entry(phase(reindex).to_string()).or_default() += 1;
    }
    counts.into_iter().map(|(phase, count)| (vec![("phase", phase)], count))
}

fn verdicts(reindexes: &[Arc<Reindex>]) -> impl Iterator<Item = (Labels, i64)> + use<> {
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    for result in reindexes.iter().filter_map(|reindex| reindex.status.as_ref()?.verification.as_ref()) {
        *counts.entry((result.level.to_string(), result.verdict.to_string())).or_default() += 1;
    }
    counts.into_iter().map(|((level, verdict), count)| (vec![("level", level), ("verdict", verdict)], count))
}

fn failures(reindex: &Reindex) -> i64 {
    let partitions = reindex.status.as_ref().map_or(&[][..], |status| &status.partitions);
    partitions.iter().map(|partition| i64::from(partition.failures)).sum()
}

fn named<K: ResourceExt>(object: &K) -> Labels {
    vec![("namespace", object.namespace().unwrap_or_default()), ("name", object.name_any())]
}

/// One metric with a line for each of these.
fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    series: impl Iterator<Item = (Labels, i64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, &format!("{help}."), unit, MetricType::Gauge)?;
    for (labels, value) in series {
        metric.encode_family(&labels.as_slice())?.encode_gauge(&value)?;
    }
    Ok(())
}
