//! What became of a copy's task.

use std::time::Duration;

use crate::api::{
    reindex::Conflicts,
    reindex_status::{CopyResult, Failure},
};

/// How often a copy is begun before it is given up.
pub const MAX_ATTEMPTS: i32 = 4;
/// How many documents that failed are listed.
pub const LISTED_FAILURES: usize = 10;

/// How many of them a message names.
const NAMED_FAILURES: usize = 3;

/// A task as the destination shows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// It runs.
    Running {
        /// Documents read or written so far.
        copied: i64,
        /// Documents to copy, as the task counts them; 0 until it knows.
        total: i64,
    },
    /// It ended by itself.
    Ended(Box<CopyResult>),
    /// It was cancelled, and not by us.
    Cancelled,
    /// It ended with an error.
    Died(Death),
    /// The destination does not know it.
    Lost,
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
    /// The source is not on the allowlist.
    NotAllowed,
    /// A batch was over 100 MB.
    BatchTooLarge,
    /// Trying again would end the same way.
    Permanent,
}

/// What follows from a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Look again later.
    GoesOn {
        /// Documents copied so far.
        copied: i64,
    },
    /// It copied everything it read.
    Succeeded(CopyResult),
    /// Begin again: the destination keeps the newest version of every document, so repeating is harmless.
    Again {
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
pub fn judge(task: Task, conflicts: Conflicts) -> Verdict {
    match task {
        Task::Running { copied, .. } => Verdict::GoesOn { copied },
        Task::Ended(result) => judge_result(*result, conflicts),
        Task::Lost => Verdict::Again { message: "the destination no longer knows the task: its node was restarted or lost".into() },
        Task::Cancelled => Verdict::Failed {
            reason: "TaskCancelled",
            message: "somebody cancelled the task on the destination; what was copied stays. To try again, delete the destination index and create a new Reindex".into(),
            result: None,
        },
        Task::Died(Death { class, message }) => match class {
            DeathClass::Passing | DeathClass::NotAllowed => Verdict::Again { message },
            DeathClass::BatchTooLarge => Verdict::Failed {
                reason: "BatchTooLarge",
                message: format!("{message}: create a new Reindex with a smaller execution.batchSize"),
                result: None,
            },
            DeathClass::Permanent => Verdict::Failed { reason: "CopyFailed", message, result: None },
        },
    }
}

fn judge_result(result: CopyResult, conflicts: Conflicts) -> Verdict {
    if !result.failures.is_empty() {
        let listed: Vec<_> = result.failures.iter().take(NAMED_FAILURES).map(named).collect();
        let message = format!(
            "the destination refused documents, and the copy ended there: {} (status.result.failures). Mend the documents or destination.mappings, and create a new Reindex",
            listed.join("; ")
        );
        return Verdict::Failed { reason: "DocumentFailures", message, result: Some(result) };
    }
    if result.timed_out {
        return Verdict::Again { message: "a request of the task timed out".into() };
    }
    if result.version_conflicts > 0 && conflicts == Conflicts::Abort {
        let message = format!(
            "{} documents were held by the destination already (in a higher version; with opType Create in any, those of a lost attempt too): somebody else writes to it. With conflicts: Proceed they are left as they are",
            result.version_conflicts
        );
        return Verdict::Failed { reason: "VersionConflicts", message, result: Some(result) };
    }
    let accounted = result.created + result.updated + result.deleted + result.version_conflicts + result.noops;
    if accounted != result.total {
        let message = format!("the task read {} documents and accounts for {accounted}", result.total);
        return Verdict::Failed { reason: "CopyIncomplete", message, result: Some(result) };
    }
    Verdict::Succeeded(result)
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

/// How long to wait before attempt `next`: 2 s, 10 s, 50 s.
pub fn backoff(next: i32) -> Duration {
    Duration::from_secs(2 * 5u64.pow((next - 2).clamp(0, 3) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> CopyResult {
        CopyResult { total: 6, created: 6, requests_per_second: -1.0, ..CopyResult::default() }
    }

    fn reason(task: Task, conflicts: Conflicts) -> &'static str {
        match judge(task, conflicts) {
            Verdict::GoesOn { .. } => "GoesOn",
            Verdict::Succeeded(_) => "Succeeded",
            Verdict::Again { .. } => "Again",
            Verdict::Failed { reason, .. } => reason,
        }
    }

    #[test]
    fn only_a_task_that_accounts_for_every_document_succeeds() {
        let ended = |result| Task::Ended(Box::new(result));
        assert_eq!(reason(ended(result()), Conflicts::Abort), "Succeeded");
        assert_eq!(reason(ended(CopyResult { created: 5, ..result() }), Conflicts::Abort), "CopyIncomplete");
        assert_eq!(reason(ended(CopyResult { timed_out: true, ..result() }), Conflicts::Abort), "Again");
        let conflicting = CopyResult { created: 4, version_conflicts: 2, ..result() };
        assert_eq!(reason(ended(conflicting.clone()), Conflicts::Abort), "VersionConflicts");
        assert_eq!(reason(ended(conflicting), Conflicts::Proceed), "Succeeded");
        let failure = Failure { id: Some("7".into()), status: Some(400), reason: "mapper_parsing_exception".into() };
        assert_eq!(
            reason(ended(CopyResult { failures: vec![failure], ..result() }), Conflicts::Proceed),
            "DocumentFailures"
        );
    }

    #[test]
    fn a_lost_task_is_neither_success_nor_failure() {
        assert_eq!(reason(Task::Lost, Conflicts::Abort), "Again");
        assert_eq!(reason(Task::Cancelled, Conflicts::Abort), "TaskCancelled");
    }

    #[test]
    fn errors_are_repeated_only_where_that_can_help() {
        let died = |class| Task::Died(Death { class, message: "m".into() });
        assert_eq!(reason(died(DeathClass::Passing), Conflicts::Abort), "Again");
        assert_eq!(reason(died(DeathClass::BatchTooLarge), Conflicts::Abort), "BatchTooLarge");
        assert_eq!(reason(died(DeathClass::Permanent), Conflicts::Abort), "CopyFailed");
    }

    #[test]
    fn what_a_repeat_updates_was_created_before() {
        let repeated = CopyResult { created: 1, updated: 5, ..result() };
        assert_eq!(fold_repeats(repeated.clone(), 1), repeated);
        assert_eq!((fold_repeats(repeated.clone(), 2).created, fold_repeats(repeated, 2).updated), (6, 0));
    }
}
