//! Takes everything away that a cluster leaves on the machine, however it ended.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use crate::components::CONTAINERD_SOCKET;
use crate::paths::STATE;
use crate::{cache, cgroup, network, paths, process};

/// Ends what runs and removes what is left: processes, containers, mounts, sockets, the bridge, the packet filter's
/// chains and the state folder. Caches stay.
pub fn clean() -> Result<()> {
    // The components first, so that none of them starts again what is ended next.
    process::end(&process::recorded())?;
    process::end(&process::by_command_line(is_our_shim))?;
    process::end(&cgroup::processes())?;
    remove_shim_sockets()?;
    unmount_all()?;
    cgroup::remove()?;
    network::remove()?;
    remove_kubelet_traces()?;
    cache::remove(Path::new(STATE))
}

/// Whether anything of a cluster is there.
pub fn is_needed() -> bool {
    Path::new(STATE).exists()
}

/// A shim outlives containerd; its command line names the socket of the containerd that started it.
fn is_our_shim(words: &[String]) -> bool {
    words.first().is_some_and(|program| program.contains("containerd-shim"))
        && words.iter().any(|word| word == CONTAINERD_SOCKET)
}

/// Shims listen outside of containerd's own folders and note the address in the container's.
fn remove_shim_sockets() -> Result<()> {
    let tasks = paths::state("run/io.containerd.runtime.v2.task/k8s.io");
    for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
        let address = fs::read_to_string(task.path().join("address")).unwrap_or_default();
        if let Some(socket) = address.trim().strip_prefix("unix://") {
            cache::remove(Path::new(socket))?;
        }
    }
    Ok(())
}

/// The last mount first: it may sit on an earlier one.
fn unmount_all() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("failed to read the mounts")?;
    let ours =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| Path::new(path).starts_with(STATE));
    for path in ours.collect::<Vec<_>>().into_iter().rev() {
        // Spaces and the like are written as octal numbers there; no path of ours has any.
        unmount(path, UnmountFlags::DETACH).with_context(|| format!("failed to unmount {path}"))?;
    }
    Ok(())
}

/// The kubelet links every container's log in a folder of the machine, and has one socket that can't be elsewhere.
fn remove_kubelet_traces() -> Result<()> {
    cache::remove(Path::new("/var/lib/kubelet/device-plugins/kubelet.sock"))?;
    for entry in fs::read_dir("/var/log/containers").into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(STATE)) {
            cache::remove(&entry.path())?;
        }
    }
    Ok(())
}
