//! What can end a reconcile early. All of it passes by itself: what a person must mend is a decision with a condition, not an error.

use crate::allowlist::provider::ProviderError;

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The apiserver did not answer, or refused.
    #[error("failed to {action}: {source}")]
    Kube {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: kube::Error,
    },
    /// A search cluster did not answer, or refused.
    #[error("failed to {action}: {}", .source.public_message())]
    Search {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: crate::search::SearchError,
    },
    /// There is no client of a search cluster.
    #[error("failed to connect: {0}")]
    Connect(crate::controller::connect::ConnectFault),
    /// What runs the cluster could not be changed.
    #[error(transparent)]
    Provider(ProviderError),
}

impl Error {
    /// Somebody else wrote the object meanwhile: read it again at once, it is no failure.
    pub fn is_conflict(&self) -> bool {
        if matches!(self, Error::Provider(ProviderError::Conflict { .. })) {
            return true;
        }
        let (Error::Kube { source, .. } | Error::Provider(ProviderError::Kube { source, .. })) = self else {
            return false;
        };
        matches!(source, kube::Error::Api(status) if status.code == 409)
    }

    /// Who stands in the way, in one word.
    pub fn class(&self) -> &'static str {
        match self {
            _ if self.is_conflict() => "Conflict",
            Error::Kube { .. } => "Kubernetes",
            Error::Search { .. } => "SearchCluster",
            Error::Connect(_) => "Connection",
            Error::Provider(_) => "Provider",
        }
    }

    /// For `map_err`.
    pub fn kube(action: &'static str) -> impl FnOnce(kube::Error) -> Error {
        move |source| Error::Kube { action, source }
    }

    /// For `map_err`.
    pub fn search(action: &'static str) -> impl FnOnce(crate::search::SearchError) -> Error {
        move |source| Error::Search { action, source }
    }
}
