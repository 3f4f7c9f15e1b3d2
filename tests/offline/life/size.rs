//! A status stays small: 16 KiB always (held in every round of every life), 3 KiB when finished and no documents are listed, and
//! besides 3 KiB at most for the course of the copy (held where that is noted).

use serde_json::{Value, json};

use crate::support::world::{World, is_finished, status_size};

const WHEN_FINISHED: usize = 3 * 1024;

/// With ten documents listed that failed, whose ids may have 512 bytes, it may be larger.
const WITH_FAILURES: usize = 9 * 1024;

/// With a few documents listed that differ.
const WITH_DIFFERENCES: usize = 7 * 512;

async fn assert_small_in_the_end(world: World, title: &str) {
    assert_at_most_in_the_end(world, title, WHEN_FINISHED).await;
}

async fn assert_at_most_in_the_end(mut world: World, title: &str, limit: usize) {
    world.title = title.into();
    let mut reindex = world.end().await;
    assert!(is_finished(&reindex));
    let status = reindex.status.as_mut().expect("a status");
    assert!(title == "three findings" || status.history.take().is_some(), "{title} has a course");
    let size = status_size(&reindex);
    assert!(size <= limit, "{}", world.story(&format!("the status is at most {limit} bytes, not {size}")));
}

#[tokio::test]
async fn a_complete_one_is_small() {
    assert_small_in_the_end(World::new().await, "complete").await;
}

#[tokio::test]
async fn one_that_is_proved_is_small() {
    let world = World::with(|reindex| reindex["spec"]["verification"] = json!({"level": "Content"})).await;
    assert_small_in_the_end(world, "complete and compared").await;
}

#[tokio::test]
async fn one_that_failed_at_validate_is_small() {
    let world = World::new().await;
    world.source.state().version = "6.8.23".into();
    world.source.state().indices.clear();
    world.destination.state().create("dest", &Value::Null);
    assert_small_in_the_end(world, "three findings").await;
}

#[tokio::test]
async fn one_whose_source_moved_is_small() {
    let mut world = World::new().await;
    world.until_copying().await;
    world.source.state().index("product_info").put("G", json!({}));
    assert_small_in_the_end(world, "the source moved").await;
}

#[tokio::test]
async fn one_with_many_documents_that_failed_is_small() {
    let world = World::with(|reindex| {
        reindex["spec"]["destination"]["mappings"] =
            json!({"dynamic": false, "properties": {"annual_rate": {"type": "float"}}});
        reindex["spec"]["acceptWarnings"] = json!(["FieldsNotIndexed"]);
    })
    .await;
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        for n in 0..40 {
            // The engine quotes the value; ids may have 512 bytes.
            index.put(&format!("{n:0>512}"), json!({"annual_rate": "n/a ".repeat(100)}));
        }
        index.refresh();
    }
    world.destination.state().pace = crate::support::engine::Pace::PerPoll(1000);
    assert_at_most_in_the_end(world, "many failures", WITH_FAILURES).await;
}

#[tokio::test]
async fn one_whose_documents_differ_is_small() {
    let mut world = World::with(|reindex| reindex["spec"]["verification"] = json!({"level": "Content"})).await;
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        (0..40).for_each(|n| index.put(&format!("{n:0>512}"), json!({})));
        index.refresh();
    }
    world.until_copying().await;
    world.destination.state().index("dest").at_refreshes = vec![|index| index.documents.clear()];
    assert_at_most_in_the_end(world, "documents that differ", WITH_DIFFERENCES).await;
}
