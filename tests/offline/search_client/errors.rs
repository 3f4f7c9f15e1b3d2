//! What an error says and what it keeps to itself; the settings of a cluster.

use super::*;

#[tokio::test]
async fn credentials_go_along_with_every_request_and_into_no_debug_output() {
    let (server, client) = recorded(ES, "health").await;
    client.health().await.unwrap();
    let sent = only_request(&server).await;
    assert_eq!(sent.headers["authorization"], "Basic ZWxhc3RpYzpzM2NyZXQtcGFzcw==");
    assert_eq!(sent.headers["user-agent"], concat!("reindex-operator/", env!("CARGO_PKG_VERSION")));

    let mut connection = connection("https://user:s3cret-pass@es-1.test:9200");
    connection.tls.ca_pem = Some(b"s3cret-pass".to_vec());
    for shown in [format!("{connection:?}"), format!("{client:?}")] {
        assert!(!shown.contains("s3cret") && shown.contains("elastic"), "{shown}");
    }
}

#[tokio::test]
async fn an_answer_is_sorted_by_its_status() {
    for (status, reason, retryable) in [
        (400, "Rejected", false),
        (401, "AuthenticationFailed", false),
        (403, "Forbidden", false),
        (404, "NotFound", false),
        (302, "Redirected", false),
        (408, "Rejected", true),
        (409, "Rejected", true),
        (429, "Overloaded", true),
        (500, "ClusterUnavailable", true),
        (503, "ClusterUnavailable", true),
    ] {
        let (_server, client) = answering(status, &json!("<html>a proxy's page</html>")).await;
        let error = client.health().await.unwrap_err();
        assert_eq!((error.status(), error.reason(), error.is_retryable()), (Some(status), reason, retryable));
        assert_eq!(error.is_unauthorized(), matches!(status, 401 | 403));
        assert_eq!(error.is_conflict(), status == 409);
        assert!(!error.public_message().contains("html") && error.kind().is_none());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = MockServer::start().await;
    let server = MockServer::start().await;
    let redirect = ResponseTemplate::new(307).insert_header("location", format!("{}/", target.uri()).as_str());
    Mock::given(any()).respond_with(redirect).mount(&server).await;
    assert_eq!(client(&server.uri()).info().await.unwrap_err().status(), Some(307));
    assert!(target.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_may_be_shown_is_one_short_line() {
    let reason = format!("line\none\u{202e}\u{1b}[31m {}", "ü".repeat(5000));
    let body = json!({"error": {"type": "x_exception", "reason": reason}, "status": 400});
    let (_server, client) = answering(400, &body).await;
    let shown = client.health().await.unwrap_err().public_message();
    assert!(shown.starts_with("failed with an answer of HTTP status 400 x_exception: line one  [31m ü"), "{shown}");
    assert!(shown.chars().count() == 300 && shown.ends_with('…') && !shown.contains(char::is_control));

    let (_server, client) = answering(400, &json!({"error": "a plain text", "status": 400})).await;
    let error = client.health().await.unwrap_err();
    assert_eq!(error.public_message(), "failed with an answer of HTTP status 400: a plain text");
}

#[tokio::test]
async fn a_connection_that_is_refused_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = client(&format!("http://127.0.0.1:{port}")).info().await.unwrap_err();
    assert!(error.is_unreachable() && error.is_retryable() && !error.is_untrusted(), "{error:?}");
    assert_eq!(error.reason(), "Unreachable");
    assert_eq!(error.public_message(), "failed to connect to the cluster: the connection was refused");
    assert!(!error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn something_that_is_no_search_engine_is_not_understood() {
    for body in [json!("<html>"), json!({"hello": "world"}), json!([])] {
        let (_server, client) = answering(200, &body).await;
        let error = client.info().await.unwrap_err();
        assert!(matches!(error, SearchError::Decode { what: "info", .. }), "{error:?}");
        assert_eq!((error.reason(), error.is_retryable()), ("UnexpectedAnswer", false));
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let (_server, client) = answering(200, &Value::String("x".repeat(33 * 1024 * 1024))).await;
    assert!(matches!(client.info().await, Err(SearchError::ResponseTooLarge { .. })));
}

#[test]
fn an_endpoint_that_cannot_be_used_is_refused() {
    install_crypto();
    for endpoint in
        ["ftp://es:9200", "http://u:p@es:9200", "http://u@es:9200", "http://es:9200/?a=b", "http://es:9200/#a"]
    {
        let error = SearchClient::connect(&connection(endpoint)).unwrap_err();
        assert!(matches!(error, SearchError::InvalidEndpoint { .. }), "{endpoint}: {error:?}");
        assert_eq!((error.reason(), error.is_retryable()), ("InvalidEndpoint", false));
    }
}

#[tokio::test]
async fn the_allocation_setting_is_read_set_and_taken_out() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "cluster-settings-set").await;
        let set = AllocationEnable { persistent: Some("primaries".into()), transient: None };
        assert_eq!(client.allocation_enable().await.unwrap(), set);
        let (_server, client) = recorded(engine, "cluster-settings-unset").await;
        assert_eq!(client.allocation_enable().await.unwrap(), AllocationEnable::default());
        for (value, sent) in [(Some("primaries"), json!("primaries")), (None, Value::Null)] {
            let (server, client) = recorded(engine, "put-cluster-settings").await;
            client.set_allocation_enable(value).await.unwrap();
            let body: Value = serde_json::from_slice(&only_request(&server).await.body).unwrap();
            assert_eq!(body, json!({"persistent": {"cluster.routing.allocation.enable": sent}}));
        }
        let (_server, client) = recorded(engine, "put-cluster-settings-invalid").await;
        assert_eq!(client.set_allocation_enable(Some("some")).await.unwrap_err().status(), Some(400));
    }
}

#[tokio::test]
async fn a_node_gives_up_its_vote_and_gets_it_back() {
    for engine in [ES, OS] {
        let (server, client) = recorded(engine, "voting-exclusion-unknown").await;
        client.add_voting_exclusion("es-1-0").await.unwrap();
        let sent = only_request(&server).await;
        assert_eq!((sent.method.as_str(), sent.url.path()), ("POST", "/_cluster/voting_config_exclusions"));
        assert_eq!(sent.url.query(), Some("node_names=es-1-0&timeout=20s"));
        let (server, client) = recorded(engine, "voting-exclusions-cleared").await;
        client.clear_voting_exclusions().await.unwrap();
        let sent = only_request(&server).await;
        assert_eq!((sent.method.as_str(), sent.url.query()), ("DELETE", Some("wait_for_removal=false")));
    }
}
