//! The copy itself: ranges are started, watched, repeated and counted.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{
    api::{
        Reindex, ReindexSpec,
        reindex::Conflicts,
        reindex_status::{Checkpoint, CopyPlan, CopyResult, Partition, PartitionState, StepName},
        writing::OpType,
    },
    plan::{
        copy::{self, Relief, Running, Task, Verdict},
        history, partitions, progress,
        ranges::{self, Range},
        verify,
    },
};

use super::{
    Plan, created,
    model::{Copying, Decision, Effect, PartitionSeen, Requeue, Start, Started, Survey},
    planning,
    telling::{GATE, restarting},
};

/// The attempt after the first.
const FIRST_REPEAT: i32 = 2;

/// How often stale documents of a round are looked for.
const MOST_REPAIRS: i32 = 3;

/// What ends a copy.
enum End {
    /// It failed.
    Failed { reason: &'static str, message: String },
    /// This range has a document that alone is more than a batch may be.
    TooLarge(i32),
}

impl Plan<'_> {
    /// Writes the plan down, and that its first ranges are about to be started.
    pub(super) fn survey(mut self, seen: Survey) -> Decision {
        self.no_repair_runs();
        let status = &mut self.report.status;
        let round = status.plan.as_ref().map_or(0, |plan| plan.round + 1);
        let (indices, undivided) = planning::plan(&seen);
        let window = planning::documents(&seen);
        // What had to be made less stays so.
        let (batch_size, relief) = match &status.plan {
            Some(plan) => (plan.batch_size, plan.relief),
            None => (seen.load.batch_size, 0),
        };
        status.plan = Some(CopyPlan {
            round,
            batch_size,
            parallelism: seen.load.parallelism,
            relief,
            source_shards: i32::try_from(seen.shards.len()).unwrap_or(i32::MAX),
            indices,
            done: String::new(),
            conflicted: String::new(),
            repairs: 0,
            done_at: None,
            undivided,
            uneven: None,
        });
        let already = status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.documents);
        let documents = if round == 0 { seen.documents } else { already + window };
        status.checkpoint = Some(Checkpoint { documents, ..verify::checkpoint(&seen.shards, documents) });
        status.tuning = status.tuning.take().or(seen.tuning.clone());
        let (step, reason, message) = match round {
            0 => (StepName::Copy, "Copying", format!("copying {documents} documents{}", self.undivided())),
            _ => {
                let most = self.reindex.spec.catch_up_rounds();
                let message =
                    format!("the source moved: copying {window} documents that changed, round {round} of {most}");
                (StepName::CatchUp, "SourceChanging", message)
            }
        };
        self.report.running(step, reason, &message);
        if round > 0 {
            self.report.note(false, "CatchingUp", &message);
        }
        let starts = self.fill(seen.slots);
        self.show_progress(&[]);
        let wait = progress::soon();
        match starts.is_empty() && seen.tuning.is_none() {
            true if self.all_done() => self.copied(),
            true => self.decision(None, Requeue::After(wait)),
            false => {
                self.decision(Some(Effect::StartTasks { tune: seen.tuning.is_some(), starts }), Requeue::After(wait))
            }
        }
    }

    fn undivided(&self) -> String {
        let why = self.report.status.plan.as_ref().and_then(|plan| plan.undivided.as_deref());
        why.map_or(String::new(), |why| format!(", not divided: {why}"))
    }

    /// Looks at every range that runs, then starts more.
    pub(super) fn copy(mut self, seen: Copying) -> Decision {
        let mut running = vec![];
        for (id, seen) in seen.seen {
            let Some(at) = self.report.status.partitions.iter().position(|partition| partition.id == id) else {
                continue;
            };
            match seen {
                PartitionSeen::Adopt(Some(task)) => self.adopt(at, task),
                PartitionSeen::Adopt(None) => {
                    let told = self.report.status.partitions[at].message.clone();
                    let why = told.unwrap_or_else(|| "no task is found where one was to be started".into());
                    self.again(at, &why, Relief::None);
                }
                PartitionSeen::Task(task) => match self.judge(at, task) {
                    Ok(found) => running.extend(found),
                    Err(End::Failed { reason, message }) => return self.fail(reason, &message),
                    Err(End::TooLarge(id)) => return self.find_too_large(id),
                },
            }
        }
        if let Some(message) = self.given_up() {
            return self.fail("CopyFailed", &message);
        }
        if self.all_done() {
            return self.copied();
        }
        if self.reindex.spec.suspend {
            return self.suspend(&running);
        }
        let starts = match &seen.hold {
            Some(_) => vec![],
            None => self.fill(seen.slots),
        };
        let limited = seen.slots == 0 && starts.is_empty();
        self.tell(&running, seen.hold.as_ref(), limited);
        let wait = match seen.hold.is_some() && running.is_empty() {
            true => GATE,
            false => self.next_look(&running),
        };
        let effect = match (starts.is_empty(), self.throttles(&running)) {
            (false, _) => Some(Effect::StartTasks { tune: false, starts }),
            (true, throttles) if !throttles.is_empty() => Some(Effect::Throttle(throttles)),
            (true, _) => None,
        };
        self.decision(effect, Requeue::After(wait))
    }

    /// What a range's task came to. `Ok` with what runs on.
    fn judge(&mut self, at: usize, task: Task) -> Result<Option<Running>, End> {
        if matches!(task, Task::Cancelled(_)) && self.reindex.spec.suspend {
            self.put_off(at);
            return Ok(None);
        }
        match copy::judge(task) {
            Verdict::GoesOn(running) => return Ok(Some(running)),
            Verdict::Succeeded(result) => self.range_copied(at, result),
            Verdict::Again { relief: Relief::SmallerBatch, .. }
                if self.report.status.partitions[at].batch_size == Some(1) =>
            {
                return Err(End::TooLarge(self.report.status.partitions[at].id));
            }
            Verdict::Again { message, relief } => self.again(at, &message, relief),
            Verdict::LockedOut { message } => self.locked_out(at, &message),
            Verdict::Failed { reason, message, result } => {
                let partition = self.report.status.partitions.remove(at);
                let result = self.folded(result.unwrap_or_default(), partition.attempt);
                copy::add(self.report.status.result.get_or_insert_with(no_result), result);
                self.show_progress(&[]);
                return Err(End::Failed { reason, message });
            }
        }
        Ok(None)
    }

    /// No smaller batch helps. What the range's task came to stays where it is, so that it is found again after a crash.
    fn find_too_large(self, id: i32) -> Decision {
        let status = &self.report.status;
        let query = status.plan.as_ref().and_then(|plan| {
            let range = partitions::ranges(plan)?.into_iter().nth(id as usize)?;
            ranges::query(&range, self.reindex.spec.source.query.as_ref(), plan.indices.len() == 1)
        });
        self.decision(Some(Effect::FindTooLarge(query)), Requeue::Now)
    }

    /// A document alone is more than a batch may be.
    pub(super) fn too_large(self, found: Option<&str>) -> Decision {
        let which = found.map_or("one of the documents".to_owned(), |id| format!("document {id}"));
        let message = format!(
            "{which} is larger than the 100 MB that the destination reads at once, so no batch size helps. Leave it out with source.query, or large fields of it with source.sourceFields, in a new Reindex"
        );
        self.fail("DocumentTooLarge", &message)
    }

    /// The sums change in the same write as the bit that says that the range is done.
    fn range_copied(&mut self, at: usize, result: CopyResult) {
        let partition = self.report.status.partitions.remove(at);
        let (conflicts, read) = (result.version_conflicts, result.total);
        let folded = self.folded(result, partition.attempt);
        let now = self.report.now();
        let status = &mut self.report.status;
        copy::add(status.result.get_or_insert_with(no_result), folded);
        let round = status.plan.as_ref().map_or(0, |plan| plan.round);
        history::note_range(status.history.get_or_insert_default(), round, &partition, read, now);
        if let Some(plan) = &mut status.plan {
            partitions::set_done(plan, partition.id as usize);
            let counted =
                partitions::ranges(plan).and_then(|ranges| Some(ranges.get(partition.id as usize)?.documents));
            if let Some(counted) = counted.filter(|counted| *counted != read) {
                let name = partition.id;
                plan.uneven.get_or_insert_with(|| format!("range {name}: {read} documents read, {counted} counted"));
            }
            if conflicts > 0 {
                partitions::set_conflicted(plan, partition.id as usize);
            }
        }
    }

    /// What an attempt answered, as it counts: in an index that was there before, what is updated was not ours.
    pub(super) fn folded(&self, result: CopyResult, attempt: i32) -> CopyResult {
        match created(&self.report.status) {
            true => copy::fold_repeats(result, attempt),
            false => result,
        }
    }

    /// The range is copied again after a pause, with less of what was too much.
    fn again(&mut self, at: usize, message: &str, relief: Relief) {
        let status = &mut self.report.status;
        let Some(plan) = &mut status.plan else { return };
        let partition = &mut status.partitions[at];
        let batch = partition.batch_size.unwrap_or(plan.batch_size);
        let smaller = match relief {
            Relief::None => None,
            Relief::FewerTasks if at_once(self.reindex, plan) > 1 => {
                plan.relief += 1;
                None
            }
            Relief::FewerTasks => Some((batch / 2).max(1)),
            Relief::SmallerBatch => Some((batch / 4).max(1)),
        };
        if let Some(smaller) = smaller {
            plan.batch_size = plan.batch_size.min(smaller);
            partition.batch_size = Some(smaller);
        }
        partition.attempt += 1;
        // Batches can't become smaller for ever: that ends by itself, and soon.
        let wait = match relief {
            Relief::SmallerBatch => copy::backoff(FIRST_REPEAT),
            Relief::None | Relief::FewerTasks => {
                partition.failures += 1;
                copy::backoff(partition.failures + 1)
            }
        };
        self.pause(at, message, wait);
    }

    /// A range waits so long before its next attempt, and says why.
    fn pause(&mut self, at: usize, message: &str, wait: Duration) {
        let now = self.report.now();
        let partition = &mut self.report.status.partitions[at];
        lay_aside(partition, now.checked_add(wait).unwrap_or(now));
        partition.message = Some(progress::short(message));
        let text = format!("range {}: {message}; attempt {} in {} s", partition.id, partition.attempt, wait.as_secs());
        self.report.note(true, "CopyRetried", &text);
    }

    /// A range whose task was cancelled for a suspension is copied later; that is no failure.
    fn put_off(&mut self, at: usize) {
        let now = self.report.now();
        let partition = &mut self.report.status.partitions[at];
        partition.attempt += 1;
        lay_aside(partition, now);
    }

    /// The source refused the task's password or API key: as a rule somebody has changed it. That is no failure of the copy, however often
    /// it is done: the range is begun anew with what the Secret holds then, and where that is not valid yet nothing is started. Later each
    /// time, because the nodes may be refused for ever at an address where the operator is let in.
    fn locked_out(&mut self, at: usize, message: &str) {
        let partition = &mut self.report.status.partitions[at];
        partition.attempt += 1;
        let wait = copy::backoff(partition.attempt);
        self.pause(at, message, wait);
    }

    /// A range that failed too often; why.
    fn given_up(&self) -> Option<String> {
        let limit = self.reindex.spec.execution.backoff_limit;
        let over = self.report.status.partitions.iter().find(|partition| partition.failures > limit)?;
        let message = over.message.clone().unwrap_or_default();
        Some(format!("range {}: {message}; given up after {} attempts", over.id, limit + 1))
    }

    /// Ranges that may be started now, those first that are tried again. Their intent is written with the status.
    fn fill(&mut self, slots: i32) -> Vec<Start> {
        let now = self.report.now();
        let status = &mut self.report.status;
        let Some(plan) = &mut status.plan else { return vec![] };
        let Some(all) = partitions::ranges(plan) else { return vec![] };
        let most = at_once(self.reindex, plan).max(1) as usize;
        let running = active(&status.partitions);
        let mut left = most.saturating_sub(running).min(slots.max(0) as usize);
        // A range that waits keeps its place: where everything fails, not everything is tried at once.
        let free = most.saturating_sub(status.partitions.len());
        let known: Vec<i32> = status.partitions.iter().map(|partition| partition.id).collect();
        let fresh = (0..all.len()).filter(|id| !partitions::is_done(plan, *id) && !known.contains(&(*id as i32)));
        let due = |partition: &Partition| partition.state == PartitionState::Waiting && partition.started_at.0 <= now;
        let mut starting: Vec<i32> = vec![];
        for partition in status.partitions.iter_mut().filter(|partition| due(partition)).take(left) {
            let own = partition.batch_size.unwrap_or(plan.batch_size);
            partition.batch_size = Some(own.min(plan.batch_size));
            partition.state = PartitionState::Starting;
            partition.started_at = Time(now);
            partition.message = None;
            starting.push(partition.id);
        }
        left -= starting.len();
        for id in fresh.take(free.min(left)) {
            starting.push(id as i32);
            status.partitions.push(Partition {
                id: id as i32,
                attempt: 1,
                failures: 0,
                state: PartitionState::Starting,
                task: None,
                started_at: Time(now),
                batch_size: Some(plan.batch_size),
                documents_copied: None,
                documents_total: None,
                message: None,
            });
        }
        starting.iter().filter_map(|id| self.start(&all, *id)).collect()
    }

    fn start(&self, all: &[Range], id: i32) -> Option<Start> {
        let status = &self.report.status;
        let (plan, partition) = (status.plan.as_ref()?, status.partitions.iter().find(|partition| partition.id == id)?);
        let alone = plan.indices.len() == 1;
        Some(Start {
            partition: id,
            attempt: partition.attempt,
            query: ranges::query(all.get(id as usize)?, self.reindex.spec.source.query.as_ref(), alone),
            batch_size: partition.batch_size.unwrap_or(plan.batch_size),
            requests_per_second: self.throttle(),
        })
    }

    /// Each task's share of `requestsPerSecond`.
    fn throttle(&self) -> Option<f64> {
        let tasks = active(&self.report.status.partitions).max(1);
        self.reindex.spec.execution.requests_per_second.map(|limit| f64::from(limit) / tasks as f64)
    }

    /// Tasks whose throttle is not what it should be: the limit was changed, or others have ended.
    fn throttles(&self, running: &[Running]) -> Vec<(String, f64)> {
        let wanted = self.throttle();
        let differs = |running: &&Running| match (running.requests_per_second, wanted) {
            (None, None) => false,
            (Some(is), Some(wanted)) => (is - wanted).abs() > wanted * 0.01,
            _ => true,
        };
        running.iter().filter(differs).map(|running| (running.task.clone(), wanted.unwrap_or(-1.0))).collect()
    }

    /// What came of starts whose intent was written.
    pub(super) fn started(mut self, ranges: Vec<(i32, Started)>, counted: bool) -> Decision {
        let mut refused = None;
        for (id, outcome) in ranges {
            let Some(at) = self.report.status.partitions.iter().position(|partition| partition.id == id) else {
                continue;
            };
            match outcome {
                Started::Task(task) => self.run(at, task, "CopyStarted"),
                Started::Adopted(task) => self.adopt(at, task),
                Started::Refused(message) => {
                    // Nothing runs: the destination said so.
                    self.report.status.partitions.remove(at);
                    refused = Some(message);
                }
                Started::Unclear(message) => {
                    let message = format!("it is not known whether the task was started: {message}");
                    self.report.status.partitions[at].message = Some(progress::short(&message));
                }
            }
        }
        if let Some(message) = refused {
            return self.fail("CopyRefused", &message);
        }
        let running = self.report.status.partitions.iter().filter(|p| p.state == PartitionState::Running).count();
        if let Some(progress) = &mut self.report.status.progress {
            progress.partitions_running = running as i32;
        }
        // A task whose number is lost, and that has ended by then, is run again: nobody may be told that it failed, or find its documents.
        let repeatable =
            self.reindex.spec.destination.op_type == OpType::Index && self.reindex.spec.execution.backoff_limit > 0;
        let requeue = if repeatable && !counted { Requeue::Shortly } else { Requeue::After(progress::soon()) };
        self.decision(None, requeue)
    }

    /// Whichever attempt it is of: with which batches it runs is not known.
    fn adopt(&mut self, at: usize, task: String) {
        self.report.status.partitions[at].batch_size = None;
        self.run(at, task, "CopyAdopted");
    }

    fn run(&mut self, at: usize, task: String, reason: &'static str) {
        let partition = &mut self.report.status.partitions[at];
        partition.state = PartitionState::Running;
        partition.task = Some(task.clone());
        let message = format!("range {}, attempt {}: task {task} on the destination", partition.id, partition.attempt);
        self.report.note(false, reason, &message);
    }

    /// A cluster is about to restart, or restarts.
    pub(super) fn gate_closed(self, cluster: &str) -> Decision {
        self.withdraw("WaitingForRestart", &restarting(cluster))
    }

    /// Something else comes first: nothing of this pass was started.
    pub(super) fn withdraw(mut self, reason: &'static str, message: &str) -> Decision {
        let status = &mut self.report.status;
        status.partitions.retain_mut(|partition| {
            let intent = partition.state == PartitionState::Starting && partition.task.is_none();
            if intent && partition.attempt > 1 {
                partition.state = PartitionState::Waiting;
            }
            !(intent && partition.attempt == 1)
        });
        if status.partitions.is_empty() && status.result.is_none() {
            // Nothing is copied yet: the source may move meanwhile.
            status.plan = None;
            status.checkpoint = None;
            status.progress = None;
        }
        let step = self.current_step();
        self.report.running(step, reason, message);
        self.decision(None, Requeue::After(GATE))
    }

    fn all_done(&self) -> bool {
        self.report.status.plan.as_ref().is_some_and(partitions::all_done)
    }

    /// Every range is copied.
    pub(super) fn copied(mut self) -> Decision {
        let now = self.report.now();
        if self.report.status.plan.as_ref().is_some_and(|plan| is_to_be_repaired(self.reindex, plan)) {
            let message = "the destination holds documents in a higher version: looking whether they are stale";
            let step = self.current_step();
            self.report.status.partitions.clear();
            self.report.running(step, "Repairing", message);
            return self.decision(None, Requeue::Now);
        }
        let status = &mut self.report.status;
        let result = status.result.get_or_insert_with(no_result).clone();
        status.partitions.clear();
        if let Some(plan) = &mut status.plan {
            plan.done_at = Some(Time(now));
        }
        self.show_progress(&[]);
        let step = self.current_step();
        if let Some(message) = copy::judge_conflicts(&result, self.reindex.spec.conflicts) {
            return self.fail("VersionConflicts", &message);
        }
        let seconds = self.copying_for().unwrap_or_default().as_secs_f64();
        let message = match step {
            StepName::CatchUp => "caught up with what changed meanwhile".to_owned(),
            _ => format!("copied {} documents in {seconds:.1} s", copy::accounted(&result)),
        };
        self.report.succeeded(step, if step == StepName::CatchUp { "CaughtUp" } else { "Copied" }, &message);
        self.report.running(StepName::Verify, "Verifying", "comparing source and destination");
        self.decision(None, Requeue::Now)
    }
}

/// No task of the range runs any more; the next may be started at this time.
fn lay_aside(partition: &mut Partition, until: Timestamp) {
    partition.state = PartitionState::Waiting;
    partition.started_at = Time(until);
    (partition.task, partition.documents_copied, partition.documents_total) = (None, None, None);
}

/// How many tasks run at once: what the spec or the plan says, less what was too much.
fn at_once(reindex: &Reindex, plan: &CopyPlan) -> i32 {
    reindex.spec.execution.parallelism.unwrap_or(plan.parallelism) - plan.relief
}

/// Tasks that run, or may run.
fn active(partitions: &[Partition]) -> usize {
    partitions.iter().filter(|partition| partition.state != PartitionState::Waiting).count()
}

/// Whether ranges had documents that the destination holds in a higher version, which may be stale: deleted and created anew on the
/// source. Only in an index of ours whose documents are those of the source, and not where the destination's are to be kept.
pub(super) fn is_to_be_repaired(reindex: &Reindex, plan: &CopyPlan) -> bool {
    reindex.spec.conflicts == Conflicts::Abort
        && as_on_the_source(&reindex.spec)
        && reindex.spec.destination.op_type == OpType::Index
        && reindex.spec.destination.routing == "keep"
        && reindex.status.as_ref().is_some_and(created)
        && plan.repairs < MOST_REPAIRS
        && !partitions::conflicted(plan).is_empty()
}

/// Whether every document is written as it stands on the source, under its own id.
pub fn as_on_the_source(spec: &ReindexSpec) -> bool {
    spec.script.is_none() && spec.destination.pipeline.is_none()
}

pub(super) fn no_result() -> CopyResult {
    CopyResult { requests_per_second: -1.0, ..CopyResult::default() }
}
