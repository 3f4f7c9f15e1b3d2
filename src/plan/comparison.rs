//! Which documents of both sides are compared, with what of them, and what is said about the outcome.

use crate::api::{
    Reindex,
    reindex::{Conflicts, KEEP_ROUTING, VerificationLevel},
    reindex_status::{Difference, DifferenceKind, Differences, Verdict, VerificationResult},
    writing::OpType,
};

/// How many differences are listed at all.
pub const LISTED: usize = 1000;
/// How many of them stand in status, and their most bytes together.
const SHOWN: (usize, usize) = (10, 400);
/// How many of them a message names, and the most characters of their ids.
const NAMED: (usize, usize) = (3, 64);
/// How often what differs is copied again.
pub const MOST_REPAIRS: i32 = 3;

/// Which documents are compared, and what of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How the two sides are brought together.
    pub how: How,
    /// The destination holds documents in the source's versions.
    pub versions: bool,
    /// What is in them counts.
    pub content: bool,
    /// What became of a document's routing.
    pub routing: Routing,
    /// A document that the destination holds in a higher version is as it should be.
    pub newer_is_fine: bool,
}

/// How the two sides are brought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// All documents of each side are summed up.
    Sums,
    /// Each of the source is looked up on the destination, which holds others too.
    LookUp,
    /// So many of the source, drawn at random, are.
    Sample(u32),
}

/// What became of a document's routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// It stayed.
    Kept,
    /// None has any.
    Discarded,
    /// All have this one.
    Set(String),
}

impl Routing {
    /// The routing that a document of the source has on the destination.
    pub fn on_the_destination<'a>(&'a self, of_the_source: Option<&'a str>) -> Option<&'a str> {
        match self {
            Routing::Kept => of_the_source,
            Routing::Discarded => None,
            Routing::Set(all) => Some(all),
        }
    }
}

/// What is to be compared; None where numbers are enough. `created`: the destination holds nothing else.
pub fn comparison(reindex: &Reindex, created: bool) -> Option<Comparison> {
    let spec = &reindex.spec;
    let how = match spec.verification.level {
        VerificationLevel::None | VerificationLevel::Count => return None,
        VerificationLevel::Sample => How::Sample(spec.verification.sample_size().unsigned_abs()),
        VerificationLevel::Identity | VerificationLevel::Content if created => How::Sums,
        VerificationLevel::Identity | VerificationLevel::Content => How::LookUp,
    };
    Some(Comparison {
        how,
        versions: spec.destination.op_type == OpType::Index,
        content: spec.verification.level != VerificationLevel::Identity,
        routing: match spec.destination.routing.as_str() {
            KEEP_ROUTING => Routing::Kept,
            "discard" => Routing::Discarded,
            set => Routing::Set(set.strip_prefix('=').unwrap_or(set).to_owned()),
        },
        newer_is_fine: spec.conflicts == Conflicts::Proceed && spec.destination.op_type == OpType::Index,
    })
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Documents that were read from the source.
    pub source_documents: u64,
    /// Documents that were read from the destination.
    pub destination_documents: u64,
    /// The sums of both sides, where there are any.
    pub sums: Option<(u128, u128)>,
    /// Documents that the destination lacks.
    pub missing: u64,
    /// Documents that only the destination has.
    pub extra: u64,
    /// Documents that are not the same.
    pub different: u64,
    /// Documents that the destination holds in a higher version, where that is as it should be.
    pub newer: u64,
    /// The first [`LISTED`] of them.
    pub listed: Vec<Difference>,
    /// There are more than were looked at.
    pub more: bool,
    /// Seconds that it took.
    pub seconds: i64,
}

impl Compared {
    /// Takes down one difference.
    pub fn note(&mut self, kind: DifferenceKind, id: &str, routing: Option<&str>) {
        match kind {
            DifferenceKind::Missing => self.missing += 1,
            DifferenceKind::Extra => self.extra += 1,
            DifferenceKind::Different => self.different += 1,
        }
        if self.listed.len() < LISTED {
            self.listed.push(Difference { kind, id: id.to_owned(), routing: routing.map(str::to_owned) });
        }
    }

    /// Nothing differs.
    pub fn is_the_same(&self) -> bool {
        self.found() == 0 && !self.more
    }

    /// Differences that were found.
    pub fn found(&self) -> u64 {
        self.missing + self.extra + self.different
    }

    /// The differences as status shows them.
    pub fn differences(&self) -> Option<Differences> {
        if self.is_the_same() {
            return None;
        }
        let mut bytes = 0;
        let fits = |difference: &&Difference| {
            bytes += difference.id.len() + difference.routing.as_ref().map_or(0, String::len) + 32;
            bytes <= SHOWN.1
        };
        Some(Differences {
            missing: signed(self.missing),
            extra: signed(self.extra),
            different: signed(self.different),
            more: self.more,
            examples: self.listed.iter().take(SHOWN.0).take_while(fits).cloned().collect(),
        })
    }
}

/// Adds what the documents came to, to what the numbers did.
pub fn with_documents(result: VerificationResult, compared: &Compared) -> VerificationResult {
    let hexadecimal = |sum: u128| format!("{sum:032x}");
    VerificationResult {
        verdict: if compared.is_the_same() { result.verdict } else { Verdict::Failed },
        duration_seconds: Some(compared.seconds),
        source_sum: compared.sums.map(|(source, _)| hexadecimal(source)),
        destination_sum: compared.sums.map(|(_, destination)| hexadecimal(destination)),
        documents_compared: Some(signed(compared.source_documents)),
        differences: compared.differences(),
        ..result
    }
}

/// The reason of a failure at this level.
pub fn reason(level: VerificationLevel) -> &'static str {
    match level {
        VerificationLevel::None | VerificationLevel::Count => "CountMismatch",
        VerificationLevel::Identity => "IdentityMismatch",
        VerificationLevel::Content => "ContentMismatch",
        VerificationLevel::Sample => "SampleMismatch",
    }
}

/// What is said where nothing differs. `documents`: how many there are on the source.
pub fn praise(comparison: &Comparison, compared: &Compared, documents: i64) -> String {
    let read = compared.source_documents;
    let by = match compared.newer {
        0 => parts(comparison).to_owned(),
        newer => format!(
            "{}; {newer} of them are newer on the destination, which conflicts: Proceed keeps",
            parts(comparison)
        ),
    };
    match comparison.how {
        How::Sums => format!("copied and compared: {read} documents are the same on both sides, by {by}"),
        How::LookUp => {
            format!(
                "copied into an index that was there, and compared: it holds all {read} documents, the same by {by}"
            )
        }
        How::Sample(_) if signed(read) >= documents => {
            format!("copied, counted and compared: all {read} documents are the same on both sides, by {by}")
        }
        How::Sample(_) => {
            let percent = percent_at_most(read);
            format!(
                "copied and counted; no difference in {read} of {documents} documents, drawn at random: with 95 % confidence fewer than {percent} % differ by {by}"
            )
        }
    }
}

/// What is said where something does.
pub fn blame(compared: &Compared, repairs: i32) -> String {
    let more = if compared.more { "at least " } else { "" };
    let kinds = [
        (compared.missing, "missing on the destination"),
        (compared.extra, "only there"),
        (compared.different, "different there"),
    ];
    let found = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<_> = found.map(|(count, what)| format!("{more}{count} {what}")).collect();
    let examples = compared.differences().map(|differences| differences.examples).unwrap_or_default();
    let named = |difference: &Difference| {
        let id: String = difference.id.chars().take(NAMED.1).collect();
        format!("{id} ({})", difference.kind.to_string().to_lowercase())
    };
    let ids: Vec<_> = examples.iter().take(NAMED.0).map(named).collect();
    let named = match ids.is_empty() {
        true => String::new(),
        false => format!(", such as {}", ids.join(", ")),
    };
    let tried = match repairs {
        0 => String::new(),
        1 => ", after one repair".to_owned(),
        more => format!(", after {more} repairs"),
    };
    let found = match kinds.is_empty() {
        // Only with documents that may be newer there.
        true => {
            "more of them than are looked at one by one, and those that were looked at are as they should be".to_owned()
        }
        false => kinds.join(", "),
    };
    format!("documents are not the same on both sides{tried}: {found}{named}")
}

/// What of documents is compared, in words.
fn parts(comparison: &Comparison) -> &'static str {
    match (comparison.versions, comparison.content) {
        (true, true) => "id, routing, version and content",
        (false, true) => "id, routing and content",
        (true, false) => "id, routing and version",
        (false, false) => "id and routing",
    }
}

/// The most percent that differ, with 95 % confidence, where none of so many drawn at random does: the share `p` at which a draw of `n`
/// without one has a chance of 5 %, (1 - p)^n = 0.05. Two digits count.
fn percent_at_most(drawn: u64) -> String {
    let percent = 100.0 * (1.0 - 0.05f64.powf(1.0 / drawn.max(1) as f64));
    let digits = (1 - percent.log10().floor() as i32).clamp(0, 6) as usize;
    format!("{percent:.digits$}")
}

/// Whether what differs is to be copied again: where that is wanted, is not done too often already, and everything that differs is known.
pub fn is_repairable(reindex: &Reindex, compared: &Compared, repairs: i32, created: bool) -> bool {
    let verification = &reindex.spec.verification;
    let removable = created && verification.repair.delete_extras;
    verification.repairs()
        && repairs < MOST_REPAIRS
        && !compared.more
        && compared.found() <= LISTED as u64
        && (compared.extra == 0 || removable)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reindex(verification: Value, destination: Value) -> Reindex {
        let mut object = json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r"},
            "spec": {"source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
                "verification": verification},
        });
        for (field, value) in destination.as_object().unwrap() {
            object["spec"]["destination"][field] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn found(missing: usize, extra: usize, different: usize) -> Compared {
        let mut compared = Compared::default();
        (0..missing).for_each(|n| compared.note(DifferenceKind::Missing, &format!("m{n}"), None));
        (0..extra).for_each(|n| compared.note(DifferenceKind::Extra, &format!("e{n}"), Some("r")));
        (0..different).for_each(|n| compared.note(DifferenceKind::Different, &format!("d{n}"), None));
        compared
    }

    #[test]
    fn every_kind_of_difference_counts() {
        for (compared, count) in [(found(2, 0, 0), 2), (found(0, 1, 0), 1), (found(0, 0, 3), 3), (found(1, 1, 1), 3)] {
            assert_eq!(compared.found(), count);
            assert!(!compared.is_the_same());
        }
        assert!(found(0, 0, 0).is_the_same());
        assert!(!Compared { more: true, ..found(0, 0, 0) }.is_the_same(), "what was not looked at may differ");
    }

    #[test]
    fn what_is_compared_follows_from_the_spec() {
        let identity = comparison(&reindex(json!({"level": "Identity"}), json!({})), true).unwrap();
        let expected =
            Comparison { how: How::Sums, versions: true, content: false, routing: Routing::Kept, newer_is_fine: false };
        assert_eq!(identity, expected);
        let content = reindex(json!({"level": "Content"}), json!({"opType": "Create", "routing": "=one"}));
        let expected = Comparison {
            how: How::LookUp,
            versions: false,
            content: true,
            routing: Routing::Set("one".into()),
            newer_is_fine: false,
        };
        assert_eq!(comparison(&content, false), Some(expected));
        let sample = comparison(&reindex(json!({"level": "Sample"}), json!({})), true).unwrap();
        assert_eq!(sample.how, How::Sample(1000));
        for level in ["None", "Count"] {
            assert_eq!(comparison(&reindex(json!({"level": level}), json!({})), true), None);
        }
    }

    #[test]
    fn only_versions_of_the_source_tell_which_document_is_newer() {
        let proceeding = |op_type: &str| {
            let mut reindex = reindex(json!({"level": "Content"}), json!({"opType": op_type, "routing": "==x"}));
            reindex.spec.conflicts = Conflicts::Proceed;
            comparison(&reindex, false).unwrap()
        };
        assert!(proceeding("Index").newer_is_fine);
        // The destination counts versions of its own then: a higher one may be anything.
        assert!(!proceeding("Create").newer_is_fine);
        assert_eq!(proceeding("Index").routing, Routing::Set("=x".into()));
    }

    #[test]
    fn what_is_newer_on_the_destination_is_said() {
        let proceeding = comparison(&reindex(json!({"level": "Identity"}), json!({})), true).unwrap();
        let compared = Compared { source_documents: 9, newer: 2, ..Compared::default() };
        assert!(praise(&proceeding, &compared, 9).contains("2 of them are newer on the destination"));
        let unclear = blame(&Compared { more: true, ..Compared::default() }, 0);
        assert!(unclear.contains("more of them than are looked at"), "{unclear}");
    }

    #[test]
    fn routing_is_compared_as_the_destination_has_it() {
        let of = |routing: Routing| routing.on_the_destination(Some("r")).map(str::to_owned);
        assert_eq!(of(Routing::Kept).as_deref(), Some("r"));
        assert_eq!(of(Routing::Discarded), None);
        assert_eq!(of(Routing::Set("x".into())).as_deref(), Some("x"));
        assert_eq!(Routing::Set("x".into()).on_the_destination(None), Some("x"));
    }

    #[test]
    fn a_sample_says_in_words_what_it_is_worth() {
        assert_eq!(
            ["1", "30", "1000", "30000"].map(|n| percent_at_most(n.parse().unwrap())),
            ["95", "9.5", "0.30", "0.0100"]
        );
        let sample = comparison(&reindex(json!({"level": "Sample"}), json!({})), true).unwrap();
        let compared = Compared { source_documents: 1000, ..Compared::default() };
        let words = praise(&sample, &compared, 1_000_000);
        assert!(words.contains("no difference in 1000 of 1000000 documents") && words.contains("0.30 %"), "{words}");
        assert!(praise(&sample, &compared, 1000).contains("all 1000 documents"));
    }

    #[test]
    fn status_shows_few_and_short_examples() {
        let many = found(600, 600, 0);
        assert_eq!((many.found(), many.listed.len()), (1200, LISTED));
        assert_eq!(many.differences().unwrap().examples.len(), 10);
        let mut long = Compared::default();
        (0..10).for_each(|_| long.note(DifferenceKind::Missing, &"x".repeat(300), None));
        assert_eq!(long.differences().unwrap().examples.len(), 1);
        assert_eq!(found(0, 0, 0).differences(), None);
    }

    #[test]
    fn what_is_said_names_kinds_and_ids() {
        let words = blame(&found(2, 0, 1), 0);
        assert!(
            words.contains("2 missing") && words.contains("1 different") && words.contains("m0 (missing)"),
            "{words}"
        );
        assert!(!words.contains("only there"), "{words}");
        let more = blame(&Compared { more: true, ..found(1, 0, 0) }, 3);
        assert!(more.contains("at least 1 missing") && more.contains("after 3 repairs"), "{more}");
    }

    #[test]
    fn only_what_is_known_and_may_be_changed_is_repaired() {
        let wanted = |delete| {
            let repair = json!({"level": "Identity", "onMismatch": "Repair", "repair": {"deleteExtras": delete}});
            reindex(repair, json!({}))
        };
        assert!(is_repairable(&wanted(false), &found(1, 0, 1), 0, true));
        assert!(!is_repairable(&wanted(false), &found(1, 0, 1), MOST_REPAIRS, true));
        assert!(!is_repairable(&wanted(false), &found(1, 1, 0), 0, true), "an extra one may not be deleted");
        assert!(is_repairable(&wanted(true), &found(1, 1, 0), 0, true));
        assert!(!is_repairable(&wanted(true), &found(1, 1, 0), 0, false), "in an index that is not ours");
        assert!(!is_repairable(&wanted(true), &found(1001, 0, 0), 0, true));
        assert!(!is_repairable(&wanted(true), &Compared { more: true, ..found(1, 0, 0) }, 0, true));
        assert!(!is_repairable(&reindex(json!({"level": "Identity"}), json!({})), &found(1, 0, 0), 0, true));
    }
}
