//! Looks at a SearchCluster.

use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    allowlist::stateful_sets::StatefulSets,
    api::{
        Reindex, SearchCluster,
        reindex_status::{PartitionState, ReindexStatus},
        search_cluster::Management,
    },
    controller::{connect::connect, context::Context, error::Error},
    plan::{
        allowlist::{self, covers, managed_by_another, wanted},
        restart::{Node, Shard, View},
        search_cluster::{Close, Observation, Reached, is_open},
        validate::Trouble,
    },
    search::{NodeInfo, SearchClient, SearchError},
};

/// Looks.
pub async fn observe(ctx: &Context, cluster: &SearchCluster) -> Result<Observation, Error> {
    let client = connect(&ctx.client, cluster).await;
    let client = client
        .map(|connected| connected.client)
        .map_err(|fault| Trouble { reason: fault.reason(), message: fault.to_string() });
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
    let pending = is_pending(reached.as_ref().ok(), &wanted);
    let managed_by = match pending {
        true => managed_by(ctx, cluster, &uuid).await?,
        false => None,
    };
    let close = match is_open(cluster.status.as_ref()) || (pending && may_change(cluster)) {
        true => Some(look_closely(ctx, cluster, client.as_ref().ok(), nodes, &uuid).await?),
        false => None,
    };
    Ok(Observation { reached, wanted, managed_by, close })
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

/// Whether a Reindex needs what not every node has loaded.
fn is_pending(reached: Option<&Reached>, wanted: &[String]) -> bool {
    reached.is_some_and(|reached| {
        let effective = allowlist::effective(&reached.loaded);
        wanted.iter().any(|entry| !covers(&effective, entry))
    })
}

fn may_change(cluster: &SearchCluster) -> bool {
    cluster.spec.allowlist.management == Management::Automatic && cluster.spec.provider.stateful_sets.is_some()
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
) -> Result<Result<Close, Trouble>, Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let provider = provider(ctx, cluster, &namespace);
    let pools = match provider.look().await {
        Ok(pools) => pools,
        Err(error) => return Ok(Err(Trouble { reason: "KubernetesError", message: error.to_string() })),
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
    Ok(Ok(Close { view, pools, copies }))
}

/// The provider of a cluster.
pub fn provider<'a>(ctx: &'a Context, cluster: &'a SearchCluster, namespace: &'a str) -> StatefulSets<'a> {
    StatefulSets {
        client: &ctx.client,
        namespace,
        pools: cluster.spec.provider.stateful_sets.as_deref().unwrap_or_default(),
        key: cluster
            .status
            .as_ref()
            .and_then(|status| status.allowlist.as_ref())
            .map_or(allowlist::WHITELIST, |allowlist| &allowlist.key),
    }
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
