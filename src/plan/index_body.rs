//! The body with which the destination index is created.

use serde_json::{Map, Value, json};

use crate::api::{
    Reindex,
    reindex::{Destination, MappingsFrom},
};

/// The key under `_meta` of an index's mapping that says whose the index is.
pub const OWNER_KEY: &str = "reindex.dev";

/// Settings of an index, without `index.`, that send every document through a pipeline.
pub const PIPELINES: [&str; 2] = ["default_pipeline", "final_pipeline"];

/// Whose an index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// UID of the Reindex.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Owner {
    /// That Reindex.
    pub fn of(reindex: &Reindex) -> Owner {
        let meta = &reindex.metadata;
        Owner {
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

/// The source index as its cluster shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceDefinition {
    /// Its mapping.
    pub mappings: Value,
    /// What stands below `index` in its settings.
    pub settings: Value,
}

/// A setting that `additional` may not carry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSettings {
    /// There is a field of its own for it.
    #[error("destination.settings.additional must not set {key}: use destination.settings.{field}")]
    OwnField {
        /// The setting.
        key: &'static str,
        /// The field.
        field: &'static str,
    },
    /// What a task calls written may be lost.
    #[error(
        "destination.settings.additional must not set translog.durability to anything but request: a node that crashes could lose documents that count as copied. Set it when the Reindex is complete"
    )]
    TranslogDurability,
    /// The mapping is an object.
    #[error(
        "destination.mappings must hold what stands below \"mappings\" in the create-index API, not the key \"mappings\" itself"
    )]
    Wrapped,
    /// Only the operator writes this.
    #[error("destination.mappings._meta must not hold the key {OWNER_KEY:?}: the operator marks its indexes with it")]
    OwnerMark,
}

/// Checks what the schema can't.
///
/// # Errors
/// [`InvalidSettings`], which names the field.
pub fn check(destination: &Destination) -> Result<(), InvalidSettings> {
    if let Some(mappings) = &destination.mappings {
        if mappings.get("mappings").is_some_and(Value::is_object) && mappings.get("properties").is_none() {
            return Err(InvalidSettings::Wrapped);
        }
        if mappings.pointer("/_meta").and_then(|meta| meta.get(OWNER_KEY)).is_some() {
            return Err(InvalidSettings::OwnerMark);
        }
    }
    let additional = flat(destination.settings.additional.as_ref());
    if additional.get("translog.durability").is_some_and(|value| value != "request") {
        return Err(InvalidSettings::TranslogDurability);
    }
    for (key, field) in [("number_of_shards", "numberOfShards"), ("number_of_replicas", "numberOfReplicas")] {
        if additional.contains_key(key) {
            return Err(InvalidSettings::OwnField { key, field });
        }
    }
    Ok(())
}

/// The body of `PUT /<index>`: declared shards, replicas and settings; mappings and what they need from the source unless given.
pub fn index_body(destination: &Destination, source: &SourceDefinition, owner: &Owner) -> Value {
    json!({"settings": {"index": settings(destination, source)}, "mappings": mappings(destination, source, owner)})
}

fn settings(destination: &Destination, source: &SourceDefinition) -> Value {
    let mut settings = Map::new();
    let copies_mappings =
        destination.mappings.is_none() && destination.mappings_from.unwrap_or_default() == MappingsFrom::Source;
    let copied = flat(Some(&source.settings));
    let additional = flat(destination.settings.additional.as_ref());
    let own_analysis = additional.keys().any(|key| key.starts_with("analysis."));
    for (key, value) in copied {
        let follows_mapping = key.starts_with("similarity.") || key.starts_with("mapping.") || key.starts_with("max_");
        let analysis = key.starts_with("analysis.") && !own_analysis;
        if (follows_mapping && copies_mappings) || analysis {
            settings.insert(key, value);
        }
    }
    settings.extend(additional);
    let declared = |given: Option<i32>, name: &str| given.map_or_else(|| source.settings[name].clone(), Value::from);
    settings.insert("number_of_shards".into(), declared(destination.settings.number_of_shards, "number_of_shards"));
    settings
        .insert("number_of_replicas".into(), declared(destination.settings.number_of_replicas, "number_of_replicas"));
    settings.retain(|_, value| !value.is_null());
    Value::Object(settings)
}

fn mappings(destination: &Destination, source: &SourceDefinition, owner: &Owner) -> Value {
    let chosen = match (&destination.mappings, destination.mappings_from.unwrap_or_default()) {
        (Some(given), _) => given.clone(),
        (None, MappingsFrom::Source) => source.mappings.clone(),
        (None, MappingsFrom::None) => json!({}),
    };
    let mut mappings = chosen.as_object().cloned().unwrap_or_default();
    // Only a backing index of a data stream takes it.
    mappings.remove("_data_stream_timestamp");
    let mut meta = mappings.get("_meta").and_then(Value::as_object).cloned().unwrap_or_default();
    meta.insert(OWNER_KEY.into(), json!({"uid": owner.uid, "namespace": owner.namespace, "name": owner.name}));
    mappings.insert("_meta".into(), Value::Object(meta));
    Value::Object(mappings)
}

/// UID of the Reindex that made the index with this mapping.
pub fn owner_uid(mappings: &Value) -> Option<&str> {
    mappings.get("_meta")?.get(OWNER_KEY)?.get("uid")?.as_str()
}

/// Settings under dotted names without the prefix `index.`, however they were nested.
pub(super) fn flat(settings: Option<&Value>) -> Map<String, Value> {
    fn walk(prefix: &str, value: &Value, out: &mut Map<String, Value>) {
        match value {
            Value::Object(object) if !object.is_empty() => {
                for (key, value) in object {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&name, value, out);
                }
            }
            _ => {
                out.insert(prefix.strip_prefix("index.").unwrap_or(prefix).to_owned(), value.clone());
            }
        }
    }
    let mut out = Map::new();
    if let Some(settings @ Value::Object(_)) = settings {
        walk("", settings, &mut out);
        out.remove("");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(extra: Value) -> Destination {
        let mut value = json!({"clusterRef": {"name": "es-1"}, "index": "dest"});
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn source() -> SourceDefinition {
        SourceDefinition {
            mappings: json!({
                "properties": {"name": {"type": "text", "analyzer": "ik_smart"}},
                "_meta": {"team": "shop"}, "_data_stream_timestamp": {"enabled": true},
            }),
            settings: json!({
                "number_of_shards": "5", "number_of_replicas": "2", "uuid": "u", "creation_date": "1", "refresh_interval": "30s",
                "analysis": {"analyzer": {"ik_smart": {"type": "custom", "tokenizer": "standard", "filter": ["lowercase"]}}},
                "mapping": {"total_fields": {"limit": "2000"}}, "max_result_window": "20000",
                "routing": {"allocation": {"include": {"_tier_preference": "data_content"}}},
            }),
        }
    }

    fn owner() -> Owner {
        Owner { uid: "u-1".into(), namespace: "search".into(), name: "product-info".into() }
    }

    #[test]
    fn what_the_mapping_needs_is_copied_and_nothing_else() {
        let body = index_body(&destination(json!({})), &source(), &owner());
        assert_eq!(
            body,
            json!({
                "settings": {"index": {
                    "analysis.analyzer.ik_smart.type": "custom",
                    "analysis.analyzer.ik_smart.tokenizer": "standard",
                    "analysis.analyzer.ik_smart.filter": ["lowercase"],
                    "mapping.total_fields.limit": "2000",
                    "max_result_window": "20000",
                    "number_of_shards": "5",
                    "number_of_replicas": "2",
                }},
                "mappings": {
                    "properties": {"name": {"type": "text", "analyzer": "ik_smart"}},
                    "_meta": {"team": "shop", "reindex.dev": {"uid": "u-1", "namespace": "search", "name": "product-info"}},
                },
            })
        );
        assert_eq!(owner_uid(&body["mappings"]), Some("u-1"));
    }

    #[test]
    fn what_is_declared_wins() {
        let declared = destination(json!({
            "settings": {"numberOfShards": 3, "numberOfReplicas": 0,
                "additional": {"index": {"refresh_interval": "5s"}, "analysis": {"analyzer": {"mine": {"type": "standard"}}}}},
            "mappings": {"properties": {"name": {"type": "keyword"}}},
        }));
        let body = index_body(&declared, &source(), &owner());
        assert_eq!(
            body["settings"]["index"],
            json!({"analysis.analyzer.mine.type": "standard", "refresh_interval": "5s", "number_of_shards": 3, "number_of_replicas": 0})
        );
        assert_eq!(body["mappings"]["properties"], json!({"name": {"type": "keyword"}}));
    }

    #[test]
    fn mappings_from_none_are_empty_but_marked() {
        let body = index_body(&destination(json!({"mappingsFrom": "None"})), &source(), &owner());
        assert_eq!(body["mappings"].as_object().unwrap().keys().collect::<Vec<_>>(), ["_meta"]);
    }

    #[test]
    fn shards_in_additional_are_refused_in_every_spelling() {
        for additional in [
            json!({"number_of_shards": 2}),
            json!({"index.number_of_shards": 2}),
            json!({"index": {"number_of_shards": 2}}),
        ] {
            let refused = check(&destination(json!({"settings": {"additional": additional}})));
            assert_eq!(refused, Err(InvalidSettings::OwnField { key: "number_of_shards", field: "numberOfShards" }));
        }
    }

    #[test]
    fn a_translog_that_may_lose_documents_is_refused() {
        let with = |value: &str| {
            check(&destination(json!({"settings": {"additional": {"index": {"translog": {"durability": value}}}}})))
        };
        assert_eq!((with("late"), with("request")), (Err(InvalidSettings::TranslogDurability), Ok(())));
    }

    #[test]
    fn a_wrapped_mapping_is_refused() {
        let wrapped = destination(json!({"mappings": {"mappings": {"properties": {}}}}));
        assert_eq!(check(&wrapped), Err(InvalidSettings::Wrapped));
    }
}
