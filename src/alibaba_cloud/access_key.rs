//! What the API is shown to let somebody in.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// An AccessKey pair of a RAM user, or a temporary one of STS. `Debug` shows nothing that is secret.
#[derive(Clone)]
pub struct AccessKey {
    /// The AccessKey ID; it is not secret.
    pub id: String,
    /// The AccessKey secret.
    pub secret: SecretString,
    /// The token that belongs to a temporary pair.
    pub security_token: Option<SecretString>,
}

impl AccessKey {
    /// Whether a text of the API quotes what is secret in it. A refused signature is answered with the server's own canonical request,
    /// which holds the token.
    pub(super) fn is_quoted_in(&self, text: &str) -> bool {
        let secrets = [Some(&self.secret), self.security_token.as_ref()];
        secrets.into_iter().flatten().map(ExposeSecret::expose_secret).any(|secret| text.contains(secret))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.security_token.as_ref().map(|_| "[redacted]");
        f.debug_struct("AccessKey")
            .field("id", &self.id)
            .field("secret", &"[redacted]")
            .field("security_token", &token)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown_and_a_quote_is_found() {
        let key = AccessKey { id: "id".into(), secret: "s3cret".into(), security_token: Some("t0ken".into()) };
        let shown = format!("{key:?}");
        assert!(!key.is_quoted_in(&shown) && shown.contains("id"), "{shown}");
        assert!(key.is_quoted_in("x-acs-security-token:t0ken") && key.is_quoted_in("[s3cret]"));
    }
}
