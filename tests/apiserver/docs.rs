//! Every piece of YAML that people are shown: the apiserver takes it, field by field.

use std::fs;

use serde_json::{Value, json};
use xtask::{kubectl, pages, render};

fn file(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of YAML in a page.
fn blocks(page: &str) -> Vec<String> {
    let begins = page.split("```yaml\n").skip(1);
    begins.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Whether it is a piece of the chart's values: helm takes those, see `chart.rs`.
fn is_values(object: &Value, values: &Value) -> bool {
    let known = |key: &String| values.get(key).is_some();
    object["kind"].is_null() && object.as_object().is_some_and(|object| object.keys().all(known))
}

/// An object of a page, in a namespace that is there; what is only a part is put where it belongs.
fn whole(mut part: Value) -> Value {
    if part["kind"].is_string() {
        part["metadata"]["namespace"] = json!("default");
        return part;
    }
    let is_reindex = part["spec"].is_object();
    let mut object =
        json!({"apiVersion": "reindex.dev/v1alpha1", "metadata": {"name": "shown", "namespace": "default"}});
    object["kind"] = json!(if is_reindex { "Reindex" } else { "SearchCluster" });
    object["spec"] = match is_reindex {
        true => {
            json!({"source": {"clusterRef": {"name": "a"}, "index": "a"}, "destination": {"clusterRef": {"name": "b"}, "index": "b"}})
        }
        false => json!({"provider": {"eck": {"name": "es"}}}),
    };
    json_patch::merge(&mut object["spec"], if is_reindex { &part["spec"] } else { &part });
    object
}

#[test]
fn the_apiserver_takes_all_that_is_shown() {
    let mut taken = 0;
    let values: Value = serde_saphyr::from_str(&file("charts/reindex-operator/values.yaml")).unwrap();
    let pages = pages::all().unwrap();
    let shown = pages.iter().flat_map(|path| blocks(&file(path)).into_iter().map(|block| (path.clone(), block)));
    let examples = fs::read_dir(format!("{}/deploy/examples", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let examples = examples.map(|entry| format!("deploy/examples/{}", entry.unwrap().file_name().display()));
    for (path, block) in shown.chain(examples.map(|path| (path.clone(), file(&path)))) {
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&block).unwrap_or_else(|error| panic!("{path}: {error}\n{block}"));
        for object in objects.into_iter().filter(|object| !is_values(object, &values)) {
            let object = whole(object);
            kubectl::dry_run(&object).unwrap_or_else(|error| panic!("{path}: {error:#}\n{object:#}"));
            taken += 1;
        }
    }
    assert!(taken >= 14, "only {taken} objects were found");
}

#[test]
fn helm_takes_the_values_that_are_shown() {
    let values: Value = serde_saphyr::from_str(&file("charts/reindex-operator/values.yaml")).unwrap();
    let (mut given, mut set) = (0, 0);
    for path in pages::all().unwrap() {
        let page = file(&path);
        for block in blocks(&page) {
            let objects: Vec<Value> = serde_saphyr::from_multiple(&block).unwrap();
            for shown in objects.iter().filter(|object| is_values(object, &values)) {
                for (key, value) in shown.as_object().unwrap() {
                    let given = format!("{key}={value}");
                    render::chart(&["--set-json", &given]).unwrap_or_else(|error| panic!("{path}: {given}: {error:#}"));
                }
                given += 1;
            }
        }
        let told = page.split("--set ").skip(1).filter_map(|rest| rest.split(['`', '\n', ' ']).next());
        for value in told.filter(|value| value.contains('=')) {
            render::chart(&["--set", value]).unwrap_or_else(|error| panic!("{path}: --set {value}: {error:#}"));
            set += 1;
        }
    }
    assert!(given >= 1 && set >= 5, "only {given} blocks and {set} arguments were found");
}

#[test]
fn what_is_wrong_would_be_seen() {
    let object = whole(json!({"spec": {"acceptWarning": ["A"]}}));
    assert!(kubectl::dry_run(&object).is_err(), "an unknown field");
    assert_eq!(blocks("a\n```yaml\nb: 1\n```\nc\n```yaml\nd: 2\n```\n"), ["b: 1\n", "d: 2\n"]);
}
