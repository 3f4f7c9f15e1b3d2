//! One repeat of one way to copy.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::corpus::Corpus;
use super::world::{Route, World};
use super::{ceiling, elasticdump, ours, raw};

/// What one repeat came to, by the name of what was measured.
pub type Sample = BTreeMap<String, f64>;

/// Seconds of the whole copy.
pub const SECONDS: &str = "seconds";
/// Documents a second over [`SECONDS`].
pub const RATE: &str = "documentsPerSecond";
/// Seconds that the task says it took.
pub const TOOK: &str = "took";
/// [`SECONDS`] without [`TOOK`].
pub const OVERHEAD: &str = "overhead";
/// Seconds from the step Verify's begin until the copy is complete, without the destination's refresh, which every copy needs that is to
/// be searched.
pub const PROOF: &str = "proof";
/// MiB by which the operator's resident memory was larger at its peak than before the copy; only after [`Besides::Restart`].
pub const GROWTH: &str = "memoryGrowth";
/// Writes to the Reindex object until it was complete.
pub const WRITES: &str = "writes";
/// Writes to it afterwards.
pub const IDLE_WRITES: &str = "idleWrites";

/// A way to copy.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// A Reindex with this `spec.execution`, applied.
    Ours {
        /// `spec.execution`; null for the defaults.
        execution: Value,
        /// `spec.verification.level`.
        level: &'static str,
        /// What else is done while it runs.
        besides: Besides,
    },
    /// `_reindex` by hand.
    Raw {
        /// How many requests share the documents.
        tasks: usize,
        /// Documents in a batch; `None` leaves everything as Elasticsearch has it.
        size: Option<usize>,
    },
    /// The destination alone, fed with `_bulk`.
    Ceiling,
    /// The program elasticdump.
    Elasticdump {
        /// `--limit`.
        limit: Option<usize>,
    },
}

/// What is done besides waiting for a Reindex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Besides {
    /// Nothing.
    Nothing,
    /// One of its tasks is killed when half of the documents are there.
    Kill,
    /// The writes to the object are counted.
    CountWrites,
    /// The operator is restarted before: what an earlier copy has made it take up doesn't hide what this one does.
    Restart,
}

impl Method {
    /// Copies once; the index and everything else of the last copy are gone.
    pub async fn run(&self, world: &World, corpus: &Corpus, route: Route) -> Result<Sample> {
        world.clean().await?;
        let mut sample = match self {
            Self::Ours { execution, level, besides } => {
                ours::run(world, corpus, route, (execution, level), *besides).await?
            }
            Self::Raw { tasks, size } => raw::run(world, corpus, route, *tasks, *size).await?,
            Self::Ceiling => ceiling::run(world, corpus).await?,
            Self::Elasticdump { limit } => elasticdump::run(world, corpus, *limit).await?,
        };
        world.check(corpus).await?;
        if let Some(seconds) = sample.get(SECONDS) {
            sample.insert(RATE.to_owned(), corpus.documents as f64 / seconds);
        }
        Ok(sample)
    }
}
