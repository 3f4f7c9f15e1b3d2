//! What the operator may do, as the apiserver says: whoever widens it changes this list.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};
use xtask::{go, kubectl};

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

/// Those in every namespace, even where it is kept to some.
const OWN: [&str; 5] = [
    "namespaces: get",
    "reindexes.reindex.dev/status: update",
    "reindexes.reindex.dev: delete list patch watch",
    "searchclusters.reindex.dev/status: update",
    "searchclusters.reindex.dev: get list patch watch",
];

/// Where it runs.
const LEASES: &str = "leases.coordination.k8s.io: create get update";

/// Resources and verbs; what every account may do (discovery, questions about itself) is left out.
fn rights(operator: &str, namespace: &str) -> Vec<String> {
    let text = kubectl::run(&["auth", "can-i", "--list", "--as", operator, "-n", namespace, "--no-headers"]);
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
    assert_eq!(rights(OPERATOR, "default"), EVERYWHERE);
    let mut at_home = EVERYWHERE.map(str::to_owned).to_vec();
    at_home.push(LEASES.to_owned());
    at_home.sort();
    assert_eq!(rights(OPERATOR, "reindex-system"), at_home);
}

/// Its home, and where it is to work.
const HOME: &str = "rights-home";
const WATCHED: [&str; 2] = ["rights-a", "rights-b"];

/// What the chart grants an operator that works in these namespaces only.
fn granted_in(namespaces: &[&str]) -> Vec<Value> {
    let rendered = Command::new(go::HELM.binary().expect("helm"))
        .args([
            "template",
            "scoped",
            concat!(env!("CARGO_MANIFEST_DIR"), "/charts/reindex-operator"),
            "--namespace",
            HOME,
        ])
        .args(["--set", "crds.install=false,verification.configMaps=true"])
        .args(["--set", &format!("watchNamespaces={{{}}}", namespaces.join(","))])
        .output()
        .expect("helm runs");
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(rendered.stdout).expect("text")).expect("YAML");
    let grants = |object: &Value| object["apiVersion"] == "rbac.authorization.k8s.io/v1";
    objects.into_iter().filter(grants).collect()
}

fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let meta = &object["metadata"];
    format!("{} {}/{}", text(&object["kind"]), text(&meta["namespace"]), text(&meta["name"]))
}

#[test]
fn kept_to_some_namespaces_it_may_do_the_same_there_and_reach_its_own_objects_elsewhere() {
    let all = [HOME, WATCHED[0], WATCHED[1]];
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    kubectl::apply(&all.map(namespace)).expect("namespaces");
    let granted = granted_in(&WATCHED);
    let is_everywhere = |object: &&Value| object["metadata"]["namespace"].is_null();
    let everywhere: Vec<_> = granted.iter().filter(is_everywhere).map(title).collect();
    let name = "scoped-reindex-operator";
    // View and edit are for people, and bound to nobody.
    let expected = ["Role /NAME", "Role /NAME-view", "Role /NAME-edit", "RoleBinding /NAME"];
    assert_eq!(everywhere, expected.map(|title| format!("Cluster{}", title.replace("NAME", name))));
    kubectl::apply(&granted).expect("applied");
    let operator = format!("system:serviceaccount:{HOME}:{name}");
    for watched in WATCHED {
        assert_eq!(rights(&operator, watched), EVERYWHERE, "{watched}");
    }
    assert_eq!(rights(&operator, "default"), OWN);
    let mut at_home = OWN.map(str::to_owned).to_vec();
    at_home.push(LEASES.to_owned());
    at_home.sort();
    assert_eq!(rights(&operator, HOME), at_home);
    for object in granted.iter().filter(is_everywhere) {
        let kind = object["kind"].as_str().expect("a kind");
        kubectl::run(&["delete", kind, object["metadata"]["name"].as_str().expect("a name")]).expect("deleted");
    }
    for namespace in all {
        kubectl::delete_namespace(namespace).expect("deleted");
    }
}

#[test]
fn an_operator_may_work_in_its_own_namespace() {
    let granted = granted_in(&[HOME, WATCHED[0]]);
    let titles: BTreeSet<_> = granted.iter().map(title).collect();
    assert_eq!(titles.len(), granted.len(), "two of one name: {titles:#?}");
    assert!(titles.contains(&format!("Role {HOME}/scoped-reindex-operator-objects")), "{titles:#?}");
    assert!(titles.contains(&format!("Role {HOME}/scoped-reindex-operator")), "{titles:#?}");
}
