//! How a Reindex's status says what is going on: conditions, steps and phase are set here and nowhere else.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::api::{
    ReindexStatus,
    conditions::{self, COMPLETE, FAILED, PLANNED, READY, RECONCILING, STALLED, SUSPENDED, State, VALIDATED},
    reindex_status::{PartitionState, Phase, Step, StepName, StepState},
};

/// Something that people are told as an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Somebody should look after it.
    pub warning: bool,
    /// CamelCase, stable.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What `Stalled` says of one that has failed.
const SEE_FAILED: &str = "see condition Failed";

/// A status under construction, and what is told with it.
pub struct Report {
    /// The status as it will be written.
    pub status: ReindexStatus,
    /// What people are told.
    pub notes: Vec<Note>,
    generation: i64,
    now: Timestamp,
}

/// Whether the Reindex ended, well or not; a dry run too.
pub fn is_finished(status: &ReindexStatus) -> bool {
    [COMPLETE, FAILED, PLANNED].into_iter().any(|type_| conditions::is_true(&status.conditions, type_))
}

/// Reason of what goes on once a person has changed an allowlist or approved of its change. No stall: nothing is wrong.
pub const WAITING_FOR_PERSON: &str = "WaitingForPerson";

/// Whether nothing goes on until a person acts.
pub fn waits_for_person(status: &ReindexStatus) -> bool {
    let asked = conditions::get(&status.conditions, RECONCILING).is_some_and(|it| it.reason == WAITING_FOR_PERSON);
    asked || conditions::is_true(&status.conditions, STALLED)
}

/// The state of a step, None before it began.
pub fn step_state(status: &ReindexStatus, name: StepName) -> Option<StepState> {
    status.steps.iter().find(|step| step.name == name).map(|step| step.state)
}

impl Report {
    /// Begins from what the object says now.
    pub fn new(status: Option<&ReindexStatus>, generation: i64, now: Timestamp) -> Report {
        let mut status = status.cloned().unwrap_or_default();
        status.observed_generation = Some(generation);
        status.start_time.get_or_insert(Time(now));
        Report { status, notes: Vec::new(), generation, now }
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The step goes on; later ones, which had begun too early, have not.
    pub fn running(&mut self, name: StepName, reason: &'static str, message: &str) {
        self.status.steps.retain(|step| step.name <= name);
        self.step(name, StepState::Running, message);
        self.condition(READY, State::Unknown, reason, message);
        self.condition(RECONCILING, State::True, reason, message);
        conditions::clear(&mut self.status.conditions, STALLED);
        self.unfinished();
    }

    /// The step waits for somebody to act; it is tried again by itself.
    pub fn stalled(&mut self, name: StepName, reason: &'static str, message: &str) {
        let before = conditions::get(&self.status.conditions, STALLED).map(|c| c.reason.clone());
        self.step(name, StepState::Running, message);
        self.condition(READY, State::False, reason, message);
        self.condition(STALLED, State::True, reason, message);
        conditions::clear(&mut self.status.conditions, RECONCILING);
        self.unfinished();
        if before.as_deref() != Some(reason) {
            self.note(true, reason, message);
        }
    }

    /// Nothing goes on, and why.
    pub fn suspended(&mut self, why: &str) {
        let message = &format!("{why}; what is copied is kept");
        let before = conditions::is_true(&self.status.conditions, SUSPENDED);
        self.condition(READY, State::Unknown, "Suspended", message);
        self.condition(SUSPENDED, State::True, "Suspended", message);
        conditions::clear(&mut self.status.conditions, RECONCILING);
        conditions::clear(&mut self.status.conditions, STALLED);
        self.unfinished();
        self.status.phase = Some(Phase::Suspended);
        if !before {
            self.note(false, "Suspended", message);
        }
    }

    /// It goes on, if it was suspended.
    pub fn resumed(&mut self) {
        if conditions::is_true(&self.status.conditions, SUSPENDED) {
            self.condition(SUSPENDED, State::False, "Resumed", "");
            self.note(false, "Resumed", "it is not suspended any more");
        }
    }

    /// The step is done.
    pub fn succeeded(&mut self, name: StepName, reason: &'static str, message: &str) {
        self.step(name, StepState::Succeeded, message);
        if name == StepName::Validate {
            self.condition(VALIDATED, State::True, "Validated", message);
        }
        self.note(false, reason, message);
    }

    /// The Reindex ended without success. A task that may still run is cancelled.
    pub fn failed(&mut self, name: StepName, reason: &'static str, message: &str) {
        // The words stand twice, where people and tools look for them; once more everywhere would make finished objects large.
        self.step(name, StepState::Failed, "");
        if name == StepName::Validate {
            self.condition(VALIDATED, State::False, reason, "");
        }
        self.condition(READY, State::False, reason, message);
        self.condition(FAILED, State::True, reason, message);
        self.condition(COMPLETE, State::False, reason, "");
        self.condition(STALLED, State::True, reason, SEE_FAILED);
        conditions::clear(&mut self.status.conditions, RECONCILING);
        self.status.completion_time = Some(Time(self.now));
        self.status.phase = Some(Phase::Failed);
        // One that is tried again may have a task that nobody knows of, if a request got lost: it is looked for, too.
        self.status.partitions.retain(|partition| partition.state != PartitionState::Waiting || partition.attempt > 1);
        for partition in &mut self.status.partitions {
            partition.state = PartitionState::Cancelling;
        }
        self.shrink();
        self.note(true, reason, message);
    }

    /// What a failed one owes the destination waits, and why; told when that changes.
    pub fn owes(&mut self, why: &str) {
        let message =
            format!("{SEE_FAILED}; its tasks may run, or its index's settings are to be put back, which waits: {why}");
        if self.stalled_as(&message) {
            self.note(true, "CleanupWaits", &message);
        }
    }

    /// It owes nothing any more.
    pub fn owes_nothing(&mut self) {
        self.stalled_as(SEE_FAILED);
    }

    /// Says so where it has failed. Whether that is news.
    fn stalled_as(&mut self, message: &str) -> bool {
        let message = conditions::bounded(message);
        let said = conditions::get(&self.status.conditions, STALLED).filter(|said| said.message != message);
        let Some(reason) = said.map(|said| said.reason.clone()) else { return false };
        self.condition(STALLED, State::True, &reason, &message);
        true
    }

    /// The Reindex ended well.
    pub fn complete(&mut self, message: &str) {
        self.step(StepName::Verify, StepState::Succeeded, message);
        self.condition(READY, State::True, "Complete", message);
        self.condition(COMPLETE, State::True, "Complete", message);
        self.condition(FAILED, State::False, "Complete", "");
        conditions::clear(&mut self.status.conditions, RECONCILING);
        conditions::clear(&mut self.status.conditions, STALLED);
        self.status.completion_time = Some(Time(self.now));
        self.status.phase = Some(Phase::Complete);
        self.status.partitions.clear();
        self.shrink();
        self.note(false, "Complete", message);
    }

    /// The dry run ended: nothing was copied.
    pub fn planned(&mut self, message: &str) {
        let message = format!("dry run, nothing is copied: {message}; status.dryRun says what a copy would do");
        self.condition(READY, State::True, "Planned", &message);
        self.condition(PLANNED, State::True, "Planned", &message);
        self.condition(COMPLETE, State::False, "DryRun", "");
        self.condition(FAILED, State::False, "DryRun", "");
        conditions::clear(&mut self.status.conditions, RECONCILING);
        conditions::clear(&mut self.status.conditions, STALLED);
        self.status.completion_time = Some(Time(self.now));
        self.status.phase = Some(Phase::Planned);
        self.note(false, "Planned", &message);
    }

    /// Ranges say nothing any more when it has ended.
    fn shrink(&mut self) {
        if let Some(plan) = &mut self.status.plan {
            plan.indices.clear();
            plan.done.clear();
            plan.conflicted.clear();
        }
    }

    /// Tells people something.
    pub fn note(&mut self, warning: bool, reason: &'static str, message: &str) {
        self.notes.push(Note { warning, reason, message: message.to_owned() });
    }

    /// How long to wait before something that stalls is looked at again: longer the longer it stalls, 5 minutes at most.
    pub fn patience(&self) -> Duration {
        let waiting = [STALLED, RECONCILING].iter().find_map(|type_| conditions::get(&self.status.conditions, type_));
        let since = waiting.map_or(self.now, |condition| condition.last_transition_time.0);
        let seconds = self.now.duration_since(since).as_secs().clamp(0, i64::from(u16::MAX)) as u64;
        Duration::from_secs((seconds / 2).clamp(2, 300))
    }

    fn unfinished(&mut self) {
        let validated = conditions::is_true(&self.status.conditions, VALIDATED);
        if !validated {
            self.condition(VALIDATED, State::Unknown, "Validating", "");
        }
        self.condition(COMPLETE, State::False, "InProgress", "");
        self.condition(FAILED, State::False, "InProgress", "");
        self.status.phase = Some(match self.status.steps.last().map(|step| step.name) {
            None | Some(StepName::Validate) => Phase::Validating,
            Some(StepName::Allowlist) => Phase::WaitingForAllowlist,
            Some(StepName::Prepare) => Phase::Preparing,
            Some(StepName::Copy) => Phase::Copying,
            Some(StepName::CatchUp) => Phase::CatchingUp,
            Some(StepName::Verify) => Phase::Verifying,
        });
    }

    fn condition(&mut self, type_: &str, state: State, reason: &str, message: &str) {
        conditions::set(&mut self.status.conditions, type_, state, reason, message, self.generation, self.now);
    }

    fn step(&mut self, name: StepName, state: StepState, message: &str) {
        let now = Time(self.now);
        let message = Some(conditions::bounded(message)).filter(|text| !text.is_empty());
        let finished_at = (state != StepState::Running).then(|| now.clone());
        match self.status.steps.iter_mut().find(|step| step.name == name) {
            Some(step) => {
                step.finished_at = if step.state == state { step.finished_at.clone() } else { finished_at };
                step.state = state;
                step.message = message;
            }
            None => {
                let at = self.status.steps.iter().position(|step| step.name > name).unwrap_or(self.status.steps.len());
                self.status.steps.insert(at, Step { name, state, started_at: Some(now), finished_at, message });
            }
        }
    }
}
