//! How many objects wait for a pass. The queue itself is kube's, which does not show it: what goes in is noted here, and what comes out.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use prometheus_client::metrics::{family::Family, gauge::Gauge};

use super::Kind;

/// Hashes of the objects that wait: of many thousands when the operator begins.
#[derive(Default)]
pub(super) struct Waiting {
    objects: Mutex<HashSet<u64>>,
    hasher: RandomState,
    depth: Family<Kind, Gauge>,
}

impl Waiting {
    pub(super) fn depth(&self) -> Family<Kind, Gauge> {
        self.depth.clone()
    }

    /// One that waits already is not queued twice.
    pub(super) fn add(&self, kind: &'static str, namespace: Option<&str>, name: &str) {
        let object = self.hasher.hash_one((kind, namespace, name));
        if self.objects.lock().unwrap_or_else(PoisonError::into_inner).insert(object) {
            self.depth.get_or_create(&Kind { kind }).inc();
        }
    }

    /// A pass that was due by the clock takes what waits, too.
    pub(super) fn take(&self, kind: &'static str, namespace: Option<&str>, name: &str) {
        let object = self.hasher.hash_one((kind, namespace, name));
        if self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(&object) {
            self.depth.get_or_create(&Kind { kind }).dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_counted_once_until_it_is_taken() {
        let waiting = Waiting::default();
        let depth = |kind| waiting.depth.get_or_create(&Kind { kind }).get();
        for name in ["a", "b", "a"] {
            waiting.add("Reindex", Some("n"), name);
        }
        waiting.add("SearchCluster", Some("n"), "a");
        assert_eq!((depth("Reindex"), depth("SearchCluster")), (2, 1));
        waiting.take("Reindex", Some("n"), "a");
        waiting.take("Reindex", Some("n"), "a");
        waiting.take("Reindex", Some("other"), "b");
        assert_eq!((depth("Reindex"), depth("SearchCluster")), (1, 1));
    }
}
