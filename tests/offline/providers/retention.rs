//! Entries that nobody needs any more, with `retention: Remove`.

use super::*;

const GONE: &str = "gone.example:9200";

fn status(world: &World) -> reindex_operator::api::AllowlistStatus {
    cluster(world).status.unwrap().allowlist.unwrap()
}

fn text(world: &World) -> String {
    let map = world.api.find("configmaps", NAMESPACE, "es-1-config").unwrap();
    map["data"]["elasticsearch.yml"].as_str().unwrap().to_owned()
}

/// Another Reindex needs that entry.
fn need(world: &World, entry: &str) {
    let mut reindex = valid_reindex();
    reindex["metadata"]["name"] = json!("another");
    reindex["status"] = serde_json::to_value(world.reindex().unwrap().status).unwrap();
    reindex["status"]["source"]["remote"] = json!(format!("http://{entry}"));
    world.api.apply(reindex);
}

/// Every node has loaded the source, what a person entered, and what we once added for somebody.
async fn tidied(allowlist: Value) -> World {
    let mut world = stateful_sets("cluster.name: es-1\n").await;
    let entry = world.source.host_port();
    let loaded = vec![entry.clone(), GONE.to_owned(), "own:9200".to_owned()];
    {
        let mut state = world.destination.state();
        state.allowlist.clone_from(&loaded);
        state.further_nodes = vec![loaded.clone(), loaded];
    }
    let written =
        format!("cluster.name: es-1\nreindex.remote.whitelist: [\"own:9200\", \"{GONE}\", \"{entry}\"] # ours\n");
    merged_map(&world, &written);
    world.change_cluster(
        "es-1",
        json!({"spec": {"allowlist": allowlist}, "status": {"allowlist": {"batch": null, "managed": [entry, GONE]}}}),
    );
    world.round_of_cluster("es-1").await;
    world.round_of_cluster("es-1").await;
    world
}

fn merged_map(world: &World, text: &str) {
    world.api.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "es-1-config", "namespace": NAMESPACE},
        "data": {"elasticsearch.yml": text},
    }));
}

#[tokio::test]
async fn a_config_map_is_tidied_without_a_restart_and_an_entry_comes_back_as_easily() {
    let mut world = tidied(json!({"management": "Automatic", "retention": "Remove"})).await;
    let entry = world.source.host_port();
    assert!(!text(&world).contains(GONE), "{}", text(&world));
    assert!(
        text(&world).contains("own:9200") && text(&world).contains(&entry) && text(&world).contains("# ours"),
        "{}",
        text(&world)
    );
    let allowlist = status(&world);
    assert_eq!((allowlist.managed, allowlist.removed), (vec![entry.clone()], vec![GONE.to_owned()]));
    let journal = world.faults.journal().len();
    world.round_of_cluster("es-1").await;
    let later = world.faults.journal()[journal..].to_vec();
    assert!(
        later.iter().all(|call| call.to != "apiserver" || call.verb == "GET"),
        "an unchanged world is not written: {later:?}"
    );
    need(&world, GONE);
    world.round_of_cluster("es-1").await;
    assert!(
        text(&world).contains(GONE),
        "nodes have it loaded still, and would lose it at the next restart: {}",
        text(&world)
    );
    let allowlist = status(&world);
    assert_eq!(allowlist.removed, [""; 0]);
    assert!(allowlist.managed.contains(&GONE.to_owned()) && allowlist.batch.is_none());
    assert!(world.faults.journal().iter().all(|call| !call.path.ends_with("/eviction")), "nothing is restarted");
}

#[tokio::test]
async fn an_edit_that_is_refused_is_told_tried_again_and_loses_nothing() {
    let mut world = tidied(json!({"management": "Automatic", "retention": "Retain"})).await;
    let entry = world.source.host_port();
    world.api.deny("put", "configmaps");
    world.change_cluster("es-1", json!({"spec": {"allowlist": {"retention": "Remove"}}}));
    world.round_of_cluster("es-1").await;
    for type_ in [ALLOWLIST_READY, STALLED] {
        let (reason, message) = told(&world, type_);
        assert_eq!(reason, "TidyRefused", "{type_}");
        assert!(message.contains("es-1-config") && message.contains("configmaps is forbidden"), "{message}");
    }
    assert_eq!(told(&world, RECONCILING), Default::default());
    assert!(text(&world).contains(GONE) && status(&world).managed.contains(&GONE.to_owned()), "it is ours still");
    assert!(status(&world).batch.is_none(), "copies go on");
    let before = cluster(&world).status;
    world.round_of_cluster("es-1").await;
    let conditions = |status: Option<reindex_operator::api::SearchClusterStatus>| {
        status.unwrap().conditions.into_iter().map(|told| (told.type_, told.reason, told.message)).collect::<Vec<_>>()
    };
    assert_eq!(conditions(cluster(&world).status), conditions(before), "the same at every look");
    world.api.grant();
    world.round_of_cluster("es-1").await;
    world.round_of_cluster("es-1").await;
    assert!(!text(&world).contains(GONE), "{}", text(&world));
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), told(&world, STALLED).0.as_str()), ("Effective", ""));
    assert_eq!((status(&world).managed, status(&world).removed), (vec![entry], vec![GONE.to_owned()]));
}

#[tokio::test]
async fn nothing_is_taken_out_unless_that_is_asked_for() {
    for allowlist in [
        json!({"management": "Automatic", "retention": "Retain"}),
        json!({"management": "Verify", "retention": "Remove"}),
        json!({"management": "Approval", "retention": "Remove"}),
        json!({"management": "Automatic", "retention": "Remove", "window": {"schedule": "0 0 29 2 *", "duration": "1m"}}),
    ] {
        let world = tidied(allowlist.clone()).await;
        assert!(text(&world).contains(GONE), "{allowlist}");
        assert!(status(&world).managed.contains(&GONE.to_owned()), "{allowlist}");
    }
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_of_it_takes_out_once_and_only_what_is_ours() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        for call in 1.. {
            let mut world = tidied(json!({"management": "Automatic", "retention": "Retain"})).await;
            world.change_cluster("es-1", json!({"spec": {"allowlist": {"retention": "Remove"}}}));
            world.faults.plan(call, fault);
            world.round_of_cluster("es-1").await;
            let hit = world.faults.hit();
            for _ in 0..3 {
                world.round_of_cluster("es-1").await;
            }
            assert!(
                !text(&world).contains(GONE) && text(&world).contains("own:9200"),
                "{fault:?} at {hit:?}: {}",
                text(&world)
            );
            let allowlist = status(&world);
            let entry = world.source.host_port();
            assert_eq!(
                (allowlist.managed, allowlist.removed),
                (vec![entry], vec![GONE.to_owned()]),
                "{fault:?} at {hit:?}"
            );
            if hit.is_none() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn where_an_edit_restarts_nodes_it_goes_with_the_next_change() {
    let mut world = eck().await;
    let (entry, gone) = (world.source.host_port(), "old:9200");
    world.change_cluster(
        "es-1",
        json!({"spec": {"allowlist": {"retention": "Remove"}}, "status": {"allowlist": {"batch": null, "managed": [gone]}}}),
    );
    until(&mut world, BatchPhase::RollingOut).await;
    assert_eq!(batch(&world).unwrap().removes, [gone]);
    let sets = world.api.find(ECK, NAMESPACE, "es-1").unwrap()["spec"]["nodeSets"].clone();
    assert_eq!(sets[1]["config"]["reindex"]["remote"]["whitelist"], json!([entry]));
    eck_says(&world, "Ready");
    {
        let mut state = world.destination.state();
        state.allowlist = vec![entry.clone()];
        state.further_nodes = vec![vec![entry.clone()]; 2];
    }
    until(&mut world, BatchPhase::Done).await;
    assert_eq!((status(&world).managed, patches(&world, ECK)), (vec![entry], 1));
}
