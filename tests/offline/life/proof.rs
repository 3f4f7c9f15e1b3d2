//! The proof: documents compared one by one, and what is said where they differ.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use reindex_operator::api::{
    Reindex,
    conditions::{COMPLETE, READY, RECONCILING},
    reindex_status::{DifferenceKind, Verdict, VerificationResult},
};
use serde_json::{Value, json};

use super::{assert_copied, assert_unwritten_since, failure};
use crate::support::{
    engine::{Index, Pace},
    faults::Fault,
    world::{NAMESPACE, World, condition},
};

pub async fn with(verification: Value) -> World {
    World::with(|reindex| reindex["spec"]["verification"] = verification).await
}

pub fn repair(level: &str, delete_extras: bool) -> Value {
    json!({"level": level, "onMismatch": "Repair", "repair": {"deleteExtras": delete_extras}})
}

/// Somebody does this to the destination index after the copy, right before it is compared.
pub async fn meddled(verification: Value, meddle: fn(&mut Index)) -> World {
    let mut world = with(verification).await;
    meddle_once(&mut world, meddle).await;
    world
}

async fn meddle_once(world: &mut World, meddle: fn(&mut Index)) {
    world.until_copying().await;
    world.destination.state().index("dest").at_refreshes.push(meddle);
}

pub fn lose(index: &mut Index) {
    index.delete("A");
}

pub fn add(index: &mut Index) {
    index.put("Z", json!({"annual_rate": "0%"}));
}

pub fn change(index: &mut Index) {
    index.put("B", json!({"annual_rate": "0%"}));
}

/// As a bug would: nothing but the content says so.
pub fn change_content(index: &mut Index) {
    index.documents.get_mut("B").unwrap().1["annual_rate"] = json!("3.1101%");
}

pub fn result(reindex: &Reindex) -> VerificationResult {
    reindex.status.as_ref().unwrap().verification.clone().unwrap()
}

fn assert_no_scroll_is_open(world: &World) {
    for engine in [&world.source, &world.destination] {
        assert!(engine.state().scrolls.is_empty(), "{}", world.story("no scroll is left open"));
    }
}

#[tokio::test]
async fn a_good_copy_is_proved_at_every_level() {
    for level in ["Identity", "Content", "Sample"] {
        let mut world = with(json!({"level": level})).await;
        world.title = level.to_owned();
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        let result = result(&reindex);
        assert_eq!(result.level.to_string(), level);
        assert_eq!((result.source_documents, result.documents_compared), (Some(6), Some(6)), "{result:?}");
        assert_eq!(result.source_sum, result.destination_sum);
        assert_eq!(result.source_sum.is_some(), level != "Sample");
        assert!(result.at.is_some() && result.duration_seconds.is_some());
        let (_, message) = condition(&reindex, READY).unwrap();
        assert!(message.contains("6 documents are the same on both sides"), "{message}");
        assert_no_scroll_is_open(&world);
    }
}

#[tokio::test]
async fn what_is_lost_added_or_changed_fails_it_and_is_named() {
    for (level, meddle, kind, id) in [
        ("Identity", lose as fn(&mut Index), DifferenceKind::Missing, "A"),
        ("Identity", add, DifferenceKind::Extra, "Z"),
        ("Identity", change, DifferenceKind::Different, "B"),
        ("Content", change_content, DifferenceKind::Different, "B"),
        ("Sample", change_content, DifferenceKind::Different, "B"),
    ] {
        let mut world = meddled(json!({"level": level}), meddle).await;
        world.title = format!("{level}, {kind}");
        let reindex = world.end().await;
        let (reason, message) = failure(&world, &reindex);
        assert_eq!(reason, format!("{level}Mismatch"), "{message}");
        assert!(message.contains(&format!("{id} (")) && message.contains("product-info-differences"), "{message}");
        let result = result(&reindex);
        assert_eq!(result.verdict, Verdict::Failed);
        let differences = result.differences.unwrap();
        assert_eq!((differences.examples[0].kind, differences.examples[0].id.as_str()), (kind, id), "{differences:?}");
        assert_eq!(differences.missing + differences.extra + differences.different, 1);
        let listed: ConfigMap = world.api.get(NAMESPACE, "product-info-differences").unwrap();
        let data = listed.data.unwrap();
        assert_eq!(data[&kind.to_string().to_lowercase()], format!("{{\"id\":\"{id}\"}}\n"));
        assert_eq!(listed.metadata.owner_references.unwrap()[0].uid, reindex.metadata.uid.unwrap());
        assert_no_scroll_is_open(&world);
    }
}

#[tokio::test]
async fn where_no_config_map_may_be_created_the_log_says_which() {
    let mut world = meddled(json!({"level": "Identity"}), lose).await;
    world.api.deny("post", "configmaps");
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "IdentityMismatch");
    assert!(message.contains("the operator's log"), "{message}");
}

#[tokio::test]
async fn numbers_that_differ_without_a_document_are_found_at_every_level() {
    let mut world = meddled(json!({"level": "Sample", "sample": 1}), add).await;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "CountMismatch");
}

/// Lives with the fault at the first call, at the second, and so on, until one ends before its fault.
pub async fn live_through(fault: Fault, verification: Value, meddle: Option<fn(&mut Index)>) {
    let repairs = meddle.map(|_| 1);
    for n in 1.. {
        let mut world = with(verification.clone()).await;
        world.title = format!("{fault:?} at call {n}, {verification}");
        if let Some(meddle) = meddle {
            meddle_once(&mut world, meddle).await;
        }
        world.faults.plan(n, fault);
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        assert_eq!(result(&reindex).repairs, repairs, "{}", world.story("a hiccup takes no round of repairs"));
        if world.faults.hit().is_none() {
            assert!(n > 20, "a life has more than {n} calls");
            return;
        }
    }
}

#[tokio::test]
async fn a_comparison_that_is_interrupted_at_any_call_is_begun_again() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        live_through(fault, json!({"level": "Identity"}), None).await;
    }
    live_through(Fault::KilledAfter, json!({"level": "Sample"}), None).await;
}

#[tokio::test]
async fn a_source_that_moves_while_it_is_compared_is_caught_up_with() {
    let mut world = with(json!({"level": "Identity"})).await;
    world.until_copying().await;
    // The first refresh that follows is that of the comparison.
    world.source.state().index("product_info").at_refreshes = vec![|index| index.put("G", json!({}))];
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    assert_eq!(world.destination.state().index("dest").documents.len(), 7);
    let result = result(&reindex);
    assert_eq!((result.documents_compared, result.source_changed), (Some(7), Some(true)));
}

#[tokio::test]
async fn a_document_deleted_on_the_source_during_the_copy_is_found_and_deleted_where_that_is_wanted() {
    for wanted in [false, true] {
        let mut world = with(repair("Identity", wanted)).await;
        world.until_copying().await;
        world.source.state().index("product_info").delete("C");
        let reindex = world.end().await;
        let documents = world.destination.state().index("dest").documents.len();
        match wanted {
            true => assert!(condition(&reindex, COMPLETE).is_some() && documents == 5, "{}", world.story("Complete")),
            false => assert!(failure(&world, &reindex).1.contains("C (extra)")),
        }
    }
}

/// An index that was there, with a document of its own.
async fn appended(verification: Value) -> World {
    let world = World::with(|reindex| {
        reindex["spec"]["verification"] = verification;
        // The index that is there maps nothing.
        reindex["spec"]["acceptWarnings"] = json!(["FieldsGuessed"]);
        reindex["spec"]["destination"]["ifExists"] = json!("Append");
    })
    .await;
    let mut destination = world.destination.state();
    let index = destination.create("dest", &json!({"settings": {"number_of_shards": "2"}}));
    index.put("Z", json!({"annual_rate": "0%"}));
    index.refresh();
    drop(destination);
    world
}

#[tokio::test]
async fn in_an_index_that_was_there_each_document_is_looked_up() {
    for level in ["Identity", "Content", "Sample"] {
        let mut world = appended(json!({"level": level})).await;
        world.title = level.to_owned();
        let reindex = world.end().await;
        assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
        let result = result(&reindex);
        assert_eq!((result.documents_compared, result.source_sum), (Some(6), None));
    }
}

#[tokio::test]
async fn in_an_index_that_was_there_what_is_lost_or_changed_is_found_and_the_rest_is_left_alone() {
    for (meddle, named) in [(lose as fn(&mut Index), "A (missing)"), (change_content, "B (different)")] {
        let mut world = appended(json!({"level": "Content"})).await;
        meddle_once(&mut world, meddle).await;
        let reindex = world.end().await;
        let (reason, message) = failure(&world, &reindex);
        assert_eq!(reason, "ContentMismatch");
        assert!(message.contains(named), "{message}");
        assert!(world.destination.state().index("dest").documents.contains_key("Z"));
    }
    let mut world = appended(repair("Content", true)).await;
    meddle_once(&mut world, change_content).await;
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is repaired"));
    let mut destination = world.destination.state();
    let index = destination.index("dest");
    assert!(index.documents.contains_key("Z"), "{}", world.title);
    assert_eq!(index.settings_log, [Value::Null; 0], "it is not ours to change");
}

#[tokio::test]
async fn a_document_larger_than_a_page_is_compared_alone() {
    let mut world = with(json!({"level": "Content"})).await;
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        index.put("A", json!({"padding": 6 * 1024 * 1024}));
        index.refresh();
    }
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
}

#[tokio::test]
async fn a_document_larger_than_any_answer_ends_the_comparison_of_contents() {
    let mut world = with(json!({"level": "Content"})).await;
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        index.put("A", json!({"padding": 33 * 1024 * 1024}));
        index.refresh();
    }
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "DocumentTooLarge");
    assert!(message.contains("a document of the ") && message.contains("larger than the 32 MiB"), "{message}");
}

#[tokio::test]
async fn replicas_that_lag_behind_are_not_asked_where_primaries_can_be() {
    for level in ["Count", "Identity", "Content"] {
        let mut world = World::with(|reindex| {
            reindex["spec"]["verification"] = json!({"level": level});
            reindex["spec"]["versionPolicy"] = json!("Any");
        })
        .await;
        world.title = level.to_owned();
        world.destination.state().opensearch = true;
        world.destination.state().version = "2.19.4".into();
        world.change_cluster("es-1", json!({"status": {"distribution": "OpenSearch", "version": "2.19.4"}}));
        world.until_copying().await;
        world.destination.state().index("dest").replicas_lag = true;
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn levels_that_a_script_or_a_pipeline_makes_senseless_are_refused_before_anything_is_copied() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["verification"] = json!({"level": "Content"});
        reindex["spec"]["destination"]["pipeline"] = json!("enrich");
    })
    .await;
    world.destination.state().pipelines.insert("enrich".into());
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "VerificationImpossible");
    assert!(message.contains("destination.pipeline"), "{message}");
    assert_eq!(world.destination.state().created, [""; 0]);
}

/// A comparison of some seconds, as it may not read more than a document a second.
async fn slow() -> World {
    let mut world = World::with(|reindex| {
        reindex["spec"]["verification"] = json!({"level": "Identity"});
        reindex["spec"]["execution"] = json!({"requestsPerSecond": 1});
    })
    .await;
    world.destination.state().pace = Pace::Instant;
    let comparing = |reindex: &Reindex| {
        reindex
            .status
            .as_ref()
            .and_then(|status| status.progress.as_ref())
            .is_some_and(|progress| progress.documents_verified.is_some())
    };
    world.until_it("documents are being compared", comparing).await;
    assert!(!world.source.state().scrolls.is_empty());
    world
}

#[tokio::test]
async fn a_suspension_a_deletion_and_a_deadline_end_a_comparison() {
    for end in ["suspend", "delete", "access"] {
        let mut world = slow().await;
        world.title = end.to_owned();
        match end {
            "suspend" => world.change_reindex(json!({"spec": {"suspend": true}})),
            "delete" => world.api.delete::<Reindex>(NAMESPACE, crate::support::world::NAME),
            _ => world.change_cluster("es-2", json!({"spec": {"access": [{"namespaces": {"names": ["other"]}}]}})),
        }
        world.round().await;
        // They are let go of a little later.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_no_scroll_is_open(&world);
    }
}

#[tokio::test]
async fn a_comparison_ends_when_its_reindex_is_deleted_by_force() {
    let mut world = slow().await;
    world.delete_by_force();
    world.ctx().proofs.keep(&world.ctx().known());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_no_scroll_is_open(&world);
}

#[tokio::test]
async fn a_comparison_waits_for_scrolls_that_another_reindex_holds() {
    let mut world = with(json!({"level": "Identity"})).await;
    // As many as the shards of the source.
    world.change_cluster("es-2", json!({"spec": {"limits": {"maxOpenScrolls": 5}}}));
    world.until_copying().await;
    world.api.apply(json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "other", "namespace": NAMESPACE},
        "spec": {"source": {"clusterRef": {"name": "es-2"}, "index": "i"}, "destination": {"clusterRef": {"name": "es-1"}, "index": "j"}},
        "status": {
            "source": {"clusterUUID": "uuid-of-source", "version": "7.17.29", "indices": [], "remote": "http://a:9200"},
            "partitions": [{"id": 0, "attempt": 1, "state": "Running", "task": "n:1", "startedAt": "2026-01-01T00:00:00Z"}],
        },
    }));
    let waits = |reindex: &Reindex| {
        condition(reindex, RECONCILING)
            .is_some_and(|(reason, message)| reason == "WaitingForTasks" && message.contains("maxOpenScrolls"))
    };
    let before = world.until_it("it waits for scrolls", waits).await;
    world.round().await;
    assert_unwritten_since(&world, &before);
    assert_eq!(world.ctx().proofs.open_on("uuid-of-source"), 0);
    world.api.delete::<Reindex>(NAMESPACE, "other");
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(world.ctx().proofs.open_on("uuid-of-source"), 0, "they are free again");
}

/// Other comparisons go on.
async fn all_turns(world: &World) -> Vec<tokio::sync::OwnedSemaphorePermit> {
    let mut turns = vec![];
    while let Some(turn) = world.ctx().proofs.turn().await {
        turns.push(turn);
    }
    turns
}

#[tokio::test]
async fn a_comparison_that_waits_for_others_holds_no_scrolls() {
    let mut world = with(json!({"level": "Identity"})).await;
    world.change_cluster("es-2", json!({"spec": {"limits": {"maxOpenScrolls": 5}}}));
    world.until_copying().await;
    let others = all_turns(&world).await;
    let turns = others.len();
    let waits = |reindex: &Reindex| {
        condition(reindex, RECONCILING)
            .is_some_and(|(reason, message)| reason == "WaitingForTasks" && message.contains("other comparisons"))
    };
    let before = world.until_it("it waits for other comparisons", waits).await;
    let refreshes =
        |world: &World| world.faults.journal().iter().filter(|call| call.path.ends_with("/_refresh")).count();
    let refreshed = refreshes(&world);
    world.round().await;
    assert_unwritten_since(&world, &before);
    assert_eq!(refreshes(&world), refreshed, "{}", world.story("nothing is asked of the clusters"));
    assert_eq!(world.ctx().proofs.open_on("uuid-of-source"), 0, "others may have them");
    drop(others);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let again = all_turns(&world).await;
    assert_eq!(again.len(), turns, "its turn is over");
}

#[tokio::test]
async fn a_copy_waits_for_scrolls_that_a_comparison_holds() {
    let mut world = World::new().await;
    world.change_cluster("es-2", json!({"spec": {"limits": {"maxOpenScrolls": 5}}}));
    let held = world.ctx().proofs.set_aside(|_| Some(((), vec![("uuid-of-source".to_owned(), 5)])));
    let waits =
        |reindex: &Reindex| condition(reindex, RECONCILING).is_some_and(|(reason, _)| reason == "WaitingForTasks");
    world.until_it("it waits for tasks", waits).await;
    assert!(world.destination.state().tasks.is_empty(), "{}", world.story("no copy starts"));
    drop(held);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_comparison_that_may_read_faster_is_soon_through() {
    let mut world = slow().await;
    world.change_reindex(json!({"spec": {"execution": {"requestsPerSecond": null}}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn what_only_the_destination_has_is_found_though_the_query_would_not() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["verification"] = json!({"level": "Identity"});
        reindex["spec"]["source"]["query"] = json!({"ids": {"values": ["A", "B"]}});
    })
    .await;
    meddle_once(&mut world, add).await;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "IdentityMismatch");
    let differences = result(&reindex).differences.unwrap();
    assert_eq!((differences.missing, differences.extra, differences.examples[0].id.as_str()), (0, 1, "Z"));
}

#[tokio::test]
async fn another_content_of_the_same_version_is_no_newer_one() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["verification"] = json!({"level": "Content"});
        reindex["spec"]["conflicts"] = json!("Proceed");
    })
    .await;
    meddle_once(&mut world, change_content).await;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "ContentMismatch");
}
