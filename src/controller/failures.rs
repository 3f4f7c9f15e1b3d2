//! How often the apiserver failed passes over an object in a row: the next one waits longer, so that thousands of objects don't press one that
//! is in trouble, or refuses.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What the first failure is waited out for.
const FIRST: Duration = Duration::from_secs(5);
/// The longest wait: nobody should have to wait for much more once the trouble is over.
const LONGEST: Duration = Duration::from_secs(60);

/// By the object's UID; those whose last pass went well are not there.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Notes a failure, and says how long to wait before the next pass: 5 s, doubled each time, up to a minute.
    pub fn note(&self, uid: &str) -> Duration {
        let mut known = self.known();
        let count = known.entry(uid.to_owned()).or_default();
        let wait = FIRST.saturating_mul(1 << (*count).min(8)).min(LONGEST);
        *count += 1;
        wait
    }

    /// A pass went well.
    pub fn forget(&self, uid: &str) {
        self.known().remove(uid);
    }

    /// Forgets all but these.
    pub fn keep(&self, uids: &HashSet<String>) {
        self.known().retain(|uid, _| uids.contains(uid));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        // What stands there is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_is_waited_out_longer_up_to_a_minute() {
        let failures = Failures::default();
        let waits: Vec<_> = (0..6).map(|_| failures.note("a").as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert_eq!(failures.note("b"), FIRST, "another one's are its own");
        failures.forget("a");
        assert_eq!(failures.note("a"), FIRST);
        failures.keep(&["b".to_owned()].into());
        assert_eq!((failures.note("a"), failures.note("b")), (FIRST, FIRST * 2));
    }
}
