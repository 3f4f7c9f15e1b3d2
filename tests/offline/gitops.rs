//! How Argo CD reads the objects, by its own kind of health check and test data. The data is what whole lives leave in the apiserver, so
//! it can't be other than what the operator writes. `tests/apiserver/gitops.rs` has the library of Flux read the same.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mlua::{Lua, LuaSerdeExt};
use reindex_operator::{
    api::{
        Reindex, SearchCluster,
        conditions::{RECONCILING, SUSPENDED},
        reindex_status::Phase,
    },
    plan::report::WAITING_FOR_PERSON,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    providers::eck,
    support::{
        engine::Pace,
        world::{NAMESPACE, World, condition},
    },
};

/// Writes the data anew where this is set.
const UPDATE: &str = "UPDATE_GITOPS_TESTDATA";

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd/resource_customizations/reindex.dev").join(kind)
}

/// `health_test.yaml`, as Argo CD's own repository has them.
#[derive(Deserialize)]
struct Tests {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    health_status: Health,
    input_path: String,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Health {
    status: String,
    message: String,
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn health(script: &str, object: &Value) -> Health {
    let lua = Lua::new();
    lua.globals().set("obj", lua.to_value(object).unwrap()).unwrap();
    let result = lua.load(script).eval().unwrap();
    lua.from_value(result).unwrap()
}

fn assert_read_as_written(kind: &str) {
    let folder = folder(kind);
    let script = fs::read_to_string(folder.join("health.lua")).unwrap();
    let tests: Tests = serde_json::from_value(yaml(&folder.join("health_test.yaml"))).unwrap();
    let mut tested: Vec<_> = tests.tests.iter().map(|test| folder.join(&test.input_path)).collect();
    for test in &tests.tests {
        assert_eq!(health(&script, &yaml(&folder.join(&test.input_path))), test.health_status, "{}", test.input_path);
    }
    tested.sort();
    let mut there: Vec<_> = fs::read_dir(folder.join("testdata")).unwrap().map(|entry| entry.unwrap().path()).collect();
    there.sort();
    assert_eq!(there, tested, "every file is tested");
}

#[test]
fn a_reindex_has_the_health_that_its_state_is() {
    assert_read_as_written("Reindex");
}

#[test]
fn a_search_cluster_has_the_health_that_its_state_is() {
    assert_read_as_written("SearchCluster");
}

/// What is another one in every run.
fn settled(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    "uid" | "resourceVersion" | "specHash" | "digest" | "history" | "task" => *value = json!("…"),
                    "at" | "since" | "creationTimestamp" | "deletionTimestamp" => {
                        *value = json!("2026-11-25T12:00:00Z")
                    }
                    name if name.ends_with("Time") || name.ends_with("At") => {
                        *value = json!("2026-11-25T12:00:00Z");
                    }
                    "took" | "seconds" | "durationSeconds" | "documentsPerSecond" => *value = json!(1),
                    "id" if value.is_string() => *value = json!("…"),
                    _ => settled(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settled),
        Value::String(text) => {
            if let Some((before, _)) = text.split_once(" in ").filter(|_| text.ends_with(" s")) {
                *text = format!("{before} in 1 s");
            }
            if let Some((before, rest)) = text.split_once("approve-allowlist=") {
                let (_, after) = rest.split_at(rest.find('`').unwrap_or(rest.len()));
                *text = format!("{before}approve-allowlist=…{after}");
            }
            while let Some(at) = text.find("127.0.0.1:") {
                let end = text[at + 10..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |end| at + 10 + end);
                text.replace_range(at..end, "es-2.example");
            }
        }
        _ => {}
    }
}

async fn lives() -> BTreeMap<&'static str, Reindex> {
    let mut states = BTreeMap::new();
    let mut world = World::new().await;
    states.insert("new", world.reindex().unwrap());
    states.insert("copying", world.until_copying().await);
    world.change_reindex(json!({"spec": {"suspend": true}}));
    states.insert("suspended", world.until_it("it is suspended", |it| condition(it, SUSPENDED).is_some()).await);
    world.change_reindex(json!({"spec": {"suspend": false}}));
    states.insert("complete", world.end().await);

    let mut world = World::new().await;
    world.source.state().password = Some("another".into());
    world.until_stalled().await;
    states.insert("stalled", world.reindex().unwrap());

    let mut world = World::new().await;
    world.destination.state().create("dest", &Value::Null);
    states.insert("failed", world.end().await);

    let mut world = World::with(|reindex| reindex["spec"]["dryRun"] = json!(true)).await;
    states.insert("planned", world.end().await);

    states.insert("waiting-for-allowlist", eck().await.reindex().unwrap());

    let mut world = World::new().await;
    world.destination.state().allowlist = vec![];
    let there = |it: &Reindex| phase(it) == Some(Phase::WaitingForAllowlist);
    world.until_it("it waits for the allowlist", there).await;
    world.round_of_cluster("es-1").await;
    let asks = |it: &Reindex| condition(it, RECONCILING).is_some_and(|(reason, _)| reason == WAITING_FOR_PERSON);
    states.insert("waiting-for-person", world.until_it("it waits for a person", asks).await);

    let mut world = World::new().await;
    world.until_copying().await;
    world.source.state().index("product_info").put("G", json!({"annual_rate": "1%"}));
    let catches_up = world.until_it("it catches up", |it| phase(it) == Some(Phase::CatchingUp)).await;
    states.insert("catching-up", catches_up);
    world.api.delete::<Reindex>(NAMESPACE, "product-info");
    states.insert("deleting", world.reindex().unwrap());

    // A document a second.
    let mut world = World::with(|reindex| {
        reindex["spec"]["verification"] = json!({"level": "Identity"});
        reindex["spec"]["execution"] = json!({"requestsPerSecond": 1});
    })
    .await;
    world.destination.state().pace = Pace::Instant;
    states.insert("verifying", world.until_it("it is compared", |it| phase(it) == Some(Phase::Verifying)).await);
    states
}

fn phase(reindex: &Reindex) -> Option<Phase> {
    reindex.status.as_ref().and_then(|status| status.phase)
}

async fn lives_of_clusters() -> BTreeMap<&'static str, SearchCluster> {
    let mut states = BTreeMap::new();
    let mut world = World::new().await;
    // As the apiserver leaves it, by the definition's default.
    world.change_cluster("es-2", json!({"status": null}));
    world.change_cluster("es-2", json!({"status": {"observedGeneration": -1}}));
    states.insert("new", world.cluster("es-2").unwrap());
    world.round_of_cluster("es-2").await;
    states.insert("ready", world.cluster("es-2").unwrap());
    world.source.state().password = Some("another".into());
    world.round_of_cluster("es-2").await;
    states.insert("unreachable", world.cluster("es-2").unwrap());

    let mut world = World::new().await;
    world.destination.state().allowlist = vec![];
    world
        .until_it("it waits for the allowlist", |it| it.status.as_ref().is_some_and(|status| status.steps.len() == 2))
        .await;
    world.round_of_cluster("es-1").await;
    states.insert("verify-only", world.cluster("es-1").unwrap());
    world.change_cluster("es-1", json!({"spec": {"allowlist": {"management": "Automatic"}}}));
    world.change_cluster(
        "es-1",
        json!({"spec": {"provider": {"none": null, "statefulSets": [{"name": "es-1", "configMap": {"name": "x"}}]}}}),
    );
    world.round_of_cluster("es-1").await;
    states.insert("stalled", world.cluster("es-1").unwrap());

    let mut world = eck().await;
    world.change_cluster("es-1", json!({"spec": {"allowlist": {"management": "Approval"}}}));
    world.round_of_cluster("es-1").await;
    states.insert("waiting-for-approval", world.cluster("es-1").unwrap());
    world.change_cluster("es-1", json!({"spec": {"allowlist": {"management": "Automatic"}}}));
    for _ in 0..4 {
        world.round_of_cluster("es-1").await;
    }
    states.insert("rolling-out", world.cluster("es-1").unwrap());
    world.api.delete::<SearchCluster>(NAMESPACE, "es-1");
    states.insert("deleting", world.cluster("es-1").unwrap());
    states
}

#[tokio::test]
async fn the_data_of_reindexes_is_what_the_operator_writes() {
    assert_is_written("Reindex", lives().await);
}

#[tokio::test]
async fn the_data_of_search_clusters_is_what_the_operator_writes() {
    assert_is_written("SearchCluster", lives_of_clusters().await);
}

fn assert_is_written<K: Serialize>(kind: &str, states: BTreeMap<&'static str, K>) {
    for (state, object) in states {
        let mut object = serde_json::to_value(object).unwrap();
        settled(&mut object);
        let path = folder(kind).join(format!("testdata/{state}.yaml"));
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&path, serde_saphyr::to_string(&object).unwrap()).unwrap();
        }
        assert_eq!(yaml(&path), object, "{}: write it anew with {UPDATE}=1", path.display());
    }
}
