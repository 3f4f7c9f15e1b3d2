//! Whether the destination takes the index as it would be created, and what of the documents' fields it would only guess.

use serde_json::Value;

use crate::{
    api::{
        Reindex,
        reindex::{IfExists, MappingsFrom, SourceFields},
    },
    plan::{access::matches_glob, words::names},
};

use super::{
    Facts, Finding,
    templates::{check_pipelines, fields},
};

/// The mappings of both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mappings {
    /// The source's.
    pub source: Value,
    /// The one that is created, or is there.
    pub destination: Value,
}

pub(super) fn check(reindex: &Reindex, facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![];
    if let Some(why) = &facts.refused {
        findings.push(Finding::terminal(
            "IndexRefused",
            format!("the destination would refuse the index: {why}. Correct destination.settings or destination.mappings in a new Reindex, or install there what is missing"),
        ));
    }
    if let Some(mappings) = &facts.mappings {
        // Whoever says None wants them guessed.
        if reindex.spec.destination.mappings_from != Some(MappingsFrom::None) {
            findings.extend(check_fields(reindex, mappings, facts));
        }
        findings.extend(check_routing(reindex, mappings));
    }
    if reindex.spec.destination.if_exists == IfExists::Append {
        let who = format!("the destination's index {}", reindex.spec.destination.index);
        let pipelines = facts.pipelines.iter().map(|(name, pipeline)| (name.as_str(), pipeline.as_str()));
        findings.extend(check_pipelines(reindex, &who, pipelines));
    }
    findings
}

/// Fields that the source maps and the destination does not.
fn check_fields(reindex: &Reindex, mappings: &Mappings, facts: &Facts) -> Option<Finding> {
    let chosen = reindex.spec.source.source_fields.as_ref();
    let mut there = fields(&mappings.destination);
    there.extend(facts.template.iter().flat_map(|template| fields(&template.mappings)));
    let lacking: Vec<String> = fields(&mappings.source)
        .into_iter()
        .filter(|field| !there.contains(field) && is_copied(field, chosen) && !is_below(field, &mappings.destination))
        .collect();
    if lacking.is_empty() {
        return None;
    }
    let named = names(&lacking);
    // `dynamic` is a word or a boolean.
    let dynamic = match &mappings.destination["dynamic"] {
        Value::String(word) => word.clone(),
        Value::Bool(given) => given.to_string(),
        _ => "true".to_owned(),
    };
    Some(match dynamic.as_str() {
        "strict" | "strict_allow_templates" => Finding::warning(
            "FieldsRefused",
            format!(
                "the destination's mapping is strict and lacks {named}: documents with such a field are refused, and the copy fails then. Map it, or leave it out with source.sourceFields"
            ),
        ),
        "false" => Finding::warning(
            "FieldsNotIndexed",
            format!(
                "the destination's mapping lacks {named}, and its dynamic is false: the documents are whole, but nobody can search these fields"
            ),
        ),
        _ => Finding::warning(
            "FieldsGuessed",
            format!(
                "the destination's mapping lacks {named}: their types are guessed from the first document that has them, and may differ from the source's. Map them"
            ),
        ),
    })
}

fn is_copied(field: &str, chosen: Option<&SourceFields>) -> bool {
    let Some(chosen) = chosen else { return true };
    // A pattern stands for everything below what it names, too.
    let named = |patterns: &[String]| {
        patterns.iter().any(|pattern| matches_glob(pattern, field) || matches_glob(&format!("{pattern}.*"), field))
    };
    (chosen.includes.is_empty() || named(&chosen.includes)) && !named(&chosen.excludes)
}

/// Below a field that takes whole objects, such as `flattened`, nothing needs a mapping of its own.
fn is_below(field: &str, mapping: &Value) -> bool {
    let mut at = mapping;
    for name in field.split('.') {
        at = &at["properties"][name];
        if at.get("properties").is_none() {
            return at.get("type").is_some() || at["enabled"] == Value::Bool(false);
        }
    }
    false
}

fn check_routing(reindex: &Reindex, mappings: &Mappings) -> Option<Finding> {
    let required = mappings.destination["_routing"]["required"] == Value::Bool(true);
    (required && reindex.spec.destination.routing == "discard").then(|| {
        Finding::terminal(
            "RoutingRequired",
            "the destination's mapping requires a routing, and destination.routing discard takes it away: every document would be refused. Use keep in a new Reindex".into(),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reindex(spec: Value) -> Reindex {
        let mut value = json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r"}, "spec": {
            "source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
        }});
        for side in ["source", "destination"] {
            let given = spec[side].as_object().cloned().unwrap_or_default();
            value["spec"][side].as_object_mut().unwrap().extend(given);
        }
        serde_json::from_value(value).unwrap()
    }

    fn found(spec: Value, destination: Value) -> Vec<(&'static str, String)> {
        let source = json!({"properties": {
            "name": {"type": "text"}, "price": {"type": "scaled_float"},
            "maker": {"properties": {"name": {"type": "keyword"}, "city": {"type": "keyword"}}},
        }});
        let facts = Facts { mappings: Some(Mappings { source, destination }), ..Facts::default() };
        check(&reindex(spec), &facts).into_iter().map(|finding| (finding.reason, finding.message)).collect()
    }

    #[test]
    fn fields_without_a_mapping_are_named() {
        let mapping = |dynamic: Value| json!({"dynamic": dynamic, "properties": {"name": {"type": "text"}, "maker": {"type": "flattened"}}});
        for (dynamic, reason) in [
            (Value::Null, "FieldsGuessed"),
            (json!("runtime"), "FieldsGuessed"),
            (json!(false), "FieldsNotIndexed"),
            (json!("false"), "FieldsNotIndexed"),
            (json!("strict"), "FieldsRefused"),
        ] {
            let found = found(json!({}), mapping(dynamic));
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].0, reason);
            assert!(found[0].1.contains("lacks price:") || found[0].1.contains("lacks price,"), "{}", found[0].1);
        }
    }

    #[test]
    fn fields_that_are_not_copied_need_no_mapping() {
        let only = |fields: Value| {
            found(json!({"source": {"sourceFields": fields}}), json!({"properties": {"name": {"type": "text"}}}))
        };
        assert!(only(json!({"includes": ["name"]})).is_empty());
        assert!(only(json!({"excludes": ["price", "maker"]})).is_empty());
        assert!(only(json!({"excludes": ["maker.*"]}))[0].1.contains("lacks price"));
    }

    #[test]
    fn a_required_routing_may_not_be_thrown_away() {
        let required = json!({"_routing": {"required": true}, "enabled": false, "dynamic": false, "properties": {
            "name": {"type": "text"}, "price": {"type": "long"}, "maker": {"type": "object", "enabled": false}}});
        assert_eq!(found(json!({"destination": {"routing": "discard"}}), required.clone())[0].0, "RoutingRequired");
        assert!(found(json!({}), required).is_empty());
    }

    #[test]
    fn what_the_destination_refuses_ends_it() {
        let facts = Facts { refused: Some("Unknown tokenizer type [ik]".into()), ..Facts::default() };
        assert_eq!(check(&reindex(json!({})), &facts)[0].reason, "IndexRefused");
    }
}
