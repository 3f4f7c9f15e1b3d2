//! What the source's documents are like.

use crate::{api::Reindex, plan::words::names};

use super::Finding;

/// The source's index, beyond its mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFacts {
    /// Indices that a search may leave out without a word: frozen ones, and such that are mounted from a snapshot in part.
    pub frozen: Vec<String>,
    /// Indices that are mounted from a snapshot.
    pub mounted: Vec<String>,
    /// Indices that don't keep documents as they were sent, but make `_source` up from their fields.
    pub synthetic: Vec<String>,
    /// Indices of time series: their ids are made from time and dimensions.
    pub time_series: Vec<String>,
    /// The least `index.max_result_window` of the indices.
    pub max_result_window: Option<i64>,
    /// An index of which other ones hold an `_id` as well, of a sample.
    pub twice: Option<String>,
    /// Documents with a routing of their own; None where it was not looked.
    pub routed: Option<i64>,
    /// Documents that match; None where they could not be counted.
    pub matching: Option<i64>,
    /// Documents in all, nested ones counted.
    pub documents: i64,
    /// Bytes on disk, without replicas.
    pub bytes: i64,
}

impl SourceFacts {
    /// Bytes that the documents that match take up, if they are like the others.
    pub fn matching_bytes(&self) -> i64 {
        let share = match self.matching {
            // Nested documents are counted among all: then it is an estimate to the safe side.
            Some(matching) if self.documents > 0 => (matching as f64 / self.documents as f64).min(1.0),
            _ => 1.0,
        };
        (self.bytes as f64 * share) as i64
    }
}

pub(super) fn check(reindex: &Reindex, source: &SourceFacts) -> Vec<Finding> {
    let spec = &reindex.spec;
    let mut findings = vec![];
    if !source.frozen.is_empty() {
        findings.push(Finding::surrounding(
            "SourceFrozen",
            format!("searches may leave out the documents of {}, which is frozen, and so both the copy and its proof would: unfreeze it, or restore it from its snapshot", names(&source.frozen)),
        ));
    }
    if !source.mounted.is_empty() {
        findings.push(Finding::warning(
            "SearchableSnapshot",
            format!(
                "{} is mounted from a snapshot: while its repository can't be reached its documents can't be read",
                names(&source.mounted)
            ),
        ));
    }
    if !source.synthetic.is_empty() {
        findings.push(Finding::warning(
            "SyntheticSource",
            format!("{} makes `_source` up from its fields: what arrives is not what was sent once (order and duplicates in arrays, forms of numbers and dates)", names(&source.synthetic)),
        ));
    }
    if !source.time_series.is_empty() {
        findings.push(Finding::warning(
            "TimeSeries",
            format!(
                "{} is an index of time series: the copy is a plain index, with the ids as they are",
                names(&source.time_series)
            ),
        ));
    }
    if let Some(index) = &source.twice {
        findings.push(Finding::surrounding(
            "SameIdTwice",
            format!("documents of {index} have the same _id as documents of other indices behind {}: in one index one of each would be lost. Copy the indices one by one", spec.source.index),
        ));
    }
    let batch = i64::from(spec.execution.batch_size);
    if let Some(window) = source.max_result_window.filter(|window| batch > *window) {
        findings.push(Finding::terminal(
            "BatchTooLarge",
            format!("execution.batchSize {batch} is more than the source's index.max_result_window {window}: use at most that, in a new Reindex"),
        ));
    }
    if spec.destination.routing == "discard" && source.routed.is_some_and(|routed| routed > 0) {
        findings.push(Finding::warning(
            "RoutingDiscarded",
            "documents have a routing of their own, which destination.routing discard takes away: those with the same _id become one, and whoever searches with a routing finds others".into(),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reasons(spec: Value, source: &SourceFacts) -> Vec<&'static str> {
        let mut reindex = json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r"}, "spec": {
            "source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
        }});
        for (key, value) in spec.as_object().unwrap() {
            *reindex.pointer_mut("/spec").unwrap().as_object_mut().unwrap().entry(key).or_insert(json!({})) =
                value.clone();
        }
        check(&serde_json::from_value(reindex).unwrap(), source).iter().map(|finding| finding.reason).collect()
    }

    #[test]
    fn each_doubt_about_the_source_is_named() {
        let one = || vec!["i".to_owned()];
        let all = SourceFacts {
            frozen: one(),
            mounted: one(),
            synthetic: one(),
            time_series: one(),
            twice: Some("i".into()),
            ..SourceFacts::default()
        };
        assert_eq!(
            reasons(json!({}), &all),
            ["SourceFrozen", "SearchableSnapshot", "SyntheticSource", "TimeSeries", "SameIdTwice"]
        );
        assert!(reasons(json!({}), &SourceFacts::default()).is_empty());
    }

    #[test]
    fn a_batch_must_fit_into_the_result_window() {
        let source = SourceFacts { max_result_window: Some(5_000), ..SourceFacts::default() };
        assert_eq!(reasons(json!({"execution": {"batchSize": 5_001}}), &source), ["BatchTooLarge"]);
        assert!(reasons(json!({"execution": {"batchSize": 5_000}}), &source).is_empty());
    }

    #[test]
    fn a_routing_that_is_thrown_away_is_named() {
        let routed = SourceFacts { routed: Some(3), ..SourceFacts::default() };
        let discard = json!({"destination": {"clusterRef": {"name": "b"}, "index": "j", "routing": "discard"}});
        assert_eq!(reasons(discard, &routed), ["RoutingDiscarded"]);
        assert!(reasons(json!({}), &routed).is_empty());
    }

    #[test]
    fn a_query_shares_the_bytes() {
        let source = SourceFacts { matching: Some(25), documents: 100, bytes: 1_000, ..SourceFacts::default() };
        assert_eq!(source.matching_bytes(), 250);
        assert_eq!(SourceFacts { matching: None, ..source }.matching_bytes(), 1_000);
    }
}
