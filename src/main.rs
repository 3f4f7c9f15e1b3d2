//! The operator's binary.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use futures::FutureExt;
use kube::{Client, Config};
use reindex_operator::{
    alibaba_cloud::Identity,
    allowlist::alibaba_cloud::OperatorIdentity,
    api::crd,
    controller::{self, lease::Candidate},
    plan::scope::Scope,
    telemetry::{log, metrics::Metrics, probes},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Moves Elasticsearch and OpenSearch indexes between clusters with the remote reindex API.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator.
    Run(Run),
    /// Have the operator of this namespace suspend every Reindex and begin no restart of nodes, and wait until no task of it runs and all
    /// that it changed for a while is put back: before it is uninstalled. The objects stay, and go on when it is installed again.
    WindDown(WindDown),
    /// Print the CustomResourceDefinitions as YAML, or write each into a file of its own.
    Crd {
        /// Folders to write them to.
        folders: Vec<PathBuf>,
    },
}

#[derive(clap::Args)]
struct Run {
    /// What is logged, such as `info` or `reindex_operator=debug,info`.
    #[arg(long, env = "LOG", default_value = "info")]
    log: String,
    /// A file that says it instead, as soon as it is there, and is read again every 10 seconds.
    #[arg(long, env = "LOG_FROM_FILE")]
    log_from_file: Option<PathBuf>,
    /// How a line of the log looks.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    log_format: log::Format,
    /// Where probes and metrics are served.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Name of this instance, as the leader's lease shows it.
    #[arg(long, env = "POD_NAME", default_value = "reindex-operator")]
    pod_name: String,
    #[command(flatten)]
    place: Place,
    /// Namespaces whose SearchClusters may use the operator's own identity at Alibaba Cloud (RRSA, or an AccessKey in its
    /// environment), separated by commas. Whoever may write SearchClusters there acts with it. Default: --pod-namespace.
    #[arg(long, env = "ALIBABA_CLOUD_IDENTITY_NAMESPACES", value_delimiter = ',')]
    alibaba_cloud_identity_namespaces: Vec<String>,
}

#[derive(clap::Args)]
struct WindDown {
    #[command(flatten)]
    place: Place,
    /// For how long at most, in seconds.
    #[arg(long, env = "PATIENCE_SECONDS", default_value = "240")]
    patience_seconds: u64,
}

/// Where the operator is, and where it works.
#[derive(clap::Args)]
struct Place {
    /// Namespace of the lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "reindex-system")]
    pod_namespace: String,
    /// Namespaces whose SearchClusters and Reindexes are worked on, separated by commas; the operator asks for nothing of any other.
    /// Default: all.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
}

impl Place {
    fn scope(&self) -> Scope {
        Scope::of(self.watch_namespaces.iter().cloned())
    }
}

impl Run {
    /// The operator's own identity, and who may use it.
    fn operator_identity(&self) -> OperatorIdentity {
        let named = self.alibaba_cloud_identity_namespaces.iter().filter(|name| !name.is_empty());
        let mut namespaces: BTreeSet<_> = named.cloned().collect();
        if namespaces.is_empty() {
            namespaces.insert(self.place.pod_namespace.clone());
        }
        OperatorIdentity { identity: Identity::from_environment(|name| std::env::var(name).ok()), namespaces }
    }
}

/// What ends the operator.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("--log can't be used: {0}")]
    Log(log::FilterFault),
    #[error("failed to render a CustomResourceDefinition: {0}")]
    Crd(String),
    #[error("failed to find the apiserver: {0}")]
    Kube(Box<dyn std::error::Error + Send + Sync>),
    #[error("failed to listen, to take signals or to write a file: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    WindDown(#[from] Box<controller::wind_down::Fault>),
    #[error("failed to stay leader: the lease could not be renewed, or another instance holds it")]
    LeaseLost,
}

#[tokio::main]
async fn main() {
    // One crypto provider for all that is talked to; there is none yet, so this can't fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match Arguments::parse().command {
        Command::Run(run) => operate(run).await,
        Command::WindDown(order) => wind_down(&order).await,
        Command::Crd { folders } => write_crds(&folders),
    };
    let code = match result {
        Ok(()) => 0,
        Err(fatal) => {
            eprintln!("{fatal}");
            1
        }
    };
    // At once: to return would wait for look-ups of names, while another instance may lead already.
    std::process::exit(code)
}

fn write_crds(folders: &[PathBuf]) -> Result<(), Fatal> {
    for definition in crd::all() {
        let text = crd::to_yaml(&definition).map_err(|error| Fatal::Crd(error.to_string()))?;
        for folder in folders {
            std::fs::write(folder.join(format!("{}.yaml", definition.spec.names.plural)), &text)?;
        }
        if folders.is_empty() {
            println!("---\n{text}");
        }
    }
    Ok(())
}

/// A client of the apiserver that this process belongs to.
async fn apiserver() -> Result<Client, Fatal> {
    let config = Config::infer().await.map_err(|error| Fatal::Kube(error.into()))?;
    Client::try_from(config).map_err(|error| Fatal::Kube(error.into()))
}

async fn wind_down(order: &WindDown) -> Result<(), Fatal> {
    log::init("info", log::Format::Text).map_err(Fatal::Log)?;
    let (client, patience) = (apiserver().await?, Duration::from_secs(order.patience_seconds));
    controller::wind_down::wind_down(client, &order.place.pod_namespace, &order.place.scope(), patience)
        .await
        .map_err(Box::new)?;
    println!("nothing is left on the search clusters that is to be ended or put back; the operator can go");
    Ok(())
}

async fn operate(run: Run) -> Result<(), Fatal> {
    let level = log::init(&run.log, run.log_format).map_err(Fatal::Log)?;
    if let Some(file) = &run.log_from_file {
        tokio::spawn(level.follow(file.clone()));
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), instance = run.pod_name, "starting");
    let shutdown = terminated()?.shared();
    let metrics = Metrics::new();
    let in_touch = watch::Sender::new(false);
    let listener = TcpListener::bind(run.listen).await?;
    let probes = tokio::spawn(probes::serve(listener, metrics.clone(), in_touch.subscribe(), shutdown.clone()));
    let lead = async { lead(apiserver().await?, &run, metrics, in_touch, shutdown.clone()).await };
    let probes = async { probes.await.map_err(|error| Fatal::Io(error.into()))?.map_err(Fatal::Io) };
    tokio::select! {
        result = lead => result,
        // They end well when the operator is told to end: passes that are under way end then, and the lease is given back.
        Err(fatal) = probes => Err(fatal),
    }
}

/// Waits for the lease, then runs the controllers while it is held. Nothing hangs on the lease for correctness: every effect may be
/// repeated, and every write of status has its resourceVersion.
async fn lead(
    client: Client,
    run: &Run,
    metrics: Metrics,
    in_touch: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<(), Fatal> {
    let winding_down = watch::Sender::new(false);
    let told = winding_down.subscribe();
    let mut candidate = Candidate::new(client.clone(), &run.place.pod_namespace, &run.pod_name, in_touch, winding_down);
    tokio::select! {
        () = candidate.elected() => {}
        () = shutdown.clone() => return Ok(()),
    }
    tracing::info!("leading");
    let (identity, scope) = (run.operator_identity(), run.place.scope());
    tokio::select! {
        () = controller::run(client, metrics, run.pod_name.clone(), identity, scope, told, shutdown) => {}
        // At once: another one may be at it already.
        () = candidate.deposed() => return Err(Fatal::LeaseLost),
    }
    candidate.resign().await;
    Ok(())
}

/// Ends with SIGTERM or SIGINT.
fn terminated() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
