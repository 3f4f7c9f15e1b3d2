//! Looks at what the stage of a Reindex needs, and at nothing else.

use std::collections::BTreeMap;

use kube::ResourceExt;

use crate::{
    api::{
        Reindex, ReindexStatus, SearchCluster,
        reindex_status::{PartitionState, Tuning},
    },
    controller::{
        connect::{Connected, connect},
        context::Context,
        error::Error,
        scope,
        tasks::Attempt,
    },
    plan::{
        self,
        copy::Task,
        index_body::{self, SourceDefinition},
        limits::Limits,
        reindex::{Copying, Hold, Observation, PartitionSeen, Prepare, Release, Stage, created},
        scope::NOT_WATCHED,
        validate::Trouble,
    },
    search::{RunningTask, SearchError, TaskId},
};

use super::{
    convert, gate,
    sides::{self, Sides},
    survey, validate,
};

/// Trouble ends an observation early; it is no error, but what was seen.
pub type Seen<T> = Result<T, Observation>;

/// Looks.
pub async fn observe(ctx: &Context, reindex: &Reindex, stage: Stage) -> Result<Observation, Error> {
    match stage {
        Stage::Finished | Stage::Suspended => return Ok(Observation::Nothing),
        Stage::Restore => return Ok(Observation::Restore),
        Stage::Release => {
            return Ok(match release(ctx, reindex).await? {
                Ok(seen) => Observation::Release(seen),
                Err(trouble) => Observation::Trouble(trouble),
            });
        }
        _ => {}
    }
    let sides = match (sides::resolve(ctx, reindex).await?, stage) {
        (Ok(sides), Stage::Validate) => {
            return Ok(Observation::Validate(Box::new(validate::facts(ctx, reindex, &sides).await)));
        }
        (Ok(sides), _) => sides,
        (Err(access), Stage::Validate) => return Ok(Observation::Validate(Box::new(validate::no_access(access)))),
        (Err(access), Stage::Allowlist | Stage::Prepare) => return Ok(Observation::Trouble(joined(access))),
        // Nobody has taken the access away: it goes on where the operator works there again.
        (Err(access), _) if access.iter().any(|trouble| trouble.reason == NOT_WATCHED) => {
            return Ok(Observation::Trouble(joined(access)));
        }
        (Err(access), _) => return Ok(Observation::AccessWithdrawn(joined(access).message)),
    };
    let eyes = Eyes { ctx, reindex, sides: &sides, status: reindex.status.clone().unwrap_or_default() };
    let seen = match stage {
        Stage::Allowlist => eyes.allowlist().await,
        Stage::Prepare => eyes.prepare().await,
        Stage::Survey => eyes.survey().await,
        Stage::Copy => eyes.copy().await,
        Stage::Resume => eyes.settings().await.map(Observation::Resume),
        Stage::Repair => eyes.repair().await,
        Stage::Verify => eyes.verify().await,
        Stage::Validate | Stage::Restore | Stage::Suspended | Stage::Release | Stage::Finished => {
            Ok(Observation::Nothing)
        }
    };
    Ok(seen.unwrap_or_else(|trouble| trouble))
}

fn joined(troubles: Vec<Trouble>) -> Trouble {
    let reason = troubles.first().map_or("ClusterNotFound", |trouble| trouble.reason);
    let messages: Vec<_> = troubles.into_iter().map(|trouble| trouble.message).collect();
    Trouble { reason, message: messages.join("; ") }
}

/// Our tasks on the destination: those whose `X-Opaque-Id` begins with this Reindex's UID.
pub async fn running_tasks(ctx: &Context, reindex: &Reindex) -> Result<Result<Vec<String>, Trouble>, Error> {
    Ok(match destination_of(ctx, reindex).await? {
        Ok(destination) => tasks_on(reindex, &destination).await,
        Err(trouble) => Err(trouble),
    })
}

/// The same, and what those came to that do not run any more.
async fn release(ctx: &Context, reindex: &Reindex) -> Result<Result<Release, Trouble>, Error> {
    let destination = match destination_of(ctx, reindex).await? {
        Ok(destination) => destination,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let look = async {
        let mut seen = Release { running: tasks_on(reindex, &destination).await?, ended: BTreeMap::new() };
        for partition in reindex.status.iter().flat_map(|status| &status.partitions) {
            let Some(task) = partition.task.as_ref().filter(|task| !seen.running.contains(task)) else { continue };
            let Ok(id) = task.parse::<TaskId>() else { continue };
            let state = destination.client.task(&id).await;
            let state = state.map_err(|error| convert::trouble("the destination", &error))?;
            let found = convert::task(&id, state);
            let opaque_id = opaque_id(reindex, partition.id, partition.attempt);
            Attempt { reindex, partition: partition.id, opaque_id: &opaque_id }.ended(ctx, Some(task), &found);
            seen.ended.insert(partition.id, found);
        }
        Ok(seen)
    };
    Ok(look.await)
}

/// The destination, whether or not it admits.
pub async fn destination_of(ctx: &Context, reindex: &Reindex) -> Result<Result<Connected, Trouble>, Error> {
    Ok(match sides::destination(ctx, reindex).await? {
        Some(cluster) => open(ctx, "the destination", &cluster).await,
        None => Err(no_destination(ctx, reindex)),
    })
}

fn no_destination(ctx: &Context, reindex: &Reindex) -> Trouble {
    let (named, own) = (&reindex.spec.destination.cluster_ref, reindex.namespace().unwrap_or_default());
    let gone = || Trouble {
        reason: "ClusterNotFound",
        message: format!("SearchCluster {} (destination.clusterRef) is gone", named.name),
    };
    ctx.scope.trouble("destination", named.namespace_or(&own), &named.name).unwrap_or_else(gone)
}

async fn tasks_on(reindex: &Reindex, destination: &Connected) -> Result<Vec<String>, Trouble> {
    let tasks =
        destination.client.reindex_tasks().await.map_err(|error| convert::trouble("the destination", &error))?;
    let prefix = format!("reindex/{}/", reindex.uid().unwrap_or_default());
    let ours = |id: &Option<String>| id.as_deref().is_some_and(|id| id.starts_with(&prefix));
    Ok(tasks.into_iter().filter(|task| ours(&task.opaque_id)).map(|task| task.id.to_string()).collect())
}

/// A client of a cluster, or trouble with `side`.
pub async fn open(ctx: &Context, side: &str, cluster: &SearchCluster) -> Result<Connected, Trouble> {
    connect(ctx, cluster).await.map_err(|fault| Trouble { reason: fault.reason(), message: format!("{side}: {fault}") })
}

/// Whether the index is still the one that was pinned: no other one is changed.
pub async fn is_ours(destination: &Connected, reindex: &Reindex) -> Result<bool, SearchError> {
    let pinned = reindex.status.as_ref().and_then(|status| status.destination.as_ref());
    let uuid = pinned.and_then(|pinned| pinned.index_uuid.as_ref());
    match destination.client.index_uuid(&reindex.spec.destination.index).await {
        Ok(found) => Ok(found.is_some() && found.as_ref() == uuid),
        Err(SearchError::SeveralIndices { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// One look at one Reindex.
pub struct Eyes<'a> {
    /// For calls.
    pub ctx: &'a Context,
    /// Whose look it is.
    pub reindex: &'a Reindex,
    /// Its clusters.
    pub sides: &'a Sides,
    /// Its status.
    pub status: ReindexStatus,
}

impl Eyes<'_> {
    /// The destination, if it is still the one that was pinned, and so is its index.
    pub async fn destination(&self) -> Seen<Connected> {
        let pinned = self.status.destination.as_ref();
        let cluster = pinned.map(|destination| &destination.cluster_uuid);
        let destination = self.pinned("the destination", &self.sides.destination, cluster).await?;
        let is_made = pinned.is_some_and(|destination| destination.index_uuid.is_some());
        if is_made && !is_ours(&destination, self.reindex).await.map_err(of("the destination"))? {
            return Err(Observation::DestinationReplaced);
        }
        Ok(destination)
    }

    /// The source, likewise.
    pub async fn source(&self) -> Seen<Connected> {
        let pinned = self.status.source.as_ref().map(|source| &source.cluster_uuid);
        self.pinned("the source", &self.sides.source, pinned).await
    }

    async fn pinned(&self, side: &'static str, cluster: &SearchCluster, uuid: Option<&String>) -> Seen<Connected> {
        let connected = open(self.ctx, side, cluster).await.map_err(Observation::Trouble)?;
        let info = self.ctx.read.info(cluster, &connected.client).await.map_err(of(side))?;
        match uuid {
            Some(pinned) if *pinned != info.cluster_uuid => Err(Observation::ClusterChanged(format!(
                "{side} is another cluster now: UUID {} where {pinned} was pinned at Validate",
                info.cluster_uuid
            ))),
            _ => Ok(connected),
        }
    }

    /// The address that was pinned: the one that the allowlist was changed for.
    pub(super) fn remote(&self) -> &str {
        self.status.source.as_ref().map_or("", |source| source.remote.as_str())
    }

    async fn prepare(&self) -> Seen<Observation> {
        let known = self.ctx.reindexes.state();
        if let Some(trouble) = gate::busy(self.reindex, known.iter().map(|other| other.as_ref())) {
            return Err(Observation::Trouble(trouble));
        }
        let destination = self.destination().await?;
        let name = &self.reindex.spec.destination.index;
        match destination.client.indices(name).await {
            Ok(indices) => {
                // An alias of that name is not ours, whatever stands behind it.
                let concrete = indices.get(name);
                let definition = concrete.or_else(|| indices.values().next());
                let owner =
                    concrete.and_then(|definition| index_body::owner_uid(&definition.mappings)).map(str::to_owned);
                // Who else fills it the cache may not know yet. Where this one created it, nobody else did.
                if owner != self.reindex.uid() {
                    let all = live_reindexes(self.ctx).await.map_err(|error| kubernetes(&error))?;
                    if let Some(trouble) = gate::busy(self.reindex, all.iter()) {
                        return Err(Observation::Trouble(trouble));
                    }
                }
                let uuid = definition.and_then(|definition| definition.uuid()).unwrap_or_default().to_owned();
                Ok(Observation::Prepare(Prepare::Exists { uuid, concrete: concrete.is_some(), owner }))
            }
            Err(error) if error.is_not_found() => {
                let source = self.source().await?;
                let indices = source.client.indices(&self.reindex.spec.source.index).await.map_err(of("the source"))?;
                let written = validate::write_index(&self.reindex.spec.source.index, &indices);
                let definition = written.map(|definition| SourceDefinition {
                    mappings: definition.mappings.clone(),
                    settings: definition.settings["index"].clone(),
                });
                Ok(Observation::Prepare(Prepare::Absent(Box::new(definition.unwrap_or_default()))))
            }
            Err(error) => Err(of("the destination")(error)),
        }
    }

    /// What is deleted is what the pinned source holds in a lower version, not another cluster.
    async fn repair(&self) -> Seen<Observation> {
        self.source().await?;
        self.settings().await.map(Observation::Repair)
    }

    /// What every task came to, by one call for those that run and one for each that does not any more.
    async fn copy(&self) -> Seen<Observation> {
        let destination = self.destination().await?;
        let listed = destination.client.reindex_tasks().await.map_err(of("the destination"))?;
        let mut seen = BTreeMap::new();
        for partition in self.status.partitions.iter().filter(|partition| partition.state != PartitionState::Waiting) {
            let runs = running_task(&listed, self.reindex, partition.id);
            let found = match partition.task.as_deref().map(str::parse::<TaskId>) {
                None => PartitionSeen::Adopt(runs.as_ref().map(|(_, task)| task.clone())),
                Some(Err(_)) => PartitionSeen::Task(Task::Lost),
                Some(Ok(id)) => PartitionSeen::Task(match listed.iter().find(|task| task.id == id) {
                    Some(task) => Task::Running(convert::running(&id, &task.status)),
                    None => convert::task(&id, destination.client.task(&id).await.map_err(of("the destination"))?),
                }),
            };
            // Of one that has ended, as far as is known.
            let opaque_id = match runs {
                Some((id, _)) => id.to_owned(),
                None => opaque_id(self.reindex, partition.id, partition.attempt),
            };
            let attempt = Attempt { reindex: self.reindex, partition: partition.id, opaque_id: &opaque_id };
            attempt.seen(self.ctx, partition.task.as_deref(), &found);
            seen.insert(partition.id, found);
        }
        // Where the source is away nothing is started, and what runs is still looked after.
        let hold = match self.source().await {
            Ok(_) => self.hold(),
            Err(Observation::Trouble(trouble)) => Some(Hold::Trouble(trouble)),
            Err(changed) => return Err(changed),
        };
        let slots = self.slots(source_shards(&self.status)).await?;
        Ok(Observation::Copy(Copying { seen, slots, hold }))
    }

    /// What keeps further ranges from starting, although both clusters are there; from the caches, as a range that is started looks again.
    fn hold(&self) -> Option<Hold> {
        if let Some(cluster) = gate::seen_closed(self.ctx, &self.status) {
            return Some(Hold::Gate(cluster));
        }
        if created(&self.status) {
            return None;
        }
        gate::busy(self.reindex, self.ctx.reindexes.state().iter().map(AsRef::as_ref)).map(Hold::Trouble)
    }

    /// How many more tasks the clusters' limits allow, each of which reads so many shards.
    pub async fn slots(&self, shards: i32) -> Seen<i32> {
        let limits = limits(self.ctx, self.sides, &self.status, shards);
        if limits.is_unlimited() {
            return Ok(i32::MAX);
        }
        let all = live_reindexes(self.ctx).await.map_err(|error| kubernetes(&error))?;
        Ok(plan::limits::slots(self.reindex, &all, &limits))
    }

    /// The destination index's settings as they are.
    async fn settings(&self) -> Seen<Tuning> {
        let destination = self.destination().await?;
        let index = &self.reindex.spec.destination.index;
        let settings = destination.client.bulk_load_settings(index).await.map_err(of("the destination"))?;
        Ok(convert::tuning(settings))
    }

    /// Nothing is looked at that could not be copied now anyhow.
    async fn survey(&self) -> Seen<Observation> {
        if let Some(cluster) = gate::seen_closed(self.ctx, &self.status) {
            return Ok(Observation::GateClosed(cluster));
        }
        let destination = self.destination().await?;
        let source = self.source().await?;
        survey::survey(self, &source, &destination, None).await
    }
}

/// Every Reindex, as the apiserver has it now.
pub async fn live_reindexes(ctx: &Context) -> Result<Vec<Reindex>, Error> {
    scope::list(&ctx.client, &ctx.scope, "list the Reindexes").await
}

/// The limits of both clusters. A source's open scrolls are so many tasks as each reads all its shards.
pub fn limits(ctx: &Context, sides: &Sides, status: &ReindexStatus, shards: i32) -> Limits {
    let of = |cluster: &SearchCluster| cluster.spec.limits.clone().unwrap_or_default();
    let destination = status.destination.as_ref().map(|pinned| pinned.cluster_uuid.clone());
    let source = status.source.as_ref().map(|pinned| pinned.cluster_uuid.clone());
    Limits {
        tasks: destination.zip(of(&sides.destination).max_tasks),
        readers: source.zip(of(&sides.source).max_open_scrolls).map(|(uuid, scrolls)| {
            let readers = plan::limits::readers(scrolls, shards, ctx.proofs.open_on(&uuid));
            (uuid, readers)
        }),
    }
}

/// Shards that each task reads.
pub fn source_shards(status: &ReindexStatus) -> i32 {
    status.plan.as_ref().map_or(1, |plan| plan.source_shards)
}

/// Counters are far below the range of a signed number.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The task that copies this range now, whichever attempt started it, and what it carries.
pub fn running_task<'a>(running: &'a [RunningTask], reindex: &Reindex, partition: i32) -> Option<(&'a str, String)> {
    let range = opaque_id_of_range(reindex, partition);
    let ours = |task: &'a RunningTask| task.opaque_id.as_deref().filter(|id| id.starts_with(&range));
    running.iter().find_map(|task| Some((ours(task)?, task.id.to_string())))
}

/// What the task of this attempt carries, to be found again after a crash. Rounds of catching up have numbers of their own.
pub fn opaque_id(reindex: &Reindex, partition: i32, attempt: i32) -> String {
    format!("{}{attempt}", opaque_id_of_range(reindex, partition))
}

fn opaque_id_of_range(reindex: &Reindex, partition: i32) -> String {
    let round = reindex.status.as_ref().and_then(|status| status.plan.as_ref()).map_or(0, |plan| plan.round);
    let uid = reindex.uid().unwrap_or_default();
    match round {
        0 => format!("reindex/{uid}/{partition}/"),
        _ => format!("reindex/{uid}/{round}.{partition}/"),
    }
}

/// An error of `side`, as what was seen.
pub fn of(side: &'static str) -> impl Fn(SearchError) -> Observation {
    move |error| Observation::Trouble(convert::trouble(side, &error))
}

/// Trouble with the apiserver.
pub fn apiserver(error: &Error) -> Trouble {
    Trouble { reason: "KubernetesError", message: error.to_string() }
}

/// The same, as what was seen.
pub fn kubernetes(error: &Error) -> Observation {
    Observation::Trouble(apiserver(error))
}
