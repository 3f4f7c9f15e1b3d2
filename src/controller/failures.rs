//! How often passes over an object have failed in a row: the next one waits longer, so that thousands of objects don't press an apiserver that
//! is in trouble, or refuses.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// What the first failure is waited out for.
const FIRST: Duration = Duration::from_secs(5);
/// The longest wait: nobody should have to wait for much more once the trouble is over.
const LONGEST: Duration = Duration::from_secs(60);

/// By object; those whose last pass went well are not there.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<Key, u32>>);

impl Failures {
    /// Notes a failure, and says how long to wait before the next pass: 5 s, doubled each time, up to a minute.
    pub fn note(&self, kind: &'static str, namespace: &str, name: &str) -> Duration {
        let mut known = self.known();
        let count = known.entry(key(kind, namespace, name)).or_default();
        let wait = FIRST.saturating_mul(1 << (*count).min(8)).min(LONGEST);
        *count += 1;
        wait
    }

    /// A pass went well, or the object is gone.
    pub fn forget(&self, kind: &'static str, namespace: &str, name: &str) {
        self.known().remove(&key(kind, namespace, name));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        // What stands there is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: &'static str, namespace: &str, name: &str) -> Key {
    (kind, namespace.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_is_waited_out_longer_up_to_a_minute() {
        let failures = Failures::default();
        let waits: Vec<_> = (0..6).map(|_| failures.note("Reindex", "n", "a").as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert_eq!(failures.note("SearchCluster", "n", "a"), FIRST, "another one's are its own");
        failures.forget("Reindex", "n", "a");
        assert_eq!(failures.note("Reindex", "n", "a"), FIRST);
    }
}
