//! `Reindex.status`: what the operator answers, and all that it needs to go on after a crash.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{reindex::VerificationLevel, schema};

/// How far a Reindex is, and its result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReindexStatus {
    /// The generation that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Pending, Copying, Complete … Derived from the rest; don't build on it, use the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Hash of the parts of the spec that may not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_hash: Option<String>,
    /// When the operator first saw the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended, one way or the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What was found on the source, pinned at Validate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PinnedSource>,
    /// What was found and created on the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<PinnedDestination>,
    /// The steps, in order.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub steps: Vec<Step>,
    /// The source as it was when the copy began, to see whether it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// Parts of the copy that run or failed; one part for now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub partitions: Vec<Partition>,
    /// How much is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What the `_reindex` API answered, under its own names. On the index that the operator created, what a repeated attempt
    /// reports as `updated` counts as `created`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CopyResult>,
    /// What the verification found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationResult>,
    /// `Ready`, `Validated`, `Complete`, `Failed`, and while they hold `Reconciling` and `Stalled`.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// One word for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum Phase {
    /// Checks run, or wait for something.
    Validating,
    /// Waits for the destination's allowlist.
    WaitingForAllowlist,
    /// The destination index is created.
    Preparing,
    /// Documents are copied.
    Copying,
    /// The copy is checked.
    Verifying,
    /// Done and proved.
    Complete,
    /// Ended without success.
    Failed,
}

/// What was found on the source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedSource {
    /// UUID of the source cluster.
    #[serde(rename = "clusterUUID")]
    pub cluster_uuid: String,
    /// Its version.
    pub version: String,
    /// The concrete indices behind the name, at most 32 of them named.
    #[schemars(length(max = 32))]
    pub indices: Vec<PinnedIndex>,
    /// `scheme://host:port` at which the destination reaches the source; `host:port` is what the allowlist must hold.
    pub remote: String,
}

/// One concrete index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedIndex {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
}

/// What was found and created on the destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedDestination {
    /// UUID of the destination cluster.
    #[serde(rename = "clusterUUID")]
    pub cluster_uuid: String,
    /// Its version.
    pub version: String,
    /// UUID of the index that was created; if another takes its place, the copy fails.
    #[serde(default, rename = "indexUUID", skip_serializing_if = "Option::is_none")]
    pub index_uuid: Option<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// How far it is.
    pub state: StepState,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What it does, waits for, or found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The steps of a Reindex.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumIter,
)]
pub enum StepName {
    /// Every check, before anything is changed.
    Validate,
    /// The source is on the destination's allowlist.
    Allowlist,
    /// The destination index is created.
    Prepare,
    /// Documents are copied.
    Copy,
    /// The copy is proved.
    Verify,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepState {
    /// Begun.
    Running,
    /// Done.
    Succeeded,
    /// Ended the Reindex.
    Failed,
}

/// The source as it was before the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Operations that all primaries had taken: the sum of `global_checkpoint + 1`.
    pub operations: i64,
    /// Hash over index and history UUIDs and the `global_checkpoint` of every primary.
    pub digest: String,
    /// Documents that matched, counted after a refresh.
    pub documents: i64,
}

/// One part of the copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its number.
    pub id: i32,
    /// Counts from 1. The task carries `X-Opaque-Id: reindex/<uid>/<partition>/<attempt>`.
    pub attempt: i32,
    /// How far it is.
    pub state: PartitionState,
    /// The task on the destination, `node:number`; absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// When this attempt was begun, or is to be begun.
    pub started_at: Time,
    /// Why the attempt before this one, or this one, ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PartitionState {
    /// About to be started; from here on a task may exist.
    Starting,
    /// Its task is known.
    Running,
    /// The last attempt was lost or failed in passing; the next one waits for `startedAt`.
    Waiting,
    /// Its task ended well.
    Done,
    /// Its task must end; it is cancelled until it is gone.
    Cancelling,
}

/// How much is copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Documents to copy.
    pub documents_total: i64,
    /// Documents copied in this attempt.
    pub documents_copied: i64,
    /// 0 to 100.
    pub percent: i32,
    /// Documents a second since the attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_per_second: Option<i64>,
    /// When the copy will be done at that rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Time>,
    /// When this was read; at most every ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// What the `_reindex` API answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyResult {
    /// Milliseconds that the task took.
    pub took: i64,
    /// A request of the task timed out.
    pub timed_out: bool,
    /// Documents read.
    pub total: i64,
    /// Documents that replaced others.
    pub updated: i64,
    /// Documents that are new.
    pub created: i64,
    /// Documents deleted.
    pub deleted: i64,
    /// Batches read.
    pub batches: i64,
    /// Documents that the destination held in a higher version.
    pub version_conflicts: i64,
    /// Documents that a script left out.
    pub noops: i64,
    /// How often requests were repeated.
    pub retries: Retries,
    /// Milliseconds slept to obey the throttle.
    pub throttled_millis: i64,
    /// The throttle; -1 is none.
    pub requests_per_second: f64,
    /// Milliseconds until the next throttled request; 0 at the end.
    pub throttled_until_millis: i64,
    /// Documents that could not be written; at most ten of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub failures: Vec<Failure>,
}

/// How often requests were repeated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retries {
    /// Bulk requests.
    pub bulk: i64,
    /// Search requests.
    pub search: i64,
}

/// One document that could not be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// HTTP status of the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// Why, in the destination's words, shortened.
    pub reason: String,
}

/// What the verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationResult {
    /// What was asked for.
    pub level: VerificationLevel,
    /// Documents on the source that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_documents: Option<i64>,
    /// Documents in the destination index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_documents: Option<i64>,
    /// Whether the source changed while it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_changed: Option<bool>,
    /// What came out.
    pub verdict: Verdict,
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// It held.
    Passed,
    /// It did not hold.
    Failed,
    /// None was asked for.
    NotAsked,
}
