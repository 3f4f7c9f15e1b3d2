//! Following, finding and cancelling tasks; what a stored error means.

use super::*;

#[tokio::test]
async fn a_running_task_has_counts_and_no_response() {
    for engine in [ES, OS] {
        let (server, client) = recorded(engine, "task-running").await;
        let task = client.task(&task_id()).await.unwrap().unwrap();
        assert!(!task.completed && task.response.is_none() && task.error.is_none() && task.canceled.is_none());
        assert_eq!((task.status.total, task.status.created, task.status.requests_per_second), (3000, 200, 100.0));
        assert_eq!(only_request(&server).await.url.path(), "/_tasks/aJpGRFzqSPeN2fiNL1eU0A%3A182");
    }
}

#[tokio::test]
async fn a_completed_task_has_a_response_without_failures() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "task-completed").await;
        let task = client.task(&task_id()).await.unwrap().unwrap();
        let response = task.response.unwrap();
        assert!(task.completed && task.error.is_none() && response.failures.is_empty() && !response.timed_out);
        assert_eq!((response.status.total, response.status.created, response.status.batches), (3000, 3000, 6));
        assert!(response.took > 0);
    }
}

#[tokio::test]
async fn documents_that_failed_are_in_the_response_of_a_task_without_error() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "task-document-failures").await;
        let task = client.task(&task_id()).await.unwrap().unwrap();
        let response = task.response.unwrap();
        assert!(task.completed && task.error.is_none());
        assert_eq!((response.status.created, response.failures.len()), (1, 2));
        let failure = &response.failures[0];
        assert_eq!((failure.index.as_str(), failure.id.as_deref(), failure.status), ("bad", Some("1000"), Some(400)));
        assert_eq!(failure.kind, "mapper_parsing_exception");
        assert!(failure.reason.starts_with("failed to parse field [annual_rate]"), "{}", failure.reason);
    }
}

#[tokio::test]
async fn a_shard_that_could_not_be_read_is_a_failure_without_an_id() {
    let mut body = fixture(ES, "task-document-failures")["body"].clone();
    body["response"]["failures"] = json!([
        {"shard": 1, "index": "product_info", "node": "n", "reason": {"type": "x_exception", "reason": "y"}}
    ]);
    let (_server, client) = answering(200, &body).await;
    let response = client.task(&task_id()).await.unwrap().unwrap().response.unwrap();
    let failure = &response.failures[0];
    assert_eq!((failure.id.as_deref(), failure.kind.as_str(), failure.reason.as_str()), (None, "x_exception", "y"));
}

#[tokio::test]
async fn a_cancelled_task_says_so() {
    for engine in [ES, OS] {
        let (_server, client) = recorded(engine, "task-cancelled").await;
        let task = client.task(&task_id()).await.unwrap().unwrap();
        assert_eq!((task.completed, task.canceled.as_deref()), (true, Some("by user request")));
        assert_eq!(task.response.unwrap().canceled.as_deref(), Some("by user request"));
    }
}

#[tokio::test]
async fn an_unknown_task_is_none() {
    for engine in [ES, OS] {
        for name in ["task-unknown", "task-unknown-node"] {
            let (_server, client) = recorded(engine, name).await;
            assert_eq!(client.task(&task_id()).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_stored_error_is_classified_by_type_and_by_what_is_quoted() {
    for (engine, name, expected) in [
        (ES, "task-not-allowed", TaskErrorClass::NotAllowed),
        (OS, "task-not-allowed", TaskErrorClass::NotAllowed),
        (ES, "task-unauthorized", TaskErrorClass::Unauthorized),
        (OS, "task-unauthorized", TaskErrorClass::Unauthorized),
        (ES, "task-source-unavailable", TaskErrorClass::Transient),
        (ES, "task-too-many-scrolls", TaskErrorClass::Overloaded),
        (ES, "task-refused", TaskErrorClass::Unreachable),
        (ES, "task-unknown-host", TaskErrorClass::Unreachable),
        (ES, "task-silent", TaskErrorClass::Unreachable),
        (ES, "task-source-killed", TaskErrorClass::Unreachable),
        (ES, "task-untrusted", TaskErrorClass::Unreachable),
        (ES, "task-plain-to-tls", TaskErrorClass::Unreachable),
        (ES, "task-other-distribution", TaskErrorClass::Permanent),
    ] {
        let (_server, client) = recorded(engine, name).await;
        let task = client.task(&task_id()).await.unwrap().unwrap();
        assert!(task.completed && task.response.is_none());
        assert_eq!(task.error.unwrap().class(), expected, "{engine}/{name}");
    }
}

#[tokio::test]
async fn errors_that_are_documented_but_not_recorded_are_classified_too() {
    let too_large = "Remote responded with a chunk that was too large. Use a smaller batch size.";
    let rejected = "rejected execution of coordinating operation";
    let lost = json!({"error": {"type": "search_phase_execution_exception",
        "root_cause": [{"type": "search_context_missing_exception", "reason": "No search context found"}]}, "status": 404});
    for (error, expected) in [
        (json!({"type": "illegal_argument_exception", "reason": too_large}), TaskErrorClass::ChunkTooLarge),
        (json!({"type": "es_rejected_execution_exception", "reason": rejected}), TaskErrorClass::Overloaded),
        (json!({"type": "status_exception", "reason": format!("body={lost}")}), TaskErrorClass::Transient),
        (json!({"type": "node_closed_exception", "reason": "node closed"}), TaskErrorClass::Transient),
        (
            json!({"type": "status_exception", "reason": r#"body={"error": {"type": "security_exception"}, "status": 403}"#}),
            TaskErrorClass::Forbidden,
        ),
        (
            json!({"type": "illegal_argument_exception",
                "reason": "[a:1] either not whitelisted in reindex.remote.whitelist or blocked in reindex.remote.blocklist"}),
            TaskErrorClass::NotAllowed,
        ),
        (json!({"type": "index_closed_exception", "reason": "closed"}), TaskErrorClass::Permanent),
        (json!({}), TaskErrorClass::Permanent),
    ] {
        let mut body = fixture(ES, "task-not-allowed")["body"].clone();
        body["error"] = error.clone();
        let (_server, client) = answering(200, &body).await;
        let class = client.task(&task_id()).await.unwrap().unwrap().error.unwrap().class();
        assert_eq!(class, expected, "{error}");
    }
}

#[tokio::test]
async fn running_tasks_are_found_by_their_opaque_id() {
    for engine in [ES, OS] {
        let (server, client) = recorded(engine, "tasks-listed").await;
        let tasks = client.reindex_tasks().await.unwrap();
        assert_eq!(tasks.len(), 1);
        assert_eq!(tasks[0].opaque_id.as_deref(), Some("reindex/u1/3/1"));
        assert_eq!(tasks[0].running_time.as_secs(), 2);
        let sent = only_request(&server).await;
        let asked = "actions=*reindex&detailed=true&filter_path=-nodes.*.tasks.*.description";
        assert_eq!((sent.url.path(), sent.url.query()), ("/_tasks", Some(asked)));
        let (_server, client) = recorded(engine, "tasks-none").await;
        assert_eq!(client.reindex_tasks().await.unwrap(), []);
    }
}

#[tokio::test]
async fn children_are_left_out_and_a_silent_node_makes_the_list_an_error() {
    let mut body = fixture(ES, "tasks-listed")["body"].clone();
    body["nodes"]["aJpGRFzqSPeN2fiNL1eU0A"]["tasks"]["aJpGRFzqSPeN2fiNL1eU0A:182"]["parent_task_id"] = json!("n:1");
    let (_server, client) = answering(200, &body).await;
    assert_eq!(client.reindex_tasks().await.unwrap(), []);
    body["node_failures"] = json!([{"type": "failed_node_exception", "reason": "Failed node [x]"}]);
    let (_server, client) = answering(200, &body).await;
    assert!(matches!(client.reindex_tasks().await, Err(SearchError::IncompleteNodes { failed: 1 })));
}

#[tokio::test]
async fn cancelling_what_has_ended_is_fine() {
    for engine in [ES, OS] {
        for name in ["cancel", "cancel-ended", "cancel-unknown", "cancel-unknown-node", "task-unknown"] {
            let (server, client) = recorded(engine, name).await;
            client.cancel_task(&task_id()).await.unwrap();
            let sent = only_request(&server).await;
            assert_eq!(
                (sent.method.as_str(), sent.url.path()),
                ("POST", "/_tasks/aJpGRFzqSPeN2fiNL1eU0A%3A182/_cancel")
            );
        }
    }
    let cause = json!({"type": "receive_timeout_transport_exception", "reason": "late"});
    let failure = json!({"type": "failed_node_exception", "reason": "Failed node [x]", "caused_by": cause});
    let (_server, client) = answering(200, &json!({"node_failures": [failure], "nodes": {}})).await;
    assert!(client.cancel_task(&task_id()).await.unwrap_err().is_retryable());
}

#[test]
fn a_task_id_is_a_node_and_a_number_or_none() {
    for text in ["", ":", "n:", ":1", "n:x", "n/../_all:1", "n:1/_cancel", "n*:1"] {
        assert!(text.parse::<TaskId>().is_err(), "{text}");
    }
    let id: TaskId = serde_json::from_str("\"oTUltX4IQMOUUVeiohTt8A:12345\"").unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), "\"oTUltX4IQMOUUVeiohTt8A:12345\"");
    assert!(serde_json::from_str::<TaskId>("\"_all\"").is_err());
}
