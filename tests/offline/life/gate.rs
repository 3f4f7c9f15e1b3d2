//! The allowlist, and the restart that a copy must not run into.

use serde_json::{Value, json};

use super::{assert_copied, assert_unwritten_since};
use crate::support::world::{World, condition};
use reindex_operator::api::{Reindex, conditions::RECONCILING};

fn batch(phase: &str) -> Value {
    json!({"allowlist": {"batch": {
        "id": "b", "entries": ["h:9200"], "phase": phase, "generation": 1, "startedAt": "2026-01-01T00:00:00Z", "nodes": [],
    }}})
}

#[tokio::test]
async fn no_copy_starts_while_a_cluster_is_about_to_restart() {
    for (cluster, phase) in [("es-1", "Draining"), ("es-1", "Restarting"), ("es-2", "Editing"), ("es-2", "RollingBack")]
    {
        let mut world = World::new().await;
        world.title = format!("{cluster} is {phase}");
        world.change_cluster(cluster, json!({"status": batch(phase)}));
        for _ in 0..6 {
            world.round().await;
        }
        let (reason, message) =
            condition(&world.reindex().unwrap(), RECONCILING).unwrap_or_else(|| panic!("{}", world.story("it waits")));
        assert_eq!(reason, "WaitingForRestart", "{message}");
        assert!(message.contains(cluster), "{message}");
        assert!(world.destination.state().tasks.is_empty(), "{}", world.story("no copy starts"));
        world.change_cluster(cluster, json!({"status": batch("Done")}));
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn a_copy_that_waits_for_a_restart_asks_no_cluster_and_writes_nothing_again_and_again() {
    let mut world =
        World::with(|reindex| reindex["spec"]["execution"] = json!({"partitions": 3, "parallelism": 1})).await;
    world.change_cluster("es-1", json!({"status": batch("Restarting")}));
    let waits =
        |reindex: &Reindex| condition(reindex, RECONCILING).is_some_and(|(reason, _)| reason == "WaitingForRestart");
    let before = world.until_it("it waits for the restart", waits).await;
    assert!(before.status.as_ref().unwrap().plan.is_none(), "{}", world.story("nothing is planned yet"));
    let searches =
        |world: &World| world.faults.journal().iter().filter(|call| call.to_string().contains("_search")).count();
    let asked = searches(&world);
    for phase in ["Restarting", "RollingBack", "Draining"] {
        world.change_cluster("es-1", json!({"status": batch(phase)}));
        world.round().await;
    }
    assert_unwritten_since(&world, &before);
    assert_eq!(searches(&world), asked, "{}", world.story("the source is not searched"));
    // The same for ranges that wait while others of the copy are done.
    world.change_cluster("es-1", json!({"status": batch("Done")}));
    world.until_it("a range is done", |reindex| reindex.status.as_ref().unwrap().result.is_some()).await;
    world.change_cluster("es-1", json!({"status": batch("Draining")}));
    let started = world.destination.state().reindexes.len();
    let before = world.until_it("the rest waits", waits).await;
    let message = condition(&before, RECONCILING).unwrap().1;
    assert!(message.contains("es-1") && message.contains("copied"), "{message}");
    assert_eq!(world.destination.state().reindexes.len(), started, "{}", world.story("no further range is started"));
    world.change_cluster("es-1", json!({"status": batch("Done")}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_gate_that_closes_while_the_copy_starts_is_seen() {
    // The cache of the operator still shows it open: the gate is read live.
    let mut world = World::new().await;
    world.round_with_stale_clusters(|world| world.change_cluster("es-1", json!({"status": batch("Draining")}))).await;
    assert!(world.destination.state().tasks.is_empty(), "{}", world.story("no copy starts"));
    world.change_cluster("es-1", json!({"status": batch("Done")}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_source_that_is_not_allowed_yet_is_waited_for() {
    let mut world = World::new().await;
    world.destination.state().allowlist.clear();
    world.change_cluster("es-1", json!({"status": {"allowlist": {"effective": []}}}));
    for _ in 0..4 {
        world.round().await;
    }
    let story = world.story("it says what it waits for");
    let status = world.reindex().unwrap().status.unwrap();
    assert_eq!(status.phase.unwrap().to_string(), "WaitingForAllowlist", "{story}");
    let message = status.steps.last().unwrap().message.clone().unwrap();
    assert!(message.contains(&world.source.host_port()) && message.contains("es-1"), "{message}");
    assert_eq!(world.destination.state().created, [""; 0]);
    let entry = world.source.host_port();
    world.destination.state().allowlist = vec![entry.clone()];
    world.change_cluster("es-1", json!({"status": {"allowlist": {"effective": [entry]}}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_destination_whose_nodes_restart_is_not_asked_whether_it_reaches_the_source() {
    let mut world = World::new().await;
    world.change_cluster("es-1", json!({"status": batch("Restarting")}));
    for _ in 0..4 {
        world.round().await;
    }
    let probes = world.faults.journal().into_iter().filter(|call| call.path == "/_reindex").count();
    assert_eq!(probes, 0, "{}", world.story("it waits for the end of the restart"));
    assert_eq!(condition(&world.reindex().unwrap(), RECONCILING).unwrap().0, "WaitingForRestart");
    world.change_cluster("es-1", json!({"status": batch("Done")}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_node_that_refuses_although_the_allowlist_looks_right_is_told() {
    let mut world = World::new().await;
    world.destination.state().allowlist.clear();
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "NotAllowed", "{message}");
    assert_eq!(world.destination.state().created, [""; 0]);
    world.destination.state().allowlist = vec![world.source.host_port()];
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_node_that_refuses_in_the_middle_is_tried_again() {
    let mut world = World::new().await;
    world
        .until_it("the index is created", |reindex| {
            reindex
                .status
                .as_ref()
                .is_some_and(|status| status.destination.as_ref().is_some_and(|dest| dest.index_uuid.is_some()))
        })
        .await;
    world.destination.state().lose_tasks();
    world.destination.state().allowlist.clear();
    for _ in 0..2 {
        world.round().await;
    }
    world.destination.state().allowlist = vec![world.source.host_port()];
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}
