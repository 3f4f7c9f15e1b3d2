//! `kubectl reindex`: kubectl finds a program of this name on the PATH.

use std::process::ExitCode;

use clap::Parser;
use reindex_operator::cli::{self, Arguments};

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Arguments::parse()).await {
        Ok(end) => end.into(),
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::from(cli::FAULT)
        }
    }
}
