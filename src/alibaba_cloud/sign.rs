//! Signature V3 of Alibaba Cloud, `ACS3-HMAC-SHA256`.
//!
//! Source: <https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature>. None of the crates that sign
//! this way goes without a second stack for time or HTTP, and it is short.

use std::collections::BTreeMap;

use ring::{digest, hmac};
use secrecy::ExposeSecret;

use super::access_key::AccessKey;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What is signed of a request.
pub(super) struct Signed<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// The path as it is sent, encoded.
    pub path: &'a str,
    /// The query as it is sent: [`canonical_query`].
    pub query: &'a str,
    /// Headers by their lower-case names, `x-acs-content-sha256` among them; all of them are signed.
    pub headers: &'a BTreeMap<&'a str, String>,
    /// Hash of the body: [`sha256`].
    pub body_hash: &'a str,
}

impl Signed<'_> {
    /// The value of `Authorization`.
    pub fn authorization(&self, key: &AccessKey) -> String {
        let names = self.headers.keys().copied().collect::<Vec<_>>().join(";");
        let text = format!("{ALGORITHM}\n{}", sha256(self.canonical(&names).as_bytes()));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret.expose_secret().as_bytes());
        let signature = hex(hmac::sign(&secret, text.as_bytes()).as_ref());
        format!("{ALGORITHM} Credential={},SignedHeaders={names},Signature={signature}", key.id)
    }

    fn canonical(&self, names: &str) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        format!("{}\n{}\n{}\n{headers}\n{names}\n{}", self.method, self.path, self.query, self.body_hash)
    }
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The query as it is both signed and sent: sorted, and encoded as RFC 3986 wants it.
pub(super) fn canonical_query<V: AsRef<str>>(parameters: &[(&str, V)]) -> String {
    let mut pairs: Vec<_> = parameters.iter().map(|(key, value)| (encode(key), encode(value.as_ref()))).collect();
    pairs.sort();
    pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes everything but letters, digits and `-_.~`.
pub(super) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn key() -> AccessKey {
        AccessKey { id: "YourAccessKeyId".into(), secret: "YourAccessKeySecret".into(), security_token: None }
    }

    fn headers(host: &str, action: &str, version: &str, date: &str, hash: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("host", host.to_owned()),
            ("x-acs-action", action.to_owned()),
            ("x-acs-content-sha256", hash.to_owned()),
            ("x-acs-date", date.to_owned()),
            ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d".to_owned()),
            ("x-acs-version", version.to_owned()),
        ])
    }

    /// Hash of the canonical request, and signature.
    fn signature(signed: &Signed) -> (String, String) {
        let names = signed.headers.keys().copied().collect::<Vec<_>>().join(";");
        let authorization = signed.authorization(&key());
        let (start, signature) = authorization.split_once(",Signature=").unwrap();
        assert_eq!(start, format!("ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders={names}"));
        (sha256(signed.canonical(&names).as_bytes()), signature.to_owned())
    }

    #[test]
    fn the_example_of_the_documentation_comes_out() {
        let query = canonical_query(&[
            ("RegionId", "cn-shanghai"),
            ("ImageId", "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"),
        ]);
        let headers =
            headers("ecs.cn-shanghai.aliyuncs.com", "RunInstances", "2014-05-26", "2023-10-26T10:22:32Z", EMPTY);
        let signed = Signed { method: "POST", path: "/", query: &query, headers: &headers, body_hash: EMPTY };
        assert_eq!(
            signature(&signed),
            (
                "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259".to_owned(),
                "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0".to_owned()
            )
        );
    }

    #[test]
    fn requests_to_elasticsearch_come_out_as_computed_elsewhere() {
        let path = "/openapi/instances/es-cn-example0001";
        let of = |action, hash| {
            headers("elasticsearch.cn-hangzhou.aliyuncs.com", action, "2017-06-13", "2026-01-02T03:04:05Z", hash)
        };
        let mut headers = of("DescribeInstance", EMPTY);
        let signed = Signed { method: "GET", path, query: "", headers: &headers, body_hash: EMPTY };
        assert_eq!(
            signature(&signed),
            (
                "73c302f35f0d98bbe52a5922ac81e3823b3e06104650a80174d0025754dd44b0".to_owned(),
                "136c1f81f9fe72284a8efa62e67e0ea436bf1681102a35e0c1a8ec5b59294f4a".to_owned()
            )
        );
        headers.insert("x-acs-accesskey-id", "STS.YourAccessKeyId".into());
        headers.insert("x-acs-security-token", "YourSecurityToken".into());
        let signed = Signed { method: "GET", path, query: "", headers: &headers, body_hash: EMPTY };
        assert_eq!(signature(&signed).1, "7a1e25cb29afeafeeca2e8a1addf8f86d79b50badb843b7ed489ba2910e9d226");

        let body = r#"{"esConfig":{"action.auto_create_index":"true","reindex.remote.whitelist":"[\"ep-bp1example.epsrv-bp1example.cn-hangzhou.privatelink.aliyuncs.com:9200\"]"}}"#;
        let hash = sha256(body.as_bytes());
        assert_eq!(hash, "1a6562e726b8e8c1db03e2c0f6c662b6f313c88b4b9c5def6910fe04d4508722");
        let mut headers = of("UpdateInstanceSettings", &hash);
        headers.insert("content-type", "application/json; charset=utf-8".into());
        let query =
            canonical_query(&[("clientToken", "8b1d6a4e-0001"), ("updateStrategy", "normal"), ("force", "false")]);
        let path = format!("{path}/instance-settings");
        let signed = Signed { method: "POST", path: &path, query: &query, headers: &headers, body_hash: &hash };
        assert_eq!(
            signature(&signed),
            (
                "0f1b8c440396b5f72bb5ffe83617920ea7c3bc1eabf6485553d9577ab8f87d13".to_owned(),
                "a0aa1d3979226570f192410d461c74a94e2d157813af6f4154cb0989597b4c8d".to_owned()
            )
        );
    }

    #[test]
    fn a_query_is_encoded_as_rfc_3986_wants_it() {
        assert_eq!(canonical_query(&[("b", "~ *+/"), ("a", "ü")]), "a=%C3%BC&b=~%20%2A%2B%2F");
    }
}
