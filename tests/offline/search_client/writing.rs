//! How a `_reindex` is told to write.

use super::*;

/// The whole body of a request that writes like that.
async fn body(writing: Writing<'_>) -> Value {
    let (server, client) = recorded(ES, "reindex-started").await;
    let request = ReindexRequest {
        requests_per_second: None,
        remote: REMOTE,
        source_index: "a",
        query: None,
        includes: &[],
        excludes: &[],
        batch_size: 1000,
        dest_index: "b",
        writing,
    };
    client.start_reindex(&request, "x").await.unwrap();
    serde_json::from_slice(&only_request(&server).await.body).unwrap()
}

fn expected(dest: Value) -> Value {
    let remote = json!({"host": "http://es-2.search.svc:9200", "socket_timeout": "30s", "connect_timeout": "1s"});
    json!({"conflicts": "proceed", "source": {"remote": remote, "index": "a", "size": 1000}, "dest": dest})
}

#[tokio::test]
async fn nothing_that_is_not_asked_for_is_said() {
    assert_eq!(body(Writing::default()).await, expected(json!({"index": "b", "version_type": "external_gte"})));
}

#[tokio::test]
async fn creating_only_has_no_external_versions_and_goes_on_over_conflicts() {
    let writing = Writing { create_only: true, ..Writing::default() };
    assert_eq!(body(writing).await, expected(json!({"index": "b", "op_type": "create"})));
}

#[tokio::test]
async fn pipeline_routing_and_script_are_sent_as_the_api_takes_them() {
    let params = json!({"factor": 2, "names": ["a", {"b": null}]});
    let writing = Writing {
        create_only: false,
        pipeline: Some("enrich"),
        routing: Some("=shop"),
        script: Some(Script { source: "ctx._source.n *= params.factor", lang: "painless", params: Some(&params) }),
    };
    let mut whole =
        expected(json!({"index": "b", "version_type": "external_gte", "pipeline": "enrich", "routing": "=shop"}));
    whole["script"] = json!({
        "source": "ctx._source.n *= params.factor", "lang": "painless", "params": {"factor": 2, "names": ["a", {"b": null}]},
    });
    assert_eq!(body(writing).await, whole);
    let script = Some(Script { source: "ctx.op = 'noop'", lang: "expression", params: None });
    let sent = body(Writing { script, routing: Some("discard"), ..Writing::default() }).await;
    assert_eq!(sent["script"], json!({"source": "ctx.op = 'noop'", "lang": "expression"}));
    assert_eq!(sent["dest"]["routing"], "discard");
}
