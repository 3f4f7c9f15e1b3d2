//! What is found out before anything is changed, what of it a person may accept, and the dry run.

use reindex_operator::api::{
    Reindex,
    conditions::{COMPLETE, PLANNED, STALLED, VALIDATED},
    reindex_status::{DryRun, Phase, Severity},
};
use serde_json::{Value, json};

use super::{assert_copied, assert_untouched, failure};
use crate::support::world::{World, condition};

/// A template of the destination that matches the index `dest`.
fn template(body: Value) -> Value {
    json!({"name": "everything", "index_template": {"index_patterns": ["d*"], "priority": 1, "template": body}})
}

/// The source is on nobody's allowlist.
fn close_allowlist(world: &World) {
    world.destination.state().allowlist.clear();
    world.change_cluster("es-1", json!({"status": {"allowlist": {"effective": []}}}));
}

/// Reasons, severities, and whether they are accepted.
fn findings(reindex: &Reindex) -> Vec<(String, Severity, bool)> {
    let preflight = reindex.status.as_ref().unwrap().preflight.clone().unwrap_or_default();
    preflight.findings.into_iter().map(|finding| (finding.reason, finding.severity, finding.accepted)).collect()
}

#[tokio::test]
async fn a_warning_holds_the_copy_until_somebody_accepts_it() {
    let mut world = World::new().await;
    world.destination.state().templates =
        vec![template(json!({"aliases": {"live": {}}, "settings": {"index": {"default_pipeline": "stamp"}}}))];
    let (reason, message) = world.until_stalled().await;
    let reindex = world.reindex().unwrap();
    assert_eq!(reason, "TemplateAlias");
    assert!(message.contains("spec.acceptWarnings: [TemplateAlias, DestinationPipeline]"), "{message}");
    let expected = ["TemplateAlias", "DestinationPipeline"].map(|reason| (reason.to_owned(), Severity::Warning, false));
    assert_eq!(findings(&reindex), expected);
    assert_untouched(&world);

    world.change_reindex(json!({"spec": {"acceptWarnings": ["TemplateAlias"]}}));
    let named =
        |reindex: &Reindex| condition(reindex, STALLED).is_some_and(|(reason, _)| reason == "DestinationPipeline");
    world.until_it("each is accepted by its name", named).await;

    world.change_reindex(json!({"spec": {"acceptWarnings": ["TemplateAlias", "DestinationPipeline"]}}));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
    assert!(findings(&reindex).iter().all(|(_, _, accepted)| *accepted), "what was accepted stays in the record");
}

#[tokio::test]
async fn what_blocks_can_not_be_accepted() {
    let mut world = World::with(|reindex| reindex["spec"]["acceptWarnings"] = json!(["DestinationReadOnly"])).await;
    world.destination.state().settings = json!({"cluster.blocks.read_only": "true"});
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "DestinationReadOnly");
    assert!(message.contains("set it to null"), "{message}");
    assert_untouched(&world);
    // It goes on by itself when that is gone.
    world.destination.state().settings = json!({});
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn every_finding_comes_at_once() {
    let mut world = World::new().await;
    {
        let mut destination = world.destination.state();
        destination.settings = json!({"cluster.blocks.read_only": "true", "cluster.max_shards_per_node": "3"});
        destination.disk = (0, 1000);
        destination.clock_offset_millis = 600_000;
        destination.lacks = ["manage".to_owned()].into();
    }
    world.source.state().index("product_info").settings["frozen"] = json!("true");
    let (_, message) = world.until_stalled().await;
    let reindex = world.reindex().unwrap();
    let found: Vec<String> = findings(&reindex).into_iter().map(|(reason, ..)| reason).collect();
    assert_eq!(
        found,
        ["SourceFrozen", "DestinationReadOnly", "TooManyShards", "DiskFull", "PrivilegesMissing", "ClocksDiffer"]
    );
    assert!(
        message.starts_with("6 findings.") && message.contains("the destination: manage (cluster), manage (index)"),
        "{message}"
    );
    assert_untouched(&world);
}

#[tokio::test]
async fn an_index_that_the_destination_would_refuse_is_told_before_anything_is_changed() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["destination"]["mappings"] =
            json!({"properties": {"productName": {"type": "text", "analyzer": "ik_max_word"}}});
    })
    .await;
    close_allowlist(&world);
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "IndexRefused");
    assert!(message.contains("ik_max_word"), "{message}");
    assert_untouched(&world);
}

fn dry_run(reindex: &Reindex) -> DryRun {
    reindex.status.as_ref().unwrap().dry_run.clone().expect("what a copy would do")
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    let mut world = World::with(|reindex| reindex["spec"]["dryRun"] = json!(true)).await;
    close_allowlist(&world);
    let reindex = world.end().await;
    assert!(condition(&reindex, PLANNED).is_some(), "{}", world.story("it is Planned"));
    assert!(condition(&reindex, COMPLETE).is_none() && condition(&reindex, VALIDATED).is_some());
    assert_eq!(reindex.status.as_ref().unwrap().phase, Some(Phase::Planned));
    let planned = dry_run(&reindex);
    assert_eq!((planned.documents, planned.bytes, planned.partitions, planned.estimated_seconds), (6, 6_000, 1, 1));
    assert!(planned.index.starts_with("dest would be created with 5 primary shards"), "{}", planned.index);
    assert!(planned.allowlist.contains("a person would have to add"), "{}", planned.allowlist);
    assert_eq!(planned.index_body.unwrap()["settings"]["index"]["number_of_shards"], 5);
    assert_untouched(&world);
    world.faults.forget();
    world.round().await;
    assert_eq!(world.faults.journal(), [], "a finished dry run costs nothing");
}

#[tokio::test]
async fn a_dry_run_says_nothing_of_an_allowlist_that_nobody_has_seen() {
    let mut world = World::with(|reindex| reindex["spec"]["dryRun"] = json!(true)).await;
    let seen = world.cluster("es-1").unwrap().status.unwrap().allowlist;
    world.change_cluster("es-1", json!({"status": {"allowlist": null}}));
    world.round().await;
    world.round().await;
    let reindex = world.reindex().unwrap();
    assert!(condition(&reindex, PLANNED).is_none() && condition(&reindex, STALLED).is_none());
    world.change_cluster("es-1", json!({"status": {"allowlist": seen}}));
    let reindex = world.end().await;
    assert!(dry_run(&reindex).allowlist.contains("allows"), "{}", world.story("the allowlist is known"));
}

#[tokio::test]
async fn a_dry_run_fails_where_a_copy_would() {
    let mut world = World::with(|reindex| reindex["spec"]["dryRun"] = json!(true)).await;
    world.destination.state().create("dest", &Value::Null);
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DestinationExists");
    assert!(condition(&reindex, PLANNED).is_none());
}
