//! Keeps the authorities of sources in a ConfigMap, for a destination's nodes to read.
//!
//! Nobody owns the ConfigMap: nodes that mount it would not start any more if it went with the SearchCluster.

use std::collections::BTreeMap;

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
        trust::{self, FILE, OWNER, Seen},
    },
    search::authorities,
};

/// The sources whose authorities the nodes of `cluster` are to trust, which the ConfigMap holds then; None where there are none.
pub async fn keep(ctx: &Context, cluster: &SearchCluster, uuid: &str) -> Result<Option<Seen>, Error> {
    let wanted = cluster.spec.allowlist.trust_source && trust::is_possible(cluster);
    if !wanted || cluster.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let (reindexes, clusters) = (ctx.reindexes.state(), ctx.clusters.state());
    if managed_by_another(cluster, uuid, clusters.iter().map(AsRef::as_ref)).is_some() {
        return Ok(None);
    }
    let mut seen = Seen { sources: vec![], public: vec![], kept: Ok(()) };
    let mut needed = vec![];
    for (name, source) in trust::sources(reindexes.iter().map(AsRef::as_ref), clusters.iter().map(AsRef::as_ref), uuid)
    {
        match read(ctx, source).await? {
            Some(certificates) if certificates.is_empty() => seen.public.push(name),
            Some(certificates) => {
                seen.sources.push(name);
                needed.extend(certificates);
            }
            None => {}
        }
    }
    if seen.sources.is_empty() {
        return Ok(None);
    }
    seen.kept = write(ctx, cluster, &needed).await?;
    Ok(Some(seen))
}

/// The certificates (DER) of a source's authority; empty if it has a public one. None if they can't be had, which its Reindexes tell.
async fn read(ctx: &Context, source: &SearchCluster) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let pem = match authority(&ctx.client, source).await {
        Ok(Some(pem)) => pem,
        Ok(None) => return Ok(Some(vec![])),
        Err(fault @ ConnectFault::Read { .. }) => return Err(Error::Connect(fault)),
        Err(fault) => {
            tracing::warn!(source = trust::full_name(source), %fault, "the authority of a source is not to be had");
            return Ok(None);
        }
    };
    // A file that a node can't read would keep it from starting.
    Ok(authorities(&pem)
        .inspect_err(
            |error| tracing::warn!(source = trust::full_name(source), %error, "the authority of a source is none"),
        )
        .ok())
}

async fn write(ctx: &Context, cluster: &SearchCluster, needed: &[Vec<u8>]) -> Result<Result<(), Blocked>, Error> {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let owner = cluster.metadata.name.as_deref().unwrap_or_default();
    let name = trust::config_map(cluster);
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), namespace);
    let found = api.get_opt(&name).await.map_err(Error::kube("read the ConfigMap of the sources' authorities"))?;
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
    // What somebody spoilt is made anew.
    let kept = authorities(text.as_bytes()).unwrap_or_default();
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
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let message = format!(
                "the operator may not {verb} configmaps in namespace {namespace}, to keep the sources' authorities in {name}: grant it, as the chart's values under `providers` do"
            );
            Ok(Err(Blocked::by("NotPermitted", message)))
        }
        Err(source) => Err(Error::Kube { action: "write the ConfigMap of the sources' authorities", source }),
    }
}
