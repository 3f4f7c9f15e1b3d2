//! A search engine in this process, spoken to over HTTP: as much of Elasticsearch 7.17 as a reindex needs, with the behaviour that was
//! seen on real ones. What is not modelled is refused, so that nothing passes by accident.

mod http;
mod index;
mod room;
mod scroll;
mod tasks;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::faults::Faults;

pub use index::Index;
use scroll::Scroll;
pub use tasks::Pace;
use tasks::Task;
pub use writing::LEAVE_OUT;

/// Engines by `host:port`, for a destination that is told to read from one.
pub type Network = Arc<Mutex<BTreeMap<String, Arc<Mutex<State>>>>>;

/// One running engine. Dropping it ends it.
pub struct Engine {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    network: Network,
    server: tokio::task::JoinHandle<()>,
}

/// An engine's inside. Tests set what they need.
pub struct State {
    /// Name of the node; in the journal too.
    pub name: String,
    /// The cluster's UUID.
    pub cluster_uuid: String,
    /// Version number.
    pub version: String,
    /// Whether it says that it is OpenSearch.
    pub opensearch: bool,
    /// The password of `elastic`. An engine without one and without an API key has no security.
    pub password: Option<String>,
    /// The API key that it lets in, as `id:key`.
    pub api_key: Option<String>,
    /// `host:port` of sources that its node allows.
    pub allowlist: Vec<String>,
    /// What its further nodes allow, one list a node.
    pub further_nodes: Vec<Vec<String>>,
    /// How many of its nodes were started with the setting that reads the authorities of sources.
    pub trusting_nodes: usize,
    /// `host:port` of sources whose certificate its nodes don't trust all the same.
    pub distrusted: BTreeSet<String>,
    /// How fast its tasks are.
    pub pace: Pace,
    /// How many bytes the description of each of its tasks has: a large query is quoted there.
    pub description_bytes: usize,
    /// How many copies are refused with HTTP status 429 before one is started.
    pub refused_starts: usize,
    /// Whether the operator's user may not change an index's settings.
    pub refuses_settings: bool,
    /// Whether the operator's user may not change the throttle of a task.
    pub refuses_rethrottle: bool,
    /// Processors of its node.
    pub processors: u64,
    /// The most tasks that ran at once.
    pub most_at_once: usize,
    /// Indices by name.
    pub indices: BTreeMap<String, Index>,
    /// Its tasks by number; finished ones stay.
    pub tasks: BTreeMap<u64, Task>,
    /// Names of all indices that were created through the API, in order.
    pub created: Vec<String>,
    /// Reindexes of the same range (by opaque id) that were started while another one of it ran.
    pub overlaps: Vec<String>,
    /// Names of its ingest pipelines; they change nothing.
    pub pipelines: BTreeSet<String>,
    /// Its composable templates, each as `GET _index_template` shows it; they change nothing.
    pub templates: Vec<Value>,
    /// Persistent settings of the cluster.
    pub settings: Value,
    /// Free bytes of its node's disk, and all.
    pub disk: (i64, i64),
    /// Privileges that the operator's user lacks.
    pub lacks: BTreeSet<String>,
    /// How far its clock is ahead.
    pub clock_offset_millis: i64,
    /// Scrolls that are open, by id.
    pub scrolls: BTreeMap<String, Scroll>,
    /// Bytes that a batch from a remote may have.
    pub chunk_limit: usize,
    /// Bodies of the copies that were started, without `source.remote`.
    pub reindexes: Vec<Value>,
    /// Passwords and API keys (as `id:key`) that were sent to it, in headers or bodies.
    pub passwords_seen: BTreeSet<String>,
    next: u64,
}

impl Engine {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start(name: &str, faults: Arc<Faults>, network: Network) -> Engine {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Engine::serve(listener, name, faults, network)
    }

    /// Starts one that answers whom this listener hears.
    pub fn serve(listener: tokio::net::TcpListener, name: &str, faults: Arc<Faults>, network: Network) -> Engine {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::new(name)));
        network.lock().unwrap().insert(address.to_string(), state.clone());
        let router = http::router(state.clone(), faults, network.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Engine { address, state, network, server }
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port`, as it stands on an allowlist.
    pub fn host_port(&self) -> String {
        self.address.to_string()
    }

    /// Its inside, for a moment.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Other engines reach it by this `host:port`, too.
    pub fn answer_at(&self, host_port: &str) {
        self.network.lock().unwrap().insert(host_port.to_owned(), self.state.clone());
    }

    /// Goes away: connections are refused from now on.
    pub fn stop(&self) {
        self.server.abort();
        self.network.lock().unwrap().remove(&self.host_port());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl State {
    fn new(name: &str) -> State {
        State {
            name: name.to_owned(),
            cluster_uuid: format!("uuid-of-{name}"),
            version: "7.17.29".into(),
            opensearch: false,
            password: None,
            api_key: None,
            pipelines: BTreeSet::new(),
            templates: vec![],
            settings: json!({}),
            disk: (900 << 30, 1000 << 30),
            lacks: BTreeSet::new(),
            clock_offset_millis: 0,
            scrolls: BTreeMap::new(),
            chunk_limit: 100 * 1024 * 1024,
            reindexes: vec![],
            allowlist: vec![],
            further_nodes: vec![],
            trusting_nodes: 0,
            distrusted: BTreeSet::new(),
            pace: Pace::PerPoll(2),
            description_bytes: 0,
            refused_starts: 0,
            refuses_settings: false,
            refuses_rethrottle: false,
            processors: 2,
            most_at_once: 0,
            indices: BTreeMap::new(),
            tasks: BTreeMap::new(),
            created: vec![],
            overlaps: vec![],
            passwords_seen: BTreeSet::new(),
            next: 100,
        }
    }

    /// Creates an index as a person would.
    pub fn create(&mut self, name: &str, body: &Value) -> &mut Index {
        let number = self.number();
        let uuid = format!("index-{}-{number}", self.name);
        self.indices.entry(name.to_owned()).or_insert(Index::new(uuid, body))
    }

    /// The index of that name.
    pub fn index(&mut self, name: &str) -> &mut Index {
        self.indices.get_mut(name).unwrap_or_else(|| panic!("no index {name}"))
    }

    /// Forgets every task, as a node does that is restarted. What was copied stays.
    pub fn lose_tasks(&mut self) {
        self.tasks.clear();
    }

    /// A task runs that was started with this id by a request that everybody had given up.
    pub fn start_stray(&mut self, opaque_id: &str) {
        let number = self.number();
        self.tasks.insert(number, Task::stray(opaque_id));
        self.pace = Pace::PerPoll(0);
    }

    /// Tasks that run now.
    pub fn running(&self) -> usize {
        self.tasks.values().filter(|task| task.is_running()).count()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn node_id(&self) -> String {
        format!("node-of-{}", self.name)
    }

    /// A refusal where the credentials are not those of this engine.
    fn authenticate(&mut self, authorization: Option<&str>) -> Result<(), Refusal> {
        self.note(authorization);
        self.check(authorization)
    }

    /// Remembers what it was shown.
    fn note(&mut self, authorization: Option<&str>) {
        let shown = match authorization.and_then(decoded) {
            Some(("Basic", text)) => text.split_once(':').map(|(_, password)| password.to_owned()),
            Some((_, text)) => Some(text),
            None => None,
        };
        self.passwords_seen.extend(shown.filter(|secret| !secret.is_empty()));
    }

    fn check(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let let_in = match authorization.and_then(decoded) {
            Some(("Basic", text)) => {
                self.password.as_ref().is_some_and(|password| text == format!("elastic:{password}"))
            }
            Some(("ApiKey", text)) => self.api_key.as_ref() == Some(&text),
            _ => false,
        };
        if let_in || (self.password.is_none() && self.api_key.is_none()) {
            return Ok(());
        }
        Err(unauthorized())
    }
}

/// Scheme and decoded credentials of `Authorization`.
fn decoded(header: &str) -> Option<(&str, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    Some((scheme, String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?))
}

/// An answer that is none: HTTP status and body.
type Refusal = (u16, Value);

fn refusal(status: u16, kind: &str, reason: &str) -> Refusal {
    let cause = json!({"type": kind, "reason": reason});
    (status, json!({"error": {"root_cause": [cause], "type": kind, "reason": reason}, "status": status}))
}

fn unauthorized() -> Refusal {
    refusal(401, "security_exception", "unable to authenticate user [elastic] for REST request [/]")
}

fn no_such_index(name: &str) -> Refusal {
    refusal(404, "index_not_found_exception", &format!("no such index [{name}]"))
}
