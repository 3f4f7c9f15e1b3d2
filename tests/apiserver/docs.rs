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

/// What a text of YAML holds.
fn objects(path: &str, text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{path}: {error}\n{text}"))
}

/// Objects, each with its page.
type Shown = Vec<(String, Value)>;

/// What the pages' blocks hold, each with its page, pieces of the chart's values apart.
fn of_pages() -> (Shown, Shown) {
    let values: Value = serde_saphyr::from_str(&file("charts/reindex-operator/values.yaml")).unwrap();
    let of_page = |path: String| {
        let shown: Vec<_> = blocks(&file(&path)).iter().flat_map(|block| objects(&path, block)).collect();
        shown.into_iter().map(move |object| (path.clone(), object))
    };
    pages::all().unwrap().into_iter().flat_map(of_page).partition(|(_, object)| is_values(object, &values))
}

#[test]
fn the_apiserver_takes_all_that_is_shown() {
    let examples = fs::read_dir(format!("{}/deploy/examples", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let examples = examples.map(|entry| format!("deploy/examples/{}", entry.unwrap().file_name().display()));
    let examples =
        examples.flat_map(|path| objects(&path, &file(&path)).into_iter().map(move |object| (path.clone(), object)));
    let mut taken = 0;
    for (path, object) in of_pages().1.into_iter().chain(examples) {
        let object = whole(object);
        kubectl::dry_run(&object).unwrap_or_else(|error| panic!("{path}: {error:#}\n{object:#}"));
        taken += 1;
    }
    assert!(taken >= 14, "only {taken} objects were found");
}

#[test]
fn helm_takes_the_values_that_are_shown() {
    let blocks = of_pages().0;
    let shown = blocks.iter().flat_map(|(path, values)| {
        let values = values.as_object().unwrap().iter();
        values.map(move |(key, value)| (path.clone(), "--set-json", format!("{key}={value}")))
    });
    let told = pages::all().unwrap().into_iter().flat_map(|path| {
        let page = file(&path);
        let words = page.split("--set ").skip(1).filter_map(|rest| rest.split(['`', '\n', ' ']).next());
        let values: Vec<_> = words.filter(|word| word.contains('=')).map(str::to_owned).collect();
        values.into_iter().map(move |value| (path.clone(), "--set", value))
    });
    let (shown, told): (Vec<_>, Vec<_>) = (shown.collect(), told.collect());
    for (path, how, value) in shown.iter().chain(&told) {
        render::chart(&[how, value]).unwrap_or_else(|error| panic!("{path}: {value}: {error:#}"));
    }
    assert!(!blocks.is_empty() && told.len() >= 5, "only {shown:?} and {told:?} were found");
}

#[test]
fn what_is_wrong_would_be_seen() {
    let object = whole(json!({"spec": {"acceptWarning": ["A"]}}));
    assert!(kubectl::dry_run(&object).is_err(), "an unknown field");
    assert_eq!(blocks("a\n```yaml\nb: 1\n```\nc\n```yaml\nd: 2\n```\n"), ["b: 1\n", "d: 2\n"]);
}
