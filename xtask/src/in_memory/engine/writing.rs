//! What a `_reindex` does to documents on their way.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::index::{Index, Written};

/// The one script that this engine understands: it leaves out the document whose id is `params.id`.
pub const LEAVE_OUT: &str = "if (ctx._id == params.id) { ctx.op = 'noop' }";

/// How a task writes.
#[derive(Debug)]
pub struct Writing {
    create: bool,
    missing_pipeline: Option<String>,
    left_out: Option<String>,
}

/// What is wrong with `dest` and `script` of a request, in the words of the real ones.
pub fn check(body: &Value) -> Result<(), String> {
    let (dest, script) = (&body["dest"], &body["script"]);
    match (dest["op_type"].as_str(), dest["version_type"].as_str()) {
        (None, Some("external_gte")) | (Some("create"), None) => {}
        (Some("create"), _) => {
            return Err("create operations only support internal versioning. use index instead".into());
        }
        _ => return Err("this engine wants external_gte".into()),
    }
    let routing = dest["routing"].as_str().unwrap_or("keep");
    if !(matches!(routing, "keep" | "discard") || routing.starts_with('=')) {
        return Err("routing must be unset, [keep], [discard] or [=<some new value>]".into());
    }
    match script.is_null() || (script["lang"] == "painless" && script["source"] == LEAVE_OUT) {
        true => Ok(()),
        false => Err("this engine knows no such script".into()),
    }
}

impl Writing {
    /// From a request that was checked, and the pipelines that there are.
    pub fn of(body: &Value, pipelines: &BTreeSet<String>) -> Writing {
        let pipeline = body["dest"]["pipeline"].as_str().filter(|name| !pipelines.contains(*name));
        Writing {
            create: body["dest"]["op_type"] == "create",
            missing_pipeline: pipeline.map(str::to_owned),
            left_out: body["script"]["params"]["id"].as_str().map(str::to_owned),
        }
    }

    /// What becomes of one document.
    pub fn write(&self, index: &mut Index, id: &str, version: u64, source: &Value) -> Written {
        if self.left_out.as_deref() == Some(id) {
            return Written::Noop;
        }
        match &self.missing_pipeline {
            Some(name) => Written::Failed(json!({
                "type": "illegal_argument_exception", "reason": format!("pipeline with id [{name}] does not exist"),
            })),
            None if self.create => index.put_create(id, source),
            None => index.put_external_gte(id, version, source),
        }
    }
}
