//! Looks at a SearchCluster.

use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    allowlist::provider::{Provider, ProviderError},
    api::{
        Reindex, SearchCluster,
        allowlist::MAX_ENTRIES,
        reindex_status::{PartitionState, ReindexStatus},
        search_cluster::Management,
    },
    controller::{connect::connect, context::Context, error::Error},
    plan::{
        allowlist::{self, covers, managed_by_another, wanted},
        connection::asks_provider,
        restart::{Node, Shard, View},
        search_cluster::{Close, Observation, Reached, is_open},
        validate::Trouble,
    },
    search::{NodeInfo, SearchClient, SearchError},
};

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
            let client = connect(&ctx.client, &known).await.map(|connected| connected.client);
            client.map_err(|fault| Trouble { reason: fault.reason(), message: fault.to_string() })
        }
        // What it told before still stands, for copies that run.
        Err(error) => Err(provider_trouble(&error)),
    };
    let connection = known.status.and_then(|status| status.connection);
    let looked = match &client {
        Ok(client) => look(client).await.map_err(|error| trouble(&error)),
        Err(trouble) => Err(trouble.clone()),
    };
    let known = cluster.status.as_ref().and_then(|status| status.cluster_uuid.clone());
    let uuid = looked.as_ref().map(|(reached, _)| reached.uuid.clone()).ok().or(known).unwrap_or_default();
    let reindexes = ctx.reindexes.state();
    let wanted = wanted(reindexes.iter().map(AsRef::as_ref), &uuid);
    let (reached, nodes) = match looked {
        Ok((reached, nodes)) => (Ok(reached), Some(nodes)),
        Err(trouble) => (Err(trouble), None),
    };
    let missing = missing(reached.as_ref().ok(), &wanted);
    let managed_by = match missing.is_empty() {
        false => managed_by(ctx, cluster, &uuid).await?,
        true => None,
    };
    let close = match is_open(cluster.status.as_ref()) || (!missing.is_empty() && is_worth_a_look(cluster)) {
        true => Some(look_closely(ctx, cluster, client.as_ref().ok(), nodes, &uuid, &missing).await?),
        false => None,
    };
    Ok(Observation { reached, connection, wanted, managed_by, close })
}

fn provider_trouble(error: &ProviderError) -> Trouble {
    Trouble { reason: error.reason(), message: error.to_string() }
}

fn trouble(error: &SearchError) -> Trouble {
    Trouble { reason: error.reason(), message: error.public_message() }
}

async fn look(client: &SearchClient) -> Result<(Reached, Vec<NodeInfo>), SearchError> {
    let info = client.info().await?;
    let health = client.health().await?;
    let nodes = client.nodes().await?;
    let reached = Reached {
        uuid: info.cluster_uuid,
        distribution: info.distribution.to_string(),
        major: info.version.major,
        version: info.version.to_string(),
        health: format!("{:?}", health.status).to_lowercase(),
        loaded: nodes.iter().map(|node| node.allowlist.clone()).collect(),
    };
    Ok((reached, nodes))
}

/// What Reindexes need and not every node has loaded, as much as one batch takes.
fn missing(reached: Option<&Reached>, wanted: &[String]) -> Vec<String> {
    let Some(reached) = reached else { return vec![] };
    let effective = allowlist::effective(&reached.loaded);
    wanted.iter().filter(|entry| !covers(&effective, entry)).take(MAX_ENTRIES).cloned().collect()
}

/// Where the operator may make the change, or has more to tell a person than a line of a file.
fn is_worth_a_look(cluster: &SearchCluster) -> bool {
    let provider = &cluster.spec.provider;
    provider.can_change()
        && (cluster.spec.allowlist.management != Management::Verify || provider.stateful_sets.is_none())
}

/// Read from the apiserver: with a cache that is not filled yet, the younger of two would take itself for the only one.
async fn managed_by(ctx: &Context, cluster: &SearchCluster, uuid: &str) -> Result<Option<String>, Error> {
    let api: Api<SearchCluster> = Api::all(ctx.client.clone());
    let live = api.list(&ListParams::default()).await.map_err(Error::kube("list the SearchClusters"))?;
    Ok(managed_by_another(cluster, uuid, &live.items))
}

async fn look_closely(
    ctx: &Context,
    cluster: &SearchCluster,
    client: Option<&SearchClient>,
    nodes: Option<Vec<NodeInfo>>,
    uuid: &str,
    missing: &[String],
) -> Result<Result<Close, Trouble>, Error> {
    let configuration = match Provider::of(&ctx.client, &ctx.operator_identity, cluster).look(missing).await {
        Ok(configuration) => configuration,
        Err(error) => return Ok(Err(provider_trouble(&error))),
    };
    // Not reached while its only node restarts: that is seen, not an error.
    let view = match (client, nodes) {
        (Some(client), Some(nodes)) => view(client, nodes).await.ok(),
        _ => None,
    };
    let api: Api<Reindex> = Api::all(ctx.client.clone());
    let live = api.list(&ListParams::default()).await.map_err(Error::kube("list the Reindexes"))?;
    let copies =
        live.items.iter().filter(|reindex| reindex.status.as_ref().is_some_and(|status| touches(status, uuid)));
    let copies =
        copies.map(|reindex| format!("{}/{}", reindex.namespace().unwrap_or_default(), reindex.name_any())).collect();
    Ok(Ok(Close { view, configuration, copies }))
}

/// Whether a copy into or out of the cluster runs, or is about to.
fn touches(status: &ReindexStatus, uuid: &str) -> bool {
    let runs = status.partitions.iter().any(|partition| {
        matches!(partition.state, PartitionState::Starting | PartitionState::Running | PartitionState::Cancelling)
    });
    let source = status.source.as_ref().map(|source| source.cluster_uuid.as_str());
    let destination = status.destination.as_ref().map(|destination| destination.cluster_uuid.as_str());
    runs && (source == Some(uuid) || destination == Some(uuid))
}

async fn view(client: &SearchClient, nodes: Vec<NodeInfo>) -> Result<View, SearchError> {
    let health = client.health().await?;
    let shards = client.shards().await?;
    let allocation = client.allocation_enable().await?;
    Ok(View {
        nodes: nodes.into_iter().map(node).collect(),
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
        allowlist: info.allowlist,
        path_data: info.path_data,
    }
}
