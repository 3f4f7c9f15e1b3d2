//! What can go wrong with a call: whether it is worth trying again, and what of it may be shown.

use std::error::Error as StdError;

use super::credentials::Credentials;
pub(super) use crate::text::bounded;

/// A failed call to a cluster.
///
/// `Display` and [`public_message`](SearchError::public_message) hold no password, no address and no body; bodies go
/// to the debug log only.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The endpoint or server name of the [`Connection`](super::Connection) cannot be used.
    #[error("failed to use the endpoint: {problem}")]
    InvalidEndpoint {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The CA certificate cannot be used.
    #[error("failed to read the CA certificate: {problem}")]
    InvalidCertificate {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The process has no default rustls crypto provider: an error in the program's start.
    #[error("failed to set up TLS: no crypto provider is installed")]
    NoCryptoProvider,
    /// The HTTP client could not be made, for example because the system has no trusted certificates.
    #[error("failed to build the HTTP client")]
    BuildClient(#[source] reqwest::Error),
    /// The name is none of one index, alias or data stream, so nothing was sent.
    #[error("failed to use a name as that of one index: {problem}")]
    InvalidName {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An argument cannot be put into a request, so nothing was sent.
    #[error("failed to put {what} into a request")]
    InvalidArgument {
        /// Which argument.
        what: &'static str,
    },
    /// No connection came about: DNS, refused, no route, or not within 5 s.
    #[error("failed to connect to the cluster")]
    Connect(#[source] reqwest::Error),
    /// The TLS handshake failed, mostly over trust.
    #[error("failed to trust the cluster: {fault}")]
    Tls {
        /// What about it.
        fault: TlsFault,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// Connected, but the answer did not come in time.
    #[error("failed to get an answer in time")]
    Timeout(#[source] reqwest::Error),
    /// The connection broke before the whole answer was there.
    #[error("failed to get a whole answer")]
    Interrupted(#[source] reqwest::Error),
    /// 401: the credentials are missing or wrong.
    #[error("failed to authenticate: {0}")]
    Unauthorized(Rejection),
    /// 403: the user may not do that (or a block is on the index).
    #[error("failed for lack of permission: {0}")]
    Forbidden(Rejection),
    /// Any other answer that is not a success.
    #[error("failed with an answer of {0}")]
    Status(Rejection),
    /// The answer is not what the API promises.
    #[error("failed to understand the answer to {what}")]
    Decode {
        /// Which answer.
        what: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is longer than the client reads.
    #[error("failed to read an answer of more than {limit} bytes")]
    ResponseTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The call succeeded on some shards only, so its numbers count for nothing.
    #[error("failed on {failed} of {total} shards")]
    PartialShards {
        /// Shards that failed or had no copy to ask.
        failed: u64,
        /// Shards that were asked.
        total: u64,
        /// `type` of the first failure, where one is given.
        kind: Option<String>,
    },
    /// Some nodes did not answer, so what is not in the answer may exist all the same.
    #[error("failed to hear from {failed} nodes")]
    IncompleteNodes {
        /// Nodes that failed.
        failed: u64,
    },
    /// The cluster has no master yet (its UUID is `_na_`).
    #[error("failed to find a formed cluster")]
    NotFormed,
    /// The change was accepted but not acknowledged by all nodes in time; it may still come.
    #[error("failed to have the change acknowledged in time")]
    NotAcknowledged,
    /// The name stands for several indices where one was expected.
    #[error("failed to find one index behind the name: there are {count}")]
    SeveralIndices {
        /// How many there are.
        count: usize,
    },
}

/// What about TLS failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate was issued by nobody that is trusted.
    #[error("its certificate is issued by an authority that is not trusted")]
    UnknownIssuer,
    /// The certificate is for another name.
    #[error("its certificate is not valid for the name")]
    WrongName,
    /// The certificate is expired or not valid yet.
    #[error("its certificate is expired or not valid yet")]
    Expired,
    /// The certificate is unusable for another cause (revoked, malformed, a wrong signature or purpose).
    #[error("its certificate is not valid")]
    InvalidCertificate,
    /// The two sides found no common ground: not TLS at all, no common version, or a client certificate was asked for.
    #[error("the TLS handshake failed")]
    Handshake,
}

/// An answer of the cluster that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// HTTP status.
    pub status: u16,
    /// `type` of the root cause, for example `index_not_found_exception`.
    pub kind: Option<String>,
    /// The root cause's `reason`, bounded and without control characters. The cluster's own words: it may quote what was sent.
    pub reason: Option<String>,
    /// Every `type` in the answer, root causes and causes included.
    pub kinds: Vec<String>,
}

/// Longest text that [`SearchError::public_message`] gives, in characters.
const PUBLIC_LIMIT: usize = 300;

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP status {}", self.status)?;
        if let Some(kind) = &self.kind {
            write!(f, " {kind}")?;
        }
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl Rejection {
    /// Whether that `type` is anywhere in the answer.
    #[must_use]
    pub fn has_kind(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
    }
}

impl SearchError {
    /// HTTP status of the answer, where there was one that is not a success.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.rejection().map(|rejection| rejection.status)
    }

    /// The cluster's refusal, where the error is one.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Unauthorized(rejection) | Self::Forbidden(rejection) | Self::Status(rejection) => Some(rejection),
            _ => None,
        }
    }

    /// `type` of the root cause, for example `index_not_found_exception`.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::PartialShards { kind, .. } => kind.as_deref(),
            _ => self.rejection()?.kind.as_deref(),
        }
    }

    /// 404: index, task or path does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// It exists already, or somebody else was faster: 409, or 400 `resource_already_exists_exception`.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.rejection().is_some_and(|r| r.status == 409 || r.has_kind("resource_already_exists_exception"))
    }

    /// Whether the answer leads to another address. Nobody followed it.
    #[must_use]
    pub fn is_redirect(&self) -> bool {
        self.status().is_some_and(|status| (300..400).contains(&status))
    }

    /// 401 or 403.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized(_) | Self::Forbidden(_))
    }

    /// No answer at all: DNS, connection, timeout, or broken off. TLS is [`is_untrusted`](Self::is_untrusted).
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout(_) | Self::Interrupted(_))
    }

    /// The TLS handshake failed.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }

    /// Whether the same call may well succeed a little later: network, timeout, 408, 409, 429, 5xx, a cluster that is
    /// not formed, shards or nodes that are away.
    ///
    /// Credentials and trust are not among them: they mend only when somebody changes a Secret.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(_)
            | Self::Timeout(_)
            | Self::Interrupted(_)
            | Self::PartialShards { .. }
            | Self::IncompleteNodes { .. }
            | Self::NotFormed
            | Self::NotAcknowledged => true,
            Self::Status(rejection) => matches!(rejection.status, 408 | 409 | 429 | 500..),
            Self::InvalidEndpoint { .. }
            | Self::InvalidCertificate { .. }
            | Self::NoCryptoProvider
            | Self::BuildClient(_)
            | Self::InvalidName { .. }
            | Self::InvalidArgument { .. }
            | Self::Tls { .. }
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::Decode { .. }
            | Self::ResponseTooLarge { .. }
            | Self::SeveralIndices { .. } => false,
        }
    }

    /// A reason for a condition or an event, in CamelCase.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidEndpoint { .. } => "InvalidEndpoint",
            Self::InvalidCertificate { .. } => "InvalidCertificate",
            Self::NoCryptoProvider | Self::BuildClient(_) => "ClientUnavailable",
            Self::InvalidName { .. } | Self::InvalidArgument { .. } => "InvalidName",
            Self::Connect(_) | Self::Timeout(_) | Self::Interrupted(_) => "Unreachable",
            Self::Tls { .. } => "TlsUntrusted",
            Self::Unauthorized(_) => "AuthenticationFailed",
            Self::Forbidden(_) => "Forbidden",
            Self::Status(rejection) => match rejection.status {
                300..400 => "Redirected",
                404 => "NotFound",
                429 => "Overloaded",
                500.. => "ClusterUnavailable",
                _ => "Rejected",
            },
            Self::Decode { .. } | Self::ResponseTooLarge { .. } => "UnexpectedAnswer",
            Self::PartialShards { .. } => "ShardsUnavailable",
            Self::IncompleteNodes { .. } => "NodesUnavailable",
            Self::NotFormed => "ClusterNotFormed",
            Self::NotAcknowledged => "NotAcknowledged",
            Self::SeveralIndices { .. } => "SeveralIndices",
        }
    }

    /// What may stand in `status`, in an event or in a metric's log line: at most 300 characters, on one line, without
    /// passwords, addresses or bodies.
    #[must_use]
    pub fn public_message(&self) -> String {
        let text = match self {
            Self::Connect(source) if source.is_timeout() => format!("{self} within 5 s"),
            Self::Connect(source) => match connect_cause(source) {
                Some(cause) => format!("{self}: {cause}"),
                None => self.to_string(),
            },
            Self::Status(Rejection { status: 300..400, .. }) => format!(
                "{self}: it redirects to another address, which is not followed since credentials would go there; name the address itself"
            ),
            other => other.to_string(),
        };
        bounded(&text, PUBLIC_LIMIT)
    }

    /// The error without the cluster's reason where that quotes what is secret in these.
    pub(super) fn withholding(self, credentials: &Credentials) -> Self {
        let clean = |rejection: Rejection| Rejection {
            reason: rejection.reason.filter(|reason| !credentials.are_quoted_in(reason)),
            ..rejection
        };
        match self {
            Self::Unauthorized(rejection) => Self::Unauthorized(clean(rejection)),
            Self::Forbidden(rejection) => Self::Forbidden(clean(rejection)),
            Self::Status(rejection) => Self::Status(clean(rejection)),
            other => other,
        }
    }

    /// The error of making a client.
    pub(super) fn build(source: reqwest::Error) -> Self {
        Self::BuildClient(source.without_url())
    }

    /// The error of a request that got no (whole) answer.
    pub(super) fn transport(source: reqwest::Error) -> Self {
        // The URL would name the index, and with a careless endpoint more.
        let source = source.without_url();
        if let Some(fault) = tls_fault(&source) {
            return Self::Tls { fault, source };
        }
        if source.is_connect() {
            Self::Connect(source)
        } else if source.is_timeout() {
            Self::Timeout(source)
        } else {
            Self::Interrupted(source)
        }
    }

    /// The error of an answer that is not a success.
    pub(super) fn rejected(status: u16, body: &[u8]) -> Self {
        let rejection = Rejection::parse(status, body);
        match status {
            401 => Self::Unauthorized(rejection),
            403 => Self::Forbidden(rejection),
            _ => Self::Status(rejection),
        }
    }
}

/// The first cause in the chain for which `pick` finds something. `io::Error` hides the error that it wraps from
/// `source()`, so that one is looked into as well.
fn find_cause<T>(
    error: &(dyn StdError + 'static),
    pick: &impl Fn(&(dyn StdError + 'static)) -> Option<T>,
) -> Option<T> {
    if let Some(found) = pick(error) {
        return Some(found);
    }
    if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        return find_cause(inner, pick);
    }
    find_cause(error.source()?, pick)
}

fn tls_fault(error: &reqwest::Error) -> Option<TlsFault> {
    use rustls::CertificateError as Certificate;
    find_cause(error, &|cause| {
        Some(match cause.downcast_ref::<rustls::Error>()? {
            rustls::Error::InvalidCertificate(problem) => match problem {
                Certificate::UnknownIssuer => TlsFault::UnknownIssuer,
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => TlsFault::WrongName,
                Certificate::Expired
                | Certificate::ExpiredContext { .. }
                | Certificate::NotValidYet
                | Certificate::NotValidYetContext { .. } => TlsFault::Expired,
                _ => TlsFault::InvalidCertificate,
            },
            _ => TlsFault::Handshake,
        })
    })
}

fn connect_cause(error: &reqwest::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    if error.is_dns() {
        return Some("its name could not be resolved");
    }
    find_cause(error, &|cause| match cause.downcast_ref::<std::io::Error>()?.kind() {
        ErrorKind::ConnectionRefused => Some("the connection was refused"),
        ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Some("the connection was reset"),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Some("there is no route to it"),
        ErrorKind::TimedOut => Some("it did not answer"),
        _ => None,
    })
}
