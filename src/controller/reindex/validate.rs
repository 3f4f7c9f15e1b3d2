//! What Validate looks at on both clusters.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::Value;

use crate::{
    allowlist::alibaba_cloud::AlibabaCloud,
    api::{
        Reindex, SearchCluster,
        reindex_status::{PinnedIndex, StepName, StepState},
    },
    controller::{
        connect::{Connected, redirects_at},
        context::Context,
    },
    plan::{
        alibaba_cloud::pair::Pair,
        connection, index_body,
        preflight::{self, dry_run},
        reindex::{Observation, owes_cleanup},
        report::{is_finished, step_state},
        validate::{ClusterFacts, ExistingIndex, Facts, Seen, SourceIndex, Trouble},
    },
    search::{Distribution, IndexDefinition},
};

use super::{convert, observe::open, sides::Sides, survey};

/// Without access nothing is connected to.
pub fn no_access(access: Vec<Trouble>) -> Facts {
    Facts {
        access,
        source: None,
        destination: None,
        source_index: None,
        destination_index: None,
        pipeline_exists: None,
        busy_with: None,
        remote: None,
        remote_redirects: false,
        alibaba_cloud: None,
        preflight: None,
        dry_run: None,
    }
}

/// Concrete indices by name.
pub type Indices = BTreeMap<String, IndexDefinition>;

/// One side: its client, who it is, and what stands under the name there.
struct Side {
    connected: Connected,
    distribution: Distribution,
    cluster: ClusterFacts,
    indices: Seen<Option<Indices>>,
}

/// Connects to one side.
async fn side(ctx: &Context, side: &str, cluster: &SearchCluster, name: &str) -> Seen<Side> {
    let connected = open(ctx, side, cluster).await?;
    let info = ctx.read.info(cluster, &connected.client).await.map_err(|error| convert::trouble(side, &error))?;
    let indices = match connected.client.indices(name).await {
        Ok(indices) => Ok(Some(indices)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(convert::trouble(side, &error)),
    };
    Ok(Side { distribution: info.distribution, cluster: convert::cluster(&info), connected, indices })
}

/// Looks at both clusters at once.
pub async fn facts(ctx: &Context, reindex: &Reindex, sides: &Sides) -> Facts {
    let spec = &reindex.spec;
    let (source, destination, alibaba_cloud, remote_redirects) = futures::join!(
        side(ctx, "the source", &sides.source, &spec.source.index),
        side(ctx, "the destination", &sides.destination, &spec.destination.index),
        instances(ctx, sides),
        remote_redirects(ctx, sides)
    );
    let (source_index, pipeline_exists) = futures::join!(
        source_index(reindex, source.as_ref().ok()),
        pipeline_exists(reindex, destination.as_ref().ok())
    );
    let preflight = match &source_index {
        Some(Ok(SourceIndex::Found { .. })) => {
            look_closer(reindex, source.as_ref().ok(), destination.as_ref().ok()).await
        }
        _ => None,
    };
    let dry_run = match (&source, &destination, &preflight) {
        (Ok(source), Ok(destination), Some(Ok(seen))) if spec.dry_run => {
            Some(dry_run(reindex, sides, source, destination, seen).await)
        }
        _ => None,
    };
    Facts {
        access: vec![],
        source_index,
        destination_index: destination.as_ref().ok().map(|side| existing_index(&spec.destination.index, side)),
        pipeline_exists,
        busy_with: destination.as_ref().ok().and_then(|side| busy_with(ctx, reindex, &side.cluster.uuid)),
        source: Some(source.map(|side| side.cluster)),
        destination: Some(destination.map(|side| side.cluster)),
        remote: sides.remote.clone(),
        remote_redirects,
        alibaba_cloud,
        preflight,
        dry_run,
    }
}

/// Whether the source redirects at the address that the destination is told, where that is another than the operator's own.
async fn remote_redirects(ctx: &Context, sides: &Sides) -> bool {
    let own = connection::endpoint(&sides.source).map(|own| own.trim_end_matches('/'));
    match &sides.remote {
        Some(remote) if own != Some(remote.url.as_str()) => redirects_at(ctx, &sides.source, &remote.url).await,
        _ => false,
    }
}

/// The checks that need both clusters and the source's index.
async fn look_closer(
    reindex: &Reindex,
    source: Option<&Side>,
    destination: Option<&Side>,
) -> Option<Seen<preflight::Facts>> {
    let (source, destination) = (source?, destination?);
    let (Ok(Some(indices)), Ok(existing)) = (&source.indices, &destination.indices) else { return None };
    let existing = existing.as_ref().and_then(|indices| indices.get(&reindex.spec.destination.index));
    let from = (&source.connected.client, source.distribution);
    let to = (&destination.connected.client, destination.distribution);
    Some(super::preflight::look(reindex, from, to, indices, existing).await)
}

async fn dry_run(
    reindex: &Reindex,
    sides: &Sides,
    source: &Side,
    destination: &Side,
    seen: &preflight::Facts,
) -> Seen<dry_run::Look> {
    // Both objects may be as new as this one.
    if sides.destination.status.as_ref().is_none_or(|status| status.allowlist.is_none()) {
        let name = sides.destination.name_any();
        let message = format!("SearchCluster {name} has not said yet what is on its allowlist; its conditions say why");
        return Err(Trouble { reason: "Validating", message });
    }
    let documents = seen.source.matching.unwrap_or(seen.source.documents);
    let indices = source.indices.as_ref().ok().and_then(Option::as_ref);
    let shards =
        indices.into_iter().flat_map(BTreeMap::values).filter_map(IndexDefinition::number_of_shards).sum::<u32>();
    let (from, to) = (&source.connected, &destination.connected);
    let measured = survey::measure(reindex, from, to, documents, shards as usize).await;
    let host_port = sides.remote.as_ref().map(|remote| remote.host_port.clone()).unwrap_or_default();
    match measured {
        Ok(survey::Measured { load, sample, capacity }) => Ok(dry_run::Look {
            load,
            mean: sample.mean,
            processors: capacity.processors,
            allowlist: dry_run::allowlist(&sides.destination, &host_port),
        }),
        Err(Observation::Trouble(trouble)) => Err(trouble),
        Err(_) => Err(Trouble { reason: "ClusterChanged", message: "a cluster changed meanwhile".into() }),
    }
}

/// What the vendor says, where both are instances of Alibaba Cloud.
async fn instances(ctx: &Context, sides: &Sides) -> Option<Pair> {
    let source = AlibabaCloud::of(&ctx.client, &ctx.operator_identity, &sides.source)?;
    let destination = AlibabaCloud::of(&ctx.client, &ctx.operator_identity, &sides.destination)?;
    let (source, destination, endpoints) = futures::join!(
        source.instance("the source"),
        destination.instance("the destination"),
        destination.endpoints("the destination")
    );
    // Where not even the instance can be seen, the same would be told twice.
    let endpoints = destination.is_ok().then_some(endpoints);
    Some(Pair { source, destination, endpoints })
}

/// What stands under the destination index's name.
fn existing_index(name: &str, side: &Side) -> Seen<Option<ExistingIndex>> {
    let indices = side.indices.as_ref().map_err(Trouble::clone)?;
    Ok(indices.as_ref().map(|indices| {
        let definition = indices.get(name);
        let made_by = definition.and_then(|definition| index_body::owner_uid(&definition.mappings));
        let durability = definition.and_then(|definition| definition.setting("translog.durability"));
        ExistingIndex {
            concrete: definition.is_some(),
            made_by: made_by.map(str::to_owned),
            durable: !durability.is_some_and(|value| value.eq_ignore_ascii_case("async")),
        }
    }))
}

async fn pipeline_exists(reindex: &Reindex, destination: Option<&Side>) -> Option<Seen<bool>> {
    let name = reindex.spec.destination.pipeline.as_ref()?;
    let exists = destination?.connected.client.pipeline_exists(name).await;
    Some(exists.map_err(|error| convert::trouble("the destination", &error)))
}

async fn source_index(reindex: &Reindex, source: Option<&Side>) -> Option<Seen<SourceIndex>> {
    let source = source?;
    let name = &reindex.spec.source.index;
    let indices = match &source.indices {
        Ok(Some(indices)) => indices,
        Ok(None) => return Some(Ok(SourceIndex::Absent)),
        Err(trouble) => return Some(Err(trouble.clone())),
    };
    let client = &source.connected.client;
    let (red, searched) =
        futures::join!(client.red_indices(name), client.can_search(name, reindex.spec.source.query.as_ref()));
    // Without the right to ask for it, the search tells as much.
    let red = red.unwrap_or_default();
    if !red.is_empty() {
        return Some(Ok(SourceIndex::Red(red)));
    }
    if let Err(error) = searched {
        return Some(Err(convert::trouble(&format!("the source refused a search of {name}"), &error)));
    }
    let mut mappings = indices.values().map(|definition| &definition.mappings);
    let first = mappings.next();
    let named = |is: &dyn Fn(&IndexDefinition) -> bool| -> Vec<String> {
        indices.iter().filter(|(_, index)| is(index)).map(|(name, _)| name.clone()).collect()
    };
    let pinned = |(name, definition): (&String, &IndexDefinition)| PinnedIndex {
        name: name.clone(),
        uuid: definition.uuid().unwrap_or_default().to_owned(),
    };
    Some(Ok(SourceIndex::Found {
        lagging_replicas: named(&|index| {
            index.setting("replication.type") == Some("SEGMENT") && index.number_of_replicas() != Some(0)
        }),
        mappings_differ: mappings.any(|mapping| Some(mapping) != first),
        without_source: named(&|index| !keeps_source(index)),
        indices: indices.iter().map(pinned).collect(),
    }))
}

/// Whether documents can be read whole.
fn keeps_source(definition: &IndexDefinition) -> bool {
    let source = &definition.mappings["_source"];
    let empty = |key: &str| source[key].as_array().is_none_or(Vec::is_empty);
    source["enabled"] != Value::Bool(false) && empty("includes") && empty("excludes")
}

/// The definition that a name stands for: the index's own, or that of the alias's or data stream's write index.
pub fn write_index<'a>(name: &str, indices: &'a Indices) -> Option<&'a IndexDefinition> {
    let writes = |definition: &&IndexDefinition| {
        definition.aliases.get(name).is_some_and(|alias| alias.is_write_index == Some(true))
    };
    // Backing indices of a data stream sort by generation: the last one is written.
    indices.get(name).or_else(|| indices.values().find(writes)).or_else(|| indices.values().next_back())
}

/// A Reindex with the same destination index that is past Validate and not through with it.
fn busy_with(ctx: &Context, reindex: &Reindex, cluster_uuid: &str) -> Option<String> {
    let same = |other: &Reindex| {
        let status = other.status.as_ref();
        other.uid() != reindex.uid()
            && other.spec.destination.index == reindex.spec.destination.index
            && status.is_some_and(|status| {
                status.destination.as_ref().is_some_and(|destination| destination.cluster_uuid == cluster_uuid)
                    && (!is_finished(status) || owes_cleanup(status))
                    && step_state(status, StepName::Validate) == Some(StepState::Succeeded)
            })
    };
    let named = |other: &Reindex| format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any());
    ctx.reindexes.state().iter().find(|other| same(other)).map(|other| named(other))
}
