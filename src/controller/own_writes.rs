//! What the operator wrote last: the watch tells it some milliseconds later, and a pass over what was there before would look at the search
//! clusters for nothing, since its first write is refused.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt, runtime::reflector::Store};

use crate::api::Reindex;

/// The resourceVersions that were written and not watched yet, by UID.
#[derive(Default)]
pub struct OwnWrites(Mutex<HashMap<String, u64>>);

impl OwnWrites {
    /// The operator wrote this.
    pub fn note(&self, reindex: &Reindex) {
        if let Some((uid, version)) = version(reindex) {
            self.lock().insert(uid, version);
        }
    }

    /// Whether the operator wrote this one anew since.
    pub fn outdate(&self, reindex: &Reindex) -> bool {
        let Some((uid, version)) = version(reindex) else { return false };
        let mut written = self.lock();
        let outdated = written.get(&uid).is_some_and(|own| *own > version);
        if !outdated {
            written.remove(&uid);
        }
        outdated
    }

    /// Forgets those that are gone.
    pub fn keep(&self, reindexes: &Store<Reindex>) {
        let known: HashSet<String> = reindexes.state().iter().filter_map(|reindex| reindex.uid()).collect();
        self.lock().retain(|uid, _| known.contains(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        // What stands there is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// UID and resourceVersion, which may be compared as a number (KEP-5504). Where it is none, nothing is known to be outdated.
fn version(reindex: &Reindex) -> Option<(String, u64)> {
    Some((reindex.uid()?, reindex.resource_version()?.parse().ok()?))
}
