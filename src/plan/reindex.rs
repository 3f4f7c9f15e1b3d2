//! The decision about a Reindex: where it stands, what to do next, and what to tell people.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::api::{
    Reindex, ReindexStatus,
    reindex::VerificationLevel,
    reindex_status::{
        Checkpoint, Partition, PartitionState, StepName, StepState, Verdict as VerifyVerdict, VerificationResult,
    },
};

use super::{
    copy::{self, Verdict},
    index_body::{self, Owner},
    progress,
    report::{Report, is_finished, step_state},
    spec_hash::spec_hash,
    validate::{self, Trouble},
    verify::{self, Proof},
};

mod model;

pub use model::{Allowlist, Begin, Decision, Effect, Observation, Outcome, Poll, Prepare, Requeue, Verify};

/// Where a Reindex stands. Read from what is known, never from `phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is changed yet.
    Validate,
    /// The allowlist is waited for.
    Allowlist,
    /// The destination index is to be created.
    Prepare,
    /// The copy is to be begun, for the first time or again.
    Begin,
    /// A task may exist that we don't know: it was about to be started.
    Adopt,
    /// A task runs.
    Poll,
    /// The copy is to be proved.
    Verify,
    /// It ended, and a task is still to be cancelled.
    Cancel,
    /// It ended.
    Finished,
}

/// Where the object stands.
pub fn stage(status: &ReindexStatus) -> Stage {
    let partition = status.partitions.first().map(|partition| partition.state);
    if is_finished(status) {
        return if partition == Some(PartitionState::Cancelling) { Stage::Cancel } else { Stage::Finished };
    }
    let done = |name| step_state(status, name) == Some(StepState::Succeeded);
    match partition {
        _ if !done(StepName::Validate) => Stage::Validate,
        _ if !done(StepName::Allowlist) => Stage::Allowlist,
        _ if !done(StepName::Prepare) => Stage::Prepare,
        None | Some(PartitionState::Waiting) => Stage::Begin,
        Some(PartitionState::Starting) => Stage::Adopt,
        Some(PartitionState::Running) => Stage::Poll,
        Some(PartitionState::Done) => Stage::Verify,
        Some(PartitionState::Cancelling) => Stage::Cancel,
    }
}

/// Decides what follows from what was seen.
pub fn decide(reindex: &Reindex, seen: Observation, now: Timestamp) -> Decision {
    let mut plan = Plan::new(reindex, now);
    let stage = stage(&plan.report.status);
    if stage == Stage::Finished {
        return plan.unchanged(reindex);
    }
    if stage != Stage::Cancel
        && let Some(reason) = plan.overtaken(&seen)
    {
        plan.fail_now(reason.0, &reason.1);
        return plan.decision(None, Requeue::Now);
    }
    match seen {
        Observation::Trouble(trouble) => plan.wait_out(&trouble),
        Observation::Validate(facts) => plan.validate(&facts),
        Observation::Allowlist(seen) => plan.allowlist(seen),
        Observation::Prepare(seen) => plan.prepare(seen),
        Observation::Begin(seen) => plan.begin(seen),
        Observation::Adopt(task) => plan.adopt(task),
        Observation::Poll(seen) => plan.poll(seen),
        Observation::Verify(seen) => plan.verify(seen),
        Observation::Cancel(tasks) => plan.cancel(tasks),
        Observation::Nothing | Observation::ClusterChanged(_) | Observation::AccessWithdrawn(_) => {
            plan.unchanged(reindex)
        }
    }
}

/// Decides what follows from what an effect came to.
pub fn settle(reindex: &Reindex, outcome: Outcome, now: Timestamp) -> Decision {
    let mut plan = Plan::new(reindex, now);
    match outcome {
        Outcome::IndexRefused(message) => {
            let message = format!(
                "the destination refused the index: {message}. Correct destination.settings or destination.mappings in a new Reindex"
            );
            plan.report.failed(StepName::Prepare, "IndexRefused", &message);
            plan.decision(None, Requeue::OnChange)
        }
        Outcome::Started(task) => plan.run(task, "CopyStarted"),
        Outcome::GateClosed(cluster) => {
            plan.report.status.partitions.clear();
            plan.report.status.checkpoint = None;
            let message = format!("waiting for the rolling restart of SearchCluster {cluster}");
            plan.report.running(StepName::Copy, "WaitingForRestart", &message);
            plan.decision(None, Requeue::After(Duration::from_secs(10)))
        }
        Outcome::StartRefused(message) => {
            // Nothing runs: the destination said so.
            plan.report.status.partitions.clear();
            plan.report.failed(StepName::Copy, "CopyRefused", &message);
            plan.decision(None, Requeue::OnChange)
        }
        Outcome::Unclear(trouble) => plan.wait_out(&trouble),
    }
}

/// A decision under construction.
struct Plan<'a> {
    reindex: &'a Reindex,
    report: Report,
}

impl<'a> Plan<'a> {
    fn new(reindex: &'a Reindex, now: Timestamp) -> Plan<'a> {
        let generation = reindex.metadata.generation.unwrap_or_default();
        Plan { reindex, report: Report::new(reindex.status.as_ref(), generation, now) }
    }

    fn decision(self, effect: Option<Effect>, requeue: Requeue) -> Decision {
        Decision { status: self.report.status, effect, notes: self.report.notes, requeue }
    }

    /// A finished object is not written again, unless a person edited what may be edited.
    fn unchanged(self, reindex: &Reindex) -> Decision {
        let mut status = reindex.status.clone().unwrap_or_default();
        status.observed_generation = self.report.status.observed_generation;
        Decision { status, effect: None, notes: vec![], requeue: Requeue::OnChange }
    }

    /// What ends a Reindex at any stage.
    fn overtaken(&self, seen: &Observation) -> Option<(&'static str, String)> {
        let status = &self.report.status;
        let changed = status.spec_hash.as_ref().is_some_and(|pinned| *pinned != spec_hash(&self.reindex.spec));
        if changed {
            return Some((
                "SpecChanged",
                "the spec was changed after the Reindex had begun: create a new Reindex with the new spec".into(),
            ));
        }
        match seen {
            Observation::ClusterChanged(message) => return Some(("ClusterChanged", message.clone())),
            Observation::AccessWithdrawn(message) => return Some(("AccessWithdrawn", message.clone())),
            _ => {}
        }
        let deadline = self.reindex.spec.execution.active_deadline_seconds?;
        let begun = status.steps.iter().find(|step| step.name == StepName::Copy)?.started_at.as_ref()?;
        let ran_out = self.report.now().duration_since(begun.0) >= SignedDuration::from_secs(deadline);
        ran_out.then(|| {
            (
                "DeadlineExceeded",
                format!("the copy was not complete after execution.activeDeadlineSeconds ({deadline} s)"),
            )
        })
    }

    fn fail_now(&mut self, reason: &'static str, message: &str) {
        let step = self.current_step();
        self.report.failed(step, reason, message);
    }

    fn current_step(&self) -> StepName {
        match stage(&self.report.status) {
            Stage::Validate => StepName::Validate,
            Stage::Allowlist => StepName::Allowlist,
            Stage::Prepare => StepName::Prepare,
            Stage::Begin | Stage::Adopt | Stage::Poll | Stage::Cancel => StepName::Copy,
            Stage::Verify | Stage::Finished => StepName::Verify,
        }
    }

    /// The surroundings are at fault: say so and try again, ever more rarely.
    fn wait_out(mut self, trouble: &Trouble) -> Decision {
        let step = self.current_step();
        if is_finished(&self.report.status) {
            let patience = self.report.patience();
            return self.decision(None, Requeue::After(patience));
        }
        match step {
            // A copy goes on by itself when the clusters are back.
            StepName::Copy | StepName::Verify => self.report.running(step, "ProgressingWithRetry", &trouble.message),
            StepName::Validate | StepName::Allowlist | StepName::Prepare => {
                self.report.stalled(step, trouble.reason, &trouble.message);
            }
        }
        let patience = self.report.patience();
        self.decision(None, Requeue::After(patience))
    }

    fn validate(mut self, facts: &validate::Facts) -> Decision {
        match validate::validate(self.reindex, facts) {
            Ok(validated) => {
                let message = format!(
                    "source {} ({}), destination {} ({})",
                    self.reindex.spec.source.clone().cluster_ref.name,
                    validated.source.version,
                    self.reindex.spec.destination.cluster_ref.name,
                    validated.destination.version
                );
                self.report.status.spec_hash = Some(spec_hash(&self.reindex.spec));
                self.report.status.source = Some(validated.source);
                self.report.status.destination = Some(validated.destination);
                self.report.succeeded(StepName::Validate, "Validated", &message);
                self.report.running(
                    StepName::Allowlist,
                    "CheckingAllowlist",
                    "checking whether the destination may read from the source",
                );
                self.decision(None, Requeue::Now)
            }
            Err(findings) => {
                let (reason, message) = validate::summary(&findings);
                if findings.iter().any(|finding| finding.terminal) {
                    self.report.failed(StepName::Validate, reason, &message);
                    return self.decision(None, Requeue::OnChange);
                }
                match reason {
                    "DestinationBusy" | "Validating" => self.report.running(StepName::Validate, reason, &message),
                    _ => self.report.stalled(StepName::Validate, reason, &message),
                }
                let patience = self.report.patience();
                self.decision(None, Requeue::After(patience))
            }
        }
    }

    fn allowlist(mut self, seen: Allowlist) -> Decision {
        match seen {
            Allowlist::Passed => {
                self.report.succeeded(
                    StepName::Allowlist,
                    "SourceAllowed",
                    "every node of the destination may read from the source",
                );
                self.report.running(StepName::Prepare, "CreatingIndex", "creating the destination index");
                self.decision(None, Requeue::Now)
            }
            Allowlist::Missing { stalled: false, message } => {
                self.report.running(StepName::Allowlist, "WaitingForAllowlist", &message);
                self.decision(None, Requeue::After(Duration::from_secs(60)))
            }
            Allowlist::Missing { stalled: true, message } => {
                self.report.stalled(StepName::Allowlist, "NotAllowed", &message);
                self.decision(None, Requeue::After(Duration::from_secs(60)))
            }
            Allowlist::Refused(trouble) => self.wait_out(&trouble),
        }
    }

    fn prepare(mut self, seen: Prepare) -> Decision {
        let index = &self.reindex.spec.destination.index;
        match seen {
            Prepare::Absent(source) => {
                let body = index_body::index_body(&self.reindex.spec.destination, &source, &self.owner());
                self.decision(Some(Effect::CreateIndex(body)), Requeue::Now)
            }
            Prepare::Exists { uuid, owner } if owner.as_deref() == self.reindex.metadata.uid.as_deref() => {
                if let Some(destination) = &mut self.report.status.destination {
                    destination.index_uuid = Some(uuid);
                }
                self.report.succeeded(StepName::Prepare, "IndexCreated", &format!("created index {index}"));
                self.report.running(StepName::Copy, "Copying", "noting how far the source is");
                self.decision(None, Requeue::Now)
            }
            Prepare::Exists { .. } => {
                let message = format!(
                    "somebody else created the destination index {index} meanwhile: delete it, or name another destination.index"
                );
                self.report.failed(StepName::Prepare, "DestinationExists", &message);
                self.decision(None, Requeue::OnChange)
            }
        }
    }

    fn owner(&self) -> Owner {
        let meta = &self.reindex.metadata;
        Owner {
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// Writes down that a task is about to be started, then starts it.
    fn begin(mut self, seen: Begin) -> Decision {
        let now = self.report.now();
        let previous = self.report.status.partitions.first().cloned();
        if let Some(wait) = previous
            .as_ref()
            .and_then(|p| Duration::try_from(p.started_at.0.duration_since(now)).ok())
            .filter(|wait| !wait.is_zero())
        {
            return self.decision(None, Requeue::After(wait));
        }
        // A repeat keeps the first checkpoint: what changed since the first attempt is a change.
        let checkpoint = self
            .report
            .status
            .checkpoint
            .get_or_insert_with(|| verify::checkpoint(&seen.shards, seen.documents))
            .clone();
        let attempt = previous.as_ref().map_or(1, |partition| partition.attempt);
        self.start(attempt, &checkpoint, previous.and_then(|partition| partition.message))
    }

    fn start(mut self, attempt: i32, checkpoint: &Checkpoint, message: Option<String>) -> Decision {
        let now = self.report.now();
        self.report.status.partitions = vec![Partition {
            id: 0,
            attempt,
            state: PartitionState::Starting,
            task: None,
            started_at: Time(now),
            message,
        }];
        self.report.status.progress = Some(progress::progress(0, checkpoint.documents, now, now));
        let text = match attempt {
            1 => format!("copying {} documents", checkpoint.documents),
            _ => format!("copying {} documents, attempt {attempt}", checkpoint.documents),
        };
        self.report.running(StepName::Copy, "Copying", &text);
        self.decision(Some(Effect::StartTask { attempt }), Requeue::Now)
    }

    /// A task was about to be started, and nobody wrote down what came of it.
    fn adopt(self, task: Option<String>) -> Decision {
        match (task, self.report.status.partitions.first().cloned()) {
            (Some(task), _) => self.run(task, "CopyAdopted"),
            (None, Some(partition)) => self.again(&partition, "the operator was interrupted while it started the task"),
            (None, None) => self.decision(None, Requeue::Now),
        }
    }

    fn run(mut self, task: String, reason: &'static str) -> Decision {
        let now = self.report.now();
        if let Some(partition) = self.report.status.partitions.first_mut() {
            partition.state = PartitionState::Running;
            partition.task = Some(task.clone());
        }
        self.report.note(false, reason, &format!("task {task} on the destination"));
        self.decision(None, Requeue::After(progress::poll_interval(now, now)))
    }

    fn poll(mut self, seen: Poll) -> Decision {
        let Some(partition) = self.report.status.partitions.first().cloned() else {
            return self.decision(None, Requeue::Now);
        };
        if let Some(replaced) = self.replaced(seen.index_uuid.as_deref()) {
            self.report.failed(StepName::Copy, "DestinationReplaced", &replaced);
            return self.decision(None, Requeue::Now);
        }
        match copy::judge(seen.task, self.reindex.spec.conflicts) {
            Verdict::GoesOn { copied } => self.go_on(&partition, copied),
            Verdict::Succeeded(result) => self.copied(&partition, result),
            Verdict::Again { message } => self.again(&partition, &message),
            Verdict::Failed { reason, message, result } => {
                if let Some(partition) = self.report.status.partitions.first_mut() {
                    // It ended by itself: nothing is left to cancel.
                    partition.state = PartitionState::Done;
                    partition.message = Some(message.clone());
                }
                self.report.status.result = result.map(|result| copy::fold_repeats(result, partition.attempt));
                self.show_result();
                self.report.failed(StepName::Copy, reason, &message);
                self.decision(None, Requeue::OnChange)
            }
        }
    }

    fn replaced(&self, seen: Option<&str>) -> Option<String> {
        let pinned = self.report.status.destination.as_ref()?.index_uuid.as_deref()?;
        let index = &self.reindex.spec.destination.index;
        (seen != Some(pinned)).then(|| {
            format!(
                "the destination index {index} was deleted or replaced while it was filled; what stands there now is not this copy. Delete it, and create a new Reindex"
            )
        })
    }

    /// Progress is written at most every ten seconds.
    fn go_on(mut self, partition: &Partition, copied: i64) -> Decision {
        let now = self.report.now();
        let started = partition.started_at.0;
        let shown = self
            .report
            .status
            .progress
            .as_ref()
            .and_then(|progress| progress.observed_at.as_ref())
            .map_or(started, |time| time.0);
        if now.duration_since(shown) >= progress::WRITE_INTERVAL {
            let total = self.report.status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.documents);
            let seen = progress::progress(copied, total, started, now);
            let message = format!("copied {copied} of {total} documents");
            self.report.status.progress = Some(seen);
            self.report.running(StepName::Copy, "Copying", &message);
        }
        self.decision(None, Requeue::After(progress::poll_interval(started, now)))
    }

    fn copied(mut self, partition: &Partition, result: crate::api::reindex_status::CopyResult) -> Decision {
        let message = format!("copied {} documents in {:.1} s", result.total, result.took as f64 / 1000.0);
        self.report.status.result = Some(copy::fold_repeats(result, partition.attempt));
        self.show_result();
        if let Some(partition) = self.report.status.partitions.first_mut() {
            partition.state = PartitionState::Done;
        }
        self.report.succeeded(StepName::Copy, "Copied", &message);
        self.report.running(StepName::Verify, "Verifying", "comparing source and destination");
        self.decision(None, Requeue::Now)
    }

    /// Progress as the result has it.
    fn show_result(&mut self) {
        let now = self.report.now();
        let status = &mut self.report.status;
        let started = status.partitions.first().map_or(now, |partition| partition.started_at.0);
        if let Some(result) = &status.result {
            let copied = result.created + result.updated + result.version_conflicts + result.noops;
            let total = status.checkpoint.as_ref().map_or(result.total, |checkpoint| checkpoint.documents);
            let mut seen = progress::progress(copied, total, started, now);
            seen.estimated_completion_time = None;
            status.progress = Some(seen);
        }
    }

    fn again(mut self, partition: &Partition, message: &str) -> Decision {
        let next = partition.attempt + 1;
        if next > copy::MAX_ATTEMPTS {
            let message = format!("{message}; given up after {} attempts", copy::MAX_ATTEMPTS);
            if let Some(partition) = self.report.status.partitions.first_mut() {
                partition.message = Some(message.clone());
            }
            self.report.failed(StepName::Copy, "CopyFailed", &message);
            return self.decision(None, Requeue::Now);
        }
        let wait = copy::backoff(next);
        let at = self.report.now().checked_add(wait).unwrap_or(self.report.now());
        self.report.status.partitions = vec![Partition {
            id: partition.id,
            attempt: next,
            state: PartitionState::Waiting,
            task: None,
            started_at: Time(at),
            message: Some(message.to_owned()),
        }];
        let text = format!("{message}; attempt {next} of {} in {} s", copy::MAX_ATTEMPTS, wait.as_secs());
        self.report.running(StepName::Copy, "ProgressingWithRetry", &text);
        self.report.note(true, "CopyRetried", &text);
        self.decision(None, Requeue::After(wait))
    }

    fn verify(mut self, seen: Verify) -> Decision {
        if let Some(replaced) = self.replaced(seen.index_uuid.as_deref()) {
            self.report.failed(StepName::Verify, "DestinationReplaced", &replaced);
            return self.decision(None, Requeue::OnChange);
        }
        let status = &self.report.status;
        let (Some(result), Some(before)) = (&status.result, &status.checkpoint) else {
            self.report.failed(
                StepName::Verify,
                "StatusDamaged",
                "status holds no result of the copy: somebody else wrote it",
            );
            return self.decision(None, Requeue::OnChange);
        };
        let Some(counts) = seen.counts else {
            self.report.status.verification = Some(not_asked());
            self.report.complete("copied, not verified: verification.level is None");
            return self.decision(None, Requeue::OnChange);
        };
        match verify::prove_counts(result, before, &counts) {
            Proof::Held(verification) => {
                self.report.status.verification = Some(verification);
                self.report.complete(&format!("copied and counted: {} documents on both sides", counts.destination));
            }
            Proof::Broken { result, reason, message } => {
                self.report.status.verification = Some(result);
                self.report.failed(StepName::Verify, reason, &message);
            }
        }
        self.decision(None, Requeue::OnChange)
    }

    /// Cancels until nothing of ours runs.
    fn cancel(mut self, tasks: Vec<String>) -> Decision {
        if tasks.is_empty() {
            self.report.status.partitions.clear();
            return self.decision(None, Requeue::OnChange);
        }
        self.decision(Some(Effect::CancelTasks(tasks)), Requeue::After(Duration::from_secs(1)))
    }
}

fn not_asked() -> VerificationResult {
    VerificationResult {
        level: VerificationLevel::None,
        source_documents: None,
        destination_documents: None,
        source_changed: None,
        verdict: VerifyVerdict::NotAsked,
    }
}

#[cfg(test)]
mod tests;
