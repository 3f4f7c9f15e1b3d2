//! Specs that nobody writes by mistake alone: what the real apiserver makes of them, and the one in memory.

use std::fmt::Debug;

use kube::{Client, Resource, core::NamespaceResourceScope};
use reindex_operator::api::{Reindex, SearchCluster};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::rules::{client, cluster, refusals, reindex};

/// Both refuse it, and say this.
async fn refused<K>(client: &Client, object: Value, told: &str)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let refused = refusals::<K>(client, object.clone()).await;
    let says = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(told));
    assert!(refused.iter().all(says), "{told}: {refused:?}\n{object:#}");
}

#[tokio::test]
async fn what_is_of_another_type_is_refused_by_its_field() {
    let client = client().await;
    for (change, field) in [
        (json!({"source": "es-2"}), "spec.source"),
        (json!({"source": {"index": 5}}), "spec.source.index"),
        (json!({"source": {"index": ["product_info"]}}), "spec.source.index"),
        (json!({"source": {"clusterRef": "es-2"}}), "spec.source.clusterRef"),
        (json!({"source": {"query": "match_all"}}), "spec.source.query"),
        (json!({"source": {"query": [{"match_all": {}}]}}), "spec.source.query"),
        (json!({"source": {"sourceFields": {"includes": "a"}}}), "spec.source.sourceFields.includes"),
        (json!({"destination": {"settings": []}}), "spec.destination.settings"),
        (json!({"destination": {"mappings": "{}"}}), "spec.destination.mappings"),
        (json!({"destination": {"settings": {"numberOfShards": "5"}}}), "spec.destination.settings.numberOfShards"),
        (json!({"script": {"source": "a", "params": [1]}}), "spec.script.params"),
        (json!({"suspend": "yes"}), "spec.suspend"),
        (json!({"dryRun": 1}), "spec.dryRun"),
        (json!({"acceptWarnings": {"a": true}}), "spec.acceptWarnings"),
        (json!({"acceptWarnings": ["A b"]}), "spec.acceptWarnings"),
        (json!({"execution": {"batchSize": "10"}}), "spec.execution.batchSize"),
        (json!({"execution": {"batchSize": 1.5}}), "spec.execution.batchSize"),
        (json!({"execution": {"parallelism": 99_999_999_999_i64}}), "spec.execution.parallelism"),
        (json!({"verification": {"level": 1}}), "spec.verification.level"),
    ] {
        refused::<Reindex>(&client, reindex(change), field).await;
    }
}

#[tokio::test]
async fn what_a_search_cluster_may_not_hold_is_refused_by_its_field() {
    let client = client().await;
    let many = |count: usize| (0..count).map(|n| format!("ns-{n}")).collect::<Vec<_>>();
    for (change, field) in [
        (json!({"endpoint": 9200}), "spec.endpoint"),
        (json!({"endpoint": format!("https://{}:9200", "x".repeat(600))}), "spec.endpoint"),
        (json!({"endpoint": "ftp://es:21"}), "spec.endpoint"),
        (json!({"endpoint": "https://user:secret@es:9200"}), "spec.endpoint"),
        (json!({"endpoint": "https://es:9200?pretty"}), "spec.endpoint"),
        (json!({"remoteEndpoint": "https://es:9200#a"}), "spec.remoteEndpoint"),
        (json!({"auth": "elastic"}), "spec.auth"),
        (json!({"auth": {"basic": {"secretRef": {"name": "x".repeat(300)}}}}), "spec.auth.basic.secretRef.name"),
        (json!({"auth": {"basic": {"secretRef": "es"}}}), "spec.auth.basic.secretRef"),
        (json!({"tls": {"insecureSkipVerify": "no"}}), "spec.tls.insecureSkipVerify"),
        (json!({"tls": {"serverName": "x".repeat(300)}}), "spec.tls.serverName"),
        (json!({"access": {"namespaces": {}}}), "spec.access"),
        (json!({"access": [{"namespaces": {"names": many(129)}}]}), "spec.access[0].namespaces.names"),
        (json!({"access": vec![json!({"namespaces": {"names": ["a"]}}); 33]}), "spec.access"),
        (json!({"access": [{"roles": ["Reader"]}]}), "spec.access[0].roles[0]"),
        (json!({"access": [{"indexes": []}]}), "spec.access[0].indexes"),
        (json!({"limits": {"maxTasks": 0}}), "spec.limits.maxTasks"),
        (json!({"limits": {"maxTasks": 1001}}), "spec.limits.maxTasks"),
        (json!({"limits": {"maxOpenScrolls": "500"}}), "spec.limits.maxOpenScrolls"),
        (json!({"allowlist": {"management": "Force"}}), "spec.allowlist.management"),
        (json!({"provider": "eck"}), "spec.provider"),
    ] {
        refused::<SearchCluster>(&client, cluster(change), field).await;
    }
}

/// A name that Elasticsearch would take for an option, an endpoint, another index or a path.
#[tokio::test]
async fn names_that_are_no_names_are_refused_on_both_sides() {
    let client = client().await;
    for name in ["-a", "_a", "+a", "_all", "_search", ".", "..", "a b", " a", "a\\b", "a\"b", "a<b", "a|b", "a:b"] {
        for (side, told) in [("source", "one index, alias or data stream"), ("destination", "valid index name")] {
            refused::<Reindex>(&client, reindex(json!({side: {"index": name}})), told).await;
        }
    }
}

#[tokio::test]
async fn more_than_a_list_or_a_text_may_hold_is_refused() {
    let client = client().await;
    let many = |count: usize| (0..count).map(|n| format!("field{n}")).collect::<Vec<_>>();
    for (change, field) in [
        (json!({"source": {"sourceFields": {"includes": many(257)}}}), "spec.source.sourceFields.includes"),
        (json!({"source": {"sourceFields": {"excludes": ["x".repeat(513)]}}}), "spec.source.sourceFields.excludes"),
        (json!({"acceptWarnings": vec!["DestinationPipeline"; 33]}), "spec.acceptWarnings"),
        (json!({"destination": {"index": "x".repeat(5000)}}), "spec.destination.index"),
        (json!({"destination": {"routing": format!("={}", "x".repeat(600))}}), "spec.destination.routing"),
        (json!({"script": {"source": "x".repeat(100_000)}}), "spec.script.source"),
        (json!({"source": {"clusterRef": {"name": "x".repeat(300)}}}), "spec.source.clusterRef.name"),
    ] {
        refused::<Reindex>(&client, reindex(change), field).await;
    }
}

/// Creates it; `Err` is the refusal.
async fn create(client: &Client, parameters: &str, object: &Value) -> Result<Value, kube::Error> {
    let kinds = if object["kind"] == "Reindex" { "reindexes" } else { "searchclusters" };
    let path = format!("/apis/reindex.dev/v1alpha1/namespaces/default/{kinds}?{parameters}");
    let request =
        http::Request::post(path).header("content-type", "application/json").body(object.to_string().into_bytes());
    client.request(request.expect("a request")).await
}

#[tokio::test]
async fn a_field_that_is_not_known_is_refused_or_gone() {
    let client = client().await;
    let mut object = reindex(json!({
        "sources": {"host": "elsewhere:9200"},
        "source": {"host": "elsewhere:9200", "query": {"term": {"kept": {"value": 1}}}},
        "destination": {"settings": {"additional": {"index.kept": 1}, "unknown": 1}},
    }));
    object["status"] = json!({"phase": "Complete", "conditions": []});
    let refused = create(&client, "dryRun=All&fieldValidation=Strict", &object).await.expect_err("refused").to_string();
    for field in ["spec.sources", "spec.source.host", "spec.destination.settings.unknown"] {
        assert!(refused.contains(&format!("unknown field \"{field}\"")), "{refused}");
    }
    let taken = create(&client, "dryRun=All&fieldValidation=Ignore", &object).await.expect("taken");
    let spec = &taken["spec"];
    assert_eq!((&spec["sources"], &spec["source"]["host"]), (&Value::Null, &Value::Null), "{taken:#}");
    assert_eq!(spec["destination"]["settings"], json!({"additional": {"index.kept": 1}}));
    assert_eq!(spec["source"]["query"], json!({"term": {"kept": {"value": 1}}}), "what is free stays as it is");
    let status = &taken["status"];
    assert_eq!((&status["phase"], &status["conditions"]), (&Value::Null, &json!([])), "nobody is born complete");
}

#[tokio::test]
async fn a_field_of_a_search_cluster_that_is_not_known_is_refused_or_gone() {
    let client = client().await;
    let mut object = cluster(json!({
        "password": "s3cret",
        "auth": {"basic": {"secretRef": {"name": "es", "namespace": "others"}}},
        "tls": {"insecure": true},
    }));
    object["status"] = json!({"connection": {"endpoint": "https://elsewhere:9200"}});
    let refused = create(&client, "dryRun=All&fieldValidation=Strict", &object).await.expect_err("refused").to_string();
    for field in ["spec.password", "spec.auth.basic.secretRef.namespace", "spec.tls.insecure"] {
        assert!(refused.contains(&format!("unknown field \"{field}\"")), "{refused}");
    }
    assert!(!refused.contains("s3cret"), "{refused}");
    let taken = create(&client, "dryRun=All&fieldValidation=Ignore", &object).await.expect("taken");
    let spec = &taken["spec"];
    assert_eq!((&spec["password"], &spec["tls"]["insecure"]), (&Value::Null, &Value::Null), "{taken:#}");
    assert_eq!(spec["auth"], json!({"basic": {"secretRef": {"name": "es"}}}));
    let status = &taken["status"];
    assert_eq!(
        (&status["connection"], &status["observedGeneration"]),
        (&Value::Null, &json!(-1)),
        "nobody is born connected"
    );
}

/// More than etcd takes, and more than the apiserver reads.
#[tokio::test]
async fn what_is_too_large_is_refused_whole() {
    let client = client().await;
    for (bytes, told) in [(1_700_000, "etcdserver: request is too large"), (4 << 20, "Request entity too large")] {
        let mut object = reindex(json!({"source": {"query": {"term": {"text": "x".repeat(bytes)}}}}));
        object["metadata"] = json!({"name": "hostile-too-large", "namespace": "default"});
        let refused = create(&client, "", &object).await.expect_err("refused").to_string();
        assert!(refused.contains(told), "{bytes}: {refused}");
        let kept =
            xtask::kubectl::get("reindexes.reindex.dev", "default", "hostile-too-large").expect("kubectl answers");
        assert_eq!(kept, None);
    }
}
