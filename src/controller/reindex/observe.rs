//! Looks at what the stage of a Reindex needs, and at nothing else.

use kube::ResourceExt;

use crate::{
    api::{Reindex, ReindexStatus, SearchCluster, reindex::VerificationLevel},
    controller::{
        connect::{Connected, connect},
        context::Context,
        error::Error,
    },
    plan::{
        index_body::{self, SourceDefinition},
        reindex::{Allowlist, Begin, Observation, Poll, Prepare, Stage, Verify},
        validate::Trouble,
        verify::Counts,
    },
    search::{ProbeVerdict, RemoteSource, SearchError},
};

use super::{
    convert,
    sides::{self, Sides},
    validate,
};

/// Trouble ends an observation early; it is no error, but what was seen.
type Seen<T> = Result<T, Observation>;

/// Looks.
pub async fn observe(ctx: &Context, reindex: &Reindex, stage: Stage) -> Result<Observation, Error> {
    if stage == Stage::Finished {
        return Ok(Observation::Nothing);
    }
    if stage == Stage::Cancel {
        return Ok(match running_tasks(ctx, reindex).await? {
            Ok(tasks) => Observation::Cancel(tasks),
            Err(trouble) => Observation::Trouble(trouble),
        });
    }
    let sides = match (sides::resolve(ctx, reindex).await?, stage) {
        (Ok(sides), Stage::Validate) => {
            return Ok(Observation::Validate(Box::new(validate::facts(ctx, reindex, &sides).await)));
        }
        (Ok(sides), _) => sides,
        (Err(access), Stage::Validate) => return Ok(Observation::Validate(Box::new(validate::no_access(access)))),
        (Err(access), Stage::Allowlist | Stage::Prepare) => return Ok(Observation::Trouble(joined(access))),
        (Err(access), _) => return Ok(Observation::AccessWithdrawn(joined(access).message)),
    };
    let eyes = Eyes { ctx, reindex, sides: &sides, status: reindex.status.clone().unwrap_or_default() };
    let seen = match stage {
        Stage::Allowlist => eyes.allowlist().await,
        Stage::Prepare => eyes.prepare().await,
        Stage::Begin => eyes.begin().await,
        Stage::Adopt => eyes.adopt().await,
        Stage::Poll => eyes.poll().await,
        Stage::Verify => eyes.verify().await,
        Stage::Validate | Stage::Cancel | Stage::Finished => Ok(Observation::Nothing),
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
    Ok(match sides::destination(ctx, reindex).await? {
        Some(destination) => tasks_on(ctx, reindex, &destination).await,
        None => Err(Trouble {
            reason: "ClusterNotFound",
            message: format!(
                "SearchCluster {} (destination.clusterRef) is gone",
                reindex.spec.destination.cluster_ref.name
            ),
        }),
    })
}

async fn tasks_on(ctx: &Context, reindex: &Reindex, destination: &SearchCluster) -> Result<Vec<String>, Trouble> {
    let connected = open(ctx, "the destination", destination).await?;
    let tasks = connected.client.reindex_tasks().await.map_err(|error| convert::trouble("the destination", &error))?;
    let prefix = format!("reindex/{}/", reindex.uid().unwrap_or_default());
    let ours = |id: &Option<String>| id.as_deref().is_some_and(|id| id.starts_with(&prefix));
    Ok(tasks.into_iter().filter(|task| ours(&task.opaque_id)).map(|task| task.id.to_string()).collect())
}

/// A client of a cluster, or trouble with `side`.
pub async fn open(ctx: &Context, side: &str, cluster: &SearchCluster) -> Result<Connected, Trouble> {
    connect(&ctx.client, cluster)
        .await
        .map_err(|fault| Trouble { reason: fault.reason(), message: format!("{side}: {fault}") })
}

struct Eyes<'a> {
    ctx: &'a Context,
    reindex: &'a Reindex,
    sides: &'a Sides,
    status: ReindexStatus,
}

impl Eyes<'_> {
    /// The destination, if it is still the one that was pinned.
    async fn destination(&self) -> Seen<Connected> {
        let pinned = self.status.destination.as_ref().map(|destination| &destination.cluster_uuid);
        self.pinned("the destination", &self.sides.destination, pinned).await
    }

    /// The source, likewise.
    async fn source(&self) -> Seen<Connected> {
        let pinned = self.status.source.as_ref().map(|source| &source.cluster_uuid);
        self.pinned("the source", &self.sides.source, pinned).await
    }

    async fn pinned(&self, side: &'static str, cluster: &SearchCluster, uuid: Option<&String>) -> Seen<Connected> {
        let connected = open(self.ctx, side, cluster).await.map_err(Observation::Trouble)?;
        let info = connected.client.info().await.map_err(of(side))?;
        match uuid {
            Some(pinned) if *pinned != info.cluster_uuid => Err(Observation::ClusterChanged(format!(
                "{side} is another cluster now: UUID {} where {pinned} was pinned at Validate",
                info.cluster_uuid
            ))),
            _ => Ok(connected),
        }
    }

    async fn allowlist(&self) -> Seen<Observation> {
        let destination = self.destination().await?;
        let wanted = self.sides.remote.as_ref().map(|remote| remote.host_port.clone()).unwrap_or_default();
        let status = self.sides.destination.status.clone().unwrap_or_default();
        let listed = status.allowlist.clone().unwrap_or_default();
        if !crate::plan::allowlist::covers(&listed.effective, &wanted) {
            let (stalled, said) = validate::what_the_cluster_says(&status, &wanted);
            let name = self.sides.destination.name_any();
            let message = format!("the source {wanted} is not on the allowlist of SearchCluster {name}: {said}");
            return Ok(Observation::Allowlist(Allowlist::Missing { stalled, message }));
        }
        let source = open(self.ctx, "the source", &self.sides.source).await.map_err(Observation::Trouble)?;
        let spec = &self.reindex.spec;
        let remote = RemoteSource {
            host: self.remote(),
            credentials: source.credentials.as_ref(),
            socket_timeout: &spec.source.socket_timeout,
            connect_timeout: &spec.source.connect_timeout,
        };
        let verdict = destination.client.probe_reindex(&remote, &spec.source.index, &spec.destination.index).await;
        Ok(Observation::Allowlist(judge_probe(verdict.map_err(of("the destination"))?, &wanted)))
    }

    /// The address that was pinned: the one that the allowlist was changed for.
    fn remote(&self) -> &str {
        self.status.source.as_ref().map_or("", |source| source.remote.as_str())
    }

    async fn prepare(&self) -> Seen<Observation> {
        let destination = self.destination().await?;
        let name = &self.reindex.spec.destination.index;
        match destination.client.indices(name).await {
            Ok(indices) => {
                let (concrete, definition) = indices.into_iter().next().unzip();
                let uuid = definition
                    .as_ref()
                    .and_then(|d: &crate::search::IndexDefinition| d.uuid())
                    .unwrap_or_default()
                    .to_owned();
                // An alias of that name is not ours, whatever stands behind it.
                let owner = definition.as_ref().filter(|_| concrete.as_ref() == Some(name));
                let owner = owner.and_then(|definition| index_body::owner_uid(&definition.mappings)).map(str::to_owned);
                Ok(Observation::Prepare(Prepare::Exists { uuid, owner }))
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

    async fn begin(&self) -> Seen<Observation> {
        let source = self.source().await?;
        let name = &self.reindex.spec.source.index;
        let positions = source.client.positions(name).await.map_err(of("the source"))?;
        source.client.refresh(name).await.map_err(of("the source"))?;
        let documents =
            source.client.count(name, self.reindex.spec.source.query.as_ref()).await.map_err(of("the source"))?;
        Ok(Observation::Begin(Begin {
            shards: convert::shards(positions),
            documents: i64::try_from(documents).unwrap_or(i64::MAX),
        }))
    }

    async fn adopt(&self) -> Seen<Observation> {
        self.destination().await?;
        let attempt = self.status.partitions.first().map_or(0, |partition| partition.attempt);
        let id = opaque_id(self.reindex, attempt);
        let destination = self.destination().await?;
        let tasks = destination.client.reindex_tasks().await.map_err(of("the destination"))?;
        let ours = tasks.into_iter().find(|task| task.opaque_id.as_deref() == Some(&id));
        Ok(Observation::Adopt(ours.map(|task| task.id.to_string())))
    }

    async fn poll(&self) -> Seen<Observation> {
        let destination = self.destination().await?;
        let id = self.status.partitions.first().and_then(|partition| partition.task.as_deref()).unwrap_or_default();
        let state = match id.parse() {
            Ok(id) => destination.client.task(&id).await.map_err(of("the destination"))?,
            Err(_) => None,
        };
        let index = &self.reindex.spec.destination.index;
        let index_uuid = destination.client.index_uuid(index).await.map_err(of("the destination"))?;
        Ok(Observation::Poll(Poll { task: convert::task(state), index_uuid }))
    }

    async fn verify(&self) -> Seen<Observation> {
        let destination = self.destination().await?;
        let index = &self.reindex.spec.destination.index;
        let index_uuid = destination.client.index_uuid(index).await.map_err(of("the destination"))?;
        if self.reindex.spec.verification.level == VerificationLevel::None || index_uuid.is_none() {
            return Ok(Observation::Verify(Verify { index_uuid, counts: None }));
        }
        destination.client.refresh(index).await.map_err(of("the destination"))?;
        let written = destination.client.count(index, None).await.map_err(of("the destination"))?;
        let source = self.source().await?;
        let (name, query) = (&self.reindex.spec.source.index, self.reindex.spec.source.query.as_ref());
        source.client.refresh(name).await.map_err(of("the source"))?;
        let read = source.client.count(name, query).await.map_err(of("the source"))?;
        let positions = source.client.positions(name).await.map_err(of("the source"))?;
        let counts = Counts {
            destination: i64::try_from(written).unwrap_or(i64::MAX),
            source: i64::try_from(read).unwrap_or(i64::MAX),
            shards: convert::shards(positions),
        };
        Ok(Observation::Verify(Verify { index_uuid, counts: Some(counts) }))
    }
}

/// What the task of this attempt carries, to be found again after a crash.
pub fn opaque_id(reindex: &Reindex, attempt: i32) -> String {
    format!("reindex/{}/0/{attempt}", reindex.uid().unwrap_or_default())
}

/// An error of `side`, as what was seen.
fn of(side: &'static str) -> impl Fn(SearchError) -> Observation {
    move |error| Observation::Trouble(convert::trouble(side, &error))
}

fn judge_probe(verdict: ProbeVerdict, wanted: &str) -> Allowlist {
    let (reason, message) = match verdict {
        ProbeVerdict::Passed => return Allowlist::Passed,
        ProbeVerdict::NotAllowed => (
            "NotAllowed",
            format!(
                "a node of the destination refuses the source {wanted}, although all of them showed it on their allowlist"
            ),
        ),
        ProbeVerdict::Unreachable(why) => (
            "SourceUnreachable",
            format!(
                "the destination's nodes can't reach the source at {wanted} ({why}): check the network between the clusters, and remoteEndpoint or remotes"
            ),
        ),
        ProbeVerdict::Untrusted => (
            "SourceUntrusted",
            format!(
                "the destination's nodes don't trust the certificate of the source at {wanted}: set reindex.ssl.certificate_authorities in their configuration to the source's CA"
            ),
        ),
        ProbeVerdict::Unauthorized => (
            "SourceAuthenticationFailed",
            format!("the source at {wanted} refused its own credentials when the destination used them"),
        ),
        ProbeVerdict::Rejected(why) => {
            ("ProbeRejected", format!("a reindex of no documents from {wanted} was refused: {why}"))
        }
    };
    Allowlist::Refused(Trouble { reason, message })
}
