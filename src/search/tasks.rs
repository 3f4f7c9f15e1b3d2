//! Tasks: following one to its end, finding those that run, cancelling.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::connect::SearchClient;
use super::error::{SearchError, bounded};
use super::fault::{Evidence, Fault};
use super::reindex::PROBE_ID_PREFIX;
use super::request::Call;

/// Longest reason kept of a failed document, in characters.
const FAILURE_REASON: usize = 500;
/// Longest reason kept of a failed task, in characters.
const TASK_REASON: usize = 4000;
/// A description quotes the task's whole query, laid out over many lines: those of a few that are large, whoever they belong to, would be
/// more than is read of an answer.
const WITHOUT_DESCRIPTIONS: &str = "-nodes.*.tasks.*.description";

/// Id of a task: `node:number`, where `node` is the id of the node that runs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// The text is not `node:number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read a task id")]
pub struct InvalidTaskId;

impl TaskId {
    /// Id of the node that runs the task.
    #[must_use]
    pub fn node(&self) -> &str {
        self.0.rsplit_once(':').map_or("", |(node, _)| node)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TaskId {
    type Err = InvalidTaskId;

    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        let (node, number) = text.rsplit_once(':').ok_or(InvalidTaskId)?;
        let node_ok = !node.is_empty() && node.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        let number_ok = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        if node_ok && number_ok && text.len() <= 128 { Ok(Self(text.to_owned())) } else { Err(InvalidTaskId) }
    }
}

impl TryFrom<String> for TaskId {
    type Error = InvalidTaskId;

    fn try_from(text: String) -> Result<Self, InvalidTaskId> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A `_reindex` task as `GET _tasks/{id}` shows it.
///
/// Completed means one of: a response without failures (copied), a response with failures or `canceled` (a part is
/// copied), an error and no response (some part is copied; the counts are in `status`).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskState {
    /// Whether it has ended, however.
    pub completed: bool,
    /// Why it was cancelled; set as soon as that was asked for.
    pub canceled: Option<String>,
    /// How far it is, or came.
    pub status: TaskStatus,
    /// What it answered; absent while it runs and when it ended in an error.
    pub response: Option<TaskResponse>,
    /// What it ended in.
    pub error: Option<TaskError>,
}

/// Counts of a `_reindex`, under the API's own names.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TaskStatus {
    /// Documents that the query matched; 0 until the first batch is there.
    pub total: u64,
    /// Documents that were there before.
    pub updated: u64,
    /// Documents that were not there before.
    pub created: u64,
    /// Documents deleted (by a script).
    pub deleted: u64,
    /// Batches read.
    pub batches: u64,
    /// Documents left alone because the destination's version was higher.
    pub version_conflicts: u64,
    /// Documents left alone by a script.
    pub noops: u64,
    /// How often the task tried again.
    pub retries: TaskRetries,
    /// Milliseconds slept to stay below `requests_per_second`.
    pub throttled_millis: u64,
    /// The limit in documents a second; -1 for none.
    pub requests_per_second: f64,
    /// Milliseconds until it goes on.
    pub throttled_until_millis: u64,
}

/// Attempts beyond the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TaskRetries {
    /// Of writing.
    pub bulk: u64,
    /// Of reading.
    pub search: u64,
}

/// What a finished `_reindex` answers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TaskResponse {
    /// Milliseconds from start to end.
    pub took: u64,
    /// Whether a request within it timed out.
    pub timed_out: bool,
    /// Its counts.
    #[serde(flatten)]
    pub status: TaskStatus,
    /// Documents that could not be written and shards that could not be read. Any of them ended the task early.
    pub failures: Vec<TaskFailure>,
    /// Why it was cancelled.
    pub canceled: Option<String>,
}

/// A document that could not be written, or a shard that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireFailure")]
pub struct TaskFailure {
    /// The index; that of the source where reading failed.
    pub index: String,
    /// The document's `_id`; absent where reading failed.
    pub id: Option<String>,
    /// HTTP status of the failure.
    pub status: Option<u16>,
    /// Error `type`, for example `mapper_parsing_exception`.
    pub kind: String,
    /// The reason, at most 500 characters on one line. It may quote values of the document.
    pub reason: String,
}

/// A write fails with `cause`, a read with `shard` and `reason`.
#[derive(Deserialize)]
struct WireFailure {
    #[serde(default)]
    index: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    cause: Value,
    #[serde(default)]
    reason: Value,
}

impl From<WireFailure> for TaskFailure {
    fn from(wire: WireFailure) -> Self {
        let cause = if wire.cause.is_null() { &wire.reason } else { &wire.cause };
        let text = |key: &str, limit| bounded(cause[key].as_str().unwrap_or_default(), limit);
        TaskFailure {
            index: wire.index.unwrap_or_default(),
            id: wire.id,
            status: wire.status,
            kind: text("type", 100),
            reason: text("reason", FAILURE_REASON),
        }
    }
}

/// What a task ended in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskError {
    /// Outermost error `type`.
    pub kind: String,
    /// Its reason, at most 4000 characters. It may hold the source's whole answer: for the debug log, never for
    /// `status` or an event.
    pub reason: String,
    class: TaskErrorClass,
}

/// What to do about a task's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskErrorClass {
    /// The destination's allowlist does not have the source.
    NotAllowed,
    /// The source refused the credentials: as a rule they were changed since the task was started.
    Unauthorized,
    /// The source knows the user, who may not read there.
    Forbidden,
    /// A lost scroll, a node that went away: run the range again.
    Transient,
    /// A cluster refused more at once: run the range again with less at a time.
    Overloaded,
    /// The destination lost the source or does not trust its certificate.
    Unreachable,
    /// A batch was over 100 MB: run the range again with smaller batches.
    ChunkTooLarge,
    /// Running it again would end the same way.
    Permanent,
}

impl TaskError {
    /// Reads the `error` of a stored task. It carries no HTTP status, so `type`s and what is quoted in the reasons
    /// decide.
    fn read(error: &Value) -> Self {
        let class = match Evidence::read(error).fault() {
            Fault::NotAllowed => TaskErrorClass::NotAllowed,
            Fault::Unauthorized => TaskErrorClass::Unauthorized,
            Fault::Forbidden => TaskErrorClass::Forbidden,
            Fault::Overloaded => TaskErrorClass::Overloaded,
            Fault::Transient => TaskErrorClass::Transient,
            Fault::Unreachable(_) | Fault::Untrusted => TaskErrorClass::Unreachable,
            Fault::ChunkTooLarge => TaskErrorClass::ChunkTooLarge,
            Fault::Other => TaskErrorClass::Permanent,
        };
        let text = |key: &str, limit| bounded(error[key].as_str().unwrap_or_default(), limit);
        TaskError { kind: text("type", 100), reason: text("reason", TASK_REASON), class }
    }

    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> TaskErrorClass {
        self.class
    }
}

/// A `_reindex` that runs now.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningTask {
    /// Its id.
    pub id: TaskId,
    /// The `X-Opaque-Id` that it was started with.
    pub opaque_id: Option<String>,
    /// How long it has been running.
    pub running_time: Duration,
    /// How far it is.
    pub status: TaskStatus,
}

impl RunningTask {
    /// Whether it is one of [`probe_reindex`](SearchClient::probe_reindex): it copies nothing and stands in nobody's
    /// way. OpenSearch keeps one for many minutes, even cancelled, while the source answers 5xx.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.opaque_id.as_deref().is_some_and(|id| id.starts_with(PROBE_ID_PREFIX))
    }
}

impl SearchClient {
    /// The task; `None` where nobody knows it (any more): its node went away, or the result was never stored. That
    /// says nothing about what it has copied.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskState>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            completed: bool,
            task: Task,
            #[serde(default)]
            response: Option<TaskResponse>,
            #[serde(default)]
            error: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Task {
            #[serde(default)]
            status: Status,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Status {
            #[serde(flatten)]
            counts: TaskStatus,
            canceled: Option<String>,
        }
        let answer: Answer = match self
            .call(Method::GET, "task", &["_tasks", id.as_str()])
            .query("filter_path", "-task.description")
            .json()
            .await
        {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let canceled = answer.response.as_ref().and_then(|response| response.canceled.clone());
        Ok(Some(TaskState {
            completed: answer.completed,
            canceled: answer.task.status.canceled.or(canceled),
            status: answer.task.status.counts,
            response: answer.response,
            error: answer.error.as_ref().map(TaskError::read),
        }))
    }

    /// Every `_reindex` that runs on the cluster, whoever started it; a parent without its slices
    /// (`GET _tasks?actions=*reindex&detailed`).
    ///
    /// # Errors
    /// [`SearchError::IncompleteNodes`] where a node did not answer: a task that is not listed may run all the same.
    pub async fn reindex_tasks(&self) -> Result<Vec<RunningTask>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            nodes: BTreeMap<String, Node>,
            #[serde(default)]
            node_failures: Vec<Value>,
            #[serde(default)]
            task_failures: Vec<Value>,
        }
        #[derive(Deserialize)]
        struct Node {
            #[serde(default)]
            tasks: BTreeMap<TaskId, Task>,
        }
        #[derive(Deserialize)]
        struct Task {
            #[serde(default)]
            running_time_in_nanos: u64,
            #[serde(default)]
            headers: BTreeMap<String, String>,
            #[serde(default)]
            parent_task_id: Option<String>,
            #[serde(default)]
            status: TaskStatus,
        }
        let answer: Answer = self
            .call(Method::GET, "tasks", &["_tasks"])
            .query("actions", "*reindex")
            .query("detailed", "true")
            .query("filter_path", WITHOUT_DESCRIPTIONS)
            .json()
            .await?;
        let failed = answer.node_failures.len() + answer.task_failures.len();
        if failed > 0 {
            return Err(SearchError::IncompleteNodes { failed: failed as u64 });
        }
        let tasks = answer.nodes.into_values().flat_map(|node| node.tasks);
        Ok(tasks
            .filter(|(_, task)| task.parent_task_id.is_none())
            .map(|(id, mut task)| RunningTask {
                id,
                opaque_id: task.headers.remove("X-Opaque-Id"),
                running_time: Duration::from_nanos(task.running_time_in_nanos),
                status: task.status,
            })
            .collect())
    }

    /// Asks the task to stop (`POST _tasks/{id}/_cancel`). It ends after the batch that it is at; one that is unknown,
    /// has ended, or ran on a node that is gone is fine.
    ///
    /// # Errors
    /// [`SearchError::IncompleteNodes`] where the task's node could not be told.
    pub async fn cancel_task(&self, id: &TaskId) -> Result<(), SearchError> {
        let call = self.call(Method::POST, "cancel", &["_tasks", id.as_str(), "_cancel"]);
        self.tell(call).await
    }

    /// Changes how many documents a second the task may copy; -1 is no limit (`POST _reindex/{id}/_rethrottle`). Faster takes
    /// effect at once, slower after the batch that it is at. One that has ended is fine.
    ///
    /// # Errors
    /// [`SearchError::IncompleteNodes`] where the task's node could not be told.
    pub async fn rethrottle(&self, id: &TaskId, requests_per_second: f64) -> Result<(), SearchError> {
        let call = self
            .call(Method::POST, "rethrottle", &["_reindex", id.as_str(), "_rethrottle"])
            .query("requests_per_second", &requests_per_second.to_string());
        self.tell(call).await
    }

    /// Tells a task something; it is fine if it, or its node, is gone.
    async fn tell(&self, call: Call<'_>) -> Result<(), SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            node_failures: Vec<Value>,
        }
        let answer: Answer = match call.query("filter_path", WITHOUT_DESCRIPTIONS).json().await {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let not_told = answer.node_failures.iter().filter(|failure| !Evidence::read(failure).has_ended()).count();
        if not_told == 0 { Ok(()) } else { Err(SearchError::IncompleteNodes { failed: not_told as u64 }) }
    }
}
