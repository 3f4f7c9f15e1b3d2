//! What the machine must bring along, and one clear line for each thing that is in the way.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Result, bail};

use crate::components::PORTS;
use crate::network::{self, POD_NETWORK};
use crate::{cache, progress};

/// Programs that a developer brings along, and what they are for.
const TOOLS: [(&str, &str); 5] = [
    ("cargo", "builds the operator: install Rust"),
    ("go", "builds Kubernetes: install Go 1.24 or later"),
    ("mvn", "fetches the search engines: install Maven"),
    ("javac", "builds the search engines' starters: install a JDK, 17 or later"),
    ("apt-get", "installs the container runtime: use Debian or a relative of it"),
];

/// Debian's packages that the harness installs itself, each known by a file in it.
const PACKAGES: [(&str, &str); 9] = [
    ("containerd", "/usr/bin/containerd"),
    ("runc", "/usr/sbin/runc"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("iptables", "/usr/sbin/iptables"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("iproute2", "/usr/sbin/ip"),
    ("procps", "/usr/bin/ps"),
    ("mount", "/usr/bin/mount"),
];

/// More of them, for some tests: what is not tried where they can't be had.
const FOR_TESTS: [(&str, &str, &str); 2] = [
    ("chromium", "/usr/bin/chromium", "the plugin's report in a browser"),
    ("tmux", "/usr/bin/tmux", "the plugin in a terminal"),
];

/// Checks what a cluster needs of this machine, and installs the missing packages.
pub fn prepare() -> Result<()> {
    if env::consts::OS != "linux" || env::consts::ARCH != "x86_64" {
        bail!("the cluster runs on Linux on x86_64 only: use such a machine, or `make test-offline`");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the cluster needs root (it mounts, makes a bridge and runs containers): run this as root");
    }
    for (tool, purpose) in TOOLS {
        if find(tool).is_none() {
            bail!("{tool} is missing ({purpose})");
        }
    }
    install(&PACKAGES)
}

/// Installs what some tests need, and tells what will not be tried since it can't be had.
pub fn prepare_tests() -> Vec<String> {
    let fault = |(package, file, what): (&str, &str, &str)| {
        let error = install(&[(package, file)]).err()?;
        Some(format!("NOT tried: {what}, since {package} can't be installed: {error:#}"))
    };
    FOR_TESTS.into_iter().filter_map(fault).collect()
}

/// Checks that Rust can compile for a system other than this one.
pub fn can_compile_for(target: &str) -> Result<()> {
    let folder = progress::output(Command::new("rustc").args(["--print=target-libdir", "--target", target]))?;
    if !Path::new(folder.trim()).exists() {
        bail!("Rust can't compile for {target} yet: `rustup target add {target}`");
    }
    Ok(())
}

fn install(packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let logs = cache::root().join("logs");
    let mut update = Command::new("apt-get");
    update.arg("update");
    progress::run("refresh the package lists", &mut update, &logs.join("apt-update.log"))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    progress::run(&format!("install {}", missing.join(", ")), &mut install, &logs.join("apt-install.log"))
}

/// Checks that nothing else uses the ports and addresses of the cluster, which must not run yet.
pub fn nothing_in_the_way() -> Result<()> {
    for (port, component) in PORTS {
        if let Some(who) = taken_by(port) {
            bail!("port {port} ({component}) is taken by {who}: end that process and try again");
        }
    }
    if let Some(interface) = network::address_taken_by()? {
        bail!("the network {POD_NETWORK} is taken by the interface {interface}: remove it and try again");
    }
    Ok(())
}

/// Who listens on a port, as `ss` names processes: `(("name",pid=1,fd=2))`.
fn taken_by(port: u16) -> Option<String> {
    TcpListener::bind(("0.0.0.0", port)).err()?;
    let filter = format!("sport = :{port}");
    let listeners = progress::output(Command::new("ss").args(["-Hltnp", &filter])).unwrap_or_default();
    let who = listeners.split("users:").nth(1).unwrap_or("an unknown process");
    Some(who.trim().to_owned())
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| fs::metadata(file).is_ok_and(|it| it.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_who_took_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let who = taken_by(port).expect("the port is taken");
        assert!(who.contains(&format!("pid={}", std::process::id())), "{who}");
    }
}
