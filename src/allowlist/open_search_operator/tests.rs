use super::*;

fn object(change: impl FnOnce(&mut Value)) -> DynamicObject {
    let mut value = json!({
        "apiVersion": "opensearch.org/v1", "kind": "OpenSearchCluster",
        "metadata": {"name": "os-1", "namespace": "search"},
        "spec": {
            "general": {"serviceName": "os-1", "httpPort": 9200},
            "nodePools": [
                {"component": "masters", "replicas": 3, "roles": ["cluster_manager"]},
                {"component": "data", "replicas": 2, "roles": ["data"]},
            ],
        },
        "status": {"phase": "RUNNING", "health": "green", "componentsStatus": []},
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn entries() -> Change {
    Change { add: vec!["src:9200".to_owned()], ..Change::default() }
}

fn with_trust() -> Change {
    Change { trust: Some("os-1-reindex-sources".into()), ..entries() }
}

#[test]
fn trust_comes_in_the_same_patch_and_is_known_again() {
    let own = object(|value| {
        value["spec"]["general"]["additionalVolumes"] = json!([{"name": "own", "path": "/own", "emptyDir": {}}]);
        value["spec"]["nodePools"][1]["additionalConfig"] = json!({"reindex.ssl.certificate_authorities": "own.pem"});
    });
    let file = "/usr/share/opensearch/config/reindex-sources/ca.crt";
    let volume = json!({
        "name": "reindex-sources", "path": "/usr/share/opensearch/config/reindex-sources", "configMap": {"name": "os-1-reindex-sources"},
    });
    let volumes = json!([{"name": "own", "path": "/own", "emptyDir": {}}, volume]);
    let config = "/spec/general/additionalConfig";
    assert_eq!(
        operations(&own, ALLOWLIST, &with_trust()).unwrap(),
        [
            json!({"op": "add", "path": config, "value": {}}),
            json!({"op": "add", "path": format!("{config}/reindex.remote.allowlist"), "value": r#"["src:9200"]"#}),
            json!({"op": "test", "path": "/spec/nodePools/1/component", "value": "data"}),
            json!({"op": "add", "path": "/spec/nodePools/1/additionalConfig/reindex.ssl.certificate_authorities", "value": format!("own.pem,{file}")}),
            json!({"op": "add", "path": format!("{config}/reindex.ssl.certificate_authorities"), "value": format!("[\"{file}\"]")}),
            json!({"op": "add", "path": format!("{config}/node.attr.reindex_sources"), "value": "os-1-reindex-sources"}),
            json!({"op": "add", "path": "/spec/general/additionalVolumes", "value": volumes}),
        ]
    );
    let seen = managed(&own, ALLOWLIST, &with_trust());
    assert_eq!(seen.trust, Ok(false), "one of two pools lists authorities");
    let read: Value = serde_saphyr::from_str(&seen.instruction).unwrap();
    assert_eq!(read["spec"]["general"]["additionalVolumes"], json!([volume]));
    assert_eq!(read["spec"]["general"]["additionalConfig"]["node.attr.reindex_sources"], "os-1-reindex-sources");
    assert_eq!(read["spec"]["nodePools"][0]["component"], "data");
    let made = object(|value| {
        value["spec"]["general"]["additionalVolumes"] = volumes;
        value["spec"]["general"]["additionalConfig"] = json!({
            "reindex.remote.allowlist": r#"["src:9200"]"#, "reindex.ssl.certificate_authorities": file, "node.attr.reindex_sources": "os-1-reindex-sources",
        });
    });
    assert_eq!(managed(&made, ALLOWLIST, &with_trust()).trust, Ok(true));
    assert_eq!(operations(&made, ALLOWLIST, &with_trust()), Ok(vec![]));
}

#[test]
fn nodes_that_are_installed_elsewhere_read_there() {
    let elsewhere = object(|value| value["spec"]["general"]["opensearchHome"] = json!("/opt/opensearch"));
    let text = managed(&elsewhere, ALLOWLIST, &with_trust()).instruction;
    assert!(text.contains("/opt/opensearch/config/reindex-sources/ca.crt"), "{text}");
}

#[test]
fn the_setting_is_a_text_that_holds_a_list() {
    assert_eq!(
        operations(&object(|_| {}), ALLOWLIST, &entries()).unwrap(),
        [
            json!({"op": "add", "path": "/spec/general/additionalConfig", "value": {}}),
            json!({"op": "add", "path": "/spec/general/additionalConfig/reindex.remote.allowlist", "value": r#"["src:9200"]"#}),
        ]
    );
}

#[test]
fn what_a_node_pool_sets_itself_is_changed_too() {
    let own = object(|value| {
        value["spec"]["general"]["additionalConfig"] = json!({"reindex.remote.allowlist": "o:1, p:1"});
        value["spec"]["nodePools"][1]["additionalConfig"] = json!({"reindex.remote.allowlist": r#"["o:1"]"#});
    });
    assert_eq!(
        operations(&own, ALLOWLIST, &entries()).unwrap(),
        [
            json!({"op": "test", "path": "/spec/nodePools/1/component", "value": "data"}),
            json!({"op": "add", "path": "/spec/nodePools/1/additionalConfig/reindex.remote.allowlist", "value": r#"["o:1","src:9200"]"#}),
            json!({"op": "add", "path": "/spec/general/additionalConfig/reindex.remote.allowlist", "value": "o:1,p:1,src:9200"}),
        ]
    );
    let seen = managed(&own, ALLOWLIST, &entries());
    assert_eq!((seen.configured, seen.nodes), (Ok(vec!["o:1".to_owned()]), Some(5)));
    let read: Value = serde_saphyr::from_str(&seen.instruction).unwrap();
    assert_eq!(
        read,
        json!({"spec": {
            "general": {"additionalConfig": {"reindex.remote.allowlist": "o:1,p:1,src:9200"}},
            "nodePools": [{"component": "data", "additionalConfig": {"reindex.remote.allowlist": r#"["o:1","src:9200"]"#}}],
        }})
    );
}

#[test]
fn what_any_node_pool_holds_is_held() {
    assert_eq!(managed(&object(|_| {}), ALLOWLIST, &entries()).held, [""; 0]);
    let own = object(|value| {
        value["spec"]["general"]["additionalConfig"] = json!({"reindex.remote.allowlist": "o:1"});
        value["spec"]["nodePools"][1]["additionalConfig"] = json!({"reindex.remote.allowlist": r#"["src:9200"]"#});
    });
    let seen = managed(&own, ALLOWLIST, &entries());
    assert_eq!((seen.held, seen.configured), (vec!["src:9200".to_owned(), "o:1".to_owned()], Ok(vec![])));
}

#[test]
fn where_every_pool_sets_its_own_the_general_one_says_nothing() {
    let own = object(|value| {
        for at in 0..2 {
            value["spec"]["nodePools"][at]["additionalConfig"] = json!({"reindex.remote.allowlist": "src:9200"});
        }
    });
    assert_eq!(managed(&own, ALLOWLIST, &entries()).configured, Ok(entries().add));
    assert_eq!(operations(&own, ALLOWLIST, &entries()), Ok(vec![]));
}

#[test]
fn a_restart_that_is_told_is_waited_for() {
    let component = |name: &str, status: &str| json!({"phase": "RUNNING", "health": "green", "componentsStatus": [{"component": name, "status": status}]});
    assert_eq!(progress(&component("RollingRestart", "Finished")), Progress::Steady);
    for status in [
        component("RollingRestart", "InProgress"),
        component("Restarter", "InProgress"),
        json!({"phase": "UPGRADING", "health": "green"}),
        json!({"phase": "RUNNING", "health": "red"}),
        Value::Null,
    ] {
        assert!(matches!(progress(&status), Progress::Rolling { .. }), "{status}");
    }
}

#[test]
fn the_way_in_is_the_operators_own() {
    let generated = object(|value| {
        value["spec"]["general"]["serviceName"] = json!("search");
        value["spec"]["security"] = json!({"tls": {"http": {"generate": true}}});
    });
    let found = connection(&generated, "shop").unwrap();
    assert_eq!(found.endpoint, "https://search.shop.svc:9200");
    assert_eq!(found.server_name.as_deref(), Some("os-1.shop.svc"));
    assert_eq!(found.ca.unwrap().name, "os-1-ca");
    assert_eq!(found.password.unwrap().secret, "os-1-admin-password");
    let own = object(|value| {
        value["spec"]["security"] = json!({
            "config": {"adminCredentialsSecret": {"name": "admin"}},
            "tls": {"http": {"generate": false, "secret": {"name": "http"}, "caSecret": {"name": "ca"}}},
        });
    });
    let found = connection(&own, "shop").unwrap();
    assert_eq!((found.ca.unwrap().name, found.password.unwrap().secret), ("ca".into(), "admin".into()));
}
#[test]
fn whoever_may_write_the_object_leads_nobody_elsewhere() {
    for (field, value) in [
        ("serviceName", json!("evil.example:443/x")),
        ("serviceName", json!("169.254.169.254")),
        ("serviceName", json!("a@b")),
        ("httpPort", json!(70_000)),
    ] {
        let led = object(|object| object["spec"]["general"][field] = value.clone());
        let refused = connection(&led, "shop").unwrap_err();
        assert!(refused.contains(field), "{refused}");
    }
}

#[test]
fn the_older_name_is_used_where_it_stands_and_never_beside_the_newer() {
    let older = object(|value| {
        value["spec"]["general"].as_object_mut().unwrap().remove("additionalConfig");
        value["spec"]["nodePools"][1]["additionalConfig"] = json!({"reindex.remote.whitelist": "o:1"});
    });
    let patched = operations(&older, ALLOWLIST, &entries()).unwrap();
    let text = serde_json::to_string(&patched).unwrap();
    assert!(text.contains("reindex.remote.whitelist") && !text.contains("reindex.remote.allowlist"), "{text}");
    let both = object(|value| {
        value["spec"]["general"]["additionalConfig"] = json!({"reindex.remote.allowlist": "n:1"});
        value["spec"]["nodePools"][1]["additionalConfig"] = json!({"reindex.remote.whitelist": "o:1"});
    });
    let refused = managed(&both, ALLOWLIST, &entries()).configured.unwrap_err();
    assert_eq!(refused.reason, "ConfigNotEditable", "{}", refused.message);
}

#[test]
fn whoever_applies_the_settings_of_trust_owns_a_change_of_trust_only() {
    let mut applied = object(|_| {});
    applied.metadata.managed_fields = serde_json::from_value(json!([{
        "manager": "argocd-controller", "operation": "Apply",
        "fieldsV1": {"f:spec": {"f:general": {"f:additionalConfig": {format!("f:{}", trust::SETTING): {}}}}},
    }]))
    .unwrap();
    assert!(managed(&applied, ALLOWLIST, &with_trust()).owner.is_some());
    assert_eq!(managed(&applied, ALLOWLIST, &entries()).owner, None);
}
