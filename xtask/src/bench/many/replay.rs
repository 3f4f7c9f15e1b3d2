//! The calls of one copy to both engines, as a proxy between them and the operator sees them, and a client that sends them again for others.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Client;
use serde_json::Value;

use super::apiserver::AT_ONCE;
use super::http_client;
use crate::network::NODE_ADDRESS;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(600);
/// How long after a look the next follows, as with the operator.
const PAUSE: Duration = Duration::from_millis(100);
/// Headers that are sent again.
const HEADERS: [&str; 3] = ["authorization", "content-type", "x-opaque-id"];

/// One call and its answer.
#[derive(Debug, Clone)]
struct Call {
    /// The engine that it went to.
    to: SocketAddr,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// How it was answered.
    status: StatusCode,
    /// The task that the answer named.
    task: Option<String>,
}

/// Calls in the order of their answers.
type Calls = Arc<Mutex<Vec<Call>>>;

/// Proxies in front of both engines.
pub struct Recorder {
    addresses: [SocketAddr; 2],
    calls: Calls,
}

/// The calls of one copy.
pub struct Recording {
    calls: Vec<Call>,
    name: String,
    http: Client,
}

impl Recorder {
    /// Starts one in front of each, in a thread of its own until the process ends.
    pub fn start(engines: [SocketAddr; 2]) -> Result<Self> {
        let calls = Calls::default();
        let http = http_client(LIMIT)?;
        let listen = || -> Result<TcpListener> {
            let listener = TcpListener::bind((NODE_ADDRESS, 0)).context("failed to listen as a proxy")?;
            listener.set_nonblocking(true).context("failed to prepare a socket")?;
            Ok(listener)
        };
        let listeners = [listen()?, listen()?];
        let mut addresses = engines;
        for (address, listener) in addresses.iter_mut().zip(&listeners) {
            *address = listener.local_addr().context("failed to read a socket's address")?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("failed to start the proxies' runtime")?;
        let shared = Arc::clone(&calls);
        thread::spawn(move || {
            runtime.block_on(async {
                for (listener, engine) in listeners.into_iter().zip(engines) {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let router = router(http.clone(), engine, Arc::clone(&shared));
                    tokio::spawn(async move { axum::serve(listener, router).await });
                }
                std::future::pending::<std::io::Result<()>>().await
            })
        });
        Ok(Self { addresses, calls })
    }

    /// Where source and destination are reached.
    pub fn urls(&self) -> [String; 2] {
        self.addresses.map(|address| format!("http://{address}"))
    }

    /// Forgets what was recorded so far.
    pub fn begin(&self) {
        calls(&self.calls).clear();
    }

    /// What was recorded of the copy into the index of this name.
    pub fn end(&self, name: &str) -> Result<Recording> {
        let calls = calls(&self.calls).clone();
        if !calls.iter().any(|call| call.task.is_some()) {
            bail!("failed: no task was started in what was recorded");
        }
        Ok(Recording { calls, name: name.to_owned(), http: http_client(LIMIT)? })
    }
}

impl Recording {
    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Sends them again for each of these names, one call of a copy after the other.
    pub async fn replay(&self, names: impl Iterator<Item = String>) -> Result<()> {
        stream::iter(names.map(|name| self.replay_one(name))).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn replay_one(&self, name: String) -> Result<()> {
        let mut tasks: Vec<(String, String)> = Vec::new();
        for call in &self.calls {
            let renamed = |text: &str| {
                let text = text.replace(&self.name, &name);
                tasks.iter().fold(text, |text, (recorded, task)| text.replace(recorded.as_str(), task))
            };
            let (path, body) = (renamed(&call.path), renamed(&call.body));
            let begin = Instant::now();
            let answer = loop {
                let (status, answer) = self.send(call, &path, body.clone()).await?;
                // An engine whose heap is full for a moment refuses; the recorded looks need not be those at which this task is done.
                if status == call.status && answer["completed"] != false {
                    break answer;
                }
                if begin.elapsed() > LIMIT {
                    bail!(
                        "failed: {} {path} was answered with {}, and now with {status} {answer}",
                        call.method,
                        call.status
                    );
                }
                tokio::time::sleep(PAUSE).await;
            };
            if let (Some(recorded), Some(task)) = (&call.task, answer["task"].as_str()) {
                // In a path the colon is encoded.
                let encoded = |task: &str| task.replace(':', "%3A");
                tasks.push((encoded(recorded), encoded(task)));
                tasks.push((recorded.clone(), task.to_owned()));
            }
        }
        Ok(())
    }

    async fn send(&self, call: &Call, path: &str, body: String) -> Result<(StatusCode, Value)> {
        let url = format!("http://{}{path}", call.to);
        let headers = call.headers.iter();
        let request = self.http.request(call.method.clone(), url);
        let request = headers.fold(request, |request, (name, value)| request.header(*name, value));
        let response = request.body(body).send().await.with_context(|| format!("failed: {} {path}", call.method))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("failed to read the answer to {path}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }
}

fn calls(calls: &Calls) -> MutexGuard<'_, Vec<Call>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn router(http: Client, engine: SocketAddr, record: Calls) -> Router {
    Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let header = |name: &'static str| Some((name, headers.get(name)?.to_str().ok()?.to_owned()));
        let mut call = Call {
            to: engine,
            method,
            path: uri.to_string(),
            headers: HEADERS.into_iter().filter_map(header).collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
            status: StatusCode::OK,
            task: None,
        };
        let passed = pass_on(&http, &call).await;
        if let Ok((status, text)) = &passed {
            call.status = *status;
            let answer: Value = serde_json::from_str(text).unwrap_or_default();
            call.task = answer["task"].as_str().map(str::to_owned);
            calls(&record).push(call);
        }
        let (status, text) = passed.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()));
        (status, [("content-type", "application/json; charset=UTF-8")], text)
    })
}

async fn pass_on(http: &Client, call: &Call) -> reqwest::Result<(StatusCode, String)> {
    let request = http.request(call.method.clone(), format!("http://{}{}", call.to, call.path));
    let request = call.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    let response = request.body(call.body.clone()).send().await?;
    Ok((response.status(), response.text().await?))
}
