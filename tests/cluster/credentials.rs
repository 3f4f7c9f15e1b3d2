//! Other credentials than user names and passwords.

use k8s_openapi::ByteString;
use reqwest::Method;
use serde_json::{Value, json};
use xtask::{kubectl, search::SearchClient};

use crate::world::*;

/// An API key that the cluster gives, as it gives it.
async fn api_key(client: &SearchClient) -> Value {
    let (status, key) =
        client.request(Method::POST, "/_security/api_key", Some(&json!({"name": "reindex"}))).await.unwrap();
    assert_eq!(status, 200, "{key}");
    key
}

#[tokio::test]
async fn api_keys_of_both_clusters_are_enough() {
    allowed().await;
    for (name, of, client) in
        [("src-by-key", "src", source().client().unwrap()), ("dst-by-key", "dst", destination().client().unwrap())]
    {
        let key = api_key(&client).await;
        let text = format!("{}:{}", key["id"].as_str().unwrap(), key["api_key"].as_str().unwrap());
        apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"apiKey": ByteString(text.into())},
        }));
        apply(&search_cluster(name, of, json!({"auth": {"apiKey": {"secretRef": {"name": name}}}})));
    }
    let mut object = reindex("by-key", "first");
    object["spec"]["source"]["clusterRef"]["name"] = json!("src-by-key");
    object["spec"]["destination"]["clusterRef"]["name"] = json!("dst-by-key");
    apply(&object);
    complete("by-key", 10);
    for name in ["src-by-key", "dst-by-key"] {
        kubectl::run(&["delete", "searchcluster", "-n", NAMESPACE, name, "--timeout=60s"]).unwrap();
    }
}
