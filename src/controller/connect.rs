//! From a SearchCluster to a client of it: Secrets and certificates are fetched by name, each time, and kept nowhere.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, ResourceExt};
use url::Url;

use crate::{
    api::{
        SearchCluster,
        search_cluster::{CaRef, KeyRef},
    },
    search::{BasicAuth, Connection, SearchClient, SearchError, Tls},
};

/// The user name that a Secret without one means.
const DEFAULT_USERNAME: &str = "elastic";

/// A client, and the credentials it uses; a destination is sent those of its source.
#[derive(Clone)]
pub struct Connected {
    /// The client.
    pub client: SearchClient,
    /// Its credentials.
    pub basic: Option<BasicAuth>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// The apiserver did not answer, or refused.
    #[error("failed to read {kind} {namespace}/{name}")]
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
    /// The endpoint is no URL; admission lets few of those pass.
    #[error("spec.endpoint of the SearchCluster is not a URL")]
    Endpoint,
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
            ConnectFault::Endpoint => "InvalidEndpoint",
            ConnectFault::Client(error) => error.reason(),
        }
    }
}

/// A client of the cluster. Nothing is sent to it yet.
pub async fn connect(client: &Client, cluster: &SearchCluster) -> Result<Connected, ConnectFault> {
    let namespace = cluster.namespace().unwrap_or_default();
    let objects = Objects { client, namespace: &namespace };
    let basic = match &cluster.spec.auth {
        Some(auth) => Some(objects.basic(&auth.basic.secret_ref.name).await?),
        None => None,
    };
    let spec = cluster.spec.tls.clone().unwrap_or_default();
    let tls = Tls {
        ca_pem: match &spec.ca_ref {
            Some(ca) => Some(objects.certificate(ca).await?),
            None => None,
        },
        server_name: spec.server_name,
        insecure_skip_verify: spec.insecure_skip_verify,
    };
    let endpoint = Url::parse(&cluster.spec.endpoint).map_err(|_| ConnectFault::Endpoint)?;
    let client =
        SearchClient::connect(&Connection { endpoint, basic: basic.clone(), tls }).map_err(ConnectFault::Client)?;
    Ok(Connected { client, basic })
}

/// The Secrets and ConfigMaps of one namespace.
struct Objects<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Objects<'_> {
    async fn basic(&self, name: &str) -> Result<BasicAuth, ConnectFault> {
        const FIELD: &str = "auth.basic.secretRef";
        let data = self.secret(name, FIELD).await?;
        let text = |key: &str| data.get(key).and_then(|value| String::from_utf8(value.0.clone()).ok());
        // A file made with an editor ends in a line break that no password has.
        let password = text("password").ok_or_else(|| self.key_missing("Secret", name, "password", FIELD))?;
        Ok(BasicAuth {
            username: text("username").map_or_else(|| DEFAULT_USERNAME.to_owned(), |name| name.trim_end().to_owned()),
            password: password.trim_end_matches(['\r', '\n']).to_owned().into(),
        })
    }

    async fn certificate(&self, ca: &CaRef) -> Result<Vec<u8>, ConnectFault> {
        match ca {
            CaRef { secret: Some(KeyRef { name, key }), .. } => {
                let mut data = self.secret(name, "tls.caRef.secret").await?;
                data.remove(key)
                    .map(|value| value.0)
                    .ok_or_else(|| self.key_missing("Secret", name, key, "tls.caRef.secret"))
            }
            CaRef { config_map: Some(KeyRef { name, key }), .. } => {
                let field = "tls.caRef.configMap";
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), self.namespace);
                let found = api.get_opt(name).await.map_err(|source| self.read("ConfigMap", name, source))?;
                let map = found.ok_or_else(|| self.missing("ConfigMap", name, field))?;
                let text = map.data.and_then(|mut data| data.remove(key));
                text.map(String::into_bytes).ok_or_else(|| self.key_missing("ConfigMap", name, key, field))
            }
            // Admission asks for one of them.
            CaRef { .. } => Ok(Vec::new()),
        }
    }

    async fn secret(&self, name: &str, field: &'static str) -> Result<BTreeMap<String, ByteString>, ConnectFault> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await.map_err(|source| self.read("Secret", name, source))?;
        found.map(|secret| secret.data.unwrap_or_default()).ok_or_else(|| self.missing("Secret", name, field))
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
