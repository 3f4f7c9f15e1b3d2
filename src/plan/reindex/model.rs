//! What a decision about a Reindex is made from, and what it is made of.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    api::{
        ReindexStatus,
        reindex_status::{Difference, Tuning},
    },
    plan::{
        allowlist::Turn,
        comparison::Compared,
        copy::Task,
        index_body::SourceDefinition,
        load::Load,
        ranges::Bucket,
        report::Note,
        validate::{self, Trouble},
        verify::{Counts, ShardPosition},
    },
};

/// What was seen, one kind for each stage.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Something that is needed can't be looked at: a cluster is down, a password is wrong.
    Trouble(Trouble),
    /// A cluster is not the one that was pinned.
    ClusterChanged(String),
    /// What stands under the destination index's name is not the index that is filled.
    DestinationReplaced,
    /// A grant was withdrawn, or a SearchCluster is gone.
    AccessWithdrawn(String),
    /// For [`super::Stage::Validate`].
    Validate(Box<validate::Facts>),
    /// For [`super::Stage::Allowlist`].
    Allowlist(Allowlist),
    /// For [`super::Stage::Prepare`].
    Prepare(Prepare),
    /// For [`super::Stage::Survey`], and for [`super::Stage::Verify`] where the source has moved and is caught up with.
    Survey(Box<Survey>),
    /// For [`super::Stage::Survey`] and [`super::Stage::Verify`]: the SearchCluster whose restart keeps a task from starting.
    GateClosed(String),
    /// For [`super::Stage::Copy`].
    Copy(Copying),
    /// For [`super::Stage::Resume`]: the destination index's settings as they are.
    Resume(Tuning),
    /// For [`super::Stage::Repair`]: the destination index's settings as they are.
    Repair(Tuning),
    /// For [`super::Stage::Restore`]: nothing has to be looked at.
    Restore,
    /// For [`super::Stage::Verify`]: tasks of ours that run although every range is done; they were started twice.
    Strays(Vec<String>),
    /// For [`super::Stage::Verify`] where the source has moved, and the next round waits.
    Moving(Duration),
    /// For [`super::Stage::Verify`]: documents are being compared.
    Proving(Proving),
    /// For [`super::Stage::Verify`]: other comparisons have every turn, or the clusters' limits leave no scroll to compare documents with.
    ScrollsTaken,
    /// For [`super::Stage::Verify`]: a document alone has more bytes than are read of an answer.
    TooLargeToCompare {
        /// Where it is.
        side: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// For [`super::Stage::Verify`]: documents that differed are being copied again.
    Mending,
    /// It is suspended, and no task that copies documents again runs any more.
    RepairEnded,
    /// For [`super::Stage::Verify`]: a repair could not be begun, and its next attempt waits so long.
    RepairPaused(Duration),
    /// For [`super::Stage::Verify`].
    Verify(Box<Verify>),
    /// For [`super::Stage::Release`].
    Release(Release),
    /// For [`super::Stage::Suspended`] and [`super::Stage::Finished`].
    Nothing,
}

/// What the destination's SearchCluster and the destination itself say about the source's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowlist {
    /// Not every node allows it; what the SearchCluster says about that.
    Missing {
        /// Whose turn it is.
        turn: Turn,
        /// What the SearchCluster says.
        message: String,
    },
    /// It is allowed; this SearchCluster is about to restart, or restarts.
    Restarting(String),
    /// It is allowed, and a harmless reindex of nothing went through.
    Passed,
    /// It is allowed, but the reindex of nothing was refused.
    Refused(Trouble),
}

/// What Prepare looks at.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepare {
    /// The index does not exist; the source's definition.
    Absent(Box<SourceDefinition>),
    /// It exists.
    Exists {
        /// Its UUID.
        uuid: String,
        /// It is an index of that name, no alias and no data stream.
        concrete: bool,
        /// UID of the Reindex that made it.
        owner: Option<String>,
    },
}

/// The source, cut into ranges, and what may be asked of the clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The source's shards, read before the refresh.
    pub shards: Vec<ShardPosition>,
    /// Documents that match, counted after the refresh.
    pub documents: i64,
    /// Each index, counted.
    pub indices: Vec<SurveyedIndex>,
    /// Why indices are not cut, although there are many documents.
    pub undivided: Option<String>,
    /// What may be asked.
    pub load: Load,
    /// The destination index's settings, where they are to be changed while it is filled.
    pub tuning: Option<Tuning>,
    /// How many tasks may be started.
    pub slots: i32,
}

/// One index of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedIndex {
    /// Its name; empty stands for everything behind the source's name.
    pub name: String,
    /// The lowest `_seq_no` that is looked at; None is all of it.
    pub from: Option<i64>,
    /// How many documents have which numbers.
    pub buckets: Vec<Bucket>,
}

/// What is looked at while a copy runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Copying {
    /// What became of each range whose task runs, or may run, by number.
    pub seen: BTreeMap<i32, PartitionSeen>,
    /// How many more tasks may be started.
    pub slots: i32,
    /// Why nothing can be started now.
    pub hold: Option<Hold>,
}

/// Why nothing can be started now.
#[derive(Clone, Debug, PartialEq)]
pub enum Hold {
    /// The source is away, or another Reindex fills the index.
    Trouble(Trouble),
    /// This SearchCluster is about to restart, or restarts.
    Gate(String),
}

/// What became of a range's task.
#[derive(Clone, Debug, PartialEq)]
pub enum PartitionSeen {
    /// The task that copies the range whose attempt was about to be started, if one runs: of this attempt, or of one that was given up.
    Adopt(Option<String>),
    /// The task that is known.
    Task(Task),
}

/// How far a comparison of documents is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proving {
    /// Documents read so far, of both sides.
    pub read: i64,
    /// Documents to be read, as far as that is known.
    pub total: i64,
}

/// What Verify looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The source's shards.
    pub shards: Vec<ShardPosition>,
    /// The numbers; None when no verification is asked for.
    pub counts: Option<Counts>,
    /// What the documents came to, where they were compared.
    pub compared: Option<Compared>,
    /// The destination index's settings, where what differs may be deleted there.
    pub tuning: Option<Tuning>,
}

/// What is looked at after the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Release {
    /// Our tasks that still run.
    pub running: Vec<String>,
    /// What those came to that do not, by number of the range.
    pub ended: BTreeMap<i32, Task>,
}

/// What is done after the status was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Create the destination index.
    CreateIndex(Value),
    /// Delete the index with this UUID that stands in its place, unless another Reindex fills it.
    DeleteIndex(String),
    /// Read the gate, change the index's settings if `tune`, and start these.
    StartTasks {
        /// No refresh and no replicas from now on.
        tune: bool,
        /// Attempts whose intent is written.
        starts: Vec<Start>,
    },
    /// Set the throttle of tasks, in documents a second; -1 is none.
    Throttle(Vec<(String, f64)>),
    /// Cancel these tasks.
    CancelTasks(Vec<String>),
    /// Switch refresh and replicas off while the index is filled.
    Tune,
    /// Look for, or delete, what is stale among the documents that a query finds.
    Repair {
        /// Of one range that had conflicts.
        query: Option<Value>,
        /// Else it is only looked for.
        delete: bool,
    },
    /// Look for the document of a range that alone is more than a batch may be; which documents the range has, None is all.
    FindTooLarge(Option<Value>),
    /// Copy documents again that differ, after deleting there what stands in their way.
    Mend {
        /// Which time; counts from 1.
        round: i32,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// Write down which documents differ.
    TellDifferences {
        /// What is wrong.
        message: String,
        /// The first of them.
        differences: Vec<Difference>,
    },
    /// Put the index's settings back.
    Restore(Tuning),
}

/// One attempt to copy a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Number of the range.
    pub partition: i32,
    /// Counts from 1.
    pub attempt: i32,
    /// Which documents; None is all.
    pub query: Option<Value>,
    /// Documents in a batch.
    pub batch_size: i32,
    /// Its throttle in documents a second.
    pub requests_per_second: Option<f64>,
}

/// What came of an effect, where status must tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination refused the index.
    IndexRefused(String),
    /// What came of each start, by number of the range.
    Started {
        /// What came of each range's start.
        ranges: Vec<(i32, Started)>,
        /// Whether a limit of a cluster counts these tasks, which other Reindexes read in the status.
        counted: bool,
        /// The destination refused to switch refresh and replicas off: there is nothing to put back.
        untuned: bool,
    },
    /// A restart is about to begin on a cluster: the intents are withdrawn.
    GateClosed(String),
    /// The operator is about to be uninstalled: the intents are withdrawn.
    WindingDown,
    /// Another Reindex that fills the index comes first: the intents are withdrawn.
    Busy(Trouble),
    /// Other Reindexes use what the clusters' limits allow: the intents are withdrawn.
    LimitReached,
    /// So many documents are stale, and deleted on the destination where that was wanted; None if there are too many to tell.
    Repaired(Option<usize>),
    /// The id of the document that alone is more than a batch may be; None if it was not found.
    TooLarge(Option<String>),
    /// What differs is being copied again.
    Mended,
    /// The destination refused to copy again what differs, and would refuse again.
    MendRefused(Trouble),
    /// What is wrong, and where to read which documents differ.
    DifferencesTold(String),
    /// The index's settings are put back.
    Restored,
    /// Something was in the way before any task was asked for: the intents are withdrawn, and no attempt is used up.
    NotStarted(Trouble),
    /// It is not known whether it was done: a connection broke.
    Unclear(Trouble),
}

/// What came of one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// The task.
    Task(String),
    /// A task that was started before, and runs.
    Adopted(String),
    /// The destination refused to start it, and would refuse again.
    Refused(String),
    /// It is not known: a task may run. Why.
    Unclear(String),
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// At once.
    Now,
    /// After a moment. What was decided now may be lost, at the price of some work: it is written with what is seen then.
    Shortly,
    /// After this time, or when something wakes the object.
    After(Duration),
    /// When the object changes.
    OnChange,
}

/// What follows from what was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to be written, before the effect.
    pub status: ReindexStatus,
    /// What is done then.
    pub effect: Option<Effect>,
    /// What people are told.
    pub notes: Vec<Note>,
    /// When to look again.
    pub requeue: Requeue,
}
