//! What is found out before anything is changed, on real engines: each finding was caused for real, and goes when its cause does.

use reqwest::Method;
use serde_json::{Value, json};
use xtask::{kubectl, search::SearchClient};

use crate::world::*;

/// Applies the object and waits until it is stalled for this reason; returns the message.
async fn stalled(object: &Value, reason: &str) -> String {
    apply(object);
    let name = object["metadata"]["name"].as_str().unwrap();
    let seen =
        wait_for(&format!("Stalled {reason}"), || get("reindex", name), |seen| condition(seen, "Stalled").1 == reason);
    let index = object["spec"]["destination"]["index"].as_str().unwrap();
    assert!(!exists(&destination().client().unwrap(), index).await, "nothing was created");
    condition(&seen, "Stalled").2.to_owned()
}

fn accept(name: &str, reasons: &[&str]) {
    let patch = json!({"spec": {"acceptWarnings": reasons}}).to_string();
    kubectl::run(&["patch", "reindexes.reindex.dev", name, "-n", NAMESPACE, "--type=merge", "-p", &patch])
        .expect("patched");
}

async fn send(client: &SearchClient, method: Method, path: &str, body: Value) {
    let body = Some(&body).filter(|body| !body.is_null());
    let (status, answer) = client.request(method, path, body).await.unwrap();
    assert!((200..300).contains(&status), "{path}: {answer:#}");
}

#[tokio::test]
async fn what_a_template_of_the_destination_would_add_is_told_and_can_be_accepted() {
    allowed().await;
    let client = destination().client().unwrap();
    let template = json!({"index_patterns": ["templated*"], "priority": 7, "template": {
        "aliases": {"live": {}}, "settings": {"index.default_pipeline": "stamp", "index.refresh_interval": "7s"},
        "mappings": {"properties": {"added": {"type": "keyword"}}},
    }});
    send(&client, Method::PUT, "/_index_template/templated", template).await;
    let legacy = json!({"index_patterns": ["legacy*"], "aliases": {"old-live": {}}});
    send(&client, Method::PUT, "/_template/legacy", legacy).await;

    let message = stalled(&reindex("templated", "first"), "TemplateAlias").await;
    for part in ["live", "default_pipeline stamp", "sets refresh_interval", "maps added", "acceptWarnings"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // A pipeline that does not exist would refuse every document.
    send(&client, Method::PUT, "/_ingest/pipeline/stamp", json!({"processors": []})).await;
    accept("templated", &["TemplateAlias", "DestinationPipeline", "TemplateChangesIndex"]);
    complete("templated", 10);

    let message = stalled(&reindex("legacy", "first"), "TemplateAlias").await;
    assert!(message.contains("old-live"), "{message}");
    // It goes on by itself when the cause is gone.
    send(&client, Method::DELETE, "/_template/legacy", Value::Null).await;
    complete("legacy", 10);
    for path in ["/_index_template/templated"] {
        send(&client, Method::DELETE, path, Value::Null).await;
    }
}

#[tokio::test]
async fn a_destination_without_room_is_waited_for() {
    allowed().await;
    let client = destination().client().unwrap();
    let disk = |enabled: Value, mark: Value, flood: Value| {
        json!({"transient": {
            "cluster.routing.allocation.disk.threshold_enabled": enabled,
            "cluster.routing.allocation.disk.watermark.low": mark,
            "cluster.routing.allocation.disk.watermark.high": mark,
            "cluster.routing.allocation.disk.watermark.flood_stage": flood,
        }})
    };
    // More must stay free than any disk has, and only below a single byte are indices blocked.
    send(&client, Method::PUT, "/_cluster/settings", disk(json!(true), json!("1000tb"), json!("1b"))).await;
    let message = stalled(&reindex("no-disk", "first"), "DiskFull").await;
    assert!(message.contains("high watermark"), "{message}");
    send(&client, Method::PUT, "/_cluster/settings", disk(Value::Null, Value::Null, Value::Null)).await;
    complete("no-disk", 10);

    let shards = |most: Value| json!({"transient": {"cluster.max_shards_per_node": most}});
    send(&client, Method::PUT, "/_cluster/settings", shards(json!(1))).await;
    let message = stalled(&reindex("no-shards", "first"), "TooManyShards").await;
    assert!(message.contains("cluster.max_shards_per_node"), "{message}");
    send(&client, Method::PUT, "/_cluster/settings", shards(Value::Null)).await;
    complete("no-shards", 10);

    let block = |on: Value| json!({"transient": {"cluster.blocks.read_only": on}});
    send(&client, Method::PUT, "/_cluster/settings", block(json!(true))).await;
    stalled(&reindex("read-only", "first"), "DestinationReadOnly").await;
    send(&client, Method::PUT, "/_cluster/settings", block(Value::Null)).await;
    complete("read-only", 10);
}

#[tokio::test]
async fn a_source_that_can_not_be_read_whole_is_waited_for() {
    allowed().await;
    let client = source().client().unwrap();
    // Its shard finds no node.
    let nowhere = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}});
    send(&client, Method::PUT, "/red?wait_for_active_shards=0&timeout=1s", nowhere).await;
    let message = stalled(&reindex("red", "red"), "SourceRed").await;
    assert!(message.contains("red lacks a primary shard"), "{message}");
    let anywhere = json!({"index.routing.allocation.require._name": null});
    send(&client, Method::PUT, "/red/_settings", anywhere).await;
    complete("red", 0);

    // The same document in two indices would be one.
    for index in ["half-1", "half-2"] {
        fill(&client, index, 5).await;
        send(&client, Method::PUT, &format!("/{index}/_alias/halves"), Value::Null).await;
        send(&client, Method::POST, &format!("/{index}/_refresh"), Value::Null).await;
    }
    let message = stalled(&reindex("halves", "halves"), "SameIdTwice").await;
    assert!(message.contains("Copy the indices one by one"), "{message}");
    for n in 0..5 {
        send(&client, Method::DELETE, &format!("/half-2/_doc/{n}?refresh=true"), Value::Null).await;
    }
    complete("halves", 5);
}

#[tokio::test]
async fn a_page_is_no_larger_than_the_source_allows() {
    allowed().await;
    let client = source().client().unwrap();
    fill(&client, "paged", 300).await;
    send(&client, Method::PUT, "/paged/_settings", json!({"index.max_result_window": 100})).await;
    let mut given = reindex("paged-given", "paged");
    given["spec"]["execution"] = json!({"batchSize": 101});
    apply(&given);
    assert_eq!(condition(&ended("paged-given"), "Failed").1, "BatchTooLarge");
    let mut object = reindex("paged", "paged");
    object["spec"]["verification"] = json!({"level": "Content"});
    apply(&object);
    complete("paged", 300);
}

#[tokio::test]
async fn fields_without_a_mapping_are_told() {
    allowed().await;
    let mut object = reindex("guessed", "first");
    object["spec"]["destination"]["mappings"] = json!({"properties": {"text": {"type": "text"}}});
    let message = stalled(&object, "FieldsGuessed").await;
    assert!(message.contains("lacks n:"), "{message}");
    accept("guessed", &["FieldsGuessed"]);
    complete("guessed", 10);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    allowed().await;
    let mut object = reindex("planned", "first");
    object["spec"]["dryRun"] = json!(true);
    apply(&object);
    let seen = wait_for("the plan", || get("reindex", "planned"), |seen| condition(seen, "Planned").0 == "True");
    let planned = &seen["status"]["dryRun"];
    assert_eq!((&planned["documents"], &planned["partitions"]), (&json!(10), &json!(1)), "{:#}", seen["status"]);
    assert_eq!(planned["index"], "planned would be created with 2 primary shards and 1 replicas of each");
    assert!(planned["allowlist"].as_str().unwrap().contains("no node restarts"), "{planned:#}");
    assert!(planned["bytes"].as_i64().unwrap() > 1000, "{planned:#}");
    assert_eq!(
        seen["status"]["preflight"]["unchecked"],
        Value::Null,
        "every question was answered: {:#}",
        seen["status"]
    );
    assert_eq!(condition(&seen, "Complete").0, "False", "nothing was copied");
    assert!(!exists(&destination().client().unwrap(), "planned").await, "nothing was created");
}
