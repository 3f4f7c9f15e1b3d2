//! The one way in which a finalizer is set and removed.

use std::fmt::Debug;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    api::{FIELD_MANAGER, FINALIZER},
    plan::cleanup::has_finalizer,
};

use super::error::Error;

/// Sets or removes ours, under the resourceVersion that was read, where that changes anything. Whether it did.
///
/// # Errors
/// What the apiserver said; a conflict when the object changed meanwhile.
pub async fn set<K>(client: &Client, object: &mut K, wanted: bool) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    if has_finalizer(object) == wanted {
        return Ok(false);
    }
    let mut finalizers = object.finalizers().to_vec();
    match wanted {
        true => finalizers.push(FINALIZER.to_owned()),
        false => finalizers.retain(|finalizer| finalizer != FINALIZER),
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api.patch(&object.name_any(), &params, &Patch::Merge(patch)).await;
    *object = patched.map_err(Error::kube("set the finalizer"))?;
    Ok(true)
}
