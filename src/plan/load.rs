//! How much is asked of the clusters at once: documents in a batch, tasks at a time, ranges in all.

use crate::api::reindex::Execution;

use super::ranges::MAX_RANGES;

/// What a batch is aimed at, in bytes of `_source`: more makes no copy faster, and the destination refuses over 100 MB.
const BATCH_BYTES: i64 = 10 * 1024 * 1024;
/// The largest sampled document times the batch stays below this, for sources whose documents differ much.
const LARGEST_BATCH_BYTES: i64 = 50 * 1024 * 1024;
/// The engines' own limit for a batch from a remote.
const LARGEST_BATCH: i64 = 10_000;
/// Unless somebody wants others. Measured with documents of 250 B: batches of 10,000 cost the destination a sixth more of its processors
/// than such of 2,500, and eight tasks are enough to make up for a round trip of 100 ms for each.
const USUAL_BATCH: i64 = 2_500;
/// What is assumed of a node that does not tell how many bytes of writes it lets in: Elasticsearch's tenth of a heap of 512 MB.
const UNKNOWN_PRESSURE_LIMIT: i64 = 51 * 1024 * 1024;
/// How many batches a range of automatic size has: enough to be worth a task, few enough to be repeated.
const BATCHES_A_RANGE: i64 = 50;
/// Tasks for each of the destination's processors: half of the time a task waits for the source.
const TASKS_A_PROCESSOR: i64 = 2;
/// Fewest and most tasks at once, unless somebody wants others. Eight of them were the fastest even on two processors that both
/// clusters shared.
const PARALLELISM: (i64, i64) = (8, 16);

/// A sample of the source's documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Bytes of `_source` that a document has on average; 0 where the sample is empty.
    pub mean: i64,
    /// The largest one.
    pub largest: i64,
}

impl Sample {
    /// From the size of each sampled document.
    pub fn of(sizes: &[i64]) -> Sample {
        let sum: i64 = sizes.iter().sum();
        let count = i64::try_from(sizes.len()).unwrap_or(i64::MAX).max(1);
        Sample { mean: sum / count, largest: sizes.iter().copied().max().unwrap_or_default() }
    }
}

/// What the clusters can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Data nodes of the destination.
    pub data_nodes: i64,
    /// Processors of all of them.
    pub processors: i64,
    /// Bytes of writes that the smallest of them lets in at once; None where it doesn't tell.
    pub pressure_limit: Option<i64>,
    /// Primary shards behind the source's name: each task holds a scroll on each.
    pub source_shards: i64,
    /// Scrolls that each of the source's nodes keeps open at once, for everybody.
    pub open_scrolls: i64,
    /// The most documents that the source gives in one page (`index.max_result_window`), where somebody set it.
    pub max_result_window: Option<i64>,
}

/// What is asked of the clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Documents in a batch.
    pub batch_size: i32,
    /// Tasks at once.
    pub parallelism: i32,
    /// Ranges in all; indices may make it more.
    pub ranges: i32,
}

/// What to ask for, for so many documents. What the spec says wins.
pub fn load(spec: &Execution, documents: i64, sample: Sample, capacity: Capacity) -> Load {
    let parallelism = parallelism(spec, capacity);
    let batch_size = match i64::from(spec.batch_size) {
        0 => batch_size(sample, capacity, parallelism),
        given => given,
    };
    let ranges = match i64::from(spec.partitions) {
        0 if documents <= 2 * batch_size => 1,
        0 => shares(documents, BATCHES_A_RANGE * batch_size).max(parallelism),
        given => given,
    };
    let small = |number: i64, most: i64| i32::try_from(number.clamp(1, most)).unwrap_or(1);
    Load {
        batch_size: small(batch_size, LARGEST_BATCH),
        parallelism: small(parallelism, 32),
        ranges: small(ranges, MAX_RANGES as i64),
    }
}

fn parallelism(spec: &Execution, capacity: Capacity) -> i64 {
    if let Some(given) = spec.parallelism {
        return i64::from(given);
    }
    // Half of the source's scrolls at most are ours.
    let scrolls = capacity.open_scrolls / 2 / capacity.source_shards.max(1);
    let wanted = TASKS_A_PROCESSOR * capacity.processors;
    wanted.clamp(PARALLELISM.0, PARALLELISM.1).min(scrolls).max(1)
}

/// A quarter of what a node lets in, shared by the tasks that write through it, and no more than makes sense.
fn batch_size(sample: Sample, capacity: Capacity, parallelism: i64) -> i64 {
    let tasks_a_node = shares(parallelism, capacity.data_nodes.max(1)).max(1);
    let limit = capacity.pressure_limit.unwrap_or(UNKNOWN_PRESSURE_LIMIT);
    let bytes = BATCH_BYTES.min(limit / 4 / tasks_a_node);
    let by_mean = bytes / sample.mean.max(1);
    let by_largest = LARGEST_BATCH_BYTES / sample.largest.max(1);
    let by_window = capacity.max_result_window.unwrap_or(LARGEST_BATCH);
    by_mean.min(by_largest).min(by_window).clamp(1, USUAL_BATCH)
}

/// How many shares of at most `share` make up `whole`; neither is negative.
fn shares(whole: i64, share: i64) -> i64 {
    (whole + share - 1) / share
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three nodes of two processors and 1 GiB of heap; a source of five shards.
    fn capacity() -> Capacity {
        Capacity {
            data_nodes: 3,
            processors: 6,
            pressure_limit: Some(100 * 1024 * 1024),
            source_shards: 5,
            open_scrolls: 500,
            max_result_window: None,
        }
    }

    fn of(documents: i64, mean: i64) -> Load {
        load(&Execution::default(), documents, Sample { mean, largest: mean }, capacity())
    }

    #[test]
    fn a_few_documents_are_one_range() {
        assert_eq!(of(6, 200), Load { batch_size: 2_500, parallelism: 12, ranges: 1 });
        assert_eq!(of(0, 0).ranges, 1);
    }

    #[test]
    fn many_documents_are_at_least_as_many_ranges_as_tasks() {
        assert_eq!(of(1_000_000, 250), Load { batch_size: 2_500, parallelism: 12, ranges: 12 });
        assert_eq!(of(50_000_000, 250).ranges, 400);
        assert_eq!(of(100_000_000_000, 250).ranges, 512);
    }

    #[test]
    fn large_documents_make_small_batches() {
        assert_eq!(of(5_000, 200_000).batch_size, 32);
        assert_eq!(of(5_000, 60_000_000).batch_size, 1);
        let uneven = Sample { mean: 1_000, largest: 20_000_000 };
        assert_eq!(load(&Execution::default(), 5_000, uneven, capacity()).batch_size, 2);
    }

    #[test]
    fn a_small_heap_makes_small_batches() {
        let small = Capacity { data_nodes: 1, pressure_limit: Some(25_000_000), ..capacity() };
        let load = load(&Execution::default(), 1_000_000, Sample { mean: 2_400, largest: 3_000 }, small);
        assert!(i64::from(load.batch_size) * 2_400 * i64::from(load.parallelism) <= 25_000_000 / 4, "{load:?}");
    }

    #[test]
    fn a_source_of_many_shards_gets_few_tasks() {
        let wide = Capacity { source_shards: 100, ..capacity() };
        assert_eq!(load(&Execution::default(), 1_000_000, Sample::default(), wide).parallelism, 2);
        let wider = Capacity { source_shards: 1000, ..capacity() };
        assert_eq!(load(&Execution::default(), 1_000_000, Sample::default(), wider).parallelism, 1);
    }

    #[test]
    fn a_batch_is_one_page_of_the_source() {
        let narrow = Capacity { max_result_window: Some(1_000), ..capacity() };
        let sample = Sample { mean: 250, largest: 250 };
        assert_eq!(load(&Execution::default(), 1_000_000, sample, narrow).batch_size, 1_000);
    }

    #[test]
    fn what_the_spec_says_wins() {
        let spec = Execution { partitions: 7, parallelism: Some(2), batch_size: 100, ..Execution::default() };
        let expected = Load { batch_size: 100, parallelism: 2, ranges: 7 };
        assert_eq!(load(&spec, 6, Sample { mean: 200, largest: 200 }, capacity()), expected);
    }

    #[test]
    fn a_sample_has_a_mean_and_a_largest() {
        assert_eq!(Sample::of(&[10, 20, 60]), Sample { mean: 30, largest: 60 });
        assert_eq!(Sample::of(&[]), Sample::default());
    }
}
