//! What Validate finds: faults in the spec end the Reindex, faults in the surroundings stall it until somebody mends them.

use serde_json::{Value, json};

use super::{assert_copied, assert_untouched, failure};
use crate::support::world::{NAMESPACE, SOURCE_PASSWORD, World, search_cluster, secret};

#[tokio::test]
async fn a_destination_index_that_exists_is_refused_and_left_alone() {
    let mut world = World::new().await;
    world.destination.state().create("dest", &Value::Null).put("theirs", json!({"a": 1}));
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "DestinationExists");
    assert!(message.contains("dest") && message.contains("delete it"), "{message}");
    assert_untouched(&world);
    assert_eq!(world.destination.state().index("dest").documents.len(), 1);
}

#[tokio::test]
async fn an_index_is_not_copied_onto_itself() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["destination"] = json!({"clusterRef": {"name": "es-2"}, "index": "product_info"});
    })
    .await;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "SameIndex");
    assert_untouched(&world);
}

#[tokio::test]
async fn an_index_is_not_copied_onto_itself_under_another_name_of_its_cluster() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["destination"] = json!({"clusterRef": {"name": "es-2-again"}, "index": "product_info"});
    })
    .await;
    let mut again = search_cluster("es-2", &world.source, json!({"effective": []}));
    again["metadata"]["name"] = json!("es-2-again");
    world.api.apply(again);
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "SameIndex");
    assert_untouched(&world);
}

#[tokio::test]
async fn an_opensearch_source_is_refused() {
    let mut world = World::new().await;
    world.source.state().opensearch = true;
    world.source.state().version = "2.19.4".into();
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "DistributionMismatch");
    assert!(message.contains("OpenSearch 2.19.4") && message.contains("Elasticsearch 7.17.29"), "{message}");
    assert_untouched(&world);
}

#[tokio::test]
async fn another_major_version_is_refused() {
    let mut world = World::new().await;
    world.source.state().version = "6.8.23".into();
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "VersionMismatch");
    assert!(message.contains("6.8.23") && message.contains("7.17.29"), "{message}");
    assert_untouched(&world);
}

#[tokio::test]
async fn other_versions_are_copied_where_that_is_wanted() {
    let mut world = World::with(|reindex| reindex["spec"]["versionPolicy"] = json!("Any")).await;
    world.destination.state().version = "8.19.21".into();
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn an_opensearch_source_is_refused_even_then() {
    let mut world = World::with(|reindex| reindex["spec"]["versionPolicy"] = json!("Any")).await;
    world.source.state().opensearch = true;
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "DistributionMismatch");
}

#[tokio::test]
async fn a_source_that_keeps_no_documents_is_refused() {
    let mut world = World::new().await;
    world.source.state().index("product_info").mappings["_source"] = json!({"enabled": false});
    let reindex = world.end().await;
    assert_eq!(failure(&world, &reindex).0, "SourceDisabled");
    assert_untouched(&world);
}

#[tokio::test]
async fn every_finding_is_listed_at_once() {
    let mut world = World::new().await;
    world.source.state().version = "6.8.23".into();
    world.source.state().indices.clear();
    world.destination.state().create("dest", &Value::Null);
    let reindex = world.end().await;
    let (_, message) = failure(&world, &reindex);
    for part in ["6.8.23", "product_info", "dest"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[tokio::test]
async fn an_unknown_analyzer_ends_it_with_nothing_created() {
    let mut world = World::with(|reindex| {
        reindex["spec"]["destination"]["mappings"] =
            json!({"properties": {"describe": {"type": "text", "analyzer": "ik_max_word"}}});
    })
    .await;
    let reindex = world.end().await;
    let (reason, message) = failure(&world, &reindex);
    assert_eq!(reason, "IndexRefused");
    assert!(message.contains("ik_max_word"), "{message}");
    assert_untouched(&world);
}

#[tokio::test]
async fn a_source_index_that_is_missing_is_waited_for() {
    let mut world = World::new().await;
    let index = world.source.state().indices.remove("product_info").unwrap();
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "SourceIndexNotFound");
    assert!(message.contains("product_info"), "{message}");
    assert_untouched(&world);
    world.source.state().indices.insert("product_info".into(), index);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_it_goes_on_once_it_is_right() {
    for (name, right) in
        [("es-1-elastic", crate::support::world::DESTINATION_PASSWORD), ("es-2-elastic", SOURCE_PASSWORD)]
    {
        let mut world = World::new().await;
        world.title = format!("{name} is wrong");
        world.api.apply(secret(name, "wr0ng-password"));
        let (reason, message) = world.until_stalled().await;
        assert_eq!(reason, "AuthenticationFailed", "{message}");
        assert!(!message.contains("wr0ng-password"), "{message}");
        assert_untouched(&world);
        world.api.apply(secret(name, right));
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn a_missing_secret_is_said_and_waited_for() {
    let mut world = World::new().await;
    world.api.delete::<k8s_openapi::api::core::v1::Secret>(NAMESPACE, "es-1-elastic");
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "SecretNotFound");
    assert!(message.contains("search/es-1-elastic") && message.contains("auth.basic.secretRef"), "{message}");
    world.api.apply(secret("es-1-elastic", crate::support::world::DESTINATION_PASSWORD));
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

#[tokio::test]
async fn a_missing_search_cluster_is_said_and_waited_for() {
    let mut world = World::with(|reindex| reindex["spec"]["source"]["clusterRef"]["name"] = json!("es-3")).await;
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "ClusterNotFound");
    assert!(message.contains("search/es-3"), "{message}");
    let mut cluster = search_cluster("es-2", &world.source, json!({"effective": []}));
    cluster["metadata"]["name"] = json!("es-3");
    world.api.apply(cluster);
    let reindex = world.end().await;
    assert_copied(&world, &reindex);
}

/// A world whose `cluster` stands in namespace `platform`, with these access rules, and whose Reindex names it there.
async fn with_cluster_in_platform(cluster: &str, side: &str, access: Value) -> World {
    let world = World::with(|reindex| reindex["spec"][side]["clusterRef"]["namespace"] = json!("platform")).await;
    let engine = if side == "source" { &world.source } else { &world.destination };
    let allowed = json!({"effective": [world.source.host_port()]});
    let mut object = search_cluster(cluster, engine, allowed);
    object["metadata"]["namespace"] = json!("platform");
    object["spec"]["access"] = access;
    let mut secret = secret(&format!("{cluster}-elastic"), engine.state().password.as_deref().unwrap());
    secret["metadata"]["namespace"] = json!("platform");
    world.api.apply(object);
    world.api.apply(secret);
    world
}

#[tokio::test]
async fn without_access_no_request_leaves_and_it_reads_like_a_cluster_that_is_not_there() {
    for side in ["source", "destination"] {
        let cluster = if side == "source" { "es-2" } else { "es-1" };
        let mut world = with_cluster_in_platform(cluster, side, Value::Null).await;
        world.title = format!("no access to the {side}");
        let (reason, message) = world.until_stalled().await;
        assert_eq!(reason, "ClusterNotFound");
        assert!(message.contains("is not found, is being deleted, or does not admit namespace search"), "{message}");
        assert_eq!(
            (world.calls_to("source"), world.calls_to("destination")),
            (0, 0),
            "{}",
            world.story("nobody is called")
        );
        assert!(world.source.state().passwords_seen.is_empty() && world.destination.state().passwords_seen.is_empty());
        world.api.apply(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": cluster, "namespace": "platform"},
            "spec": {"access": [{"namespaces": {"names": [NAMESPACE, "platform"]}}]},
        }));
        if side == "destination" {
            // The source must admit the destination's namespace too.
            world.change_cluster("es-2", json!({"spec": {"access": [{}, {"namespaces": {"names": ["platform"]}}]}}));
        }
        let reindex = world.end().await;
        assert_copied(&world, &reindex);
    }
}

#[tokio::test]
async fn the_source_must_admit_the_namespace_that_would_be_sent_its_password() {
    let admits_search = json!([{"namespaces": {"names": [NAMESPACE]}}]);
    let mut world = with_cluster_in_platform("es-1", "destination", admits_search).await;
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "ClusterNotFound");
    assert!(message.contains("platform") && message.contains("credentials"), "{message}");
    assert!(!world.destination.state().passwords_seen.contains(SOURCE_PASSWORD));
    assert_eq!(world.calls_to("destination"), 0);
}
