//! What people are told of a copy while it runs, and when it is looked at again.

use std::time::Duration;

use crate::{
    api::reindex_status::{Partition, PartitionState, StepName},
    plan::{
        copy::{self, Running},
        history, partitions,
        progress::{self, Counted},
    },
};

use super::{DESTINATION_BUSY, Plan, model::Hold};

/// How long a copy that something else holds up waits before it looks again.
pub(super) const GATE: Duration = Duration::from_secs(10);

/// Why nothing more is started.
pub(super) const LIMITED: &str = "spec.limits of the SearchClusters allows no more tasks at once";

impl Plan<'_> {
    /// Says how far it is, at most every ten seconds; at once where a range was started or has ended.
    pub(super) fn tell(&mut self, running: &[Running], hold: Option<&Hold>, limited: bool) {
        if !self.is_news() {
            return;
        }
        self.show_progress(running);
        let step = self.current_step();
        let waiting = self.report.status.partitions.iter().find(|partition| partition.state == PartitionState::Waiting);
        let (reason, message) = match (hold, waiting) {
            (Some(Hold::Trouble(trouble)), _) if trouble.reason == DESTINATION_BUSY => {
                (DESTINATION_BUSY, trouble.message.clone())
            }
            (Some(Hold::Trouble(trouble)), _) => ("ProgressingWithRetry", trouble.message.clone()),
            (Some(Hold::Gate(cluster)), _) => {
                ("WaitingForRestart", format!("{}; {}", self.said(), restarting(cluster)))
            }
            _ if limited => ("WaitingForTasks", format!("{}; {LIMITED}", self.said())),
            (None, Some(waiting)) => {
                ("ProgressingWithRetry", format!("{}: {}", self.said(), waiting.message.clone().unwrap_or_default()))
            }
            (None, None) if step == StepName::CatchUp => ("SourceChanging", self.said()),
            (None, None) => ("Copying", self.said()),
        };
        self.report.running(step, reason, &message);
    }

    /// Whether something is to be told: a range was started or has ended, or ten seconds have passed.
    pub(super) fn is_news(&self) -> bool {
        let before = self.reindex.status.as_ref();
        let moved = before.map(|status| (&status.partitions, &status.plan))
            != Some((&self.report.status.partitions, &self.report.status.plan));
        let shown = self.report.status.progress.as_ref().and_then(|progress| progress.observed_at.as_ref());
        moved || shown.is_none_or(|time| self.report.now().duration_since(time.0) >= progress::WRITE_INTERVAL)
    }

    fn said(&self) -> String {
        let progress = self.report.status.progress.clone().unwrap_or_default();
        format!("copied {} of {} documents", progress.documents_copied, progress.documents_total)
    }

    pub(super) fn show_progress(&mut self, running: &[Running]) {
        let status = &self.report.status;
        let done = status.result.as_ref().map_or(0, copy::accounted);
        let ranges = status.plan.as_ref().and_then(partitions::ranges).unwrap_or_default();
        let plan = status.plan.clone().unwrap_or_default();
        let total = status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.documents);
        let counted = Counted {
            copied: done + running.iter().map(|running| running.copied).sum::<i64>(),
            total: total.max(done),
            partitions: ranges.len() as i32,
            done: (0..ranges.len()).filter(|id| partitions::is_done(&plan, *id)).count() as i32,
            running: status.partitions.iter().filter(|p| p.state == PartitionState::Running).count() as i32,
        };
        let elapsed = self.copying_for().unwrap_or_default();
        let now = self.report.now();
        self.report.status.progress = Some(progress::progress(&counted, elapsed, now));
        for partition in &mut self.report.status.partitions {
            let seen = running.iter().find(|running| partition.task.as_ref() == Some(&running.task));
            partition.documents_copied = seen.map(|running| running.copied);
            partition.documents_total = seen.map(|running| running.total).filter(|total| *total > 0);
        }
        history::note_progress(self.report.status.history.get_or_insert_default(), counted.copied, now);
    }

    /// When to look again: often while tasks are young or about to end, every ten seconds in the middle of long ones, and when a
    /// range that waits is due.
    pub(super) fn next_look(&self, running: &[Running]) -> Duration {
        let now = self.report.now();
        let of = |partition: &Partition| {
            let known = running.iter().find(|running| partition.task.as_ref() == Some(&running.task));
            let age = now.duration_since(partition.started_at.0);
            match (partition.state, known) {
                (PartitionState::Waiting, _) if age.is_negative() => progress::until(-age),
                // It is due, and something holds it up.
                (PartitionState::Waiting, _) => GATE,
                (_, Some(running)) => progress::poll_interval(age, running.copied, running.total),
                (_, None) => progress::soon(),
            }
        };
        let looks = self.report.status.partitions.iter().map(of);
        looks.min().unwrap_or(Duration::from_secs(2))
    }
}

pub(super) fn restarting(cluster: &str) -> String {
    format!("waiting for the rolling restart of SearchCluster {cluster}")
}
