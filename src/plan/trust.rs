//! Trust in sources that speak TLS: which of them a destination reads from, where their authorities are kept for its nodes, and what a
//! person is told.
//!
//! Nodes don't tell their `reindex.ssl` settings: those are filtered out of `_nodes/settings`. So the change that sets them sets a node
//! attribute beside, and a node that shows it was started with both.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Reindex, SearchCluster, allowlist::LeftOut};

use super::{
    allowlist::read_from,
    restart::{Blocked, Node},
    words::full_name,
};

mod needed;
mod telling;

pub use needed::{Bundle, Found, Needed, blocks};
pub use telling::{in_words, is_awaited, newly_left_out, untrusted};

/// The setting: files of authorities that a reindex trusts, instead of Java's own.
pub const SETTING: &str = "reindex.ssl.certificate_authorities";
/// The node attribute that is set beside it; its value is the name of the ConfigMap that is read.
pub const MARK: &str = "node.attr.reindex_sources";
/// The folder below a node's configuration, where alone its security manager lets it read; also the name of the volume.
pub const FOLDER: &str = "reindex-sources";
/// The file in it, which is the ConfigMap's key.
pub const FILE: &str = "ca.crt";
/// The annotation that tells whose the ConfigMap is: the name of the SearchCluster.
pub const OWNER: &str = "reindex.dev/sources-of";
/// Bytes that all authorities together may have; a ConfigMap holds a megabyte.
pub const MAX_BYTES: usize = 512 * 1024;
/// How many sources a message or a status names.
pub const NAMED: usize = 10;

/// Where Elasticsearch is installed in its images.
pub const ELASTICSEARCH: &str = "/usr/share/elasticsearch";
/// Where OpenSearch is.
pub const OPENSEARCH: &str = "/usr/share/opensearch";

/// The folder where nodes that are installed at `home` find the authorities.
pub fn folder(home: &str) -> String {
    format!("{}/config/{FOLDER}", home.trim_end_matches('/'))
}

/// The ConfigMap of a SearchCluster.
pub fn config_map(cluster: &SearchCluster) -> String {
    format!("{}-{FOLDER}", cluster.metadata.name.as_deref().unwrap_or_default())
}

/// Whether somebody runs the cluster's nodes whose object can mount a ConfigMap.
pub fn is_possible(cluster: &SearchCluster) -> bool {
    let provider = &cluster.spec.provider;
    provider.eck.is_some() || provider.open_search_operator.is_some()
}

/// What was seen of the sources whose authorities are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Sources whose authorities the ConfigMap holds, as `namespace/name`; while it can't be written, those that it is to hold.
    pub sources: Vec<String>,
    /// Further sources, whose authorities it does without.
    pub left_out: Vec<LeftOut>,
    /// Whether nodes have to read the ConfigMap: one of `sources` has an authority of its own. For public ones alone Java's own do.
    pub needs_nodes: bool,
    /// Whether the ConfigMap holds what is needed.
    pub kept: Result<(), Blocked>,
}

impl Seen {
    /// Whether nodes may be told to read the ConfigMap: they need it, and it is there.
    pub fn is_ready(&self) -> bool {
        self.needs_nodes && self.kept.is_ok()
    }
}

/// Whether there are authorities, in this ConfigMap, that not every node reads.
pub fn is_missing(seen: Option<&Seen>, config_map: &str, nodes: &[Node]) -> bool {
    seen.is_some_and(|seen| seen.needs_nodes) && !nodes.iter().all(|node| reads(node, config_map))
}

/// Whether a node was started with the setting that reads this ConfigMap.
pub fn reads(node: &Node, config_map: &str) -> bool {
    node.sources.iter().any(|read| read == config_map)
}

/// The SearchClusters with which the cluster with this UUID speaks TLS as a destination, by `namespace/name`.
pub fn sources<'a>(
    reindexes: impl IntoIterator<Item = &'a Reindex>,
    clusters: impl IntoIterator<Item = &'a SearchCluster>,
    uuid: &str,
) -> BTreeMap<String, &'a SearchCluster> {
    let by_tls = |reindex: &'a Reindex| {
        let source = read_from(reindex, uuid).filter(|source| source.remote.starts_with("https:"))?;
        let own = reindex.metadata.namespace.as_deref().unwrap_or_default();
        let named = &reindex.spec.source.cluster_ref;
        Some((format!("{}/{}", named.namespace_or(own), named.name), source.cluster_uuid.as_str()))
    };
    let read: BTreeSet<(String, &str)> = reindexes.into_iter().filter_map(by_tls).collect();
    let known = |cluster: &'a SearchCluster| {
        let found = cluster.status.as_ref()?.cluster_uuid.as_deref()?;
        let name = full_name(cluster);
        // One that stands for another cluster by now is not the one that was validated.
        read.contains(&(name.clone(), found)).then_some((name, cluster))
    };
    clusters.into_iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::json;

    use super::*;

    fn source() -> SearchCluster {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": "es-2", "namespace": "search"}, "spec": {"endpoint": "https://es-2:9200"},
            "status": {"clusterUUID": "s"},
        }))
        .unwrap()
    }

    fn reindex(remote: &str, uuid: &str) -> Reindex {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r", "namespace": "shop"},
            "spec": {
                "source": {"clusterRef": {"name": "es-2", "namespace": "search"}, "index": "i"},
                "destination": {"clusterRef": {"name": "es-1"}, "index": "j"},
            },
            "status": {
                "conditions": [{"type": "Validated", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "source": {"clusterUUID": uuid, "version": "7.17.29", "indices": [], "remote": remote},
                "destination": {"clusterUUID": "d", "version": "7.17.29"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_sources_that_speak_tls_and_are_who_they_were_count() {
        let source = source();
        let names = |reindex: Reindex, uuid: &str| sources([&reindex], [&source], uuid).into_keys().collect::<Vec<_>>();
        assert_eq!(names(reindex("https://es-2:9200", "s"), "d"), ["search/es-2"]);
        assert!(names(reindex("http://es-2:9200", "s"), "d").is_empty());
        assert!(names(reindex("https://es-2:9200", "another"), "d").is_empty());
        assert!(names(reindex("https://es-2:9200", "s"), "another").is_empty());
    }

    #[test]
    fn only_what_a_node_alone_can_be_told_is_missing() {
        let node = |reads: &[&str]| Node { sources: reads.iter().map(|&map| map.into()).collect(), ..Node::default() };
        let seen = |needs_nodes| Seen { sources: vec!["n/a".into()], left_out: vec![], needs_nodes, kept: Ok(()) };
        let (with, without) = (node(&["other", "map"]), node(&["other"]));
        assert!(!is_missing(Some(&seen(true)), "map", slice::from_ref(&with)));
        assert!(is_missing(Some(&seen(true)), "map", &[with, without.clone()]));
        assert!(!is_missing(Some(&seen(false)), "map", slice::from_ref(&without)), "Java's own authorities do");
        assert!(!is_missing(None, "map", &[without]));
    }
}
