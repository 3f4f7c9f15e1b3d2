//! How a cluster is reached: its address, credentials and what certificate is trusted.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::{Host, Url};

use super::credentials::Credentials;
use super::error::SearchError;
use super::request::Watcher;

/// How long a TCP connection (with TLS) may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one request may take, unless the call needs more.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections are dropped before the node behind them can be long gone: one look at a cluster follows the other sooner.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long connections are shared: afterwards a balancer may choose another node, and the system's authorities are read anew.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// How to reach a cluster. `Debug` shows neither what is secret in the credentials nor the certificate.
#[derive(Clone)]
pub struct Connection {
    /// `http` or `https` address, with an optional path prefix that is kept in front of every request.
    /// User and password inside it are refused.
    pub endpoint: Url,
    /// Sent with each request; `None` for a cluster without security.
    pub credentials: Option<Credentials>,
    /// What is trusted; only used when the endpoint is `https`.
    pub tls: Tls,
}

/// What is trusted of the server's certificate.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates in PEM. When given, **only** these are trusted; otherwise those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// The DNS name that the certificate must carry (and that is sent as SNI and `Host`) where it differs from the
    /// endpoint's host.
    pub server_name: Option<String>,
    /// Trust any certificate for any name. Whoever is on the path can then read the password.
    pub insecure_skip_verify: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut endpoint = self.endpoint.clone();
        // Neither can fail for an address that has a host; one without has no user either.
        let _ = endpoint.set_username("");
        let _ = endpoint.set_password(None);
        f.debug_struct("Connection")
            .field("endpoint", &endpoint.as_str())
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca_pem_bytes", &self.ca_pem.as_ref().map(Vec::len))
            .field("server_name", &self.server_name)
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .finish()
    }
}

/// Client of one Elasticsearch or OpenSearch cluster. Cloning is cheap and shares the connections.
///
/// It follows no redirects (credentials would travel along) and uses no proxy from the environment (the addresses
/// that it calls are those that somebody wrote down).
#[derive(Clone)]
pub struct SearchClient {
    pub(super) http: Http,
    pub(super) base: Arc<Url>,
    pub(super) credentials: Option<Credentials>,
    pub(super) primaries: bool,
    pub(super) watcher: Option<Watcher>,
}

impl fmt::Debug for SearchClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchClient")
            .field("base", &self.base.as_str())
            .field("credentials", &self.credentials)
            .finish()
    }
}

/// What holds connections; credentials are no part of it.
#[derive(Clone)]
pub(super) struct Http {
    /// Keeps connections, for all calls but one.
    pub(super) pooled: reqwest::Client,
    /// Keeps none: a new connection for each `_reindex` lets a balancer spread the tasks over the nodes.
    pub(super) unpooled: reqwest::Client,
}

/// Connections that are shared for a while by all clients which are made here for the same endpoint and the same trust: to begin one means to
/// parse certificates and to shake hands.
#[derive(Default)]
pub struct Connections(Mutex<HashMap<(Url, Tls), (Http, Instant)>>);

impl Connections {
    /// As [`SearchClient::connect`].
    ///
    /// # Errors
    /// Those of [`SearchClient::connect`].
    pub fn connect(&self, connection: &Connection) -> Result<SearchClient, SearchError> {
        let key = (connection.endpoint.clone(), connection.tls.clone());
        // What stands there is whole, whoever panicked.
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|_, (_, since)| since.elapsed() < SHARED_FOR);
        if let Some((http, _)) = shared.get(&key) {
            return SearchClient::over(http.clone(), connection);
        }
        let client = SearchClient::connect(connection)?;
        shared.insert(key, (client.http.clone(), Instant::now()));
        Ok(client)
    }
}

impl SearchClient {
    /// A client for the cluster; nothing is sent yet.
    ///
    /// A process-wide rustls crypto provider must have been installed
    /// (`rustls::crypto::ring::default_provider().install_default()`).
    ///
    /// # Errors
    /// [`SearchError::InvalidEndpoint`], [`SearchError::InvalidCertificate`], [`SearchError::NoCryptoProvider`] or
    /// [`SearchError::BuildClient`]; none of them goes away by trying again.
    pub fn connect(connection: &Connection) -> Result<SearchClient, SearchError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(SearchError::NoCryptoProvider);
        }
        let (_, resolver) = address(connection)?;
        let http = Http {
            pooled: builder(connection, resolver.clone())?.build().map_err(SearchError::build)?,
            unpooled: builder(connection, resolver)?.pool_max_idle_per_host(0).build().map_err(SearchError::build)?,
        };
        SearchClient::over(http, connection)
    }

    fn over(http: Http, connection: &Connection) -> Result<SearchClient, SearchError> {
        let (base, _) = address(connection)?;
        let credentials = connection.credentials.clone();
        Ok(SearchClient { http, base: Arc::new(base), credentials, primaries: false, watcher: None })
    }

    /// The same, which tells of each exchange.
    #[must_use]
    pub fn watched_by(self, watcher: Watcher) -> SearchClient {
        SearchClient { watcher: Some(watcher), ..self }
    }

    /// The same, whose scans, counts and look-ups are answered by primaries if `only` is true (`preference=_primary`). Only OpenSearch knows
    /// that: Elasticsearch 7 and later refuses it.
    #[must_use]
    pub fn reading_primaries(self, only: bool) -> SearchClient {
        SearchClient { primaries: only, ..self }
    }
}

/// The address to put into requests, and a resolver where its host is not the one to connect to.
fn address(connection: &Connection) -> Result<(Url, Option<ResolveAs>), SearchError> {
    let endpoint = &connection.endpoint;
    let invalid = |problem| SearchError::InvalidEndpoint { problem };
    if !matches!(endpoint.scheme(), "http" | "https") {
        return Err(invalid("its scheme is neither http nor https"));
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Err(invalid("it carries a user or a password, which belong into a Secret"));
    }
    if endpoint.query().is_some() || endpoint.fragment().is_some() {
        return Err(invalid("it carries a query or a fragment"));
    }
    let mut base = endpoint.clone();
    let Some(name) = connection.tls.server_name.as_deref().filter(|_| endpoint.scheme() == "https") else {
        return Ok((base, None));
    };
    if !matches!(Host::parse(name), Ok(Host::Domain(_))) {
        return Err(invalid("the server name is not a DNS name"));
    }
    let target = match endpoint.host() {
        Some(Host::Domain(host)) => Target::Name(host.to_owned()),
        Some(Host::Ipv4(ip)) => Target::Ip(ip.into()),
        Some(Host::Ipv6(ip)) => Target::Ip(ip.into()),
        None => return Err(invalid("it has no host")),
    };
    base.set_host(Some(name)).map_err(|_| invalid("the server name is not a DNS name"))?;
    Ok((base, Some(ResolveAs(target))))
}

fn builder(connection: &Connection, resolver: Option<ResolveAs>) -> Result<reqwest::ClientBuilder, SearchError> {
    let tls = &connection.tls;
    let mut builder = crate::http::builder(CONNECT_TIMEOUT, REQUEST_TIMEOUT).pool_idle_timeout(POOL_IDLE_TIMEOUT);
    if connection.endpoint.scheme() != "https" {
        // An image without system certificates must still reach a cluster without TLS.
        builder = builder.tls_certs_only([]);
    } else if tls.insecure_skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else if let Some(pem) = &tls.ca_pem {
        builder = builder.tls_certs_only(certificates(pem)?);
    }
    Ok(match resolver {
        Some(resolver) => builder.dns_resolver(resolver),
        None => builder,
    })
}

fn certificates(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, SearchError> {
    authorities(pem)?.iter().map(|der| reqwest::Certificate::from_der(der).map_err(SearchError::build)).collect()
}

/// Every certificate of the bundle, as DER. One that cannot be read fails the whole bundle: half a trust store would show up much later,
/// as an untrusted node.
///
/// # Errors
/// [`SearchError::InvalidCertificate`]
pub fn authorities(pem: &[u8]) -> Result<Vec<Vec<u8>>, SearchError> {
    let invalid = |problem| SearchError::InvalidCertificate { problem };
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|_| invalid("it is not valid PEM"))?;
        if !is_trust_anchor(&der) {
            return Err(invalid("one of its certificates cannot be used as a trust anchor"));
        }
        certificates.push(der.to_vec());
    }
    if certificates.is_empty() {
        return Err(invalid("it contains no certificate"));
    }
    Ok(certificates)
}

/// The authorities of the system, as DER and in a stable order: what a connection trusts that names none. Those that can't be read are
/// left out. Reads files: nothing for an async thread.
pub fn system_authorities() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "not all of the system's certificate authorities can be read");
    }
    found.certs.iter().filter(|der| is_trust_anchor(der)).map(|der| der.to_vec()).collect()
}

fn is_trust_anchor(der: &CertificateDer<'_>) -> bool {
    rustls::RootCertStore::empty().add(der.clone()).is_ok()
}

/// Resolves every name as one target: requests carry the name on the certificate, connections go to the endpoint.
#[derive(Clone)]
struct ResolveAs(Target);

#[derive(Clone)]
enum Target {
    Name(String),
    Ip(IpAddr),
}

impl Resolve for ResolveAs {
    fn resolve(&self, _: Name) -> Resolving {
        let target = self.0.clone();
        // Port 0: the port of the request's URL is put in its place.
        Box::pin(async move {
            Ok(match target {
                Target::Ip(ip) => Box::new(std::iter::once(SocketAddr::new(ip, 0))) as Addrs,
                Target::Name(host) => {
                    let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
                    Box::new(found.into_iter())
                }
            })
        })
    }
}
