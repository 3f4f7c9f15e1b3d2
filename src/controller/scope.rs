//! Watching and listing a kind: in every namespace, or in those that the operator works in.

use futures::future::try_join_all;
use kube::{Api, Client, Resource, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use crate::{controller::error::Error, plan::scope::Scope};

/// A client of the kind in each of these namespaces, with its name; a single one without a name where all are watched.
pub fn apis<K>(client: &Client, scope: &Scope) -> Vec<(Option<String>, Api<K>)>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match scope.namespaces() {
        None => vec![(None, Api::all(client.clone()))],
        Some(names) => names.map(|name| (Some(name.to_owned()), Api::namespaced(client.clone(), name))).collect(),
    }
}

/// Every object of the kind that the operator works on, as the apiserver has it now.
///
/// # Errors
/// Trouble with the apiserver, in any of the namespaces: whoever asks must not take a part for the whole.
pub async fn list<K>(client: &Client, scope: &Scope, action: &'static str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let lists = apis::<K>(client, scope)
        .into_iter()
        .map(|(_, api)| async move { api.list(&ListParams::default()).await.map(|list| list.items) });
    let lists = try_join_all(lists).await.map_err(Error::kube(action))?;
    Ok(lists.into_iter().flatten().collect())
}
