//! Documents: written at once, seen by searches after a refresh.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Value, json};

use super::{Refusal, refusal};

/// No primary is ever another one.
const PRIMARY_TERM: i64 = 1;

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
    /// Whether searches that don't ask for primaries find nothing: replicas that lag behind answer them.
    pub replicas_lag: bool,
    /// Whether sequence numbers can't be searched.
    pub no_seq_no: bool,
    /// Every change of them.
    pub settings_log: Vec<Value>,
    /// What somebody else does right before it is refreshed: the last one the next time.
    pub at_refreshes: Vec<fn(&mut Index)>,
    /// What somebody else does right before a document is deleted through the API: the last one the next time.
    pub at_deletions: Vec<fn(&mut Index)>,
    /// Its documents by id.
    pub documents: BTreeMap<String, Document>,
    /// The sequence number of each.
    numbers: BTreeMap<String, i64>,
    /// Versions of documents that were deleted, while they are remembered.
    tombstones: BTreeMap<String, u64>,
    /// Those that searches see.
    visible: BTreeMap<String, (Document, i64)>,
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
            replicas_lag: false,
            no_seq_no: false,
            settings_log: vec![],
            at_refreshes: vec![],
            at_deletions: vec![],
            documents: BTreeMap::new(),
            numbers: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            visible: BTreeMap::new(),
            seq_nos: vec![-1; shards],
        }
    }

    /// Writes as a user does: the version goes up by one.
    pub fn put(&mut self, id: &str, source: Value) {
        let version = self.documents.get(id).map_or(1, |(version, _)| version + 1);
        self.write(id, version, source);
    }

    /// Deletes a document; its version is remembered until the next refresh that finds `gc_deletes` at zero.
    pub fn delete(&mut self, id: &str) {
        if let Some((version, _)) = self.documents.remove(id) {
            self.tombstones.insert(id.to_owned(), version + 1);
            self.took(id);
        }
    }

    /// `DELETE <index>/_doc/<id>?if_seq_no=…&if_primary_term=…`: refused where that is not the last write of the document.
    pub fn delete_seen(&mut self, id: &str, seen: (i64, i64)) -> Result<Value, Refusal> {
        if let Some(meanwhile) = self.at_deletions.pop() {
            meanwhile(self);
        }
        let held = self.documents.get(id).map(|_| (self.numbers[id], PRIMARY_TERM));
        if held != Some(seen) {
            let why = format!("[{id}]: version conflict, required seqNo and primary term {seen:?}, current {held:?}");
            return Err(refusal(409, "version_conflict_engine_exception", &why));
        }
        self.delete(id);
        Ok(json!({"result": "deleted"}))
    }

    /// Deletes a document and creates it anew so much later that its version begins with 1 again.
    pub fn create_anew(&mut self, id: &str, source: Value) {
        self.delete(id);
        self.tombstones.clear();
        self.put(id, source);
    }

    /// Shows searches what was written.
    pub fn refresh(&mut self) {
        if let Some(meanwhile) = self.at_refreshes.pop() {
            meanwhile(self);
        }
        if self.settings["gc_deletes"] == "0s" {
            self.tombstones.clear();
        }
        let seen = |(id, document): (&String, &Document)| (id.clone(), (document.clone(), self.numbers[id]));
        self.visible = self.documents.iter().map(seen).collect();
    }

    /// Writes with `version_type: external_gte`.
    pub fn put_external_gte(&mut self, id: &str, version: u64, source: &Value) -> Written {
        if let Some(failure) = self.misfit(id, source) {
            return Written::Failed(failure);
        }
        let written = match self.documents.get(id) {
            None if self.tombstones.get(id).is_some_and(|deleted| *deleted > version) => return Written::Conflict,
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
        self.numbers.insert(id.to_owned(), self.seq_nos[shard]);
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

    /// What searches through this name find.
    pub fn search(&self, query: &Value, name: &str) -> Result<Vec<(String, Document)>, Refusal> {
        let found = self.find(query, name)?;
        Ok(found.into_iter().map(|(id, document, _)| (id.clone(), document.clone())).collect())
    }

    /// What answers a search that has this `preference`.
    pub fn asked_for(&self, preference: Option<&String>) -> Index {
        let mut answers = self.clone();
        if self.replicas_lag && preference.is_none_or(|preference| preference != "_primary") {
            answers.visible.clear();
        }
        answers
    }

    fn find(&self, query: &Value, name: &str) -> Result<Vec<(&String, &Document, i64)>, Refusal> {
        let mut found = vec![];
        for (id, (document, number)) in &self.visible {
            if matches(query, &Hit { index: name, id, number: *number, source: &document.1 })? {
                found.push((id, document, *number));
            }
        }
        // An empty index refuses a query that it doesn't know, too.
        matches(query, &Hit { index: name, id: "", number: 0, source: &json!({}) })?;
        Ok(found)
    }

    /// `POST _mget`: what is there, refreshed or not.
    pub fn get_many(&self, body: &Value, content: bool) -> Value {
        let of = |wanted: &Value| {
            let id = wanted["_id"].as_str().unwrap();
            let Some((version, source)) = self.documents.get(id) else { return json!({"_id": id, "found": false}) };
            let mut document = json!({
                "_id": id, "found": true, "_version": version, "_seq_no": self.numbers[id], "_primary_term": PRIMARY_TERM,
            });
            if content {
                document["_source"] = source.clone();
            }
            document
        };
        json!({"docs": body["docs"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()})
    }

    /// `POST _search` with what the operator asks: hits with their sources, or numbers of documents by sequence number.
    pub fn answer_search(&self, body: &Value, name: &str) -> Result<Value, Refusal> {
        let found = self.find(&body["query"], name)?;
        let size = body["size"].as_u64().unwrap_or(10) as usize;
        let hits: Vec<Value> = found
            .iter()
            .take(size)
            .map(|(id, (version, source), _)| match body["_source"] == false {
                true => json!({"_id": id, "_version": version}),
                false => json!({"_id": id, "_version": version, "_source": source}),
            })
            .collect();
        let mut answer =
            json!({"took": 1, "timed_out": false, "_shards": self.shards(), "hits": {"max_score": null, "hits": hits}});
        let aggregation = &body["aggs"]["ranges"]["range"];
        if aggregation["field"] == "_seq_no" {
            if self.no_seq_no {
                return Err(refusal(400, "search_phase_execution_exception", "all shards failed"));
            }
            let bucket = |bounds: &Value| {
                let (from, to) = (bounds["from"].as_i64().unwrap(), bounds["to"].as_i64().unwrap());
                let count = found.iter().filter(|(.., number)| (from..to).contains(number)).count();
                json!({"from": from as f64, "to": to as f64, "doc_count": count})
            };
            let buckets: Vec<Value> = aggregation["ranges"].as_array().unwrap().iter().map(bucket).collect();
            answer["aggregations"] = json!({"ranges": {"buckets": buckets}});
        }
        Ok(answer)
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

    /// As `GET /<index>/_stats/docs,store` shows it, filtered: a document takes up 1,000 bytes.
    pub fn size(&self) -> Value {
        let count = self.documents.len();
        json!({"_all": {"primaries": {"docs": {"count": count}, "store": {"size_in_bytes": 1000 * count}}}})
    }

    /// `_shards` of an answer.
    pub fn shards(&self) -> Value {
        let count = self.seq_nos.len();
        json!({"total": count, "successful": count, "skipped": 0, "failed": 0})
    }
}

/// Bytes that a document has on paper only, so that a large one costs the tests nothing.
pub fn padding(source: &Value) -> usize {
    source["padding"].as_u64().unwrap_or_default() as usize
}

/// A document as a query sees it.
struct Hit<'a> {
    index: &'a str,
    id: &'a str,
    number: i64,
    source: &'a Value,
}

/// The few queries that the operator and the tests use.
fn matches(query: &Value, hit: &Hit<'_>) -> Result<bool, Refusal> {
    let Some((kind, body)) = query.as_object().and_then(|query| query.iter().next()) else { return Ok(true) };
    match kind.as_str() {
        "match_all" => Ok(true),
        "match_none" => Ok(false),
        "function_score" => matches(&body["query"], hit),
        "bool" => {
            let mut all = true;
            for filter in body["filter"].as_array().expect("filters") {
                all &= matches(filter, hit)?;
            }
            Ok(all)
        }
        "range" => {
            let bounds = &body["_seq_no"];
            let bound = |name: &str| bounds[name].as_i64();
            Ok(bound("gte").is_none_or(|from| hit.number >= from) && bound("lt").is_none_or(|to| hit.number < to))
        }
        // Every field of every document is indexed here.
        "exists" => Ok(body["field"] != "_ignored"),
        "ids" => Ok(body["values"].as_array().is_some_and(|ids| ids.iter().any(|wanted| wanted == hit.id))),
        "term" | "match" => {
            let (field, wanted) = body.as_object().and_then(|body| body.iter().next()).expect("a field");
            Ok(if field == "_index" { wanted == hit.index } else { hit.source[field.as_str()] == *wanted })
        }
        other => Err(refusal(400, "parsing_exception", &format!("unknown query [{other}]"))),
    }
}
