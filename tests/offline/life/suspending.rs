//! `spec.suspend`: what is copied is kept, nothing runs meanwhile, and it goes on from there.

use reindex_operator::{
    api::conditions::{COMPLETE, RECONCILING, SUSPENDED},
    plan::wind_down::left_of_reindex,
};
use serde_json::{Value, json};

use super::{assert_copied, three};
use crate::support::{
    engine::Pace,
    faults::Fault,
    world::{World, condition},
};

async fn until_suspended(world: &mut World) {
    world.until_it("it is suspended", |reindex| condition(reindex, SUSPENDED).is_some()).await;
    assert_eq!(world.destination.state().running(), 0, "{}", world.story("nothing runs"));
    let reindex = world.reindex().unwrap();
    assert_eq!(condition(&reindex, RECONCILING), None);
    assert_eq!(reindex.status.unwrap().phase.unwrap().to_string(), "Suspended");
}

#[tokio::test]
async fn running_ranges_end_and_the_rest_is_copied_later() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    world.change_reindex(json!({"spec": {"suspend": true}}));
    until_suspended(&mut world).await;
    let tasks = world.destination.state().tasks.len();
    assert_eq!(tasks, 2, "no range was begun anew");
    assert_eq!(world.destination.state().index("dest").settings["refresh_interval"], Value::Null, "put back meanwhile");
    world.change_reindex(json!({"spec": {"suspend": false}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(world.destination.state().tasks.len(), 3, "what was done is not copied again");
}

#[tokio::test]
async fn running_ranges_are_cancelled_where_that_is_wanted() {
    let mut world = World::with(|reindex| {
        three(reindex);
        reindex["spec"]["suspendPolicy"] = json!("Cancel");
    })
    .await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.change_reindex(json!({"spec": {"suspend": true}}));
    until_suspended(&mut world).await;
    world.destination.state().pace = Pace::PerPoll(2);
    world.change_reindex(json!({"spec": {"suspend": false}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert!(world.reindex().unwrap().status.unwrap().suspension.unwrap().since.is_none());
}

#[tokio::test]
async fn one_that_is_suspended_from_the_beginning_begins_later() {
    let mut world = World::with(|reindex| reindex["spec"]["suspend"] = json!(true)).await;
    until_suspended(&mut world).await;
    assert!(world.destination.state().created.is_empty());
    world.change_reindex(json!({"spec": {"suspend": false}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn before_the_operator_is_uninstalled_all_is_suspended_and_put_back_and_it_goes_on_later() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(0);
    let reindex = world.until_copying().await;
    assert!(left_of_reindex(&reindex).is_some());
    world.winding_down.send_replace(true);
    until_suspended(&mut world).await;
    let reindex = world.reindex().unwrap();
    assert_eq!(condition(&reindex, SUSPENDED).unwrap().1, "the operator is being uninstalled; what is copied is kept");
    assert!(!reindex.spec.suspend, "what a person wrote stays");
    assert_eq!(left_of_reindex(&reindex), None);
    let settings = world.destination.state().index("dest").settings.clone();
    assert_eq!((&settings["refresh_interval"], &settings["number_of_replicas"]), (&Value::Null, &json!("1")));
    world.destination.state().pace = Pace::PerPoll(2);
    world.winding_down.send_replace(false);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_range_that_can_not_be_repeated_is_waited_for_before_the_operator_is_uninstalled() {
    let mut world = World::with(|reindex| reindex["spec"]["destination"]["opType"] = json!("Create")).await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    world.round().await;
    world.winding_down.send_replace(true);
    until_suspended(&mut world).await;
    world.winding_down.send_replace(false);
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
}

#[tokio::test]
async fn nothing_begins_while_the_operator_is_wound_down() {
    let mut world = World::new().await;
    world.winding_down.send_replace(true);
    until_suspended(&mut world).await;
    assert!(world.destination.state().created.is_empty());
    world.winding_down.send_replace(false);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn the_deadline_does_not_run_meanwhile() {
    let mut world = World::with(|reindex| {
        three(reindex);
        reindex["spec"]["execution"]["activeDeadlineSeconds"] = json!(900);
    })
    .await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    world.change_reindex(json!({"spec": {"suspend": true}}));
    until_suspended(&mut world).await;
    for _ in 0..20 {
        world.round().await;
    }
    world.change_reindex(json!({"spec": {"suspend": false}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_suspension_survives_an_operator_that_is_killed_anywhere() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter] {
        for n in 1.. {
            let mut world = World::with(|reindex| {
                three(reindex);
                reindex["spec"]["suspendPolicy"] = json!("Cancel");
            })
            .await;
            world.title = format!("{fault:?} at call {n} of a suspension");
            world.destination.state().pace = Pace::PerPoll(1);
            world.until_copying().await;
            world.change_reindex(json!({"spec": {"suspend": true}}));
            world.faults.plan(n, fault);
            until_suspended(&mut world).await;
            world.change_reindex(json!({"spec": {"suspend": false}}));
            let reindex = world.end().await;
            assert_copied(&world, &reindex);
            if world.faults.hit().is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_index_that_took_the_place_of_ours_meanwhile_is_not_touched() {
    let mut world = World::with(three).await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    world.change_reindex(json!({"spec": {"suspend": true}}));
    until_suspended(&mut world).await;
    world.destination.state().indices.remove("dest");
    world.destination.state().create("dest", &json!({}));
    world.change_reindex(json!({"spec": {"suspend": false}}));
    let reindex = world.end().await;
    assert_eq!(super::failure(&world, &reindex).0, "DestinationReplaced");
    let mut destination = world.destination.state();
    let index = destination.index("dest");
    assert_eq!((index.settings_log.len(), index.documents.len()), (0, 0), "somebody else's index");
}
