//! The search client against recorded answers of real engines (`tests/fixtures/search`).

mod cluster;
mod connections;
mod credentials;
mod errors;
mod index;
mod ingest;
mod reindex;
mod scan;
mod tasks;
mod tls;
mod writing;

use std::path::PathBuf;

use reindex_operator::search::{
    AllocationEnable, ApiKey, Connection, Connections, Credentials, Distribution, HealthStatus, ProbeVerdict,
    ReindexRequest, RemoteSource, Script, SearchClient, SearchError, TaskErrorClass, TaskId, Tls, TlsFault, Version,
    Writing,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const ES: &str = "elasticsearch-7.17";
const OS: &str = "opensearch-2.19";

fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/search").join(name)
}

fn fixture(engine: &str, name: &str) -> Value {
    let path = fixture_path(&format!("{engine}/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn basic() -> Credentials {
    Credentials::Basic { username: "elastic".into(), password: SecretString::from("s3cret-pass") }
}

/// Encoded: `aWQtb2Yta2V5OnMzY3JldC1rZXk=`.
fn api_key() -> Credentials {
    Credentials::ApiKey(ApiKey::parse("id-of-key:s3cret-key").unwrap())
}

fn connection(endpoint: &str) -> Connection {
    Connection { endpoint: endpoint.parse().unwrap(), credentials: Some(basic()), tls: Tls::default() }
}

fn client(endpoint: &str) -> SearchClient {
    install_crypto();
    SearchClient::connect(&connection(endpoint)).unwrap()
}

/// A server that gives this answer to everything.
async fn answering(status: u16, body: &Value) -> (MockServer, SearchClient) {
    let server = MockServer::start().await;
    let template = match body {
        Value::String(text) => ResponseTemplate::new(status).set_body_string(text),
        json => ResponseTemplate::new(status).set_body_json(json),
    };
    Mock::given(any()).respond_with(template).mount(&server).await;
    let client = client(&server.uri());
    (server, client)
}

async fn recorded(engine: &str, name: &str) -> (MockServer, SearchClient) {
    let fixture = fixture(engine, name);
    answering(u16::try_from(fixture["status"].as_u64().unwrap()).unwrap(), &fixture["body"]).await
}

async fn only_request(server: &MockServer) -> Request {
    let mut requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn task_id() -> TaskId {
    "aJpGRFzqSPeN2fiNL1eU0A:182".parse().unwrap()
}

const REMOTE: RemoteSource<'static> = RemoteSource {
    takes_api_key: false,
    host: "http://es-2.search.svc:9200",
    credentials: None,
    socket_timeout: "30s",
    connect_timeout: "1s",
};
