//! Two clusters of the tests' own, and how objects are put there and waited for.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use xtask::{engines::ElasticsearchCluster, kubectl, search::SearchClient};

/// The namespace of everything here; made anew for each run.
pub const NAMESPACE: &str = "cluster-tests";
/// How long anything may take here; a rolling restart of three nodes takes about two minutes.
pub const LIMIT: Duration = Duration::from_secs(480);

/// The cluster that is read from: one node.
pub fn source() -> ElasticsearchCluster {
    ElasticsearchCluster::new(NAMESPACE, "src", 1)
}

/// The cluster that is written to: three nodes, which trust the source's authority and their own. Nothing is on its allowlist.
pub fn destination() -> ElasticsearchCluster {
    let cluster = ElasticsearchCluster::new(NAMESPACE, "dst", 3);
    let authorities = [source().ca().expect("the source's authority"), cluster.ca().expect("its own authority")];
    let extra_config = "# kept: a comment\nindices.query.bool.max_clause_count: 2048\n".to_owned();
    ElasticsearchCluster { trusted_ca: Some(authorities.concat()), extra_config, ..cluster }
}

/// Brings both clusters up once for all tests, with a SearchCluster for each; `dst` is managed Automatic.
pub fn begin() {
    static BEGUN: OnceLock<()> = OnceLock::new();
    BEGUN.get_or_init(|| {
        kubectl::delete_namespace(NAMESPACE).expect("the last run's namespace is gone");
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        kubectl::apply(&[namespace]).expect("the namespace");
        source().deploy().expect("the source");
        destination().deploy().expect("the destination");
        source().wait(LIMIT).expect("the source is up");
        destination().wait(LIMIT).expect("the destination is up");
        kubectl::apply(&search_clusters()).expect("the SearchClusters");
    });
}

/// The SearchClusters `src` and `dst`.
pub fn search_clusters() -> [Value; 2] {
    let managed = json!({
        "provider": {"statefulSets": [{"name": "dst", "configMap": {"name": "dst-config"}}]},
        "allowlist": {"management": "Automatic"},
    });
    [search_cluster("src", "src", json!({})), search_cluster("dst", "dst", managed)]
}

/// A SearchCluster `name` for the cluster `of`, with more in its spec.
pub fn search_cluster(name: &str, of: &str, more: Value) -> Value {
    let mut spec = json!({
        "endpoint": format!("https://{of}-http.{NAMESPACE}.svc:9200"),
        "auth": {"basic": {"secretRef": {"name": format!("{of}-elastic")}}},
        "tls": {"caRef": {"secret": {"name": format!("{of}-tls"), "key": "ca.crt"}}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}

/// A Reindex `name` of `index` into an index of its own name.
pub fn reindex(name: &str, index: &str) -> Value {
    json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "source": {"clusterRef": {"name": "src"}, "index": index},
            "destination": {"clusterRef": {"name": "dst"}, "index": name, "settings": {"numberOfReplicas": 1}},
        },
    })
}

/// Applies an object.
pub fn apply(object: &Value) {
    kubectl::apply(std::slice::from_ref(object)).expect("applied");
}

/// An object of the tests' namespace.
pub fn get(kind: &str, name: &str) -> Value {
    // Another group may have a kind of the same name.
    let kind = match kind {
        "reindex" => "reindexes.reindex.dev",
        "searchcluster" => "searchclusters.reindex.dev",
        other => other,
    };
    kubectl::get(kind, NAMESPACE, name).expect("kubectl answers").unwrap_or(Value::Null)
}

/// The state and reason of a condition.
pub fn condition<'a>(object: &'a Value, type_: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == type_);
    let text = |field: &str| found.and_then(|condition| condition[field].as_str()).unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

/// Waits until `holds` does; says what it saw last when it doesn't in time.
pub fn wait_for(what: &str, look: impl Fn() -> Value, holds: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(begin.elapsed() < LIMIT, "{what} did not come; last seen: {seen:#}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Waits until the Reindex has ended, and returns it.
pub fn ended(name: &str) -> Value {
    wait_for(
        &format!("the end of Reindex {name}"),
        || get("reindex", name),
        |seen| condition(seen, "Complete").0 == "True" || condition(seen, "Failed").0 == "True",
    )
}

/// Waits until the Reindex is complete, with so many documents on both sides.
pub fn complete(name: &str, documents: i64) {
    let seen = ended(name);
    assert_eq!(condition(&seen, "Complete").0, "True", "{:#}", seen["status"]);
    assert_eq!(seen["status"]["verification"]["destinationDocuments"], documents, "{:#}", seen["status"]);
}

/// Puts `count` small documents into a new index of the source.
pub async fn fill(client: &SearchClient, index: &str, count: usize) {
    let settings = json!({"settings": {"number_of_shards": 2, "number_of_replicas": 0}});
    client.put(&format!("/{index}"), &settings).await.expect("an index");
    for begin in (0..count).step_by(5000) {
        let line = |n: usize| {
            format!(
                "{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{n}\"}}}}\n{{\"n\":{n},\"text\":\"document number {n}\"}}\n"
            )
        };
        client.bulk((begin..count.min(begin + 5000)).map(line).collect()).await.expect("documents");
    }
}

/// Whether an index exists.
pub async fn exists(client: &SearchClient, index: &str) -> bool {
    client.request(Method::HEAD, &format!("/{index}"), None).await.expect("an answer").0 == 200
}

/// UIDs of the destination's pods, in order.
pub fn pod_uids() -> Vec<String> {
    let uid = |number| get("pod", &format!("dst-{number}"))["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    (0..3).map(uid).collect()
}

/// Makes sure that the destination may read from the source, by a first Reindex.
pub async fn allowed() {
    begin();
    static ALLOWED: OnceLock<()> = OnceLock::new();
    if ALLOWED.get().is_some() {
        return;
    }
    let client = source().client().expect("a client");
    if !exists(&client, "first").await {
        fill(&client, "first", 10).await;
    }
    apply(&reindex("first", "first"));
    complete("first", 10);
    let _ = ALLOWED.set(());
}

/// Enough for a copy of some seconds with small batches.
pub const DOCUMENTS: usize = 30_000;

/// Begins a slow copy in one range, and returns once its task runs.
pub async fn copying(name: &str) {
    copying_in(name, 1).await;
}

/// Begins a slow copy in so many ranges, two at once, and returns once a task runs.
pub async fn copying_in(name: &str, ranges: usize) {
    let execution = json!({"batchSize": 20, "partitions": ranges, "parallelism": 2});
    begun(name, |spec| spec["execution"] = execution).await;
}

/// Begins a copy of many documents with this spec, and returns once a task runs.
pub async fn begun(name: &str, change: impl FnOnce(&mut Value)) {
    allowed().await;
    let client = source().client().unwrap();
    if !exists(&client, "many").await {
        fill(&client, "many", DOCUMENTS).await;
    }
    let mut object = reindex(name, "many");
    change(&mut object["spec"]);
    apply(&object);
    wait_for("a running task", || get("reindex", name), |seen| seen["status"]["partitions"][0]["state"] == "Running");
}

/// Ends a pod at once, as SIGKILL would.
pub fn kill(namespace: &str, pod: &str) {
    kubectl::run(&["delete", "pod", "-n", namespace, pod, "--grace-period=0", "--force"]).expect("killed");
}

/// Ends the operator at once; its Deployment starts another.
pub fn kill_operator() {
    let names = ["get", "pods", "-n", "reindex-system", "-o", "jsonpath={.items[*].metadata.name}"];
    for pod in kubectl::run(&names).expect("the operator's pods").split_whitespace() {
        kill("reindex-system", pod);
    }
}
