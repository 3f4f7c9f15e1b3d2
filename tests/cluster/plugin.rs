//! The plugin of kubectl against the real apiserver, piped and in a real terminal.

use std::process::{Command, Output};

use serde_json::{Value, json};
use xtask::kubectl;

use crate::world::*;

const PLUGIN: &str = env!("CARGO_BIN_EXE_kubectl-reindex");

fn plugin(arguments: &[&str]) -> Output {
    Command::new(PLUGIN).args(["--namespace", NAMESPACE]).args(arguments).output().expect("the plugin runs")
}

/// What it shows, which must end well.
pub fn shown(arguments: &[&str]) -> String {
    let output = plugin(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_shown_steered_and_watched_to_its_end() {
    copying_in("steered", 6).await;
    let page = shown(&["status", "steered"]);
    for part in ["cluster-tests/steered: src/many to dst/steered", "✓ Validate", "… Copy", "of 30,000 documents"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    shown(&["suspend", "steered"]);
    wait_for("a pause", || get("reindex", "steered"), |seen| seen["status"]["phase"] == "Suspended");
    assert!(shown(&["list"]).contains("Suspended"));
    shown(&["resume", "steered"]);

    let lines = shown(&["watch", "steered"]);
    let last = lines.lines().last().unwrap_or_default();
    assert!(last.starts_with("Complete 100 % (30,000 of 30,000): copied and counted"), "{lines}");
    assert!(!lines.contains('\u{1b}'), "nothing for terminals stands in a pipe");
    assert_eq!(plugin(&["suspend", "steered"]).status.code(), Some(3), "it has ended");
    let page = shown(&["report", "steered", "-o", "-"]);
    for part in ["<h2>Throughput</h2>", "30,000", "range 5", "Count: Passed"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let logged = shown(&["logs", "steered"]);
    assert!(logged.contains("Suspended: ") && logged.lines().all(|line| line.starts_with("20")), "{logged}");
    let missing = plugin(&["status", "nobody"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no Reindex nobody in namespace cluster-tests"));

    // Its destination is there by now.
    let mut again = reindex("steered-again", "many");
    again["spec"]["destination"]["index"] = "steered".into();
    apply(&again);
    assert_eq!(plugin(&["watch", "steered-again"]).status.code(), Some(1), "it failed");

    copying_in("cancelled-by-a-person", 6).await;
    assert_eq!(plugin(&["cancel", "cancelled-by-a-person"]).status.code(), Some(1), "nobody said yes");
    shown(&["cancel", "cancelled-by-a-person", "--yes"]);
    wait_for("its end", || get("reindex", "cancelled-by-a-person"), serde_json::Value::is_null);
}

/// A real terminal with the plugin in it; it ends with this, whatever happens.
struct Terminal(String);

impl Terminal {
    /// None where there is no tmux.
    fn with(arguments: &str) -> Option<Terminal> {
        if Command::new("tmux").arg("-V").output().is_err() {
            eprintln!("not tried in a terminal: there is no tmux");
            return None;
        }
        let name: String = arguments.chars().filter(char::is_ascii_alphanumeric).collect();
        let terminal = Terminal(format!("reindex-tests-{name}"));
        let kubeconfig = xtask::paths::kubeconfig();
        let command = format!(
            "KUBECONFIG={} LC_ALL=C.UTF-8 {PLUGIN} --namespace {NAMESPACE} {arguments}; echo ended: $?; sleep 600",
            kubeconfig.display()
        );
        terminal.tmux(&["-u", "new-session", "-d", "-x", "80", "-y", "40", &command]);
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.0]).args(arguments).output().expect("tmux runs");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What is on its screen as soon as that has all of these.
    fn shows(&self, parts: &[&str]) -> String {
        let screen = || Value::String(self.tmux(&["capture-pane", "-p", "-J"]));
        let has = |seen: &Value| seen.as_str().is_some_and(|seen| parts.iter().all(|part| seen.contains(part)));
        wait_for(&format!("{parts:?}"), screen, has).as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}

/// What is on the screen after the plugin asked this question in a real terminal and was answered so; None where there is no tmux.
pub fn answered(arguments: &str, question: &str, answer: &str) -> Option<String> {
    let terminal = Terminal::with(arguments)?;
    terminal.shows(&[&format!("{question} [y/N]")]);
    terminal.tmux(&["send-keys", answer, "Enter"]);
    Some(terminal.shows(&["ended: "]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_drawn_over_in_place_and_asked_in() {
    copying_in("in-a-terminal", 6).await;
    let Some(terminal) = Terminal::with("watch in-a-terminal") else { return };
    let midway = terminal.shows(&["█", "… Copy"]);
    assert!(midway.contains("range "), "{midway}");
    let end = terminal.shows(&["ended: 0"]);
    assert!(end.contains("100 %  30,000 of 30,000 documents") && end.contains("✓ Verify"), "{end}");
    assert_eq!(end.matches("cluster-tests/in-a-terminal:").count(), 1, "it is drawn once: {end}");
    for (answer, says, is_there) in [("n", "ended: 1", true), ("y", "cancelled Reindex in-a-terminal", false)] {
        let screen = answered("cancel in-a-terminal", "Cancel it?", answer).expect("a terminal");
        assert!(screen.contains(says), "{screen}");
        let there = |seen: &Value| seen.is_null() != is_there;
        wait_for("what was answered", || get("reindex", "in-a-terminal"), there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_asks_the_operator_and_leaves_nothing() {
    // So that there is something to plan, and the source is allowed.
    copying_in("before-a-plan", 6).await;
    complete("before-a-plan", DOCUMENTS as i64);
    let file = xtask::paths::kubeconfig().with_file_name("planned.yaml");
    let manifest = |index: &str| {
        let mut reindex = reindex("planned", "many");
        reindex["spec"]["destination"]["index"] = index.into();
        std::fs::write(&file, reindex.to_string()).expect("written");
    };
    let path = file.to_str().expect("text");
    manifest("planned");
    let page = shown(&["plan", "-f", path]);
    for part in
        ["cluster-tests/planned: src/many to dst/planned", "no node restarts", "copy: 30,000 documents", "index body:"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    manifest("before-a-plan");
    let refused = plugin(&["plan", "-f", path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("Blocking DestinationExists"));
    let left = kubectl::run(&["get", "reindexes.reindex.dev", "-n", NAMESPACE, "-o", "name"]).expect("listed");
    assert!(!left.contains("planned"), "{left}");
    assert!(!exists(&destination().client().expect("a client"), "planned").await);
}

/// The manifests of both clusters as a machine beside the cluster reaches them, and a Reindex of `index`.
fn for_this_machine(name: &str, index: &str) -> String {
    let cluster = |name: &str| {
        let address = xtask::search::address(NAMESPACE, &format!("{name}-http")).expect("an address");
        let mut cluster = search_cluster(name, name, json!({"endpoint": format!("https://{address}")}));
        cluster["spec"]["tls"]["serverName"] = json!(format!("{name}-http.{NAMESPACE}.svc"));
        cluster["spec"]["remoteEndpoint"] = json!(format!("https://{name}-http.{NAMESPACE}.svc:9200"));
        cluster
    };
    let secrets = ["src-elastic", "src-tls", "dst-elastic", "dst-tls"].map(|name| get("secret", name));
    let mut reindex = reindex(name, index);
    reindex["spec"]["execution"] = json!({"partitions": 6, "parallelism": 1, "requestsPerSecond": 3000});
    let all = [cluster("src"), cluster("dst"), reindex].into_iter().chain(secrets);
    all.map(|object| format!("---\n{object}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_kubernetes_is_interrupted_and_goes_on() {
    // A copy by the operator before it sees to it that the source is there and allowed.
    copying_in("beside-a-local-run", 6).await;
    wait_for("its end", || get("reindex", "beside-a-local-run"), |seen| seen["status"]["phase"] == "Complete");
    let folder = xtask::paths::kubeconfig().with_file_name("local-run");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let (manifest, state) = (folder.join("all.yaml"), folder.join("state.json"));
    std::fs::write(&manifest, for_this_machine("local-run", "many")).expect("written");
    let file = manifest.to_str().expect("text");
    let planned = shown(&["plan", "--local", "-f", file]);
    assert!(planned.contains("copy: 30,000 documents") && planned.contains("no node restarts"), "{planned}");
    let arguments = ["run", "--local", "-f", file, "--state", state.to_str().expect("text")];

    let mut first = Command::new(PLUGIN).args(arguments).env_remove("KUBECONFIG").spawn().expect("the plugin runs");
    let seen = || {
        let text = std::fs::read(&state).unwrap_or_default();
        let objects: Value = serde_json::from_slice(&text).unwrap_or_default();
        objects.as_array().into_iter().flatten().find(|object| object["kind"] == "Reindex").cloned().unwrap_or_default()
    };
    let copied = |seen: &Value| seen["status"]["progress"]["documentsCopied"].as_i64().unwrap_or_default();
    wait_for("some documents", seen, |seen| copied(seen) > 0);
    let interrupted = Command::new("kill").args(["-INT", &first.id().to_string()]).status().expect("kill runs");
    assert!(interrupted.success());
    assert_eq!(first.wait().expect("it ends").code(), Some(4), "it can go on");
    assert_eq!(seen()["status"]["phase"], "Suspended");

    let second = Command::new(PLUGIN).args(arguments).env_remove("KUBECONFIG").output().expect("the plugin runs");
    let lines = String::from_utf8_lossy(&second.stdout);
    assert_eq!(second.status.code(), Some(0), "{lines}");
    assert!(lines.lines().last().unwrap_or_default().starts_with("Complete 100 % (30,000 of 30,000)"), "{lines}");
    assert!(get("reindex", "local-run").is_null(), "Kubernetes has never heard of it");

    std::fs::write(&manifest, for_this_machine("drawn", "many")).expect("written");
    let Some(terminal) = Terminal::with(&format!("run --local -f {file}")) else { return };
    let midway = terminal.shows(&["█", "… Copy"]);
    assert!(midway.contains("range "), "{midway}");
    let end = terminal.shows(&["ended: 0"]);
    assert!(end.contains("100 %  30,000 of 30,000 documents") && end.contains("✓ Verify"), "{end}");
}
