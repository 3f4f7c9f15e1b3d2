//! What the operator may do, as the apiserver says: whoever widens it changes this list.

use xtask::kubectl;

const OPERATOR: &str = "system:serviceaccount:reindex-system:reindex-operator";

/// In every namespace.
const EVERYWHERE: [&str; 11] = [
    "configmaps: create get update",
    "events.events.k8s.io: create patch",
    "namespaces: get",
    "pods/eviction: create",
    "pods: list",
    "reindexes.reindex.dev/status: update",
    "reindexes.reindex.dev: delete list patch watch",
    "searchclusters.reindex.dev/status: update",
    "searchclusters.reindex.dev: get list patch watch",
    "secrets: get",
    "statefulsets.apps: get",
];

/// Resources and verbs; what every account may do (discovery, questions about itself) is left out.
fn rights(namespace: &str) -> Vec<String> {
    let text = kubectl::run(&["auth", "can-i", "--list", "--as", OPERATOR, "-n", namespace, "--no-headers"]);
    let text = text.expect("the apiserver answers");
    let lines = text.lines().filter(|line| !line.starts_with([' ', '\t']) && !line.starts_with("selfsubject"));
    let mut rights: Vec<_> = lines
        .map(|line| {
            let resource = line.split_whitespace().next().unwrap_or_default();
            let verbs = line.rsplit('[').next().unwrap_or_default().trim_end().trim_end_matches(']');
            let mut verbs: Vec<_> = verbs.split(' ').collect();
            verbs.sort_unstable();
            format!("{resource}: {}", verbs.join(" "))
        })
        .collect();
    rights.sort();
    rights
}

#[test]
fn the_operator_may_do_this_and_nothing_else() {
    assert_eq!(rights("default"), EVERYWHERE);
    let mut at_home = EVERYWHERE.map(str::to_owned).to_vec();
    at_home.push("leases.coordination.k8s.io: create get update".to_owned());
    at_home.sort();
    assert_eq!(rights("reindex-system"), at_home);
}
