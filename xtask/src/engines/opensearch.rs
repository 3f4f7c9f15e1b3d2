//! OpenSearch as a StatefulSet of one pod, over plain HTTP and without security.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{JAVA_OPTIONS, deploy, headless_service, http_service, stateful_set, wait_for_service};
use crate::kubectl;
use crate::search::SearchClient;

/// One OpenSearch node: Service `<name>-http` (port 9200) and StatefulSet `<name>`.
#[derive(Debug, Clone)]
pub struct OpenSearch {
    /// The namespace of all objects.
    pub namespace: String,
    /// The cluster's name.
    pub name: String,
    /// The version: 3.8.0, 2.19.6 or 1.3.20.
    pub version: String,
    /// Further settings, as `key=value`.
    pub settings: Vec<String>,
}

impl OpenSearch {
    /// A node without further settings.
    pub fn new(namespace: &str, name: &str, version: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            settings: Vec::new(),
        }
    }

    /// Applies the node's manifests unless they are deployed exactly so.
    pub fn deploy(&self) -> Result<()> {
        deploy(&self.namespace, &self.name, &self.manifests())
    }

    /// Waits until the node is ready and the Service leads to it.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        kubectl::wait_for_rollout(&self.namespace, &format!("statefulset/{}", self.name), limit)?;
        wait_for_service(&self.namespace, &self.name, limit)
    }

    /// A client of the running node.
    pub fn client(&self) -> Result<SearchClient> {
        SearchClient::new(&self.namespace, &format!("{}-http", self.name), None, None)
    }

    /// The node's objects, without the namespace.
    pub fn manifests(&self) -> Vec<Value> {
        let Self { namespace, name, version, settings } = self;
        let mut arguments = vec![format!("cluster.name={name}"), format!("node.name={name}-0")];
        // A disk that others fill.
        arguments.push("cluster.routing.allocation.disk.threshold_enabled=false".to_owned());
        arguments.extend_from_slice(settings);
        let container = json!({
            "image": format!("docker.io/local/opensearch:{version}"),
            "args": arguments,
            "env": [{"name": "OPENSEARCH_JAVA_OPTS", "value": JAVA_OPTIONS}]
        });
        vec![
            headless_service(namespace, name),
            http_service(namespace, name),
            stateful_set(namespace, name, 1, container, Vec::new()),
        ]
    }
}
