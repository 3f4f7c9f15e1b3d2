//! What became of a task.

use std::{collections::BTreeSet, time::Duration};

use crate::api::{
    reindex::Conflicts,
    reindex_status::{CopyResult, Failure},
};

/// How many documents that failed are listed.
pub const LISTED_FAILURES: usize = 10;

/// How many of them a message names.
const NAMED_FAILURES: usize = 3;

/// A task as the destination shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// It runs.
    Running(Running),
    /// It ended by itself.
    Ended(Box<CopyResult>),
    /// It was cancelled, after so much.
    Cancelled(Box<CopyResult>),
    /// It ended with an error.
    Died(Death),
    /// The destination does not know it.
    Lost,
}

/// How far a task that runs is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// Its id.
    pub task: String,
    /// Documents read or written so far.
    pub copied: i64,
    /// Documents to copy, as the task counts them; 0 until it knows.
    pub total: i64,
    /// Its throttle in documents a second; None is none.
    pub requests_per_second: Option<f64>,
}

/// Why a task ended with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// What kind of error.
    pub class: DeathClass,
    /// Bounded, without anything that the remote said.
    pub message: String,
}

/// Kinds of errors, by what to do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathClass {
    /// Passes by itself: try again.
    Passing,
    /// A cluster refused more at once: try again with less.
    Overloaded,
    /// The source is not on the allowlist.
    NotAllowed,
    /// The source refused the password or API key: it was changed after the task was started.
    LockedOut,
    /// A batch was over 100 MB.
    BatchTooLarge,
    /// Trying again would end the same way.
    Permanent,
}

/// What the next attempt does less of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relief {
    /// Nothing: the load was not the reason.
    None,
    /// Fewer tasks at once; where only one runs, smaller batches.
    FewerTasks,
    /// Smaller batches.
    SmallerBatch,
}

/// What follows from a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Look again later.
    GoesOn(Running),
    /// It copied everything it read.
    Succeeded(CopyResult),
    /// Begin again: the destination keeps the newest version of every document, so repeating is harmless.
    Again {
        /// What happened.
        message: String,
        /// What to do less of.
        relief: Relief,
    },
    /// Begin again with the credentials that are valid then.
    LockedOut {
        /// What happened.
        message: String,
    },
    /// It is over.
    Failed {
        /// Reason of the condition.
        reason: &'static str,
        /// What happened, and what to do.
        message: String,
        /// What was copied, where the task said.
        result: Option<CopyResult>,
    },
}

/// What follows from what the task says. A doubt is never a success.
pub fn judge(task: Task) -> Verdict {
    let again = |message: &str| Verdict::Again { message: message.to_owned(), relief: Relief::None };
    match task {
        Task::Running(running) => Verdict::GoesOn(running),
        Task::Ended(result) => judge_result(*result),
        Task::Lost => again("the destination no longer knows the task: its node was restarted or lost"),
        Task::Cancelled(_) => again("somebody cancelled the task on the destination"),
        Task::Died(Death { class, message }) => match class {
            DeathClass::Passing | DeathClass::NotAllowed => Verdict::Again { message, relief: Relief::None },
            DeathClass::LockedOut => Verdict::LockedOut { message },
            DeathClass::Overloaded => Verdict::Again { message, relief: Relief::FewerTasks },
            DeathClass::BatchTooLarge => Verdict::Again { message, relief: Relief::SmallerBatch },
            DeathClass::Permanent => Verdict::Failed { reason: "CopyFailed", message, result: None },
        },
    }
}

fn judge_result(result: CopyResult) -> Verdict {
    if let Some(again) = judge_passing(&result.failures) {
        return again;
    }
    if !result.failures.is_empty() {
        let listed: Vec<_> = result.failures.iter().take(NAMED_FAILURES).map(named).collect();
        let message = format!(
            "the destination refused documents, and the copy ended there: {} (status.result.failures). Mend the documents or destination.mappings, and create a new Reindex",
            listed.join("; ")
        );
        return Verdict::Failed { reason: "DocumentFailures", message, result: Some(result) };
    }
    if result.timed_out {
        return Verdict::Again { message: "a request of the task timed out".into(), relief: Relief::None };
    }
    let accounted = result.created + result.updated + result.deleted + result.version_conflicts + result.noops;
    if accounted != result.total {
        let message = format!("a task read {} documents and accounts for {accounted}", result.total);
        return Verdict::Failed { reason: "CopyIncomplete", message, result: Some(result) };
    }
    Verdict::Succeeded(result)
}

/// Failures that pass by themselves: a shard of the source that could not be read, a node that was away or refused for load. The engines
/// list them with the documents that they refuse.
fn judge_passing(failures: &[Failure]) -> Option<Verdict> {
    let passes =
        |failure: &Failure| failure.id.is_none() || failure.status.is_some_and(|status| status == 429 || status >= 500);
    if failures.is_empty() || !failures.iter().all(passes) {
        return None;
    }
    let overloaded = failures.iter().any(|failure| failure.status == Some(429));
    let relief = if overloaded { Relief::FewerTasks } else { Relief::None };
    let statuses: BTreeSet<i32> = failures.iter().filter_map(|failure| failure.status).collect();
    let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
    let message = format!("shards could not be read or written for a while (HTTP status {})", statuses.join(", "));
    Some(Verdict::Again { message, relief })
}

/// What the conflicts of the whole copy mean, when everything else is copied; None if nothing is wrong.
pub fn judge_conflicts(result: &CopyResult, conflicts: Conflicts) -> Option<String> {
    (result.version_conflicts > 0 && conflicts == Conflicts::Abort).then(|| {
        format!(
            "{} documents were held by the destination already (in a higher version; with opType Create in any, those of a lost task too): somebody else writes to it. With conflicts: Proceed they are left as they are",
            result.version_conflicts
        )
    })
}

fn named(failure: &Failure) -> String {
    match &failure.id {
        Some(id) => format!("{id} ({})", failure.reason),
        None => failure.reason.clone(),
    }
}

/// On the index that we made, what a repeated attempt calls `updated` was created by an earlier attempt.
pub fn fold_repeats(mut result: CopyResult, attempt: i32) -> CopyResult {
    if attempt > 1 {
        result.created += result.updated;
        result.updated = 0;
    }
    result
}

/// Adds what one more task answered.
pub fn add(sum: &mut CopyResult, task: CopyResult) {
    sum.took += task.took;
    sum.timed_out |= task.timed_out;
    sum.total += task.total;
    sum.updated += task.updated;
    sum.created += task.created;
    sum.deleted += task.deleted;
    sum.batches += task.batches;
    sum.version_conflicts += task.version_conflicts;
    sum.noops += task.noops;
    sum.retries.bulk += task.retries.bulk;
    sum.retries.search += task.retries.search;
    sum.throttled_millis += task.throttled_millis;
    sum.requests_per_second = task.requests_per_second;
    sum.failures.extend(task.failures);
    sum.failures.truncate(LISTED_FAILURES);
}

/// Documents that a result accounts for.
pub fn accounted(result: &CopyResult) -> i64 {
    result.created + result.updated + result.deleted + result.version_conflicts + result.noops
}

/// How long to wait before attempt `next`: 2 s, 10 s, 50 s, 250 s, then 300 s.
pub fn backoff(next: i32) -> Duration {
    Duration::from_secs((2 * 5u64.pow((next - 2).clamp(0, 4) as u32)).min(300))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> CopyResult {
        CopyResult { total: 6, created: 6, requests_per_second: -1.0, ..CopyResult::default() }
    }

    fn reason(task: Task) -> &'static str {
        match judge(task) {
            Verdict::GoesOn(_) => "GoesOn",
            Verdict::Succeeded(_) => "Succeeded",
            Verdict::Again { relief: Relief::None, .. } => "Again",
            Verdict::Again { relief: Relief::FewerTasks, .. } => "FewerTasks",
            Verdict::Again { relief: Relief::SmallerBatch, .. } => "SmallerBatch",
            Verdict::LockedOut { .. } => "LockedOut",
            Verdict::Failed { reason, .. } => reason,
        }
    }

    #[test]
    fn only_a_task_that_accounts_for_every_document_succeeds() {
        let ended = |result| Task::Ended(Box::new(result));
        assert_eq!(reason(ended(result())), "Succeeded");
        assert_eq!(reason(ended(CopyResult { created: 5, ..result() })), "CopyIncomplete");
        assert_eq!(reason(ended(CopyResult { timed_out: true, ..result() })), "Again");
        assert_eq!(reason(ended(CopyResult { created: 4, version_conflicts: 2, ..result() })), "Succeeded");
        let failure = Failure { id: Some("7".into()), status: Some(400), reason: "mapper_parsing_exception".into() };
        assert_eq!(reason(ended(CopyResult { failures: vec![failure], ..result() })), "DocumentFailures");
    }

    #[test]
    fn what_could_not_be_written_for_a_while_is_no_fault_of_the_document() {
        let failure =
            |id: Option<&str>, status| Failure { id: id.map(str::to_owned), status: Some(status), reason: "r".into() };
        let ended = |failures: Vec<Failure>| reason(Task::Ended(Box::new(CopyResult { failures, ..result() })));
        assert_eq!(ended(vec![failure(Some("7"), 503)]), "Again");
        assert_eq!(ended(vec![failure(Some("7"), 429), failure(Some("8"), 503)]), "FewerTasks");
        assert_eq!(ended(vec![failure(None, 404)]), "Again");
        assert_eq!(ended(vec![failure(Some("7"), 503), failure(Some("8"), 400)]), "DocumentFailures");
    }

    #[test]
    fn conflicts_are_judged_when_the_rest_is_copied() {
        let conflicting = CopyResult { version_conflicts: 2, ..result() };
        assert!(judge_conflicts(&conflicting, Conflicts::Abort).is_some());
        assert_eq!(judge_conflicts(&conflicting, Conflicts::Proceed), None);
        assert_eq!(judge_conflicts(&result(), Conflicts::Abort), None);
    }

    #[test]
    fn a_task_that_is_gone_is_neither_success_nor_failure() {
        assert_eq!(reason(Task::Lost), "Again");
        assert_eq!(reason(Task::Cancelled(Box::default())), "Again");
    }

    #[test]
    fn errors_are_repeated_only_where_that_can_help() {
        let died = |class| Task::Died(Death { class, message: "m".into() });
        assert_eq!(reason(died(DeathClass::Passing)), "Again");
        assert_eq!(reason(died(DeathClass::LockedOut)), "LockedOut");
        assert_eq!(reason(died(DeathClass::Overloaded)), "FewerTasks");
        assert_eq!(reason(died(DeathClass::BatchTooLarge)), "SmallerBatch");
        assert_eq!(reason(died(DeathClass::Permanent)), "CopyFailed");
    }

    #[test]
    fn what_a_repeat_updates_was_created_before() {
        let repeated = CopyResult { created: 1, updated: 5, ..result() };
        assert_eq!(fold_repeats(repeated.clone(), 1), repeated);
        assert_eq!((fold_repeats(repeated.clone(), 2).created, fold_repeats(repeated, 2).updated), (6, 0));
    }

    #[test]
    fn results_add_up() {
        let mut sum = result();
        add(&mut sum, CopyResult { took: 5, total: 4, created: 3, noops: 1, ..result() });
        assert_eq!((sum.total, sum.created, sum.noops, sum.took, accounted(&sum)), (10, 9, 1, 5, 10));
    }

    #[test]
    fn pauses_grow_to_five_minutes() {
        assert_eq!([2, 3, 4, 5, 6, 7].map(|next| backoff(next).as_secs()), [2, 10, 50, 250, 300, 300]);
    }
}
