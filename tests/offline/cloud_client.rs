//! The client of Alibaba Cloud's API against a cloud on 127.0.0.1, which checks every signature.

use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use reindex_operator::alibaba_cloud::{AccessKey, Class, CloudClient, CloudError, Identity};
use serde_json::json;

use crate::support::cloud::{Cloud, INSTANCE, KEY_ID, KEY_SECRET, Key};

fn key() -> AccessKey {
    AccessKey { id: KEY_ID.into(), secret: KEY_SECRET.into(), security_token: None }
}

fn client(cloud: &Cloud, key: AccessKey) -> CloudClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    CloudClient::new("cn-hangzhou", INSTANCE, Some(&cloud.url()), key).unwrap()
}

/// Reason and class of the refusal of a call; nothing secret in what is told.
fn refusal<T: std::fmt::Debug>(result: Result<T, CloudError>) -> (&'static str, Class) {
    let error = result.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(!told.contains(KEY_SECRET) && !told.contains("t0ken"), "{told}");
    (error.reason(), error.class())
}

#[tokio::test]
async fn the_four_calls_are_let_in() {
    let cloud = Cloud::start().await;
    let client = client(&cloud, key());
    let instance = client.describe_instance().await.unwrap();
    assert_eq!((instance.status.as_str(), instance.arch_type.as_str()), ("active", "public"));
    let mut config = instance.es_config.unwrap();
    config.insert("reindex.remote.whitelist".into(), json!("[\"a:9200\", \"ü *+/\"]"));
    let request = client.update_instance_settings(&config, "a-token").await.unwrap();
    let records = client.list_action_records(&request).await.unwrap();
    assert_eq!(records.iter().map(|record| record.state_type.as_str()).collect::<Vec<_>>(), ["ACTIVATING"]);
    assert_eq!(client.list_vpc_endpoints().await.unwrap(), []);
    assert_eq!(client.describe_instance().await.unwrap().es_config, Some(config));
}

#[tokio::test]
async fn a_temporary_key_brings_its_token() {
    let cloud = Cloud::start().await;
    let known = Key { secret: KEY_SECRET.into(), token: Some("t0ken".into()), expired: false };
    cloud.state().keys.insert("STS.a".into(), known);
    let temporary =
        |token: Option<&str>| AccessKey { id: "STS.a".into(), security_token: token.map(Into::into), ..key() };
    client(&cloud, temporary(Some("t0ken"))).describe_instance().await.unwrap();
    let of = |token| client(&cloud, temporary(token));
    for wrong in [None, Some("t0ken-of-another")] {
        assert_eq!(refusal(of(wrong).describe_instance().await), ("InvalidAccessKey", Class::Terminal));
    }
    cloud.state().keys.get_mut("STS.a").unwrap().expired = true;
    assert_eq!(refusal(of(Some("t0ken")).describe_instance().await), ("SecurityTokenExpired", Class::Terminal));
}

#[tokio::test]
async fn wrong_keys_and_wrong_clocks_are_told_apart() {
    let cloud = Cloud::start().await;
    let unknown = AccessKey { id: "LTAI-unknown".into(), ..key() };
    assert_eq!(refusal(client(&cloud, unknown).describe_instance().await), ("InvalidAccessKey", Class::Terminal));
    let wrong = AccessKey { secret: "s3cret-of-another".into(), security_token: Some("t0ken".into()), ..key() };
    assert_eq!(refusal(client(&cloud, wrong).describe_instance().await), ("InvalidAccessKey", Class::Terminal));
    for minutes in [-20, 20] {
        cloud.state().clock_ahead = SignedDuration::from_mins(minutes);
        assert_eq!(refusal(client(&cloud, key()).describe_instance().await), ("ClockSkew", Class::Terminal));
    }
}

#[tokio::test]
async fn refusals_of_the_api_have_their_class() {
    let cloud = Cloud::start().await;
    let us = client(&cloud, key());
    for (status, code, reason, class) in [
        (400, "Throttling.User", "CloudThrottled", Class::Transient),
        (503, "ServiceUnavailable", "CloudUnavailable", Class::Transient),
        (400, "ConcurrencyUpdateInstanceConflict", "InstanceBusy", Class::Waiting),
        (403, "Forbidden.RAM", "CloudForbidden", Class::Terminal),
    ] {
        cloud.state().refusals.push_back(("DescribeInstance", status, code));
        assert_eq!(refusal(us.describe_instance().await), (reason, class));
    }
    us.update_instance_settings(&BTreeMap::new(), "one").await.unwrap();
    assert_eq!(refusal(us.update_instance_settings(&BTreeMap::new(), "two").await), ("InstanceBusy", Class::Waiting));
    let other = CloudClient::new("cn-hangzhou", "es-cn-unknown", Some(&cloud.url()), key()).unwrap();
    assert_eq!(refusal(other.describe_instance().await), ("InstanceNotFound", Class::Terminal));
}

#[tokio::test]
async fn a_repeated_token_is_one_change() {
    let cloud = Cloud::start().await;
    let client = client(&cloud, key());
    let config = BTreeMap::from([("a".to_owned(), json!("b"))]);
    let first = client.update_instance_settings(&config, "one").await.unwrap();
    assert_eq!(client.update_instance_settings(&config, "one").await.unwrap(), first);
    assert_eq!(cloud.state().records.len(), 1);
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_transient() {
    let cloud = Cloud::start().await;
    let gone = CloudClient::new("cn-hangzhou", INSTANCE, Some("http://127.0.0.1:1"), key()).unwrap();
    assert_eq!(refusal(gone.describe_instance().await), ("CloudUnreachable", Class::Transient));
    drop(cloud);
}

#[tokio::test]
async fn all_pages_of_the_endpoints_are_read() {
    let cloud = Cloud::start().await;
    let endpoint = |number| json!({"endpointDomain": format!("ep-{number}"), "endpointStatus": "Active", "connectionStatus": "Connected"});
    cloud.state().endpoints = (0..45).map(endpoint).collect();
    let found = client(&cloud, key()).list_vpc_endpoints().await.unwrap();
    assert_eq!(found.len(), 45);
    assert_eq!(found[44].endpoint_domain, "ep-44");
}

/// The operator's identity by RRSA, with the ServiceAccount's token in a file.
fn role(cloud: &Cloud, file: &std::path::Path) -> Identity {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, file) = (cloud.url(), file.display().to_string());
    Identity::from_environment(move |name| match name {
        "ALIBABA_CLOUD_ROLE_ARN" => Some("acs:ram::1:role/reindex".into()),
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN" => Some("acs:ram::1:oidc-provider/ack-rrsa-1".into()),
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE" => Some(file.clone()),
        "ALIBABA_CLOUD_STS_ENDPOINT" => Some(url.clone()),
        _ => None,
    })
}

fn token_file(token: &str) -> std::path::PathBuf {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("reindex-operator-token-{}-{number}", std::process::id()));
    std::fs::write(&path, format!("{token}\n")).unwrap();
    path
}

#[tokio::test]
async fn a_role_is_assumed_once_and_again_before_it_expires() {
    let cloud = Cloud::start().await;
    let file = token_file("token-of-the-service-account");
    let (identity, now) = (role(&cloud, &file), Timestamp::now());
    let first = identity.access_key(now).await.unwrap();
    client(&cloud, first.clone()).describe_instance().await.unwrap();
    assert_eq!(identity.access_key(now + SignedDuration::from_mins(44)).await.unwrap().id, first.id);
    let renewed = identity.access_key(now + SignedDuration::from_mins(46)).await.unwrap();
    client(&cloud, renewed.clone()).describe_instance().await.unwrap();
    assert_eq!((first.id.as_str(), renewed.id.as_str(), cloud.state().assumed), ("STS.1", "STS.2", 2));
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn what_sts_gave_is_used_to_its_end_when_it_gives_nothing_new() {
    let cloud = Cloud::start().await;
    let file = token_file("token-of-the-service-account");
    let (identity, now) = (role(&cloud, &file), Timestamp::now());
    let first = identity.access_key(now).await.unwrap();
    cloud.state().refusals.extend([("AssumeRoleWithOIDC", 503, "ServiceUnavailable"); 2]);
    assert_eq!(identity.access_key(now + SignedDuration::from_mins(50)).await.unwrap().id, first.id);
    let late = identity.access_key(now + SignedDuration::from_mins(61)).await;
    assert_eq!(refusal(late), ("CloudUnavailable", Class::Transient));
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_refused_token_of_the_service_account_is_not_quoted() {
    let cloud = Cloud::start().await;
    let file = token_file("t0ken-that-is-old");
    let refused = role(&cloud, &file).access_key(Timestamp::now()).await;
    assert_eq!(refusal(refused), ("CloudRefused", Class::Terminal));
    std::fs::remove_file(&file).unwrap();
    let missing = role(&cloud, &file).access_key(Timestamp::now()).await;
    assert_eq!(refusal(missing), ("NoCloudIdentity", Class::Terminal));
}

#[tokio::test]
async fn requests_are_the_ones_that_are_documented() {
    let cloud = Cloud::start().await;
    let client = client(&cloud, key());
    client.update_instance_settings(&BTreeMap::new(), "a-token").await.unwrap();
    let calls = cloud.state().calls.clone();
    let query = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(calls[0].query, query(&[("clientToken", "a-token"), ("updateStrategy", "normal")]));
    assert_eq!(calls[0].body, json!({"esConfig": {}}));
}
