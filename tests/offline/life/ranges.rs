//! Copies of several ranges: at once, one after the other, lost, refused, limited.

use reindex_operator::api::{Reindex, conditions::COMPLETE, reindex_status::PartitionState};
use serde_json::{Value, json};

use super::{assert_copied, failure, three};
use crate::support::{
    engine::Pace,
    faults::Fault,
    world::{World, condition},
};

#[tokio::test]
async fn ranges_are_copied_side_by_side_and_add_up() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(1);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(world.destination.state().tasks.len(), 3, "{}", world.story("three tasks"));
    assert_eq!(world.destination.state().most_at_once, 2, "no more than parallelism");
    let progress = reindex.status.unwrap().progress.unwrap();
    let seen = (progress.partitions_total, progress.partitions_done, progress.partitions_running, progress.percent);
    assert_eq!(seen, (3, 3, 0, 100));
}

#[tokio::test]
async fn a_lost_task_costs_its_range_only() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    let first = *world.destination.state().tasks.keys().next().unwrap();
    world.destination.state().tasks.remove(&first);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let started = world.event_reasons().iter().filter(|reason| *reason == "CopyStarted").count();
    assert_eq!(started, 1, "events of one kind are counted together");
    let tasks: Vec<_> = world.destination.state().tasks.values().filter_map(|task| task.opaque_id()).collect();
    assert_eq!(tasks.iter().filter(|id| id.ends_with("/2")).count(), 1, "one range is tried again: {tasks:?}");
    assert_eq!(tasks.len(), 3, "{tasks:?}");
}

#[tokio::test]
async fn a_task_that_somebody_cancels_is_started_again() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    world.destination.state().tasks.values_mut().next().unwrap().cancel();
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn several_ranges_survive_an_operator_that_is_killed_anywhere() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        for n in 1.. {
            let mut world = World::with(three).await;
            world.title = format!("{fault:?} at call {n} of a copy of three ranges");
            world.destination.state().pace = Pace::PerPoll(1);
            world.faults.plan(n, fault);
            let reindex = world.end().await;
            assert_copied(&world, &reindex);
            assert!(world.destination.state().most_at_once <= 2, "{}", world.story("no more than parallelism"));
            assert_restored(&world);
            if world.faults.hit().is_none() {
                assert!(n > 40, "a life has more than {n} calls");
                break;
            }
        }
    }
}

/// Two processes that both take themselves for the leader: one is frozen at a call, another works on, and the first goes on where it was.
#[tokio::test]
async fn two_leaders_at_once_copy_each_document_once_and_leave_nothing_behind() {
    for (n, rounds) in (1..).flat_map(|n| [(n, 1), (n, 3)]) {
        let mut world = two_leaders(n).await;
        let Some(thawing) = world.until_frozen(n).await else {
            assert!(n > 40, "a life has more than {n} calls");
            return;
        };
        for _ in 0..rounds {
            world.round_without_time().await;
        }
        world.faults.thaw();
        thawing.await;
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        assert_restored(&world);
    }
}

async fn two_leaders(n: usize) -> World {
    let mut world = World::with(three).await;
    world.title = format!("one of two leaders is frozen at call {n}");
    world.destination.state().pace = Pace::PerPoll(1);
    world
}

/// What it had asked for before it was frozen can't be called back.
#[tokio::test]
async fn a_leader_that_thaws_when_another_has_ended_the_copy_touches_nothing() {
    for n in 1.. {
        let mut world = two_leaders(n).await;
        let Some(thawing) = world.until_frozen(n).await else {
            assert!(n > 40, "a life has more than {n} calls");
            return;
        };
        let reindex = world.end().await;
        let hit = world.faults.hit().unwrap();
        world.faults.thaw();
        thawing.await;
        match hit.path.as_str() {
            "/_reindex" => {
                assert!(world.destination.state().running() <= 1, "{}", world.story("only what it had asked for"))
            }
            _ => assert_copied(&world, &reindex),
        }
        if hit.verb != "PUT" || !hit.path.ends_with("/_settings") {
            assert_restored(&world);
        }
    }
}

/// The request of the first attempt comes through when nobody waits for it any more.
#[tokio::test]
async fn a_task_that_came_through_late_is_adopted_and_not_run_beside_another() {
    for n in 1.. {
        let mut world = two_leaders(n).await;
        let thawing = world.until_frozen(n).await.expect("a task is asked for");
        let attempts = |world: &World| -> Vec<i32> {
            let status = world.reindex().unwrap().status.unwrap_or_default();
            status.partitions.iter().map(|partition| partition.attempt).collect()
        };
        // Not the request that only asks whether the source is allowed.
        if world.faults.hit().unwrap().path != "/_reindex" || attempts(&world).is_empty() {
            continue;
        }
        world.round_without_time().await;
        assert!(attempts(&world).contains(&2), "{}", world.story("it was given up"));
        // It goes on for as long as it takes.
        world.destination.state().pace = Pace::PerPoll(0);
        world.faults.thaw();
        thawing.await;
        let runs = |reindex: &Reindex| {
            let partitions = &reindex.status.as_ref().unwrap().partitions;
            partitions.iter().any(|partition| partition.attempt == 2 && partition.state == PartitionState::Running)
        };
        world.until_it("the second attempt runs", runs).await;
        world.destination.state().pace = Pace::PerPoll(1);
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        // And the other range's, whose number nobody had noted.
        let metrics = world.ctx().metrics.text();
        assert!(metrics.contains(r#"task_starts_total{outcome="adopted"} 2"#), "{metrics}");
        return;
    }
}

/// The index's settings are what they were declared to be.
fn assert_restored(world: &World) {
    let mut destination = world.destination.state();
    let settings = destination.index("dest").settings.clone();
    assert_eq!(settings["number_of_replicas"], "1", "{}", world.title);
    assert_eq!(settings["refresh_interval"], Value::Null, "{}", world.title);
}

#[tokio::test]
async fn an_index_is_filled_without_refresh_and_replicas_and_gets_them_back() {
    let mut world = World::with(three).await;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let off = json!({"number_of_replicas": "0", "refresh_interval": "-1", "gc_deletes": null});
    let back = json!({"number_of_replicas": "1", "refresh_interval": null, "gc_deletes": null});
    assert_eq!(world.destination.state().index("dest").settings_log, [off, back]);
    assert_eq!(reindex.status.unwrap().tuning, None);
}

#[tokio::test]
async fn an_index_whose_settings_may_not_be_changed_is_filled_as_it_is() {
    let mut world = World::with(three).await;
    world.destination.state().refuses_settings = true;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(world.destination.state().index("dest").settings_log, [] as [Value; 0]);
    assert!(world.event_reasons().contains(&"RequestRefused".to_owned()), "{:?}", world.event_reasons());
}

#[tokio::test]
async fn what_was_changed_is_put_back_when_the_copy_fails() {
    let mut world = World::with(|reindex| {
        three(reindex);
        reindex["spec"]["execution"]["activeDeadlineSeconds"] = json!(150);
    })
    .await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    assert_eq!(world.destination.state().index("dest").settings["refresh_interval"], "-1");
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DeadlineExceeded");
    assert_eq!(world.destination.state().running(), 0);
    assert_restored(&world);
}

#[tokio::test]
async fn what_was_changed_is_put_back_when_the_object_is_deleted() {
    for policy in ["Cancel", "Orphan"] {
        let mut world = World::with(|reindex| {
            three(reindex);
            reindex["spec"]["deletionPolicy"] = json!(policy);
        })
        .await;
        world.title = policy.into();
        world.destination.state().pace = Pace::PerPoll(0);
        world.until_copying().await;
        world
            .api
            .delete::<reindex_operator::api::Reindex>(crate::support::world::NAMESPACE, crate::support::world::NAME);
        world.until_gone().await;
        assert_restored(&world);
        assert_eq!(world.destination.state().running() > 0, policy == "Orphan");
    }
}

#[tokio::test]
async fn nothing_is_changed_on_the_index_where_nobody_wants_that() {
    let mut world = World::with(|reindex| {
        three(reindex);
        reindex["spec"]["execution"]["bulkLoadTuning"] = json!(false);
    })
    .await;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(world.destination.state().index("dest").settings_log, [Value::Null; 0]);
}

#[tokio::test]
async fn a_throttle_is_shared_and_follows_changes() {
    let mut world = World::with(|reindex| {
        three(reindex);
        reindex["spec"]["execution"]["requestsPerSecond"] = json!(100);
    })
    .await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    let throttles =
        |world: &World| world.destination.state().tasks.values().map(|task| task.throttle()).collect::<Vec<_>>();
    assert_eq!(throttles(&world), [50.0, 50.0]);
    world.change_reindex(json!({"spec": {"execution": {"requestsPerSecond": 10}}}));
    world.round().await;
    assert_eq!(throttles(&world), [5.0, 5.0]);
    world.change_reindex(json!({"spec": {"execution": {"requestsPerSecond": null}}}));
    world.round().await;
    assert_eq!(throttles(&world), [-1.0, -1.0]);
    world.destination.state().pace = Pace::PerPoll(2);
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
}

#[tokio::test]
async fn a_destination_that_refuses_a_throttle_is_told_of() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.destination.state().refuses_rethrottle = true;
    world.change_reindex(json!({"spec": {"execution": {"requestsPerSecond": 10}}}));
    world.round().await;
    assert!(world.event_reasons().contains(&"RequestRefused".to_owned()), "{}", world.story("it is told"));
    world.destination.state().refuses_rethrottle = false;
    world.destination.state().pace = Pace::PerPoll(2);
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
}

#[tokio::test]
async fn parallelism_may_change_meanwhile() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    assert_eq!(world.destination.state().running(), 2);
    world.change_reindex(json!({"spec": {"execution": {"parallelism": 3}}}));
    world.round().await;
    assert_eq!(world.destination.state().running(), 3);
    world.destination.state().pace = Pace::PerPoll(2);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn the_clusters_limits_hold() {
    for (cluster, limits) in [("es-1", json!({"maxTasks": 1})), ("es-2", json!({"maxOpenScrolls": 9}))] {
        let mut world = World::with(three).await;
        world.title = format!("{cluster} {limits}");
        world.destination.state().pace = Pace::PerPoll(1);
        world.change_cluster(cluster, json!({"spec": {"limits": limits}}));
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        assert_eq!(world.destination.state().most_at_once, 1, "{}", world.title);
    }
}

#[tokio::test]
async fn a_source_that_can_t_search_by_sequence_number_is_copied_in_one_range() {
    let mut world = World::with(three).await;
    world.source.state().index("product_info").no_seq_no = true;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(world.destination.state().tasks.len(), 1);
    let why = reindex.status.unwrap().plan.unwrap().undivided;
    assert!(why.as_deref().is_some_and(|why| why.contains("_seq_no")), "{why:?}");
}
