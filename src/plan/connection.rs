//! How a cluster is reached: what its spec says, and where that is silent, what its provider says.

use crate::api::{
    SearchCluster,
    search_cluster::{Auth, CaRef, Connection, KeyRef, PasswordRef},
};

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective<'a> {
    /// URL.
    pub endpoint: &'a str,
    /// Credentials.
    pub login: Login<'a>,
    /// The certificate authority.
    pub ca: Authority<'a>,
    /// The name that the endpoint's certificate must carry.
    pub server_name: Option<&'a str>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
}

/// Where the credentials are.
#[derive(Clone, Debug, PartialEq)]
pub enum Login<'a> {
    /// As the spec says.
    Spec(&'a Auth),
    /// As the provider says.
    Provider(&'a PasswordRef),
    /// None are sent.
    Nobody,
}

/// Where the certificate authority is.
#[derive(Clone, Debug, PartialEq)]
pub enum Authority<'a> {
    /// As the spec says; it must be there.
    Spec(&'a CaRef),
    /// As the provider says. It need not be there: a certificate of a public authority has none.
    Provider(&'a KeyRef),
    /// Those of the image.
    Image,
}

/// How the cluster is reached; None while its provider has not told what the spec leaves out.
pub fn effective(cluster: &SearchCluster) -> Option<Effective<'_>> {
    let spec = &cluster.spec;
    let told = told(cluster);
    if asks_provider(cluster) && told.is_none() {
        return None;
    }
    // An endpoint that a person wrote has a certificate of its own; a password that the provider keeps is the cluster's everywhere.
    let whole = told.filter(|_| spec.endpoint.is_none());
    let tls = spec.tls.as_ref();
    let insecure_skip_verify = tls.is_some_and(|tls| tls.insecure_skip_verify);
    Some(Effective {
        endpoint: endpoint(cluster)?,
        login: match (&spec.auth, told.and_then(|told| told.password.as_ref())) {
            (Some(auth), _) => Login::Spec(auth),
            (None, Some(password)) => Login::Provider(password),
            (None, None) => Login::Nobody,
        },
        ca: match (tls.and_then(|tls| tls.ca_ref.as_ref()), whole.and_then(|told| told.ca.as_ref())) {
            (Some(ca), _) => Authority::Spec(ca),
            (None, Some(ca)) if !insecure_skip_verify => Authority::Provider(ca),
            _ => Authority::Image,
        },
        server_name: tls
            .and_then(|tls| tls.server_name.as_deref())
            .or(whole.and_then(|told| told.server_name.as_deref())),
        insecure_skip_verify,
    })
}

/// The URL at which the cluster is reached; None while its provider has not told it.
pub fn endpoint(cluster: &SearchCluster) -> Option<&str> {
    cluster.spec.endpoint.as_deref().or(told(cluster).map(|told| told.endpoint.as_str()))
}

/// Whether the spec leaves something out that the provider knows.
pub fn asks_provider(cluster: &SearchCluster) -> bool {
    let spec = &cluster.spec;
    // A cloud keeps no password.
    let keeps_password = spec.provider.alibaba_cloud.is_none();
    spec.provider.object().is_some() && (spec.endpoint.is_none() || (spec.auth.is_none() && keeps_password))
}

/// What the provider told, if it is still the one that the spec names.
fn told(cluster: &SearchCluster) -> Option<&Connection> {
    let told = cluster.status.as_ref()?.connection.as_ref()?;
    (cluster.spec.provider.object().as_ref() == Some(&told.object)).then_some(told)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(spec: Value) -> SearchCluster {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": "es-1", "namespace": "search"}, "spec": spec,
            "status": {"connection": {
                "object": "Elasticsearch es-1", "endpoint": "https://es-1-es-http.search.svc:9200",
                "password": {"secret": "es-1-es-elastic-user", "username": "elastic", "key": "elastic"},
                "ca": {"name": "es-1-es-http-certs-public", "key": "ca.crt"},
            }},
        }))
        .unwrap()
    }

    #[test]
    fn the_provider_alone_is_enough() {
        let cluster = cluster(json!({"provider": {"eck": {"name": "es-1"}}}));
        let effective = effective(&cluster).unwrap();
        assert_eq!(effective.endpoint, "https://es-1-es-http.search.svc:9200");
        assert!(matches!(effective.login, Login::Provider(password) if password.secret == "es-1-es-elastic-user"));
        assert!(matches!(effective.ca, Authority::Provider(ca) if ca.name == "es-1-es-http-certs-public"));
    }

    #[test]
    fn what_the_spec_says_wins() {
        let cluster = cluster(json!({
            "endpoint": "https://es.example.com:443", "provider": {"eck": {"name": "es-1"}},
            "auth": {"apiKey": {"secretRef": {"name": "key"}}},
        }));
        let effective = effective(&cluster).unwrap();
        assert_eq!(effective.endpoint, "https://es.example.com:443");
        assert!(matches!(effective.login, Login::Spec(_)));
        assert_eq!(effective.ca, Authority::Image, "an endpoint of one's own has a certificate of its own");
    }

    #[test]
    fn what_another_object_said_counts_no_longer() {
        let cluster = cluster(json!({"provider": {"eck": {"name": "es-2"}}}));
        assert_eq!((effective(&cluster), endpoint(&cluster)), (None, None));
    }

    #[test]
    fn nothing_is_sent_without_the_password_that_the_provider_knows() {
        let mut cluster = cluster(json!({"endpoint": "https://a:9200", "provider": {"eck": {"name": "es-1"}}}));
        cluster.status = None;
        assert_eq!(effective(&cluster), None);
    }

    #[test]
    fn other_providers_have_no_defaults() {
        let cluster = cluster(json!({"endpoint": "http://a:9200"}));
        let effective = effective(&cluster).unwrap();
        assert_eq!((effective.login, effective.ca), (Login::Nobody, Authority::Image));
    }
}
