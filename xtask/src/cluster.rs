//! Brings the one-node Kubernetes up and takes it down.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::components::{self, Program, components};
use crate::network::NODE_ADDRESS;
use crate::progress::{self, wait};
use crate::{cache, cgroup, clean, doctor, go, images, kubectl, network, paths, process};

/// Held by a command that changes the cluster; the system lets go of it when the command ends, however it ends.
pub struct Lock(#[expect(dead_code, reason = "held, not used")] File);

/// Waits until no other command works on this machine's cluster.
pub fn lock() -> Result<Lock> {
    let path = "/run/reindex-dev.lock";
    let file = match File::create(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("the cluster needs root (it mounts, makes a bridge and runs containers): run this as root")
        }
        Err(error) => return Err(error).with_context(|| format!("failed to create {path}")),
    };
    if file.try_lock().is_err() {
        println!("waiting for another command that works on this machine's cluster …");
        file.lock().with_context(|| format!("failed to lock {path}"))?;
    }
    Ok(Lock(file))
}

/// Brings the cluster up; one that runs healthy and in this very form stays as it is.
pub fn up() -> Result<()> {
    doctor::prepare()?;
    let checkout = paths::checkout()?;
    let kubernetes = go::KUBERNETES.binary()?;
    let coredns = go::COREDNS.binary()?;
    let pause = images::pause()?;
    let form = form(&kubernetes, &coredns)?;
    if fs::read_to_string(paths::state("form")).is_ok_and(|running| running == form) && is_healthy() {
        println!("  Kubernetes runs, started by {}", owner());
        return link_kubeconfig(&checkout);
    }
    if clean::is_needed() {
        println!("  removing what the cluster of {} left", owner());
        clean::clean()?;
    }
    doctor::nothing_in_the_way()?;
    start(&checkout, &kubernetes, &coredns, pause)?;
    // Written last: a cluster that did not get this far is started anew.
    cache::write(&paths::state("form"), form)?;
    link_kubeconfig(&checkout)
}

/// Stops the cluster and removes what it left on the machine; caches stay.
pub fn down() -> Result<()> {
    if clean::is_needed() {
        println!("  stopping the cluster of {}", owner());
    }
    clean::clean()?;
    cache::remove(&paths::checkout()?.join("target/cluster/kubeconfig"))
}

/// What the cluster is made of, in a word that changes with any of it.
fn form(kubernetes: &Path, coredns: &Path) -> Result<String> {
    let mut words = vec![kubernetes.display().to_string(), coredns.display().to_string()];
    words.extend(components().into_iter().flat_map(|component| component.arguments));
    words.extend(components::files().into_iter().map(|(_, content)| content));
    cache::key(&[], &words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn owner() -> String {
    fs::read_to_string(paths::state("owner")).unwrap_or_else(|_| "an unknown checkout".to_owned())
}

fn is_healthy() -> bool {
    components().iter().all(|component| process::is_running(component.name))
        && kubectl::run(&["get", "--raw=/readyz"]).is_ok()
        && node_is_ready().is_ok_and(|ready| ready)
}

fn node_is_ready() -> Result<bool> {
    let path = r#"--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    Ok(kubectl::run(&["get", "node", components::NODE, "--ignore-not-found", path])?.trim() == "True")
}

fn start(checkout: &Path, kubernetes: &Path, coredns: &Path, pause: images::Image) -> Result<()> {
    cache::write(&paths::state("owner"), checkout.display().to_string())?;
    for folder in ["bin", "data", "pod-logs", "volume-plugins"] {
        cache::create_dir(&paths::state(folder))?;
    }
    symlink(kubernetes, paths::kubectl()).context("failed to link kubectl")?;
    components::write()?;
    cgroup::create()?;
    network::create_bridge()?;

    let program = |program| match program {
        Program::Containerd => PathBuf::from("/usr/bin/containerd"),
        Program::Kubernetes => kubernetes.to_path_buf(),
        Program::CoreDns => coredns.to_path_buf(),
    };
    for component in components() {
        process::start(component.name, &program(component.program), &component.arguments)?;
        match component.name {
            "containerd" => wait_for("the container runtime answers", || ready(&containerd_answers()))?,
            "kube-apiserver" => {
                wait_for("the apiserver is ready", || ready(&kubectl::run(&["get", "--raw=/readyz"]).map(drop)))?
            }
            _ => {}
        }
    }
    images::import(&[pause])?;
    wait_for("the node is ready", || {
        Ok(if node_is_ready()? { Ok(()) } else { Err("the node is not ready".to_owned()) })
    })?;
    wait_for("the cluster's DNS is ready", || ready(&dns_answers()))
}

/// CoreDNS says on a port of its own whether it knows the cluster's Services yet.
fn dns_answers() -> Result<()> {
    let mut connection = TcpStream::connect((NODE_ADDRESS, 8181)).context("failed to reach CoreDNS")?;
    connection.write_all(b"GET /ready HTTP/1.0\r\n\r\n").context("failed to ask CoreDNS")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).context("failed to read CoreDNS's answer")?;
    let status = answer.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!("CoreDNS answers {status:?}");
    }
    Ok(())
}

fn containerd_answers() -> Result<()> {
    let socket = components::CONTAINERD_SOCKET;
    progress::output(Command::new("ctr").args(["--address", socket, "version"])).map(drop)
}

fn ready(answer: &Result<()>) -> Result<Result<(), String>> {
    Ok(answer.as_ref().map(|_| ()).map_err(|error| format!("{error:#}")))
}

/// Waits for a part of the cluster, and stops waiting when a component has died meanwhile.
fn wait_for(what: &str, mut probe: impl FnMut() -> Result<Result<(), String>>) -> Result<()> {
    wait(what, Duration::from_secs(120), || {
        for record in fs::read_dir(paths::state("pids")).into_iter().flatten().flatten() {
            let name = record.file_name().to_string_lossy().into_owned();
            if !process::is_running(&name) {
                bail!("failed: {name} ended\n{}", progress::tail(&paths::log(&name)));
            }
        }
        probe()
    })
}

/// Puts the kubeconfig where people of this checkout look for it.
fn link_kubeconfig(checkout: &Path) -> Result<()> {
    let link = checkout.join("target/cluster/kubeconfig");
    cache::remove(&link)?;
    cache::create_dir(link.parent().expect("the path has a parent"))?;
    symlink(paths::kubeconfig(), &link).with_context(|| format!("failed to create {}", link.display()))
}
