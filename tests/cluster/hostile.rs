//! Specs as large as the apiserver takes them, and sources that lead elsewhere.

use reqwest::Method;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};
use xtask::network::NODE_ADDRESS;

use crate::{refusals::fails, world::*};

/// A server that pods reach.
async fn server() -> MockServer {
    let listener = std::net::TcpListener::bind((NODE_ADDRESS, 0)).expect("a port");
    MockServer::builder().listener(listener).start().await
}

/// Bytes that the conditions, steps and all else of a status take.
fn status_bytes(object: &Value) -> usize {
    object["status"].to_string().len()
}

/// Takes them away while the servers that they name still answer: one that does no more is no more known to be hostile.
fn delete(reindexes: &[&str]) {
    for name in reindexes {
        xtask::kubectl::run(&["delete", "reindexes.reindex.dev", "-n", NAMESPACE, name, "--timeout=60s"])
            .expect("deleted");
    }
}

/// The engine quotes the query in every task, and the operator looks at all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_near_the_apiservers_limit_is_copied_in_ranges() {
    allowed().await;
    let client = source().client().unwrap();
    if !exists(&client, "many").await {
        fill(&client, "many", DOCUMENTS).await;
    }
    let terms: Vec<_> = (0..11_000).map(|n| format!("{n:0100}")).collect();
    let mut object = reindex("large-query", "many");
    object["spec"]["source"]["query"] =
        json!({"bool": {"must": [{"match_all": {}}], "should": [{"terms": {"text": terms}}]}});
    assert!(object.to_string().len() > 1_100_000);
    object["spec"]["execution"] = json!({"batchSize": 500, "partitions": 8, "parallelism": 4});
    apply(&object);
    complete("large-query", DOCUMENTS as i64);
    let seen = get("reindex", "large-query");
    assert!(status_bytes(&seen) <= 16 * 1024, "{}", status_bytes(&seen));
    assert_eq!(seen["spec"]["source"]["query"], object["spec"]["source"]["query"], "it was kept as it is");
}

/// Remote `_reindex` puts the source's name into an address of its own.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_something_in_an_address_mean_nothing_but_themselves() {
    const NAME: &str = "100%25&x=1;a+b@c";
    const ENCODED: &str = "100%2525%26x%3D1%3Ba%2Bb%40c";
    allowed().await;
    let client = source().client().unwrap();
    client.request(Method::DELETE, &format!("/{ENCODED}"), None).await.expect("an answer");
    client.put(&format!("/{ENCODED}"), &json!({"settings": {"number_of_replicas": 0}})).await.expect("an index");
    let line = |n: usize| format!("{{\"index\":{{\"_index\":\"{NAME}\",\"_id\":\"{n}%/?#\"}}}}\n{{\"n\":{n}}}\n");
    client.bulk((0..6).map(line).collect()).await.expect("documents");
    let mut object = reindex("name-of-an-address", NAME);
    object["spec"]["destination"]["index"] = json!(NAME);
    object["spec"]["verification"] = json!({"level": "Content"});
    apply(&object);
    complete("name-of-an-address", 6);
    assert!(exists(&destination().client().unwrap(), ENCODED).await);
    delete(&["name-of-an-address"]);
}

#[tokio::test]
async fn a_mapping_of_thousands_of_fields_is_refused_in_a_few_words() {
    allowed().await;
    let fields: serde_json::Map<_, _> =
        (0..9_000).map(|n| (format!("field-number-{n}"), json!({"type": "keyword", "doc_values": false}))).collect();
    fails("large-mapping", "IndexRefused", "Limit of total fields", |object| {
        object["spec"]["destination"]["mappings"] = json!({"properties": fields.clone()});
    })
    .await;
    let seen = get("reindex", "large-mapping");
    assert!(status_bytes(&seen) <= 16 * 1024, "{}", status_bytes(&seen));
}

/// What an engine says that is no friend of ours: control characters and a page of it.
#[tokio::test]
async fn what_a_hostile_source_says_is_told_in_one_plain_line() {
    allowed().await;
    let hostile = server().await;
    let reason = format!("C\u{1b}[2J\r\nINFO forged\u{202e}\u{9b}1m{}", "x".repeat(1 << 20));
    let error = json!({"error": {"type": "x\u{1b}[1m", "reason": reason, "root_cause": [{"type": "y", "reason": reason}]}, "status": 400});
    Mock::given(any()).respond_with(ResponseTemplate::new(400).set_body_json(&error)).mount(&hostile).await;
    apply(&search_cluster("hostile", "src", json!({"endpoint": hostile.uri(), "tls": null})));
    let mut object = reindex("hostile-source", "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("hostile");
    apply(&object);
    let seen = wait_for("Stalled", || get("reindex", "hostile-source"), |seen| condition(seen, "Stalled").0 == "True");
    let cluster =
        wait_for("a look at it", || get("searchcluster", "hostile"), |seen| condition(seen, "Ready").0 == "False");
    for object in [&seen, &cluster] {
        let conditions = object["status"]["conditions"].as_array().expect("conditions");
        for message in conditions.iter().filter_map(|condition| condition["message"].as_str()) {
            assert!(!message.contains(|c: char| c.is_control() || c == '\u{202e}'), "{message:?}");
            assert!(message.len() <= 1024, "{} bytes", message.len());
        }
        assert!(status_bytes(object) <= 16 * 1024);
    }
    let log = xtask::kubectl::run(&["logs", "deployment/reindex-operator", "-n", "reindex-system", "--since=5m"]);
    let log = log.expect("a log");
    delete(&["hostile-source"]);
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() || c == '\u{202e}');
    let mut told = 0;
    for line in log.lines().filter(|line| line.contains("hostile-source")) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"));
        let fields = line.as_object().expect("an object").values().filter_map(Value::as_str);
        fields.for_each(|text| assert!(is_plain(text), "{text:?}"));
        told += 1;
    }
    assert!(told > 0, "the log tells nothing of it");
}

#[tokio::test]
async fn a_source_that_redirects_leads_neither_the_operator_nor_a_node_elsewhere() {
    allowed().await;
    let (redirecting, elsewhere) = (server().await, server().await);
    let to = ResponseTemplate::new(302).insert_header("location", format!("{}/", elsewhere.uri()).as_str());
    Mock::given(any()).respond_with(to).mount(&redirecting).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&elsewhere).await;
    // The operator's own address of it, and the one that nodes are told.
    apply(&search_cluster("redirecting", "src", json!({"endpoint": redirecting.uri(), "tls": null})));
    apply(&search_cluster("redirecting-nodes", "src", json!({"remoteEndpoint": redirecting.uri()})));
    for cluster in ["redirecting", "redirecting-nodes"] {
        let mut object = reindex(cluster, "first");
        object["spec"]["source"]["clusterRef"]["name"] = json!(cluster);
        apply(&object);
        let stalled =
            wait_for("Stalled", || get("reindex", cluster), |seen| condition(seen, "Stalled").1 == "Redirected");
        let message = condition(&stalled, "Stalled").2;
        assert!(!message.contains(&elsewhere.address().to_string()), "{message}");
        assert!(!exists(&destination().client().unwrap(), cluster).await, "nothing was created");
    }
    // That it is asked again and again changes nothing.
    let asked = redirecting.received_requests().await.expect("recorded").len();
    wait_for(
        "another look",
        || json!(futures::executor::block_on(redirecting.received_requests()).expect("recorded").len()),
        |seen| seen.as_u64() > Some(asked as u64),
    );
    assert!(elsewhere.received_requests().await.expect("recorded").is_empty(), "nobody was led there");
    let allowed = get("searchcluster", "dst")["status"]["allowlist"].to_string();
    assert!(!allowed.contains(&redirecting.address().to_string()), "no node was told to read there: {allowed}");
    delete(&["redirecting", "redirecting-nodes"]);
}
