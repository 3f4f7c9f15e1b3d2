//! The allowlist of reindex sources: which entries are wanted, which are there, and who looks after them.

use std::collections::BTreeSet;

use crate::api::{
    Batch, Reindex, SearchCluster,
    conditions::{self, VALIDATED},
    reindex_status::PinnedSource,
};

use super::{access::matches_glob, remote, report::is_finished};

/// The setting on Elasticsearch, and on OpenSearch 1.
pub const WHITELIST: &str = "reindex.remote.whitelist";
/// The setting from OpenSearch 2 on.
pub const ALLOWLIST: &str = "reindex.remote.allowlist";

/// A change of the nodes' configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Entries that it adds.
    pub add: Vec<String>,
    /// The ConfigMap with authorities of sources that it has the nodes trust.
    pub trust: Option<String>,
}

impl Change {
    /// The change that a batch makes.
    pub fn of(batch: &Batch) -> Change {
        Change { add: batch.entries.clone(), trust: batch.trust.clone() }
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.trust.is_none()
    }
}

/// The setting's name on this distribution and major version.
pub fn key(distribution: &str, major: u32) -> &'static str {
    match distribution {
        "OpenSearch" if major >= 2 => ALLOWLIST,
        _ => WHITELIST,
    }
}

/// Whether an entry (`host:port`, with `*` for any run of characters) allows `host_port`.
pub fn covers(entries: &[String], host_port: &str) -> bool {
    entries.iter().any(|entry| matches_glob(entry, host_port))
}

/// Entries that every node has loaded.
pub fn effective<'a>(nodes: impl IntoIterator<Item = &'a Vec<String>>) -> Vec<String> {
    let mut nodes = nodes.into_iter().map(|entries| entries.iter().cloned().collect::<BTreeSet<_>>());
    let Some(first) = nodes.next() else { return vec![] };
    nodes.fold(first, |all, node| all.intersection(&node).cloned().collect()).into_iter().collect()
}

/// Entries that Reindexes need of the cluster with this UUID: validated ones that are neither finished nor being deleted.
pub fn wanted<'a>(reindexes: impl IntoIterator<Item = &'a Reindex>, uuid: &str) -> Vec<String> {
    let entries: BTreeSet<String> = reindexes.into_iter().filter_map(|reindex| entry(reindex, uuid)).collect();
    entries.into_iter().collect()
}

fn entry(reindex: &Reindex, uuid: &str) -> Option<String> {
    remote::host_port(&read_from(reindex, uuid)?.remote)
}

/// The source that a Reindex has the cluster with this UUID read from: if it is validated, and neither finished nor being deleted.
pub fn read_from<'a>(reindex: &'a Reindex, uuid: &str) -> Option<&'a PinnedSource> {
    let status = reindex.status.as_ref()?;
    let needs = reindex.metadata.deletion_timestamp.is_none()
        && !is_finished(status)
        && conditions::is_true(&status.conditions, VALIDATED)
        && status.destination.as_ref()?.cluster_uuid == uuid;
    status.source.as_ref().filter(|_| needs)
}

/// Of several SearchClusters for one cluster the oldest manages: `namespace/name` of it, None if that is `cluster` itself.
pub fn managed_by_another<'a>(
    cluster: &SearchCluster,
    uuid: &str,
    all: impl IntoIterator<Item = &'a SearchCluster>,
) -> Option<String> {
    let age = |cluster: &SearchCluster| {
        let meta = &cluster.metadata;
        (meta.creation_timestamp.clone().map(|time| time.0), meta.namespace.clone(), meta.name.clone())
    };
    let same = |other: &&SearchCluster| {
        let status = other.status.as_ref();
        other.metadata.uid != cluster.metadata.uid
            && other.metadata.deletion_timestamp.is_none()
            && status.and_then(|status| status.cluster_uuid.as_deref()) == Some(uuid)
    };
    let oldest = all.into_iter().filter(same).min_by_key(|other| age(other))?;
    let meta = &oldest.metadata;
    (age(oldest) < age(cluster)).then(|| {
        format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    })
}

/// The line that a person adds to the node configuration: what is there, and what is missing.
pub fn line(key: &str, present: &[String], missing: &[String]) -> String {
    let all: BTreeSet<&String> = present.iter().chain(missing).collect();
    let quoted: Vec<_> = all.into_iter().map(|entry| format!("{entry:?}")).collect();
    format!("{key}: [{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn strings(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn the_key_follows_distribution_and_version() {
        let keys = [key("Elasticsearch", 7), key("Elasticsearch", 9), key("OpenSearch", 1), key("OpenSearch", 3)];
        assert_eq!(keys, [WHITELIST, WHITELIST, WHITELIST, ALLOWLIST]);
    }

    #[test]
    fn effective_is_what_every_node_has() {
        let nodes = [strings(&["a:1", "b:1"]), strings(&["b:1"])];
        assert_eq!(effective(&nodes), strings(&["b:1"]));
        assert_eq!(effective(&[]), strings(&[]));
    }

    #[test]
    fn a_glob_covers() {
        assert!(covers(&strings(&["*.search.svc:9200"]), "es-2-http.search.svc:9200"));
        assert!(!covers(&strings(&["*.search.svc:9200"]), "es-2-http.search.svc:9201"));
    }

    fn reindex(status: Value) -> Reindex {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r", "namespace": "n"},
            "spec": {"source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"}},
            "status": status,
        }))
        .unwrap()
    }

    fn validated(extra: Value) -> Value {
        let condition = |type_| json!({"type": type_, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let mut conditions = vec![condition("Validated")];
        conditions.extend(extra.as_array().unwrap().iter().map(|type_| condition(type_.as_str().unwrap())));
        json!({"conditions": conditions,
            "source": {"clusterUUID": "s", "version": "7.17.29", "indices": [], "remote": "https://es-2:9200"},
            "destination": {"clusterUUID": "d", "version": "7.17.29"}})
    }

    #[test]
    fn only_validated_unfinished_reindexes_of_this_cluster_count() {
        let running = reindex(validated(json!([])));
        assert_eq!(wanted([&running, &running], "d"), strings(&["es-2:9200"]));
        assert_eq!(wanted([&running], "other"), strings(&[]));
        assert_eq!(wanted([&reindex(validated(json!(["Complete"])))], "d"), strings(&[]));
        assert_eq!(wanted([&reindex(json!({}))], "d"), strings(&[]));
    }

    #[test]
    fn the_line_keeps_what_is_there() {
        assert_eq!(
            line(WHITELIST, &strings(&["b:1"]), &strings(&["a:1"])),
            r#"reindex.remote.whitelist: ["a:1", "b:1"]"#
        );
    }

    #[test]
    fn the_oldest_of_two_manages() {
        let cluster = |name: &str, created: &str| -> SearchCluster {
            serde_json::from_value(json!({
                "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
                "metadata": {"name": name, "namespace": "n", "uid": name, "creationTimestamp": created},
                "spec": {"endpoint": "https://a:9200"}, "status": {"clusterUUID": "u"},
            }))
            .unwrap()
        };
        let (old, new) = (cluster("z", "2026-01-01T00:00:00Z"), cluster("a", "2026-01-02T00:00:00Z"));
        assert_eq!(managed_by_another(&new, "u", [&old, &new]), Some("n/z".into()));
        assert_eq!(managed_by_another(&old, "u", [&old, &new]), None);
    }
}
