//! The rules in the CRDs, on the apiserver that enforces them.

use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use reindex_operator::{
    api::{Reindex, SearchCluster, crd, writing::OpType},
    local::admission::Admission,
};
use serde_json::{Value, json};

/// A client, with the CRDs of this checkout installed.
pub async fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await.expect("KUBECONFIG must name a cluster: run the tests by `make test`");
    let crds = Api::all(client.clone());
    for crd in crd::all() {
        let params = PatchParams::apply("rules-test").force();
        crds.patch(&crd.name_any(), &params, &Patch::Apply(&crd)).await.expect("the CRD is installed");
        kube::runtime::wait::await_condition(
            crds.clone(),
            &crd.name_any(),
            kube::runtime::conditions::is_crd_established(),
        )
        .await
        .expect("the CRD is established");
    }
    client
}

/// Merges `change` into `value`; null removes.
fn merged(mut value: Value, change: &Value) -> Value {
    match (value.as_object_mut(), change.as_object()) {
        (Some(object), Some(changes)) => {
            for (key, change) in changes {
                let before = object.remove(key).unwrap_or(Value::Null);
                let after = merged(before, change);
                if !after.is_null() {
                    object.insert(key.clone(), after);
                }
            }
            value
        }
        (None, Some(_)) => merged(json!({}), change),
        _ => change.clone(),
    }
}

/// A valid Reindex with a change of its spec.
pub fn reindex(change: Value) -> Value {
    let valid = json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"generateName": "rules-", "namespace": "default"},
        "spec": {
            "source": {"clusterRef": {"name": "es-2"}, "index": "product_info"},
            "destination": {"clusterRef": {"name": "es-1"}, "index": "dest"},
        },
    });
    merged(valid, &json!({"spec": change}))
}

/// A valid SearchCluster with a change of its spec.
pub fn cluster(change: Value) -> Value {
    let valid = json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"generateName": "rules-", "namespace": "default"},
        "spec": {"endpoint": "https://es-1-http.search.svc:9200"},
    });
    merged(valid, &json!({"spec": change}))
}

/// What the apiserver says to creating this, without keeping it, and what the one in memory says; None if it is accepted.
pub async fn refusals<K>(client: &Client, value: Value) -> [Option<String>; 2]
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<kube::core::DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &kube::core::ApiResource::erase::<K>(&()));
    let object = serde_json::from_value(value.clone()).expect("an object");
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let real = match api.create(&params, &object).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message.clone()),
        Err(error) => panic!("the apiserver did not answer: {error}"),
    };
    let admission = Admission::new().expect("the definitions can be used");
    let resource = format!("{}.{}", K::plural(&()), K::group(&()));
    let in_memory = admission.admit(&resource, &mut value.clone(), None).err().map(|faults| faults.join("; "));
    [real, in_memory]
}

#[tokio::test]
async fn a_reindex_with_a_mistake_is_refused_and_told_which() {
    let client = client().await;
    for (change, told) in [
        (json!({"source": {"index": "a,b"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "logs-*"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "Upper"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "a/b"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "a?"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "a#b"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "elsewhere:a"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "a\u{1b}[2J"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "a\nb"}}), "one index, alias or data stream"),
        (json!({"source": {"index": "x".repeat(256)}}), "spec.source.index"),
        (json!({"source": {"index": ""}}), "spec.source.index"),
        (json!({"source": {"socketTimeout": "soon"}}), "spec.source.socketTimeout"),
        (json!({"source": {"sourceFields": {}}}), "includes or excludes must be set"),
        (json!({"source": {"clusterRef": {"name": null}}}), "spec.source.clusterRef.name"),
        (json!({"destination": {"index": ".hidden"}}), "valid index name"),
        (json!({"destination": {"index": "a/b"}}), "valid index name"),
        (json!({"destination": {"index": "a?b"}}), "valid index name"),
        (json!({"destination": {"index": "a,b"}}), "valid index name"),
        (json!({"destination": {"index": "a#b"}}), "valid index name"),
        (json!({"destination": {"index": "a\u{9b}b"}}), "valid index name"),
        (json!({"destination": {"index": "a\0b"}}), "valid index name"),
        (json!({"destination": {"ifExists": "Overwrite"}}), "spec.destination.ifExists"),
        (json!({"destination": {"mappings": {"properties": {}}, "mappingsFrom": "Source"}}), "exclude each other"),
        (json!({"destination": {"settings": {"numberOfShards": 0}}}), "spec.destination.settings.numberOfShards"),
        (json!({"destination": {"settings": {"numberOfReplicas": -1}}}), "spec.destination.settings.numberOfReplicas"),
        (json!({"destination": {"opType": "Upsert"}}), "spec.destination.opType"),
        (json!({"destination": {"pipeline": ""}}), "spec.destination.pipeline"),
        (json!({"destination": {"pipeline": "a,b"}}), "one ingest pipeline"),
        (json!({"destination": {"pipeline": "a*"}}), "one ingest pipeline"),
        (json!({"destination": {"pipeline": "_none"}}), "one ingest pipeline"),
        (json!({"destination": {"pipeline": "a\tb"}}), "one ingest pipeline"),
        (json!({"destination": {"routing": "shop"}}), "spec.destination.routing"),
        (json!({"destination": {"routing": "="}}), "spec.destination.routing"),
        (json!({"script": {"lang": "painless"}}), "spec.script.source"),
        (json!({"script": {"source": ""}}), "spec.script.source"),
        (json!({"script": {"source": "ctx.op = 'delete'"}}), "must not set ctx.op to 'delete'"),
        (json!({"script": {"source": "if (ctx._source.a == 1) {\n  ctx [ \"op\" ]=\"delete\" }"}}), "ctx.op = 'noop'"),
        (json!({"execution": {"batchSize": 10001}}), "spec.execution.batchSize"),
        (json!({"execution": {"partitions": 513}}), "spec.execution.partitions"),
        (json!({"execution": {"parallelism": 33}}), "spec.execution.parallelism"),
        (json!({"execution": {"requestsPerSecond": 0}}), "spec.execution.requestsPerSecond"),
        (json!({"catchUp": {"maxRounds": -1}}), "spec.catchUp.maxRounds"),
        (json!({"execution": {"activeDeadlineSeconds": 0}}), "spec.execution.activeDeadlineSeconds"),
        (json!({"verification": {"level": "Maybe"}}), "spec.verification.level"),
        (json!({"versionPolicy": "Whatever"}), "spec.versionPolicy"),
    ] {
        let refused = refusals::<Reindex>(&client, reindex(change.clone())).await;
        let says = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(told));
        assert!(refused.iter().all(says), "{change}: {refused:?}");
    }
}

fn alibaba_cloud(change: Value) -> Value {
    merged(json!({"instanceId": "es-cn-1", "regionId": "cn-hangzhou"}), &change)
}

#[tokio::test]
async fn a_search_cluster_with_a_mistake_is_refused_and_told_which() {
    let client = client().await;
    for (change, told) in [
        (json!({"endpoint": "es-1:9200"}), "must be a URL"),
        (json!({"endpoint": "https://es-1"}), "must be a URL"),
        (json!({"endpoint": "ftp://es-1:9200"}), "must be a URL"),
        (json!({"endpoint": "https://elastic:secret@es-1:9200"}), "no user name"),
        (json!({"remoteEndpoint": "https://es-1:9200?x=1"}), "no user name"),
        (json!({"tls": {"caRef": {}}}), "exactly one of secret and configMap"),
        (json!({"tls": {"caRef": {"secret": {"name": "a"}}, "insecureSkipVerify": true}}), "exclude each other"),
        (
            json!({"provider": {"none": {}, "statefulSets": [{"name": "a", "configMap": {"name": "b"}}]}}),
            "exactly one provider",
        ),
        (json!({"provider": {"none": {}, "alibabaCloud": alibaba_cloud(json!({}))}}), "exactly one provider"),
        (
            json!({"provider": {"alibabaCloud": alibaba_cloud(json!({"endpoint": "http://es.aliyuncs.com"}))}}),
            "must be a URL with scheme https",
        ),
        (json!({"provider": {"alibabaCloud": alibaba_cloud(json!({"instanceId": "a/b"}))}}), "id of an instance"),
        (json!({"provider": {"alibabaCloud": alibaba_cloud(json!({"regionId": "a.b"}))}}), "id of a region"),
        (json!({"provider": {"eck": {"name": "a"}, "openSearchOperator": {"name": "a"}}}), "exactly one provider"),
        (json!({"endpoint": null}), "endpoint may be left out only with"),
        (json!({"allowlist": {"trustSource": true}}), "only with the providers eck and openSearchOperator"),
        (
            json!({"provider": {"statefulSets": [{"name": "a", "configMap": {"name": "b"}}]}, "allowlist": {"trustSource": true}}),
            "only with the providers eck and openSearchOperator",
        ),
        (json!({"endpoint": null, "provider": {"none": {}}}), "endpoint may be left out only with"),
        (json!({"provider": {"eck": {"name": ""}}}), "spec.provider.eck.name"),
        (json!({"allowlist": {"management": "Sometimes"}}), "spec.allowlist.management"),
        (json!({"allowlist": {"window": {"schedule": "every night", "duration": "4h"}}}), "five fields of cron"),
        (json!({"allowlist": {"window": {"schedule": "0 2 * * 6", "duration": "soon"}}}), "whole hours or minutes"),
        (
            json!({"allowlist": {"window": {"schedule": "0 2 * * 6", "duration": "4h", "timeZone": "here!"}}}),
            "name of a time zone",
        ),
        (json!({"access": [{"namespaces": {}}]}), "names or selector must be set"),
        (json!({"access": [{"roles": []}]}), "roles"),
        (json!({"auth": {"basic": {}}}), "secretRef"),
        (json!({"auth": {}}), "exactly one of basic and apiKey"),
        (
            json!({"auth": {"basic": {"secretRef": {"name": "a"}}, "apiKey": {"secretRef": {"name": "b"}}}}),
            "exactly one of basic and apiKey",
        ),
        (json!({"auth": {"apiKey": {"secretRef": {"name": ""}}}}), "spec.auth.apiKey.secretRef.name"),
    ] {
        let refused = refusals::<SearchCluster>(&client, cluster(change.clone())).await;
        let says = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(told));
        assert!(refused.iter().all(says), "{change}: {refused:?}");
    }
}

#[tokio::test]
async fn what_is_right_is_accepted() {
    let client = client().await;
    for change in [
        json!({}),
        json!({"source": {"index": "logs-2026.11", "query": {"term": {"a": {"value": 1}}}, "sourceFields": {"excludes": ["secret.*"]}}}),
        json!({"source": {"index": "100%25&x=1;a+b@c%2f.."}, "destination": {"index": "100%25&x=1;a+b@c%2f.."}}),
        json!({"source": {"index": ".ds-logs-000001", "socketTimeout": "500ms", "connectTimeout": "2m"}}),
        json!({"destination": {"mappings": {"properties": {"a": {"type": "text"}}}}}),
        json!({"destination": {"mappingsFrom": "None", "settings": {"numberOfShards": 5, "numberOfReplicas": 0, "additional": {"refresh_interval": "30s"}}}}),
        json!({"destination": {"opType": "Create", "pipeline": "enrich-2.1", "routing": "=a b"}, "conflicts": "Proceed"}),
        json!({"destination": {"routing": "discard"}, "script": {"source": "ctx._source.remove('a')"}}),
        json!({"script": {"source": "if (ctx.op == 'delete') { ctx.op = 'noop'; ctx._source.what = 'delete' }", "lang": "painless", "params": {"a": [1]}}}),
        json!({"execution": {"batchSize": 10000, "activeDeadlineSeconds": 60}, "verification": {"level": "None"}, "conflicts": "Proceed"}),
    ] {
        assert_eq!(refusals::<Reindex>(&client, reindex(change.clone())).await, [None, None], "{change}");
    }
    for change in [
        json!({}),
        json!({"endpoint": null, "provider": {"eck": {"name": "es-1"}}}),
        json!({"provider": {"eck": {"name": "es-1"}}, "allowlist": {"trustSource": true}}),
        json!({"endpoint": null, "provider": {"openSearchOperator": {"name": "os-1"}}, "allowlist": {"overrideGitOps": true}}),
        json!({"auth": {"basic": {"secretRef": {"name": "a"}}}}),
        json!({"auth": {"apiKey": {"secretRef": {"name": "a"}}}}),
        json!({"endpoint": "http://10.0.0.7:9200/es", "tls": {"serverName": "es.example.org"}}),
        json!({"remotes": [{"cluster": {"name": "es-2", "namespace": "other"}, "endpoint": "http://ep-bp1:9200"}]}),
        json!({"access": [{"namespaces": {"selector": {}}, "roles": ["Source"], "indexes": ["a*"]}, {}]}),
        json!({"provider": {"statefulSets": [{"name": "es", "configMap": {"name": "es-config"}}]}, "allowlist": {"management": "Automatic"}}),
        json!({"endpoint": null, "provider": {"alibabaCloud": alibaba_cloud(json!({}))}}),
        json!({"provider": {"alibabaCloud": alibaba_cloud(json!({"endpoint": "http://127.0.0.1:8080", "credentialsSecretRef": {"name": "a"}}))}}),
    ] {
        assert_eq!(refusals::<SearchCluster>(&client, cluster(change.clone())).await, [None, None], "{change}");
    }
}

#[tokio::test]
async fn a_new_object_reads_as_not_seen_and_its_spec_is_fixed() {
    let client = client().await;
    let api: Api<Reindex> = Api::namespaced(client, "default");
    let mut value = reindex(json!({"source": {"index": "nothing"}, "destination": {"clusterRef": {"name": "nobody"}}}));
    value["metadata"] = json!({"name": "rules-fixed", "namespace": "default"});
    let _ = api.delete("rules-fixed", &DeleteParams::default()).await;
    let created =
        api.create(&PostParams::default(), &serde_json::from_value(value).expect("valid")).await.expect("accepted");
    assert_eq!(created.status.and_then(|status| status.observed_generation), Some(-1));
    assert_eq!(created.spec.source.socket_timeout, "30s");
    assert_eq!(created.spec.source.connect_timeout, "1s");
    assert_eq!((created.spec.destination.op_type, created.spec.destination.routing.as_str()), (OpType::Index, "keep"));
    let patch = |spec: Value| {
        let api = api.clone();
        async move { api.patch("rules-fixed", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await }
    };
    for (spec, told) in [
        (json!({"source": {"index": "other"}}), "source can't change"),
        (json!({"source": {"sourceFields": {"includes": ["a"]}}}), "source can't change"),
        (json!({"destination": {"settings": {"numberOfShards": 3}}}), "destination can't change"),
        (json!({"destination": {"opType": "Create"}}), "destination can't change"),
        (json!({"destination": {"pipeline": "a"}}), "destination can't change"),
        (json!({"destination": {"routing": "discard"}}), "destination can't change"),
        (json!({"script": {"source": "ctx.op = 'noop'"}}), "script can't change"),
        (json!({"conflicts": "Proceed"}), "conflicts can't change"),
        (json!({"execution": {"batchSize": 5}}), "of execution only parallelism and requestsPerSecond"),
        (json!({"execution": {"activeDeadlineSeconds": 5}}), "of execution only parallelism and requestsPerSecond"),
        (json!({"catchUp": {"maxRounds": 1}}), "catchUp can't change"),
        (json!({"verification": {"level": "None"}}), "verification can't change"),
    ] {
        let refused = patch(spec.clone()).await.expect_err("a change of what is fixed");
        assert!(refused.to_string().contains(told), "{spec}: {refused}");
    }
    for change in [
        json!({"deletionPolicy": "Orphan"}),
        json!({"suspend": true, "suspendPolicy": "Cancel"}),
        json!({"execution": {"parallelism": 2, "requestsPerSecond": 100}}),
        json!({"execution": {"parallelism": null, "requestsPerSecond": 10}}),
    ] {
        patch(change.clone()).await.unwrap_or_else(|error| panic!("{change} may change: {error}"));
    }
    api.delete("rules-fixed", &DeleteParams::default()).await.expect("deleted");
}

#[tokio::test]
async fn a_script_is_fixed_as_well() {
    let client = client().await;
    let api: Api<Reindex> = Api::namespaced(client, "default");
    let mut value = reindex(json!({
        "source": {"index": "nothing"}, "destination": {"clusterRef": {"name": "nobody"}},
        "script": {"source": "ctx._source.remove('a')"},
    }));
    value["metadata"] = json!({"name": "rules-script", "namespace": "default"});
    let _ = api.delete("rules-script", &DeleteParams::default()).await;
    let created =
        api.create(&PostParams::default(), &serde_json::from_value(value).expect("valid")).await.expect("accepted");
    assert_eq!(created.spec.script.map(|script| script.lang), Some("painless".to_owned()));
    for script in [json!({"source": "ctx._source.remove('b')"}), json!({"lang": "expression"}), Value::Null] {
        let change = Patch::Merge(json!({"spec": {"script": script}}));
        let refused = api.patch("rules-script", &PatchParams::default(), &change).await.expect_err("it is fixed");
        assert!(refused.to_string().contains("script can't change"), "{script}: {refused}");
    }
    api.delete("rules-script", &DeleteParams::default()).await.expect("deleted");
}
