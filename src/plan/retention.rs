//! `allowlist.retention: Remove`: what the operator added and no Reindex needs any more is taken out of the configuration.
//!
//! Nodes keep what they have loaded until they restart, so nothing is restarted for it. Where an edit alone would restart nodes, entries
//! go out with the next change that is made anyway. Where it doesn't (ConfigMaps of StatefulSets), they go out at once, and are noted in
//! `removed` before that: while nodes still have one loaded, a new Reindex takes it for allowed and begins. Then it is put back, before a
//! restart can make it missing.

use std::collections::BTreeSet;

use crate::api::{
    AllowlistStatus, SearchCluster,
    allowlist::MAX_ENTRIES,
    search_cluster::{Management, Retention},
};

use super::{
    allowlist::{Change, Wanted},
    restart::{Node, Pool},
};

/// Whether entries are taken out at once; else with the next change.
pub fn is_at_once(cluster: &SearchCluster) -> bool {
    cluster.spec.provider.stateful_sets.is_some() && cluster.spec.allowlist.management == Management::Automatic
}

/// Entries that the operator added and nobody needs any more, if they are to go.
pub fn unneeded(cluster: &SearchCluster, allowlist: &AllowlistStatus, needed: &Wanted) -> Vec<String> {
    let spec = &cluster.spec.allowlist;
    let goes = spec.retention == Retention::Remove && spec.management != Management::Verify;
    let unneeded = allowlist.managed.iter().filter(|entry| !needed.contains_key(*entry));
    if goes { unneeded.cloned().collect() } else { vec![] }
}

/// Entries that were taken out, and are needed again.
pub fn missed(allowlist: &AllowlistStatus, needed: &Wanted) -> Vec<String> {
    allowlist.removed.iter().filter(|entry| needed.contains_key(*entry)).cloned().collect()
}

/// Whether the configuration has to be looked at for it.
pub fn is_due(cluster: &SearchCluster, needed: &Wanted) -> bool {
    let allowlist = cluster.status.as_ref().and_then(|status| status.allowlist.as_ref());
    is_at_once(cluster)
        && allowlist.is_some_and(|allowlist| {
            !missed(allowlist, needed).is_empty() || !unneeded(cluster, allowlist, needed).is_empty()
        })
}

/// The edit that takes entries out at once, or puts them back; None where there is nothing to do. `takes_out` is false while it must not
/// be edited for taking out alone, as outside the maintenance window.
pub fn at_once(
    cluster: &SearchCluster,
    allowlist: &AllowlistStatus,
    needed: &Wanted,
    pools: &[Pool],
    takes_out: bool,
) -> Option<Change> {
    let is_editable =
        |pool: &Pool| pool.entries.is_ok() && (pool.owner.is_none() || cluster.spec.allowlist.override_git_ops);
    if !is_at_once(cluster) || !pools.iter().all(is_editable) {
        return None;
    }
    let remove = if takes_out { unneeded(cluster, allowlist, needed) } else { vec![] };
    let change = Change { add: missed(allowlist, needed), remove, trust: None };
    (!change.add.is_empty() || !change.remove.is_empty()).then_some(change)
}

/// Notes what is about to be taken out. It stays among what we added until that is done.
pub fn begin(allowlist: &mut AllowlistStatus, change: &Change) {
    add(&mut allowlist.removed, &change.remove);
}

/// What was done, in words.
pub fn told(change: &Change) -> String {
    let of = |entries: &[String], what: &str| (!entries.is_empty()).then(|| format!("{} {what}", entries.join(", ")));
    let out = "was taken out of the configuration, as no Reindex needs it any more; nodes keep it until they restart";
    let back = "was put back into the configuration, as it is needed again";
    of(&change.remove, out).into_iter().chain(of(&change.add, back)).collect::<Vec<_>>().join("; ")
}

/// Notes that the edit was made.
pub fn end(allowlist: &mut AllowlistStatus, change: &Change) {
    allowlist.removed.retain(|entry| !change.add.contains(entry));
    allowlist.managed.retain(|entry| !change.remove.contains(entry));
    add(&mut allowlist.managed, &change.add);
}

/// Forgets what no node has loaded any more.
pub fn forget(allowlist: &mut AllowlistStatus, nodes: &[Node]) {
    let AllowlistStatus { removed, managed, .. } = allowlist;
    let loaded: BTreeSet<&String> = nodes.iter().flat_map(|node| &node.allowlist).collect();
    removed.retain(|entry| loaded.contains(entry) || managed.contains(entry));
}

/// Adds to a list of the status, in order and bounded.
pub fn add(list: &mut Vec<String>, entries: &[String]) {
    list.extend(entries.iter().cloned());
    list.sort();
    list.dedup();
    list.truncate(MAX_ENTRIES);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(allowlist: Value, status: Value) -> SearchCluster {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "es-1", "namespace": "search"},
            "spec": {
                "endpoint": "https://es-1:9200", "allowlist": allowlist,
                "provider": {"statefulSets": [{"name": "es-1", "configMap": {"name": "es-1-config"}}]},
            },
            "status": {"allowlist": status},
        }))
        .unwrap()
    }

    fn removing(status: Value) -> SearchCluster {
        cluster(json!({"management": "Automatic", "retention": "Remove"}), status)
    }

    fn allowlist(cluster: &SearchCluster) -> AllowlistStatus {
        cluster.status.clone().unwrap().allowlist.unwrap()
    }

    fn wanted(entries: &[&str]) -> Wanted {
        entries.iter().map(|entry| ((*entry).to_owned(), BTreeSet::new())).collect()
    }

    fn pool() -> Pool {
        Pool {
            stateful_set: "es-1".into(),
            replicas: Some(3),
            rolling_out: false,
            config: "es-1-config/elasticsearch.yml".into(),
            owner: None,
            entries: Ok(vec![]),
            pods: vec![],
        }
    }

    fn strings(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn only_what_we_added_and_nobody_needs_goes_and_only_if_asked_for() {
        let status = json!({"key": "k", "effective": ["own:1", "a:1", "b:1"], "managed": ["a:1", "b:1"]});
        let goes = |spec: Value| {
            let cluster = cluster(spec, status.clone());
            (unneeded(&cluster, &allowlist(&cluster), &wanted(&["b:1"])), is_due(&cluster, &wanted(&["b:1"])))
        };
        assert_eq!(goes(json!({"management": "Automatic", "retention": "Remove"})), (strings(&["a:1"]), true));
        assert_eq!(goes(json!({"management": "Approval", "retention": "Remove"})), (strings(&["a:1"]), false));
        assert_eq!(goes(json!({"management": "Automatic"})), (vec![], false));
        assert_eq!(goes(json!({"management": "Verify", "retention": "Remove"})), (vec![], false));
    }

    #[test]
    fn an_entry_goes_is_missed_and_comes_back_without_a_restart() {
        let mut cluster = removing(json!({"key": "k", "effective": ["a:1"], "managed": ["a:1"]}));
        let mut status = allowlist(&cluster);
        let change = at_once(&cluster, &status, &wanted(&[]), &[pool()], true).unwrap();
        assert_eq!(change, Change { remove: strings(&["a:1"]), ..Change::default() });
        begin(&mut status, &change);
        assert_eq!((&status.managed, &status.removed), (&strings(&["a:1"]), &strings(&["a:1"])), "it may be repeated");
        // Needed again right between the look and the edit.
        cluster.status.as_mut().unwrap().allowlist = Some(status.clone());
        assert!(is_due(&cluster, &wanted(&["a:1"])));
        end(&mut status, &change);
        assert_eq!((&status.managed, &status.removed), (&vec![], &strings(&["a:1"])));
        cluster.status.as_mut().unwrap().allowlist = Some(status.clone());
        assert!(!is_due(&cluster, &wanted(&[])) && is_due(&cluster, &wanted(&["a:1"])));
        let back = at_once(&cluster, &status, &wanted(&["a:1"]), &[pool()], false).unwrap();
        assert_eq!(back, Change { add: strings(&["a:1"]), ..Change::default() });
        end(&mut status, &back);
        assert_eq!((status.managed, status.removed), (strings(&["a:1"]), vec![]));
    }

    #[test]
    fn what_no_node_has_loaded_any_more_is_forgotten() {
        let mut status = allowlist(&removing(json!({"key": "k", "removed": ["a:1", "b:1"]})));
        let node = |entries: &[&str]| Node { allowlist: strings(entries), ..Node::default() };
        forget(&mut status, &[node(&["b:1"]), node(&[])]);
        assert_eq!(status.removed, strings(&["b:1"]));
    }

    #[test]
    fn somebody_elses_configuration_and_a_closed_window_are_respected() {
        let cluster = removing(json!({"key": "k", "managed": ["a:1"]}));
        let status = allowlist(&cluster);
        let owned = Pool { owner: Some("Flux".into()), ..pool() };
        let unreadable = Pool { entries: Err("no".into()), ..pool() };
        for pools in [[owned], [unreadable]] {
            assert_eq!(at_once(&cluster, &status, &wanted(&[]), &pools, true), None);
        }
        assert_eq!(at_once(&cluster, &status, &wanted(&[]), &[pool()], false), None);
    }
}
