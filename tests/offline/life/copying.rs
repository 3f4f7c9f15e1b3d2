//! What may happen while documents are copied.

use reindex_operator::api::{SearchCluster, conditions::COMPLETE, reindex_status::PartitionState};
use serde_json::json;

use super::{assert_copied, assert_no_password_leaked, failure};
use crate::support::{
    engine::{Index, Pace},
    faults::Fault,
    world::{NAME, NAMESPACE, Round, World, condition, partition_state, search_cluster},
};

#[tokio::test]
async fn a_task_that_is_lost_is_run_again() {
    let mut world = World::new().await;
    world.until_copying().await;
    world.round().await;
    world.destination.state().lose_tasks();
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert!(world.event_reasons().contains(&"CopyRetried".to_owned()));
}

#[tokio::test]
async fn a_range_that_is_lost_again_and_again_is_given_up() {
    let mut world = World::with(|reindex| reindex["spec"]["execution"] = json!({"backoffLimit": 2})).await;
    world.destination.state().pace = Pace::PerPoll(0);
    for _ in 0..20 {
        world.round().await;
        world.destination.state().lose_tasks();
    }
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "CopyFailed");
    assert!(message.contains("given up after 3 attempts"), "{message}");
}

/// A source with a document that alone is more than a batch may be; the copy begins with this batch size.
async fn with_a_large_document(batch_size: i32) -> World {
    let world =
        World::with(|reindex| reindex["spec"]["execution"] = json!({"batchSize": batch_size, "backoffLimit": 0})).await;
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        index.put("D", json!({"padding": 100 * 1024 * 1024}));
        index.refresh();
    }
    world
}

#[tokio::test]
async fn a_document_that_is_larger_than_any_batch_may_be_is_named() {
    for batch_size in [0, 1000] {
        let mut world = with_a_large_document(batch_size).await;
        world.title = format!("a large document and batches of {batch_size}");
        let reindex = world.end().await;
        let (reason, message) = failure(&world, &reindex);
        assert_eq!(reason, "DocumentTooLarge", "{message}");
        assert!(message.starts_with("document D is larger than"), "{message}");
        assert!(!world.destination.state().index("dest").documents.contains_key("D"));
        assert!(world.event_reasons().contains(&"CopyRetried".to_owned()) == (batch_size > 1));
    }
}

#[tokio::test]
async fn batches_that_are_too_large_get_smaller_until_they_fit() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["execution"] = json!({"batchSize": 1000, "backoffLimit": 0});
    })
    .await;
    let largest = {
        let mut source = world.source.state();
        let documents = &source.index("product_info").documents;
        documents.values().map(|(_, source)| source.to_string().len()).max().unwrap()
    };
    world.destination.state().chunk_limit = 2 * largest;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let sizes: Vec<_> = world.destination.state().reindexes.iter().map(|body| body["source"]["size"].clone()).collect();
    assert_eq!(sizes, [1000, 250, 62, 15, 3, 1], "{}", world.story("batches get smaller"));
}

#[tokio::test]
async fn documents_that_the_destination_refuses_are_named() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["destination"]["mappings"] =
            json!({"dynamic": false, "properties": {"annual_rate": {"type": "float"}}});
        reindex["spec"]["acceptWarnings"] = json!(["FieldsNotIndexed"]);
    })
    .await;
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        for letter in ["A", "B", "D", "E", "F"] {
            index.put(letter, json!({"annual_rate": "3.1"}));
        }
        index.refresh();
    }
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "DocumentFailures");
    assert!(message.contains("C (mapper_parsing_exception"), "{message}");
    let result = reindex.status.as_ref().unwrap().result.as_ref().unwrap();
    assert_eq!(result.failures.iter().map(|failure| failure.id.as_deref()).collect::<Vec<_>>(), [Some("C")]);
    assert_eq!((result.total, result.created), (6, 3), "what was copied is counted truly");
    assert_eq!(world.destination.state().index("dest").documents.len(), 3);
    assert_no_password_leaked(&world);
}

/// A Reindex that copies, slowly, while this happens to the source.
async fn moving(title: &str, rounds: i32, change: impl Fn(&mut Index)) -> World {
    let mut world = World::with(|reindex| reindex["spec"]["catchUp"] = json!({"maxRounds": rounds})).await;
    world.title = title.into();
    world.until_copying().await;
    change(world.source.state().index("product_info"));
    world
}

#[tokio::test]
async fn what_is_written_meanwhile_is_caught_up_with() {
    let add: fn(&mut Index) = |index| index.put("G", json!({"annual_rate": "1%"}));
    let update: fn(&mut Index) = |index| index.put("A", json!({"annual_rate": "9%"}));
    for (title, change) in [("a document is added", add), ("a document is changed", update)] {
        let mut world = moving(title, 5, change).await;
        let reindex = world.end().await;
        assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
        let status = reindex.status.unwrap();
        assert_eq!(status.verification.unwrap().source_changed, Some(true), "{title}");
        assert_eq!(status.plan.unwrap().round, 1, "{title}");
        let read = world.source.state().index("product_info").documents.clone();
        assert_eq!(world.destination.state().index("dest").documents, read, "{title}");
        let told = world.event_notes();
        assert!(told.iter().any(|note| note.contains("caught up with what changed")), "{told:?}");
    }
}

#[tokio::test]
async fn a_document_that_is_deleted_and_created_anew_meanwhile_is_not_stale() {
    // F is copied in version 2; on the source it has version 1 again.
    let mut world = moving("created anew", 5, created_anew).await;
    let reindex = world.end().await;
    assert_anew(&world, &reindex);
    assert!(world.event_reasons().contains(&"Repaired".to_owned()), "{:?}", world.event_reasons());
}

fn created_anew(index: &mut Index) {
    index.create_anew("F", json!({"annual_rate": "1%"}));
}

/// Complete, and both sides hold the same; nothing is changed on the index for good.
fn assert_anew(world: &World, reindex: &reindex_operator::api::Reindex) {
    assert!(condition(reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    let read = world.source.state().index("product_info").documents.clone();
    let mut destination = world.destination.state();
    let index = destination.index("dest");
    assert_eq!(index.documents, read, "{}", world.title);
    assert_eq!(index.settings["gc_deletes"], serde_json::Value::Null, "{}", world.title);
}

#[tokio::test]
async fn a_stale_document_is_mended_wherever_the_operator_is_killed() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::AnswerLost] {
        for n in 1.. {
            let mut world = moving("created anew", 5, created_anew).await;
            world.title = format!("{fault:?} at call {n} after a document was created anew");
            world.faults.plan(n, fault);
            let reindex = world.end().await;
            assert_anew(&world, &reindex);
            if world.faults.hit().is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_document_that_is_deleted_meanwhile_is_found_by_the_count() {
    let mut world = moving("a document is deleted", 5, |index| index.delete("A")).await;
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "CountMismatch");
    assert!(message.contains("deletes do not travel"), "{message}");
}

#[tokio::test]
async fn a_source_that_never_stands_still_is_never_called_complete() {
    let mut world = moving("writes never end", 2, |_| {}).await;
    for n in 0..60 {
        world.source.state().index("product_info").put("A", json!({"annual_rate": n}));
        world.round().await;
        if world.ended() {
            break;
        }
    }
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "SourceChanging");
    assert!(message.contains("after 2 rounds") && message.contains("Stop the writers"), "{message}");
    assert_eq!(reindex.status.unwrap().verification.unwrap().source_changed, Some(true));
}

#[tokio::test]
async fn a_source_that_moves_is_not_caught_up_with_where_nobody_wants_that() {
    let mut world = moving("no rounds", 0, |index| index.put("G", json!({}))).await;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "SourceChanging");
}

#[tokio::test]
async fn a_source_index_that_is_made_anew_meanwhile_is_copied_whole_again() {
    let mut world = moving("made anew", 5, |_| {}).await;
    let old = world.source.state().indices.remove("product_info").unwrap();
    {
        let mut source = world.source.state();
        let index = source.create("product_info", &json!({"settings": {"number_of_shards": 5}}));
        for (id, (_, document)) in old.documents {
            index.put(&id, document);
        }
        index.put("G", json!({}));
    }
    // F has version 2 on the destination and version 1 on the new source.
    let reindex = world.end().await;
    assert_anew(&world, &reindex);
}

#[tokio::test]
async fn a_destination_index_that_is_replaced_meanwhile_fails_it_and_ends_its_task() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::PerPoll(1);
    world.until_copying().await;
    world.destination.state().indices.remove("dest");
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DestinationReplaced");
    assert_eq!(world.destination.state().running(), 0);
}

#[tokio::test]
async fn a_destination_index_that_is_replaced_before_verify_fails_it() {
    let mut world = World::with(|reindex| reindex["spec"]["verification"] = json!({"level": "None"})).await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.destination.state().indices.remove("dest");
    world.destination.state().create("dest", &json!({}));
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DestinationReplaced");
}

#[tokio::test]
async fn a_spec_that_is_changed_meanwhile_ends_it_and_its_task() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.change_reindex(json!({"spec": {"source": {"query": {"match_all": {}}}}}));
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "SpecChanged");
    assert_eq!(world.destination.state().running(), 0);
}

#[tokio::test]
async fn a_grant_that_is_withdrawn_meanwhile_ends_it_and_its_task() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.change_cluster("es-2", json!({"spec": {"access": [{"namespaces": {"names": ["others"]}}]}}));
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "AccessWithdrawn");
    assert_eq!(world.destination.state().running(), 0);
}

#[tokio::test]
async fn a_cache_that_lacks_a_cluster_withdraws_no_grant() {
    for name in ["es-1", "es-2"] {
        let mut world = World::new().await;
        world.title = format!("the cache lacks {name}");
        world.until_copying().await;
        let engine = if name == "es-1" { &world.destination } else { &world.source };
        let cluster = search_cluster(name, engine, json!({"effective": [world.source.host_port()]}));
        world.api.delete::<SearchCluster>(NAMESPACE, name);
        // The operator's caches see it gone; by the time it works, it is there again.
        world.round_with_stale_clusters(|world| drop(world.api.apply(cluster))).await;
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn a_cluster_that_is_another_one_now_ends_it() {
    for side in ["source", "destination"] {
        let mut world = World::new().await;
        world.title = format!("the {side} is another cluster");
        world.until_copying().await;
        let engine = if side == "source" { &world.source } else { &world.destination };
        engine.state().cluster_uuid = "another".into();
        let reindex = world.end().await;
        assert_eq!(failure(&world, &reindex).0, "ClusterChanged", "{}", world.title);
    }
}

#[tokio::test]
async fn a_copy_that_takes_too_long_is_cancelled() {
    let mut world = World::with(|reindex| reindex["spec"]["execution"] = json!({"activeDeadlineSeconds": 150})).await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.round().await;
    assert_eq!(
        partition_state(&world.reindex().unwrap()),
        Some(PartitionState::Running),
        "two minutes are not too long"
    );
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DeadlineExceeded");
    assert_eq!(world.destination.state().running(), 0);
}

#[tokio::test]
async fn clusters_that_go_away_for_a_while_only_delay_it() {
    for password in ["destination", "source"] {
        let mut world = World::new().await;
        world.title = format!("the {password} refuses for a while");
        world.until_copying().await;
        let engine = if password == "source" { &world.source } else { &world.destination };
        let right = engine.state().password.replace("rotated".into());
        for _ in 0..8 {
            world.round().await;
        }
        assert!(condition(&world.reindex().unwrap(), COMPLETE).is_none());
        let engine = if password == "source" { &world.source } else { &world.destination };
        engine.state().password = right;
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn a_stale_cache_starts_no_second_task() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::PerPoll(0);
    let before = world.reindex().unwrap();
    world.until_copying().await;
    let tasks = world.destination.state().tasks.len();
    assert!(world.ctx().own_writes.outdate(&before), "no pass is made over it");
    // Another process may make one.
    for _ in 0..3 {
        let round = world.reconcile(before.clone()).await;
        assert!(matches!(&round, Round::Erred(error) if error.is_conflict()), "{round:?}");
    }
    assert_eq!(world.destination.state().tasks.len(), tasks);
}

#[tokio::test]
async fn a_running_copy_is_written_at_most_every_ten_seconds() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::PerPoll(0);
    world.until_copying().await;
    world.round().await;
    world.faults.forget();
    let now = world.reindex().unwrap();
    for _ in 0..5 {
        // No time passes between these.
        let fresh = world.reindex().unwrap();
        world.reconcile(fresh).await;
    }
    let writes = world.faults.journal().iter().filter(|call| call.to == "apiserver" && call.verb != "GET").count();
    assert!(writes <= 1, "{}", world.story("one write at most"));
    assert_eq!(now.metadata.generation, world.reindex().unwrap().metadata.generation);
}

#[tokio::test]
async fn a_reconcile_reads_a_secret_once_and_the_next_one_anew() {
    let mut world = World::new().await;
    let mut reads = vec![];
    while !world.ended() {
        world.faults.forget();
        world.round().await;
        reads.push(world.faults.journal().iter().filter(|call| call.path.ends_with("/secrets/es-1-elastic")).count());
    }
    assert!(reads.iter().all(|reads| *reads <= 1) && reads.iter().sum::<usize>() > 1, "{reads:?}");
}

#[tokio::test]
async fn a_reconcile_does_one_thing_and_a_small_copy_takes_three_writes_of_its_status() {
    let mut world = World::new().await;
    world.destination.state().pace = Pace::Instant;
    let mut writes = vec![];
    while !world.ended() {
        world.faults.forget();
        world.round().await;
        let is_write = |verb: &str, path: &str| verb == "PUT" && path.ends_with(&format!("/reindexes/{NAME}/status"));
        writes.push(world.faults.journal().iter().filter(|call| is_write(&call.verb, &call.path)).count());
    }
    assert_eq!(writes, [1, 2], "what is intended, then what is intended and what came of it");
}
