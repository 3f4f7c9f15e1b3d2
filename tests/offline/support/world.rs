//! One Reindex between two engines, and the operator that works on it.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::FutureExt;
use k8s_openapi::{api::events::v1::Event, jiff::SignedDuration};
use kube::{
    ResourceExt,
    runtime::{
        controller::Action,
        events::{Recorder, Reporter},
        reflector::store::{Writer, store},
        watcher,
    },
};
use reindex_operator::{
    alibaba_cloud::Identity,
    allowlist::alibaba_cloud::OperatorIdentity,
    api::{
        Reindex, SearchCluster,
        conditions::{self, COMPLETE, FAILED, PLANNED, STALLED},
        reindex_status::PartitionState,
    },
    controller::{
        context::{Pauses, Shared},
        error::Error,
        events::{Queued, events, write_one},
        failures::Failures,
        own_writes::OwnWrites,
        proofs::Proofs,
        public_authorities::PublicAuthorities,
        reindex::reconcile,
        search_cluster,
    },
    plan::scope::Scope,
    search::Connections,
    search::authorities,
    telemetry::metrics::Metrics,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

use super::{
    apiserver::ApiServer,
    engine::Engine,
    faults::{Fault, Faults},
    logs::Logs,
};

/// The namespace of everything.
pub const NAMESPACE: &str = "search";
/// The Reindex.
pub const NAME: &str = "product-info";
/// The source's password; it may be sent to the source, and to the destination inside a reindex.
pub const SOURCE_PASSWORD: &str = "s3cret-of-the-source";
/// The destination's password.
pub const DESTINATION_PASSWORD: &str = "s3cret-of-the-destination";
/// The source's password after it was changed.
pub const NEW_SOURCE_PASSWORD: &str = "n3w-s3cret-of-the-source";
/// The source's API key, where it is used instead.
pub const SOURCE_API_KEY: &str = "id-of-source:k3y-of-the-source";
/// The destination's.
pub const DESTINATION_API_KEY: &str = "id-of-destination:k3y-of-the-destination";
/// The one public authority of the operator's image.
pub const PUBLIC_AUTHORITY: &str = include_str!("../../fixtures/search/tls/other-ca.pem");
/// More rounds than any life here takes.
const MAX_ROUNDS: usize = 60;
/// How much time passes between two rounds.
const ROUND: SignedDuration = SignedDuration::from_secs(60);

/// Everything outside the operator, and the operator.
pub struct World {
    /// Counts calls, and kills the operator.
    pub faults: Arc<Faults>,
    /// The apiserver.
    pub api: ApiServer,
    /// ES_2, with index `product_info`.
    pub source: Engine,
    /// ES_1.
    pub destination: Engine,
    /// What this world is about, for messages.
    pub title: String,
    /// What was logged.
    pub logs: Logs,
    /// Whether the operator is about to be uninstalled.
    pub winding_down: watch::Sender<bool>,
    operator: Operator,
    errors: Vec<String>,
}

/// One process of the operator.
pub struct Operator {
    /// What it works with.
    pub ctx: Arc<Shared>,
    recorder: Recorder,
    told: Mutex<Queued>,
    reindexes: Writer<Reindex>,
    clusters: Writer<SearchCluster>,
}

/// How a round ended.
#[derive(Debug)]
pub enum Round {
    /// The reconcile ended well.
    Done(Action),
    /// It ended with an error, and is tried again.
    Erred(Error),
    /// The operator was killed.
    Died,
    /// The object is gone.
    Gone,
}

impl World {
    /// Six documents on the source, both clusters known and admitted, the source on the destination's allowlist, and one Reindex.
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    /// The same with a change to the Reindex.
    pub async fn with(change: impl FnOnce(&mut Value)) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (faults, network) = (Arc::new(Faults::default()), super::engine::Network::default());
        let api = ApiServer::new(faults.clone());
        let source = Engine::start("source", faults.clone(), network.clone()).await;
        let destination = Engine::start("destination", faults.clone(), network).await;
        source.state().password = Some(SOURCE_PASSWORD.into());
        destination.state().password = Some(DESTINATION_PASSWORD.into());
        destination.state().allowlist = vec![source.host_port()];
        fill(&source);
        let winding_down = watch::Sender::new(false);
        let operator = Operator::new(&api, winding_down.subscribe());
        let world = World {
            faults,
            api,
            source,
            destination,
            title: "a life".into(),
            winding_down,
            operator,
            errors: vec![],
            logs: Logs::capture(),
        };
        world.api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}));
        world.api.apply(secret("es-1-elastic", DESTINATION_PASSWORD));
        world.api.apply(secret("es-2-elastic", SOURCE_PASSWORD));
        world.api.apply(search_cluster("es-1", &world.destination, json!({"effective": [world.source.host_port()]})));
        world.api.apply(search_cluster("es-2", &world.source, json!({"effective": []})));
        let mut reindex = valid_reindex();
        change(&mut reindex);
        world.api.apply(reindex);
        world
    }

    /// Both clusters let in an API key and nobody else, and their SearchClusters name it: one encoded, one not.
    pub fn use_api_keys(&self) {
        let encoded = BASE64_STANDARD.encode(SOURCE_API_KEY);
        for (name, engine, key, given) in [
            ("es-2", &self.source, SOURCE_API_KEY, encoded.as_str()),
            ("es-1", &self.destination, DESTINATION_API_KEY, DESTINATION_API_KEY),
        ] {
            engine.state().password = None;
            engine.state().api_key = Some(key.to_owned());
            self.api.apply(api_key_secret(&format!("{name}-key"), given));
            let auth = json!({"basic": null, "apiKey": {"secretRef": {"name": format!("{name}-key")}}});
            self.change_cluster(name, json!({"spec": {"auth": auth}}));
        }
    }

    /// The Reindex, if it is still there.
    pub fn reindex(&self) -> Option<Reindex> {
        self.api.get(NAMESPACE, NAME)
    }

    /// Changes a SearchCluster, its status included, by a merge patch.
    pub fn change_cluster(&self, name: &str, patch: Value) {
        self.change("SearchCluster", name, patch);
    }

    /// Changes the Reindex by a merge patch.
    pub fn change_reindex(&self, patch: Value) {
        self.change("Reindex", NAME, patch);
    }

    fn change(&self, kind: &str, name: &str, mut patch: Value) {
        patch["apiVersion"] = json!("reindex.dev/v1alpha1");
        patch["kind"] = json!(kind);
        patch["metadata"] = json!({"name": name, "namespace": NAMESPACE});
        self.api.apply(patch);
    }

    /// Reconciles once; then time passes.
    pub async fn round(&mut self) -> Round {
        self.operator.look(&self.api);
        let Some(reindex) = self.reindex() else { return Round::Gone };
        let round = self.reconcile(reindex).await;
        self.api.age("reindexes.reindex.dev", ROUND);
        match &round {
            Round::Died => self.restart(),
            Round::Erred(error) => self.errors.push(error.to_string()),
            Round::Done(_) | Round::Gone => {}
        }
        round
    }

    /// Reconciles a SearchCluster once, as it is now; then a minute passes for it.
    pub async fn round_of_cluster(&mut self, name: &str) -> Round {
        self.operator.look(&self.api);
        let Some(cluster) = self.cluster(name) else { return Round::Gone };
        let round = tokio::select! {
            biased;
            () = self.faults.died() => Round::Died,
            ended = self.operator.told(search_cluster::reconcile(Arc::new(cluster), self.operator.ctx.clone())) => match ended {
                Ok(action) => Round::Done(action),
                Err(error) => Round::Erred(error),
            },
        };
        self.api.age("searchclusters.reindex.dev", ROUND);
        if let Round::Died = &round {
            self.restart();
        }
        round
    }

    /// The SearchCluster, if it is still there.
    pub fn cluster(&self, name: &str) -> Option<SearchCluster> {
        self.api.get(NAMESPACE, name)
    }

    /// Reconciles once, at once.
    pub async fn round_without_time(&mut self) -> Round {
        self.round_with_stale_clusters(|_| {}).await
    }

    /// Reconciles once, after a change that the operator's caches don't show yet.
    pub async fn round_with_stale_clusters(&mut self, change: impl FnOnce(&World)) -> Round {
        self.operator.look(&self.api);
        change(self);
        let Some(reindex) = self.reindex() else { return Round::Gone };
        self.reconcile(reindex).await
    }

    /// What the operator works with.
    pub fn ctx(&self) -> &Shared {
        &self.operator.ctx
    }

    /// The Reindex is gone at once, whatever finalizers it has, and the operator's caches see it.
    pub fn delete_by_force(&mut self) {
        let mut object = serde_json::to_value(self.reindex().unwrap()).unwrap();
        object["metadata"] = json!({"name": NAME, "namespace": NAMESPACE, "finalizers": []});
        self.api.apply(object);
        self.api.delete::<Reindex>(NAMESPACE, NAME);
        assert!(self.reindex().is_none(), "it is gone");
        self.operator.look(&self.api);
    }

    /// Whether the Reindex has ended.
    pub fn ended(&self) -> bool {
        self.reindex().is_none_or(|reindex| is_finished(&reindex))
    }

    /// Reconciles that very object, which may be older than what the apiserver has.
    pub async fn reconcile(&self, reindex: Reindex) -> Round {
        tokio::select! {
            biased;
            () = self.faults.died() => Round::Died,
            ended = self.operator.told(reconcile(Arc::new(reindex), self.operator.ctx.clone())) => match ended {
                Ok(action) => Round::Done(action),
                Err(error) => Round::Erred(error),
            },
        }
    }

    /// Rounds until the operator is frozen at the `n`-th call from here on, and another process takes over. What the frozen one does once it
    /// thaws; None if the Reindex has ended before.
    pub async fn until_frozen(&mut self, n: usize) -> Option<impl Future<Output = ()> + use<>> {
        self.faults.plan(n, Fault::Frozen);
        for _ in 0..MAX_ROUNDS {
            self.operator.look(&self.api);
            let reindex = self.reindex()?;
            let mut pass = Box::pin(reconcile(Arc::new(reindex), self.operator.ctx.clone()));
            tokio::select! {
                biased;
                () = self.faults.froze() => {
                    self.restart();
                    return Some(pass.map(drop));
                }
                ended = &mut pass => drop(ended),
            }
            self.api.age("reindexes.reindex.dev", ROUND);
            if self.ended() {
                return None;
            }
        }
        panic!("{}", self.story("it is frozen, or has ended"));
    }

    /// A new process takes over, which knows nothing of the old one.
    fn restart(&mut self) {
        self.faults.revive();
        self.operator = Operator::new(&self.api, self.winding_down.subscribe());
    }

    /// The operator's image has no public authorities from now on.
    pub fn take_public_authorities(&mut self) {
        self.operator = Operator::trusting(&self.api, PublicAuthorities::of(vec![]), self.winding_down.subscribe());
    }

    /// Rounds until nothing moves any more, and the Reindex has ended. Returns it as it is then.
    pub async fn end(&mut self) -> Reindex {
        self.until("it has ended and nothing moves", |before, after, round| {
            let still = matches!(round, Round::Done(action) if *action == Action::await_change());
            is_finished(after) && still && before.resource_version() == after.resource_version()
        })
        .await
    }

    /// Rounds until `wanted` holds for the Reindex.
    pub async fn until_it(&mut self, what: &str, wanted: impl Fn(&Reindex) -> bool) -> Reindex {
        self.until(what, |_, after, _| wanted(after)).await
    }

    /// Rounds until a task is known to run.
    pub async fn until_copying(&mut self) -> Reindex {
        self.until_it("a task runs", |reindex| partition_state(reindex) == Some(PartitionState::Running)).await
    }

    /// Rounds until it is stalled, which the message says why.
    pub async fn until_stalled(&mut self) -> (String, String) {
        let reindex = self.until_it("it is stalled", |reindex| condition(reindex, STALLED).is_some()).await;
        condition(&reindex, STALLED).unwrap()
    }

    /// Rounds until the object is gone.
    pub async fn until_gone(&mut self) {
        for _ in 0..MAX_ROUNDS {
            if let Round::Gone = self.round().await {
                return;
            }
        }
        panic!("{}", self.story("the object is gone"));
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Reindex, &Reindex, &Round) -> bool) -> Reindex {
        for _ in 0..MAX_ROUNDS {
            let Some(before) = self.reindex() else { panic!("{}", self.story("the object is still there")) };
            let round = self.round().await;
            let Some(after) = self.reindex() else { panic!("{}", self.story("the object is still there")) };
            self.check_size(&after);
            if wanted(&before, &after, &round) {
                return after;
            }
            let unchanged = before.resource_version() == after.resource_version();
            let waits_for_ever = matches!(&round, Round::Done(action) if *action == Action::await_change());
            assert!(!(unchanged && waits_for_ever), "{}", self.story("somebody wakes it"));
        }
        panic!("{}", self.story(what))
    }

    /// The design's limit for a status.
    fn check_size(&self, reindex: &Reindex) {
        let size = status_size(reindex);
        assert!(size <= 16 * 1024, "{}", self.story(&format!("the status is at most 16 KiB, not {size} bytes")));
    }

    /// What happened, for a message: what was expected, the last status, the last calls and errors.
    pub fn story(&self, expected: &str) -> String {
        let mut story = format!("{}: expected that {expected}\n", self.title);
        let status = self.reindex().map(|reindex| serde_json::to_string_pretty(&reindex.status).unwrap());
        if let Some(call) = self.faults.hit() {
            let _ = writeln!(story, "the call that went wrong: {call}");
        }
        let _ = writeln!(story, "status: {}", status.as_deref().unwrap_or("the object is gone"));
        for error in self.errors.iter().rev().take(5) {
            let _ = writeln!(story, "error: {error}");
        }
        let journal = self.faults.journal();
        let _ = writeln!(story, "the last of {} calls:", journal.len());
        for call in journal.iter().skip(journal.len().saturating_sub(40)) {
            let _ = writeln!(story, "  {call}");
        }
        story
    }

    /// Reasons of the events that were written, sorted.
    pub fn event_reasons(&self) -> Vec<String> {
        self.api.list::<Event>().into_iter().filter_map(|event| event.reason).collect()
    }

    /// What events say, one after the other.
    pub fn event_notes(&self) -> Vec<String> {
        self.api.list::<Event>().into_iter().filter_map(|event| event.note).collect()
    }

    /// What the operator works with, its caches brought up to date.
    pub fn operator_ctx(&mut self) -> Arc<Shared> {
        self.operator.look(&self.api);
        self.operator.ctx.clone()
    }

    /// Calls that were made to an engine.
    pub fn calls_to(&self, name: &str) -> usize {
        self.faults.journal().iter().filter(|call| call.to == name).count()
    }
}

impl Operator {
    /// A new one, which knows nothing yet.
    pub fn new(api: &ApiServer, winding_down: watch::Receiver<bool>) -> Operator {
        let public_authorities = PublicAuthorities::of(authorities(PUBLIC_AUTHORITY.as_bytes()).unwrap());
        Operator::trusting(api, public_authorities, winding_down)
    }

    fn trusting(
        api: &ApiServer,
        public_authorities: PublicAuthorities,
        winding_down: watch::Receiver<bool>,
    ) -> Operator {
        let client = api.client();
        let (reindex_store, reindexes) = store();
        let (cluster_store, clusters) = store();
        let reporter = Reporter { controller: "reindex-operator".into(), instance: None };
        let (events, told) = events();
        let ctx = Shared {
            client: client.clone(),
            events,
            reindexes: reindex_store,
            clusters: cluster_store,
            scope: Scope::default(),
            operator_identity: OperatorIdentity {
                identity: Identity::from_environment(|_| None),
                namespaces: BTreeSet::from([NAMESPACE.to_owned()]),
            },
            public_authorities,
            connections: Connections::default(),
            proofs: Proofs::default(),
            winding_down,
            pauses: Pauses { task: Duration::ZERO, clock: Duration::ZERO },
            own_writes: OwnWrites::default(),
            failures: Failures::default(),
            metrics: Metrics::new(),
        };
        let (recorder, told) = (Recorder::new(client, reporter), Mutex::new(told));
        Operator { ctx: Arc::new(ctx), recorder, told, reindexes, clusters }
    }

    /// A pass, and then the events that it told: the operator writes them beside, where calls would have no order.
    pub async fn told<T>(&self, pass: impl Future<Output = T>) -> T {
        // The futures of a pass are large for the stack of a test.
        let ended = Box::pin(pass).await;
        for lane in self.told.lock().await.iter_mut() {
            while let Ok((event, object)) = lane.try_recv() {
                write_one(&self.recorder, event, object).await;
            }
        }
        ended
    }

    /// The caches catch up with the apiserver.
    pub fn look(&mut self, api: &ApiServer) {
        fill_store(&mut self.reindexes, api.list());
        fill_store(&mut self.clusters, api.list());
    }
}

fn fill_store<K>(writer: &mut Writer<K>, objects: Vec<K>)
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
}

/// The guide's data: index product_info with six documents.
fn fill(source: &Engine) {
    let mut state = source.state();
    let index = state.create(
        "product_info",
        &json!({
            "settings": {"number_of_shards": 5, "number_of_replicas": 1,
                "analysis": {"analyzer": {"ik_smart": {"type": "custom", "tokenizer": "standard"}}}},
            "mappings": {"properties": {
                "productName": {"type": "text", "analyzer": "ik_smart"},
                "annual_rate": {"type": "keyword"},
            }},
        }),
    );
    for (letter, rate) in
        [("A", "3.2200%"), ("B", "3.1100%"), ("C", "3.3500%"), ("D", "3.1200%"), ("E", "3.0100%"), ("F", "2.7500%")]
    {
        index.put(letter, json!({"productName": format!("Wealth Management Product {letter}"), "annual_rate": rate}));
    }
    // One of them is not in its first version.
    index.put("F", json!({"productName": "Wealth Management Product F", "annual_rate": "2.7500%"}));
    index.refresh();
}

/// A Reindex that is valid in every way.
pub fn valid_reindex() -> Value {
    json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "source": {"clusterRef": {"name": "es-2"}, "index": "product_info"},
            "destination": {"clusterRef": {"name": "es-1"}, "index": "dest", "settings": {"numberOfShards": 5, "numberOfReplicas": 1}},
        },
    })
}

/// A SearchCluster as its own controller leaves it.
pub fn search_cluster(name: &str, engine: &Engine, mut allowlist: Value) -> Value {
    allowlist["key"] = json!("reindex.remote.whitelist");
    json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"endpoint": engine.url(), "auth": {"basic": {"secretRef": {"name": format!("{name}-elastic")}}}},
        "status": {
            "observedGeneration": 1, "clusterUUID": engine.state().cluster_uuid, "distribution": "Elasticsearch",
            "version": "7.17.29", "nodes": 1, "health": "green", "allowlist": allowlist, "conditions": [],
        },
    })
}

/// A Secret with a password.
pub fn secret(name: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"password": k8s_openapi::ByteString(password.into())},
    })
}

/// A Secret with an API key, as an editor leaves it: with a line break at the end.
pub fn api_key_secret(name: &str, key: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"apiKey": k8s_openapi::ByteString(format!("{key}\n").into())},
    })
}

/// Everything that may stand in Secrets only: passwords, and API keys in both forms and without their id.
pub fn secrets() -> Vec<String> {
    let mut secrets = [SOURCE_PASSWORD, NEW_SOURCE_PASSWORD, DESTINATION_PASSWORD].map(str::to_owned).to_vec();
    for key in [SOURCE_API_KEY, DESTINATION_API_KEY] {
        secrets.push(BASE64_STANDARD.encode(key));
        secrets.extend(key.split_once(':').map(|(_, secret)| secret.to_owned()));
    }
    secrets
}

/// Bytes of a status.
pub fn status_size(reindex: &Reindex) -> usize {
    serde_json::to_vec(&reindex.status).unwrap().len()
}

/// Reason and message of a condition that is True.
pub fn condition(reindex: &Reindex, type_: &str) -> Option<(String, String)> {
    let found = conditions::get(&reindex.status.as_ref()?.conditions, type_)?;
    (found.status == "True").then(|| (found.reason.clone(), found.message.clone()))
}

/// Whether it ended.
pub fn is_finished(reindex: &Reindex) -> bool {
    [COMPLETE, FAILED, PLANNED].iter().any(|type_| condition(reindex, type_).is_some())
}

/// The state of the only partition.
pub fn partition_state(reindex: &Reindex) -> Option<PartitionState> {
    Some(reindex.status.as_ref()?.partitions.first()?.state)
}
