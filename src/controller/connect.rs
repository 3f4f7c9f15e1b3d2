//! From a SearchCluster to a client of it: Secrets and certificates are fetched by name, by each reconcile anew, and kept nowhere.

use std::{sync::Arc, time::Duration};

use kube::ResourceExt;
use url::Url;

use crate::{
    api::{
        SearchCluster,
        search_cluster::{ApiKeyAuth, Auth, BasicAuth, CaRef, KeyRef, PasswordRef},
    },
    controller::{context::Context, read_once::SecretData},
    plan::connection::{self, Authority, Effective, Login},
    search::{ApiKey, Connection, Credentials, SearchClient, SearchError, Tls},
    text::one_line,
};

/// How long an address is waited for that the operator need not reach.
const SOON: Duration = Duration::from_secs(3);
/// The user name that a Secret without one means.
const DEFAULT_USERNAME: &str = "elastic";

/// A client, and the credentials it uses; a destination is sent those of its source.
#[derive(Clone)]
pub struct Connected {
    /// The client.
    pub client: SearchClient,
    /// Its credentials.
    pub credentials: Option<Credentials>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// The apiserver did not answer, or refused.
    #[error("failed to read {kind} {namespace}/{name}: {}", apiserver_said(source))]
    Read {
        /// Secret or ConfigMap.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The cause.
        source: kube::Error,
    },
    /// It does not exist.
    #[error("{kind} {namespace}/{name} is not found; create it, or correct spec.{field} of the SearchCluster")]
    Missing {
        /// Secret or ConfigMap.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The field that names it.
        field: &'static str,
    },
    /// It exists, without the key.
    #[error(
        "{kind} {namespace}/{name} has no key {key:?}, or it is not text; add it, or correct spec.{field} of the SearchCluster"
    )]
    KeyMissing {
        /// Secret or ConfigMap.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
        /// The field that names it.
        field: &'static str,
    },
    /// The key holds something else than an API key. What, stays unsaid: it may be half of one.
    #[error(
        "key {key:?} of Secret {namespace}/{name} holds no API key: it must be the encoded one, or id and key with a colon in between"
    )]
    ApiKeyInvalid {
        /// The Secret's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// The endpoint is no URL; admission lets few of those pass.
    #[error("the endpoint of the SearchCluster is not a URL")]
    Endpoint,
    /// The provider has not told yet what the spec leaves out.
    #[error("{object} has not told yet how it is reached; status.conditions of the SearchCluster say why")]
    Untold {
        /// What knows it.
        object: String,
    },
    /// What was found makes no client.
    #[error("{}", .0.public_message())]
    Client(SearchError),
}

impl ConnectFault {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            ConnectFault::Read { .. } => "KubernetesError",
            ConnectFault::Missing { kind: "Secret", .. } => "SecretNotFound",
            ConnectFault::Missing { .. } => "ConfigMapNotFound",
            ConnectFault::KeyMissing { .. } => "KeyNotFound",
            ConnectFault::ApiKeyInvalid { .. } => "InvalidApiKey",
            ConnectFault::Endpoint => "InvalidEndpoint",
            ConnectFault::Untold { .. } => "EndpointUnknown",
            ConnectFault::Client(error) => error.reason(),
        }
    }
}

/// What is told of it: its answer holds nothing of the object.
fn apiserver_said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => one_line(&status.message),
        _ => "the apiserver did not answer".to_owned(),
    }
}

/// A client of the cluster. Nothing is sent to it yet.
pub async fn connect(ctx: &Context, cluster: &SearchCluster) -> Result<Connected, ConnectFault> {
    let namespace = cluster.namespace().unwrap_or_default();
    let objects = Objects { ctx, namespace: &namespace };
    let reached = connection::effective(cluster)
        .ok_or_else(|| ConnectFault::Untold { object: cluster.spec.provider.object().unwrap_or_default() })?;
    let (credentials, tls) = futures::try_join!(objects.login(&reached.login), objects.tls(&reached))?;
    let endpoint = Url::parse(reached.endpoint).map_err(|_| ConnectFault::Endpoint)?;
    let connection = Connection { endpoint, credentials: credentials.clone(), tls };
    let client = ctx.connections.connect(&connection).map_err(ConnectFault::Client)?;
    Ok(Connected { client: client.watched_by(ctx.metrics.watcher()), credentials })
}

/// Whether the cluster answers with a redirect at the address that others are told. What can't be reached from here, or not soon, isn't known.
pub async fn redirects_at(ctx: &Context, cluster: &SearchCluster, address: &str) -> bool {
    let namespace = cluster.namespace().unwrap_or_default();
    let objects = Objects { ctx, namespace: &namespace };
    let Some(reached) = connection::effective(cluster) else { return false };
    let (Ok(endpoint), Ok(tls)) = (Url::parse(address), objects.tls(&reached).await) else { return false };
    // Nobody there is shown anything.
    let connection = Connection { endpoint, credentials: None, tls };
    let Ok(client) = ctx.connections.connect(&connection) else { return false };
    let answer = tokio::time::timeout(SOON, client.info()).await;
    matches!(answer, Ok(Err(error)) if error.is_redirect())
}

/// The authority (PEM) of a cluster's certificate, where its SearchCluster or its provider has one of its own.
pub async fn authority(ctx: &Context, cluster: &SearchCluster) -> Result<Option<Vec<u8>>, ConnectFault> {
    let namespace = cluster.namespace().unwrap_or_default();
    let objects = Objects { ctx, namespace: &namespace };
    match connection::effective(cluster) {
        Some(reached) => objects.authority(&reached.ca).await,
        None => Err(ConnectFault::Untold { object: cluster.spec.provider.object().unwrap_or_default() }),
    }
}

/// A key's value. A file made with an editor ends in a line break that no password has.
fn text(secret: &SecretData, key: &str) -> Option<String> {
    let value = String::from_utf8(secret.get(key)?.to_vec()).ok()?;
    Some(value.trim_end_matches(['\r', '\n']).to_owned())
}

/// The Secrets and ConfigMaps of one namespace.
struct Objects<'a> {
    ctx: &'a Context,
    namespace: &'a str,
}

impl Objects<'_> {
    async fn login(&self, login: &Login<'_>) -> Result<Option<Credentials>, ConnectFault> {
        match login {
            Login::Spec(auth) => self.credentials(auth).await,
            Login::Provider(password) => self.password(password).await.map(Some),
            Login::Nobody => Ok(None),
        }
    }

    async fn credentials(&self, auth: &Auth) -> Result<Option<Credentials>, ConnectFault> {
        match auth {
            Auth { basic: Some(BasicAuth { secret_ref }), .. } => self.basic(&secret_ref.name).await.map(Some),
            Auth { api_key: Some(ApiKeyAuth { secret_ref }), .. } => self.api_key(&secret_ref.name).await.map(Some),
            // Admission asks for one of them.
            Auth { .. } => Ok(None),
        }
    }

    async fn basic(&self, name: &str) -> Result<Credentials, ConnectFault> {
        const FIELD: &str = "auth.basic.secretRef";
        let secret = self.secret(name, FIELD).await?;
        let password = text(&secret, "password").ok_or_else(|| self.key_missing("Secret", name, "password", FIELD))?;
        Ok(Credentials::Basic {
            username: text(&secret, "username")
                .map_or_else(|| DEFAULT_USERNAME.to_owned(), |name| name.trim_end().to_owned()),
            password: password.into(),
        })
    }

    /// User name and password, where the provider keeps them.
    async fn password(&self, from: &PasswordRef) -> Result<Credentials, ConnectFault> {
        const FIELD: &str = "auth";
        let secret = self.secret(&from.secret, FIELD).await?;
        let lacks = |key: &str| self.key_missing("Secret", &from.secret, key, FIELD);
        let username = match &from.username {
            Some(username) => username.clone(),
            None => text(&secret, "username").ok_or_else(|| lacks("username"))?,
        };
        let password = text(&secret, &from.key).ok_or_else(|| lacks(&from.key))?;
        Ok(Credentials::Basic { username, password: password.into() })
    }

    async fn api_key(&self, name: &str) -> Result<Credentials, ConnectFault> {
        const FIELD: &str = "auth.apiKey.secretRef";
        const KEY: &str = "apiKey";
        let secret = self.secret(name, FIELD).await?;
        let given = text(&secret, KEY).ok_or_else(|| self.key_missing("Secret", name, KEY, FIELD))?;
        let key = ApiKey::parse(given.trim()).map_err(|_| ConnectFault::ApiKeyInvalid {
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            key: KEY,
        })?;
        Ok(Credentials::ApiKey(key))
    }

    async fn tls(&self, reached: &Effective<'_>) -> Result<Tls, ConnectFault> {
        Ok(Tls {
            ca_pem: self.authority(&reached.ca).await?,
            server_name: reached.server_name.map(str::to_owned),
            insecure_skip_verify: reached.insecure_skip_verify,
        })
    }

    async fn authority(&self, ca: &Authority<'_>) -> Result<Option<Vec<u8>>, ConnectFault> {
        match ca {
            Authority::Spec(ca) => self.certificate(ca).await.map(Some),
            Authority::Provider(ca) => Ok(self.secret(&ca.name, "tls.caRef").await?.get(&ca.key).map(<[u8]>::to_vec)),
            Authority::Image => Ok(None),
        }
    }

    async fn certificate(&self, ca: &CaRef) -> Result<Vec<u8>, ConnectFault> {
        match ca {
            CaRef { secret: Some(KeyRef { name, key }), .. } => {
                let field = "tls.caRef.secret";
                let secret = self.secret(name, field).await?;
                secret.get(key).map(<[u8]>::to_vec).ok_or_else(|| self.key_missing("Secret", name, key, field))
            }
            CaRef { config_map: Some(KeyRef { name, key }), .. } => {
                let field = "tls.caRef.configMap";
                let read = self.ctx.read.config_map(&self.ctx.client, self.namespace, name).await;
                let found = read.map_err(|source| self.read("ConfigMap", name, source))?;
                let map = found.ok_or_else(|| self.missing("ConfigMap", name, field))?;
                let bytes = map.get(key).map(|text| text.clone().into_bytes());
                bytes.ok_or_else(|| self.key_missing("ConfigMap", name, key, field))
            }
            // Admission asks for one of them.
            CaRef { .. } => Ok(Vec::new()),
        }
    }

    async fn secret(&self, name: &str, field: &'static str) -> Result<Arc<SecretData>, ConnectFault> {
        let read = self.ctx.read.secret(&self.ctx.client, self.namespace, name).await;
        read.map_err(|source| self.read("Secret", name, source))?.ok_or_else(|| self.missing("Secret", name, field))
    }

    fn read(&self, kind: &'static str, name: &str, source: kube::Error) -> ConnectFault {
        ConnectFault::Read { kind, namespace: self.namespace.to_owned(), name: name.to_owned(), source }
    }

    fn missing(&self, kind: &'static str, name: &str, field: &'static str) -> ConnectFault {
        ConnectFault::Missing { kind, namespace: self.namespace.to_owned(), name: name.to_owned(), field }
    }

    fn key_missing(&self, kind: &'static str, name: &str, key: &str, field: &'static str) -> ConnectFault {
        let (namespace, name, key) = (self.namespace.to_owned(), name.to_owned(), key.to_owned());
        ConnectFault::KeyMissing { kind, namespace, name, key, field }
    }
}
