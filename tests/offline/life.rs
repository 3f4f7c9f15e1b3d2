//! Whole lives of a Reindex, against an apiserver in memory and two search engines in this process.

mod copying;
mod deletion;
mod existing;
mod faults;
mod gate;
mod hostile;
mod preflight;
mod proof;
mod ranges;
mod refusals;
mod repair;
mod rotation;
mod size;
mod suspending;
mod writing;

use kube::ResourceExt;
use reindex_operator::api::{
    FINALIZER, Reindex,
    conditions::{COMPLETE, FAILED, READY, RECONCILING, STALLED},
    reindex_status::{CopyResult, StepName, StepState, Verdict},
};
use serde_json::json;

use crate::support::{
    engine::Pace,
    world::{DESTINATION_API_KEY, DESTINATION_PASSWORD, NAME, NAMESPACE, World, condition, secrets},
};

/// Three ranges, two at once.
fn three(reindex: &mut serde_json::Value) {
    reindex["spec"]["execution"] = json!({"partitions": 3, "parallelism": 2});
}

/// Everything that a life which ended well must show, however it went.
pub fn assert_copied(world: &World, reindex: &Reindex) {
    assert!(condition(reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    let status = reindex.status.as_ref().unwrap();
    let read = world.source.state().index("product_info").documents.clone();
    let mut destination = world.destination.state();
    assert_eq!(destination.created, ["dest"], "{}", world.title);
    assert_eq!(destination.overlaps, [""; 0], "{}: two tasks wrote at once", world.title);
    assert_eq!(destination.running(), 0, "{}: a task still runs", world.title);
    let dest = destination.index("dest");
    assert_eq!(dest.documents, read, "{}", world.title);
    assert_eq!(dest.settings["number_of_shards"], "5", "{}", world.title);
    assert_eq!(
        dest.mappings["_meta"]["reindex.dev"]["uid"],
        *reindex.metadata.uid.as_ref().unwrap(),
        "{}",
        world.title
    );
    let result = status.result.as_ref().unwrap();
    assert_eq!((result.total, result.created, result.updated), (6, 6, 0), "{}: {result:?}", world.title);
    assert_eq!(status.verification.as_ref().unwrap().verdict, Verdict::Passed, "{}", world.title);
    assert!(reindex.finalizers().is_empty(), "{}: a finished object holds no deletion up", world.title);
    drop(destination);
    assert_no_password_leaked(world);
}

/// Passwords and API keys stand in Secrets, and go to their own cluster; the source's to the destination too, inside a reindex.
fn assert_no_password_leaked(world: &World) {
    for (resource, text) in world.api.texts() {
        let leaked = secrets().iter().any(|secret| text.contains(secret));
        assert!(resource == "secrets" || !leaked, "{}: a secret stands in {resource}: {text}", world.title);
    }
    let log = world.logs.text();
    assert!(log.contains(NAME), "it listens");
    for secret in secrets() {
        assert!(!log.contains(&secret), "{}: a secret stands in the log", world.title);
    }
    let metrics = world.ctx().metrics.text();
    assert!(
        !secrets().iter().any(|secret| metrics.contains(secret)),
        "{}: a secret stands in the metrics",
        world.title
    );
    let seen = world.source.state().passwords_seen.clone();
    for secret in [DESTINATION_PASSWORD, DESTINATION_API_KEY] {
        assert!(!seen.contains(secret), "{}: the source was sent the destination's credentials", world.title);
    }
}

/// Nothing was created or changed on the destination.
fn assert_untouched(world: &World) {
    let destination = world.destination.state();
    assert_eq!(destination.created, [""; 0], "{}", world.title);
    assert!(destination.tasks.is_empty(), "{}", world.title);
}

/// Reason and message of the failure.
fn failure(world: &World, reindex: &Reindex) -> (String, String) {
    assert!(condition(reindex, COMPLETE).is_none(), "{}", world.story("it is not Complete"));
    assert!(reindex.finalizers().is_empty(), "{}", world.story("a finished object holds no deletion up"));
    condition(reindex, FAILED).unwrap_or_else(|| panic!("{}", world.story("it is Failed")))
}

/// Nothing was written since it was as `before`.
fn assert_unwritten_since(world: &World, before: &Reindex) {
    let now = world.reindex().unwrap();
    assert_eq!(now.resource_version(), before.resource_version(), "{}", world.story("nothing is written"));
}

#[tokio::test]
async fn a_reindex_copies_every_document_once_and_says_so() {
    let mut world = World::new().await;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let status = reindex.status.as_ref().unwrap();
    let steps: Vec<_> = status.steps.iter().map(|step| (step.name, step.state)).collect();
    let all = [StepName::Validate, StepName::Allowlist, StepName::Prepare, StepName::Copy, StepName::Verify];
    assert_eq!(steps, all.map(|name| (name, StepState::Succeeded)));
    let result = status.result.clone().unwrap();
    let expected =
        CopyResult { took: 49, total: 6, created: 6, batches: 3, requests_per_second: -1.0, ..CopyResult::default() };
    assert_eq!(result, expected);
    assert_eq!(status.progress.as_ref().unwrap().percent, 100);
    assert!(condition(&reindex, READY).is_some());
    assert_eq!((condition(&reindex, RECONCILING), condition(&reindex, STALLED)), (None, None));
    assert_eq!(status.observed_generation, reindex.metadata.generation);
}

#[tokio::test]
async fn each_step_is_told_once_in_an_event() {
    let mut world = World::new().await;
    world.end().await;
    // Which are told together hangs on how long a look takes.
    assert_eq!(world.event_reasons().last().map(String::as_str), Some("Complete"));
    let told = world.event_notes().join("; ");
    for words in
        ["source es-2 (", "may read from", "created index", "attempt 1", "copied 6 documents", "6 documents on"]
    {
        assert_eq!(told.matches(words).count(), 1, "{words}: {told}");
    }
}

#[tokio::test]
async fn a_task_that_is_faster_than_the_operator_is_copied_all_the_same() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::Instant;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn only_what_the_query_matches_is_copied_and_counted() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["source"]["query"] = json!({"term": {"annual_rate": "3.2200%"}});
    })
    .await;
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    let copied: Vec<_> = world.destination.state().index("dest").documents.keys().cloned().collect();
    assert_eq!(copied, ["A"]);
}

#[tokio::test]
async fn an_empty_source_is_copied_too() {
    let mut world = World::new().await;
    let empty = json!({"settings": {"number_of_shards": 5}});
    world.source.state().indices.clear();
    world.source.state().create("product_info", &empty);
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    assert_eq!(world.destination.state().index("dest").documents.len(), 0);
}

#[tokio::test]
async fn a_finished_object_is_read_and_never_written() {
    for index in ["dest", "taken"] {
        let mut world = World::with(|reindex| reindex["spec"]["destination"]["index"] = json!(index)).await;
        world.destination.state().create("taken", &serde_json::Value::Null);
        world.end().await;
        world.faults.forget();
        world.round().await;
        world.round().await;
        assert_eq!(world.faults.journal(), [], "{}", world.story("a finished object costs nothing"));
    }
}

#[tokio::test]
async fn an_edit_of_a_finished_object_is_noted_and_changes_nothing_else() {
    let mut world = World::new().await;
    let before = world.end().await.status.unwrap();
    world.change_reindex(json!({"spec": {"deletionPolicy": "Orphan"}}));
    let after = world.end().await;
    let status = after.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, after.metadata.generation);
    assert_eq!((status.phase, &status.result), (before.phase, &before.result));
    assert_eq!(world.api.get::<Reindex>(NAMESPACE, NAME).unwrap().finalizers(), [""; 0], "not even {FINALIZER}");
}
