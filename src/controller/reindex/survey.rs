//! Looks at the source before it is copied, or copied again where it changed: how far it is, how large its documents are and how they
//! spread over sequence numbers; and at what the destination can take.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    api::{Reindex, reindex_status::CopyPlan},
    controller::connect::Connected,
    plan::{
        load::{self, Capacity, Load, Sample},
        ranges::{self, Bucket, MAX_RANGES},
        reindex::{self, Observation, Survey, SurveyedIndex},
        verify::ShardPosition,
    },
    search::SearchError,
};

use super::{
    convert,
    observe::{Eyes, Seen, of, signed},
};

/// A name that stands for more indices is copied in one range.
const MAX_INDICES: usize = 64;
/// Documents in a sample: a few, and more where those are small.
const SAMPLE: (u32, u32) = (10, 200);
/// Bytes that a large sample may have.
const SAMPLE_BYTES: i64 = 4 * 1024 * 1024;

/// Looks, from the beginning, or from where `round` had noted that the source was.
pub async fn survey(
    eyes: &Eyes<'_>,
    source: &Connected,
    destination: &Connected,
    round: Option<&CopyPlan>,
) -> Seen<Observation> {
    let name = &eyes.reindex.spec.source.index;
    let query = eyes.reindex.spec.source.query.as_ref();
    // Positions first, then the refresh: what is counted and copied is at least as new as what is noted.
    let shards = convert::shards(source.client.positions(name).await.map_err(of("the source"))?);
    source.client.refresh(name).await.map_err(of("the source"))?;
    let documents = signed(source.client.count(name, query).await.map_err(of("the source"))?);
    let Measured { load, .. } = measure(eyes.reindex, source, destination, documents, shards.len()).await?;
    let cut = Cutter { source, name, query, shards: &shards };
    let (indices, undivided) = cut.all(round, documents, load).await.map_err(of("the source"))?;
    let tunes = round.is_none() && reindex::is_worth_tuning(eyes.reindex, load.ranges as usize);
    let tuning = match tunes {
        true => {
            let index = &eyes.reindex.spec.destination.index;
            let settings = destination.client.bulk_load_settings(index).await.map_err(of("the destination"))?;
            Some(convert::tuning(settings))
        }
        false => None,
    };
    let slots = eyes.slots(i32::try_from(shards.len()).unwrap_or(i32::MAX)).await?;
    Ok(Observation::Survey(Box::new(Survey { shards, documents, indices, undivided, load, tuning, slots })))
}

/// What is asked of the clusters, and what that follows from.
pub struct Measured {
    /// What is asked.
    pub load: Load,
    /// A sample of the documents.
    pub sample: Sample,
    /// What the clusters can take.
    pub capacity: Capacity,
}

/// Looks at what the clusters can take, for so many documents in so many primary shards.
pub async fn measure(
    reindex: &Reindex,
    source: &Connected,
    destination: &Connected,
    documents: i64,
    source_shards: usize,
) -> Seen<Measured> {
    let window = source.client.max_result_window(&reindex.spec.source.index).await.map_err(of("the source"))?;
    let sample = sample(reindex, source, window).await.map_err(of("the source"))?;
    let nodes = destination.client.data_node_capacities().await.map_err(of("the destination"))?;
    let capacity = Capacity {
        data_nodes: signed(nodes.len() as u64),
        processors: signed(nodes.iter().map(|node| node.processors).sum()),
        pressure_limit: nodes.iter().filter_map(|node| node.pressure_limit).min().map(signed),
        source_shards: signed(source_shards as u64),
        open_scrolls: signed(source.client.open_scroll_limit().await.map_err(of("the source"))?),
        max_result_window: window.map(signed),
    };
    let load = load::load(&reindex.spec.execution, documents, sample, capacity);
    Ok(Measured { load, sample, capacity })
}

/// A few documents tell whether more would be too large to look at.
async fn sample(reindex: &Reindex, source: &Connected, window: Option<u64>) -> Result<Sample, SearchError> {
    let spec = &reindex.spec;
    if spec.execution.batch_size > 0 {
        return Ok(Sample::default());
    }
    let sizes = async |documents: u32| {
        let documents = window.map_or(documents, |most| documents.min(u32::try_from(most).unwrap_or(u32::MAX)));
        let sizes = source.client.sample_sizes(&spec.source.index, spec.source.query.as_ref(), documents).await?;
        Ok(sizes.into_iter().map(signed).collect::<Vec<_>>())
    };
    let few = match sizes(SAMPLE.0).await {
        Ok(few) => few,
        // Ten of them are more than the operator reads at once: one fits into a batch.
        Err(SearchError::ResponseTooLarge { limit }) => return Ok(Sample::of(&[limit as i64])),
        Err(error) => return Err(error),
    };
    let seen = Sample::of(&few);
    match few.len() < SAMPLE.0 as usize || seen.largest * i64::from(SAMPLE.1) > SAMPLE_BYTES {
        true => Ok(seen),
        false => Ok(Sample::of(&sizes(SAMPLE.1).await?)),
    }
}

struct Cutter<'a> {
    source: &'a Connected,
    name: &'a str,
    query: Option<&'a Value>,
    shards: &'a [ShardPosition],
}

impl Cutter<'_> {
    /// Every index, counted finely enough for the wanted number of ranges; and why not, where they are not.
    async fn all(
        &self,
        round: Option<&CopyPlan>,
        documents: i64,
        load: Load,
    ) -> Result<(Vec<SurveyedIndex>, Option<String>), SearchError> {
        let names: BTreeSet<&str> = self.shards.iter().map(|shard| shard.index.as_str()).collect();
        if names.len() > MAX_INDICES {
            let whole = self.whole("", documents);
            return Ok((vec![whole], Some(format!("{} stands for {} indices", self.name, names.len()))));
        }
        if round.is_none() && names.len() == 1 && load.ranges == 1 {
            return Ok((names.iter().map(|name| self.whole(name, documents)).collect(), None));
        }
        // A quarter of a range: joined they come out about equal.
        let limit = (documents / i64::from(load.ranges) / 4).max(1);
        let mut indices = vec![];
        for name in &names {
            match self.one(name, round, limit, names.len() == 1).await {
                Ok(index) => indices.push(index),
                Err(error) if error.status() == Some(400) => {
                    let why = "the source can't search by _seq_no".to_owned();
                    return Ok((names.iter().map(|name| self.whole(name, documents)).collect(), Some(why)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((indices, None))
    }

    /// All of it, in one bucket. What changed can't be told apart then: a round of catching up copies everything again.
    fn whole(&self, name: &str, documents: i64) -> SurveyedIndex {
        SurveyedIndex { name: name.to_owned(), from: None, buckets: vec![Bucket { from: 0, to: i64::MAX, documents }] }
    }

    async fn one(
        &self,
        name: &str,
        round: Option<&CopyPlan>,
        limit: i64,
        alone: bool,
    ) -> Result<SurveyedIndex, SearchError> {
        let shards: Vec<&ShardPosition> = self.shards.iter().filter(|shard| shard.index == name).collect();
        let from = round.and_then(|plan| reindex::window(plan, name, &shards));
        let to = shards.iter().map(|shard| shard.max_seq_no + 1).max().unwrap_or_default();
        if from.is_some_and(|from| from >= to) {
            return Ok(SurveyedIndex { name: name.to_owned(), from, buckets: vec![] });
        }
        let mut buckets = self.count(name, ranges::first_buckets(from.unwrap_or(0), to), alone).await?;
        // Every pass divides what is too large further; a number can't be divided, so this ends.
        loop {
            let large = ranges::too_large(&buckets, limit);
            if large.is_empty() || buckets.len() > 8 * MAX_RANGES {
                return Ok(SurveyedIndex { name: name.to_owned(), from, buckets });
            }
            let pieces = large.iter().flat_map(|(_, pieces)| pieces.clone()).collect();
            let mut counted = self.count(name, pieces, alone).await?.into_iter();
            let mut finer = vec![];
            for (at, bucket) in buckets.into_iter().enumerate() {
                match large.iter().find(|(large, _)| *large == at) {
                    Some((_, pieces)) => finer.extend(counted.by_ref().take(pieces.len())),
                    None => finer.push(bucket),
                }
            }
            buckets = finer;
        }
    }

    async fn count(&self, name: &str, buckets: Vec<Bucket>, alone: bool) -> Result<Vec<Bucket>, SearchError> {
        let bounds: Vec<(i64, i64)> = buckets.iter().map(|bucket| (bucket.from, bucket.to)).collect();
        let index = ranges::Range { index: name.to_owned(), from: None, to: None, documents: 0 };
        let query = ranges::query(&index, self.query, alone);
        let counts = self.source.client.count_by_seq_no(self.name, query.as_ref(), &bounds).await?;
        Ok(buckets
            .into_iter()
            .zip(counts)
            .map(|(bucket, documents)| Bucket { documents: signed(documents), ..bucket })
            .collect())
    }
}
