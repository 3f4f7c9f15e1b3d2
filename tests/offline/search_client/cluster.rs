//! Who a cluster is and how it stands.

use super::*;

#[tokio::test]
async fn info_tells_the_engines_apart() {
    let (_es, client) = recorded(ES, "info").await;
    let info = client.info().await.unwrap();
    assert_eq!(info.distribution, Distribution::Elasticsearch);
    assert_eq!(info.version, Version { major: 7, minor: 17, patch: 29 });
    assert_eq!((info.cluster_name.as_str(), info.cluster_uuid.len()), ("es-dest", 22));

    let (_os, client) = recorded(OS, "info").await;
    let info = client.info().await.unwrap();
    assert_eq!((info.distribution, info.version.to_string().as_str()), (Distribution::OpenSearch, "2.19.6"));
}

#[tokio::test]
async fn a_cluster_without_a_uuid_is_not_formed_yet() {
    let mut body = fixture(ES, "info")["body"].clone();
    body["cluster_uuid"] = json!("_na_");
    let (_server, client) = answering(200, &body).await;
    let error = client.info().await.unwrap_err();
    assert!(matches!(error, SearchError::NotFormed) && error.is_retryable(), "{error:?}");
}

#[test]
fn a_version_is_read_with_and_without_what_follows_it() {
    for (text, expected) in
        [("7.17.29", "7.17.29"), ("8.0.0-SNAPSHOT", "8.0.0"), ("7.10", "7.10.0"), ("7.10.0_ali1.6", "7.10.0")]
    {
        assert_eq!(text.parse::<Version>().unwrap().to_string(), expected);
    }
    for text in ["", "8", "eight", "8.x", "-1.2.3"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
    assert!("7.9.0".parse::<Version>().unwrap() < "7.10.0".parse().unwrap());
}

#[tokio::test]
async fn health_is_read() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "health").await;
        let health = client.health().await.unwrap();
        assert_eq!((health.status, health.number_of_nodes), (HealthStatus::Green, 1));
    }
    assert!(HealthStatus::Red > HealthStatus::Yellow);
}

#[tokio::test]
async fn the_allowlist_is_read_from_a_list_a_string_and_nothing() {
    for (engine, name, expected) in [
        (ES, "nodes-settings-list", vec!["10.0.0.1:9200", "*.search.svc:9200"]),
        (ES, "nodes-settings-unset", vec![]),
        (OS, "nodes-settings-comma-string", vec!["127.0.0.1:19201", "127.0.0.1:1", "127.0.0.1:19299"]),
    ] {
        let (_server, client) = recorded(engine, name).await;
        let nodes = client.nodes().await.unwrap();
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].allowlist, expected);
        assert_eq!((nodes[0].ip.as_str(), nodes[0].path_data.len()), ("127.0.0.1", 1));
        assert!(nodes[0].is_master_eligible() && nodes[0].is_data(), "{:?}", nodes[0].roles);
    }
    let (_server, client) = recorded(ES, "nodes-settings-comma-string").await;
    assert_eq!(client.nodes().await.unwrap()[0].allowlist.len(), 5);
}

#[tokio::test]
async fn a_node_that_did_not_answer_makes_the_list_of_nodes_an_error() {
    let mut body = fixture(ES, "nodes-settings-list")["body"].clone();
    body["_nodes"]["failed"] = json!(1);
    let (_server, client) = answering(200, &body).await;
    let error = client.nodes().await.unwrap_err();
    assert!(matches!(error, SearchError::IncompleteNodes { failed: 1 }) && error.is_retryable());
}

#[tokio::test]
async fn the_master_and_the_shards_are_found() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "master-node").await;
        assert_eq!(client.elected_master().await.unwrap().len(), 22);
        let (_server, client) = recorded(engine, "cat-shards").await;
        let shards = client.shards().await.unwrap();
        assert!(shards.iter().any(|s| s.index == "dest" && s.primary && s.state == "STARTED" && s.node_id.is_some()));
        assert!(
            shards.iter().any(|s| s.index == "dest" && !s.primary && s.state == "UNASSIGNED" && s.node_id.is_none())
        );
    }
}
