//! `Reindex.status`: what the operator answers, and all that it needs to go on after a crash.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

mod history;
mod verification;

pub use history::{CopiedRange, History, Sample};
pub use verification::{Difference, DifferenceKind, Differences, Verdict, VerificationResult};

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
    /// What the checks before the copy found that does not keep it from starting by itself, or did when they were last made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<Preflight>,
    /// What a copy would do; only with `spec.dryRun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
    /// The steps, in order.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub steps: Vec<Step>,
    /// The source as it was when the copy, or the last round of catching up, began, to see whether it moved: what was verified is the source
    /// at this point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// The ranges that the source is cut into, and which of them are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<CopyPlan>,
    /// Ranges whose task runs, and those that are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub partitions: Vec<Partition>,
    /// Settings of the destination index that are changed while it is filled, as they were and will be again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<Tuning>,
    /// How long the copy was suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// How much is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The course of the copy, in few points: what `kubectl reindex report` draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// What the `_reindex` API answered, under its own names, the last attempts of all ranges added up. On the index that the
    /// operator created, what a repeated attempt reports as `updated` counts as `created`; what was caught up with later counts as
    /// what it was.
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
    /// `spec.suspend` is true, or the operator is being uninstalled, and nothing runs any more.
    Suspended,
    /// What was written meanwhile is copied.
    CatchingUp,
    /// The copy is checked.
    Verifying,
    /// Done and proved.
    Complete,
    /// Ended without success.
    Failed,
    /// `spec.dryRun`: checked, and nothing copied.
    Planned,
}

/// What the checks before the copy found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// What was found, those that block first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub findings: Vec<PreflightFinding>,
    /// What could not be checked, and why; it is found out later, if it matters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub unchecked: Vec<String>,
}

/// One finding of the checks before the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreflightFinding {
    /// CamelCase, stable.
    pub reason: String,
    /// Whether it can be accepted.
    pub severity: Severity,
    /// What is wrong, and what to do.
    pub message: String,
    /// `spec.acceptWarnings` names it.
    #[serde(default)]
    pub accepted: bool,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// No copy starts while it is so.
    Blocking,
    /// A copy starts once `spec.acceptWarnings` names it.
    Warning,
}

/// What a copy would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// What would become of the destination's allowlist.
    pub allowlist: String,
    /// What would become of the destination index.
    pub index: String,
    /// The body with which the index would be created, where it is no longer than 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form_object")]
    pub index_body: Option<serde_json::Value>,
    /// Documents that match.
    pub documents: i64,
    /// Bytes that they take up on the source's disks, without replicas: the index's size, shared among its documents.
    pub bytes: i64,
    /// Ranges that the source would be cut into.
    pub partitions: i32,
    /// Tasks at once.
    pub parallelism: i32,
    /// Documents in a batch.
    pub batch_size: i32,
    /// Seconds that the copy itself may take. Rough: from what documents cost on the machine of the benchmarks, and the number of the
    /// destination's processors; the network is not in it.
    pub estimated_seconds: i64,
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
    /// UUID of the index that is filled; if another takes its place, the copy fails.
    #[serde(default, rename = "indexUUID", skip_serializing_if = "Option::is_none")]
    pub index_uuid: Option<String>,
    /// Whether the operator created the index for this Reindex.
    #[serde(default)]
    pub created: bool,
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
    /// What was written to the source meanwhile is copied too.
    CatchUp,
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

/// How the source is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyPlan {
    /// 0 is the copy; higher numbers are rounds in which what changed meanwhile was caught up with.
    pub round: i32,
    /// Documents in a batch of the ranges to come.
    pub batch_size: i32,
    /// How many tasks run at once, unless the spec says so.
    pub parallelism: i32,
    /// How many fewer than that run at once, since the destination refused so many.
    #[serde(default)]
    pub relief: i32,
    /// Primary shards behind the source's name: each task keeps a scroll open on each.
    #[serde(default)]
    pub source_shards: i32,
    /// The indices behind the source's name, and their ranges.
    #[schemars(length(max = 64))]
    pub indices: Vec<PlannedIndex>,
    /// Which ranges are copied: bit n of this hexadecimal number, lowest digit first, is range n, counted over all indices.
    pub done: String,
    /// Which ranges had documents that the destination holds in a higher version; as in `done`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub conflicted: String,
    /// How often such documents were deleted on the destination and their ranges copied again.
    #[serde(default)]
    pub repairs: i32,
    /// When the last of them was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Time>,
    /// Why there is only one range an index although there are many documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undivided: Option<String>,
    /// The first range whose task read another number of documents than had been counted in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uneven: Option<String>,
}

/// One index of the source, and its ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedIndex {
    /// Its name; empty stands for everything behind the source's name at once.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Hash of its shards' histories.
    pub history: String,
    /// The lowest `global_checkpoint` of its shards when it was cut: what comes later is caught up with.
    pub noted: i64,
    /// The highest one: what comes later was not there when it was cut, whatever its shard.
    pub highest: i64,
    /// Its ranges of `_seq_no`, each `<distance of its lower bound to the one before>:<documents>`.
    pub ranges: String,
}

/// Settings that are changed while the index is filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tuning {
    /// `number_of_replicas` as it was.
    pub number_of_replicas: String,
    /// `refresh_interval` as it was; absent where it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<String>,
    /// `gc_deletes` as it was; absent where it was not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc_deletes: Option<String>,
}

/// How long the copy was suspended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// Since when it is; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Seconds of earlier suspensions since the begin of the copy.
    pub seconds: i64,
}

/// One range of the copy whose task runs, or which is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its number.
    pub id: i32,
    /// This attempt; counts from 1. The task carries `X-Opaque-Id: reindex/<uid>/<partition>/<attempt>`, in a round of catching up `reindex/<uid>/<round>.<partition>/<attempt>`; one that is found again may be of an earlier attempt.
    pub attempt: i32,
    /// How many attempts failed.
    #[serde(default)]
    pub failures: i32,
    /// How far it is.
    pub state: PartitionState,
    /// The task on the destination, `node:number`; absent until it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// When this attempt was begun, or is to be begun.
    pub started_at: Time,
    /// Documents in a batch of this attempt, or of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<i32>,
    /// Documents that its task has copied, as of `progress.observedAt`; absent while none runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_copied: Option<i64>,
    /// Documents that its task is to copy; absent until the task has counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_total: Option<i64>,
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
    /// Its task must end; it is cancelled until it is gone.
    Cancelling,
}

/// How much is copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Documents to copy.
    pub documents_total: i64,
    /// Documents copied, in the ranges that are done and in those that run.
    pub documents_copied: i64,
    /// 0 to 100.
    pub percent: i32,
    /// Ranges in all.
    #[serde(default)]
    pub partitions_total: i32,
    /// Ranges that are copied.
    #[serde(default)]
    pub partitions_done: i32,
    /// Ranges whose task runs.
    #[serde(default)]
    pub partitions_running: i32,
    /// Documents that the verification has read so far, of both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_verified: Option<i64>,
    /// Documents a second since the copy began.
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
    /// Milliseconds that the tasks took, added up: with several at once more than the time that passed.
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
