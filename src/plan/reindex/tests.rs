//! Decisions at each stage: a Reindex that is there, and one thing that was seen.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::{
        conditions::{self, COMPLETE, FAILED, READY, RECONCILING, STALLED},
        reindex_status::{CopyResult, Failure, Partition, Tuning},
        writing::OpType,
    },
    plan::{
        comparison::Compared,
        copy::{Death, DeathClass, Running, Task},
        load::Load,
        ranges::Bucket,
        remote::RemoteAddress,
        report::waits_for_person,
        validate::{ClusterFacts, Distribution, ExistingIndex, Facts, SourceIndex},
        verify::{Counts, ShardPosition},
    },
};

use super::*;

pub(super) fn at(second: i64) -> Timestamp {
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
        source_index: Some(Ok(SourceIndex::Found {
            indices: vec![],
            without_source: vec![],
            mappings_differ: false,
            lagging_replicas: vec![],
        })),
        destination_index: Some(Ok(None)),
        pipeline_exists: None,
        busy_with: None,
        remote_redirects: false,
        remote: Some(RemoteAddress { url: "https://a:9200".into(), host_port: "a:9200".into() }),
        alibaba_cloud: None,
        preflight: Some(Ok(preflight::Facts::default())),
        dry_run: None,
    }
}

fn shards(max_seq_no: i64) -> Vec<ShardPosition> {
    vec![ShardPosition {
        index: "i".into(),
        index_uuid: "i".into(),
        shard: 0,
        history_uuid: "h".into(),
        max_seq_no,
        global_checkpoint: max_seq_no,
    }]
}

/// Decides, and takes the decision's status over.
pub(super) fn see(reindex: &mut Reindex, seen: Observation, second: i64) -> Decision {
    let decision = decide(reindex, seen, at(second));
    reindex.status = Some(decision.status.clone());
    decision
}

pub(super) fn settled(reindex: &mut Reindex, outcome: Outcome, second: i64) -> Decision {
    let decision = settle(reindex, outcome, at(second));
    reindex.status = Some(decision.status.clone());
    decision
}

/// Tasks were started, and no limit counts them.
fn started(ranges: impl IntoIterator<Item = (i32, Started)>) -> Outcome {
    Outcome::Started { ranges: ranges.into_iter().collect(), counted: false, untuned: false }
}

fn bucket(from: i64, to: i64, documents: i64) -> Bucket {
    Bucket { from, to, documents }
}

/// Six documents in one index, to be cut into so many ranges.
fn survey(ranges: i32) -> Survey {
    let buckets = (0..6).map(|n| bucket(n, n + 1, 1)).collect();
    Survey {
        shards: shards(5),
        documents: 6,
        indices: vec![SurveyedIndex { name: "i".into(), from: None, buckets }],
        undivided: None,
        load: Load { batch_size: 2, parallelism: 2, ranges },
        tuning: None,
        slots: i32::MAX,
    }
}

/// A Reindex whose tasks run: one a range, two at most.
pub(super) fn copying(ranges: i32) -> Reindex {
    let mut reindex = fresh();
    see(&mut reindex, Observation::Validate(Box::new(facts())), 0);
    see(&mut reindex, Observation::Allowlist(Allowlist::Passed), 1);
    see(
        &mut reindex,
        Observation::Prepare(Prepare::Exists { uuid: "x".into(), concrete: true, owner: Some("u-1".into()) }),
        2,
    );
    let begun = see(&mut reindex, Observation::Survey(Box::new(survey(ranges))), 3);
    let starts = starts(&begun);
    assert_eq!(stage(&reindex), Stage::Copy, "the intents are written before the tasks are started");
    let tasks = starts.iter().map(|start| (start.partition, Started::Task(format!("n:{}", start.partition))));
    settled(&mut reindex, started(tasks), 3);
    reindex
}

fn runs_on(task: &str) -> Release {
    Release { running: vec![task.to_owned()], ended: [].into() }
}

fn starts(decision: &Decision) -> Vec<Start> {
    match &decision.effect {
        Some(Effect::StartTasks { starts, .. }) => starts.clone(),
        _ => vec![],
    }
}

pub(super) fn looked(seen: impl IntoIterator<Item = (i32, Task)>) -> Observation {
    let seen = seen.into_iter().map(|(id, task)| (id, PartitionSeen::Task(task))).collect();
    Observation::Copy(Copying { seen, slots: i32::MAX, hold: None })
}

fn running(copied: i64) -> Task {
    Task::Running(Running { task: "n:0".into(), copied, total: 6, requests_per_second: None })
}

pub(super) fn ended(documents: i64) -> Task {
    Task::Ended(Box::new(CopyResult { total: documents, created: documents, ..CopyResult::default() }))
}

fn died(class: DeathClass) -> Task {
    Task::Died(Death { class, message: "m".into() })
}

fn proof(max_seq_no: i64) -> Observation {
    verified(6, max_seq_no, None)
}

pub(super) fn verified(documents: i64, max_seq_no: i64, compared: Option<Compared>) -> Observation {
    let counts = Some(Counts { destination: documents, source: documents, ignored: None });
    let tuning =
        compared.as_ref().map(|_| Tuning { number_of_replicas: "1".into(), refresh_interval: None, gc_deletes: None });
    Observation::Verify(Box::new(Verify { shards: shards(max_seq_no), counts, compared, tuning }))
}

pub(super) fn failed(reindex: &Reindex) -> String {
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
    let mut reindex = copying(1);
    see(&mut reindex, looked([(0, ended(6))]), 4);
    let decision = see(&mut reindex, proof(5), 5);
    assert!(conditions::is_true(&decision.status.conditions, COMPLETE));
    assert_eq!((decision.status.partitions.len(), decision.requeue), (0, Requeue::OnChange));
    assert_eq!(decision.status.result.unwrap().created, 6);
}

#[test]
fn a_finished_reindex_is_never_written_again() {
    let mut reindex = copying(1);
    see(&mut reindex, looked([(0, ended(6))]), 4);
    see(&mut reindex, proof(5), 5);
    for seen in [
        looked([(0, Task::Lost)]),
        Observation::ClusterChanged("m".into()),
        Observation::Nothing,
        Observation::Release(runs_on("n:1")),
    ] {
        let decision = decide(&reindex, seen, at(99_999));
        assert_eq!((Some(decision.status), decision.effect, decision.notes), (reindex.status.clone(), None, vec![]));
    }
}

#[test]
fn nothing_new_is_no_write() {
    let reindex = copying(1);
    let decision = decide(&reindex, looked([(0, running(3))]), at(5));
    assert_eq!(Some(decision.status), reindex.status, "progress is written every ten seconds");
    let later = decide(&reindex, looked([(0, running(3))]), at(14));
    assert_eq!(later.status.progress.unwrap().documents_copied, 3);
}

#[test]
fn a_range_says_how_far_its_task_is_as_long_as_it_runs() {
    let counts = |decision: &Decision| {
        let of = |partition: &Partition| (partition.documents_copied, partition.documents_total);
        decision.status.partitions.iter().map(of).collect::<Vec<_>>()
    };
    let mut reindex = copying(1);
    let told = see(&mut reindex, looked([(0, running(3))]), 14);
    assert_eq!(counts(&told), [(Some(3), Some(6))]);
    let soon = decide(&reindex, looked([(0, running(4))]), at(16));
    assert_eq!(Some(&soon.status), reindex.status.as_ref(), "they are no reason to write");
    let uncounted = Task::Running(Running { task: "n:0".into(), copied: 0, total: 0, requests_per_second: None });
    assert_eq!(counts(&decide(&reindex, looked([(0, uncounted)]), at(25))), [(Some(0), None)]);
    assert_eq!(counts(&decide(&reindex, looked([(0, Task::Lost)]), at(16))), [(None, None)]);
    reindex.spec.suspend = true;
    let cancelled = Task::Cancelled(Box::default());
    assert_eq!(counts(&decide(&reindex, looked([(0, cancelled)]), at(16))), [(None, None)]);
}

#[test]
fn a_person_who_is_asked_to_change_the_allowlist_is_no_stall() {
    for (turn, reason, stalled, asks) in [
        (Turn::SearchCluster, "WaitingForAllowlist", false, false),
        (Turn::Person, "WaitingForPerson", false, true),
        (Turn::Mender, "NotAllowed", true, true),
    ] {
        let mut reindex = fresh();
        see(&mut reindex, Observation::Validate(Box::new(facts())), 0);
        let missing = Allowlist::Missing { turn, message: "m".into() };
        let status = see(&mut reindex, Observation::Allowlist(missing), 1).status;
        assert_eq!(conditions::get(&status.conditions, READY).map(|ready| ready.reason.as_str()), Some(reason));
        assert_eq!(conditions::is_true(&status.conditions, STALLED), stalled, "{reason}");
        assert_eq!(waits_for_person(&status), asks, "{reason}");
    }
}

#[test]
fn ranges_wait_for_their_turn_and_are_counted_when_they_are_done() {
    let mut reindex = copying(3);
    let status = reindex.status.clone().unwrap();
    assert_eq!(status.partitions.iter().map(|partition| partition.id).collect::<Vec<_>>(), [0, 1]);
    let next = see(&mut reindex, looked([(0, ended(2)), (1, running(1))]), 4);
    let queries: Vec<_> = starts(&next).into_iter().map(|start| (start.partition, start.query.unwrap())).collect();
    assert_eq!(queries, [(2, json!({"range": {"_seq_no": {"gte": 4}}}))]);
    let progress = next.status.progress.unwrap();
    assert_eq!((progress.documents_copied, progress.partitions_done, progress.partitions_total), (3, 1, 3));
    let begun = settled(&mut reindex, started([(2, Started::Task("n:2".into()))]), 4);
    let progress = begun.status.progress.unwrap();
    assert_eq!((progress.documents_copied, progress.partitions_running), (3, 2), "it does not go back");
    see(&mut reindex, looked([(1, ended(2)), (2, ended(2))]), 5);
    assert_eq!((stage(&reindex), reindex.status.clone().unwrap().result.unwrap().total), (Stage::Verify, 6));
}

#[test]
fn a_lost_task_is_begun_again_and_given_up_in_the_end() {
    let mut reindex = copying(1);
    let mut second = 10;
    for attempt in 2..=7 {
        let lost = see(&mut reindex, looked([(0, Task::Lost)]), second);
        assert!(starts(&lost).is_empty() && matches!(lost.requeue, Requeue::After(_)), "a pause comes first");
        second += 400;
        let begun = see(&mut reindex, looked([]), second);
        assert_eq!(starts(&begun).iter().map(|start| start.attempt).collect::<Vec<_>>(), [attempt]);
        settled(&mut reindex, started([(0, Started::Task(format!("n:{attempt}")))]), second);
    }
    see(&mut reindex, looked([(0, Task::Lost)]), second + 1);
    assert_eq!(failed(&reindex), "CopyFailed");
}

#[test]
fn a_task_that_is_locked_out_is_begun_anew_and_never_given_up() {
    let mut reindex = copying(1);
    let mut second = 10;
    let mut waits = vec![];
    for attempt in 2..=8 {
        let out = see(&mut reindex, looked([(0, died(DeathClass::LockedOut))]), second);
        assert!(starts(&out).is_empty() && matches!(out.requeue, Requeue::After(_)), "a pause comes first");
        assert_eq!(out.status.partitions[0].failures, 0);
        waits.push(out.status.partitions[0].started_at.0.duration_since(at(second)).as_secs());
        let begun = see(&mut reindex, looked([]), second + 300);
        assert_eq!(starts(&begun).iter().map(|start| start.attempt).collect::<Vec<_>>(), [attempt]);
        settled(&mut reindex, started([(0, Started::Task(format!("n:{attempt}")))]), second + 300);
        second += 400;
    }
    assert_eq!(waits[..6], [2, 10, 50, 250, 300, 300], "a node may be refused for ever where the operator is let in");
    see(&mut reindex, looked([(0, ended(6))]), second);
    assert_eq!(stage(&reindex), Stage::Verify);
}

#[test]
fn a_refusal_for_load_is_answered_with_fewer_tasks_then_with_smaller_batches() {
    let mut reindex = copying(3);
    see(&mut reindex, looked([(0, died(DeathClass::Overloaded)), (1, running(1))]), 4);
    let plan = reindex.status.clone().unwrap().plan.unwrap();
    assert_eq!((plan.relief, plan.batch_size), (1, 2));
    let later = see(&mut reindex, looked([(1, running(1))]), 400);
    assert!(starts(&later).is_empty(), "only one runs now");
    see(&mut reindex, looked([(1, died(DeathClass::Overloaded))]), 401);
    let plan = reindex.status.clone().unwrap().plan.unwrap();
    assert_eq!((plan.relief, plan.batch_size), (1, 1));
}

#[test]
fn the_number_of_a_task_is_written_at_once_where_it_is_no_matter_of_time_alone() {
    let after_start = |counted, change: fn(&mut Reindex)| {
        let mut reindex = copying(1);
        change(&mut reindex);
        let started = Outcome::Started { ranges: vec![(0, Started::Task("n:0".into()))], counted, untuned: false };
        settled(&mut reindex, started, 3).requeue
    };
    let at_once = Requeue::After(Duration::from_millis(250));
    assert_eq!(after_start(false, |_| {}), Requeue::Shortly);
    assert_eq!(after_start(true, |_| {}), at_once, "others count it");
    assert_eq!(after_start(false, |reindex| reindex.spec.destination.op_type = OpType::Create), at_once);
    assert_eq!(after_start(false, |reindex| reindex.spec.execution.backoff_limit = 0), at_once);
}

#[test]
fn a_batch_that_was_too_large_is_made_smaller_for_this_range_and_those_to_come() {
    let mut reindex = copying(3);
    see(&mut reindex, looked([(0, died(DeathClass::BatchTooLarge)), (1, ended(2))]), 4);
    let status = reindex.status.clone().unwrap();
    assert_eq!((status.partitions[0].batch_size, status.plan.unwrap().batch_size), (Some(1), 1));
}

#[test]
fn only_a_range_that_was_copied_document_by_document_has_one_that_is_too_large() {
    let mut reindex = copying(3);
    see(&mut reindex, looked([(0, died(DeathClass::BatchTooLarge)), (1, running(1))]), 4);
    // Batches are of one document now, but not those of the task that began before.
    let decision = see(&mut reindex, looked([(1, died(DeathClass::BatchTooLarge))]), 5);
    assert!(!matches!(decision.effect, Some(Effect::FindTooLarge(_))), "{:?}", decision.effect);
    let sizes: Vec<_> = decision.status.partitions.iter().map(|partition| partition.batch_size).collect();
    assert_eq!(sizes, [Some(1), Some(1)]);
    see(&mut reindex, looked([]), 400);
    let tasks = [(0, Started::Task("n:9".into())), (1, Started::Task("n:10".into()))];
    settled(&mut reindex, started(tasks), 400);
    let decision = see(&mut reindex, looked([(0, died(DeathClass::BatchTooLarge))]), 401);
    assert!(matches!(decision.effect, Some(Effect::FindTooLarge(_))), "{:?}", decision.effect);
}

#[test]
fn an_intent_without_a_task_is_adopted_or_begun_again() {
    let mut reindex = copying(1);
    let partition = &mut reindex.status.as_mut().unwrap().partitions[0];
    (partition.state, partition.task) = (PartitionState::Starting, None);
    let adopt = |task: Option<&str>| {
        let seen = [(0, PartitionSeen::Adopt(task.map(str::to_owned)))].into();
        Observation::Copy(Copying { seen, slots: 9, hold: None })
    };
    let adopted = decide(&reindex, adopt(Some("n:1")), at(9));
    assert_eq!((adopted.status.partitions[0].state, adopted.effect), (PartitionState::Running, None));
    let lost = decide(&reindex, adopt(None), at(9));
    assert_eq!((lost.status.partitions[0].attempt, lost.effect), (2, None));
}

#[test]
fn a_closed_gate_and_an_uninstall_withdraw_the_intents() {
    for outcome in [Outcome::GateClosed("n/b".into()), Outcome::WindingDown] {
        let mut reindex = copying(1);
        let partition = &mut reindex.status.as_mut().unwrap().partitions[0];
        (partition.state, partition.task) = (PartitionState::Starting, None);
        let decision = settled(&mut reindex, outcome, 4);
        assert_eq!((stage(&reindex), decision.status.partitions.len()), (Stage::Survey, 0));
        assert_eq!(decision.status.checkpoint, None, "the source may move while it is waited for");
    }
}

#[test]
fn what_was_noted_of_the_index_is_kept_whatever_holds_the_copy_up() {
    let tuning = Tuning { number_of_replicas: "1".into(), refresh_interval: None, gc_deletes: None };
    let mut reindex = copying(1);
    reindex.status.as_mut().unwrap().plan = None;
    reindex.status.as_mut().unwrap().partitions.clear();
    let waiting = Survey { tuning: Some(tuning.clone()), slots: 0, ..survey(3) };
    let decision = see(&mut reindex, Observation::Survey(Box::new(waiting)), 4);
    assert!(matches!(decision.effect, Some(Effect::StartTasks { tune: true, .. })));
    let free = see(&mut reindex, looked([]), 5);
    assert_eq!(starts(&free).len(), 2);
    settled(&mut reindex, Outcome::GateClosed("n/b".into()), 5);
    assert_eq!(reindex.status.clone().unwrap().tuning, Some(tuning.clone()), "they are switched off");
    let off = Tuning { number_of_replicas: "0".into(), refresh_interval: Some("-1".into()), gc_deletes: None };
    see(&mut reindex, Observation::Survey(Box::new(Survey { tuning: Some(off), ..survey(3) })), 9);
    assert_eq!(reindex.status.unwrap().tuning, Some(tuning));
}

#[test]
fn conflicts_of_a_document_that_moved_between_ranges_are_no_conflicts() {
    let conflicting =
        || Task::Ended(Box::new(CopyResult { total: 6, created: 5, version_conflicts: 1, ..CopyResult::default() }));
    for (stale, reason) in [(Some(0), None), (Some(1), Some("VersionConflicts")), (None, Some("VersionConflicts"))] {
        let mut reindex = copying(1);
        see(&mut reindex, looked([(0, conflicting())]), 4);
        assert_eq!(stage(&reindex), Stage::Repair);
        let tuning = Tuning { number_of_replicas: "1".into(), refresh_interval: None, gc_deletes: None };
        let look = see(&mut reindex, Observation::Repair(tuning), 5);
        let query = Some(json!({"range": {"_seq_no": {"lt": 6}}}));
        assert_eq!(look.effect, Some(Effect::Repair { query, delete: false }), "nothing is deleted in the first copy");
        settled(&mut reindex, Outcome::Repaired(stale), 5);
        match reason {
            None => {
                assert_eq!(stage(&reindex), Stage::Restore);
                let status = reindex.status.clone().unwrap();
                assert_eq!(crate::plan::report::step_state(&status, StepName::Copy), Some(StepState::Succeeded));
                assert!(status.plan.unwrap().done_at.is_some(), "the next round waits its time");
            }
            Some(reason) => assert_eq!(failed(&reindex), reason),
        }
    }
}

#[test]
fn of_two_with_one_destination_index_the_older_goes_first_unless_the_other_fills_it() {
    let with = |name: &str, created: &str, fills: bool| {
        let mut reindex = copying(1);
        reindex.metadata.uid = Some(name.into());
        reindex.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
        if !fills {
            reindex.status.as_mut().unwrap().destination.as_mut().unwrap().index_uuid = None;
        }
        reindex
    };
    let (old, new) = (with("a", "2026-01-01T00:00:00Z", false), with("b", "2026-01-02T00:00:00Z", false));
    assert!(comes_first(&old, &new) && !comes_first(&new, &old) && !comes_first(&old, &old));
    assert!(comes_first(&with("b", "2026-01-02T00:00:00Z", true), &old));
    let (old, new) = (with("a", "2026-01-01T00:00:00Z", true), with("b", "2026-01-02T00:00:00Z", true));
    assert!(comes_first(&old, &new) && !comes_first(&new, &old), "both fill it: one of them goes on");
    let mut ended = with("a", "2026-01-01T00:00:00Z", true);
    see(&mut ended, Observation::ClusterChanged("m".into()), 9);
    assert!(comes_first(&ended, &new), "its task is still to be cancelled");
    see(&mut ended, Observation::Release(Release::default()), 9);
    assert!(!comes_first(&ended, &new));
}

#[test]
fn a_closed_gate_leaves_what_runs_alone() {
    let mut reindex = copying(3);
    see(&mut reindex, looked([(0, ended(2)), (1, running(1))]), 4);
    let decision = settled(&mut reindex, Outcome::GateClosed("n/b".into()), 4);
    assert_eq!(decision.status.partitions.iter().map(|partition| partition.id).collect::<Vec<_>>(), [1]);
    assert_eq!(stage(&reindex), Stage::Copy);
}

#[test]
fn a_source_that_is_away_only_keeps_new_ranges_from_starting() {
    let mut reindex = copying(3);
    let seen = [(0, PartitionSeen::Task(ended(2))), (1, PartitionSeen::Task(running(1)))].into();
    let hold = Some(Hold::Trouble(Trouble { reason: "Unreachable", message: "the source is away".into() }));
    let copying = Copying { seen, slots: 9, hold };
    let decision = see(&mut reindex, Observation::Copy(copying), 4);
    assert_eq!((starts(&decision).len(), decision.status.partitions.len()), (0, 1));
    let ready = conditions::get(&decision.status.conditions, RECONCILING).unwrap();
    assert_eq!((ready.reason.as_str(), ready.message.as_str()), ("ProgressingWithRetry", "the source is away"));
}

#[test]
fn what_changed_meanwhile_is_a_round_of_its_own() {
    let mut reindex = copying(1);
    see(&mut reindex, looked([(0, ended(6))]), 4);
    let window = SurveyedIndex { name: "i".into(), from: Some(6), buckets: vec![bucket(6, 9, 3)] };
    let moved = Survey { shards: shards(8), documents: 8, indices: vec![window], ..survey(1) };
    let round = see(&mut reindex, Observation::Survey(Box::new(moved)), 5);
    assert_eq!(starts(&round)[0].query, Some(json!({"range": {"_seq_no": {"gte": 6}}})));
    assert_eq!(round.status.plan.unwrap().round, 1);
    settled(&mut reindex, started([(0, Started::Task("n:1".into()))]), 5);
    see(&mut reindex, looked([(0, ended(3))]), 6);
    let decision = see(&mut reindex, verified(8, 8, None), 7);
    assert!(conditions::is_true(&decision.status.conditions, COMPLETE));
    assert_eq!(decision.status.verification.unwrap().source_changed, Some(true));
}

#[test]
fn pauses_between_rounds_grow() {
    let mut reindex = copying(1);
    see(&mut reindex, looked([(0, ended(6))]), 4);
    let mut status = reindex.status.clone().unwrap();
    let mut pauses = vec![];
    for round in [0, 1, 2, 3, 20] {
        status.plan.as_mut().unwrap().round = round;
        pauses.push(pause(&status, at(4)).map(|pause| pause.as_secs()));
    }
    assert_eq!(pauses, [None, Some(5), Some(10), Some(20), Some(300)]);
    assert_eq!(pause(&status, at(999)), None);
}

#[test]
fn what_ends_a_running_copy_also_cancels_its_task() {
    for (seen, second, reason) in [
        (looked([(0, running(1))]), 4000, "DeadlineExceeded"),
        (Observation::DestinationReplaced, 9, "DestinationReplaced"),
        (Observation::ClusterChanged("m".into()), 9, "ClusterChanged"),
        (Observation::AccessWithdrawn("m".into()), 9, "AccessWithdrawn"),
    ] {
        let mut reindex = copying(1);
        see(&mut reindex, seen, second);
        assert_eq!(failed(&reindex), reason);
        let cancel = see(&mut reindex, Observation::Release(runs_on("n:1")), second);
        assert_eq!(cancel.effect, Some(Effect::CancelTasks(vec!["n:1".into()])));
        see(&mut reindex, Observation::Release(Release::default()), second);
        assert_eq!(stage(&reindex), Stage::Finished);
    }
}

#[test]
fn what_cancelled_tasks_had_copied_is_counted() {
    let mut reindex = copying(3);
    let failure = Failure { id: Some("7".into()), status: Some(400), reason: "r".into() };
    let refused = CopyResult { total: 2, created: 1, failures: vec![failure], ..CopyResult::default() };
    see(&mut reindex, looked([(0, Task::Ended(Box::new(refused))), (1, running(1))]), 4);
    assert_eq!(failed(&reindex), "DocumentFailures");
    let cancelled = Task::Cancelled(Box::new(CopyResult { total: 2, created: 1, ..CopyResult::default() }));
    see(&mut reindex, Observation::Release(Release { running: vec![], ended: [(1, cancelled)].into() }), 5);
    let status = reindex.status.clone().unwrap();
    assert_eq!((status.result.unwrap().created, status.progress.unwrap().documents_copied), (2, 2));
    assert_eq!(stage(&reindex), Stage::Finished);
}

#[test]
fn what_was_changed_on_the_index_is_put_back_at_either_end() {
    let tuning = Tuning { number_of_replicas: "1".into(), refresh_interval: None, gc_deletes: None };
    let mut reindex = copying(1);
    reindex.status.as_mut().unwrap().tuning = Some(tuning.clone());
    let mut good = reindex.clone();
    see(&mut good, looked([(0, ended(6))]), 4);
    assert_eq!(stage(&good), Stage::Restore);
    assert_eq!(see(&mut good, Observation::Restore, 5).effect, Some(Effect::Restore(tuning.clone())));
    settled(&mut good, Outcome::Restored, 5);
    assert_eq!(stage(&good), Stage::Verify);
    see(&mut reindex, Observation::ClusterChanged("m".into()), 4);
    assert_eq!(see(&mut reindex, Observation::Release(Release::default()), 5).effect, Some(Effect::Restore(tuning)));
    assert_eq!(stage(&reindex), Stage::Release);
    settled(&mut reindex, Outcome::Restored, 5);
    assert_eq!(stage(&reindex), Stage::Finished);
}

/// What may become of a task that runs.
fn any_task() -> impl Strategy<Value = Task> {
    prop_oneof![
        4 => (0i64..6).prop_map(running),
        4 => (0i64..6).prop_map(ended),
        1 => Just(Task::Lost),
        1 => Just(Task::Cancelled(Box::default())),
        1 => Just(died(DeathClass::Overloaded)),
        1 => Just(died(DeathClass::LockedOut)),
        1 => Just(died(DeathClass::BatchTooLarge)),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_to_tasks_no_more_than_parallelism_run_and_no_range_is_forgotten(
        ranges in 1i32..6,
        fates in proptest::collection::vec(any_task(), 1..60),
    ) {
        let mut reindex = copying(ranges);
        let mut second = 10;
        for fate in fates {
            second += 100;
            let status = reindex.status.clone().unwrap();
            if stage(&reindex) != Stage::Copy {
                break;
            }
            let active: Vec<i32> =
                status.partitions.iter().filter(|p| p.state != PartitionState::Waiting).map(|p| p.id).collect();
            prop_assert!(active.len() <= 2, "{active:?}");
            let fate = active.first().map(|id| (*id, fate.clone()));
            let others = active.iter().skip(1).map(|id| (*id, running(1)));
            let decision = see(&mut reindex, looked(fate.into_iter().chain(others)), second);
            let tasks: Vec<_> =
                starts(&decision).iter().map(|start| (start.partition, Started::Task("n:7".into()))).collect();
            let mut ids: Vec<_> = decision.status.partitions.iter().map(|partition| partition.id).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(ids.len(), decision.status.partitions.len(), "no range runs twice");
            let (before, after) = (status.progress.unwrap(), decision.status.progress.clone().unwrap());
            let again = decision.notes.iter().any(|note| note.reason == "CopyRetried");
            prop_assert!(again || after.partitions_done >= before.partitions_done);
            settled(&mut reindex, started(tasks), second);
        }
        let status = reindex.status.unwrap();
        if stage(&Reindex { status: Some(status.clone()), ..fresh() }) == Stage::Verify {
            let plan = status.plan.unwrap();
            prop_assert!((0..ranges as usize).all(|id| partitions::is_done(&plan, id)));
        }
    }
}

#[test]
fn a_changed_query_is_seen_by_the_hash() {
    let mut reindex = copying(1);
    reindex.spec.source.query = Some(json!({"match_none": {}}));
    see(&mut reindex, looked([(0, ended(6))]), 9);
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
    assert_eq!((mended.requeue, stage(&reindex)), (Requeue::Now, Stage::Allowlist));
}

#[test]
fn every_finding_is_told_at_once_and_the_final_ones_first() {
    let mut reindex = fresh();
    let mut found = facts();
    found.destination = Some(Ok(ClusterFacts { major: 8, ..cluster("d") }));
    found.source_index = Some(Ok(SourceIndex::Absent));
    found.destination_index = Some(Ok(Some(ExistingIndex { concrete: true, made_by: None, durable: true })));
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
    see(
        &mut reindex,
        Observation::Prepare(Prepare::Exists { uuid: "x".into(), concrete: true, owner: Some("another".into()) }),
        2,
    );
    assert_eq!(failed(&reindex), "DestinationExists");
}

#[test]
fn stale_documents_are_deleted_only_in_an_index_of_ours_that_is_to_be_as_the_source() {
    let reindex = |change: fn(&mut Reindex)| {
        let mut reindex = copying(1);
        let status = reindex.status.as_mut().unwrap();
        partitions::set_conflicted(status.plan.as_mut().unwrap(), 0);
        change(&mut reindex);
        copying::is_to_be_repaired(&reindex, &reindex.status.clone().unwrap().plan.unwrap())
    };
    assert!(reindex(|_| {}));
    let changes: [fn(&mut Reindex); 7] = [
        |it| it.spec.conflicts = crate::api::reindex::Conflicts::Proceed,
        |it| it.spec.destination.op_type = OpType::Create,
        |it| it.spec.destination.routing = "discard".into(),
        |it| it.spec.destination.pipeline = Some("p".into()),
        |it| it.status.as_mut().unwrap().destination.as_mut().unwrap().created = false,
        |it| it.status.as_mut().unwrap().plan.as_mut().unwrap().repairs = i32::MAX,
        |it| it.status.as_mut().unwrap().plan.as_mut().unwrap().conflicted.clear(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(!reindex(change), "change {number}");
    }
}
