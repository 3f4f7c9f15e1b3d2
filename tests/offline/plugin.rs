//! The plugin of kubectl as a program, before an apiserver that is told what to answer.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path, query_param},
};

const PODS: &str = "/api/v1/namespaces/reindex-system/pods";
const REINDEXES: &str = "/apis/reindex.dev/v1alpha1/namespaces/search/reindexes";
const CLUSTER: &str = "/apis/reindex.dev/v1alpha1/namespaces/search/searchclusters/es-1";

/// The longest that the program may take before it counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it to its end, with this as its standard output.
async fn run(server: &MockServer, arguments: &[&str], output: Stdio) -> Output {
    ended(begun(server, arguments, output)).await
}

/// What the program came to. One that hangs is killed.
pub async fn ended(mut program: Child) -> Output {
    let begun = Instant::now();
    while program.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            program.kill().unwrap();
            panic!("it goes on: {:?}", program.wait_with_output().unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    program.wait_with_output().unwrap()
}

/// Begins it.
fn begun(server: &MockServer, arguments: &[&str], output: Stdio) -> Child {
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
    command.spawn().unwrap()
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
    answer(&server, "GET", &format!("{REINDEXES}/a"), 200, reindex("a", json!({}))).await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = run(&server, &["cancel", "a", "--yes"], writer.into()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).starts_with("failed to write: "), "{output:?}");
}

fn reindex(name: &str, status: Value) -> Value {
    json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
        "metadata": {"name": name, "namespace": "search", "resourceVersion": "1", "uid": "shown"},
        "spec": {"source": {"clusterRef": {"name": "b"}, "index": "c"}, "destination": {"clusterRef": {"name": "d"}, "index": "e"}},
        "status": status,
    })
}

fn conditions(conditions: &[(&str, &str, &str)]) -> Value {
    let of = |(type_, status, reason): &(&str, &str, &str)| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": format!("{reason} in words"),
            "lastTransitionTime": "2026-11-25T12:00:00Z",
        })
    };
    json!({"conditions": conditions.iter().map(of).collect::<Vec<_>>()})
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "ReindexList", "metadata": {"resourceVersion": "1"}, "items": items})
}

fn refusal(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": message})
}

async fn answer(server: &MockServer, verb: &str, at: &str, code: u16, body: Value) {
    let answer = ResponseTemplate::new(code).set_body_json(body);
    Mock::given(method(verb)).and(path(at)).respond_with(answer).mount(server).await;
}

/// Method, path and body of every request that changes something.
async fn said(server: &MockServer) -> Vec<(String, String, Value)> {
    let requests = server.received_requests().await.unwrap();
    let changes = requests.into_iter().filter(|request| request.method.as_str() != "GET");
    let of = |request: Request| {
        let body = serde_json::from_slice(&request.body).unwrap_or_default();
        (request.method.to_string(), request.url.path().to_owned(), body)
    };
    changes.map(of).collect()
}

/// An apiserver with Reindex `a` in this state.
async fn with_status(status: Value) -> MockServer {
    let server = MockServer::start().await;
    answer(&server, "GET", &format!("{REINDEXES}/a"), 200, reindex("a", status.clone())).await;
    answer(&server, "GET", REINDEXES, 200, list(&[reindex("a", status)])).await;
    server
}

#[tokio::test]
async fn a_watch_that_shall_not_wait_for_a_person_ends_where_one_must_act() {
    for conditions in [
        conditions(&[("Ready", "False", "NotAllowed"), ("Stalled", "True", "NotAllowed")]),
        conditions(&[("Ready", "Unknown", "WaitingForPerson"), ("Reconciling", "True", "WaitingForPerson")]),
    ] {
        let server = with_status(conditions.clone()).await;
        let output = run(&server, &["watch", "a", "--exit-when-stalled"], Stdio::piped()).await;
        assert_eq!(output.status.code(), Some(4), "{conditions}: {output:?}");
        assert!(text(&output.stdout).contains("in words"), "{output:?}");
    }
}

#[tokio::test]
async fn a_watch_of_several_ends_as_soon_as_one_waits_for_a_person() {
    let stalled = conditions(&[("Ready", "False", "NotAllowed"), ("Stalled", "True", "NotAllowed")]);
    let copying = conditions(&[("Ready", "Unknown", "Copying"), ("Reconciling", "True", "Copying")]);
    let failed = conditions(&[("Failed", "True", "DocumentFailures")]);
    for (other, code) in [(copying, 4), (failed, 1)] {
        let server = MockServer::start().await;
        let watch = Mock::given(path(REINDEXES)).and(query_param("watch", "true"));
        watch.respond_with(ResponseTemplate::new(200).set_delay(2 * PATIENCE)).with_priority(1).mount(&server).await;
        for (name, status) in [("a", &other), ("b", &stalled)] {
            let object = reindex(name, status.clone());
            answer(&server, "GET", &format!("{REINDEXES}/{name}"), 200, object.clone()).await;
            let named = query_param("fieldSelector", format!("metadata.name={name}"));
            let listed = ResponseTemplate::new(200).set_body_json(list(&[object]));
            Mock::given(path(REINDEXES)).and(named).respond_with(listed).mount(&server).await;
        }
        let output = run(&server, &["watch", "a", "b", "--exit-when-stalled"], Stdio::piped()).await;
        assert_eq!(output.status.code(), Some(code), "{other}: {output:?}");
        assert!(text(&output.stdout).contains("search/b: Validating: NotAllowed: "), "{output:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_reindex_is_the_exit_code_of_its_watch() {
    for (condition, code) in [("Complete", 0), ("Planned", 0), ("Failed", 1)] {
        let server = with_status(conditions(&[(condition, "True", condition)])).await;
        let output = run(&server, &["watch", "a"], Stdio::piped()).await;
        assert_eq!(output.status.code(), Some(code), "{condition}: {output:?}");
    }
}

#[tokio::test]
async fn a_watch_that_is_refused_ends_and_says_why() {
    for (code, reason) in [(401, "Unauthorized"), (403, "Forbidden")] {
        let server = MockServer::start().await;
        answer(&server, "GET", &format!("{REINDEXES}/a"), 200, reindex("a", json!({}))).await;
        answer(&server, "GET", REINDEXES, code, refusal(code, reason, "you may not list reindexes")).await;
        let output = run(&server, &["watch", "a"], Stdio::piped()).await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("failed to watch: ") && said.contains("you may not list reindexes"), "{said}");
    }
}

#[tokio::test]
async fn a_watch_that_breaks_off_says_so_and_goes_on() {
    let server = MockServer::start().await;
    answer(&server, "GET", &format!("{REINDEXES}/a"), 200, reindex("a", json!({}))).await;
    let broken = ResponseTemplate::new(500).set_body_json(refusal(500, "InternalError", "etcd has no leader"));
    Mock::given(path(REINDEXES)).respond_with(broken).up_to_n_times(2).mount(&server).await;
    let complete = reindex("a", conditions(&[("Complete", "True", "Complete")]));
    answer(&server, "GET", REINDEXES, 200, list(&[complete])).await;
    let output = run(&server, &["watch", "a"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.starts_with("the watch broke off and is begun anew: ") && said.contains("no leader"), "{said}");
    assert_eq!(said.lines().count(), 1, "the same is said once: {said}");
}

#[tokio::test]
async fn all_namespaces_are_listed_with_their_names() {
    let server = MockServer::start().await;
    let mut other = reindex(
        "b",
        json!({"phase": "Copying", "progress": {"documentsTotal": 8, "documentsCopied": 4, "percent": 50}}),
    );
    other["metadata"]["namespace"] = json!("shop");
    let all = list(&[other, reindex("a", json!({}))]);
    answer(&server, "GET", "/apis/reindex.dev/v1alpha1/reindexes", 200, all).await;
    let output = run(&server, &["list", "-A"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "PHASE", "PROGRESS", "DOCUMENTS", "SOURCE", "DESTINATION"]);
    assert_eq!(rows[1], ["search", "a", "Validating", "–", "–", "b/c", "d/e"]);
    assert_eq!(rows[2], ["shop", "b", "Copying", "50", "%", "4", "b/c", "d/e"]);
}

/// An apiserver with a SearchCluster that proposes the change `change-1`, with this as its `allowlist`; its condition is about something
/// else.
async fn proposing(allowlist: Value) -> MockServer {
    let server = MockServer::start().await;
    let mut status = conditions(&[("AllowlistReady", "False", "CopiesRunning")]);
    status["allowlist"] = json!({"key": "reindex.remote.whitelist", "batch": {
        "id": "change-1", "entries": ["es-2:9200", "es-3:9200"], "removes": ["es-\u{1b}[2J4:9200"], "phase": "Proposed", "generation": 1,
        "startedAt": "2026-11-25T12:00:00Z",
        "nodes": [{"pod": "es-1-0", "name": "n", "id": "i", "podUID": "u", "state": "Pending"}],
    }});
    let cluster = json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "es-1", "namespace": "search"},
        "spec": {"endpoint": "https://es-1:9200", "allowlist": allowlist}, "status": status,
    });
    answer(&server, "GET", CLUSTER, 200, cluster.clone()).await;
    answer(&server, "PATCH", CLUSTER, 200, cluster).await;
    server
}

#[tokio::test]
async fn an_approval_names_the_change_that_was_shown() {
    let server = proposing(json!({"management": "Approval"})).await;
    let output = run(&server, &["approve", "es-1", "--yes"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let wanted = "SearchCluster search/es-1, change change-1 of reindex.remote.whitelist\n  adds       es-2:9200\n  adds       es-3:9200\n  \
                  takes out  es- [2J4:9200\n  restarts   pod es-1-0\napproved: SearchCluster es-1 begins with it in a moment\n";
    assert_eq!(text(&output.stdout), wanted);
    let approval = json!({"metadata": {"annotations": {"reindex.dev/approve-allowlist": "change-1"}}});
    assert_eq!(said(&server).await, [("PATCH".to_owned(), CLUSTER.to_owned(), approval)]);
}

#[tokio::test]
async fn an_approval_says_that_the_change_begins_in_its_window() {
    let window = json!({"schedule": "0 2 * * 6", "duration": "4h"});
    let server = proposing(json!({"management": "Approval", "window": window})).await;
    let output = run(&server, &["approve", "es-1", "--yes"], Stdio::piped()).await;
    let shown = text(&output.stdout);
    assert!(shown.contains("  begins     in the maintenance window (0 2 * * 6, UTC, for 4h), which "), "{shown}");
    assert!(shown.ends_with("approved: SearchCluster es-1 begins with it in its maintenance window\n"), "{shown}");
}

#[tokio::test]
async fn what_waits_for_no_approval_is_not_approved_of() {
    for management in ["Verify", "Automatic"] {
        let server = proposing(json!({"management": management})).await;
        let output = run(&server, &["approve", "es-1", "--yes"], Stdio::piped()).await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let says = format!(
            "SearchCluster es-1 waits for no approval: its allowlist.management is {management}, not Approval; its condition AllowlistReady says: CopiesRunning in words\n"
        );
        assert_eq!(text(&output.stderr), says);
        assert_eq!(said(&server).await, []);
    }
}

#[tokio::test]
async fn what_nobody_says_yes_to_is_not_approved_of() {
    let server = proposing(json!({"management": "Approval"})).await;
    let output = run(&server, &["approve", "es-1"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(said(&server).await, []);
}

#[tokio::test]
async fn a_cancelled_copy_is_ended_though_it_was_to_be_left_running() {
    let at = format!("{REINDEXES}/a");
    let patch = json!({"metadata": {"uid": "shown"}, "spec": {"deletionPolicy": "Cancel"}});
    for (policy, wanted) in [("Orphan", vec![patch]), ("Cancel", vec![])] {
        let server = MockServer::start().await;
        let mut copying = reindex("a", json!({"phase": "Copying"}));
        copying["spec"]["deletionPolicy"] = json!(policy);
        for verb in ["GET", "PATCH", "DELETE"] {
            answer(&server, verb, &at, 200, copying.clone()).await;
        }
        let output = run(&server, &["cancel", "a", "--yes"], Stdio::piped()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = said(&server).await;
        let patches: Vec<_> = said.iter().filter(|(verb, ..)| verb == "PATCH").map(|(.., body)| body.clone()).collect();
        assert_eq!(patches, wanted);
        let Some((verb, _, body)) = said.last() else { panic!("nothing was said") };
        assert_eq!((verb.as_str(), &body["preconditions"]), ("DELETE", &json!({"uid": "shown"})));
    }
}

#[tokio::test]
async fn an_object_that_was_made_anew_meanwhile_is_not_cancelled() {
    let at = format!("{REINDEXES}/a");
    let of_policy = |policy: &str| {
        let mut object = reindex("a", json!({"phase": "Copying"}));
        object["spec"]["deletionPolicy"] = json!(policy);
        object
    };
    for policy in ["Orphan", "Cancel"] {
        for is_made_anew in [true, false] {
            let server = MockServer::start().await;
            let first = ResponseTemplate::new(200).set_body_json(of_policy(policy));
            let once = Mock::given(method("GET")).and(path(&at)).respond_with(first).up_to_n_times(1).with_priority(1);
            once.mount(&server).await;
            let mut other = of_policy(policy);
            other["metadata"]["uid"] = json!("another");
            let (code, body) = if is_made_anew { (200, other) } else { (404, refusal(404, "NotFound", "not found")) };
            answer(&server, "GET", &at, code, body.clone()).await;
            // As an apiserver does: another UID is a conflict, none is that of whatever is there.
            let differs = refusal(409, "Conflict", "the UID in the precondition differs");
            let answer_to = move |request: &Request| {
                let said: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let uids = [&said["metadata"]["uid"], &said["preconditions"]["uid"]];
                let (code, body) = match is_made_anew && uids.iter().any(|uid| !uid.is_null()) {
                    true => (409, &differs),
                    false => (code, &body),
                };
                ResponseTemplate::new(code).set_body_json(body)
            };
            for verb in ["PATCH", "DELETE"] {
                Mock::given(method(verb)).and(path(&at)).respond_with(answer_to.clone()).mount(&server).await;
            }
            let output = run(&server, &["cancel", "a", "--yes"], Stdio::piped()).await;
            assert_eq!(output.status.code(), Some(3), "{policy}: {output:?}");
            let says = match is_made_anew {
                true => "Reindex a was deleted meanwhile, and another one has its name: that one is left alone\n",
                false => "Reindex a was deleted\n",
            };
            assert_eq!(text(&output.stderr), says, "{policy}");
            assert_eq!(said(&server).await.len(), 1, "{policy}: nothing more is tried");
        }
    }
}

/// A file with a Reindex whose field `pipelines` no cluster knows.
fn manifest(name: &str) -> PathBuf {
    let mut reindex = reindex("a", json!({}));
    reindex["spec"]["pipelines"] = json!("p");
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.yaml", std::process::id()));
    let cluster = json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "b"}});
    fs::write(&path, format!("{reindex}\n---\n{cluster}")).unwrap();
    path
}

#[tokio::test]
async fn a_plan_asks_for_every_field_and_leaves_nothing() {
    let (server, file) = (MockServer::start().await, manifest("plan"));
    let mut planned = reindex("a-plan-1", conditions(&[("Planned", "True", "Planned")]));
    planned["spec"]["dryRun"] = json!(true);
    let created = ResponseTemplate::new(201).set_body_json(planned.clone());
    let strict = query_param("fieldValidation", "Strict");
    Mock::given(method("POST")).and(path(REINDEXES)).and(strict).respond_with(created).mount(&server).await;
    answer(&server, "GET", REINDEXES, 200, list(&[planned.clone()])).await;
    for verb in ["GET", "DELETE"] {
        answer(&server, verb, &format!("{REINDEXES}/a-plan-1"), 200, planned.clone()).await;
    }
    let output = run(&server, &["plan", "-f", file.to_str().unwrap()], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("search/a: b/c to d/e"), "it is told by its own name: {output:?}");
    assert!(text(&output.stderr).contains("note: SearchClusters are those that the cluster has now"), "{output:?}");
    let said = said(&server).await;
    let [(_, _, posted), (verb, at, _)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(posted["spec"]["pipelines"], "p", "{posted}");
    assert_eq!((verb.as_str(), at.as_str()), ("DELETE", format!("{REINDEXES}/a-plan-1").as_str()));
}

#[tokio::test]
async fn a_plan_of_what_the_cluster_does_not_know_is_a_mistake() {
    let (server, file) = (MockServer::start().await, manifest("unknown"));
    let message = "strict decoding error: unknown field \"spec.pipelines\"";
    answer(&server, "POST", REINDEXES, 400, refusal(400, "BadRequest", message)).await;
    let output = run(&server, &["plan", "-f", file.to_str().unwrap()], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("unknown field \"spec.pipelines\""), "{output:?}");
}

#[tokio::test]
async fn a_plan_that_is_terminated_leaves_nothing() {
    let (server, file) = (MockServer::start().await, manifest("terminated"));
    let waiting = reindex("a-plan-1", conditions(&[("Reconciling", "True", "Validating")]));
    answer(&server, "POST", REINDEXES, 201, waiting.clone()).await;
    let nothing_new = ResponseTemplate::new(200).set_delay(2 * PATIENCE);
    let watch = Mock::given(path(REINDEXES)).and(query_param("watch", "true"));
    watch.respond_with(nothing_new).with_priority(1).mount(&server).await;
    answer(&server, "GET", REINDEXES, 200, list(std::slice::from_ref(&waiting))).await;
    answer(&server, "DELETE", &format!("{REINDEXES}/a-plan-1"), 200, waiting).await;
    let program = begun(&server, &["plan", "-f", file.to_str().unwrap()], Stdio::piped());
    let begun = Instant::now();
    while !server.received_requests().await.unwrap().iter().any(|request| request.method.as_str() == "GET") {
        assert!(begun.elapsed() < PATIENCE, "it watches what it created");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = Command::new("kill").args(["-TERM", &program.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = ended(program).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(said(&server).await.last().map(|(verb, ..)| verb.clone()).as_deref(), Some("DELETE"));
}

#[tokio::test]
async fn a_report_that_cannot_be_written_names_its_file() {
    let server = with_status(json!({})).await;
    let output = run(&server, &["report", "a", "-o", "/nowhere/a.html"], Stdio::piped()).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).starts_with("failed to write /nowhere/a.html: "), "{output:?}");
}
