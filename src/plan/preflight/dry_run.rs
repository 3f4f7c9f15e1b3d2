//! What a copy would do, in words and numbers.

use serde_json::Value;

use crate::{
    api::{Reindex, SearchCluster, reindex::IfExists, reindex_status::DryRun, search_cluster::Management},
    plan::{allowlist::covers, load::Load},
};

use super::Facts;

/// Seconds of a processor that a document costs, and a byte of it. From the copies of docs/benchmarks.md, where both clusters run on the
/// same two processors: 1 M documents of 250 B in 17 s, 200,000 of 2.4 KB in 18 s.
const DOCUMENT_SECONDS: f64 = 17e-6;
const BYTE_SECONDS: f64 = 0.068e-6;
/// A longer body is left out of status.
const BODY_BYTES: usize = 4096;

/// What only a dry run looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What would be asked of the clusters.
    pub load: Load,
    /// Bytes of `_source` that a sampled document has on average.
    pub mean: i64,
    /// Processors of the destination's data nodes.
    pub processors: i64,
    /// What would become of the allowlist.
    pub allowlist: String,
}

/// What would become of the destination's allowlist, which `host_port` must be on.
pub fn allowlist(destination: &SearchCluster, host_port: &str) -> String {
    let status = destination.status.clone().unwrap_or_default();
    let effective = status.allowlist.map(|allowlist| allowlist.effective).unwrap_or_default();
    if covers(&effective, host_port) {
        return format!(
            "every node of the destination allows {host_port} already: nothing is changed, no node restarts"
        );
    }
    let nodes = status.nodes.map_or_else(|| "its".to_owned(), |nodes| format!("its {nodes}"));
    let can_change = destination.spec.provider.can_change();
    match destination.spec.allowlist.management {
        Management::Automatic if can_change => {
            format!(
                "{host_port} would be added to the destination's configuration, and {nodes} nodes restarted one by one"
            )
        }
        Management::Approval if can_change => format!(
            "{host_port} would be added to the destination's configuration, and {nodes} nodes restarted one by one, once somebody has approved of it"
        ),
        Management::Automatic | Management::Approval | Management::Verify => format!(
            "a person would have to add {host_port} to the destination's configuration, and to restart {nodes} nodes: the operator only checks there"
        ),
    }
}

/// What a copy would do, from everything that was seen.
pub fn plan(reindex: &Reindex, facts: &Facts, look: &Look, replaces: bool) -> DryRun {
    let documents = facts.source.matching.unwrap_or(facts.source.documents);
    DryRun {
        allowlist: look.allowlist.clone(),
        index: index(reindex, facts.body.as_ref(), replaces),
        index_body: facts.body.clone().filter(|body| body.to_string().len() <= BODY_BYTES),
        documents,
        bytes: facts.source.matching_bytes(),
        partitions: look.load.ranges,
        parallelism: look.load.parallelism,
        batch_size: look.load.batch_size,
        estimated_seconds: seconds(reindex, documents, look),
    }
}

fn index(reindex: &Reindex, body: Option<&Value>, replaces: bool) -> String {
    let name = &reindex.spec.destination.index;
    let Some(settings) = body.map(|body| &body["settings"]["index"]) else {
        return format!("{name} is there and would be written into");
    };
    // A copied setting is a text, a declared one a number.
    let number = |name: &str| settings[name].to_string().trim_matches('"').to_owned();
    let (shards, replicas) = (number("number_of_shards"), number("number_of_replicas"));
    let how = match (replaces, reindex.spec.destination.if_exists) {
        (true, IfExists::Replace) => "deleted and created anew",
        _ => "created",
    };
    format!("{name} would be {how} with {shards} primary shards and {replicas} replicas of each")
}

fn seconds(reindex: &Reindex, documents: i64, look: &Look) -> i64 {
    let bytes = documents as f64 * look.mean as f64;
    let work = documents as f64 * DOCUMENT_SECONDS + bytes * BYTE_SECONDS;
    let at_once = look.processors.min(i64::from(look.load.parallelism)).max(1) as f64;
    let throttled = reindex.spec.execution.requests_per_second.map_or(0.0, |limit| documents as f64 / f64::from(limit));
    (work / at_once).max(throttled).ceil() as i64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::preflight::SourceFacts;

    fn reindex(execution: Value) -> Reindex {
        serde_json::from_value(json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r"}, "spec": {
            "source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
            "execution": execution, "dryRun": true,
        }}))
        .unwrap()
    }

    fn look() -> Look {
        let load = Load { batch_size: 2_500, parallelism: 8, ranges: 12 };
        Look { load, mean: 250, processors: 2, allowlist: "nothing".into() }
    }

    #[test]
    fn what_was_measured_is_what_is_estimated() {
        let body = json!({"settings": {"index": {"number_of_shards": "5", "number_of_replicas": 1}}, "mappings": {}});
        let source =
            SourceFacts { matching: Some(1_000_000), documents: 2_000_000, bytes: 400, ..SourceFacts::default() };
        let facts = Facts { source, body: Some(body.clone()), ..Facts::default() };
        let planned = plan(&reindex(json!({})), &facts, &look(), false);
        assert_eq!((planned.estimated_seconds, planned.documents, planned.bytes), (17, 1_000_000, 200));
        assert_eq!(planned.index, "j would be created with 5 primary shards and 1 replicas of each");
        assert_eq!(planned.index_body, Some(body));
        let throttled = reindex(json!({"requestsPerSecond": 1_000}));
        assert_eq!(plan(&throttled, &facts, &look(), false).estimated_seconds, 1_000);
    }

    #[test]
    fn what_becomes_of_the_allowlist_is_told() {
        let cluster = |allowlist: Value| -> SearchCluster {
            serde_json::from_value(json!({
                "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "b"},
                "spec": {"endpoint": "https://b:9200", "allowlist": allowlist, "provider": {"statefulSets": [{"name": "b", "configMap": {"name": "b"}}]}},
                "status": {"nodes": 3, "allowlist": {"key": "k", "effective": ["*.search.svc:9200"]}},
            }))
            .unwrap()
        };
        let words = |management: &str, host: &str| allowlist(&cluster(json!({"management": management})), host);
        assert!(words("Verify", "a.search.svc:9200").contains("no node restarts"));
        assert!(words("Verify", "a:9200").contains("a person would have to"));
        assert!(words("Automatic", "a:9200").contains("its 3 nodes restarted one by one"));
        assert!(words("Approval", "a:9200").contains("once somebody has approved"));
    }
}
