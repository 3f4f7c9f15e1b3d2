//! A page for a change ticket: what moved, how it went, and what proves it. It needs nothing but itself.

use askama::Template;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use crate::api::{
    Reindex, ReindexStatus,
    conditions::{self, COMPLETE, FAILED, PLANNED},
    reindex_status::{CopiedRange, DryRun, History, Partition, PartitionState, Sample},
};

use super::text::{self, count, span};

/// Height and width of a chart, in its own units.
const HEIGHT: f64 = 100.0;
const WIDTH: f64 = 1000.0;

/// Names and what they are.
type Rows = Vec<(String, String)>;

/// The page; its template escapes everything.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    phase: String,
    /// `good`, `bad` or nothing: a class of the style sheet.
    mood: &'static str,
    says: String,
    from: String,
    to: String,
    facts: Rows,
    moved: Vec<(&'static str, String, String)>,
    steps: Vec<Step>,
    rate: Option<Rate>,
    timeline: Option<Timeline>,
    tables: Vec<(&'static str, Rows)>,
    spec: String,
    uid: String,
    now: String,
    version: &'static str,
}

struct Step {
    name: String,
    state: String,
    took: String,
    message: String,
}

/// Throughput over time.
struct Rate {
    /// The largest.
    most: String,
    from: String,
    to: String,
    /// Paths of SVG.
    area: String,
    edge: String,
}

/// When ranges were copied, and which are.
struct Timeline {
    told: String,
    from: String,
    to: String,
    bars: Vec<Bar>,
}

/// A bar of the timeline; left and width in percent.
struct Bar {
    name: String,
    told: String,
    left: String,
    width: String,
    took: String,
    /// It isn't copied yet.
    runs: bool,
}

/// The page, as HTML.
///
/// # Errors
/// The template's; it has none by itself.
pub fn page(reindex: &Reindex, now: Timestamp) -> Result<String, askama::Error> {
    let status = reindex.status.clone().unwrap_or_default();
    let is_true = |type_| conditions::is_true(&status.conditions, type_);
    let history = status.history.clone().unwrap_or_default();
    let (from, to) = sides(reindex);
    let page = Page {
        title: text::name(reindex),
        phase: text::phase(reindex).to_string(),
        mood: match () {
            () if is_true(FAILED) => "bad",
            () if is_true(COMPLETE) || is_true(PLANNED) => "good",
            () => "",
        },
        says: text::says(reindex),
        from,
        to,
        facts: facts(&status, now),
        moved: moved(reindex, &status),
        steps: status.steps.iter().map(|step| self::step(step, now)).collect(),
        rate: rate(&history.samples),
        timeline: timeline(&status, &history, now),
        tables: tables(&status),
        spec: serde_saphyr::to_string(&reindex.spec).unwrap_or_default(),
        uid: reindex.uid().unwrap_or_default(),
        now: clock(now),
        version: env!("CARGO_PKG_VERSION"),
    };
    page.render()
}

fn sides(reindex: &Reindex) -> (String, String) {
    let (source, destination) = (&reindex.spec.source, &reindex.spec.destination);
    (
        format!("{} of {}", source.index, source.cluster_ref.name),
        format!("{} of {}", destination.index, destination.cluster_ref.name),
    )
}

/// Seconds, and the zone that everybody can work out.
fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn facts(status: &ReindexStatus, now: Timestamp) -> Rows {
    let mut facts = Rows::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(progress) = &status.progress {
        let of = format!("{} of {}", count(progress.documents_copied), count(progress.documents_total));
        add("Documents copied", if progress.percent == 100 { count(progress.documents_copied) } else { of });
        if let Some(rate) = progress.documents_per_second {
            add("Documents a second", count(rate));
        }
        add("Ranges copied", format!("{} of {}", progress.partitions_done, progress.partitions_total));
    }
    if let Some(begin) = &status.start_time {
        add("Began", clock(begin.0));
        let end = status.completion_time.as_ref().map_or(now, |end| end.0);
        let name = if status.completion_time.is_some() { "Took" } else { "Has taken so far" };
        add(name, span(end.duration_since(begin.0)));
    }
    if let Some(proof) = &status.verification {
        add("Proof", format!("{:?}: {:?}", proof.level, proof.verdict));
    }
    facts
}

fn moved(reindex: &Reindex, status: &ReindexStatus) -> Vec<(&'static str, String, String)> {
    let (source, destination) = (&reindex.spec.source, &reindex.spec.destination);
    let mut rows = vec![
        ("SearchCluster", source.cluster_ref.name.clone(), destination.cluster_ref.name.clone()),
        ("Index", source.index.clone(), destination.index.clone()),
    ];
    let (from, to) = (status.source.as_ref(), status.destination.as_ref());
    let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "–".to_owned());
    if from.is_some() || to.is_some() {
        rows.push(("Version", text(from.map(|from| &from.version)), text(to.map(|to| &to.version))));
        rows.push(("Cluster UUID", text(from.map(|from| &from.cluster_uuid)), text(to.map(|to| &to.cluster_uuid))));
        let uuids = from.map(|from| {
            let each = from.indices.iter().map(|index| format!("{} ({})", index.uuid, index.name));
            each.collect::<Vec<_>>().join(", ")
        });
        rows.push(("Index UUID", text(uuids.as_ref()), text(to.and_then(|to| to.index_uuid.as_ref()))));
        let created = to.map(|to| if to.created { "created by this copy" } else { "was there before" }.to_owned());
        rows.push(("Reached", text(from.map(|from| &from.remote)), text(created.as_ref())));
    }
    rows
}

fn step(step: &crate::api::reindex_status::Step, now: Timestamp) -> Step {
    let end = step.finished_at.as_ref().map_or(now, |end| end.0);
    Step {
        name: step.name.to_string(),
        state: format!("{:?}", step.state),
        took: step.started_at.as_ref().map_or_else(String::new, |begin| span(end.duration_since(begin.0))),
        message: step.message.clone().unwrap_or_default(),
    }
}

/// One step of the curve between two samples; None where there is nothing to draw.
fn rate(samples: &[Sample]) -> Option<Rate> {
    let (first, last) = (samples.first()?, samples.last()?);
    let length = seconds(&first.at, &last.at);
    let each = samples.windows(2).filter_map(|pair| {
        let time = seconds(&pair[0].at, &pair[1].at);
        // A range that is begun again has copied nothing yet.
        let documents = (pair[1].documents - pair[0].documents).max(0) as f64;
        (time > 0.0).then(|| (seconds(&first.at, &pair[0].at), seconds(&first.at, &pair[1].at), documents / time))
    });
    let each: Vec<_> = each.collect();
    let most = each.iter().map(|(.., rate)| *rate).fold(0.0, f64::max);
    if length <= 0.0 || most <= 0.0 {
        return None;
    }
    let points: Vec<_> = each
        .iter()
        .flat_map(|(begin, end, rate)| {
            // The highest step stays below the upper edge.
            let y = HEIGHT - rate / most * HEIGHT * 0.95;
            [begin, end].map(|second| format!("{:.1} {y:.1}", second / length * WIDTH))
        })
        .collect();
    let edge = format!("M{}", points.join("L"));
    Some(Rate {
        most: count(most.round() as i64),
        from: clock(first.at.0),
        to: clock(last.at.0),
        area: format!("{edge}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z"),
        edge,
    })
}

fn seconds(from: &Time, to: &Time) -> f64 {
    to.0.duration_since(from.0).as_secs_f64()
}

/// A time in which a range was copied, or is.
struct Stretch {
    name: String,
    told: String,
    begin: Timestamp,
    end: Timestamp,
    runs: bool,
}

fn timeline(status: &ReindexStatus, history: &History, now: Timestamp) -> Option<Timeline> {
    let round = status.plan.as_ref().map_or(0, |plan| plan.round);
    let until = status.completion_time.as_ref().map_or(now, |end| end.0);
    let running = status.partitions.iter().filter(|partition| partition.state != PartitionState::Waiting);
    let mut stretches: Vec<_> = history.ranges.iter().map(copied).collect();
    stretches.extend(running.map(|partition| running_range(partition, round, until)));
    stretches.sort_by_key(|stretch| stretch.begin);
    let begin = stretches.first()?.begin;
    let end = stretches.iter().map(|stretch| stretch.end).max()?;
    let whole = end.duration_since(begin).as_secs_f64().max(1.0);
    let bars = stretches.into_iter().map(|stretch| {
        let percent = |time: SignedDuration| time.as_secs_f64() / whole * 100.0;
        let took = stretch.end.duration_since(stretch.begin);
        Bar {
            left: format!("{:.2}", percent(stretch.begin.duration_since(begin)).min(99.5)),
            width: format!("{:.2}", percent(took)),
            took: span(took),
            name: stretch.name,
            told: stretch.told,
            runs: stretch.runs,
        }
    });
    Some(Timeline { told: ranges_told(history), bars: bars.collect(), from: clock(begin), to: clock(end) })
}

fn copied(range: &CopiedRange) -> Stretch {
    let took = SignedDuration::from_secs(range.seconds);
    let name = range_name(range.round, range.id);
    let attempt = attempt(range.attempt);
    Stretch {
        told: format!("{name}{attempt}: {} documents in {}", count(range.documents), span(took)),
        name,
        begin: range.started_at.0,
        end: range.started_at.0.checked_add(took).unwrap_or(range.started_at.0),
        runs: false,
    }
}

fn running_range(partition: &Partition, round: i32, until: Timestamp) -> Stretch {
    let name = range_name(round, partition.id);
    Stretch {
        told: format!("{name}{}: not copied yet", attempt(partition.attempt)),
        name,
        begin: partition.started_at.0,
        end: until.max(partition.started_at.0),
        runs: true,
    }
}

fn range_name(round: i32, id: i32) -> String {
    match round {
        0 => format!("range {id}"),
        _ => format!("round {round}, range {id}"),
    }
}

/// Only where it wasn't the first.
fn attempt(attempt: i32) -> String {
    if attempt > 1 { format!(", attempt {attempt}") } else { String::new() }
}

fn ranges_told(history: &History) -> String {
    let shown = history.ranges.len();
    match usize::try_from(history.ranges_copied).unwrap_or_default() > shown {
        true => format!("When each was copied: the {shown} that took longest, of {}", history.ranges_copied),
        false => "When each was copied".to_owned(),
    }
}

/// What is evidence, and what was seen besides.
fn tables(status: &ReindexStatus) -> Vec<(&'static str, Rows)> {
    let mut tables = Vec::new();
    let row = |name: &str, value: String| (name.to_owned(), value);
    if let Some(dry_run) = &status.dry_run {
        tables.push(("What a copy would do", would_do(dry_run)));
    }
    if let Some(proof) = &status.verification {
        tables.push(("Verification", verification(proof)));
    }
    if let Some(result) = &status.result {
        let took = SignedDuration::from_millis(result.took);
        tables.push((
            "What the _reindex API answered",
            vec![
                row("took, all tasks together", span(took)),
                row("total", count(result.total)),
                row("created", count(result.created)),
                row("updated", count(result.updated)),
                row("deleted", count(result.deleted)),
                row("version conflicts", count(result.version_conflicts)),
                row("noops", count(result.noops)),
                row("batches", count(result.batches)),
                row("retries", format!("{} bulk, {} search", result.retries.bulk, result.retries.search)),
                row("throttled", span(SignedDuration::from_millis(result.throttled_millis))),
                row("failures", count(result.failures.len() as i64)),
            ],
        ));
        let refused =
            result.failures.iter().map(|failure| row(failure.id.as_deref().unwrap_or("–"), failure.reason.clone()));
        push(&mut tables, "Documents that were refused", refused.collect());
    }
    let findings = status.preflight.iter().flat_map(|preflight| &preflight.findings);
    let findings = findings.map(|finding| {
        let accepted = if finding.accepted { ", accepted" } else { "" };
        (format!("{:?}{accepted}", finding.severity), format!("{}: {}", finding.reason, finding.message))
    });
    push(&mut tables, "Found before the copy", findings.collect());
    let unchecked = status.preflight.iter().flat_map(|preflight| &preflight.unchecked);
    push(&mut tables, "Not checked before the copy", unchecked.map(|what| row("unknown", what.clone())).collect());
    let tried = status.partitions.iter().filter_map(|partition| {
        let name = format!("range {}, attempt {}", partition.id, partition.attempt);
        Some((name, partition.message.clone()?))
    });
    push(&mut tables, "Ranges that are tried again", tried.collect());
    let conditions = status.conditions.iter().map(|condition| {
        let since = clock(condition.last_transition_time.0);
        (
            format!("{} {}", condition.type_, condition.status),
            format!("{}: {} ({since})", condition.reason, condition.message),
        )
    });
    push(&mut tables, "Conditions", conditions.collect());
    tables
}

fn would_do(dry_run: &DryRun) -> Rows {
    let row = |name: &str, value: String| (name.to_owned(), value);
    let seconds = SignedDuration::from_secs(dry_run.estimated_seconds);
    vec![
        row("allowlist", dry_run.allowlist.clone()),
        row("index", dry_run.index.clone()),
        row("documents", format!("{}, {} on disk", count(dry_run.documents), text::size(dry_run.bytes))),
        row("ranges", format!("{}, {} at once", dry_run.partitions, dry_run.parallelism)),
        row("documents in a batch", count(dry_run.batch_size.into())),
        row("the copy may take, roughly", span(seconds)),
    ]
}

fn push(tables: &mut Vec<(&'static str, Rows)>, name: &'static str, rows: Rows) {
    if !rows.is_empty() {
        tables.push((name, rows));
    }
}

fn verification(proof: &crate::api::reindex_status::VerificationResult) -> Rows {
    let mut rows = Rows::new();
    let mut add = |name: &str, value: Option<String>| rows.extend(value.map(|value| (name.to_owned(), value)));
    add("level", Some(format!("{:?}", proof.level)));
    add("verdict", Some(format!("{:?}", proof.verdict)));
    add("when", proof.at.as_ref().map(|at| clock(at.0)));
    add("took", proof.duration_seconds.map(|seconds| span(SignedDuration::from_secs(seconds))));
    add("documents of the source", proof.source_documents.map(count));
    add("documents of the destination", proof.destination_documents.map(count));
    add("documents compared", proof.documents_compared.map(count));
    add("sum of the source", proof.source_sum.clone());
    add("sum of the destination", proof.destination_sum.clone());
    add(
        "the source changed meanwhile",
        proof.source_changed.map(|changed| if changed { "yes" } else { "no" }.to_owned()),
    );
    add("rounds of repair", proof.repairs.map(|repairs| repairs.to_string()));
    if let Some(differences) = &proof.differences {
        let (missing, extra, different) = (differences.missing, differences.extra, differences.different);
        let more = if differences.more { ", and more" } else { "" };
        add("differences", Some(format!("{missing} missing, {extra} extra, {different} different{more}")));
        let examples = differences.examples.iter().map(|example| format!("{:?} {}", example.kind, example.id));
        add("such as", Some(examples.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()));
    }
    rows
}
