//! The operator with rights in some namespaces only.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use xtask::kubectl;

use crate::{rights, trouble::Installed, world::*};

/// Watched beside the tests' own, and not watched.
const WATCHED: &str = "cluster-tests-watched";
const OTHER: &str = "cluster-tests-unwatched";

/// Reindex `first` in another namespace, between SearchClusters of the tests'.
fn reindex_in(namespace: &str, name: &str) -> Value {
    let mut object = reindex(name, "first");
    object["metadata"]["namespace"] = json!(namespace);
    object["spec"]["source"]["clusterRef"] = json!({"name": "scoped-src", "namespace": NAMESPACE});
    object["spec"]["destination"]["clusterRef"] = json!({"name": "scoped-dst", "namespace": NAMESPACE});
    object
}

fn wait_in(namespace: &str, name: &str, type_: &str) -> Value {
    let look =
        || kubectl::get("reindexes.reindex.dev", namespace, name).expect("kubectl answers").unwrap_or(Value::Null);
    wait_for(&format!("{type_} of {name}"), look, |seen| condition(seen, type_).0 == "True")
}

/// That nothing it does is denied holds the test of rights, which runs after all others.
#[tokio::test(flavor = "multi_thread")]
async fn kept_to_some_namespaces_it_works_there_and_nowhere_else() {
    allowed().await;
    for namespace in [WATCHED, OTHER] {
        kubectl::delete_namespace(namespace).expect("the last run's is gone");
        apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"reindex-tests": "scoped"}}}),
        );
    }
    let selector = json!({"matchLabels": {"reindex-tests": "scoped"}});
    let access = json!({"access": [{"namespaces": {"names": [NAMESPACE], "selector": selector}}]});
    apply(&search_cluster("scoped-src", "src", access.clone()));
    apply(&search_cluster("scoped-dst", "dst", access.clone()));
    let installed = Installed::now();
    let begin = Timestamp::now();
    installed.install(&["--set", &format!("watchNamespaces={{{NAMESPACE},{WATCHED}}}")]);
    // The old pod still ran when its rights were taken away.
    rights::taken_away(begin, Timestamp::now());

    apply(&reindex_in(OTHER, "scoped-other"));
    apply(&reindex("scoped-own", "first"));
    apply(&reindex_in(WATCHED, "scoped-watched"));
    complete("scoped-own", 10);
    wait_in(WATCHED, "scoped-watched", "Complete");
    apply(&reindex_in(WATCHED, "scoped-later"));
    wait_in(WATCHED, "scoped-later", "Complete");

    let mut elsewhere = search_cluster("scoped-src", "src", access);
    elsewhere["metadata"]["namespace"] = json!(OTHER);
    apply(&elsewhere);
    let mut object = reindex_in(WATCHED, "scoped-reference");
    object["spec"]["source"]["clusterRef"]["namespace"] = json!(OTHER);
    apply(&object);
    let stalled = wait_in(WATCHED, "scoped-reference", "Stalled");
    assert_eq!(condition(&stalled, "Stalled").1, "NamespaceNotWatched", "{:#}", stalled["status"]);
    let untouched = kubectl::get("reindexes.reindex.dev", OTHER, "scoped-other").unwrap().expect("it is there");
    assert_eq!((&untouched["status"]["observedGeneration"], &untouched["status"]["phase"]), (&json!(-1), &Value::Null));

    let begin = Timestamp::now();
    drop(installed);
    rights::taken_away(begin, Timestamp::now());
    // Watched again, it is worked on.
    wait_in(OTHER, "scoped-other", "Complete");
    for namespace in [WATCHED, OTHER] {
        kubectl::delete_namespace(namespace).expect("deleted");
    }
    for name in ["scoped-src", "scoped-dst"] {
        kubectl::run(&["delete", "searchclusters.reindex.dev", "-n", NAMESPACE, name]).expect("deleted");
    }
}
