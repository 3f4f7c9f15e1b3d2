//! What went wrong between the destination and the source of a remote `_reindex`, read from the destination's error.
//!
//! The destination wraps what the source said into its own error, sometimes the source's whole body. So the parts are
//! only looked at; nothing of them is passed on.

use serde_json::Value;

use super::request::collect_kinds;

/// Why a remote `_reindex` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The destination's allowlist does not have the source.
    NotAllowed,
    /// The source refused the credentials (401).
    Unauthorized,
    /// The source knows the user, who may not do this there (403).
    Forbidden,
    /// The destination does not trust the source's certificate.
    Untrusted,
    /// The destination could not reach the source, or lost it.
    Unreachable(&'static str),
    /// A batch was larger than the 100 MB that the destination buffers.
    ChunkTooLarge,
    /// More than a cluster takes at once: less may succeed.
    Overloaded,
    /// A lost scroll, a node that went away: the same request may succeed later.
    Transient,
    /// Anything else.
    Other,
}

/// An error object of the cluster, taken apart.
pub(super) struct Evidence {
    /// Every `type`, outermost first.
    kinds: Vec<String>,
    /// Every `reason`, outermost first.
    reasons: Vec<String>,
    /// HTTP statuses that the source answered, as far as the error tells.
    remote_statuses: Vec<u16>,
    /// `type` of the root cause; the source's own where its answer is quoted.
    root_kind: Option<String>,
}

/// `type` of an error's root cause, or of the error itself.
fn root_kind(error: &Value) -> Option<String> {
    error["root_cause"][0]["type"].as_str().or(error["type"].as_str()).map(str::to_owned)
}

impl Evidence {
    /// Reads `{"type", "reason", "caused_by", "root_cause"…}`.
    pub(super) fn read(error: &Value) -> Self {
        let mut evidence = Evidence {
            kinds: Vec::new(),
            reasons: Vec::new(),
            remote_statuses: Vec::new(),
            root_kind: root_kind(error),
        };
        collect_kinds(error, &mut evidence.kinds);
        evidence.collect(error, 0);
        evidence
    }

    fn collect(&mut self, error: &Value, depth: u8) {
        // What a script throws is its author's words, and may read like anything.
        if depth > 8 || error["type"] == "script_exception" {
            return;
        }
        if let Some(reason) = error["reason"].as_str() {
            self.read_reason(reason);
        }
        for nested in ["caused_by", "suppressed", "root_cause"] {
            match &error[nested] {
                Value::Array(items) => items.iter().for_each(|item| self.collect(item, depth + 1)),
                Value::Object(_) => self.collect(&error[nested], depth + 1),
                _ => {}
            }
        }
    }

    /// A stored task error has no status of its own; the source's is in the text, as the status line of the HTTP
    /// exchange or inside the body that is quoted behind `body=`.
    fn read_reason(&mut self, reason: &str) {
        let status_line = reason.split("status line [HTTP/").skip(1).filter_map(|rest| rest.split([' ', ']']).nth(1));
        self.remote_statuses.extend(status_line.filter_map(|code| code.parse::<u16>().ok()));
        if let Some(start) = reason.find("body={") {
            let mut quoted = serde_json::Deserializer::from_str(&reason[start + "body=".len()..]).into_iter::<Value>();
            if let Some(Ok(body)) = quoted.next() {
                self.remote_statuses.extend(body["status"].as_u64().and_then(|status| u16::try_from(status).ok()));
                collect_kinds(&body["error"], &mut self.kinds);
                self.root_kind = root_kind(&body["error"]).or(self.root_kind.take());
            }
        }
        self.reasons.push(reason.to_owned());
    }

    fn any_kind(&self, kinds: &[&str]) -> bool {
        self.kinds.iter().any(|kind| kinds.contains(&kind.as_str()))
    }

    fn any_reason(&self, texts: &[&str]) -> bool {
        self.reasons.iter().any(|reason| texts.iter().any(|text| reason.contains(text)))
    }

    /// The fault that the evidence shows. The order matters: a cause that needs a person is found before the loss of a
    /// connection that it ends in.
    pub(super) fn fault(&self) -> Fault {
        // "not whitelisted in", "not allowlisted in", "either not whitelisted in … or blocked in …"
        if self.any_reason(&[
            "whitelisted in reindex.remote",
            "allowlisted in reindex.remote",
            "in reindex.remote.blocklist",
        ]) {
            return Fault::NotAllowed;
        }
        if self.any_reason(&["Remote responded with a chunk that was too large"])
            || self.any_kind(&["content_too_long_exception"])
        {
            return Fault::ChunkTooLarge;
        }
        if self.kinds.iter().any(|kind| TRUST.contains(&kind.as_str()))
            || self.any_reason(&[
                "PKIX path",
                "unable to find valid certification path",
                "No subject alternative names",
                "No name matching",
            ])
        {
            return Fault::Untrusted;
        }
        if self.remote_statuses.contains(&401) {
            return Fault::Unauthorized;
        }
        if self.remote_statuses.contains(&403) {
            return Fault::Forbidden;
        }
        if self.remote_statuses.contains(&429)
            || self.any_kind(OVERLOADED)
            || self.any_reason(&["too many scroll contexts", "TOO_MANY_REQUESTS"])
        {
            return Fault::Overloaded;
        }
        if self.remote_statuses.iter().any(|status| *status >= 500) || self.any_kind(TRANSIENT) {
            return Fault::Transient;
        }
        match NETWORK.iter().find(|(kind, _)| self.any_kind(&[kind])) {
            Some((_, words)) => Fault::Unreachable(words),
            None => Fault::Other,
        }
    }

    /// Whether the error came from talking to the source, not from the destination itself.
    pub(super) fn is_remote(&self) -> bool {
        !self.remote_statuses.is_empty() || self.any_kind(&["response_exception"])
    }

    /// Whether it says that a task, or the node that ran it, is not there any more.
    pub(super) fn has_ended(&self) -> bool {
        self.any_kind(&["resource_not_found_exception", "no_such_node_exception"])
    }

    /// `type` of the root cause. It may be the source's text: check its form before it is shown.
    pub(super) fn root_kind(&self) -> Option<&str> {
        self.root_kind.as_deref()
    }
}

/// Java's TLS exceptions, as Elasticsearch spells them.
const TRUST: &[&str] = &[
    "s_s_l_exception",
    "s_s_l_handshake_exception",
    "s_s_l_peer_unverified_exception",
    "sun_cert_path_builder_exception",
    "validator_exception",
    "certificate_exception",
];

/// What less load would not have met.
const OVERLOADED: &[&str] = &[
    "circuit_breaking_exception",
    "es_rejected_execution_exception",
    "open_search_rejected_execution_exception",
    "opensearch_rejected_execution_exception",
    "rejected_execution_exception",
];

/// What goes away by itself.
const TRANSIENT: &[&str] = &[
    "cluster_manager_not_discovered_exception",
    "master_not_discovered_exception",
    "no_shard_available_action_exception",
    "node_closed_exception",
    "node_disconnected_exception",
    "node_not_connected_exception",
    "process_cluster_event_timeout_exception",
    "receive_timeout_transport_exception",
    "search_context_missing_exception",
    "task_cancelled_exception",
    "unavailable_shards_exception",
];

/// The loss of a connection, with our words for it. The more exact ones come first.
const NETWORK: &[(&str, &str)] = &[
    ("unknown_host_exception", "its host name could not be resolved"),
    ("unresolved_address_exception", "its host name could not be resolved"),
    ("no_route_to_host_exception", "there is no route to it"),
    ("connect_timeout_exception", "the connection timed out"),
    ("connect_exception", "the connection was refused"),
    ("socket_timeout_exception", "it did not answer in time"),
    ("timeout_exception", "it did not answer in time"),
    ("connection_closed_exception", "the connection was closed"),
    ("connection_request_timeout_exception", "the connection timed out"),
    ("closed_channel_exception", "the connection was closed"),
    ("socket_exception", "the connection broke"),
    ("unsupported_http_version_exception", "it does not speak HTTP"),
    ("i_o_exception", "the connection broke"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_script_throws_is_no_evidence() {
        for text in ["status line [HTTP/1.1 401 x]", "whitelisted in reindex.remote", "body={\"status\":429}"] {
            let thrown = json!({"type": "illegal_argument_exception", "reason": text});
            let script = json!({"type": "script_exception", "reason": "runtime error", "caused_by": thrown});
            assert!(matches!(Evidence::read(&script).fault(), Fault::Other), "{text}");
            assert!(!matches!(Evidence::read(&thrown).fault(), Fault::Other), "{text}");
        }
    }
}
