//! One call goes wrong: every single one of a life, in every way, and the life ends well all the same.

use serde_json::json;

use super::assert_copied;
use crate::support::{engine::Pace, faults::Fault, world::World};

/// Lives with the fault at the first call, at the second, and so on, until one ends before its fault.
async fn live_through(fault: Fault, pace: Pace) {
    for n in 1.. {
        let mut world = World::new().await;
        world.title = format!("{fault:?} at call {n}, tasks {pace:?}");
        world.destination.state().pace = pace;
        world.faults.plan(n, fault);
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        if world.faults.hit().is_none() {
            assert!(n > 30, "a life has more than {n} calls");
            return;
        }
    }
}

#[tokio::test]
async fn an_operator_that_is_killed_before_any_call_goes_on_where_it_was() {
    live_through(Fault::KilledBefore, Pace::PerPoll(2)).await;
}

#[tokio::test]
async fn an_operator_that_is_killed_after_any_call_goes_on_where_it_was() {
    live_through(Fault::KilledAfter, Pace::PerPoll(2)).await;
}

#[tokio::test]
async fn an_operator_that_is_killed_while_a_task_ends_by_itself_goes_on_where_it_was() {
    live_through(Fault::KilledBefore, Pace::Instant).await;
    live_through(Fault::KilledAfter, Pace::Instant).await;
}

#[tokio::test]
async fn a_call_that_is_refused_once_is_made_again() {
    live_through(Fault::Refused, Pace::PerPoll(2)).await;
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_not_made_twice_with_harm() {
    live_through(Fault::AnswerLost, Pace::PerPoll(2)).await;
    live_through(Fault::AnswerLost, Pace::Instant).await;
}

#[tokio::test]
async fn an_operator_that_is_killed_twice_goes_on_where_it_was() {
    for (first, second) in (1..60).step_by(5).flat_map(|first| [1, 5, 12, 22].map(|second| (first, second))) {
        let mut world = World::new().await;
        world.title = format!("killed after call {first}, and again after {second} more");
        world.faults.plan(first, Fault::KilledAfter);
        while world.faults.hit().is_none() && !world.ended() {
            world.round().await;
        }
        world.faults.plan(second, Fault::KilledAfter);
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn a_cluster_or_an_apiserver_that_refuses_once_uses_up_no_attempt() {
    for n in 1.. {
        let mut world = World::with(|reindex| reindex["spec"]["execution"] = json!({"backoffLimit": 0})).await;
        world.title = format!("refused at call {n}, and no second attempt");
        world.destination.state().pace = Pace::PerPoll(2);
        world.faults.plan(n, Fault::Refused);
        let reindex = world.end().await;
        let Some(hit) = world.faults.hit() else { return };
        // A destination that answers so may have begun the task all the same.
        if hit.path != "/_reindex" {
            assert_copied(&world, &reindex);
        }
    }
}
