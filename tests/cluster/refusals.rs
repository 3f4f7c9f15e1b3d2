//! What can't end well ends early, with a clear condition and nothing created.

use serde_json::{Value, json};
use xtask::kubectl;

use crate::world::*;

/// Applies a Reindex made of a valid one and a change, and waits until it has failed for this reason.
pub async fn fails(name: &str, reason: &str, told: &str, change: impl Fn(&mut Value)) {
    let mut object = reindex(name, "first");
    change(&mut object);
    apply(&object);
    let seen = ended(name);
    let (state, why, message) = condition(&seen, "Failed");
    assert_eq!((state, why), ("True", reason), "{:#}", seen["status"]);
    assert!(message.contains(told), "{message}");
    assert!(!exists(&destination().client().unwrap(), name).await, "nothing was created");
}

#[tokio::test]
async fn an_impossible_spec_fails() {
    allowed().await;
    let existing = |object: &mut Value| object["spec"]["destination"]["index"] = json!("first");
    fails("destination-exists", "DestinationExists", "first", existing).await;
    let same = |object: &mut Value| {
        object["spec"]["destination"]["clusterRef"]["name"] = json!("src");
        object["spec"]["destination"]["index"] = json!("first");
    };
    fails("same-index", "SameIndex", "first", same).await;
    let analyzer = |object: &mut Value| {
        object["spec"]["destination"]["mappings"] =
            json!({"properties": {"n": {"type": "long"}, "text": {"type": "text", "analyzer": "ik_max_word"}}});
    };
    fails("unknown-analyzer", "IndexRefused", "ik_max_word", analyzer).await;
    let shards = |object: &mut Value| {
        object["spec"]["destination"]["settings"]["additional"] = json!({"index.number_of_shards": 3})
    };
    fails("shards-twice", "InvalidSettings", "numberOfShards", shards).await;
}

/// Applies the object, waits until it is stalled for this reason, lets `mend` work, and waits for its end.
async fn stalls(name: &str, reason: &str, object: Value, mend: impl Future<Output = ()>) {
    apply(&object);
    wait_for(&format!("Stalled {reason}"), || get("reindex", name), |seen| condition(seen, "Stalled").1 == reason);
    assert!(!exists(&destination().client().unwrap(), name).await, "nothing was created");
    mend.await;
    complete(name, 10);
}

#[tokio::test]
async fn a_missing_source_index_is_waited_for() {
    allowed().await;
    let mend = async { fill(&source().client().unwrap(), "comes-later", 10).await };
    stalls("missing-source", "SourceIndexNotFound", reindex("missing-source", "comes-later"), mend).await;
}

#[tokio::test]
async fn a_wrong_password_is_waited_out() {
    allowed().await;
    let secret = |password: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own-password", "namespace": NAMESPACE},
            "stringData": {"username": "elastic", "password": password}})
    };
    apply(&secret("wrong"));
    apply(&search_cluster(
        "wrong-password",
        "src",
        json!({"auth": {"basic": {"secretRef": {"name": "own-password"}}}}),
    ));
    let mut object = reindex("wrong-password", "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("wrong-password");
    let mend = async { apply(&secret(&source().password)) };
    stalls("wrong-password", "AuthenticationFailed", object, mend).await;
}

#[tokio::test]
async fn an_unknown_authority_is_waited_out() {
    allowed().await;
    let with_ca_of = |other: &str| {
        search_cluster(
            "unknown-ca",
            "src",
            json!({"tls": {"caRef": {"secret": {"name": format!("{other}-tls"), "key": "ca.crt"}}}}),
        )
    };
    apply(&with_ca_of("dst"));
    let mut object = reindex("unknown-ca", "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("unknown-ca");
    stalls("unknown-ca", "TlsUntrusted", object, async { apply(&with_ca_of("src")) }).await;
}

#[tokio::test]
async fn a_namespace_without_access_is_told_nothing_and_reaches_nobody() {
    allowed().await;
    let other = "cluster-tests-other";
    kubectl::delete_namespace(other).unwrap();
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})]).unwrap();
    let mut object = reindex("no-access", "first");
    object["metadata"]["namespace"] = json!(other);
    for side in ["source", "destination"] {
        object["spec"][side]["clusterRef"]["namespace"] = json!(NAMESPACE);
    }
    apply(&object);
    let look = || kubectl::get("reindex", other, "no-access").unwrap().unwrap_or(Value::Null);
    let denied = wait_for("ClusterNotFound", look, |seen| condition(seen, "Stalled").1 == "ClusterNotFound");
    object["metadata"]["name"] = json!("no-such");
    for side in ["source", "destination"] {
        object["spec"][side]["clusterRef"]["name"] = json!("nowhere");
    }
    apply(&object);
    let look = || kubectl::get("reindex", other, "no-such").unwrap().unwrap_or(Value::Null);
    let absent = wait_for("ClusterNotFound", look, |seen| condition(seen, "Stalled").1 == "ClusterNotFound");
    let words = |seen: &Value| {
        condition(seen, "Stalled").2.replace("/src ", "/X ").replace("/dst ", "/X ").replace("/nowhere ", "/X ")
    };
    assert_eq!(words(&denied), words(&absent), "not allowed reads like not found");
    assert_eq!(denied["status"]["source"], Value::Null, "nothing was looked at");
    kubectl::delete_namespace(other).unwrap();
}

#[tokio::test]
async fn a_namespace_that_is_admitted_by_its_label_may_copy() {
    allowed().await;
    let other = "cluster-tests-labelled";
    kubectl::delete_namespace(other).unwrap();
    let labels = json!({"reindex-tests": "admitted"});
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other, "labels": labels}})])
        .unwrap();
    let access = json!({"access": [{"namespaces": {"names": [NAMESPACE], "selector": {"matchLabels": labels}}, "indexes": ["first", "labelled"]}]});
    apply(&search_cluster("shared-src", "src", access.clone()));
    apply(&search_cluster("shared-dst", "dst", access));
    let mut object = reindex("labelled", "first");
    object["metadata"]["namespace"] = json!(other);
    object["spec"]["source"]["clusterRef"] = json!({"name": "shared-src", "namespace": NAMESPACE});
    object["spec"]["destination"]["clusterRef"] = json!({"name": "shared-dst", "namespace": NAMESPACE});
    apply(&object);
    let look = || kubectl::get("reindex", other, "labelled").unwrap().unwrap_or(Value::Null);
    wait_for("Complete", look, |seen| condition(seen, "Complete").0 == "True");
    kubectl::delete_namespace(other).unwrap();
    for name in ["shared-src", "shared-dst"] {
        kubectl::run(&["delete", "searchcluster", "-n", NAMESPACE, name]).unwrap();
    }
}

#[tokio::test]
async fn documents_that_do_not_fit_are_named_and_the_counts_are_true() {
    allowed().await;
    let client = source().client().unwrap();
    client.put("/mixed", &json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": {"properties": {"n": {"type": "keyword"}}}})).await.unwrap();
    let line = |n: usize| {
        let value = if n == 700 { "not a number".to_owned() } else { n.to_string() };
        format!("{{\"index\":{{\"_index\":\"mixed\",\"_id\":\"{n}\"}}}}\n{{\"n\":\"{value}\"}}\n")
    };
    client.bulk((0..1000).map(line).collect()).await.unwrap();
    let mut object = reindex("mixed", "mixed");
    object["spec"]["destination"]["mappings"] = json!({"properties": {"n": {"type": "integer"}}});
    object["spec"]["execution"] = json!({"batchSize": 100});
    apply(&object);
    let seen = ended("mixed");
    assert_eq!(condition(&seen, "Failed").1, "DocumentFailures", "{:#}", seen["status"]);
    // Tasks of other ranges are cancelled, and counted.
    let seen = wait_for("no task", || get("reindex", "mixed"), |seen| seen["status"]["partitions"].is_null());
    let result = &seen["status"]["result"];
    assert_eq!(result["failures"][0]["id"], "700", "{result:#}");
    assert!(
        result["failures"][0]["reason"].as_str().is_some_and(|reason| reason.contains("mapper_parsing_exception")),
        "{result:#}"
    );
    let destination = destination().client().unwrap();
    destination.get("/mixed/_refresh").await.unwrap();
    assert_eq!(destination.get("/mixed/_count").await.unwrap()["count"], result["created"], "{result:#}");
}

/// Whoever may write a SearchCluster could collect passwords with one that listens: a source must admit its namespace too.
#[tokio::test]
async fn a_destination_of_a_namespace_that_the_source_does_not_admit_gets_no_byte_of_the_password() {
    allowed().await;
    let other = "cluster-tests-listener";
    kubectl::delete_namespace(other).unwrap();
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})]).unwrap();
    let listener = std::net::TcpListener::bind((xtask::network::NODE_ADDRESS, 0)).unwrap();
    let server = wiremock::MockServer::builder().listener(listener).start().await;
    let info: Value = serde_json::from_str(include_str!("../fixtures/search/elasticsearch-7.17/info.json"))
        .expect("a recorded answer");
    let answer = wiremock::ResponseTemplate::new(200).set_body_json(&info["body"]);
    wiremock::Mock::given(wiremock::matchers::path("/")).respond_with(answer).mount(&server).await;
    apply(&json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "listener", "namespace": other},
        "spec": {"endpoint": server.uri(), "access": [{"namespaces": {"names": [NAMESPACE]}}]},
    }));
    let look = || kubectl::get("searchcluster", other, "listener").unwrap().unwrap_or(Value::Null);
    wait_for("a look at the listener", look, |seen| !condition(seen, "Ready").0.is_empty());
    let mut object = reindex("collects", "first");
    object["spec"]["destination"]["clusterRef"] = json!({"name": "listener", "namespace": other});
    apply(&object);
    let denied = wait_for(
        "ClusterNotFound",
        || get("reindex", "collects"),
        |seen| condition(seen, "Stalled").1 == "ClusterNotFound",
    );
    assert!(condition(&denied, "Stalled").2.contains(other), "{denied:#}");
    let requests = server.received_requests().await.expect("recorded requests");
    assert!(!requests.is_empty(), "the listener was looked at by its own SearchCluster");
    for request in &requests {
        let text = format!("{} {:?} {}", request.url, request.headers, String::from_utf8_lossy(&request.body));
        assert!(request.headers.get("authorization").is_none() && !text.contains(&source().password), "{text}");
    }
    kubectl::run(&["delete", "reindex", "-n", NAMESPACE, "collects", "--timeout=60s"]).unwrap();
    kubectl::delete_namespace(other).unwrap();
}
