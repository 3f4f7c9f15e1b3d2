//! Logs, metrics, probes and, with the feature `otel`, traces.

pub mod log;
pub mod metrics;
pub mod probes;
#[cfg(feature = "otel")]
pub mod traces;
pub mod waits;

/// Target of the spans that a trace is made of: passes, and the requests in them. Their level is `trace`, so that the log, which goes by its own filter,
/// is the same with them.
pub const TRACES: &str = "reindex_operator::traces";
