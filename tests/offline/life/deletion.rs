//! Deleting always ends, and leaves nothing running.

use kube::runtime::controller::Action;
use reindex_operator::api::{Reindex, SearchCluster, conditions::STALLED};
use serde_json::{Value, json};

use super::failure;
use crate::support::{
    engine::Pace,
    faults::Fault,
    world::{NAME, NAMESPACE, Round, World, condition},
};

async fn copying(change: impl FnOnce(&mut Value)) -> World {
    let mut world = World::with(change).await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world
}

#[tokio::test]
async fn deleting_a_reindex_that_copies_ends_its_task() {
    let mut world = copying(|_| {}).await;
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    assert!(world.reindex().is_some(), "{}", world.story("the finalizer holds it"));
    world.until_gone().await;
    assert_eq!(world.destination.state().running(), 0);
    assert!(world.destination.state().indices.contains_key("dest"), "what was copied stays");
}

#[tokio::test]
async fn deleting_one_that_is_verified_ends_a_task_whose_request_came_late() {
    let mut world = World::new().await;
    world.until_copying().await;
    // What the task has read it writes; Verify then waits for the source.
    world.source.stop();
    let copied = |reindex: &Reindex| reindex.status.as_ref().unwrap().result.is_some();
    let reindex = world.until_it("everything is copied", copied).await;
    world.destination.state().start_stray(&format!("reindex/{}/0/1", reindex.metadata.uid.unwrap()));
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    world.until_gone().await;
    assert_eq!(world.destination.state().running(), 0, "{}", world.story("the late task is cancelled"));
}

#[tokio::test]
async fn deleting_with_orphan_leaves_the_task_running() {
    let mut world = copying(|reindex| reindex["spec"]["deletionPolicy"] = json!("Orphan")).await;
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    world.until_gone().await;
    assert_eq!(world.destination.state().running(), 1);
}

#[tokio::test]
async fn deleting_one_that_has_started_nothing_is_held_up_by_nothing() {
    let mut world = World::new().await;
    world.source.state().indices.clear();
    world.until_stalled().await;
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    assert!(world.reindex().is_none(), "no finalizer while nothing runs");
}

#[tokio::test]
async fn deleting_ends_after_two_minutes_when_the_destination_is_unreachable() {
    let mut world = copying(|_| {}).await;
    world.destination.stop();
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    world.round().await;
    assert!(world.reindex().is_some(), "{}", world.story("it is patient for two minutes"));
    world.until_gone().await;
    assert!(world.event_reasons().contains(&"CleanupGivenUp".to_owned()), "{:?}", world.event_reasons());
}

#[tokio::test]
async fn deleting_ends_when_the_search_cluster_and_its_secret_are_gone() {
    let mut world = copying(|_| {}).await;
    world.api.delete::<SearchCluster>(NAMESPACE, "es-1");
    world.api.delete::<k8s_openapi::api::core::v1::Secret>(NAMESPACE, "es-1-elastic");
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    world.until_gone().await;
}

#[tokio::test]
async fn deleting_ends_wherever_the_operator_is_killed() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        for n in 1.. {
            let mut world = copying(|_| {}).await;
            world.title = format!("{fault:?} at call {n} of a deletion");
            world.api.delete::<Reindex>(NAMESPACE, NAME);
            world.faults.plan(n, fault);
            world.until_gone().await;
            assert_eq!(world.destination.state().running(), 0, "{}", world.story("no task is left"));
            if world.faults.hit().is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_reindex_that_is_deleted_at_any_moment_leaves_no_task_behind() {
    for n in 1.. {
        let mut world = World::new().await;
        world.title = format!("killed after call {n}, then deleted");
        world.destination.state().pace = Pace::PerPoll(0);
        world.faults.plan(n, Fault::KilledAfter);
        for _ in 0..5 {
            if let Round::Died = world.round().await {
                break;
            }
        }
        if world.faults.hit().is_none() {
            assert!(n > 20, "a start has more than {n} calls");
            break;
        }
        world.api.delete::<Reindex>(NAMESPACE, NAME);
        world.until_gone().await;
        assert_eq!(world.destination.state().running(), 0, "{}", world.story("no task is left"));
    }
}

#[tokio::test]
async fn one_that_ended_goes_when_its_time_is_over() {
    let mut world = World::new().await;
    world.end().await;
    assert!(world.reindex().is_some(), "nobody wants it to go");
    world.change_reindex(json!({"spec": {"ttlSecondsAfterFinished": 36_000}}));
    let Round::Done(action) = world.round().await else { panic!("{}", world.story("it waits")) };
    assert_ne!(action, Action::await_change(), "it is looked at again when its time is over");
    assert!(world.reindex().is_some(), "its time is not over");
    world.change_reindex(json!({"spec": {"ttlSecondsAfterFinished": 60}}));
    world.until_gone().await;
    assert!(world.destination.state().indices.contains_key("dest"), "what was copied stays");
}

#[tokio::test]
async fn one_that_has_not_ended_stays() {
    let mut world = copying(|reindex| reindex["spec"]["ttlSecondsAfterFinished"] = json!(0)).await;
    for _ in 0..3 {
        world.round().await;
    }
    assert!(world.reindex().is_some());
}

/// A copy in three ranges, whose index has no replicas and no refresh meanwhile.
async fn copying_tuned() -> World {
    let mut world = copying(|reindex| reindex["spec"]["execution"] = json!({"partitions": 3})).await;
    assert_eq!(world.destination.state().index("dest").settings["refresh_interval"], "-1");
    world.round_of_cluster("es-1").await;
    world
}

fn assert_put_back(world: &World) {
    assert_eq!(world.destination.state().running(), 0, "{}", world.story("no task is left"));
    let refresh = world.destination.state().index("dest").settings["refresh_interval"].clone();
    assert_eq!(refresh, Value::Null, "{}", world.story("the settings are put back"));
    assert!(!world.event_reasons().contains(&"CleanupGivenUp".to_owned()), "{:?}", world.event_reasons());
}

#[tokio::test]
async fn a_search_cluster_that_is_deleted_with_its_reindex_waits_until_everything_is_put_back() {
    let mut world = copying_tuned().await;
    world.api.delete::<SearchCluster>(NAMESPACE, "es-1");
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    world.round_of_cluster("es-1").await;
    assert!(world.cluster("es-1").is_some(), "{}", world.story("the Reindex needs it"));
    world.until_gone().await;
    assert_put_back(&world);
    world.round_of_cluster("es-1").await;
    assert!(world.cluster("es-1").is_none(), "nobody needs it any more");
}

#[tokio::test]
async fn a_search_cluster_that_is_deleted_ends_copies_into_it() {
    let mut world = copying_tuned().await;
    world.api.delete::<SearchCluster>(NAMESPACE, "es-1");
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "AccessWithdrawn");
    assert_put_back(&world);
    world.round_of_cluster("es-1").await;
    assert!(world.cluster("es-1").is_none(), "nobody needs it any more");
}

#[tokio::test]
async fn a_search_cluster_that_can_not_be_reached_goes_after_two_minutes_and_tells_what_is_left() {
    let mut world = copying_tuned().await;
    world.destination.stop();
    world.api.delete::<SearchCluster>(NAMESPACE, "es-1");
    world.round_of_cluster("es-1").await;
    assert!(world.cluster("es-1").is_some(), "it is patient for two minutes");
    for _ in 0..3 {
        world.round_of_cluster("es-1").await;
    }
    assert!(world.cluster("es-1").is_none());
    assert!(world.event_reasons().contains(&"CleanupGivenUp".to_owned()), "{:?}", world.event_reasons());
}

#[tokio::test]
async fn a_search_cluster_that_is_deleted_is_looked_at_again_soon() {
    let mut world = copying_tuned().await;
    world.api.delete::<SearchCluster>(NAMESPACE, "es-1");
    let Round::Done(action) = world.round_of_cluster("es-1").await else { panic!("{}", world.story("it waits")) };
    let soon = (0..=5).map(|seconds| Action::requeue(std::time::Duration::from_secs(seconds)));
    assert!(soon.into_iter().any(|soon| soon == action), "{action:?}");
}

#[tokio::test]
async fn what_a_failed_copy_owes_a_cluster_that_is_away_is_told_once() {
    let mut world = copying_tuned().await;
    world.destination.stop();
    world.api.delete::<SearchCluster>(NAMESPACE, "es-2");
    let waits = |reindex: &Reindex| condition(reindex, STALLED).is_some_and(|(_, why)| why.contains("which waits"));
    world.until_it("what it owes waits", waits).await;
    for _ in 0..3 {
        world.round().await;
    }
    let told = world.event_reasons().iter().filter(|reason| *reason == "CleanupWaits").count();
    assert_eq!(told, 1, "{:?}", world.event_reasons());
}
