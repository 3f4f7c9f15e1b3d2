//! Who leads, before an apiserver in memory that may stop answering. Its hours pass by themselves.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Client, client::Body};
use reindex_operator::{
    controller::lease::Candidate,
    plan::lease::{DEADLINE, DURATION, PATIENCE, RETRY},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::support::{apiserver::ApiServer, faults::Faults};

const LEASES: &str = "leases.coordination.k8s.io";
/// What docs/install.md promises of a leader that was killed.
const TAKEOVER: Duration = Duration::from_secs(20);

struct World {
    api: ApiServer,
    /// Whether it takes requests and answers none.
    hangs: Arc<AtomicBool>,
}

impl World {
    fn new() -> World {
        World { api: ApiServer::new(Arc::new(Faults::default())), hangs: Arc::default() }
    }

    fn candidate(&self, name: &str) -> (Candidate, watch::Receiver<bool>) {
        let (client, hangs) = (self.api.client(), self.hangs.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (client, hangs) = (client.clone(), hangs.clone());
            async move {
                match hangs.load(Ordering::Relaxed) {
                    true => pending().await,
                    false => client.send(request).await,
                }
            }
        });
        let in_touch = watch::Sender::new(false);
        let told = in_touch.subscribe();
        (Candidate::new(Client::new(service, "default"), "default", name, in_touch, watch::Sender::new(false)), told)
    }

    fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::Relaxed);
    }

    fn lease(&self) -> LeaseSpec {
        self.api.get::<Lease>("default", "reindex-operator").and_then(|lease| lease.spec).unwrap_or_default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_killed_is_followed_as_soon_as_its_lease_has_run_out() {
    // Whenever it dies, and whenever the next one looks.
    for millis in (0..4000).step_by(500) {
        let world = World::new();
        let ((mut a, _), (mut b, _)) = (world.candidate("a"), world.candidate("b"));
        a.elected().await;
        let took_over = async {
            sleep(Duration::from_millis(700)).await;
            b.elected().await;
            Instant::now()
        };
        let dies = async {
            tokio::select! {
                () = a.deposed() => panic!("nobody else leads"),
                () = sleep(Duration::from_secs(30) + Duration::from_millis(millis)) => {}
            }
            Instant::now()
        };
        let (died, took_over) = tokio::join!(dies, took_over);
        let passed = took_over - died;
        assert!(passed >= DURATION - RETRY && passed <= TAKEOVER, "after {millis} ms: {passed:?}");
        assert_eq!(world.lease().holder_identity.as_deref(), Some("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_never_answered_is_given_up() {
    let world = World::new();
    let ((mut a, _), (mut b, in_touch)) = (world.candidate("a"), world.candidate("b"));
    a.elected().await;
    drop(a);
    world.hang(true);
    let begun = Instant::now();
    let heals = async {
        sleep(PATIENCE + RETRY / 2).await;
        assert!(!*in_touch.borrow(), "it can't see who leads");
        world.hang(false);
    };
    let elected = tokio::time::timeout(Duration::from_secs(3600), b.elected());
    let (elected, ()) = tokio::join!(elected, heals);
    elected.expect("it looks again");
    assert!(begun.elapsed() <= PATIENCE + DURATION + 2 * RETRY, "{:?}", begun.elapsed());
    assert!(*in_touch.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_gets_no_answer_ends_before_another_may_lead() {
    let world = World::new();
    let (mut a, in_touch) = world.candidate("a");
    a.elected().await;
    assert!(*in_touch.borrow());
    world.hang(true);
    let begun = Instant::now();
    a.deposed().await;
    assert!(begun.elapsed() >= DEADLINE && begun.elapsed() < DURATION, "{:?}", begun.elapsed());
    assert!(!*in_touch.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_leader_one_of_whose_looks_is_not_answered_goes_on() {
    let world = World::new();
    let (mut a, _) = world.candidate("a");
    a.elected().await;
    let hangs_for_a_while = async {
        world.hang(true);
        sleep(RETRY + PATIENCE).await;
        world.hang(false);
        sleep(DEADLINE).await;
    };
    tokio::select! {
        () = a.deposed() => panic!("it had time for another look"),
        () = hangs_for_a_while => {}
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_see_the_lease_is_out_of_touch_until_it_may() {
    let world = World::new();
    let (mut a, mut in_touch) = world.candidate("a");
    world.api.deny("get", LEASES);
    tokio::select! {
        () = a.elected() => panic!("it saw no lease"),
        () = sleep(Duration::from_secs(60)) => {}
    }
    assert!(!*in_touch.borrow());
    world.api.grant();
    a.elected().await;
    assert!(*in_touch.borrow_and_update());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_finds_the_lease_changed_while_it_renews_it_goes_on() {
    let world = World::new();
    let (mut a, _) = world.candidate("a");
    a.elected().await;
    let mut annotated = world.api.find(LEASES, "default", "reindex-operator").unwrap();
    annotated["metadata"]["annotations"] = json!({"of": "a person"});
    world.api.before("PUT", LEASES, annotated);
    let (renewed, deadline) = (world.lease().renew_time, sleep(3 * DEADLINE));
    tokio::select! {
        () = a.deposed() => panic!("nobody else leads"),
        () = deadline => {}
    }
    assert!(world.lease().renew_time > renewed);
    let lease = world.api.find(LEASES, "default", "reindex-operator").unwrap();
    assert_eq!(lease["metadata"]["annotations"]["of"], "a person");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_given_back_is_taken_at_once_and_still_counts_how_often_it_went_on() {
    let world = World::new();
    for (transitions, name) in ["a", "b", "c"].into_iter().enumerate() {
        let (mut candidate, _) = world.candidate(name);
        tokio::time::timeout(RETRY / 2, candidate.elected()).await.expect("nobody holds it");
        let lease = world.lease();
        assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some(name), Some(transitions as i32)));
        candidate.resign().await;
        assert_eq!(world.lease().holder_identity, None);
    }
}
