//! The checks before a copy that look at more than who the clusters are: what the source's index is like, whether the destination has
//! room and takes the index, what its templates would make of it, and whether both users may do what is to be done.
//!
//! What could not be looked at, for lack of a right or because the engine knows no such question, is None here and is told as
//! unchecked.

use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use crate::{
    api::{
        Reindex,
        reindex_status::{Preflight, PreflightFinding, Severity},
    },
    text::one_line,
};

mod definition;
mod documents;
pub mod dry_run;
mod room;
mod templates;
mod versions;

pub use definition::Mappings;
pub use documents::SourceFacts;
pub use room::{Disk, Room, Watermark};
pub use templates::{Added, Template};
pub use versions::check_versions;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Reason of a condition.
    pub reason: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// What becomes of it.
    pub gravity: Gravity,
}

/// What becomes of a finding; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Nothing outside the spec can mend it.
    Terminal,
    /// It mends itself when its surroundings do.
    Surrounding,
    /// A person may accept it.
    Warning,
}

impl Finding {
    /// A finding that only a new object can mend.
    pub fn terminal(reason: &'static str, message: String) -> Finding {
        Finding { reason, message: one_line(&message), gravity: Gravity::Terminal }
    }

    /// A finding that mends itself when its surroundings do.
    pub fn surrounding(reason: &'static str, message: String) -> Finding {
        Finding { reason, message: one_line(&message), gravity: Gravity::Surrounding }
    }

    /// A finding that a person may accept.
    pub fn warning(reason: &'static str, message: String) -> Finding {
        Finding { reason, message: one_line(&message), gravity: Gravity::Warning }
    }

    /// Whether the copy may start all the same.
    pub fn is_accepted(&self, reindex: &Reindex) -> bool {
        self.gravity == Gravity::Warning && reindex.spec.accept_warnings.iter().any(|reason| reason == self.reason)
    }
}

/// What is looked at. Nothing of it where a cluster can't be reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The source's index.
    pub source: SourceFacts,
    /// The room that the destination has.
    pub room: Room,
    /// Why the destination would refuse the index that would be created.
    pub refused: Option<String>,
    /// The body with which the index would be created; None where it is there and stays.
    pub body: Option<Value>,
    /// The mappings of both sides.
    pub mappings: Option<Mappings>,
    /// What its templates would add to it.
    pub template: Option<Template>,
    /// Settings of the index that is there and is written into: `default_pipeline` and `final_pipeline`, by name.
    pub pipelines: Vec<(String, String)>,
    /// Privileges that a user lacks, by side.
    pub lacking: Vec<(&'static str, Vec<String>)>,
    /// By how much a cluster's clock differs from the operator's, by side.
    pub clocks: Vec<(&'static str, SignedDuration)>,
    /// What could not be looked at, and why.
    pub unchecked: Vec<String>,
}

/// A clock that differs by less says nothing: the answer took some time as well.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Runs every check.
pub fn check(reindex: &Reindex, facts: &Facts) -> Vec<Finding> {
    let mut findings = documents::check(reindex, &facts.source);
    findings.extend(definition::check(reindex, facts));
    findings.extend(room::check(reindex, &facts.source, &facts.room));
    findings.extend(facts.template.iter().flat_map(|template| templates::check(reindex, template)));
    findings.extend(check_privileges(&facts.lacking));
    findings.extend(check_clocks(&facts.clocks));
    findings
}

fn check_privileges(lacking: &[(&'static str, Vec<String>)]) -> Option<Finding> {
    let told: Vec<_> = lacking
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(side, names)| format!("{side}: {}", names.join(", ")))
        .collect();
    (!told.is_empty()).then(|| {
        // A copy may do without some: throttling and cancelling tasks, or looking at templates.
        Finding::warning(
            "PrivilegesMissing",
            format!("the users of the SearchClusters lack privileges: {}. Grant them", told.join("; ")),
        )
    })
}

fn check_clocks(clocks: &[(&'static str, SignedDuration)]) -> Option<Finding> {
    let off: Vec<_> = clocks
        .iter()
        .filter(|(_, difference)| difference.abs() > CLOCK_TOLERANCE)
        // In whole minutes: what changes at every look would be written at every look.
        .map(|(side, difference)| format!("{side}'s by about {} minutes", difference.abs().as_mins().max(1)))
        .collect();
    (!off.is_empty()).then(|| {
        Finding::warning(
            "ClocksDiffer",
            format!("clocks differ from the operator's: {}. A query with `now` in it means another time there, and deadlines are off. Set them", off.join(", ")),
        )
    })
}

/// How many findings a status lists, and how many bytes each message may have there.
const LISTED: usize = 32;
const LISTED_BYTES: usize = 400;

/// What status says about the findings; None where there is nothing to say.
pub fn report(reindex: &Reindex, findings: &[Finding], unchecked: &[String]) -> Option<Preflight> {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.gravity);
    let of = |finding: &Finding| PreflightFinding {
        reason: finding.reason.to_owned(),
        severity: match finding.gravity {
            Gravity::Terminal | Gravity::Surrounding => Severity::Blocking,
            Gravity::Warning => Severity::Warning,
        },
        message: shortened(&finding.message),
        accepted: finding.is_accepted(reindex),
    };
    let findings: Vec<_> = sorted.into_iter().take(LISTED).map(of).collect();
    let unchecked: Vec<_> = unchecked.iter().take(16).map(|what| shortened(what)).collect();
    (!findings.is_empty() || !unchecked.is_empty()).then_some(Preflight { findings, unchecked })
}

fn shortened(message: &str) -> String {
    match message.char_indices().find(|(at, _)| *at >= LISTED_BYTES) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message.to_owned(),
    }
}

/// One reason and one message for everything that keeps the copy from starting, the worst first.
pub fn summary(findings: &[&Finding]) -> (&'static str, String) {
    let mut sorted = findings.to_vec();
    sorted.sort_by_key(|finding| finding.gravity);
    let Some(first) = sorted.first() else { return ("Validating", "the clusters are being looked at".to_owned()) };
    let mut message = match sorted.as_slice() {
        [only] => only.message.clone(),
        all => {
            let lines: Vec<_> = all.iter().map(|finding| format!("{}: {}", finding.reason, finding.message)).collect();
            format!("{} findings. {}", all.len(), lines.join("; "))
        }
    };
    if first.gravity == Gravity::Warning {
        let mut reasons: Vec<_> = sorted.iter().map(|finding| finding.reason).collect();
        reasons.dedup();
        message = format!("mend this, or accept it with spec.acceptWarnings: [{}]. {message}", reasons.join(", "));
    }
    (first.reason, message)
}
