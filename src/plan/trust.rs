//! Trust in sources that speak TLS: which of them a destination reads from, where their authorities are kept for its nodes, and what a
//! person is told.
//!
//! Nodes don't tell their `reindex.ssl` settings: those are filtered out of `_nodes/settings`. So the change that sets them sets a node
//! attribute beside, and a node that shows it was started with both.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::api::{Reindex, SearchCluster, allowlist::TrustStatus, search_cluster::CaRef};

use super::{
    allowlist::{Change, read_from},
    connection::{self, Authority},
    restart::{Blocked, Node},
};

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

/// What was seen of the sources whose authorities are needed; they are one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The sources, as `namespace/name`.
    pub sources: Vec<String>,
    /// Further sources, which speak TLS with a public authority, as far as is known.
    pub public: Vec<String>,
    /// Whether the ConfigMap holds what is needed.
    pub kept: Result<(), Blocked>,
}

/// Whether there are authorities, in this ConfigMap, that not every node reads.
pub fn is_missing(seen: Option<&Seen>, config_map: &str, nodes: &[Node]) -> bool {
    seen.is_some() && !nodes.iter().all(|node| node.sources.iter().any(|read| read == config_map))
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

/// `namespace/name`.
pub fn full_name(cluster: &SearchCluster) -> String {
    let meta = &cluster.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// Certificates (DER) as PEM, each once, in this order: those that are kept first, since none is taken out.
///
/// # Errors
/// They are too large for a ConfigMap.
pub fn bundle(kept: &[Vec<u8>], needed: &[Vec<u8>]) -> Result<String, Blocked> {
    let mut seen = BTreeSet::new();
    let mut text = String::new();
    for certificate in kept.iter().chain(needed).filter(|certificate| seen.insert(certificate.as_slice())) {
        text += "-----BEGIN CERTIFICATE-----\n";
        let encoded = BASE64_STANDARD.encode(certificate);
        // Base64 is made of ASCII.
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text += "-----END CERTIFICATE-----\n";
    }
    match text.len() <= MAX_BYTES {
        true => Ok(text),
        false => Err(Blocked::by(
            "TooManyAuthorities",
            format!(
                "the authorities of all sources together have {} bytes, more than the {MAX_BYTES} that are kept: take those that are not needed any more out of the ConfigMap",
                text.len()
            ),
        )),
    }
}

/// The blocks of a text of certificates (PEM), each for itself: one that is spoilt spoils no other.
pub fn blocks(text: &str) -> impl Iterator<Item = String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    text.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{rest}"))
}

/// Why the nodes can't be made to trust `seen`, where the setting would replace Java's own authorities.
pub fn would_lose(seen: &Seen) -> Option<Blocked> {
    (!seen.public.is_empty()).then(|| {
        let named = seen.public.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        Blocked::by(
            "PublicAuthority",
            format!(
                "with {SETTING} the nodes would trust the listed authorities only, and the certificate of {named} comes from another, as far as its SearchCluster says: name its authority there in tls.caRef, even a public one"
            ),
        )
    })
}

/// What a change adds, in words: `entries`, and trust.
pub fn in_words(entries: &str, change: &Change) -> String {
    let trust = change.trust.as_ref().map(|map| format!("trust in the authorities that ConfigMap {map} holds"));
    match (change.add.is_empty(), trust) {
        (true, Some(trust)) => trust,
        (false, Some(trust)) => format!("{entries}, and {trust}"),
        (_, None) => entries.to_owned(),
    }
}

/// Whether the SearchCluster of `destination` is about to have its nodes trust `source`.
pub fn is_awaited(destination: &SearchCluster, source: &SearchCluster) -> bool {
    let has_authority = connection::effective(source).is_some_and(|reached| reached.ca != Authority::Image);
    has_authority && status(destination).is_some_and(|trust| !trust.effective)
}

fn status(cluster: &SearchCluster) -> Option<&TrustStatus> {
    cluster.status.as_ref()?.allowlist.as_ref()?.trust.as_ref()
}

/// What a person is told when the nodes of `destination` don't trust the certificate of `source` at `wanted`. `listed` are the files of
/// authorities that stand in their configuration, as far as can be seen.
pub fn untrusted(destination: &SearchCluster, source: &SearchCluster, wanted: &str, listed: &[String]) -> String {
    let said = format!("the destination's nodes don't trust the certificate of the source at {wanted}");
    let namespace = source.metadata.namespace.as_deref().unwrap_or_default();
    let (authority, is_known) = match connection::effective(source).map(|reached| reached.ca) {
        Some(Authority::Spec(CaRef { secret: Some(key), .. }) | Authority::Provider(key)) => {
            (format!("its authority (Secret {namespace}/{}, key {})", key.name, key.key), true)
        }
        Some(Authority::Spec(CaRef { config_map: Some(key), .. })) => {
            (format!("its authority (ConfigMap {namespace}/{}, key {})", key.name, key.key), true)
        }
        Some(Authority::Spec(CaRef { .. }) | Authority::Image) | None => (
            format!("the authority that signed it (SearchCluster {} names none in tls.caRef)", full_name(source)),
            false,
        ),
    };
    if is_known && status(destination).is_some_and(|trust| trust.effective) {
        return format!(
            "{said}, although they are to read {authority}. One that was added only now reaches them within minutes; else another signed the certificate, or it lacks the host's name"
        );
    }
    let folder = folder(match destination.status.as_ref().and_then(|status| status.distribution.as_deref()) {
        Some("OpenSearch") => OPENSEARCH,
        _ => ELASTICSEARCH,
    });
    let file = format!("{folder}/{FILE}");
    let mut files: Vec<&str> = listed.iter().map(String::as_str).filter(|listed| *listed != file).collect();
    files.push(&file);
    let quoted: Vec<_> = files.iter().map(|file| format!("{file:?}")).collect();
    let keep = if listed.is_empty() { " (keep what is listed there)" } else { "" };
    let by_hand = format!(
        "mount {authority} into every node as {file}, set {SETTING}: [{}]{keep} in the nodes' configuration, and restart them",
        quoted.join(", ")
    );
    let by_us: Vec<String> = match is_possible(destination) {
        true => {
            let name_it = (!is_known).then(|| "name it there".to_owned());
            let switch = format!("set allowlist.trustSource on SearchCluster {}", full_name(destination));
            name_it.into_iter().chain((!destination.spec.allowlist.trust_source).then_some(switch)).collect()
        }
        false => vec![],
    };
    match by_us.is_empty() {
        true => format!("{said}: {by_hand}"),
        false => format!("{said}: {by_hand}; or {}, and that is done for you", by_us.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(name: &str, spec: Value, status: Value) -> SearchCluster {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": name, "namespace": "search"}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn source() -> SearchCluster {
        let tls = json!({"caRef": {"configMap": {"name": "es-2-ca", "key": "root.pem"}}});
        cluster("es-2", json!({"endpoint": "https://es-2:9200", "tls": tls}), json!({"clusterUUID": "s"}))
    }

    fn destination(spec: Value, status: Value) -> SearchCluster {
        let mut all = json!({"endpoint": "https://es-1:9200"});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        cluster("es-1", all, status)
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
    fn a_bundle_keeps_what_is_there_and_holds_everything_once() {
        let (a, b, c) = (vec![1; 100], vec![2; 10], vec![3; 10]);
        let first = bundle(&[], &[b.clone(), a.clone(), b.clone()]).unwrap();
        assert_eq!(first.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(first.lines().all(|line| line.len() <= 64), "{first}");
        let second = bundle(&[b.clone(), a.clone()], &[c, a.clone()]).unwrap();
        assert!(second.starts_with(&first), "what is kept stays where it is");
        assert_eq!(bundle(&[b, a], &[]).unwrap(), first, "an unchanged world is the same text");
        assert_eq!(bundle(&[], &[vec![0; MAX_BYTES]]).unwrap_err().reason, "TooManyAuthorities");
    }

    #[test]
    fn who_is_not_trusted_is_told_the_setting_the_mount_and_the_authority() {
        let sets = json!({"provider": {"statefulSets": [{"name": "es-1", "configMap": {"name": "es-1-config"}}]}});
        let message = untrusted(&destination(sets, json!({})), &source(), "es-2:9200", &["own.pem".to_owned()]);
        for part in [
            "es-2:9200",
            "ConfigMap search/es-2-ca, key root.pem",
            r#"reindex.ssl.certificate_authorities: ["own.pem", "/usr/share/elasticsearch/config/reindex-sources/ca.crt"]"#,
            "into every node as /usr/share/elasticsearch/config/reindex-sources/ca.crt,",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(!message.contains("trustSource"), "nobody can do it here: {message}");
    }

    #[test]
    fn where_the_operator_could_do_it_that_is_said() {
        let eck = json!({"provider": {"eck": {"name": "es-1"}}});
        let message = untrusted(&destination(eck, json!({})), &source(), "es-2:9200", &[]);
        assert!(message.contains("; or set allowlist.trustSource on SearchCluster search/es-1, and"), "{message}");
        assert!(message.contains("(keep what is listed there)"), "{message}");
        let operator = json!({"provider": {"openSearchOperator": {"name": "os"}}, "allowlist": {"trustSource": true}});
        let message = untrusted(&destination(operator, json!({"distribution": "OpenSearch"})), &source(), "a:1", &[]);
        assert!(message.contains("/usr/share/opensearch/config/reindex-sources/ca.crt"), "{message}");
        assert!(!message.contains("trustSource"), "it is set: {message}");
    }

    #[test]
    fn an_authority_that_is_read_and_does_not_help_is_another_matter() {
        let spec = json!({"provider": {"eck": {"name": "es-1"}}, "allowlist": {"trustSource": true}});
        let trust = json!({"configMap": "es-1-reindex-sources", "sources": [], "effective": true});
        let status = json!({"allowlist": {"key": "k", "trust": trust}});
        let message = untrusted(&destination(spec, status), &source(), "es-2:9200", &[]);
        assert!(message.contains("although they are to read its authority"), "{message}");
        let of = |trust: Value| {
            let spec = json!({"provider": {"eck": {"name": "es-1"}}, "allowlist": {"trustSource": true}});
            is_awaited(&destination(spec, json!({"allowlist": {"key": "k", "trust": trust}})), &source())
        };
        let trust = |effective: bool| json!({"configMap": "m", "sources": [], "effective": effective});
        assert_eq!([of(trust(false)), of(trust(true)), of(Value::Null)], [true, false, false]);
        let public = cluster("es-3", json!({"endpoint": "https://es-3:9200"}), json!({}));
        let message = untrusted(&destination(json!({}), json!({})), &public, "es-3:9200", &[]);
        let signed =
            "mount the authority that signed it (SearchCluster search/es-3 names none in tls.caRef) into every node as";
        assert!(message.contains(signed), "{message}");
        let eck = destination(json!({"provider": {"eck": {"name": "es-1"}}}), json!({}));
        let message = untrusted(&eck, &public, "es-3:9200", &[]);
        assert!(message.contains("; or name it there and set allowlist.trustSource on"), "{message}");
    }

    #[test]
    fn a_public_authority_that_would_be_lost_is_named() {
        let seen = |public: &[&str]| Seen {
            sources: vec!["search/es-2".into()],
            public: public.iter().map(|name| (*name).to_owned()).collect(),
            kept: Ok(()),
        };
        assert_eq!(would_lose(&seen(&[])), None);
        let blocked = would_lose(&seen(&["shop/es-9"])).unwrap();
        assert!(blocked.reason == "PublicAuthority" && blocked.message.contains("shop/es-9"), "{}", blocked.message);
    }
}
