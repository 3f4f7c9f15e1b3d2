//! API keys, and how documents are written: `opType`, `pipeline`, `routing`, `script`.

use reindex_operator::api::{
    Reindex,
    conditions::{COMPLETE, RECONCILING},
    reindex_status::Verdict,
};
use serde_json::{Value, json};

use super::{assert_copied, assert_no_password_leaked, assert_untouched, failure};
use crate::support::{
    engine::LEAVE_OUT,
    world::{SOURCE_API_KEY, World, api_key_secret, condition},
};

fn with_destination(change: Value) -> impl FnOnce(&mut Value) {
    move |reindex| {
        let destination = reindex["spec"]["destination"].as_object_mut().unwrap();
        destination.extend(change.as_object().unwrap().clone());
    }
}

fn batch(phase: &str) -> Value {
    let batch = json!({"id": "b", "entries": ["h:9200"], "phase": phase, "generation": 1, "startedAt": "2026-01-01T00:00:00Z", "nodes": []});
    json!({"status": {"allowlist": {"batch": batch}}})
}

fn assert_complete(world: &World, reindex: &Reindex) {
    assert!(condition(reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    assert_eq!(reindex.status.as_ref().unwrap().verification.as_ref().unwrap().verdict, Verdict::Passed);
    assert_no_password_leaked(world);
}

#[tokio::test]
async fn api_keys_on_both_sides_copy_as_well_and_leak_nowhere() {
    let mut world = World::new().await;
    world.use_api_keys();
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert!(world.destination.state().passwords_seen.contains(SOURCE_API_KEY), "inside the reindex");
    let seen = world.source.state().passwords_seen.clone();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [SOURCE_API_KEY]);
}

#[tokio::test]
async fn an_api_key_that_is_none_or_a_wrong_one_is_said_without_quoting_it() {
    for (wrong, reason) in
        [("k3y-of-the-source", "InvalidApiKey"), ("id-of-source:k3y-of-an0ther", "AuthenticationFailed")]
    {
        let mut world = World::new().await;
        world.title = wrong.to_owned();
        world.use_api_keys();
        world.api.apply(api_key_secret("es-2-key", wrong));
        let (seen, message) = world.until_stalled().await;
        assert_eq!(seen, reason, "{message}");
        assert!(!message.contains("k3y"), "{message}");
        assert_untouched(&world);
        world.api.apply(api_key_secret("es-2-key", SOURCE_API_KEY));
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn what_the_spec_says_about_writing_reaches_the_destination() {
    let script = json!({"source": LEAVE_OUT, "params": {"id": "C"}});
    let mut world = World::with(|reindex| {
        with_destination(json!({"pipeline": "enrich", "routing": "=shop"}))(reindex);
        reindex["spec"]["script"] = script;
    })
    .await;
    world.destination.state().pipelines.insert("enrich".into());
    let reindex = world.end().await;
    assert_complete(&world, &reindex);
    let sent = world.destination.state().reindexes.clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0]["dest"],
        json!({"index": "dest", "version_type": "external_gte", "pipeline": "enrich", "routing": "=shop"})
    );
    assert_eq!(sent[0]["script"], json!({"source": LEAVE_OUT, "lang": "painless", "params": {"id": "C"}}));
    let status = reindex.status.unwrap();
    let (result, verification) = (status.result.unwrap(), status.verification.unwrap());
    assert_eq!((result.total, result.created, result.noops), (6, 5, 1));
    assert_eq!((verification.source_documents, verification.destination_documents), (Some(6), Some(5)));
}

#[tokio::test]
async fn creating_only_copies_without_external_versions() {
    let mut world = World::with(with_destination(json!({"opType": "Create"}))).await;
    let reindex = world.end().await;
    assert_complete(&world, &reindex);
    assert_eq!(world.destination.state().reindexes[0]["dest"], json!({"index": "dest", "op_type": "create"}));
    let documents = world.destination.state().index("dest").documents.clone();
    assert!(documents.len() == 6 && documents.values().all(|(version, _)| *version == 1), "{documents:?}");
}

#[tokio::test]
async fn creating_only_takes_documents_of_a_lost_task_for_conflicts() {
    for (conflicts, complete) in [("Proceed", true), ("Abort", false)] {
        let mut world = World::with(|reindex| {
            with_destination(json!({"opType": "Create"}))(reindex);
            reindex["spec"]["conflicts"] = json!(conflicts);
        })
        .await;
        world.title = conflicts.into();
        world.until_copying().await;
        world.round().await;
        world.destination.state().lose_tasks();
        let reindex = world.end().await;
        if complete {
            assert_complete(&world, &reindex);
        } else {
            let (reason, message) = failure(&world, &reindex);
            assert_eq!(reason, "VersionConflicts");
            assert!(message.contains("opType Create"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_pipeline_that_is_missing_is_waited_for() {
    let mut world = World::with(with_destination(json!({"pipeline": "enrich"}))).await;
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "PipelineNotFound");
    assert!(message.contains("enrich"), "{message}");
    assert_untouched(&world);
    world.destination.state().pipelines.insert("enrich".into());
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_pipeline_that_goes_away_before_the_copy_fails_it_with_its_name() {
    let mut world = World::with(with_destination(json!({"pipeline": "enrich"}))).await;
    world.destination.state().pipelines.insert("enrich".into());
    // It waits between Validate and Copy for a restart that is about to begin.
    world.change_cluster("es-1", batch("Draining"));
    world
        .until_it("it waits", |reindex| {
            condition(reindex, RECONCILING).is_some_and(|(reason, _)| reason == "WaitingForRestart")
        })
        .await;
    world.destination.state().pipelines.clear();
    world.change_cluster("es-1", batch("Done"));
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "DocumentFailures");
    assert!(message.contains("pipeline with id [enrich] does not exist"), "{message}");
}

#[tokio::test]
async fn a_script_that_deletes_ends_it_before_anything_is_touched() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["script"] = json!({"source": "if (ctx._source.old == true) { ctx.op = 'delete' }"});
    })
    .await;
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "ScriptDeletes");
    for part in ["spec.script.source", "noop", "source.query"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_untouched(&world);
}

#[tokio::test]
async fn a_changed_parameter_of_the_script_fails_it() {
    // Admission can't compare what is free-form; the hash does.
    let script = |id: &str| json!({"source": LEAVE_OUT, "params": {"id": id}});
    let mut world = World::with(|reindex| reindex["spec"]["script"] = script("C")).await;
    world.until_copying().await;
    world.change_reindex(json!({"spec": {"script": script("D")}}));
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "SpecChanged");
    assert_eq!(world.destination.state().running(), 0);
}
