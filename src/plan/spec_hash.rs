//! The hash that pins what may not change in a spec, free-form objects included, which CEL can't compare.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::api::{ReindexSpec, reindex::Execution};

/// Hash of everything that may not change. Object keys are sorted, so that their order says nothing.
pub fn spec_hash(spec: &ReindexSpec) -> String {
    let execution = Execution { parallelism: None, requests_per_second: None, ..spec.execution.clone() };
    let pinned = json!({
        "source": spec.source,
        "destination": spec.destination,
        "script": spec.script,
        "conflicts": spec.conflicts,
        "versionPolicy": spec.version_policy,
        "dryRun": spec.dry_run,
        "execution": execution,
        "catchUp": spec.catch_up,
        "verification": spec.verification,
    });
    // serde_json's map is sorted by key unless `preserve_order` is on; a test holds that.
    short_hash(pinned.to_string().as_bytes())
}

/// The first 16 bytes of SHA-256, in hexadecimal.
pub fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn spec(query: &str) -> ReindexSpec {
        let query: Value = serde_json::from_str(query).unwrap();
        serde_json::from_value(json!({
            "source": {"clusterRef": {"name": "a"}, "index": "i", "query": query},
            "destination": {"clusterRef": {"name": "b"}, "index": "j"},
        }))
        .unwrap()
    }

    #[test]
    fn the_order_of_keys_says_nothing_and_everything_else_does() {
        let hash = spec_hash(&spec(r#"{"term": {"a": 1, "b": 2}}"#));
        assert_eq!(hash, spec_hash(&spec(r#"{"term": {"b": 2, "a": 1}}"#)));
        assert_ne!(hash, spec_hash(&spec(r#"{"term": {"a": 1, "b": 3}}"#)));
    }

    #[test]
    fn what_may_change_is_not_in_it() {
        let mut changed = spec("{}");
        changed.deletion_policy = crate::api::reindex::DeletionPolicy::Orphan;
        changed.execution.parallelism = Some(3);
        changed.execution.requests_per_second = Some(100);
        changed.suspend = true;
        changed.ttl_seconds_after_finished = Some(1);
        changed.accept_warnings = vec!["DestinationPipeline".to_owned()];
        changed.suspend_policy = crate::api::reindex::SuspendPolicy::Cancel;
        assert_eq!(spec_hash(&changed), spec_hash(&spec("{}")));
    }
}
