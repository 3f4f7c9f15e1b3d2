//! Search engines as pods: their manifests, and how to talk to them.

mod elasticsearch;
mod opensearch;

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

pub use elasticsearch::{ElasticsearchCluster, USER};
pub use opensearch::OpenSearch;

use crate::{cache, kubectl, paths, progress, search};

/// On the StatefulSet: what its manifests were, so that a deployment repeated as it was changes nothing, least of all
/// the configuration that the operator has edited since.
const RENDERED: &str = "reindex-dev/rendered";

/// Options of every engine's Java: small, and quick to start rather than quick.
const JAVA_OPTIONS: &str = "-Xms256m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1";

/// A namespace.
pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// Applies an engine's manifests unless they are deployed exactly so.
pub fn deploy(namespace: &str, name: &str, manifests: &[Value]) -> Result<()> {
    let rendered = cache::key(&[], &[&Value::from(manifests).to_string()])?;
    let deployed = kubectl::get("statefulset", namespace, name)?;
    if deployed.is_some_and(|set| set["metadata"]["annotations"][RENDERED] == rendered) {
        return Ok(());
    }
    let mut objects = vec![self::namespace(namespace)];
    objects.extend_from_slice(manifests);
    for object in objects.iter_mut().filter(|object| object["kind"] == "StatefulSet") {
        object["metadata"]["annotations"][RENDERED] = rendered.clone().into();
        object["spec"]["template"]["metadata"]["annotations"][RENDERED] = rendered.clone().into();
    }
    kubectl::apply(&objects)
}

/// Waits until the cluster's Service leads to a node: that is a moment after the node is ready, when kube-proxy has
/// heard of it.
fn wait_for_service(namespace: &str, name: &str, limit: Duration) -> Result<()> {
    let address = search::address(namespace, &format!("{name}-http"))?;
    progress::poll(&format!("service/{name}-http leads to a node"), limit, || {
        let connected = TcpStream::connect_timeout(&address, Duration::from_secs(2));
        Ok(connected.map(drop).map_err(|error| error.to_string()))
    })
}

fn metadata(namespace: &str, name: &str) -> Value {
    json!({"namespace": namespace, "name": name, "labels": {"app": name}})
}

/// The Service that clients use: ready pods only.
fn http_service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace, &format!("{name}-http")),
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 9200}]}
    })
}

/// The Service that gives each pod a name of its own, before it is ready too: nodes find each other by it.
fn headless_service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace, name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 9200}, {"name": "transport", "port": 9300}]
        }
    })
}

/// A StatefulSet of one container whose data stays on the machine when the pod goes.
/// Ready means: HTTP is open, which it is once the node has joined its cluster.
fn stateful_set(namespace: &str, name: &str, replicas: u32, mut container: Value, volumes: Vec<Value>) -> Value {
    container["name"] = "node".into();
    container["imagePullPolicy"] = "IfNotPresent".into();
    container["ports"] = json!([{"name": "http", "containerPort": 9200}, {"name": "transport", "containerPort": 9300}]);
    container["readinessProbe"] = json!({"tcpSocket": {"port": 9200}, "periodSeconds": 2, "failureThreshold": 3});
    let mut env = vec![
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        json!({"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}),
    ];
    env.extend(container["env"].as_array().cloned().unwrap_or_default());
    container["env"] = env.into();
    let mut mounts = vec![json!({"name": "data", "mountPath": "/data", "subPathExpr": "$(NAMESPACE)/$(POD_NAME)"})];
    mounts.extend(container["volumeMounts"].as_array().cloned().unwrap_or_default());
    container["volumeMounts"] = mounts.into();
    let mut all_volumes =
        vec![json!({"name": "data", "hostPath": {"path": paths::state("data"), "type": "DirectoryOrCreate"}})];
    all_volumes.extend(volumes);
    json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(namespace, name),
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "containers": [container],
                    "volumes": all_volumes
                }
            }
        }
    })
}
