//! What was measured, as it is kept, and what follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::groups::{GRID, Group, Other, Row, Target};
use super::method::{SECONDS, Sample};
use super::stats::{self, Summary};

/// One group's raw samples and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The group's name.
    pub name: String,
    /// What people read above the picture.
    pub title: String,
    /// When it was measured.
    pub measured_at: String,
    /// The commit of the checkout that was measured.
    pub commit: String,
    /// The machine: cores, memory, kernel.
    pub machine: String,
    /// What ran on the machine besides, before: the load average of a minute.
    pub load_average: f64,
    /// How often each was repeated.
    pub repeats: usize,
    /// Seconds of each point of the grid, run once to find the best; null where it failed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub grid: BTreeMap<String, Option<f64>>,
    /// Who took part.
    pub contenders: Vec<Runs>,
    /// The lines of the table.
    pub results: Vec<Outcome>,
}

/// All repeats of one contender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Whose.
    pub name: String,
    /// One sample a repeat, in order.
    pub samples: Vec<Sample>,
    /// Why one failed; it was not repeated then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Runs {
    /// Those of somebody who has not run yet.
    pub fn none_yet(name: &str) -> Self {
        Self { name: name.to_owned(), samples: Vec::new(), failure: None }
    }

    /// Adds what another repeat came to.
    pub fn add(&mut self, result: Result<Sample, String>) {
        match result {
            Ok(sample) => self.samples.push(sample),
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// What a metric's samples come to; `None` when the contender failed.
    pub fn summary(&self, metric: &str) -> Option<Summary> {
        if self.failure.is_some() {
            return None;
        }
        let values: Vec<_> = self.samples.iter().filter_map(|sample| sample.get(metric).copied()).collect();
        stats::summary(&values)
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was asked.
    pub name: String,
    /// Our median; null when we failed.
    pub ours: Option<f64>,
    /// The other's median; null when there is none or it failed.
    pub other: Option<f64>,
    /// Of both, as the target has it.
    pub ratio: Option<f64>,
    /// The smallest and the largest sample of each.
    pub spread: Value,
    /// What was to be reached.
    pub target: String,
    /// Whether it was.
    pub met: bool,
    /// What one must know besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Judges one row by the samples.
pub fn judge(row: &Row, contenders: &[Runs]) -> Outcome {
    let find = |name: &str| contenders.iter().find(|runs| runs.name == name);
    let ours = find(row.ours);
    let other = match row.other {
        Other::Nothing => None,
        Other::One(name) => find(name),
        Other::BestOfGrid => best_of_grid(contenders),
    };
    let summary = |runs: Option<&Runs>| runs.and_then(|runs| runs.summary(row.metric));
    let (our_summary, other_summary) = (summary(ours), summary(other));
    let median = |summary: Option<Summary>| summary.map(|summary| summary.median);
    let (mine, its) = (median(our_summary), median(other_summary));
    let ratio = match row.target {
        Target::AtMost(_) | Target::Completes | Target::More(_) => None,
        Target::Faster(_) => mine.zip(its).map(|(mine, its)| its / mine),
        Target::Times(_) | Target::Share(_) => mine.zip(its).map(|(mine, its)| mine / its),
    };
    let met = match row.target {
        Target::Completes => mine.is_some(),
        Target::AtMost(limit) => mine.is_some_and(|mine| mine <= limit),
        Target::Faster(least) | Target::Share(least) => ratio.is_some_and(|ratio| ratio >= least),
        Target::Times(most) => ratio.is_some_and(|ratio| ratio <= most),
        Target::More(most) => mine.zip(its).is_some_and(|(mine, its)| mine - its <= most),
    };
    let spread = |summary: Option<Summary>| summary.map(|summary| [rounded(summary.min), rounded(summary.max)]);
    let notes = [
        ours.and_then(|runs| runs.failure.clone()),
        other.and_then(|runs| runs.failure.as_ref().map(|failure| format!("{}: {failure}", runs.name))),
        (row.other == Other::BestOfGrid).then(|| other.map(|runs| runs.name.clone())).flatten(),
    ];
    let note = notes.into_iter().flatten().collect::<Vec<_>>().join("; ");
    Outcome {
        name: row.name.clone(),
        ours: mine.map(rounded),
        other: its.map(rounded),
        ratio: ratio.map(rounded),
        spread: json!({"ours": spread(our_summary), "other": spread(other_summary)}),
        target: target(row),
        met,
        note: (!note.is_empty()).then_some(note),
    }
}

/// The grid's contender with the shortest median, of those that did not fail.
fn best_of_grid(contenders: &[Runs]) -> Option<&Runs> {
    let points = contenders.iter().filter(|runs| runs.name.starts_with(GRID));
    let timed = points.filter_map(|runs| Some((runs.summary(SECONDS)?.median, runs)));
    timed.min_by(|(one, _), (another, _)| one.total_cmp(another)).map(|(_, runs)| runs)
}

fn target(row: &Row) -> String {
    let aim = |aim: String| if row.aim.is_some() { format!(" (aim {aim})") } else { String::new() };
    let hoped = row.aim.unwrap_or_default();
    match row.target {
        Target::Completes => "completes".to_owned(),
        Target::AtMost(limit) => format!("<= {limit}{}", aim(hoped.to_string())),
        Target::Faster(least) => format!(">= {least} x faster{}", aim(hoped.to_string())),
        Target::Times(most) => format!("<= {most} x"),
        Target::More(most) => format!("<= {most} more"),
        Target::Share(least) => format!(">= {:.0} %{}", least * 100.0, aim(format!("{:.0} %", hoped * 100.0))),
    }
}

/// Four digits that count are more than a machine repeats.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let digits = 10_f64.powf(3.0 - value.abs().log10().floor());
    (value * digits).round() / digits
}

/// The groups of before with this one in the place of its former results, in the order of all groups.
pub fn replace(before: Vec<Measured>, new: Measured, order: &[Group]) -> Vec<Measured> {
    let mut groups: Vec<_> = before.into_iter().filter(|group| group.name != new.name).collect();
    groups.push(new);
    groups.retain(|group| order.iter().any(|known| known.name == group.name));
    groups.sort_by_key(|group| order.iter().position(|known| known.name == group.name));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, seconds: &[f64]) -> Runs {
        let sample = |seconds: &f64| Sample::from([(SECONDS.to_owned(), *seconds)]);
        Runs { name: name.to_owned(), samples: seconds.iter().map(sample).collect(), failure: None }
    }

    fn row(other: Other, target: Target) -> Row {
        Row { name: "a row".to_owned(), ours: "ours", other, metric: SECONDS, target, aim: None }
    }

    #[test]
    fn a_target_is_met_by_the_ratio_of_the_medians() {
        let contenders = [runs("ours", &[10.0, 11.0, 50.0]), runs("raw", &[22.0, 21.0, 23.0])];
        let outcome = judge(&row(Other::One("raw"), Target::Faster(2.0)), &contenders);
        assert_eq!(
            (outcome.ours, outcome.other, outcome.ratio, outcome.met),
            (Some(11.0), Some(22.0), Some(2.0), true)
        );
        assert_eq!(outcome.spread, json!({"ours": [10.0, 50.0], "other": [21.0, 23.0]}));
        assert!(!judge(&row(Other::One("raw"), Target::Faster(2.1)), &contenders).met);
        assert!(judge(&row(Other::One("raw"), Target::Times(0.6)), &contenders).met);
        assert!(judge(&row(Other::Nothing, Target::AtMost(11.0)), &contenders).met);
        assert!(!judge(&row(Other::Nothing, Target::AtMost(10.9)), &contenders).met);
    }

    #[test]
    fn what_failed_is_not_reached_and_says_why() {
        let failed = Runs { failure: Some("failed: no".to_owned()), ..runs("ours", &[1.0]) };
        let outcome = judge(&row(Other::One("raw"), Target::Faster(2.0)), &[failed, runs("raw", &[9.0])]);
        assert_eq!((outcome.ours, outcome.met, outcome.note.as_deref()), (None, false, Some("failed: no")));
    }

    #[test]
    fn the_best_point_of_the_grid_is_the_fastest_that_did_not_fail() {
        let broken = Runs { failure: Some("failed".to_owned()), ..runs("by hand: 8 x 10", &[1.0]) };
        let contenders =
            [runs("ours", &[4.0]), broken, runs("by hand: 1 x 10", &[5.0]), runs("by hand: 2 x 10", &[4.0])];
        let outcome = judge(&row(Other::BestOfGrid, Target::Times(1.0)), &contenders);
        assert_eq!((outcome.other, outcome.note.as_deref(), outcome.met), (Some(4.0), Some("by hand: 2 x 10"), true));
    }

    #[test]
    fn numbers_are_rounded_to_four_digits() {
        assert_eq!((rounded(12_345.6), rounded(1.234_56), rounded(0.0)), (12_350.0, 1.235, 0.0));
    }
}
