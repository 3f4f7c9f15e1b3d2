//! The remote `_reindex` and its tasks.

use std::{collections::VecDeque, sync::Mutex};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    Network, Refusal, State,
    http::{Request, decoded},
    index::{self, Document, Written},
    refusal, unauthorized,
    writing::{self, Writing},
};

/// How fast tasks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A task is done before its POST is answered.
    Instant,
    /// A task copies that many documents each time somebody looks at it, and is done at the look after the last one; 0 never ends.
    PerPoll(usize),
}

/// A reindex.
#[derive(Debug)]
pub struct Task {
    opaque_id: Option<String>,
    description: String,
    destination: String,
    writing: Writing,
    left: VecDeque<(String, Document)>,
    total: usize,
    created: usize,
    updated: usize,
    conflicts: usize,
    noops: usize,
    batches: usize,
    throttle: f64,
    cancelled: bool,
    locked_out: bool,
    failures: Vec<Value>,
    error: Option<Value>,
    /// How many documents are written before a batch that is too large is read.
    stops_after: Option<usize>,
    completed: bool,
}

impl Task {
    /// One that was started some time ago with this id, and has read nothing yet.
    pub fn stray(opaque_id: &str) -> Task {
        Task {
            opaque_id: Some(opaque_id.to_owned()),
            description: "reindex from [a stray] to [dest][_doc]".into(),
            destination: "dest".into(),
            writing: Writing::of(&json!({"dest": {"version_type": "external_gte"}}), &Default::default()),
            left: [("stray".to_owned(), (1, json!({})))].into(),
            total: 1,
            created: 0,
            updated: 0,
            conflicts: 0,
            noops: 0,
            batches: 0,
            throttle: -1.0,
            cancelled: false,
            locked_out: false,
            failures: vec![],
            error: None,
            stops_after: None,
            completed: false,
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        !self.completed
    }

    /// What it was started with.
    pub fn opaque_id(&self) -> Option<String> {
        self.opaque_id.clone()
    }

    /// Documents a second; -1 is no limit.
    pub fn throttle(&self) -> f64 {
        self.throttle
    }

    /// The source lets it in no more: it ends at its next batch.
    pub fn lock_out(&mut self) {
        self.locked_out = true;
    }

    /// Somebody cancels it.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    fn status(&self) -> Value {
        let mut status = json!({
            "total": self.total, "updated": self.updated, "created": self.created, "deleted": 0, "batches": self.batches,
            "version_conflicts": self.conflicts, "noops": self.noops, "retries": {"bulk": 0, "search": 0}, "throttled_millis": 0,
            "requests_per_second": self.throttle, "throttled_until_millis": 0,
        });
        if self.cancelled {
            status["canceled"] = json!("by user request");
        }
        status
    }

    /// As the engine shows it; its description is so much longer.
    fn shown(&self, node: &str, number: u64, long: usize) -> Value {
        let headers = match &self.opaque_id {
            Some(id) => json!({"X-Opaque-Id": id}),
            None => json!({}),
        };
        json!({
            "node": node, "id": number, "type": "transport", "action": "indices:data/write/reindex", "status": self.status(),
            "description": self.description.clone() + &" ".repeat(long), "start_time_in_millis": 1_795_486_061_976_u64, "running_time_in_nanos": 1_000_000,
            "cancellable": true, "cancelled": false, "headers": headers,
        })
    }

    fn response(&self) -> Value {
        let mut response = self.status();
        response["took"] = json!(49);
        response["timed_out"] = json!(false);
        response["failures"] = json!(self.failures);
        response
    }
}

/// `POST _reindex`. A refusal of the source is the answer of a probe, but only the end of a task.
pub fn reindex(state: &Mutex<State>, network: &Network, request: &Request) -> Result<(u16, Value), Refusal> {
    let waits = request.parameters.get("wait_for_completion").is_none_or(|wait| wait != "false");
    let body = &request.body;
    check_body(body)?;
    let shown = remote_authorization(body);
    state.lock().unwrap().note(shown.as_deref());
    let read = match allowed(state, body).and_then(|()| trusted(state, body)) {
        Ok(()) => read_source(network, body),
        Err(refusal) => Err(refusal),
    };
    let throttle = request.parameters.get("requests_per_second").and_then(|limit| limit.parse().ok()).unwrap_or(-1.0);
    let destination = body["dest"]["index"].as_str().unwrap_or_default().to_owned();
    let size = body["source"]["size"].as_u64().unwrap_or(1000) as usize;
    let mut state = state.lock().unwrap();
    if !waits && state.refused_starts > 0 {
        state.refused_starts -= 1;
        return Err(refusal(429, "es_rejected_execution_exception", "rejected execution"));
    }
    let (documents, error) = match read {
        Ok(documents) => (documents, None),
        Err(refusal) if waits => return Err(refusal),
        Err((_, answer)) => (vec![], Some(stored(&answer["error"]))),
    };
    let mut task = Task {
        opaque_id: request.opaque_id.clone(),
        description: format!(
            "reindex from [{}] to [{destination}][_doc]",
            body["source"]["remote"]["host"].as_str().unwrap_or_default()
        ),
        destination: destination.clone(),
        stops_after: too_large_chunk(&documents, size.max(1), state.chunk_limit),
        writing: Writing::of(body, &state.pipelines),
        total: documents.len(),
        left: documents.into(),
        created: 0,
        updated: 0,
        conflicts: 0,
        noops: 0,
        batches: 0,
        throttle,
        cancelled: false,
        locked_out: false,
        failures: vec![],
        completed: error.is_some(),
        error,
    };
    if waits {
        while !task.completed {
            advance(&mut state, &mut task, size.max(1));
        }
        return Ok((200, task.response()));
    }
    let started = request.opaque_id.clone().unwrap_or_default();
    let range = |id: &str| id.rsplit_once('/').map(|(range, _)| range.to_owned());
    let same = |task: &Task| task.opaque_id.as_deref().and_then(range) == range(&started);
    if state.tasks.values().any(|task| task.is_running() && same(task)) {
        state.overlaps.push(started);
    }
    if state.pace == Pace::Instant {
        while !task.completed {
            advance(&mut state, &mut task, size.max(1));
        }
    }
    let number = state.number();
    state.tasks.insert(number, task);
    state.most_at_once = state.most_at_once.max(state.running());
    let mut noted = body.clone();
    noted["source"]["remote"].take();
    state.reindexes.push(noted);
    Ok((200, json!({"task": format!("{}:{number}", state.node_id())})))
}

/// What the operator must never send, and what it must.
fn check_body(body: &Value) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(refusal(400, "action_request_validation_exception", why));
    if body["conflicts"] != "proceed" {
        return invalid("this engine wants proceed");
    }
    writing::check(body).or_else(|why| invalid(&why))?;
    if !body["source"]["slice"].is_null() || !body["slices"].is_null() {
        return invalid("reindex from remote sources doesn't support slices");
    }
    if body["source"]["size"].as_u64().is_some_and(|size| !(1..=10_000).contains(&size)) {
        return invalid("Batch size is too large");
    }
    Ok(())
}

fn host_port(body: &Value) -> String {
    let host = body["source"]["remote"]["host"].as_str().unwrap_or_default();
    host.split_once("://").map_or(host, |(_, rest)| rest).trim_end_matches('/').to_owned()
}

fn allowed(state: &Mutex<State>, body: &Value) -> Result<(), Refusal> {
    let wanted = host_port(body);
    let listed = state.lock().unwrap().allowlist.contains(&wanted);
    let why = format!("[{wanted}] not whitelisted in reindex.remote.whitelist");
    if listed { Ok(()) } else { Err(refusal(400, "illegal_argument_exception", &why)) }
}

/// A source that speaks TLS has an authority of its own here, which the node trusts if it was started so.
fn trusted(state: &Mutex<State>, body: &Value) -> Result<(), Refusal> {
    let by_tls = body["source"]["remote"]["host"].as_str().is_some_and(|host| host.starts_with("https:"));
    let state = state.lock().unwrap();
    match by_tls && (state.trusting_nodes == 0 || state.distrusted.contains(&host_port(body))) {
        true => Err(refusal(500, "s_s_l_handshake_exception", "PKIX path building failed")),
        false => Ok(()),
    }
}

/// What a destination shows the source: `username` and `password`, or the header that it was given.
fn remote_authorization(body: &Value) -> Option<String> {
    let remote = &body["source"]["remote"];
    match (remote["username"].as_str(), remote["password"].as_str()) {
        (Some(user), Some(password)) => Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))),
        _ => remote["headers"]["Authorization"].as_str().map(str::to_owned),
    }
}

/// What the source's searches find now, or its refusal as a destination passes it on.
fn read_source(network: &Network, body: &Value) -> Result<Vec<(String, Document)>, Refusal> {
    let source = network.lock().unwrap().get(&host_port(body)).cloned();
    let source = source.ok_or_else(|| refusal(500, "connect_exception", "Connection refused"))?;
    let source = source.lock().unwrap();
    source.check(remote_authorization(body).as_deref()).map_err(|refusal| wrapped(&refusal))?;
    // A name with a `%` a node takes for encoded.
    let given = body["source"]["index"].as_str().unwrap_or_default();
    let name = if given.contains('%') { decoded(given) } else { given.to_owned() };
    let index = source.indices.get(&name).ok_or_else(|| wrapped(&super::no_such_index(&name)))?;
    index.search(&body["source"]["query"], &name).map_err(|refusal| wrapped(&refusal))
}

/// The destination's own error around what the source said.
fn wrapped((status, body): &Refusal) -> Refusal {
    let reason = format!("body={body}");
    let (mut answer, quoted) =
        (refusal(*status, "status_exception", &reason).1, format!("status line [HTTP/1.1 {status} X]\n{body}"));
    answer["error"]["caused_by"] = json!({"type": "response_exception", "reason": quoted});
    (*status, answer)
}

/// As a task keeps it: without root causes and HTTP status.
fn stored(error: &Value) -> Value {
    let mut stored = json!({"type": error["type"], "reason": error["reason"]});
    if !error["caused_by"].is_null() {
        stored["caused_by"] = error["caused_by"].clone();
    }
    stored
}

/// How many documents stand before the first batch that is over the limit.
fn too_large_chunk(documents: &[(String, Document)], size: usize, limit: usize) -> Option<usize> {
    let of = |(_, (_, source)): &(String, Document)| source.to_string().len() + index::padding(source);
    let bytes = |chunk: &[(String, Document)]| chunk.iter().map(of).sum::<usize>();
    documents.chunks(size).position(|chunk| bytes(chunk) > limit).map(|chunks| chunks * size)
}

/// Copies up to `batch` documents, or ends the task.
fn advance(state: &mut State, task: &mut Task, batch: usize) {
    if task.cancelled || task.left.is_empty() {
        task.completed = true;
        return;
    }
    if task.locked_out {
        task.error = Some(stored(&wrapped(&unauthorized()).1["error"]));
        task.completed = true;
        return;
    }
    let written = task.total - task.left.len();
    let batch = match task.stops_after {
        Some(stop) if written >= stop => {
            let reason = "Remote responded with a chunk that was too large. Use a smaller batch size.";
            task.error = Some(json!({"type": "illegal_argument_exception", "reason": reason}));
            task.completed = true;
            return;
        }
        Some(stop) => batch.min(stop - written),
        None => batch,
    };
    task.batches += 1;
    if !state.indices.contains_key(&task.destination) {
        // The bulk creates what is not there, with a dynamic mapping.
        let name = task.destination.clone();
        state.create(&name, &Value::Null);
    }
    let index = state.index(&task.destination);
    for _ in 0..batch {
        let Some((id, (version, source))) = task.left.pop_front() else { break };
        match task.writing.write(index, &id, version, &source) {
            Written::Created => task.created += 1,
            Written::Updated => task.updated += 1,
            Written::Conflict => task.conflicts += 1,
            Written::Noop => task.noops += 1,
            Written::Failed(cause) => {
                task.failures
                    .push(json!({"index": task.destination, "type": "_doc", "id": id, "cause": cause, "status": 400}));
            }
        }
    }
    task.completed = !task.failures.is_empty();
}

/// What a task does while somebody looks at it.
fn tick(state: &mut State, number: u64) {
    let Pace::PerPoll(documents) = state.pace else { return };
    let Some(mut task) = state.tasks.remove(&number) else { return };
    if task.is_running() && (documents > 0 || task.cancelled || task.locked_out) {
        advance(state, &mut task, documents);
    }
    state.tasks.insert(number, task);
}

/// `GET _tasks/<id>`.
pub fn get(state: &mut State, id: &str, filter: Option<&String>) -> Result<(u16, Value), Refusal> {
    let node = state.node_id();
    let number = id.strip_prefix(&format!("{node}:")).and_then(|number| number.parse().ok()).unwrap_or_default();
    let unknown = || {
        refusal(
            404,
            "resource_not_found_exception",
            &format!("task [{id}] isn't running and hasn't stored its results"),
        )
    };
    let task = state.tasks.get(&number).ok_or_else(unknown)?;
    let mut answer = json!({"completed": task.completed, "task": task.shown(&node, number, state.description_bytes)});
    if filter.is_some_and(|filter| filter == "-task.description") {
        answer["task"]["description"].take();
    }
    if let Some(error) = &task.error {
        answer["error"] = error.clone();
    } else if task.completed {
        answer["response"] = task.response();
    }
    tick(state, number);
    Ok((200, answer))
}

/// `GET _tasks`: those that run.
pub fn list(state: &mut State, filter: Option<&String>) -> Value {
    let node = state.node_id();
    let running: Vec<_> = state.tasks.iter().filter(|(_, task)| task.is_running()).map(|(number, _)| *number).collect();
    let mut nodes = json!({});
    for number in &running {
        nodes[&node]["name"] = json!(state.name);
        let mut shown = state.tasks[number].shown(&node, *number, state.description_bytes);
        if filter.is_some_and(|filter| filter == "-nodes.*.tasks.*.description") {
            shown["description"].take();
        }
        nodes[&node]["tasks"][format!("{node}:{number}")] = shown;
    }
    running.into_iter().for_each(|number| tick(state, number));
    json!({"nodes": nodes})
}

/// `POST _tasks/<id>/_cancel`. The task ends at its next batch.
pub fn cancel(state: &mut State, id: &str) -> Value {
    let node = state.node_id();
    let number = id.strip_prefix(&format!("{node}:")).and_then(|number| number.parse::<u64>().ok());
    match number.and_then(|number| state.tasks.get_mut(&number)).filter(|task| task.is_running()) {
        Some(task) => {
            task.cancelled = true;
            json!({"nodes": {node: {"tasks": {id: {"cancelled": true}}}}})
        }
        None => {
            let cause = json!({"type": "resource_not_found_exception", "reason": format!("task [{id}] is not found")});
            json!({"node_failures": [{"type": "failed_node_exception", "reason": format!("Failed node [{node}]"), "caused_by": cause}], "nodes": {}})
        }
    }
}

/// `POST _reindex/<id>/_rethrottle`.
pub fn rethrottle(state: &mut State, id: &str, limit: f64) -> Value {
    let node = state.node_id();
    let number = id.strip_prefix(&format!("{node}:")).and_then(|number| number.parse::<u64>().ok());
    if let Some(task) = number.and_then(|number| state.tasks.get_mut(&number)) {
        task.throttle = limit;
    }
    json!({"nodes": {}})
}
