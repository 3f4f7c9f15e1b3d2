//! kubectl against the development cluster.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{cache, paths, progress};

/// A kubectl command with the administrator's kubeconfig.
pub fn command() -> Command {
    let mut command = Command::new(paths::kubectl());
    command.arg("--kubeconfig").arg(paths::kubeconfig());
    command
}

/// Runs kubectl and returns what it printed.
pub fn run(arguments: &[&str]) -> Result<String> {
    progress::output(command().args(arguments))
}

/// Applies objects as server-side apply with the field manager `xtask`, taking over fields that others own.
pub fn apply(objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    send(&["apply", "--server-side", "--force-conflicts", "--field-manager=xtask", "-f", "-"], &list)
}

/// Whether the apiserver would create this object; nothing is created.
pub fn dry_run(object: &Value) -> Result<()> {
    send(&["create", "--dry-run=server", "-f", "-"], object)
}

/// Whether the apiserver would take this object, be it there already or not; nothing is changed.
pub fn dry_apply(object: &Value) -> Result<()> {
    send(&["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"], object)
}

/// Runs kubectl with an object as its input.
fn send(arguments: &[&str], object: &Value) -> Result<()> {
    let mut kubectl = command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start kubectl")?;
    kubectl
        .stdin
        .take()
        .expect("the standard input is piped")
        .write_all(object.to_string().as_bytes())
        .context("failed to write to kubectl")?;
    let output = kubectl.wait_with_output().context("failed to wait for kubectl")?;
    if !output.status.success() {
        bail!("failed: kubectl {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Reads an object; `None` when there is none of that name.
pub fn get(kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
    let text = run(&["get", kind, name, "--namespace", namespace, "--ignore-not-found", "--output=json"])?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).with_context(|| format!("failed to parse {kind} {name}"))
}

/// Waits until a StatefulSet or Deployment, as `kind/name`, has rolled out; when it has not, tells what its pods say.
pub fn wait_for_rollout(namespace: &str, workload: &str, limit: Duration) -> Result<()> {
    let timeout = format!("--timeout={}s", limit.as_secs());
    let mut rollout = command();
    rollout.args(["rollout", "status", workload, "--namespace", namespace, &timeout]);
    let log = paths::log(&format!("rollout-{namespace}-{}", workload.replace('/', "-")));
    progress::run(&format!("{workload} becomes ready"), &mut rollout, &log).map_err(|error| {
        let pods = run(&["get", "pods", "--namespace", namespace, "--output=wide"]).unwrap_or_default();
        let events = run(&["get", "events", "--namespace", namespace, "--sort-by=.lastTimestamp"]).unwrap_or_default();
        let logs = run(&["logs", workload, "--namespace", namespace, "--tail=20"]).unwrap_or_default();
        error.context(format!("{pods}\n{events}\n{logs}"))
    })
}

/// Deletes a namespace with all in it, and the data that its search engines kept on this machine.
pub fn delete_namespace(namespace: &str) -> Result<()> {
    run(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=180s"])?;
    cache::remove(&paths::state("data").join(namespace))
}
