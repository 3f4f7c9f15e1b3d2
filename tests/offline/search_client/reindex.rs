//! Starting a remote `_reindex`, and probing one.

use super::*;

#[tokio::test]
async fn a_reindex_is_sent_as_the_design_says() {
    let (server, client) = recorded(ES, "reindex-started").await;
    let basic = basic();
    let query = json!({"match": {"productName": "wealth management product"}});
    let request = ReindexRequest {
        requests_per_second: None,
        remote: RemoteSource { credentials: Some(&basic), ..REMOTE },
        source_index: "product_info",
        query: Some(&query),
        includes: &["productName".to_owned()],
        excludes: &[],
        batch_size: 5000,
        dest_index: "dest",
        writing: Writing::default(),
    };
    let task = client.start_reindex(&request, "reindex/u1/0/1").await.unwrap();
    assert_eq!((task.to_string().as_str(), task.node()), ("aJpGRFzqSPeN2fiNL1eU0A:45", "aJpGRFzqSPeN2fiNL1eU0A"));

    let sent = only_request(&server).await;
    assert_eq!((sent.method.as_str(), sent.url.path()), ("POST", "/_reindex"));
    assert_eq!(sent.url.query(), Some("wait_for_completion=false"));
    assert_eq!(sent.headers["x-opaque-id"], "reindex/u1/0/1");
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(
        body,
        json!({
            "conflicts": "proceed",
            "source": {
                "remote": {
                    "host": "http://es-2.search.svc:9200", "username": "elastic", "password": "s3cret-pass",
                    "socket_timeout": "30s", "connect_timeout": "1s",
                },
                "index": "product_info",
                "size": 5000,
                "query": {"match": {"productName": "wealth management product"}},
                "_source": {"includes": ["productName"], "excludes": []},
            },
            "dest": {"index": "dest", "version_type": "external_gte"},
        })
    );
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_in_the_body() {
    let (server, client) = recorded(OS, "reindex-started").await;
    let request = ReindexRequest {
        requests_per_second: None,
        remote: REMOTE,
        source_index: "a",
        query: None,
        includes: &[],
        excludes: &[],
        batch_size: 1000,
        dest_index: "b",
        writing: Writing::default(),
    };
    client.start_reindex(&request, "x").await.unwrap();
    let body: Value = serde_json::from_slice(&only_request(&server).await.body).unwrap();
    let keys: Vec<_> = body["source"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["index", "remote", "size"]);
    assert_eq!(body["source"]["remote"].get("password"), None);
    let error = client.start_reindex(&request, "line\nbreak").await.unwrap_err();
    assert!(matches!(error, SearchError::InvalidArgument { .. }));
}

/// As a node of Elasticsearch 7.17 does: what it is given with a `%` it puts into the source's address as it is.
#[tokio::test]
async fn a_name_that_looks_encoded_names_no_other_index() {
    for (name, expected) in [("a%2A", "a%252A"), ("50%&x", "50%25%26x"), ("a&b=c+d;e@f", "a&b=c+d;e@f")] {
        let (server, client) = recorded(ES, "reindex-started").await;
        let request = ReindexRequest {
            requests_per_second: None,
            remote: REMOTE,
            source_index: name,
            query: None,
            includes: &[],
            excludes: &[],
            batch_size: 1000,
            dest_index: name,
            writing: Writing::default(),
        };
        client.start_reindex(&request, "x").await.unwrap();
        let body: Value = serde_json::from_slice(&only_request(&server).await.body).unwrap();
        assert_eq!((&body["source"]["index"], &body["dest"]["index"]), (&json!(expected), &json!(name)));
    }
}

#[tokio::test]
async fn the_probe_matches_nothing_and_says_what_stands_in_the_way() {
    let unreachable = |words: &str| ProbeVerdict::Unreachable(words.to_owned());
    let rejected = |words: &str| ProbeVerdict::Rejected(words.to_owned());
    for (engine, name, expected) in [
        (ES, "probe-passed", ProbeVerdict::Passed),
        (OS, "probe-passed", ProbeVerdict::Passed),
        (ES, "reindex-not-allowed", ProbeVerdict::NotAllowed),
        (OS, "reindex-not-allowed", ProbeVerdict::NotAllowed),
        (ES, "probe-unauthorized", ProbeVerdict::Unauthorized),
        (OS, "probe-unauthorized", ProbeVerdict::Unauthorized),
        (ES, "probe-unauthorized-api-key", ProbeVerdict::Unauthorized),
        (ES, "probe-untrusted", ProbeVerdict::Untrusted),
        (OS, "probe-untrusted", ProbeVerdict::Untrusted),
        (ES, "probe-refused", unreachable("the connection was refused")),
        (OS, "probe-refused", unreachable("the connection was refused")),
        (ES, "probe-unknown-host", unreachable("its host name could not be resolved")),
        (ES, "probe-silent", unreachable("it did not answer in time")),
        (OS, "probe-silent", unreachable("it did not answer in time")),
        (ES, "probe-plain-to-tls", unreachable("the connection broke")),
        (ES, "probe-source-unavailable", unreachable("it is overloaded or not ready (HTTP status 503)")),
        (ES, "probe-too-many-scrolls", unreachable("it is overloaded or not ready (HTTP status 500)")),
        (ES, "probe-source-index-absent", rejected("HTTP status 404 index_not_found_exception")),
        (OS, "probe-source-index-absent", rejected("HTTP status 404 index_not_found_exception")),
        (ES, "probe-bad-query", rejected("HTTP status 400 parsing_exception")),
    ] {
        let (server, client) = recorded(engine, name).await;
        let verdict = client.probe_reindex(&REMOTE, "product_info", "dest").await.unwrap();
        assert_eq!(verdict, expected, "{engine}/{name}");
        let sent = only_request(&server).await;
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(body["source"]["query"], json!({"match_none": {}}));
        assert_eq!(sent.url.query(), Some("wait_for_completion=true"));
    }
}

#[tokio::test]
async fn a_refusal_by_the_destination_itself_is_an_error_not_a_verdict() {
    for (status, kind) in
        [(401, "security_exception"), (403, "security_exception"), (429, "circuit_breaking_exception")]
    {
        let cause = json!({"type": kind, "reason": "no"});
        let body = json!({"error": {"root_cause": [cause], "type": kind, "reason": "no"}, "status": status});
        let (_server, client) = answering(status, &body).await;
        let error = client.probe_reindex(&REMOTE, "a", "b").await.unwrap_err();
        assert_eq!((error.status(), error.is_unauthorized()), (Some(status), status != 429), "{error:?}");
    }
}

#[tokio::test]
async fn words_of_the_source_do_not_come_through_a_verdict() {
    let quoted =
        json!({"error": {"type": "AKIA-internal secret", "reason": "the metadata"}, "status": 418}).to_string();
    let reason = format!("body={quoted}");
    let body = json!({"error": {
        "type": "status_exception", "reason": reason,
        "caused_by": {"type": "response_exception", "reason": format!("status line [HTTP/1.1 418 x]\n{quoted}")},
    }});
    let (_server, client) = answering(418, &body).await;
    let verdict = client.probe_reindex(&REMOTE, "a", "b").await.unwrap();
    assert_eq!(verdict, ProbeVerdict::Rejected("HTTP status 418".to_owned()));
}

#[tokio::test]
async fn a_shard_of_the_source_that_failed_does_not_pass() {
    let mut body = fixture(ES, "probe-passed")["body"].clone();
    body["failures"] = json!([{"shard": 0, "index": "a", "reason": {"type": "x", "reason": "y"}}]);
    let (_server, client) = answering(200, &body).await;
    assert!(matches!(client.probe_reindex(&REMOTE, "a", "b").await.unwrap(), ProbeVerdict::Rejected(_)));
    let (_server, client) = answering(200, &json!("<html>")).await;
    assert!(matches!(client.probe_reindex(&REMOTE, "a", "b").await.unwrap(), ProbeVerdict::Rejected(_)));
}

#[tokio::test]
async fn a_probe_that_still_runs_is_told_from_a_copy() {
    let mut body = fixture(OS, "tasks-listed")["body"].clone();
    let (_server, client) = answering(200, &body).await;
    assert!(!client.reindex_tasks().await.unwrap()[0].is_probe());

    let (server, client) = recorded(OS, "probe-passed").await;
    client.probe_reindex(&REMOTE, "a", "b").await.unwrap();
    let id = only_request(&server).await.headers["x-opaque-id"].to_str().unwrap().to_owned();
    body["nodes"]["uZeX7hB8TTKSnFfQ8YlzDA"]["tasks"]["uZeX7hB8TTKSnFfQ8YlzDA:183"]["headers"] =
        json!({"X-Opaque-Id": id});
    let (_server, client) = answering(200, &body).await;
    assert!(client.reindex_tasks().await.unwrap()[0].is_probe());
}
