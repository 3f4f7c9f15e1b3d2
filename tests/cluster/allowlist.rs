//! The allowlist: one careful restart, and none that is not needed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use xtask::{engines::ElasticsearchCluster, kubectl, search::SearchClient};

use crate::{
    plugin::{answered, shown},
    world::*,
};

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

/// Every colour that the cluster's health had until told to stop.
async fn watch(client: SearchClient, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut colours = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        // Without an answer there is no colour: the node that was asked is the one that restarts.
        if let Ok((200, health)) = client.request(Method::GET, "/_cluster/health?timeout=1s", None).await {
            colours.extend(health["status"].as_str().map(str::to_owned));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    colours
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
    let watcher = tokio::spawn(watch(destination.clone(), stop.clone()));
    for name in ["one", "two", "three"] {
        apply(&reindex(name, name));
    }
    tokio::task::spawn_blocking(|| ["one", "two", "three"].map(|name| complete(name, 100))).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    // Yellow: the restart was seen. Never red: each document could be read all the time.
    assert_eq!(watcher.await.unwrap(), ["green", "yellow"].map(str::to_owned).into());
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

/// The source under another name, which is not on the allowlist: SearchCluster `name` for `host`.
fn source_as(name: &str, host: &str) -> Value {
    search_cluster(name, "src", json!({"remoteEndpoint": format!("https://{host}:9200")}))
}

/// A name of the source that no test puts on the allowlist.
fn elsewhere() -> Value {
    source_as("elsewhere", &format!("src-http.{NAMESPACE}.svc.cluster.local"))
}

fn needs_elsewhere(name: &str) -> Value {
    let mut object = reindex(name, "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("elsewhere");
    object
}

/// Applies a Reindex that needs a new entry, and waits for what SearchCluster `dst` says.
fn held(name: &str, reason: &str) -> Value {
    apply(&elsewhere());
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
    apply(&elsewhere());
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

/// Every UID that a pod of the destination is seen to have, until told to stop.
fn watch_pods(stop: Arc<AtomicBool>) -> Vec<BTreeSet<String>> {
    let mut seen = vec![BTreeSet::new(); 3];
    while !stop.load(Ordering::Relaxed) {
        for (number, uid) in pod_uids().into_iter().enumerate().filter(|(_, uid)| !uid.is_empty()) {
            seen[number].insert(uid);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    seen
}

/// A restart waits for the copy that runs; then it survives the operator's death, and touches no node twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_runs_is_not_interrupted_and_a_killed_operator_goes_on_with_the_restart() {
    copying("uninterrupted").await;
    let before = pod_uids();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let watcher = tokio::task::spawn_blocking(move || watch_pods(stopped));
    apply(&source_as("short-name", &format!("src-http.{NAMESPACE}")));
    let mut object = reindex("short-name", "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("short-name");
    apply(&object);
    wait_for(
        "the restart to wait",
        || get("searchcluster", "dst"),
        |seen| {
            condition(seen, "AllowlistReady").1 == "Draining"
                && condition(seen, "AllowlistReady").2.contains("uninterrupted")
        },
    );
    assert_eq!(get("reindex", "uninterrupted")["status"]["phase"], "Copying");
    complete("uninterrupted", DOCUMENTS as i64);
    let uninterrupted =
        ["get", "events", "-n", NAMESPACE, "--field-selector", "involvedObject.name=uninterrupted,reason=CopyRetried"];
    assert_eq!(kubectl::run(&uninterrupted).unwrap().lines().count(), 0);
    wait_for(
        "the first node's restart",
        || get("searchcluster", "dst"),
        |seen| seen["status"]["allowlist"]["batch"]["nodes"][0]["state"] == "Restarting",
    );
    kill_operator();
    complete("short-name", 10);
    stop.store(true, Ordering::Relaxed);
    for (uids, before) in watcher.await.unwrap().iter().zip(&before) {
        assert!(uids.len() == 2 && uids.contains(before), "restarted once: {before}, then {uids:?}");
    }
    let cluster = get("searchcluster", "dst");
    let batch = &cluster["status"]["allowlist"]["batch"];
    assert_eq!((&batch["phase"], &batch["borrowed"]), (&json!("Done"), &Value::Null), "{batch:#}");
    let settings = destination().client().unwrap().get("/_cluster/settings?flat_settings=true").await.unwrap();
    assert_eq!(settings["persistent"]["cluster.routing.allocation.enable"], Value::Null, "{settings}");
}

/// A cluster of one node that the operator only verifies: the line that it names is the line that helps.
#[tokio::test]
async fn a_line_that_a_person_adds_is_noticed() {
    allowed().await;
    let cluster = ElasticsearchCluster {
        trusted_ca: Some(source().ca().unwrap()),
        ..ElasticsearchCluster::new(NAMESPACE, "by-hand", 1)
    };
    cluster.deploy().unwrap();
    cluster.wait(LIMIT).unwrap();
    let provider =
        json!({"provider": {"statefulSets": [{"name": "by-hand", "configMap": {"name": "by-hand-config"}}]}});
    apply(&search_cluster("by-hand", "by-hand", provider));
    let mut object = reindex("by-hand", "first");
    object["spec"]["destination"] =
        json!({"clusterRef": {"name": "by-hand"}, "index": "by-hand", "settings": {"numberOfReplicas": 0}});
    apply(&object);
    let told = wait_for(
        "the line",
        || get("reindex", "by-hand"),
        |seen| condition(seen, "Ready").2.contains("reindex.remote.whitelist: ["),
    );
    let asked = get("searchcluster", "by-hand");
    assert_eq!(condition(&asked, "AllowlistReady").1, "VerifyOnly", "{asked:#}");
    let instruction = asked["status"]["allowlist"]["instruction"].as_str().unwrap_or_default().to_owned();
    assert!(condition(&told, "Ready").2.contains(&instruction), "{told:#}");
    let config =
        get("configmap", "by-hand-config")["data"]["elasticsearch.yml"].as_str().unwrap_or_default().to_owned();
    assert!(!config.contains("whitelist"), "nothing is edited: {config}");
    // As a person would: the line as it stands there, then a restart of the node.
    let edited = json!({"data": {"elasticsearch.yml": format!("{}\n{instruction}\n", config.trim_end())}});
    kubectl::run(&["patch", "configmap", "-n", NAMESPACE, "by-hand-config", "--type=merge", "-p", &edited.to_string()])
        .unwrap();
    kubectl::run(&["rollout", "restart", "-n", NAMESPACE, "statefulset/by-hand"]).unwrap();
    complete("by-hand", 10);
    kubectl::run(&["delete", "statefulset", "-n", NAMESPACE, "by-hand"]).unwrap();
}

/// Changes the allowlist's part of SearchCluster `dst`.
fn manage(allowlist: &Value) {
    let patch = json!({"spec": {"allowlist": allowlist}}).to_string();
    let arguments = ["patch", "searchclusters.reindex.dev", "-n", NAMESPACE, "dst", "--type=merge", "-p", &patch];
    kubectl::run(&arguments).unwrap();
}

/// The destination is to read from itself, which nothing on its allowlist lets it do.
#[tokio::test]
async fn an_approval_lets_exactly_that_change_go() {
    allowed().await;
    let before = pod_uids();
    manage(&json!({"management": "Approval"}));
    let mut object = reindex("approved", "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("dst");
    apply(&object);
    let waits = |seen: &Value| condition(seen, "AllowlistReady").1 == "WaitingForApproval";
    let cluster = wait_for("WaitingForApproval", || get("searchcluster", "dst"), waits);
    let message = condition(&cluster, "AllowlistReady").2;
    let entry = format!("dst-http.{NAMESPACE}.svc:9200");
    assert!(message.contains(&entry) && message.contains("dst-0") && message.contains("dst-2"), "{message}");
    // A Reindex that needs nothing goes on meanwhile.
    apply(&reindex("meanwhile", "first"));
    complete("meanwhile", 10);
    assert_eq!(pod_uids(), before, "nothing restarts before the approval");
    // The replica of an index that was just made takes a moment, in which nothing could restart.
    let status = || Value::String(shown(&["status", "approved"]));
    wait_for("a person", status, |seen| seen.as_str().is_some_and(|page| page.contains("WaitingForPerson")));
    let asked = answered("approve dst", "Approve of exactly this change?", "yes");
    let approved = asked.unwrap_or_else(|| shown(&["approve", "dst", "--yes"]));
    assert!(approved.contains(&entry), "what is approved of is shown: {approved}");
    let annotations = &get("searchcluster", "dst")["metadata"]["annotations"];
    let id = annotations["reindex.dev/approve-allowlist"].as_str().expect("an approval");
    assert!(message.contains(&format!("--overwrite reindex.dev/approve-allowlist={id}`")), "as it is told: {message}");
    complete("approved", 10);
    let after = pod_uids();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
    manage(&json!({"management": "Automatic"}));
}
