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
    let own = destination.metadata.namespace.as_deref().unwrap_or_default();
    let written = destination
        .spec
        .remotes
        .iter()
        .find(|remote| remote.cluster.names(own, source))
        .map(|remote| remote.endpoint.as_str())
        .or(source.spec.remote_endpoint.as_deref())
        .or(connection::endpoint(source))?;
    let url = written.trim_end_matches('/');
    let url = match Url::parse(url).ok()?.host_str() {
        Some(host) if is_private_link(host) => url.replacen(host, &without_zone(host), 1),
        _ => url.to_owned(),
    };
    Some(RemoteAddress { host_port: host_port(&url)?, url })
}

/// Whether it is the name of a PrivateLink endpoint of Alibaba Cloud: `ep-….epsrv-….<region>.privatelink.aliyuncs.com`.
pub fn is_private_link(host: &str) -> bool {
    host.starts_with("ep-") && host.ends_with(".privatelink.aliyuncs.com")
}

/// The name of a PrivateLink endpoint without its zone: the console shows `ep-x-cn-hangzhou-i.epsrv-y.cn-hangzhou.…`, one of the names
/// that `ep-x.epsrv-y.cn-hangzhou.…` stands for. Any other name is as it was.
pub fn without_zone(host: &str) -> String {
    let regional = || {
        let (endpoint, rest) = host.split_once('.').filter(|_| is_private_link(host))?;
        let (_service, rest) = rest.split_once('.')?;
        let region = rest.strip_suffix(".privatelink.aliyuncs.com")?;
        let (id, zone) = endpoint.rsplit_once(&format!("-{region}-"))?;
        let is_zone = !zone.is_empty() && zone.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        is_zone.then(|| format!("{id}{}", &host[endpoint.len()..]))
    };
    regional().unwrap_or_else(|| host.to_owned())
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
    fn a_zonal_name_of_a_private_link_is_used_without_its_zone() {
        let regional = "ep-bp1x.epsrv-bp1y.cn-hangzhou.privatelink.aliyuncs.com";
        let zonal = "ep-bp1x-cn-hangzhou-i.epsrv-bp1y.cn-hangzhou.privatelink.aliyuncs.com";
        assert_eq!(without_zone(zonal), regional);
        for other in [regional, "ep-a-cn-hangzhou-i.example.com", "es-cn-1.elasticsearch.aliyuncs.com", "ep-"] {
            assert_eq!(without_zone(other), other);
        }
        let source = cluster("es-2", json!({"endpoint": format!("http://{zonal}:9200/")}));
        assert_eq!(
            address(&cluster("es-1", json!({"endpoint": "https://d:9200"})), &source).unwrap(),
            RemoteAddress { url: format!("http://{regional}:9200"), host_port: format!("{regional}:9200") }
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
