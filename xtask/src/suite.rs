//! Runs the project's tests and says how long each command took.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{
    cluster, doctor, images,
    operator::{self, Profile},
    paths, search_images,
};

/// Runs the tests: those that need no cluster, and unless `offline_only` those in the cluster with the operator of this checkout.
pub fn run(offline_only: bool) -> Result<()> {
    let checkout = paths::checkout()?;
    let offline = cargo_test(&["--lib", "--bins", "--test=offline"]);
    let mut not_tried = Vec::new();
    if !offline_only {
        doctor::prepare()?;
        not_tried = doctor::prepare_tests();
        if operator::earlier_commit()?.is_none() {
            not_tried.push("NOT tried: an upgrade from an earlier version, since this clone has none (git fetch --unshallow --tags)".into());
        }
        if !checkout.join("../shared/crds").is_dir() {
            not_tried.push("NOT tried: the published definitions of ECK and of the OpenSearch operator, which are not beside the checkout (../shared/crds)".into());
        }
    }
    let mut runs = vec![cargo(&checkout, &offline, &[])?];
    if !offline_only {
        cluster::up()?;
        images::import(&search_images::all()?)?;
        operator::deploy(Profile::Dev)?;
        let kubeconfig = paths::kubeconfig().display().to_string();
        let environment = [("KUBECONFIG", kubeconfig.as_str())];
        let in_cluster = cargo_test(&["--test=apiserver", "--test=cluster", "--", "--test-threads=1"]);
        runs.push(cargo(&checkout, &in_cluster, &environment)?);
    }
    println!();
    for run in &runs {
        let result = if run.passed { "passed" } else { "FAILED" };
        println!("{result} in {:.1} s: {}", run.seconds, run.command);
    }
    not_tried.iter().for_each(|what| println!("{what}"));
    if runs.iter().any(|run| !run.passed) {
        bail!("tests failed");
    }
    Ok(())
}

/// Traces are in what the tests are built with, and not in the operator that runs in the cluster: both builds are tried, and nothing is built
/// twice for the two runs.
fn cargo_test<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["test", "--workspace", "--features=reindex-operator/otel"], arguments].concat()
}

struct Run {
    command: String,
    seconds: f32,
    passed: bool,
}

fn cargo(checkout: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Run> {
    let command = format!("cargo {}", arguments.join(" "));
    println!("{command}");
    let start = Instant::now();
    let status = Command::new("cargo")
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(checkout)
        .status()
        .context("failed to start cargo")?;
    Ok(Run { command, seconds: start.elapsed().as_secs_f32(), passed: status.success() })
}
