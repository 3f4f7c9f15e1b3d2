//! Indices, and what a name may reach.

use super::*;

#[tokio::test]
async fn the_definition_of_an_index_is_read() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "get-index").await;
        let indices = client.indices("w").await.unwrap();
        let index = &indices["dest"];
        assert_eq!((index.number_of_shards(), index.number_of_replicas()), (Some(2), Some(1)));
        assert_eq!(index.uuid().map(str::len), Some(22));
        assert_eq!(index.mappings["_meta"]["reindex.dev"]["uid"], "u1");
        assert_eq!(index.aliases["w"].is_write_index, Some(true));
        assert_eq!(index.aliases["a"].filter, Some(json!({"term": {"annual_rate": "1"}})));
        assert_eq!(index.aliases["a"].search_routing.as_deref(), Some("x"));
    }
}

#[tokio::test]
async fn a_data_stream_shows_its_backing_indices_and_has_no_single_uuid() {
    let (_server, client) = recorded(OS, "get-data-stream").await;
    let indices = client.indices("logs-app").await.unwrap();
    assert_eq!(indices.len(), 2);
    assert!(indices.values().all(|index| index.data_stream.as_deref() == Some("logs-app")));
    let (_server, client) = recorded(OS, "index-uuid-data-stream").await;
    assert!(matches!(client.index_uuid("logs-app").await, Err(SearchError::SeveralIndices { count: 2 })));
}

#[tokio::test]
async fn an_absent_index_is_not_found() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "index-not-found").await;
        let error = client.indices("absent").await.unwrap_err();
        assert!(error.is_not_found() && !error.is_retryable());
        assert_eq!(error.kind(), Some("index_not_found_exception"));
        assert!(!client.index_exists("absent").await.unwrap());
        let (_server, client) = recorded(engine, "index-uuid-not-found").await;
        assert_eq!(client.index_uuid("absent").await.unwrap(), None);
        let (_server, client) = recorded(engine, "index-uuid").await;
        assert_eq!(client.index_uuid("dest").await.unwrap().map(|uuid| uuid.len()), Some(22));
    }
}

#[tokio::test]
async fn creating_an_index_tells_a_conflict_from_a_mistake() {
    for engine in [ES, OS] {
        let (server, client) = recorded(engine, "create-index").await;
        client.create_index("dest", &json!({"settings": {}})).await.unwrap();
        let request = only_request(&server).await;
        assert_eq!((request.method.as_str(), request.url.path()), ("PUT", "/dest"));

        let (_server, client) = recorded(engine, "create-exists").await;
        let error = client.create_index("dest", &json!({})).await.unwrap_err();
        assert!(error.is_conflict() && !error.is_retryable(), "{error:?}");

        let (_server, client) = recorded(engine, "create-unknown-analyzer").await;
        let error = client.create_index("bad", &json!({})).await.unwrap_err();
        assert!(!error.is_conflict() && !error.is_retryable());
        assert_eq!((error.reason(), error.kind()), ("Rejected", Some("mapper_parsing_exception")));
        assert!(error.public_message().contains("analyzer [ik_max_word]"), "{}", error.public_message());
    }
    let (_server, client) = answering(200, &json!({"acknowledged": false})).await;
    assert!(matches!(client.create_index("dest", &json!({})).await, Err(SearchError::NotAcknowledged)));
}

#[tokio::test]
async fn a_count_of_some_shards_is_no_count() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "count").await;
        assert_eq!(client.count("dest", None).await.unwrap(), 3000);
        let (_server, client) = recorded(engine, "refresh").await;
        client.refresh("dest").await.unwrap();
        let (_server, client) = recorded(engine, "count-no-shard").await;
        assert!(client.count("lost", None).await.unwrap_err().is_retryable());
        let (_server, client) = recorded(engine, "search-no-shard").await;
        assert_eq!(client.can_search("lost", None).await.unwrap_err().reason(), "ClusterUnavailable");
        let (_server, client) = recorded(engine, "search-bad-query").await;
        let error = client.can_search("dest", Some(&json!({"nonsense": {}}))).await.unwrap_err();
        assert_eq!((error.status(), error.kind()), (Some(400), Some("parsing_exception")));
    }
    for shards in [json!({"total": 2, "successful": 1, "failed": 1}), json!({"total": 2, "successful": 1, "failed": 0})]
    {
        let (_server, client) = answering(200, &json!({"count": 7, "_shards": shards})).await;
        let error = client.count("dest", None).await.unwrap_err();
        assert!(matches!(error, SearchError::PartialShards { failed: 1, total: 2, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn positions_are_those_of_started_primaries_in_order() {
    let (_server, client) = recorded(OS, "stats").await;
    let positions = client.positions("dest").await.unwrap();
    let shown: Vec<_> = positions.iter().map(|p| (p.shard, p.max_seq_no, p.global_checkpoint)).collect();
    assert_eq!(shown, [(0, 1545, 1545), (1, 1453, 1453)]);
    assert_eq!(positions[0].history_uuid, "HEQsbSEOT92krZi8QUax5Q");
    let (_server, client) = recorded(ES, "stats").await;
    assert_eq!(client.positions("dest").await.unwrap().len(), 2);
    let (_server, client) = recorded(ES, "stats-no-shard").await;
    assert_eq!(client.positions("lost").await.unwrap(), []);
}

#[tokio::test]
async fn a_name_is_one_path_segment_below_the_prefix() {
    let (server, _client) = answering(200, &json!({})).await;
    let prefixed = client(&format!("{}/search/", server.uri()));
    prefixed.indices("<logs-{now/d}>").await.unwrap();
    prefixed.indices("100%25").await.unwrap();
    let paths: Vec<_> =
        server.received_requests().await.unwrap().iter().map(|request| request.url.path().to_owned()).collect();
    assert_eq!(paths, ["/search/%3Clogs-%7Bnow%2Fd%7D%3E", "/search/100%2525"]);
}

#[tokio::test]
async fn a_name_that_reaches_further_than_one_index_is_never_sent() {
    let (server, client) = answering(200, &json!({})).await;
    let long = "a".repeat(2000);
    for name in [
        "",
        ".",
        "..",
        "_all",
        "-a",
        "+a",
        "a,b",
        "a*",
        "a?",
        "a/b",
        "../_cluster",
        "a b",
        "a\nb",
        "a#b",
        "a\\b",
        "other:index",
        "<a>,<b>",
        "<a><b>",
        "<a",
        "a|b",
        "\"a\"",
        &long,
    ] {
        for error in [
            client.indices(name).await.unwrap_err(),
            client.count(name, None).await.unwrap_err(),
            client.create_index(name, &json!({})).await.unwrap_err(),
            client.probe_reindex(&REMOTE, name, "dest").await.unwrap_err(),
            client.probe_reindex(&REMOTE, "source", name).await.unwrap_err(),
        ] {
            assert!(matches!(error, SearchError::InvalidName { .. }), "{name}: {error:?}");
        }
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}
