//! Keeps the authorities of sources in a ConfigMap, for a destination's nodes to read.
//!
//! Nobody owns the ConfigMap: nodes that mount it would not start any more if it went with the SearchCluster.

use std::{collections::BTreeMap, fmt::Display};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Api;

use crate::{
    api::{SearchCluster, write_params},
    controller::{
        connect::{ConnectFault, authority},
        context::Context,
        error::Error,
    },
    plan::{
        allowlist::managed_by_another,
        restart::{Blocked, Node},
        search_cluster::is_rolling_out,
        trust::{self, Bundle, FILE, Found, Needed, OWNER, Seen},
        words::full_name,
    },
    search::authorities,
};

/// The sources whose authorities the nodes of `cluster` are to trust, which the ConfigMap holds then, and those that it does without; None
/// where there are none, and while a change is rolled out.
///
/// # Errors
/// A conflict over the ConfigMap. All else that is in the way is told.
pub async fn keep(ctx: &Context, cluster: &SearchCluster, uuid: &str, nodes: &[Node]) -> Result<Option<Seen>, Error> {
    let wanted = cluster.spec.allowlist.trust_source && trust::is_possible(cluster);
    // What a change brings is out already while it is rolled out.
    if !wanted || cluster.metadata.deletion_timestamp.is_some() || is_rolling_out(cluster.status.as_ref()) {
        return Ok(None);
    }
    let (reindexes, clusters) = (ctx.reindexes.state(), ctx.clusters.state());
    if managed_by_another(cluster, uuid, clusters.iter().map(AsRef::as_ref)).is_some() {
        return Ok(None);
    }
    let name = trust::config_map(cluster);
    let mut needed = Needed::new(&name, nodes.iter().any(|node| trust::reads(node, &name)));
    for (name, source) in trust::sources(reindexes.iter().map(AsRef::as_ref), clusters.iter().map(AsRef::as_ref), uuid)
    {
        needed.add(&name, read(ctx, source).await);
    }
    let written = match needed.is_to_be_kept() {
        true => {
            let public = if needed.needs_public() { ctx.public_authorities.get().await } else { &[] };
            Some(write(ctx, cluster, &needed, public).await?)
        }
        false => None,
    };
    Ok(needed.seen(written))
}

/// A source's authority.
async fn read(ctx: &Context, source: &SearchCluster) -> Found {
    let unknown = |why: &dyn Display| {
        format!("the authority of SearchCluster {}, a source, is not to be had: {why}", full_name(source))
    };
    let fault = match authority(ctx, source).await {
        Ok(None) => return Found::Public,
        // A file that a node can't read would keep it from starting.
        Ok(Some(pem)) => match authorities(&pem) {
            Ok(certificates) => return Found::Own(certificates),
            Err(error) => Blocked::by("AuthorityUnknown", unknown(&format!("tls.caRef: {}", error.public_message()))),
        },
        Err(ConnectFault::Read { source: kube::Error::Api(status), kind, namespace, name }) if status.code == 403 => {
            let why = format!("the operator may not read {kind} {namespace}/{name}: grant it");
            Blocked::by("NotPermitted", unknown(&why))
        }
        Err(fault @ ConnectFault::Read { .. }) => Blocked::passing("KubernetesError", unknown(&fault)),
        Err(fault @ ConnectFault::Untold { .. }) => Blocked::passing("AuthorityUnknown", unknown(&fault)),
        Err(fault) => Blocked::by("AuthorityUnknown", unknown(&fault)),
    };
    Found::Fault(fault)
}

/// Err is a conflict: somebody else wrote the ConfigMap meanwhile.
async fn write(
    ctx: &Context,
    cluster: &SearchCluster,
    needed: &Needed,
    public: &[Vec<u8>],
) -> Result<Result<Bundle, Blocked>, Error> {
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
    let bundle = needed.bundle(&kept, public);
    // A file without a certificate would keep a node from starting.
    if bundle.text == text || bundle.text.is_empty() {
        return Ok(Ok(bundle));
    }
    let params = write_params();
    let (verb, written) = match found {
        Some(mut map) => {
            map.data.get_or_insert_default().insert(FILE.to_owned(), bundle.text.clone());
            ("update", api.replace(&name, &params, &map).await)
        }
        None => {
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    annotations: Some(BTreeMap::from([(OWNER.to_owned(), owner.to_owned())])),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(FILE.to_owned(), bundle.text.clone())])),
                ..ConfigMap::default()
            };
            ("create", api.create(&params, &map).await)
        }
    };
    match written {
        Ok(_) => Ok(Ok(bundle)),
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
        tracing::warn!(kind = "ConfigMap", namespace, name, error = %source, "the sources' authorities can't be kept now");
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
