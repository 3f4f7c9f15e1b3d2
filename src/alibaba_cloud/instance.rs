//! The instance: what it is, its node configuration, and the changes of it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    client::{Call, CloudClient},
    error::CloudError,
};

/// `DescribeInstance`, as far as it is needed. Fields that the API leaves out (it does for an instance that is not usable) are empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Instance {
    /// `active`, `activating` (a change is under way), `inactive` (frozen), `invalid`.
    pub status: String,
    /// When it was changed last; changes with each change.
    pub updated_at: String,
    /// Such as `7.10_with_X-Pack`.
    pub es_version: String,
    /// `exclusive` is basic control (v2), `public` is cloud-native control (v3).
    pub arch_type: String,
    /// Its zones.
    pub zone_infos: Vec<ZoneInfo>,
    /// Where it is.
    pub network_config: NetworkConfig,
    /// Its private domain.
    pub domain: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// `HTTP` or `HTTPS`.
    pub protocol: Option<String>,
    /// Its node configuration, setting by setting. None is not the same as an empty one: who takes it for empty resets every setting.
    pub es_config: Option<BTreeMap<String, Value>>,
}

/// `networkConfig` of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkConfig {
    /// Its zone, such as `cn-hangzhou-i`.
    pub vs_area: String,
}

/// One of `zoneInfos` of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ZoneInfo {
    /// Such as `cn-hangzhou-i`.
    pub zone_id: String,
}

/// One change of the instance, from `ListActionRecords`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActionRecord {
    /// The request that asked for it.
    pub request_id: String,
    /// `ACTIVATING` while it is under way, then `FINISHED`.
    pub state_type: String,
    /// How far it is, such as `60%`.
    pub process: String,
}

/// One PrivateLink endpoint of the instance, from `ListVpcEndpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VpcEndpoint {
    /// `ep-….epsrv-….<region>.privatelink.aliyuncs.com`.
    pub endpoint_domain: String,
    /// `Active` when it can be used.
    pub endpoint_status: String,
    /// `Connected` when it can be used.
    pub connection_status: String,
}

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(rename = "Result")]
    result: T,
}

/// Entries of a page; as many as the API gives by default.
const PAGE: usize = 20;
/// Most pages that are read. An instance has a handful of endpoints.
const PAGES: usize = 10;

impl CloudClient {
    /// What the instance is.
    ///
    /// # Errors
    /// [`CloudError`]
    pub async fn describe_instance(&self) -> Result<Instance, CloudError> {
        self.send::<Answer<Instance>>(&describe()).await.map(|answer| answer.result)
    }

    /// Replaces the **whole** node configuration, whereupon the vendor restarts the nodes one by one. What is left out is reset. A
    /// repetition with the same token is answered as the first was. Returns the request's id, under which the change is recorded.
    ///
    /// # Errors
    /// [`CloudError`]; of class `Waiting` while the instance is at another change.
    pub async fn update_instance_settings(
        &self,
        es_config: &BTreeMap<String, Value>,
        client_token: &str,
    ) -> Result<String, CloudError> {
        #[derive(Deserialize)]
        struct Accepted {
            #[serde(rename = "RequestId")]
            request_id: String,
        }
        let accepted: Accepted = self.send(&update(es_config, client_token)).await?;
        tracing::info!(request_id = accepted.request_id, "Alibaba Cloud took up a change of the instance's settings");
        Ok(accepted.request_id)
    }

    /// Changes of the instance that this request asked for: one, or none while it is not recorded yet.
    ///
    /// # Errors
    /// [`CloudError`]
    pub async fn list_action_records(&self, request_id: &str) -> Result<Vec<ActionRecord>, CloudError> {
        self.send::<Answer<Vec<ActionRecord>>>(&records(request_id)).await.map(|answer| answer.result)
    }

    /// The instance's PrivateLink endpoints.
    ///
    /// # Errors
    /// [`CloudError`]
    pub async fn list_vpc_endpoints(&self) -> Result<Vec<VpcEndpoint>, CloudError> {
        let mut all = Vec::new();
        for page in 1..=PAGES {
            let found = self.send::<Answer<Vec<VpcEndpoint>>>(&vpc_endpoints(page)).await?.result;
            let last = found.len() < PAGE;
            all.extend(found);
            if last {
                break;
            }
        }
        Ok(all)
    }
}

pub(super) fn describe() -> Call {
    Call { action: "DescribeInstance", method: Method::GET, path: "", query: vec![], body: None }
}

pub(super) fn update(es_config: &BTreeMap<String, Value>, client_token: &str) -> Call {
    Call {
        action: "UpdateInstanceSettings",
        method: Method::POST,
        path: "/instance-settings",
        // In place, node by node: a blue-green change would give the nodes other addresses.
        query: vec![("clientToken", client_token.to_owned()), ("updateStrategy", "normal".to_owned())],
        body: Some(json!({"esConfig": es_config})),
    }
}

pub(super) fn records(request_id: &str) -> Call {
    let query = vec![("requestId", request_id.to_owned()), ("page", "1".to_owned()), ("size", "10".to_owned())];
    Call { action: "ListActionRecords", method: Method::GET, path: "/action-records", query, body: None }
}

pub(super) fn vpc_endpoints(page: usize) -> Call {
    let query = vec![("page", page.to_string()), ("size", PAGE.to_string())];
    Call { action: "ListVpcEndpoints", method: Method::GET, path: "/vpc-endpoints", query, body: None }
}
