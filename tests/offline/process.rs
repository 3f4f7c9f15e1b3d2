//! The operator as a process: what its probes say, and how it ends.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use reindex_operator::telemetry::{metrics::Metrics, probes};
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::watch;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(60);

/// An address of this machine that nobody listens at.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn status(address: SocketAddr, path: &str) -> Option<StatusCode> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(format!("http://{address}{path}")).send().await.ok().map(|answer| answer.status())
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < LIMIT, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The operator, ended at the latest with the test.
struct Operator {
    process: Child,
    listens: SocketAddr,
    kubeconfig: PathBuf,
}

impl Operator {
    fn start(apiserver: SocketAddr) -> Operator {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kubeconfig-{}", apiserver.port()));
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("http://{apiserver}")}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        });
        fs::write(&kubeconfig, text.to_string()).unwrap();
        let listens = free();
        let process = Command::new(env!("CARGO_BIN_EXE_reindex-operator"))
            .args(["run", "--listen", &listens.to_string()])
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Operator { process, listens, kubeconfig }
    }

    async fn until_live(&self) {
        until("the operator's answer", async || status(self.listens, "/livez").await == Some(StatusCode::OK)).await;
    }

    async fn is_ready(&self) -> bool {
        status(self.listens, "/readyz").await == Some(StatusCode::OK)
    }

    /// Tells it to end, and waits until it has.
    async fn end(&mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        until("its end", async || self.process.try_wait().unwrap().is_some()).await;
        self.process.wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.kubeconfig);
    }
}

/// An apiserver of which another instance holds the lease, for an hour.
async fn apiserver(address: SocketAddr) -> MockServer {
    let server = MockServer::builder().listener(TcpListener::bind(address).unwrap()).start().await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "reindex-operator"},
        "spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600},
    });
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200).set_body_json(lease)).mount(&server).await;
    server
}

#[tokio::test]
async fn an_apiserver_that_is_away_is_waited_for_at_the_start_and_later() {
    let address = free();
    let mut operator = Operator::start(address);
    operator.until_live().await;
    assert!(!operator.is_ready().await, "it has seen no apiserver");
    let server = apiserver(address).await;
    until("readiness", async || operator.is_ready().await).await;
    drop(server);
    until("the end of readiness", async || !operator.is_ready().await).await;
    assert_eq!(status(operator.listens, "/livez").await, Some(StatusCode::OK), "a restart would not mend it");
    assert!(operator.end().await.success());
}

#[tokio::test]
async fn an_operator_that_waits_for_the_apiserver_ends_when_it_is_told_to() {
    let mut operator = Operator::start(free());
    operator.until_live().await;
    assert!(operator.end().await.success());
}

#[tokio::test]
async fn it_is_ready_as_long_as_it_is_in_touch_and_live_as_long_as_it_answers() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let in_touch = watch::Sender::new(false);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async { drop(ended.await) };
    let serves = tokio::spawn(probes::serve(listener, Metrics::new(), in_touch.subscribe(), shutdown));
    for is_in_touch in [false, true, false, true] {
        in_touch.send_replace(is_in_touch);
        let ready = if is_in_touch { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        assert_eq!(status(address, "/readyz").await, Some(ready));
        assert_eq!(status(address, "/livez").await, Some(StatusCode::OK));
    }
    end.send(()).unwrap();
    serves.await.unwrap().unwrap();
    assert_eq!(status(address, "/livez").await, None);
}
