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
        allowlist::{Change, effective},
        restart::Blocked,
        rollout::{Managed, Progress},
        trust,
    },
};

use super::{
    gitops,
    object::Object,
    provider::ProviderError,
    setting::{self, Form, Place},
    sources::{self, Sources},
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
    /// What is configured, how far ECK is, and what a person would write to make `change`. Whether the operator may is asked only where
    /// it comes to that.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn look(&self, change: &Change, before_edit: bool) -> Result<Managed, ProviderError> {
        let object = self.get().await?;
        let seen = managed(&object, self.key, change);
        if before_edit { self.object().changeable(seen).await } else { Ok(seen) }
    }

    /// Changes every node set.
    ///
    /// # Errors
    /// As [`Object::edit`].
    pub async fn apply(&self, change: &Change) -> Result<(), ProviderError> {
        let object = self.get().await?;
        self.object().edit(&object, operations(&object, self.key, change)).await
    }

    /// Authorities that the node sets list.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn authorities(&self) -> Result<Vec<String>, ProviderError> {
        let object = self.get().await?;
        let places = node_sets(&object).iter().map(|set| setting::find(&set["config"], trust::SETTING, Form::List));
        Ok(places.flatten().flat_map(|place| place.entries).collect())
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

fn node_sets(object: &DynamicObject) -> &[Value] {
    object.data["spec"]["nodeSets"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn name(set: &Value) -> &str {
    set["name"].as_str().unwrap_or_default()
}

/// What has the nodes of a node set trust sources.
struct Trusting {
    /// Settings as they stand, and as they are to be.
    settings: Vec<(Place, Place)>,
    /// The pod template as it is to be.
    pod_template: Value,
    /// Whether that is how it stands.
    is_made: bool,
}

fn trusting(set: &Value, sources: &Sources<'_>) -> Result<Trusting, String> {
    let look = || {
        let listed = setting::find(&set["config"], trust::SETTING, Form::List)?;
        if let Some(why) = sources::conflict(&set["config"], !listed.entries.is_empty()) {
            return Err(why);
        }
        let mark = setting::find(&set["config"], trust::MARK, Form::Text)?;
        let pod_template = sources.in_pod_template(&set["podTemplate"])?;
        let settings =
            vec![(listed.clone(), listed.with(&sources.file())), (mark.clone(), mark.with(sources.config_map()))];
        let is_made = settings.iter().all(|(before, after)| before == after) && pod_template == set["podTemplate"];
        Ok(Trusting { settings, pod_template, is_made })
    };
    look().map_err(|why: String| format!("node set {}: {why}", name(set)))
}

fn place(set: &Value, key: &str) -> Result<Place, String> {
    setting::find(&set["config"], key, Form::List).map_err(|why| format!("node set {}: {why}", name(set)))
}

fn sources(change: &Change) -> Option<Sources<'_>> {
    change.trust.as_ref().map(|map| Sources::new(map, trust::ELASTICSEARCH))
}

fn managed(object: &DynamicObject, key: &str, change: &Change) -> Managed {
    let title = format!("Elasticsearch {}", object.name_any());
    let sets = node_sets(object);
    let not_editable = |why: String| Blocked::by("ConfigNotEditable", format!("{title}: {why}"));
    let places: Result<Vec<Place>, String> = sets.iter().map(|set| place(set, key)).collect();
    let held = places.iter().flatten().flat_map(|place| place.entries.clone()).collect();
    let configured = match (unmanaged(object), places) {
        (Some(blocked), _) => Err(blocked),
        (None, Ok(places)) => Ok(effective(places.iter().map(|place| &place.entries))),
        (None, Err(why)) => Err(not_editable(why)),
    };
    let trust = sources(change).map_or(Ok(false), |sources| {
        let made: Result<Vec<bool>, String> =
            sets.iter().map(|set| trusting(set, &sources).map(|trusting| trusting.is_made)).collect();
        made.map(|made| !made.is_empty() && made.into_iter().all(|is_made| is_made)).map_err(not_editable)
    });
    let counts: Option<Vec<u64>> = sets.iter().map(|set| set["count"].as_u64()).collect();
    let instruction = instruction(object, key, change);
    Managed {
        object: title,
        configured,
        held,
        trust,
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
    Some(Blocked::by("ElasticsearchUnmanaged", message))
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
        // A predicate does not hold yet, such as that a shard is allocated: ECK looks again by itself.
        ("Stalled", _) => Progress::Stuck {
            reason: "ElasticsearchStalled",
            message: format!("ECK can't go on (phase Stalled, health {health}){}", in_progress(status)),
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

/// The exact text that a person commits: what stands there and what is added, for each node set.
fn instruction(object: &DynamicObject, key: &str, change: &Change) -> String {
    let mut text = String::from("spec:\n  nodeSets:\n");
    for set in node_sets(object) {
        let Ok(place) = place(set, key) else { continue };
        text += &format!("  - name: {}\n    config:\n", name(set));
        if !change.add.is_empty() {
            text += &place.after(change).yaml(6);
        }
        let Some(sources) = sources(change) else { continue };
        let Ok(trusting) = trusting(set, &sources) else { continue };
        trusting.settings.iter().for_each(|(_, after)| text += &after.yaml(6));
        text += &format!(
            "    podTemplate:\n      spec:\n        volumes:\n        - {}\n        containers:\n        - name: elasticsearch\n          \
             volumeMounts:\n          - {}\n",
            sources.volume(),
            sources.mount()
        );
    }
    text
}

/// The patch that changes every node set which is not yet as it is to be.
fn operations(object: &DynamicObject, key: &str, change: &Change) -> Result<Vec<Value>, String> {
    let mut operations = vec![];
    for (at, set) in node_sets(object).iter().enumerate() {
        let listed = place(set, key)?;
        let mut settings = vec![(listed.clone(), listed.after(change))];
        let mut edits = vec![];
        if let Some(sources) = sources(change) {
            let trusting = trusting(set, &sources)?;
            settings.extend(trusting.settings);
            if trusting.pod_template != set["podTemplate"] {
                edits.push(("podTemplate".to_owned(), trusting.pod_template));
            }
        }
        settings.retain(|(before, after)| before != after);
        if !settings.is_empty() && set["config"].is_null() {
            edits.push(("config".to_owned(), json!({})));
        }
        edits.extend(settings.iter().map(|(_, place)| (place.pointer("config"), place.value())));
        if edits.is_empty() {
            continue;
        }
        let path = format!("/spec/nodeSets/{at}");
        operations.push(json!({"op": "test", "path": format!("{path}/name"), "value": name(set)}));
        // `add` replaces what is there; that it is still what was read is tested by the object's version.
        operations.extend(
            edits
                .into_iter()
                .map(|(below, value)| json!({"op": "add", "path": format!("{path}/{below}"), "value": value})),
        );
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

    fn entries() -> Change {
        Change { add: vec!["src:9200".to_owned()], ..Change::default() }
    }

    fn with_trust() -> Change {
        Change { trust: Some("es-1-reindex-sources".into()), ..entries() }
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
                json!({"op": "add", "path": "/spec/nodeSets/1/config", "value": {}}),
                json!({"op": "add", "path": "/spec/nodeSets/1/config/reindex.remote.whitelist", "value": ["src:9200"]}),
            ]
        );
    }

    #[test]
    fn trust_comes_in_the_same_patch() {
        let own = object(|value| {
            value["spec"]["nodeSets"][0]["config"]["reindex"] = json!({"ssl": {"certificate_authorities": "own.pem"}});
            value["spec"]["nodeSets"][0]["podTemplate"] = json!({"metadata": {"labels": {"a": "b"}}});
        });
        let file = "/usr/share/elasticsearch/config/reindex-sources/ca.crt";
        let volume = json!({"name": "reindex-sources", "configMap": {"name": "es-1-reindex-sources"}});
        let mount = json!({"name": "reindex-sources", "mountPath": "/usr/share/elasticsearch/config/reindex-sources", "readOnly": true});
        let pods = json!({"volumes": [volume], "containers": [{"name": "elasticsearch", "volumeMounts": [mount]}]});
        let set = |at: usize, below: &str, value: Value| json!({"op": "add", "path": format!("/spec/nodeSets/{at}/{below}"), "value": value});
        assert_eq!(
            operations(&own, WHITELIST, &with_trust()).unwrap(),
            [
                json!({"op": "test", "path": "/spec/nodeSets/0/name", "value": "masters"}),
                set(0, "podTemplate", json!({"metadata": {"labels": {"a": "b"}}, "spec": pods})),
                set(0, "config/reindex.remote.whitelist", json!(["o:1", "src:9200"])),
                set(0, "config/reindex/ssl/certificate_authorities", json!(format!("own.pem,{file}"))),
                set(0, "config/node.attr.reindex_sources", json!("es-1-reindex-sources")),
                json!({"op": "test", "path": "/spec/nodeSets/1/name", "value": "data"}),
                set(1, "podTemplate", json!({"spec": pods})),
                set(1, "config", json!({})),
                set(1, "config/reindex.remote.whitelist", json!(["src:9200"])),
                set(1, "config/reindex.ssl.certificate_authorities", json!([file])),
                set(1, "config/node.attr.reindex_sources", json!("es-1-reindex-sources")),
            ]
        );
    }

    /// The object as it is after a change.
    fn changed(before: &DynamicObject, change: &Change) -> DynamicObject {
        let mut value = serde_json::to_value(before).unwrap();
        for operation in operations(before, WHITELIST, change).unwrap() {
            let path = operation["path"].as_str().unwrap();
            let (parent, name) = path.rsplit_once('/').unwrap();
            if operation["op"] == "add" {
                let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
                parent.insert(name.to_owned(), operation["value"].clone());
            }
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_a_change_has_made_is_known_again() {
        let before = object(|_| {});
        assert_eq!(managed(&before, WHITELIST, &with_trust()).trust, Ok(false));
        let after = changed(&before, &with_trust());
        let seen = managed(&after, WHITELIST, &with_trust());
        assert_eq!((seen.configured, seen.trust), (Ok(entries().add), Ok(true)));
        assert_eq!(operations(&after, WHITELIST, &with_trust()), Ok(vec![]));
        let other = Change { trust: Some("another".into()), ..entries() };
        assert!(managed(&after, WHITELIST, &other).trust.is_err(), "the volume is another ConfigMap's");
    }

    #[test]
    fn a_store_of_somebody_keeps_trust_from_being_changed_and_nothing_else() {
        let store =
            object(|value| value["spec"]["nodeSets"][1]["config"] = json!({"reindex.ssl.truststore.path": "t.p12"}));
        let seen = managed(&store, WHITELIST, &with_trust());
        assert!(seen.configured.is_ok());
        let blocked = seen.trust.unwrap_err();
        assert_eq!(blocked.reason, "ConfigNotEditable");
        assert!(blocked.message.contains("node set data: reindex.ssl.truststore.path"), "{}", blocked.message);
        assert_eq!(managed(&store, WHITELIST, &entries()).trust, Ok(false));
    }

    #[test]
    fn the_text_to_commit_has_volume_and_mount() {
        let text = managed(&object(|_| {}), WHITELIST, &with_trust()).instruction;
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        let set = &read["spec"]["nodeSets"][1];
        assert_eq!(
            set["podTemplate"],
            changed(&object(|_| {}), &with_trust()).data["spec"]["nodeSets"][1]["podTemplate"]
        );
        assert_eq!(set["config"]["node.attr.reindex_sources"], "es-1-reindex-sources");
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
    fn what_any_node_set_holds_is_held() {
        let held = |object: &DynamicObject| managed(object, WHITELIST, &entries()).held;
        assert_eq!(held(&object(|_| {})), ["o:1"]);
        let both = object(|value| {
            value["spec"]["nodeSets"][1]["config"] = json!({"reindex": {"remote.whitelist": "src:9200"}});
        });
        assert_eq!(held(&both), ["o:1", "src:9200"], "though every node has neither");
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
        let Progress::Stuck { reason, message } = progress(&stalled) else { panic!("it may go on by itself") };
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
