//! What people are told about trust in sources.

use crate::{
    api::{
        SearchCluster,
        allowlist::{LeftOut, TrustStatus},
        search_cluster::CaRef,
    },
    plan::{
        allowlist::Change,
        connection::{self, Authority},
        words::full_name,
    },
};

use super::{ELASTICSEARCH, FILE, OPENSEARCH, SETTING, folder, is_possible};

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
    status(destination).is_some_and(|trust| !trust.effective && left_out(trust, source).is_none())
}

/// What is told of sources that are left out only now, of those that a status names.
pub fn newly_left_out(before: Option<&TrustStatus>, now: Option<&TrustStatus>) -> Vec<String> {
    let left_out = |trust: Option<&TrustStatus>| trust.map(|trust| trust.left_out.clone()).unwrap_or_default();
    let known = left_out(before);
    let is_new =
        |left: &LeftOut| known.iter().all(|known| (&known.source, &known.reason) != (&left.source, &left.reason));
    left_out(now).into_iter().filter(is_new).map(|left| left.message).collect()
}

fn status(cluster: &SearchCluster) -> Option<&TrustStatus> {
    cluster.status.as_ref()?.allowlist.as_ref()?.trust.as_ref()
}

fn left_out<'a>(trust: &'a TrustStatus, source: &SearchCluster) -> Option<&'a LeftOut> {
    let name = full_name(source);
    trust.left_out.iter().find(|left| left.source == name)
}

/// What a person is told when the nodes of `destination` don't trust the certificate of `source` at `wanted`. `listed` are the files of
/// authorities that stand in their configuration, as far as can be seen.
pub fn untrusted(destination: &SearchCluster, source: &SearchCluster, wanted: &str, listed: &[String]) -> String {
    let said = format!("the destination's nodes don't trust the certificate of the source at {wanted}");
    let named = named_authority(source);
    let trust = status(destination);
    if let Some(left) = trust.and_then(|trust| left_out(trust, source)) {
        let name = full_name(destination);
        return format!(
            "{said}: SearchCluster {name} leaves its authority out ({}): {}. Then it is added by itself",
            left.reason, left.message
        );
    }
    if trust.is_some_and(|trust| trust.effective && !trust.sources.is_empty()) {
        return format!("{said}, although they are to read {}", in_vain(named.as_deref(), source));
    }
    let authority = named.clone().unwrap_or_else(|| {
        format!("the authority that signed it (SearchCluster {} names none in tls.caRef)", full_name(source))
    });
    let by_hand = by_hand(destination, &authority, listed);
    match by_us(destination, named.is_some()) {
        None => format!("{said}: {by_hand}"),
        Some(by_us) => format!("{said}: {by_hand}; or {by_us}, and that is done for you"),
    }
}

/// The authority that the source's SearchCluster or its provider names.
fn named_authority(source: &SearchCluster) -> Option<String> {
    let namespace = source.metadata.namespace.as_deref().unwrap_or_default();
    let (kind, key) = match connection::effective(source)?.ca {
        Authority::Spec(CaRef { secret: Some(key), .. }) | Authority::Provider(key) => ("Secret", key),
        Authority::Spec(CaRef { config_map: Some(key), .. }) => ("ConfigMap", key),
        Authority::Spec(CaRef { .. }) | Authority::Image => return None,
    };
    Some(format!("its authority ({kind} {namespace}/{}, key {})", key.name, key.key))
}

/// What nodes read that trust the source no more for it, and what that may mean.
fn in_vain(named: Option<&str>, source: &SearchCluster) -> String {
    match named {
        Some(authority) => format!(
            "{authority}. One that was added only now reaches them within minutes; else another signed the certificate, or it lacks the host's name"
        ),
        None => format!(
            "the public authorities that the operator trusts. Those that were added only now reach them within minutes; else another signed the certificate (then name it in tls.caRef of SearchCluster {}), or it lacks the host's name",
            full_name(source)
        ),
    }
}

/// What a person does on the nodes.
fn by_hand(destination: &SearchCluster, authority: &str, listed: &[String]) -> String {
    let folder = folder(match destination.status.as_ref().and_then(|status| status.distribution.as_deref()) {
        Some("OpenSearch") => OPENSEARCH,
        _ => ELASTICSEARCH,
    });
    let file = format!("{folder}/{FILE}");
    let mut files: Vec<&str> = listed.iter().map(String::as_str).filter(|listed| *listed != file).collect();
    files.push(&file);
    let quoted: Vec<_> = files.iter().map(|file| format!("{file:?}")).collect();
    let keep = if listed.is_empty() { " (keep what is listed there)" } else { "" };
    format!(
        "mount {authority} into every node as {file}, set {SETTING}: [{}]{keep} in the nodes' configuration, and restart them",
        quoted.join(", ")
    )
}

/// What a person sets so that the operator does it, where it can.
fn by_us(destination: &SearchCluster, is_named: bool) -> Option<String> {
    if !is_possible(destination) {
        return None;
    }
    let name_it = (!is_named).then(|| "name it there".to_owned());
    let switch = (!destination.spec.allowlist.trust_source)
        .then(|| format!("set allowlist.trustSource on SearchCluster {}", full_name(destination)));
    let steps: Vec<String> = name_it.into_iter().chain(switch).collect();
    (!steps.is_empty()).then(|| steps.join(" and "))
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
        let trust = json!({"configMap": "es-1-reindex-sources", "sources": ["search/es-2"], "effective": true});
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
    fn a_source_that_is_left_out_is_told_why_and_waits_for_nobody() {
        let destination = |effective: bool| {
            let spec = json!({"provider": {"eck": {"name": "es-1"}}, "allowlist": {"trustSource": true}});
            let left = json!([
                {"source": "shop/es-9", "reason": "NotPermitted", "message": "somebody else's"},
                {"source": "search/es-2", "reason": "AuthorityUnknown", "message": "ConfigMap search/es-2-ca is not found; create it"},
            ]);
            let trust = json!({"configMap": "m", "sources": ["shop/es-8"], "effective": effective, "leftOut": left});
            self::destination(spec, json!({"allowlist": {"key": "k", "trust": trust}}))
        };
        for effective in [true, false] {
            assert!(!is_awaited(&destination(effective), &source()), "nothing comes for it");
            let message = untrusted(&destination(effective), &source(), "es-2:9200", &[]);
            let why = "SearchCluster search/es-1 leaves its authority out (AuthorityUnknown): ConfigMap search/es-2-ca is not found; create it";
            assert!(message.contains(why), "{message}");
            assert!(!message.contains("es-9") && !message.contains("although"), "{message}");
        }
    }
}
