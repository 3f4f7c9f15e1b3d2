//! The apiserver, many requests at once: kubectl sends one after the other.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Method};
use serde_json::Value;

use super::http_client;
use crate::kubectl;

/// How many requests go on at once.
const AT_ONCE: usize = 16;

/// A connection as the administrator, by `kubectl proxy`.
pub struct Apiserver {
    proxy: Child,
    base: String,
    http: Client,
}

impl Apiserver {
    /// Connects.
    pub fn connect() -> Result<Self> {
        let mut proxy = kubectl::command()
            .args(["proxy", "--port=0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start kubectl proxy")?;
        let output = proxy.stdout.take().expect("the standard output is piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("failed to read what kubectl proxy prints")?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default();
        Ok(Self { base: format!("http://{address}"), proxy, http: http_client(Duration::from_secs(120))? })
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Deletes a path: an object, or all of a collection.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.send(Method::DELETE, path, None).await
    }

    /// Posts these to a path, many at once.
    pub async fn post_all(&self, path: &str, objects: impl Iterator<Item = Value>) -> Result<()> {
        let posts = objects.map(|object| async move { self.send(Method::POST, path, Some(object)).await.map(drop) });
        stream::iter(posts).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Merges these into the paths before them, many at once.
    pub async fn merge_all(&self, patches: impl Iterator<Item = (String, Value)>) -> Result<()> {
        let patches =
            patches.map(|(path, patch)| async move { self.send(Method::PATCH, &path, Some(patch)).await.map(drop) });
        stream::iter(patches).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await.with_context(|| format!("failed: {what}"))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("failed to read the answer to {what}"))?;
        if !status.is_success() {
            bail!("failed: {what}: {status} {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("failed to parse the answer to {what}"))
    }
}

impl Drop for Apiserver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
