//! How much is copied, how fast, and until when.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::api::reindex_status::Progress;

/// A running copy's status is written at most this often.
pub const WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(10);

/// Progress after `copied` of `total` documents since `started`.
pub fn progress(copied: i64, total: i64, started: Timestamp, now: Timestamp) -> Progress {
    let seconds = now.duration_since(started).as_secs_f64();
    let rate =
        (copied > 0 && seconds >= 1.0).then(|| (copied as f64 / seconds).round() as i64).filter(|rate| *rate > 0);
    let left = (total - copied).max(0);
    let end = rate.and_then(|rate| now.checked_add(SignedDuration::from_secs(left / rate)).ok());
    Progress {
        documents_total: total,
        documents_copied: copied,
        percent: percent(copied, total),
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

/// When to look at the task again: soon after its begin, every ten seconds later.
pub fn poll_interval(started: Timestamp, now: Timestamp) -> Duration {
    let age = now.duration_since(started).as_millis().clamp(0, i128::from(u32::MAX)) as u64;
    Duration::from_millis((age / 5).clamp(250, 10_000))
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
    fn rate_and_end_come_from_the_time_since_the_begin() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let seen = progress(1000, 3000, at(100), at(110));
        assert_eq!((seen.documents_per_second, seen.percent), (Some(100), 33));
        assert_eq!(seen.estimated_completion_time, Some(Time(at(130))));
    }

    #[test]
    fn polls_grow_rarer() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(poll_interval(at(0), at(0)), Duration::from_millis(250));
        assert_eq!(poll_interval(at(0), at(10)), Duration::from_secs(2));
        assert_eq!(poll_interval(at(0), at(3600)), Duration::from_secs(10));
    }
}
