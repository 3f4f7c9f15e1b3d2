//! Passwords that are changed while a copy runs: at the engine first, in the Secret later.

use reindex_operator::api::conditions::{FAILED, READY, RECONCILING};
use serde_json::json;

use super::{assert_copied, three};
use crate::support::{
    engine::Pace,
    world::{NEW_SOURCE_PASSWORD, Round, SOURCE_PASSWORD, World, api_key_secret, condition, secret},
};

/// Nothing may be tried again because of a failure.
fn impatient(reindex: &mut serde_json::Value) {
    three(reindex);
    reindex["spec"]["execution"]["backoffLimit"] = json!(0);
}

/// Looks at it for a while, in which nothing is started and it is told why.
async fn told_while_wrong(world: &mut World, side: &str) {
    let started = world.destination.state().reindexes.len();
    for _ in 0..8 {
        assert!(matches!(world.round().await, Round::Done(_)), "{}", world.story("it waits"));
    }
    let reindex = world.reindex().unwrap();
    let (reason, message) = condition(&reindex, RECONCILING).unwrap_or_else(|| panic!("{}", world.story("it is told")));
    assert_eq!(reason, "ProgressingWithRetry");
    assert!(message.contains(side) && message.contains("failed to authenticate"), "{message}");
    assert_eq!((condition(&reindex, FAILED), condition(&reindex, READY)), (None, None));
    assert_eq!(world.destination.state().reindexes.len(), started, "{}", world.story("nothing is started meanwhile"));
}

#[tokio::test]
async fn a_sources_password_that_is_changed_costs_no_attempt_and_no_document() {
    let mut world = World::with(impatient).await;
    world.until_copying().await;
    // The source forgets who was let in before, too: tasks hold the old password.
    world.source.state().password = Some(NEW_SOURCE_PASSWORD.into());
    world.destination.state().tasks.values_mut().for_each(|task| task.lock_out());
    told_while_wrong(&mut world, "the source").await;
    assert_eq!(world.destination.state().running(), 0, "tasks end when they are locked out");
    world.api.apply(secret("es-2-elastic", NEW_SOURCE_PASSWORD));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let seen = world.destination.state().passwords_seen.clone();
    assert!(seen.contains(SOURCE_PASSWORD) && seen.contains(NEW_SOURCE_PASSWORD), "{seen:?}");
}

#[tokio::test]
async fn a_sources_api_key_likewise() {
    const NEW_KEY: &str = "new-id:k3y-that-is-new";
    let mut world = World::with(impatient).await;
    world.use_api_keys();
    world.until_copying().await;
    world.source.state().api_key = Some(NEW_KEY.into());
    world.destination.state().tasks.values_mut().for_each(|task| task.lock_out());
    told_while_wrong(&mut world, "the source").await;
    world.api.apply(api_key_secret("es-2-key", NEW_KEY));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert!(world.destination.state().passwords_seen.contains(NEW_KEY));
}

#[tokio::test]
async fn a_password_that_is_changed_again_and_again_never_ends_a_copy() {
    let mut world = World::with(impatient).await;
    world.until_copying().await;
    for turn in 0..8 {
        let password = if turn % 2 == 0 { NEW_SOURCE_PASSWORD } else { SOURCE_PASSWORD };
        world.source.state().password = Some(password.into());
        world.destination.state().tasks.values_mut().for_each(|task| task.lock_out());
        told_while_wrong(&mut world, "the source").await;
        world.api.apply(secret("es-2-elastic", password));
        // Tasks run again, and none of them to its end.
        world.destination.state().pace = Pace::PerPoll(0);
        for _ in 0..3 {
            world.round().await;
        }
        assert!(world.destination.state().running() > 0, "{}", world.story("it goes on"));
    }
    world.destination.state().pace = Pace::PerPoll(2);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

/// Its tasks were started, and run on: only the operator is let in no more.
#[tokio::test]
async fn a_destinations_password_that_is_changed_keeps_only_the_operator_out() {
    let mut world = World::with(impatient).await;
    world.until_copying().await;
    let tasks = world.destination.state().tasks.len();
    const NEW: &str = "n3w-s3cret-of-the-destination";
    world.destination.state().password = Some(NEW.into());
    told_while_wrong(&mut world, "the destination").await;
    world.api.apply(secret("es-1-elastic", NEW));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let attempts: Vec<_> = world.destination.state().tasks.values().filter_map(|task| task.opaque_id()).collect();
    assert!(attempts.len() >= tasks && attempts.iter().all(|id| id.ends_with("/1")), "{attempts:?}");
}
