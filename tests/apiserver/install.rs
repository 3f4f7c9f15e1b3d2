//! The plain manifests: whether they are the chart's, and whether the apiserver takes them.

use std::fs;

use serde_json::{Value, json};
use xtask::{kubectl, render};

/// What it says of a pod that the namespace does not admit.
const REFUSED: &str = "violates PodSecurity \"restricted";

#[test]
fn the_manifests_are_the_rendered_chart() {
    let committed = fs::read_to_string(render::file().unwrap()).expect("deploy/operator.yaml");
    assert!(committed == render::manifests().unwrap(), "deploy/operator.yaml is stale: run `make generate`");
}

#[test]
fn the_apiserver_takes_all_of_it() {
    let folder = format!("{}/deploy", env!("CARGO_MANIFEST_DIR"));
    let apply =
        ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--output=name", "--kustomize", &folder];
    let applied = kubectl::run(&apply).expect("taken");
    for object in ["namespace/reindex-system", "deployment.apps/reindex-operator", "customresourcedefinition"] {
        assert!(applied.contains(object), "{object} is not in\n{applied}");
    }
}

/// The operator's pod and the hook's, as their controllers would make them, in a namespace that enforces the strictest rules.
#[test]
fn its_pods_are_admitted_where_the_strictest_rules_are_enforced() {
    let deployment = kubectl::get("deployment", "reindex-system", "reindex-operator").unwrap().expect("installed");
    let job = render::chart(&["--show-only", "templates/wind-down.yaml"]).unwrap();
    let job: Value = serde_saphyr::from_str(&job).unwrap();
    for owner in [deployment, job] {
        let pod = |change: fn(&mut Value)| {
            let mut spec = owner["spec"]["template"]["spec"].clone();
            spec["serviceAccountName"] = json!("default");
            spec.as_object_mut().unwrap().remove("serviceAccount");
            change(&mut spec);
            let metadata = json!({"name": "admitted", "namespace": "reindex-system"});
            kubectl::dry_run(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
        };
        pod(|_| {}).expect("admitted");
        let changes: [fn(&mut Value); 4] = [
            |spec| spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true),
            |spec| spec["containers"][0]["securityContext"]["capabilities"] = json!({}),
            |spec| spec["securityContext"]["seccompProfile"] = Value::Null,
            |spec| spec["securityContext"]["runAsNonRoot"] = Value::Null,
        ];
        for change in changes {
            let error = pod(change).expect_err("refused").to_string();
            assert!(error.contains(REFUSED), "{error}");
        }
    }
}
