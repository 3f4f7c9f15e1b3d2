//! What the real apiserver accepts and refuses. Needs `KUBECONFIG`, which `make test` sets.

mod eviction;
mod providers;
mod rules;
