//! Whole lives of a Reindex.
use crate::support::world::*;
#[tokio::test]
async fn smoke() {
    let mut world = World::new().await;
    let reindex = world.end().await;
    println!("{}", world.story("x"));
    println!("{reindex:?}");
}
