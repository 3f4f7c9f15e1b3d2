//! What is shown of a Reindex, as text.

use std::fmt::Write;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use unicode_width::UnicodeWidthChar as _;

use crate::{
    api::{
        Reindex, ReindexStatus,
        conditions::{self, FAILED, READY, STALLED},
        reindex_status::{Partition, PartitionState, Phase, Progress, Step, StepState},
    },
    plan::progress::{self, Counted},
    text::one_line,
};

/// How wide the bar of a copy is, in columns.
const BAR: usize = 30;
/// How wide that of a range is.
const RANGE_BAR: usize = 16;
/// How many ranges have a line.
const RANGES: usize = 16;
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
    let widths: Vec<_> = (0..7).map(|at| rows.iter().map(|row| columns(&row[at])).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let shown = row.iter().zip(&widths).skip(usize::from(!namespaces));
        let line: String = shown.map(|(cell, width)| cell.clone() + &" ".repeat(width - columns(cell) + 3)).collect();
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
    let counted_at = status.progress.as_ref().and_then(|progress| progress.observed_at.as_ref());
    for partition in status.partitions.iter().take(RANGES) {
        page += &fitting(&range_line(partition, counted_at.map(|time| time.0), now), width);
    }
    if let Some(more @ 1..) = status.partitions.len().checked_sub(RANGES) {
        page += &fitting(&format!("    and {more} more ranges"), width);
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
    let documents = format!("{} of {} documents", count(progress.documents_copied), count(progress.documents_total));
    let mut line = format!("  {}  {documents}", share(progress.percent, BAR));
    if status.completion_time.is_none() {
        line += &pace(progress, now);
    }
    line
}

/// What is there of 100 percent, as so many columns and in numbers.
fn share(percent: i32, columns: usize) -> String {
    let full = usize::try_from(percent.clamp(0, 100)).unwrap_or_default() * columns / 100;
    format!("{}{} {percent:>3} %", "█".repeat(full), "░".repeat(columns - full))
}

/// How fast it is, and how long it will take.
fn pace(progress: &Progress, now: Timestamp) -> String {
    let mut pace = progress.documents_per_second.map_or(String::new(), |rate| format!(", {}/s", count(rate)));
    if let Some(end) = progress.estimated_completion_time.as_ref().filter(|end| end.0 > now) {
        let _ = write!(pace, ", {} left", span(end.0.duration_since(now)));
    }
    pace
}

/// A range: its own bar, once its task has counted its documents, or what it waits for.
fn range_line(partition: &Partition, counted_at: Option<Timestamp>, now: Timestamp) -> String {
    let Partition { id, attempt, state, .. } = partition;
    let counted = partition.documents_copied.zip(partition.documents_total).zip(counted_at);
    if let (PartitionState::Running, Some(((copied, total), at))) = (state, counted) {
        let counted = Counted { copied, total, ..Counted::default() };
        let progress = progress::progress(&counted, at.duration_since(partition.started_at.0), at);
        let documents = format!("{} of {}", count(copied), count(total));
        let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
        let share = share(progress.percent, RANGE_BAR);
        return format!("    range {id:<3} {share}  {documents}{}{again}", pace(&progress, now));
    }
    let state = match state {
        PartitionState::Running => format!("runs for {}", span(now.duration_since(partition.started_at.0))),
        PartitionState::Waiting => "waits to be tried again".to_owned(),
        PartitionState::Starting => "is begun".to_owned(),
        PartitionState::Cancelling => "is cancelled".to_owned(),
    };
    let why = partition.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
    format!("    range {id}, attempt {attempt}, {state}{why}")
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
    let line = one_line(line.trim_end());
    if columns(&line) <= width {
        return line + "\n";
    }
    let mut taken = 0;
    let fits = line.chars().take_while(|c| {
        taken += columns_of(*c);
        taken < width
    });
    fits.collect::<String>() + "…\n"
}

/// How many columns of a terminal it takes: a character of Chinese, Japanese or Korean takes two.
fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    c.width().unwrap_or_default()
}

/// As many lines as it takes.
pub fn wrapped(text: &str, width: usize) -> String {
    let mut lines = vec![String::from(" ")];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| columns(line));
        if last > 3 && last + 1 + columns(word) > width {
            lines.push(String::from("   "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| fitting(&line, width)).collect()
}

/// The uppermost lines of a page, as many as there are rows, the last of which says how many more there are.
pub fn top(page: &str, rows: usize) -> String {
    let lines = page.lines().count();
    if lines <= rows {
        return page.to_owned();
    }
    let shown = rows.saturating_sub(1);
    let kept: String = page.split_inclusive('\n').take(shown).collect();
    format!("{kept}… {} more lines\n", lines - shown)
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
                {"id": 12, "attempt": 2, "state": "Running", "startedAt": "2026-11-25T12:02:25Z", "documentsCopied": 12_340, "documentsTotal": 28_000},
                {"id": 4, "attempt": 2, "failures": 1, "state": "Waiting", "startedAt": "2026-11-25T12:02:00Z", "message": "the destination lost the source (connect_exception)"},
            ],
            "progress": {"documentsTotal": 1_234_567, "documentsCopied": 543_210, "percent": 44, "documentsPerSecond": 8500, "estimatedCompletionTime": "2026-11-25T12:04:20Z", "observedAt": "2026-11-25T12:02:55Z"},
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
            range 12  ███████░░░░░░░░░  44 %  12,340 of 28,000, 411/s, 33 s left, attempt 2
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
        status_of.partitions[2].message = Some(clear.to_owned());
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
    fn wide_characters_take_two_columns() {
        assert_eq!(fitting("商品信息", 8), "商品信息\n");
        assert_eq!([5, 6].map(|width| fitting("商品信息", width)), ["商品…\n", "商品…\n"]);
        let mut wide = copying();
        wide.spec.source.index = "商品".to_owned();
        let table = list(&[wide, copying()], false);
        let destinations: Vec<_> =
            table.lines().map(|line| columns(line) - columns(line.rsplit("  ").next().unwrap())).collect();
        assert!(destinations.iter().all(|at| *at == destinations[0]), "{table}");
        let page = wrapped(&"商品 信息 ".repeat(9), 20);
        assert!(page.lines().all(|line| columns(line) <= 20) && page.matches("商品").count() == 9, "{page}");
    }

    #[test]
    fn a_page_that_is_too_long_says_how_much_more_there_is() {
        let page = "1\n2\n3\n4\n";
        assert_eq!([5, 4].map(|rows| top(page, rows)), [page, page]);
        assert_eq!(top(page, 3), "1\n2\n… 2 more lines\n");
        assert_eq!([1, 0].map(|rows| top(page, rows)), ["… 4 more lines\n", "… 4 more lines\n"]);
    }

    #[test]
    fn ranges_beyond_sixteen_are_counted() {
        let mut many = copying();
        let status_of = many.status.as_mut().unwrap();
        status_of.partitions = vec![status_of.partitions[0].clone(); RANGES + 3];
        let page = status(&many, now(), WIDTH);
        assert_eq!(page.matches("range 3,").count(), RANGES, "{page}");
        assert!(page.contains("    and 3 more ranges\n"), "{page}");
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
