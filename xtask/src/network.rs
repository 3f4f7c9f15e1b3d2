//! The bridge that the node and its pods share, and the traces that Kubernetes leaves in the kernel's packet filter.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cache, progress};

/// The bridge's name; the CNI configuration names it too.
pub const BRIDGE: &str = "reindex0";
/// The bridge's address: the node's, the apiserver's and the DNS server's.
pub const NODE_ADDRESS: &str = "10.88.0.1";
/// Pods get their addresses from here.
pub const POD_NETWORK: &str = "10.88.0.0/16";
/// Services get their addresses from here.
pub const SERVICE_NETWORK: &str = "10.96.0.0/16";
/// The CNI network's name.
pub const CNI_NETWORK: &str = "reindex";

/// Creates the bridge. Its hardware address is fixed, or it would change with every pod that comes and goes.
pub fn create_bridge() -> Result<()> {
    let address = format!("{NODE_ADDRESS}/16");
    ip(&["link", "add", BRIDGE, "address", "02:52:45:49:4e:44", "type", "bridge"])?;
    ip(&["address", "add", &address, "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// Removes the bridge, the CNI plugins' notes and the packet filter's chains.
pub fn remove() -> Result<()> {
    if fs::exists(format!("/sys/class/net/{BRIDGE}")).unwrap_or(false) {
        ip(&["link", "delete", BRIDGE])?;
    }
    remove_cni_results()?;
    for family in ["iptables", "ip6tables"] {
        remove_chains(family)?;
    }
    Ok(())
}

/// Another interface whose addresses overlap with the pods', if there is one.
pub fn address_taken_by() -> Result<Option<String>> {
    let lines = progress::output(Command::new("ip").args(["-o", "-4", "address", "show", "to", POD_NETWORK]))?;
    let interfaces = lines.lines().filter_map(|line| line.split_whitespace().nth(1));
    Ok(interfaces.filter(|name| *name != BRIDGE).map(str::to_owned).next())
}

fn ip(arguments: &[&str]) -> Result<()> {
    progress::output(Command::new("ip").args(arguments)).map(drop)
}

/// The CNI library notes each pod's network and its loopback; only the former tells whose pod it was.
fn remove_cni_results() -> Result<()> {
    let folder = Path::new("/var/lib/cni/results");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pod = name.strip_prefix(&format!("{CNI_NETWORK}-")).and_then(|rest| rest.strip_suffix("-eth0"));
        if let Some(pod) = pod {
            cache::remove(&folder.join(format!("cni-loopback-{pod}-lo")))?;
            cache::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_chains(family: &str) -> Result<()> {
    // Without this family in the kernel there is nothing to remove.
    let Ok(saved) = progress::output(&mut Command::new(format!("{family}-save"))) else {
        return Ok(());
    };
    let removal = removal(&saved);
    if removal.is_empty() {
        return Ok(());
    }
    let mut restore = Command::new(format!("{family}-restore"))
        .args(["--noflush", "--wait"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {family}-restore"))?;
    restore
        .stdin
        .take()
        .expect("the standard input is piped")
        .write_all(removal.as_bytes())
        .with_context(|| format!("failed to write to {family}-restore"))?;
    let output = restore.wait_with_output().with_context(|| format!("failed to wait for {family}-restore"))?;
    if !output.status.success() {
        bail!("failed to remove the chains of {family}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// From `iptables-save`'s text, the input of `iptables-restore --noflush` that removes Kubernetes' chains and the rules
/// elsewhere that lead to them, and nothing else.
fn removal(saved: &str) -> String {
    let ours = |word: &str| word.starts_with("KUBE-") || word.starts_with("CNI-");
    let mut result = String::new();
    for table in saved.split_inclusive("COMMIT\n") {
        let chains: Vec<_> = table
            .lines()
            .filter_map(|line| line.strip_prefix(':')?.split_whitespace().next())
            .filter(|chain| ours(chain))
            .collect();
        let Some(name) = table.lines().find(|line| line.starts_with('*')) else {
            continue;
        };
        if chains.is_empty() {
            continue;
        }
        let mut lines = vec![name.to_owned()];
        lines.extend(chains.iter().map(|chain| format!(":{chain} - [0:0]")));
        lines.extend(table.lines().filter_map(|line| {
            let rule = line.strip_prefix("-A ")?;
            let in_our_chain = rule.split_whitespace().next().is_some_and(ours);
            (!in_our_chain && rule.split_whitespace().any(ours)).then(|| format!("-D {rule}"))
        }));
        lines.extend(chains.iter().map(|chain| format!("-X {chain}")));
        lines.push("COMMIT\n".to_owned());
        result.push_str(&lines.join("\n"));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kubernetes_chains_and_the_rules_that_lead_to_them_are_removed() {
        let saved = "*filter\n:INPUT ACCEPT [0:0]\n:DOCKER - [0:0]\n:KUBE-FORWARD - [0:0]\n-A INPUT -j DOCKER\n\
            -A FORWARD -m comment --comment \"rules\" -j KUBE-FORWARD\n-A KUBE-FORWARD -j ACCEPT\nCOMMIT\n\
            *raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
        let expected = "*filter\n:KUBE-FORWARD - [0:0]\n\
            -D FORWARD -m comment --comment \"rules\" -j KUBE-FORWARD\n-X KUBE-FORWARD\nCOMMIT\n";
        assert_eq!(removal(saved), expected);
    }
}
