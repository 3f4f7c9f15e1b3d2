//! What the chart makes of values. Each folder of `tests/fixtures/chart` has `values.yaml` and, in `expected.yaml`, what differs with them
//! from what it makes of its own.

use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use xtask::{kubectl, render};

const UPDATE: &str = "UPDATE_CHART_FIXTURES";
/// The dashboard's one key: a file of its own, which is not written down a second time.
const DASHBOARD: &str = "  reindex-operator.json: |-";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a rendered text, one text each.
fn objects(rendered: &str) -> Vec<&str> {
    rendered.split("---\n").map(str::trim_end).filter(|object| object.contains("\nkind: ")).collect()
}

fn parsed(object: &str) -> Value {
    serde_saphyr::from_str(object).unwrap_or_else(|error| panic!("{error}\n{object}"))
}

fn name(object: &str) -> String {
    let object = parsed(object);
    format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}

/// Objects that others have not, whole, and the names of those that are missing.
fn difference(rendered: &str, usual: &str) -> String {
    let (these, usual) = (objects(rendered), objects(usual));
    let names: BTreeSet<_> = these.iter().map(|object| name(object)).collect();
    let mut text = String::new();
    for gone in usual.iter().map(|object| name(object)).filter(|name| !names.contains(name)) {
        let _ = writeln!(text, "# There is no {gone}.");
    }
    for object in these.iter().filter(|object| !usual.contains(object)) {
        let shown = object.split(DASHBOARD).next().unwrap_or_default();
        let _ = writeln!(text, "---\n{}", shown.trim_end());
    }
    text
}

/// What the chart makes of its own values.
fn usual() -> String {
    render::chart(&["--set", "crds.install=false"]).expect("rendered")
}

/// The folders of values, and what the chart makes of each.
fn sets_of_values() -> Vec<(PathBuf, String)> {
    let folders = fs::read_dir(root().join("tests/fixtures/chart")).unwrap();
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 6, "only {folders:?}");
    let rendered = |folder: PathBuf| {
        let values = folder.join("values.yaml");
        let arguments = ["--set", "crds.install=false", "--values", values.to_str().unwrap()];
        (folder, render::chart(&arguments).expect("rendered"))
    };
    folders.into_iter().map(rendered).collect()
}

#[test]
fn the_apiserver_takes_what_the_chart_makes_of_each_set_of_values() {
    for (folder, rendered) in sets_of_values() {
        let mut objects: Vec<_> = objects(&rendered).into_iter().map(parsed).collect();
        // Their definitions are not here.
        objects.retain(|object| !object["apiVersion"].as_str().unwrap().starts_with("monitoring.coreos.com/"));
        for object in &mut objects {
            // The namespaces of `watchNamespaces` are not here either.
            if let Some(namespace) = object["metadata"].get_mut("namespace") {
                *namespace = json!("default");
            }
            let taken = kubectl::dry_apply(object);
            taken.unwrap_or_else(|error| panic!("{}: {error}\n{object:#}", folder.display()));
        }
        assert!(objects.len() > 5, "{}: only {objects:#?}", folder.display());
    }
}

#[test]
fn the_chart_makes_of_each_set_of_values_what_is_written_down() {
    let usual = usual();
    for (folder, rendered) in sets_of_values() {
        // A release changes its own version everywhere: that is held elsewhere.
        let found = difference(&rendered, &usual).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let expected = folder.join("expected.yaml");
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert!(!found.is_empty(), "{} changes nothing", folder.display());
        assert!(
            file(&expected) == found,
            "{}: write it anew with {UPDATE}=1, or mend the chart; it makes\n{found}",
            expected.display()
        );
    }
}

#[test]
fn the_dashboard_is_the_file() {
    let rendered = render::chart(&["--set", "crds.install=false", "--set", "monitoring.dashboard=true"]).unwrap();
    let maps = objects(&rendered).into_iter().map(parsed).filter(|object| object["kind"] == "ConfigMap");
    let dashboards: Vec<_> =
        maps.filter_map(|map| map["data"]["reindex-operator.json"].as_str().map(str::to_owned)).collect();
    let [dashboard] = dashboards.as_slice() else { panic!("{} dashboards", dashboards.len()) };
    assert_eq!(dashboard.trim(), file("charts/reindex-operator/files/monitoring/dashboard.json").trim());
}

/// A Deployment that differs has its pods started anew.
#[test]
fn another_level_of_the_log_changes_no_pod() {
    let rendered = render::chart(&["--set", "crds.install=false", "--set", "logLevel=debug"]).unwrap();
    let changed: Vec<_> = objects(&difference(&rendered, &usual())).into_iter().map(name).collect();
    assert_eq!(changed, ["ConfigMap reindex-operator-log"]);
}

/// They are the generated ones, and stay when the chart goes: deleting a definition deletes every object of its kind.
#[test]
fn the_definitions_come_with_the_chart_and_stay() {
    let rendered = render::chart(&[]).unwrap();
    let mut found: Vec<_> =
        objects(&rendered).into_iter().map(parsed).filter(|it| it["kind"] == "CustomResourceDefinition").collect();
    for definition in &mut found {
        let annotations = definition["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
    }
    assert_eq!(found, ["crds/reindexes.yaml", "crds/searchclusters.yaml"].map(|path| parsed(&file(path))));
}

#[test]
fn what_is_no_value_is_refused() {
    for wrong in [
        "replica=2",
        "image.repository=",
        "replicas=-1",
        "logFormat=xml",
        "providers.opensearch=true",
        "networkPolicy.apiServerPorts={}",
        "networkPolicy.searchClusterPorts={0}",
        "monitoring.labels.a=1",
        "imagePullSecrets[0].secret=a",
    ] {
        let error = render::chart(&["--set", wrong]).expect_err(wrong);
        assert!(
            format!("{error:#}").contains("values don't meet the specifications of the schema"),
            "{wrong}: {error:#}"
        );
    }
}

#[test]
fn what_differs_is_told_whole_and_what_is_gone_by_name() {
    let object =
        |name: &str, value: u8| format!("apiVersion: v1\nkind: A\nmetadata:\n  name: {name}\nvalue: {value}\n");
    let usual = format!("---\n{}---\n{}---\n{}", object("same", 1), object("other", 1), object("gone", 1));
    let rendered = format!("---\n{}---\n{}", object("same", 1), object("other", 2));
    assert_eq!(difference(&rendered, &usual), format!("# There is no A gone.\n---\n{}", object("other", 2)));
}
