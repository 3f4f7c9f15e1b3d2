//! Objects in memory, with the rules of an apiserver that a controller must live with: resourceVersion, generation, the status
//! subresource, finalizers, preconditions.

use std::collections::{BTreeMap, VecDeque};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{admission::Admission, state::StateFile};

/// The kinds whose definition gives a new object a status.
const BORN_WITH_STATUS: &[&str] = &["reindexes.reindex.dev", "searchclusters.reindex.dev"];
/// The kinds that have no namespace.
const CLUSTER_SCOPED: &[&str] = &["namespaces", "nodes", "persistentvolumes"];
/// How many changes are kept for watches; whoever is further behind lists again.
const CHANGES: usize = 1024;

/// Which object: resource (`secrets`, `reindexes.reindex.dev`), namespace, name.
pub type Key = (String, String, String);
/// An answer: HTTP status and body.
pub type Answer = (u16, Value);

/// A request.
pub struct Request<'a> {
    /// HTTP method.
    pub verb: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// The query, encoded.
    pub query: &'a str,
    /// Which kind of patch the body is.
    pub content_type: &'a str,
    /// The body, or null.
    pub body: Value,
}

/// What happened to an object.
struct Change {
    version: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    how: &'static str,
    key: Key,
    object: Value,
}

/// The objects.
#[derive(Default)]
pub struct Store {
    /// Every object.
    pub objects: BTreeMap<Key, Value>,
    version: u64,
    changes: VecDeque<Change>,
    admission: Option<Admission>,
    state: Option<StateFile>,
}

impl Store {
    /// An empty one that admits only what the definitions allow.
    pub fn admitting(admission: Admission) -> Store {
        Store { admission: Some(admission), ..Store::default() }
    }

    /// Goes on with the objects that are in the file, and from now on writes there what changes.
    pub fn keep(&mut self, state: StateFile, objects: Vec<Value>) {
        for object in objects {
            let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse().ok());
            self.version = self.version.max(version.unwrap_or_default());
            self.objects.insert(key_of(&object), object);
        }
        self.state = Some(state);
    }

    /// Version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Makes an object what a manifest says; its status, UID and finalizers stay.
    ///
    /// # Errors
    /// What an apiserver would answer.
    pub fn declare(&mut self, object: Value) -> Result<Value, Answer> {
        let key = key_of(&object);
        let Some(stored) = self.objects.get(&key).cloned() else {
            return self.create(key, object).map(|(_, created)| created);
        };
        let mut next = object;
        let mut meta = stored["metadata"].clone();
        for field in ["labels", "annotations"] {
            meta[field] = next["metadata"][field].take();
        }
        next["metadata"] = meta;
        if let Some(status) = stored.get("status") {
            next["status"] = status.clone();
        }
        self.write(key, &stored, next).map(|(_, written)| written)
    }

    /// Answers a request; `Err` is an answer too, a refusal.
    ///
    /// # Errors
    /// The refusal.
    pub fn answer(&mut self, request: Request<'_>) -> Result<Answer, Answer> {
        let Request { verb, path, query, content_type, body } = request;
        let Target { resource, namespace, name, subresource } = Target::parse(path)?;
        if resource == "selfsubjectaccessreviews.authorization.k8s.io" {
            return Ok((201, json!({"spec": body["spec"], "status": {"allowed": true}})));
        }
        let namespace = namespace.unwrap_or_default();
        let Some(name) = name else {
            return match verb {
                "GET" => self.list(&Selection::new(resource, namespace, query)?),
                "POST" => self.create((resource, namespace, named(&body)?), body),
                _ => Err(status(405, "MethodNotAllowed", verb)),
            };
        };
        let key = (resource, namespace, name);
        match (verb, subresource.as_deref()) {
            (_, Some(other)) if other != "status" => Err(status(404, "NotFound", &format!("no subresource {other}"))),
            ("GET", _) => Ok((200, self.find(&key)?.clone())),
            ("DELETE", None) => self.delete(key),
            ("PUT", subresource) => self.update(key, body, subresource),
            ("PATCH", subresource) => {
                let next = patched(self.find(&key)?.clone(), content_type, body)?;
                self.update(key, next, subresource)
            }
            _ => Err(status(405, "MethodNotAllowed", verb)),
        }
    }

    /// What happened after `version` to what is selected, as the lines of a watch.
    pub fn since(&self, version: u64, selection: &Selection) -> Vec<Value> {
        if self.changes.front().is_some_and(|oldest| oldest.version > version + 1) && self.changes.len() == CHANGES {
            return vec![json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version").1})];
        }
        let news = self.changes.iter().filter(|change| change.version > version);
        news.filter(|change| selection.takes(&change.key, &change.object))
            .map(|change| json!({"type": change.how, "object": change.object}))
            .collect()
    }

    /// # Errors
    /// 404.
    pub fn find(&self, key: &Key) -> Result<&Value, Answer> {
        self.objects.get(key).ok_or_else(|| not_found(key))
    }

    fn list(&self, selection: &Selection) -> Result<Answer, Answer> {
        let found = self.objects.iter().filter(|(key, object)| selection.takes(key, object));
        let items: Vec<_> = found.map(|(_, object)| object.clone()).collect();
        let api_version = items.first().map_or(json!("v1"), |object| object["apiVersion"].clone());
        let metadata = json!({"resourceVersion": self.version.to_string()});
        Ok((200, json!({"kind": "List", "apiVersion": api_version, "metadata": metadata, "items": items})))
    }

    /// Takes a new object.
    ///
    /// # Errors
    /// What an apiserver would answer.
    pub fn create(&mut self, key: Key, mut object: Value) -> Result<Answer, Answer> {
        if self.objects.contains_key(&key) {
            return Err(status(409, "AlreadyExists", &format!("{} {:?} already exists", key.0, key.2)));
        }
        self.admit(&key, &mut object, None)?;
        if BORN_WITH_STATUS.contains(&key.0.as_str()) && object["status"].is_null() {
            object["status"] = json!({"observedGeneration": -1});
        }
        let mut meta = object["metadata"].take();
        if !key.1.is_empty() {
            meta["namespace"] = json!(key.1);
        }
        meta["name"] = json!(key.2);
        meta["uid"] = json!(uid()?);
        meta["generation"] = json!(1);
        meta["creationTimestamp"] = json!(now());
        object["metadata"] = meta;
        Ok((201, self.changed(key, "ADDED", object)?))
    }

    /// A PUT, or what a PATCH makes of the object.
    fn update(&mut self, key: Key, body: Value, subresource: Option<&str>) -> Result<Answer, Answer> {
        let stored = self.find(&key)?.clone();
        let meta = &stored["metadata"];
        let seen = &body["metadata"]["resourceVersion"];
        if !seen.is_null() && *seen != meta["resourceVersion"] {
            let why = format!("Operation cannot be fulfilled on {} {:?}: the object has been modified", key.0, key.2);
            return Err(status(409, "Conflict", &why));
        }
        if !body["metadata"]["uid"].is_null() && body["metadata"]["uid"] != meta["uid"] {
            return Err(status(409, "Conflict", "Precondition failed: UID in precondition differs"));
        }
        let mut next = match subresource {
            // Only the status changes here …
            Some(_) => {
                let mut next = stored.clone();
                next["status"] = body["status"].clone();
                next
            }
            // … and only the rest here, where the kind has the subresource.
            None => {
                let mut next = body;
                if stored.get("status").is_some() {
                    next["status"] = stored["status"].clone();
                }
                next
            }
        };
        for field in
            ["uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "namespace", "name"]
        {
            match stored["metadata"].get(field) {
                Some(value) => next["metadata"][field] = value.clone(),
                None => drop(next["metadata"].as_object_mut().map(|meta| meta.remove(field))),
            }
        }
        self.write(key, &stored, next)
    }

    /// Writes over an object, if anything is different.
    ///
    /// # Errors
    /// What an apiserver would answer.
    pub fn write(&mut self, key: Key, stored: &Value, mut next: Value) -> Result<Answer, Answer> {
        if next["spec"] != stored["spec"] {
            self.admit(&key, &mut next, Some(stored))?;
        }
        if next == *stored {
            return Ok((200, next));
        }
        if next["spec"] != stored["spec"] {
            next["metadata"]["generation"] = json!(stored["metadata"]["generation"].as_i64().unwrap_or_default() + 1);
        }
        let deleted = !next["metadata"]["deletionTimestamp"].is_null() && finalizers(&next) == 0;
        Ok((200, self.changed(key, if deleted { "DELETED" } else { "MODIFIED" }, next)?))
    }

    /// Deletes as `kubectl delete` does: with finalizers the object stays, marked.
    ///
    /// # Errors
    /// 404.
    pub fn delete(&mut self, key: Key) -> Result<Answer, Answer> {
        let stored = self.find(&key)?.clone();
        if finalizers(&stored) == 0 {
            return Ok((200, self.changed(key, "DELETED", stored)?));
        }
        if !stored["metadata"]["deletionTimestamp"].is_null() {
            return Ok((200, stored));
        }
        let mut next = stored.clone();
        next["metadata"]["deletionTimestamp"] = json!(now());
        self.write(key, &stored, next)
    }

    /// Every change of an object ends here: it is in the file before anybody hears of it.
    fn changed(&mut self, key: Key, how: &'static str, mut object: Value) -> Result<Value, Answer> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = match how {
            "DELETED" => self.objects.remove(&key),
            _ => self.objects.insert(key.clone(), object.clone()),
        };
        if let Err(error) = self.state.as_ref().map_or(Ok(()), |state| state.write(&key, &self.objects)) {
            match before {
                Some(before) => drop(self.objects.insert(key, before)),
                None => drop(self.objects.remove(&key)),
            }
            return Err(status(500, "InternalError", &format!("failed to write the state file: {error}")));
        }
        if self.changes.len() == CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { version: self.version, how, key, object: object.clone() });
        Ok(object)
    }

    fn admit(&self, key: &Key, object: &mut Value, old: Option<&Value>) -> Result<(), Answer> {
        let Some(admission) = &self.admission else { return Ok(()) };
        admission.admit(&key.0, object, old).map_err(|faults| {
            let why = format!("{} {:?} is invalid: {}", key.0, key.2, faults.join("; "));
            status(422, "Invalid", &why)
        })
    }
}

fn patched(mut object: Value, content_type: &str, patch: Value) -> Result<Value, Answer> {
    match content_type {
        "application/merge-patch+json" => json_patch::merge(&mut object, &patch),
        "application/json-patch+json" => {
            let patch: json_patch::Patch =
                serde_json::from_value(patch).map_err(|error| status(400, "BadRequest", &error.to_string()))?;
            json_patch::patch(&mut object, &patch).map_err(|error| status(422, "Invalid", &error.to_string()))?;
        }
        other => return Err(status(415, "UnsupportedMediaType", other)),
    }
    Ok(object)
}

/// What a list or a watch is about.
pub struct Selection {
    resource: String,
    /// Empty: every namespace.
    namespace: String,
    labels: Vec<(String, String)>,
    name: Option<String>,
}

impl Selection {
    /// # Errors
    /// A selector that is not known here; of fields that is every one but `metadata.name`.
    pub fn new(resource: String, namespace: String, query: &str) -> Result<Selection, Answer> {
        let mut selection = Selection { resource, namespace, labels: Vec::new(), name: None };
        for (parameter, text) in url::form_urlencoded::parse(query.as_bytes()) {
            let terms = text.split(',').filter(|term| !term.is_empty()).map(|term| {
                let (key, value) = term.split_once('=').ok_or_else(|| unknown_selector(term))?;
                Ok((key.to_owned(), value.trim_start_matches('=').to_owned()))
            });
            match parameter.as_ref() {
                "labelSelector" => selection.labels = terms.collect::<Result<_, _>>()?,
                "fieldSelector" => {
                    for term in terms {
                        match term? {
                            (field, name) if field == "metadata.name" => selection.name = Some(name),
                            (field, _) => return Err(unknown_selector(&field)),
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(selection)
    }

    fn takes(&self, (resource, namespace, name): &Key, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        *resource == self.resource
            && (self.namespace.is_empty() || *namespace == self.namespace)
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
            && self.labels.iter().all(|(key, wanted)| labels[key] == *wanted)
    }
}

fn unknown_selector(term: &str) -> Answer {
    status(400, "BadRequest", &format!("this selector is not known here: {term}"))
}

/// What a path names.
pub struct Target {
    /// Such as `secrets` or `reindexes.reindex.dev`.
    pub resource: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Such as `status`.
    pub subresource: Option<String>,
}

impl Target {
    /// # Errors
    /// 404, if it is no path of an API.
    pub fn parse(path: &str) -> Result<Target, Answer> {
        let unknown = || status(404, "NotFound", &format!("no such path: {path}"));
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => return Err(unknown()),
        };
        let (namespace, plural, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] => (Some((*namespace).to_owned()), *plural, rest),
            [plural, rest @ ..] => (None, *plural, rest),
            [] => return Err(unknown()),
        };
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Ok(Target { resource: resource(group, plural), namespace, name: rest.next(), subresource: rest.next() })
    }
}

/// Name of a resource, with its group.
pub fn resource(group: &str, plural: &str) -> String {
    match group {
        "" => plural.to_owned(),
        group => format!("{plural}.{group}"),
    }
}

/// Where an object belongs. Plurals are made the way that the kinds here need.
pub fn key_of(object: &Value) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&object["apiVersion"]);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let kind = text(&object["kind"]).to_lowercase();
    let plural = if kind.ends_with('x') || kind.ends_with("ch") { format!("{kind}es") } else { format!("{kind}s") };
    let namespace = match CLUSTER_SCOPED.contains(&plural.as_str()) {
        true => String::new(),
        false => text(&object["metadata"]["namespace"]),
    };
    (resource(group, &plural), namespace, text(&object["metadata"]["name"]))
}

fn named(object: &Value) -> Result<String, Answer> {
    let name = object["metadata"]["name"].as_str();
    name.map(str::to_owned).ok_or_else(|| status(422, "Invalid", "metadata.name is missing"))
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

/// Seconds only, as an apiserver writes them.
fn now() -> String {
    format!("{:.0}", Timestamp::now())
}

/// A new UID (RFC 9562, version 4). Tasks on the search clusters are found by it, so it must be nobody else's.
fn uid() -> Result<String, Answer> {
    let new = ring::rand::generate(&ring::rand::SystemRandom::new());
    let mut bytes: [u8; 16] = new.map_err(|_| status(500, "InternalError", "there are no random numbers"))?.expose();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// 404.
pub fn not_found(key: &Key) -> Answer {
    status(404, "NotFound", &format!("{} {:?} not found", key.0, key.2))
}

/// A refusal, as an apiserver words it.
pub fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    (code, body)
}
