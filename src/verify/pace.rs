//! How much is read a second, and how much was read so far.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Shared by whoever reads and whoever looks how far it is.
#[derive(Default)]
pub struct Pace {
    /// Documents a second on each side; 0 is no limit.
    limit: AtomicU32,
    read: AtomicU64,
    total: AtomicU64,
    /// When the next page of each side may be read.
    due: [Mutex<Option<Instant>>; 2],
}

impl Pace {
    /// Sets the limit of each side, from the next page on.
    pub fn set_limit(&self, documents_a_second: Option<i32>) {
        let limit = documents_a_second.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The limit of each side.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Documents read so far, and to be read.
    pub fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// Begins anew.
    pub fn restart(&self) {
        self.read.store(0, Ordering::Relaxed);
        self.total.store(0, Ordering::Relaxed);
    }

    /// So many more are to be read.
    pub fn announce(&self, documents: u64) {
        self.total.fetch_add(documents, Ordering::Relaxed);
    }

    /// So many were read of a side (0 or 1). Returns when the next page may be read.
    pub async fn read(&self, side: usize, documents: usize) {
        self.read.fetch_add(documents as u64, Ordering::Relaxed);
        let Some(limit) = self.limit() else { return };
        let takes = Duration::from_secs_f64(documents as f64 / f64::from(limit));
        let due = {
            let mut due = self.due[side].lock().unwrap_or_else(PoisonError::into_inner);
            let next = due.unwrap_or_else(Instant::now).max(Instant::now()) + takes;
            *due = Some(next);
            next
        };
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_is_read_a_second_than_is_allowed_whoever_reads() {
        let pace = Pace::default();
        pace.set_limit(Some(100));
        let begin = Instant::now();
        futures::join!(pace.read(0, 50), pace.read(0, 50), pace.read(1, 100));
        assert_eq!(begin.elapsed().as_secs(), 1, "each side has its own limit");
        pace.set_limit(None);
        pace.read(0, 10_000).await;
        assert_eq!(begin.elapsed().as_secs(), 1);
        assert_eq!(pace.progress().0, 10_200);
    }
}
