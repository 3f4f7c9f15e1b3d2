//! The two SearchClusters of a Reindex, if they admit it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    api::{
        Reindex, SearchCluster,
        search_cluster::{Labels, Role},
    },
    controller::{context::Context, error::Error},
    plan::{
        access::{Asker, admits},
        remote::{self, RemoteAddress},
        validate::Trouble,
    },
};

/// Both clusters, which admit this Reindex.
pub struct Sides {
    /// It is read from.
    pub source: Arc<SearchCluster>,
    /// It is written to, and runs the copy.
    pub destination: Arc<SearchCluster>,
    /// How the destination reaches the source.
    pub remote: Option<RemoteAddress>,
}

/// The destination's SearchCluster, whether or not it admits: for putting things back.
pub async fn destination(ctx: &Context, reindex: &Reindex) -> Result<Option<Arc<SearchCluster>>, Error> {
    let namespace = reindex.namespace().unwrap_or_default();
    let named = &reindex.spec.destination.cluster_ref;
    let there = named.namespace_or(&namespace);
    match cached(ctx, &named.name, there) {
        Some(cluster) => Ok(Some(cluster)),
        None if ctx.scope.watches(there) => live(ctx, &named.name, there).await,
        None => Ok(None),
    }
}

fn cached(ctx: &Context, name: &str, namespace: &str) -> Option<Arc<SearchCluster>> {
    ctx.clusters.get(&ObjectRef::new(name).within(namespace))
}

/// As the apiserver has it now. The cache may lag behind, or not be filled yet after a start.
async fn live(ctx: &Context, name: &str, namespace: &str) -> Result<Option<Arc<SearchCluster>>, Error> {
    let api: Api<SearchCluster> = Api::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(Error::kube("read a SearchCluster"))?;
    Ok(found.map(Arc::new))
}

/// Finds both clusters, and asks whether they admit this Reindex. A cluster that doesn't admit reads like one that isn't there.
pub async fn resolve(ctx: &Context, reindex: &Reindex) -> Result<Result<Sides, Vec<Trouble>>, Error> {
    let namespace = reindex.namespace().unwrap_or_default();
    let source = find(ctx, &namespace, reindex, Role::Source).await?;
    let destination = find(ctx, &namespace, reindex, Role::Destination).await?;
    let (source, destination) = match (source, destination) {
        (Ok(source), Ok(destination)) => (source, destination),
        (source, destination) => return Ok(Err([source.err(), destination.err()].into_iter().flatten().collect())),
    };
    // The destination is sent the source's credentials: whoever may write SearchClusters there could collect them.
    let other = destination.namespace().unwrap_or_default();
    if other != namespace && !admits_namespace(ctx, &source, &other, Role::Source, &reindex.spec.source.index).await? {
        return Ok(Err(vec![Trouble {
            reason: "ClusterNotFound",
            message: format!(
                "SearchCluster {}/{} does not admit the namespace {other} of the destination's SearchCluster as Source; the destination is sent \
                 the source's credentials. Add it to spec.access there",
                source.namespace().unwrap_or_default(),
                source.name_any()
            ),
        }]));
    }
    let remote = remote::address(&destination, &source);
    Ok(Ok(Sides { source, destination, remote }))
}

async fn find(
    ctx: &Context,
    namespace: &str,
    reindex: &Reindex,
    role: Role,
) -> Result<Result<Arc<SearchCluster>, Trouble>, Error> {
    let (named, index, field) = match role {
        Role::Source => (&reindex.spec.source.cluster_ref, &reindex.spec.source.index, "source"),
        Role::Destination => (&reindex.spec.destination.cluster_ref, &reindex.spec.destination.index, "destination"),
    };
    let there = named.namespace_or(namespace);
    // There are no rights to ask with.
    if let Some(trouble) = ctx.scope.trouble(field, there, &named.name) {
        return Ok(Err(trouble));
    }
    if let Some(cluster) = cached(ctx, &named.name, there)
        && admits_namespace(ctx, &cluster, namespace, role, index).await?
    {
        return Ok(Ok(cluster));
    }
    // A denial cancels a copy, so it is never taken from the cache.
    if let Some(cluster) = live(ctx, &named.name, there).await?
        && admits_namespace(ctx, &cluster, namespace, role, index).await?
    {
        return Ok(Ok(cluster));
    }
    Ok(Err(Trouble {
        reason: "ClusterNotFound",
        message: format!(
            "SearchCluster {there}/{} ({field}.clusterRef) is not found, is being deleted, or does not admit namespace {namespace} as {role:?} for index {index}",
            named.name
        ),
    }))
}

async fn admits_namespace(
    ctx: &Context,
    cluster: &SearchCluster,
    namespace: &str,
    role: Role,
    index: &str,
) -> Result<bool, Error> {
    // It goes as soon as what is owed there is put back: nothing begins, and nothing goes on.
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let labels = match selects_by_label(cluster) {
        true => {
            let api: Api<Namespace> = Api::all(ctx.client.clone());
            let found = api.get_opt(namespace).await.map_err(Error::kube("read the labels of a namespace"))?;
            found.and_then(|namespace| namespace.metadata.labels).unwrap_or_default()
        }
        false => Labels::new(),
    };
    Ok(admits(cluster, &Asker { namespace, labels: &labels }, role, index))
}

fn selects_by_label(cluster: &SearchCluster) -> bool {
    cluster
        .spec
        .access
        .iter()
        .flatten()
        .filter_map(|rule| rule.namespaces.as_ref())
        .any(|selection| selection.selector.is_some())
}
