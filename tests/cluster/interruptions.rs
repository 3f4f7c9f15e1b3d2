//! Whatever is killed in the middle: Complete with every document, or Failed with a reason; never a false Complete.

use serde_json::json;
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
async fn a_destination_that_is_deleted_in_the_middle_is_no_success() {
    copying("index-deleted").await;
    let client = destination().client().unwrap();
    client.request(reqwest::Method::DELETE, "/index-deleted", None).await.unwrap();
    let seen = ended("index-deleted");
    assert_eq!(condition(&seen, "Failed").1, "DestinationReplaced", "{:#}", seen["status"]);
}

#[tokio::test]
async fn a_source_that_moves_is_said_so() {
    copying("source-moves").await;
    let client = source().client().unwrap();
    client
        .bulk("{\"index\":{\"_index\":\"many\",\"_id\":\"0\"}}\n{\"n\":0,\"text\":\"changed\"}\n".into())
        .await
        .unwrap();
    let seen = ended("source-moves");
    assert_eq!(condition(&seen, "Failed").1, "SourceChanging", "{:#}", seen["status"]);
}
