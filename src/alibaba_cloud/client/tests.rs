//! The same requests as the vendor's own SDK makes. How its were recorded: `tests/fixtures/alibaba_cloud/record_sdk.py`.

use serde_json::json;

use super::super::instance::{describe, records, update, vpc_endpoints};
use super::*;

/// One request of the SDK.
#[derive(serde::Deserialize)]
struct Recorded {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn recorded() -> Vec<Recorded> {
    let text = include_str!("../../../tests/fixtures/alibaba_cloud/sdk-requests.json");
    let mut file: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(file["requests"].take()).unwrap()
}

fn client(token: Option<&str>) -> CloudClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = AccessKey {
        id: "YourAccessKeyId".into(),
        secret: "YourAccessKeySecret".into(),
        security_token: token.map(Into::into),
    };
    CloudClient::new("cn-hangzhou", "es-cn-example0001", None, key).unwrap()
}

/// Ours, in the order in which they were recorded.
fn ours() -> Vec<(Method, Prepared)> {
    let stamp = || Stamp { nonce: "3156853299f313e23d1673dc12e1703d".into(), date: "2026-01-02T03:04:05Z".into() };
    let es_config = BTreeMap::from([
        ("action.auto_create_index".to_owned(), json!("true")),
        (
            "reindex.remote.whitelist".to_owned(),
            json!(r#"["ep-bp1example.epsrv-bp1example.cn-hangzhou.privatelink.aliyuncs.com:9200"]"#),
        ),
    ]);
    let calls = [
        describe(),
        update(&es_config, "reindex-0123456789abcdef"),
        records("5FFD9ED4-C2EC-4E89-B22B-1ACB6FE1D***"),
        vpc_endpoints(1),
    ];
    [None, Some("YourSecurityToken")]
        .into_iter()
        .flat_map(|token| calls.iter().map(move |call| (call.method.clone(), client(token).prepare(call, &stamp()))))
        .collect()
}

#[test]
fn we_send_what_the_vendors_sdk_sends() {
    let (ours, theirs) = (ours(), recorded());
    assert_eq!(ours.len(), theirs.len());
    for ((method, ours), theirs) in ours.iter().zip(&theirs) {
        assert_eq!(method.as_str(), theirs.method);
        assert_eq!(ours.url.path(), theirs.path);
        assert_eq!(ours.url.query().unwrap_or_default(), theirs.query);
        assert_eq!(String::from_utf8_lossy(&ours.body), theirs.body);
        // Who asks is told in our own words, and how the SDK came by its AccessKey is nothing of ours.
        let mut headers = theirs.headers.clone();
        for name in ["authorization", "user-agent", "x-acs-credentials-provider"] {
            assert!(headers.remove(name).is_some(), "{name}");
        }
        let sent: BTreeMap<_, _> =
            ours.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(sent, headers);
    }
}

#[test]
fn we_sign_as_the_vendors_sdk_signs() {
    for theirs in recorded() {
        let headers: BTreeMap<&str, String> = theirs
            .headers
            .iter()
            .filter(|(name, _)| *name != "authorization")
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let signed = Signed {
            method: &theirs.method,
            path: &theirs.path,
            query: &theirs.query,
            headers: &headers,
            body_hash: &theirs.headers["x-acs-content-sha256"],
        };
        assert_eq!(signed.authorization(&client(None).key), theirs.headers["authorization"]);
    }
}

#[test]
fn the_whole_request_is_signed_but_for_what_proxies_change() {
    for (_, prepared) in ours() {
        let (_, signed) = prepared.authorization.split_once("SignedHeaders=").unwrap();
        let (signed, _) = signed.split_once(',').unwrap();
        let names: Vec<_> = prepared.headers.keys().copied().filter(|name| *name != "accept").collect();
        assert_eq!(signed, names.join(";"));
    }
}

#[test]
fn an_endpoint_is_https_or_on_this_machine() {
    for good in ["https://elasticsearch.cn-hangzhou.aliyuncs.com", "http://127.0.0.1:8080/", "http://[::1]:1"] {
        parse_endpoint(good).unwrap();
    }
    for bad in
        ["elasticsearch", "http://elasticsearch.cn-hangzhou.aliyuncs.com", "https://a/b", "https://u:p@a", "ftp://a"]
    {
        assert!(matches!(parse_endpoint(bad), Err(CloudError::InvalidEndpoint { .. })), "{bad}");
    }
}

#[test]
fn no_two_requests_have_the_same_nonce() {
    let (a, b) = (Stamp::now(), Stamp::now());
    assert!(a.nonce != b.nonce && a.nonce.len() == 32);
    assert!(a.date.ends_with('Z') && a.date.len() == 20, "{}", a.date);
}
