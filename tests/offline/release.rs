//! What a release is made from: that it names things which are there, and that one version is one version.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_crate_and_the_chart_have_one_version() {
    let chart = yaml("charts/reindex-operator/Chart.yaml");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert!(file("CHANGELOG.md").contains(&format!("\n## {} (", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_workflows_name_files_that_are_there() {
    for workflow in [".github/workflows/ci.yaml", ".github/workflows/release.yaml"] {
        assert!(yaml(workflow)["jobs"].is_object(), "{workflow}");
        let text = file(workflow);
        for path in [
            "deploy/Containerfile",
            "charts/reindex-operator",
            "deploy/krew/reindex.yaml",
            "deploy/kustomization.yaml",
            ".ci/run",
            "LICENSE",
        ] {
            assert!(!text.contains(path) || root().join(path).exists(), "{path} of {workflow}");
        }
    }
    let release = file(".github/workflows/release.yaml");
    for platform in yaml("deploy/krew/reindex.yaml")["spec"]["platforms"].as_array().unwrap() {
        let labels = &platform["selector"]["matchLabels"];
        let system = format!("{}_{}", labels["os"].as_str().unwrap(), labels["arch"].as_str().unwrap());
        assert!(release.contains(&format!("system: {system}}}")), "{system} is not built");
        assert_eq!(platform["sha256"], format!("{{SHA256_{system}}}"));
        assert!(release.contains(&format!("{{SHA256_{system}}}|$(sum {system})")), "{system} has no sum");
    }
}

/// What `deny.toml` forbids must not be in what is built, whatever else uses the lock file.
#[test]
fn there_is_one_tls_one_http_and_one_time_stack() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges=normal,build",
            "--prefix=none",
            "--format={p}",
            "--package=reindex-operator",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(found.contains("rustls") && found.contains("jiff"), "the tree was read");
    for forbidden in ["openssl-sys", "native-tls", "aws-lc-sys", "chrono"] {
        assert!(!found.contains(forbidden), "{forbidden}");
    }
    assert!(!text.lines().any(|line| line.starts_with("hyper v0.")), "an old HTTP stack");
}
