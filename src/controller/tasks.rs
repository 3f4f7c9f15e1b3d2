//! What is logged and counted of the tasks of ranges: who looks for one on the destination's nodes, or in their logs, finds it by its id and
//! its `X-Opaque-Id`.

use kube::ResourceExt;

use crate::{
    api::Reindex,
    plan::{
        copy::Task,
        reindex::{PartitionSeen, Started},
    },
};

use super::context::Context;

const ADOPTED: &str = "a task was found that had been started before";

/// One attempt to copy a range.
pub struct Attempt<'a> {
    /// Whose range it is.
    pub reindex: &'a Reindex,
    /// Number of the range.
    pub partition: i32,
    /// What its task carries.
    pub opaque_id: &'a str,
}

impl Attempt<'_> {
    /// The destination was asked to start its task.
    pub fn started(&self, ctx: &Context, started: &Started) {
        let (outcome, what, task, why) = match started {
            Started::Task(task) => ("started", "a task was started", Some(task), None),
            Started::Adopted(task) => ("adopted", ADOPTED, Some(task), None),
            Started::Refused(why) => ("refused", "the destination refused to start a task", None, Some(why)),
            Started::Unclear(why) => ("unclear", "it is not known whether a task was started", None, Some(why)),
        };
        ctx.metrics.task_start(outcome);
        self.log(what, outcome, task.map(String::as_str), why.map(String::as_str));
    }

    /// Its task was looked at, which is `task` if that is known.
    pub fn seen(&self, ctx: &Context, task: Option<&str>, seen: &PartitionSeen) {
        let found = match seen {
            PartitionSeen::Task(seen) => return self.ended(ctx, task, seen),
            PartitionSeen::Adopt(found) => found.as_deref(),
        };
        let (outcome, what) = match found {
            Some(_) => ("adopted", ADOPTED),
            None => ("missing", "no task was found that may have been started before"),
        };
        ctx.metrics.task_start(outcome);
        self.log(what, outcome, found, None);
    }

    /// What a task came to; one that runs on is no news.
    pub fn ended(&self, ctx: &Context, task: Option<&str>, seen: &Task) {
        let (outcome, why) = match seen {
            Task::Running(_) => return,
            Task::Ended(result) if result.failures.is_empty() => ("ended", None),
            Task::Ended(_) => ("failed", Some("documents could not be written, or shards not be read")),
            Task::Died(death) => ("failed", Some(death.message.as_str())),
            Task::Cancelled(_) => ("cancelled", None),
            Task::Lost => ("lost", None),
        };
        ctx.metrics.task_end(outcome);
        self.log("a task has ended", outcome, task, why);
    }

    fn log(&self, what: &str, outcome: &str, task: Option<&str>, why: Option<&str>) {
        let Attempt { reindex, partition, opaque_id } = *self;
        let (kind, namespace, name, uid) = ("Reindex", reindex.namespace(), reindex.name_any(), reindex.uid());
        tracing::info!(kind, namespace, name, uid, partition, opaque_id, task, outcome, why, "{what}");
    }
}
