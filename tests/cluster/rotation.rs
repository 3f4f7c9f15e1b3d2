//! Passwords that are changed while a copy runs: at the engine first, in the Secret later. Each is that of a second user, so that nobody
//! else is locked out.

use serde_json::{Value, json};
use xtask::{engines::ElasticsearchCluster, kubectl, search::SearchClient};

use crate::{trouble::each_document_once, world::*};

/// The user whose password is changed.
const USER: &str = "rotating";
/// Documents a second, of all tasks: the copy has to last longer than a node takes to read its users again.
const THROTTLE: i32 = 500;

fn secret(name: &str, password: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": {"username": USER, "password": password}})
}

/// Whether the cluster lets the user in with that password.
async fn lets_in(cluster: &ElasticsearchCluster, password: &str) -> bool {
    let authority = cluster.ca().expect("an authority");
    let service = format!("{}-http", cluster.name);
    let client = SearchClient::new(NAMESPACE, &service, Some(&authority), Some((USER, password))).expect("a client");
    client.request(reqwest::Method::GET, "/", None).await.is_ok_and(|(status, _)| status == 200)
}

/// Changes the password at the engine, and waits until every node knows it: a Service leads to any of them.
async fn change(cluster: &ElasticsearchCluster, password: &str) {
    cluster.set_second_user(USER, password).expect("changed");
    let begin = std::time::Instant::now();
    let mut let_in = 0;
    while let_in < 6 {
        assert!(begin.elapsed() < LIMIT, "the nodes of {} never took the password up", cluster.name);
        let_in = if lets_in(cluster, password).await { let_in + 1 } else { 0 };
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// Begins a copy that reads and writes as that user, and lasts until its throttle is lifted.
async fn begin(name: &str) {
    allowed().await;
    let client = source().client().unwrap();
    if !exists(&client, "many").await {
        fill(&client, "many", DOCUMENTS).await;
    }
    for (of, cluster) in [("src", source()), ("dst", destination())] {
        change(&cluster, "first-password").await;
        apply(&secret(&format!("rotating-{of}"), "first-password"));
        let auth = json!({"auth": {"basic": {"secretRef": {"name": format!("rotating-{of}")}}}});
        apply(&search_cluster(&format!("rotating-{of}"), of, auth));
    }
    let mut object = reindex(name, "many");
    object["spec"]["source"]["clusterRef"]["name"] = json!("rotating-src");
    object["spec"]["destination"]["clusterRef"]["name"] = json!("rotating-dst");
    object["spec"]["execution"] =
        json!({"batchSize": 100, "partitions": 6, "parallelism": 2, "requestsPerSecond": THROTTLE});
    apply(&object);
    wait_for(
        "running tasks",
        || get("reindex", name),
        |seen| {
            seen["status"]["progress"]["partitionsRunning"] == 2 && seen["status"]["progress"]["documentsCopied"] != 0
        },
    );
}

/// Lifts the throttle, and waits for the end: every document once, and no password anywhere.
async fn ends(name: &str) {
    let path = r#"[{"op":"remove","path":"/spec/execution/requestsPerSecond"}]"#;
    kubectl::run(&["patch", "reindexes.reindex.dev", "-n", NAMESPACE, name, "--type=json", "-p", path])
        .expect("lifted");
    complete(name, DOCUMENTS as i64);
    let seen = get("reindex", name);
    assert_eq!(seen["status"]["result"]["created"], DOCUMENTS, "{:#}", seen["status"]);
    let log =
        kubectl::run(&["logs", "deployment/reindex-operator", "-n", "reindex-system", "--since=10m"]).expect("a log");
    for password in ["first-password", "second-password"] {
        assert!(!seen.to_string().contains(password) && !log.contains(password), "{password} is told");
    }
}

/// Takes away what this file made.
fn clear(name: &str) {
    kubectl::run(&["delete", "reindexes.reindex.dev", "-n", NAMESPACE, name, "--timeout=60s"]).expect("deleted");
    for of in ["src", "dst"] {
        let cluster = format!("rotating-{of}");
        kubectl::run(&["delete", "searchclusters.reindex.dev", "-n", NAMESPACE, &cluster]).expect("deleted");
    }
}

/// Waits until it says that it isn't let in.
fn told(name: &str, side: &str) -> Value {
    wait_for(
        "a word about the credentials",
        || get("reindex", name),
        |seen| {
            let (_, reason, message) = condition(seen, "Reconciling");
            reason == "ProgressingWithRetry" && message.contains(side) && message.contains("failed to authenticate")
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sources_password_that_is_changed_costs_no_document() {
    begin("rotated-source").await;
    change(&source(), "second-password").await;
    told("rotated-source", "the source");
    // Tasks hold the old password, and end by it.
    let locked_out = wait_for(
        "an end of the tasks",
        || get("reindex", "rotated-source"),
        |seen| {
            seen["status"]["partitions"].as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "Waiting"))
        },
    );
    let partitions = locked_out["status"]["partitions"].as_array().expect("ranges").clone();
    assert_eq!(partitions.len(), 2, "{partitions:#?}");
    for partition in &partitions {
        assert!(partition["failures"].as_i64().unwrap_or_default() == 0, "{partition:#}");
        assert!(partition["message"].as_str().is_some_and(|message| message.contains("credentials")), "{partition:#}");
    }
    apply(&secret("rotating-src", "second-password"));
    ends("rotated-source").await;
    clear("rotated-source");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destinations_password_that_is_changed_stops_no_task() {
    begin("rotated-destination").await;
    change(&destination(), "second-password").await;
    told("rotated-destination", "the destination");
    apply(&secret("rotating-dst", "second-password"));
    ends("rotated-destination").await;
    each_document_once("rotated-destination");
    clear("rotated-destination");
}
