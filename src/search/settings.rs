//! Cluster settings around the restart of a node: shard allocation and the voting configuration.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::SearchError;
use super::index::IndexDefinition;
use super::name::one_index;

const ALLOCATION_ENABLE: &str = "cluster.routing.allocation.enable";

/// `cluster.routing.allocation.enable` (`all`, `primaries`, `new_primaries`, `none`); unset means `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllocationEnable {
    /// The persistent value.
    pub persistent: Option<String>,
    /// The transient value, which overrides the persistent one until the whole cluster is stopped.
    pub transient: Option<String>,
}

/// Settings of an index that are changed while it is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkLoadSettings {
    /// `number_of_replicas`.
    pub number_of_replicas: String,
    /// `refresh_interval`; `None` where it is not set.
    pub refresh_interval: Option<String>,
    /// How long the versions of deleted documents are remembered (`gc_deletes`); `None` where it is not set.
    pub gc_deletes: Option<String>,
}

impl SearchClient {
    /// `cluster.routing.allocation.enable`, as it is set.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn allocation_enable(&self) -> Result<AllocationEnable, SearchError> {
        let answer: Value = self
            .call(Method::GET, "cluster settings", &["_cluster", "settings"])
            .query("flat_settings", "true")
            .json()
            .await?;
        let value = |kind: &str| answer[kind][ALLOCATION_ENABLE].as_str().map(str::to_owned);
        Ok(AllocationEnable { persistent: value("persistent"), transient: value("transient") })
    }

    /// Sets the persistent `cluster.routing.allocation.enable`; `None` takes it out, back to the default.
    ///
    /// # Errors
    /// [`SearchError::NotAcknowledged`] where not all nodes know it yet; 400 for another value than the four.
    pub async fn set_allocation_enable(&self, value: Option<&str>) -> Result<(), SearchError> {
        self.call(Method::PUT, "cluster settings", &["_cluster", "settings"])
            .body(json!({ "persistent": { ALLOCATION_ENABLE: value } }))
            .acknowledged()
            .await
    }

    /// The settings of one index that are changed while it is filled, as they are set.
    ///
    /// # Errors
    /// 404 where there is no such index.
    pub async fn bulk_load_settings(&self, index: &str) -> Result<BulkLoadSettings, SearchError> {
        let found: BTreeMap<String, IndexDefinition> =
            self.call(Method::GET, "index settings", &[one_index(index)?, "_settings"]).json().await?;
        let text = |name: &str| found.values().next().and_then(|index| index.setting(name)).map(str::to_owned);
        Ok(BulkLoadSettings {
            number_of_replicas: text("number_of_replicas").unwrap_or_else(|| "1".to_owned()),
            refresh_interval: text("refresh_interval"),
            gc_deletes: text("gc_deletes"),
        })
    }

    /// Sets them; `None` takes a setting out, back to the default.
    ///
    /// # Errors
    /// 404 where there is no such index.
    pub async fn set_bulk_load_settings(&self, index: &str, settings: &BulkLoadSettings) -> Result<(), SearchError> {
        let body = json!({ "index": {
            "number_of_replicas": settings.number_of_replicas,
            "refresh_interval": settings.refresh_interval,
            "gc_deletes": settings.gc_deletes,
        }});
        self.call(Method::PUT, "index settings", &[one_index(index)?, "_settings"]).body(body).acknowledged().await
    }

    /// Takes the node's vote away, so that the cluster keeps a quorum without it; returns when another node votes.
    ///
    /// # Errors
    /// 5xx where no other node could take over within 20 s; 400 for a cluster before Elasticsearch 7.8.
    pub async fn add_voting_exclusion(&self, node_name: &str) -> Result<(), SearchError> {
        self.call(Method::POST, "voting exclusion", &["_cluster", "voting_config_exclusions"])
            .query("node_names", node_name)
            .query("timeout", "20s")
            .bytes()
            .await
            .map(drop)
    }

    /// Gives every excluded node its vote back, whether it is still in the cluster or not.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn clear_voting_exclusions(&self) -> Result<(), SearchError> {
        self.call(Method::DELETE, "voting exclusions", &["_cluster", "voting_config_exclusions"])
            .query("wait_for_removal", "false")
            .bytes()
            .await
            .map(drop)
    }
}
