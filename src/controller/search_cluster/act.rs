//! Does what was decided for an allowlist. Every effect may be repeated without harm.

use k8s_openapi::jiff::Timestamp;

use crate::{
    allowlist::provider::{Provider, ProviderError},
    api::{AllowlistStatus, Batch, SearchCluster, allowlist::Borrowed},
    controller::{connect::connect, context::Context, error::Error, events, status},
    plan::{
        report::Note,
        restart::{self, Effect},
        retention, rollout, search_cluster,
    },
    search::SearchClient,
};

/// The value around a node's restart: its replicas wait for it instead of being made anew elsewhere.
const PRIMARIES: &str = "primaries";

/// Does it.
pub async fn act(ctx: &Context, cluster: &SearchCluster, effect: Effect) -> Result<(), Error> {
    let provider = Provider::of(&ctx.client, &ctx.operator_identity, cluster);
    match effect {
        Effect::Edit(change) => match provider.apply(&change).await {
            // Written at once: a change that somebody takes back is not made again.
            Ok(cloud_change) if provider.is_managed() => {
                let applied = |batch: &Batch| rollout::applied(batch, Timestamp::now());
                write_batch(ctx, cluster, |batch| Batch { cloud_change: cloud_change.clone(), ..applied(batch) }).await
            }
            Err(error @ ProviderError::Refused { .. }) => {
                write_batch(ctx, cluster, |batch| rollout::failed(batch, &error.to_string(), Timestamp::now())).await
            }
            result => put_back_if_forbidden(ctx, cluster, result.map(drop)).await,
        },
        Effect::Restart(node, borrowed) => {
            let client = open(ctx, cluster).await?;
            client.set_allocation_enable(Some(PRIMARIES)).await.map_err(Error::search("hold shard allocation"))?;
            client.flush_all().await.map_err(Error::search("flush"))?;
            if borrowed.voting_exclusion {
                client.add_voting_exclusion(&node.name).await.map_err(Error::search("take a node out of the vote"))?;
            }
            put_back_if_forbidden(ctx, cluster, provider.evict(&node).await).await
        }
        Effect::GiveBack(borrowed) => {
            give_back(&open(ctx, cluster).await?, &borrowed).await?;
            write_batch(ctx, cluster, restart::given_back).await
        }
        Effect::RollBack(opposite, borrowed) => {
            // The configuration first: it can be put back although the cluster is down.
            provider.take_back(&opposite).await.map_err(Error::Provider)?;
            if let Some(borrowed) = borrowed {
                give_back(&open(ctx, cluster).await?, &borrowed).await?;
            }
            write_batch(ctx, cluster, |batch| restart::rolled_back(batch, Timestamp::now())).await
        }
        Effect::Tidy(change) => {
            match provider.apply(&change).await {
                Err(error) if is_refused(&error) => return tidy_refused(ctx, cluster, &error).await,
                result => drop(result.map_err(Error::Provider)?),
            }
            write_allowlist(ctx, cluster, |allowlist| retention::end(allowlist, &change)).await?;
            let message = retention::told(&change);
            events::tell(ctx, cluster, [Note { warning: false, reason: "AllowlistTidied", message }]);
            Ok(())
        }
    }
}

/// It would be answered alike again, until somebody acts.
fn is_refused(error: &ProviderError) -> bool {
    match error {
        ProviderError::Kube { source: kube::Error::Api(status), .. } => matches!(status.code, 400 | 403 | 413 | 422),
        error => matches!(error, ProviderError::Edit { .. } | ProviderError::Refused { .. }),
    }
}

async fn tidy_refused(ctx: &Context, cluster: &SearchCluster, error: &ProviderError) -> Result<(), Error> {
    let mut next = cluster.status.clone().unwrap_or_default();
    let why: String = error.to_string().chars().take(512).collect();
    let generation = cluster.metadata.generation.unwrap_or_default();
    search_cluster::tidy_refused(&mut next, &why, generation, Timestamp::now());
    status::write(&ctx.client, cluster, &next).await.map(drop).map_err(Error::kube("write the status"))
}

/// What the apiserver forbids is not tried for ever: everything is put back, and the condition says what is missing.
async fn put_back_if_forbidden(
    ctx: &Context,
    cluster: &SearchCluster,
    result: Result<(), ProviderError>,
) -> Result<(), Error> {
    match result {
        Err(error) if error.is_forbidden() => {
            write_batch(ctx, cluster, |batch| restart::forbidden(batch, &error.to_string())).await
        }
        result => result.map_err(Error::Provider),
    }
}

async fn open(ctx: &Context, cluster: &SearchCluster) -> Result<SearchClient, Error> {
    connect(ctx, cluster).await.map(|connected| connected.client).map_err(Error::Connect)
}

async fn give_back(client: &SearchClient, borrowed: &Borrowed) -> Result<(), Error> {
    client
        .set_allocation_enable(borrowed.allocation_enable.as_deref())
        .await
        .map_err(Error::search("put shard allocation back"))?;
    if borrowed.voting_exclusion {
        client.clear_voting_exclusions().await.map_err(Error::search("put the node back into the vote"))?;
    }
    Ok(())
}

async fn write_batch(ctx: &Context, cluster: &SearchCluster, change: impl Fn(&Batch) -> Batch) -> Result<(), Error> {
    let generation = cluster.metadata.generation.unwrap_or_default();
    write_allowlist(ctx, cluster, |allowlist| {
        allowlist.batch = allowlist.batch.as_ref().map(|batch| rollout::noted(change(batch), generation));
    })
    .await
}

async fn write_allowlist(
    ctx: &Context,
    cluster: &SearchCluster,
    change: impl Fn(&mut AllowlistStatus),
) -> Result<(), Error> {
    let mut next = cluster.status.clone().unwrap_or_default();
    if let Some(allowlist) = &mut next.allowlist {
        change(allowlist);
    }
    status::write(&ctx.client, cluster, &next).await.map(drop).map_err(Error::kube("write the status"))
}
