//! Two instances of the operator, of which one leads.

use std::{fs, process::Command};

use serde_json::Value;
use xtask::{kubectl, operator};

use crate::world::*;

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

fn leader() -> String {
    let lease = kubectl::get("lease", operator::NAMESPACE, "reindex-operator").expect("kubectl answers");
    lease.expect("a lease")["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
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
    for (name, how) in [("led-by-one-that-stops", "-STOP"), ("led-by-one-that-dies", "-KILL")] {
        let first = leader();
        let old = process(&first);
        copying_in(name, 4).await;
        signal(old, how);
        // One that dies begins anew in its pod, under the same name, and may well lead again.
        if how == "-STOP" {
            wait_for("another leader", || Value::String(leader()), |leader| *leader != first.as_str());
            signal(old, "-CONT");
        }
        complete(name, DOCUMENTS as i64);
        // It exits, and its container begins anew.
        wait_for("the old leader's end", || Value::Bool(operator::processes().contains(&old)), |runs| runs == false);
    }
}

#[test]
fn an_operator_that_is_told_to_end_gives_the_lease_back() {
    let _one = One;
    assert_ne!(leader(), "", "one leads");
    scale(0);
    assert_eq!(leader(), "", "the next one need not wait for the lease to run out");
}
