//! Reading every document behind a name, and looking single ones up: a doubt is an error, and nothing stays open.

use std::time::Duration;

use reindex_operator::search::{DocumentVersion, Scan, documents::Held};

use super::*;

const SCAN: Scan<'static> = Scan { query: None, content: None, page: 2, drawn_by: None, slice: None, limit: 1024 };

/// A page of this many documents out of so many, as every answer.
async fn paged(hits: usize, total: usize) -> (MockServer, SearchClient) {
    let hits: Vec<_> = (0..hits).map(|n| json!({"_id": n.to_string(), "_version": n + 1})).collect();
    let shards = json!({"total": 1, "successful": 1, "failed": 0});
    answering(200, &json!({"_scroll_id": "s", "_shards": shards, "hits": {"total": total, "hits": hits}})).await
}

async fn last_request(server: &MockServer) -> (String, String, Value) {
    let request = server.received_requests().await.unwrap().pop().unwrap();
    let body = serde_json::from_slice(&request.body).unwrap();
    (request.method.to_string(), request.url.path().to_owned(), body)
}

#[tokio::test]
async fn documents_come_by_the_page_and_the_scroll_is_let_go_of() {
    let (server, client) = paged(2, 4).await;
    let mut pages = client.scan("products", &SCAN).await.unwrap();
    assert_eq!(pages.total(), 4);
    for _ in 0..2 {
        let mut seen = vec![];
        let read = pages.next(|hit| seen.push((hit.id.to_string(), hit.version))).await.unwrap();
        assert_eq!((read, seen), (2, vec![("0".to_owned(), 1), ("1".to_owned(), 2)]));
    }
    let expected = json!({"scroll": "5m", "scroll_id": "s"});
    assert_eq!(last_request(&server).await, ("POST".into(), "/_search/scroll".into(), expected));
    pages.end().await;
    assert_eq!(last_request(&server).await, ("DELETE".into(), "/_search/scroll".into(), json!({"scroll_id": "s"})));
}

#[tokio::test]
async fn a_scan_that_is_dropped_lets_go_of_its_scroll_too() {
    let (server, client) = paged(2, 4).await;
    drop(client.scan("products", &SCAN).await.unwrap());
    for _ in 0..100 {
        if last_request(&server).await.0 == "DELETE" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the scroll is kept");
}

#[tokio::test]
async fn a_scan_that_ends_before_its_time_is_an_error_and_no_loss() {
    let (_server, client) = paged(0, 4).await;
    let mut pages = client.scan("products", &SCAN).await.unwrap();
    let error = pages.next(|_| {}).await.unwrap_err();
    assert!(matches!(error, SearchError::PartialShards { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_shard_that_is_missing_is_an_error() {
    let shards = json!({"total": 2, "successful": 1, "failed": 0});
    let page = json!({"_scroll_id": "s", "_shards": shards, "hits": {"total": 0, "hits": []}});
    let (_server, client) = answering(200, &page).await;
    assert!(matches!(client.scan("products", &SCAN).await, Err(SearchError::PartialShards { .. })));
}

#[tokio::test]
async fn a_page_may_not_be_larger_than_the_limit() {
    let (_server, client) = paged(100, 100).await;
    assert!(matches!(client.scan("products", &SCAN).await, Err(SearchError::ResponseTooLarge { limit: 1024 })));
}

#[tokio::test]
async fn what_can_t_be_looked_up_is_not_taken_for_missing() {
    let wanted = [("a".to_owned(), None), ("b".to_owned(), Some("r".to_owned()))];
    let docs = json!({"docs": [
        {"_id": "a", "found": false}, {"_id": "b", "_version": 3, "found": true, "_source": {"n": 1}},
    ]});
    let (server, client) = answering(200, &docs).await;
    let mut seen = vec![];
    let take = |at, hit: Option<&reindex_operator::search::Hit<'_>>| {
        seen.push((at, hit.map(|hit| (hit.version, hit.source().map(str::to_owned)))));
    };
    client.look_up("dest", &wanted, true, 1024, take).await.unwrap();
    assert_eq!(seen, [(0, None), (1, Some((3, Some("{\"n\":1}".to_owned()))))]);
    let (_, path, body) = last_request(&server).await;
    assert_eq!((path.as_str(), body), ("/dest/_mget", json!({"docs": [{"_id": "a"}, {"_id": "b", "routing": "r"}]})));

    let failed = json!({"docs": [
        {"_id": "a", "found": false},
        {"_id": "b", "error": {"type": "no_shard_available_action_exception", "reason": "No shard available"}},
    ]});
    let (_server, client) = answering(200, &failed).await;
    let error = client.look_up("dest", &wanted, false, 1024, |_, _| {}).await.unwrap_err();
    assert_eq!(error.kind(), Some("no_shard_available_action_exception"));

    let (_server, client) = answering(200, &json!({"docs": []})).await;
    assert!(client.look_up("dest", &wanted, false, 1024, |_, _| {}).await.is_err(), "an answer of another length");
}

fn version_of(id: &str, routing: Option<&str>) -> DocumentVersion {
    DocumentVersion { id: id.into(), routing: routing.map(str::to_owned), version: 0 }
}

#[tokio::test]
async fn a_document_is_held_with_its_last_write_and_by_the_routing_that_it_was_asked_for_with() {
    let docs = json!({"docs": [
        {"_id": "a", "found": false},
        {"_id": "b", "_version": 3, "_seq_no": 7, "_primary_term": 2, "found": true},
    ]});
    let (server, client) = answering(200, &docs).await;
    let wanted = [version_of("a", None), version_of("b", Some("r"))];
    let held = client.versions_of("dest", &wanted).await.unwrap();
    assert_eq!(held, [Held { id: "b".into(), routing: Some("r".into()), version: 3, write: (7, 2) }]);
    let (_, path, body) = last_request(&server).await;
    assert_eq!((path.as_str(), body), ("/dest/_mget", json!({"docs": [{"_id": "a"}, {"_id": "b", "routing": "r"}]})));
    assert_eq!(client.versions_of("dest", &[]).await.unwrap(), [], "the engines refuse to look nothing up");

    let failed = json!({"docs": [{"_id": "a", "error": {"type": "no_shard_available_action_exception"}}]});
    let (_server, client) = answering(200, &failed).await;
    let error = client.versions_of("dest", &wanted[..1]).await.unwrap_err();
    assert_eq!(error.kind(), Some("no_shard_available_action_exception"));
    for unclear in [json!({"docs": []}), json!({"docs": [{"_id": "a", "found": true, "_version": 1}]})] {
        let (_server, client) = answering(200, &unclear).await;
        assert!(client.versions_of("dest", &wanted[..1]).await.is_err(), "{unclear}");
    }
}

#[tokio::test]
async fn a_document_is_deleted_as_it_was_seen_or_stays() {
    let seen = Held { id: "b/c".into(), routing: Some("r".into()), version: 3, write: (7, 2) };
    let (server, client) = answering(200, &json!({"result": "deleted"})).await;
    client.delete_document("dest", &seen).await.unwrap();
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("DELETE", "/dest/_doc/b%2Fc"));
    assert_eq!(request.url.query(), Some("if_seq_no=7&if_primary_term=2&routing=r"));

    for (status, body) in [
        (404, json!({"result": "not_found"})),
        (409, json!({"error": {"type": "version_conflict_engine_exception", "reason": "required seqNo [7]"}})),
    ] {
        let (_server, client) = answering(status, &body).await;
        client.delete_document("dest", &seen).await.unwrap();
    }
    let (_server, client) = answering(403, &json!({"error": {"type": "cluster_block_exception"}})).await;
    assert!(client.delete_document("dest", &seen).await.is_err());
}
