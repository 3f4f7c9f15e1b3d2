//! The controllers: observe → decide → write → act, one folder a kind.

pub mod connect;
pub mod context;
pub mod error;
pub mod events;
pub mod failures;
pub mod finalizer;
pub mod lease;
mod merge;
pub mod own_writes;
pub mod proofs;
pub mod public_authorities;
mod read_once;
pub mod reindex;
pub mod scope;
pub mod search_cluster;
pub mod status;
mod tasks;
mod watch;
pub mod wind_down;

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use kube::{
    Client, ResourceExt,
    runtime::{
        applier,
        controller::{self, Action, Config},
        events::{Recorder, Reporter},
        reflector::{self, ObjectRef, Store},
        utils::CancelableJoinHandle,
    },
};
use tokio::{runtime::Handle, sync::watch::Receiver, time::timeout};
use tracing::{Instrument, Span, field::Empty};

use crate::{
    allowlist::{alibaba_cloud::OperatorIdentity, provider::ProviderError},
    api::{FIELD_MANAGER, Reindex, SearchCluster},
    plan::{
        cleanup::has_finalizer,
        reindex::{Stage, stage},
        scope::Scope,
        search_cluster::deletion::is_to_hear,
    },
    search::Connections,
    telemetry::{TRACES, metrics::Metrics},
};

use context::{Pauses, Shared};
use error::Error;
use failures::Failures;
use own_writes::OwnWrites;
use proofs::Proofs;
use public_authorities::PublicAuthorities;
use watch::watch;

/// How many objects of a kind are worked on at once.
const CONCURRENCY: u16 = 16;
/// How long a comparison may go on after its Reindex was deleted by force.
const SWEEP: Duration = Duration::from_secs(10);
/// How long events that are not written yet may hold up the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs both controllers on what is in `scope`, until `shutdown` ends; passes that are under way end first. While `winding_down` is true
/// nothing goes on, and what was changed on the search clusters for a while is put back.
pub async fn run(
    client: Client,
    metrics: Metrics,
    instance: String,
    operator_identity: OperatorIdentity,
    scope: Scope,
    winding_down: Receiver<bool>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let shutdown = shutdown.shared();
    let (reindex_store, reindex_writer) = reflector::store();
    let (cluster_store, cluster_writer) = reflector::store();
    let (reindex_queue, queued_reindexes) = watch::queue("Reindex", &metrics);
    let (cluster_queue, queued_clusters) = watch::queue("SearchCluster", &metrics);
    metrics.leads(reindex_store.clone(), cluster_store.clone());
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance) };
    // One for all, so that repeated events are counted instead of listed.
    let recorder = Recorder::new(client.clone(), reporter);
    let (events, told) = events::events();
    let ctx = Arc::new(Shared {
        events: events.clone(),
        reindexes: reindex_store.clone(),
        clusters: cluster_store.clone(),
        client: client.clone(),
        scope: scope.clone(),
        operator_identity,
        public_authorities: PublicAuthorities::default(),
        connections: Connections::default(),
        proofs: Proofs::default(),
        winding_down: winding_down.clone(),
        pauses: Pauses::default(),
        own_writes: OwnWrites::default(),
        failures: Failures::default(),
        metrics,
    });
    let copies = applier(
        |reindex: Arc<Reindex>, ctx: Arc<Shared>| {
            ctx.metrics.taken("Reindex", reindex.metadata.namespace.as_deref(), &reindex.name_any());
            match ctx.own_writes.outdate(reindex.as_ref()) {
                true => later(),
                false => {
                    let object = Object::of("Reindex", reindex.as_ref());
                    spawned(object, ctx, |ctx| reindex::reconcile(reindex, ctx))
                }
            }
        },
        |reindex: Arc<Reindex>, error, ctx| on_error("Reindex", reindex.as_ref(), error, &ctx),
        ctx.clone(),
        reindex_store.clone(),
        queued_reindexes.map(Ok::<_, Infallible>).take_until(shutdown.clone()),
        Config::default().concurrency(CONCURRENCY),
    );
    let allowlists = applier(
        |cluster: Arc<SearchCluster>, ctx: Arc<Shared>| {
            ctx.metrics.taken("SearchCluster", cluster.metadata.namespace.as_deref(), &cluster.name_any());
            let object = Object::of("SearchCluster", cluster.as_ref());
            spawned(object, ctx, |ctx| search_cluster::reconcile(cluster, ctx))
        },
        |cluster: Arc<SearchCluster>, error, ctx| on_error("SearchCluster", cluster.as_ref(), error, &ctx),
        ctx.clone(),
        cluster_store.clone(),
        queued_clusters.map(Ok::<_, Infallible>).take_until(shutdown.clone()),
        Config::default().concurrency(CONCURRENCY),
    );
    let both = async {
        futures::join!(
            copies.for_each(|ended| taken("Reindex", ended.err(), &ctx)),
            allowlists.for_each(|ended| taken("SearchCluster", ended.err(), &ctx)),
        );
    };
    let hearing = winding_down.clone();
    let needing = |reindex: &Reindex| needed_by(&cluster_store, reindex, *hearing.borrow());
    let waiting = |cluster: &SearchCluster| waiting_for(&reindex_store, cluster);
    let look_at_all = || {
        reindex_queue.add_all(&reindex_store);
        cluster_queue.add_all(&cluster_store);
    };
    let (reindexes, clusters) = (scope::apis(&client, &scope), scope::apis(&client, &scope));
    let mut writing = pin!(events::write(told, &recorder));
    tokio::select! {
        () = both => {}
        () = before_it_began(shutdown, &reindex_store, &cluster_store) => {}
        () = watch(reindexes, reindex_writer, reindex_queue.clone(), cluster_queue.clone(), needing) => {}
        () = watch(clusters, cluster_writer, cluster_queue.clone(), reindex_queue.clone(), waiting) => {}
        () = wind_down::heed(winding_down, look_at_all) => {}
        () = sweep(&ctx) => {}
        () = &mut writing => {}
    }
    events.end();
    // What they tell of is done: nobody waits long for them.
    let _ = timeout(LAST_WORDS, writing).await;
}

/// Resolves when the end comes while a list has not been read yet: the appliers wait for the lists, and would not notice.
async fn before_it_began(end: impl Future<Output = ()>, reindexes: &Store<Reindex>, clusters: &Store<SearchCluster>) {
    end.await;
    let both_are_read = async { (reindexes.wait_until_ready().await, clusters.wait_until_ready().await) };
    if both_are_read.now_or_never().is_some() {
        std::future::pending().await
    }
}

/// Ends, from time to time and for ever, what goes on for Reindexes that are gone.
async fn sweep(ctx: &Shared) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let known = ctx.known();
        ctx.proofs.keep(&known);
        ctx.own_writes.keep(&known);
        let clusters = ctx.clusters.state().into_iter().filter_map(|cluster| cluster.uid());
        ctx.failures.keep(&known.into_iter().chain(clusters).collect());
    }
}

/// Reindexes that may go on when this SearchCluster changed, or that it waits for as it is deleted. Those that copy look by themselves, though
/// some of them not for minutes.
fn waiting_for(reindexes: &Store<Reindex>, cluster: &SearchCluster) -> Vec<ObjectRef<Reindex>> {
    let names = |reindex: &Reindex| {
        let own = reindex.namespace().unwrap_or_default();
        let references = [&reindex.spec.source.cluster_ref, &reindex.spec.destination.cluster_ref];
        references.into_iter().any(|reference| reference.names(&own, cluster))
    };
    let is_deleted = cluster.metadata.deletion_timestamp.is_some();
    let waits = |reindex: &Reindex| {
        matches!(stage(reindex), Stage::Validate | Stage::Allowlist | Stage::Survey)
            || (is_deleted && has_finalizer(reindex))
    };
    let found = reindexes.state();
    found
        .iter()
        .filter(|reindex| waits(reindex) && names(reindex))
        .map(|reindex| ObjectRef::from_obj(reindex.as_ref()))
        .collect()
}

/// Every SearchCluster for the destination whose allowlist a Reindex waits for: the one that manages it may be another than the one
/// that the Reindex names. And the one that is held, or no longer held, by what the Reindex owes there.
fn needed_by(clusters: &Store<SearchCluster>, reindex: &Reindex, winding_down: bool) -> Vec<ObjectRef<SearchCluster>> {
    let waits = reindex.status.as_ref().filter(|_| stage(reindex) == Stage::Allowlist);
    let uuid = waits.and_then(|status| status.destination.as_ref()).map(|destination| &destination.cluster_uuid);
    let same = |cluster: &SearchCluster| {
        uuid.is_some() && cluster.status.as_ref().and_then(|status| status.cluster_uuid.as_ref()) == uuid
    };
    clusters
        .state()
        .iter()
        .filter(|cluster| same(cluster) || is_to_hear(cluster, reindex, winding_down))
        .map(|cluster| ObjectRef::from_obj(cluster.as_ref()))
        .collect()
}

/// What is waited for after trouble with a search cluster or a cloud, and after a conflict, where the watch tells sooner what somebody else wrote.
const SOON: Duration = Duration::from_secs(5);

/// Every error passes by itself: try again.
fn on_error(kind: &'static str, object: &impl ResourceExt, error: &Error, ctx: &Shared) -> Action {
    ctx.metrics.reconcile_failed(kind, error.class());
    if !error.is_conflict() {
        let (namespace, name, uid) = (object.namespace(), object.name_any(), object.uid());
        tracing::warn!(kind, namespace, name, uid, %error, "a pass ended early and is tried again");
    }
    Action::requeue(patience(error, &object.uid().unwrap_or_default(), &ctx.failures))
}

fn patience(error: &Error, uid: &str, failures: &Failures) -> Duration {
    match error {
        Error::Kube { .. } | Error::Provider(ProviderError::Kube { .. }) if !error.is_conflict() => failures.note(uid),
        // The apiserver has answered.
        _ => {
            failures.forget(uid);
            SOON
        }
    }
}

/// An object that was queued and is gone waits for nothing; the rest is told by [`on_error`].
async fn taken(kind: &'static str, error: Option<controller::Error<Error, Infallible>>, ctx: &Shared) {
    if let Some(controller::Error::ObjectNotFound(object)) = error {
        ctx.metrics.taken(kind, object.namespace.as_deref(), &object.name);
    }
}

/// Whose pass it is.
struct Object {
    kind: &'static str,
    uid: String,
    /// What a trace shows of the pass.
    span: Span,
}

impl Object {
    fn of(kind: &'static str, object: &impl ResourceExt) -> Object {
        let (namespace, name, uid) = (object.namespace(), object.name_any(), object.uid().unwrap_or_default());
        let span = tracing::trace_span!(target: TRACES, "pass", kind, namespace, name, uid, otel.status_code = Empty);
        Object { kind, uid, span }
    }
}

/// The watch tells it anew by itself, as a rule within milliseconds.
fn later() -> CancelableJoinHandle<Result<Action, Error>> {
    CancelableJoinHandle::spawn(async { Ok(Action::requeue(Duration::from_secs(1))) }, &Handle::current())
}

/// Runs a pass on any of the program's threads, and measures it.
fn spawned<P: Future<Output = Result<Action, Error>> + Send + 'static>(
    object: Object,
    ctx: Arc<Shared>,
    pass: impl FnOnce(Arc<Shared>) -> P,
) -> CancelableJoinHandle<Result<Action, Error>> {
    let Object { kind, uid, span } = object;
    // It is large, and would be moved into what is around it layer by layer.
    let pass = Box::pin(pass(ctx.clone()));
    let measured = async move {
        let result = ctx.metrics.measured(kind, pass.instrument(span.clone())).await;
        match &result {
            Ok(_) => ctx.failures.forget(&uid),
            Err(_) => {
                span.record("otel.status_code", "ERROR");
            }
        }
        result
    };
    CancelableJoinHandle::spawn(measured.in_current_span(), &Handle::current())
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use crate::search::SearchError;

    use super::*;

    #[test]
    fn only_an_apiserver_that_fails_is_pressed_less() {
        let failures = Failures::default();
        let refused = |code: u16| {
            let status = json!({"status": "Failure", "message": "", "reason": "", "code": code});
            Error::kube("write the status")(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
        };
        let waits = |error: &Error| [(); 3].map(|()| patience(error, "uid", &failures).as_secs());
        assert_eq!(waits(&refused(409)), [5, 5, 5], "the watch is sooner");
        assert_eq!(waits(&Error::search("cancel a task")(SearchError::NotFormed)), [5, 5, 5]);
        assert_eq!(waits(&refused(403)), [5, 10, 20]);
        let Error::Kube { source, .. } = refused(403) else { panic!("trouble with the apiserver") };
        let edit = Error::Provider(ProviderError::Kube { action: "edit", name: "a".to_owned(), source });
        assert_eq!(waits(&edit), [40, 60, 60]);
        assert_eq!((waits(&refused(409)), waits(&refused(500))), ([5, 5, 5], [5, 10, 20]), "it has answered meanwhile");
    }

    #[test]
    fn a_search_cluster_that_is_deleted_wakes_what_it_waits_for() {
        let (store, mut writer) = reflector::store();
        let reindex = |name: &str, finalizers: &[&str]| -> Reindex {
            let object = json!({
                "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
                "metadata": {"name": name, "namespace": "search", "finalizers": finalizers},
                "spec": {
                    "source": {"clusterRef": {"name": "es-2"}, "index": "i"},
                    "destination": {"clusterRef": {"name": "es-1"}, "index": "i"},
                },
                // It looks by itself, after some minutes.
                "status": {
                    "tuning": {"numberOfReplicas": "1"},
                    "conditions": [{
                        "type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "",
                        "lastTransitionTime": "2026-11-27T12:00:00Z",
                    }],
                },
            });
            serde_json::from_value(object).unwrap()
        };
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitApply(reindex("holds", &["reindex.dev/cleanup"])));
        writer.apply_watcher_event(&Event::InitApply(reindex("free", &[])));
        writer.apply_watcher_event(&Event::InitDone);
        let cluster = |deleted: Option<&str>| -> SearchCluster {
            let metadata = json!({"name": "es-1", "namespace": "search", "deletionTimestamp": deleted});
            let spec = json!({"endpoint": "http://es-1:9200"});
            let kind = json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": metadata, "spec": spec});
            serde_json::from_value(kind).unwrap()
        };
        let woken = |cluster: SearchCluster| -> Vec<String> {
            waiting_for(&store, &cluster).into_iter().map(|woken| woken.name).collect()
        };
        assert_eq!(woken(cluster(None)), [] as [&str; 0]);
        assert_eq!(woken(cluster(Some("2026-11-27T12:00:00Z"))), ["holds"]);
    }
}
