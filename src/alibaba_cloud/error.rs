//! What can go wrong with a call of the API, whether it passes by itself, and what people are told.

use serde::Deserialize;

use super::access_key::AccessKey;
use crate::text::bounded;

/// Longest code and message that are kept of a refusal, in characters.
const CODE_LIMIT: usize = 100;
const MESSAGE_LIMIT: usize = 300;

/// A failed call. `Display` holds nothing secret and may stand in `status`.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The address of the API can't be used.
    #[error("failed to use the endpoint of Alibaba Cloud's API: {problem}")]
    InvalidEndpoint {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The HTTP client could not be made, for example because the system has no trusted certificates.
    #[error("failed to build the HTTP client for Alibaba Cloud's API")]
    BuildClient(#[source] reqwest::Error),
    /// Something that was given can't be put into a request.
    #[error("failed to put {what} into a request: it holds characters that a header can't carry")]
    InvalidArgument {
        /// What.
        what: &'static str,
    },
    /// No (whole) answer came.
    #[error("failed to reach Alibaba Cloud's API ({action} at {host}): {problem}")]
    Unreachable {
        /// The call.
        action: &'static str,
        /// Where it went.
        host: String,
        /// What happened.
        problem: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not what the API promises.
    #[error("failed to understand what Alibaba Cloud's API answered to {action}")]
    Decode {
        /// The call.
        action: &'static str,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is longer than the client reads.
    #[error("failed to read an answer of Alibaba Cloud's API to {action} of more than {limit} bytes")]
    AnswerTooLarge {
        /// The call.
        action: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The API said no.
    #[error("{}", .0.words())]
    Refused(Refusal),
    /// The operator has no identity of its own that it could use.
    #[error("failed to use the operator's own identity: {problem}")]
    NoIdentity {
        /// What is missing, and what to do.
        problem: String,
    },
}

/// An answer of the API that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call.
    pub action: &'static str,
    /// HTTP status.
    pub status: u16,
    /// `Code`, such as `InstanceNotFound`; empty where a proxy answered.
    pub code: String,
    /// `Message`, bounded; None where it quotes what is secret.
    pub message: Option<String>,
    /// `RequestId`, which the vendor's support asks for.
    pub request_id: Option<String>,
}

/// What is behind a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Too many calls.
    Throttled,
    /// The service is in trouble, or somebody used the same nonce.
    Unavailable,
    /// The instance is being changed already.
    Busy,
    /// The AccessKey is unknown, disabled, or its secret or token is wrong.
    WrongKeys,
    /// A temporary token is too old.
    TokenExpired,
    /// The request's date is too far from the API's clock.
    ClockSkew,
    /// There is no such instance in that region.
    UnknownInstance,
    /// The RAM user or role may not do that.
    Forbidden,
    /// Anything else.
    Other,
}

/// What becomes of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes by itself: try again, with pauses.
    Transient,
    /// The instance is at something else: wait, it is no error.
    Waiting,
    /// A person must act.
    Terminal,
}

impl Refusal {
    /// Reads `{"Code", "Message", "RequestId"}`, in either case of the first letter, as the vendor's SDKs do.
    pub(super) fn parse(action: &'static str, status: u16, body: &[u8], key: Option<&AccessKey>) -> Refusal {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            #[serde(rename = "Code", alias = "code")]
            code: String,
            #[serde(rename = "Message", alias = "message")]
            message: String,
            #[serde(rename = "RequestId", alias = "requestId")]
            request_id: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        let quotes = |text: &str| key.is_some_and(|key| key.is_quoted_in(text));
        let message = Some(bounded(&answer.message, MESSAGE_LIMIT)).filter(|text| !text.is_empty());
        Refusal {
            action,
            status,
            code: bounded(&answer.code, CODE_LIMIT),
            message: message.filter(|_| !quotes(&answer.message)),
            request_id: answer.request_id.map(|id| bounded(&id, CODE_LIMIT)),
        }
    }

    /// Tells the log what no status tells.
    pub(super) fn log(&self) {
        tracing::info!(
            action = self.action,
            status = self.status,
            code = self.code,
            request_id = self.request_id,
            message = self.message,
            "Alibaba Cloud refused a call"
        );
    }

    /// What is behind it, by `Code` first: the same code comes with different statuses.
    pub fn fault(&self) -> Fault {
        match self.code.as_str() {
            "InvalidSecurityToken.Expired" | "SecurityTokenExpired" => Fault::TokenExpired,
            "InvalidTimeStamp.Expired" | "InvalidTimeStamp.Format" | "IllegalTimestamp" => Fault::ClockSkew,
            "SignatureDoesNotMatch" | "IncompleteSignature" | "MissingSecurityToken" => Fault::WrongKeys,
            code if code.starts_with("InvalidAccessKeyId") || code.starts_with("InvalidSecurityToken") => {
                Fault::WrongKeys
            }
            // The last one answers a client token whose first request is still at work.
            "ConcurrencyUpdateInstanceConflict"
            | "InstanceDuplicateScheduledTask"
            | "InstanceStatusNotSupportCurrentAction"
            | "InstanceActivating"
            | "TokenPreviousRequestProcessError" => Fault::Busy,
            code if code.starts_with("InstanceNotFound") => Fault::UnknownInstance,
            code if code.starts_with("Throttling") => Fault::Throttled,
            "SignatureNonceUsed" | "ServiceUnavailable" | "InternalError" | "InternalServerError" => Fault::Unavailable,
            code if code.starts_with("Forbidden") || code.starts_with("NoPermission") => Fault::Forbidden,
            _ => match self.status {
                429 => Fault::Throttled,
                403 => Fault::Forbidden,
                500.. => Fault::Unavailable,
                _ => Fault::Other,
            },
        }
    }

    /// What happened and what to do, in our own words and with the code: they stand in a status, of a tenant's Reindex too. The log has the
    /// API's own message, which may tell of the account, and the request id, which is another one each time.
    fn words(&self) -> String {
        let what = match self.fault() {
            Fault::Throttled => "it has too many calls to answer; tried again later",
            Fault::Unavailable => "it is in trouble; tried again later",
            Fault::Busy => "the instance is being changed, or not in a state to be; waited for",
            Fault::WrongKeys => "it does not accept the AccessKey: correct its id, secret or token",
            Fault::TokenExpired => "the security token of the AccessKey is expired: provide a new pair",
            Fault::ClockSkew => "the clock of the operator's node is more than 15 minutes off: set it right",
            Fault::UnknownInstance => {
                "there is no such instance in that region for this account: correct instanceId or regionId"
            }
            Fault::Forbidden => "the RAM user or role lacks the permission: grant it the action",
            Fault::Other => "it was refused; the operator's log has its message",
        };
        // A proxy's code could be anything.
        let is_code =
            |code: &&str| !code.is_empty() && code.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
        let code = Some(self.code.as_str()).filter(is_code).unwrap_or("no code");
        format!("Alibaba Cloud's {}: {what} ({code}, HTTP status {})", self.action, self.status)
    }
}

impl CloudError {
    /// What becomes of the call.
    pub fn class(&self) -> Class {
        match self {
            CloudError::Unreachable { .. } => Class::Transient,
            CloudError::Refused(refusal) => match refusal.fault() {
                Fault::Throttled | Fault::Unavailable => Class::Transient,
                Fault::Busy => Class::Waiting,
                Fault::WrongKeys
                | Fault::TokenExpired
                | Fault::ClockSkew
                | Fault::UnknownInstance
                | Fault::Forbidden
                | Fault::Other => Class::Terminal,
            },
            CloudError::InvalidEndpoint { .. }
            | CloudError::BuildClient(_)
            | CloudError::InvalidArgument { .. }
            | CloudError::Decode { .. }
            | CloudError::AnswerTooLarge { .. }
            | CloudError::NoIdentity { .. } => Class::Terminal,
        }
    }

    /// A reason for a condition, in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            CloudError::InvalidEndpoint { .. } => "InvalidEndpoint",
            CloudError::BuildClient(_) => "ClientUnavailable",
            CloudError::InvalidArgument { .. } => "InvalidAccessKey",
            CloudError::Unreachable { .. } => "CloudUnreachable",
            CloudError::Decode { .. } | CloudError::AnswerTooLarge { .. } => "UnexpectedAnswer",
            CloudError::NoIdentity { .. } => "NoCloudIdentity",
            CloudError::Refused(refusal) => match refusal.fault() {
                Fault::Throttled => "CloudThrottled",
                Fault::Unavailable => "CloudUnavailable",
                Fault::Busy => "InstanceBusy",
                Fault::WrongKeys => "InvalidAccessKey",
                Fault::TokenExpired => "SecurityTokenExpired",
                Fault::ClockSkew => "ClockSkew",
                Fault::UnknownInstance => "InstanceNotFound",
                Fault::Forbidden => "CloudForbidden",
                Fault::Other => "CloudRefused",
            },
        }
    }

    /// The error of a request that got no (whole) answer.
    pub(super) fn transport(action: &'static str, host: &str, source: reqwest::Error) -> CloudError {
        let problem = match () {
            () if source.is_timeout() => "it did not answer in time",
            () if source.is_connect() => "no connection came about (name, network or certificate)",
            () => "the connection broke",
        };
        // The URL of the query would name the client token; the host is said.
        CloudError::Unreachable { action, host: host.to_owned(), problem, source: source.without_url() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> CloudError {
        let key = AccessKey { id: "id".into(), secret: "s3cret".into(), security_token: Some("t0ken".into()) };
        CloudError::Refused(Refusal::parse("DescribeInstance", status, body.as_bytes(), Some(&key)))
    }

    #[test]
    fn each_code_has_a_reason_and_a_class() {
        for (status, code, reason, class) in [
            (400, "Throttling.User", "CloudThrottled", Class::Transient),
            (429, "", "CloudThrottled", Class::Transient),
            (503, "ServiceUnavailable", "CloudUnavailable", Class::Transient),
            (502, "", "CloudUnavailable", Class::Transient),
            (400, "SignatureNonceUsed", "CloudUnavailable", Class::Transient),
            (400, "ConcurrencyUpdateInstanceConflict", "InstanceBusy", Class::Waiting),
            (400, "InstanceActivating", "InstanceBusy", Class::Waiting),
            (400, "InstanceStatusNotSupportCurrentAction", "InstanceBusy", Class::Waiting),
            (400, "InstanceDuplicateScheduledTask", "InstanceBusy", Class::Waiting),
            (404, "InvalidAccessKeyId.NotFound", "InvalidAccessKey", Class::Terminal),
            (400, "SignatureDoesNotMatch", "InvalidAccessKey", Class::Terminal),
            (400, "InvalidSecurityToken.Expired", "SecurityTokenExpired", Class::Terminal),
            (400, "InvalidTimeStamp.Expired", "ClockSkew", Class::Terminal),
            (400, "InstanceNotFound", "InstanceNotFound", Class::Terminal),
            (403, "Forbidden.RAM", "CloudForbidden", Class::Terminal),
            (400, "InvalidParameter", "CloudRefused", Class::Terminal),
        ] {
            let error = refused(status, &format!(r#"{{"Code":"{code}","Message":"m","RequestId":"r-1"}}"#));
            assert_eq!((error.reason(), error.class()), (reason, class), "{status} {code}");
            assert!(
                error.to_string().contains(code) && !error.to_string().contains("r-1"),
                "the log has the id: {error}"
            );
        }
    }

    #[test]
    fn a_message_that_quotes_the_token_is_withheld() {
        let error = refused(400, r#"{"Code":"InvalidParameter","Message":"x-acs-security-token:t0ken"}"#);
        assert!(!format!("{error} {error:?}").contains("t0ken"));
    }

    #[test]
    fn what_a_tenant_may_read_is_our_own_words_and_the_code() {
        for (status, code) in [(403, "Forbidden.RAM"), (400, "InvalidParameter"), (400, "InstanceActivating")] {
            let body = format!(r#"{{"code":"{code}","message":"user acs:ram::1234:user/ops of vpc-1"}}"#);
            let error = refused(status, &body);
            assert!(error.to_string().contains(code) && !error.to_string().contains("1234"), "{error}");
            assert!(format!("{error:?}").contains("1234"), "the log has it");
        }
        let error = refused(400, r#"{"code":"<b>no</b> code","message":"m"}"#);
        assert!(error.to_string().contains("(no code, HTTP status 400)"), "{error}");
    }

    #[test]
    fn what_is_no_json_leaves_the_status() {
        assert!(refused(404, "<html>").to_string().contains("HTTP status 404"));
    }
}
