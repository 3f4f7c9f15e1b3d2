//! An apiserver in memory: objects of any kind by path, with the rules that a controller must live with (resourceVersion, generation,
//! the status subresource, finalizers).

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use serde_json::{Value, json};

use super::{
    faults::{Call, Faults},
    patch,
};

/// The kinds whose CRD gives a new object a status.
const BORN_WITH_STATUS: &[&str] = &["reindexes", "searchclusters"];
/// The core kinds that have no namespace.
const CLUSTER_SCOPED: &[&str] = &["namespaces", "nodes", "persistentvolumes"];

/// Which object: resource (`pods`, `reindexes.reindex.dev`), namespace, name.
type Key = (String, String, String);

/// The apiserver. Cloning shares it.
#[derive(Clone)]
pub struct ApiServer {
    faults: Arc<Faults>,
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// Verb and resource of what the operator has no right to.
    denied: BTreeSet<(String, String)>,
    /// Verb, resource, and what somebody writes right before that call.
    meanwhile: Option<(String, String, Value)>,
}

/// An answer: HTTP status and body.
type Answer = (u16, Value);

impl ApiServer {
    /// An empty one.
    pub fn new(faults: Arc<Faults>) -> ApiServer {
        ApiServer { faults, store: Arc::default() }
    }

    /// A client of it.
    pub fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.serve(request).await) }
        });
        kube::Client::new(service, "default")
    }

    async fn serve(&self, request: http::Request<Body>) -> http::Response<Body> {
        let (head, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (verb, path, query) = (head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default());
        let call = Call { to: "apiserver".into(), verb: verb.into(), path: path.into() };
        let effect = || {
            let answer = self.store().answer(verb, path, query, content_type, body);
            answer.unwrap_or_else(|refusal| refusal)
        };
        let (status, body) =
            self.faults.call(call, effect, || status(503, "ServiceUnavailable", "refused by the test")).await;
        let text = serde_json::to_vec(&body).unwrap();
        http::Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Body::from(text))
            .unwrap()
    }

    /// Puts an object there, as a person would; none of the operator's calls. Its status, if it has one, is kept.
    pub fn apply(&self, object: Value) -> Value {
        let (resource, namespace, name) = key_of(&object);
        let mut store = self.store();
        let key = (resource, namespace, name);
        match store.objects.get(&key).cloned() {
            None => store.create(key, object).unwrap().1,
            Some(stored) => {
                let mut next = stored.clone();
                patch::merge(&mut next, &object);
                store.write(key, &stored, next).1
            }
        }
    }

    /// The object, typed.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
    {
        let key = (resource(&K::group(&()), &K::plural(&())), namespace.to_owned(), name.to_owned());
        let object = self.store().objects.get(&key).cloned()?;
        Some(serde_json::from_value(object).unwrap())
    }

    /// Every object of a kind, typed.
    pub fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
    {
        let wanted = resource(&K::group(&()), &K::plural(&()));
        let store = self.store();
        let found = store.objects.iter().filter(|(key, _)| key.0 == wanted);
        found.map(|(_, object)| serde_json::from_value(object.clone()).unwrap()).collect()
    }

    /// Resource and text of every object.
    pub fn texts(&self) -> Vec<(String, String)> {
        let store = self.store();
        store.objects.iter().map(|(key, object)| (key.0.clone(), object.to_string())).collect()
    }

    /// Takes a right away from the operator: `get` or `patch`, on a resource.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.store().denied.insert((verb.to_owned(), resource.to_owned()));
    }

    /// Somebody writes this object right before the operator's next such call is served.
    pub fn before(&self, verb: &str, resource: &str, object: Value) {
        self.store().meanwhile = Some((verb.to_owned(), resource.to_owned(), object));
    }

    /// Grants every right again.
    pub fn grant(&self) {
        self.store().denied.clear();
    }

    /// The object, of any kind.
    pub fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.store().objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Deletes as `kubectl delete` does: with finalizers the object stays, marked.
    pub fn delete<K: kube::Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) {
        let key = (resource(&K::group(&()), &K::plural(&())), namespace.to_owned(), name.to_owned());
        self.store().delete(key).unwrap();
    }

    /// Lets time pass for every object of a resource: all its timestamps move into the past. Nobody has to wait that way.
    pub fn age(&self, resource: &str, by: SignedDuration) {
        for (key, object) in &mut self.store().objects {
            if key.0 == resource {
                age(object, by);
            }
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

fn age(value: &mut Value, by: SignedDuration) {
    match value {
        Value::String(text) if text.len() >= 20 && text.ends_with('Z') => {
            if let Ok(time) = text.parse::<Timestamp>() {
                *text = (time - by).to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| age(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| age(field, by)),
        _ => {}
    }
}

impl Store {
    /// `Err` is an answer too: a refusal.
    fn answer(
        &mut self,
        verb: &str,
        path: &str,
        query: &str,
        content_type: &str,
        body: Value,
    ) -> Result<Answer, Answer> {
        let target = Target::parse(path).ok_or_else(|| status(404, "NotFound", &format!("no such path: {path}")))?;
        let Target { resource, namespace, name, subresource } = target;
        if resource == "selfsubjectaccessreviews.authorization.k8s.io" {
            return Ok((201, self.review(body)));
        }
        if let Some((.., object)) = self.meanwhile.take_if(|(at, of, _)| at == verb && *of == resource) {
            let key = key_of(&object);
            let stored = self.find(&key)?.clone();
            self.write(key, &stored, object);
        }
        if self.denied.contains(&(verb.to_lowercase(), resource.clone())) {
            return Err(status(403, "Forbidden", &format!("{resource} is forbidden: User cannot {verb} it")));
        }
        let Some(name) = name else {
            return match verb {
                "GET" => self.list(&resource, namespace.as_deref(), query),
                "POST" => {
                    let name = named(&body)?;
                    self.create((resource, namespace.unwrap_or_default(), name), body)
                }
                _ => Err(status(405, "MethodNotAllowed", verb)),
            };
        };
        let key = (resource, namespace.unwrap_or_default(), name);
        match (verb, subresource.as_deref()) {
            ("POST", Some("eviction")) => self.evict(key, &body),
            (_, Some(other)) if other != "status" => Err(status(404, "NotFound", &format!("no subresource {other}"))),
            ("GET", _) => Ok((200, self.find(&key)?.clone())),
            ("DELETE", None) => self.delete(key),
            ("PUT", subresource) => self.update(key, body, subresource),
            ("PATCH", subresource) => {
                let mut next = self.find(&key)?.clone();
                match content_type {
                    "application/merge-patch+json" => patch::merge(&mut next, &body),
                    "application/json-patch+json" => {
                        patch::json_patch(&mut next, &body).map_err(|why| status(422, "Invalid", &why))?;
                    }
                    other => return Err(status(415, "UnsupportedMediaType", other)),
                }
                self.update(key, next, subresource)
            }
            _ => Err(status(405, "MethodNotAllowed", verb)),
        }
    }

    /// Whether the operator has a right.
    fn review(&self, mut review: Value) -> Value {
        let asked = &review["spec"]["resourceAttributes"];
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let right = (text("verb").to_owned(), resource(text("group"), text("resource")));
        review["status"] = json!({"allowed": !self.denied.contains(&right)});
        review
    }

    fn find(&self, key: &Key) -> Result<&Value, Answer> {
        self.objects.get(key).ok_or_else(|| not_found(key))
    }

    fn list(&self, resource: &str, namespace: Option<&str>, query: &str) -> Result<Answer, Answer> {
        let parameters: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if parameters.contains_key("watch") || parameters.contains_key("fieldSelector") {
            return Err(status(400, "BadRequest", "this apiserver has neither watches nor field selectors"));
        }
        let selector = parameters.get("labelSelector").map(String::as_str).unwrap_or_default();
        let selected = |object: &Value| {
            selector.split(',').filter(|term| !term.is_empty()).all(|term| {
                let (label, wanted) = term.split_once('=').expect("only label=value is known here");
                object["metadata"]["labels"][label] == wanted.trim_start_matches('=')
            })
        };
        let found = self.objects.iter().filter(|(key, object)| {
            key.0 == resource && namespace.is_none_or(|namespace| key.1 == namespace) && selected(object)
        });
        let items: Vec<_> = found.map(|(_, object)| object.clone()).collect();
        let api_version = items.first().map_or(json!("v1"), |object| object["apiVersion"].clone());
        let metadata = json!({"resourceVersion": self.version.to_string()});
        Ok((200, json!({"kind": "List", "apiVersion": api_version, "metadata": metadata, "items": items})))
    }

    fn create(&mut self, key: Key, mut object: Value) -> Result<Answer, Answer> {
        if self.objects.contains_key(&key) {
            return Err(status(409, "AlreadyExists", &format!("{} {:?} already exists", key.0, key.2)));
        }
        self.version += 1;
        let plural = key.0.split('.').next().unwrap_or_default();
        if BORN_WITH_STATUS.contains(&plural) && object["status"].is_null() {
            object["status"] = json!({"observedGeneration": -1});
        }
        let mut meta = object["metadata"].take();
        if !key.1.is_empty() {
            meta["namespace"] = json!(key.1);
        }
        meta["name"] = json!(key.2);
        meta["uid"] = json!(format!("00000000-0000-4000-8000-{:012}", self.version));
        meta["generation"] = json!(1);
        meta["resourceVersion"] = json!(self.version.to_string());
        meta["creationTimestamp"] = json!(now());
        object["metadata"] = meta;
        self.objects.insert(key, object.clone());
        Ok((201, object))
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
        Ok(self.write(key, &stored, next))
    }

    fn write(&mut self, key: Key, stored: &Value, mut next: Value) -> Answer {
        if next == *stored {
            return (200, next);
        }
        self.version += 1;
        next["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if next["spec"] != stored["spec"] {
            next["metadata"]["generation"] = json!(stored["metadata"]["generation"].as_i64().unwrap_or_default() + 1);
        }
        let deleted = !next["metadata"]["deletionTimestamp"].is_null() && finalizers(&next) == 0;
        match deleted {
            true => drop(self.objects.remove(&key)),
            false => drop(self.objects.insert(key, next.clone())),
        }
        (200, next)
    }

    fn delete(&mut self, key: Key) -> Result<Answer, Answer> {
        let mut object = self.find(&key)?.clone();
        if finalizers(&object) == 0 {
            self.objects.remove(&key);
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            let stored = object.clone();
            object["metadata"]["deletionTimestamp"] = json!(now());
            object = self.write(key, &stored, object).1;
        }
        Ok((200, object))
    }

    fn evict(&mut self, key: Key, body: &Value) -> Result<Answer, Answer> {
        let wanted = &body["deleteOptions"]["preconditions"]["uid"];
        let uid = &self.find(&key)?["metadata"]["uid"];
        if !wanted.is_null() && wanted != uid {
            return Err(status(409, "Conflict", "Precondition failed: UID in precondition differs"));
        }
        self.objects.remove(&key);
        Ok((201, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
    }
}

/// What a path names.
struct Target {
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

impl Target {
    fn parse(path: &str) -> Option<Target> {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => return None,
        };
        let (namespace, plural, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] => (Some((*namespace).to_owned()), *plural, rest),
            [plural, rest @ ..] => (None, *plural, rest),
            [] => return None,
        };
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        Some(Target { resource: resource(group, plural), namespace, name: rest.next(), subresource: rest.next() })
    }
}

fn resource(group: &str, plural: &str) -> String {
    match group {
        "" => plural.to_owned(),
        group => format!("{plural}.{group}"),
    }
}

/// Where an object belongs. Plurals are made the way the kinds in these tests need it.
fn key_of(object: &Value) -> Key {
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

/// Seconds only, as the apiserver writes them.
fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap().to_string()
}

fn not_found(key: &Key) -> Answer {
    status(404, "NotFound", &format!("{} {:?} not found", key.0, key.2))
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    (code, body)
}
