//! What a cluster is shown to let somebody in: in the operator's own requests, and in the body of a `_reindex` for its source.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::error::SearchError;

/// Credentials. `Debug` shows nothing that is secret.
#[derive(Clone)]
pub enum Credentials {
    /// HTTP basic authentication.
    Basic {
        /// The user's name; it is not secret.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// An API key of Elasticsearch.
    ApiKey(ApiKey),
}

/// An API key, in the form that a request carries: base64 of `id:key`.
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// The text is no API key. What it is instead stays unsaid: it may be half of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failed to read an API key")]
pub struct InvalidApiKey;

impl ApiKey {
    /// An API key in either form that Elasticsearch hands out: `encoded`, or `id` and `api_key` with a colon in between. No
    /// base64 text contains a colon, so the two can't be mistaken for each other.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<ApiKey, InvalidApiKey> {
        let encoded = match text.contains(':') {
            true => BASE64_STANDARD.encode(text),
            false => text.to_owned(),
        };
        match parts(&encoded) {
            Some(_) => Ok(ApiKey(encoded.into())),
            None => Err(InvalidApiKey),
        }
    }
}

/// `id` and `key` of an encoded API key.
fn parts(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (id, key) = text.split_once(':')?;
    let fine = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic());
    (fine(id) && fine(key)).then(|| (id.to_owned(), key.to_owned()))
}

impl Credentials {
    /// The value of `Authorization`.
    ///
    /// # Errors
    /// [`SearchError::InvalidArgument`] where it can't be a header's value, which base64 always can.
    pub(super) fn authorization(&self) -> Result<HeaderValue, SearchError> {
        let value = match self {
            Credentials::Basic { username, password } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{}", password.expose_secret())))
            }
            Credentials::ApiKey(ApiKey(encoded)) => format!("ApiKey {}", encoded.expose_secret()),
        };
        let mut header =
            HeaderValue::from_str(&value).map_err(|_| SearchError::InvalidArgument { what: "the credentials" })?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// Puts them into `source.remote`. An API key goes as a header where `remote.api_key` is not known; never as both, which is refused.
    pub(super) fn add_to_remote(&self, remote: &mut Value, takes_api_key: bool) {
        match self {
            Credentials::Basic { username, password } => {
                remote["username"] = json!(username);
                remote["password"] = json!(password.expose_secret());
            }
            Credentials::ApiKey(ApiKey(encoded)) if takes_api_key => {
                remote["api_key"] = json!(encoded.expose_secret());
            }
            Credentials::ApiKey(ApiKey(encoded)) => {
                remote["headers"] = json!({ "Authorization": format!("ApiKey {}", encoded.expose_secret()) });
            }
        }
    }

    /// Whether a text of a cluster quotes what is secret in them, be it only its beginning where the text was cut off (`…`).
    pub(super) fn are_quoted_in(&self, text: &str) -> bool {
        match self {
            Credentials::Basic { password, .. } => quotes(text, password.expose_secret()),
            Credentials::ApiKey(ApiKey(encoded)) => {
                let encoded = encoded.expose_secret();
                quotes(text, encoded) || parts(encoded).is_some_and(|(_, key)| quotes(text, &key))
            }
        }
    }
}

fn quotes(text: &str, secret: &str) -> bool {
    /// A shorter beginning of a secret says little, and many words end like one.
    const TELLING: usize = 4;
    let cut_off = |cut: &str| {
        (TELLING..secret.len()).any(|end| secret.get(..end).is_some_and(|beginning| cut.ends_with(beginning)))
    };
    !secret.is_empty() && (text.contains(secret) || text.strip_suffix('…').is_some_and(cut_off))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).field("password", &"[redacted]").finish()
            }
            Credentials::ApiKey(_) => f.write_str("ApiKey([redacted])"),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id-of-key:s3cret-key`
    const ENCODED: &str = "aWQtb2Yta2V5OnMzY3JldC1rZXk=";

    #[test]
    fn both_forms_of_an_api_key_are_sent_encoded() {
        for text in [ENCODED, "id-of-key:s3cret-key"] {
            let header = Credentials::ApiKey(ApiKey::parse(text).unwrap()).authorization().unwrap();
            assert_eq!(header.to_str().unwrap(), format!("ApiKey {ENCODED}"));
            assert!(header.is_sensitive());
        }
    }

    #[test]
    fn what_is_no_api_key_is_refused_and_not_quoted() {
        // The last ones are base64 of a text without a colon, and of one without a key.
        for text in ["", "s3cret", ":", "id:", ":key", "a b:c", "ApiKey aWQ6a2V5", "czNjcmV0", "aWQ6"] {
            let refused = ApiKey::parse(text).map(|_| ()).unwrap_err();
            assert_eq!(refused.to_string(), "failed to read an API key");
        }
    }

    #[test]
    fn a_quoted_secret_is_found_in_every_form_and_half_of_it_too() {
        let password = Credentials::Basic { username: "elastic".into(), password: "s3cret-pass".into() };
        let key = Credentials::ApiKey(ApiKey::parse(ENCODED).unwrap());
        for (credentials, text) in [
            (&password, "near [s3cret-pass]"),
            (&password, "near [s3cre…"),
            (&key, "near [ApiKey aWQtb2Yta2V5OnMzY3JldC1rZXk=]"),
            (&key, "near [ApiKey aWQtb2Yta2V5…"),
            (&key, "key s3cret-key of id"),
        ] {
            assert!(credentials.are_quoted_in(text), "{credentials:?} {text}");
        }
        for text in ["unable to authenticate with id id-of-key", "user elastic", "cut off as…", ""] {
            assert!(!password.are_quoted_in(text) && !key.are_quoted_in(text), "{text}");
        }
        let empty = Credentials::Basic { username: "elastic".into(), password: "".into() };
        assert!(!empty.are_quoted_in("anything"));
    }
}
