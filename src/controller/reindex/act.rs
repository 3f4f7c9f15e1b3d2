//! Does what was decided. Every effect may be repeated without harm.

use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::{
    api::{Reindex, reindex_status::Tuning},
    controller::{connect::Connected, context::Context, error::Error, events, tasks::Attempt},
    plan::{
        self,
        reindex::{Effect, Outcome, Start, Started, created},
        report::Note,
        validate::Trouble,
    },
    search::{BulkLoadSettings, ReindexRequest, RemoteSource, RunningTask, SearchError},
};

use super::{
    convert, gate, mend,
    observe::{
        apiserver, destination_of, is_ours, limits, live_reindexes, opaque_id, open, running_task, source_shards,
    },
    repair::{Found, Repair, delete_and_forget},
    sides::{self, Sides},
    too_large,
    writing::writing,
};

/// Does it. Some outcomes must be told in status.
pub async fn act(ctx: &Context, reindex: &Reindex, effect: Effect) -> Result<Option<Outcome>, Error> {
    match effect {
        Effect::CreateIndex(body) => create_index(ctx, reindex, &body).await,
        Effect::DeleteIndex(uuid) => delete_index(ctx, reindex, &uuid).await,
        Effect::StartTasks { tune, starts } => Ok(Some(start_tasks(ctx, reindex, tune, &starts).await)),
        Effect::Throttle(tasks) => told(ctx, reindex, throttle(ctx, reindex, &tasks).await).await.map(|()| None),
        Effect::CancelTasks(tasks) => cancel_tasks(ctx, reindex, &tasks).await.map(|()| None),
        Effect::Tune => tune(ctx, reindex).await.map(|()| None),
        Effect::Repair { query, delete } => repair(ctx, reindex, query.as_ref(), delete).await.map(Some),
        Effect::FindTooLarge(query) => find_too_large(ctx, reindex, query.as_ref()).await.map(Some),
        Effect::Mend { round, differences } => mend::mend(ctx, reindex, round, &differences).await.map(Some),
        Effect::TellDifferences { message, differences } => {
            mend::tell(ctx, reindex, &message, &differences).await.map(Some)
        }
        Effect::Restore(tuning) => restore(ctx, reindex, &tuning).await.map(Some),
    }
}

/// Tells people why the destination refused what it was asked; it is asked again.
async fn told(ctx: &Context, reindex: &Reindex, result: Result<(), Error>) -> Result<(), Error> {
    if let Err(error @ Error::Search { source, .. }) = &result
        && !source.is_retryable()
    {
        let note = Note { warning: true, reason: "RequestRefused", message: error.to_string() };
        events::tell(ctx, reindex, [note]);
    }
    result
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

/// Deletes the index if it is still the one that was seen, and no other Reindex fills it.
async fn delete_index(ctx: &Context, reindex: &Reindex, uuid: &str) -> Result<Option<Outcome>, Error> {
    if let Some(trouble) = gate::busy(reindex, live_reindexes(ctx).await?.iter()) {
        return Ok(Some(Outcome::Unclear(trouble)));
    }
    if let Some(trouble) = reads_from(ctx, reindex, uuid).await? {
        return Ok(Some(Outcome::Unclear(trouble)));
    }
    let Some(cluster) = sides::destination(ctx, reindex).await? else { return Ok(None) };
    let destination = match open(ctx, "the destination", &cluster).await {
        Ok(destination) => destination,
        Err(trouble) => return Ok(Some(Outcome::Unclear(trouble))),
    };
    let index = &reindex.spec.destination.index;
    let delete = async {
        match destination.client.index_uuid(index).await? {
            Some(found) if found == uuid => destination.client.delete_index(index).await,
            _ => Ok(()),
        }
    };
    let deleted: Result<(), SearchError> = delete.await;
    Ok(deleted.err().map(|error| Outcome::Unclear(convert::trouble("the destination", &error))))
}

/// Whether nobody else has gone on with it since the intent was written. A process that was frozen in between would switch off on a finished index
/// what its successor has put back, or delete what that has repaired. What is under way when a process is frozen can't be called back.
async fn is_still_ours(ctx: &Context, reindex: &Reindex) -> Result<bool, Error> {
    let api: Api<Reindex> = Api::namespaced(ctx.client.clone(), &reindex.namespace().unwrap_or_default());
    let live = api.get_opt(&reindex.name_any()).await.map_err(Error::kube("read the Reindex again"))?;
    // A label that somebody sets is no reason.
    Ok(live.is_some_and(|live| live.uid() == reindex.uid() && live.status == reindex.status))
}

/// The same, or why nothing is begun.
pub async fn ensure_still_ours(ctx: &Context, reindex: &Reindex) -> Result<(), Outcome> {
    match is_still_ours(ctx, reindex).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Outcome::NotStarted(gone_on())),
        Err(error) => Err(Outcome::NotStarted(apiserver(&error))),
    }
}

/// Told to nobody, as a rule: the status that it would stand in is another one by now, and is not overwritten.
fn gone_on() -> Trouble {
    let message = "another instance of the operator has gone on with it".to_owned();
    Trouble { reason: "ProgressingWithRetry", message }
}

/// A SearchCluster went away, or admits no longer, between the look and the act.
pub fn gone() -> Trouble {
    Trouble { reason: "ClusterNotFound", message: "a SearchCluster is gone".into() }
}

/// Clients of the destination and the source.
pub async fn open_both(ctx: &Context, sides: &Sides) -> Result<(Connected, Connected), Trouble> {
    futures::try_join!(open(ctx, "the destination", &sides.destination), open(ctx, "the source", &sides.source))
}

/// Why an index must not be deleted: the source's name stands for it now, or can't be asked whether it does.
async fn reads_from(ctx: &Context, reindex: &Reindex, uuid: &str) -> Result<Option<Trouble>, Error> {
    let Ok(sides) = sides::resolve(ctx, reindex).await? else { return Ok(Some(gone())) };
    let source = match open(ctx, "the source", &sides.source).await {
        Ok(source) => source,
        Err(trouble) => return Ok(Some(trouble)),
    };
    Ok(match source.client.indices(&reindex.spec.source.index).await {
        Ok(indices) if indices.values().any(|index| index.uuid() == Some(uuid)) => {
            let message = "the source's name stands for the destination index now: it is not deleted".to_owned();
            Some(Trouble { reason: "SameIndex", message })
        }
        Ok(_) => None,
        Err(error) => Some(convert::trouble("the source", &error)),
    })
}

/// What tasks are started with.
struct Ready {
    destination: Connected,
    source: Connected,
    /// What runs on the destination, if a range is to be copied once more.
    running: Vec<RunningTask>,
    /// Other Reindexes count them.
    counted: bool,
    /// The destination refused to switch refresh and replicas off.
    untuned: bool,
}

async fn start_tasks(ctx: &Context, reindex: &Reindex, tune: bool, starts: &[Start]) -> Outcome {
    let ready = match make_ready(ctx, reindex, tune, starts).await {
        Ok(ready) => ready,
        Err(outcome) => return outcome,
    };
    let all = starts.iter().map(|start| adopt_or_start(ctx, reindex, &ready, start));
    let ranges = futures::future::join_all(all).await;
    Outcome::Started { ranges, counted: ready.counted, untuned: ready.untuned }
}

/// The intents stand in status; now the gate is read, live. A restart writes its own intent first and looks for ours then: one of
/// the two sees the other. Two Reindexes that share a limit, or an index, see each other in the same way. Or why nothing is started.
async fn make_ready(ctx: &Context, reindex: &Reindex, tune: bool, starts: &[Start]) -> Result<Ready, Outcome> {
    let not_now = |error: Error| Outcome::NotStarted(apiserver(&error));
    let of_destination = |error: SearchError| Outcome::NotStarted(convert::trouble("the destination", &error));
    let status = reindex.status.clone().unwrap_or_default();
    if let Some(cluster) = gate::closed(ctx, &status).await.map_err(not_now)? {
        return Err(Outcome::GateClosed(cluster));
    }
    let sides = sides::resolve(ctx, reindex).await.map_err(not_now)?.map_err(|_| Outcome::NotStarted(gone()))?;
    let limits = limits(ctx, &sides, &status, source_shards(&status));
    // An index of its own nobody else fills.
    let (alone, counted) = (created(&status), !limits.is_unlimited());
    if !alone || counted {
        let all = live_reindexes(ctx).await.map_err(not_now)?;
        if !alone && let Some(trouble) = gate::busy(reindex, all.iter()) {
            return Err(Outcome::Busy(trouble));
        }
        if counted && !plan::limits::admits(reindex, &all, &limits) {
            return Err(Outcome::LimitReached);
        }
    }
    let (destination, source) = open_both(ctx, &sides).await.map_err(Outcome::NotStarted)?;
    // The bulk of a task would make an index anew that is gone, or fill somebody else's: the next look says what stands there.
    if !is_ours(&destination, reindex).await.map_err(of_destination)? {
        return Err(Outcome::Started { ranges: vec![], counted, untuned: false });
    }
    let running = running_repeats(&destination, starts).await.map_err(of_destination)?;
    ensure_still_ours(ctx, reindex).await?;
    let tuned = match tune {
        true => switch_off(&destination, reindex).await,
        false => Ok(()),
    };
    let untuned = match tuned {
        Ok(()) => false,
        // Without it the copy is only slower. Whose user may do nothing there is told so by what comes next.
        Err(error) if is_refusal(&error) || error.status() == Some(403) => {
            let message = format!("refresh and replicas stay on while it is filled: {}", error.public_message());
            events::tell(ctx, reindex, [Note { warning: true, reason: "RequestRefused", message }]);
            true
        }
        Err(error) => return Err(of_destination(error)),
    };
    if tune {
        ensure_still_ours(ctx, reindex).await?;
    }
    Ok(Ready { destination, source, running, counted, untuned })
}

/// What runs on the destination where a range is to be copied once more: the request of an earlier attempt, which was given up, or another
/// leader's, may have come through since it was looked for.
async fn running_repeats(destination: &Connected, starts: &[Start]) -> Result<Vec<RunningTask>, SearchError> {
    match starts.iter().any(|start| start.attempt > 1) {
        true => destination.client.reindex_tasks().await,
        false => Ok(vec![]),
    }
}

async fn adopt_or_start(ctx: &Context, reindex: &Reindex, ready: &Ready, start: &Start) -> (i32, Started) {
    match running_task(&ready.running, reindex, start.partition) {
        Some((id, task)) => {
            let attempt = Attempt { reindex, partition: start.partition, opaque_id: id };
            let adopted = Started::Adopted(task);
            attempt.started(ctx, &adopted);
            (start.partition, adopted)
        }
        None => {
            let id = opaque_id(reindex, start.partition, start.attempt);
            start_task(ctx, ready, &Attempt { reindex, partition: start.partition, opaque_id: &id }, start).await
        }
    }
}

async fn start_task(ctx: &Context, ready: &Ready, attempt: &Attempt<'_>, start: &Start) -> (i32, Started) {
    let query = start.query.as_ref();
    let request = request(attempt.reindex, &ready.source, query, start.batch_size, start.requests_per_second);
    let started = match ready.destination.client.start_reindex(&request, attempt.opaque_id).await {
        Ok(task) => Started::Task(task.to_string()),
        Err(error) if is_refusal(&error) => Started::Refused(error.public_message()),
        Err(error) => Started::Unclear(error.public_message()),
    };
    attempt.started(ctx, &started);
    (start.partition, started)
}

/// The request that copies what the query finds.
pub fn request<'a>(
    reindex: &'a Reindex,
    source: &'a Connected,
    query: Option<&'a Value>,
    batch_size: i32,
    requests_per_second: Option<f64>,
) -> ReindexRequest<'a> {
    let spec = &reindex.spec;
    let fields = spec.source.source_fields.as_ref();
    let pinned = reindex.status.as_ref().and_then(|status| status.source.as_ref());
    ReindexRequest {
        remote: RemoteSource {
            host: pinned.map_or("", |source| source.remote.as_str()),
            credentials: source.credentials.as_ref(),
            takes_api_key: convert::takes_api_key(reindex.status.as_ref()),
            socket_timeout: &spec.source.socket_timeout,
            connect_timeout: &spec.source.connect_timeout,
        },
        source_index: &spec.source.index,
        query,
        includes: fields.map_or(&[], |fields| &fields.includes),
        excludes: fields.map_or(&[], |fields| &fields.excludes),
        batch_size: batch_size.unsigned_abs(),
        dest_index: &spec.destination.index,
        requests_per_second,
        writing: writing(spec),
    }
}

/// Whoever calls it has seen that the index is ours.
async fn switch_off(destination: &Connected, reindex: &Reindex) -> Result<(), SearchError> {
    let before = reindex.status.as_ref().and_then(|status| status.tuning.as_ref());
    let off = BulkLoadSettings {
        number_of_replicas: "0".to_owned(),
        refresh_interval: Some("-1".to_owned()),
        gc_deletes: before.and_then(|tuning| tuning.gc_deletes.clone()),
    };
    destination.client.set_bulk_load_settings(&reindex.spec.destination.index, &off).await
}

/// Where it can't be done the copy is only slower.
async fn tune(ctx: &Context, reindex: &Reindex) -> Result<(), Error> {
    let Some(cluster) = sides::destination(ctx, reindex).await? else { return Ok(()) };
    let Ok(destination) = open(ctx, "the destination", &cluster).await else { return Ok(()) };
    let failed = || Error::search("switch refresh and replicas off");
    match is_ours(&destination, reindex).await.map_err(failed())? && is_still_ours(ctx, reindex).await? {
        true => switch_off(&destination, reindex).await.map_err(failed()),
        false => Ok(()),
    }
}

/// Deletes what is stale on the destination.
async fn repair(ctx: &Context, reindex: &Reindex, query: Option<&Value>, delete: bool) -> Result<Outcome, Error> {
    let Ok(sides) = sides::resolve(ctx, reindex).await? else { return Ok(Outcome::Unclear(gone())) };
    let (destination, source) = match open_both(ctx, &sides).await {
        Ok(both) => both,
        Err(trouble) => return Ok(Outcome::Unclear(trouble)),
    };
    let Some(tuning) = reindex.status.as_ref().and_then(|status| status.tuning.as_ref()) else {
        return Ok(Outcome::Repaired(None));
    };
    let repair = Repair {
        source: &source.client,
        name: &reindex.spec.source.index,
        destination: &destination.client,
        index: &reindex.spec.destination.index,
    };
    let look = async {
        match is_ours(&destination, reindex).await? {
            true => repair.find(query).await,
            // The next look says so.
            false => Ok(Some(Found::default())),
        }
    };
    let unclear = |error: SearchError| Outcome::Unclear(convert::trouble("one of the clusters", &error));
    let found = match look.await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Outcome::Repaired(None)),
        Err(error) => return Ok(unclear(error)),
    };
    if !delete {
        return Ok(Outcome::Repaired(Some(found.stale.len())));
    }
    let documents = found.stale.len() + found.missing;
    if documents > 0 {
        if !is_still_ours(ctx, reindex).await? {
            return Ok(Outcome::Unclear(gone_on()));
        }
        let settings = convert::settings(tuning);
        if let Err(error) =
            delete_and_forget(repair.destination, repair.index, settings, &found.stale, ctx.pauses.clock).await
        {
            return Ok(unclear(error));
        }
    }
    Ok(Outcome::Repaired(Some(documents)))
}

async fn find_too_large(ctx: &Context, reindex: &Reindex, query: Option<&Value>) -> Result<Outcome, Error> {
    let Ok(sides) = sides::resolve(ctx, reindex).await? else { return Ok(Outcome::Unclear(gone())) };
    let (destination, source) = match open_both(ctx, &sides).await {
        Ok(both) => both,
        Err(trouble) => return Ok(Outcome::Unclear(trouble)),
    };
    let found = too_large::find(&reindex.spec, &source.client, &destination.client, query).await;
    // What is wrong is known: only the name is missing.
    Ok(Outcome::TooLarge(found.unwrap_or_else(|error| {
        let (namespace, name, uid) = (reindex.namespace(), reindex.name_any(), reindex.uid());
        tracing::warn!(kind = "Reindex", namespace, name, uid, %error, "the document that is too large was not found");
        None
    })))
}

/// Puts the settings back, if the index is still the one that was made. One that is gone, or another one of that name, owes nothing.
pub async fn restore(ctx: &Context, reindex: &Reindex, tuning: &Tuning) -> Result<Outcome, Error> {
    let destination = match destination_of(ctx, reindex).await? {
        Ok(destination) => destination,
        Err(trouble) => return Ok(Outcome::Unclear(trouble)),
    };
    let unclear = |error: SearchError| Outcome::Unclear(convert::trouble("the destination", &error));
    match is_ours(&destination, reindex).await {
        Ok(true) => {}
        Ok(false) => return Ok(Outcome::Restored),
        Err(error) => return Ok(unclear(error)),
    }
    // Somebody may have changed them since another has put them back.
    if !is_still_ours(ctx, reindex).await? {
        return Ok(Outcome::Unclear(gone_on()));
    }
    let index = &reindex.spec.destination.index;
    let put_back = destination.client.set_bulk_load_settings(index, &convert::settings(tuning)).await;
    Ok(put_back.map_or_else(unclear, |()| Outcome::Restored))
}

/// Sets throttles; what can't be reached now is tried again by the next look.
async fn throttle(ctx: &Context, reindex: &Reindex, tasks: &[(String, f64)]) -> Result<(), Error> {
    let Some(cluster) = sides::destination(ctx, reindex).await? else { return Ok(()) };
    let Ok(destination) = open(ctx, "the destination", &cluster).await else { return Ok(()) };
    for (id, limit) in tasks.iter().filter_map(|(id, limit)| Some((id.parse().ok()?, *limit))) {
        destination.client.rethrottle(&id, limit).await.map_err(Error::search("change a throttle"))?;
    }
    Ok(())
}

/// The destination answered, and will answer the same again.
pub(super) fn is_refusal(error: &SearchError) -> bool {
    !error.is_retryable() && !error.is_unauthorized() && error.status().is_some()
}

/// Cancels; what can't be reached now is tried again by the next look.
pub async fn cancel_tasks(ctx: &Context, reindex: &Reindex, tasks: &[String]) -> Result<(), Error> {
    let Some(cluster) = sides::destination(ctx, reindex).await? else { return Ok(()) };
    let Ok(destination) = open(ctx, "the destination", &cluster).await else { return Ok(()) };
    for id in tasks.iter().filter_map(|id| id.parse().ok()) {
        let cancelled = destination.client.cancel_task(&id).await.map_err(Error::search("cancel a task"));
        told(ctx, reindex, cancelled.map(drop)).await?;
    }
    Ok(())
}
