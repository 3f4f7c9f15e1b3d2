//! Trust in sources that speak TLS with an authority of their own.

use reindex_operator::api::{Reindex, allowlist::TrustStatus};

use super::*;
use crate::support::world::PUBLIC_AUTHORITY;

const AUTHORITY: &str = include_str!("../../fixtures/search/tls/ca.pem");
const ANOTHER: &str = include_str!("../../fixtures/search/tls/other-ca.pem");
const ENTRY: &str = "es-2.example:9200";
const NEIGHBOUR: &str = "es-3.example:9200";
const FILE: &str = "/usr/share/elasticsearch/config/reindex-sources/ca.crt";

fn authority(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "es-2-ca", "namespace": NAMESPACE},
        "data": {"ca.crt": text},
    })
}

/// The destination reads from the source by TLS, whose authority es-2's SearchCluster names.
fn by_tls(world: &World) {
    world.api.apply(authority(AUTHORITY));
    let tls = json!({"caRef": {"configMap": {"name": "es-2-ca", "key": "ca.crt"}}});
    world.change_cluster("es-2", json!({"spec": {"remoteEndpoint": format!("https://{ENTRY}"), "tls": tls}}));
}

async fn trusting(provider: Value, objects: &[Value]) -> World {
    world_with(provider, objects, |world| {
        by_tls(world);
        world.change_cluster("es-1", json!({"spec": {"allowlist": {"trustSource": true}}}));
    })
    .await
}

async fn trusting_eck() -> World {
    trusting(json!({"eck": {"name": "es-1"}}), &[elasticsearch(), elastic_user()]).await
}

/// What nodes would read.
fn kept(world: &World) -> String {
    let map = world.api.find("configmaps", NAMESPACE, "es-1-reindex-sources").expect("the ConfigMap");
    assert_eq!(map["metadata"]["annotations"]["reindex.dev/sources-of"], "es-1");
    assert!(map["metadata"].get("ownerReferences").is_none(), "nodes that mount it must outlive the SearchCluster");
    map["data"]["ca.crt"].as_str().unwrap().to_owned()
}

fn trust(world: &World) -> TrustStatus {
    cluster(world).status.unwrap().allowlist.unwrap().trust.expect("trust is told")
}

/// Source and reason of those that are left out.
fn left_out(world: &World) -> Vec<(String, String)> {
    trust(world).left_out.into_iter().map(|left| (left.source, left.reason)).collect()
}

/// Another tenant copies from another source, es-3, by TLS. Its SearchCluster names that authority.
fn neighbour(world: &World, ca_ref: Value) {
    world.api.apply(json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"name": "es-3", "namespace": NAMESPACE},
        "spec": {"endpoint": format!("https://{NEIGHBOUR}"), "tls": {"caRef": ca_ref}},
        "status": {"clusterUUID": "uuid-of-es-3", "distribution": "Elasticsearch", "version": "7.17.29", "conditions": []},
    }));
    let mut reindex = valid_reindex();
    reindex["metadata"]["name"] = json!("neighbour");
    reindex["spec"]["source"]["clusterRef"]["name"] = json!("es-3");
    reindex["spec"]["destination"]["index"] = json!("neighbours");
    reindex["status"] = serde_json::to_value(world.reindex().unwrap().status).unwrap();
    reindex["status"]["specHash"] = Value::Null;
    reindex["status"]["source"]["clusterUUID"] = json!("uuid-of-es-3");
    reindex["status"]["source"]["remote"] = json!(format!("https://{NEIGHBOUR}"));
    world.api.apply(reindex);
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
}

fn es_3_ca() -> Value {
    json!({"configMap": {"name": "es-3-ca", "key": "ca.crt"}})
}

/// Why the neighbour's Reindex stands still.
async fn neighbour_waits(world: &World) -> (String, String) {
    let get = || world.api.get::<Reindex>(NAMESPACE, "neighbour").unwrap();
    world.reconcile(get()).await;
    condition(&get(), STALLED).expect("it is stalled")
}

/// All nodes have loaded both entries, and read the authorities.
fn load_both(world: &World) {
    let both = vec![ENTRY.to_owned(), NEIGHBOUR.to_owned()];
    let mut state = world.destination.state();
    state.allowlist.clone_from(&both);
    state.further_nodes = vec![both; 2];
    state.trusting_nodes = 3;
}

fn certificates(text: &str) -> usize {
    text.matches("BEGIN CERTIFICATE").count()
}

/// All nodes have loaded the entry; so many of them read the authorities, too.
fn load(world: &World, trusting: usize) {
    let mut state = world.destination.state();
    state.allowlist = vec![ENTRY.to_owned()];
    state.further_nodes = vec![vec![ENTRY.to_owned()]; 2];
    state.trusting_nodes = trusting;
}

#[tokio::test]
async fn eck_is_told_entries_and_trust_in_one_change() {
    let mut world = trusting_eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    let begun = batch(&world).unwrap();
    assert_eq!((begun.entries, begun.trust.as_deref()), (vec![ENTRY.to_owned()], Some("es-1-reindex-sources")));
    assert_eq!(certificates(&kept(&world)), 1);
    let mount = json!({"name": "reindex-sources", "mountPath": "/usr/share/elasticsearch/config/reindex-sources", "readOnly": true});
    let pods = json!({"spec": {
        "volumes": [{"name": "reindex-sources", "configMap": {"name": "es-1-reindex-sources"}}],
        "containers": [{"name": "elasticsearch", "volumeMounts": [mount]}],
    }});
    assert_eq!(
        world.api.find(ECK, NAMESPACE, "es-1").unwrap()["spec"]["nodeSets"],
        json!([
            {"name": "masters", "count": 1, "podTemplate": pods, "config": {
                "node.attr.zone": "a", "reindex.remote.whitelist": [ENTRY],
                "reindex.ssl.certificate_authorities": [FILE], "node.attr.reindex_sources": "es-1-reindex-sources",
            }},
            {"name": "data", "count": 2, "podTemplate": pods, "config": {
                "reindex": {"remote": {"whitelist": ["old:9200", ENTRY]}},
                "reindex.ssl.certificate_authorities": [FILE], "node.attr.reindex_sources": "es-1-reindex-sources",
            }},
        ])
    );
    let journal = world.faults.journal();
    let at = |verb: &str, path: &str| {
        journal.iter().position(|call| call.verb == verb && call.path.ends_with(path)).unwrap()
    };
    assert!(
        at("POST", "/configmaps") < at("PATCH", "/elasticsearches/es-1"),
        "a node finds what its configuration names"
    );
    eck_says(&world, "Ready");
    load(&world, 2);
    world.round_of_cluster("es-1").await;
    assert_eq!(phase(&world), Some(BatchPhase::RollingOut), "one node was not started with it");
    load(&world, 3);
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
    let trust = trust(&world);
    assert_eq!((trust.sources, trust.effective), (vec![format!("{NAMESPACE}/es-2")], true));
}

#[tokio::test]
async fn an_authority_that_comes_later_needs_no_restart_and_none_is_taken_out() {
    let mut world = trusting_eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    eck_says(&world, "Ready");
    load(&world, 3);
    until(&mut world, BatchPhase::Done).await;
    let first = kept(&world);
    world.api.apply(authority(ANOTHER));
    world.round_of_cluster("es-1").await;
    let both = kept(&world);
    assert!(both.starts_with(&first) && certificates(&both) == 2, "{both}");
    let journal = world.faults.journal().len();
    world.round_of_cluster("es-1").await;
    let later = world.faults.journal()[journal..].to_vec();
    assert!(
        later.iter().all(|call| call.verb == "GET" || call.to != "apiserver"),
        "an unchanged world is not written: {later:?}"
    );
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
}

#[tokio::test]
async fn entries_that_are_there_leave_a_change_of_trust_alone() {
    let mut world = trusting_eck().await;
    load(&world, 0);
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    until(&mut world, BatchPhase::RollingOut).await;
    let begun = batch(&world).unwrap();
    assert_eq!((begun.entries, begun.trust.is_some()), (vec![], true));
    let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
    assert_eq!(object["spec"]["nodeSets"][0]["config"].get("reindex.remote.whitelist"), None);
}

#[tokio::test]
async fn a_config_map_of_somebody_else_is_not_overwritten() {
    let foreign = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "es-1-reindex-sources", "namespace": NAMESPACE},
        "data": {"ca.crt": "somebody's"},
    });
    let mut world = trusting(json!({"eck": {"name": "es-1"}}), &[elasticsearch(), elastic_user(), foreign]).await;
    for _ in 0..3 {
        world.round_of_cluster("es-1").await;
    }
    assert_eq!((told(&world, STALLED).0.as_str(), patches(&world, ECK)), ("SourcesNotOurs", 0));
    let map = world.api.find("configmaps", NAMESPACE, "es-1-reindex-sources").unwrap();
    assert_eq!(map["data"]["ca.crt"], "somebody's");
}

#[tokio::test]
async fn the_right_to_make_the_config_map_is_named_where_it_is_missing() {
    let provider = json!({"eck": {"name": "es-1"}});
    let mut world = world_with(provider, &[elasticsearch(), elastic_user()], |world| {
        by_tls(world);
        world.api.deny("post", "configmaps");
        world.change_cluster("es-1", json!({"spec": {"allowlist": {"trustSource": true}}}));
    })
    .await;
    world.round_of_cluster("es-1").await;
    let (reason, message) = told(&world, STALLED);
    assert_eq!(reason, "NotPermitted");
    assert!(message.contains(&format!("may not create configmaps in namespace {NAMESPACE}")), "{message}");
    assert_eq!(patches(&world, ECK), 0);
    world.api.grant();
    until(&mut world, BatchPhase::RollingOut).await;
}

#[tokio::test]
async fn a_right_that_is_lost_takes_nothing_away_and_is_told() {
    let mut world = trusting_eck().await;
    until(&mut world, BatchPhase::RollingOut).await;
    world.api.deny("get", "configmaps");
    eck_says(&world, "Ready");
    load(&world, 3);
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    assert_eq!(left_out(&world), [(format!("{NAMESPACE}/es-2"), "NotPermitted".to_owned())]);
    let message = &trust(&world).left_out[0].message;
    assert!(message.contains(&format!("may not read ConfigMap {NAMESPACE}/es-2-ca: grant it")), "{message}");
    assert_eq!(certificates(&kept(&world)), 1);
    world.api.grant();
    world.round_of_cluster("es-1").await;
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
    assert_eq!(left_out(&world), []);
}

#[tokio::test]
async fn one_faulty_source_holds_up_no_other_tenant_and_is_told() {
    let mut world = trusting_eck().await;
    neighbour(&world, es_3_ca());
    until(&mut world, BatchPhase::RollingOut).await;
    let begun = batch(&world).unwrap();
    assert_eq!(begun.entries, [ENTRY, NEIGHBOUR], "its entry goes on as any other");
    assert!(begun.trust.is_some());
    assert_eq!(certificates(&kept(&world)), 1);
    assert_eq!(left_out(&world), [(format!("{NAMESPACE}/es-3"), "AuthorityUnknown".to_owned())]);
    let message = &trust(&world).left_out[0].message;
    assert!(message.contains(&format!("ConfigMap {NAMESPACE}/es-3-ca is not found; create it")), "{message}");
    assert!(world.event_reasons().contains(&"SourceLeftOut".to_owned()), "{:?}", world.event_reasons());
    eck_says(&world, "Ready");
    load_both(&world);
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    let (reason, message) = told(&world, ALLOWLIST_READY);
    assert!(reason == "Effective" && message.contains("leftOut"), "{reason}: {message}");
    assert_eq!(neighbour_waits(&world).await.0, "ConfigMapNotFound");
    // The other one's copy goes through.
    world.source.answer_at(ENTRY);
    let copied = world.end().await;
    assert!(condition(&copied, COMPLETE).is_some(), "{}", world.story("it is Complete"));
    // Mended, it needs no further restart.
    let mut mended = authority(ANOTHER);
    mended["metadata"]["name"] = json!("es-3-ca");
    world.api.apply(mended);
    world.round_of_cluster("es-1").await;
    assert_eq!((certificates(&kept(&world)), left_out(&world)), (2, vec![]));
    world.round_of_cluster("es-1").await;
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
}

#[tokio::test]
async fn a_source_whose_authority_can_t_be_had_goes_without_where_it_is_alone() {
    let mut world = trusting_eck().await;
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    world.api.apply(authority("no certificate"));
    until(&mut world, BatchPhase::RollingOut).await;
    let begun = batch(&world).unwrap();
    assert_eq!((begun.entries, begun.trust), (vec![ENTRY.to_owned()], None));
    assert_eq!(left_out(&world), [(format!("{NAMESPACE}/es-2"), "AuthorityUnknown".to_owned())]);
    eck_says(&world, "Ready");
    load(&world, 0);
    until(&mut world, BatchPhase::Done).await;
    world.api.apply(authority(AUTHORITY));
    world.round_of_cluster("es-1").await;
    until(&mut world, BatchPhase::RollingOut).await;
    let begun = batch(&world).unwrap();
    assert_eq!((begun.entries, begun.trust.is_some()), (vec![], true));
}

#[tokio::test]
async fn a_public_source_beside_another_is_trusted_by_what_the_operator_trusts() {
    let mut world = trusting_eck().await;
    neighbour(&world, Value::Null);
    until(&mut world, BatchPhase::RollingOut).await;
    assert_eq!(certificates(&kept(&world)), 2);
    let public: String = PUBLIC_AUTHORITY.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(kept(&world).replace('\n', "").contains(&public), "{}", kept(&world));
    assert_eq!(trust(&world).sources, [format!("{NAMESPACE}/es-2"), format!("{NAMESPACE}/es-3")]);
    assert_eq!((batch(&world).unwrap().entries.len(), left_out(&world)), (2, vec![]));
    assert!(batch(&world).unwrap().trust.is_some());
}

#[tokio::test]
async fn a_public_source_alone_changes_nothing_until_nodes_read_a_list() {
    let mut world = world_with(json!({"eck": {"name": "es-1"}}), &[elasticsearch(), elastic_user()], |world| {
        world.change_cluster("es-2", json!({"spec": {"remoteEndpoint": format!("https://{ENTRY}")}}));
        world.change_cluster("es-1", json!({"spec": {"allowlist": {"trustSource": true}}}));
    })
    .await;
    until(&mut world, BatchPhase::RollingOut).await;
    assert_eq!(batch(&world).unwrap().trust, None);
    assert!(world.api.find("configmaps", NAMESPACE, "es-1-reindex-sources").is_none());
    // They do, for a source that nobody needs any more.
    world.api.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": AUTHORITY},
        "metadata": {
            "name": "es-1-reindex-sources", "namespace": NAMESPACE,
            "annotations": {"reindex.dev/sources-of": "es-1"},
        },
    }));
    eck_says(&world, "Ready");
    load(&world, 3);
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    assert_eq!(certificates(&kept(&world)), 2);
    assert_eq!((told(&world, ALLOWLIST_READY).0.as_str(), patches(&world, ECK)), ("Effective", 1));
}

#[tokio::test]
async fn a_public_source_of_an_image_without_authorities_is_told_what_to_name() {
    let mut world = trusting_eck().await;
    world.take_public_authorities();
    neighbour(&world, Value::Null);
    until(&mut world, BatchPhase::RollingOut).await;
    assert_eq!((batch(&world).unwrap().entries.len(), certificates(&kept(&world))), (2, 1));
    assert_eq!(left_out(&world), [(format!("{NAMESPACE}/es-3"), "AuthorityUnknown".to_owned())]);
    eck_says(&world, "Ready");
    load_both(&world);
    until(&mut world, BatchPhase::Done).await;
    world.round_of_cluster("es-1").await;
    world.destination.state().distrusted.insert(NEIGHBOUR.to_owned());
    // The caches catch up.
    world.round().await;
    let (reason, message) = neighbour_waits(&world).await;
    assert_eq!(reason, "SourceUntrusted", "{message}");
    for part in ["leaves its authority out (AuthorityUnknown)", "name it there in tls.caRef"] {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test]
async fn one_certificate_that_is_spoilt_takes_no_other_with_it() {
    let mut world = trusting_eck().await;
    let spoilt = format!("-----BEGIN CERTIFICATE-----\nspoilt\n-----END CERTIFICATE-----\n{ANOTHER}");
    let keep = |text: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": text},
            "metadata": {
                "name": "es-1-reindex-sources", "namespace": NAMESPACE,
                "annotations": {"reindex.dev/sources-of": "es-1"},
            },
        })
    };
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    world.api.apply(keep(&spoilt));
    world.round_of_cluster("es-1").await;
    assert_eq!(certificates(&kept(&world)), 2, "{}", kept(&world));
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    world.api.apply(keep("somebody's"));
    world.round_of_cluster("es-1").await;
    assert_eq!((told(&world, STALLED).0.as_str(), kept(&world).as_str()), ("SourcesUnreadable", "somebody's"));
}

#[tokio::test]
async fn under_verify_the_text_to_commit_names_what_is_there_already() {
    let mut world = trusting_eck().await;
    world.change_cluster(
        "es-1",
        json!({"spec": {"allowlist": {"management": "Verify"}}, "status": {"allowlist": {"batch": null}}}),
    );
    world.round_of_cluster("es-1").await;
    assert_eq!(told(&world, ALLOWLIST_READY).0, "VerifyOnly");
    for part in [FILE, "node.attr.reindex_sources: 'es-1-reindex-sources'", "volumeMounts"] {
        assert!(instruction(&world).contains(part), "{part} in {}", instruction(&world));
    }
    assert_eq!((certificates(&kept(&world)), patches(&world, ECK)), (1, 0), "what would be mounted is there");
}

#[tokio::test]
async fn the_opensearch_operator_mounts_it_for_all_nodes() {
    let objects = [opensearch("opensearch.org"), admin_password()];
    let mut world = trusting(json!({"openSearchOperator": {"name": "es-1"}}), &objects).await;
    until(&mut world, BatchPhase::RollingOut).await;
    let general = world.api.find(OPENSEARCH, NAMESPACE, "es-1").unwrap()["spec"]["general"].clone();
    let folder = "/usr/share/opensearch/config/reindex-sources";
    assert_eq!(
        general,
        json!({
            "serviceName": "es-1",
            "additionalConfig": {
                "reindex.remote.whitelist": format!("old:9200,{ENTRY}"),
                "reindex.ssl.certificate_authorities": format!("[\"{folder}/ca.crt\"]"),
                "node.attr.reindex_sources": "es-1-reindex-sources",
            },
            "additionalVolumes": [{"name": "reindex-sources", "path": folder, "configMap": {"name": "es-1-reindex-sources"}}],
        })
    );
    load(&world, 3);
    until(&mut world, BatchPhase::Done).await;
    assert_eq!(patches(&world, OPENSEARCH), 1);
}

#[tokio::test]
async fn an_untrusted_source_is_told_with_the_line_and_the_place() {
    let mut world = World::new().await;
    by_tls(&world);
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "es-1-config", "namespace": NAMESPACE},
        "data": {"elasticsearch.yml": "reindex.ssl.certificate_authorities: [own.pem]\n"},
    });
    world.api.apply(map);
    let provider = json!({"statefulSets": [{"name": "es-1", "configMap": {"name": "es-1-config"}}]});
    world.change_cluster(
        "es-1",
        json!({"spec": {"provider": provider}, "status": {"allowlist": {"effective": [ENTRY]}}}),
    );
    world.destination.state().allowlist = vec![ENTRY.to_owned()];
    let (reason, message) = world.until_stalled().await;
    assert_eq!(reason, "SourceUntrusted");
    for part in [
        format!("reindex.ssl.certificate_authorities: [\"own.pem\", \"{FILE}\"]"),
        format!("ConfigMap {NAMESPACE}/es-2-ca, key ca.crt"),
    ] {
        assert!(message.contains(&part), "{part} in {message}");
    }
}

#[tokio::test]
async fn a_reindex_waits_for_trust_that_is_on_its_way() {
    let mut world = trusting_eck().await;
    load(&world, 0);
    world.round_of_cluster("es-1").await;
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": null}}}));
    world.round().await;
    let reindex = world.reindex().unwrap();
    let (reason, message) = condition(&reindex, RECONCILING).expect("nobody has to act");
    assert_eq!(reason, "WaitingForAllowlist", "{message}");
    assert!(message.contains("don't trust the certificate of the source es-2.example:9200 yet"), "{message}");
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_names_no_config_map_that_is_not_there() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Refused, Fault::AnswerLost] {
        for call in 1.. {
            let mut world =
                world_with(json!({"eck": {"name": "es-1"}}), &[elasticsearch(), elastic_user()], by_tls).await;
            world.change_cluster(
                "es-1",
                json!({"spec": {"allowlist": {"trustSource": true}}, "status": {"allowlist": {"batch": null}}}),
            );
            world.faults.plan(call, fault);
            for _ in 0..6 {
                world.round_of_cluster("es-1").await;
                let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
                let is_named = !object["spec"]["nodeSets"][0]["podTemplate"].is_null();
                let is_there = world.api.find("configmaps", NAMESPACE, "es-1-reindex-sources").is_some();
                assert!(is_there || !is_named, "{fault:?} at {:?}", world.faults.hit());
            }
            let title = format!("{fault:?} at {:?}", world.faults.hit());
            assert_eq!((phase(&world), certificates(&kept(&world))), (Some(BatchPhase::RollingOut), 1), "{title}");
            let object = world.api.find(ECK, NAMESPACE, "es-1").unwrap();
            assert_eq!(object["metadata"]["generation"], 2, "{title}: one change");
            if world.faults.hit().is_none() {
                break;
            }
        }
    }
}
