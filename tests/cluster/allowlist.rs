//! The allowlist: one careful restart, and none that is not needed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use xtask::{kubectl, search::SearchClient};

use crate::world::*;

/// Writes one document after the other until told to stop; returns the ids that were acknowledged.
async fn write(client: SearchClient, stop: Arc<AtomicBool>) -> Vec<u64> {
    let mut acknowledged = vec![];
    for id in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let answer = client.request(Method::PUT, &format!("/written/_doc/{id}"), Some(&json!({"id": id}))).await;
        if answer.is_ok_and(|(status, _)| status == 201) {
            acknowledged.push(id);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    acknowledged
}

/// Its name sorts first, so that it runs first: the allowlist is still empty then.
#[tokio::test(flavor = "multi_thread")]
async fn a_careful_restart_of_each_node_once_loses_nothing() {
    begin();
    let (source, destination) = (source().client().unwrap(), destination().client().unwrap());
    for index in ["one", "two", "three"] {
        fill(&source, index, 100).await;
    }
    destination.put("/written", &json!({"settings": {"number_of_shards": 3, "number_of_replicas": 1}})).await.unwrap();
    let uuid = destination.get("/").await.unwrap()["cluster_uuid"].clone();
    let before = pod_uids();
    let config = || get("configmap", "dst-config")["data"]["elasticsearch.yml"].as_str().unwrap_or_default().to_owned();
    let text = config();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(destination.clone(), stop.clone()));
    for name in ["one", "two", "three"] {
        apply(&reindex(name, name));
    }
    tokio::task::spawn_blocking(|| ["one", "two", "three"].map(|name| complete(name, 100))).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    let after = pod_uids();
    assert!(
        before.iter().zip(&after).all(|(before, after)| before != after),
        "every node was restarted: {before:?} {after:?}"
    );
    let batch = get("searchcluster", "dst")["status"]["allowlist"]["batch"].clone();
    assert_eq!((&batch["phase"], &batch["borrowed"]), (&json!("Done"), &Value::Null), "{batch:#}");
    let begun = kubectl::run(&[
        "get",
        "events",
        "-n",
        NAMESPACE,
        "--field-selector",
        "reason=AllowlistChangeBegun",
        "-o",
        "name",
    ])
    .unwrap();
    assert_eq!(begun.lines().count(), 1, "{begun}");
    assert_eq!(destination.get("/").await.unwrap()["cluster_uuid"], uuid);
    let settings = destination.get("/_cluster/settings?flat_settings=true").await.unwrap();
    assert_eq!(settings["persistent"]["cluster.routing.allocation.enable"], Value::Null, "{settings}");
    // Whatever was acknowledged is there.
    destination.get("/written/_refresh").await.unwrap();
    assert!(acknowledged.len() > 100, "the writer got {} documents through", acknowledged.len());
    for id in &acknowledged {
        let (status, _) = destination.request(Method::GET, &format!("/written/_doc/{id}"), None).await.unwrap();
        assert_eq!(status, 200, "document {id} was acknowledged and is gone");
    }
    // The edit added one line and changed nothing else.
    let edited = config();
    let added: Vec<_> = edited.lines().filter(|line| !text.lines().any(|old| old == *line)).collect();
    assert_eq!(added, [format!("reindex.remote.whitelist: [\"src-http.{NAMESPACE}.svc:9200\"]")]);
    assert!(text.lines().all(|line| edited.lines().any(|new| new == line)), "{edited}");
}

#[tokio::test]
async fn a_later_reindex_restarts_nothing() {
    allowed().await;
    let before = pod_uids();
    fill(&source().client().unwrap(), "later", 10).await;
    apply(&reindex("later", "later"));
    complete("later", 10);
    assert_eq!(pod_uids(), before);
}

/// Another name of the source, which is not on the allowlist.
fn elsewhere(name: &str) -> Value {
    search_cluster(
        name,
        "src",
        json!({"remoteEndpoint": format!("https://src-http.{NAMESPACE}.svc.cluster.local:9200")}),
    )
}

fn needs_elsewhere(name: &str) -> Value {
    let mut object = reindex(name, "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("elsewhere");
    object
}

/// Applies a Reindex that needs a new entry, and waits for what SearchCluster `dst` says.
fn held(name: &str, reason: &str) -> Value {
    apply(&elsewhere("elsewhere"));
    apply(&needs_elsewhere(name));
    let cluster = wait_for(
        &format!("AllowlistReady {reason}"),
        || get("searchcluster", "dst"),
        |seen| condition(seen, "AllowlistReady").1 == reason,
    );
    wait_for(
        "the Reindex to say so",
        || get("reindex", name),
        |seen| condition(seen, "Ready").2.contains("src-http.cluster-tests.svc.cluster.local:9200"),
    );
    cluster
}

fn end(name: &str) {
    kubectl::run(&["delete", "reindex", "-n", NAMESPACE, name, "--timeout=60s"]).expect("deleted");
}

#[tokio::test]
async fn what_would_be_unavailable_is_named_and_nothing_restarts() {
    allowed().await;
    let client = destination().client().unwrap();
    let before = pod_uids();
    client.put("/lonely", &json!({"settings": {"number_of_replicas": 0}})).await.unwrap();
    let cluster = held("held-by-lonely", "IndexWithoutReplica");
    assert!(condition(&cluster, "AllowlistReady").2.contains("lonely"), "{cluster:#}");
    client.request(Method::DELETE, "/lonely", None).await.unwrap();
    end("held-by-lonely");
    assert_eq!(pod_uids(), before);
}

#[tokio::test]
async fn a_config_that_somebody_applies_is_not_edited() {
    allowed().await;
    let before = pod_uids();
    let text = get("configmap", "dst-config")["data"].clone();
    for (argument, tool, undo) in [
        (
            ["annotate", "argocd.argoproj.io/tracking-id=shop:/ConfigMap:t/dst-config"],
            "Argo CD",
            "argocd.argoproj.io/tracking-id-",
        ),
        (["label", "kustomize.toolkit.fluxcd.io/name=shop"], "Flux", "kustomize.toolkit.fluxcd.io/name-"),
        (["annotate", "meta.helm.sh/release-name=shop"], "Helm", "meta.helm.sh/release-name-"),
    ] {
        kubectl::run(&[argument[0], "configmap", "-n", NAMESPACE, "dst-config", argument[1]]).unwrap();
        let cluster = held("held-by-owner", "ConfigOwned");
        assert!(condition(&cluster, "AllowlistReady").2.contains(tool), "{cluster:#}");
        let line = cluster["status"]["allowlist"]["instruction"].as_str().unwrap_or_default();
        assert!(
            line.starts_with("reindex.remote.whitelist: [")
                && line.contains("src-http.cluster-tests.svc.cluster.local:9200"),
            "{line}"
        );
        end("held-by-owner");
        wait_for(
            "the need to be gone",
            || get("searchcluster", "dst"),
            |seen| condition(seen, "AllowlistReady").0 == "True",
        );
        kubectl::run(&[argument[0], "configmap", "-n", NAMESPACE, "dst-config", undo]).unwrap();
    }
    assert_eq!(get("configmap", "dst-config")["data"], text);
    assert_eq!(pod_uids(), before);
}

#[tokio::test]
async fn the_younger_of_two_search_clusters_only_verifies() {
    allowed().await;
    let before = pod_uids();
    let provider = json!({
        "provider": {"statefulSets": [{"name": "dst", "configMap": {"name": "dst-config"}}]},
        "allowlist": {"management": "Automatic"},
    });
    apply(&search_cluster("younger", "dst", provider));
    apply(&elsewhere("elsewhere"));
    // The older one must not take the need up either, so it only verifies meanwhile.
    kubectl::run(&[
        "patch",
        "searchcluster",
        "-n",
        NAMESPACE,
        "dst",
        "--type=merge",
        "-p",
        r#"{"spec":{"allowlist":{"management":"Verify"}}}"#,
    ])
    .unwrap();
    let mut object = needs_elsewhere("held-by-older");
    object["spec"]["destination"]["clusterRef"]["name"] = json!("younger");
    apply(&object);
    wait_for(
        "ManagedByAnother",
        || get("searchcluster", "younger"),
        |seen| condition(seen, "AllowlistReady").1 == "ManagedByAnother",
    );
    let older = wait_for(
        "VerifyOnly",
        || get("searchcluster", "dst"),
        |seen| condition(seen, "AllowlistReady").1 == "VerifyOnly",
    );
    assert!(
        older["status"]["allowlist"]["instruction"].as_str().is_some_and(|line| line.contains("dst-config")),
        "{older:#}"
    );
    end("held-by-older");
    kubectl::run(&[
        "patch",
        "searchcluster",
        "-n",
        NAMESPACE,
        "dst",
        "--type=merge",
        "-p",
        r#"{"spec":{"allowlist":{"management":"Automatic"}}}"#,
    ])
    .unwrap();
    kubectl::run(&["delete", "searchcluster", "-n", NAMESPACE, "younger"]).unwrap();
    assert_eq!(pod_uids(), before);
}
