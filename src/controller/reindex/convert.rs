//! From what the client of the search engine says to what the planner reads.

use crate::{
    api::{
        ReindexStatus,
        reindex_status::{CopyResult, Failure, Retries, Tuning},
    },
    plan::{
        copy::{Death, DeathClass, LISTED_FAILURES, Running, Task},
        validate::{ClusterFacts, Distribution, Trouble},
        verify::ShardPosition,
    },
    search::{self, BulkLoadSettings, SearchError, TaskErrorClass, TaskResponse, TaskState},
};

/// Who a cluster is.
pub fn cluster(info: &search::ClusterInfo) -> ClusterFacts {
    ClusterFacts {
        uuid: info.cluster_uuid.clone(),
        distribution: match info.distribution {
            search::Distribution::Elasticsearch => Distribution::Elasticsearch,
            search::Distribution::OpenSearch => Distribution::OpenSearch,
        },
        major: info.version.major,
        version: info.version.to_string(),
    }
}

/// Whether the destination that was pinned knows `source.remote.api_key`.
pub fn takes_api_key(status: Option<&ReindexStatus>) -> bool {
    let version = status.and_then(|status| status.destination.as_ref()?.version.parse::<search::Version>().ok());
    version.is_some_and(|version| version.takes_api_key())
}

/// An error as trouble with `side`.
pub fn trouble(side: &str, error: &SearchError) -> Trouble {
    Trouble { reason: error.reason(), message: format!("{side}: {}", error.public_message()) }
}

/// The source's shards.
pub fn shards(positions: Vec<search::ShardPosition>) -> Vec<ShardPosition> {
    positions
        .into_iter()
        .map(|position| ShardPosition {
            index: position.index,
            index_uuid: position.index_uuid,
            shard: position.shard,
            history_uuid: position.history_uuid,
            max_seq_no: position.max_seq_no,
            global_checkpoint: position.global_checkpoint,
        })
        .collect()
}

/// The settings that are changed while an index is filled, as they are.
pub fn tuning(settings: search::BulkLoadSettings) -> Tuning {
    Tuning {
        number_of_replicas: settings.number_of_replicas,
        refresh_interval: settings.refresh_interval,
        gc_deletes: settings.gc_deletes,
    }
}

/// The same, as they are put back.
pub fn settings(tuning: &Tuning) -> BulkLoadSettings {
    BulkLoadSettings {
        number_of_replicas: tuning.number_of_replicas.clone(),
        refresh_interval: tuning.refresh_interval.clone(),
        gc_deletes: tuning.gc_deletes.clone(),
    }
}

/// How far a task that runs is.
pub fn running(id: &search::TaskId, status: &search::TaskStatus) -> Running {
    let copied = status.created + status.updated + status.version_conflicts + status.noops;
    Running {
        task: id.to_string(),
        copied: number(copied),
        total: number(status.total),
        requests_per_second: Some(status.requests_per_second).filter(|limit| limit.is_finite() && *limit > 0.0),
    }
}

/// A task, as the destination shows it; None is one that it does not know.
pub fn task(id: &search::TaskId, state: Option<TaskState>) -> Task {
    let Some(state) = state else { return Task::Lost };
    if !state.completed {
        return Task::Running(running(id, &state.status));
    }
    if let Some(error) = &state.error {
        return Task::Died(death(error));
    }
    match state.response {
        Some(response) if response.canceled.is_some() => Task::Cancelled(Box::new(result(&response))),
        Some(response) => Task::Ended(Box::new(result(&response))),
        None => Task::Lost,
    }
}

fn death(error: &search::TaskError) -> Death {
    let (class, message) = match error.class() {
        TaskErrorClass::NotAllowed => (DeathClass::NotAllowed, "the node that ran the task does not allow the source"),
        TaskErrorClass::Unauthorized => {
            (DeathClass::LockedOut, "the source refused the credentials that the task was started with")
        }
        TaskErrorClass::Forbidden => (DeathClass::Passing, "the source did not let the user read"),
        TaskErrorClass::Transient => (DeathClass::Passing, "the task ended with an error that passes by itself"),
        TaskErrorClass::Overloaded => (DeathClass::Overloaded, "a cluster refused so much at once"),
        TaskErrorClass::Unreachable => (DeathClass::Passing, "the destination lost the source"),
        TaskErrorClass::ChunkTooLarge => (DeathClass::BatchTooLarge, "a batch was over 100 MB"),
        TaskErrorClass::Permanent => (DeathClass::Permanent, "the task ended with an error"),
    };
    Death { class, message: format!("{message} ({})", error.kind) }
}

fn result(response: &TaskResponse) -> CopyResult {
    let status = &response.status;
    CopyResult {
        took: number(response.took),
        timed_out: response.timed_out,
        total: number(status.total),
        updated: number(status.updated),
        created: number(status.created),
        deleted: number(status.deleted),
        batches: number(status.batches),
        version_conflicts: number(status.version_conflicts),
        noops: number(status.noops),
        retries: Retries { bulk: number(status.retries.bulk), search: number(status.retries.search) },
        throttled_millis: number(status.throttled_millis),
        requests_per_second: status.requests_per_second,
        throttled_until_millis: number(status.throttled_until_millis),
        failures: response.failures.iter().take(LISTED_FAILURES).map(failure).collect(),
    }
}

fn failure(failure: &search::TaskFailure) -> Failure {
    let Some(id) = &failure.id else {
        // What the source said about a shard stays out of status.
        let reason = "a shard of the source could not be read".to_owned();
        return Failure { id: None, status: failure.status.map(i32::from), reason };
    };
    let reason: String = failure.reason.chars().take(120).collect();
    Failure {
        id: Some(id.chars().take(128).collect()),
        status: failure.status.map(i32::from),
        reason: format!("{}: {reason}", failure.kind),
    }
}

/// Counters are far below the range of a signed number; what isn't would be a lie of the engine.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
