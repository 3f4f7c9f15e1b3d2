//! The provider of a SearchCluster: one case for each place where clusters run.
//!
//! A case reads what is configured, adds entries to it, and tells how far the nodes are. Whether and when is decided in `plan`:
//! `plan::restart` where we restart the nodes, `plan::rollout` where somebody else does.

use kube::Client;

use crate::{
    api::{
        BatchNode, SearchCluster,
        allowlist::CloudChange,
        search_cluster::{self, Connection},
    },
    plan::{
        allowlist::{Change, WHITELIST},
        search_cluster::Configuration,
    },
};

use super::{
    alibaba_cloud::{AlibabaCloud, CloudFault, OperatorIdentity},
    config_text::ConfigTextError,
    eck::Eck,
    open_search_operator::OpenSearchOperator,
    stateful_sets::StatefulSets,
};

/// Why a provider could not read or change something.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The apiserver did not answer, or refused.
    #[error("failed to {action} {name}: {source}")]
    Kube {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// The cause.
        source: kube::Error,
    },
    /// The configuration can't be edited.
    #[error("failed to edit ConfigMap {name}: {source}")]
    Edit {
        /// Which.
        name: String,
        /// The cause.
        source: ConfigTextError,
    },
    /// The cloud did not do it now.
    #[error(transparent)]
    Cloud(CloudFault),
    /// It does not exist.
    #[error("{kind} {name} (spec.provider) does not exist in the namespace of the SearchCluster")]
    Missing {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The operator has no right to do it.
    #[error(
        "the operator may not {verb} {resource} in namespace {namespace}: grant it, as the chart's values under `providers` do"
    )]
    Denied {
        /// The verb.
        verb: &'static str,
        /// Plural and group.
        resource: String,
        /// Where.
        namespace: String,
    },
    /// Somebody else wrote it meanwhile: look again.
    #[error("failed to change {object}: somebody else wrote it meanwhile")]
    Conflict {
        /// What.
        object: String,
    },
    /// It tells something that can't be used.
    #[error("{object}: {message}")]
    Unusable {
        /// What.
        object: String,
        /// What is wrong with it.
        message: String,
    },
    /// The change was understood and refused; to ask again would be answered alike.
    #[error("failed to change {object}: {message}")]
    Refused {
        /// What.
        object: String,
        /// The answer, bounded.
        message: String,
    },
}

impl ProviderError {
    /// The reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            ProviderError::Kube { .. } | ProviderError::Conflict { .. } => "KubernetesError",
            ProviderError::Edit { .. } => "ConfigNotEditable",
            ProviderError::Missing { .. } => "ProviderObjectNotFound",
            ProviderError::Denied { .. } => "NotPermitted",
            ProviderError::Cloud(fault) => fault.reason(),
            ProviderError::Unusable { .. } => "InvalidEndpoint",
            ProviderError::Refused { .. } => "ChangeRefused",
        }
    }

    /// The apiserver forbids it: its message names verb and resource, and it would be answered alike again.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, ProviderError::Kube { source: kube::Error::Api(status), .. } if status.code == 403)
    }

    /// For `map_err`.
    pub fn kube(action: &'static str, name: &str) -> impl FnOnce(kube::Error) -> ProviderError {
        move |source| ProviderError::Kube { action, name: name.to_owned(), source }
    }
}

/// Where a cluster runs.
pub enum Provider<'a> {
    /// Nobody can change it; a person is told what to do.
    None,
    /// StatefulSets with ConfigMaps; we restart the nodes.
    StatefulSets(StatefulSets<'a>),
    /// Elastic Cloud on Kubernetes.
    Eck(Eck<'a>),
    /// The OpenSearch Kubernetes operator.
    OpenSearchOperator(OpenSearchOperator<'a>),
    /// An instance of Alibaba Cloud; the vendor restarts the nodes.
    AlibabaCloud(AlibabaCloud<'a>),
}

impl<'a> Provider<'a> {
    /// The provider of this SearchCluster.
    pub fn of(client: &'a Client, operator: &'a OperatorIdentity, cluster: &'a SearchCluster) -> Provider<'a> {
        if let Some(instance) = AlibabaCloud::of(client, operator, cluster) {
            return Provider::AlibabaCloud(instance);
        }
        let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
        let allowlist = cluster.status.as_ref().and_then(|status| status.allowlist.as_ref());
        let key = allowlist.map_or(WHITELIST, |allowlist| &allowlist.key);
        match &cluster.spec.provider {
            search_cluster::Provider { stateful_sets: Some(pools), .. } => {
                Provider::StatefulSets(StatefulSets { client, namespace, pools, key })
            }
            search_cluster::Provider { eck: Some(object), .. } => {
                Provider::Eck(Eck { client, namespace, name: &object.name, key })
            }
            search_cluster::Provider { open_search_operator: Some(object), .. } => {
                Provider::OpenSearchOperator(OpenSearchOperator { client, namespace, name: &object.name, key })
            }
            search_cluster::Provider { .. } => Provider::None,
        }
    }

    /// How the cluster is reached, where the provider knows it.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn connection(&self) -> Result<Option<Connection>, ProviderError> {
        match self {
            Provider::None | Provider::StatefulSets(_) => Ok(None),
            Provider::Eck(eck) => eck.connection().await.map(Some),
            Provider::OpenSearchOperator(operator) => operator.connection().await.map(Some),
            Provider::AlibabaCloud(instance) => instance.connection().await.map(Some).map_err(ProviderError::Cloud),
        }
    }

    /// What is configured, how far the nodes are, and the text that a person would write to make `change`. Whether the operator has the
    /// right to is asked only where it comes to that (`before_edit`).
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn look(&self, change: &Change, before_edit: bool) -> Result<Configuration, ProviderError> {
        match self {
            Provider::None => Ok(Configuration::Pools(vec![])),
            Provider::StatefulSets(sets) => sets.look().await.map(Configuration::Pools),
            Provider::Eck(eck) => eck.look(change, before_edit).await.map(Configuration::managed),
            Provider::OpenSearchOperator(operator) => {
                operator.look(change, before_edit).await.map(Configuration::managed)
            }
            Provider::AlibabaCloud(instance) => Ok(Configuration::managed(instance.look(change).await)),
        }
    }

    /// Files that the configuration lists in `reindex.ssl.certificate_authorities`, as far as it can be seen; nodes don't show it.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn authorities(&self) -> Result<Vec<String>, ProviderError> {
        match self {
            Provider::None | Provider::AlibabaCloud(_) => Ok(vec![]),
            Provider::StatefulSets(sets) => sets.authorities().await,
            Provider::Eck(eck) => eck.authorities().await,
            Provider::OpenSearchOperator(operator) => operator.authorities().await,
        }
    }

    /// Changes the configuration of every node; the rest of it stays. A cloud gives the change a name, under which it is found.
    ///
    /// # Errors
    /// [`ProviderError`]; a conflict means that somebody else wrote it meanwhile: look again.
    pub async fn apply(&self, change: &Change) -> Result<Option<CloudChange>, ProviderError> {
        match self {
            Provider::None => Ok(None),
            Provider::StatefulSets(sets) => sets.apply(change).await.map(|()| None),
            Provider::Eck(eck) => eck.apply(change).await.map(|()| None),
            Provider::OpenSearchOperator(operator) => operator.apply(change).await.map(|()| None),
            Provider::AlibabaCloud(instance) => instance.apply(change).await,
        }
    }

    /// Takes a change back by its opposite, where we restart the nodes; elsewhere it would restart every node once more.
    ///
    /// # Errors
    /// As [`Provider::apply`].
    pub async fn take_back(&self, opposite: &Change) -> Result<(), ProviderError> {
        match self {
            Provider::StatefulSets(sets) => sets.apply(opposite).await,
            Provider::None | Provider::Eck(_) | Provider::OpenSearchOperator(_) | Provider::AlibabaCloud(_) => Ok(()),
        }
    }

    /// Restarts a node, where we do that.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn evict(&self, node: &BatchNode) -> Result<(), ProviderError> {
        match self {
            Provider::StatefulSets(sets) => sets.evict(node).await,
            Provider::None | Provider::Eck(_) | Provider::OpenSearchOperator(_) | Provider::AlibabaCloud(_) => Ok(()),
        }
    }

    /// Whether somebody else restarts the nodes after the configuration was changed.
    pub fn is_managed(&self) -> bool {
        match self {
            Provider::None | Provider::StatefulSets(_) => false,
            Provider::Eck(_) | Provider::OpenSearchOperator(_) | Provider::AlibabaCloud(_) => true,
        }
    }
}
