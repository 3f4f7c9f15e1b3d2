//! Which request is answered by what.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    super::faults::{Call, Faults},
    Network, Refusal, State, index, no_such_index, refusal, room, scroll, tasks,
};

/// One request.
pub struct Request {
    /// HTTP method.
    pub verb: String,
    /// Path, without the query.
    pub path: String,
    /// The query's parameters.
    pub parameters: BTreeMap<String, String>,
    /// `X-Opaque-Id`.
    pub opaque_id: Option<String>,
    /// The body; null without one.
    pub body: Value,
}

/// Answers everything, after counting it.
pub fn router(state: Arc<Mutex<State>>, faults: Arc<Faults>, network: Network) -> Router {
    Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let authorization = header("authorization");
        let query = uri.query().unwrap_or_default();
        let request = Request {
            verb: method.to_string(),
            path: decoded(uri.path()),
            parameters: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            opaque_id: header("x-opaque-id"),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let name = state.lock().unwrap().name.clone();
        let call = Call { to: name, verb: request.verb.clone(), path: request.path.clone() };
        let effect = || {
            let authenticated = state.lock().unwrap().authenticate(authorization.as_deref());
            authenticated.and_then(|()| answer(&state, &network, &request)).unwrap_or_else(|refusal| refusal)
        };
        let refused = || refusal(503, "refused_by_the_test_exception", "refused by the test");
        let (status, body) = faults.call(call, effect, refused).await;
        respond(status, &body)
    })
}

/// The path with its segments decoded; the client encodes all but a few characters.
pub(super) fn decoded(path: &str) -> String {
    let segment = |text: &str| {
        url::form_urlencoded::parse(text.as_bytes()).next().map_or(String::new(), |(name, _)| name.into_owned())
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Documents whose field `padding` says that they are so much larger make the answer so much longer.
fn respond(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    let hits = body["hits"]["hits"].as_array().into_iter().flatten();
    let padding: usize = hits.map(|hit| index::padding(&hit["_source"])).sum();
    let text = body.to_string() + &" ".repeat(padding);
    (status, [("content-type", "application/json; charset=UTF-8")], text).into_response()
}

/// `Err` is an answer too: a refusal.
fn answer(state: &Mutex<State>, network: &Network, request: &Request) -> Result<(u16, Value), Refusal> {
    if (request.verb.as_str(), request.path.as_str()) == ("POST", "/_reindex") {
        // Locks the source, then this engine: never both.
        return tasks::reindex(state, network, request);
    }
    let mut state = state.lock().unwrap();
    if !state.opensearch && request.parameters.get("preference").is_some_and(|preference| preference == "_primary") {
        return Err(refusal(400, "illegal_argument_exception", "no Preference for [_primary]"));
    }
    let parts: Vec<_> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    match (request.verb.as_str(), parts.as_slice()) {
        ("GET", []) => Ok((200, info(&state))),
        ("GET", ["_cluster", "health"]) => Ok((200, health(&state))),
        ("GET", ["_cat", "shards"]) => Ok((200, json!([]))),
        ("GET", ["_nodes", "settings"]) => Ok((200, nodes(&state))),
        ("GET", ["_cluster", "state", "master_node"]) => Ok((200, json!({"master_node": state.node_id()}))),
        ("GET", ["_nodes", "data:true", "os"]) => {
            Ok((200, json!({"nodes": {state.node_id(): {"os": {"allocated_processors": state.processors}}}})))
        }
        ("GET", ["_nodes", "data:true", "stats", "indexing_pressure"]) => {
            let memory = json!({"memory": {"limit_in_bytes": 51_200_000}});
            Ok((200, json!({"nodes": {state.node_id(): {"indexing_pressure": memory}}})))
        }
        ("GET", ["_cluster", "settings"]) => Ok((200, room::settings(&state))),
        ("GET", ["_cluster", "health", index]) => Ok((200, json!({"indices": {*index: {"status": "green"}}}))),
        ("GET", ["_cat", "allocation"]) => Ok((200, room::allocation(&state))),
        ("GET", ["_nodes", "_local", "stats", "os"]) => Ok((200, room::clock(&state))),
        ("GET", ["_index_template"]) => Ok((200, room::templates(&state))),
        ("GET", ["_template"]) => Ok((200, json!({}))),
        ("POST", ["_index_template", "_simulate"]) => {
            room::check(&request.body["template"]).map(|()| (200, json!({"template": {}})))
        }
        ("POST", ["_index_template", "_simulate_index", _]) => Ok((200, room::simulated(&state))),
        ("POST", ["_security", "user", "_has_privileges"]) => Ok((200, room::privileges(&state, &request.body)?)),
        ("POST", ["_reindex", _, "_rethrottle"]) if state.refuses_rethrottle => Err(refusal(
            403,
            "security_exception",
            "action [cluster:admin/reindex/rethrottle] is unauthorized for user",
        )),
        ("POST", ["_reindex", id, "_rethrottle"]) => {
            let limit = request.parameters["requests_per_second"].parse().unwrap();
            Ok((200, tasks::rethrottle(&mut state, id, limit)))
        }
        ("GET", ["_ingest", "pipeline", name]) => Ok(match state.pipelines.contains(*name) {
            true => (200, json!({*name: {"processors": []}})),
            false => (404, json!({})),
        }),
        ("GET", ["_tasks"]) => Ok((200, tasks::list(&mut state, request.parameters.get("filter_path")))),
        ("GET", ["_tasks", id]) => tasks::get(&mut state, id, request.parameters.get("filter_path")),
        ("POST", ["_tasks", id, "_cancel"]) => Ok((200, tasks::cancel(&mut state, id))),
        ("DELETE", ["_search", "scroll"]) => {
            Ok((200, scroll::end(&mut state, request.body["scroll_id"].as_str().unwrap())))
        }
        ("POST", ["_search", "scroll"]) => scroll::next(&mut state, request.body["scroll_id"].as_str().unwrap()),
        ("POST", [index, "_search"]) if request.parameters.contains_key("scroll") => {
            scroll::begin(&mut state, index, &request.body, request.parameters.get("preference"))
        }
        ("PUT", [_, "_settings"]) if state.refuses_settings => {
            Err(refusal(403, "security_exception", "action [indices:admin/settings/update] is unauthorized for user"))
        }
        (_, [index, ..]) if !index.starts_with('_') => of_index(&mut state, request, &parts),
        (verb, _) => {
            let why = format!("no handler found for uri [{}] and method [{verb}]", request.path);
            Err(refusal(400, "illegal_argument_exception", &why))
        }
    }
}

fn of_index(state: &mut State, request: &Request, parts: &[&str]) -> Result<(u16, Value), Refusal> {
    let name = parts[0];
    if (request.verb.as_str(), parts) == ("PUT", &[name]) {
        return create(state, name, &request.body);
    }
    let index = state.indices.get_mut(name).ok_or_else(|| no_such_index(name))?;
    let shards = index.shards();
    Ok((
        200,
        match (request.verb.as_str(), &parts[1..]) {
            ("GET" | "HEAD", []) => json!({name: index.definition()}),
            ("DELETE", []) => {
                state.indices.remove(name);
                json!({"acknowledged": true})
            }
            ("GET", ["_settings", "index.max_result_window"]) => json!({}),
            ("GET", ["_stats", "docs,store"]) => index.size(),
            ("GET", ["_settings"]) => json!({name: {"settings": {"index": index.settings}}}),
            ("PUT", ["_settings"]) => {
                for (setting, value) in request.body["index"].as_object().into_iter().flatten() {
                    index.settings[setting] = value.clone();
                }
                index.settings_log.push(request.body["index"].clone());
                json!({"acknowledged": true})
            }
            ("POST", ["_mget"]) => {
                index.get_many(&request.body, request.parameters.get("_source").is_none_or(|kept| kept == "true"))
            }
            ("DELETE", ["_doc", id]) => {
                let number = |name: &str| request.parameters.get(name)?.parse().ok();
                let seen = number("if_seq_no").zip(number("if_primary_term"));
                let whatever_it_is = || refusal(400, "illegal_argument_exception", "this engine deletes what was seen");
                index.delete_seen(id, seen.ok_or_else(whatever_it_is)?)?
            }
            ("POST", ["_refresh"]) => {
                index.refresh();
                json!({"_shards": shards})
            }
            ("POST", ["_count"]) => {
                let asked = index.asked_for(request.parameters.get("preference"));
                json!({"count": asked.search(&request.body["query"], name)?.len(), "_shards": shards})
            }
            ("POST", ["_search"]) => index.answer_search(&request.body, name)?,
            ("GET", ["_stats", "docs"]) => json!({"indices": {name: index.stats()}}),
            _ => {
                return Err(refusal(
                    400,
                    "illegal_argument_exception",
                    &format!("no handler found for uri [{}]", request.path),
                ));
            }
        },
    ))
}

fn create(state: &mut State, name: &str, body: &Value) -> Result<(u16, Value), Refusal> {
    if let Some(index) = state.indices.get(name) {
        return Err(refusal(
            400,
            "resource_already_exists_exception",
            &format!("index [{name}/{}] already exists", index.uuid),
        ));
    }
    room::check(body)?;
    state.create(name, body);
    state.created.push(name.to_owned());
    Ok((200, json!({"acknowledged": true, "shards_acknowledged": true, "index": name})))
}

fn info(state: &State) -> Value {
    let mut version = json!({"number": state.version, "build_snapshot": false});
    if state.opensearch {
        version["distribution"] = json!("opensearch");
    }
    json!({"name": state.name, "cluster_name": state.name, "cluster_uuid": state.cluster_uuid, "version": version})
}

fn health(state: &State) -> Value {
    json!({
        "cluster_name": state.name, "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1,
        "active_primary_shards": state.indices.len(), "active_shards": state.indices.len(), "relocating_shards": 0,
        "initializing_shards": 0, "unassigned_shards": 0,
    })
}

fn nodes(state: &State) -> Value {
    let lists = std::iter::once(&state.allowlist).chain(&state.further_nodes);
    let nodes: serde_json::Map<_, _> = lists
        .enumerate()
        .map(|(n, allowlist)| {
            let (id, name) = match n {
                0 => (state.node_id(), state.name.clone()),
                n => (format!("{}-{n}", state.node_id()), format!("{}-{n}", state.name)),
            };
            let mut settings = json!({"node.name": name, "path.data": format!("/srv/{name}")});
            if !allowlist.is_empty() {
                settings["reindex.remote.whitelist"] = json!(allowlist);
            }
            if n < state.trusting_nodes {
                settings["node.attr.reindex_sources"] = json!("es-1-reindex-sources");
            }
            let ip = format!("127.0.0.{}", n + 1);
            let node = json!({"name": name, "ip": ip, "version": state.version, "roles": ["data", "master"], "settings": settings});
            (id, node)
        })
        .collect();
    json!({"_nodes": {"total": nodes.len(), "successful": nodes.len(), "failed": 0}, "nodes": nodes})
}
