//! How much is copied, how fast, and until when.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::{api::reindex_status::Progress, text::bounded};

/// Milliseconds between two looks at a task, at least and at most.
const SOONEST: u64 = 250;
const LATEST: u64 = 10_000;

/// A running copy's status is written at most this often.
pub const WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// What is counted of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Documents copied.
    pub copied: i64,
    /// Documents to copy.
    pub total: i64,
    /// Ranges in all.
    pub partitions: i32,
    /// Ranges that are copied.
    pub done: i32,
    /// Ranges whose task runs.
    pub running: i32,
}

/// Progress after so much time of copying.
pub fn progress(counted: &Counted, elapsed: SignedDuration, now: Timestamp) -> Progress {
    let seconds = elapsed.as_secs_f64();
    let copied = counted.copied;
    let rate =
        (copied > 0 && seconds >= 1.0).then(|| (copied as f64 / seconds).round() as i64).filter(|rate| *rate > 0);
    let left = (counted.total - copied).max(0);
    let end = rate.filter(|_| left > 0).and_then(|rate| now.checked_add(SignedDuration::from_secs(left / rate)).ok());
    Progress {
        documents_total: counted.total,
        documents_copied: copied,
        percent: percent(copied, counted.total),
        partitions_total: counted.partitions,
        partitions_done: counted.done,
        partitions_running: counted.running,
        documents_verified: None,
        documents_per_second: rate,
        estimated_completion_time: end.map(Time),
        observed_at: Some(Time(now)),
    }
}

/// 0 to 100; 100 only when all of it is copied.
pub fn percent(copied: i64, total: i64) -> i32 {
    match total {
        0 => 100,
        _ => (copied.clamp(0, total) as i128 * 100 / total as i128) as i32,
    }
}

/// When to look at a task again that has run for `age`: soon after its begin, every ten seconds later, and often again when it is
/// about to end.
pub fn poll_interval(age: SignedDuration, copied: i64, total: i64) -> Duration {
    let age = u64::try_from(age.as_millis()).unwrap_or_default();
    let left = (total - copied).max(0) as u64;
    let to_the_end = match copied {
        1.. => u64::try_from(u128::from(age) * u128::from(left) / copied as u128).unwrap_or(u64::MAX),
        _ => u64::MAX,
    };
    Duration::from_millis((age / 5).min(to_the_end / 2).clamp(SOONEST, LATEST))
}

/// The shortest pause between two looks.
pub fn soon() -> Duration {
    Duration::from_millis(SOONEST)
}

/// The time until something is due, within the bounds of all looks.
pub fn until(left: SignedDuration) -> Duration {
    Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or_default().clamp(SOONEST, LATEST))
}

/// The longest message that a range keeps, in bytes: there may be 32 of them in a status.
const SHORT: usize = 80;

/// The beginning of a message, on one line.
pub fn short(message: &str) -> String {
    bounded(message, SHORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!(
            [percent(0, 6), percent(5, 6), percent(6, 6), percent(999_999, 1_000_000), percent(0, 0)],
            [0, 83, 100, 99, 100]
        );
    }

    #[test]
    fn rate_and_end_come_from_the_time_of_copying() {
        let now = Timestamp::from_second(110).unwrap();
        let counted = Counted { copied: 1000, total: 3000, partitions: 4, done: 1, running: 3 };
        let seen = progress(&counted, SignedDuration::from_secs(10), now);
        assert_eq!((seen.documents_per_second, seen.percent), (Some(100), 33));
        assert_eq!(seen.estimated_completion_time, Some(Time(Timestamp::from_second(130).unwrap())));
    }

    #[test]
    fn looks_grow_rarer_and_are_frequent_again_before_the_end() {
        let interval = |seconds, copied, total| poll_interval(SignedDuration::from_secs(seconds), copied, total);
        assert_eq!(interval(0, 0, 0), Duration::from_millis(250));
        assert_eq!(interval(10, 0, 0), Duration::from_secs(2));
        assert_eq!(interval(3600, 500, 1000), Duration::from_secs(10));
        assert_eq!(interval(3600, 9999, 10_000), Duration::from_millis(250));
        assert_eq!(interval(100, 960, 1000), Duration::from_millis(2083));
    }
}
