//! What is shown of a Reindex, as text.

use std::fmt::Write;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::{
    api::{
        Reindex, ReindexStatus,
        conditions::{self, FAILED, READY, STALLED},
        reindex_status::{PartitionState, Phase, Progress, Step, StepState},
    },
    text::{bounded, one_line},
};

/// How wide a bar is, in columns.
const BAR: usize = 30;
const UNSEEN: &str = "the operator has not seen it yet";

/// How wide a line is where nobody says otherwise, and at most.
pub const WIDTH: usize = 110;

/// A table with a line for each.
pub fn list(reindexes: &[Reindex], namespaces: bool) -> String {
    let mut rows =
        vec![["NAMESPACE", "NAME", "PHASE", "PROGRESS", "DOCUMENTS", "SOURCE", "DESTINATION"].map(str::to_owned)];
    rows.extend(reindexes.iter().map(|reindex| {
        let progress = reindex.status.as_ref().and_then(|status| status.progress.as_ref());
        let (source, destination) = (&reindex.spec.source, &reindex.spec.destination);
        [
            reindex.namespace().unwrap_or_default(),
            reindex.name_any(),
            phase(reindex).to_string(),
            progress.map_or("–".to_owned(), |progress| format!("{} %", progress.percent)),
            progress.map_or("–".to_owned(), |progress| count(progress.documents_copied)),
            format!("{}/{}", source.cluster_ref.name, source.index),
            format!("{}/{}", destination.cluster_ref.name, destination.index),
        ]
        .map(|cell| one_line(&cell))
    }));
    let widths: Vec<_> = (0..7).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let shown = row.iter().zip(&widths).skip(usize::from(!namespaces));
        let line: String = shown.map(|(cell, width)| format!("{cell:<width$}   ")).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Namespace and name.
pub fn name(reindex: &Reindex) -> String {
    format!("{}/{}", reindex.namespace().unwrap_or_default(), reindex.name_any())
}

/// A page: what a dry run found, and what a copy would do.
pub fn plan(reindex: &Reindex) -> String {
    let status = reindex.status.clone().unwrap_or_default();
    let mut page = one_line(&title(reindex)) + "\n";
    for finding in status.preflight.iter().flat_map(|preflight| &preflight.findings) {
        let accepted = if finding.accepted { ", accepted" } else { "" };
        page += &wrapped(&format!("{:?}{accepted} {}: {}", finding.severity, finding.reason, finding.message), WIDTH);
    }
    for unchecked in status.preflight.iter().flat_map(|preflight| &preflight.unchecked) {
        page += &wrapped(&format!("not checked: {unchecked}"), WIDTH);
    }
    let Some(plan) = &status.dry_run else { return page + &wrapped(&says(reindex), WIDTH) };
    page += &wrapped(&format!("allowlist: {}", plan.allowlist), WIDTH);
    page += &wrapped(&format!("index: {}", plan.index), WIDTH);
    let (documents, ranges) = (count(plan.documents), count(plan.partitions.into()));
    let (tasks, batch) = (plan.parallelism, count(plan.batch_size.into()));
    let copied = format!(
        "copy: {documents} documents, {} in {ranges} ranges, {tasks} at once, batches of {batch}",
        size(plan.bytes)
    );
    page += &wrapped(&copied, WIDTH);
    let time = SignedDuration::from_secs(plan.estimated_seconds);
    page += &wrapped(&format!("time: roughly {}", span(time)), WIDTH);
    if let Some(body) = plan.index_body.as_ref().and_then(|body| serde_saphyr::to_string(body).ok()) {
        page += "  index body:\n";
        body.lines().for_each(|line| page += &format!("    {}\n", one_line(line)));
    }
    page
}

/// What is copied where.
fn title(reindex: &Reindex) -> String {
    let (source, destination) = (&reindex.spec.source, &reindex.spec.destination);
    format!(
        "{}: {}/{} to {}/{}",
        name(reindex),
        source.cluster_ref.name,
        source.index,
        destination.cluster_ref.name,
        destination.index
    )
}

/// One line: how far it is, and what it waits for.
pub fn line(reindex: &Reindex) -> String {
    let status = reindex.status.clone().unwrap_or_default();
    let far = status.progress.as_ref().map_or(String::new(), |progress| {
        format!(" {} % ({} of {})", progress.percent, count(progress.documents_copied), count(progress.documents_total))
    });
    one_line(&format!("{}{far}: {}", phase(reindex), says(reindex)))
}

/// A page: how far it is, its steps, the ranges that are copied, what it waits for and what came out. No line is longer than `width`:
/// a terminal would wrap it, and drawing over it would leave rests.
pub fn status(reindex: &Reindex, now: Timestamp, width: usize) -> String {
    let status = reindex.status.clone().unwrap_or_default();
    let mut page = fitting(&title(reindex), width);
    if let Some(progress) = &status.progress {
        page += &fitting(&bar(progress, &status, now), width);
    }
    for step in &status.steps {
        page += &fitting(&step_line(step, now), width);
    }
    for partition in status.partitions.iter().take(16) {
        let (id, attempt) = (partition.id, partition.attempt);
        let state = match partition.state {
            PartitionState::Running => format!("runs for {}", span(now.duration_since(partition.started_at.0))),
            PartitionState::Waiting => "waits to be tried again".to_owned(),
            PartitionState::Starting => "is begun".to_owned(),
            PartitionState::Cancelling => "is cancelled".to_owned(),
        };
        let why = partition.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
        page += &fitting(&format!("    range {id}, attempt {attempt}, {state}{why}"), width);
    }
    page += &wrapped(&format!("{}: {}", phase(reindex), says(reindex)), width);
    if let Some(result) = status.verification.as_ref().filter(|_| status.completion_time.is_some()) {
        let side = |documents: Option<i64>| documents.map_or("–".to_owned(), count);
        let (source, destination) = (side(result.source_documents), side(result.destination_documents));
        let _ = writeln!(
            page,
            "  proof: {:?} {:?}, source {source}, destination {destination}",
            result.level, result.verdict
        );
    }
    page
}

/// One word; before the operator has seen it none is written yet.
pub fn phase(reindex: &Reindex) -> Phase {
    reindex.status.as_ref().and_then(|status| status.phase).unwrap_or(Phase::Validating)
}

/// What it says of itself, beyond its phase.
pub fn says(reindex: &Reindex) -> String {
    let Some(status) = &reindex.status else { return UNSEEN.to_owned() };
    let found = [FAILED, STALLED, READY].into_iter().find(|type_| conditions::is_true(&status.conditions, type_));
    match conditions::get(&status.conditions, found.unwrap_or(READY)) {
        Some(condition) if condition.reason == phase(reindex).to_string() => condition.message.clone(),
        Some(condition) => format!("{}: {}", condition.reason, condition.message),
        None => UNSEEN.to_owned(),
    }
}

fn bar(progress: &Progress, status: &ReindexStatus, now: Timestamp) -> String {
    let full = usize::try_from(progress.percent.clamp(0, 100)).unwrap_or_default() * BAR / 100;
    let (done, left) = ("█".repeat(full), "░".repeat(BAR - full));
    let documents = format!("{} of {} documents", count(progress.documents_copied), count(progress.documents_total));
    let mut line = format!("  {done}{left} {:>3} %  {documents}", progress.percent);
    if status.completion_time.is_none() {
        if let Some(rate) = progress.documents_per_second {
            let _ = write!(line, ", {}/s", count(rate));
        }
        if let Some(end) = progress.estimated_completion_time.as_ref().filter(|end| end.0 > now) {
            let _ = write!(line, ", {} left", span(end.0.duration_since(now)));
        }
    }
    line
}

fn step_line(step: &Step, now: Timestamp) -> String {
    let mark = match step.state {
        StepState::Running => "…",
        StepState::Succeeded => "✓",
        StepState::Failed => "✗",
    };
    let took = step.started_at.as_ref().map_or(String::new(), |begin| {
        let end = step.finished_at.as_ref().map_or(now, |end| end.0);
        span(end.duration_since(begin.0))
    });
    let message = step.message.clone().unwrap_or_default();
    format!("  {mark} {:<9} {took:>7}  {message}", step.name.to_string())
}

/// One line, cut where it is too long. Specs and statuses hold words of others, which must not draw on a terminal.
fn fitting(line: &str, width: usize) -> String {
    bounded(line.trim_end(), width) + "\n"
}

/// As many lines as it takes.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 3 && last + 1 + word.chars().count() > width {
            lines.push(String::from("   "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| fitting(&line, width)).collect()
}

/// 1234567 as 1,234,567.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// 1536 as 1.5 KiB.
pub fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let bytes = bytes.max(0);
    let power = (0..UNITS.len() - 1).rev().find(|power| bytes >= 1 << (10 * (power + 1))).map_or(0, |power| power + 1);
    match power {
        0 => format!("{bytes} B"),
        // One decimal is shown, so 52 bits are enough.
        _ => format!("{:.1} {}", bytes as f64 / (1_i64 << (10 * power)) as f64, UNITS[power]),
    }
}

/// The two largest parts of a time: 2 h 5 m, 3 m 20 s, 12 s.
pub fn span(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reindex(status: Value) -> Reindex {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"namespace": "search", "name": "product-info"},
            "spec": {"source": {"clusterRef": {"name": "es-2"}, "index": "product_info"},
                     "destination": {"clusterRef": {"name": "es-1"}, "index": "dest"}},
            "status": status,
        }))
        .unwrap()
    }

    fn copying() -> Reindex {
        reindex(json!({
            "phase": "Copying",
            "steps": [
                {"name": "Validate", "state": "Succeeded", "startedAt": "2026-11-25T12:00:00Z", "finishedAt": "2026-11-25T12:00:01Z", "message": "source es-2 (7.17.29), destination es-1 (7.17.29)"},
                {"name": "Copy", "state": "Running", "startedAt": "2026-11-25T12:00:02Z", "message": "copying 1234567 documents"},
            ],
            "partitions": [
                {"id": 3, "attempt": 1, "state": "Running", "startedAt": "2026-11-25T12:01:00Z"},
                {"id": 4, "attempt": 2, "failures": 1, "state": "Waiting", "startedAt": "2026-11-25T12:02:00Z", "message": "the destination lost the source (connect_exception)"},
            ],
            "progress": {"documentsTotal": 1_234_567, "documentsCopied": 543_210, "percent": 44, "documentsPerSecond": 8500, "estimatedCompletionTime": "2026-11-25T12:04:20Z"},
            "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Copying", "message": "copying 1234567 documents", "lastTransitionTime": "2026-11-25T12:00:02Z"}],
        }))
    }

    fn now() -> Timestamp {
        "2026-11-25T12:03:00Z".parse().unwrap()
    }

    #[test]
    fn a_copy_is_shown_with_its_bar_steps_and_ranges() {
        insta::assert_snapshot!(status(&copying(), now(), WIDTH), @r"
        search/product-info: es-2/product_info to es-1/dest
          █████████████░░░░░░░░░░░░░░░░░  44 %  543,210 of 1,234,567 documents, 8,500/s, 1 m 20 s left
          ✓ Validate      1 s  source es-2 (7.17.29), destination es-1 (7.17.29)
          … Copy      2 m 58 s  copying 1234567 documents
            range 3, attempt 1, runs for 2 m 0 s
            range 4, attempt 2, waits to be tried again: the destination lost the source (connect_exception)
          Copying: copying 1234567 documents
        ");
    }

    #[test]
    fn one_that_the_operator_has_not_seen_says_so() {
        let new = reindex(json!({"observedGeneration": -1}));
        assert_eq!(line(&new), "Validating: the operator has not seen it yet");
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line(&copying()), "Copying 44 % (543,210 of 1,234,567): copying 1234567 documents");
    }

    #[test]
    fn what_a_person_has_to_do_is_wrapped_not_cut() {
        let message = "word ".repeat(60);
        let stalled = json!([
            {"type": "Ready", "status": "False", "reason": "NotAllowed", "message": "", "lastTransitionTime": "2026-11-25T12:00:02Z"},
            {"type": "Stalled", "status": "True", "reason": "NotAllowed", "message": message, "lastTransitionTime": "2026-11-25T12:00:02Z"},
        ]);
        let page = status(&reindex(json!({"phase": "Validating", "conditions": stalled})), now(), 40);
        assert_eq!(page.matches("word").count(), 60);
        assert!(page.lines().all(|line| line.chars().count() <= 40), "{page}");
    }

    #[test]
    fn nothing_of_a_spec_or_a_status_draws_on_the_terminal() {
        let mut hostile = copying();
        let clear = "\u{1b}[2J\r\u{9b}1m\u{202e}";
        hostile.spec.source.index += clear;
        hostile.spec.destination.cluster_ref.name += clear;
        let status_of = hostile.status.as_mut().unwrap();
        status_of.conditions[0].message += clear;
        status_of.steps[0].message = Some(clear.to_owned());
        status_of.partitions[1].message = Some(clear.to_owned());
        for shown in [status(&hostile, now(), WIDTH), line(&hostile), plan(&hostile), list(&[hostile], true)] {
            assert!(shown.contains("[2J"), "{shown:?}");
            assert!(!shown.contains(|c: char| c == '\u{202e}' || c.is_control() && c != '\n'), "{shown:?}");
        }
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(fitting(&"é".repeat(9), 5), "éééé…\n");
        assert_eq!(fitting("ééééé", 5), "ééééé\n");
    }

    #[test]
    fn a_list_has_a_line_for_each() {
        insta::assert_snapshot!(list(&[copying(), reindex(json!({}))], false), @r"
        NAME           PHASE        PROGRESS   DOCUMENTS   SOURCE              DESTINATION
        product-info   Copying      44 %       543,210     es-2/product_info   es-1/dest
        product-info   Validating   –          –           es-2/product_info   es-1/dest
        ");
        assert!(list(&[copying()], true).starts_with("NAMESPACE   NAME"));
    }

    #[test]
    fn numbers_and_times_are_for_people() {
        assert_eq!([0, 999, 1000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
        let spans = [5, 125, 7500, 100_000].map(|seconds| span(SignedDuration::from_secs(seconds)));
        assert_eq!(spans, ["5 s", "2 m 5 s", "2 h 5 m", "1 d 3 h"]);
    }
}
