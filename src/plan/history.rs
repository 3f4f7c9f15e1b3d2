//! What a report shows of a copy's course, small enough to be kept in status.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::api::reindex_status::{CopiedRange, History, Partition, Sample};

/// So many samples are kept at most.
const SAMPLES: usize = 24;
/// So many ranges are kept at most, the longest ones: they are what a copy waited for.
const RANGES: usize = 16;

/// Notes how much was copied by then.
pub fn note_progress(history: &mut History, documents: i64, now: Timestamp) {
    let sample = Sample { at: Time(now), documents };
    if let Some(last) =
        history.samples.last_mut().filter(|last| now.duration_since(last.at.0) < SignedDuration::from_secs(1))
    {
        *last = sample;
        return;
    }
    history.samples.push(sample);
    if history.samples.len() > SAMPLES {
        // The one goes whose neighbours are closest, so that a long copy is shown evenly, not mostly its end. First and last stay.
        let apart = |at: &usize| history.samples[at + 1].at.0.duration_since(history.samples[at - 1].at.0);
        let dense = (1..history.samples.len() - 1).min_by_key(apart);
        history.samples.remove(dense.unwrap_or_default());
    }
}

/// Notes that a range is copied.
pub fn note_range(history: &mut History, round: i32, partition: &Partition, documents: i64, now: Timestamp) {
    history.ranges.push(CopiedRange {
        round,
        id: partition.id,
        attempt: partition.attempt,
        started_at: partition.started_at.clone(),
        seconds: now.duration_since(partition.started_at.0).as_secs().max(0),
        documents,
    });
    history.ranges_copied += 1;
    if history.ranges.len() > RANGES {
        let shortest = (0..history.ranges.len()).min_by_key(|at| history.ranges[*at].seconds);
        history.ranges.remove(shortest.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn samples_of_a_long_copy_stay_few_and_span_all_of_it() {
        let mut history = History::default();
        (0..10_000).for_each(|look| note_progress(&mut history, look * 5, at(look * 10)));
        let samples = &history.samples;
        assert!(samples.len() <= SAMPLES && samples.len() >= SAMPLES / 2, "{}", samples.len());
        assert_eq!((samples[0].at.0, samples[samples.len() - 1].documents), (at(0), 49_995));
        let apart: Vec<_> =
            samples.windows(2).map(|pair| pair[1].at.0.duration_since(pair[0].at.0).as_secs()).collect();
        // An even share of the 99,990 seconds is 4,347; only the last gap is still growing.
        assert!(apart[..apart.len() - 1].iter().all(|seconds| (1_500..=10_000).contains(seconds)), "{apart:?}");
        assert!(samples.windows(2).all(|pair| pair[0].at.0 < pair[1].at.0 && pair[0].documents < pair[1].documents));
    }

    #[test]
    fn a_full_one_fits_into_a_status() {
        let mut history = History::default();
        let partition =
            json!({"id": 511, "attempt": 7, "state": "Running", "startedAt": at(1_795_608_000).to_string()});
        let partition = serde_json::from_value(partition).unwrap();
        for second in 0..1_000 {
            let now = at(1_795_608_000 + second * 10);
            note_progress(&mut history, 9_000_000_000 + second, now);
            note_range(&mut history, 12, &partition, 9_000_000_000, now);
        }
        let size = serde_json::to_vec(&history).unwrap().len();
        assert!(size <= 3 * 1024, "{size} bytes");
    }

    #[test]
    fn two_looks_in_a_second_are_one_sample() {
        let mut history = History::default();
        note_progress(&mut history, 1, at(5));
        note_progress(&mut history, 2, at(5));
        assert_eq!(history.samples, [Sample { at: Time(at(5)), documents: 2 }]);
    }

    #[test]
    fn the_longest_ranges_are_kept() {
        let mut history = History::default();
        for id in 0..100 {
            let partition = json!({"id": id, "attempt": 1, "state": "Running", "startedAt": at(0).to_string()});
            note_range(&mut history, 0, &serde_json::from_value(partition).unwrap(), 7, at(i64::from(id % 50)));
        }
        assert_eq!((history.ranges.len(), history.ranges_copied), (RANGES, 100));
        assert!(history.ranges.iter().all(|range| range.seconds >= 42 && range.documents == 7));
    }
}
