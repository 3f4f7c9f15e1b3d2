//! What the operator wrote last: the watch tells it some milliseconds later, and a pass over what was there before would look at the search
//! clusters for nothing, since its first write is refused.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::ResourceExt;
use tokio::time::Instant;

/// After how long the watch counts, whatever it tells: who restores an etcd sets versions back.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// The resourceVersions that were written and not watched yet, by UID.
#[derive(Default)]
pub struct OwnWrites(Mutex<Written>);

type Written = HashMap<String, (u64, Instant)>;

impl OwnWrites {
    /// The operator wrote this.
    pub fn note(&self, object: &impl ResourceExt) {
        if let Some((uid, version)) = version(object) {
            self.lock().insert(uid, (version, Instant::now()));
        }
    }

    /// Whether the operator wrote this one anew since.
    pub fn outdate(&self, object: &impl ResourceExt) -> bool {
        let Some((uid, version)) = version(object) else { return false };
        let mut written = self.lock();
        let outdated = written.get(&uid).is_some_and(|(own, at)| *own > version && at.elapsed() < FORGOTTEN);
        if !outdated {
            written.remove(&uid);
        }
        outdated
    }

    /// Forgets those that are gone.
    pub fn keep(&self, known: &HashSet<String>) {
        self.lock().retain(|uid, _| known.contains(uid));
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        // What stands there is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// UID and resourceVersion, which may be compared as a number (KEP-5504). Where it is none, nothing is known to be outdated.
fn version(object: &impl ResourceExt) -> Option<(String, u64)> {
    Some((object.uid()?, object.resource_version()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;
    use tokio::time::advance;

    use super::*;

    fn object(version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            uid: Some("uid".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_what_was_written_is_outdated_until_the_watch_has_told_it() {
        let writes = OwnWrites::default();
        assert!(!writes.outdate(&object("9")));
        writes.note(&object("10"));
        assert!(writes.outdate(&object("9")));
        assert!(!writes.outdate(&object("10")), "the watch has told it");
        assert!(!writes.outdate(&object("9")), "and it is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn versions_that_were_set_back_count_after_a_while() {
        let writes = OwnWrites::default();
        writes.note(&object("10"));
        advance(FORGOTTEN).await;
        assert!(!writes.outdate(&object("4")));
    }
}
