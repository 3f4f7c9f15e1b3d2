//! Whether a cluster has room for another index: disks, number of shards, blocks; and what time it is there.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::connect::SearchClient;
use super::error::SearchError;
use super::name::one_index;

/// The disk of a data node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDisk {
    /// The node's name.
    pub node: String,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Settings of a cluster that limit what it takes, as they are set or, where nobody set them, as they are by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterLimits {
    /// `cluster.routing.allocation.disk.threshold_enabled`.
    pub disk_threshold: bool,
    /// `…disk.watermark.low` and `…low.max_headroom`.
    pub low: Watermark,
    /// `…disk.watermark.high` and `…high.max_headroom`.
    pub high: Watermark,
    /// `cluster.max_shards_per_node`.
    pub shards_per_node: Option<u64>,
    /// A block on all writes that is set: the setting's name.
    pub read_only: Option<&'static str>,
}

/// How much of a disk may be used, in the engine's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermark {
    /// `85%`, `0.85`, or the bytes that must stay free, such as `50gb`.
    pub level: String,
    /// The most bytes that a percentage keeps free (Elasticsearch from 8.5 on); -1 or nothing is no limit.
    pub max_headroom: String,
}

/// What an index takes up (`GET /{name}/_stats/docs,store`), its primaries only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexSize {
    /// Lucene's documents: nested ones count too.
    pub documents: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl SearchClient {
    /// The disks of the nodes that hold shards (`GET _cat/allocation`).
    ///
    /// # Errors
    /// 403 without the privilege `monitor`.
    pub async fn disks(&self) -> Result<Vec<NodeDisk>, SearchError> {
        #[derive(Deserialize)]
        struct Row {
            node: Option<String>,
            #[serde(rename = "disk.avail")]
            free: Option<String>,
            #[serde(rename = "disk.total")]
            total: Option<String>,
        }
        let rows: Vec<Row> = self
            .call(Method::GET, "disks", &["_cat", "allocation"])
            .query("format", "json")
            .query("bytes", "b")
            .query("h", "node,disk.avail,disk.total")
            .json()
            .await?;
        // The row of unassigned shards has no disk.
        let of = |row: Row| {
            let bytes = |text: Option<String>| text?.parse().ok();
            Some(NodeDisk { node: row.node?, free: bytes(row.free)?, total: bytes(row.total)? })
        };
        Ok(rows.into_iter().filter_map(of).collect())
    }

    /// What limits the cluster (`GET _cluster/settings?include_defaults`).
    ///
    /// # Errors
    /// 403 without the privilege `monitor`.
    pub async fn limits(&self) -> Result<ClusterLimits, SearchError> {
        let answer: Value = self
            .call(Method::GET, "cluster settings", &["_cluster", "settings"])
            .query("include_defaults", "true")
            .query("flat_settings", "true")
            .json()
            .await?;
        let text = |name: &str| {
            ["transient", "persistent", "defaults"].iter().find_map(|kind| answer[kind][name].as_str()).unwrap_or("")
        };
        const DISK: &str = "cluster.routing.allocation.disk";
        let watermark = |level: &str| Watermark {
            level: text(&format!("{DISK}.watermark.{level}")).to_owned(),
            max_headroom: text(&format!("{DISK}.watermark.{level}.max_headroom")).to_owned(),
        };
        const BLOCKS: [&str; 2] = ["cluster.blocks.read_only", "cluster.blocks.read_only_allow_delete"];
        Ok(ClusterLimits {
            disk_threshold: text(&format!("{DISK}.threshold_enabled")) != "false",
            low: watermark("low"),
            high: watermark("high"),
            shards_per_node: text("cluster.max_shards_per_node").parse().ok(),
            read_only: BLOCKS.into_iter().find(|name| text(name) == "true"),
        })
    }

    /// What the indices behind the name take up.
    ///
    /// # Errors
    /// 404 where nothing has the name.
    pub async fn index_size(&self, name: &str) -> Result<IndexSize, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            _all: All,
        }
        #[derive(Deserialize)]
        struct All {
            primaries: Primaries,
        }
        #[derive(Deserialize)]
        struct Primaries {
            docs: Docs,
            store: Store,
        }
        #[derive(Deserialize)]
        struct Docs {
            count: u64,
        }
        #[derive(Deserialize)]
        struct Store {
            size_in_bytes: u64,
        }
        let Answer { _all: All { primaries } } = self
            .call(Method::GET, "index size", &[one_index(name)?, "_stats", "docs,store"])
            .query("filter_path", "_all.primaries")
            .json()
            .await?;
        Ok(IndexSize { documents: primaries.docs.count, bytes: primaries.store.size_in_bytes })
    }

    /// Indices behind the name of which a primary is missing (`GET _cluster/health/{name}?level=indices`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn red_indices(&self, name: &str) -> Result<Vec<String>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            indices: BTreeMap<String, Index>,
        }
        #[derive(Deserialize)]
        struct Index {
            status: String,
        }
        let answer: Answer = self
            .call(Method::GET, "index health", &["_cluster", "health", one_index(name)?])
            .query("level", "indices")
            .query("timeout", "1s")
            .json()
            .await?;
        Ok(answer.indices.into_iter().filter(|(_, index)| index.status == "red").map(|(name, _)| name).collect())
    }

    /// The clock of the node that answers (`GET _nodes/_local/stats/os`), in milliseconds since 1970.
    ///
    /// # Errors
    /// 403 without the privilege `monitor`.
    pub async fn clock(&self) -> Result<i64, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            nodes: BTreeMap<String, Node>,
        }
        #[derive(Deserialize)]
        struct Node {
            timestamp: i64,
        }
        let answer: Answer = self
            .call(Method::GET, "clock", &["_nodes", "_local", "stats", "os"])
            .query("filter_path", "nodes.*.timestamp")
            .json()
            .await?;
        let told = answer.nodes.values().next().map(|node| node.timestamp);
        told.ok_or(SearchError::Decode { what: "clock", source: serde::de::Error::custom("no node tells its time") })
    }
}
