//! SearchClusters whose nodes somebody else restarts, against an apiserver in memory: the test plays ECK, or the OpenSearch operator.

use reindex_operator::api::{
    Batch, BatchPhase, SearchCluster,
    conditions::{self, ALLOWLIST_READY, COMPLETE, READY, RECONCILING, STALLED},
};
use serde_json::{Value, json};

use crate::support::{
    faults::Fault,
    world::{DESTINATION_PASSWORD, NAMESPACE, Round, SOURCE_PASSWORD, World, condition, secrets, valid_reindex},
};

const ECK: &str = "elasticsearches.elasticsearch.k8s.elastic.co";
const OPENSEARCH: &str = "opensearchclusters.opensearch.org";
const OLDER_OPENSEARCH: &str = "opensearchclusters.opensearch.opster.io";

mod retention;
mod trust;

/// A destination of three nodes that allows nothing, whose SearchCluster names `provider`, and a Reindex that waits for its allowlist.
async fn world(provider: Value, objects: &[Value]) -> World {
    world_with(provider, objects, |_| {}).await
}

/// The same, after a change.
async fn world_with(provider: Value, objects: &[Value], change: impl FnOnce(&World)) -> World {
    let mut world = World::new().await;
    {
        let mut destination = world.destination.state();
        destination.allowlist.clear();
        destination.further_nodes = vec![vec![], vec![]];
    }
    for object in objects {
        world.api.apply(object.clone());
    }
    world.change_cluster(
        "es-1",
        json!({
            "spec": {"provider": provider, "auth": null, "allowlist": {"management": "Automatic"}},
            "status": {"allowlist": {"effective": []}},
        }),
    );
    change(&world);
    world.round_of_cluster("es-1").await;
    for _ in 0..3 {
        world.round().await;
    }
    world
}

fn elasticsearch() -> Value {
    json!({
        "apiVersion": "elasticsearch.k8s.elastic.co/v1", "kind": "Elasticsearch",
        "metadata": {"name": "es-1", "namespace": NAMESPACE},
        "spec": {"version": "7.17.29", "nodeSets": [
            {"name": "masters", "count": 1, "config": {"node.attr.zone": "a"}},
            {"name": "data", "count": 2, "config": {"reindex": {"remote": {"whitelist": ["old:9200"]}}}},
        ]},
        "status": {"observedGeneration": 1, "phase": "Ready", "health": "green"},
    })
}

/// The password as ECK keeps it.
fn elastic_user() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es-1-es-elastic-user", "namespace": NAMESPACE},
        "data": {"elastic": k8s_openapi::ByteString(DESTINATION_PASSWORD.into())},
    })
}

/// One whose nodes ECK restarts.
pub async fn eck() -> World {
    world(json!({"eck": {"name": "es-1"}}), &[elasticsearch(), elastic_user()]).await
}

fn opensearch(group: &str) -> Value {
    json!({
        "apiVersion": format!("{group}/v1"), "kind": "OpenSearchCluster",
        "metadata": {"name": "es-1", "namespace": NAMESPACE},
        "spec": {
            "general": {"serviceName": "es-1", "additionalConfig": {"reindex.remote.whitelist": "old:9200"}},
            "nodePools": [
                {"component": "masters", "replicas": 1, "roles": ["cluster_manager"]},
                {"component": "data", "replicas": 2, "roles": ["data"], "additionalConfig": {"reindex.remote.whitelist": "[\"old:9200\"]"}},
            ],
        },
        "status": {"phase": "RUNNING", "health": "green", "componentsStatus": []},
    })
}

fn admin_password() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es-1-admin-password", "namespace": NAMESPACE},
        "data": {
            "username": k8s_openapi::ByteString("elastic".into()),
            "password": k8s_openapi::ByteString(DESTINATION_PASSWORD.into()),
        },
    })
}

fn merged(world: &World, object: &str, change: Value) {
    let mut stored = world.api.find(object, NAMESPACE, "es-1").expect("the object");
    for part in ["metadata", "spec", "status"] {
        for (name, value) in change[part].as_object().into_iter().flatten() {
            stored[part][name] = value.clone();
        }
    }
    world.api.apply(stored);
}

fn cluster(world: &World) -> SearchCluster {
    world.cluster("es-1").expect("the SearchCluster")
}

fn batch(world: &World) -> Option<Batch> {
    cluster(world).status?.allowlist?.batch
}

fn phase(world: &World) -> Option<BatchPhase> {
    batch(world).map(|batch| batch.phase)
}

/// Reason and message of a condition.
fn told(world: &World, type_: &str) -> (String, String) {
    let status = cluster(world).status.unwrap_or_default();
    conditions::get(&status.conditions, type_)
        .map(|condition| (condition.reason.clone(), condition.message.clone()))
        .unwrap_or_default()
}

fn instruction(world: &World) -> String {
    cluster(world).status.and_then(|status| status.allowlist?.instruction).unwrap_or_default()
}

/// How often the operator patched the object.
fn patches(world: &World, resource: &str) -> usize {
    let path = format!("/{}/es-1", resource.split('.').next().unwrap());
    let journal = world.faults.journal();
    journal.iter().filter(|call| call.verb == "PATCH" && call.path.ends_with(&path)).count()
}

async fn until(world: &mut World, wanted: BatchPhase) {
    for _ in 0..8 {
        if phase(world) == Some(wanted) {
            return;
        }
        world.round_of_cluster("es-1").await;
    }
    panic!("not {wanted:?}: {:?}", cluster(world).status);
}

/// The nodes are restarted with the new configuration, as many as that.
fn restart_nodes(world: &World, count: usize) {
    let loaded = vec!["old:9200".to_owned(), world.source.host_port()];
    let mut state = world.destination.state();
    let state = &mut *state;
    let nodes = std::iter::once(&mut state.allowlist).chain(&mut state.further_nodes);
    nodes.take(count).for_each(|allowlist| allowlist.clone_from(&loaded));
}

/// ECK has seen the last change, and is in that phase.
fn eck_says(world: &World, phase: &str) {
    let generation = world.api.find(ECK, NAMESPACE, "es-1").unwrap()["metadata"]["generation"].clone();
    merged(world, ECK, json!({"status": {"observedGeneration": generation, "phase": phase, "health": "green"}}));
}

#[tokio::test]
async fn eck_is_told_once_and_believed_when_every_node_has_it() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    let entry = world.source.host_port();
    let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
    assert_eq!(
        object["spec"]["nodeSets"],
        json!([
            {"name": "masters", "count": 1, "config": {"node.attr.zone": "a", "reindex.remote.whitelist": [entry]}},
            {"name": "data", "count": 2, "config": {"reindex": {"remote": {"whitelist": ["old:9200", entry]}}}},
        ])
    );
    world.round_of_cluster("es-1").await;
    assert!(
        told(&world, RECONCILING).1.contains("ECK has not seen the last change yet"),
        "{:?}",
        told(&world, RECONCILING)
    );
    eck_says(&world, "ApplyingChanges");
    restart_nodes(&world, 2);
    world.round_of_cluster("es-1").await;
    assert_eq!(phase(&world), Some(BatchPhase::RollingOut));
    assert!(told(&world, RECONCILING).1.starts_with("2 of 3 nodes have loaded"), "{:?}", told(&world, RECONCILING));
    eck_says(&world, "Ready");
    world.round_of_cluster("es-1").await;
    assert_eq!(phase(&world), Some(BatchPhase::RollingOut), "one node lacks it still");
    restart_nodes(&world, 3);
    world.round_of_cluster("es-1").await;
    assert_eq!(phase(&world), Some(BatchPhase::Done));
    assert_eq!(cluster(&world).status.unwrap().allowlist.unwrap().managed, [entry]);
    world.round_of_cluster("es-1").await;
    assert_eq!(told(&world, ALLOWLIST_READY).0, "Effective");
    assert_eq!(patches(&world, ECK), 1);
    for (resource, text) in world.api.texts() {
        let leaked = secrets().iter().any(|secret| text.contains(secret));
        assert!(resource == "secrets" || !leaked, "a secret stands in {resource}");
    }
}

#[tokio::test]
async fn the_name_of_ecks_object_is_a_complete_spec() {
    let mut world = eck().await;
    world.change_cluster("es-1", json!({"spec": {"endpoint": null}}));
    world.round_of_cluster("es-1").await;
    let connection = serde_json::to_value(cluster(&world).status.unwrap().connection).unwrap();
    assert_eq!(
        connection,
        json!({
            "object": "Elasticsearch es-1", "endpoint": format!("https://es-1-es-http.{NAMESPACE}.svc:9200"),
            "password": {"secret": "es-1-es-elastic-user", "username": "elastic", "key": "elastic"},
            "ca": {"name": "es-1-es-http-certs-public", "key": "ca.crt"},
        })
    );
    // ECK has not made it yet.
    assert_eq!(told(&world, READY).0, "SecretNotFound", "{:?}", told(&world, READY));
    assert!(told(&world, READY).1.contains("es-1-es-http-certs-public"));
}

#[tokio::test]
async fn somebody_who_writes_the_object_meanwhile_is_not_overwritten() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::Editing).await;
    // Between the operator's look and its patch: the second read of the object in that pass is the one that it patches.
    let mut stale = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
    stale["spec"]["nodeSets"][0]["count"] = json!(2);
    world.api.before("PATCH", ECK, stale);
    let round = world.round_of_cluster("es-1").await;
    assert!(matches!(&round, Round::Erred(error) if error.is_conflict()), "{round:?}");
    let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
    assert_eq!(
        object["spec"]["nodeSets"][0],
        json!({"name": "masters", "count": 2, "config": {"node.attr.zone": "a"}})
    );
    // The node that it asked for comes.
    world.destination.state().further_nodes.push(vec![]);
    eck_says(&world, "Ready");
    until(&mut world, BatchPhase::RollingOut).await;
    let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
    assert_eq!(object["spec"]["nodeSets"][0]["count"], 2, "what the other one wrote stays");
}

#[tokio::test]
async fn a_change_that_somebody_takes_back_is_not_made_again() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    merged(&world, ECK, json!({"spec": elasticsearch()["spec"]}));
    for _ in 0..4 {
        world.round_of_cluster("es-1").await;
    }
    assert_eq!(
        phase(&world),
        Some(BatchPhase::RollingOut),
        "ECK restarts nodes once more, and no copy begins meanwhile"
    );
    eck_says(&world, "Ready");
    world.round_of_cluster("es-1").await;
    assert_eq!((phase(&world), patches(&world, ECK)), (Some(BatchPhase::Failed), 1));
    let (reason, message) = told(&world, STALLED);
    assert_eq!(reason, "RolloutFailed");
    assert!(message.contains("took the change out of Elasticsearch es-1"), "{message}");
}

#[tokio::test]
async fn a_phase_that_never_changes_is_not_waited_for_forever() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    eck_says(&world, "ApplyingChanges");
    restart_nodes(&world, 1);
    // A minute passes after each.
    for _ in 0..40 {
        world.round_of_cluster("es-1").await;
    }
    assert_eq!((phase(&world), patches(&world, ECK)), (Some(BatchPhase::RollingOut), 1), "nodes may still restart");
    let (reason, message) = told(&world, STALLED);
    assert_eq!(reason, "RolloutFailed");
    assert!(message.contains("1 of 3 nodes") && message.contains("ApplyingChanges"), "{message}");
    world.change_cluster("es-1", json!({"spec": {"allowlist": {"interruptRunning": true}}}));
    world.round_of_cluster("es-1").await;
    assert_eq!((phase(&world), told(&world, STALLED).0.as_str()), (Some(BatchPhase::Failed), "RolloutFailed"));
    restart_nodes(&world, 3);
    world.round_of_cluster("es-1").await;
    assert_eq!(told(&world, ALLOWLIST_READY).0, "Effective", "late is not never");
}

#[tokio::test]
async fn an_object_that_eck_does_not_act_on_is_not_touched() {
    for (change, reason) in [
        (json!({"metadata": {"annotations": {"eck.k8s.elastic.co/managed": "false"}}}), "ElasticsearchUnmanaged"),
        (json!({"status": {"phase": "Stalled"}}), "ElasticsearchStalled"),
        (json!({"status": {"phase": "Invalid"}}), "ElasticsearchInvalid"),
    ] {
        let mut world = eck().await;
        // Nothing was begun yet.
        world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
        merged(&world, ECK, change);
        for _ in 0..3 {
            world.round_of_cluster("es-1").await;
        }
        assert_eq!((told(&world, STALLED).0.as_str(), patches(&world, ECK)), (reason, 0));
        assert_eq!(batch(&world), None, "{reason}: the gate stays open");
    }
}

#[tokio::test]
async fn eck_that_refuses_the_object_in_the_middle_is_told_and_the_change_stays() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    eck_says(&world, "Invalid");
    world.round_of_cluster("es-1").await;
    assert_eq!(phase(&world), Some(BatchPhase::Failed));
    assert!(told(&world, STALLED).1.contains("ElasticsearchInvalid"), "{:?}", told(&world, STALLED));
    let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
    assert_eq!(object["spec"]["nodeSets"][0]["config"]["reindex.remote.whitelist"], json!([world.source.host_port()]));
}

#[tokio::test]
async fn eck_that_is_stalled_in_the_middle_is_waited_for_and_goes_on_by_itself() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    eck_says(&world, "Stalled");
    let node = json!({"name": "es-1-es-data-0", "status": "PENDING", "predicate": "only_restart_healthy_node"});
    merged(&world, ECK, json!({"status": {"inProgressOperations": {"upgrade": {"nodes": [node]}}}}));
    restart_nodes(&world, 1);
    for _ in 0..3 {
        world.round_of_cluster("es-1").await;
    }
    assert_eq!(phase(&world), Some(BatchPhase::RollingOut), "no copy begins");
    let (reason, message) = told(&world, RECONCILING);
    assert_eq!(reason, "RollingOut");
    for part in ["1 of 3 nodes", "Stalled", "es-1-es-data-0: PENDING, only_restart_healthy_node"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    eck_says(&world, "Ready");
    restart_nodes(&world, 3);
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
}

#[tokio::test]
async fn eck_that_is_stalled_for_good_ends_no_batch_while_nodes_may_restart() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    eck_says(&world, "Stalled");
    // A minute passes after each.
    for _ in 0..40 {
        world.round_of_cluster("es-1").await;
    }
    assert_eq!((phase(&world), patches(&world, ECK)), (Some(BatchPhase::RollingOut), 1));
    let (reason, message) = told(&world, STALLED);
    assert!(reason == "RolloutFailed" && message.contains("0 of 3 nodes"), "{reason}: {message}");
}

#[tokio::test]
async fn an_object_from_git_is_not_edited_unless_a_person_says_so() {
    for mark in [
        json!({"annotations": {"argocd.argoproj.io/tracking-id": "search:elasticsearch.k8s.elastic.co/Elasticsearch:search/es-1"}}),
        json!({"managedFields": [{"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:nodeSets": {}}}}]}),
    ] {
        let mut world = eck().await;
        world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
        merged(&world, ECK, json!({"metadata": mark}));
        for _ in 0..3 {
            world.round_of_cluster("es-1").await;
        }
        assert_eq!(told(&world, ALLOWLIST_READY).0, "ConfigOwned");
        assert_eq!((batch(&world), patches(&world, ECK)), (None, 0));
        let entry = world.source.host_port();
        assert_eq!(
            instruction(&world),
            format!(
                "spec:\n  nodeSets:\n  - name: masters\n    config:\n      reindex.remote.whitelist: [\"{entry}\"]\n  - name: data\n    config:\n      \
                 reindex:\n        remote:\n          whitelist: [\"old:9200\",\"{entry}\"]\n"
            )
        );
        world.change_cluster("es-1", json!({"spec": {"allowlist": {"overrideGitOps": true}}}));
        until(&mut world, BatchPhase::RollingOut).await;
        assert_eq!(patches(&world, ECK), 1);
    }
}

#[tokio::test]
async fn what_a_person_must_commit_is_told_under_verify_too() {
    let mut world = eck().await;
    world.change_cluster(
        "es-1",
        json!({"spec": {"allowlist": {"management": "Verify"}}, "status": {"allowlist": {"batch": null}}}),
    );
    world.round_of_cluster("es-1").await;
    assert_eq!(told(&world, ALLOWLIST_READY).0, "VerifyOnly");
    assert!(instruction(&world).contains("- name: masters"), "{}", instruction(&world));
    assert_eq!(patches(&world, ECK), 0);
}

#[tokio::test]
async fn a_reindex_of_another_namespace_is_shown_nothing_of_other_tenants() {
    let mut world = eck().await;
    world.change_cluster(
        "es-1",
        json!({
            "spec": {"allowlist": {"management": "Verify"}, "access": [{"namespaces": {"names": [NAMESPACE, "shop"]}}]},
            "status": {"allowlist": {"batch": null}},
        }),
    );
    world.change_cluster("es-2", json!({"spec": {"access": [{"namespaces": {"names": [NAMESPACE, "shop"]}}]}}));
    world.api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut neighbour = valid_reindex();
    neighbour["metadata"]["name"] = json!("neighbour");
    neighbour["status"] = serde_json::to_value(world.reindex().unwrap().status).unwrap();
    neighbour["status"]["source"]["remote"] = json!("http://neighbour.example:9200");
    world.api.apply(neighbour);
    let mut guest = valid_reindex();
    guest["metadata"] = json!({"name": "guest", "namespace": "shop"});
    for side in ["source", "destination"] {
        guest["spec"][side]["clusterRef"]["namespace"] = json!(NAMESPACE);
    }
    guest["spec"]["destination"]["index"] = json!("guest");
    world.api.apply(guest);
    let message = |world: &World, namespace: &str, name: &str| {
        let reindex: reindex_operator::api::Reindex = world.api.get(namespace, name).unwrap();
        condition(&reindex, RECONCILING).unwrap_or_default().1
    };
    for _ in 0..4 {
        world.round_of_cluster("es-1").await;
        world.round().await;
        let guest = world.api.get("shop", "guest").unwrap();
        world.reconcile(guest).await;
    }
    let (own, guest) = (message(&world, NAMESPACE, "product-info"), message(&world, "shop", "guest"));
    assert!(own.contains("neighbour.example:9200") && own.contains("nodeSets"), "{own}");
    let entry = world.source.host_port();
    for part in [
        format!("a person must add {entry:?} to reindex.remote.whitelist"),
        format!("status.allowlist.instruction of SearchCluster {NAMESPACE}/es-1 has the whole text"),
    ] {
        assert!(guest.contains(&part), "{part} in {guest}");
    }
    assert!(!guest.contains("neighbour") && !guest.contains("old:9200"), "{guest}");
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    for (verb, type_) in [("get", READY), ("patch", STALLED)] {
        let mut world = eck().await;
        world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
        world.api.deny(verb, ECK);
        for _ in 0..3 {
            world.round_of_cluster("es-1").await;
        }
        let (reason, message) = told(&world, type_);
        assert_eq!(reason, "NotPermitted", "{message}");
        assert!(message.contains(&format!("the operator may not {verb} {ECK} in namespace {NAMESPACE}")), "{message}");
        assert_eq!(batch(&world), None, "nothing was begun");
        world.api.grant();
        until(&mut world, BatchPhase::RollingOut).await;
    }
}

#[tokio::test]
async fn a_right_that_is_lost_in_the_middle_ends_the_batch() {
    let mut world = eck().await;
    until(&mut world, BatchPhase::Editing).await;
    world.api.deny("patch", ECK);
    world.round_of_cluster("es-1").await;
    assert_eq!(phase(&world), Some(BatchPhase::Proposed), "the gate opens");
    assert_eq!(told(&world, STALLED).0, "NotPermitted");
}

#[tokio::test]
async fn an_object_that_is_not_there_is_said() {
    let mut world = world(json!({"eck": {"name": "es-1"}}), &[elastic_user()]).await;
    world.round_of_cluster("es-1").await;
    let (reason, message) = told(&world, READY);
    assert_eq!(reason, "ProviderObjectNotFound");
    assert!(message.contains("Elasticsearch es-1"), "{message}");
}

#[tokio::test]
async fn an_allowlist_that_covers_the_host_by_a_glob_is_enough() {
    let mut world = eck().await;
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    let glob = vec!["127.0.0.*:*".to_owned()];
    {
        let mut state = world.destination.state();
        state.allowlist.clone_from(&glob);
        state.further_nodes = vec![glob.clone(), glob];
    }
    for _ in 0..3 {
        world.round_of_cluster("es-1").await;
    }
    assert_eq!(told(&world, ALLOWLIST_READY).0, "Effective");
    assert_eq!((batch(&world), patches(&world, ECK)), (None, 0));
}

#[tokio::test]
async fn twenty_reindexes_at_once_are_one_change() {
    let mut world = eck().await;
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    let waiting = serde_json::to_value(world.reindex().unwrap().status).unwrap();
    for n in 0..20 {
        let mut reindex = valid_reindex();
        reindex["metadata"]["name"] = json!(format!("copy-{n}"));
        reindex["status"] = waiting.clone();
        // Ten further sources, two Reindexes each.
        reindex["status"]["source"]["remote"] = json!(format!("http://source-{}:9200", n / 2));
        world.api.apply(reindex);
    }
    until(&mut world, BatchPhase::RollingOut).await;
    assert_eq!(batch(&world).unwrap().entries.len(), 11);
    eck_says(&world, "Ready");
    let all = batch(&world).unwrap().entries;
    {
        let mut state = world.destination.state();
        state.allowlist.clone_from(&all);
        state.further_nodes = vec![all.clone(), all];
    }
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_of_the_change_makes_it_once() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        let mut hit = vec![];
        loop {
            let mut world = eck().await;
            until(&mut world, BatchPhase::Editing).await;
            world.faults.plan(hit.len() + 1, fault);
            world.round_of_cluster("es-1").await;
            let Some(call) = world.faults.hit() else { break };
            let title = format!("{fault:?} at {call}");
            hit.push(call);
            for _ in 0..3 {
                world.round_of_cluster("es-1").await;
            }
            let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
            let entry = json!([world.source.host_port()]);
            assert_eq!(object["spec"]["nodeSets"][0]["config"]["reindex.remote.whitelist"], entry, "{title}");
            assert_eq!(object["metadata"]["generation"], 2, "{title}: one change");
            assert_eq!(phase(&world), Some(BatchPhase::RollingOut), "{title}");
        }
        assert!(hit.iter().any(|call| call.verb == "PATCH" && call.path.ends_with("/elasticsearches/es-1")), "{hit:?}");
    }
}

#[tokio::test]
async fn the_opensearch_operator_is_told_in_its_newest_group() {
    for (groups, patched) in [
        (vec!["opensearch.org"], OPENSEARCH),
        (vec!["opensearch.opster.io"], OLDER_OPENSEARCH),
        (vec!["opensearch.org", "opensearch.opster.io"], OPENSEARCH),
    ] {
        let mut objects: Vec<_> = groups.iter().map(|group| opensearch(group)).collect();
        objects.push(admin_password());
        let mut world = world(json!({"openSearchOperator": {"name": "es-1"}}), &objects).await;
        until(&mut world, BatchPhase::RollingOut).await;
        let entry = world.source.host_port();
        let spec = world.api.find(patched, NAMESPACE, "es-1").unwrap()["spec"].clone();
        assert_eq!(spec["general"]["additionalConfig"]["reindex.remote.whitelist"], format!("old:9200,{entry}"));
        assert_eq!(
            spec["nodePools"][1]["additionalConfig"]["reindex.remote.whitelist"],
            format!(r#"["old:9200","{entry}"]"#)
        );
        assert_eq!(spec["nodePools"][0], opensearch("x")["spec"]["nodePools"][0], "it has what is set for all");
        if groups.len() == 2 {
            let older = world.api.find(OLDER_OPENSEARCH, NAMESPACE, "es-1").unwrap();
            assert_eq!(older["spec"], opensearch("x")["spec"], "the older object is left alone");
        }
        // Its status does not move: only the nodes tell.
        restart_nodes(&world, 2);
        world.round_of_cluster("es-1").await;
        assert_eq!(phase(&world), Some(BatchPhase::RollingOut));
        restart_nodes(&world, 3);
        world.round_of_cluster("es-1").await;
        assert_eq!(phase(&world), Some(BatchPhase::Done));
    }
}

#[tokio::test]
async fn a_source_is_reached_as_its_provider_says() {
    let mut world = World::new().await;
    let spec = json!({"endpoint": null, "auth": null, "provider": {"eck": {"name": "es-2"}}});
    world.change_cluster("es-2", json!({"spec": spec}));
    assert_eq!(world.until_stalled().await.0, "EndpointUnknown");
    world.api.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "es-2-es-elastic-user", "namespace": NAMESPACE},
        "data": {"elastic": k8s_openapi::ByteString(SOURCE_PASSWORD.into())},
    }));
    let connection = json!({
        "object": "Elasticsearch es-2", "endpoint": world.source.url(),
        "password": {"secret": "es-2-es-elastic-user", "username": "elastic", "key": "elastic"},
    });
    world.change_cluster("es-2", json!({"status": {"connection": connection}}));
    let reindex = world.end().await;
    assert!(condition(&reindex, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    assert!(world.destination.state().passwords_seen.contains(SOURCE_PASSWORD), "the destination reads with it");
}

/// A cluster of StatefulSets of three nodes, with that node configuration.
async fn stateful_sets(text: &str) -> World {
    let labels = json!({"app": "es-1"});
    let mut objects = vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "es-1-config", "namespace": NAMESPACE},
            "data": {"elasticsearch.yml": text},
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "es-1", "namespace": NAMESPACE},
            "spec": {"replicas": 3, "serviceName": "es-1", "selector": {"matchLabels": labels}, "template": {}},
            "status": {"replicas": 3, "observedGeneration": 1},
        }),
    ];
    for n in 1..=3 {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("es-1-{n}"), "namespace": NAMESPACE, "labels": labels, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "es-1", "uid": "set"},
            ]},
            "spec": {
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{n}")}}],
                "containers": [{"name": "es", "volumeMounts": [{"name": "data", "mountPath": "/srv"}]}],
            },
            "status": {"podIP": format!("127.0.0.{n}"), "conditions": [{"type": "Ready", "status": "True"}]},
        }));
    }
    let mut world =
        world(json!({"statefulSets": [{"name": "es-1", "configMap": {"name": "es-1-config"}}]}), &objects).await;
    let uid = world.api.find("statefulsets.apps", NAMESPACE, "es-1").unwrap()["metadata"]["uid"].clone();
    for n in 1..=3 {
        let mut pod = world.api.find("pods", NAMESPACE, &format!("es-1-{n}")).unwrap();
        pod["metadata"]["ownerReferences"][0]["uid"] = uid.clone();
        world.api.apply(pod);
    }
    let auth = json!({"basic": {"secretRef": {"name": "es-1-elastic"}}});
    world.change_cluster("es-1", json!({"spec": {"auth": auth}}));
    for _ in 0..3 {
        world.round().await;
    }
    world
}

#[tokio::test]
async fn a_config_map_that_may_not_be_written_ends_the_batch_and_says_which_right_is_missing() {
    let mut world = stateful_sets("cluster.name: es-1\n").await;
    world.api.deny("put", "configmaps");
    until(&mut world, BatchPhase::Failed).await;
    world.round_of_cluster("es-1").await;
    let (reason, message) = told(&world, STALLED);
    assert_eq!(reason, "RestartFailed");
    assert!(message.contains("failed to write ConfigMap es-1-config") && message.contains("PUT"), "{message}");
}
