//! A destination index that exists: refused, written into, or replaced.

use k8s_openapi::jiff::SignedDuration;
use reindex_operator::api::{
    Reindex,
    conditions::{COMPLETE, RECONCILING},
};
use serde_json::{Value, json};

use super::{assert_copied, failure, three};
use crate::support::{
    engine::Pace,
    faults::{Call, Fault},
    world::{NAME, NAMESPACE, World, condition, valid_reindex},
};

async fn with(policy: &str) -> World {
    World::with(|reindex| {
        // The index that is there maps nothing.
        reindex["spec"]["acceptWarnings"] = json!(["FieldsGuessed"]);
        three(reindex);
        reindex["spec"]["destination"]["ifExists"] = json!(policy);
    })
    .await
}

/// An index on the destination with one document of its own, made by a Reindex of that UID, or by a person.
fn existing(world: &World, made_by: Option<&str>) {
    let mut destination = world.destination.state();
    let meta = made_by.map_or(json!({}), |uid| json!({"_meta": {"reindex.dev": {"uid": uid}}}));
    let body = json!({"settings": {"number_of_shards": "2"}, "mappings": meta});
    let index = destination.create("dest", &body);
    index.put("Z", json!({"annual_rate": "0%"}));
    index.refresh();
}

#[tokio::test]
async fn append_writes_into_an_index_that_is_there_and_changes_nothing_else() {
    let mut world = with("Append").await;
    existing(&world, None);
    world.destination.state().pace = Pace::PerPoll(1);
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    let mut destination = world.destination.state();
    assert_eq!(destination.created, [""; 0]);
    let index = destination.index("dest");
    assert_eq!(index.documents.len(), 7, "six copied, one that was there");
    assert_eq!(index.settings_log, [Value::Null; 0], "it is not ours to tune");
    drop(destination);
    assert!(!reindex.status.unwrap().destination.unwrap().created);
}

#[tokio::test]
async fn append_and_replace_create_an_index_that_is_not_there() {
    for policy in ["Append", "Replace"] {
        let mut world = with(policy).await;
        world.title = policy.into();
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn append_waits_for_an_index_that_keeps_what_it_acknowledges() {
    let mut world = with("Append").await;
    existing(&world, None);
    world.destination.state().index("dest").settings["translog"] = json!({"durability": "async"});
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "DestinationNotDurable");
    assert!(message.contains("index.translog.durability"), "{message}");
    world.destination.state().index("dest").settings["translog"] = json!({"durability": "request"});
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
}

/// Another Reindex that appends to the same index; it has ended, or not yet.
fn other(world: &World, ended: bool) {
    let mut other = valid_reindex();
    other["metadata"] = json!({"name": "other", "namespace": NAMESPACE});
    let (status, time) = (if ended { "True" } else { "False" }, "2026-01-01T00:00:00Z");
    other["status"] = json!({
        "conditions": [{"type": "Failed", "status": status, "reason": "R", "message": "", "lastTransitionTime": time}],
        "steps": [{"name": "Validate", "state": "Succeeded"}],
        "destination": {
            "clusterUUID": world.destination.state().cluster_uuid, "version": "7.17.29", "created": false,
            "indexUUID": world.destination.state().index("dest").uuid,
        },
    });
    world.api.apply(other);
}

#[tokio::test]
async fn of_two_that_append_to_one_index_only_one_starts_tasks() {
    let mut world = World::new().await;
    existing(&world, None);
    // The other one is the older.
    world.api.delete::<Reindex>(NAMESPACE, NAME);
    other(&world, true);
    world.api.age("reindexes.reindex.dev", SignedDuration::from_secs(60));
    let mut reindex = valid_reindex();
    three(&mut reindex);
    reindex["spec"]["destination"]["ifExists"] = json!("Append");
    reindex["spec"]["acceptWarnings"] = json!(["FieldsGuessed"]);
    reindex["spec"]["execution"]["parallelism"] = json!(1);
    world.api.apply(reindex);
    world.until_copying().await;
    // As if both had passed every earlier check in the same moment.
    other(&world, false);
    let busy =
        |reindex: &Reindex| condition(reindex, RECONCILING).is_some_and(|(reason, _)| reason == "DestinationBusy");
    world.until_it("it waits for the other one", busy).await;
    let started = world.destination.state().reindexes.len();
    for _ in 0..4 {
        world.round().await;
    }
    assert_eq!(world.destination.state().reindexes.len(), started, "{}", world.story("nothing is started"));
    other(&world, true);
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
}

/// A thousand at once would each be told of a thousand.
#[tokio::test]
async fn one_into_an_index_of_its_own_asks_for_no_list_of_reindexes() {
    let mut world = World::new().await;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let is_list = |call: &Call| call.to == "apiserver" && call.path.ends_with("/reindexes");
    let lists: Vec<_> = world.faults.journal().into_iter().filter(is_list).collect();
    assert_eq!(lists, []);
}

#[tokio::test]
async fn what_append_updates_is_not_called_created() {
    let mut world = with("Append").await;
    existing(&world, None);
    world.destination.state().index("dest").put("A", json!({}));
    let reindex = world.end().await;
    let result = reindex.status.unwrap().result.unwrap();
    assert_eq!((result.created, result.updated), (5, 1), "{result:?}");
}

#[tokio::test]
async fn replace_deletes_what_a_reindex_made_wherever_the_operator_is_killed() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter] {
        for n in 1.. {
            let mut world = with("Replace").await;
            world.title = format!("{fault:?} at call {n} of a replacement");
            existing(&world, Some("an-earlier-one"));
            world.faults.plan(n, fault);
            let reindex = world.end().await;
            assert_copied(&world, &reindex);
            if world.faults.hit().is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn replace_leaves_alone_what_no_reindex_made() {
    let mut world = with("Replace").await;
    existing(&world, None);
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "DestinationNotOurs");
    assert!(message.contains("dest"), "{message}");
    assert_eq!(world.destination.state().index("dest").documents.len(), 1);
}

#[tokio::test]
async fn replace_waits_for_a_reindex_that_is_not_through_with_the_index() {
    let mut world = with("Replace").await;
    existing(&world, Some("an-earlier-one"));
    // It has failed, and its task is still to be cancelled.
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut earlier = valid_reindex();
    earlier["metadata"] = json!({"name": "earlier", "namespace": NAMESPACE, "uid": "an-earlier-one"});
    let uuid = world.destination.state().index("dest").uuid.clone();
    let cluster = world.destination.state().cluster_uuid.clone();
    earlier["status"] = json!({
        "conditions": [condition("Failed")],
        "steps": [{"name": "Validate", "state": "Succeeded"}],
        "destination": {"clusterUUID": cluster, "version": "7.17.29", "indexUUID": uuid, "created": true},
        "partitions": [{"id": 0, "attempt": 1, "state": "Cancelling", "startedAt": "2026-01-01T00:00:00Z"}],
    });
    world.api.apply(earlier.clone());
    for _ in 0..6 {
        world.round().await;
    }
    assert_eq!(world.destination.state().index("dest").uuid, uuid, "{}", world.story("it waits"));
    earlier["status"]["partitions"] = json!(null);
    world.api.apply(earlier);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}
