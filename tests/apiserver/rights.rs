//! What the operator may do, as the apiserver says: whoever widens it changes this list.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};
use xtask::{go, kubectl, render::FOR_OLDEST};

const OPERATOR: &str = "system:serviceaccount:reindex-system:reindex-operator";

/// In every namespace.
const EVERYWHERE: [&str; 11] = [
    "configmaps: create get update",
    "events.events.k8s.io: create patch",
    "namespaces: get",
    "pods/eviction: create",
    "pods: list",
    "reindexes.reindex.dev/status: update",
    "reindexes.reindex.dev: delete get list patch watch",
    "searchclusters.reindex.dev/status: update",
    "searchclusters.reindex.dev: get list patch watch",
    "secrets: get",
    "statefulsets.apps: get",
];

/// Those in every namespace, even where it is kept to some.
const OWN: [&str; 5] = [
    "namespaces: get",
    "reindexes.reindex.dev/status: update",
    "reindexes.reindex.dev: delete get list patch watch",
    "searchclusters.reindex.dev/status: update",
    "searchclusters.reindex.dev: get list patch watch",
];

/// Where it runs.
const LEASES: [&str; 2] =
    ["leases.coordination.k8s.io reindex-operator: get update", "leases.coordination.k8s.io: create"];

/// These, and its lease.
fn with_leases<'a>(rights: &[&'a str]) -> Vec<&'a str> {
    let mut all = [rights, &LEASES].concat();
    all.sort_unstable();
    all
}

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
            // Between the columns for paths and for verbs.
            let names = line.split(['[', ']']).nth(3).unwrap_or_default();
            let named = if names.is_empty() { String::new() } else { format!(" {names}") };
            format!("{resource}{named}: {}", verbs.join(" "))
        })
        .collect();
    rights.sort();
    rights
}

#[test]
fn the_operator_may_do_this_and_nothing_else() {
    assert_eq!(rights(OPERATOR, "default"), EVERYWHERE);
    assert_eq!(rights(OPERATOR, "reindex-system"), with_leases(&EVERYWHERE));
}

/// Its home, and where it is to work.
const HOME: &str = "rights-home";
const WATCHED: [&str; 2] = ["rights-a", "rights-b"];
/// Its name, and that of what it is granted.
const NAME: &str = "scoped-reindex-operator";

/// What the chart grants an operator that works in these namespaces only.
fn granted_in(namespaces: &[&str]) -> Vec<Value> {
    granted(&["verification.configMaps=true", &format!("watchNamespaces={{{}}}", namespaces.join(","))])
}

/// What the chart grants with these values.
fn granted(values: &[&str]) -> Vec<Value> {
    let values = values.iter().flat_map(|value| ["--set", value]);
    let rendered = Command::new(go::HELM.binary().expect("helm"))
        .args([
            "template",
            "scoped",
            concat!(env!("CARGO_MANIFEST_DIR"), "/charts/reindex-operator"),
            "--namespace",
            HOME,
            FOR_OLDEST,
        ])
        .args(["--set", "crds.install=false"])
        .args(values)
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

fn is_everywhere(object: &&Value) -> bool {
    object["metadata"]["namespace"].is_null()
}

/// Looks at an operator of its own that is granted this.
fn with(granted: &[Value], look: impl Fn(&str)) {
    let all = [HOME, WATCHED[0], WATCHED[1]];
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    kubectl::apply(&all.map(namespace)).expect("namespaces");
    kubectl::apply(granted).expect("applied");
    look(&format!("system:serviceaccount:{HOME}:{NAME}"));
    for object in granted.iter().filter(is_everywhere) {
        let kind = object["kind"].as_str().expect("a kind");
        kubectl::run(&["delete", kind, object["metadata"]["name"].as_str().expect("a name")]).expect("deleted");
    }
    for namespace in all {
        kubectl::delete_namespace(namespace).expect("deleted");
    }
}

#[test]
fn kept_to_some_namespaces_it_may_do_the_same_there_and_reach_its_own_objects_elsewhere() {
    let granted = granted_in(&WATCHED);
    let everywhere: Vec<_> = granted.iter().filter(is_everywhere).map(title).collect();
    // View and edit are for people, and bound to nobody.
    let expected = ["Role /NAME", "Role /NAME-view", "Role /NAME-edit", "RoleBinding /NAME"];
    assert_eq!(everywhere, expected.map(|title| format!("Cluster{}", title.replace("NAME", NAME))));
    with(&granted, |operator| {
        for watched in WATCHED {
            assert_eq!(rights(operator, watched), EVERYWHERE, "{watched}");
        }
        assert_eq!(rights(operator, "default"), OWN);
        assert_eq!(rights(operator, HOME), with_leases(&OWN));
    });
}

#[test]
fn as_the_chart_is_it_creates_no_config_map() {
    let expected = EVERYWHERE.map(|right| right.replace("configmaps: create get update", "configmaps: get update"));
    with(&granted(&[]), |operator| assert_eq!(rights(operator, "default"), expected));
}

#[test]
fn a_provider_grants_its_own_objects_and_those_of_no_other() {
    let values = ["providers.statefulSets=false", "providers.eck=true", "providers.openSearchOperator=true"];
    let mut expected: Vec<_> = EVERYWHERE.map(str::to_owned).to_vec();
    expected.retain(|right| !right.starts_with("pods") && !right.starts_with("statefulsets"));
    expected.extend(
        [
            "elasticsearches.elasticsearch.k8s.elastic.co",
            "opensearchclusters.opensearch.opster.io",
            "opensearchclusters.opensearch.org",
        ]
        .map(|objects| format!("{objects}: get patch")),
    );
    expected.sort();
    with(&granted(&values), |operator| assert_eq!(rights(operator, "default"), expected));
}

#[test]
fn an_operator_may_work_in_its_own_namespace() {
    let granted = granted_in(&[HOME, WATCHED[0]]);
    let titles: BTreeSet<_> = granted.iter().map(title).collect();
    assert_eq!(titles.len(), granted.len(), "two of one name: {titles:#?}");
    assert!(titles.contains(&format!("Role {HOME}/scoped-reindex-operator-objects")), "{titles:#?}");
    assert!(titles.contains(&format!("Role {HOME}/scoped-reindex-operator")), "{titles:#?}");
}
