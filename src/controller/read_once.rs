//! The Secrets and ConfigMaps of clients, each read once by a reconcile, which makes a client of the same cluster a dozen times. The next one
//! reads them anew, so that a Secret that was changed counts within moments, and nothing is kept between them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use secrecy::{ExposeSecret, SecretSlice};

/// What a reconcile has read.
#[derive(Default)]
pub struct ReadOnce {
    secrets: Memory<SecretData>,
    config_maps: Memory<BTreeMap<String, String>>,
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
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let read = async { Ok(api.get_opt(name).await?.map(SecretData::from)) };
        self.secrets.get_or(namespace, name, read).await
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
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let read = async { Ok(api.get_opt(name).await?.map(|map| map.data.unwrap_or_default())) };
        self.config_maps.get_or(namespace, name, read).await
    }
}

/// By namespace and name.
struct Memory<V>(Mutex<Known<V>>);

type Known<V> = HashMap<(String, String), Arc<V>>;

impl<V> Default for Memory<V> {
    fn default() -> Memory<V> {
        Memory(Mutex::default())
    }
}

impl<V> Memory<V> {
    async fn get_or(
        &self,
        namespace: &str,
        name: &str,
        read: impl Future<Output = kube::Result<Option<V>>>,
    ) -> kube::Result<Option<Arc<V>>> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(known) = self.lock().get(&key) {
            return Ok(Some(known.clone()));
        }
        let found = read.await?.map(Arc::new);
        if let Some(found) = &found {
            self.lock().insert(key, found.clone());
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, Known<V>> {
        // What stands there is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
