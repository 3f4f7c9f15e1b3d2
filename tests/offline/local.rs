//! The operator without Kubernetes: its own controllers on its own apiserver, between two engines in this process.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use reindex_operator::{
    api::{
        Reindex,
        reindex_status::{PartitionState, StepName},
    },
    local::{
        self, LocalFault,
        manifests::{ManifestFault, Manifests},
        state::StateFault,
    },
    plan::{
        reindex::owes_cleanup,
        report::{Report, is_finished},
    },
};
use serde_json::{Value, json};

use crate::{
    plugin,
    support::{
        engine::Pace,
        world::{DESTINATION_PASSWORD, NAME, NAMESPACE, SOURCE_PASSWORD, World, partition_state, valid_reindex},
    },
};

/// A folder of this test's own, gone at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("reindex-local-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Manifests for the engines of a world, ready for a run.
pub fn manifests(world: &World, change: impl FnOnce(&mut Value)) -> Manifests {
    let text = written(world, change);
    Manifests::read(&[("all.yaml".into(), text)], "default").unwrap().without_kubernetes().unwrap()
}

/// The same as a person would write them.
fn written(world: &World, change: impl FnOnce(&mut Value)) -> String {
    let cluster = |name: &str, url: String| {
        json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"endpoint": url, "auth": {"basic": {"secretRef": {"name": format!("{name}-elastic")}}},
                     "provider": {"statefulSets": [{"name": name, "configMap": {"name": name}}]}, "allowlist": {"management": "Automatic"}},
        })
    };
    let secret = |name: &str, password: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": {"password": password}});
    let mut reindex = valid_reindex();
    change(&mut reindex);
    let documents = [
        cluster("es-1", world.destination.url()),
        cluster("es-2", world.source.url()),
        secret("es-1-elastic", DESTINATION_PASSWORD),
        secret("es-2-elastic", SOURCE_PASSWORD),
        reindex,
    ];
    documents.iter().map(|document| format!("---\n{document}\n")).collect()
}

/// The plugin itself, with `arguments` for these manifests, to its end.
async fn program(folder: &Folder, manifests: &str, arguments: &[&str]) -> Output {
    let mut command = command(folder, manifests, arguments);
    plugin::ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).await
}

/// The same, not yet begun.
fn command(folder: &Folder, manifests: &str, arguments: &[&str]) -> Command {
    let (file, state) = (folder.0.join("all.yaml"), folder.state());
    std::fs::write(&file, manifests).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-reindex"));
    command.args(arguments).args(["--local", "--filename"]).arg(&file).env_remove("KUBECONFIG");
    if arguments.contains(&"run") {
        command.arg("--state").arg(&state);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs them until the Reindex is as wanted.
pub async fn run_until(manifests: Manifests, state: &Folder, wanted: impl Fn(&Reindex) -> bool) -> Reindex {
    let client = local::serve(manifests, Some(&state.state())).expect("served").client(NAMESPACE);
    let api: Api<Reindex> = Api::namespaced(client.clone(), NAMESPACE);
    let found =
        kube::runtime::wait::await_condition(api, NAME, |reindex: Option<&Reindex>| reindex.is_some_and(&wanted));
    let found = tokio::select! {
        found = tokio::time::timeout(std::time::Duration::from_secs(60), found) => found,
        () = local::operate(client) => panic!("the operator ended"),
    };
    found.expect("in time").expect("watched").expect("still there")
}

pub fn ended(reindex: &Reindex) -> bool {
    reindex.status.as_ref().is_some_and(is_finished)
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_run_to_their_end_and_the_state_holds_no_secret() {
    let (world, folder) = (World::new().await, Folder::new("end"));
    let manifests = manifests(&world, |_| {});
    assert_eq!(manifests.notes.len(), 2, "both would be restarted: {:?}", manifests.notes);
    let copied = run_until(manifests, &folder, ended).await;
    assert_eq!(copied.status.unwrap().progress.unwrap().documents_copied, 6);
    assert_eq!(world.destination.state().index("dest").documents.len(), 6);
    let state = std::fs::read_to_string(folder.state()).unwrap();
    assert!(state.contains("Complete"));
    for secret in [SOURCE_PASSWORD, DESTINATION_PASSWORD] {
        assert!(!state.contains(secret) && !state.contains(&base64_of(secret)), "a secret is in the state file");
    }
}

fn base64_of(text: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_goes_on_where_it_was() {
    let (world, folder) = (World::new().await, Folder::new("killed"));
    let runs = |reindex: &Reindex| partition_state(reindex) == Some(PartitionState::Running);
    let first = run_until(manifests(&world, |_| {}), &folder, runs).await;
    let second = run_until(manifests(&world, |_| {}), &folder, ended).await;
    assert_eq!(first.metadata.uid, second.metadata.uid);
    assert_eq!(world.destination.state().tasks.len(), 1, "the task of the first run was adopted");
    assert_eq!(world.destination.state().index("dest").documents.len(), 6);
}

#[tokio::test]
async fn what_was_begun_can_only_go_on_as_it_was() {
    let (world, folder) = (World::new().await, Folder::new("other"));
    drop(local::serve(manifests(&world, |_| {}), Some(&folder.state())).expect("served"));
    let changed = manifests(&world, |reindex| reindex["spec"]["source"]["index"] = json!("another"));
    let refused = local::serve(changed, Some(&folder.state())).err().unwrap().to_string();
    assert!(refused.contains("spec: source can't change"), "{refused}");
    let other = manifests(&world, |reindex| reindex["metadata"]["name"] = json!("other"));
    let refused = local::serve(other, Some(&folder.state())).err().unwrap();
    assert!(matches!(&refused, LocalFault::Other { what, .. } if what == "Reindex search/product-info"), "{refused}");
}

#[tokio::test]
async fn two_runs_never_share_a_state() {
    let (world, folder) = (World::new().await, Folder::new("shared"));
    let first = local::serve(manifests(&world, |_| {}), Some(&folder.state())).expect("served");
    let second = local::serve(manifests(&world, |_| {}), Some(&folder.state())).err().unwrap();
    assert!(matches!(second, LocalFault::State(StateFault::Used(_))), "{second}");
    drop(first);
    local::serve(manifests(&world, |_| {}), Some(&folder.state())).expect("it is free again");
}

#[tokio::test]
async fn a_mistake_is_told_with_its_field_and_nothing_is_begun() {
    let (world, folder) = (World::new().await, Folder::new("mistake"));
    for (field, value, told) in [
        ("source", json!({"clusterRef": {"name": "es-2"}, "index": "a,b"}), "spec.source.index: "),
        ("sources", json!({}), "spec.sources: no such field"),
        ("destination", json!({"index": "dest"}), "spec.destination.clusterRef: is missing"),
        ("suspend", json!("yes"), "spec.suspend: "),
    ] {
        let mistaken = manifests(&world, |reindex| reindex["spec"][field] = value);
        let refused = local::serve(mistaken, Some(&folder.state())).err().unwrap().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    assert_eq!(world.faults.journal(), []);
}

#[test]
fn manifests_that_make_no_run_say_why() {
    let read = |text: &str| Manifests::read(&[("f.yaml".into(), text.to_owned())], "default");
    let ready = |text: &str| read(text).and_then(Manifests::without_kubernetes).unwrap_err().to_string();
    let reindex = "apiVersion: reindex.dev/v1alpha1\nkind: Reindex\nmetadata: {name: a}\nspec: {}\n";
    assert!(matches!(read("kind: [").unwrap_err(), ManifestFault::NotYaml { .. }));
    assert_eq!(read("").unwrap_err().to_string(), "there is no Reindex in f.yaml");
    assert_eq!(read("---\n---\nkind: Pod\n").unwrap_err().to_string(), "f.yaml, document 1: metadata.name is missing");
    assert_eq!(read(&format!("{reindex}---\n{reindex}")).unwrap_err().to_string(), "Reindex a is given twice");
    assert!(read(&reindex.replace("v1alpha1", "v2")).unwrap_err().to_string().contains("write reindex.dev/v1alpha1"));
    let cluster = "apiVersion: reindex.dev/v1alpha1\nkind: SearchCluster\nmetadata: {name: b}\nspec: {provider: {eck: {name: b}}}\n";
    assert!(ready(&format!("{reindex}---\n{cluster}")).starts_with("SearchCluster b: spec.endpoint is missing"));
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: '???'}\n";
    assert!(ready(&format!("{reindex}---\n{secret}")).starts_with("Secret s: data.password is no base64"));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    let notes = read(&format!("{reindex}---\n{pod}")).unwrap().without_kubernetes().unwrap().notes;
    assert_eq!(notes, ["Pod p is not needed for a run without Kubernetes, and left out"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_of_a_run_says_how_it_ended() {
    let (world, folder) = (World::new().await, Folder::new("complete"));
    let output = program(&folder, &written(&world, |_| {}), &["run"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Complete 100 % (6 of 6)"), "{output:?}");

    let (world, folder) = (World::new().await, Folder::new("failed"));
    world.destination.state().create("dest", &Value::Null);
    let output = program(&folder, &written(&world, |_| {}), &["run"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("DestinationExists"), "{output:?}");

    let folder = Folder::new("mistaken");
    let mistaken = written(&world, |reindex| reindex["spec"]["sources"] = json!({}));
    let output = program(&folder, &mistaken, &["run"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("spec.sources: no such field"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_shall_not_wait_for_a_person_ends_where_one_must_act() {
    let (world, folder) = (World::new().await, Folder::new("not-allowed"));
    world.destination.state().allowlist.clear();
    let output = program(&folder, &written(&world, |_| {}), &["run", "--exit-when-stalled"]).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let shown = String::from_utf8_lossy(&output.stdout);
    let line = format!("reindex.remote.whitelist: [\"{}\"]", world.source.host_port());
    assert!(shown.contains("WaitingForPerson: ") && shown.contains(&line), "{shown}");

    let (world, folder) = (World::new().await, Folder::new("wrong-password"));
    world.destination.state().password = Some("another".into());
    let output = program(&folder, &written(&world, |_| {}), &["run", "--exit-when-stalled"]).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("AuthenticationFailed: "), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_begin_suspended_is_planned_all_the_same() {
    let (world, folder) = (World::new().await, Folder::new("suspended"));
    let suspended = written(&world, |reindex| reindex["spec"]["suspend"] = json!(true));
    let output = program(&folder, &suspended, &["plan"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("copy: 6 documents"), "{output:?}");
}

/// Three ranges, two at once, into an index that is tuned meanwhile.
fn three_ranges(reindex: &mut Value) {
    reindex["spec"]["execution"] = json!({"partitions": 3, "parallelism": 2});
}

/// Nothing of a copy is left on the destination but the documents.
fn assert_put_back(world: &World, output: &Output) {
    let mut destination = world.destination.state();
    assert_eq!(destination.running(), 0, "a task runs on: {output:?}");
    let dest = destination.index("dest");
    let log: Vec<_> = dest.settings_log.iter().map(|settings| settings["number_of_replicas"].clone()).collect();
    assert_eq!(log, ["0", "1"], "{output:?}");
    assert_eq!(dest.settings["refresh_interval"], Value::Null, "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_copy_failed_ends_when_all_is_put_back() {
    let (world, folder) = (World::new().await, Folder::new("document-failures"));
    {
        let mut source = world.source.state();
        let index = source.index("product_info");
        // All but C are numbers. It comes early, so that another range is being copied when it is refused.
        for letter in ["A", "B", "D", "E", "F"] {
            index.put(letter, json!({"annual_rate": "3.1"}));
        }
        for number in 0..18 {
            index.put(&format!("later-{number}"), json!({"annual_rate": "3.1"}));
        }
        index.refresh();
    }
    world.destination.state().pace = Pace::PerPoll(1);
    let manifests = written(&world, |reindex| {
        three_ranges(reindex);
        let rate = json!({"dynamic": false, "properties": {"annual_rate": {"type": "float"}}});
        reindex["spec"]["destination"]["mappings"] = rate;
        reindex["spec"]["acceptWarnings"] = json!(["FieldsNotIndexed"]);
    });
    let output = program(&folder, &manifests, &["run"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("DocumentFailures: "), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("not everything is put back"), "{output:?}");
    assert!(world.destination.state().most_at_once > 1, "another range was being copied");
    assert_put_back(&world, &output);
}

/// What a run leaves that is killed when it has just written that its copy failed: two tasks, and an index that is tuned.
async fn killed_at_its_failure(world: &World, folder: &Folder) {
    world.destination.state().pace = Pace::PerPoll(0);
    let runs = |reindex: &Reindex| partition_state(reindex) == Some(PartitionState::Running);
    let copying = run_until(manifests(world, three_ranges), folder, runs).await;
    let mut report = Report::new(copying.status.as_ref(), 1, Timestamp::now());
    report.failed(StepName::Copy, "DeadlineExceeded", "it took too long");
    assert!(owes_cleanup(&report.status) && report.status.tuning.is_some());
    let mut objects: Value = serde_json::from_slice(&std::fs::read(folder.state()).unwrap()).unwrap();
    let reindex = objects.as_array_mut().unwrap().iter_mut().find(|object| object["kind"] == "Reindex").unwrap();
    reindex["status"] = serde_json::to_value(&report.status).unwrap();
    std::fs::write(folder.state(), objects.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_copy_of_a_run_that_was_killed_is_put_back_by_the_next() {
    let (world, folder) = (World::new().await, Folder::new("killed-at-its-failure"));
    killed_at_its_failure(&world, &folder).await;
    let output = program(&folder, &written(&world, three_ranges), &["run"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_put_back(&world, &output);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_before_all_is_put_back_says_what_is_left() {
    let (world, folder) = (World::new().await, Folder::new("left"));
    killed_at_its_failure(&world, &folder).await;
    world.destination.state().password = Some("another".into());
    let (out, err) = (folder.0.join("out"), folder.0.join("err"));
    let mut command = command(&folder, &written(&world, three_ranges), &["run"]);
    let file = |path| std::fs::File::create(path).unwrap();
    let program = command.stdout(file(&out)).stderr(file(&err)).spawn().unwrap();
    let interrupt = || Command::new("kill").args(["-INT", &program.id().to_string()]).status().expect("kill runs");
    // What it says of itself comes after it has begun to listen.
    for (said, part) in [(&out, "DeadlineExceeded"), (&err, "once more to leave them running")] {
        let begun = std::time::Instant::now();
        while !std::fs::read_to_string(said).unwrap().contains(part) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it says {part:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(interrupt().success());
    }
    assert_eq!(plugin::ended(program).await.status.code(), Some(4));
    let said = std::fs::read_to_string(&err).unwrap();
    let left = "Reindex search/product-info has ended, but not everything is put back: a task of it may still run on the destination; \
                put back on index dest: number_of_replicas 1, refresh_interval null, gc_deletes null. The same command tries again\n";
    assert!(said.ends_with(left), "{said}");
}
