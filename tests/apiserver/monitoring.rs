//! The rules for Prometheus, by its own tool.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/reindex-operator/files/monitoring");

fn promtool(arguments: &[&str]) {
    let program = xtask::go::PROMTOOL.binary().expect("promtool");
    let output = Command::new(program).args(arguments).current_dir(FOLDER).output().expect("promtool runs");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&text));
}

#[test]
fn every_rule_fires_when_it_should_and_not_before() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts.test.yaml"]);
}

/// Every value of this name, however deep.
fn named<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    let children: Vec<&Value> = match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => vec![],
    };
    let own = value[name].as_str();
    own.into_iter().chain(children.into_iter().flat_map(|child| named(child, name))).collect()
}

/// Each as a rule that records it: Prometheus parses them, and knows every function.
#[test]
fn every_query_of_the_dashboard_is_one() {
    let text = fs::read_to_string(Path::new(FOLDER).join("dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let queries = named(&dashboard, "expr");
    assert!(queries.len() > 10, "{queries:?}");
    let rules: Vec<_> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| json!({"record": format!("query:{number}"), "expr": query.replace("$__rate_interval", "5m")}))
        .collect();
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard-queries.json");
    fs::write(&file, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string()).expect("written");
    promtool(&["check", "rules", file.to_str().expect("text")]);
}
