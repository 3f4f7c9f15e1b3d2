//! What `spec.verification` asks for that can't be had: said before anything is copied.

use serde_json::Value;

use crate::api::{
    ReindexSpec,
    reindex::{IfExists, KEEP_ROUTING, VerificationLevel},
};

use super::{index_body, preflight::Finding, script};

/// Why documents can't be compared, or repaired, as the spec wants.
pub fn check(spec: &ReindexSpec) -> Option<Finding> {
    let level = spec.verification.level;
    let message = match level {
        VerificationLevel::None | VerificationLevel::Count => return None,
        VerificationLevel::Identity => {
            let field = script::reassigned(&spec.script.as_ref()?.source)?;
            format!(
                "verification.level Identity compares documents by id, routing and version, and script.source changes ctx.{field}: use level Count, or choose documents with source.query"
            )
        }
        VerificationLevel::Content | VerificationLevel::Sample => {
            let changed_by = changes_content(spec)?;
            format!(
                "verification.level {level} compares documents with their content, and {changed_by} may change it: use level Identity or Count"
            )
        }
    };
    Some(Finding::terminal("VerificationImpossible", message))
}

/// Why documents can't be told apart by identity in an index that was there: two of the source may become one there, which both would be
/// found as. `indices`: how many stand behind the source's name.
pub fn check_identity(spec: &ReindexSpec, indices: usize) -> Option<Finding> {
    let looked_up =
        spec.destination.if_exists == IfExists::Append && spec.verification.level == VerificationLevel::Identity;
    let merges = match (indices, spec.destination.routing.as_str()) {
        (2.., _) => "the source's name stands for several indices",
        (_, KEEP_ROUTING) => return None,
        (_, _) => "destination.routing changes the routing",
    };
    looked_up.then(|| {
        Finding::terminal(
            "VerificationImpossible",
            format!(
                "verification.level Identity with ifExists Append looks up each document by its id, and {merges}: two documents could become one unseen. Use level Content in a new Reindex"
            ),
        )
    })
}

/// What may change the content of documents on their way.
fn changes_content(spec: &ReindexSpec) -> Option<String> {
    if spec.script.is_some() {
        return Some("script".to_owned());
    }
    if spec.destination.pipeline.is_some() {
        return Some("destination.pipeline".to_owned());
    }
    let settings = spec.destination.settings.additional.as_ref()?;
    let names = |setting: &str| {
        let found = [&settings[setting], &settings[format!("index.{setting}")], &settings["index"][setting]];
        found.into_iter().any(|value| !matches!(value, Value::Null) && value != "_none")
    };
    let setting = index_body::PIPELINES.into_iter().find(|setting| names(setting))?;
    Some(format!("destination.settings.additional.{setting}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(level: &str, change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut spec = json!({
            "source": {"clusterRef": {"name": "a"}, "index": "i"},
            "destination": {"clusterRef": {"name": "b"}, "index": "j"},
            "verification": {"level": level},
        });
        change(&mut spec);
        check(&serde_json::from_value(spec).unwrap()).map(|finding| finding.message)
    }

    #[test]
    fn what_changes_documents_can_t_be_compared_with_them() {
        for level in ["Content", "Sample"] {
            assert_eq!(found(level, |_| {}), None);
            for (pointer, value, named) in [
                ("script", json!({"source": "ctx._source.a = 1"}), "script"),
                ("pipeline", json!("p"), "destination.pipeline"),
                ("default", json!({"default_pipeline": "p"}), "default_pipeline"),
                ("final", json!({"index.final_pipeline": "p"}), "final_pipeline"),
                ("nested", json!({"index": {"final_pipeline": "p"}}), "final_pipeline"),
            ] {
                let message = found(level, |spec| match pointer {
                    "script" => spec["script"] = value,
                    "pipeline" => spec["destination"]["pipeline"] = value,
                    _ => spec["destination"]["settings"] = json!({"additional": value}),
                });
                assert!(message.as_ref().is_some_and(|message| message.contains(named)), "{pointer}: {message:?}");
            }
            let none = json!({"additional": {"default_pipeline": "_none", "refresh_interval": "1s"}});
            assert_eq!(found(level, |spec| spec["destination"]["settings"] = none), None);
        }
    }

    #[test]
    fn documents_that_may_become_one_are_not_told_apart_by_identity() {
        let told = |level: &str, if_exists: &str, routing: &str, indices| {
            let spec = json!({
                "source": {"clusterRef": {"name": "a"}, "index": "i"},
                "destination": {"clusterRef": {"name": "b"}, "index": "j", "ifExists": if_exists, "routing": routing},
                "verification": {"level": level},
            });
            check_identity(&serde_json::from_value(spec).unwrap(), indices).is_some()
        };
        assert!(told("Identity", "Append", "keep", 2));
        assert!(told("Identity", "Append", "discard", 1));
        assert!(!told("Identity", "Append", "keep", 1));
        assert!(!told("Content", "Append", "discard", 2));
        assert!(!told("Identity", "Refuse", "discard", 2), "there the numbers tell");
    }

    #[test]
    fn identity_bears_what_leaves_ids_alone() {
        let with = |source: &str| found("Identity", |spec| spec["script"] = json!({"source": source}));
        assert_eq!(with("ctx._source.id = ctx._id"), None);
        assert!(with("ctx._id = 'a'").is_some_and(|message| message.contains("ctx._id")));
        assert!(with("ctx['_routing'] = 'a'").is_some());
        assert!(with("if (ctx._source.old) { ctx.op = 'noop' }").is_some());
        assert_eq!(found("Identity", |spec| spec["destination"]["pipeline"] = json!("p")), None);
        for level in ["None", "Count"] {
            assert_eq!(found(level, |spec| spec["script"] = json!({"source": "ctx._id = 'a'"})), None);
        }
    }
}
