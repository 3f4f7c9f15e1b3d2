//! How a `_reindex` writes: what becomes of a document between the source and the destination index.

use serde_json::{Value, json};

use super::error::SearchError;
use super::name::one_index;

/// How documents are written. The default keeps them as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Writing<'a> {
    /// Only documents that are not there yet are written.
    pub create_only: bool,
    /// An ingest pipeline of the destination that every document goes through.
    pub pipeline: Option<&'a str>,
    /// `keep`, `discard` or `=value`; kept without one.
    pub routing: Option<&'a str>,
    /// What changes documents, or leaves some out.
    pub script: Option<Script<'a>>,
}

/// A script that sees every document before it is written.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Its text.
    pub source: &'a str,
    /// Its language.
    pub lang: &'a str,
    /// What it reads as `params`.
    pub params: Option<&'a Value>,
}

impl Writing<'_> {
    /// `dest` of the request.
    ///
    /// `external_gte` makes a second run harmless: with `external` it is a conflict for every document, and one that
    /// was deleted and made again on the source (version 1 over version 1) would stay stale. `op_type: create` takes
    /// internal versions only; with any other `version_type` it is a 400. A second run then counts every document of the
    /// first as a version conflict.
    pub(super) fn dest(&self, index: &str) -> Result<Value, SearchError> {
        let mut dest = json!({ "index": one_index(index)? });
        match self.create_only {
            true => dest["op_type"] = json!("create"),
            false => dest["version_type"] = json!("external_gte"),
        }
        if let Some(pipeline) = self.pipeline {
            dest["pipeline"] = json!(pipeline);
        }
        if let Some(routing) = self.routing {
            dest["routing"] = json!(routing);
        }
        Ok(dest)
    }

    /// `script` of the request.
    pub(super) fn script(&self) -> Option<Value> {
        self.script.map(|script| {
            let mut value = json!({ "source": script.source, "lang": script.lang });
            if let Some(params) = script.params {
                value["params"] = params.clone();
            }
            value
        })
    }
}
