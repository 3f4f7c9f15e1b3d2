//! Where things are: the checkout, and the one folder of the machine that holds the cluster's state.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Everything the running cluster owns on this machine. There is one cluster a machine, whichever checkout started it.
pub const STATE: &str = "/var/lib/reindex-dev";

/// A path below [`STATE`].
pub fn state(relative: &str) -> PathBuf {
    Path::new(STATE).join(relative)
}

/// The checkout this process was started in.
pub fn checkout() -> Result<PathBuf> {
    let here = env::current_dir().context("failed to find the current folder")?;
    here.ancestors()
        .find(|folder| folder.join("xtask/kubernetes/main.go").exists())
        .map(Path::to_path_buf)
        .with_context(|| format!("failed to find the project's checkout above {}", here.display()))
}

/// The administrator's kubeconfig.
pub fn kubeconfig() -> PathBuf {
    state("kubeconfig/admin")
}

/// The kubectl of the cluster's own version.
pub fn kubectl() -> PathBuf {
    state("bin/kubectl")
}

/// The apiserver's audit log: one JSON event a line, for the operator's service account only.
pub fn audit_log() -> PathBuf {
    state("audit.log")
}

/// The log of a component, a build or an import.
pub fn log(name: &str) -> PathBuf {
    state("logs").join(format!("{name}.log"))
}
