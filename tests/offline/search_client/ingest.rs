//! Ingest pipelines.

use super::*;

#[tokio::test]
async fn a_pipeline_exists_only_under_exactly_its_name() {
    let (server, client) = recorded(ES, "pipeline").await;
    assert!(client.pipeline_exists("enrich").await.unwrap());
    assert_eq!(only_request(&server).await.url.path(), "/_ingest/pipeline/enrich");
    // A list or a wildcard finds what is meant by another name.
    let (_server, client) = recorded(ES, "pipeline-wildcard").await;
    for name in ["enrich,other", "enr*"] {
        assert!(!client.pipeline_exists(name).await.unwrap(), "{name}");
    }
    let (_server, client) = recorded(ES, "pipeline-not-found").await;
    assert!(!client.pipeline_exists("absent").await.unwrap());
    let (_server, client) = recorded(ES, "pipeline-forbidden").await;
    assert_eq!(client.pipeline_exists("enrich").await.unwrap_err().reason(), "Forbidden");
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
