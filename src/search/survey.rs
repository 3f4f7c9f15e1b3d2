//! What is asked before a copy: how large documents are, how they spread over sequence numbers, what the nodes can take.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::SearchError;
use super::index::IndexDefinition;
use super::name::one_index;
use super::request::Shards;

/// Counting reads every document's number.
const SLOW_TIMEOUT: Duration = Duration::from_secs(120);
/// What `search.max_open_scroll_context` is where nobody set it.
const DEFAULT_OPEN_SCROLLS: u64 = 500;

/// A data node, and what it can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCapacity {
    /// Processors that the engine uses.
    pub processors: u64,
    /// Bytes of writes that it lets in at once (`indexing_pressure.memory.limit`); `None` before Elasticsearch 7.9.
    pub pressure_limit: Option<u64>,
}

/// The query, or one that matches every document.
pub(super) fn or_all(query: Option<&Value>) -> Value {
    query.cloned().unwrap_or_else(|| json!({ "match_all": {} }))
}

/// The same documents in random order. `chance`: nothing for another order each time, or the seed of one.
pub(super) fn in_random_order(query: &Value, chance: &Value) -> Value {
    json!({ "function_score": { "query": query, "random_score": chance, "boost_mode": "replace" } })
}

impl SearchClient {
    /// Bytes of `_source` of some documents that match, picked at random.
    ///
    /// # Errors
    /// 400 for a query that the cluster does not understand; [`SearchError::ResponseTooLarge`] where they are very large.
    pub async fn sample_sizes(
        &self,
        name: &str,
        query: Option<&Value>,
        documents: u32,
    ) -> Result<Vec<u64>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            hits: Hits,
        }
        #[derive(Deserialize)]
        struct Hits {
            hits: Vec<Hit>,
        }
        #[derive(Deserialize)]
        struct Hit {
            #[serde(rename = "_source")]
            source: Option<Box<RawValue>>,
        }
        let drawn = in_random_order(&or_all(query), &json!({}));
        let body = json!({ "size": documents, "track_total_hits": false, "query": drawn });
        let answer: Answer = self
            .call(Method::POST, "sample", &[one_index(name)?, "_search"])
            .body(body)
            .timeout(SLOW_TIMEOUT)
            .json()
            .await?;
        let sizes = answer.hits.hits.iter().filter_map(|hit| hit.source.as_ref());
        Ok(sizes.map(|source| source.get().len() as u64).collect())
    }

    /// Whether another index behind the name holds the id of one of some documents of `index`; of the same documents the same ones are
    /// looked at.
    ///
    /// # Errors
    /// 400 for a query that the cluster does not understand; [`SearchError::PartialShards`] where a shard is missing.
    pub async fn has_repeated_ids(
        &self,
        name: &str,
        query: Option<&Value>,
        index: &str,
        documents: u32,
    ) -> Result<bool, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "_shards")]
            shards: Shards,
            hits: Hits,
        }
        #[derive(Deserialize)]
        struct Hits {
            hits: Vec<Hit>,
        }
        #[derive(Deserialize)]
        struct Hit {
            #[serde(rename = "_id")]
            id: String,
        }
        let search = async |size: u32, inner: Value| {
            let body = json!({ "size": size, "_source": false, "track_total_hits": false, "query": inner });
            let answer: Answer = self
                .call(Method::POST, "ids", &[one_index(name)?, "_search"])
                .query("allow_partial_search_results", "false")
                .body(body)
                .timeout(SLOW_TIMEOUT)
                .json()
                .await?;
            answer.shards.none_failed()?;
            Ok::<_, SearchError>(answer.hits.hits.into_iter().map(|hit| hit.id).collect::<Vec<_>>())
        };
        let own = json!({ "term": { "_index": index } });
        let matching = or_all(query);
        let of_index = json!({ "bool": { "filter": [own, matching] } });
        let drawn = in_random_order(&of_index, &json!({ "seed": 1, "field": "_seq_no" }));
        let sampled = search(documents, drawn).await?;
        let elsewhere =
            json!({ "bool": { "filter": [{ "ids": { "values": sampled } }, matching], "must_not": [own] } });
        Ok(!search(1, elsewhere).await?.is_empty())
    }

    /// How many documents that match have a `_seq_no` within each of these bounds (`from` included, `to` not).
    ///
    /// # Errors
    /// 400 where sequence numbers can't be searched; [`SearchError::PartialShards`] where a shard is missing.
    pub async fn count_by_seq_no(
        &self,
        name: &str,
        query: Option<&Value>,
        bounds: &[(i64, i64)],
    ) -> Result<Vec<u64>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "_shards")]
            shards: Shards,
            aggregations: Aggregations,
        }
        #[derive(Deserialize)]
        struct Aggregations {
            ranges: Ranges,
        }
        #[derive(Deserialize)]
        struct Ranges {
            buckets: Vec<Bucket>,
        }
        #[derive(Deserialize)]
        struct Bucket {
            from: f64,
            to: f64,
            doc_count: u64,
        }
        let ranges: Vec<Value> = bounds.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        let mut body = json!({
            "size": 0,
            "track_total_hits": false,
            "aggs": { "ranges": { "range": { "field": "_seq_no", "ranges": ranges } } },
        });
        if let Some(query) = query {
            body["query"] = query.clone();
        }
        let answer: Answer = self
            .call(Method::POST, "count by sequence number", &[one_index(name)?, "_search"])
            .query("allow_partial_search_results", "false")
            .body(body)
            .timeout(SLOW_TIMEOUT)
            .json()
            .await?;
        answer.shards.all_answered()?;
        // Buckets come sorted by their bounds, not as they were asked for.
        let counted = answer.aggregations.ranges.buckets;
        let of = |(from, to): &(i64, i64)| {
            let same = |bucket: &&Bucket| bucket.from as i64 == *from && bucket.to as i64 == *to;
            counted.iter().find(same).map(|bucket| bucket.doc_count).ok_or(SearchError::Decode {
                what: "count by sequence number",
                source: serde::de::Error::custom("a range is missing"),
            })
        };
        bounds.iter().map(of).collect()
    }

    /// Every data node's capacity (`GET _nodes/os` and `GET _nodes/stats/indexing_pressure`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn data_node_capacities(&self) -> Result<Vec<NodeCapacity>, SearchError> {
        #[derive(Deserialize)]
        struct Answer<T> {
            #[serde(default = "BTreeMap::new")]
            nodes: BTreeMap<String, T>,
        }
        #[derive(Deserialize)]
        struct Node {
            #[serde(default)]
            os: Os,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Os {
            allocated_processors: u64,
        }
        let nodes: Answer<Node> = self.call(Method::GET, "processors", &["_nodes", "data:true", "os"]).json().await?;
        let stats: Answer<Value> = self
            .call(Method::GET, "indexing pressure", &["_nodes", "data:true", "stats", "indexing_pressure"])
            .json()
            .await?;
        let limit = |id: &String| stats.nodes.get(id)?["indexing_pressure"]["memory"]["limit_in_bytes"].as_u64();
        let of = |(id, node): (&String, &Node)| NodeCapacity {
            processors: node.os.allocated_processors,
            pressure_limit: limit(id),
        };
        Ok(nodes.nodes.iter().map(of).collect())
    }

    /// The least `index.max_result_window` of the indices behind the name; `None` where nobody set it.
    ///
    /// # Errors
    /// 404 where nothing has the name.
    pub async fn max_result_window(&self, name: &str) -> Result<Option<u64>, SearchError> {
        let found: BTreeMap<String, IndexDefinition> = self
            .call(Method::GET, "index settings", &[one_index(name)?, "_settings", "index.max_result_window"])
            .json()
            .await?;
        Ok(found.values().filter_map(|index| index.setting("max_result_window")?.parse().ok()).min())
    }

    /// How many scrolls each node keeps open at once (`search.max_open_scroll_context`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn open_scroll_limit(&self) -> Result<u64, SearchError> {
        const SETTING: &str = "search.max_open_scroll_context";
        let settings: Value = self
            .call(Method::GET, "cluster settings", &["_cluster", "settings"])
            .query("flat_settings", "true")
            .json()
            .await?;
        let set = ["transient", "persistent"].into_iter().find_map(|kind| settings[kind][SETTING].as_str());
        Ok(set.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_OPEN_SCROLLS))
    }
}
