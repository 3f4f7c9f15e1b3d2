//! The control group that the pods run under.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache;
use crate::components::CGROUP;
use crate::process::Process;

const ROOT: &str = "/sys/fs/cgroup";

/// Creates the group in every hierarchy: the kubelet wants to find it.
pub fn create() -> Result<()> {
    folders().iter().try_for_each(|folder| cache::create_dir(folder))
}

/// The processes in the group: every container's.
pub fn processes() -> Vec<Process> {
    let mut found = Vec::new();
    for folder in folders() {
        visit(&folder, &mut |group| {
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|pid| Process::of(pid.parse().ok()?)));
        });
    }
    found
}

/// Removes the group, which no process may be in any more.
pub fn remove() -> Result<()> {
    let mut result = Ok(());
    for folder in folders() {
        visit(&folder, &mut |group| {
            if let Err(error) = fs::remove_dir(group) {
                result = Err(error).with_context(|| format!("failed to remove {}", group.display()));
            }
        });
    }
    result
}

/// The group's folder in each hierarchy: one for every controller, or the only one of the unified hierarchy.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(CGROUP)];
    }
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies.filter(|folder| folder.join("cgroup.procs").exists()).map(|folder| folder.join(CGROUP)).collect()
}

/// Visits a group after the groups in it.
fn visit(group: &Path, act: &mut impl FnMut(&Path)) {
    if !group.exists() {
        return;
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), act);
        }
    }
    act(group);
}
