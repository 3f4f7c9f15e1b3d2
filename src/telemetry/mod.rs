//! Logs, metrics and probes.

pub mod metrics;
pub mod probes;

use tracing_subscriber::{EnvFilter, fmt};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object: for machines.
    Json,
    /// Words: for people.
    Text,
}

/// Lines on standard output, filtered as `filter` says (`info`, `reindex_operator=debug,info`).
///
/// # Errors
/// The filter can't be read.
pub fn init(filter: &str, format: Format) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let log = fmt().with_env_filter(filter).with_target(false);
    match format {
        Format::Json => log.json().flatten_event(true).with_span_list(false).with_current_span(false).init(),
        // A terminal is not what reads a pod's output.
        Format::Text => log.with_ansi(false).init(),
    }
    Ok(())
}
