//! The rules for Prometheus, by its own tool.

use std::process::Command;

#[test]
fn every_rule_fires_when_it_should_and_not_before() {
    let folder = format!("{}/charts/reindex-operator/files/monitoring", env!("CARGO_MANIFEST_DIR"));
    let promtool = |arguments: &[&str]| {
        let program = xtask::go::PROMTOOL.binary().expect("promtool");
        let output = Command::new(program).args(arguments).current_dir(&folder).output().expect("promtool runs");
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&text));
    };
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"]);
    promtool(&["test", "rules", "alerts.test.yaml"]);
}
