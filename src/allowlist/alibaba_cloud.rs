//! The provider `alibabaCloud`: a managed instance, whose nodes the vendor restarts when its settings are changed.

use std::collections::BTreeSet;

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Client};
use secrecy::SecretString;

use crate::{
    alibaba_cloud::{AccessKey, ActionRecord, Class, CloudClient, CloudError, Fault, Identity, Instance},
    api::{
        Batch, SearchCluster,
        allowlist::CloudChange,
        search_cluster::{AlibabaCloudInstance, Connection, SecretRef},
    },
    plan::{
        alibaba_cloud::{
            change::{self, Look, Record},
            es_config::{self, EsConfigError},
            pair,
        },
        allowlist::{self, Change, WHITELIST},
        restart::Blocked,
        rollout::{Managed, Progress},
        spec_hash::short_hash,
        validate::{Seen, Trouble},
    },
};

use super::provider::ProviderError;

/// The operator's own identity, and who may use it: whoever may write SearchClusters in these namespaces acts with it.
#[derive(Clone, Debug)]
pub struct OperatorIdentity {
    /// The identity.
    pub identity: Identity,
    /// Namespaces whose SearchClusters may use it.
    pub namespaces: BTreeSet<String>,
}

/// Why there is no client of the API, or why it could not do something.
#[derive(Debug, thiserror::Error)]
pub enum CloudFault {
    /// The apiserver did not answer, or refused.
    #[error("failed to read Secret {name}: {source}")]
    ReadSecret {
        /// The Secret.
        name: String,
        /// The cause.
        source: kube::Error,
    },
    /// There is no such Secret.
    #[error(
        "Secret {name} is not found; create it, or correct provider.alibabaCloud.credentialsSecretRef of the SearchCluster"
    )]
    SecretMissing {
        /// The Secret.
        name: String,
    },
    /// It exists, without the key.
    #[error("Secret {name} (provider.alibabaCloud.credentialsSecretRef) has no key {key}, or it is not text; add it")]
    KeyMissing {
        /// The Secret.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// The operator's identity is not for this namespace.
    #[error(
        "SearchClusters of namespace {namespace} may not use the operator's own identity: name a Secret in provider.alibabaCloud.credentialsSecretRef, or start the operator with the namespace in --alibaba-cloud-identity-namespaces"
    )]
    NotAdmitted {
        /// The SearchCluster's.
        namespace: String,
    },
    /// The instance's configuration can't be edited.
    #[error(transparent)]
    Config(#[from] EsConfigError),
    /// Somebody else began a change since the last look.
    #[error("instance {instance} is {status:?} now: its change is waited for")]
    Changing {
        /// The instance.
        instance: String,
        /// Its status.
        status: String,
    },
    /// The instance has no address, as one has that is not usable.
    #[error(
        "Alibaba Cloud tells no address of instance {instance}, which is {status:?}: look into the console, or set spec.endpoint"
    )]
    NoAddress {
        /// The instance.
        instance: String,
        /// Its status.
        status: String,
    },
    /// The API.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

impl CloudFault {
    /// A reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            CloudFault::ReadSecret { .. } => "KubernetesError",
            CloudFault::SecretMissing { .. } => "SecretNotFound",
            CloudFault::KeyMissing { .. } => "KeyNotFound",
            CloudFault::NotAdmitted { .. } => "IdentityNotAdmitted",
            CloudFault::Config(_) => "ConfigNotEditable",
            CloudFault::Changing { .. } => "InstanceBusy",
            CloudFault::NoAddress { .. } => "EndpointUnknown",
            CloudFault::Cloud(error) => error.reason(),
        }
    }

    /// What becomes of it.
    pub fn class(&self) -> Class {
        match self {
            CloudFault::ReadSecret { .. } => Class::Transient,
            CloudFault::Changing { .. } => Class::Waiting,
            CloudFault::SecretMissing { .. }
            | CloudFault::KeyMissing { .. }
            | CloudFault::NotAdmitted { .. }
            | CloudFault::Config(_)
            | CloudFault::NoAddress { .. } => Class::Terminal,
            CloudFault::Cloud(error) => error.class(),
        }
    }
}

/// The instance of one SearchCluster.
pub struct AlibabaCloud<'a> {
    /// Talks to the apiserver.
    pub client: &'a Client,
    /// The operator's own identity.
    pub operator: &'a OperatorIdentity,
    /// The SearchCluster's namespace.
    pub namespace: &'a str,
    /// Which instance.
    pub spec: &'a AlibabaCloudInstance,
    /// The change that is on its way.
    pub batch: Option<&'a Batch>,
    /// How it was reached before.
    pub known: Option<&'a Connection>,
}

impl<'a> AlibabaCloud<'a> {
    /// The instance that a SearchCluster names, if it does.
    pub fn of(
        client: &'a Client,
        operator: &'a OperatorIdentity,
        cluster: &'a SearchCluster,
    ) -> Option<AlibabaCloud<'a>> {
        let spec = cluster.spec.provider.alibaba_cloud.as_ref()?;
        let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
        let status = cluster.status.as_ref();
        let batch = status.and_then(|status| status.allowlist.as_ref()?.batch.as_ref());
        let known = status.and_then(|status| status.connection.as_ref());
        Some(AlibabaCloud { client, operator, namespace, spec, batch, known })
    }

    /// A client of the instance. The AccessKey is fetched each time, and kept nowhere.
    ///
    /// # Errors
    /// [`CloudFault`]
    pub async fn connect(&self) -> Result<CloudClient, CloudFault> {
        let key = match &self.spec.credentials_secret_ref {
            Some(reference) => self.secret(reference).await?,
            None if self.operator.namespaces.contains(self.namespace) => {
                self.operator.identity.access_key(Timestamp::now()).await?
            }
            None => return Err(CloudFault::NotAdmitted { namespace: self.namespace.to_owned() }),
        };
        let spec = self.spec;
        Ok(CloudClient::new(&spec.region_id, &spec.instance_id, spec.endpoint.as_deref(), key)?)
    }

    async fn secret(&self, reference: &SecretRef) -> Result<AccessKey, CloudFault> {
        let name = &reference.name;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let found = api.get_opt(name).await.map_err(|source| CloudFault::ReadSecret { name: name.clone(), source })?;
        let secret = found.ok_or_else(|| CloudFault::SecretMissing { name: name.clone() })?;
        let data = secret.data.unwrap_or_default();
        let text = |key: &'static str| {
            let value = data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()).map(str::trim);
            value.filter(|value| !value.is_empty()).ok_or_else(|| CloudFault::KeyMissing { name: name.clone(), key })
        };
        Ok(AccessKey {
            id: text("accessKeyId")?.to_owned(),
            secret: text("accessKeySecret")?.into(),
            security_token: text("securityToken").ok().map(SecretString::from),
        })
    }

    /// As `Provider::object` of the API has it.
    fn object(&self) -> String {
        format!("instance {}", self.spec.instance_id)
    }

    /// How the instance is reached: at its private address. While a change is on its way, or the API has no time, as before.
    ///
    /// # Errors
    /// [`CloudFault`]
    pub async fn connection(&self) -> Result<Connection, CloudFault> {
        let known = self.known.filter(|known| known.object == self.object());
        let changing = self.batch.is_some_and(|batch| batch.phase.closes_the_gate());
        match (known, changing) {
            (Some(known), true) => Ok(known.clone()),
            (known, _) => match (self.ask_connection().await, known) {
                (Err(fault), Some(known)) if fault.class() != Class::Terminal => Ok(known.clone()),
                (asked, _) => asked,
            },
        }
    }

    async fn ask_connection(&self) -> Result<Connection, CloudFault> {
        let instance = self.connect().await?.describe_instance().await?;
        let (Some(domain), Some(port)) = (instance.domain.filter(|domain| !domain.is_empty()), instance.port) else {
            let (instance, status) = (self.spec.instance_id.clone(), instance.status);
            return Err(CloudFault::NoAddress { instance, status });
        };
        let scheme = match instance.protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("https")) {
            true => "https",
            false => "http",
        };
        let endpoint = format!("{scheme}://{domain}:{port}");
        Ok(Connection { object: self.object(), endpoint, ..Connection::default() })
    }

    /// What is configured, and how far the instance is. What goes wrong with the API is part of that: a change that is under way
    /// goes on without us.
    pub async fn look(&self, wanted: &Change) -> Managed {
        let change = self.batch.and_then(|batch| batch.cloud_change.as_ref());
        let object = self.object();
        let (configured, progress) = match self.observe(change).await {
            Ok(look) => {
                let entries = self.batch.map(|batch| batch.entries.as_slice()).unwrap_or_default();
                (change::configured(&look, WHITELIST, change, entries), change::progress(&look, change))
            }
            Err(fault) => {
                let message = fault.to_string();
                let passes = fault.class() != Class::Terminal;
                let blocked = Blocked { reason: fault.reason(), message: message.clone(), passes };
                (Err(blocked), Progress::Rolling { message })
            }
        };
        let instruction = match &configured {
            Ok(held) => {
                format!(
                    "{}   # in the YML file configuration of {object}",
                    allowlist::line(WHITELIST, held, &wanted.add)
                )
            }
            // Without what is there a whole line would say to throw it away.
            Err(blocked) => {
                format!(
                    "add {} to {WHITELIST} of {object}, which was not looked at: {}",
                    wanted.add.join(", "),
                    blocked.message
                )
            }
        };
        Managed {
            instruction,
            object,
            held: configured.clone().unwrap_or_default(),
            configured,
            // The vendor's configuration takes no file.
            trust: Ok(false),
            owner: None,
            progress,
            // The answer counts data nodes, and others in other places.
            nodes: None,
        }
    }

    async fn observe(&self, change: Option<&CloudChange>) -> Result<Look, CloudFault> {
        let client = self.connect().await?;
        let instance = client.describe_instance().await?;
        let records = match change {
            Some(change) => client.list_action_records(&change.request_id).await,
            None => Ok(vec![]),
        };
        let records = match records {
            // Without the right to see records the instance itself tells how far it is.
            Err(error) if error.class() == Class::Terminal => {
                let (namespace, instance) = (self.namespace, &self.spec.instance_id);
                tracing::warn!(namespace, instance, %error, "the record of the change can't be seen");
                vec![]
            }
            records => records?,
        };
        let ours = |record: &ActionRecord| change.is_some_and(|change| change.request_id == record.request_id);
        let record = records.into_iter().find(ours);
        let Instance { status, updated_at, es_config, .. } = instance;
        let record = record.map(|record| Record { state: record.state_type, process: record.process });
        Ok(Look { status, updated_at, es_config, record })
    }

    /// Changes the configuration. The call replaces all of it, so it is read right before.
    ///
    /// # Errors
    /// [`ProviderError`]; one that passes by itself means: look again.
    pub async fn apply(&self, change: &Change) -> Result<Option<CloudChange>, ProviderError> {
        self.change(change).await.map_err(|fault| match &fault {
            // Only the change meets it. What a look meets too is told by the next one, and mended without an edit of the spec.
            CloudFault::Cloud(CloudError::Refused(refusal))
                if matches!(refusal.fault(), Fault::Forbidden | Fault::Other) =>
            {
                ProviderError::Refused { object: self.object(), message: fault.to_string() }
            }
            _ => ProviderError::Cloud(fault),
        })
    }

    /// What the vendor's rules for a reindex ask for.
    ///
    /// # Errors
    /// Why it can't be seen; `side` names it.
    pub async fn instance(&self, side: &str) -> Seen<pair::Instance> {
        let described = async { Ok(self.connect().await?.describe_instance().await?) };
        let instance: Instance = described.await.map_err(|fault: CloudFault| trouble(side, &fault))?;
        let mut zones: BTreeSet<String> = instance.zone_infos.into_iter().map(|zone| zone.zone_id).collect();
        if zones.is_empty() {
            zones.extend(Some(instance.network_config.vs_area).filter(|zone| !zone.is_empty()));
        }
        Ok(pair::Instance {
            id: self.spec.instance_id.clone(),
            region: self.spec.region_id.clone(),
            zones,
            control: pair::ControlMode::parse(&instance.arch_type),
            version: instance.es_version,
            status: instance.status,
        })
    }

    /// The instance's PrivateLink endpoints.
    ///
    /// # Errors
    /// As [`AlibabaCloud::instance`].
    pub async fn endpoints(&self, side: &str) -> Seen<Vec<pair::Endpoint>> {
        let listed = async { Ok(self.connect().await?.list_vpc_endpoints().await?) };
        let endpoints = listed.await.map_err(|fault: CloudFault| trouble(side, &fault))?;
        Ok(endpoints
            .into_iter()
            .map(|endpoint| pair::Endpoint {
                domain: endpoint.endpoint_domain,
                status: endpoint.endpoint_status,
                connection: endpoint.connection_status,
            })
            .collect())
    }

    /// None where the entries stand there by now: the same configuration sent once more could restart the nodes for nothing.
    async fn change(&self, change: &Change) -> Result<Option<CloudChange>, CloudFault> {
        let client = self.connect().await?;
        let instance = client.describe_instance().await?;
        // What is shown of an instance that is being changed may be what it was before.
        if instance.status != "active" {
            return Err(CloudFault::Changing { instance: self.spec.instance_id.clone(), status: instance.status });
        }
        let held = es_config::entries(instance.es_config.as_ref(), WHITELIST)?;
        if change.add.iter().all(|entry| allowlist::covers(&held, entry)) {
            return Ok(None);
        }
        let config = es_config::with(instance.es_config.as_ref(), WHITELIST, change)?;
        let token = client_token(self.batch, &config);
        let request_id = client.update_instance_settings(&config, &token).await?;
        Ok(Some(CloudChange { request_id, updated_at_before: instance.updated_at }))
    }
}

/// For findings, which name the side.
fn trouble(side: &str, fault: &CloudFault) -> Trouble {
    Trouble { reason: fault.reason(), message: format!("{side}: {fault}") }
}

/// The same for the same change, so that a repetition after a crash is one change.
fn client_token(batch: Option<&Batch>, config: &es_config::EsConfig) -> String {
    let batch = batch.map(|batch| format!("{} {}", batch.id, batch.started_at.0)).unwrap_or_default();
    let settings: String = config.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    format!("reindex-{}", short_hash(format!("{batch}\n{settings}").as_bytes()))
}
