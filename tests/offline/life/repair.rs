//! What differs is copied again, and what is not wanted deleted: whatever happens meanwhile.

use reindex_operator::{
    api::{
        Reindex,
        conditions::{COMPLETE, RECONCILING, SUSPENDED},
        reindex_status::Verdict,
    },
    plan::wind_down::left_of_reindex,
};
use serde_json::{Value, json};

use super::{
    assert_copied, assert_unwritten_since, failure,
    proof::{add, change, change_content, live_through, lose, meddled, repair, result, with},
};
use crate::support::{
    engine::Index,
    faults::Fault,
    world::{World, condition},
};

#[tokio::test]
async fn what_differs_is_copied_again() {
    for (level, meddle) in [("Identity", lose as fn(&mut Index)), ("Identity", change), ("Content", change_content)] {
        let mut world = meddled(repair(level, false), meddle).await;
        world.title = format!("repair at level {level}");
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        assert_eq!(result(&reindex).repairs, Some(1));
        let gc_deletes = world.destination.state().index("dest").settings["gc_deletes"].clone();
        assert_eq!(gc_deletes, Value::Null, "{}", world.story("settings are put back"));
    }
}

#[tokio::test]
async fn what_only_the_destination_has_is_deleted_where_that_is_wanted() {
    let mut world = meddled(repair("Identity", true), add).await;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    let mut world = meddled(repair("Identity", false), add).await;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "IdentityMismatch");
    assert!(world.destination.state().index("dest").documents.contains_key("Z"));
}

/// Deletions that were asked for.
fn deletions(world: &World) -> usize {
    world.faults.journal().iter().filter(|call| call.verb == "DELETE" && call.path.contains("/_doc/")).count()
}

#[tokio::test]
async fn what_is_written_anew_before_a_repair_deletes_it_stays_and_is_compared_again() {
    let mut world = meddled(repair("Identity", true), add).await;
    world.destination.state().index("dest").at_deletions = vec![add];
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!((result(&reindex).repairs, deletions(&world)), (Some(2), 2), "{}", world.story("it is deleted later"));

    let mut world = meddled(repair("Identity", true), add).await;
    world.destination.state().index("dest").at_deletions = vec![add; 30];
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "IdentityMismatch");
    assert!(message.contains("after 3 repairs"), "{message}");
    assert_eq!(deletions(&world), 3, "{}", world.story("once in each repair"));
    assert!(world.destination.state().index("dest").documents.contains_key("Z"), "{}", world.story("it is kept"));
}

/// As another leader does that repaired it already.
fn put_right(index: &mut Index) {
    index.create_anew("F", json!({"annual_rate": "1%"}));
}

#[tokio::test]
async fn a_stale_document_that_was_put_right_before_it_is_deleted_stays() {
    for (meanwhile, created) in [(vec![], 7), (vec![put_right as fn(&mut Index)], 6)] {
        let mut world = World::new().await;
        world.until_copying().await;
        put_right(world.source.state().index("product_info"));
        world.destination.state().index("dest").at_deletions = meanwhile;
        let reindex = world.end().await;
        assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
        let read = world.source.state().index("product_info").documents.clone();
        assert_eq!(world.destination.state().index("dest").documents, read, "{}", world.title);
        assert_eq!(deletions(&world), 1, "{}", world.story("it is not stale any more"));
        // What is deleted is created when it is copied again.
        assert_eq!(reindex.status.unwrap().result.unwrap().created, created);
    }
}

#[tokio::test]
async fn nothing_is_deleted_while_the_destination_could_not_copy_it_again() {
    let mut world = meddled(repair("Content", false), change).await;
    let listed = std::mem::take(&mut world.destination.state().allowlist);
    let waits =
        |reindex: &Reindex| condition(reindex, RECONCILING).is_some_and(|(reason, _)| reason == "ProgressingWithRetry");
    let before = world.until_it("it waits for the source", waits).await;
    let (_, message) = condition(&before, RECONCILING).unwrap();
    assert!(message.contains("refuses the source"), "{message}");
    let scans = |world: &World| world.faults.journal().iter().filter(|call| call.path.ends_with("/_search")).count();
    let scanned = scans(&world);
    for _ in 0..3 {
        world.round().await;
    }
    assert_unwritten_since(&world, &before);
    assert_eq!(scans(&world), scanned, "{}", world.story("what was compared is kept"));
    assert!(world.destination.state().index("dest").documents.contains_key("B"), "{}", world.story("it is kept"));
    assert_eq!(deletions(&world), 0);
    world.destination.state().allowlist = listed;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!(result(&reindex).repairs, Some(1));
}

#[tokio::test]
async fn a_repair_that_is_refused_in_passing_is_begun_again_and_takes_no_further_round() {
    let mut world = meddled(repair("Content", false), change).await;
    world.destination.state().refused_starts = 5;
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert_eq!((result(&reindex).repairs, result(&reindex).repair_attempts), (Some(1), None));
}

#[tokio::test]
async fn a_repair_that_can_never_be_begun_is_given_up_like_a_range() {
    let mut world = meddled(repair("Content", false), change).await;
    world.destination.state().refused_starts = usize::MAX;
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "ContentMismatch");
    assert!(message.contains("could not be begun in 7 attempts"), "{message}");
    assert_eq!((result(&reindex).repairs, result(&reindex).repair_attempts), (Some(1), Some(7)));
}

#[tokio::test]
async fn a_repair_that_waits_holds_no_suspension_up_and_begins_anew_later() {
    let mut world = meddled(repair("Content", false), change).await;
    world.destination.state().refused_starts = usize::MAX;
    world
        .until_it("it repairs", |reindex| {
            let result = reindex.status.as_ref().and_then(|status| status.verification.as_ref());
            result.is_some_and(|result| result.verdict == Verdict::Repairing)
        })
        .await;
    world.source.state().index("product_info").put("G", json!({}));
    let tasks = world.destination.state().tasks.len();
    world.winding_down.send_replace(true);
    let reindex = world.until_it("it is suspended", |reindex| condition(reindex, SUSPENDED).is_some()).await;
    assert_eq!(left_of_reindex(&reindex), None);
    assert_eq!(world.destination.state().tasks.len(), tasks, "nothing begins meanwhile");
    world.winding_down.send_replace(false);
    world.destination.state().refused_starts = 0;
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    assert_eq!(world.destination.state().index("dest").documents.len(), 7);
}

#[tokio::test]
async fn what_differs_again_and_again_is_given_up() {
    let mut world = with(repair("Identity", false)).await;
    world.until_copying().await;
    world.destination.state().index("dest").at_refreshes = vec![lose; 30];
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "IdentityMismatch");
    assert!(message.contains("after 3 repairs"), "{message}");
    assert_eq!(result(&reindex).repairs, Some(3));
}

#[tokio::test]
async fn a_repair_that_is_interrupted_at_any_call_is_begun_again() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        live_through(fault, repair("Content", false), Some(change)).await;
    }
}

/// No document is lost, whenever it was frozen: what its successor has repaired it leaves alone.
#[tokio::test]
async fn a_process_that_was_frozen_during_a_repair_deletes_nothing_when_it_thaws() {
    for n in 1.. {
        let mut world = meddled(repair("Identity", true), change).await;
        world.title = format!("frozen at call {n}");
        let Some(thawing) = world.until_frozen(n).await else {
            assert!(n > 20, "a life has more than {n} calls");
            return;
        };
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
        world.faults.thaw();
        thawing.await;
        let read = world.source.state().index("product_info").documents.clone();
        let copied = world.destination.state().index("dest").documents.clone();
        assert_eq!(copied, read, "{}", world.story("nothing is deleted"));
    }
}

/// Documents that were deleted and created anew on the source are deleted here first; not what is written here later.
#[tokio::test]
async fn what_is_written_after_the_copy_is_not_deleted_by_a_process_that_thaws() {
    for n in 1.. {
        let mut world = World::new().await;
        world.title = format!("frozen at call {n}");
        world.until_copying().await;
        put_right(world.source.state().index("product_info"));
        let Some(thawing) = world.until_frozen(n).await else {
            assert!(n > 20, "a life has more than {n} calls");
            return;
        };
        let reindex = world.end().await;
        assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
        let mut written = json!(null);
        for price in ["2%", "3%"] {
            written = json!({"annual_rate": price});
            world.destination.state().index("dest").put("F", written.clone());
        }
        world.faults.thaw();
        thawing.await;
        let found = world.destination.state().index("dest").documents.get("F").map(|(_, document)| document.clone());
        assert_eq!(found, Some(written), "{}", world.story("it is still there"));
    }
}
