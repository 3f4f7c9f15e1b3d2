//! What the operator does to the objects of ECK and of the OpenSearch operator, on a real apiserver with their published definitions.
//! Neither operator runs here: nobody acts on the objects.

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use reindex_operator::{
    allowlist::{eck::Eck, open_search_operator::OpenSearchOperator, provider::ProviderError},
    plan::{
        allowlist::{ALLOWLIST, Change, WHITELIST},
        rollout::Progress,
    },
};
use serde_json::{Value, json};

const DEFINITIONS: [&str; 3] = [
    "eck-elasticsearch-crd.yaml",
    "opensearch.org-opensearchclusters-crd.yaml",
    "opensearch.opster.io-opensearchclusters-crd.yaml",
];

/// Definitions that this test installed, and its namespace.
struct Installed {
    client: Client,
    namespace: String,
    definitions: Vec<String>,
}

impl Installed {
    /// None where the definitions are not beside the project.
    async fn new() -> Option<Installed> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/crds");
        if !folder.is_dir() {
            println!("skipped: the published definitions are not in {}", folder.display());
            return None;
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_default().await.expect("KUBECONFIG must name a cluster: run the tests by `make test`");
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let mut definitions = vec![];
        for file in DEFINITIONS {
            let text = fs::read_to_string(folder.join(file)).expect("a definition");
            let mut definition: Value = serde_saphyr::from_str(&text).expect("YAML");
            let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
            // The operators convert between versions by webhooks, which are not here.
            definition["spec"].as_object_mut().expect("a spec").remove("conversion");
            if api.get_opt(&name).await.expect("an answer").is_none() {
                let params = PatchParams::apply("providers-test");
                api.patch(&name, &params, &Patch::Apply(&definition)).await.expect("the definition is installed");
                definitions.push(name.clone());
            }
            await_condition(api.clone(), &name, is_crd_established()).await.expect("it is established");
        }
        let namespace = json!({"metadata": {"generateName": "providers-"}});
        let namespace: Namespace = serde_json::from_value(namespace).expect("a namespace");
        let created = Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("created");
        Some(Installed { client, namespace: created.name_any(), definitions })
    }

    fn api(&self, group: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    async fn remove(&self) {
        let params = DeleteParams::default();
        let _ = Api::<Namespace>::all(self.client.clone()).delete(&self.namespace, &params).await;
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for name in &self.definitions {
            api.delete(name, &params).await.expect("the definition is removed");
        }
    }
}

async fn create(api: &Api<DynamicObject>, object: Value) {
    let object = serde_json::from_value(object).expect("an object");
    api.create(&PostParams::default(), &object).await.expect("the apiserver takes it");
}

/// One test, since it installs and removes definitions for the whole cluster.
#[tokio::test]
async fn the_objects_of_eck_and_of_the_opensearch_operator_can_be_edited_as_published() {
    let Some(installed) = Installed::new().await else { return };
    let installed = Arc::new(installed);
    let tried = installed.clone();
    let ended = tokio::spawn(async move {
        eck(&tried).await;
        opensearch(&tried).await;
        denied(&tried).await;
        granted(&tried).await;
    });
    // What was installed goes, however it ended.
    let ended = ended.await;
    installed.remove().await;
    ended.expect("it passes");
}

/// An entry and trust.
fn wanted() -> Change {
    Change { add: vec!["src:9200".to_owned()], trust: Some("x-reindex-sources".to_owned()), ..Change::default() }
}

async fn eck(installed: &Installed) {
    let api = installed.api("elasticsearch.k8s.elastic.co", "Elasticsearch", "elasticsearches");
    create(
        &api,
        json!({
            "apiVersion": "elasticsearch.k8s.elastic.co/v1", "kind": "Elasticsearch", "metadata": {"name": "es-1"},
            "spec": {"version": "8.19.0", "nodeSets": [
                {"name": "masters", "count": 3, "config": {"node.roles": ["master"], "reindex": {"remote": {"whitelist": "old:9200"}}}},
                {"name": "data", "count": 2, "podTemplate": {"metadata": {"labels": {"a": "b"}}}},
                {"name": "ml", "count": 1, "config": {"reindex.remote.whitelist": ["old:9200"]}},
            ]},
        }),
    )
    .await;
    let eck = Eck { client: &installed.client, namespace: &installed.namespace, name: "es-1", key: WHITELIST };
    let before = eck.look(&wanted(), true).await.expect("it is read");
    assert_eq!((before.configured, before.trust, before.nodes), (Ok(vec![]), Ok(false), Some(6)));
    eck.apply(&wanted()).await.expect("it is patched");
    let stored = api.get("es-1").await.expect("an answer");
    let file = "/usr/share/elasticsearch/config/reindex-sources/ca.crt";
    let mount = json!({"name": "reindex-sources", "mountPath": "/usr/share/elasticsearch/config/reindex-sources", "readOnly": true});
    let pods = json!({
        "volumes": [{"name": "reindex-sources", "configMap": {"name": "x-reindex-sources"}}],
        "containers": [{"name": "elasticsearch", "volumeMounts": [mount]}],
    });
    assert_eq!(
        stored.data["spec"]["nodeSets"],
        json!([
            {"name": "masters", "count": 3, "podTemplate": {"spec": pods}, "config": {
                "node.roles": ["master"], "reindex": {"remote": {"whitelist": "old:9200,src:9200"}},
                "reindex.ssl.certificate_authorities": [file], "node.attr.reindex_sources": "x-reindex-sources",
            }},
            {"name": "data", "count": 2, "podTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": pods}, "config": {
                "reindex.remote.whitelist": ["src:9200"], "reindex.ssl.certificate_authorities": [file], "node.attr.reindex_sources": "x-reindex-sources",
            }},
            {"name": "ml", "count": 1, "podTemplate": {"spec": pods}, "config": {
                "reindex.remote.whitelist": ["old:9200", "src:9200"], "reindex.ssl.certificate_authorities": [file],
                "node.attr.reindex_sources": "x-reindex-sources",
            }},
        ])
    );
    let generation = stored.metadata.generation;
    eck.apply(&wanted()).await.expect("again");
    assert_eq!(api.get("es-1").await.expect("an answer").metadata.generation, generation, "nothing was left to change");
    // As ECK writes it.
    let status = |observed| json!({"status": {"observedGeneration": observed, "phase": "Ready", "health": "green"}});
    let write = async |status: Value| {
        api.patch_status("es-1", &PatchParams::default(), &Patch::Merge(status)).await.expect("a status");
        eck.look(&wanted(), true).await.expect("it is read")
    };
    assert!(matches!(write(status(generation.map(|seen| seen - 1))).await.progress, Progress::Rolling { .. }));
    let done = write(status(generation)).await;
    assert_eq!((done.progress, done.configured, done.trust), (Progress::Steady, Ok(wanted().add), Ok(true)));
    let connection = eck.connection().await.expect("it is read");
    assert_eq!(connection.endpoint, format!("https://es-1-es-http.{}.svc:9200", installed.namespace));
    // What was read before somebody else's write is not written back.
    let target = eck.object();
    api.patch("es-1", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}})))
        .await
        .expect("somebody writes it");
    let edit = json!({"op": "add", "path": "/spec/nodeSets/0/count", "value": 9});
    let refused = target.patch(&stored, vec![edit]).await;
    assert!(matches!(refused, Err(ProviderError::Conflict { .. })), "{refused:?}");
    // What the definition does not allow is refused, which is something else than a conflict.
    let now = api.get("es-1").await.expect("an answer");
    let edit = json!({"op": "add", "path": "/spec/nodeSets/0/count", "value": "many"});
    let refused = target.patch(&now, vec![edit]).await;
    assert!(
        matches!(&refused, Err(ProviderError::Refused { message, .. }) if message.contains("count")),
        "{refused:?}"
    );
}

async fn opensearch(installed: &Installed) {
    let cluster = |group: &str| {
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "OpenSearchCluster", "metadata": {"name": "os-1"},
            "spec": {
                "general": {"serviceName": "os-1", "version": "2.19.1"},
                "nodePools": [
                    {"component": "masters", "replicas": 3, "roles": ["cluster_manager"]},
                    {"component": "data", "replicas": 2, "roles": ["data"], "additionalConfig": {"reindex.remote.allowlist": "[\"old:9200\"]"}},
                ],
            },
        })
    };
    let operator =
        OpenSearchOperator { client: &installed.client, namespace: &installed.namespace, name: "os-1", key: ALLOWLIST };
    // The older group first, as long as it alone has the object.
    for group in ["opensearch.opster.io", "opensearch.org"] {
        let api = installed.api(group, "OpenSearchCluster", "opensearchclusters");
        create(&api, cluster(group)).await;
        assert_eq!(operator.look(&wanted(), true).await.expect("it is read").configured, Ok(vec![]), "{group}");
        operator.apply(&wanted()).await.expect("it is patched");
        let spec = api.get("os-1").await.expect("an answer").data["spec"].clone();
        assert_eq!(
            spec["general"]["additionalConfig"],
            json!({
                "reindex.remote.allowlist": r#"["src:9200"]"#,
                "reindex.ssl.certificate_authorities": r#"["/usr/share/opensearch/config/reindex-sources/ca.crt"]"#,
                "node.attr.reindex_sources": "x-reindex-sources",
            }),
            "{group}"
        );
        let folder = "/usr/share/opensearch/config/reindex-sources";
        assert_eq!(
            spec["general"]["additionalVolumes"],
            json!([{"name": "reindex-sources", "path": folder, "configMap": {"name": "x-reindex-sources"}}]),
            "{group}"
        );
        assert_eq!(
            spec["nodePools"][1]["additionalConfig"],
            json!({"reindex.remote.allowlist": r#"["old:9200","src:9200"]"#}),
            "{group}"
        );
        let seen = operator.look(&wanted(), true).await.expect("it is read");
        assert_eq!((seen.configured, seen.trust), (Ok(wanted().add), Ok(true)), "{group}");
    }
    assert_eq!(
        operator.connection().await.expect("it is read").endpoint,
        format!("https://os-1.{}.svc:9200", installed.namespace)
    );
}

/// The service account of this name, with no rights but those that every account has.
async fn account(installed: &Installed, name: &str) -> Client {
    let mut config = Config::infer().await.expect("a cluster");
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:{name}", installed.namespace));
    config.auth_info.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
    Client::try_from(config).expect("a client")
}

/// What the chart's roles for these providers grant is enough, and each of it is needed.
async fn granted(installed: &Installed) {
    let name = format!("rights-{}", installed.namespace);
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/reindex-operator");
    let rendered = Command::new(xtask::go::HELM.binary().expect("helm"))
        .args(["template", &name, xtask::render::FOR_OLDEST])
        .arg(chart)
        .args(["--namespace", &installed.namespace, "--set", "providers.eck=true,providers.openSearchOperator=true"])
        .args(["--show-only", "templates/roles-providers.yaml"])
        .output()
        .expect("helm runs");
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(&String::from_utf8(rendered.stdout).expect("text")).expect("YAML");
    let subject = objects.iter().find_map(|object| object["subjects"][0]["name"].as_str()).expect("a service account");
    let operator = account(installed, subject).await;
    for object in &objects {
        xtask::kubectl::apply(std::slice::from_ref(object)).expect("applied");
    }
    let tried = use_rights(installed, &operator).await;
    for object in objects.iter().rev() {
        let (kind, name) =
            (object["kind"].as_str().expect("a kind"), object["metadata"]["name"].as_str().expect("a name"));
        xtask::kubectl::run(&["delete", kind, name]).expect("deleted");
    }
    tried.expect("nothing that the operator does is denied");
}

/// All that the operator does for these providers.
async fn use_rights(installed: &Installed, operator: &Client) -> Result<(), Box<dyn std::error::Error>> {
    let namespace = &installed.namespace;
    let change = Change { add: vec!["another:9200".to_owned()], ..wanted() };
    let eck = Eck { client: operator, namespace, name: "es-1", key: WHITELIST };
    eck.connection().await?;
    eck.look(&change, true).await?;
    eck.object().check_patch().await?.map_err(|blocked| blocked.message)?;
    eck.apply(&change).await?;
    let opensearch = OpenSearchOperator { client: operator, namespace, name: "os-1", key: ALLOWLIST };
    opensearch.connection().await?;
    opensearch.look(&change, true).await?;
    opensearch.apply(&change).await?;
    let map = serde_json::from_value(json!({"metadata": {"name": "x-reindex-sources"}}))?;
    Api::<ConfigMap>::namespaced(operator.clone(), namespace).create(&PostParams::default(), &map).await?;
    Ok(())
}

/// As somebody who may do nothing, and as somebody who may only read.
async fn denied(installed: &Installed) {
    let nobody = account(installed, "nobody").await;
    let eck = Eck { client: &nobody, namespace: &installed.namespace, name: "es-1", key: WHITELIST };
    let error = eck.connection().await.expect_err("it may not read");
    assert_eq!(
        error.to_string(),
        format!(
            "the operator may not get elasticsearches.elasticsearch.k8s.elastic.co in namespace {}: grant it, as the chart's values under \
             `providers` do",
            installed.namespace
        )
    );
    let blocked = eck.object().check_patch().await.expect("everybody may ask").expect_err("it may not patch");
    assert_eq!(blocked.reason, "NotPermitted");
    assert!(blocked.message.contains("may not patch elasticsearches"), "{}", blocked.message);
}
