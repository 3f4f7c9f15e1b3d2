//! Does what was decided. Every effect may be repeated without harm.

use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use crate::{
    api::{Reindex, ReindexStatus, SearchCluster},
    controller::{context::Context, error::Error},
    plan::{
        reindex::{Effect, Outcome},
        validate::Trouble,
    },
    search::{ReindexRequest, RemoteSource, SearchError},
};

use super::{
    convert,
    observe::{opaque_id, open},
    sides,
    writing::writing,
};

/// Does it. Some outcomes must be told in status.
pub async fn act(ctx: &Context, reindex: &Reindex, effect: Effect) -> Result<Option<Outcome>, Error> {
    match effect {
        Effect::CreateIndex(body) => create_index(ctx, reindex, &body).await,
        Effect::StartTask { attempt } => start_task(ctx, reindex, attempt).await.map(Some),
        Effect::CancelTasks(tasks) => cancel_tasks(ctx, reindex, &tasks).await.map(|()| None),
    }
}

async fn create_index(ctx: &Context, reindex: &Reindex, body: &Value) -> Result<Option<Outcome>, Error> {
    let destination = match sides::destination(ctx, reindex).await? {
        Some(cluster) => open(ctx, "the destination", &cluster).await,
        None => return Ok(None),
    };
    let destination = match destination {
        Ok(destination) => destination,
        Err(trouble) => return Ok(Some(Outcome::Unclear(trouble))),
    };
    match destination.client.create_index(&reindex.spec.destination.index, body).await {
        Ok(()) => Ok(None),
        // It exists now: the next look says whose it is.
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) if matches!(error.status(), Some(400)) => Ok(Some(Outcome::IndexRefused(error.public_message()))),
        Err(error) => Ok(Some(Outcome::Unclear(convert::trouble("the destination", &error)))),
    }
}

/// The intent stands in status; now the gate is read, live. A restart writes its own intent first and looks for ours then: one of
/// the two sees the other.
async fn start_task(ctx: &Context, reindex: &Reindex, attempt: i32) -> Result<Outcome, Error> {
    if let Some(cluster) = closed_gate(ctx, reindex.status.as_ref()).await? {
        return Ok(Outcome::GateClosed(cluster));
    }
    let sides = match sides::resolve(ctx, reindex).await? {
        Ok(sides) => sides,
        Err(_) => {
            return Ok(Outcome::Unclear(Trouble {
                reason: "ClusterNotFound",
                message: "a SearchCluster is gone".into(),
            }));
        }
    };
    let opened =
        futures::try_join!(open(ctx, "the destination", &sides.destination), open(ctx, "the source", &sides.source));
    let (destination, source) = match opened {
        Ok(both) => both,
        Err(trouble) => return Ok(Outcome::Unclear(trouble)),
    };
    let spec = &reindex.spec;
    let fields = spec.source.source_fields.clone().unwrap_or_default();
    let pinned = reindex.status.as_ref().and_then(|status| status.source.as_ref());
    let request = ReindexRequest {
        remote: RemoteSource {
            host: pinned.map_or("", |source| source.remote.as_str()),
            credentials: source.credentials.as_ref(),
            socket_timeout: &spec.source.socket_timeout,
            connect_timeout: &spec.source.connect_timeout,
        },
        source_index: &spec.source.index,
        query: spec.source.query.as_ref(),
        includes: &fields.includes,
        excludes: &fields.excludes,
        batch_size: spec.batch_size().unsigned_abs(),
        dest_index: &spec.destination.index,
        writing: writing(spec),
    };
    Ok(match destination.client.start_reindex(&request, &opaque_id(reindex, attempt)).await {
        Ok(task) => Outcome::Started(task.to_string()),
        Err(error) if is_refusal(&error) => Outcome::StartRefused(error.public_message()),
        Err(error) => Outcome::Unclear(convert::trouble("the destination", &error)),
    })
}

/// The destination answered, and will answer the same again.
fn is_refusal(error: &SearchError) -> bool {
    !error.is_retryable() && !error.is_unauthorized() && error.status().is_some()
}

/// The SearchCluster whose restart keeps this copy from starting: any that stands for the source's or destination's UUID.
async fn closed_gate(ctx: &Context, status: Option<&ReindexStatus>) -> Result<Option<String>, Error> {
    let Some(status) = status else { return Ok(None) };
    let uuids = [
        status.source.as_ref().map(|source| source.cluster_uuid.as_str()),
        status.destination.as_ref().map(|destination| destination.cluster_uuid.as_str()),
    ];
    let api: Api<SearchCluster> = Api::all(ctx.client.clone());
    let clusters =
        api.list(&ListParams::default()).await.map_err(Error::kube("read the gates of the SearchClusters"))?;
    let closed = |cluster: &&SearchCluster| {
        let status = cluster.status.as_ref();
        let uuid = status.and_then(|status| status.cluster_uuid.as_deref());
        let batch = status.and_then(|status| status.allowlist.as_ref()).and_then(|allowlist| allowlist.batch.as_ref());
        uuids.contains(&uuid) && uuid.is_some() && batch.is_some_and(|batch| batch.phase.closes_the_gate())
    };
    let found = clusters.items.iter().find(closed);
    Ok(found.map(|cluster| format!("{}/{}", cluster.namespace().unwrap_or_default(), cluster.name_any())))
}

/// Cancels; what can't be reached now is tried again by the next look.
pub async fn cancel_tasks(ctx: &Context, reindex: &Reindex, tasks: &[String]) -> Result<(), Error> {
    let Some(cluster) = sides::destination(ctx, reindex).await? else { return Ok(()) };
    let Ok(destination) = open(ctx, "the destination", &cluster).await else { return Ok(()) };
    for id in tasks.iter().filter_map(|id| id.parse().ok()) {
        destination.client.cancel_task(&id).await.map_err(Error::search("cancel a task"))?;
    }
    Ok(())
}
