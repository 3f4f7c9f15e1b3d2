//! The operator in some namespaces only: its own watches on an apiserver in memory, between two engines in this process.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Api, Client,
    api::PostParams,
    client::Body,
    runtime::wait::{Condition, await_condition},
};
use reindex_operator::{
    alibaba_cloud::Identity,
    allowlist::alibaba_cloud::OperatorIdentity,
    api::{
        Reindex,
        conditions::{COMPLETE, STALLED},
        reindex_status::Phase,
    },
    controller,
    local::{
        server::Server,
        store::{Store, key_of, status},
    },
    plan::scope::Scope,
    telemetry::metrics::Metrics,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::engine::Pace;
use crate::support::world::{
    DESTINATION_PASSWORD, NAME, SOURCE_PASSWORD, World, condition, search_cluster, secret, valid_reindex,
};

/// One apiserver, and an operator that works in the namespaces `a` and `b`.
struct Scoped {
    world: World,
    server: Server,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Scoped {
    /// Both SearchClusters and their Secrets in `a`, `b` and `other`, and these Reindexes.
    async fn new(reindexes: &[Value]) -> Scoped {
        let world = World::new().await;
        let mut store = Store::default();
        for namespace in ["a", "b", "other"] {
            for mut object in [
                secret("es-1-elastic", DESTINATION_PASSWORD),
                secret("es-2-elastic", SOURCE_PASSWORD),
                search_cluster("es-1", &world.destination, json!({"effective": [world.source.host_port()]})),
                search_cluster("es-2", &world.source, json!({"effective": []})),
            ] {
                object["metadata"]["namespace"] = json!(namespace);
                // Even who is admitted: what counts is that the operator is not there.
                if object["kind"] == "SearchCluster" {
                    object["spec"]["access"] = json!([{"namespaces": {"names": ["a", "b", "other"]}}]);
                }
                store.create(key_of(&object), object).expect("created");
            }
        }
        for reindex in reindexes {
            store.create(key_of(reindex), reindex.clone()).expect("created");
        }
        Scoped { world, server: Server::new(store), asked: Arc::default() }
    }

    /// A client whose requests are noted.
    fn operators_client(&self) -> Client {
        let (inner, asked) = (self.server.client("default"), self.asked.clone());
        let service = tower::service_fn(move |request: http::Request<Body>| {
            asked.lock().unwrap().insert(request.uri().path().to_owned());
            let inner = inner.clone();
            async move { inner.send(request).await }
        });
        Client::new(service, "default")
    }

    /// Runs the operator in both until this has happened.
    async fn run<T>(&self, happened: impl Future<Output = T>) -> T {
        self.run_in(&["a", "b"], happened).await
    }

    /// Runs the operator in these namespaces until this has happened.
    async fn run_in<T>(&self, namespaces: &[&str], happened: impl Future<Output = T>) -> T {
        let operator = operator(self.operators_client(), namespaces, std::future::pending());
        tokio::select! {
            happened = tokio::time::timeout(Duration::from_secs(60), happened) => happened.expect("in time"),
            () = operator => panic!("the operator ended"),
        }
    }

    fn reindexes(&self, namespace: &str) -> Api<Reindex> {
        Api::namespaced(self.server.client(namespace), namespace)
    }

    async fn until(&self, namespace: &str, name: &str, wanted: impl Condition<Reindex>) -> Reindex {
        await_condition(self.reindexes(namespace), name, wanted).await.expect("watched").expect("still there")
    }

    async fn create(&self, reindex: &Value) {
        let reindex: Reindex = serde_json::from_value(reindex.clone()).unwrap();
        let api = self.reindexes(reindex.metadata.namespace.as_deref().unwrap());
        api.create(&PostParams::default(), &reindex).await.expect("created");
    }

    /// Everything that was asked of the apiserver was asked of the two namespaces.
    fn assert_kept_to_them(&self) {
        let asked = self.asked.lock().unwrap();
        for namespace in ["a", "b"] {
            let list = format!("/apis/reindex.dev/v1alpha1/namespaces/{namespace}/reindexes");
            assert!(asked.contains(&list), "it listens: {asked:#?}");
        }
        let elsewhere = |path: &&String| !path.contains("/namespaces/a/") && !path.contains("/namespaces/b/");
        let elsewhere: Vec<_> = asked.iter().filter(elsewhere).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    }
}

async fn operator(client: Client, namespaces: &[&str], end: impl Future<Output = ()> + Send + 'static) {
    let identity = OperatorIdentity { identity: Identity::from_environment(|_| None), namespaces: BTreeSet::new() };
    let scope = Scope::of(namespaces.iter().map(|name| (*name).to_owned()));
    controller::run(client, Metrics::new(), "scoped".to_owned(), identity, scope, watch::channel(false).1, end).await;
}

/// A Reindex into an index of its own.
fn reindex(namespace: &str, name: &str) -> Value {
    let mut reindex = valid_reindex();
    reindex["metadata"] = json!({"namespace": namespace, "name": name});
    reindex["spec"]["destination"]["index"] = json!(format!("{namespace}-{name}"));
    reindex
}

fn is_complete(reindex: Option<&Reindex>) -> bool {
    reindex.is_some_and(|reindex| condition(reindex, COMPLETE).is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_its_namespaces_is_worked_on_and_nothing_else_is_asked_for() {
    let scoped = Scoped::new(&[reindex("a", NAME), reindex("b", NAME), reindex("other", NAME)]).await;
    scoped
        .run(async {
            futures::join!(scoped.until("a", NAME, is_complete), scoped.until("b", NAME, is_complete));
            // Those that come later are seen in both, by the same watches.
            for namespace in ["b", "a"] {
                scoped.create(&reindex("other", &format!("beside-{namespace}"))).await;
                scoped.create(&reindex(namespace, "later")).await;
                scoped.until(namespace, "later", is_complete).await;
            }
        })
        .await;
    let mut created = scoped.world.destination.state().created.clone();
    created.sort();
    assert_eq!(created, ["a-later", &format!("a-{NAME}"), "b-later", &format!("b-{NAME}")]);
    for name in [NAME, "beside-b", "beside-a"] {
        let untouched = scoped.reindexes("other").get(name).await.unwrap();
        assert_eq!(untouched.status.unwrap().conditions, [], "{name}");
    }
    scoped.assert_kept_to_them();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_in_a_namespace_that_is_not_watched_is_named_and_not_looked_for() {
    let mut of_source = reindex("a", "of-source");
    of_source["spec"]["source"]["clusterRef"]["namespace"] = json!("other");
    let mut of_destination = reindex("b", "of-destination");
    of_destination["spec"]["destination"]["clusterRef"]["namespace"] = json!("other");
    // None of that name is there, and it reads alike.
    let mut of_none = reindex("b", "of-none");
    of_none["spec"]["source"]["clusterRef"] = json!({"namespace": "other", "name": "none"});
    let scoped = Scoped::new(&[of_source, of_destination, of_none]).await;
    let is_stalled = |reindex: Option<&Reindex>| reindex.is_some_and(|reindex| condition(reindex, STALLED).is_some());
    let stalled = scoped
        .run(async {
            futures::join!(
                scoped.until("a", "of-source", is_stalled),
                scoped.until("b", "of-destination", is_stalled),
                scoped.until("b", "of-none", is_stalled)
            )
        })
        .await;
    for (reindex, told) in [
        (&stalled.0, "SearchCluster other/es-2 (source.clusterRef)"),
        (&stalled.1, "SearchCluster other/es-1 (destination.clusterRef)"),
        (&stalled.2, "SearchCluster other/none (source.clusterRef)"),
    ] {
        let (reason, message) = condition(reindex, STALLED).unwrap();
        assert_eq!(reason, "NamespaceNotWatched", "{message}");
        assert!(message.contains(told) && message.contains("watchNamespaces"), "{message}");
    }
    scoped.assert_kept_to_them();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_cluster_is_no_longer_watched_waits_and_goes_on() {
    let mut across = reindex("a", "across");
    across["spec"]["destination"]["clusterRef"]["namespace"] = json!("b");
    let scoped = Scoped::new(&[across]).await;
    scoped.world.destination.state().pace = Pace::PerPoll(0);
    let is = |wanted: Phase| {
        move |reindex: Option<&Reindex>| reindex.and_then(|reindex| reindex.status.as_ref()?.phase) == Some(wanted)
    };
    let says_why = |reindex: Option<&Reindex>| {
        let conditions = reindex.and_then(|reindex| Some(&reindex.status.as_ref()?.conditions));
        conditions.is_some_and(|all| all.iter().any(|condition| condition.message.contains("watchNamespaces")))
    };
    scoped.run(scoped.until("a", "across", is(Phase::Copying))).await;
    scoped.run_in(&["a"], scoped.until("a", "across", says_why)).await;
    scoped.world.destination.state().pace = Pace::PerPoll(2);
    let complete = scoped.run(scoped.until("a", "across", is_complete)).await;
    assert_eq!(complete.status.unwrap().phase, Some(Phase::Complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_may_not_list_ends_when_it_is_told_to() {
    let denied = tower::service_fn(|_: http::Request<Body>| async {
        let (code, text) = status(403, "Forbidden", "denied by the test");
        Ok::<_, Infallible>(
            http::Response::builder().status(code).body(Body::from(text.to_string().into_bytes())).unwrap(),
        )
    });
    let end = tokio::time::sleep(Duration::from_millis(100));
    let operator = operator(Client::new(denied, "default"), &["a"], end);
    tokio::time::timeout(Duration::from_secs(30), operator).await.expect("it ends");
}
