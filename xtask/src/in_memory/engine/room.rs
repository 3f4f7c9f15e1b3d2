//! What is asked before a copy: room, templates, privileges, the clock.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{Refusal, State, refusal};

/// The cluster's settings as they are set, and those that it has by default.
pub fn settings(state: &State) -> Value {
    json!({"persistent": state.settings, "transient": {}, "defaults": {
        "cluster.routing.allocation.disk.threshold_enabled": "true",
        "cluster.routing.allocation.disk.watermark.low": "85%",
        "cluster.routing.allocation.disk.watermark.high": "90%",
        "cluster.max_shards_per_node": "1000",
    }})
}

/// The disk of its node.
pub fn allocation(state: &State) -> Value {
    let (free, total) = state.disk;
    json!([{"node": state.name, "disk.avail": free.to_string(), "disk.total": total.to_string()}, {"node": "UNASSIGNED"}])
}

/// Whether an index of that body would be refused.
pub fn check(body: &Value) -> Result<(), Refusal> {
    let settings = body["settings"].to_string();
    let fields = body["mappings"]["properties"].as_object();
    for analyzer in fields.into_iter().flat_map(Map::values).filter_map(|field| field["analyzer"].as_str()) {
        if analyzer != "standard" && !settings.contains(&format!("analysis.analyzer.{analyzer}")) {
            let why =
                format!("Failed to parse mapping [_doc]: analyzer [{analyzer}] has not been configured in mappings");
            return Err(refusal(400, "mapper_parsing_exception", &why));
        }
    }
    Ok(())
}

/// Its composable templates, each as `GET _index_template` shows it.
pub fn templates(state: &State) -> Value {
    json!({"index_templates": state.templates})
}

/// What the one that matches gives; the tests have one at most.
pub fn simulated(state: &State) -> Value {
    let template = state.templates.first().map(|template| template["index_template"]["template"].clone());
    json!({"template": template.unwrap_or(json!({}))})
}

/// Whether the user may do what is asked for.
pub fn privileges(state: &State, body: &Value) -> Result<Value, Refusal> {
    if state.password.is_none() && state.api_key.is_none() {
        return Err((
            400,
            json!({"error": "no handler found for uri [/_security/user/_has_privileges] and method [POST]"}),
        ));
    }
    let held = |names: &Value| -> Map<String, Value> {
        let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(|name| (name.to_owned(), json!(!state.lacks.contains(name)))).collect()
    };
    let index = body["index"][0]["names"][0].as_str().unwrap_or_default();
    Ok(json!({"cluster": held(&body["cluster"]), "index": {index: held(&body["index"][0]["privileges"])}}))
}

/// What time it is there.
pub fn clock(state: &State) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    json!({"nodes": {state.node_id(): {"timestamp": now + state.clock_offset_millis}}})
}
