//! Who a cluster is and how it stands: identity, health, nodes, shards.

use std::fmt;
use std::str::FromStr;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connect::SearchClient;
use super::error::SearchError;

/// Which of the two search engines a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Elasticsearch; everything that does not say that it is OpenSearch.
    Elasticsearch,
    /// OpenSearch: `version.distribution` is `opensearch`.
    OpenSearch,
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "OpenSearch",
        })
    }
}

/// A version number; what follows the numbers (`-SNAPSHOT`, `_ali1.2`) is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number, 0 where there is none.
    pub patch: u32,
}

impl Version {
    /// Whether a `_reindex` may carry `source.remote.api_key`: Elasticsearch from 9.3 on. OpenSearch has no API keys.
    #[must_use]
    pub fn takes_api_key(&self) -> bool {
        (self.major, self.minor) >= (9, 3)
    }
}

/// The text does not begin with two numbers and a dot between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read a version number")]
pub struct InvalidVersion;

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(|number| number.parse::<u32>().map_err(|_| InvalidVersion));
        Ok(Self {
            major: numbers.next().ok_or(InvalidVersion)??,
            minor: numbers.next().ok_or(InvalidVersion)??,
            patch: numbers.next().unwrap_or(Ok(0))?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Who a cluster is (`GET /`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The name from its configuration; not unique.
    pub cluster_name: String,
    /// What tells it from every other cluster.
    pub cluster_uuid: String,
    /// Which engine it runs.
    pub distribution: Distribution,
    /// Version of the node that answered.
    pub version: Version,
}

/// How a cluster stands (`GET _cluster/health`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// The worst of its indices.
    pub status: HealthStatus,
    /// Nodes that are in the cluster.
    pub number_of_nodes: u32,
    /// Primaries that are started.
    pub active_primary_shards: u64,
    /// Shards that are started.
    pub active_shards: u64,
    /// Shards that are being started.
    pub initializing_shards: u64,
    /// Shards that are being moved.
    pub relocating_shards: u64,
    /// Shards without a node. One node with one replica has some for ever.
    pub unassigned_shards: u64,
}

/// The colour of a cluster's health, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Every shard is assigned.
    Green,
    /// Every primary is assigned.
    Yellow,
    /// A primary is missing.
    Red,
}

/// One node, with the settings that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node id; on a persistent disk it survives a restart.
    pub id: String,
    /// The node's name, by default that of its pod.
    pub name: String,
    /// Address of its transport, without port.
    pub ip: String,
    /// For example `master`, `data`, `data_hot`, `ingest`; on OpenSearch also `cluster_manager`.
    pub roles: Vec<String>,
    /// Entries (`host:port`, globs allowed) of the effective `reindex.remote.whitelist` or `…allowlist`.
    pub allowlist: Vec<String>,
    /// Where it keeps its data.
    pub path_data: Vec<String>,
    /// Its attribute `reindex_sources`.
    pub reindex_sources: Vec<String>,
}

impl NodeInfo {
    /// Whether it can be elected master.
    #[must_use]
    pub fn is_master_eligible(&self) -> bool {
        self.roles.iter().any(|role| role == "master" || role == "cluster_manager")
    }

    /// Whether it holds shards.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.roles.iter().any(|role| role == "data" || role.starts_with("data_"))
    }
}

/// One copy of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardCopy {
    /// The concrete index.
    pub index: String,
    /// Number of the shard.
    pub shard: u32,
    /// Primary or replica.
    pub primary: bool,
    /// `STARTED`, `INITIALIZING`, `RELOCATING` or `UNASSIGNED`.
    pub state: String,
    /// The node that holds it; for one that moves, the node that it leaves.
    pub node_id: Option<String>,
}

impl SearchClient {
    /// Who the cluster is (`GET /`).
    ///
    /// # Errors
    /// [`SearchError::NotFormed`] while it has no UUID yet; [`SearchError::Decode`] where something else answers.
    pub async fn info(&self) -> Result<ClusterInfo, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            cluster_name: String,
            cluster_uuid: String,
            version: Engine,
        }
        #[derive(Deserialize)]
        struct Engine {
            #[serde(default)]
            distribution: Option<String>,
            number: String,
        }
        let answer: Answer = self.call(Method::GET, "info", &[""]).json().await?;
        if answer.cluster_uuid == "_na_" {
            return Err(SearchError::NotFormed);
        }
        let version = answer.version.number.parse().map_err(|error: InvalidVersion| SearchError::Decode {
            what: "info",
            source: serde::de::Error::custom(error),
        })?;
        Ok(ClusterInfo {
            cluster_name: answer.cluster_name,
            cluster_uuid: answer.cluster_uuid,
            distribution: match answer.version.distribution.as_deref() {
                Some("opensearch") => Distribution::OpenSearch,
                _ => Distribution::Elasticsearch,
            },
            version,
        })
    }

    /// How the cluster stands (`GET _cluster/health`).
    ///
    /// # Errors
    /// 503 while there is no master.
    pub async fn health(&self) -> Result<Health, SearchError> {
        self.call(Method::GET, "health", &["_cluster", "health"]).json().await
    }

    /// Every node that is in the cluster, by id (`GET _nodes/settings`). A node that is away is not in it.
    ///
    /// # Errors
    /// [`SearchError::IncompleteNodes`] where a node of the cluster did not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "_nodes", default)]
            summary: Summary,
            nodes: std::collections::BTreeMap<String, Node>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Summary {
            failed: u64,
        }
        #[derive(Deserialize)]
        struct Node {
            name: String,
            #[serde(default)]
            ip: String,
            #[serde(default)]
            roles: Vec<String>,
            #[serde(default)]
            settings: Value,
        }
        let answer: Answer =
            self.call(Method::GET, "nodes", &["_nodes", "settings"]).query("flat_settings", "true").json().await?;
        if answer.summary.failed > 0 {
            return Err(SearchError::IncompleteNodes { failed: answer.summary.failed });
        }
        Ok(answer
            .nodes
            .into_iter()
            .map(|(id, node)| NodeInfo {
                id,
                name: node.name,
                ip: node.ip,
                roles: node.roles,
                allowlist: list_setting(&node.settings, &["reindex.remote.allowlist", "reindex.remote.whitelist"]),
                path_data: list_setting(&node.settings, &["path.data"]),
                reindex_sources: list_setting(&node.settings, &["node.attr.reindex_sources"]),
            })
            .collect())
    }

    /// Id of the node that is master now (`GET _cluster/state/master_node`).
    ///
    /// # Errors
    /// [`SearchError::NotFormed`] where there is none.
    pub async fn elected_master(&self) -> Result<String, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            master_node: Option<String>,
            /// OpenSearch's own name for it.
            #[serde(default)]
            cluster_manager_node: Option<String>,
        }
        let answer: Answer =
            self.call(Method::GET, "elected master", &["_cluster", "state", "master_node"]).json().await?;
        answer.master_node.or(answer.cluster_manager_node).ok_or(SearchError::NotFormed)
    }

    /// Every copy of every shard (`GET _cat/shards`), hidden indices included.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn shards(&self) -> Result<Vec<ShardCopy>, SearchError> {
        #[derive(Deserialize)]
        struct Row {
            index: String,
            shard: String,
            prirep: String,
            state: String,
            id: Option<String>,
        }
        let rows: Vec<Row> = self
            .call(Method::GET, "shards", &["_cat", "shards"])
            .query("format", "json")
            .query("h", "index,shard,prirep,state,id")
            .json()
            .await?;
        rows.into_iter()
            .map(|row| {
                let shard = row.shard.parse().map_err(|_| SearchError::Decode {
                    what: "shards",
                    source: serde::de::Error::custom("a shard's number is none"),
                })?;
                Ok(ShardCopy {
                    index: row.index,
                    shard,
                    primary: row.prirep == "p",
                    state: row.state,
                    node_id: row.id.filter(|id| !id.is_empty()),
                })
            })
            .collect()
    }
}

/// The first of those flat settings that is there, as a list: it is shown as a list when it came from a YAML list, and
/// as one string, with commas, when it came as one.
fn list_setting(settings: &Value, keys: &[&str]) -> Vec<String> {
    let Some(value) = keys.iter().find_map(|key| settings.get(key)) else {
        return Vec::new();
    };
    let entries: Vec<&str> = match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => text.split(',').collect(),
        _ => Vec::new(),
    };
    entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}
