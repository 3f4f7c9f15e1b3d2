//! `deploy/operator.yaml`: the chart as it is with its own values, for whoever applies plain manifests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, go, operator::NAMESPACE, paths, progress};

const HEADER: &str = "# Written by `make generate` from charts/reindex-operator; do not edit.\n";

/// Where it is kept.
pub fn file() -> Result<PathBuf> {
    Ok(paths::checkout()?.join("deploy/operator.yaml"))
}

/// Writes it anew.
pub fn write() -> Result<()> {
    cache::write(&file()?, manifests()?)
}

/// The text that it should have. The definitions of the custom resources are not in it: `deploy/kustomization.yaml` takes them from `crds/`.
pub fn manifests() -> Result<String> {
    // Who applies them has no hooks.
    Ok(HEADER.to_owned() + &chart(&["--set", "crds.install=false", "--no-hooks"])?)
}

/// For the oldest Kubernetes that the chart is for: the Helm that is built here takes a cluster that it isn't shown for a 1.20.
pub const FOR_OLDEST: &str = "--kube-version=1.29.0";

/// What the chart makes of values, which are given as Helm's arguments.
pub fn chart(values: &[&str]) -> Result<String> {
    let mut helm = Command::new(go::HELM.binary()?);
    helm.args(["template", "reindex-operator", "charts/reindex-operator", "--namespace", NAMESPACE, FOR_OLDEST]);
    helm.args(values).current_dir(paths::checkout()?);
    let rendered = progress::output(&mut helm).context("failed to render the chart")?;
    Ok(plain(&rendered))
}

/// Without what only Helm needs.
fn plain(rendered: &str) -> String {
    let of_helm = |line: &&str| {
        let line = line.trim_start();
        !["helm.sh/chart:", "app.kubernetes.io/managed-by:", "# Source:"].iter().any(|begin| line.starts_with(begin))
    };
    rendered.lines().filter(of_helm).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_helm_needs_is_left_out() {
        let rendered = "---\n# Source: a/b.yaml\nmetadata:\n  labels:\n    helm.sh/chart: x-1\n    a: b\n";
        assert_eq!(plain(rendered), "---\nmetadata:\n  labels:\n    a: b\n");
    }
}
