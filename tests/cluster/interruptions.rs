//! Whatever is killed in the middle: Complete with every document, or Failed with a reason; never a false Complete.

use reqwest::Method;
use serde_json::{Value, json};
use xtask::kubectl;

use crate::world::*;

#[tokio::test]
async fn the_operator_killed_during_the_copy_adopts_its_task() {
    copying("operator-killed").await;
    let task = get("reindex", "operator-killed")["status"]["partitions"][0]["task"].clone();
    kill_operator();
    // One attempt: the task that ran on was found again, not begun again.
    let adopted = wait_for(
        "a look at the task",
        || get("reindex", "operator-killed"),
        |seen| seen["status"]["progress"]["documentsCopied"] != 0,
    );
    if let Some(partition) = adopted["status"]["partitions"].get(0) {
        assert_eq!((&partition["task"], &partition["attempt"]), (&task, &json!(1)));
    }
    complete("operator-killed", DOCUMENTS as i64);
    let seen = get("reindex", "operator-killed");
    assert_eq!(seen["status"]["result"]["created"], DOCUMENTS, "{:#}", seen["status"]);
}

#[tokio::test]
async fn a_deleted_reindex_cancels_its_task_and_goes() {
    copying("deleted").await;
    kubectl::run(&["delete", "reindex", "-n", NAMESPACE, "deleted", "--timeout=60s"]).expect("it goes");
    let client = destination().client().unwrap();
    let tasks = client.get("/_tasks?actions=*reindex&detailed").await.unwrap();
    let running = tasks["nodes"]
        .as_object()
        .map_or(0, |nodes| nodes.values().filter_map(|node| node["tasks"].as_object()).map(|tasks| tasks.len()).sum());
    assert_eq!(running, 0, "{tasks:#}");
}

#[tokio::test]
async fn the_destinations_node_killed_during_the_copy_ends_true() {
    copying("node-killed").await;
    let task = get("reindex", "node-killed")["status"]["partitions"][0]["task"].as_str().unwrap_or_default().to_owned();
    let client = destination().client().unwrap();
    let nodes = client.get("/_nodes/_all/name").await.unwrap();
    let id = task.split(':').next().unwrap_or_default();
    let pod = nodes["nodes"][id]["name"].as_str().unwrap_or("dst-0").to_owned();
    kill(NAMESPACE, &pod);
    let seen = ended("node-killed");
    if condition(&seen, "Complete").0 == "True" {
        assert_eq!(seen["status"]["verification"]["destinationDocuments"], DOCUMENTS, "{:#}", seen["status"]);
    } else {
        assert!(!condition(&seen, "Failed").1.is_empty(), "{:#}", seen["status"]);
    }
    destination().wait(LIMIT).expect("the node is back");
}

#[tokio::test]
async fn every_node_of_the_destination_killed_at_once_only_delays_it() {
    copying_in("nodes-killed", 8).await;
    for pod in ["dst-0", "dst-1", "dst-2"] {
        kill(NAMESPACE, pod);
    }
    complete("nodes-killed", DOCUMENTS as i64);
    let settings = destination().client().unwrap().get("/nodes-killed/_settings?flat_settings=true").await.unwrap();
    assert_eq!(settings["nodes-killed"]["settings"]["index.number_of_replicas"], "1", "{settings:#}");
    destination().wait(LIMIT).expect("the nodes are back");
}

#[tokio::test]
async fn a_destination_that_is_deleted_in_the_middle_is_no_success() {
    copying("index-deleted").await;
    let client = destination().client().unwrap();
    client.request(reqwest::Method::DELETE, "/index-deleted", None).await.unwrap();
    let seen = ended("index-deleted");
    assert_eq!(condition(&seen, "Failed").1, "DestinationReplaced", "{:#}", seen["status"]);
}

#[tokio::test]
async fn what_is_written_to_the_source_meanwhile_is_caught_up_with() {
    copying("source-moves").await;
    let client = source().client().unwrap();
    let changed = |id: &str| {
        format!("{{\"index\":{{\"_index\":\"many\",\"_id\":\"{id}\"}}}}\n{{\"n\":0,\"text\":\"changed\"}}\n")
    };
    client.bulk(changed("0")).await.unwrap();
    complete("source-moves", DOCUMENTS as i64);
    let seen = get("reindex", "source-moves");
    assert_eq!(seen["status"]["verification"]["sourceChanged"], true, "{:#}", seen["status"]);
    let copied = destination().client().unwrap().get("/source-moves/_doc/0").await.unwrap();
    assert_eq!(copied["_source"]["text"], "changed", "{copied:#}");
}

/// Tasks of the destination, as `_tasks` lists them.
async fn running_tasks() -> Vec<String> {
    let tasks = destination().client().unwrap().get("/_tasks?actions=*reindex&detailed").await.unwrap();
    let nodes = tasks["nodes"].as_object().cloned().unwrap_or_default();
    nodes.values().filter_map(|node| node["tasks"].as_object()).flat_map(|tasks| tasks.keys().cloned()).collect()
}

#[tokio::test]
async fn a_task_that_is_cancelled_from_outside_costs_its_range_only() {
    copying_in("cancelled", 6).await;
    let client = destination().client().unwrap();
    for task in running_tasks().await {
        client.request(Method::POST, &format!("/_tasks/{task}/_cancel"), None).await.unwrap();
    }
    complete("cancelled", DOCUMENTS as i64);
    let seen = get("reindex", "cancelled");
    assert_eq!(seen["status"]["result"]["created"], DOCUMENTS, "{:#}", seen["status"]);
    let events = [
        "get",
        "events",
        "-n",
        NAMESPACE,
        "--field-selector",
        "involvedObject.name=cancelled,reason=CopyRetried",
        "-o",
        "name",
    ];
    assert!(kubectl::run(&events).unwrap().lines().count() >= 1);
}

#[tokio::test]
async fn ranges_survive_the_death_of_the_source_of_a_node_and_of_the_operator() {
    copying_in("all-killed", 8).await;
    kill(NAMESPACE, "dst-1");
    kill_operator();
    wait_for("progress", || get("reindex", "all-killed"), |seen| seen["status"]["progress"]["partitionsDone"] != 0);
    kill(NAMESPACE, "src-0");
    complete("all-killed", DOCUMENTS as i64);
    let settings = destination().client().unwrap().get("/all-killed/_settings?flat_settings=true").await.unwrap();
    let settings = &settings["all-killed"]["settings"];
    assert_eq!(
        (&settings["index.number_of_replicas"], &settings["index.refresh_interval"]),
        (&json!("1"), &Value::Null)
    );
    source().wait(LIMIT).expect("the source is back");
    destination().wait(LIMIT).expect("the node is back");
}

#[tokio::test]
async fn a_suspended_copy_runs_nothing_and_goes_on_later() {
    copying_in("suspended", 8).await;
    let patch = |suspend: bool| {
        let text = json!({"spec": {"suspend": suspend, "suspendPolicy": "Cancel"}}).to_string();
        kubectl::run(&["patch", "reindex", "-n", NAMESPACE, "suspended", "--type=merge", "-p", &text]).unwrap();
    };
    patch(true);
    wait_for("Suspended", || get("reindex", "suspended"), |seen| condition(seen, "Suspended").0 == "True");
    assert_eq!(running_tasks().await, [""; 0]);
    let settings = destination().client().unwrap().get("/suspended/_settings?flat_settings=true").await.unwrap();
    assert_eq!(settings["suspended"]["settings"]["index.number_of_replicas"], "1", "{settings:#}");
    patch(false);
    complete("suspended", DOCUMENTS as i64);
}

#[tokio::test]
async fn a_throttle_is_obeyed_and_lifted() {
    allowed().await;
    let mut object = reindex("throttled", "many");
    object["spec"]["execution"] =
        json!({"batchSize": 100, "partitions": 2, "parallelism": 2, "requestsPerSecond": 200});
    apply(&object);
    wait_for(
        "running tasks",
        || get("reindex", "throttled"),
        |seen| seen["status"]["progress"]["partitionsRunning"] == 2,
    );
    let tasks = destination().client().unwrap().get("/_tasks?actions=*reindex&detailed").await.unwrap();
    let text = tasks.to_string();
    assert_eq!(text.matches("\"requests_per_second\":100.0").count(), 2, "{tasks:#}");
    let lifted = ["patch", "reindex", "-n", NAMESPACE, "throttled", "--type=json", "-p"];
    kubectl::run(&[&lifted[..], &[r#"[{"op":"remove","path":"/spec/execution/requestsPerSecond"}]"#]].concat())
        .unwrap();
    complete("throttled", DOCUMENTS as i64);
}

#[tokio::test]
async fn one_that_ended_goes_when_its_time_is_over() {
    allowed().await;
    let mut object = reindex("short-lived", "first");
    object["spec"]["ttlSecondsAfterFinished"] = json!(3);
    apply(&object);
    wait_for("its end", || get("reindex", "short-lived"), Value::is_null);
    assert!(exists(&destination().client().unwrap(), "short-lived").await, "what was copied stays");
}
