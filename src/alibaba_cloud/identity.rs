//! The operator's own identity: a role that its ServiceAccount may assume (RRSA), or an AccessKey in its environment.
//!
//! Variables as the vendor's SDKs read them; in a cluster of ACK a webhook sets those of RRSA.

use std::{path::PathBuf, sync::Arc};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::{
    access_key::AccessKey,
    client::{answer, date, host, http_client, parse_endpoint},
    error::{CloudError, Refusal},
    sign::canonical_query,
};

const ACTION: &str = "AssumeRoleWithOIDC";
/// A temporary AccessKey is replaced this long before it expires, as the vendor's SDKs do.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_mins(15);
/// How long one lasts, in seconds: the service's default, and the most that a role allows unless somebody changed it.
const LASTS: &str = "3600";

/// The operator's own identity. Cloning shares the temporary AccessKey.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Source>);

#[derive(Debug)]
enum Source {
    Fixed(AccessKey),
    Role(Role),
    Missing(String),
}

#[derive(Debug)]
struct Role {
    arn: String,
    provider_arn: String,
    token_file: PathBuf,
    /// Address of STS.
    endpoint: String,
    current: Mutex<Option<Temporary>>,
}

#[derive(Clone, Debug)]
struct Temporary {
    key: AccessKey,
    expires_at: Timestamp,
}

impl Identity {
    /// Reads it from environment variables: an AccessKey, else a role. Nothing is sent yet; what is missing is told when it is used.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Identity {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        Identity(Arc::new(source(&get)))
    }

    /// An AccessKey that can be used now.
    ///
    /// # Errors
    /// [`CloudError::NoIdentity`], or why STS gave none.
    pub async fn access_key(&self, now: Timestamp) -> Result<AccessKey, CloudError> {
        match &*self.0 {
            Source::Fixed(key) => Ok(key.clone()),
            Source::Role(role) => role.access_key(now).await,
            Source::Missing(problem) => Err(CloudError::NoIdentity { problem: problem.clone() }),
        }
    }
}

fn source(get: &impl Fn(&str) -> Option<String>) -> Source {
    if let (Some(id), Some(secret)) = (get("ALIBABA_CLOUD_ACCESS_KEY_ID"), get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")) {
        let security_token = get("ALIBABA_CLOUD_SECURITY_TOKEN").map(SecretString::from);
        return Source::Fixed(AccessKey { id, secret: secret.into(), security_token });
    }
    const NAMES: [&str; 3] =
        ["ALIBABA_CLOUD_ROLE_ARN", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE"];
    match NAMES.map(get) {
        [Some(arn), Some(provider_arn), Some(file)] => Source::Role(Role {
            arn,
            provider_arn,
            token_file: file.into(),
            endpoint: sts_endpoint(get),
            current: Mutex::default(),
        }),
        found => {
            let missing: Vec<_> =
                NAMES.iter().zip(&found).filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
            Source::Missing(format!(
                "the operator's environment lacks {}: set RRSA up for its ServiceAccount, or name a Secret in provider.alibabaCloud.credentialsSecretRef",
                missing.join(", ")
            ))
        }
    }
}

/// Chosen as by the vendor's SDKs.
fn sts_endpoint(get: &impl Fn(&str) -> Option<String>) -> String {
    let given = get("ALIBABA_CLOUD_STS_ENDPOINT").map(|given| match given.contains("://") {
        true => given,
        false => format!("https://{given}"),
    });
    given.unwrap_or_else(|| {
        let private = get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let name = if private { "sts-vpc" } else { "sts" };
        match get("ALIBABA_CLOUD_STS_REGION") {
            Some(region) => format!("https://{name}.{region}.aliyuncs.com"),
            None => "https://sts.aliyuncs.com".to_owned(),
        }
    })
}

impl Role {
    async fn access_key(&self, now: Timestamp) -> Result<AccessKey, CloudError> {
        // Held while STS is asked: the others wait for that answer instead of asking too.
        let mut current = self.current.lock().await;
        let lasts = |temporary: &Temporary, margin| temporary.expires_at > now + margin;
        if let Some(fresh) = current.as_ref().filter(|temporary| lasts(temporary, RENEW_BEFORE)) {
            return Ok(fresh.key.clone());
        }
        match self.assume(now).await {
            Ok(temporary) => Ok(current.insert(temporary).key.clone()),
            Err(error) => match current.as_ref().filter(|temporary| lasts(temporary, SignedDuration::ZERO)) {
                Some(old) => {
                    tracing::warn!(%error, "the temporary AccessKey could not be renewed; the old one still lasts a while");
                    Ok(old.key.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Trades the ServiceAccount's token for a temporary AccessKey. The request is not signed: the token is what lets in.
    async fn assume(&self, now: Timestamp) -> Result<Temporary, CloudError> {
        let endpoint = parse_endpoint(&self.endpoint)?;
        // Read each time: the kubelet replaces it.
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| CloudError::NoIdentity {
            problem: format!("{} (ALIBABA_CLOUD_OIDC_TOKEN_FILE) can't be read: {error}", self.token_file.display()),
        })?;
        let token = SecretString::from(token.trim());
        let request = http_client(&endpoint)?
            .post(self.url(&endpoint, now))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(self.form(&token));
        let (status, body) = answer(ACTION, &host(&endpoint), request).await?;
        if !(200..300).contains(&status) {
            // The token is no AccessKey, but must not be quoted either.
            let shown = AccessKey { id: String::new(), secret: token, security_token: None };
            let refusal = Refusal::parse(ACTION, status, &body, Some(&shown));
            refusal.log();
            return Err(CloudError::Refused(refusal));
        }
        read(&body).map_err(|source| CloudError::Decode { action: ACTION, source })
    }

    fn url(&self, endpoint: &Url, now: Timestamp) -> Url {
        let query = [("Action", ACTION), ("Version", "2015-04-01"), ("Format", "JSON"), ("Timestamp", &date(now))];
        let mut url = endpoint.clone();
        url.set_query(Some(&canonical_query(&query)));
        url
    }

    /// In the body, not in the query, where a proxy's log would keep the token.
    fn form(&self, token: &SecretString) -> String {
        canonical_query(&[
            ("RoleArn", self.arn.as_str()),
            ("OIDCProviderArn", &self.provider_arn),
            ("OIDCToken", token.expose_secret()),
            ("RoleSessionName", "reindex-operator"),
            ("DurationSeconds", LASTS),
        ])
    }
}

fn read(body: &[u8]) -> Result<Temporary, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        credentials: Credentials,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Credentials {
        access_key_id: String,
        access_key_secret: String,
        security_token: String,
        expiration: Timestamp,
    }
    let Answer { credentials } = serde_json::from_slice(body)?;
    let key = AccessKey {
        id: credentials.access_key_id,
        secret: credentials.access_key_secret.into(),
        security_token: Some(credentials.security_token.into()),
    };
    Ok(Temporary { key, expires_at: credentials.expiration })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Source {
        source(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_role_needs_all_three_variables_and_says_which_is_missing() {
        let Source::Missing(problem) =
            with(&[("ALIBABA_CLOUD_ROLE_ARN", "a"), ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "b")])
        else {
            panic!()
        };
        assert!(problem.contains("lacks ALIBABA_CLOUD_OIDC_TOKEN_FILE:"), "{problem}");
    }

    #[test]
    fn an_access_key_in_the_environment_comes_first() {
        let source = with(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", "i"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")]);
        assert!(matches!(source, Source::Fixed(AccessKey { security_token: None, .. })));
    }

    #[test]
    fn the_endpoint_of_sts_is_chosen_as_by_the_sdks() {
        let of = |variables: &[(&str, &str)]| {
            sts_endpoint(&|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), "https://sts.aliyuncs.com");
        assert_eq!(of(&[("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou")]), "https://sts.cn-hangzhou.aliyuncs.com");
        assert_eq!(
            of(&[("ALIBABA_CLOUD_STS_REGION", "cn-hangzhou"), ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")]),
            "https://sts-vpc.cn-hangzhou.aliyuncs.com"
        );
        assert_eq!(
            of(&[("ALIBABA_CLOUD_STS_ENDPOINT", "sts-vpc.cn-hangzhou.aliyuncs.com")]),
            "https://sts-vpc.cn-hangzhou.aliyuncs.com"
        );
    }
}
