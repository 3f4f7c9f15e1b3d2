//! The operator on this machine, without Kubernetes.

use std::{
    io::Read,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    api::{Reindex, reindex_status::Phase},
    local::{self, manifests::Manifests},
    plan::cleanup,
    text::one_line,
};

use super::{
    End, Fault,
    signals::Signals,
    text,
    watch::{self, Until, Watched},
};

/// Where manifests are.
#[derive(clap::Args)]
pub struct Files {
    /// Files with manifests, `-` is the standard input.
    #[arg(short = 'f', long = "filename", required = true)]
    files: Vec<PathBuf>,
}

impl Files {
    /// What stands in them.
    pub fn read(&self, namespace: &str) -> Result<Manifests, Fault> {
        let texts = self.files.iter().map(|file| {
            let name = file.display().to_string();
            let text = match name.as_str() {
                "-" => {
                    let mut text = String::new();
                    std::io::stdin().read_to_string(&mut text).map(|_| text)
                }
                _ => std::fs::read_to_string(file),
            };
            text.map(|text| (name.clone(), text)).map_err(|source| Fault::Read { file: name, source })
        });
        let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
        Ok(Manifests::read(&texts, namespace)?)
    }
}

/// A run without Kubernetes.
pub struct Run<'a> {
    /// What is run.
    pub manifests: Manifests,
    /// Where its state is kept; nowhere, if a run that is killed need not go on.
    pub state: Option<PathBuf>,
    /// Whether waiting for a person is an end, once no other goes on.
    pub exit_when_stalled: bool,
    /// Namespace of what names none.
    pub namespace: &'a str,
}

/// Runs them and shows how far they are, until all have ended and nothing of them is left on the destination, or a signal has stopped
/// them. Returns the objects as they are then.
pub async fn run(run: Run<'_>) -> Result<(End, Vec<Reindex>), Fault> {
    for note in &run.manifests.notes {
        eprintln!("note: {note}");
    }
    let reindexes = run.manifests.reindexes();
    let client = local::serve(run.manifests, run.state.as_deref())?.client(run.namespace);
    let watched = || {
        let of = |(namespace, name): &(String, String)| Watched {
            api: Api::namespaced(client.clone(), namespace),
            name: name.clone(),
        };
        reindexes.iter().map(of).collect::<Vec<_>>()
    };
    let (begun, stopping, ended) = (Timestamp::now(), AtomicBool::new(false), watch::ended(run.exit_when_stalled));
    let end = |reindex: &Reindex| {
        let status = reindex.status.as_ref()?;
        // Nobody else cancels the tasks of one that failed, and puts settings back.
        if cleanup::is_waited_for(status, begun, Timestamp::now()) {
            return None;
        }
        let stopped = stopping.load(Ordering::Relaxed) && status.phase == Some(Phase::Suspended);
        ended(reindex).or(stopped.then_some(End::Unfinished))
    };
    let end = tokio::select! {
        end = watch::watch(watched(), Until::AllHaveEnded, &end) => end?,
        () = local::operate(client.clone()) => End::Unfinished,
        stopped = stop_on_signals(&stopping, watched()) => stopped?,
    };
    let mut last = Vec::new();
    for Watched { api, name } in watched() {
        last.extend(api.get_opt(&name).await.map_err(Fault::kube("read the Reindex"))?);
    }
    for reindex in &last {
        if let Some(remains) = cleanup::remains(reindex) {
            let name = text::name(reindex);
            let told = format!(
                "Reindex {name} has ended, but not everything is put back: {remains}. The same command tries again"
            );
            eprintln!("{}", one_line(&told));
        }
    }
    Ok((end, last))
}

/// The first signal suspends every copy: its tasks are ended, what it changed is put back. The second ends this process at once; tasks
/// go on, and the next run with this state finds them.
async fn stop_on_signals(stopping: &AtomicBool, watched: Vec<Watched>) -> Result<End, Fault> {
    let mut signals = Signals::listen()?;
    signals.next().await;
    eprintln!("\nstopping: running tasks are ended first; once more to leave them running");
    stopping.store(true, Ordering::Relaxed);
    let patch = json!({"spec": {"suspend": true, "suspendPolicy": "Cancel"}});
    for Watched { api, name } in &watched {
        // One that has ended needs no stop.
        let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
    }
    signals.next().await;
    Ok(End::Unfinished)
}
