//! Sources that are hard to cut, and what the copy makes of them: the same documents on both sides, whatever was done to them before
//! or is done meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use xtask::search::SearchClient;

use crate::world::*;

/// Every document behind a name: id and routing, version, and what is in it.
async fn documents(client: &SearchClient, name: &str) -> BTreeMap<(String, Option<String>), (u64, Value)> {
    client.request(Method::POST, &format!("/{name}/_refresh"), None).await.unwrap();
    let body = json!({"size": 5000, "version": true, "sort": ["_doc"]});
    let path = format!("/{name}/_search?scroll=1m");
    let (_, mut page) = client.request(Method::POST, &path, Some(&body)).await.unwrap();
    let mut all = BTreeMap::new();
    loop {
        let hits = page["hits"]["hits"].as_array().cloned().unwrap_or_default();
        if hits.is_empty() {
            return all;
        }
        for hit in hits {
            let key = (hit["_id"].as_str().unwrap().to_owned(), hit["_routing"].as_str().map(str::to_owned));
            let before = all.insert(key, (hit["_version"].as_u64().unwrap(), hit["_source"].clone()));
            assert_eq!(before, None, "a document stands there twice: {hit}");
        }
        let next = json!({"scroll": "1m", "scroll_id": page["_scroll_id"]});
        page = client.request(Method::POST, "/_search/scroll", Some(&next)).await.unwrap().1;
    }
}

/// Both sides hold the same.
async fn assert_same(read: &str, written: &str) {
    assert_same_on(&source().client().unwrap(), read, written).await;
}

async fn assert_same_on(source: &SearchClient, read: &str, written: &str) {
    let source = documents(source, read).await;
    let destination = documents(&destination().client().unwrap(), written).await;
    assert_eq!(source.len(), destination.len());
    for (key, document) in &source {
        assert_eq!(destination.get(key), Some(document), "{key:?}");
    }
}

/// A Reindex in eight small ranges, so that there is something to get wrong.
fn ranged(name: &str, index: &str) -> Value {
    let mut object = reindex(name, index);
    object["spec"]["execution"] = json!({"partitions": 8, "parallelism": 3, "batchSize": 500});
    object
}

fn line(index: &str, id: usize, routing: Option<&str>, document: &Value) -> String {
    let mut action = json!({"index": {"_index": index, "_id": id.to_string()}});
    if let Some(routing) = routing {
        action["index"]["routing"] = json!(routing);
    }
    format!("{action}\n{document}\n")
}

#[tokio::test]
async fn an_index_with_updates_deletes_routing_and_nested_documents_arrives_whole() {
    allowed().await;
    let client = source().client().unwrap();
    let mappings = json!({"properties": {"items": {"type": "nested"}, "n": {"type": "integer"}}});
    let settings = json!({"number_of_shards": 3, "number_of_replicas": 0});
    client.put("/churned", &json!({"settings": settings, "mappings": mappings})).await.unwrap();
    let document = |n: usize, round: usize| json!({"n": n, "round": round, "items": [{"a": n}, {"a": n + 1}]});
    let routing = |n: usize| n.is_multiple_of(3).then(|| format!("r{}", n % 7));
    for round in 0..3 {
        let written = (0..6000).filter(|n| n % (round + 1) == 0);
        client
            .bulk(written.map(|n| line("churned", n, routing(n).as_deref(), &document(n, round))).collect())
            .await
            .unwrap();
    }
    let deleted = json!({"query": {"range": {"n": {"lt": 1500}}}});
    let (status, answer) =
        client.request(Method::POST, "/churned/_delete_by_query?refresh=true", Some(&deleted)).await.unwrap();
    assert_eq!((status, &answer["deleted"]), (200, &json!(1500)), "{answer}");
    apply(&ranged("churned", "churned"));
    complete("churned", 4500);
    assert_same("churned", "churned").await;
    let progress = &get("reindex", "churned")["status"]["progress"];
    assert_eq!((&progress["partitionsTotal"], &progress["partitionsDone"]), (&json!(8), &json!(8)));
}

#[tokio::test]
async fn a_filtered_alias_over_two_indices_keeps_its_filter() {
    allowed().await;
    let client = source().client().unwrap();
    for (index, from) in [("half-a", 0), ("half-b", 3000)] {
        let settings = json!({"settings": {"number_of_shards": 2, "number_of_replicas": 0}});
        client.put(&format!("/{index}"), &settings).await.unwrap();
        client.bulk((from..from + 3000).map(|n| line(index, n, None, &json!({"n": n}))).collect()).await.unwrap();
    }
    let filter = json!({"range": {"n": {"gte": 1000, "lt": 5000}}});
    let add = |index: &str| json!({"add": {"index": index, "alias": "middle", "filter": filter}});
    let (status, answer) = client
        .request(Method::POST, "/_aliases", Some(&json!({"actions": [add("half-a"), add("half-b")]})))
        .await
        .unwrap();
    assert_eq!(status, 200, "{answer}");
    apply(&ranged("middle", "middle"));
    complete("middle", 4000);
    assert_same("middle", "middle").await;
}

/// What a data stream is underneath: the distribution here has none, but its roll-over is that of an alias.
#[tokio::test]
async fn an_alias_that_rolls_over_meanwhile_is_copied_with_its_new_index() {
    allowed().await;
    let client = source().client().unwrap();
    let aliases = json!({"stream": {"is_write_index": true}});
    let settings = json!({"number_of_shards": 1, "number_of_replicas": 0});
    let mappings = json!({"properties": {"n": {"type": "integer"}}});
    let index = json!({"settings": settings, "mappings": mappings, "aliases": aliases});
    client.put("/stream-000001", &index).await.unwrap();
    let write =
        |from: usize, to: usize| client.bulk((from..to).map(|n| line("stream", n, None, &json!({"n": n}))).collect());
    write(0, 20_000).await.unwrap();
    let mut object = reindex("stream", "stream");
    object["spec"]["execution"] = json!({"batchSize": 20, "partitions": 4, "parallelism": 2});
    apply(&object);
    wait_for(
        "a running task",
        || get("reindex", "stream"),
        |seen| seen["status"]["progress"]["partitionsRunning"].as_i64() > Some(0),
    );
    let rollover = json!({"settings": settings, "mappings": mappings});
    let (status, answer) = client.request(Method::POST, "/stream/_rollover", Some(&rollover)).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    write(20_000, 20_300).await.unwrap();
    complete("stream", 20_300);
    assert_same("stream", "stream").await;
    let plan = get("reindex", "stream")["status"]["plan"].clone();
    assert!(plan["round"].as_i64() >= Some(1), "{plan:#}");
}

/// Documents of the index that is written to meanwhile, before.
const BUSY: usize = 10_000;

/// Creates and updates documents until told to stop, and with `anew` deletes some and creates them again so much later that their versions
/// begin with 1. How many writes came through.
async fn write(client: SearchClient, index: &'static str, anew: bool, stop: Arc<AtomicBool>) -> usize {
    let mut written = 0;
    let mut gone = VecDeque::new();
    let put = async |n: usize, id: usize| {
        let document = json!({"n": n, "text": "written meanwhile"});
        let answer = client.request(Method::PUT, &format!("/{index}/_doc/{id}"), Some(&document)).await;
        usize::from(answer.is_ok_and(|(status, _)| status < 300))
    };
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // Across all ranges, so that documents move from one that is copied late to one that is copied early and back.
        let id = (n * 7919) % BUSY;
        match n % 10 {
            3 if anew => {
                client.request(Method::DELETE, &format!("/{index}/_doc/{id}"), None).await.unwrap();
                gone.push_back((id, Instant::now()));
            }
            even if even % 2 == 0 => written += put(n, id).await,
            _ => written += put(n, 100_000 + n).await,
        }
        if gone.front().is_some_and(|(_, since)| since.elapsed() > FORGOTTEN) {
            let (id, _) = gone.pop_front().unwrap();
            written += put(n, id).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (id, since) in gone {
        tokio::time::sleep(FORGOTTEN.saturating_sub(since.elapsed())).await;
        written += put(0, id).await;
    }
    written
}

/// After so long a deleted document's version is forgotten, where `index.gc_deletes` is 0 and the index is refreshed every second.
const FORGOTTEN: Duration = Duration::from_secs(3);

/// Copies an index that is written to until the second round of catching up.
async fn copied_while_busy(client: &SearchClient, object: &Value, index: &'static str, anew: bool) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(client.clone(), index, anew, stop.clone()));
    apply(object);
    wait_for("a second round", || get("reindex", name), |seen| seen["status"]["plan"]["round"].as_i64() >= Some(1));
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    assert!(written > 100, "the writer got {written} documents through");
    let seen = ended(name);
    assert_eq!(condition(&seen, "Complete").0, "True", "{:#}", seen["status"]);
    assert_same_on(client, index, name).await;
}

fn slowly(mut object: Value) -> Value {
    object["spec"]["execution"] = json!({"batchSize": 50, "partitions": 4, "parallelism": 2});
    object["spec"]["catchUp"] = json!({"maxRounds": 20});
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_writer_creates_and_changes_meanwhile_arrives() {
    allowed().await;
    let client = source().client().unwrap();
    fill(&client, "busy", BUSY).await;
    copied_while_busy(&client, &slowly(reindex("busy", "busy")), "busy", false).await;
}

/// Within the cluster of three nodes, whose replicas lag behind its primaries.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_writer_does_to_a_source_with_replicas_arrives_even_what_is_created_anew() {
    allowed().await;
    let client = destination().client().unwrap();
    let settings =
        json!({"number_of_shards": 2, "number_of_replicas": 1, "gc_deletes": "0s", "refresh_interval": "1s"});
    client.put("/replicated", &json!({"settings": settings})).await.unwrap();
    let all = (0..BUSY).map(|n| line("replicated", n, None, &json!({"n": n, "text": "before"})));
    client.bulk(all.collect()).await.unwrap();
    let mut first = reindex("itself", "replicated");
    first["spec"]["source"]["clusterRef"]["name"] = json!("dst");
    apply(&first);
    complete("itself", BUSY as i64);
    let mut object = slowly(reindex("replicated-busy", "replicated"));
    object["spec"]["source"]["clusterRef"]["name"] = json!("dst");
    copied_while_busy(&client, &object, "replicated", true).await;
}

#[tokio::test]
async fn batches_that_the_destination_can_t_take_are_made_less() {
    allowed().await;
    let client = source().client().unwrap();
    let settings = json!({"number_of_shards": 2, "number_of_replicas": 0});
    let mappings = json!({"properties": {"text": {"type": "text", "index": false}}});
    client.put("/heavy", &json!({"settings": settings, "mappings": mappings})).await.unwrap();
    let text = "0123456789abcdef".repeat(12_500);
    for begin in (0..400).step_by(20) {
        client
            .bulk((begin..begin + 20).map(|n| line("heavy", n, None, &json!({"text": text}))).collect())
            .await
            .unwrap();
    }
    // Left to itself it takes batches that fit.
    apply(&reindex("heavy-auto", "heavy"));
    complete("heavy-auto", 400);
    let retried = |name: &str| {
        let selector = format!("involvedObject.name={name},reason=CopyRetried");
        let events = ["get", "events", "-n", NAMESPACE, "--field-selector", &selector, "-o", "name"];
        xtask::kubectl::run(&events).unwrap().lines().count()
    };
    assert_eq!(retried("heavy-auto"), 0, "{:#}", get("reindex", "heavy-auto")["status"]);
    // 80 MB at once, by four tasks, are more than nodes with 256 MB of heap take.
    let mut object = reindex("heavy", "heavy");
    object["spec"]["execution"] = json!({"batchSize": 400, "partitions": 4, "parallelism": 4});
    apply(&object);
    complete("heavy", 400);
    let seen = get("reindex", "heavy");
    assert_eq!(seen["status"]["result"]["created"], 400, "{:#}", seen["status"]);
}

#[tokio::test]
async fn documents_are_written_as_the_destination_says() {
    allowed().await;
    let client = destination().client().unwrap();
    client.put("/_ingest/pipeline/nothing", &json!({"processors": []})).await.unwrap();
    let mut object = reindex("written-so", "first");
    for (field, value) in [("opType", "Create"), ("pipeline", "nothing"), ("routing", "=one")] {
        object["spec"]["destination"][field] = json!(value);
    }
    apply(&object);
    complete("written-so", 10);
    let copied = documents(&client, "written-so").await;
    assert!(copied.keys().all(|(_, routing)| routing.as_deref() == Some("one")), "{copied:?}");
}

#[tokio::test]
async fn an_index_is_appended_to_and_replaced() {
    allowed().await;
    let client = destination().client().unwrap();
    fill(&source().client().unwrap(), "more", 25).await;
    let into = |name: &str, index: &str, policy: &str| {
        let mut object = reindex(name, index);
        object["spec"]["destination"]["index"] = json!("collected");
        object["spec"]["destination"]["ifExists"] = json!(policy);
        object
    };
    apply(&into("collected", "first", "Refuse"));
    complete("collected", 10);
    apply(&into("appended", "more", "Append"));
    complete("appended", 25);
    let result = get("reindex", "appended")["status"]["result"].clone();
    assert_eq!((&result["created"], &result["updated"]), (&json!(15), &json!(10)), "{result:#}");
    apply(&into("replaced", "first", "Replace"));
    complete("replaced", 10);
    assert_eq!(documents(&client, "collected").await.len(), 10);
    client.put("/by-a-person", &json!({"settings": {"number_of_replicas": 1}})).await.unwrap();
    let mut object = into("not-ours", "first", "Replace");
    object["spec"]["destination"]["index"] = json!("by-a-person");
    apply(&object);
    assert_eq!(condition(&ended("not-ours"), "Failed").1, "DestinationNotOurs");
    assert!(exists(&client, "by-a-person").await);
}
