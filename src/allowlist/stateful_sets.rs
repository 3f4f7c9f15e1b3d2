//! The provider `statefulSets`: node configuration in ConfigMaps, nodes restarted by evicting their pods.
//!
//! The StatefulSet itself is never changed: that would release other people's pending changes, and fight whoever applies it.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod, PodSpec},
    policy::v1::Eviction,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Status};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};

use crate::{
    api::{BatchNode, search_cluster::StatefulSetPool, write_params},
    plan::{allowlist::Change, restart, trust},
};

use super::{
    config_text::{self, ConfigTextError},
    gitops,
    provider::ProviderError,
};

/// The node pools of one SearchCluster.
pub struct StatefulSets<'a> {
    /// Talks to the apiserver.
    pub client: &'a Client,
    /// Where everything is.
    pub namespace: &'a str,
    /// The pools.
    pub pools: &'a [StatefulSetPool],
    /// The setting.
    pub key: &'a str,
}

impl StatefulSets<'_> {
    /// What is configured, and how the pods are.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn look(&self) -> Result<Vec<restart::Pool>, ProviderError> {
        let mut pools = Vec::with_capacity(self.pools.len());
        for pool in self.pools {
            pools.push(self.look_at(pool).await?);
        }
        Ok(pools)
    }

    async fn look_at(&self, pool: &StatefulSetPool) -> Result<restart::Pool, ProviderError> {
        let sets: Api<StatefulSet> = Api::namespaced(self.client.clone(), self.namespace);
        let set = sets.get_opt(&pool.name).await.map_err(ProviderError::kube("read StatefulSet", &pool.name))?;
        let reference = &pool.config_map;
        let map = self
            .maps()
            .get_opt(&reference.name)
            .await
            .map_err(ProviderError::kube("read ConfigMap", &reference.name))?;
        let text = map.as_ref().and_then(|map| map.data.as_ref()?.get(&reference.key));
        let entries = match text {
            Some(text) => config_text::entries(text, self.key).map_err(|error| error.to_string()),
            None => Err(format!("it does not exist, or has no key {}", reference.key)),
        };
        // Whether the text can be edited is known only by trying.
        let entries = entries.and_then(|entries| {
            let tried = config_text::add(text.map_or("", String::as_str), self.key, &["probe:1".to_owned()]);
            tried.map(|_| entries).map_err(|error| error.to_string())
        });
        Ok(restart::Pool {
            stateful_set: pool.name.clone(),
            replicas: set.as_ref().map(|set| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)),
            rolling_out: set.as_ref().is_some_and(is_rolling_out),
            config: format!("{}/{}", reference.name, reference.key),
            owner: map
                .as_ref()
                .and_then(|map| gitops::owner(&map.metadata, &[&["f:data", &format!("f:{}", reference.key)]])),
            entries,
            pods: match &set {
                Some(set) => self.pods(set).await?,
                None => vec![],
            },
        })
    }

    /// Authorities that the pools' configurations list.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn authorities(&self) -> Result<Vec<String>, ProviderError> {
        let mut listed = BTreeSet::new();
        for reference in self.pools.iter().map(|pool| &pool.config_map) {
            let name = &reference.name;
            let map = self.maps().get_opt(name).await.map_err(ProviderError::kube("read ConfigMap", name))?;
            let text = map.and_then(|map| map.data?.remove(&reference.key)).unwrap_or_default();
            listed.extend(config_text::entries(&text, trust::SETTING).unwrap_or_default());
        }
        Ok(listed.into_iter().collect())
    }

    async fn pods(&self, set: &StatefulSet) -> Result<Vec<restart::Pod>, ProviderError> {
        let labels = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
        let selector: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let params = ListParams::default().labels(&selector.join(","));
        let pods = self
            .pod_api()
            .list(&params)
            .await
            .map_err(ProviderError::kube("list the pods of StatefulSet", &set.name_any()))?;
        let owned = |pod: &&Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == set.meta().uid.as_ref());
        Ok(pods.items.iter().filter(owned).map(facts).collect())
    }

    /// Changes the entries in every pool's configuration; two pools may share a ConfigMap.
    ///
    /// # Errors
    /// [`ProviderError`]; a conflict means that somebody else wrote it meanwhile: look again.
    pub async fn apply(&self, change: &Change) -> Result<(), ProviderError> {
        self.edit(|text| config_text::remove(&config_text::add(text, self.key, &change.add)?, self.key, &change.remove))
            .await
    }

    async fn edit(&self, change: impl Fn(&str) -> Result<String, ConfigTextError>) -> Result<(), ProviderError> {
        for reference in self.pools.iter().map(|pool| &pool.config_map) {
            let name = &reference.name;
            let Some(mut map) = self.maps().get_opt(name).await.map_err(ProviderError::kube("read ConfigMap", name))?
            else {
                continue;
            };
            let Some(text) = map.data.as_mut().and_then(|data| data.get_mut(&reference.key)) else { continue };
            let edited = change(text).map_err(|source| ProviderError::Edit { name: name.clone(), source })?;
            if edited != *text {
                *text = edited;
                // Its resourceVersion goes with it: who wrote it meanwhile wins, and we look again.
                let params = write_params();
                self.maps().replace(name, &params, &map).await.map_err(ProviderError::kube("write ConfigMap", name))?;
            }
        }
        Ok(())
    }

    /// Evicts a node's pod, so that PodDisruptionBudgets hold; only the very pod that the batch names. Held back by a budget, or
    /// replaced already: not an error, the next look sees it.
    ///
    /// # Errors
    /// [`ProviderError::Kube`]
    pub async fn evict(&self, node: &BatchNode) -> Result<(), ProviderError> {
        // Not by `Api::evict`: it sends the options under a name that the apiserver does not know, and so without the precondition.
        let preconditions = Some(Preconditions { uid: Some(node.pod_uid.clone()), resource_version: None });
        let eviction = Eviction {
            metadata: ObjectMeta { name: Some(node.pod.clone()), ..ObjectMeta::default() },
            delete_options: Some(DeleteOptions { preconditions, ..DeleteOptions::default() }),
        };
        let (api, params) = (self.pod_api(), PostParams::default());
        match api.create_subresource::<_, Status>("eviction", &node.pod, &params, &eviction).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => {
                let namespace = self.namespace;
                tracing::info!(
                    kind = "Pod",
                    namespace,
                    name = node.pod,
                    code = status.code,
                    "the eviction has to wait: {}",
                    status.message
                );
                Ok(())
            }
            Err(source) => Err(ProviderError::kube("evict pod", &node.pod)(source)),
        }
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

fn is_rolling_out(set: &StatefulSet) -> bool {
    let Some(status) = &set.status else { return true };
    status.update_revision != status.current_revision || status.observed_generation < set.metadata.generation
}

fn facts(pod: &Pod) -> restart::Pod {
    let status = pod.status.as_ref();
    let ready = status.and_then(|status| status.conditions.as_ref()).is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    });
    restart::Pod {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        ip: status.and_then(|status| status.pod_ip.clone()),
        ready: ready && pod.metadata.deletion_timestamp.is_none(),
        durable_paths: pod.spec.as_ref().map(durable_paths).unwrap_or_default(),
    }
}

/// Mount paths of volumes that outlive the pod.
fn durable_paths(spec: &PodSpec) -> Vec<String> {
    let durable: Vec<&str> = spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| {
            volume.persistent_volume_claim.is_some()
                || volume.host_path.is_some()
                || volume.nfs.is_some()
                || volume.csi.is_some()
        })
        .map(|volume| volume.name.as_str())
        .collect();
    let mounts = spec.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    mounts.filter(|mount| durable.contains(&mount.name.as_str())).map(|mount| mount.mount_path.clone()).collect()
}
