//! The decision about a Reindex: where it stands, what to do next, and what to tell people.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{
    Reindex, ReindexStatus,
    reindex::IfExists,
    reindex_status::{PartitionState, StepName, StepState, Suspension, Verdict},
};

use super::{
    allowlist::Turn,
    index_body::{self, Owner},
    partitions,
    preflight::{self, Gravity},
    report::{Report, WAITING_FOR_PERSON, is_finished, step_state},
    spec_hash::spec_hash,
    validate::{self, Trouble},
};

mod copying;
mod ending;
mod model;
mod planning;
mod proving;
mod telling;

pub use copying::as_on_the_source;
pub use ending::{is_worth_tuning, pause, time_to_live};
pub use model::{
    Allowlist, Copying, Decision, Effect, Hold, Observation, Outcome, PartitionSeen, Prepare, Proving, Release,
    Requeue, Start, Started, Survey, SurveyedIndex, Verify,
};
pub use planning::window;
pub use proving::{next_repair, repair_pause};

/// Reason of what waits until another Reindex is through with the destination index.
pub const DESTINATION_BUSY: &str = "DestinationBusy";

/// How long a copy waits before it asks a cluster again that did not answer.
const RETRY: Duration = Duration::from_secs(10);
/// The longest that a proof waits.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Where a Reindex stands. Read from what is known, never from `phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is changed yet.
    Validate,
    /// The allowlist is waited for.
    Allowlist,
    /// The destination index is to be created.
    Prepare,
    /// The source is to be cut into ranges.
    Survey,
    /// Ranges are copied.
    Copy,
    /// Documents that the destination holds in a higher version are to be deleted there and copied again.
    Repair,
    /// What was changed on the destination index is to be put back.
    Restore,
    /// Nothing goes on until `spec.suspend` is false again.
    Suspended,
    /// It was suspended in the middle of the copy, and goes on.
    Resume,
    /// The copy is to be proved; what changed meanwhile is caught up with first.
    Verify,
    /// It ended; tasks are still to be cancelled, and settings put back.
    Release,
    /// It ended.
    Finished,
}

/// Where the object stands.
pub fn stage(reindex: &Reindex) -> Stage {
    let none = ReindexStatus::default();
    let status = reindex.status.as_ref().unwrap_or(&none);
    if is_finished(status) {
        return if owes_cleanup(status) { Stage::Release } else { Stage::Finished };
    }
    if reindex.spec.suspend {
        return match (runs(status), &status.tuning) {
            (true, _) => Stage::Copy,
            (false, Some(_)) => Stage::Restore,
            // Documents that are being copied again are deleted before: that is brought to its end.
            (false, None) if is_mending(status) && status.plan.as_ref().is_some_and(partitions::all_done) => {
                Stage::Verify
            }
            (false, None) => Stage::Suspended,
        };
    }
    let done = |name| step_state(status, name) == Some(StepState::Succeeded);
    match &status.plan {
        _ if !done(StepName::Validate) => Stage::Validate,
        _ if !done(StepName::Allowlist) => Stage::Allowlist,
        _ if !done(StepName::Prepare) => Stage::Prepare,
        None => Stage::Survey,
        Some(plan) if !partitions::all_done(plan) => match &status.suspension {
            Some(Suspension { since: Some(_), .. }) => Stage::Resume,
            _ => Stage::Copy,
        },
        Some(plan) if copying::is_to_be_repaired(reindex, plan) => Stage::Repair,
        Some(_) if status.tuning.is_some() => Stage::Restore,
        Some(_) => Stage::Verify,
    }
}

/// Whether a task of it runs, or may run.
pub fn runs(status: &ReindexStatus) -> bool {
    status.partitions.iter().any(|partition| partition.state != PartitionState::Waiting)
}

/// Whether something on the destination is to be cancelled or put back before the object may go.
pub fn owes_cleanup(status: &ReindexStatus) -> bool {
    runs(status) || is_mending(status) || status.tuning.is_some()
}

/// Whether a task may run that copies documents again which differed.
pub fn is_mending(status: &ReindexStatus) -> bool {
    status.verification.as_ref().is_some_and(|result| result.verdict == Verdict::Repairing)
}

/// Whether it made the destination index: then it may be tuned, what is in it came from it, and nobody else fills it.
pub fn created(status: &ReindexStatus) -> bool {
    status.destination.as_ref().is_some_and(|destination| destination.created)
}

/// Whether `other` has the same destination index, is not through with it, and comes before this one, which then waits: the one that
/// fills it, and of two that do, or do not yet, the older.
pub fn comes_first(other: &Reindex, this: &Reindex) -> bool {
    let destination = |reindex: &Reindex| {
        let pinned = reindex.status.as_ref()?.destination.clone()?;
        Some((pinned.cluster_uuid, reindex.spec.destination.index.clone(), pinned.index_uuid.is_some()))
    };
    let (Some((cluster, index, fills)), Some((own_cluster, own_index, own_fills))) =
        (destination(other), destination(this))
    else {
        return false;
    };
    let busy = other.status.as_ref().is_some_and(|status| !is_finished(status) || owes_cleanup(status));
    let age = |reindex: &Reindex| {
        (reindex.metadata.creation_timestamp.clone().map(|time| time.0), reindex.metadata.uid.clone())
    };
    other.metadata.uid != this.metadata.uid
        && busy
        && (cluster, index) == (own_cluster, own_index)
        && (fills, std::cmp::Reverse(age(other))) > (own_fills, std::cmp::Reverse(age(this)))
}

/// Decides what follows from what was seen.
pub fn decide(reindex: &Reindex, seen: Observation, now: Timestamp) -> Decision {
    let mut plan = Plan::new(reindex, now);
    let stage = stage(reindex);
    if stage == Stage::Finished {
        return plan.unchanged();
    }
    if stage != Stage::Release
        && let Some((reason, message)) = plan.overtaken(&seen)
    {
        return plan.fail(reason, &message);
    }
    if stage == Stage::Suspended {
        return plan.suspended();
    }
    if !matches!(seen, Observation::Trouble(_)) {
        plan.end_suspension();
    }
    match seen {
        Observation::Trouble(trouble) => plan.wait_out(&trouble),
        Observation::Validate(facts) => plan.validate(&facts),
        Observation::Allowlist(seen) => plan.allowlist(seen),
        Observation::Prepare(seen) => plan.prepare(seen),
        Observation::Survey(seen) => plan.survey(*seen),
        Observation::GateClosed(cluster) => plan.gate_closed(&cluster),
        Observation::Copy(seen) => plan.copy(seen),
        Observation::Resume(tuning) => plan.resume(tuning),
        Observation::Repair(tuning) => plan.repair(tuning),
        Observation::Restore => plan.restore(),
        Observation::Strays(tasks) => plan.cancel_strays(tasks),
        Observation::Moving(wait) => plan.moving(wait),
        Observation::Proving(seen) => plan.proving(seen),
        Observation::ScrollsTaken => plan.scrolls_taken(),
        Observation::TooLargeToCompare { side, limit } => plan.too_large_to_compare(side, limit),
        Observation::Mending => plan.mending(),
        Observation::RepairEnded => plan.repair_ended(),
        Observation::RepairPaused(wait) => plan.repair_later(wait),
        Observation::Verify(seen) => plan.verify(*seen),
        Observation::Release(seen) => plan.release(seen),
        Observation::Nothing
        | Observation::ClusterChanged(_)
        | Observation::AccessWithdrawn(_)
        | Observation::DestinationReplaced => plan.unchanged(),
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
        Outcome::Started { ranges, counted, untuned } => {
            if untuned {
                plan.report.status.tuning = None;
            }
            plan.started(ranges, counted)
        }
        Outcome::GateClosed(cluster) => {
            plan.withdraw_repair();
            plan.gate_closed(&cluster)
        }
        Outcome::WindingDown => {
            plan.withdraw_repair();
            plan.withdraw("Suspending", "the operator is being uninstalled: nothing begins")
        }
        Outcome::Busy(trouble) => plan.withdraw(trouble.reason, &trouble.message),
        Outcome::NotStarted(trouble) => {
            plan.withdraw_repair();
            plan.withdraw("ProgressingWithRetry", &trouble.message)
        }
        Outcome::LimitReached => plan.withdraw("WaitingForTasks", telling::LIMITED),
        Outcome::Repaired(stale) => plan.repaired(stale),
        Outcome::TooLarge(id) => plan.too_large(id.as_deref()),
        Outcome::Mended => plan.mending(),
        Outcome::MendRefused(trouble) => plan.mend_refused(&trouble),
        Outcome::DifferencesTold(message) => plan.differ(&message),
        Outcome::Restored => plan.restored(),
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
    fn unchanged(self) -> Decision {
        let mut status = self.reindex.status.clone().unwrap_or_default();
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
            Observation::DestinationReplaced => return Some(("DestinationReplaced", self.replaced())),
            _ => {}
        }
        let deadline = self.reindex.spec.execution.active_deadline_seconds?;
        let active = self.copying_for()?;
        (active >= SignedDuration::from_secs(deadline)).then(|| {
            (
                "DeadlineExceeded",
                format!("the copy was not complete after execution.activeDeadlineSeconds ({deadline} s)"),
            )
        })
    }

    /// How long it has been copying, suspensions left out; None before it began.
    fn copying_for(&self) -> Option<SignedDuration> {
        let status = &self.report.status;
        let begun = status.steps.iter().find(|step| step.name == StepName::Copy)?.started_at.as_ref()?.0;
        let suspension = status.suspension.clone().unwrap_or_default();
        let until = suspension.since.map_or(self.report.now(), |since| since.0);
        Some(until.duration_since(begun) - SignedDuration::from_secs(suspension.seconds))
    }

    /// The step that it is at fails; what it owes is put back next.
    fn fail(mut self, reason: &'static str, message: &str) -> Decision {
        let step = self.current_step();
        self.report.failed(step, reason, message);
        self.decision(None, Requeue::Now)
    }

    fn current_step(&self) -> StepName {
        match self.report.status.steps.last() {
            None => StepName::Validate,
            Some(step) if step.state == StepState::Running => step.name,
            Some(_) => StepName::Verify,
        }
    }

    /// The surroundings are at fault: say so and try again, ever more rarely.
    fn wait_out(mut self, trouble: &Trouble) -> Decision {
        if is_finished(&self.report.status) {
            self.report.owes(&trouble.message);
            let patience = self.report.patience();
            return self.decision(None, Requeue::After(patience));
        }
        let step = self.current_step();
        match step {
            // A copy goes on by itself when the clusters are back.
            StepName::Copy | StepName::CatchUp | StepName::Verify => {
                self.report.running(step, "ProgressingWithRetry", &trouble.message);
                // A proof that breaks off reads both sides from the beginning again.
                let wait =
                    if step == StepName::Verify { self.report.patience().clamp(RETRY, LONGEST_RETRY) } else { RETRY };
                return self.decision(None, Requeue::After(wait));
            }
            StepName::Prepare if trouble.reason == DESTINATION_BUSY => {
                self.report.running(step, DESTINATION_BUSY, &trouble.message);
            }
            StepName::Validate | StepName::Allowlist | StepName::Prepare => {
                self.report.stalled(step, trouble.reason, &trouble.message);
            }
        }
        let patience = self.report.patience();
        self.decision(None, Requeue::After(patience))
    }

    fn validate(mut self, facts: &validate::Facts) -> Decision {
        let verdict = validate::validate(self.reindex, facts);
        self.report.status.preflight = preflight::report(self.reindex, &verdict.findings, &verdict.unchecked);
        let in_the_way: Vec<_> = verdict.findings.iter().filter(|finding| !finding.is_accepted(self.reindex)).collect();
        match verdict.validated {
            Some(validated) => {
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
                if self.reindex.spec.dry_run {
                    self.report.status.dry_run = verdict.dry_run;
                    self.report.planned(&message);
                    return self.decision(None, Requeue::OnChange);
                }
                self.report.running(
                    StepName::Allowlist,
                    "CheckingAllowlist",
                    "checking whether the destination may read from the source",
                );
                self.decision(None, Requeue::Now)
            }
            None => {
                let (reason, message) = preflight::summary(&in_the_way);
                if in_the_way.iter().any(|finding| finding.gravity == Gravity::Terminal) {
                    self.report.failed(StepName::Validate, reason, &message);
                    return self.decision(None, Requeue::OnChange);
                }
                match reason {
                    DESTINATION_BUSY | "Validating" => self.report.running(StepName::Validate, reason, &message),
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
            Allowlist::Restarting(cluster) => {
                self.report.running(StepName::Allowlist, "WaitingForRestart", &telling::restarting(&cluster));
                self.decision(None, Requeue::After(telling::GATE))
            }
            Allowlist::Missing { turn, message } => {
                match turn {
                    Turn::SearchCluster => {
                        self.report.running(StepName::Allowlist, "WaitingForAllowlist", &message);
                    }
                    Turn::Person => self.report.running(StepName::Allowlist, WAITING_FOR_PERSON, &message),
                    Turn::Mender => self.report.stalled(StepName::Allowlist, "NotAllowed", &message),
                }
                self.decision(None, Requeue::After(Duration::from_secs(60)))
            }
            Allowlist::Refused(trouble) => self.wait_out(&trouble),
        }
    }

    fn prepare(mut self, seen: Prepare) -> Decision {
        let index = &self.reindex.spec.destination.index;
        let policy = self.reindex.spec.destination.if_exists;
        match seen {
            Prepare::Absent(source) => {
                let body = index_body::index_body(&self.reindex.spec.destination, &source, &Owner::of(self.reindex));
                self.decision(Some(Effect::CreateIndex(body)), Requeue::Now)
            }
            Prepare::Exists { uuid, owner, .. } if owner.as_deref() == self.reindex.metadata.uid.as_deref() => {
                self.prepared(uuid, true, &format!("created index {index}"))
            }
            Prepare::Exists { uuid, concrete: true, .. } if policy == IfExists::Append => {
                self.prepared(uuid, false, &format!("writing into index {index}, which was there"))
            }
            Prepare::Exists { uuid, concrete: true, owner: Some(_) } if policy == IfExists::Replace => {
                self.decision(Some(Effect::DeleteIndex(uuid)), Requeue::Now)
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

    /// The index that is filled is there.
    fn prepared(mut self, uuid: String, created: bool, message: &str) -> Decision {
        if let Some(destination) = &mut self.report.status.destination {
            (destination.index_uuid, destination.created) = (Some(uuid), created);
        }
        self.report.succeeded(StepName::Prepare, if created { "IndexCreated" } else { "IndexFound" }, message);
        self.report.running(StepName::Copy, "Copying", "looking at the source");
        self.decision(None, Requeue::Now)
    }
}

#[cfg(test)]
mod tests;
