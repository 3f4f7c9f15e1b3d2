//! Two instances of the operator, of which one leads.

use std::{cell::Cell, fs, process::Command};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use xtask::{kubectl, operator, paths};

use crate::{trouble::Installed, world::*};

/// What docs/install.md promises of a leader that was killed.
const TAKEOVER: SignedDuration = SignedDuration::from_secs(20);

/// How a leader ends that can't give its lease back.
enum End {
    /// It is stopped, and goes on when another leads.
    Stops,
    /// It is killed, and its pod is gone.
    Dies,
}

/// Puts the operator back as the other tests want it, whatever happens.
struct One;

impl Drop for One {
    fn drop(&mut self) {
        scale(1);
    }
}

fn scale(replicas: usize) {
    let replicas_of = format!("--replicas={replicas}");
    kubectl::run(&["scale", "-n", operator::NAMESPACE, "deployment/reindex-operator", &replicas_of]).expect("scaled");
    wait_for("the operators", pods, |pods| {
        let pods = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_ready = |pod: &&Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        pods.len() == replicas && pods.iter().filter(is_ready).count() == replicas
    });
}

fn pods() -> Value {
    let text = kubectl::run(&["get", "pods", "-n", operator::NAMESPACE, "-o", "json"]).expect("the operator's pods");
    serde_json::from_str(&text).expect("JSON")
}

fn lease() -> Value {
    let lease = kubectl::get("lease", operator::NAMESPACE, "reindex-operator").expect("kubectl answers");
    lease.expect("a lease")["spec"].clone()
}

fn holder(lease: &Value) -> &str {
    lease["holderIdentity"].as_str().unwrap_or_default()
}

fn leader() -> String {
    holder(&lease()).to_owned()
}

/// Waits until another than `first` leads, and says by the lease's own times how long nobody did: since it was renewed last.
fn followed(first: &str) -> SignedDuration {
    let time = |lease: &Value, field: &str| lease[field].as_str().unwrap_or_default().parse::<Timestamp>();
    let renewed = Cell::new(None);
    let is_another = |lease: &Value| {
        if holder(lease) == first {
            renewed.set(time(lease, "renewTime").ok());
        }
        !["", first].contains(&holder(lease))
    };
    let taken = wait_for("another leader", lease, is_another);
    let renewed = renewed.get().expect("the first one led");
    time(&taken, "acquireTime").expect("a time").duration_since(renewed)
}

/// The process of a pod.
fn process(pod: &str) -> i32 {
    let uid = kubectl::get("pod", operator::NAMESPACE, pod).unwrap().expect("the pod")["metadata"]["uid"].clone();
    let uid = uid.as_str().expect("a UID").to_owned();
    let is_in = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&uid));
    operator::processes().into_iter().find(is_in).expect("the pod's process")
}

fn signal(process: i32, signal: &str) {
    assert!(Command::new("kill").args([signal, &process.to_string()]).status().expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_or_killed_is_followed_by_another_and_the_copy_goes_on() {
    allowed().await;
    let _one = One;
    scale(2);
    for (name, ends) in [("led-by-one-that-stops", End::Stops), ("led-by-one-that-dies", End::Dies)] {
        let first = leader();
        let old = process(&first);
        copying_in(name, 4).await;
        match ends {
            End::Stops => signal(old, "-STOP"),
            End::Dies => {
                signal(old, "-KILL");
                // Its container would begin anew under the same name, and lead on.
                kill(operator::NAMESPACE, &first);
            }
        }
        let leaderless = followed(&first);
        assert!(leaderless <= TAKEOVER, "nobody led for {leaderless:?}");
        if let End::Stops = ends {
            signal(old, "-CONT");
        }
        complete(name, DOCUMENTS as i64);
        // One that was stopped exits, and its container begins anew.
        wait_for("the old leader's end", || Value::Bool(operator::processes().contains(&old)), |runs| runs == false);
    }
}

/// One that dies may begin anew in its pod, and lead on: nobody has to wait for the lease then.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_in_its_pod_is_followed_by_whoever_comes_first() {
    allowed().await;
    let _one = One;
    scale(2);
    let old = process(&leader());
    copying_in("led-by-one-that-begins-anew", 4).await;
    signal(old, "-KILL");
    complete("led-by-one-that-begins-anew", DOCUMENTS as i64);
    wait_for("the old leader's end", || Value::Bool(operator::processes().contains(&old)), |runs| runs == false);
}

#[test]
fn an_operator_that_is_told_to_end_gives_the_lease_back() {
    let _one = One;
    // The one before may have been told to end just now.
    wait_for("a leader", || Value::String(leader()), |seen| seen != "");
    scale(0);
    assert_eq!(leader(), "", "the next one need not wait for the lease to run out");
}

/// Asks the apiserver to evict a pod, as who drains a node does.
fn evict(pod: &str) -> Result<String, String> {
    let metadata = json!({"name": pod, "namespace": operator::NAMESPACE});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata});
    let file = paths::kubeconfig().with_file_name("eviction.json");
    fs::write(&file, eviction.to_string()).expect("written");
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", operator::NAMESPACE);
    kubectl::run(&["create", "--raw", &path, "-f", file.to_str().expect("text")]).map_err(|error| format!("{error:#}"))
}

#[test]
fn who_drains_nodes_takes_one_of_two_operators_at_a_time() {
    let installed = Installed::now();
    installed.install(&["--set", "replicas=2"]);
    let budget = || {
        let found = kubectl::get("poddisruptionbudget", operator::NAMESPACE, "reindex-operator");
        found.expect("kubectl answers").unwrap_or_default()
    };
    wait_for("the budget", budget, |seen| seen["status"]["disruptionsAllowed"] == 1);
    let seen = pods();
    let names: Vec<_> =
        seen["items"].as_array().into_iter().flatten().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    let [first, second] = names.as_slice() else { panic!("two pods: {names:?}") };
    evict(first).expect("one may go");
    let refused = evict(second).expect_err("the other may not");
    assert!(refused.contains("disruption budget"), "{refused}");
}
