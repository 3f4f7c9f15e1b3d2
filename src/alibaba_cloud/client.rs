//! One request and its answer: address, signature, deadline, bounded body.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use reqwest::{
    Method,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::{
    access_key::AccessKey,
    error::{CloudError, Refusal},
    sign::{Signed, canonical_query, encode, sha256},
};

const VERSION: &str = "2017-06-13";
/// As the vendor's SDKs have it.
const JSON: &str = "application/json; charset=utf-8";
/// How long a connection, and a whole request, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Most that is read of an answer.
const ANSWER_LIMIT: usize = 4 * 1024 * 1024;

/// A client of Alibaba Cloud Elasticsearch (product `elasticsearch`, version 2017-06-13) for one instance.
///
/// It follows no redirects and uses no proxy from the environment, as the client of the search engines.
#[derive(Debug)]
pub struct CloudClient {
    http: reqwest::Client,
    endpoint: Url,
    key: AccessKey,
    /// The instance, encoded for a path.
    instance: String,
}

/// A call of one action on the instance.
pub(super) struct Call {
    pub action: &'static str,
    pub method: Method,
    /// Below the instance's own path, with a slash.
    pub path: &'static str,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

/// What makes a request the only one of its kind.
pub(super) struct Stamp {
    pub nonce: String,
    /// ISO 8601 in UTC, in whole seconds.
    pub date: String,
}

/// A request as it is sent.
pub(super) struct Prepared {
    pub url: Url,
    /// Without `Authorization`; every one but `accept` is signed.
    pub headers: BTreeMap<&'static str, String>,
    pub authorization: String,
    pub body: Vec<u8>,
}

impl CloudClient {
    /// A client; nothing is sent yet. Without an endpoint it is the public one of the region.
    ///
    /// # Errors
    /// [`CloudError::InvalidEndpoint`] or [`CloudError::BuildClient`].
    pub fn new(
        region: &str,
        instance: &str,
        endpoint: Option<&str>,
        key: AccessKey,
    ) -> Result<CloudClient, CloudError> {
        let public = format!("https://elasticsearch.{region}.aliyuncs.com");
        let endpoint = parse_endpoint(endpoint.unwrap_or(&public))?;
        Ok(CloudClient { http: http_client(&endpoint)?, endpoint, key, instance: encode(instance) })
    }

    pub(super) fn prepare(&self, call: &Call, stamp: &Stamp) -> Prepared {
        let body = call.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let body_hash = sha256(&body);
        let mut headers = BTreeMap::from([
            ("host", host(&self.endpoint)),
            ("x-acs-action", call.action.to_owned()),
            ("x-acs-content-sha256", body_hash.clone()),
            ("x-acs-date", stamp.date.clone()),
            ("x-acs-signature-nonce", stamp.nonce.clone()),
            ("x-acs-version", VERSION.to_owned()),
        ]);
        if call.body.is_some() {
            headers.insert("content-type", JSON.to_owned());
        }
        if let Some(token) = &self.key.security_token {
            headers.insert("x-acs-accesskey-id", self.key.id.clone());
            headers.insert("x-acs-security-token", token.expose_secret().to_owned());
        }
        let path = format!("/openapi/instances/{}{}", self.instance, call.path);
        let query = canonical_query(&call.query);
        let signed = Signed {
            method: call.method.as_str(),
            path: &path,
            query: &query,
            headers: &headers,
            body_hash: &body_hash,
        };
        let authorization = signed.authorization(&self.key);
        headers.insert("accept", "application/json".to_owned());
        let mut url = self.endpoint.clone();
        url.set_path(&path);
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
        Prepared { url, headers, authorization, body }
    }

    /// Sends it, once. Whether it is tried again is for who asked.
    pub(super) async fn send<T: DeserializeOwned>(&self, call: &Call) -> Result<T, CloudError> {
        let prepared = self.prepare(call, &Stamp::now());
        let mut request = self.http.request(call.method.clone(), prepared.url).body(prepared.body);
        for (name, value) in prepared.headers {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| CloudError::InvalidArgument { what: "the AccessKey or its token" })?;
            value.set_sensitive(name == "x-acs-security-token");
            request = request.header(HeaderName::from_static(name), value);
        }
        let mut authorization = HeaderValue::from_str(&prepared.authorization)
            .map_err(|_| CloudError::InvalidArgument { what: "the AccessKey" })?;
        authorization.set_sensitive(true);
        let request = request.header(AUTHORIZATION, authorization);
        let (status, body) = answer(call.action, &host(&self.endpoint), request).await?;
        if !(200..300).contains(&status) {
            let refusal = Refusal::parse(call.action, status, &body, Some(&self.key));
            refusal.log();
            return Err(CloudError::Refused(refusal));
        }
        serde_json::from_slice(&body).map_err(|source| CloudError::Decode { action: call.action, source })
    }
}

impl Stamp {
    fn now() -> Stamp {
        let now = Timestamp::now();
        // Unique, which is all that is asked of it; nobody has to be unable to guess it.
        let part = || RandomState::new().hash_one(now.as_nanosecond());
        Stamp { nonce: format!("{:016x}{:016x}", part(), part()), date: date(now) }
    }
}

/// ISO 8601 in UTC, in whole seconds.
pub(super) fn date(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sends a request and reads its answer: status and body, whatever they are.
pub(super) async fn answer(
    action: &'static str,
    host: &str,
    request: reqwest::RequestBuilder,
) -> Result<(u16, Vec<u8>), CloudError> {
    let failed = |source| CloudError::transport(action, host, source);
    let mut response = request.send().await.map_err(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(CloudError::AnswerTooLarge { action, limit: ANSWER_LIMIT });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status().as_u16(), body))
}

/// The value of `Host`: with the port only where it is not the scheme's own.
pub(super) fn host(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The address of an API. Requests carry tokens, so TLS is asked for, except on the operator's own machine.
pub(super) fn parse_endpoint(text: &str) -> Result<Url, CloudError> {
    let invalid = |problem| CloudError::InvalidEndpoint { problem };
    let url = Url::parse(text).map_err(|_| invalid("it is not a URL"))?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Err(invalid("it has no host")),
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(invalid("it is not https")),
    }
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || url.path() != "/" || url.fragment().is_some() {
        return Err(invalid("it carries more than scheme, host and port"));
    }
    Ok(url)
}

pub(super) fn http_client(endpoint: &Url) -> Result<reqwest::Client, CloudError> {
    let mut builder = crate::http::builder(CONNECT_TIMEOUT, REQUEST_TIMEOUT);
    if endpoint.scheme() != "https" {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(CloudError::BuildClient)
}

#[cfg(test)]
mod tests;
