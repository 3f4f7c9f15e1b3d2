//! What deleting a Reindex does before the object may go, and what one that ended may still leave: always something that ends.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::{FINALIZER, Reindex, ReindexStatus, reindex::DeletionPolicy, reindex_status::Tuning};

use super::{
    reindex::{is_mending, owes_cleanup, runs},
    report::{Note, is_finished},
    validate::Trouble,
};

/// How long a cluster that can't be reached may hold a deletion up, or the end of a run without Kubernetes.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// How long to wait before it is asked again.
pub const PAUSE: Duration = Duration::from_secs(5);

/// Whether the object holds our finalizer.
pub fn has_finalizer(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Whether the object was deleted so long ago that nobody waits any longer.
pub fn is_overdue(object: &impl ResourceExt, now: Timestamp) -> bool {
    object.meta().deletion_timestamp.as_ref().is_some_and(|since| now.duration_since(since.0) >= PATIENCE)
}

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

/// Whether a Reindex that has ended is waited for, as something of it is still to be cancelled or put back. Nobody waits for ever: `since`
/// is when somebody began to wait, which may be long after it had ended.
pub fn is_waited_for(status: &ReindexStatus, since: Timestamp, now: Timestamp) -> bool {
    let ended = status.completion_time.as_ref().map_or(since, |time| time.0.max(since));
    is_finished(status) && owes_cleanup(status) && now.duration_since(ended) < PATIENCE
}

/// What a Reindex that has ended leaves on the destination, for people; None where that is nothing.
pub fn remains(reindex: &Reindex) -> Option<String> {
    let status = reindex.status.as_ref().filter(|status| is_finished(status) && owes_cleanup(status))?;
    let may_run = runs(status) || is_mending(status);
    let tasks = may_run.then(|| "a task of it may still run on the destination".to_owned());
    Some([tasks, settings(reindex)].into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// The same at the end of a sentence.
fn left(reindex: &Reindex) -> String {
    settings(reindex).map_or(String::new(), |settings| format!("; {settings}"))
}

/// Settings that stay as they are on the index, for a person to put back.
fn settings(reindex: &Reindex) -> Option<String> {
    let tuning = reindex.status.as_ref()?.tuning.as_ref()?;
    Some(format!(
        "put back on index {}: number_of_replicas {}, refresh_interval {}, gc_deletes {}",
        reindex.spec.destination.index,
        tuning.number_of_replicas,
        tuning.refresh_interval.as_deref().unwrap_or("null"),
        tuning.gc_deletes.as_deref().unwrap_or("null")
    ))
}

fn warning(message: String) -> Note {
    Note { warning: true, reason: "CleanupGivenUp", message }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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

    /// One that failed so many seconds ago, with this on the destination.
    fn failed(seconds_ago: i64, mut left: Value) -> (Reindex, Timestamp) {
        let (mut reindex, now) = deleted(0);
        let ended = (now - SignedDuration::from_secs(seconds_ago)).to_string();
        left["completionTime"] = json!(ended);
        left["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "DocumentFailures", "message": "", "lastTransitionTime": ended}]);
        reindex.status = Some(serde_json::from_value(left).unwrap());
        (reindex, now)
    }

    fn tuned() -> Value {
        json!({"tuning": {"numberOfReplicas": "1"}})
    }

    #[test]
    fn one_that_failed_is_waited_for_while_it_owes_something_but_two_minutes_only() {
        let waited = |(reindex, now): (Reindex, Timestamp), begun: i64| {
            is_waited_for(reindex.status.as_ref().unwrap(), now - SignedDuration::from_secs(begun), now)
        };
        assert!(waited(failed(119, tuned()), 3600));
        assert!(!waited(failed(120, tuned()), 3600));
        assert!(waited(failed(3600, tuned()), 1), "a later run waits as long");
        assert!(!waited(failed(1, json!({})), 3600), "it owes nothing");
        let mut running = failed(1, tuned());
        running.0.status.as_mut().unwrap().conditions.clear();
        assert!(!waited(running, 3600), "it has not ended");
    }

    #[test]
    fn what_is_left_is_told_with_the_values_to_put_back() {
        let partition = json!({"id": 0, "attempt": 1, "state": "Cancelling", "startedAt": "2026-11-25T12:00:00Z"});
        let mut left = tuned();
        left["partitions"] = json!([partition]);
        assert_eq!(
            remains(&failed(1, left).0).unwrap(),
            "a task of it may still run on the destination; put back on index j: number_of_replicas 1, refresh_interval null, gc_deletes null"
        );
        assert!(remains(&failed(1, tuned()).0).unwrap().starts_with("put back on index j: "));
        assert_eq!(remains(&failed(1, json!({})).0), None);
    }
}
