//! The allowlist of reindex sources: which entries are wanted, which are there, and who looks after them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{
    Batch, Reindex, SearchCluster,
    allowlist::{EntryNeeds, NodeLacks},
    conditions::{self, ALLOWLIST_READY, STALLED, VALIDATED},
    reindex_status::PinnedSource,
};

use super::{access::matches_glob, remote, report::is_finished, words::full_name};

/// The setting on Elasticsearch, and on OpenSearch 1.
pub const WHITELIST: &str = "reindex.remote.whitelist";
/// The setting from OpenSearch 2 on.
pub const ALLOWLIST: &str = "reindex.remote.allowlist";

/// How many names or entries are listed for each entry and node in a status.
const NAMED: usize = 10;
/// How many entries a status says the needs of.
const NEEDS_LISTED: usize = 32;

/// A change of the nodes' configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Entries that it adds.
    pub add: Vec<String>,
    /// Entries that it takes out.
    pub remove: Vec<String>,
    /// The ConfigMap with authorities of sources that it has the nodes trust.
    pub trust: Option<String>,
}

impl Change {
    /// The change that a batch makes.
    pub fn of(batch: &Batch) -> Change {
        Change { add: batch.entries.clone(), remove: batch.removes.clone(), trust: batch.trust.clone() }
    }

    /// Whether it brings the nodes nothing that they need.
    pub fn is_needless(&self) -> bool {
        self.add.is_empty() && self.trust.is_none()
    }

    /// A list as it is after the change.
    pub fn applied_to(&self, list: &[String]) -> Vec<String> {
        let added = self.add.iter().filter(|entry| !list.contains(entry));
        list.iter().filter(|entry| !self.remove.contains(entry)).chain(added).cloned().collect()
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

/// Entries that are needed, and the Reindexes that need them as `namespace/name`.
pub type Wanted = BTreeMap<String, BTreeSet<String>>;

/// Entries that Reindexes need of the cluster with this UUID: validated ones that are neither finished nor being deleted.
pub fn wanted<'a>(reindexes: impl IntoIterator<Item = &'a Reindex>, uuid: &str) -> Wanted {
    let mut wanted = Wanted::new();
    for reindex in reindexes {
        let Some(entry) = entry(reindex, uuid) else { continue };
        let meta = &reindex.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        wanted.entry(entry).or_default().insert(format!("{namespace}/{name}"));
    }
    wanted
}

/// Who needs what, as much as a status holds.
pub fn needs(wanted: &Wanted) -> Vec<EntryNeeds> {
    let told = |(entry, reindexes): (&String, &BTreeSet<String>)| EntryNeeds {
        entry: entry.clone(),
        count: i32::try_from(reindexes.len()).unwrap_or(i32::MAX),
        reindexes: reindexes.iter().take(NAMED).cloned().collect(),
    };
    wanted.iter().take(NEEDS_LISTED).map(told).collect()
}

/// Nodes that lack entries which others have loaded, as many as a status holds; nodes by name.
pub fn lacking<'a>(nodes: impl IntoIterator<Item = (&'a String, &'a Vec<String>)>) -> Vec<NodeLacks> {
    let nodes: BTreeMap<&String, &Vec<String>> = nodes.into_iter().collect();
    let all: BTreeSet<&String> = nodes.values().copied().flatten().collect();
    let told = |(node, loaded): (&&String, &&Vec<String>)| {
        let lacks = all.iter().filter(|entry| !covers(loaded, entry)).take(NAMED);
        let entries: Vec<String> = lacks.map(|entry| (*entry).clone()).collect();
        (!entries.is_empty()).then(|| NodeLacks { node: (*node).clone(), entries })
    };
    nodes.iter().filter_map(told).take(NAMED).collect()
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

/// Whose turn it is where an allowlist lacks something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The SearchCluster's: it changes it, waits for something passing, or has yet to look.
    SearchCluster,
    /// A person's, who changes it or approves. Nothing is wrong: this is how it was set up.
    Person,
    /// A person's, who must mend what keeps the SearchCluster from it.
    Mender,
}

/// Reasons of `AllowlistReady` that are a person's turn.
const BY_A_PERSON: [&str; 3] = ["VerifyOnly", "ConfigOwned", "WaitingForApproval"];

fn turn(conditions: &[Condition], reason: &str) -> Turn {
    match conditions::is_true(conditions, STALLED) {
        true => Turn::Mender,
        false if BY_A_PERSON.contains(&reason) => Turn::Person,
        false => Turn::SearchCluster,
    }
}

/// What the destination's SearchCluster says to a Reindex in `namespace` that waits for it, if it has taken that up (`known`): whose turn
/// it is, and the words. `entry` is what the Reindex lacks; None where that is trust in the source.
///
/// The SearchCluster's own words name entries and SearchClusters of others, which whoever made the Reindex may not know. Only in the
/// SearchCluster's namespace they can be read anyway.
pub fn told_to_reindex(
    destination: &SearchCluster,
    namespace: &str,
    entry: Option<&str>,
    known: bool,
) -> (Turn, String) {
    let status = destination.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let said = conditions::get(conditions, ALLOWLIST_READY).filter(|condition| condition.status == "False");
    let Some(condition) = said.filter(|_| known) else {
        return (Turn::SearchCluster, "the SearchCluster has yet to take it up".to_owned());
    };
    let allowlist = status.and_then(|status| status.allowlist.as_ref()).filter(|_| condition.reason == "VerifyOnly");
    let message = match allowlist.and_then(|allowlist| Some((allowlist, allowlist.instruction.as_deref()?))) {
        None => format!("{} (its status says more)", condition.reason),
        Some((_, text)) if destination.metadata.namespace.as_deref() == Some(namespace) => {
            format!("{}: {text}", condition.message)
        }
        Some((allowlist, _)) => {
            let what = match entry {
                Some(entry) => format!("{entry:?} to {} in the configuration of every node", allowlist.key),
                None => "trust in the source's authority to the configuration of every node".to_owned(),
            };
            format!(
                "a person must add {what}, and restart the nodes one by one; status.allowlist.instruction of SearchCluster {} has the whole text",
                full_name(destination)
            )
        }
    };
    (turn(conditions, &condition.reason), message)
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
        let entries = |reindexes: &[&Reindex], uuid: &str| {
            wanted(reindexes.iter().copied(), uuid).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(entries(&[&running, &running], "d"), strings(&["es-2:9200"]));
        assert_eq!(entries(&[&running], "other"), strings(&[]));
        assert_eq!(entries(&[&reindex(validated(json!(["Complete"])))], "d"), strings(&[]));
        assert_eq!(entries(&[&reindex(json!({}))], "d"), strings(&[]));
    }

    #[test]
    fn who_needs_an_entry_is_counted_and_ten_are_named() {
        let many: Vec<Reindex> = (0..12)
            .map(|n| {
                let mut reindex = reindex(validated(json!([])));
                reindex.metadata.name = Some(format!("copy-{n:02}"));
                reindex
            })
            .collect();
        let told = needs(&wanted(many.iter().rev(), "d"));
        assert_eq!((told.len(), told[0].entry.as_str(), told[0].count), (1, "es-2:9200", 12));
        let first: Vec<String> = (0..10).map(|n| format!("n/copy-{n:02}")).collect();
        assert_eq!(told[0].reindexes, first, "whatever order they come in");
        let sources: Wanted = (0..100).map(|n| (format!("es-{n}:9200"), BTreeSet::new())).collect();
        assert_eq!(needs(&sources).len(), NEEDS_LISTED);
    }

    #[test]
    fn nodes_that_lack_what_others_have_are_named() {
        let nodes = |lists: &[&[&str]]| -> Vec<(String, Vec<String>)> {
            lists.iter().enumerate().map(|(n, list)| (format!("n-{n:02}"), strings(list))).collect()
        };
        let of = |lists: &[&[&str]]| lacking(nodes(lists).iter().map(|(name, list)| (name, list)));
        assert_eq!(of(&[&["a:1"], &["a:1"]]), []);
        assert_eq!(of(&[&[], &[]]), [], "all lack it alike");
        assert_eq!(
            of(&[&["a:1", "b:1"], &["*:1"], &["a:1"]]),
            [
                NodeLacks { node: "n-00".into(), entries: strings(&["*:1"]) },
                NodeLacks { node: "n-02".into(), entries: strings(&["*:1", "b:1"]) },
            ]
        );
        let mut many = vec![[].as_slice(); 20];
        let all: Vec<String> = (0..20).map(|n| format!("e-{n:02}:1")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        many.push(&all);
        let told = of(&many);
        assert_eq!((told.len(), told[0].entries.len()), (NAMED, NAMED), "a status is bounded");
    }

    #[test]
    fn a_change_adds_and_takes_out_once() {
        let change = Change { add: strings(&["a:1", "b:1"]), remove: strings(&["c:1"]), trust: None };
        assert_eq!(change.applied_to(&strings(&["c:1", "a:1"])), strings(&["a:1", "b:1"]));
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

    /// A SearchCluster `search/es-1` whose allowlist lacks something.
    fn lacking_cluster(reason: &str) -> SearchCluster {
        let condition = json!({
            "type": ALLOWLIST_READY, "status": "False", "reason": reason, "message": "a person must add the missing entries",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let allowlist = json!({
            "key": WHITELIST, "pending": ["es-9.other:9200", "es-2:9200"],
            "instruction": line(WHITELIST, &[], &strings(&["es-9.other:9200", "es-2:9200"])),
        });
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "es-1", "namespace": "search"},
            "spec": {"endpoint": "https://es-1:9200"}, "status": {"conditions": [condition], "allowlist": allowlist},
        }))
        .unwrap()
    }

    #[test]
    fn a_reindex_is_told_nothing_of_others() {
        let of =
            |reason: &str, namespace: &str, entry| told_to_reindex(&lacking_cluster(reason), namespace, entry, true);
        assert_eq!(of("Draining", "search", None), (Turn::SearchCluster, "Draining (its status says more)".to_owned()));
        let (_, own) = of("VerifyOnly", "search", Some("es-2:9200"));
        assert!(own.contains("es-9.other:9200"), "who may read the SearchCluster gets the whole text: {own}");
        for (entry, own) in
            [(Some("es-2:9200"), "\"es-2:9200\" to reindex.remote.whitelist"), (None, "trust in the source")]
        {
            let (turn, message) = of("VerifyOnly", "shop", entry);
            assert!(turn == Turn::Person && message.contains(own) && !message.contains("es-9"), "{message}");
            assert!(message.contains("status.allowlist.instruction of SearchCluster search/es-1"), "{message}");
        }
    }

    #[test]
    fn what_the_search_cluster_has_not_taken_up_is_not_told_as_its_own() {
        let (turn, message) = told_to_reindex(&lacking_cluster("VerifyOnly"), "search", Some("es-2:9200"), false);
        assert!(turn == Turn::SearchCluster && message.contains("yet to take it up"), "{message}");
    }

    #[test]
    fn whose_turn_it_is_follows_from_what_the_search_cluster_says() {
        let of = |cluster: &SearchCluster| told_to_reindex(cluster, "search", Some("es-2:9200"), true).0;
        for reason in ["VerifyOnly", "ConfigOwned", "WaitingForApproval"] {
            assert_eq!(of(&lacking_cluster(reason)), Turn::Person, "{reason}");
        }
        for reason in ["WaitingForWindow", "Pending", "Restarting"] {
            assert_eq!(of(&lacking_cluster(reason)), Turn::SearchCluster, "{reason}");
        }
        let mut stalled = lacking_cluster("TooFewMasters");
        let conditions = &mut stalled.status.as_mut().unwrap().conditions;
        conditions.push(Condition { type_: STALLED.to_owned(), status: "True".to_owned(), ..conditions[0].clone() });
        assert_eq!(of(&stalled), Turn::Mender);
    }
}
