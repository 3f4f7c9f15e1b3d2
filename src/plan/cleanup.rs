//! What deleting a Reindex does before the object may go: always something that ends.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::{Reindex, ReindexStatus, reindex::DeletionPolicy, reindex_status::Tuning};

use super::{
    reindex::{is_mending, runs},
    report::{Note, is_finished},
    validate::Trouble,
};

/// How long a cluster that can't be reached may hold a deletion up.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// How long to wait before it is asked again.
pub const PAUSE: Duration = Duration::from_secs(5);

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// The object may go.
    Release(Option<Note>),
    /// Cancel these tasks, and look again.
    Cancel(Vec<String>),
    /// Put the destination index's settings back, then let the object go.
    Restore(Tuning, Option<Note>),
    /// Look again after this time.
    Wait(Duration),
}

/// Whether tasks of this object have to be looked for, to be cancelled: they may run. Where every range is copied, one may still be
/// delivered whose request got lost.
pub fn owes_cancel(reindex: &Reindex) -> bool {
    let may_run =
        |status: &ReindexStatus| runs(status) || is_mending(status) || (status.plan.is_some() && !is_finished(status));
    reindex.spec.deletion_policy == DeletionPolicy::Cancel && reindex.status.as_ref().is_some_and(may_run)
}

/// Decides from our tasks that still run on the destination, or from why they can't be seen.
pub fn decide(reindex: &Reindex, seen: Result<Vec<String>, Trouble>, now: Timestamp) -> Cleanup {
    let overdue = is_overdue(reindex, now);
    let restore = |note| match reindex.status.as_ref().and_then(|status| status.tuning.clone()) {
        Some(tuning) => Cleanup::Restore(tuning, note),
        None => Cleanup::Release(note),
    };
    match seen {
        Ok(tasks) if tasks.is_empty() => restore(None),
        Ok(tasks) if !overdue => Cleanup::Cancel(tasks),
        Ok(tasks) => {
            let still = format!("tasks {} were cancelled but still run on the destination", tasks.join(", "));
            restore(Some(warning(still)))
        }
        Err(_) if !overdue => Cleanup::Wait(PAUSE),
        Err(trouble) => Cleanup::Release(Some(warning(format!(
            "a task may still run on the destination, which could not be asked{}: {}",
            left(reindex),
            trouble.message
        )))),
    }
}

/// What people are told when the settings could not be put back and nobody waits for that any longer; None while it is tried again.
pub fn give_up(reindex: &Reindex, trouble: &Trouble, now: Timestamp) -> Option<Note> {
    let told = format!("the destination could not be asked{}: {}", left(reindex), trouble.message);
    is_overdue(reindex, now).then(|| warning(told))
}

fn is_overdue(reindex: &Reindex, now: Timestamp) -> bool {
    reindex.metadata.deletion_timestamp.as_ref().is_some_and(|since| now.duration_since(since.0) >= PATIENCE)
}

/// Settings that stay as they are on the index, for a person to put back.
fn left(reindex: &Reindex) -> String {
    let tuning = reindex.status.as_ref().and_then(|status| status.tuning.as_ref());
    tuning.map_or(String::new(), |tuning| {
        format!(
            "; put back on index {}: number_of_replicas {}, refresh_interval {}, gc_deletes {}",
            reindex.spec.destination.index,
            tuning.number_of_replicas,
            tuning.refresh_interval.as_deref().unwrap_or("null"),
            tuning.gc_deletes.as_deref().unwrap_or("null")
        )
    })
}

fn warning(message: String) -> Note {
    Note { warning: true, reason: "CleanupGivenUp", message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deleted(seconds_ago: i64) -> (Reindex, Timestamp) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let since = Timestamp::from_second(1_000_000 - seconds_ago).unwrap();
        let reindex = serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
            "metadata": {"name": "r", "namespace": "n", "deletionTimestamp": since.to_string()},
            "spec": {"source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"}},
        }));
        (reindex.unwrap(), now)
    }

    fn unreachable() -> Trouble {
        Trouble { reason: "Unreachable", message: "connection refused".into() }
    }

    #[test]
    fn tasks_are_cancelled_until_none_is_left() {
        let (reindex, now) = deleted(1);
        assert_eq!(decide(&reindex, Ok(vec!["n:1".into()]), now), Cleanup::Cancel(vec!["n:1".into()]));
        assert_eq!(decide(&reindex, Ok(vec![]), now), Cleanup::Release(None));
    }

    #[test]
    fn a_cluster_that_is_gone_holds_the_deletion_up_for_two_minutes_only() {
        let (reindex, now) = deleted(119);
        assert_eq!(decide(&reindex, Err(unreachable()), now), Cleanup::Wait(Duration::from_secs(5)));
        let (reindex, now) = deleted(120);
        assert!(matches!(decide(&reindex, Err(unreachable()), now), Cleanup::Release(Some(_))));
    }
}
