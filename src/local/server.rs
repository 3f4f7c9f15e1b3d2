//! The store as an apiserver: what a client of Kubernetes sends is answered in this process.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::watch;

use super::store::{self, Answer, Selection, Store, Target, status};

/// How long a watch may stay without news; its client begins the next one then.
const PATIENCE: Duration = Duration::from_secs(240);

/// The apiserver. Cloning shares it.
#[derive(Clone)]
pub struct Server {
    store: Arc<Mutex<Store>>,
    /// Version of the last change.
    version: watch::Sender<u64>,
}

impl Server {
    /// Serves these objects.
    pub fn new(store: Store) -> Server {
        Server { version: watch::Sender::new(store.version()), store: Arc::new(Mutex::new(store)) }
    }

    /// A client of it, whose default namespace is this one.
    pub fn client(&self, namespace: &str) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.serve(request).await) }
        });
        kube::Client::new(service, namespace)
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let parameters: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        if parameters.contains_key("watch") {
            let version = parameters.get("resourceVersion").and_then(|version| version.parse().ok());
            return match self.news(head.uri.path(), query, version.unwrap_or_default()).await {
                Ok(lines) => response(200, lines.iter().map(|line| format!("{line}\n")).collect()),
                Err(refusal) => answer(&refusal),
            };
        }
        let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = match body_of(body).await {
            Ok(body) => body,
            Err(refusal) => return answer(&refusal),
        };
        let (verb, path) = (head.method.as_str(), head.uri.path());
        let mut store = self.store();
        let given = store.answer(store::Request { verb, path, query, content_type, body });
        self.version.send_replace(store.version());
        answer(&given.unwrap_or_else(|refusal| refusal))
    }

    /// Waits for changes after `version`. A watch ends with its first news, and its client asks for the next.
    async fn news(&self, path: &str, query: &str, version: u64) -> Result<Vec<Value>, Answer> {
        let target = Target::parse(path)?;
        let selection = Selection::new(target.resource, target.namespace.unwrap_or_default(), query)?;
        let mut changes = self.version.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                let news = self.store().since(version, &selection);
                if !news.is_empty() || changes.changed().await.is_err() {
                    return news;
                }
            }
        };
        Ok(tokio::time::timeout(PATIENCE, found).await.unwrap_or_default())
    }

    /// No change of the store is left half done, so that one whose holder panicked can be used.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn body_of(body: Body) -> Result<Value, Answer> {
    let unreadable = |why: String| status(400, "BadRequest", &why);
    let bytes = body.collect_bytes().await.map_err(|error| unreadable(error.to_string()))?;
    match bytes.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string())),
    }
}

fn answer((status, body): &Answer) -> Response<Body> {
    response(*status, body.to_string())
}

fn response(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text.into_bytes()));
    // Only numbers that are statuses stand in this room.
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}
