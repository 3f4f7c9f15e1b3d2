//! Indices: what they are made of, how much is in them, how far they have been written.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::SearchError;
use super::name::one_index;
use super::request::Shards;

/// Creating an index waits up to 30 s for the nodes and as long for its primaries.
const CREATE_TIMEOUT: Duration = Duration::from_secs(70);
/// Counting and flushing read or write whatever has piled up.
const SLOW_TIMEOUT: Duration = Duration::from_secs(120);

/// A concrete index (`GET /{name}`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct IndexDefinition {
    /// Aliases by name.
    #[serde(default)]
    pub aliases: BTreeMap<String, AliasDefinition>,
    /// Its mapping, as it would be put.
    #[serde(default)]
    pub mappings: Value,
    /// Its settings, nested below `index`; numbers and booleans are strings.
    #[serde(default)]
    pub settings: Value,
    /// The data stream that it backs.
    #[serde(default)]
    pub data_stream: Option<String>,
}

/// What an alias adds to an index.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AliasDefinition {
    /// Whether writes through the alias go to this index; where nothing says so, they do if it is the only one.
    pub is_write_index: Option<bool>,
    /// The query that narrows the alias.
    pub filter: Option<Value>,
    /// Routing for writes.
    pub index_routing: Option<String>,
    /// Routing for searches.
    pub search_routing: Option<String>,
}

impl IndexDefinition {
    /// One of its settings as text, by the name without `index.` (`uuid`, `number_of_shards`, `mapping.total_fields.limit`).
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&str> {
        let index = &self.settings["index"];
        index.get(name).or_else(|| name.split('.').try_fold(index, |value, key| value.get(key)))?.as_str()
    }

    /// Its UUID: another one means another index, even under the same name.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        self.setting("uuid")
    }

    /// How many primaries it has.
    #[must_use]
    pub fn number_of_shards(&self) -> Option<u32> {
        self.setting("number_of_shards")?.parse().ok()
    }

    /// How many replicas each primary is meant to have.
    #[must_use]
    pub fn number_of_replicas(&self) -> Option<u32> {
        self.setting("number_of_replicas")?.parse().ok()
    }
}

/// How far the primary of one shard has been written (`GET /{name}/_stats?level=shards`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardPosition {
    /// The concrete index.
    pub index: String,
    /// UUID of the index.
    pub index_uuid: String,
    /// Number of the shard.
    pub shard: u32,
    /// Highest sequence number given out; -1 for an empty shard.
    pub max_seq_no: i64,
    /// Up to here every operation is on every in-sync copy; -1 for an empty shard.
    pub global_checkpoint: i64,
    /// Changes when the shard's history does (restored, or forced to an old copy): sequence numbers before and after
    /// don't compare.
    pub history_uuid: String,
}

impl SearchClient {
    /// The indices behind the name of an index, alias or data stream, by their concrete names (`GET /{name}`).
    ///
    /// # Errors
    /// 404 where there is none.
    pub async fn indices(&self, name: &str) -> Result<BTreeMap<String, IndexDefinition>, SearchError> {
        self.call(Method::GET, "indices", &[one_index(name)?]).json().await
    }

    /// Creates an index from `{"settings", "mappings", "aliases"}` (`PUT /{name}`).
    ///
    /// # Errors
    /// [`is_conflict`](SearchError::is_conflict) where it exists; [`SearchError::NotAcknowledged`] where it may still
    /// come into being; 400 for a setting, analyzer or mapping that the cluster does not take.
    pub async fn create_index(&self, name: &str, body: &Value) -> Result<(), SearchError> {
        self.call(Method::PUT, "index creation", &[one_index(name)?])
            .body(body.clone())
            .timeout(CREATE_TIMEOUT)
            .acknowledged()
            .await
    }

    /// Deletes an index (`DELETE /{name}`); one that is not there is fine.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_index(&self, name: &str) -> Result<(), SearchError> {
        let call = self.call(Method::DELETE, "index deletion", &[one_index(name)?]).timeout(CREATE_TIMEOUT);
        match call.acknowledged().await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Whether an index, alias or data stream has the name (`HEAD /{name}`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn index_exists(&self, name: &str) -> Result<bool, SearchError> {
        match self.call(Method::HEAD, "index", &[one_index(name)?]).bytes().await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// UUID of the one index behind the name; `None` where nothing has that name.
    ///
    /// # Errors
    /// [`SearchError::SeveralIndices`] for an alias or data stream over more than one.
    pub async fn index_uuid(&self, name: &str) -> Result<Option<String>, SearchError> {
        let call = self
            .call(Method::GET, "index uuid", &[one_index(name)?, "_settings"])
            .query("filter_path", "*.settings.index.uuid");
        let found: BTreeMap<String, IndexDefinition> = match call.json().await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        match found.len() {
            0 | 1 => Ok(found.values().next().and_then(|index| index.uuid()).map(str::to_owned)),
            count => Err(SearchError::SeveralIndices { count }),
        }
    }

    /// How many documents match the query; all without one (`POST /{name}/_count`).
    ///
    /// Counts what the last refresh shows.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed or has no copy: the number would be too small.
    pub async fn count(&self, name: &str, query: Option<&Value>) -> Result<u64, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            count: u64,
            #[serde(rename = "_shards")]
            shards: Shards,
        }
        let body = match query {
            Some(query) => json!({ "query": query }),
            None => json!({}),
        };
        let answer: Answer = self
            .call(Method::POST, "count", &[one_index(name)?, "_count"])
            .reading()
            .body(body)
            .timeout(SLOW_TIMEOUT)
            .json()
            .await?;
        answer.shards.all_answered()?;
        Ok(answer.count)
    }

    /// Makes what was written visible to searches (`POST /{name}/_refresh`).
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed; unassigned replicas are no failure.
    pub async fn refresh(&self, name: &str) -> Result<(), SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "_shards")]
            shards: Shards,
        }
        let answer: Answer =
            self.call(Method::POST, "refresh", &[one_index(name)?, "_refresh"]).timeout(SLOW_TIMEOUT).json().await?;
        answer.shards.none_failed()
    }

    /// Writes everything to disk, which makes the next start of a node quick (`POST /_flush`). Shards that cannot be
    /// flushed are no error: they only take longer.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn flush_all(&self) -> Result<(), SearchError> {
        self.call(Method::POST, "flush", &["_flush"]).timeout(SLOW_TIMEOUT).bytes().await.map(drop)
    }

    /// How far every primary behind the name has been written, sorted by index and shard.
    ///
    /// A primary that is not started is missing: compare with [`IndexDefinition::number_of_shards`].
    ///
    /// # Errors
    /// 404 where nothing has the name.
    pub async fn positions(&self, name: &str) -> Result<Vec<ShardPosition>, SearchError> {
        let answer: Stats = self
            .call(Method::GET, "positions", &[one_index(name)?, "_stats", "docs"])
            .query("level", "shards")
            .query("filter_path", STATS_FILTER)
            .json()
            .await?;
        let mut positions: Vec<ShardPosition> = Vec::new();
        for (index, stats) in answer.indices {
            for (number, copies) in stats.shards {
                let shard = number.parse().map_err(|_| SearchError::Decode {
                    what: "positions",
                    source: serde::de::Error::custom("a shard's number is none"),
                })?;
                // A copy that is still recovering knows only a part.
                let primary = copies.into_iter().find(|copy| {
                    copy.routing.primary && matches!(copy.routing.state.as_str(), "STARTED" | "RELOCATING")
                });
                if let Some(copy) = primary {
                    positions.push(ShardPosition {
                        index: index.clone(),
                        index_uuid: stats.uuid.clone(),
                        shard,
                        max_seq_no: copy.seq_no.max_seq_no,
                        global_checkpoint: copy.seq_no.global_checkpoint,
                        history_uuid: copy.commit.user_data.history_uuid,
                    });
                }
            }
        }
        positions.sort();
        Ok(positions)
    }

    /// Whether the user may search there and every shard takes the query (`POST /{name}/_search`, no hits).
    ///
    /// # Errors
    /// 401, 403, 404; 400 for a query that the cluster does not understand; 503 for a shard without a copy.
    pub async fn can_search(&self, name: &str, query: Option<&Value>) -> Result<(), SearchError> {
        let mut body = json!({ "size": 0, "terminate_after": 1, "track_total_hits": false });
        if let Some(query) = query {
            body["query"] = query.clone();
        }
        self.call(Method::POST, "search", &[one_index(name)?, "_search"])
            .query("allow_partial_search_results", "false")
            .body(body)
            .bytes()
            .await
            .map(drop)
    }
}

/// What of the statistics is wanted; the whole is some hundred numbers a shard.
const STATS_FILTER: &str = "indices.*.uuid,indices.*.shards.*.routing,indices.*.shards.*.seq_no,\
                            indices.*.shards.*.commit.user_data.history_uuid";

#[derive(Deserialize)]
struct Stats {
    #[serde(default)]
    indices: BTreeMap<String, IndexStats>,
}

#[derive(Deserialize)]
struct IndexStats {
    uuid: String,
    #[serde(default)]
    shards: BTreeMap<String, Vec<CopyStats>>,
}

#[derive(Deserialize)]
struct CopyStats {
    routing: Routing,
    seq_no: SeqNo,
    commit: Commit,
}

#[derive(Deserialize)]
struct Routing {
    primary: bool,
    state: String,
}

#[derive(Deserialize)]
struct SeqNo {
    max_seq_no: i64,
    global_checkpoint: i64,
}

#[derive(Deserialize)]
struct Commit {
    user_data: UserData,
}

#[derive(Deserialize)]
struct UserData {
    history_uuid: String,
}
