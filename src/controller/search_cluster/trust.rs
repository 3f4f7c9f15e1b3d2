//! Keeps the authorities of sources in a ConfigMap, for a destination's nodes to read.
//!
//! Nobody owns the ConfigMap: nodes that mount it would not start any more if it went with the SearchCluster.

use std::{collections::BTreeMap, fmt::Display};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};

use crate::{
    api::{FIELD_MANAGER, SearchCluster},
    controller::{
        connect::{ConnectFault, authority},
        context::Context,
        error::Error,
    },
    plan::{
        allowlist::managed_by_another,
        restart::Blocked,
        search_cluster::is_rolling_out,
        trust::{self, FILE, OWNER, Seen},
    },
    search::authorities,
};

/// The sources whose authorities the nodes of `cluster` are to trust, which the ConfigMap holds then; None where there are none, and
/// while a change is rolled out.
///
/// # Errors
/// A conflict over the ConfigMap. All else that is in the way is told.
pub async fn keep(ctx: &Context, cluster: &SearchCluster, uuid: &str) -> Result<Option<Seen>, Error> {
    let wanted = cluster.spec.allowlist.trust_source && trust::is_possible(cluster);
    // What a change brings is out already while it is rolled out.
    if !wanted || cluster.metadata.deletion_timestamp.is_some() || is_rolling_out(cluster.status.as_ref()) {
        return Ok(None);
    }
    let (reindexes, clusters) = (ctx.reindexes.state(), ctx.clusters.state());
    if managed_by_another(cluster, uuid, clusters.iter().map(AsRef::as_ref)).is_some() {
        return Ok(None);
    }
    let mut seen = Seen { sources: vec![], public: vec![], kept: Ok(()) };
    let (mut needed, mut unknown) = (vec![], None);
    for (name, source) in trust::sources(reindexes.iter().map(AsRef::as_ref), clusters.iter().map(AsRef::as_ref), uuid)
    {
        match read(ctx, source).await {
            Ok(certificates) if certificates.is_empty() => seen.public.push(name),
            Ok(certificates) => {
                seen.sources.push(name);
                needed.extend(certificates);
            }
            // A change without it would be followed by another one, and its restarts.
            Err(blocked) => {
                seen.sources.push(name);
                unknown.get_or_insert(blocked);
            }
        }
    }
    if seen.sources.is_empty() {
        return Ok(None);
    }
    if !needed.is_empty() {
        seen.kept = write(ctx, cluster, &needed).await?;
    }
    if let Some(blocked) = unknown {
        seen.kept = Err(blocked);
    }
    Ok(Some(seen))
}

/// The certificates (DER) of a source's authority; empty if it has a public one.
async fn read(ctx: &Context, source: &SearchCluster) -> Result<Vec<Vec<u8>>, Blocked> {
    let unknown = |why: &dyn Display| {
        format!("the authority of SearchCluster {}, a source, is not to be had: {why}", trust::full_name(source))
    };
    match authority(&ctx.client, source).await {
        // A file that a node can't read would keep it from starting.
        Ok(Some(pem)) => authorities(&pem).map_err(|error| {
            Blocked::by("AuthorityUnknown", unknown(&format!("tls.caRef: {}", error.public_message())))
        }),
        Ok(None) => Ok(vec![]),
        Err(ConnectFault::Read { source: kube::Error::Api(status), kind, namespace, name }) if status.code == 403 => {
            let why = format!("the operator may not read {kind} {namespace}/{name}: grant it");
            Err(Blocked::by("NotPermitted", unknown(&why)))
        }
        Err(fault @ ConnectFault::Read { .. }) => Err(Blocked::passing("KubernetesError", unknown(&fault))),
        Err(fault @ ConnectFault::Untold { .. }) => Err(Blocked::passing("AuthorityUnknown", unknown(&fault))),
        Err(fault) => Err(Blocked::by("AuthorityUnknown", unknown(&fault))),
    }
}

/// Err is a conflict: somebody else wrote the ConfigMap meanwhile.
async fn write(ctx: &Context, cluster: &SearchCluster, needed: &[Vec<u8>]) -> Result<Result<(), Blocked>, Error> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let owner = cluster.metadata.name.as_deref().unwrap_or_default();
    let name = trust::config_map(cluster);
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let found = match api.get_opt(&name).await {
        Ok(found) => found,
        Err(source) => return Ok(Err(blocked("get", namespace, &name, source))),
    };
    if let Some(map) = &found
        && map.metadata.annotations.as_ref().and_then(|annotations| annotations.get(OWNER)).map(String::as_str)
            != Some(owner)
    {
        let message = format!(
            "ConfigMap {name} exists, and lacks the annotation {OWNER}: {owner} by which the operator knows its own: delete it, or rename this SearchCluster"
        );
        return Ok(Err(Blocked::by("SourcesNotOurs", message)));
    }
    let text = found.as_ref().and_then(|map| map.data.as_ref()?.get(FILE)).map(String::as_str).unwrap_or_default();
    let kept: Vec<Vec<u8>> =
        trust::blocks(text).filter_map(|block| authorities(block.as_bytes()).ok()).flatten().collect();
    if kept.is_empty() && !text.trim().is_empty() {
        let message = format!(
            "ConfigMap {name} holds no certificate that can be read, and text in its key {FILE}: mend it, or empty it, after which what is needed is written there"
        );
        return Ok(Err(Blocked::by("SourcesUnreadable", message)));
    }
    let bundle = match trust::bundle(&kept, needed) {
        Ok(bundle) => bundle,
        Err(blocked) => return Ok(Err(blocked)),
    };
    if bundle == text {
        return Ok(Ok(()));
    }
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let (verb, written) = match found {
        Some(mut map) => {
            map.data.get_or_insert_default().insert(FILE.to_owned(), bundle);
            ("update", api.replace(&name, &params, &map).await)
        }
        None => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    annotations: Some(BTreeMap::from([(OWNER.to_owned(), owner.to_owned())])),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(FILE.to_owned(), bundle)])),
                ..ConfigMap::default()
            };
            ("create", api.create(&params, &map).await)
        }
    };
    match written {
        Ok(_) => Ok(Ok(())),
        // It is looked at again at once.
        Err(source @ kube::Error::Api(_)) if is_conflict(&source) => {
            Err(Error::Kube { action: "write the ConfigMap of the sources' authorities", source })
        }
        Err(source) => Ok(Err(blocked(verb, namespace, &name, source))),
    }
}

/// Somebody else wrote it meanwhile.
fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Why the ConfigMap is not to be had.
fn blocked(verb: &'static str, namespace: &str, name: &str, source: kube::Error) -> Blocked {
    let what = format!("ConfigMap {name}, which keeps the sources' authorities");
    let kube::Error::Api(status) = source else {
        tracing::warn!(name, error = %source, "the sources' authorities can't be kept now");
        return Blocked::passing("KubernetesError", format!("failed to {verb} {what}: the apiserver did not answer"));
    };
    let said: String = status.message.chars().take(512).collect();
    match status.code {
        403 => {
            let message = format!(
                "the operator may not {verb} configmaps in namespace {namespace}, to keep the sources' authorities in {name}: grant it, as the chart's values under `providers` do ({said})"
            );
            Blocked::by("NotPermitted", message)
        }
        400 | 404 | 413 | 422 => Blocked::by("ChangeRefused", format!("failed to {verb} {what}: {said}")),
        code => Blocked::passing("KubernetesError", format!("failed to {verb} {what}: HTTP status {code}")),
    }
}
