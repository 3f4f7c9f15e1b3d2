//! The plugin of kubectl: what a person asks of Reindexes and SearchClusters, and says to them.
//!
//! [`text`] is what is shown (pure), [`watch`] shows it again and again, [`change`] is what is said.

mod change;
mod text;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, KubeconfigError},
};

use crate::api::{Reindex, SearchCluster};

/// The exit code of whatever could not be asked or said. 1 is a Reindex that failed, 2 a wrong command line.
pub const FAULT: u8 = 3;

/// Watches and steers copies between search clusters.
#[derive(Parser)]
#[command(name = "kubectl reindex", bin_name = "kubectl reindex", version)]
pub struct Arguments {
    /// Namespace. Default: that of the kubeconfig's context.
    #[arg(short, long, global = true)]
    namespace: Option<String>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, global = true)]
    context: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show Reindexes, a line each.
    List {
        /// Those of all namespaces.
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Show how far a Reindex is, and what it waits for.
    Status {
        /// Name of the Reindex.
        name: String,
    },
    /// Show that again and again, until it has ended: exit code 0 if it is complete, 1 if it failed.
    Watch {
        /// Name of the Reindex.
        name: String,
    },
    /// Approve of the change that a SearchCluster proposes for its allowlist.
    Approve {
        /// Name of the SearchCluster.
        name: String,
        /// Don't ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Let a Reindex stop after the ranges that are being copied, or at once, as its spec.suspendPolicy says.
    Suspend {
        /// Name of the Reindex.
        name: String,
    },
    /// Let a suspended Reindex go on.
    Resume {
        /// Name of the Reindex.
        name: String,
    },
    /// Cancel a Reindex: its tasks are ended and the object is deleted. What is copied stays.
    Cancel {
        /// Name of the Reindex.
        name: String,
        /// Don't ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As was wanted.
    Well,
    /// The Reindex failed, or the person said no.
    Otherwise,
}

impl From<End> for ExitCode {
    fn from(end: End) -> ExitCode {
        match end {
            End::Well => ExitCode::SUCCESS,
            End::Otherwise => ExitCode::FAILURE,
        }
    }
}

/// What keeps it from being asked or said.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no kubeconfig, or it can't be used.
    #[error("failed to read the kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
    /// The apiserver did not answer, or refused.
    #[error("failed to {action}: {source}")]
    Kube {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: kube::Error,
    },
    /// There is none of that name.
    #[error(
        "there is no {kind} {name} in namespace {namespace}: kubectl reindex list -A shows all Reindexes, kubectl get searchclusters -A all SearchClusters"
    )]
    Missing {
        /// Which kind.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// It was deleted while it was watched.
    #[error("Reindex {0} was deleted")]
    Deleted(String),
    /// There is nothing to approve of.
    #[error("SearchCluster {name} proposes no change; its condition AllowlistReady says: {says}")]
    NothingProposed {
        /// Its name.
        name: String,
        /// What it says instead.
        says: String,
    },
    /// It has ended already.
    #[error("Reindex {name} has ended ({phase}): a finished Reindex can't be suspended or resumed")]
    Ended {
        /// Its name.
        name: String,
        /// How.
        phase: String,
    },
    /// Nobody can be asked.
    #[error("failed to ask: {0}; --yes answers beforehand")]
    Ask(std::io::Error),
    /// The terminal is gone.
    #[error("failed to write: {0}")]
    Write(#[from] std::io::Error),
}

impl Fault {
    fn kube(action: &'static str) -> impl FnOnce(kube::Error) -> Fault {
        move |source| Fault::Kube { action, source }
    }
}

/// The objects of one namespace.
struct Place {
    client: Client,
    namespace: String,
}

impl Place {
    async fn of(arguments: &Arguments) -> Result<Place, Fault> {
        // There is none yet, so this can't fail.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = KubeConfigOptions { context: arguments.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_kubeconfig(&options).await?;
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(Fault::kube("reach the apiserver"))?;
        Ok(Place { client, namespace })
    }

    fn reindexes(&self) -> Api<Reindex> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn clusters(&self) -> Api<SearchCluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn reindex(&self, name: &str) -> Result<Reindex, Fault> {
        let found = self.reindexes().get_opt(name).await.map_err(Fault::kube("read the Reindex"))?;
        found.ok_or_else(|| self.missing("Reindex", name))
    }

    async fn cluster(&self, name: &str) -> Result<SearchCluster, Fault> {
        let found = self.clusters().get_opt(name).await.map_err(Fault::kube("read the SearchCluster"))?;
        found.ok_or_else(|| self.missing("SearchCluster", name))
    }

    fn missing(&self, kind: &'static str, name: &str) -> Fault {
        Fault::Missing { kind, namespace: self.namespace.clone(), name: name.to_owned() }
    }
}

/// Does what was asked for.
///
/// # Errors
/// [`Fault`]: nothing was asked or said then, or not all of it.
pub async fn run(arguments: Arguments) -> Result<End, Fault> {
    let place = Place::of(&arguments).await?;
    match &arguments.command {
        Command::List { all_namespaces } => list(&place, *all_namespaces).await,
        Command::Status { name } => {
            print!("{}", text::status(&place.reindex(name).await?, Timestamp::now(), watch::width()));
            Ok(End::Well)
        }
        Command::Watch { name } => watch::watch(&place, name).await,
        Command::Approve { name, yes } => change::approve(&place, name, *yes).await,
        Command::Suspend { name } => change::suspend(&place, name, true).await,
        Command::Resume { name } => change::suspend(&place, name, false).await,
        Command::Cancel { name, yes } => change::cancel(&place, name, *yes).await,
    }
}

async fn list(place: &Place, all_namespaces: bool) -> Result<End, Fault> {
    let api = if all_namespaces { Api::all(place.client.clone()) } else { place.reindexes() };
    let mut found = api.list(&ListParams::default()).await.map_err(Fault::kube("list Reindexes"))?.items;
    found.sort_by_key(|reindex| (reindex.namespace(), reindex.name_any()));
    if found.is_empty() {
        let place = if all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", place.namespace) };
        eprintln!("there are no Reindexes in {place}");
    } else {
        print!("{}", text::list(&found, all_namespaces));
    }
    Ok(End::Well)
}
