//! Credentials go where they belong, and nowhere else.

use super::*;

fn request(credentials: &Credentials) -> ReindexRequest<'_> {
    ReindexRequest {
        requests_per_second: None,
        remote: RemoteSource { credentials: Some(credentials), ..REMOTE },
        source_index: "a",
        query: None,
        includes: &[],
        excludes: &[],
        batch_size: 1,
        dest_index: "b",
        writing: Writing::default(),
    }
}

#[tokio::test]
async fn an_api_key_goes_along_with_every_request_and_into_no_debug_output() {
    install_crypto();
    let (server, _client) = recorded(ES, "health").await;
    let connection = Connection { credentials: Some(api_key()), ..connection(&server.uri()) };
    let client = SearchClient::connect(&connection).unwrap();
    client.health().await.unwrap();
    assert_eq!(only_request(&server).await.headers["authorization"], "ApiKey aWQtb2Yta2V5OnMzY3JldC1rZXk=");
    for shown in [format!("{connection:?}"), format!("{client:?}"), format!("{:?}", request(&api_key()))] {
        assert!(!shown.contains("s3cret") && !shown.contains("aWQtb2"), "{shown}");
    }
}

#[tokio::test]
async fn a_sources_api_key_is_sent_as_a_header_of_the_remote() {
    let (server, client) = recorded(ES, "reindex-started").await;
    client.start_reindex(&request(&api_key()), "x").await.unwrap();
    let body: Value = serde_json::from_slice(&only_request(&server).await.body).unwrap();
    assert_eq!(
        body["source"]["remote"],
        json!({
            "host": "http://es-2.search.svc:9200",
            "headers": {"Authorization": "ApiKey aWQtb2Yta2V5OnMzY3JldC1rZXk="},
            "socket_timeout": "30s", "connect_timeout": "1s",
        })
    );
}

/// As Elasticsearch documents it from 9.3 on; none of those was to be had.
#[tokio::test]
async fn a_destination_that_has_a_field_for_it_gets_the_api_key_there_and_nowhere_else() {
    for (version, expected) in [("9.2.5", false), ("9.3.0", true), ("10.0.0", true), ("3.8.0", false)] {
        assert_eq!(version.parse::<Version>().unwrap().takes_api_key(), expected, "{version}");
    }
    let (server, client) = recorded(ES, "reindex-started").await;
    let api_key = api_key();
    let remote = RemoteSource { takes_api_key: true, ..request(&api_key).remote };
    client.start_reindex(&ReindexRequest { remote, ..request(&api_key) }, "x").await.unwrap();
    let body: Value = serde_json::from_slice(&only_request(&server).await.body).unwrap();
    let remote = &body["source"]["remote"];
    assert_eq!((&remote["api_key"], &remote["headers"]), (&json!("aWQtb2Yta2V5OnMzY3JldC1rZXk="), &Value::Null));
}

#[tokio::test]
async fn a_reason_that_quotes_what_is_secret_is_withheld() {
    let quoting = "s".repeat(992) + "s3cret-pass";
    for (credentials, reason) in [
        (basic(), "near [\"password\": \"s3cret-pass\"]"),
        (basic(), &quoting),
        (api_key(), "has [Authorization=[ApiKey aWQtb2Yta2V5OnMzY3JldC1rZXk=]]"),
        (api_key(), "the key s3cret-key is not valid"),
    ] {
        for status in [400, 401, 403] {
            let cause = json!({"type": "x_exception", "reason": reason});
            let (_server, client) = answering(status, &json!({"error": cause, "status": status})).await;
            let started = client.start_reindex(&request(&credentials), "x").await.unwrap_err();
            assert!(!format!("{started} {started:?}").contains("s3cre"), "{started:?}");
            assert_eq!(started.kind(), Some("x_exception"));
            let remote = RemoteSource { credentials: Some(&credentials), ..REMOTE };
            let probed = format!("{:?}", client.probe_reindex(&remote, "a", "b").await);
            assert!(!probed.contains("s3cre") && !probed.contains("aWQtb2"), "{probed}");
        }
    }
}
