//! What a reconcile, which makes a client of the same cluster a dozen times, asks once: the Secrets and ConfigMaps of the client, and who answers
//! it. The next reconcile asks anew, so that a Secret that was changed counts within moments, another cluster at the same address is not taken
//! for the one that was pinned, and nothing is kept between them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};
use secrecy::{ExposeSecret, SecretSlice};

use crate::{
    api::SearchCluster,
    plan::connection::effective,
    search::{ClusterInfo, SearchClient, SearchError},
};

/// What a reconcile has read.
#[derive(Default)]
pub struct ReadOnce {
    secrets: Memory<SecretData>,
    config_maps: Memory<BTreeMap<String, String>>,
    infos: Memory<ClusterInfo>,
}

/// What a Secret holds, in a form that does not print.
pub struct SecretData(BTreeMap<String, SecretSlice<u8>>);

impl SecretData {
    /// The bytes under this key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(ExposeSecret::expose_secret)
    }
}

impl From<Secret> for SecretData {
    fn from(secret: Secret) -> SecretData {
        let data = secret.data.unwrap_or_default().into_iter();
        SecretData(data.map(|(key, value)| (key, value.0.into())).collect())
    }
}

impl ReadOnce {
    /// What the Secret held when it was first asked for. One that was not found is looked for again.
    ///
    /// # Errors
    /// What the apiserver answered.
    pub async fn secret(&self, client: &Client, namespace: &str, name: &str) -> kube::Result<Option<Arc<SecretData>>> {
        if let Some(known) = self.secrets.get(namespace, name) {
            return Ok(Some(known));
        }
        let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await?;
        Ok(found.map(|secret| self.secrets.keep(namespace, name, secret.into())))
    }

    /// The same of a ConfigMap.
    ///
    /// # Errors
    /// What the apiserver answered.
    pub async fn config_map(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<Arc<BTreeMap<String, String>>>> {
        if let Some(known) = self.config_maps.get(namespace, name) {
            return Ok(Some(known));
        }
        let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
        Ok(found.map(|map| self.config_maps.keep(namespace, name, map.data.unwrap_or_default())))
    }

    /// Who answered when the SearchCluster was first reached at its address.
    ///
    /// # Errors
    /// What the cluster answered.
    pub async fn info(&self, cluster: &SearchCluster, client: &SearchClient) -> Result<Arc<ClusterInfo>, SearchError> {
        let uid = cluster.uid().unwrap_or_default();
        let address = effective(cluster).map_or("", |reached| reached.endpoint);
        match self.infos.get(&uid, address) {
            Some(known) => Ok(known),
            None => Ok(self.infos.keep(&uid, address, client.info().await?)),
        }
    }
}

/// By namespace and name, or UID and address.
struct Memory<V>(Mutex<Known<V>>);

type Known<V> = HashMap<(String, String), Arc<V>>;

impl<V> Default for Memory<V> {
    fn default() -> Memory<V> {
        Memory(Mutex::default())
    }
}

impl<V> Memory<V> {
    fn get(&self, first: &str, second: &str) -> Option<Arc<V>> {
        self.lock().get(&(first.to_owned(), second.to_owned())).cloned()
    }

    fn keep(&self, first: &str, second: &str, found: V) -> Arc<V> {
        let found = Arc::new(found);
        self.lock().insert((first.to_owned(), second.to_owned()), found.clone());
        found
    }

    fn lock(&self) -> MutexGuard<'_, Known<V>> {
        // What stands there is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
