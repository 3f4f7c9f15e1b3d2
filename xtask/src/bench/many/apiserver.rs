//! The apiserver, many requests at once: kubectl sends one after the other.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Certificate, Client, Identity, Method};
use serde_json::Value;

use super::builder;
use crate::components::SERVER;
use crate::paths;

/// How many requests go on at once: as many as the operator's passes.
pub const AT_ONCE: usize = 16;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection as the administrator.
pub struct Apiserver {
    http: Client,
}

impl Apiserver {
    /// Connects.
    pub fn connect() -> Result<Self> {
        let read = |name: &str| {
            let path = paths::state("pki").join(name);
            fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
        };
        let authority = Certificate::from_pem(&read("ca.crt")?).context("failed to parse the apiserver's authority")?;
        let both = [read("admin.crt")?, read("admin.key")?].concat();
        let administrator = Identity::from_pem(&both).context("failed to parse the administrator's certificate")?;
        let http = builder(LIMIT).tls_certs_only([authority]).identity(administrator).build();
        Ok(Self { http: http.context("failed to build a client of the apiserver")? })
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Deletes a path: an object, or all of a collection.
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.send(Method::DELETE, path, None).await
    }

    /// Puts an object in the place of the one at a path: as it is then.
    pub async fn put(&self, path: &str, object: Value) -> Result<Value> {
        self.send(Method::PUT, path, Some(object)).await
    }

    /// Posts an object to a path: as it is then.
    pub async fn post(&self, path: &str, object: Value) -> Result<Value> {
        self.send(Method::POST, path, Some(object)).await
    }

    /// Merges a patch into the object at a path: as it is then.
    pub async fn merge(&self, path: &str, patch: Value) -> Result<Value> {
        self.send(Method::PATCH, path, Some(patch)).await
    }

    /// Posts these to a path, many at once.
    pub async fn post_all(&self, path: &str, objects: impl Iterator<Item = Value>) -> Result<()> {
        let posts = objects.map(|object| async move { self.post(path, object).await.map(drop) });
        stream::iter(posts).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Merges these into the paths before them, many at once.
    pub async fn merge_all(&self, patches: impl Iterator<Item = (String, Value)>) -> Result<()> {
        let patches = patches.map(|(path, patch)| async move { self.merge(&path, patch).await.map(drop) });
        stream::iter(patches).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// What a watch of a path tells within a second, from the time at which a collection had this resourceVersion.
    pub async fn watched(&self, path: &str, selector: &str, since: &str) -> Result<Vec<Value>> {
        let path = format!("{path}?watch=1&timeoutSeconds=1&resourceVersion={since}&fieldSelector={selector}");
        let text = self.text(Method::GET, &path, None).await?;
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().with_context(|| format!("failed to parse the answer to GET {path}"))
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        let text = self.text(method, path, body).await?;
        serde_json::from_str(&text).with_context(|| format!("failed to parse the answer to {what}"))
    }

    async fn text(&self, method: Method, path: &str, body: Option<Value>) -> Result<String> {
        let what = format!("{method} {path}");
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = self.http.request(method, format!("{SERVER}{path}"));
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let response = request.send().await.with_context(|| format!("failed: {what}"))?;
        let status = response.status();
        let text = response.text().await.with_context(|| format!("failed to read the answer to {what}"))?;
        if !status.is_success() {
            bail!("failed: {what}: {status} {text}");
        }
        Ok(text)
    }
}
