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
    controller::{connect::Connected, proofs::Look},
    plan::{
        self,
        comparison::{Compared, Comparison, comparison},
        reindex::{self, Observation, Verify, created},
        validate::Trouble,
        verify::{Counts, ShardPosition},
    },
    verify::{Job, Pace, Side},
};

use super::{
    convert, gate,
    mend::MENDING,
    observe::{Eyes, Seen, of, signed},
    survey,
};

/// The most scrolls that a comparison opens on one cluster, each on all shards. A cluster has 500 where nobody set another number.
const MOST_SCROLLS: i32 = 100;
/// How long to wait for a source that moved in the last moment.
const SOON: Duration = Duration::from_secs(1);

impl Eyes<'_> {
    /// Where the source moved, and there are rounds left, it is cut again; else documents are compared, and the numbers are read.
    pub async fn verify(&self) -> Seen<Observation> {
        let destination = self.destination().await?;
        let source = self.source().await?;
        let (name, index) = (&self.reindex.spec.source.index, &self.reindex.spec.destination.index);
        self.nothing_runs(&destination).await?;
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
        let compared = match comparison(self.reindex, created(&self.status)).filter(|_| stands_still) {
            Some(comparison) => Some(self.compare(&source, &destination, comparison, &shards).await?),
            None => None,
        };
        let tuning = self.settings_to_repair(&destination, compared.as_ref()).await?;
        destination.client.refresh(index).await.map_err(of("the destination"))?;
        let written = destination.client.count(index, None).await.map_err(of("the destination"))?;
        source.client.refresh(name).await.map_err(of("the source"))?;
        let query = self.reindex.spec.source.query.as_ref();
        let read = source.client.count(name, query).await.map_err(of("the source"))?;
        let ignored = self.ignored(&source, &destination).await?;
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
            let (name, index) = (&spec.source.index, &spec.destination.index);
            destination.client.refresh(index).await.map_err(of("the destination"))?;
            source.client.refresh(name).await.map_err(of("the source"))?;
            let written = destination.client.positions(index).await.map_err(of("the destination"))?.len();
            let fields = spec.source.source_fields.clone().unwrap_or_default();
            let pace = Arc::new(Pace::default());
            pace.set_limit(limit);
            let side = |connected: &Connected, name: &String, cluster: &SearchCluster, shards: usize| Side {
                client: connected.client.clone(),
                name: name.clone(),
                slices: slices(cluster, shards),
            };
            let job = Job {
                source: side(source, name, &self.sides.source, shards.len()),
                query: spec.source.query.clone(),
                fields: (fields.includes, fields.excludes),
                destination: side(destination, index, &self.sides.destination, written),
                comparison,
                pace,
            };
            self.ctx.proofs.start(&uid, job);
            look = self.ctx.proofs.look(&uid, limit).await;
        }
        match look {
            Look::Ended(compared) => Ok(compared),
            Look::Running(proving) => Err(Observation::Proving(proving)),
            Look::Failed(trouble) => Err(Observation::Trouble(trouble)),
            Look::Idle => Err(Observation::Moving(SOON)),
        }
    }

    /// The destination index's settings, where a repair is to follow and the index is ours. It waits for a restart that is about to begin.
    async fn settings_to_repair(&self, destination: &Connected, compared: Option<&Compared>) -> Seen<Option<Tuning>> {
        if !self.reindex.spec.verification.repairs() || compared.is_none_or(Compared::is_the_same) {
            return Ok(None);
        }
        if let Some(cluster) = gate::seen_closed(self.ctx, &self.status) {
            return Err(Observation::GateClosed(cluster));
        }
        if !created(&self.status) {
            return Ok(None);
        }
        let index = &self.reindex.spec.destination.index;
        let settings = destination.client.bulk_load_settings(index).await.map_err(of("the destination"))?;
        Ok(Some(convert::tuning(settings)))
    }
}

/// Parts in which a side is read at once: no more than shards, which would cost a pass over all ids each, and no more scrolls than allowed.
fn slices(cluster: &SearchCluster, shards: usize) -> u32 {
    let shards = i32::try_from(shards).unwrap_or(i32::MAX).max(1);
    let allowed = cluster.spec.limits.as_ref().and_then(|limits| limits.max_open_scrolls).unwrap_or(MOST_SCROLLS);
    shards.min(allowed.min(MOST_SCROLLS) / shards).max(1).unsigned_abs()
}
