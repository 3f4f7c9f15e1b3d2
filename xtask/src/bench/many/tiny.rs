//! Copies of six documents between real engines, by the operator and by a plain client that sends the same calls.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::Value;

use super::super::corpus::SIX;
use super::super::method::{SECONDS, Sample};
use super::super::world::{NAMESPACE, World};
use super::apiserver::Apiserver;
use super::replay::{Recorder, Recording};
use super::running::Operator;
use super::swarm::{COPIES, DOCUMENTS, Place, copy};

/// The copy whose calls are recorded.
const RECORDED: &str = "many-recorded";

/// The engines, and the calls of one copy between them.
pub struct Tiny<'a> {
    place: Place<'a>,
    world: &'a World,
    recording: Recording,
}

impl<'a> Tiny<'a> {
    /// Makes the index that is copied, and records the calls of one copy.
    pub async fn begin(api: &'a Apiserver, world: &'a World) -> Result<Self> {
        let place = Place { api, namespace: NAMESPACE };
        place.remove().await?;
        SIX.load(&world.source).await?;
        let recorder = Recorder::start(world.addresses()?)?;
        place.set_clusters(&world.search_clusters_by(recorder.urls()))?;
        recorder.begin();
        place.one(place.reindex(RECORDED, ["src", "dst"], &SIX.index())).await?;
        let recording = recorder.end(RECORDED)?;
        place.set_clusters(&world.search_clusters())?;
        let tiny = Self { place, world, recording };
        tiny.clean().await?;
        Ok(tiny)
    }

    /// So many, by the operator.
    pub async fn operator(&self, copies: usize) -> Result<Sample> {
        let operator = Operator::running().await?;
        let seconds = self.place.all_complete(&operator, copies, &SIX.index()).await?;
        self.check(copies).await?;
        self.place.remove().await?;
        self.clean().await?;
        Ok(Sample::from([(SECONDS.to_owned(), seconds)]))
    }

    /// So many, by sending the recorded calls again.
    pub async fn replay(&self, copies: usize) -> Result<Sample> {
        let begin = Instant::now();
        self.recording.replay((0..copies).map(copy)).await?;
        let seconds = begin.elapsed().as_secs_f64();
        self.check(copies).await?;
        self.clean().await?;
        let calls = self.recording.calls() as f64;
        Ok(Sample::from([(SECONDS.to_owned(), seconds), ("callsPerCopy".to_owned(), calls)]))
    }

    async fn check(&self, copies: usize) -> Result<()> {
        let path = format!("/{COPIES}*/_stats/docs?filter_path=indices.*.primaries.docs.count");
        let found = self.world.destination.get(&path).await?;
        let indices = found["indices"].as_object().context("failed to read how many documents there are")?;
        let is_whole = |index: &Value| index["primaries"]["docs"]["count"] == DOCUMENTS;
        let (whole, other): (Vec<_>, Vec<_>) = indices.iter().partition(|(_, index)| is_whole(index));
        if whole.len() != copies {
            bail!("failed: {} of {copies} copies are whole; others: {other:?}", whole.len());
        }
        Ok(())
    }

    async fn clean(&self) -> Result<()> {
        let path = format!("/{COPIES}*?expand_wildcards=all");
        let (status, answer) = self.world.destination.request(Method::DELETE, &path, None).await?;
        if status != 200 {
            bail!("failed to delete the copies: {status} {answer}");
        }
        Ok(())
    }
}
