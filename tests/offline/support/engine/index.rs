//! Documents: written at once, seen by searches after a refresh.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Value, json};

use super::{Refusal, refusal};

/// A document: its version and what is in it.
pub type Document = (u64, Value);

/// One index.
#[derive(Clone, Debug)]
pub struct Index {
    /// Another one means another index.
    pub uuid: String,
    /// Its mapping.
    pub mappings: Value,
    /// What stands below `index` in its settings.
    pub settings: Value,
    /// Its documents by id.
    pub documents: BTreeMap<String, Document>,
    /// Those that searches see.
    visible: BTreeMap<String, Document>,
    /// `max_seq_no` of each primary.
    seq_nos: Vec<i64>,
}

/// What became of one write.
#[derive(Debug, PartialEq)]
pub enum Written {
    Created,
    Updated,
    Conflict,
    Noop,
    Failed(Value),
}

impl Index {
    /// From the body of `PUT /<index>`; settings may stand with or without `index`, nested or dotted.
    pub fn new(uuid: String, body: &Value) -> Index {
        let mut settings = match &body["settings"]["index"] {
            Value::Null => body["settings"].clone(),
            nested => nested.clone(),
        };
        if !settings.is_object() {
            settings = json!({});
        }
        for (name, default) in [("number_of_shards", "1"), ("number_of_replicas", "1")] {
            // The real ones answer with text, whatever was put.
            settings[name] = match &settings[name] {
                Value::Null => json!(default),
                Value::Number(number) => json!(number.to_string()),
                given => given.clone(),
            };
        }
        settings["uuid"] = json!(uuid);
        let shards = settings["number_of_shards"].as_str().and_then(|text| text.parse().ok()).unwrap_or(1);
        let mappings = if body["mappings"].is_object() { body["mappings"].clone() } else { json!({}) };
        Index {
            uuid,
            mappings,
            settings,
            documents: BTreeMap::new(),
            visible: BTreeMap::new(),
            seq_nos: vec![-1; shards],
        }
    }

    /// Writes as a user does: the version goes up by one.
    pub fn put(&mut self, id: &str, source: Value) {
        let version = self.documents.get(id).map_or(1, |(version, _)| version + 1);
        self.write(id, version, source);
    }

    /// Deletes a document.
    pub fn delete(&mut self, id: &str) {
        self.documents.remove(id);
        self.took(id);
    }

    /// Shows searches what was written.
    pub fn refresh(&mut self) {
        self.visible = self.documents.clone();
    }

    /// Writes with `version_type: external_gte`.
    pub fn put_external_gte(&mut self, id: &str, version: u64, source: &Value) -> Written {
        if let Some(failure) = self.misfit(id, source) {
            return Written::Failed(failure);
        }
        let written = match self.documents.get(id) {
            None => Written::Created,
            Some((held, _)) if *held > version => return Written::Conflict,
            Some(_) => Written::Updated,
        };
        self.write(id, version, source.clone());
        written
    }

    /// Writes with `op_type: create`, which takes internal versions only.
    pub fn put_create(&mut self, id: &str, source: &Value) -> Written {
        match self.documents.contains_key(id) {
            true => Written::Conflict,
            false => self.put_external_gte(id, 1, source),
        }
    }

    fn write(&mut self, id: &str, version: u64, source: Value) {
        self.documents.insert(id.to_owned(), (version, source));
        self.took(id);
    }

    fn took(&mut self, id: &str) {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let shard = hasher.finish() as usize % self.seq_nos.len();
        self.seq_nos[shard] += 1;
    }

    /// The cause of a failure where a field is mapped as a number and the document's value is none.
    fn misfit(&self, id: &str, source: &Value) -> Option<Value> {
        let fields = self.mappings["properties"].as_object()?;
        let misfit = fields.iter().find(|(name, mapping)| {
            let value = &source[name.as_str()];
            mapping["type"] == "float" && value.as_str().is_some_and(|text| text.parse::<f64>().is_err())
        });
        let (field, _) = misfit?;
        Some(json!({
            "type": "mapper_parsing_exception",
            "reason": format!("failed to parse field [{field}] of type [float] in document with id '{id}'. Preview of field's value: {}", source[field]),
            "caused_by": {"type": "number_format_exception", "reason": "For input string"},
        }))
    }

    /// What searches find.
    pub fn search(&self, query: &Value) -> Result<Vec<(String, Document)>, Refusal> {
        let found = self.visible.iter().map(|(id, document)| Ok((matches(query, id, &document.1)?, id, document)));
        let found: Result<Vec<_>, Refusal> = found.collect();
        // An empty index refuses a query that it doesn't know, too.
        matches(query, "", &json!({}))?;
        let matching = found?.into_iter().filter(|(matches, ..)| *matches);
        Ok(matching.map(|(_, id, document)| (id.clone(), document.clone())).collect())
    }

    /// As `GET /<index>` shows it.
    pub fn definition(&self) -> Value {
        json!({"aliases": {}, "mappings": self.mappings, "settings": {"index": self.settings}})
    }

    /// As `GET /<index>/_stats/docs?level=shards` shows it, filtered.
    pub fn stats(&self) -> Value {
        let shards: BTreeMap<String, Value> = self
            .seq_nos
            .iter()
            .enumerate()
            .map(|(number, max)| {
                let copy = json!({
                    "routing": {"state": "STARTED", "primary": true, "node": "n", "relocating_node": null},
                    "commit": {"user_data": {"history_uuid": format!("history-{}-{number}", self.uuid)}},
                    "seq_no": {"max_seq_no": max, "local_checkpoint": max, "global_checkpoint": max},
                });
                (number.to_string(), json!([copy]))
            })
            .collect();
        json!({"uuid": self.uuid, "shards": shards})
    }

    /// `_shards` of an answer.
    pub fn shards(&self) -> Value {
        let count = self.seq_nos.len();
        json!({"total": count, "successful": count, "skipped": 0, "failed": 0})
    }
}

/// The few queries that the tests use.
fn matches(query: &Value, id: &str, source: &Value) -> Result<bool, Refusal> {
    let Some((kind, body)) = query.as_object().and_then(|query| query.iter().next()) else { return Ok(true) };
    match kind.as_str() {
        "match_all" => Ok(true),
        "match_none" => Ok(false),
        "ids" => Ok(body["values"].as_array().is_some_and(|ids| ids.iter().any(|wanted| wanted == id))),
        "term" | "match" => {
            let (field, wanted) = body.as_object().and_then(|body| body.iter().next()).expect("a field");
            Ok(source[field.as_str()] == *wanted)
        }
        other => Err(refusal(400, "parsing_exception", &format!("unknown query [{other}]"))),
    }
}
