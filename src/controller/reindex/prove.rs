//! Looks at what proves the copy: whether the source stands still, the numbers, and the documents.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        SearchCluster,
        reindex::VerificationLevel,
        reindex_status::{CopyPlan, PlannedIndex, Tuning},
    },
    controller::{
        connect::Connected,
        proofs::{Look, Open},
    },
    plan::{
        self,
        comparison::{Compared, Comparison, How, comparison},
        limits::Scrolled,
        reindex::{self, Observation, Verify, created},
        validate::Trouble,
        verify::{Counts, ShardPosition},
    },
    search::{Distribution, SearchClient},
    verify::{Job, Pace, SLICES, Side},
};

use super::{
    convert, gate,
    mend::{MENDING, to_be_copied},
    observe::{Eyes, Seen, kubernetes, live_reindexes, of, signed},
    survey,
};

/// How long to wait for a source that moved in the last moment.
const SOON: Duration = Duration::from_secs(1);

/// A client of the destination that sees what was written there, for comparisons and what follows from them.
///
/// OpenSearch's replicas may lag behind a refresh (`replication.type: SEGMENT`), and those of an index of ours are just being made: so its
/// primaries are asked. Elasticsearch knows no such replicas, and no way to ask for primaries since its version 7. A source with such
/// replicas is refused before it is copied.
pub fn read_primaries(client: SearchClient, destination: &SearchCluster) -> SearchClient {
    let distribution = destination.status.as_ref().and_then(|status| status.distribution.as_deref());
    client.reading_primaries(distribution == Some(Distribution::OpenSearch.to_string().as_str()))
}

impl Eyes<'_> {
    /// Where the source moved, and there are rounds left, it is cut again; else documents are compared, and the numbers are read.
    pub async fn verify(&self) -> Seen<Observation> {
        let connected = self.destination().await?;
        let client = read_primaries(connected.client, &self.sides.destination);
        let destination = Connected { client, ..connected };
        self.nothing_runs(&destination).await?;
        // It is here for a repair only, and that has ended.
        if self.reindex.spec.suspend {
            return Ok(Observation::RepairEnded);
        }
        let source = self.source().await?;
        let (name, index) = (&self.reindex.spec.source.index, &self.reindex.spec.destination.index);
        let shards = convert::shards(source.client.positions(name).await.map_err(of("the source"))?);
        self.all_there(&shards)?;
        if let Some(round) = self.next_round(&shards) {
            return match reindex::pause(&self.status, Timestamp::now()) {
                Some(wait) => Ok(Observation::Moving(wait)),
                None => survey::survey(self, &source, &destination, Some(round)).await,
            };
        }
        if self.reindex.spec.verification.level == VerificationLevel::None {
            let nothing = Verify { shards, counts: None, compared: None, tuning: None };
            return Ok(Observation::Verify(Box::new(nothing)));
        }
        let stands_still =
            self.status.checkpoint.as_ref().is_some_and(|before| plan::verify::moved(before, &shards).is_none());
        if let Some(wait) = reindex::repair_pause(&self.status, Timestamp::now()) {
            return Ok(Observation::RepairPaused(wait));
        }
        let compared = match comparison(self.reindex, created(&self.status)).filter(|_| stands_still) {
            Some(comparison) => Some(self.compare(&source, &destination, comparison, &shards).await?),
            None => None,
        };
        destination.client.refresh(index).await.map_err(of("the destination"))?;
        let written = destination.client.count(index, None).await.map_err(of("the destination"))?;
        source.client.refresh(name).await.map_err(of("the source"))?;
        let query = self.reindex.spec.source.query.as_ref();
        let read = source.client.count(name, query).await.map_err(of("the source"))?;
        let ignored = self.ignored(&source, &destination).await?;
        let tuning = self.settings_to_repair(&source, &destination, compared.as_ref()).await?;
        // Read last: what moved while it was counted and compared counts as moved.
        let shards = convert::shards(source.client.positions(name).await.map_err(of("the source"))?);
        if self.next_round(&shards).is_some() {
            return Ok(Observation::Moving(SOON));
        }
        let counts = Counts { destination: signed(written), source: signed(read), ignored };
        Ok(Observation::Verify(Box::new(Verify { shards, counts: Some(counts), compared, tuning })))
    }

    /// Documents with fields that are kept and not indexed, where both sides should have as many. A cluster that can't tell is not asked.
    async fn ignored(&self, source: &Connected, destination: &Connected) -> Seen<Option<(i64, i64)>> {
        let spec = &self.reindex.spec;
        if !created(&self.status) || !reindex::as_on_the_source(spec) {
            return Ok(None);
        }
        let query = plan::verify::ignored(spec.source.query.as_ref());
        let here = source.client.count(&spec.source.index, Some(&query)).await;
        let there = destination.client.count(&spec.destination.index, Some(&plan::verify::ignored(None))).await;
        match (there, here) {
            (Err(error), _) | (_, Err(error)) if error.status() == Some(400) => Ok(None),
            (there, here) => {
                let (there, here) = (there.map_err(of("the destination"))?, here.map_err(of("the source"))?);
                Ok(Some((signed(there), signed(here))))
            }
        }
    }

    /// No task of ours may write to what is compared.
    async fn nothing_runs(&self, destination: &Connected) -> Seen<()> {
        let tasks = destination.client.reindex_tasks().await.map_err(of("the destination"))?;
        let prefix = format!("reindex/{}/", self.reindex.uid().unwrap_or_default());
        let ours = tasks.into_iter().filter_map(|task| {
            let number = task.opaque_id.as_deref()?.strip_prefix(&prefix)?.to_owned();
            Some((task.id.to_string(), number))
        });
        let (mending, strays): (Vec<_>, Vec<_>) = ours.partition(|(_, number)| number.starts_with(MENDING));
        match (strays.is_empty(), mending.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Observation::Mending),
            (false, _) => Err(Observation::Strays(strays.into_iter().map(|(task, _)| task).collect())),
        }
    }

    /// A primary that is away would look like another history: all of its index would be copied again.
    fn all_there(&self, shards: &[ShardPosition]) -> Seen<()> {
        let Some(plan) = &self.status.plan else { return Ok(()) };
        let is_the_same = |index: &PlannedIndex| {
            let of = |shard: &&ShardPosition| index.name.is_empty() || shard.index == index.name;
            plan::verify::uuid(&shards.iter().filter(of).collect::<Vec<_>>()) == index.uuid
        };
        let same = plan.indices.iter().all(is_the_same);
        match same && shards.len() < usize::try_from(plan.source_shards).unwrap_or_default() {
            true => Err(Observation::Trouble(Trouble {
                reason: "ShardsUnavailable",
                message: format!("the source: {} of {} primary shards are there", shards.len(), plan.source_shards),
            })),
            false => Ok(()),
        }
    }

    /// The plan to catch up from, where the source moved and another round is allowed.
    fn next_round(&self, shards: &[ShardPosition]) -> Option<&CopyPlan> {
        let (before, plan) = (self.status.checkpoint.as_ref()?, self.status.plan.as_ref()?);
        plan::verify::moved(before, shards)?;
        (plan.round < self.reindex.spec.catch_up_rounds()).then_some(plan)
    }

    /// Has the documents compared, and looks how far that is. Refreshed before, so that all that was written is seen.
    async fn compare(
        &self,
        source: &Connected,
        destination: &Connected,
        comparison: Comparison,
        shards: &[ShardPosition],
    ) -> Seen<Compared> {
        let (uid, spec) = (self.reindex.uid().unwrap_or_default(), &self.reindex.spec);
        let limit = spec.execution.requests_per_second;
        let mut look = self.ctx.proofs.look(&uid, limit).await;
        if let Look::Idle = look {
            let Some(turn) = self.ctx.proofs.turn().await else { return Err(Observation::ScrollsTaken) };
            let (name, index) = (&spec.source.index, &spec.destination.index);
            destination.client.refresh(index).await.map_err(of("the destination"))?;
            source.client.refresh(name).await.map_err(of("the source"))?;
            let written = destination.client.positions(index).await.map_err(of("the destination"))?.len();
            let Some((slices, open)) = self.scrolls(&comparison, shards.len(), written).await? else {
                return Err(Observation::ScrollsTaken);
            };
            let fields = spec.source.source_fields.clone().unwrap_or_default();
            let pace = Arc::new(Pace::default());
            pace.set_limit(limit);
            let side = |connected: &Connected, name: &String, slices: u32| Side {
                client: connected.client.clone(),
                name: name.clone(),
                slices,
            };
            let job = Job {
                source: side(source, name, slices[0]),
                query: spec.source.query.clone(),
                fields: (fields.includes, fields.excludes),
                destination: side(destination, index, slices[1]),
                comparison,
                pace,
            };
            self.ctx.proofs.start(&uid, job, turn, open);
            look = self.ctx.proofs.look(&uid, limit).await;
        }
        match look {
            Look::Ended(compared) => Ok(compared),
            Look::Running(proving) => Err(Observation::Proving(proving)),
            Look::Failed(trouble) => Err(Observation::Trouble(trouble)),
            Look::Broken(broken) => {
                let (namespace, name) = (self.reindex.namespace(), self.reindex.name_any());
                tracing::error!(kind = "Reindex", namespace, name, uid, %broken, "a comparison of documents broke off");
                Err(Observation::Trouble(Trouble {
                    reason: "VerificationBroken",
                    message: "the comparison of documents broke off: the operator's log says why".to_owned(),
                }))
            }
            Look::TooLarge(side, limit) => Err(Observation::TooLargeToCompare { side, limit }),
            Look::Idle => Err(Observation::Moving(SOON)),
        }
    }

    /// In how many parts each side is read, with the scrolls set aside for that; None where other comparisons and copies hold all that the
    /// clusters allow. A copy that starts in the same moment may not be seen, nor see this.
    async fn scrolls(
        &self,
        comparison: &Comparison,
        source_shards: usize,
        shards: usize,
    ) -> Seen<Option<([u32; 2], Open)>> {
        let most = if comparison.content { SLICES.1 } else { SLICES.0 };
        let parts = match comparison.how {
            How::Sums => [most, most],
            // The destination is asked for documents by their ids.
            How::LookUp | How::Sample(_) => [1, 0],
        };
        let pinned = [
            self.status.source.as_ref().map(|source| &source.cluster_uuid),
            self.status.destination.as_ref().map(|destination| &destination.cluster_uuid),
        ];
        let side = |at: usize, cluster: &SearchCluster, shards: usize| Scrolled {
            cluster: pinned[at].cloned().unwrap_or_default(),
            shards: i32::try_from(shards).unwrap_or(i32::MAX),
            parts: parts[at].cast_signed(),
            allowed: cluster.spec.limits.as_ref().and_then(|limits| limits.max_open_scrolls),
        };
        let sides = [side(0, &self.sides.source, source_shards), side(1, &self.sides.destination, shards)];
        let all = match sides.iter().any(|side| side.allowed.is_some()) {
            true => live_reindexes(self.ctx).await.map_err(|error| kubernetes(&error))?,
            false => vec![],
        };
        Ok(self.ctx.proofs.set_aside(|others| plan::limits::parts(&sides, &all, others)))
    }

    /// The destination index's settings, where a repair is to follow and the index is ours.
    ///
    /// A repair begins with deletions, so whatever can be known of the copy that follows is looked at before: it waits for a restart that
    /// is about to begin, for a source that the destination can't read from, and for one that does not hold what is to be copied. What the
    /// comparison came to is kept meanwhile.
    async fn settings_to_repair(
        &self,
        source: &Connected,
        destination: &Connected,
        compared: Option<&Compared>,
    ) -> Seen<Option<Tuning>> {
        let Some(compared) = compared.filter(|compared| !compared.is_the_same()) else { return Ok(None) };
        if reindex::next_repair(self.reindex, compared).is_none() {
            return Ok(None);
        }
        if let Some(cluster) = gate::seen_closed(self.ctx, &self.status) {
            return Err(Observation::GateClosed(cluster));
        }
        self.reaches_still(source, destination).await?;
        if let Some(query) = to_be_copied(&compared.listed, self.reindex.spec.source.query.as_ref()) {
            let name = &self.reindex.spec.source.index;
            let held = source.client.count(name, Some(&query.value)).await.map_err(of("the source"))?;
            if held < query.documents {
                // It moved after all: what differs is looked for anew.
                return Err(Observation::Moving(SOON));
            }
        }
        if !created(&self.status) {
            return Ok(None);
        }
        let index = &self.reindex.spec.destination.index;
        let settings = destination.client.bulk_load_settings(index).await.map_err(of("the destination"))?;
        Ok(Some(convert::tuning(settings)))
    }
}
