//! The provider `eck`: an `Elasticsearch` object of Elastic Cloud on Kubernetes. Its node sets hold the configuration; ECK restarts
//! the nodes.
//!
//! The list of node sets has no merge key, so a merge patch would replace it whole: it is edited by a JSON Patch.

use kube::{
    Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    api::search_cluster::{Connection, KeyRef, PasswordRef},
    plan::{
        allowlist::effective,
        restart::Blocked,
        rollout::{Managed, Progress},
    },
};

use super::{
    gitops,
    object::Object,
    provider::ProviderError,
    setting::{self, Place},
};

/// Annotations by which ECK is told to leave an object alone.
const UNMANAGED: [(&str, &str); 3] = [
    ("eck.k8s.elastic.co/managed", "false"),
    ("eck.k8s.elastic.co/pause-orchestration", "true"),
    ("common.k8s.elastic.co/pause", "true"),
];

/// One cluster that ECK runs.
pub struct Eck<'a> {
    /// Talks to the apiserver.
    pub client: &'a Client,
    /// Where the object is.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The setting.
    pub key: &'a str,
}

impl Eck<'_> {
    /// What is configured, and how far ECK is.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn look(&self, missing: &[String]) -> Result<Managed, ProviderError> {
        let object = self.get().await?;
        self.object().changeable(managed(&object, self.key, missing)).await
    }

    /// Adds entries to every node set.
    ///
    /// # Errors
    /// As [`Object::edit`].
    pub async fn add(&self, entries: &[String]) -> Result<(), ProviderError> {
        let object = self.get().await?;
        self.object().edit(&object, operations(&object, self.key, entries)).await
    }

    /// How the cluster is reached: by the Service and with the Secrets that ECK makes.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn connection(&self) -> Result<Connection, ProviderError> {
        Ok(connection(&self.get().await?, self.namespace))
    }

    async fn get(&self) -> Result<DynamicObject, ProviderError> {
        let object = self.object();
        object.get().await?.ok_or_else(|| object.missing())
    }

    /// The object.
    pub fn object(&self) -> Object<'_> {
        let kind = GroupVersionKind::gvk("elasticsearch.k8s.elastic.co", "v1", "Elasticsearch");
        let resource = ApiResource::from_gvk_with_plural(&kind, "elasticsearches");
        Object { client: self.client, resource, namespace: self.namespace, name: self.name }
    }
}

/// Name and configuration of each node set.
fn node_sets(object: &DynamicObject) -> Vec<(&str, &Value)> {
    let sets = object.data["spec"]["nodeSets"].as_array().map(Vec::as_slice).unwrap_or_default();
    sets.iter().map(|set| (set["name"].as_str().unwrap_or_default(), &set["config"])).collect()
}

fn places(object: &DynamicObject, key: &str) -> Result<Vec<Place>, String> {
    let place = |(name, configuration): (&str, &Value)| {
        setting::find(configuration, key).map_err(|why| format!("node set {name}: {why}"))
    };
    node_sets(object).into_iter().map(place).collect()
}

fn managed(object: &DynamicObject, key: &str, missing: &[String]) -> Managed {
    let title = format!("Elasticsearch {}", object.name_any());
    let places = places(object, key);
    let configured = match (unmanaged(object), &places) {
        (Some(blocked), _) => Err(blocked),
        (None, Ok(places)) => Ok(effective(places.iter().map(|place| &place.entries))),
        (None, Err(why)) => Err(Blocked { reason: "ConfigNotEditable", message: format!("{title}: {why}") }),
    };
    let mut instruction = String::from("spec:\n  nodeSets:\n");
    for ((name, _), place) in node_sets(object).into_iter().zip(places.iter().flatten()) {
        instruction += &format!("  - name: {name}\n    config:\n{}", place.yaml(missing, 6));
    }
    let sets = object.data["spec"]["nodeSets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let counts: Option<Vec<u64>> = sets.iter().map(|set| set["count"].as_u64()).collect();
    Managed {
        object: title,
        configured,
        owner: gitops::owner(&object.metadata, &[&["f:spec", "f:nodeSets"]]),
        progress: progress(object),
        nodes: counts.and_then(|counts| usize::try_from(counts.iter().sum::<u64>()).ok()),
        instruction,
    }
}

fn unmanaged(object: &DynamicObject) -> Option<Blocked> {
    let (name, value) = UNMANAGED
        .iter()
        .find(|(name, value)| object.annotations().get(*name).is_some_and(|found| found.eq_ignore_ascii_case(value)))?;
    let message = format!(
        "Elasticsearch {} has the annotation {name}: {value:?}: ECK does not act on its changes. Remove it",
        object.name_any()
    );
    Some(Blocked { reason: "ElasticsearchUnmanaged", message })
}

/// ECK is done when it has seen this generation, has nothing left to do, and the cluster is not red.
fn progress(object: &DynamicObject) -> Progress {
    let status = &object.data["status"];
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let (phase, health) = (text(&status["phase"]), text(&status["health"]));
    // ECK before 2.0 does not tell the generation that it has seen.
    let seen = status["observedGeneration"].as_i64();
    if seen.is_some() && seen < object.metadata.generation {
        return Progress::Rolling { message: "ECK has not seen the last change yet".into() };
    }
    match (phase.as_str(), health.as_str()) {
        ("Ready", "green" | "yellow") => Progress::Steady,
        ("Stalled", _) => Progress::Failed {
            reason: "ElasticsearchStalled",
            message: format!("ECK can't go on{}", in_progress(status)),
        },
        ("Invalid", _) => Progress::Failed {
            reason: "ElasticsearchInvalid",
            message: "ECK refuses the object; its events say why (kubectl describe elasticsearch)".into(),
        },
        _ => Progress::Rolling { message: format!("phase {phase}, health {health}{}", in_progress(status)) },
    }
}

/// Nodes that ECK is at, and why it waits with one.
fn in_progress(status: &Value) -> String {
    let operations = &status["inProgressOperations"];
    let nodes = ["upgrade", "downscale"].into_iter().filter_map(|kind| operations[kind]["nodes"].as_array()).flatten();
    let told = nodes.map(|node| {
        let part = |name: &str| node[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let why = ["status", "shutdownStatus", "predicate", "message", "explanation"].into_iter().filter_map(part);
        format!("{}: {}", part("name").unwrap_or_default(), why.collect::<Vec<_>>().join(", "))
    });
    let told: Vec<_> = told.take(5).collect();
    if told.is_empty() { String::new() } else { format!(" [{}]", told.join("; ")) }
}

/// The patch that adds entries to every node set that lacks some.
fn operations(object: &DynamicObject, key: &str, entries: &[String]) -> Result<Vec<Value>, String> {
    let mut operations = vec![];
    for (at, ((name, configuration), place)) in node_sets(object).into_iter().zip(places(object, key)?).enumerate() {
        if place.with(entries) == place.entries {
            continue;
        }
        let set = format!("/spec/nodeSets/{at}");
        operations.push(json!({"op": "test", "path": format!("{set}/name"), "value": name}));
        let config = format!("{set}/config");
        operations.push(match configuration {
            Value::Null => json!({"op": "add", "path": config, "value": {key: place.value(entries)}}),
            // `add` replaces what is there.
            _ => json!({"op": "add", "path": place.pointer(&config), "value": place.value(entries)}),
        });
    }
    Ok(operations)
}

fn connection(object: &DynamicObject, namespace: &str) -> Connection {
    let name = object.name_any();
    let tls = &object.data["spec"]["http"]["tls"];
    // ECK speaks HTTP only if its own certificate is switched off and no other one is named.
    let plain = tls["selfSignedCertificate"]["disabled"] == true && tls["certificate"]["secretName"].is_null();
    let scheme = if plain { "http" } else { "https" };
    Connection {
        object: format!("Elasticsearch {name}"),
        endpoint: format!("{scheme}://{name}-es-http.{namespace}.svc:9200"),
        password: Some(PasswordRef {
            secret: format!("{name}-es-elastic-user"),
            username: Some("elastic".into()),
            key: "elastic".into(),
        }),
        ca: (!plain).then(|| KeyRef { name: format!("{name}-es-http-certs-public"), key: "ca.crt".into() }),
        server_name: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::allowlist::WHITELIST;

    fn object(change: impl FnOnce(&mut Value)) -> DynamicObject {
        let mut value = json!({
            "apiVersion": "elasticsearch.k8s.elastic.co/v1", "kind": "Elasticsearch",
            "metadata": {"name": "es-1", "namespace": "search", "generation": 2},
            "spec": {"version": "8.19.0", "nodeSets": [
                {"name": "masters", "count": 3, "config": {"node.roles": ["master"], "reindex.remote.whitelist": ["o:1"]}},
                {"name": "data", "count": 2},
            ]},
            "status": {"observedGeneration": 2, "phase": "Ready", "health": "green"},
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn entries() -> Vec<String> {
        vec!["src:9200".to_owned()]
    }

    #[test]
    fn every_node_set_gets_the_entries_and_the_rest_stays() {
        let operations = operations(&object(|_| {}), WHITELIST, &entries()).unwrap();
        assert_eq!(
            operations,
            [
                json!({"op": "test", "path": "/spec/nodeSets/0/name", "value": "masters"}),
                json!({"op": "add", "path": "/spec/nodeSets/0/config/reindex.remote.whitelist", "value": ["o:1", "src:9200"]}),
                json!({"op": "test", "path": "/spec/nodeSets/1/name", "value": "data"}),
                json!({"op": "add", "path": "/spec/nodeSets/1/config", "value": {"reindex.remote.whitelist": ["src:9200"]}}),
            ]
        );
    }

    #[test]
    fn what_one_node_set_lacks_is_not_configured() {
        let seen = managed(&object(|_| {}), WHITELIST, &entries());
        assert_eq!((seen.configured, seen.nodes), (Ok(vec![]), Some(5)));
        let both =
            object(|value| value["spec"]["nodeSets"][1]["config"] = json!({"reindex.remote.whitelist": "o:1,p:1"}));
        assert_eq!(managed(&both, WHITELIST, &entries()).configured, Ok(vec!["o:1".to_owned()]));
    }

    #[test]
    fn the_text_to_commit_names_every_node_set() {
        assert_eq!(
            managed(&object(|_| {}), WHITELIST, &entries()).instruction,
            "spec:\n  nodeSets:\n  - name: masters\n    config:\n      reindex.remote.whitelist: [\"o:1\",\"src:9200\"]\n\
             \x20 - name: data\n    config:\n      reindex.remote.whitelist: [\"src:9200\"]\n"
        );
    }

    #[test]
    fn eck_is_believed_only_about_the_generation_that_it_has_seen() {
        let progress_of = |change: fn(&mut Value)| progress(&object(change));
        assert_eq!(progress_of(|_| {}), Progress::Steady);
        assert_eq!(progress_of(|value| value["status"]["health"] = json!("yellow")), Progress::Steady);
        for change in [
            (|value| value["metadata"]["generation"] = json!(3)) as fn(&mut Value),
            |value| value["status"]["phase"] = json!("ApplyingChanges"),
            |value| value["status"]["phase"] = json!("MigratingData"),
            |value| value["status"]["health"] = json!("red"),
            |value| value["status"] = Value::Null,
            |value| {
                *value = json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "phase": "Invalid"}})
            },
        ] {
            assert!(matches!(progress_of(change), Progress::Rolling { .. }));
        }
    }

    #[test]
    fn what_eck_waits_for_is_told() {
        let stalled = object(|value| {
            value["status"] = json!({"observedGeneration": 2, "phase": "Stalled", "inProgressOperations": {"upgrade": {"nodes": [
                {"name": "es-1-es-data-0", "status": "PENDING", "predicate": "require_started_replica", "message": "no replica"},
            ]}}});
        });
        let Progress::Failed { reason, message } = progress(&stalled) else { panic!("it has stopped") };
        assert_eq!(reason, "ElasticsearchStalled");
        assert!(message.contains("es-1-es-data-0: PENDING, require_started_replica, no replica"), "{message}");
        let invalid = progress(&object(|value| value["status"]["phase"] = json!("Invalid")));
        assert!(matches!(invalid, Progress::Failed { reason: "ElasticsearchInvalid", .. }));
    }

    #[test]
    fn an_object_that_eck_leaves_alone_is_left_alone() {
        for (name, value) in UNMANAGED {
            let paused = object(|object| object["metadata"]["annotations"] = json!({name: value}));
            let blocked = managed(&paused, WHITELIST, &entries()).configured.unwrap_err();
            assert_eq!(blocked.reason, "ElasticsearchUnmanaged");
            assert!(blocked.message.contains(name), "{}", blocked.message);
        }
        let managed_by_eck = object(|value| {
            value["metadata"]["annotations"] = json!({"eck.k8s.elastic.co/managed": "true"});
        });
        assert!(managed(&managed_by_eck, WHITELIST, &entries()).configured.is_ok());
    }

    #[test]
    fn the_way_in_is_ecks_own() {
        let found = connection(&object(|_| {}), "search");
        assert_eq!(found.endpoint, "https://es-1-es-http.search.svc:9200");
        assert_eq!(found.ca.unwrap().name, "es-1-es-http-certs-public");
        let plain =
            object(|value| value["spec"]["http"] = json!({"tls": {"selfSignedCertificate": {"disabled": true}}}));
        let found = connection(&plain, "search");
        assert_eq!((found.endpoint.as_str(), found.ca), ("http://es-1-es-http.search.svc:9200", None));
    }
}
