//! What the operator asked of the apiserver, by the apiserver's audit log, against what its roles grant.

use std::{collections::BTreeSet, fs, path::PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use xtask::{kubectl, paths};

/// Group, resource and verb.
type Right = (String, String, String);

/// Where it is noted when a test took the operator's rights away: the audit log is older than this run of the tests.
fn times() -> PathBuf {
    paths::state("rights-taken-away")
}

/// Notes that requests were denied in between because a test wanted it.
pub fn taken_away(from: Timestamp, to: Timestamp) {
    let before = fs::read_to_string(times()).unwrap_or_default();
    fs::write(times(), format!("{before}{from} {to}\n")).expect("noted");
}

/// Whether a test wanted requests of that moment to be denied.
fn is_wanted(at: &str, noted: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().expect("a time");
    noted.lines().filter_map(|line| line.split_once(' ')).any(|(from, to)| (time(from)..=time(to)).contains(&time(at)))
}

/// Requests of the operator: those that were made, and those that were denied.
pub fn asked() -> (BTreeSet<Right>, BTreeSet<Right>) {
    let text = fs::read_to_string(paths::audit_log()).expect("the audit log");
    let noted = fs::read_to_string(times()).unwrap_or_default();
    let (mut made, mut denied) = (BTreeSet::new(), BTreeSet::new());
    for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let reference = &entry["objectRef"];
        let part = |name: &str| reference[name].as_str().unwrap_or_default().to_owned();
        let resource = match part("subresource").as_str() {
            "" => part("resource"),
            subresource => format!("{}/{subresource}", part("resource")),
        };
        if resource.is_empty() {
            continue;
        }
        let right = (part("apiGroup"), resource, entry["verb"].as_str().unwrap_or_default().to_owned());
        // By the authorizer: writing into a namespace that is being deleted is a 403 too.
        let at = entry["requestReceivedTimestamp"].as_str().unwrap_or_default();
        if entry["annotations"]["authorization.k8s.io/decision"] == "forbid" && !is_wanted(at, &noted) {
            denied.insert(right.clone());
        }
        made.insert(right);
    }
    (made, denied)
}

/// What its roles grant.
pub fn granted() -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let roles = [
        ("clusterrole", "", "reindex-operator"),
        ("clusterrole", "", "reindex-operator-statefulsets"),
        ("role", "reindex-system", "reindex-operator"),
    ];
    for (kind, namespace, name) in roles {
        let role = kubectl::get(kind, namespace, name).expect("kubectl answers").expect("the chart's role");
        for rule in role["rules"].as_array().into_iter().flatten() {
            let list = |name: &str| {
                rule[name]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            for group in list("apiGroups") {
                for resource in list("resources") {
                    rights.extend(list("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
                }
            }
        }
    }
    rights
}
