//! One request and its answer: address, credentials, deadline, bounded body.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::{Instrument, field::Empty};
use url::Url;

use crate::telemetry::{TRACES, waits::waiting};

use super::connect::SearchClient;
use super::credentials::Credentials;
use super::error::{Rejection, SearchError, bounded};
use super::name::segment;

/// Most that is read of one answer: a definition of a very wide mapping, or the shards of a very large cluster.
const RESPONSE_LIMIT: usize = 32 * 1024 * 1024;
/// Most of a refused request's answer that is logged.
const LOGGED_BODY: usize = 4 * 1024;
/// Longest `type` and `reason` kept of an error, in characters.
const KIND_LIMIT: usize = 100;
const REASON_LIMIT: usize = 1000;
/// How many `type`s of nested causes are kept.
const KINDS_LIMIT: usize = 16;

const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");

/// A request and the begin of its answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// What was asked: a name of ours, one of a few dozen.
    pub call: &'static str,
    /// The answer's status; None where none came.
    pub status: Option<u16>,
    /// Until the answer began, or until it was clear that none comes.
    pub took: Duration,
}

/// Is told of every exchange.
pub type Watcher = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// A request under construction.
pub(super) struct Call<'a> {
    client: &'a SearchClient,
    /// Names the call in errors and in the log; never part of a URL.
    what: &'static str,
    method: Method,
    url: Url,
    body: Option<Value>,
    /// Another cluster's credentials, where the body holds them.
    carried: Option<&'a Credentials>,
    opaque_id: Option<&'a str>,
    timeout: Option<Duration>,
    unpooled: bool,
    limit: usize,
}

impl SearchClient {
    /// A request to the path made of those segments, below the endpoint's own path.
    pub(super) fn call(&self, method: Method, what: &'static str, path: &[&str]) -> Call<'_> {
        let mut url = (*self.base).clone();
        let mut full = url.path().trim_end_matches('/').to_owned();
        for part in path {
            full.push('/');
            full.push_str(&segment(part));
        }
        url.set_path(&full);
        Call {
            client: self,
            what,
            method,
            url,
            body: None,
            carried: None,
            opaque_id: None,
            timeout: None,
            unpooled: false,
            limit: RESPONSE_LIMIT,
        }
    }
}

impl<'a> Call<'a> {
    pub(super) fn query(mut self, key: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(key, value);
        self
    }

    /// Primaries answer it, where the client is to ask no others.
    pub(super) fn reading(self) -> Self {
        if self.client.primaries { self.query("preference", "_primary") } else { self }
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// The body holds these: an answer that quotes them is neither passed on nor logged.
    pub(super) fn carrying(mut self, credentials: Option<&'a Credentials>) -> Self {
        self.carried = credentials;
        self
    }

    /// A deadline other than 30 s.
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(super) fn opaque_id(mut self, id: &'a str) -> Self {
        self.opaque_id = Some(id);
        self
    }

    /// The most bytes of the answer that are read, where it is fewer than otherwise.
    pub(super) fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.min(RESPONSE_LIMIT);
        self
    }

    /// Send it over a connection of its own.
    pub(super) fn unpooled(mut self) -> Self {
        self.unpooled = true;
        self
    }

    /// The answer, decoded.
    pub(super) async fn json<T: DeserializeOwned>(self) -> Result<T, SearchError> {
        let what = self.what;
        let body = self.bytes().await?;
        serde_json::from_slice(&body).map_err(|source| SearchError::Decode { what, source })
    }

    /// The answer of a change to the cluster state: `acknowledged` must be true.
    pub(super) async fn acknowledged(self) -> Result<(), SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            acknowledged: bool,
        }
        match self.json::<Answer>().await?.acknowledged {
            true => Ok(()),
            false => Err(SearchError::NotAcknowledged),
        }
    }

    /// The answer's body; any status that is not a success is an error.
    pub(super) async fn bytes(self) -> Result<Vec<u8>, SearchError> {
        let shown = [self.client.credentials.as_ref(), self.carried];
        match self.answer().await? {
            (200..300, body) => Ok(body),
            (status, body) => {
                let error = SearchError::rejected(status, &body);
                Err(shown.into_iter().flatten().fold(error, SearchError::withholding))
            }
        }
    }

    /// Whether a successful answer has more bytes than that; it is counted, not kept.
    pub(super) async fn exceeds(self, limit: usize) -> Result<bool, SearchError> {
        let (shown, _waiting) = (self.client.credentials.as_ref(), waiting());
        let mut response = self.send().await?;
        let status = response.status();
        let (mut bytes, mut refusal) = (0, Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(SearchError::transport)? {
            bytes += chunk.len();
            if bytes > limit {
                return Ok(true);
            }
            if !status.is_success() {
                refusal.extend_from_slice(&chunk);
            }
        }
        match status.is_success() {
            true => Ok(false),
            false => {
                let error = SearchError::rejected(status.as_u16(), &refusal);
                Err(shown.into_iter().fold(error, SearchError::withholding))
            }
        }
    }

    /// Status and body, whatever they are.
    pub(super) async fn answer(self) -> Result<(u16, Vec<u8>), SearchError> {
        let (what, method, shown) = (self.what, self.method.clone(), [self.client.credentials.as_ref(), self.carried]);
        let (limit, _waiting) = (self.limit, waiting());
        let mut response = self.send().await?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(SearchError::transport)? {
            if body.len() + chunk.len() > limit {
                return Err(SearchError::ResponseTooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            tracing::debug!(
                call = what,
                %method,
                status = status.as_u16(),
                body = %loggable(&body, shown),
                "the cluster refused a request"
            );
        }
        Ok((status.as_u16(), body))
    }

    /// Sends it, and tells who watches.
    async fn send(self) -> Result<Response, SearchError> {
        let (what, watcher, begin) = (self.what, self.client.watcher.clone(), Instant::now());
        // Neither the address, which may hold names of indexes and users, nor a body.
        let span = tracing::trace_span!(
            target: TRACES, "request", otel.name = what, otel.kind = "client", call = what, status = Empty, otel.status_code = Empty
        );
        let result = self.exchange().instrument(span.clone()).await;
        match &result {
            Ok(response) => span.record("status", response.status().as_u16()),
            Err(_) => span.record("otel.status_code", "ERROR"),
        };
        if let Some(watcher) = watcher {
            let status = result.as_ref().ok().map(|response| response.status().as_u16());
            watcher(&Exchange { call: what, status, took: begin.elapsed() });
        }
        result
    }

    async fn exchange(self) -> Result<Response, SearchError> {
        let http = if self.unpooled { &self.client.http.unpooled } else { &self.client.http.pooled };
        let mut request = http.request(self.method.clone(), self.url);
        if let Some(credentials) = &self.client.credentials {
            request = request.header(AUTHORIZATION, credentials.authorization()?);
        }
        if let Some(id) = self.opaque_id {
            let id = HeaderValue::from_str(id).map_err(|_| SearchError::InvalidArgument { what: "the opaque id" })?;
            request = request.header(OPAQUE_ID, id);
        }
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        if let Some(body) = &self.body {
            request = request.json(body);
        }
        request.send().await.map_err(SearchError::transport)
    }
}

/// What may be logged of an answer to a request that showed these credentials.
fn loggable<'a>(body: &'a [u8], shown: [Option<&Credentials>; 2]) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(body);
    match shown.into_iter().flatten().any(|credentials| credentials.are_quoted_in(&text)) {
        true => "[withheld: it quotes credentials]".into(),
        false => String::from_utf8_lossy(&body[..body.len().min(LOGGED_BODY)]),
    }
}

/// `_shards` of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shards {
    pub total: u64,
    pub successful: u64,
    pub failed: u64,
    pub failures: Vec<Value>,
}

impl Shards {
    /// An error unless no shard failed.
    pub(super) fn none_failed(&self) -> Result<(), SearchError> {
        if self.failed == 0 { Ok(()) } else { Err(self.partial(self.failed)) }
    }

    /// An error unless every shard answered; one without any copy is no failure but missing in `successful`.
    pub(super) fn all_answered(&self) -> Result<(), SearchError> {
        let missing = self.failed.max(self.total.saturating_sub(self.successful));
        if missing == 0 { Ok(()) } else { Err(self.partial(missing)) }
    }

    fn partial(&self, failed: u64) -> SearchError {
        let mut kinds = Vec::new();
        self.failures.iter().for_each(|failure| collect_kinds(failure, &mut kinds));
        SearchError::PartialShards { failed, total: self.total, kind: kinds.into_iter().next() }
    }
}

impl Rejection {
    /// Reads `{"error": {"root_cause": […], "type", "reason", "caused_by"}}` or `{"error": "text"}`; anything else
    /// (a proxy's HTML page) leaves only the status.
    pub(super) fn parse(status: u16, body: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &answer["error"];
        let root = match &error["root_cause"][0] {
            Value::Null => error,
            root => root,
        };
        let text =
            |value: &Value, limit| value.as_str().filter(|text| !text.is_empty()).map(|text| bounded(text, limit));
        let mut kinds = Vec::new();
        collect_kinds(error, &mut kinds);
        Rejection {
            status,
            kind: text(&root["type"], KIND_LIMIT),
            reason: text(&root["reason"], REASON_LIMIT).or_else(|| text(error, REASON_LIMIT)),
            kinds,
        }
    }
}

/// Every `type` of an error and its causes, outermost first.
pub(super) fn collect_kinds(error: &Value, kinds: &mut Vec<String>) {
    match error {
        Value::Object(fields) => {
            if let Some(kind) = fields.get("type").and_then(Value::as_str)
                && kinds.len() < KINDS_LIMIT
                && !kinds.iter().any(|known| known == kind)
            {
                kinds.push(bounded(kind, KIND_LIMIT));
            }
            for nested in ["root_cause", "caused_by", "suppressed", "failed_shards", "reason", "cause"] {
                if let Some(nested) = fields.get(nested) {
                    collect_kinds(nested, kinds);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_kinds(item, kinds)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_quotes_credentials_is_not_logged_however_long_it_is() {
        let password = Credentials::Basic { username: "elastic".into(), password: "s3cret-pass".into() };
        let shown = [None, Some(&password)];
        for quoting in ["has [s3cret-pass]".to_owned(), "x".repeat(LOGGED_BODY - 5) + "s3cret-pass"] {
            assert_eq!(loggable(quoting.as_bytes(), shown), "[withheld: it quotes credentials]");
        }
        assert_eq!(loggable(b"user elastic", shown), "user elastic");
        assert_eq!(loggable("x".repeat(2 * LOGGED_BODY).as_bytes(), shown).len(), LOGGED_BODY);
    }
}
