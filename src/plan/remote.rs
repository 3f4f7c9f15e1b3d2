//! At which address a destination reaches a source.

use url::Url;

use crate::api::SearchCluster;

use super::connection;

/// A source's address as the destination is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAddress {
    /// `scheme://host:port`, with a path prefix if one was written: what `remote.host` carries.
    pub url: String,
    /// `host:port`: what the allowlist must hold.
    pub host_port: String,
}

/// The address of `source` for `destination`: the destination's own `remotes` entry, else the source's `remoteEndpoint`, else its
/// endpoint. None if the text is not a URL with host and port, which admission refuses, or if its provider has not told it yet.
pub fn address(destination: &SearchCluster, source: &SearchCluster) -> Option<RemoteAddress> {
    let namespace = |cluster: &SearchCluster| cluster.metadata.namespace.clone().unwrap_or_default();
    let own = namespace(destination);
    let written = destination
        .spec
        .remotes
        .iter()
        .find(|remote| {
            Some(&remote.cluster.name) == source.metadata.name.as_ref()
                && remote.cluster.namespace_or(&own) == namespace(source)
        })
        .map(|remote| remote.endpoint.as_str())
        .or(source.spec.remote_endpoint.as_deref())
        .or(connection::endpoint(source))?;
    Some(RemoteAddress { url: written.trim_end_matches('/').to_owned(), host_port: host_port(written)? })
}

/// `host:port` of a URL, as it stands on an allowlist. The port must be written: `remote.host` is refused without one.
pub fn host_port(url: &str) -> Option<String> {
    let parsed = Url::parse(url).ok()?;
    let host = parsed.host_str()?;
    // `Url` drops a scheme's default port, so 80 and 443 come from the scheme.
    Some(format!("{host}:{}", parsed.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(name: &str, spec: Value) -> SearchCluster {
        serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": name, "namespace": "search"}, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn the_destinations_own_way_to_a_source_wins() {
        let source = cluster("es-2", json!({"endpoint": "https://a:9200", "remoteEndpoint": "https://b:9200"}));
        let plain = cluster("es-1", json!({"endpoint": "https://d:9200"}));
        let private = cluster(
            "es-1",
            json!({"endpoint": "https://d:9200", "remotes": [{"cluster": {"name": "es-2"}, "endpoint": "http://ep-1:80/"}]}),
        );
        assert_eq!(address(&plain, &source).unwrap().host_port, "b:9200");
        assert_eq!(
            address(&private, &source).unwrap(),
            RemoteAddress { url: "http://ep-1:80".into(), host_port: "ep-1:80".into() }
        );
    }

    #[test]
    fn a_remote_of_another_namespace_is_not_taken() {
        let source = cluster("es-2", json!({"endpoint": "https://a:9200"}));
        let other = json!({"endpoint": "https://d:9200",
            "remotes": [{"cluster": {"name": "es-2", "namespace": "elsewhere"}, "endpoint": "http://evil:80"}]});
        assert_eq!(address(&cluster("es-1", other), &source).unwrap().host_port, "a:9200");
    }
}
