//! Decisions at each stage: a Reindex that is there, and one thing that was seen.

use serde_json::{Value, json};

use crate::{
    api::{
        conditions::{self, COMPLETE, FAILED, RECONCILING, STALLED},
        reindex_status::CopyResult,
    },
    plan::{
        copy::Task,
        remote::RemoteAddress,
        validate::{ClusterFacts, Distribution, Facts, SourceIndex},
        verify::{Counts, ShardPosition},
    },
};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn fresh() -> Reindex {
    serde_json::from_value(json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
        "metadata": {"name": "r", "namespace": "n", "uid": "u-1", "generation": 1},
        "spec": {"source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
            "execution": {"activeDeadlineSeconds": 3600}},
    }))
    .unwrap()
}

fn cluster(uuid: &str) -> ClusterFacts {
    ClusterFacts { uuid: uuid.into(), distribution: Distribution::Elasticsearch, major: 7, version: "7.17.29".into() }
}

fn facts() -> Facts {
    Facts {
        access: vec![],
        source: Some(Ok(cluster("s"))),
        destination: Some(Ok(cluster("d"))),
        source_index: Some(Ok(SourceIndex::Found { indices: vec![], without_source: vec![], mappings_differ: false })),
        destination_exists: Some(Ok(false)),
        pipeline_exists: None,
        busy_with: None,
        remote: Some(RemoteAddress { url: "https://a:9200".into(), host_port: "a:9200".into() }),
    }
}

fn shards(max_seq_no: i64) -> Vec<ShardPosition> {
    vec![ShardPosition {
        index_uuid: "i".into(),
        shard: 0,
        history_uuid: "h".into(),
        max_seq_no,
        global_checkpoint: max_seq_no,
    }]
}

/// Decides, and takes the decision's status over.
fn see(reindex: &mut Reindex, seen: Observation, second: i64) -> Decision {
    let decision = decide(reindex, seen, at(second));
    reindex.status = Some(decision.status.clone());
    decision
}

fn settled(reindex: &mut Reindex, outcome: Outcome, second: i64) -> Decision {
    let decision = settle(reindex, outcome, at(second));
    reindex.status = Some(decision.status.clone());
    decision
}

/// A Reindex whose task runs.
fn copying() -> Reindex {
    let mut reindex = fresh();
    see(&mut reindex, Observation::Validate(Box::new(facts())), 0);
    see(&mut reindex, Observation::Allowlist(Allowlist::Passed), 1);
    see(&mut reindex, Observation::Prepare(Prepare::Exists { uuid: "x".into(), owner: Some("u-1".into()) }), 2);
    let begun = see(&mut reindex, Observation::Begin(Begin { shards: shards(5), documents: 6 }), 3);
    assert_eq!(begun.effect, Some(Effect::StartTask { attempt: 1 }));
    assert_eq!(stage(&begun.status), Stage::Adopt, "the intent is written before the task is started");
    settled(&mut reindex, Outcome::Started("n:1".into()), 3);
    reindex
}

fn poll(task: Task) -> Observation {
    Observation::Poll(Poll { task, index_uuid: Some("x".into()) })
}

fn ended() -> Task {
    Task::Ended(Box::new(CopyResult { total: 6, created: 6, ..CopyResult::default() }))
}

fn failed(reindex: &Reindex) -> String {
    let conditions = &reindex.status.as_ref().unwrap().conditions;
    assert!(conditions::is_true(conditions, FAILED) && !conditions::is_true(conditions, COMPLETE), "{conditions:?}");
    assert!(
        conditions::is_true(conditions, STALLED) && !conditions::is_true(conditions, RECONCILING),
        "{conditions:?}"
    );
    conditions::get(conditions, FAILED).unwrap().reason.clone()
}

#[test]
fn a_copy_that_adds_up_is_complete() {
    let mut reindex = copying();
    see(&mut reindex, poll(ended()), 4);
    let counts = Some(Counts { destination: 6, source: 6, shards: shards(5) });
    let decision = see(&mut reindex, Observation::Verify(Verify { index_uuid: Some("x".into()), counts }), 5);
    assert!(conditions::is_true(&decision.status.conditions, COMPLETE));
    assert_eq!((decision.status.partitions.len(), decision.requeue), (0, Requeue::OnChange));
    assert_eq!(decision.status.result.unwrap().created, 6);
}

#[test]
fn a_finished_reindex_is_never_written_again() {
    let mut reindex = copying();
    see(&mut reindex, poll(ended()), 4);
    see(&mut reindex, Observation::Verify(Verify { index_uuid: Some("x".into()), counts: None }), 5);
    for seen in [
        poll(Task::Lost),
        Observation::ClusterChanged("m".into()),
        Observation::Nothing,
        Observation::Cancel(vec!["n:1".into()]),
    ] {
        let decision = decide(&reindex, seen, at(99_999));
        assert_eq!((Some(decision.status), decision.effect, decision.notes), (reindex.status.clone(), None, vec![]));
    }
}

#[test]
fn nothing_new_is_no_write() {
    let reindex = copying();
    let running = || poll(Task::Running { copied: 3, total: 6 });
    let decision = decide(&reindex, running(), at(5));
    assert_eq!(Some(decision.status), reindex.status, "progress is written every ten seconds");
    let later = decide(&reindex, running(), at(14));
    assert_eq!(later.status.progress.unwrap().documents_copied, 3);
}

#[test]
fn a_lost_task_is_begun_again_and_given_up_in_the_end() {
    let mut reindex = copying();
    let mut second = 10;
    for attempt in 2..=copy::MAX_ATTEMPTS {
        let lost = see(&mut reindex, poll(Task::Lost), second);
        assert!(matches!(lost.requeue, Requeue::After(_)));
        let early = decide(&reindex, Observation::Begin(Begin { shards: shards(5), documents: 6 }), at(second));
        assert_eq!(early.effect, None, "the pause is kept");
        second += 100;
        let begun = see(&mut reindex, Observation::Begin(Begin { shards: shards(5), documents: 6 }), second);
        assert_eq!(begun.effect, Some(Effect::StartTask { attempt }));
        settled(&mut reindex, Outcome::Started(format!("n:{attempt}")), second);
    }
    see(&mut reindex, poll(Task::Lost), second + 1);
    assert_eq!(failed(&reindex), "CopyFailed");
}

#[test]
fn a_repeat_keeps_the_first_checkpoint() {
    let mut reindex = copying();
    see(&mut reindex, poll(Task::Lost), 10);
    see(&mut reindex, Observation::Begin(Begin { shards: shards(99), documents: 100 }), 100);
    assert_eq!(reindex.status.unwrap().checkpoint.unwrap().documents, 6);
}

#[test]
fn an_intent_without_a_task_is_adopted_or_begun_again() {
    let mut reindex = copying();
    reindex.status.as_mut().unwrap().partitions[0].state = PartitionState::Starting;
    reindex.status.as_mut().unwrap().partitions[0].task = None;
    let adopted = decide(&reindex, Observation::Adopt(Some("n:1".into())), at(9));
    assert_eq!((stage(&adopted.status), adopted.effect), (Stage::Poll, None));
    let lost = decide(&reindex, Observation::Adopt(None), at(9));
    assert_eq!(lost.status.partitions[0].attempt, 2);
}

#[test]
fn a_closed_gate_withdraws_the_intent() {
    let mut reindex = copying();
    reindex.status.as_mut().unwrap().partitions[0].state = PartitionState::Starting;
    let decision = settled(&mut reindex, Outcome::GateClosed("n/b".into()), 4);
    assert_eq!((stage(&decision.status), decision.status.partitions.len()), (Stage::Begin, 0));
    assert_eq!(decision.status.checkpoint, None, "the source may move while the restart is waited for");
}

#[test]
fn what_ends_a_running_copy_also_cancels_its_task() {
    let deadline = (poll(Task::Running { copied: 1, total: 6 }), 4000, "DeadlineExceeded");
    let gone = Observation::Poll(Poll { task: Task::Running { copied: 1, total: 6 }, index_uuid: None });
    for (seen, second, reason) in [
        deadline,
        (gone, 9, "DestinationReplaced"),
        (Observation::ClusterChanged("m".into()), 9, "ClusterChanged"),
        (Observation::AccessWithdrawn("m".into()), 9, "AccessWithdrawn"),
    ] {
        let mut reindex = copying();
        see(&mut reindex, seen, second);
        assert_eq!(failed(&reindex), reason);
        let cancel = see(&mut reindex, Observation::Cancel(vec!["n:1".into()]), second);
        assert_eq!(cancel.effect, Some(Effect::CancelTasks(vec!["n:1".into()])));
        see(&mut reindex, Observation::Cancel(vec![]), second);
        assert_eq!(stage(reindex.status.as_ref().unwrap()), Stage::Finished);
    }
}

#[test]
fn a_changed_query_is_seen_by_the_hash() {
    let mut reindex = copying();
    reindex.spec.source.query = Some(json!({"match_none": {}}));
    see(&mut reindex, poll(ended()), 9);
    assert_eq!(failed(&reindex), "SpecChanged");
}

#[test]
fn a_fault_of_the_surroundings_stalls_and_goes_on() {
    let mut reindex = fresh();
    let trouble = Trouble { reason: "Unreachable", message: "m".into() };
    let mut stalled = facts();
    stalled.source = Some(Err(trouble));
    stalled.source_index = None;
    let decision = see(&mut reindex, Observation::Validate(Box::new(stalled)), 0);
    assert!(conditions::is_true(&decision.status.conditions, STALLED) && matches!(decision.requeue, Requeue::After(_)));
    let mended = see(&mut reindex, Observation::Validate(Box::new(facts())), 9);
    assert!(!conditions::is_true(&mended.status.conditions, STALLED));
    assert_eq!(stage(&mended.status), Stage::Allowlist);
}

#[test]
fn every_finding_is_told_at_once_and_the_final_ones_first() {
    let mut reindex = fresh();
    let mut found = facts();
    found.destination = Some(Ok(ClusterFacts { major: 8, ..cluster("d") }));
    found.source_index = Some(Ok(SourceIndex::Absent));
    found.destination_exists = Some(Ok(true));
    see(&mut reindex, Observation::Validate(Box::new(found)), 0);
    assert_eq!(failed(&reindex), "VersionMismatch");
    let status = serde_json::to_value(reindex.status).unwrap();
    let message =
        status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Failed").map(|c| c["message"].clone());
    let message = message.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    assert!(
        ["VersionMismatch", "SourceIndexNotFound", "DestinationExists"].iter().all(|reason| message.contains(reason)),
        "{message}"
    );
}

#[test]
fn an_index_that_somebody_else_made_is_not_taken() {
    let mut reindex = fresh();
    see(&mut reindex, Observation::Validate(Box::new(facts())), 0);
    see(&mut reindex, Observation::Allowlist(Allowlist::Passed), 1);
    see(&mut reindex, Observation::Prepare(Prepare::Exists { uuid: "x".into(), owner: Some("another".into()) }), 2);
    assert_eq!(failed(&reindex), "DestinationExists");
}
