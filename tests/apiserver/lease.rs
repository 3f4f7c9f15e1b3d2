//! Who leads, on the real apiserver.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::SignedDuration,
};
use kube::{Api, Client};
use reindex_operator::{controller::lease::Candidate, plan::lease::DURATION};
use serde_json::json;
use tokio::sync::watch;
use xtask::kubectl;

const NAMESPACE: &str = "lease-tests";
/// What docs/install.md promises.
const TAKEOVER: SignedDuration = SignedDuration::from_secs(20);

fn candidate(client: &Client, name: &str) -> Candidate {
    Candidate::new(client.clone(), NAMESPACE, name, watch::Sender::new(false), watch::Sender::new(false))
}

async fn candidates() -> (Client, Candidate, Candidate) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    kubectl::delete_namespace(NAMESPACE).unwrap();
    kubectl::apply(&[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})]).unwrap();
    let client = Client::try_default().await.unwrap();
    let (a, b) = (candidate(&client, "a"), candidate(&client, "b"));
    (client, a, b)
}

async fn spec(client: &Client) -> LeaseSpec {
    let lease = Api::<Lease>::namespaced(client.clone(), NAMESPACE).get("reindex-operator").await.unwrap();
    lease.spec.unwrap()
}

async fn lease(client: &Client) -> (Option<String>, Option<i32>) {
    let spec = spec(client).await;
    (spec.holder_identity, spec.lease_transitions)
}

async fn waits(candidate: &mut Candidate) -> bool {
    tokio::time::timeout(Duration::from_secs(3), candidate.elected()).await.is_err()
}

#[tokio::test]
async fn one_leads_and_another_only_after_it() {
    let (client, mut a, mut b) = candidates().await;
    a.elected().await;
    assert_eq!(lease(&client).await, (Some("a".into()), Some(0)));
    tokio::select! {
        () = a.deposed() => panic!("nobody else leads"),
        waits = waits(&mut b) => assert!(waits, "two lead"),
    }

    // Given back, it is there for the next one at once.
    a.resign().await;
    b.elected().await;
    assert_eq!(lease(&client).await, (Some("b".into()), Some(1)));

    // A holder that is killed, or stopped, is waited for as long as it promised; one that comes back finds itself deposed.
    let mut c = candidate(&client, "c");
    let killed = Instant::now();
    let renewed = spec(&client).await.renew_time.unwrap();
    c.elected().await;
    assert!(killed.elapsed() >= DURATION, "it took over from one that might still have led");
    let acquired = spec(&client).await.acquire_time.unwrap();
    assert!(acquired.0.duration_since(renewed.0) <= TAKEOVER, "{renewed:?}, {acquired:?}");
    assert_eq!(lease(&client).await, (Some("c".into()), Some(2)));
    let mut stopped = b;
    tokio::select! {
        () = stopped.deposed() => {}
        () = c.deposed() => panic!("the new leader is deposed"),
    }
    assert_eq!(lease(&client).await.0.as_deref(), Some("c"));
    kubectl::delete_namespace(NAMESPACE).unwrap();
}
