//! `Reindex`: one index copied once, to the end, like a Job.

#![expect(clippy::duplicated_attributes, reason = "columns of a table may have the same type")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ClusterRef,
    reindex_status::ReindexStatus,
    schema,
    writing::{OpType, Script},
};

/// Copies one index from one cluster to another, once, and proves that the copy is complete.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "reindex.dev",
    version = "v1alpha1",
    kind = "Reindex",
    plural = "reindexes",
    namespaced,
    status = "ReindexStatus",
    shortname = "rix",
    derive = "PartialEq",
    doc = "Copies one index from one cluster to another, once and to the end, and proves that the copy is complete. To try again, create a new object.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source.index"),
    printcolumn(name = "Destination", type_ = "string", json_path = ".spec.destination.index"),
    printcolumn(name = "Percent", type_ = "integer", json_path = ".status.progress.percent"),
    printcolumn(name = "Documents", type_ = "integer", json_path = ".status.progress.documentsCopied"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.source.clusterRef.name", priority = "1"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.destination.clusterRef.name", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.source == oldSelf.source").message("source can't change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.destination == oldSelf.destination").message("destination can't change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.conflicts == oldSelf.conflicts").message("conflicts can't change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.versionPolicy == oldSelf.versionPolicy").message("versionPolicy can't change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.execution.partitions == oldSelf.execution.partitions && self.execution.batchSize == oldSelf.execution.batchSize && self.execution.bulkLoadTuning == oldSelf.execution.bulkLoadTuning && self.execution.backoffLimit == oldSelf.execution.backoffLimit && has(self.execution.activeDeadlineSeconds) == has(oldSelf.execution.activeDeadlineSeconds) && (!has(self.execution.activeDeadlineSeconds) || self.execution.activeDeadlineSeconds == oldSelf.execution.activeDeadlineSeconds)").message("of execution only parallelism and requestsPerSecond can change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.catchUp == oldSelf.catchUp").message("catchUp can't change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.verification == oldSelf.verification").message("verification can't change once set: create a new Reindex"))]
#[x_kube(validation = Rule::new("self.dryRun == oldSelf.dryRun").message("dryRun can't change once set: create a new Reindex, without dryRun, to copy"))]
#[x_kube(validation = Rule::new("has(self.script) == has(oldSelf.script) && (!has(self.script) || self.script == oldSelf.script)").message("script can't change once set: create a new Reindex"))]
pub struct ReindexSpec {
    /// What is copied.
    pub source: Source,
    /// Where it is copied to.
    pub destination: Destination,
    /// Changes documents on their way, or leaves some out. It runs on the destination, before `destination.pipeline`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// What a document means that the destination already holds in a higher version: `Abort` fails the Reindex, `Proceed` keeps the
    /// destination's. Either way the rest is copied first.
    #[serde(default)]
    pub conflicts: Conflicts,
    /// Which pairs of versions are accepted. `SameMajor`: the same distribution and major version on both sides. `Compatible`: those that
    /// the makers of the engines name, too, such as from an older major version. `Any`: every pair but OpenSearch into Elasticsearch;
    /// the mapping may mean something else there, or be refused.
    #[serde(default)]
    pub version_policy: VersionPolicy,
    /// Warnings of the checks before the copy that are accepted, by their reason, such as `DestinationPipeline`. Without it a warning
    /// keeps the copy from starting; the condition `Stalled` names it then, and `status.preflight` all. May be changed at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64), regex(pattern = r"^[A-Z][A-Za-z]*$")))]
    pub accept_warnings: Vec<String>,
    /// Only check, and write to `status.dryRun` what would be done; nothing is changed on either cluster, and the condition `Planned`
    /// is True at the end.
    #[serde(default)]
    pub dry_run: bool,
    /// How the copy runs.
    #[serde(default)]
    pub execution: Execution,
    /// How what is written to the source during the copy is caught up with.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// How the copy is proved.
    #[serde(default)]
    pub verification: Verification,
    /// Pauses the copy while it is true; what is copied is kept, and it goes on from there. May be changed at any time.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of the tasks that run when `suspend` becomes true: `Finish` lets them end their ranges, `Cancel` ends them at
    /// once, and their ranges are copied again later. May be changed at any time.
    #[serde(default)]
    pub suspend_policy: SuspendPolicy,
    /// What becomes of a running copy when this object is deleted: `Cancel` ends its task on the destination, `Orphan` lets it run.
    /// The destination index stays in either case. May be changed at any time.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Seconds after its end, good or not, at which this object is deleted; 0 is at once. The destination index stays. Without it the
    /// object stays too. Not for objects in Git: Argo CD or Flux create what is deleted again, and it runs again. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315_360_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

impl ReindexSpec {
    /// Suspends it in memory, whatever its manifest says.
    pub fn wind_down(&mut self) {
        // Who suspended it still has, and it stays so afterwards.
        self.suspend_policy = match self.suspend {
            true if self.may_be_repeated() => SuspendPolicy::Cancel,
            true => self.suspend_policy,
            false => SuspendPolicy::WindDown,
        };
        self.suspend = true;
    }

    /// Whether a range may be copied again that was cut off: otherwise its own documents are conflicts that fail it.
    pub fn may_be_repeated(&self) -> bool {
        self.destination.op_type != OpType::Create || self.conflicts == Conflicts::Proceed
    }

    /// Why it is suspended, where it is.
    pub fn why_suspended(&self) -> &'static str {
        match self.suspend_policy {
            SuspendPolicy::WindDown => "the operator is being uninstalled",
            SuspendPolicy::Finish | SuspendPolicy::Cancel => "spec.suspend is true",
        }
    }
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The SearchCluster that is read from.
    pub cluster_ref: ClusterRef,
    /// One index, alias or data stream. No wildcards, no lists.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.matches('[,*?\"<>| /\\\\\\\\#:\\\\p{Cc}]') && self.matches('^[^-_+.A-Z][^A-Z]*$|^[.][^A-Z.][^A-Z]*$')").message("must be the name of one index, alias or data stream: lower case, no commas, wildcards, white space, slashes, # or :, and not beginning with -, _ or +"))]
    pub index: String,
    /// Only documents that match this query (Query DSL), such as `{match: {productName: fund}}`. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form_object")]
    pub query: Option<Value>,
    /// Which fields of a document are copied. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_fields: Option<SourceFields>,
    /// How long the destination waits for an answer of the source, such as `30s` or `2m`.
    #[serde(default = "socket_timeout")]
    #[schemars(length(max = 8), regex(pattern = r"^[1-9][0-9]{0,4}(ms|s|m)$"))]
    pub socket_timeout: String,
    /// How long the destination waits for a connection to the source, such as `1s`.
    #[serde(default = "connect_timeout")]
    #[schemars(length(max = 8), regex(pattern = r"^[1-9][0-9]{0,4}(ms|s|m)$"))]
    pub connect_timeout: String,
}

fn socket_timeout() -> String {
    "30s".to_owned()
}

fn connect_timeout() -> String {
    "1s".to_owned()
}

/// Which fields are copied: names with `*` as a wildcard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.includes) || has(self.excludes)").message("includes or excludes must be set; leave sourceFields out to copy every field"))]
pub struct SourceFields {
    /// Only these fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    pub includes: Vec<String>,
    /// Not these fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 512)))]
    pub excludes: Vec<String>,
}

/// Where it is copied to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.mappings) || !has(self.mappingsFrom)").message("mappings and mappingsFrom exclude each other"))]
pub struct Destination {
    /// The SearchCluster that is written to. It runs the copy.
    pub cluster_ref: ClusterRef,
    /// The index to be written to.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.matches('[,*?\"<>| /\\\\\\\\#:\\\\p{Cc}]') && self.matches('^[^-_+.A-Z][^A-Z]*$')").message("must be a valid index name: lower case, no commas, wildcards, white space, slashes, # or :, and not beginning with -, _, + or ."))]
    pub index: String,
    /// Settings of the index to be created.
    #[serde(default)]
    pub settings: IndexSettings,
    /// Mappings of the index to be created, as Elasticsearch takes them, such as `{properties: {title: {type: text}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form_object")]
    pub mappings: Option<Value>,
    /// Where mappings come from when `mappings` is not given: `Source` (the default) copies the source's, `None` leaves them to the
    /// destination's dynamic mapping. Analysis is copied with the mappings that use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mappings_from: Option<MappingsFrom>,
    /// What to do when the index exists. `Refuse`: fail, and touch nothing. `Append`: write into it, as it is; `settings` and
    /// `mappings` are not used then. `Replace`: delete it and create it anew, but only an index that a Reindex made (its mapping's
    /// `_meta` says so).
    #[serde(default)]
    pub if_exists: IfExists,
    /// How documents are written. `Index`: in the version that they have on the source, and the highest version wins, so that a task
    /// that was lost is repeated without harm. `Create`: only documents whose `_id` isn't there yet; all others are version
    /// conflicts, those too that a lost task had written before it is repeated, so use `conflicts: Proceed` with it.
    #[serde(default)]
    pub op_type: OpType,
    /// An ingest pipeline of the destination cluster that every document goes through. It must exist before the copy begins. Documents
    /// that it drops or sends to another index are missing in the destination index, and `verification.level` `Count` fails.
    /// Default: the index's own `default_pipeline`, if its settings name one; the one given here runs instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.matches('[,*?\\\\p{Cc}]') && !(self in ['_none', '.', '..'])").message("must be the name of one ingest pipeline: no commas, no wildcards, no control characters, and not _none"))]
    pub pipeline: Option<String>,
    /// What becomes of a document's routing: `keep` (the default), `discard`, or `=` and the value that all documents get, such as
    /// `=shop`.
    #[serde(default = "keep")]
    #[schemars(length(max = 512), regex(pattern = r"^(keep|discard|=.+)$"))]
    pub routing: String,
}

/// The routing that a document has on the source stays.
pub const KEEP_ROUTING: &str = "keep";

fn keep() -> String {
    KEEP_ROUTING.to_owned()
}

/// Settings of the index to be created.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexSettings {
    /// Number of primary shards. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub number_of_shards: Option<i32>,
    /// Number of replicas of each primary shard. Default: the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub number_of_replicas: Option<i32>,
    /// Any other index setting, such as `{refresh_interval: 30s, analysis: {…}}`; with or without the prefix `index.`. Analysis
    /// given here replaces the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form_object")]
    pub additional: Option<Value>,
}

/// Where mappings come from when `mappings` is not given: `Source` (the default) copies the source's, `None` leaves them to the
/// destination's dynamic mapping. Analysis is copied with the mappings that use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MappingsFrom {
    /// The source index.
    #[default]
    Source,
    /// The destination's dynamic mapping and templates.
    None,
}

/// What to do when the destination index exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IfExists {
    /// Fail, and touch nothing.
    #[default]
    Refuse,
    /// Write into it.
    Append,
    /// Delete it first, if a Reindex made it.
    Replace,
}

/// What a version conflict means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Conflicts {
    /// The Reindex fails.
    #[default]
    Abort,
    /// The destination's document stays.
    Proceed,
}

/// Which pairs of versions are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionPolicy {
    /// The same distribution and the same major version.
    #[default]
    SameMajor,
    /// The same distribution with the same or a newer major version on the destination, or Elasticsearch up to 7 into OpenSearch.
    Compatible,
    /// Every pair but OpenSearch into Elasticsearch, which takes it for an old Elasticsearch and refuses. Whether the destination can
    /// read from the source is seen when a reindex of no documents is tried; what a mapping means may differ between versions.
    Any,
}

/// How the copy runs. What is left out the operator chooses from the documents and the clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// How many ranges the source is cut into, each of which is a task of its own and is repeated on its own: 1 to 512, or 0 (the
    /// default) for as many as the number of documents asks for. At least one an index.
    #[serde(default)]
    #[schemars(range(min = 0, max = 512))]
    pub partitions: i32,
    /// How many tasks run at once: 1 to 32. Default: two for each processor of the destination's data nodes, between 8 and 16, and
    /// fewer where the source's open scrolls do not allow it. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub parallelism: Option<i32>,
    /// Documents in a batch: 1 to 10000, or 0 (the default) for what a sample of the documents and the destination's memory allow.
    /// A batch must stay well below 100 MB.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10000))]
    pub batch_size: i32,
    /// The most documents a second that all tasks together copy. Default: no limit. May be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub requests_per_second: Option<i32>,
    /// Whether refresh is off and there are no replicas while an index that the operator created is filled. What was set before is
    /// put back at every end. Default: true; not done where there is little to copy.
    #[serde(default = "yes")]
    pub bulk_load_tuning: bool,
    /// How often a range is tried again after its task was lost or failed: 0 to 100. Default: 6. Time in which a cluster can't be
    /// reached does not count, nor does a task whose password or API key the source refuses.
    #[serde(default = "backoff_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: i32,
    /// Seconds after the begin of the copy at which it is cancelled and the Reindex fails, time in which it is suspended excluded.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
}

impl Default for Execution {
    fn default() -> Execution {
        Execution {
            partitions: 0,
            parallelism: None,
            batch_size: 0,
            requests_per_second: None,
            bulk_load_tuning: yes(),
            backoff_limit: backoff_limit(),
            active_deadline_seconds: None,
        }
    }
}

fn yes() -> bool {
    true
}

fn backoff_limit() -> i32 {
    6
}

/// How writes to the source during the copy are caught up with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatchUp {
    /// How often what changed on the source meanwhile is copied as well, until the source stands still: 0 to 1000. Default: 5. Created and
    /// changed documents are caught up with; deleted ones are not, and the verification finds them. Not used with `opType: Create`.
    #[serde(default = "max_rounds")]
    #[schemars(range(min = 0, max = 1000))]
    pub max_rounds: i32,
}

impl Default for CatchUp {
    fn default() -> CatchUp {
        CatchUp { max_rounds: max_rounds() }
    }
}

fn max_rounds() -> i32 {
    5
}

/// What becomes of running tasks when a copy is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SuspendPolicy {
    /// They end their ranges.
    #[default]
    Finish,
    /// They are cancelled.
    Cancel,
    /// Of no manifest: they are cancelled where their ranges may be repeated, since the operator is about to be uninstalled, and nobody
    /// waits for a range then.
    #[serde(skip)]
    WindDown,
}

/// How the copy is proved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.sample) || self.level == 'Sample'").message("sample is for level Sample only"))]
#[x_kube(validation = Rule::new("self.onMismatch != 'Repair' || self.level in ['Identity', 'Content']").message("onMismatch Repair needs level Identity or Content: the others don't know every document that differs"))]
#[x_kube(validation = Rule::new("!self.repair.deleteExtras || self.onMismatch == 'Repair'").message("repair.deleteExtras needs onMismatch Repair"))]
pub struct Verification {
    /// `None`: nothing beyond the task's own success is checked. `Count`: source, tasks and destination agree on the number of documents,
    /// and the source stood still meanwhile. `Identity`: also, every document is on both sides, by id, routing and version. `Content`:
    /// also, with the same content. `Sample`: `Count`, and documents drawn at random are compared with their content.
    #[serde(default)]
    pub level: VerificationLevel,
    /// How many documents level `Sample` draws: 1 to 100000. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub sample: Option<i32>,
    /// What to do where documents differ: `Fail`, or `Repair`, which copies those again that are missing or different, and verifies
    /// again; three times at most, and not where more than 1000 differ.
    #[serde(default)]
    pub on_mismatch: OnMismatch,
    /// What a repair may do.
    #[serde(default)]
    pub repair: RepairPolicy,
}

/// How many documents a sample has where nothing is said.
const SAMPLE: i32 = 1000;

impl Verification {
    /// How many documents level `Sample` draws.
    pub fn sample_size(&self) -> i32 {
        self.sample.unwrap_or(SAMPLE)
    }

    /// Whether what differs is to be repaired.
    pub fn repairs(&self) -> bool {
        self.on_mismatch == OnMismatch::Repair
    }
}

/// How much is proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum VerificationLevel {
    /// Nothing beyond the task's own success.
    None,
    /// Numbers of documents.
    #[default]
    Count,
    /// Every document's id, routing and version.
    Identity,
    /// Its content, too.
    Content,
    /// Numbers, and some documents whole.
    Sample,
}

/// What to do where documents differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnMismatch {
    /// The Reindex fails.
    #[default]
    Fail,
    /// They are copied again.
    Repair,
}

/// What a repair may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepairPolicy {
    /// Whether documents are deleted that only the destination holds; only from an index that the operator created. Default: false,
    /// and one such document fails the Reindex.
    #[serde(default)]
    pub delete_extras: bool,
}

/// What becomes of a running copy when its object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Its task is cancelled.
    #[default]
    Cancel,
    /// Its task runs on.
    Orphan,
}

impl ReindexSpec {
    /// How many rounds of catching up are allowed: none with `opType: Create`, which can't tell a newer document from an older one.
    pub fn catch_up_rounds(&self) -> i32 {
        match self.destination.op_type {
            OpType::Index => self.catch_up.max_rounds,
            OpType::Create => 0,
        }
    }
}
