//! `xtask`: the commands behind the Makefile's targets.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::{
    bench, chart_readme, cluster, demo,
    operator::{self, Profile},
    paths, reference, render, sample, suite,
};

/// Development harness of the Reindex operator.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a one-node Kubernetes on this machine.
    Up,
    /// Stop it and remove what it left; caches stay.
    Down,
    /// Start Kubernetes and the two Elasticsearch clusters with the sample data.
    Engines,
    /// Start Kubernetes; build the operator and install it.
    Operator,
    /// Show a Reindex from beginning to end.
    Demo,
    /// Measure the operator on real clusters; the results go into docs.
    Bench {
        /// How often each is measured; results of fewer than 5 are only printed.
        #[arg(long, default_value_t = 5)]
        repeats: usize,
        /// Only groups with this in the name of the group or of one of its lines.
        #[arg(long)]
        only: Option<String>,
        /// Copy only this part of the documents, to try the harness; results are only printed.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// Leave the clusters running.
        #[arg(long)]
        keep: bool,
        /// Measure the operator that runs, not this checkout's.
        #[arg(long)]
        running_operator: bool,
    },
    /// Write anew what is made from the chart and the definitions: manifests, the reference, the chart's README.
    Render,
    /// Run the tests.
    Test {
        /// Only tests that need no cluster.
        #[arg(long)]
        offline: bool,
    },
}

fn main() -> ExitCode {
    let start = Instant::now();
    match run(Arguments::parse().command) {
        Ok(()) => {
            println!("done in {:.0} s", start.elapsed().as_secs_f32());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: Action) -> Result<()> {
    // Of those who use the cluster there is one at a time.
    let _lock = match action {
        Action::Render | Action::Test { offline: true } => None,
        _ => Some(cluster::lock()?),
    };
    match action {
        Action::Down => cluster::down(),
        Action::Render => {
            render::write()?;
            reference::write()?;
            chart_readme::write()?;
            bench::rewrite_page()
        }
        Action::Test { offline } => suite::run(offline),
        Action::Up => {
            cluster::up()?;
            println!("  export KUBECONFIG=target/cluster/kubeconfig\n  kubectl: {}", paths::kubectl().display());
            Ok(())
        }
        Action::Engines => {
            cluster::up()?;
            sample::deploy()?;
            block_on(sample::load())
        }
        Action::Operator => {
            cluster::up()?;
            operator::deploy(Profile::Dev)
        }
        Action::Demo => {
            cluster::up()?;
            block_on(demo::run())
        }
        Action::Bench { repeats, only, scale, keep, running_operator } => {
            cluster::up()?;
            block_on(bench::run(&bench::Options { repeats, only, scale, keep, running_operator }))
        }
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the asynchronous runtime")?;
    runtime.block_on(work)
}
