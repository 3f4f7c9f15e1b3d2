//! How Flux reads the objects: by the library kstatus, itself. The data is that of Argo CD's health check.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

fn read_by_kstatus(object: &Value) -> String {
    let program = xtask::go::KSTATUS.binary().expect("kstatus");
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("kstatus runs");
    child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.split('\t').next().unwrap_or_default().to_owned()
}

fn assert_read(kind: &str, expected: &[(&str, &str)]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/argocd/resource_customizations/reindex.dev")
        .join(kind)
        .join("testdata");
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, expected.len(), "every file is read");
    for (state, status) in expected {
        let text = fs::read_to_string(folder.join(format!("{state}.yaml"))).unwrap();
        let object: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(&read_by_kstatus(&object), status, "{kind} {state}");
    }
}

#[test]
fn a_reindex_is_read_as_what_it_is() {
    assert_read(
        "Reindex",
        &[
            ("new", "InProgress"),
            ("copying", "InProgress"),
            // It goes on when somebody says so: nothing has failed.
            ("suspended", "InProgress"),
            ("stalled", "Failed"),
            ("complete", "Current"),
            ("planned", "Current"),
            ("failed", "Failed"),
            ("waiting-for-allowlist", "InProgress"),
            ("waiting-for-person", "InProgress"),
            ("catching-up", "InProgress"),
            ("verifying", "InProgress"),
            ("deleting", "Terminating"),
        ],
    );
}

#[test]
fn a_search_cluster_is_read_as_what_it_is() {
    assert_read(
        "SearchCluster",
        &[
            ("new", "InProgress"),
            ("ready", "Current"),
            ("unreachable", "Failed"),
            ("verify-only", "InProgress"),
            ("stalled", "Failed"),
            ("waiting-for-approval", "InProgress"),
            ("rolling-out", "InProgress"),
            ("deleting", "Terminating"),
        ],
    );
}
