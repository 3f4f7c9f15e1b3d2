//! What is measured in: two clusters of one node each, the network between them, and the objects that name them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::corpus::Corpus;
use super::proxy::Proxy;
use crate::engines::{ElasticsearchCluster, USER};
use crate::network::NODE_ADDRESS;
use crate::search::{self, SearchClient};
use crate::{images, kubectl, search_images};

/// The namespace of everything here.
pub const NAMESPACE: &str = "bench";
/// The index that every measured copy writes, and the Reindex that makes it.
pub const COPY: &str = "copy";
/// What is added each way on the way that is far.
pub const FAR: Duration = Duration::from_millis(50);
/// Quick rather than quick to start, which is what tests want: the whole compiler, Elasticsearch's own collector.
pub const JAVA_OPTIONS: &str = "-Xms1g -Xmx1g -XX:+UseG1GC";

const SOURCE: &str = "bench-src";
const DESTINATION: &str = "bench-dst";
/// Ports of the proxies, which stand in the destination's allowlist.
const NEAR_PORT: u16 = 19200;
const FAR_PORT: u16 = 19201;

/// How the destination reaches the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// By its Service.
    Direct,
    /// Through the proxy, which adds nothing: it can cut a connection.
    Near,
    /// Through the proxy, which adds [`FAR`] each way.
    Far,
}

impl Route {
    /// The SearchCluster that stands for the source on this way.
    pub fn search_cluster(self) -> &'static str {
        match self {
            Self::Direct => "src",
            Self::Near => "src-near",
            Self::Far => "src-far",
        }
    }

    /// `host:port` as the allowlist has it.
    fn host(self) -> String {
        match self {
            Self::Direct => format!("{SOURCE}-http.{NAMESPACE}.svc:9200"),
            Self::Near => format!("{NODE_ADDRESS}:{NEAR_PORT}"),
            Self::Far => format!("{NODE_ADDRESS}:{FAR_PORT}"),
        }
    }
}

/// Both clusters, running.
pub struct World {
    /// A client of the source.
    pub source: SearchClient,
    /// A client of the destination.
    pub destination: SearchClient,
    /// The way through it is [`Route::Near`].
    pub near: Proxy,
    /// Kept because it runs.
    _far: Proxy,
}

impl World {
    /// Deploys what isn't there and waits until it runs.
    pub fn begin() -> Result<Self> {
        let (source, destination) = (source(), destination());
        images::import(&search_images::all()?)?;
        source.deploy()?;
        destination.deploy()?;
        source.wait(Duration::from_secs(300))?;
        destination.wait(Duration::from_secs(300))?;
        kubectl::apply(&search_clusters())?;
        // Or the first copy would wait for what the operator doesn't know yet.
        let ready = ["--for=condition=Ready", "searchclusters", "--all", "--timeout=120s"];
        kubectl::run(&[&["wait", "--namespace", NAMESPACE], &ready[..]].concat())?;

        let upstream = search::address(NAMESPACE, &format!("{SOURCE}-http"))?;
        let proxy = |port, delay| {
            let listener = TcpListener::bind((NODE_ADDRESS, port))
                .with_context(|| format!("failed to listen on port {port} for the proxy"))?;
            Proxy::start(listener, upstream, delay)
        };
        Ok(Self {
            source: source.client()?,
            destination: destination.client()?,
            near: proxy(NEAR_PORT, Duration::ZERO)?,
            _far: proxy(FAR_PORT, FAR)?,
        })
    }

    /// `source.remote` of a `_reindex` request.
    pub fn remote(&self, route: Route) -> Value {
        let host = format!("http://{}", route.host());
        json!({"host": host, "username": USER, "password": source().password})
    }

    /// Where this machine reaches both clusters.
    pub fn addresses(&self) -> Result<[SocketAddr; 2]> {
        let address = |cluster: &str| search::address(NAMESPACE, &format!("{cluster}-http"));
        Ok([address(SOURCE)?, address(DESTINATION)?])
    }

    /// The SearchClusters.
    pub fn search_clusters(&self) -> Vec<Value> {
        search_clusters()
    }

    /// The SearchClusters `src` and `dst`, with the operator's calls going to these endpoints.
    pub fn search_clusters_by(&self, [source, destination]: [String; 2]) -> Vec<Value> {
        let direct = Route::Direct;
        vec![
            search_cluster(direct.search_cluster(), SOURCE, &source, Some(direct)),
            search_cluster("dst", DESTINATION, &destination, None),
        ]
    }

    /// URLs of both clusters with user and password, for a program on this machine.
    pub fn urls(&self) -> Result<(String, String)> {
        let url = |cluster: ElasticsearchCluster| -> Result<String> {
            let address: SocketAddr = search::address(NAMESPACE, &format!("{}-http", cluster.name))?;
            Ok(format!("http://{USER}:{}@{address}", cluster.password))
        };
        Ok((url(source())?, url(destination())?))
    }

    /// Takes away what the last copy left: the object, tasks that still run, the index.
    pub async fn clean(&self) -> Result<()> {
        kubectl::run(&["delete", "reindexes", "--all", "--namespace", NAMESPACE, "--timeout=120s"])?;
        let cancel = "/_tasks/_cancel?actions=*reindex&wait_for_completion=true";
        self.destination.request(Method::POST, cancel, None).await?;
        let (status, answer) = self.destination.request(Method::DELETE, &format!("/{COPY}"), None).await?;
        if status != 200 && status != 404 {
            bail!("failed to delete the last copy: {status} {answer}");
        }
        Ok(())
    }

    /// Creates the index that is copied into, where the measured program doesn't do it.
    pub async fn create(&self, refresh_interval: Option<&str>) -> Result<()> {
        self.destination.put(&format!("/{COPY}"), &Corpus::definition(refresh_interval)).await.map(drop)
    }

    /// Seconds that refreshes of the copy took which somebody asked for. The writing of full buffers is none.
    pub async fn refreshing(&self) -> Result<f64> {
        let stats = self.destination.get(&format!("/{COPY}/_stats/refresh")).await?;
        let millis = stats["_all"]["primaries"]["refresh"]["external_total_time_in_millis"].as_f64();
        Ok(millis.context("failed to read how long the copy was refreshed")? / 1000.0)
    }

    /// A copy that isn't whole is not worth measuring.
    pub async fn check(&self, corpus: &Corpus) -> Result<()> {
        self.destination.request(Method::POST, &format!("/{COPY}/_refresh"), None).await?;
        let found = self.destination.get(&format!("/{COPY}/_count")).await?["count"].clone();
        if found != corpus.documents {
            bail!("failed: the copy has {found} of {} documents", corpus.documents);
        }
        Ok(())
    }
}

/// Takes everything away.
pub fn end() -> Result<()> {
    kubectl::delete_namespace(NAMESPACE)
}

fn source() -> ElasticsearchCluster {
    ElasticsearchCluster {
        tls: false,
        java_options: JAVA_OPTIONS.to_owned(),
        ..ElasticsearchCluster::new(NAMESPACE, SOURCE, 1)
    }
}

fn destination() -> ElasticsearchCluster {
    let allowed = [Route::Direct, Route::Near, Route::Far].map(|route| format!("\"{}\"", route.host()));
    ElasticsearchCluster {
        tls: false,
        java_options: JAVA_OPTIONS.to_owned(),
        extra_config: format!("reindex.remote.whitelist: [{}]\n", allowed.join(", ")),
        ..ElasticsearchCluster::new(NAMESPACE, DESTINATION, 1)
    }
}

/// The operator always talks to the source directly; only the destination goes the long way.
fn search_clusters() -> Vec<Value> {
    let source = |route: Route| search_cluster(route.search_cluster(), SOURCE, &url(SOURCE), Some(route));
    let destination = search_cluster("dst", DESTINATION, &url(DESTINATION), None);
    vec![source(Route::Direct), source(Route::Near), source(Route::Far), destination]
}

/// Where a cluster is reached within Kubernetes.
fn url(cluster: &str) -> String {
    format!("http://{cluster}-http.{NAMESPACE}.svc:9200")
}

fn search_cluster(name: &str, cluster: &str, endpoint: &str, remote: Option<Route>) -> Value {
    let mut spec = json!({
        "endpoint": endpoint,
        "auth": {"basic": {"secretRef": {"name": format!("{cluster}-elastic")}}}
    });
    if let Some(route) = remote {
        spec["remoteEndpoint"] = format!("http://{}", route.host()).into();
    }
    json!({
        "apiVersion": "reindex.dev/v1alpha1",
        "kind": "SearchCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec
    })
}
