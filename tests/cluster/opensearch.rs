//! OpenSearch: between two of its clusters, and what is refused where it meets another version or Elasticsearch.

use serde_json::{Value, json};
use xtask::{engines::OpenSearch, kubectl, search::SearchClient};

use crate::world::*;

/// A node with these settings, a SearchCluster for it that the operator only verifies, and a client of it.
fn node(name: &str, version: &str, settings: &[String]) -> SearchClient {
    let node = OpenSearch { settings: settings.to_vec(), ..OpenSearch::new(NAMESPACE, name, version) };
    node.deploy().unwrap();
    node.wait(LIMIT).unwrap();
    apply(&json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"endpoint": format!("http://{name}-http.{NAMESPACE}.svc:9200")},
    }));
    node.client().unwrap()
}

fn between(name: &str, source: &str, destination: &str) -> Value {
    let mut object = reindex(name, "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!(source);
    object["spec"]["destination"] =
        json!({"clusterRef": {"name": destination}, "index": name, "settings": {"numberOfReplicas": 0}});
    object
}

/// OpenSearch 2 into 3, and 3 into 2, in ranges: the sequence numbers of both can be searched.
async fn other_major(two: &SearchClient) {
    let allow = format!("reindex.remote.allowlist=os-src-http.{NAMESPACE}.svc:9200");
    let three = node("os-3", "3.8.0", &[allow]);
    fill(two, "second", 1000).await;
    fill(&three, "second", 1000).await;
    let pairs = [("two-to-three", "os-src", "os-3", "Compatible"), ("three-to-two", "os-3", "os-dst", "Any")];
    for (name, source, destination, policy) in pairs {
        let mut object = between(name, source, destination);
        object["spec"]["source"]["index"] = json!("second");
        object["spec"]["versionPolicy"] = json!(policy);
        object["spec"]["execution"] = json!({"partitions": 4, "batchSize": 100});
        apply(&object);
        complete(name, 1000);
        let seen = get("reindex", name);
        assert_eq!(seen["status"]["progress"]["partitionsTotal"], 4, "{:#}", seen["status"]);
        assert_eq!(seen["status"]["preflight"], Value::Null, "every check was made: {:#}", seen["status"]);
    }
}

/// Documents compared on OpenSearch, in slices.
fn proved() {
    for level in ["Identity", "Content", "Sample"] {
        let name = format!("os-{}", level.to_lowercase());
        let mut object = between(&name, "os-src", "os-dst");
        object["spec"]["source"]["index"] = json!("second");
        object["spec"]["verification"] = json!({"level": level});
        apply(&object);
        complete(&name, 1000);
    }
}

/// One test, so that the nodes are started once.
#[tokio::test]
async fn opensearch_copies_to_its_like_and_is_told_apart_from_others() {
    allowed().await;
    let source = node("os-src", "2.19.6", &[]);
    let allow = format!("reindex.remote.allowlist=os-src-http.{NAMESPACE}.svc:9200,os-3-http.{NAMESPACE}.svc:9200");
    let destination = node("os-dst", "2.19.6", &[allow]);
    let old = node("os-old", "1.3.20", &[]);
    fill(&source, "first", 10).await;
    fill(&old, "first", 10).await;

    apply(&between("os-to-os", "os-src", "os-dst"));
    complete("os-to-os", 10);
    destination.get("/os-to-os/_doc/7").await.expect("document 7 is there");
    let cluster = get("searchcluster", "os-dst");
    assert_eq!(cluster["status"]["distribution"], "OpenSearch", "{cluster:#}");
    assert_eq!(cluster["status"]["allowlist"]["key"], "reindex.remote.allowlist", "{cluster:#}");
    assert_eq!(get("searchcluster", "os-old")["status"]["allowlist"]["key"], "reindex.remote.whitelist");

    other_major(&source).await;
    proved();

    for (name, source, to, destination, reason) in [
        ("older-major", "os-old", "os-dst", &destination, "VersionMismatch"),
        ("os-to-es", "os-src", "dst", &crate::world::destination().client().unwrap(), "DistributionMismatch"),
    ] {
        apply(&between(name, source, to));
        let seen = ended(name);
        assert_eq!(condition(&seen, "Failed").1, reason, "{:#}", seen["status"]);
        assert!(!exists(destination, name).await, "nothing was created");
    }

    // The other way round the missing line has the name that an old OpenSearch knows.
    fill(&old, "old", 10).await;
    let mut object = between("to-old", "os-old", "os-old");
    object["spec"]["source"]["index"] = json!("old");
    apply(&object);
    let line = format!("reindex.remote.whitelist: [\"os-old-http.{NAMESPACE}.svc:9200\"]");
    wait_for(
        "the line for an old OpenSearch",
        || get("reindex", "to-old"),
        |seen| condition(seen, "Ready").2.contains(&line),
    );
    kubectl::run(&["delete", "reindex", "-n", NAMESPACE, "to-old", "--timeout=60s"]).unwrap();
    for name in ["os-src", "os-dst", "os-3", "os-old"] {
        kubectl::run(&["delete", "statefulset", "-n", NAMESPACE, name]).unwrap();
        kubectl::run(&["delete", "searchcluster", "-n", NAMESPACE, name]).unwrap();
    }
}
