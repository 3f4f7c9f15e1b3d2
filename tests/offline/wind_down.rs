//! Winding down before an apiserver in memory: whoever asks, and the leader that hears. Its minutes pass by themselves.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use reindex_operator::{
    controller::{
        lease::Candidate,
        wind_down::{Fault, wind_down},
    },
    plan::{lease::DURATION, scope::Scope},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::support::{
    apiserver::ApiServer,
    faults::Faults,
    world::{NAME, NAMESPACE, valid_reindex},
};

const PATIENCE: Duration = Duration::from_secs(240);

fn world() -> (ApiServer, watch::Receiver<bool>, Candidate) {
    let api = ApiServer::new(Arc::new(Faults::default()));
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}));
    let winding_down = watch::Sender::new(false);
    let told = winding_down.subscribe();
    let candidate = Candidate::new(api.client(), "default", "a", watch::Sender::new(false), winding_down);
    (api, told, candidate)
}

fn reindex(partitions: Value) -> Value {
    let mut reindex = valid_reindex();
    reindex["status"] = json!({"conditions": [], "partitions": partitions});
    reindex
}

fn running() -> Value {
    json!([{"id": 0, "attempt": 1, "state": "Running", "task": "node:1", "startedAt": "2026-11-26T12:00:00Z"}])
}

async fn wait(api: &ApiServer) -> Result<(), Fault> {
    wind_down(api.client(), "default", &Scope::default(), PATIENCE).await
}

#[tokio::test(start_paused = true)]
async fn the_leader_hears_of_it_and_whoever_asks_waits_until_nothing_runs() {
    let (api, mut told, mut leader) = world();
    api.apply(reindex(running()));
    leader.elected().await;
    assert!(!*told.borrow());
    // As the controllers would.
    let ends = async {
        told.wait_for(|asked| *asked).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        api.apply(reindex(json!([])));
        Instant::now()
    };
    let waited = async {
        wait(&api).await.expect("nothing is left");
        Instant::now()
    };
    let (ended, waited) = tokio::select! {
        () = leader.deposed() => panic!("nobody else leads"),
        times = async { tokio::join!(ends, waited) } => times,
    };
    assert!(waited >= ended, "it was not waited for");
    // It holds on while the pods go; then no longer.
    assert!(*told.borrow());
    let mut annotated = api.find("leases.coordination.k8s.io", "default", "reindex-operator").unwrap();
    annotated["metadata"]["annotations"]["reindex.dev/winding-down-until"] = json!("2026-01-01T00:00:00Z");
    api.apply(annotated);
    tokio::select! {
        () = leader.deposed() => panic!("nobody else leads"),
        () = sleep(DURATION) => {}
    }
    assert!(!*told.borrow());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_named() {
    let (api, _told, mut leader) = world();
    api.apply(reindex(running()));
    leader.elected().await;
    let fault = tokio::select! {
        () = leader.deposed() => panic!("nobody else leads"),
        fault = wait(&api) => fault.expect_err("it runs"),
    };
    let name = format!("Reindex {NAMESPACE}/{NAME}: its tasks may run");
    assert!(fault.to_string().contains(&name), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_leads_it_is_enough_that_nothing_is_left() {
    let (api, _told, mut leader) = world();
    let begun = Instant::now();
    wait(&api).await.expect("there never was an operator");
    assert!(begun.elapsed() < DURATION);
    // One that was killed may only have been stopped.
    leader.elected().await;
    drop(leader);
    let begun = Instant::now();
    wait(&api).await.expect("there is none any more");
    assert!(begun.elapsed() > DURATION);
    assert!(api.get::<Lease>("default", "reindex-operator").is_some());
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_seen_is_not_taken_for_nothing() {
    let (api, _told, _) = world();
    api.deny("get", "reindexes.reindex.dev");
    let fault = wait(&api).await.expect_err("unknown").to_string();
    assert!(fault.contains("list the Reindexes"), "{fault}");
}
