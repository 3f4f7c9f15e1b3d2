//! The operator as a pod, on a real Kubernetes, between real Elasticsearch clusters. Needs `make up`'s cluster and the operator in it,
//! which `make test` brings up.

mod allowlist;
mod hostile;
mod interruptions;
mod leader;
mod opensearch;
mod plugin;
mod preflight;
mod proof;
mod ranges;
mod refusals;
mod rights;
mod rotation;
mod scope;
mod story;
mod trouble;
mod used;
mod world;
