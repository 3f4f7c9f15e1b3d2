//! What Validate looks at on both clusters.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::Value;

use crate::{
    allowlist::alibaba_cloud::AlibabaCloud,
    api::{
        Reindex, SearchClusterStatus,
        conditions::{self, ALLOWLIST_READY, STALLED},
        reindex_status::{PinnedIndex, StepName, StepState},
    },
    controller::context::Context,
    plan::{
        alibaba_cloud::pair::Pair,
        index_body,
        reindex::owes_cleanup,
        report::{is_finished, step_state},
        validate::{ClusterFacts, ExistingIndex, Facts, Seen, SourceIndex, Trouble},
    },
    search::{IndexDefinition, SearchClient},
};

use super::{convert, observe::open, sides::Sides};

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
        alibaba_cloud: None,
    }
}

/// Looks at both clusters at once.
pub async fn facts(ctx: &Context, reindex: &Reindex, sides: &Sides) -> Facts {
    let source = async {
        let connected = open(ctx, "the source", &sides.source).await?;
        let cluster = identify("the source", &connected.client).await?;
        Ok::<_, Trouble>((cluster, source_index(reindex, &connected.client).await))
    };
    let destination = async {
        let connected = open(ctx, "the destination", &sides.destination).await?;
        let cluster = identify("the destination", &connected.client).await?;
        let existing = existing_index(&reindex.spec.destination.index, &connected.client).await;
        let pipeline_exists = match &reindex.spec.destination.pipeline {
            Some(name) => {
                let exists = connected.client.pipeline_exists(name).await;
                Some(exists.map_err(|error| convert::trouble("the destination", &error)))
            }
            None => None,
        };
        Ok::<_, Trouble>((cluster, (existing, pipeline_exists)))
    };
    let (source, destination, alibaba_cloud) = futures::join!(source, destination, instances(ctx, sides));
    let (source, source_index) = apart(source);
    let (destination, there) = apart(destination);
    let (destination_index, pipeline_exists) = there.unzip();
    let busy_with = destination.as_ref().ok().and_then(|cluster| busy_with(ctx, reindex, &cluster.uuid));
    Facts {
        access: vec![],
        source: Some(source),
        destination: Some(destination),
        source_index,
        destination_index,
        pipeline_exists: pipeline_exists.flatten(),
        busy_with,
        remote: sides.remote.clone(),
        alibaba_cloud,
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

fn apart<A, B>(seen: Result<(A, B), Trouble>) -> (Seen<A>, Option<B>) {
    match seen {
        Ok((a, b)) => (Ok(a), Some(b)),
        Err(trouble) => (Err(trouble), None),
    }
}

async fn identify(side: &str, client: &SearchClient) -> Seen<ClusterFacts> {
    client.info().await.map(|info| convert::cluster(&info)).map_err(|error| convert::trouble(side, &error))
}

/// What stands under the destination index's name.
async fn existing_index(name: &str, client: &SearchClient) -> Seen<Option<ExistingIndex>> {
    match client.indices(name).await {
        Ok(indices) => {
            let definition = indices.get(name);
            let made_by = definition.and_then(|definition| index_body::owner_uid(&definition.mappings));
            let durability = definition.and_then(|definition| definition.setting("translog.durability"));
            Ok(Some(ExistingIndex {
                concrete: definition.is_some(),
                made_by: made_by.map(str::to_owned),
                durable: !durability.is_some_and(|value| value.eq_ignore_ascii_case("async")),
            }))
        }
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(convert::trouble("the destination", &error)),
    }
}

async fn source_index(reindex: &Reindex, client: &SearchClient) -> Seen<SourceIndex> {
    let name = &reindex.spec.source.index;
    let indices = match client.indices(name).await {
        Ok(indices) => indices,
        Err(error) if error.is_not_found() => return Ok(SourceIndex::Absent),
        Err(error) => return Err(convert::trouble("the source", &error)),
    };
    client
        .can_search(name, reindex.spec.source.query.as_ref())
        .await
        .map_err(|error| convert::trouble(&format!("the source refused a search of {name}"), &error))?;
    let mut mappings = indices.values().map(|definition| &definition.mappings);
    let first = mappings.next();
    let lags = |definition: &IndexDefinition| {
        definition.setting("replication.type") == Some("SEGMENT") && definition.number_of_replicas() != Some(0)
    };
    Ok(SourceIndex::Found {
        lagging_replicas: indices.iter().filter(|(_, index)| lags(index)).map(|(name, _)| name.clone()).collect(),
        mappings_differ: mappings.any(|mapping| Some(mapping) != first),
        without_source: indices
            .iter()
            .filter(|(_, definition)| !keeps_source(definition))
            .map(|(name, _)| name.clone())
            .collect(),
        indices: indices
            .iter()
            .map(|(name, definition)| PinnedIndex {
                name: name.clone(),
                uuid: definition.uuid().unwrap_or_default().to_owned(),
            })
            .collect(),
    })
}

/// Whether documents can be read whole.
fn keeps_source(definition: &IndexDefinition) -> bool {
    let source = &definition.mappings["_source"];
    let empty = |key: &str| source[key].as_array().is_none_or(Vec::is_empty);
    source["enabled"] != Value::Bool(false) && empty("includes") && empty("excludes")
}

/// The definition that a name stands for: the index's own, or that of the alias's or data stream's write index.
pub fn write_index<'a>(name: &str, indices: &'a BTreeMap<String, IndexDefinition>) -> Option<&'a IndexDefinition> {
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

/// What the destination's SearchCluster says about an entry that is missing: whether a person must act, and the words.
pub fn what_the_cluster_says(status: &SearchClusterStatus, wanted: &str) -> (bool, String) {
    let said = conditions::get(&status.conditions, ALLOWLIST_READY).filter(|condition| condition.status == "False");
    let known =
        status.allowlist.as_ref().is_some_and(|allowlist| allowlist.pending.iter().any(|entry| entry == wanted));
    match said {
        Some(condition) if known => {
            let stalled = conditions::is_true(&status.conditions, STALLED);
            let instruction = status.allowlist.as_ref().and_then(|allowlist| allowlist.instruction.as_deref());
            let message = match instruction {
                Some(text) if !condition.message.contains(text) => format!("{}: {text}", condition.message),
                _ => condition.message.clone(),
            };
            (stalled, message)
        }
        _ => (false, "the SearchCluster has yet to take it up".to_owned()),
    }
}
