//! The Reindex operator.
pub mod api;
