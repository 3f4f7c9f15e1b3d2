//! Tests that need neither root nor a cluster: what can be seen in memory and on 127.0.0.1.

mod cloud_client;
mod cloud_life;
mod crds;
mod docs;
mod gitops;
mod layering;
mod lease;
mod life;
mod links;
mod local;
mod plugin;
mod process;
mod providers;
mod reasons;
mod release;
mod report;
mod scope;
mod search_client;
mod support;
mod telemetry;
#[cfg(feature = "otel")]
mod traces;
mod wind_down;
