//! A minimal client that talks to a search engine in the cluster from the host.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Certificate, Client, Method};
use serde_json::Value;

use crate::kubectl;

/// The port of every search engine's HTTP API.
const PORT: u16 = 9200;
/// For how long a heap may be full.
const FULL: Duration = Duration::from_secs(60);

/// A search engine behind a Service, reached at the Service's address under its name in the cluster.
#[derive(Clone)]
pub struct SearchClient {
    http: Client,
    base: String,
    credentials: Option<(String, String)>,
}

impl SearchClient {
    /// A client of the Service `service`: over TLS when there is an authority (PEM), which is then the only one trusted.
    pub fn new(
        namespace: &str,
        service: &str,
        authority: Option<&str>,
        credentials: Option<(&str, &str)>,
    ) -> Result<Self> {
        // Another part of the process may have chosen the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = format!("{service}.{namespace}.svc");
        let address = address(namespace, service)?;
        let authorities = authority
            .map(|pem| Certificate::from_pem(pem.as_bytes()).context("failed to read a certificate authority"))
            .transpose()?;
        let http = Client::builder()
            .no_proxy()
            .resolve(&host, address)
            .tls_certs_only(authorities)
            .timeout(Duration::from_secs(60))
            .build()
            .context("failed to build an HTTP client")?;
        let scheme = if authority.is_some() { "https" } else { "http" };
        Ok(Self {
            http,
            base: format!("{scheme}://{host}:{PORT}"),
            credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
        })
    }

    /// Sends a request; returns the answer's status and JSON body (null when there is none), whatever the status is.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let body = body.map(|body| ("application/json", body.to_string()));
        self.send(method, path, body).await
    }

    /// Reads a path, which must answer 200.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.expect_success(Method::GET, path, None).await
    }

    /// Writes to a path, which must answer 200 or 201.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        let body = Some(("application/json", body.to_string()));
        self.expect_success(Method::PUT, path, body).await
    }

    /// Writes documents as `_bulk` takes them and makes them visible; fails when one is refused.
    pub async fn bulk(&self, lines: String) -> Result<()> {
        let body = Some(("application/x-ndjson", lines));
        let answer = self.expect_success(Method::POST, "/_bulk?refresh=true", body).await?;
        if answer["errors"] != false {
            bail!("failed: _bulk refused documents: {answer}");
        }
        Ok(())
    }

    /// Writes documents into one index as `_bulk` takes them and leaves the refresh to the index; fails when one is refused.
    pub async fn bulk_into(&self, index: &str, lines: String) -> Result<()> {
        let body = Some(("application/x-ndjson", lines));
        // Only what is looked at: the whole answer has a line for each document.
        let path = format!("/{index}/_bulk?filter_path=errors,items.*.error");
        let answer = self.expect_success(Method::POST, &path, body).await?;
        if answer["errors"] != false {
            bail!("failed: _bulk refused documents: {}", answer["items"][0]);
        }
        Ok(())
    }

    async fn expect_success(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<Value> {
        let begin = Instant::now();
        loop {
            let (status, answer) = self.send(method.clone(), path, body.clone()).await?;
            match status {
                200..300 => return Ok(answer),
                // An engine whose heap is full for a moment.
                429 if begin.elapsed() < FULL => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => bail!("failed: {method} {}{path}: {status} {answer}", self.base),
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Result<(u16, Value)> {
        let what = format!("{method} {}{path}", self.base);
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let response = request.send().await.with_context(|| format!("failed: {what}"))?;
        let status = response.status().as_u16();
        let text = response.text().await.with_context(|| format!("failed to read the answer to {what}"))?;
        if text.is_empty() {
            return Ok((status, Value::Null));
        }
        let body =
            serde_json::from_str(&text).with_context(|| format!("failed to parse the answer to {what}: {text}"))?;
        Ok((status, body))
    }
}

/// Where the Service is reached from this machine.
pub fn address(namespace: &str, service: &str) -> Result<SocketAddr> {
    let found = kubectl::get("service", namespace, service)?
        .with_context(|| format!("failed to find the Service {namespace}/{service}"))?;
    let address = found["spec"]["clusterIP"].as_str().unwrap_or_default();
    let address: IpAddr = address
        .parse()
        .with_context(|| format!("failed to parse the address of {namespace}/{service}: {address:?}"))?;
    Ok(SocketAddr::new(address, PORT))
}
