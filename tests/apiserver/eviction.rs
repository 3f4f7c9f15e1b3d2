//! A pod is evicted only if it is the one that was meant.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use reindex_operator::{
    allowlist::stateful_sets::StatefulSets,
    api::{BatchNode, NodeState},
};
use serde_json::json;

const NAME: &str = "eviction-test";

/// A StatefulSet makes a new pod of the old one's name within a second: a look that is a moment old must not evict that one.
#[tokio::test]
async fn a_pod_that_took_the_place_of_another_is_not_evicted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await.expect("KUBECONFIG must name a cluster: run the tests by `make test`");
    let api: Api<Pod> = Api::namespaced(client.clone(), "default");
    let _ = api.delete(NAME, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await;
    // No node has that label: it stays pending, as a pod is that was made just now.
    let pod = serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {"nodeSelector": {"reindex-test": "nowhere"}, "containers": [{"name": "c", "image": "none"}]},
    }));
    let pod = api.create(&PostParams::default(), &pod.expect("a pod")).await.expect("created");
    let uid = pod.metadata.uid.expect("a UID");
    let provider = StatefulSets { client: &client, namespace: "default", pools: &[], key: "reindex.remote.whitelist" };
    let node = |pod_uid: &str| BatchNode {
        pod: NAME.into(),
        name: NAME.into(),
        id: "id".into(),
        pod_uid: pod_uid.into(),
        state: NodeState::Restarting,
        started_at: None,
    };
    provider.evict(&node("another")).await.expect("it has to wait");
    let still = api.get_opt(NAME).await.expect("an answer").expect("the pod is still there");
    assert_eq!((still.metadata.uid.as_ref(), still.metadata.deletion_timestamp), (Some(&uid), None));
    provider.evict(&node(&uid)).await.expect("evicted");
    assert!(api.get_opt(NAME).await.expect("an answer").is_none(), "a pending pod goes at once");
}
