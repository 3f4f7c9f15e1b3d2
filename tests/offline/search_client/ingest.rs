//! Ingest pipelines.

use super::*;

#[tokio::test]
async fn a_pipeline_exists_only_under_exactly_its_name() {
    let (server, client) = answering(200, &json!({"enrich": {"processors": []}})).await;
    assert!(client.pipeline_exists("enrich").await.unwrap());
    assert_eq!(only_request(&server).await.url.path(), "/_ingest/pipeline/enrich");
    // A list or a wildcard finds what is meant by another name.
    for name in ["enrich,other", "enr*"] {
        assert!(!client.pipeline_exists(name).await.unwrap(), "{name}");
    }
    let (_server, client) = answering(404, &json!({})).await;
    assert!(!client.pipeline_exists("absent").await.unwrap());
    let (_server, client) = answering(403, &json!({"error": {"type": "security_exception"}})).await;
    assert!(client.pipeline_exists("enrich").await.unwrap_err().is_unauthorized());
}

#[tokio::test]
async fn a_name_that_is_a_path_is_never_sent() {
    let (server, client) = answering(200, &json!({})).await;
    for name in ["", ".", "..", "a\nb"] {
        let error = client.pipeline_exists(name).await.unwrap_err();
        assert!(matches!(error, SearchError::InvalidName { .. }), "{name:?}: {error:?}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}
