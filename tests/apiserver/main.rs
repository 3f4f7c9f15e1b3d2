//! What the real apiserver accepts and refuses. Needs `KUBECONFIG`, which `make test` sets.

mod chart;
mod docs;
mod eviction;
mod gitops;
mod hostile;
mod install;
mod lease;
mod monitoring;
mod providers;
mod rights;
mod rules;
