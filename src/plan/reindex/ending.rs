//! Pauses and ends: suspending, repairing, putting back what was changed, and letting go.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::{
    api::{
        Reindex, ReindexStatus,
        reindex::SuspendPolicy,
        reindex_status::{StepName, Tuning},
    },
    plan::{
        copy::{self, Running, Task},
        partitions, progress, ranges,
    },
};

use super::{
    Plan, Stage,
    copying::no_result,
    created,
    model::{Decision, Effect, Release, Requeue},
    runs, stage,
};

/// How long a Reindex that ended stays, zero where its time is over; None where nobody wants it to go.
pub fn time_to_live(reindex: &Reindex, now: Timestamp) -> Option<Duration> {
    let ended = reindex.status.as_ref().filter(|_| stage(reindex) == Stage::Finished)?.completion_time.as_ref()?.0;
    let ttl = SignedDuration::from_secs(reindex.spec.ttl_seconds_after_finished?);
    Some(Duration::try_from(ttl - now.duration_since(ended)).unwrap_or_default())
}

/// The first pause before a round of catching up that is not the first; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Plan<'_> {
    /// Lets tasks end their ranges, or ends them; nothing new is started.
    pub(super) fn suspend(mut self, running: &[Running]) -> Decision {
        if !runs(&self.report.status) {
            return self.decision(None, Requeue::Now);
        }
        if self.is_news() {
            self.show_progress(running);
        }
        let (wait, effect) = match self.reindex.spec.suspend_policy {
            SuspendPolicy::Finish => (progress::soon(), None),
            SuspendPolicy::WindDown if !self.reindex.spec.may_be_repeated() => (progress::soon(), None),
            SuspendPolicy::Cancel | SuspendPolicy::WindDown => {
                let known = self.report.status.partitions.iter().filter_map(|partition| partition.task.clone());
                (Duration::from_secs(1), Some(Effect::CancelTasks(known.collect())))
            }
        };
        let step = self.current_step();
        let message = format!("{}: waiting for the running tasks to end", self.reindex.spec.why_suspended());
        self.report.running(step, "Suspending", &message);
        self.decision(effect, Requeue::After(wait))
    }

    /// Nothing runs, and nothing is changed on the destination.
    pub(super) fn suspended(mut self) -> Decision {
        let now = self.report.now();
        let status = &mut self.report.status;
        if status.steps.iter().any(|step| step.name == StepName::Copy) {
            status.suspension.get_or_insert_default().since.get_or_insert(Time(now));
        }
        self.report.suspended(self.reindex.spec.why_suspended());
        self.decision(None, Requeue::OnChange)
    }

    /// It is not suspended any more: the deadline runs on from here.
    pub(super) fn end_suspension(&mut self) {
        if self.reindex.spec.suspend {
            return;
        }
        let now = self.report.now();
        if let Some(suspension) = &mut self.report.status.suspension
            && let Some(since) = suspension.since.take()
        {
            suspension.seconds += now.duration_since(since.0).as_secs();
        }
        self.report.resumed();
    }

    /// A copy goes on that was suspended in the middle.
    pub(super) fn resume(mut self, tuning: Tuning) -> Decision {
        let status = &mut self.report.status;
        let ranges = status.plan.as_ref().and_then(partitions::ranges).map_or(0, |ranges| ranges.len());
        let tunes = is_worth_tuning(self.reindex, ranges);
        status.tuning = tunes.then_some(tuning);
        let step = self.current_step();
        self.report.running(step, "Copying", "going on after the suspension");
        self.decision(tunes.then_some(Effect::Tune), Requeue::Now)
    }

    /// Has what is stale in the first range with conflicts looked for, and deleted on the destination.
    ///
    /// Only documents that were there when the range was cut: what came later is caught up with, and mended then if need be. In the first
    /// copy a higher version may be somebody else's: that is found, and left alone.
    pub(super) fn repair(mut self, tuning: Tuning) -> Decision {
        let status = &mut self.report.status;
        status.tuning.get_or_insert(tuning);
        let range = status.plan.as_ref().and_then(|plan| {
            let mut range = partitions::ranges(plan)?.into_iter().nth(*partitions::conflicted(plan).first()?)?;
            if plan.undivided.is_none() {
                let highest = plan.indices.iter().find(|index| index.name == range.index)?.highest;
                range.to = Some(range.to.map_or(highest + 1, |to| to.min(highest + 1)));
            }
            Some((range, plan.indices.len() == 1, plan.round > 0))
        });
        let Some((range, alone, delete)) = range else { return self.repaired(None) };
        let query = ranges::query(&range, self.reindex.spec.source.query.as_ref(), alone);
        self.decision(Some(Effect::Repair { query, delete }), Requeue::Now)
    }

    /// What was deleted is copied again with its range. Where nothing is stale, two tasks had met a document that moved from one range to
    /// another: the newer version came first, and stands there.
    pub(super) fn repaired(mut self, stale: Option<usize>) -> Decision {
        let status = &mut self.report.status;
        let (Some(plan), Some(result)) = (&mut status.plan, &mut status.result) else {
            return self.decision(None, Requeue::Now);
        };
        match stale {
            Some(0) => {
                partitions::clear_conflict(plan);
                if partitions::conflicted(plan).is_empty() {
                    result.version_conflicts = 0;
                }
                self.copied()
            }
            Some(documents) if plan.round > 0 => {
                plan.repairs += 1;
                partitions::reopen_conflicted(plan);
                result.version_conflicts = 0;
                let message =
                    format!("{documents} documents were deleted and created anew on the source: copying them again");
                self.report.running(StepName::CatchUp, "Repairing", &message);
                self.report.note(false, "Repaired", &message);
                self.decision(None, Requeue::Now)
            }
            Some(_) | None => {
                let message = copy::judge_conflicts(result, self.reindex.spec.conflicts).unwrap_or_default();
                self.fail("VersionConflicts", &message)
            }
        }
    }

    /// Puts back what was changed on the index while it was filled.
    pub(super) fn restore(self) -> Decision {
        let tuning = self.report.status.tuning.clone();
        self.decision(tuning.map(Effect::Restore), Requeue::Now)
    }

    /// It is put back.
    pub(super) fn restored(mut self) -> Decision {
        self.report.status.tuning = None;
        self.decision(None, Requeue::Now)
    }

    /// Tasks of ours run although every range is done: a request that got lost came through after all.
    pub(super) fn cancel_strays(mut self, tasks: Vec<String>) -> Decision {
        let step = self.current_step();
        self.report.running(step, "ProgressingWithRetry", "cancelling tasks that were started twice");
        self.decision(Some(Effect::CancelTasks(tasks)), Requeue::After(Duration::from_secs(1)))
    }

    /// What stands under the destination's name now is not what we filled.
    pub(super) fn replaced(&self) -> String {
        format!(
            "the destination index {} was deleted or replaced while it was filled; what stands there now is not this copy. Delete it, and create a new Reindex",
            self.reindex.spec.destination.index
        )
    }

    /// Cancels until nothing of ours runs, counts what was copied all the same, then puts the index's settings back.
    pub(super) fn release(mut self, seen: Release) -> Decision {
        for (id, task) in seen.ended {
            let partitions = &mut self.report.status.partitions;
            let Some(at) = partitions.iter().position(|partition| partition.id == id) else { continue };
            let partition = partitions.remove(at);
            if let Task::Ended(result) | Task::Cancelled(result) = task {
                let result = self.folded(*result, partition.attempt);
                let status = &mut self.report.status;
                let sum = status.result.get_or_insert_with(no_result);
                copy::add(sum, result);
                let copied = copy::accounted(sum);
                if let Some(progress) = &mut status.progress {
                    progress.documents_copied = copied;
                }
            }
        }
        if !seen.running.is_empty() {
            return self.decision(Some(Effect::CancelTasks(seen.running)), Requeue::After(Duration::from_secs(1)));
        }
        self.report.status.partitions.clear();
        self.no_repair_runs();
        match self.report.status.tuning.clone() {
            Some(tuning) => self.decision(Some(Effect::Restore(tuning)), Requeue::Now),
            None => {
                self.report.owes_nothing();
                self.decision(None, Requeue::OnChange)
            }
        }
    }
}

/// Whether the index's settings are changed while it is filled: only those of an index of ours, and not where little is copied.
pub fn is_worth_tuning(reindex: &Reindex, ranges: usize) -> bool {
    reindex.spec.execution.bulk_load_tuning && ranges > 1 && reindex.status.as_ref().is_some_and(created)
}

/// How long the next round of catching up has to wait; None if it may begin. The first begins at once.
pub fn pause(status: &ReindexStatus, now: Timestamp) -> Option<Duration> {
    let plan = status.plan.as_ref()?;
    let done_at = plan.done_at.as_ref()?.0;
    let doublings = u32::try_from(plan.round - 1).ok()?.min(10);
    let pause = (FIRST_PAUSE * 2u32.pow(doublings)).min(LONGEST_PAUSE);
    let passed = Duration::try_from(now.duration_since(done_at)).unwrap_or_default();
    pause.checked_sub(passed).filter(|left| !left.is_zero())
}
