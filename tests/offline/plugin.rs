//! The plugin of kubectl as a program, before an apiserver that is told what to answer.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{path, query_param},
};

const PODS: &str = "/api/v1/namespaces/reindex-system/pods";

/// Runs it, with this as its standard output.
async fn run(server: &MockServer, arguments: &[&str], output: Stdio) -> Output {
    let kubeconfig = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{}", server.address().port()));
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server.uri()}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "search"}}],
    });
    fs::write(&kubeconfig, text.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-reindex"));
    command.args(arguments).env("KUBECONFIG", &kubeconfig).stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.spawn().unwrap().wait_with_output().unwrap());
    let output = output.await.unwrap();
    fs::remove_file(&kubeconfig).unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn line(second: u8, name: &str, message: &str) -> String {
    let line = json!({
        "timestamp": format!("2026-11-25T12:00:{second:02}.5Z"), "level": "INFO", "message": message,
        "kind": "Reindex", "namespace": "search", "name": name, "reason": "Told",
    });
    format!("{line}\n")
}

/// An apiserver with these pods of the operator, each with the answer to who asks for its log.
async fn server(pods: &[(&str, ResponseTemplate)]) -> MockServer {
    let server = MockServer::start().await;
    let items: Vec<_> = pods.iter().map(|(name, _)| json!({"metadata": {"name": name}})).collect();
    let list = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items});
    Mock::given(path(PODS)).respond_with(ResponseTemplate::new(200).set_body_json(list)).mount(&server).await;
    for (name, log) in pods {
        Mock::given(path(format!("{PODS}/{name}/log")))
            .and(query_param("container", "operator"))
            .respond_with(log.clone())
            .mount(&server)
            .await;
    }
    server
}

fn log(lines: &[String]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(lines.concat())
}

/// What the apiserver says of a pod that has not begun.
fn pending() -> ResponseTemplate {
    let message = "container \"operator\" in pod \"pending\" is waiting to start: ContainerCreating";
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "BadRequest", "code": 400, "message": message});
    ResponseTemplate::new(400).set_body_json(status)
}

#[tokio::test]
async fn logs_of_all_pods_are_shown_in_the_order_of_time() {
    let text_line = "2026-11-25T12:00:03.000001Z  INFO reconciling object{object.ref=x}: in words kind=Reindex namespace=\"search\" name=\"a\" uid=\"u\" reason=\"Told\"\n";
    let first = log(&[line(1, "a", "one"), line(2, "b", "another's"), line(4, "a", "four")]);
    let second = log(&[line(2, "a", "two"), text_line.to_owned(), line(5, "a", "five")]);
    let server = server(&[("pending", pending()), ("first", first), ("second", second)]).await;

    let output = run(&server, &["logs", "a"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    let seconds: Vec<_> = shown.lines().map(|line| &line[17..19]).collect();
    assert_eq!(seconds, ["01", "02", "03", "04", "05"], "{shown}");
    let said = text(&output.stderr);
    assert!(said.contains("the log of pod pending can't be read: ") && said.contains("waiting to start"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");

    let output = run(&server, &["logs", "a", "--follow"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 5, "{output:?}");
}

#[tokio::test]
async fn a_log_of_no_pod_is_no_empty_log() {
    let server = server(&[("pending", pending())]).await;
    let output = run(&server, &["logs", "a"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).ends_with("failed to read the log of any pod of the operator\n"), "{output:?}");
}

#[tokio::test]
async fn a_reader_who_has_enough_is_no_fault() {
    let server = server(&[("first", log(&[line(1, "a", "one"), line(2, "a", "two")]))]).await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = run(&server, &["logs", "a"], writer.into()).await;
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(4), ""));
}

#[tokio::test]
async fn what_was_not_said_is_a_fault() {
    let server = MockServer::start().await;
    let reindex = json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "a", "namespace": "search"},
        "spec": {"source": {"clusterRef": {"name": "b"}, "index": "c"}, "destination": {"clusterRef": {"name": "d"}, "index": "e"}},
    });
    Mock::given(path("/apis/reindex.dev/v1alpha1/namespaces/search/reindexes/a"))
        .respond_with(ResponseTemplate::new(200).set_body_json(reindex))
        .mount(&server)
        .await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = run(&server, &["cancel", "a", "--yes"], writer.into()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).starts_with("failed to write: "), "{output:?}");
}
