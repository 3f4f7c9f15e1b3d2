//! The operator without Kubernetes: its controllers on an apiserver in memory.
//!
//! ```text
//!  manifests ──► Store (admission, versions, finalizers) ◄──► Server ◄──► the controllers, unchanged
//!                  │
//!                  └──► state file: a run that was killed goes on where it was
//! ```

pub mod admission;
pub mod manifests;
mod rules;
pub mod server;
pub mod state;
pub mod store;

use std::{collections::BTreeSet, path::Path};

use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    alibaba_cloud::Identity, allowlist::alibaba_cloud::OperatorIdentity, controller, plan::scope::Scope,
    telemetry::metrics::Metrics,
};

use admission::{Admission, AdmissionFault};
use manifests::Manifests;
use server::Server;
use state::{StateFault, StateFile};
use store::{Store, key_of};

/// Why a run can't begin. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LocalFault {
    /// A fault of this crate.
    #[error(transparent)]
    Admission(#[from] AdmissionFault),
    /// The state of an earlier run can't be used.
    #[error(transparent)]
    State(#[from] StateFault),
    /// An object is not as its definition says.
    #[error("{0}")]
    Invalid(String),
    /// The state is that of other manifests.
    #[error("{state} goes on with {what}, which is in none of the manifests: add it, or name another state by --state")]
    Other {
        /// The file.
        state: String,
        /// Kind and name.
        what: String,
    },
}

/// An apiserver with these objects, which go on with what the state file knows of them.
///
/// # Errors
/// [`LocalFault`].
pub fn serve(manifests: Manifests, state: Option<&Path>) -> Result<Server, LocalFault> {
    let mut store = Store::admitting(Admission::new()?);
    if let Some(path) = state {
        let (file, objects) = StateFile::open(path)?;
        let wanted: BTreeSet<_> = manifests.objects.iter().map(key_of).collect();
        if let Some(other) = objects.iter().find(|object| !wanted.contains(&key_of(object))) {
            return Err(LocalFault::Other { state: path.display().to_string(), what: title(other) });
        }
        store.keep(file, objects);
    }
    for object in manifests.objects {
        store
            .declare(object)
            .map_err(|(_, refusal)| LocalFault::Invalid(refusal["message"].as_str().unwrap_or_default().to_owned()))?;
    }
    Ok(Server::new(store))
}

fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"])
    )
}

/// The operator: both controllers, until this future is dropped. They have no identity at any cloud.
pub async fn operate(client: Client) {
    let identity = OperatorIdentity { identity: Identity::from_environment(|_| None), namespaces: BTreeSet::new() };
    let everywhere = Scope::default();
    let (_never, winding_down) = watch::channel(false);
    let end = std::future::pending();
    controller::run(client, Metrics::new(), "local".to_owned(), identity, everywhere, winding_down, end).await;
}
