//! Logs, metrics and probes.

pub mod metrics;
pub mod probes;

use tracing_subscriber::{EnvFilter, fmt};

/// JSON lines on standard output, filtered as `filter` says (`info`, `reindex_operator=debug,info`).
///
/// # Errors
/// The filter can't be read.
pub fn init(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    fmt()
        .json()
        .with_env_filter(filter)
        .flatten_event(true)
        .with_target(false)
        .with_span_list(false)
        .with_current_span(false)
        .init();
    Ok(())
}
