//! The provider of a SearchCluster: one case for each place where clusters run.
//!
//! A case reads what is configured, adds entries to it, and tells how far the nodes are. Whether and when is decided in `plan`:
//! `plan::restart` where we restart the nodes, `plan::rollout` where somebody else does.

use kube::Client;

use crate::{
    api::{BatchNode, SearchCluster, allowlist::CloudChange},
    plan::{allowlist::WHITELIST, search_cluster::Configuration},
};

use super::{
    alibaba_cloud::{AlibabaCloud, CloudFault, OperatorIdentity},
    config_text::ConfigTextError,
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
        match &cluster.spec.provider.stateful_sets {
            Some(pools) => Provider::StatefulSets(StatefulSets { client, namespace, pools, key }),
            None => Provider::None,
        }
    }

    /// What is configured, how far the nodes are, and the text that a person would write to add `missing`.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn look(&self, missing: &[String]) -> Result<Configuration, ProviderError> {
        match self {
            Provider::None => Ok(Configuration::Pools(vec![])),
            Provider::StatefulSets(sets) => sets.look().await.map(Configuration::Pools),
            Provider::AlibabaCloud(instance) => Ok(Configuration::Managed(instance.look(missing).await)),
        }
    }

    /// Adds entries to the configuration of every node; the rest of it stays. A cloud gives the change a name, under which it is found.
    ///
    /// # Errors
    /// [`ProviderError`]; a conflict means that somebody else wrote it meanwhile: look again.
    pub async fn add(&self, entries: &[String]) -> Result<Option<CloudChange>, ProviderError> {
        match self {
            Provider::None => Ok(None),
            Provider::StatefulSets(sets) => sets.add(entries).await.map(|()| None),
            Provider::AlibabaCloud(instance) => instance.add(entries).await.map(Some),
        }
    }

    /// Takes entries out again, where we restart the nodes; elsewhere it would restart every node once more.
    ///
    /// # Errors
    /// As [`Provider::add`].
    pub async fn remove(&self, entries: &[String]) -> Result<(), ProviderError> {
        match self {
            Provider::StatefulSets(sets) => sets.remove(entries).await,
            Provider::None | Provider::AlibabaCloud(_) => Ok(()),
        }
    }

    /// Restarts a node, where we do that.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn evict(&self, node: &BatchNode) -> Result<(), ProviderError> {
        match self {
            Provider::StatefulSets(sets) => sets.evict(node).await,
            Provider::None | Provider::AlibabaCloud(_) => Ok(()),
        }
    }

    /// Whether somebody else restarts the nodes after the configuration was changed.
    pub fn is_managed(&self) -> bool {
        match self {
            Provider::None | Provider::StatefulSets(_) => false,
            Provider::AlibabaCloud(_) => true,
        }
    }
}
