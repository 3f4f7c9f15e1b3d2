//! The remote `_reindex`: starting one, and probing whether one would work.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::credentials::Credentials;
use super::error::SearchError;
use super::fault::{Evidence, Fault};
use super::name::{one_index, segment};
use super::tasks::TaskId;
use super::writing::Writing;

/// How the destination reaches the source.
#[derive(Debug, Clone, Copy)]
pub struct RemoteSource<'a> {
    /// `scheme://host:port`, with an optional path; exactly the host and port that the allowlist has.
    pub host: &'a str,
    /// Credentials of the source; the destination gets to see them.
    pub credentials: Option<&'a Credentials>,
    /// The destination knows `remote.api_key` (Elasticsearch 9.3 and later); else an API key goes as the header `Authorization`.
    pub takes_api_key: bool,
    /// How long the destination waits for data, in Elasticsearch's words: `30s`.
    pub socket_timeout: &'a str,
    /// How long the destination waits for a connection: `1s`.
    pub connect_timeout: &'a str,
}

/// One `_reindex` from a remote cluster.
#[derive(Debug, Clone, Copy)]
pub struct ReindexRequest<'a> {
    /// Where the documents come from.
    pub remote: RemoteSource<'a>,
    /// One index, alias or data stream there.
    pub source_index: &'a str,
    /// Which documents; all without one. The source evaluates it.
    pub query: Option<&'a Value>,
    /// Fields of `_source` to take; all when empty.
    pub includes: &'a [String],
    /// Fields of `_source` to leave out.
    pub excludes: &'a [String],
    /// Documents a batch, at most 10,000.
    pub batch_size: u32,
    /// One index here.
    pub dest_index: &'a str,
    /// The most documents a second; as many as it can without one.
    pub requests_per_second: Option<f64>,
    /// How documents are written there.
    pub writing: Writing<'a>,
}

impl RemoteSource<'_> {
    fn json(&self) -> Value {
        let mut remote = json!({
            "host": self.host,
            "socket_timeout": self.socket_timeout,
            "connect_timeout": self.connect_timeout,
        });
        if let Some(credentials) = self.credentials {
            credentials.add_to_remote(&mut remote, self.takes_api_key);
        }
        remote
    }
}

/// The name as a destination's nodes must be given it. They take one with a `%` for encoded already: `a%2A` would read from `a*`, whatever
/// may be read there (seen on Elasticsearch 7.17; all others they encode themselves).
fn remote_name(index: &str) -> Cow<'_, str> {
    if index.contains('%') { segment(index).into() } else { index.into() }
}

impl ReindexRequest<'_> {
    /// The request's body. It holds the source's credentials and so never goes into a log.
    ///
    /// `slice` is never sent: with `remote` it is silently ignored and every slice copies everything.
    fn json(&self) -> Result<Value, SearchError> {
        let mut source = json!({
            "remote": self.remote.json(),
            "index": remote_name(one_index(self.source_index)?),
            "size": self.batch_size,
        });
        if let Some(query) = self.query {
            source["query"] = query.clone();
        }
        if !self.includes.is_empty() || !self.excludes.is_empty() {
            source["_source"] = json!({ "includes": self.includes, "excludes": self.excludes });
        }
        let dest = self.writing.dest(self.dest_index)?;
        let mut body = json!({ "conflicts": "proceed", "source": source, "dest": dest });
        if let Some(script) = self.writing.script() {
            body["script"] = script;
        }
        Ok(body)
    }
}

/// What a probe found out about a remote `_reindex`, seen from the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// Allowlist, DNS, TLS, credentials and the source's index are all right.
    Passed,
    /// The destination's allowlist does not have the source.
    NotAllowed,
    /// The destination cannot reach the source, or the source is not ready; our words for why.
    Unreachable(String),
    /// The destination does not trust the source's certificate.
    Untrusted,
    /// The source refused the credentials.
    Unauthorized,
    /// Anything else: HTTP status and error `type`, nothing of what the source said.
    Rejected(String),
}

impl SearchClient {
    /// Starts a `_reindex` and returns its task (`POST _reindex?wait_for_completion=false`).
    ///
    /// `opaque_id` (`X-Opaque-Id`) finds the task again in [`reindex_tasks`](SearchClient::reindex_tasks) when the
    /// answer to this call is lost. That the source is not allowed, not reachable or refuses is **not** an error here
    /// but the task's.
    ///
    /// # Errors
    /// Those of the destination. A reason in them is withheld where it quotes what is secret in the source's credentials.
    pub async fn start_reindex(&self, request: &ReindexRequest<'_>, opaque_id: &str) -> Result<TaskId, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            task: TaskId,
        }
        let mut call = self.call(Method::POST, "reindex", &["_reindex"]).query("wait_for_completion", "false");
        if let Some(limit) = request.requests_per_second {
            call = call.query("requests_per_second", &limit.to_string());
        }
        let answer: Answer = call
            .opaque_id(opaque_id)
            .unpooled()
            .body(request.json()?)
            .carrying(request.remote.credentials)
            .json()
            .await?;
        Ok(answer.task)
    }

    /// Tries a `_reindex` that matches no document: it goes through allowlist, DNS, TLS and credentials of the source
    /// as the destination sees them, writes nothing, and does not create the destination index.
    ///
    /// It says nothing about versions: without a hit there is nothing in the answer that Elasticsearch 7 fails to parse
    /// of an Elasticsearch 8 or OpenSearch source.
    ///
    /// Elasticsearch answers within the connect and socket timeouts. OpenSearch goes on asking a source that answers
    /// 5xx for many minutes; then the verdict is [`ProbeVerdict::Unreachable`] and the task is cancelled.
    ///
    /// # Errors
    /// Those of the destination: not reached, 401, 403 without a remote cause, 5xx without one.
    pub async fn probe_reindex(
        &self,
        remote: &RemoteSource<'_>,
        source_index: &str,
        dest_index: &str,
    ) -> Result<ProbeVerdict, SearchError> {
        let query = json!({ "match_none": {} });
        let request = ReindexRequest {
            remote: *remote,
            source_index,
            query: Some(&query),
            includes: &[],
            excludes: &[],
            batch_size: 1,
            dest_index,
            requests_per_second: None,
            writing: Writing::default(),
        };
        let opaque_id = probe_id();
        let outcome = self
            .call(Method::POST, "reindex probe", &["_reindex"])
            .query("wait_for_completion", "true")
            .opaque_id(&opaque_id)
            .timeout(probe_timeout(remote))
            .body(request.json()?)
            .carrying(remote.credentials)
            .answer()
            .await;
        match outcome {
            Ok((200, body)) => Ok(passed_or_failures(&body)),
            Ok((status, body)) => verdict(status, &body)
                .map_err(|error| remote.credentials.into_iter().fold(error, SearchError::withholding)),
            Err(SearchError::Timeout(_)) => {
                self.cancel_probe(&opaque_id).await;
                Ok(ProbeVerdict::Unreachable("it did not answer in time".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends a probe that nobody waits for any more. It is harmless if that fails: it copies nothing.
    async fn cancel_probe(&self, opaque_id: &str) {
        let Ok(running) = self.reindex_tasks().await else {
            return;
        };
        for task in running.iter().filter(|task| task.opaque_id.as_deref() == Some(opaque_id)) {
            if let Err(error) = self.cancel_task(&task.id).await {
                tracing::debug!(task = %task.id, error = %error, "failed to cancel a probe");
            }
        }
    }
}

/// What the opaque id of every probe begins with.
pub(super) const PROBE_ID_PREFIX: &str = "reindex-probe/";

/// A probe's own opaque id; it only has to differ from those of other probes that run now.
fn probe_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{PROBE_ID_PREFIX}{started:x}/{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// The source is asked for its version and then searched: two exchanges, each with both timeouts, and some slack.
fn probe_timeout(remote: &RemoteSource<'_>) -> Duration {
    const LONGEST: Duration = Duration::from_secs(120);
    let parse = |text| time_value(text).unwrap_or(Duration::from_secs(30)).min(LONGEST);
    let exchange = parse(remote.socket_timeout) + parse(remote.connect_timeout);
    (exchange * 2 + Duration::from_secs(15)).min(LONGEST)
}

/// A time in Elasticsearch's words (`500ms`, `30s`, `1m`, `2h`).
fn time_value(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "nanos" => Some(Duration::from_nanos(number)),
        "micros" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        "d" => number.checked_mul(86400).map(Duration::from_secs),
        _ => None,
    }
}

/// A probe that ended: shards of the source that failed are in `failures`, under status 200.
fn passed_or_failures(body: &[u8]) -> ProbeVerdict {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match answer["failures"].as_array() {
        Some(failures) if failures.is_empty() && answer["total"].is_number() => ProbeVerdict::Passed,
        Some(failures) if !failures.is_empty() => ProbeVerdict::Rejected("a shard of the source failed".to_owned()),
        _ => ProbeVerdict::Rejected("the answer is not that of _reindex".to_owned()),
    }
}

/// What a refused probe means; an error where the refusal is the destination's own.
fn verdict(status: u16, body: &[u8]) -> Result<ProbeVerdict, SearchError> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let evidence = Evidence::read(&answer["error"]);
    match evidence.fault() {
        Fault::NotAllowed => Ok(ProbeVerdict::NotAllowed),
        Fault::Untrusted => Ok(ProbeVerdict::Untrusted),
        Fault::Unauthorized | Fault::Forbidden => Ok(ProbeVerdict::Unauthorized),
        Fault::Unreachable(words) => Ok(ProbeVerdict::Unreachable(words.to_owned())),
        Fault::Overloaded | Fault::Transient if evidence.is_remote() => {
            Ok(ProbeVerdict::Unreachable(format!("it is overloaded or not ready (HTTP status {status})")))
        }
        Fault::ChunkTooLarge | Fault::Overloaded | Fault::Transient | Fault::Other => {
            if !evidence.is_remote() && (matches!(status, 401 | 403 | 429) || status >= 500) {
                return Err(SearchError::rejected(status, body));
            }
            Ok(ProbeVerdict::Rejected(match evidence.root_kind().filter(|kind| is_type_name(kind)) {
                Some(kind) => format!("HTTP status {status} {kind}"),
                None => format!("HTTP status {status}"),
            }))
        }
    }
}

/// Whether the text has the form of an error `type`: the root cause's comes out of the source's body, and nothing else in
/// there may pass as one.
fn is_type_name(text: &str) -> bool {
    let form = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    form && text.len() <= 80 && text.ends_with("_exception")
}
