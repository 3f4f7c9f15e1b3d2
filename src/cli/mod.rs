//! The plugin of kubectl: what a person asks of Reindexes and SearchClusters, and says to them.
//!
//! [`text`] is what is shown (pure), [`watch`] shows it again and again, [`change`] is what is said, [`approval`] what is approved of (pure);
//! [`plan`] shows what would be done, and [`local`] does it without Kubernetes.

mod approval;
mod change;
mod local;
mod logs;
mod plan;
pub mod report;
mod signals;
mod text;
mod watch;

use std::{
    fmt::Display,
    io::{ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, KubeconfigError},
    runtime::watcher,
};

use crate::{
    api::{Reindex, SearchCluster, search_cluster::Management},
    local::{LocalFault, manifests::ManifestFault},
};

use watch::{Until, Watched};

/// The exit code of whatever could not be asked or said. 1 is a Reindex that failed, 2 a wrong command line.
pub const FAULT: u8 = 3;
/// The exit code of what can go on: it waits for a person, or was interrupted.
const UNFINISHED: u8 = 4;

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
        /// Names of Reindexes.
        #[arg(required = true)]
        names: Vec<String>,
        /// End as soon as one waits for a person, with exit code 4 (1 if another has failed by then).
        #[arg(long)]
        exit_when_stalled: bool,
    },
    /// Show what the operator logged about a Reindex. Needs the right to list pods and to get pods/log in the operator's namespace.
    Logs {
        /// Name of the Reindex.
        name: String,
        /// Go on with new lines.
        #[arg(short, long)]
        follow: bool,
        /// Namespace of the operator.
        #[arg(long, default_value = "reindex-system")]
        operator_namespace: String,
    },
    /// Write a page for a change ticket: what moved, how it went, and what proves it.
    Report {
        /// Name of the Reindex.
        name: String,
        /// Where it is written to, `-` is the standard output. Default: NAME.html.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Check what the Reindexes in files need, and show what they would do. Nothing is applied but a dry run, which is deleted again.
    Plan {
        #[command(flatten)]
        files: local::Files,
        /// Without Kubernetes: from this machine, with the SearchClusters and Secrets in the files.
        #[arg(long)]
        local: bool,
    },
    /// Run the Reindexes in files on this machine, without Kubernetes, and show how far they are. The destination must allow the
    /// source already. Interrupted, it ends its tasks; begun again, it goes on where it was.
    Run {
        #[command(flatten)]
        files: local::Files,
        /// Without Kubernetes. Needed: with it, there is `kubectl apply`.
        #[arg(long, required = true)]
        local: bool,
        /// File that keeps how far the run is. It holds no Secrets.
        #[arg(long, default_value = "reindex-state.json")]
        state: PathBuf,
        /// Don't wait for a person: end, with exit code 4, once the others have ended.
        #[arg(long)]
        exit_when_stalled: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// As was wanted.
    Well,
    /// It waits for a person, or was interrupted, or nobody read on; it can go on.
    Unfinished,
    /// The Reindex failed, or the person said no.
    Otherwise,
}

impl From<End> for ExitCode {
    fn from(end: End) -> ExitCode {
        match end {
            End::Well => ExitCode::SUCCESS,
            End::Unfinished => ExitCode::from(UNFINISHED),
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
    /// Its changes wait for nobody's approval, or it makes none.
    #[error(
        "SearchCluster {name} waits for no approval: its allowlist.management is {management:?}, not Approval; its condition AllowlistReady says: {says}"
    )]
    NotByApproval {
        /// Its name.
        name: String,
        /// How it is instead.
        management: Management,
        /// What it says.
        says: String,
    },
    /// Another object has its name by now.
    #[error("Reindex {0} was deleted meanwhile, and another one has its name: that one is left alone")]
    Replaced(String),
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
    /// The operator is somewhere else.
    #[error("there are no pods of the operator in namespace {0}: name its namespace by --operator-namespace")]
    NoOperator(String),
    /// None of its pods has a log that can be read; why, was said of each.
    #[error("failed to read the log of any pod of the operator")]
    NoLog,
    /// A page can't be made.
    #[error("failed to make the page: {0}")]
    Page(askama::Error),
    /// A file can't be read.
    #[error("failed to read {file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A file can't be written.
    #[error("failed to write {file}: {source}")]
    Save {
        /// Which.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The apiserver lets nobody watch, or not this person.
    #[error("failed to watch: {0}")]
    Watch(watcher::Error),
    /// Manifests can't be run.
    #[error(transparent)]
    Manifests(#[from] ManifestFault),
    /// A run can't begin.
    #[error(transparent)]
    Local(#[from] LocalFault),
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

/// Writes it to the standard output. `print!` would panic where nobody reads any more, as after `| head`.
fn show(text: impl Display) -> Result<(), Fault> {
    write!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// Does what was asked for.
///
/// # Errors
/// [`Fault`]: nothing was asked or said then, or not all of it.
pub async fn run(arguments: Arguments) -> Result<End, Fault> {
    use Command::{Approve, Cancel, Resume, Suspend};
    let says = matches!(arguments.command, Approve { .. } | Suspend { .. } | Resume { .. } | Cancel { .. });
    match asked_or_said(arguments).await {
        // Whoever read it has enough. What was not said must be heard of.
        Err(Fault::Write(error)) if error.kind() == ErrorKind::BrokenPipe && !says => Ok(End::Unfinished),
        end => end,
    }
}

async fn asked_or_said(arguments: Arguments) -> Result<End, Fault> {
    // There is none yet, so this can't fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let place = || Place::of(&arguments);
    let named = arguments.namespace.as_deref().unwrap_or("default");
    match &arguments.command {
        Command::List { all_namespaces } => list(&place().await?, *all_namespaces).await,
        Command::Status { name } => {
            let reindex = place().await?.reindex(name).await?;
            show(text::status(&reindex, Timestamp::now(), watch::width()))?;
            Ok(End::Well)
        }
        Command::Logs { name, follow, operator_namespace } => {
            logs::logs(&place().await?, name, operator_namespace, *follow).await
        }
        Command::Report { name, output } => write_report(&place().await?.reindex(name).await?, output.as_ref()),
        Command::Watch { names, exit_when_stalled } => watch_all(&place().await?, names, *exit_when_stalled).await,
        Command::Plan { files, local: true } => plan::on_this_machine(files.read(named)?, named).await,
        Command::Plan { files, local: false } => {
            let place = place().await?;
            plan::in_cluster(&place, &files.read(&place.namespace)?).await
        }
        Command::Run { files, local: _, state, exit_when_stalled } => {
            let manifests = files.read(named)?.without_kubernetes()?;
            let (state, exit_when_stalled) = (Some(state.clone()), *exit_when_stalled);
            Ok(local::run(local::Run { manifests, state, exit_when_stalled, namespace: named }).await?.0)
        }
        Command::Approve { name, yes } => change::approve(&place().await?, name, *yes).await,
        Command::Suspend { name } => change::suspend(&place().await?, name, true).await,
        Command::Resume { name } => change::suspend(&place().await?, name, false).await,
        Command::Cancel { name, yes } => change::cancel(&place().await?, name, *yes).await,
    }
}

fn write_report(reindex: &Reindex, output: Option<&PathBuf>) -> Result<End, Fault> {
    let page = report::page(reindex, Timestamp::now()).map_err(Fault::Page)?;
    let path = output.cloned().unwrap_or_else(|| format!("{}.html", reindex.name_any()).into());
    if path.as_os_str() == "-" {
        show(page)?;
        return Ok(End::Well);
    }
    std::fs::write(&path, page).map_err(|source| Fault::Save { file: path.display().to_string(), source })?;
    show(format_args!("wrote {}\n", path.display()))?;
    Ok(End::Well)
}

async fn watch_all(place: &Place, names: &[String], exit_when_stalled: bool) -> Result<End, Fault> {
    let mut watched = Vec::new();
    for name in names {
        place.reindex(name).await?;
        watched.push(Watched { api: place.reindexes(), name: name.clone() });
    }
    watch::watch(watched, Until::OneIsUnfinished, &watch::ended(exit_when_stalled)).await
}

async fn list(place: &Place, all_namespaces: bool) -> Result<End, Fault> {
    let api = if all_namespaces { Api::all(place.client.clone()) } else { place.reindexes() };
    let mut found = api.list(&ListParams::default()).await.map_err(Fault::kube("list Reindexes"))?.items;
    found.sort_by_key(|reindex| (reindex.namespace(), reindex.name_any()));
    if found.is_empty() {
        let place = if all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", place.namespace) };
        eprintln!("there are no Reindexes in {place}");
    } else {
        show(text::list(&found, all_namespaces))?;
    }
    Ok(End::Well)
}
