//! The hash that pins what may not change in a spec, free-form objects included, which CEL can't compare.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::api::ReindexSpec;

/// Hash of everything but `deletionPolicy`, the one field that may change. Object keys are sorted, so that their order says nothing.
pub fn spec_hash(spec: &ReindexSpec) -> String {
    let pinned = json!({
        "source": spec.source,
        "destination": spec.destination,
        "script": spec.script,
        "conflicts": spec.conflicts,
        "versionPolicy": spec.version_policy,
        "execution": spec.execution,
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
    fn the_deletion_policy_may_change() {
        let mut changed = spec("{}");
        changed.deletion_policy = crate::api::reindex::DeletionPolicy::Orphan;
        assert_eq!(spec_hash(&changed), spec_hash(&spec("{}")));
    }
}
