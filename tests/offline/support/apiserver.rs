//! The operator's own apiserver in memory, with what goes wrong there: rights that are missing, writes in between, calls that fail.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use reindex_operator::local::store::{Answer, Key, Request, Store, Target, key_of, resource, status};
use serde_json::{Value, json};

use super::faults::{Call, Faults};

/// The apiserver. Cloning shares it.
#[derive(Clone)]
pub struct ApiServer {
    faults: Arc<Faults>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    store: Store,
    /// Verb and resource of what the operator has no right to.
    denied: BTreeSet<(String, String)>,
    /// Verb, resource, and what somebody writes right before that call.
    meanwhile: Option<(String, String, Value)>,
}

impl ApiServer {
    /// An empty one.
    pub fn new(faults: Arc<Faults>) -> ApiServer {
        ApiServer { faults, state: Arc::default() }
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
            let answer = self.state().answer(Request { verb, path, query, content_type, body });
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

    /// Puts an object there, as a person would: what it does not name stays. None of the operator's calls. Its status, if it has one,
    /// is kept.
    pub fn apply(&self, object: Value) -> Value {
        let (key, store) = (key_of(&object), &mut self.state().store);
        match store.objects.get(&key).cloned() {
            None => store.create(key, object).unwrap().1,
            Some(stored) => {
                let mut next = stored.clone();
                json_patch::merge(&mut next, &object);
                store.write(key, &stored, next).unwrap().1
            }
        }
    }

    /// The object, typed.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
    {
        let object = self.state().store.objects.get(&key::<K>(namespace, name)).cloned()?;
        Some(serde_json::from_value(object).unwrap())
    }

    /// Every object of a kind, typed.
    pub fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
    {
        let wanted = resource(&K::group(&()), &K::plural(&()));
        let store = &self.state().store;
        let found = store.objects.iter().filter(|(key, _)| key.0 == wanted);
        found.map(|(_, object)| serde_json::from_value(object.clone()).unwrap()).collect()
    }

    /// Resource and text of every object.
    pub fn texts(&self) -> Vec<(String, String)> {
        let store = &self.state().store;
        store.objects.iter().map(|(key, object)| (key.0.clone(), object.to_string())).collect()
    }

    /// Takes a right away from the operator: `get` or `patch`, on a resource.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.state().denied.insert((verb.to_owned(), resource.to_owned()));
    }

    /// Somebody writes this object right before the operator's next such call is served.
    pub fn before(&self, verb: &str, resource: &str, object: Value) {
        self.state().meanwhile = Some((verb.to_owned(), resource.to_owned(), object));
    }

    /// Grants every right again.
    pub fn grant(&self) {
        self.state().denied.clear();
    }

    /// The object, of any kind.
    pub fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.state().store.objects.get(&(resource.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Deletes as `kubectl delete` does: with finalizers the object stays, marked.
    pub fn delete<K: kube::Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) {
        self.state().store.delete(key::<K>(namespace, name)).unwrap();
    }

    /// Lets time pass for every object of a resource: all its timestamps move into the past. Nobody has to wait that way.
    pub fn age(&self, resource: &str, by: SignedDuration) {
        for (key, object) in &mut self.state().store.objects {
            if key.0 == resource {
                age(object, by);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn key<K: kube::Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Key {
    (resource(&K::group(&()), &K::plural(&())), namespace.to_owned(), name.to_owned())
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

impl State {
    /// `Err` is an answer too: a refusal.
    fn answer(&mut self, request: Request<'_>) -> Result<Answer, Answer> {
        let Target { resource, namespace, name, subresource } = Target::parse(request.path)?;
        let verb = request.verb;
        if resource == "selfsubjectaccessreviews.authorization.k8s.io" {
            return Ok((201, self.review(request.body)));
        }
        if let Some((.., object)) = self.meanwhile.take_if(|(at, of, _)| at == verb && *of == resource) {
            let key = key_of(&object);
            let stored = self.store.find(&key)?.clone();
            self.store.write(key, &stored, object)?;
        }
        if self.denied.contains(&(verb.to_lowercase(), resource.clone())) {
            return Err(status(403, "Forbidden", &format!("{resource} is forbidden: User cannot {verb} it")));
        }
        match (name, subresource.as_deref()) {
            (Some(name), Some("eviction")) => {
                self.evict((resource, namespace.unwrap_or_default(), name), &request.body)
            }
            _ => self.store.answer(request),
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

    fn evict(&mut self, key: Key, body: &Value) -> Result<Answer, Answer> {
        let wanted = &body["deleteOptions"]["preconditions"]["uid"];
        let uid = &self.store.find(&key)?["metadata"]["uid"];
        if !wanted.is_null() && wanted != uid {
            return Err(status(409, "Conflict", "Precondition failed: UID in precondition differs"));
        }
        self.store.delete(key)?;
        Ok((201, json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
    }
}
