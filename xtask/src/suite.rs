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

/// Which tests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Those that need no cluster.
    Offline,
    /// Those of a minute, in the cluster too.
    Usual,
    /// The slow ones too.
    All,
}

/// Runs the selected tests, with the cluster and the operator of this checkout where they are needed.
pub fn run(selection: Selection) -> Result<()> {
    let checkout = paths::checkout()?;
    // Traces are in here, and not in the operator that runs in the cluster: both builds are tried.
    let offline = ["test", "--workspace", "--features=reindex-operator/otel", "--lib", "--bins", "--test=offline"];
    let mut not_tried = Vec::new();
    if selection != Selection::Offline {
        doctor::prepare()?;
        not_tried = doctor::prepare_tests();
    }
    let mut runs = vec![cargo(&checkout, &offline, &[])?];
    if selection != Selection::Offline {
        cluster::up()?;
        images::import(&search_images::all()?)?;
        operator::deploy(Profile::Dev)?;
        let kubeconfig = paths::kubeconfig().display().to_string();
        let mut environment = vec![("KUBECONFIG", kubeconfig.as_str())];
        if selection == Selection::All {
            environment.push(("REINDEX_SLOW_TESTS", "1"));
        }
        let in_cluster = ["test", "--test", "apiserver", "--test", "cluster", "--", "--test-threads=1"];
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
