//! The one way in which a status is written.

use std::fmt::Debug;

use kube::{Api, Client, Resource, ResourceExt, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};

use crate::api::{Reindex, ReindexStatus, SearchCluster, SearchClusterStatus, write_params};

/// A kind with a status.
pub trait WithStatus:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
    /// Its status.
    type Status: Clone + PartialEq + Default;
    /// Where it is kept.
    fn status_mut(&mut self) -> &mut Option<Self::Status>;
}

impl WithStatus for Reindex {
    type Status = ReindexStatus;
    fn status_mut(&mut self) -> &mut Option<ReindexStatus> {
        &mut self.status
    }
}

impl WithStatus for SearchCluster {
    type Status = SearchClusterStatus;
    fn status_mut(&mut self) -> &mut Option<SearchClusterStatus> {
        &mut self.status
    }
}

/// Writes the status under the resourceVersion that was read: who read an older object gets a conflict, and decides anew. Nothing
/// changed → no write, and None.
///
/// # Errors
/// What the apiserver said; 409 when the object changed meanwhile.
pub async fn write<K: WithStatus>(client: &Client, object: &K, status: &K::Status) -> Result<Option<K>, kube::Error> {
    let mut next = object.clone();
    if next.status_mut().as_ref() == Some(status) {
        return Ok(None);
    }
    *next.status_mut() = Some(status.clone());
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let params = write_params();
    api.replace_status(&object.name_any(), &params, &next).await.map(Some)
}
