//! The allowlist of an instance of Alibaba Cloud, from the need of a Reindex to the last node that has loaded it; and Reindexes between
//! two instances.

use std::sync::Arc;

use k8s_openapi::jiff::SignedDuration;
use reindex_operator::{
    api::{
        Batch, BatchPhase, SearchCluster,
        conditions::{self, ALLOWLIST_READY, RECONCILING, STALLED},
    },
    controller::{error::Error, search_cluster::reconcile},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{
    apiserver::ApiServer,
    cloud::{Cloud, INSTANCE, KEY_ID, KEY_SECRET, Key, instance},
    engine::{Engine, Network},
    faults::Faults,
    logs::Logs,
    world::{self, NAMESPACE, Operator, World, condition},
};

/// What the Reindex needs.
const ENTRY: &str = "es-2.example:9200";
const KEY: &str = "reindex.remote.whitelist";

/// One SearchCluster on a managed instance, for which a Reindex waits.
struct Life {
    api: ApiServer,
    cloud: Cloud,
    engine: Engine,
    operator: Operator,
    logs: Logs,
}

impl Life {
    async fn new() -> Life {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let faults = Arc::new(Faults::default());
        let api = ApiServer::new(faults.clone());
        let engine = Engine::start("destination", faults, Network::default()).await;
        let (cloud, operator) = (Cloud::start().await, Operator::new(&api, watch::channel(false).1));
        let life = Life { api, cloud, engine, operator, logs: Logs::capture() };
        life.api.apply(secret("cloud-key", &json!({"accessKeyId": KEY_ID, "accessKeySecret": KEY_SECRET})));
        life.api.apply(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": "es-1", "namespace": NAMESPACE},
            "spec": {
                "endpoint": life.engine.url(),
                "provider": {"alibabaCloud": {
                    "instanceId": INSTANCE, "regionId": "cn-hangzhou", "endpoint": life.cloud.url(),
                    "credentialsSecretRef": {"name": "cloud-key"},
                }},
                "allowlist": {"management": "Automatic", "allowUnavailable": true},
            },
        }));
        life.api.apply(waiting_reindex(&life.engine.state().cluster_uuid));
        life
    }

    fn cluster(&self) -> SearchCluster {
        self.api.get(NAMESPACE, "es-1").unwrap()
    }

    fn change(&self, patch: &Value) {
        let mut object = json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "es-1", "namespace": NAMESPACE},
        });
        object.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        self.api.apply(object);
    }

    async fn round(&mut self) -> Result<(), Error> {
        self.operator.look(&self.api);
        self.operator.told(reconcile(Arc::new(self.cluster()), self.operator.ctx.clone())).await.map(drop)
    }

    /// Rounds until that phase, at most so many as any change takes.
    async fn until(&mut self, phase: BatchPhase) -> Batch {
        for _ in 0..8 {
            // An error is tried again.
            let _ = self.round().await;
            if let Some(batch) = self.batch().filter(|batch| batch.phase == phase) {
                return batch;
            }
        }
        panic!("{phase:?} never came: {:#?}", self.cluster().status);
    }

    fn batch(&self) -> Option<Batch> {
        self.cluster().status?.allowlist?.batch
    }

    fn phase(&self) -> Option<BatchPhase> {
        self.batch().map(|batch| batch.phase)
    }

    fn es_config(&self) -> Value {
        self.cloud.state().instances[INSTANCE]["esConfig"].clone()
    }

    /// The node loads what it has to, as after a restart.
    fn load(&self) {
        self.engine.state().allowlist = vec![ENTRY.to_owned()];
    }

    /// Reason and message of a condition that is `status`.
    fn condition(&self, type_: &str, status: &str) -> Option<(String, String)> {
        let conditions = self.cluster().status?.conditions;
        let found = conditions::get(&conditions, type_).filter(|condition| condition.status == status)?;
        Some((found.reason.clone(), found.message.clone()))
    }

    /// It is stalled, with that reason, and says so without anything secret.
    async fn assert_stalled(&mut self, reason: &str) -> String {
        self.round().await.unwrap();
        let (told, message) = self.condition(STALLED, "True").unwrap_or_else(|| panic!("{:#?}", self.cluster().status));
        assert_eq!(told, reason, "{message}");
        self.assert_no_secret();
        message
    }

    fn assert_no_secret(&self) {
        for (resource, text) in self.api.texts().into_iter().filter(|(resource, _)| resource != "secrets") {
            assert!(!text.contains(KEY_SECRET) && !text.contains("t0ken"), "{resource}: {text}");
        }
        let log = self.logs.text();
        assert!(!log.is_empty(), "it listens");
        assert!(!log.contains(KEY_SECRET) && !log.contains("t0ken"), "the log: {log}");
    }

    /// After what stood in the way is mended it goes on by itself.
    async fn assert_goes_on(&mut self) {
        self.until(BatchPhase::RollingOut).await;
        self.cloud.finish();
        self.load();
        self.until(BatchPhase::Done).await;
    }
}

fn secret(name: &str, texts: &Value) -> Value {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let texts = texts.as_object().unwrap().iter();
    let data: serde_json::Map<_, _> =
        texts.map(|(key, text)| (key.clone(), json!(BASE64_STANDARD.encode(text.as_str().unwrap())))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data})
}

fn waiting_reindex(destination: &str) -> Value {
    let mut reindex = world::valid_reindex();
    reindex["status"] = json!({
        "conditions": [{"type": "Validated", "status": "True", "reason": "Passed", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "source": {"clusterUUID": "s", "version": "7.10.0", "indices": [], "remote": format!("http://{ENTRY}")},
        "destination": {"clusterUUID": destination, "version": "7.10.0"},
    });
    reindex
}

#[tokio::test]
async fn an_entry_is_merged_into_the_whole_configuration_and_waited_for() {
    let mut life = Life::new().await;
    life.until(BatchPhase::RollingOut).await;
    assert_eq!(
        life.es_config(),
        json!({"action.auto_create_index": "true", "http.cors.enabled": "false", KEY: format!("[\"{ENTRY}\"]")})
    );
    for _ in 0..3 {
        life.round().await.unwrap();
    }
    let (reason, message) = life.condition(RECONCILING, "True").unwrap();
    assert_eq!(reason, "RollingOut");
    assert!(message.contains("0 of 1 nodes have loaded the change") && message.contains("10%"), "{message}");
    // The node has it, the vendor is not through yet.
    life.load();
    life.round().await.unwrap();
    assert_eq!(life.phase(), Some(BatchPhase::RollingOut));
    life.cloud.finish();
    life.until(BatchPhase::Done).await;
    life.round().await.unwrap();
    assert_eq!(life.condition(ALLOWLIST_READY, "True").unwrap().0, "Effective");
    assert_eq!(life.cloud.count("UpdateInstanceSettings"), 1);
    life.assert_no_secret();
}

#[tokio::test]
async fn a_change_that_is_over_is_not_done_until_every_node_has_loaded_it() {
    let mut life = Life::new().await;
    life.engine.state().further_nodes = vec![vec![], vec![]];
    life.until(BatchPhase::RollingOut).await;
    life.cloud.finish();
    life.load();
    life.engine.state().further_nodes = vec![vec![ENTRY.to_owned()], vec![]];
    life.round().await.unwrap();
    let (_, message) = life.condition(RECONCILING, "True").unwrap();
    assert!(message.contains("2 of 3 nodes have loaded the change"), "{message}");
    life.engine.state().further_nodes = vec![vec![ENTRY.to_owned()]; 2];
    life.until(BatchPhase::Done).await;
}

#[tokio::test]
async fn active_that_is_seen_too_long_is_not_taken_for_the_end() {
    let mut life = Life::new().await;
    life.cloud.state().seen_late = 4;
    life.cloud.state().records_late = true;
    life.until(BatchPhase::RollingOut).await;
    // Even if its only node has loaded the entries: with more nodes one that restarts right now would not be missed.
    life.load();
    for _ in 0..4 {
        life.round().await.unwrap();
        assert_eq!(life.phase(), Some(BatchPhase::RollingOut));
    }
    life.cloud.finish();
    life.until(BatchPhase::Done).await;
    assert_eq!(life.cloud.count("UpdateInstanceSettings"), 1);
}

#[tokio::test]
async fn a_change_that_was_accepted_and_forgotten_is_not_made_twice() {
    let mut life = Life::new().await;
    life.cloud.state().seen_late = 9;
    life.until(BatchPhase::RollingOut).await;
    // The operator died before it could write down that the change was accepted.
    life.change(
        &json!({"status": {"allowlist": {"batch": {"phase": "Editing", "cloudChange": null, "editedAt": null}}}}),
    );
    let batch = life.until(BatchPhase::RollingOut).await;
    assert_eq!(batch.cloud_change.unwrap().request_id, "change-1");
    assert_eq!((life.cloud.count("UpdateInstanceSettings"), life.cloud.state().records.len()), (2, 1));
    life.assert_goes_on().await;
}

#[tokio::test]
async fn somebody_elses_change_is_waited_for() {
    let mut life = Life::new().await;
    life.cloud.state().instances.get_mut(INSTANCE).unwrap()["status"] = json!("activating");
    life.round().await.unwrap();
    assert_eq!(life.condition(RECONCILING, "True").unwrap().0, "RolloutInProgress");
    assert_eq!((life.condition(STALLED, "True"), life.batch()), (None, None));
    life.cloud.finish();
    life.assert_goes_on().await;
}

/// Three looks come before the change: before it is begun, while it waits for copies, and before it is made.
const BEFORE_THE_CHANGE: usize = 3;

#[tokio::test]
async fn what_somebody_else_sets_in_the_last_moment_is_not_lost() {
    let mut life = Life::new().await;
    life.cloud.state().interference = Some((BEFORE_THE_CHANGE, json!({"esConfig": {"theirs": "1", KEY: "a:1"}})));
    life.until(BatchPhase::RollingOut).await;
    assert!(life.cloud.state().interference.is_none());
    let config = life.es_config();
    assert_eq!((&config["theirs"], &config[KEY]), (&json!("1"), &json!(format!("a:1,{ENTRY}"))));
}

#[tokio::test]
async fn a_change_that_somebody_else_begins_in_the_last_moment_is_waited_for() {
    let mut life = Life::new().await;
    life.cloud.state().interference = Some((BEFORE_THE_CHANGE, json!({"status": "activating"})));
    for _ in 0..5 {
        let _ = life.round().await;
    }
    // It could as well be ours, if an answer had got lost: no copy begins before that is clear.
    assert_eq!(life.condition(RECONCILING, "True").unwrap().0, "Editing");
    assert_eq!(life.cloud.count("UpdateInstanceSettings"), 0);
    life.cloud.finish();
    life.assert_goes_on().await;
}

#[tokio::test]
async fn a_conflict_and_throttling_pass_by_themselves() {
    let mut life = Life::new().await;
    life.cloud.state().refusals.extend([
        ("DescribeInstance", 400, "Throttling.User"),
        ("UpdateInstanceSettings", 400, "ConcurrencyUpdateInstanceConflict"),
        ("UpdateInstanceSettings", 503, "ServiceUnavailable"),
        ("UpdateInstanceSettings", 400, "InvalidSecurityToken.Expired"),
    ]);
    life.round().await.unwrap();
    let (reason, message) = life.condition(RECONCILING, "True").unwrap();
    assert_eq!(reason, "CloudThrottled", "{message}");
    assert_eq!(life.condition(STALLED, "True"), None);
    life.assert_goes_on().await;
    assert!(life.cloud.state().refusals.is_empty());
    assert_eq!(life.cloud.state().records.len(), 1);
}

#[tokio::test]
async fn wrong_keys_stall_and_right_ones_go_on() {
    let mut life = Life::new().await;
    life.api.apply(secret("cloud-key", &json!({"accessKeyId": KEY_ID, "accessKeySecret": "s3cret-of-another"})));
    let message = life.assert_stalled("InvalidAccessKey").await;
    assert!(message.contains("SignatureDoesNotMatch"), "{message}");
    // The answer has another request id each time: what stands in the status must not.
    let before = life.cluster().metadata.resource_version;
    let _ = life.round().await;
    assert_eq!(life.cluster().metadata.resource_version, before, "nothing changed, nothing is written");
    life.api.apply(secret("cloud-key", &json!({"accessKeyId": KEY_ID, "accessKeySecret": KEY_SECRET})));
    life.assert_goes_on().await;
}

#[tokio::test]
async fn an_expired_token_stalls_and_a_new_pair_goes_on() {
    let mut life = Life::new().await;
    let known = |token: &str, expired| Key { secret: KEY_SECRET.into(), token: Some(token.to_owned()), expired };
    life.cloud.state().keys.insert("STS.a".into(), known("t0ken-a", true));
    life.cloud.state().keys.insert("STS.b".into(), known("t0ken-b", false));
    let pair = |id: &str, token: &str| {
        secret("cloud-key", &json!({"accessKeyId": id, "accessKeySecret": KEY_SECRET, "securityToken": token}))
    };
    life.api.apply(pair("STS.a", "t0ken-a"));
    life.assert_stalled("SecurityTokenExpired").await;
    life.api.apply(pair("STS.b", "t0ken-b"));
    life.assert_goes_on().await;
}

#[tokio::test]
async fn what_a_person_must_mend_stalls_with_what_to_do() {
    let mut life = Life::new().await;
    life.cloud.state().clock_ahead = SignedDuration::from_mins(20);
    let message = life.assert_stalled("ClockSkew").await;
    assert!(message.contains("15 minutes"), "{message}");
    life.cloud.state().clock_ahead = SignedDuration::ZERO;

    let instance = |spec: Value| json!({"spec": {"provider": {"alibabaCloud": spec}}});
    life.change(&instance(json!({"instanceId": "es-cn-unknown"})));
    life.assert_stalled("InstanceNotFound").await;
    life.change(&instance(json!({"instanceId": INSTANCE, "credentialsSecretRef": {"name": "absent"}})));
    life.assert_stalled("SecretNotFound").await;
    life.api.apply(secret("absent", &json!({"accessKeyId": KEY_ID})));
    life.assert_stalled("KeyNotFound").await;
    life.change(&instance(json!({"credentialsSecretRef": null})));
    let message = life.assert_stalled("NoCloudIdentity").await;
    assert!(message.contains("ALIBABA_CLOUD_ROLE_ARN"), "{message}");

    life.change(&instance(json!({"credentialsSecretRef": {"name": "cloud-key"}})));
    life.cloud.state().instances.get_mut(INSTANCE).unwrap()["status"] = json!("inactive");
    life.assert_stalled("InstanceNotActive").await;
    life.cloud.state().instances.get_mut(INSTANCE).unwrap()["status"] = json!("active");
    life.assert_goes_on().await;
}

#[tokio::test]
async fn the_operators_identity_is_only_for_the_namespaces_that_were_named() {
    let mut life = Life::new().await;
    life.change(&json!({"spec": {"provider": {"alibabaCloud": {"credentialsSecretRef": null}}}}));
    Arc::get_mut(&mut life.operator.ctx).unwrap().operator_identity.namespaces = ["elsewhere".to_owned()].into();
    let message = life.assert_stalled("IdentityNotAdmitted").await;
    assert!(message.contains("--alibaba-cloud-identity-namespaces"), "{message}");
    assert!(life.cloud.state().calls.is_empty());
}

#[tokio::test]
async fn a_configuration_that_is_not_shown_is_never_replaced() {
    let mut life = Life::new().await;
    life.cloud.state().instances.get_mut(INSTANCE).unwrap().as_object_mut().unwrap().remove("esConfig");
    life.assert_stalled("ConfigNotEditable").await;
    assert_eq!(life.cloud.count("UpdateInstanceSettings"), 0);
}

#[tokio::test]
async fn a_missing_permission_ends_the_change_and_says_which() {
    let mut life = Life::new().await;
    life.cloud.state().refusals.push_back(("UpdateInstanceSettings", 403, "Forbidden.RAM"));
    let batch = life.until(BatchPhase::Failed).await;
    let message = batch.message.unwrap();
    assert!(message.contains("UpdateInstanceSettings") && message.contains("grant it the action"), "{message}");
    life.assert_stalled("RolloutFailed").await;
    assert_eq!(life.cloud.state().records.len(), 0);
}

#[tokio::test]
async fn a_status_that_never_changes_ends_the_waiting() {
    let mut life = Life::new().await;
    life.cloud.state().seen_late = usize::MAX;
    life.cloud.state().records_late = true;
    life.until(BatchPhase::RollingOut).await;
    life.round().await.unwrap();
    let change = json!({"status": {"allowlist": {"batch": {"cloudChange": life.batch().unwrap().cloud_change}}}});
    life.api.age("searchclusters.reindex.dev", SignedDuration::from_mins(31));
    // What the cloud said is not ours to age.
    life.change(&change);
    let message = life.assert_stalled("RolloutFailed").await;
    assert!(message.contains("not to be seen yet") && message.contains("interruptRunning"), "{message}");
    assert_eq!(life.phase(), Some(BatchPhase::RollingOut), "nodes may still restart");
    life.change(&json!({"spec": {"allowlist": {"interruptRunning": true}}}));
    life.until(BatchPhase::Failed).await;
    life.assert_stalled("RolloutFailed").await;
    assert_eq!(life.cloud.count("UpdateInstanceSettings"), 1, "it is never made again");
}

#[tokio::test]
async fn a_configuration_that_somebody_replaced_is_told() {
    let mut life = Life::new().await;
    life.until(BatchPhase::RollingOut).await;
    life.cloud.finish();
    life.cloud.state().instances.get_mut(INSTANCE).unwrap()["esConfig"] = json!({"action.auto_create_index": "true"});
    let batch = life.until(BatchPhase::Failed).await;
    assert!(batch.message.unwrap().contains("somebody took the change out"));
}

#[tokio::test]
async fn under_verify_the_whole_line_is_told_and_nothing_is_changed() {
    let mut life = Life::new().await;
    life.change(&json!({"spec": {"allowlist": {"management": "Verify"}}}));
    life.cloud.state().instances.get_mut(INSTANCE).unwrap()["esConfig"][KEY] = json!("a:1");
    life.round().await.unwrap();
    let instruction = life.cluster().status.unwrap().allowlist.unwrap().instruction.unwrap();
    let line = format!("{KEY}: [\"a:1\", \"{ENTRY}\"]   # in the YML file configuration of instance {INSTANCE}");
    assert_eq!(instruction, line);
    assert_eq!(life.cloud.count("UpdateInstanceSettings"), 0);
}

#[tokio::test]
async fn the_address_is_the_instances_own_where_none_is_written() {
    let mut life = Life::new().await;
    let address: url::Url = life.engine.url().parse().unwrap();
    {
        let mut state = life.cloud.state();
        let instance = state.instances.get_mut(INSTANCE).unwrap();
        instance["domain"] = json!(address.host_str().unwrap());
        instance["port"] = json!(address.port().unwrap());
    }
    life.change(&json!({"spec": {"endpoint": null}}));
    life.until(BatchPhase::RollingOut).await;
    let connection = life.cluster().status.unwrap().connection.unwrap();
    assert_eq!((connection.endpoint, connection.object), (life.engine.url(), format!("instance {INSTANCE}")));
    life.cloud.finish();
    life.load();
    life.until(BatchPhase::Done).await;
    // What was told before counts while the API has no time, and no longer when it says no.
    life.cloud.state().refusals.push_back(("DescribeInstance", 400, "Throttling.User"));
    life.round().await.unwrap();
    assert!(life.condition(conditions::READY, "True").is_some());
    life.cloud.state().refusals.push_back(("DescribeInstance", 403, "Forbidden.RAM"));
    life.assert_stalled("CloudForbidden").await;
    life.cloud.state().instances.get_mut(INSTANCE).unwrap()["domain"] = json!(null);
    life.assert_stalled("EndpointUnknown").await;
}

/// A Reindex between two instances.
async fn between_instances(change: impl FnOnce(&Cloud)) -> (World, Cloud) {
    let (world, cloud) = (World::new().await, Cloud::start().await);
    cloud.state().instances.insert("es-cn-source".into(), instance("es-cn-source"));
    for instance in cloud.state().instances.values_mut() {
        instance["archType"] = json!("exclusive");
    }
    change(&cloud);
    world.api.apply(secret("cloud-key", &json!({"accessKeyId": KEY_ID, "accessKeySecret": KEY_SECRET})));
    for (name, id) in [("es-1", INSTANCE), ("es-2", "es-cn-source")] {
        let spec = json!({
            "instanceId": id, "regionId": "cn-hangzhou", "endpoint": cloud.url(), "credentialsSecretRef": {"name": "cloud-key"},
        });
        world.change_cluster(name, json!({"spec": {"provider": {"alibabaCloud": spec}}}));
    }
    (world, cloud)
}

#[tokio::test]
async fn a_reindex_between_two_instances_that_fit_is_made() {
    let (mut world, _cloud) = between_instances(|_| ()).await;
    let reindex = world.end().await;
    crate::life::assert_copied(&world, &reindex);
}

#[tokio::test]
async fn everything_that_does_not_fit_is_told_at_once() {
    let (mut world, _cloud) = between_instances(|cloud| {
        let mut state = cloud.state();
        let source = state.instances.get_mut("es-cn-source").unwrap();
        source["archType"] = json!("Public");
        source["zoneInfos"] = json!([{"zoneId": "cn-hangzhou-h"}]);
        source["status"] = json!("activating");
    })
    .await;
    let reindex = world.end().await;
    let (reason, message) = condition(&reindex, conditions::FAILED).unwrap();
    for told in ["ControlModeMismatch", "ZoneMismatch", "InstanceNotActive"] {
        assert!(message.contains(told), "{message}");
    }
    assert_eq!(reason, "ZoneMismatch");
}

#[tokio::test]
async fn an_endpoint_that_is_missing_is_waited_for() {
    let (mut world, cloud) = between_instances(|cloud| {
        cloud.state().instances.get_mut(INSTANCE).unwrap()["archType"] = json!("public");
    })
    .await;
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "EndpointNotFound", "{message}");
    cloud.state().instances.get_mut(INSTANCE).unwrap()["archType"] = json!("exclusive");
    let reindex = world.end().await;
    crate::life::assert_copied(&world, &reindex);
}
