//! Writes what was measured: the samples, the table, the page and the pictures.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::chart;
use super::elasticdump;
use super::groups::Group;
use super::results::{Measured, Outcome, replace};
use super::world::JAVA_OPTIONS;
use crate::{cache, paths};

const SAMPLES: &str = "docs/benchmarks-samples.json";
const TABLE: &str = "docs/benchmarks.json";
const PAGE: &str = "docs/benchmarks.md";
const PICTURES: &str = "docs/benchmarks";

/// Everything that was measured: all else is made from it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Store {
    groups: Vec<Measured>,
}

/// Puts a group in the place of its former results and writes everything anew, so that a run may be made in parts and
/// one that is stopped keeps what it has.
pub fn write(new: Measured, order: &[Group]) -> Result<()> {
    let checkout = paths::checkout()?;
    let before = stored()?;
    let store = Store { groups: replace(before.groups, new, order) };
    let pretty = |value: &serde_json::Value| format!("{value:#}\n");
    let samples = serde_json::to_value(&store).context("failed to write the samples")?;
    let table: Vec<_> = store.groups.iter().flat_map(|group| &group.results).collect();
    let table = serde_json::to_value(table).context("failed to write the table")?;
    cache::write(&checkout.join(SAMPLES), pretty(&samples))?;
    cache::write(&checkout.join(TABLE), pretty(&table))?;
    cache::write(&checkout.join(PAGE), page(&store))?;
    for group in &store.groups {
        // Groups that are no longer known are not kept.
        let Some(known) = order.iter().find(|known| known.name == group.name) else { continue };
        cache::write(&checkout.join(PICTURES).join(format!("{}.svg", group.name)), chart::svg(group, &known.shown))?;
    }
    Ok(())
}

/// Writes the page anew from what was measured, where only its words changed.
pub fn rewrite_page() -> Result<()> {
    cache::write(&paths::checkout()?.join(PAGE), page(&stored()?))
}

fn stored() -> Result<Store> {
    match fs::read(paths::checkout()?.join(SAMPLES)) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("failed to parse {SAMPLES}")),
        Err(_) => Ok(Store::default()),
    }
}

/// A group's lines as people read them on a terminal.
pub fn lines(group: &Measured) -> String {
    let line = |outcome: &Outcome| {
        let met = if outcome.met { "met" } else { "NOT MET" };
        format!(
            "  {met}: {}: ours {}, other {}, ratio {}, target {}{}\n",
            outcome.name,
            number(outcome.ours),
            number(outcome.other),
            number(outcome.ratio),
            outcome.target,
            outcome.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default()
        )
    };
    group.results.iter().map(line).collect()
}

fn page(store: &Store) -> String {
    let outcomes: Vec<_> = store.groups.iter().flat_map(|group| &group.results).collect();
    let met = outcomes.iter().filter(|outcome| outcome.met).count();
    let machines: BTreeSet<&str> = store.groups.iter().map(|group| group.machine.as_str()).collect();
    let machines = match machines.len() {
        1 => format!("Machine: {}", machines.into_iter().collect::<String>()),
        _ => format!(
            "Machines, of which each picture names its own: {}",
            machines.into_iter().collect::<Vec<_>>().join("; ")
        ),
    };
    let mut page = format!(
        "# Benchmarks\n\nWritten by `make bench`; do not edit. {met} of {} targets are reached.\n\n{machines}.\n\n## Results\n\n\
         | what | ours | other | ratio | spread, ours | spread, other | target | reached |\n|---|---|---|---|---|---|---|---|\n",
        outcomes.len()
    );
    let mut notes = String::new();
    for outcome in &outcomes {
        let reached = if outcome.met { "yes" } else { "**not reached**" };
        let spread = |side: &str| {
            let ends = outcome.spread[side].as_array().map(Vec::as_slice).unwrap_or_default();
            let ends: Vec<_> = ends.iter().map(|end| number(end.as_f64())).collect();
            if ends.is_empty() { "–".to_owned() } else { ends.join(" … ") }
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {reached} |",
            outcome.name,
            number(outcome.ours),
            number(outcome.other),
            number(outcome.ratio),
            spread("ours"),
            spread("other"),
            outcome.target
        );
        if let Some(note) = &outcome.note {
            let _ = writeln!(notes, "- {}: {note}", outcome.name);
        }
    }
    if !notes.is_empty() {
        let _ = write!(page, "\nNotes:\n\n{notes}");
    }
    page.push('\n');
    page.push_str(&include_str!("method.md").replace("@JAVA@", JAVA_OPTIONS).replace("@DUMP@", elasticdump::VERSION));
    page.push_str("\n## Pictures\n");
    for group in &store.groups {
        let _ = write!(
            page,
            "\n### {}\n\n![{}](benchmarks/{}.svg)\n\nMeasured {}, commit {}, on {}; load of the machine before: {}.\n",
            group.title, group.title, group.name, group.measured_at, group.commit, group.machine, group.load_average
        );
        let failures = group.contenders.iter().filter_map(|runs| Some((&runs.name, runs.failure.as_ref()?)));
        for (number, (name, failure)) in failures.enumerate() {
            let separator = if number == 0 { "\n" } else { "" };
            let _ = writeln!(page, "{separator}- {name}: {failure}");
        }
    }
    page
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// Cores, memory and kernel: what numbers depend on, and no name.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let processors = read("/proc/cpuinfo");
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let model = field(&processors, "model name");
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel: Vec<_> = kernel.split('.').take(2).collect();
    format!("{cores} cores ({model}), {} GiB of memory, Linux {}", memory / (1024 * 1024), kernel.join("."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_says_what_was_measured() {
        let written = fs::read_to_string(paths::checkout().unwrap().join(PAGE)).unwrap();
        assert!(written == page(&stored().unwrap()), "{PAGE} is not of {SAMPLES} and method.md: run make generate");
    }

    #[test]
    fn what_is_not_reached_and_what_failed_is_shown() {
        let outcome = |name: &str, met| {
            json!({
                "name": name, "ours": 2.5, "other": null, "ratio": null, "spread": {"ours": [2, 3], "other": null},
                "target": "<= 3", "met": met, "note": "a note"
            })
        };
        let group = json!({
            "name": "group", "title": "A group", "measuredAt": "today", "commit": "abc", "machine": "a machine", "loadAverage": 0.1,
            "repeats": 5,
            "contenders": [{"name": "one", "samples": [], "failure": "failed: too large"}],
            "results": [outcome("first", true), outcome("second", false)]
        });
        let store = Store { groups: vec![serde_json::from_value(group).unwrap()] };
        let page = page(&store);
        for line in [
            "1 of 2 targets are reached.",
            "Machine: a machine.",
            "| first | 2.5 | – | – | 2 … 3 | – | <= 3 | yes |",
            "| second | 2.5 | – | – | 2 … 3 | – | <= 3 | **not reached** |",
            "- second: a note",
            "![A group](benchmarks/group.svg)",
            "- one: failed: too large",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(!page.contains('@'), "a placeholder is left");
    }
}
