//! What a decision about a Reindex is made from, and what it is made of.

use std::time::Duration;

use serde_json::Value;

use crate::{
    api::ReindexStatus,
    plan::{
        copy::Task,
        index_body::SourceDefinition,
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
    /// A grant was withdrawn, or a SearchCluster is gone.
    AccessWithdrawn(String),
    /// For [`super::Stage::Validate`].
    Validate(Box<validate::Facts>),
    /// For [`super::Stage::Allowlist`].
    Allowlist(Allowlist),
    /// For [`super::Stage::Prepare`].
    Prepare(Prepare),
    /// For [`super::Stage::Begin`].
    Begin(Begin),
    /// For [`super::Stage::Adopt`]: the task that carries our `X-Opaque-Id`, if one runs.
    Adopt(Option<String>),
    /// For [`super::Stage::Poll`].
    Poll(Poll),
    /// For [`super::Stage::Verify`].
    Verify(Verify),
    /// For [`super::Stage::Cancel`]: our tasks that still run.
    Cancel(Vec<String>),
    /// For [`super::Stage::Finished`].
    Nothing,
}

/// What the destination's SearchCluster and the destination itself say about the source's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowlist {
    /// Not every node allows it; what the SearchCluster says about that.
    Missing {
        /// Nobody does anything about it until a person acts.
        stalled: bool,
        /// What the SearchCluster says.
        message: String,
    },
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
        /// UID of the Reindex that made it.
        owner: Option<String>,
    },
}

/// What is noted before a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The source's shards, read before the refresh.
    pub shards: Vec<ShardPosition>,
    /// Documents that match, counted after the refresh.
    pub documents: i64,
}

/// What a poll looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// The task.
    pub task: Task,
    /// UUID of the destination index; None if it is gone.
    pub index_uuid: Option<String>,
}

/// What Verify looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// UUID of the destination index; None if it is gone.
    pub index_uuid: Option<String>,
    /// The numbers; None when no verification is asked for.
    pub counts: Option<Counts>,
}

/// What is done after the status was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Create the destination index.
    CreateIndex(Value),
    /// Read the gate, then start the copy with this attempt's number.
    StartTask {
        /// The attempt.
        attempt: i32,
    },
    /// Cancel these tasks.
    CancelTasks(Vec<String>),
}

/// What came of an effect, where status must tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination refused the index.
    IndexRefused(String),
    /// The copy's task.
    Started(String),
    /// A restart is about to begin on a cluster: the intent is withdrawn.
    GateClosed(String),
    /// The destination refused to start the copy.
    StartRefused(String),
    /// It is not known whether it was done: a connection broke.
    Unclear(Trouble),
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// At once.
    Now,
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
