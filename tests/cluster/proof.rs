//! What gets lost, doubled or changed on the way, produced for real: it is refused, repaired or Failed, and never Complete.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use xtask::search::SearchClient;

use crate::world::*;

/// Documents of a small index; enough for a copy of some seconds in batches of 20.
const FEW: usize = 6000;

/// A slow copy of index `few`, verified so.
async fn slow(name: &str, verification: Value) -> Value {
    allowed().await;
    let client = source().client().unwrap();
    if !exists(&client, "few").await {
        fill(&client, "few", FEW).await;
    }
    let mut object = reindex(name, "few");
    object["spec"]["execution"] = json!({"batchSize": 20, "partitions": 1});
    object["spec"]["verification"] = verification;
    object
}

/// It ended without success, for this reason.
fn assert_failed(name: &str, reason: &str) -> Value {
    let seen = ended(name);
    assert_eq!(condition(&seen, "Failed").1, reason, "{:#}", seen["status"]);
    assert_ne!(condition(&seen, "Complete").0, "True", "{:#}", seen["status"]);
    seen
}

/// Waits until a document of the index is there, as the copy brings it.
async fn arrives(client: &SearchClient, index: &str, id: &str) {
    for _ in 0..2000 {
        let there = client.request(Method::GET, &format!("/{index}/_doc/{id}"), None).await;
        if there.is_ok_and(|(status, _)| status == 200) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("document {id} of {index} did not come");
}

/// What somebody does to the destination behind our back, while it is filled: loses a document, changes one, changes a number in one
/// without a new version, adds one.
async fn meddle(index: &str) {
    let client = destination().client().unwrap();
    let call = async |method: Method, path: String, body: Option<Value>| {
        let (status, answer) = client.request(method, &format!("/{index}/{path}"), body.as_ref()).await.unwrap();
        assert!(status < 300, "{path}: {answer}");
    };
    for id in ["1", "2", "3"] {
        arrives(&client, index, id).await;
    }
    call(Method::DELETE, "_doc/1".into(), None).await;
    call(Method::PUT, "_doc/2".into(), Some(json!({"n": 2, "text": "changed by somebody else"}))).await;
    let same_version = "_doc/3?version=1&version_type=external_gte".to_owned();
    call(Method::PUT, same_version, Some(json!({"n": 3.5, "text": "document number 3"}))).await;
    call(Method::PUT, "_doc/added".into(), Some(json!({"n": -1}))).await;
}

#[tokio::test]
async fn what_somebody_does_to_the_destination_behind_our_back_is_named() {
    for (name, level, differences) in [
        // The one that changed in a number only has the same id, routing and version.
        ("behind-identity", "Identity", [1, 1, 1]),
        ("behind-content", "Content", [1, 1, 2]),
    ] {
        apply(&slow(name, json!({"level": level})).await);
        meddle(name).await;
        let seen = assert_failed(name, &format!("{level}Mismatch"));
        let found = &seen["status"]["verification"]["differences"];
        let counts = ["missing", "extra", "different"].map(|kind| found[kind].as_i64().unwrap());
        assert_eq!(counts, differences, "{found:#}");
        let listed = get("configmap", &format!("{name}-differences"));
        assert_eq!(listed["data"]["missing"], "{\"id\":\"1\"}\n", "{listed:#}");
        assert_eq!(listed["data"]["extra"], "{\"id\":\"added\"}\n", "{listed:#}");
    }
}

#[tokio::test]
async fn what_differs_is_repaired_where_that_is_wanted() {
    let repair = json!({"level": "Content", "onMismatch": "Repair", "repair": {"deleteExtras": true}});
    apply(&slow("repaired", repair).await);
    meddle("repaired").await;
    complete("repaired", FEW as i64);
    let seen = get("reindex", "repaired");
    assert_eq!(seen["status"]["verification"]["repairs"], 1, "{:#}", seen["status"]);
    let client = destination().client().unwrap();
    let third = client.get("/repaired/_doc/3").await.unwrap();
    assert_eq!(third["_source"], json!({"n": 3, "text": "document number 3"}));
    let settings = client.get("/repaired/_settings?flat_settings=true").await.unwrap();
    assert_eq!(settings["repaired"]["settings"].get("index.gc_deletes"), None, "{settings:#}");
}

#[tokio::test]
async fn a_document_deleted_on_the_source_during_the_copy_is_found() {
    allowed().await;
    let client = source().client().unwrap();
    fill(&client, "shrinking", FEW).await;
    let mut object = reindex("shrinking", "shrinking");
    object["spec"]["execution"] = json!({"batchSize": 20, "partitions": 1});
    object["spec"]["verification"] = json!({"level": "Identity"});
    apply(&object);
    arrives(&destination().client().unwrap(), "shrinking", "5").await;
    let (status, _) = client.request(Method::DELETE, "/shrinking/_doc/5", None).await.unwrap();
    assert_eq!(status, 200);
    let seen = assert_failed("shrinking", "IdentityMismatch");
    assert_eq!(seen["status"]["verification"]["differences"]["extra"], 1, "{:#}", seen["status"]);
}

#[tokio::test]
async fn one_id_with_two_routings_does_not_pass_where_one_overwrites_the_other() {
    allowed().await;
    let client = source().client().unwrap();
    let settings = json!({"settings": {"number_of_shards": 5, "number_of_replicas": 0}});
    client.put("/routed-twice", &settings).await.unwrap();
    for routing in 0..8 {
        let path = format!("/routed-twice/_doc/same?routing={routing}");
        client.put(&path, &json!({"n": routing})).await.unwrap();
    }
    for (name, level, reason) in
        [("twice-count", "Count", "CountMismatch"), ("twice-identity", "Identity", "IdentityMismatch")]
    {
        let mut object = reindex(name, "routed-twice");
        object["spec"]["destination"]["settings"] = json!({"numberOfShards": 1, "numberOfReplicas": 0});
        object["spec"]["verification"] = json!({"level": level});
        apply(&object);
        assert_failed(name, reason);
    }
    // With as many shards both stay.
    let mut object = reindex("twice-kept", "routed-twice");
    object["spec"]["verification"] = json!({"level": "Content"});
    apply(&object);
    let seen = ended("twice-kept");
    assert_eq!(condition(&seen, "Complete").0, "True", "{:#}", seen["status"]);
}

#[tokio::test]
async fn a_dynamic_mapping_that_makes_another_type_does_not_pass() {
    allowed().await;
    let client = source().client().unwrap();
    let mappings = json!({"properties": {"code": {"type": "keyword"}}});
    let settings = json!({"number_of_shards": 1, "number_of_replicas": 0});
    client.put("/codes", &json!({"settings": settings, "mappings": mappings})).await.unwrap();
    client.put("/codes/_doc/1", &json!({"code": 1})).await.unwrap();
    client.put("/codes/_doc/2?refresh=true", &json!({"code": "two"})).await.unwrap();
    let mut object = reindex("codes", "codes");
    object["spec"]["destination"]["mappingsFrom"] = json!("None");
    apply(&object);
    assert_failed("codes", "DocumentFailures");
}

#[tokio::test]
async fn values_that_only_the_destination_ignores_do_not_pass() {
    allowed().await;
    let client = source().client().unwrap();
    let mappings = json!({"properties": {"n": {"type": "keyword"}}});
    let settings = json!({"number_of_shards": 1, "number_of_replicas": 0});
    client.put("/malformed", &json!({"settings": settings, "mappings": mappings})).await.unwrap();
    client.put("/malformed/_doc/1", &json!({"n": "1"})).await.unwrap();
    client.put("/malformed/_doc/2?refresh=true", &json!({"n": "many"})).await.unwrap();
    let mut object = reindex("malformed", "malformed");
    object["spec"]["destination"]["mappings"] =
        json!({"properties": {"n": {"type": "integer", "ignore_malformed": true}}});
    apply(&object);
    assert_failed("malformed", "FieldsIgnored");
}

/// What an engine makes of numbers when it copies them is no difference, and neither is the order of keys.
#[tokio::test]
async fn documents_of_every_shape_are_the_same_afterwards() {
    allowed().await;
    let client = source().client().unwrap();
    let settings = json!({"number_of_shards": 2, "number_of_replicas": 0});
    let mappings = json!({"dynamic": false});
    client.put("/shapes", &json!({"settings": settings, "mappings": mappings})).await.unwrap();
    let texts = [
        r#"{"a":1.0,"b":1e0,"c":10e-1,"d":-0.0}"#,
        r#"{"a":12345678901234567890,"b":123456789012345678901234567890,"c":-9223372036854775808}"#,
        r#"{"a":0.1234567890123456789012345678,"b":1e300,"c":1.7976931348623157e308,"d":5e-324,"e":3.0e20}"#,
        r#"{"z":null,"y":[],"x":{},"w":[1,[2,{"v":[]}]],"a":true}"#,
        r#"{"s":"\u00e9 \"\\ \/ \t \ud83d\ude00","\u006bey":"k"}"#,
        "{}",
    ];
    let lines = texts
        .iter()
        .enumerate()
        .map(|(id, text)| format!("{{\"index\":{{\"_index\":\"shapes\",\"_id\":\"{id}\"}}}}\n{text}\n"));
    client.bulk(lines.collect()).await.unwrap();
    for level in ["Content", "Sample", "Identity"] {
        let name = format!("shapes-{}", level.to_lowercase());
        let mut object = reindex(&name, "shapes");
        object["spec"]["verification"] = json!({"level": level});
        apply(&object);
        complete(&name, texts.len() as i64);
    }
}

/// Fields that were left out are left out on both sides; routing is as the destination has it; an index that was there holds more.
#[tokio::test]
async fn what_is_compared_is_what_was_to_be_copied() {
    allowed().await;
    fill(&source().client().unwrap(), "narrow", 500).await;
    let mut object = reindex("narrow", "narrow");
    object["spec"]["source"]["query"] = json!({"range": {"n": {"lt": 300}}});
    object["spec"]["source"]["sourceFields"] = json!({"excludes": ["text"]});
    object["spec"]["destination"]["routing"] = json!("=one");
    object["spec"]["verification"] = json!({"level": "Content"});
    apply(&object);
    complete("narrow", 300);
    let mut more = reindex("narrow-more", "narrow");
    more["spec"]["destination"]["index"] = json!("narrow");
    more["spec"]["destination"]["ifExists"] = json!("Append");
    more["spec"]["source"]["query"] = json!({"range": {"n": {"gte": 300}}});
    more["spec"]["verification"] = json!({"level": "Content"});
    apply(&more);
    let seen = ended("narrow-more");
    assert_eq!(condition(&seen, "Complete").0, "True", "{:#}", seen["status"]);
    assert_eq!(seen["status"]["verification"]["documentsCompared"], 200, "{:#}", seen["status"]);
}
