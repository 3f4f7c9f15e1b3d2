//! Looks at a SearchCluster.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::{
    allowlist::provider::{Provider, ProviderError},
    api::{Batch, Reindex, SearchCluster, reindex_status::ReindexStatus, search_cluster::Management},
    controller::{connect::connect, context::Context, error::Error, scope},
    plan::{
        self,
        allowlist::{Change, managed_by_another, wanted},
        connection::asks_provider,
        restart::{Node, Shard, View},
        retention,
        search_cluster::{Close, Observation, Reached, is_rolling_out},
        validate::Trouble,
    },
    search::{NodeInfo, SearchClient, SearchError},
};

use super::trust;

/// Looks.
pub async fn observe(ctx: &Context, cluster: &SearchCluster) -> Result<Observation, Error> {
    let told = match asks_provider(cluster) {
        true => Provider::of(&ctx.client, &ctx.operator_identity, cluster).connection().await,
        false => Ok(None),
    };
    let mut known = cluster.clone();
    let client = match told {
        Ok(connection) => {
            known.status.get_or_insert_default().connection = connection;
            let client = connect(ctx, &known).await.map(|connected| connected.client);
            client.map_err(|fault| Trouble { reason: fault.reason(), message: fault.to_string() })
        }
        // What it told before still stands, for copies that run.
        Err(error) => Err(provider_trouble(&error)),
    };
    let connection = known.status.and_then(|status| status.connection);
    let reached = match &client {
        Ok(client) => look(client).await.map_err(|error| trouble(&error)),
        Err(trouble) => Err(trouble.clone()),
    };
    let known = cluster.status.as_ref().and_then(|status| status.cluster_uuid.clone());
    let uuid = reached.as_ref().map(|reached| reached.uuid.clone()).ok().or(known).unwrap_or_default();
    let reindexes = ctx.reindexes.state();
    let wanted = wanted(reindexes.iter().map(AsRef::as_ref), &uuid);
    let nodes = reached.as_ref().map(|reached| reached.nodes.as_slice()).unwrap_or_default();
    let trust = trust::keep(ctx, cluster, &uuid, nodes).await?;
    let missing = reached.as_ref().map(|reached| reached.missing(cluster, &wanted, trust.as_ref())).unwrap_or_default();
    let is_due = retention::is_due(cluster, &wanted);
    let managed_by = match missing.is_needless() && !is_due {
        false => managed_by(ctx, cluster, &uuid).await?,
        true => None,
    };
    let batch = open_batch(cluster);
    let close = match batch.is_some() || is_due || (!missing.is_needless() && is_worth_a_look(cluster)) {
        true => {
            // What a batch is about is what is looked for while it is open.
            let change = batch.map_or(missing, Change::of);
            Some(look_closely(ctx, cluster, client.as_ref().ok(), &reached, &uuid, &change).await?)
        }
        false => None,
    };
    let winding_down = *ctx.winding_down.borrow();
    Ok(Observation { reached, connection, wanted, trust, managed_by, close, winding_down })
}

fn open_batch(cluster: &SearchCluster) -> Option<&Batch> {
    let batch = cluster.status.as_ref()?.allowlist.as_ref()?.batch.as_ref()?;
    batch.phase.closes_the_gate().then_some(batch)
}

fn provider_trouble(error: &ProviderError) -> Trouble {
    Trouble { reason: error.reason(), message: error.to_string() }
}

fn trouble(error: &SearchError) -> Trouble {
    Trouble { reason: error.reason(), message: error.public_message() }
}

async fn look(client: &SearchClient) -> Result<Reached, SearchError> {
    let info = client.info().await?;
    let health = client.health().await?;
    Ok(Reached {
        uuid: info.cluster_uuid,
        distribution: info.distribution.to_string(),
        major: info.version.major,
        version: info.version.to_string(),
        health: format!("{:?}", health.status).to_lowercase(),
        nodes: client.nodes().await?.into_iter().map(node).collect(),
    })
}

/// Where the operator may make the change, or has more to tell a person than a line of a file.
fn is_worth_a_look(cluster: &SearchCluster) -> bool {
    let provider = &cluster.spec.provider;
    provider.can_change()
        && (cluster.spec.allowlist.management != Management::Verify || provider.stateful_sets.is_none())
}

/// Read from the apiserver: with a cache that is not filled yet, the younger of two would take itself for the only one.
async fn managed_by(ctx: &Context, cluster: &SearchCluster, uuid: &str) -> Result<Option<String>, Error> {
    let live = scope::list(&ctx.client, &ctx.scope, "list the SearchClusters").await?;
    Ok(managed_by_another(cluster, uuid, &live))
}

async fn look_closely(
    ctx: &Context,
    cluster: &SearchCluster,
    client: Option<&SearchClient>,
    reached: &Result<Reached, Trouble>,
    uuid: &str,
    change: &Change,
) -> Result<Result<Close, Trouble>, Error> {
    let before_edit =
        !is_rolling_out(cluster.status.as_ref()) && cluster.spec.allowlist.management != Management::Verify;
    let provider = Provider::of(&ctx.client, &ctx.operator_identity, cluster);
    let configuration = match provider.look(change, before_edit).await {
        Ok(configuration) => configuration,
        Err(error) => return Ok(Err(provider_trouble(&error))),
    };
    let live: Vec<Reindex> = scope::list(&ctx.client, &ctx.scope, "list the Reindexes").await?;
    // Not reached while its only node restarts: that is seen, not an error.
    let view = match (client, reached) {
        (Some(client), Ok(reached)) => {
            let filling = live.iter().filter_map(|reindex| filling(reindex.status.as_ref()?, reindex, uuid)).collect();
            view(client, reached.nodes.clone(), filling).await.map_err(|error| trouble(&error))
        }
        (_, Err(trouble)) => Err(trouble.clone()),
        (None, Ok(_)) => Err(Trouble { reason: "Unreachable", message: "the cluster can't be reached".into() }),
    };
    let copies = live.iter().filter(|reindex| reindex.status.as_ref().is_some_and(|status| touches(status, uuid)));
    let copies =
        copies.map(|reindex| format!("{}/{}", reindex.namespace().unwrap_or_default(), reindex.name_any())).collect();
    Ok(Ok(Close { view, configuration, copies, needed: wanted(&live, uuid) }))
}

/// The index of this cluster whose replicas a Reindex has switched off until it is filled.
fn filling(status: &ReindexStatus, reindex: &Reindex, uuid: &str) -> Option<String> {
    let had_replicas = status.tuning.as_ref().is_some_and(|tuning| tuning.number_of_replicas != "0");
    let is_here = status.destination.as_ref().is_some_and(|destination| destination.cluster_uuid == uuid);
    (had_replicas && is_here).then(|| reindex.spec.destination.index.clone())
}

/// Whether a copy into or out of the cluster runs, or is about to.
fn touches(status: &ReindexStatus, uuid: &str) -> bool {
    let source = status.source.as_ref().map(|source| source.cluster_uuid.as_str());
    let destination = status.destination.as_ref().map(|destination| destination.cluster_uuid.as_str());
    (plan::reindex::runs(status) || plan::reindex::is_mending(status))
        && (source == Some(uuid) || destination == Some(uuid))
}

async fn view(client: &SearchClient, nodes: Vec<Node>, filling: BTreeSet<String>) -> Result<View, SearchError> {
    let health = client.health().await?;
    let shards = client.shards().await?;
    let allocation = client.allocation_enable().await?;
    Ok(View {
        nodes,
        filling,
        master: client.elected_master().await?,
        shards: shards
            .into_iter()
            .map(|copy| Shard {
                started: copy.state == "STARTED" || copy.state == "RELOCATING",
                index: copy.index,
                number: copy.shard,
                primary: copy.primary,
                node: copy.node_id,
            })
            .collect(),
        moving: i64::try_from(health.initializing_shards + health.relocating_shards).unwrap_or(i64::MAX),
        unassigned: i64::try_from(health.unassigned_shards).unwrap_or(i64::MAX),
        allocation_enable: allocation.persistent,
        transient_allocation: allocation.transient,
        tasks: client.reindex_tasks().await?.len(),
    })
}

fn node(info: NodeInfo) -> Node {
    Node {
        master_eligible: info.is_master_eligible(),
        id: info.id,
        name: info.name,
        ip: info.ip,
        sources: info.reindex_sources,
        allowlist: info.allowlist,
        path_data: info.path_data,
    }
}
