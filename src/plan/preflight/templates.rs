//! What the destination's templates would make of the index that is declared.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    api::Reindex,
    plan::{index_body, words::names},
};

use super::Finding;

/// What templates add to an index of the destination's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Names of the templates that match; the one that counts, or all of the older kind.
    pub names: Vec<String>,
    /// The name can only be a data stream's.
    pub data_stream: bool,
    /// Aliases.
    pub aliases: Vec<String>,
    /// Settings, flat or nested, with or without the prefix `index.`.
    pub settings: Value,
    /// The mapping.
    pub mappings: Value,
    /// Settings and fields of the body with which the index would be created: those are not changed.
    pub declared: Added,
}

impl Template {
    /// What one more template gives.
    pub fn add(&mut self, aliases: impl Iterator<Item = String>, settings: &Value, mappings: &Value) {
        self.aliases.extend(aliases);
        merge(&mut self.settings, &Value::Object(index_body::flat(Some(settings))));
        merge(&mut self.mappings, mappings);
    }
}

/// What `added` has as well, objects put together.
fn merge(into: &mut Value, added: &Value) {
    match (into, added) {
        (Value::Object(into), Value::Object(added)) => {
            for (key, value) in added {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, added) if !added.is_null() => *into = added.clone(),
        _ => {}
    }
}

/// Settings and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Names of settings, without `index.`.
    pub settings: BTreeSet<String>,
    /// Paths of fields.
    pub fields: BTreeSet<String>,
}

impl Added {
    /// Those of a body of the API that creates indices.
    pub fn of(body: &Value) -> Added {
        Added {
            settings: index_body::flat(body.get("settings")).into_iter().map(|(name, _)| name).collect(),
            fields: fields(&body["mappings"]),
        }
    }
}

/// Settings that hand the index to a policy.
const LIFECYCLE: [&str; 4] = [
    "lifecycle.name",
    "plugins.index_state_management.policy_id",
    "plugins.index_state_management.rollover_alias",
    "opendistro.index_state_management.policy_id",
];
/// The engine itself gives this to every index.
const TIER: &str = "routing.allocation.include._tier_preference";
/// The name of no pipeline.
const NO_PIPELINE: &str = "_none";

pub(super) fn check(reindex: &Reindex, template: &Template) -> Vec<Finding> {
    let index = &reindex.spec.destination.index;
    let who = format!("the destination's template {} matches {index} and", names(&template.names));
    if template.data_stream {
        let message =
            format!("{who} lets only data streams have such a name: name another destination.index in a new Reindex");
        return vec![Finding::terminal("TemplateForDataStream", message)];
    }
    let mut findings = vec![];
    if !template.aliases.is_empty() {
        findings.push(Finding::warning(
            "TemplateAlias",
            format!("{who} adds the alias {}: whoever searches it would see the index while it is filled. Name another destination.index, or change the template", names(&template.aliases)),
        ));
    }
    let added = index_body::flat(Some(&template.settings));
    let added: Map<String, Value> =
        added.into_iter().filter(|(name, _)| name != TIER && !template.declared.settings.contains(name)).collect();
    if let Some(policy) = LIFECYCLE.iter().find(|name| added.contains_key(**name)) {
        findings.push(Finding::warning(
            "TemplateLifecycle",
            format!("{who} hands it to a lifecycle policy ({policy}), which may roll it over, close or delete it while it is filled"),
        ));
    }
    let pipelines = index_body::PIPELINES.iter().filter_map(|name| Some((*name, added.get(*name)?.as_str()?)));
    findings.extend(check_pipelines(reindex, &who, pipelines));
    let special = |name: &String| LIFECYCLE.contains(&name.as_str()) || index_body::PIPELINES.contains(&name.as_str());
    let settings: Vec<String> = added.keys().filter(|name| !special(name)).cloned().collect();
    let fields: Vec<String> = fields(&template.mappings).difference(&template.declared.fields).cloned().collect();
    let mut changes = vec![];
    if !settings.is_empty() {
        changes.push(format!("sets {}", names(&settings)));
    }
    if !fields.is_empty() {
        changes.push(format!("maps {}", names(&fields)));
    }
    if template.mappings.get("dynamic_templates").is_some() {
        changes.push("has dynamic templates".to_owned());
    }
    if !changes.is_empty() {
        let message =
            format!("{who} changes the declared index: it {}. Declare them, or accept it", changes.join(", and "));
        findings.push(Finding::warning("TemplateChangesIndex", message));
    }
    findings
}

/// Pipelines that documents would go through although nobody declared them.
pub(super) fn check_pipelines<'a>(
    reindex: &Reindex,
    who: &str,
    pipelines: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<Finding> {
    // The one that is declared runs instead of the default one.
    let overridden = |name: &str| name == "default_pipeline" && reindex.spec.destination.pipeline.is_some();
    let told: Vec<_> = pipelines
        .filter(|(name, pipeline)| *pipeline != NO_PIPELINE && !overridden(name))
        .map(|(name, pipeline)| format!("{name} {pipeline}"))
        .collect();
    (!told.is_empty()).then(|| {
        Finding::warning(
            "DestinationPipeline",
            format!(
                "{who} sends every document through an ingest pipeline ({}), which may change or drop it",
                told.join(", ")
            ),
        )
    })
}

/// Paths of the fields that a mapping names.
pub(super) fn fields(mapping: &Value) -> BTreeSet<String> {
    fn walk(properties: &Value, prefix: &str, found: &mut BTreeSet<String>) {
        for (name, field) in properties.as_object().into_iter().flatten() {
            let path = format!("{prefix}{name}");
            match field.get("properties") {
                Some(inner) => walk(inner, &format!("{path}."), found),
                None => drop(found.insert(path)),
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&mapping["properties"], "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reindex(pipeline: Option<&str>) -> Reindex {
        let mut value = json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r"}, "spec": {
            "source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
        }});
        if let Some(pipeline) = pipeline {
            value["spec"]["destination"]["pipeline"] = json!(pipeline);
        }
        serde_json::from_value(value).unwrap()
    }

    fn template(settings: Value, mappings: Value) -> Template {
        let body = json!({"settings": {"index": {"number_of_replicas": 1}}, "mappings": {"properties": {"a": {"type": "keyword"}}}});
        Template { names: vec!["all".into()], settings, mappings, declared: Added::of(&body), ..Template::default() }
    }

    fn reasons(pipeline: Option<&str>, template: &Template) -> Vec<&'static str> {
        check(&reindex(pipeline), template).iter().map(|finding| finding.reason).collect()
    }

    #[test]
    fn what_is_declared_wins_over_a_template() {
        let same =
            template(json!({"index": {"number_of_replicas": "3"}}), json!({"properties": {"a": {"type": "text"}}}));
        assert!(reasons(None, &same).is_empty());
        // As Elasticsearch's documentation shows it of a template that sets nothing.
        let engine = json!({"index": {"routing": {"allocation": {"include": {"_tier_preference": "data_content"}}}}});
        assert!(reasons(None, &template(engine, json!({}))).is_empty());
    }

    #[test]
    fn what_a_template_adds_is_named() {
        let adding = template(
            json!({"index.refresh_interval": "1m", "index": {"lifecycle": {"name": "hot"}, "final_pipeline": "stamp"}}),
            json!({"dynamic_templates": [], "properties": {"b": {"properties": {"c": {"type": "long"}}}}}),
        );
        let adding = Template { aliases: vec!["live".into()], ..adding };
        assert_eq!(
            reasons(None, &adding),
            ["TemplateAlias", "TemplateLifecycle", "DestinationPipeline", "TemplateChangesIndex"]
        );
        let message = check(&reindex(None), &adding).pop().unwrap().message;
        assert!(message.contains("sets refresh_interval, and maps b.c, and has dynamic templates"), "{message}");
    }

    #[test]
    fn the_declared_pipeline_runs_instead_of_the_default_one() {
        let default = template(json!({"index.default_pipeline": "stamp"}), json!({}));
        assert_eq!(reasons(None, &default), ["DestinationPipeline"]);
        assert!(reasons(Some("own"), &default).is_empty());
        assert!(reasons(None, &template(json!({"index.default_pipeline": "_none"}), json!({}))).is_empty());
    }

    #[test]
    fn a_name_that_is_kept_for_data_streams_is_refused() {
        let stream = Template { data_stream: true, ..template(json!({}), json!({})) };
        assert_eq!(check(&reindex(None), &stream)[0].gravity, super::super::Gravity::Terminal);
    }
}
