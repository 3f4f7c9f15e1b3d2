//! Logs, metrics and probes.

pub mod log;
pub mod metrics;
pub mod probes;
