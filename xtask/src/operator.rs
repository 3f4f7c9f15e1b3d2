//! Builds the operator, puts it into an image and installs its chart.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::images::{self, Image, layer};
use crate::{cache, cgroup, doctor, go, kubectl, paths, progress};

/// The operator's namespace, which enforces the strictest rules for pods.
pub const NAMESPACE: &str = "reindex-system";
const RELEASE: &str = "reindex-operator";
const LAYER: &str = "operator-layer";
const REPOSITORY: &str = "docker.io/local/reindex-operator";
/// What `deploy/Containerfile` compiles for.
const STATIC: &str = "x86_64-unknown-linux-musl";

/// How the operator is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As the tests are, whose dependencies are compiled anyway: with shared objects.
    Dev,
    /// As people run it, static, which takes minutes to build: what is measured.
    Release,
}

/// Builds and installs the operator of this checkout, and waits until it is ready.
pub fn deploy(profile: Profile) -> Result<()> {
    let checkout = paths::checkout()?;
    let binary = build(&checkout, profile, "bin/reindex-operator")?;
    let tag = cache::key(std::slice::from_ref(&binary), &[])?;
    images::import(&[image(&binary, &tag)?])?;
    install(&checkout, &tag)?;
    kubectl::wait_for_rollout(NAMESPACE, &format!("deployment/{RELEASE}"), Duration::from_secs(120))?;
    images::keep_only(REPOSITORY, LAYER, &tag)
}

/// What an upgrade comes from before there is a release.
const FIRST: &str = "c02402d13f80f8dacae9126e2ec026b71f80e2b2";

/// An older operator, whose image the nodes have.
pub struct Earlier {
    /// Its chart.
    pub chart: PathBuf,
    /// Its image, with the tag.
    pub image: String,
}

/// Where an upgrade comes from: the commit that `UPGRADE_FROM` names, or the last release before this commit, or [`FIRST`]; None where the
/// checkout has neither, as a shallow one.
pub fn earlier_commit() -> Result<Option<String>> {
    let checkout = paths::checkout()?;
    let exists =
        |commit: &str| progress::output(&mut git(&checkout, &["cat-file", "-e", &format!("{commit}^{{commit}}")]));
    if let Ok(commit) = std::env::var("UPGRADE_FROM") {
        let commit = commit.trim().to_owned();
        exists(&commit).context("UPGRADE_FROM must name a commit of this checkout")?;
        return Ok(Some(commit));
    }
    let tag = progress::output(&mut git(&checkout, &["describe", "--tags", "--match=v*", "--abbrev=0", "HEAD^"]));
    let commit = tag.unwrap_or_else(|_| FIRST.to_owned()).trim().to_owned();
    Ok(exists(&commit).is_ok().then_some(commit))
}

/// Builds that operator; None where there is none.
pub fn earlier() -> Result<Option<Earlier>> {
    let Some(commit) = earlier_commit()? else { return Ok(None) };
    let checkout = paths::checkout()?;
    let folder = paths::state("earlier");
    cache::remove(&folder)?;
    let (from, to) = (checkout.display().to_string(), folder.display().to_string());
    progress::output(&mut git(&checkout, &["clone", "--quiet", "--no-checkout", &from, &to]))?;
    progress::output(&mut git(&folder, &["checkout", "--quiet", &commit]))?;
    let binary = build(&folder, Profile::Dev, "bin/earlier")?;
    let tag = cache::key(std::slice::from_ref(&binary), &[])?;
    let image = image(&binary, &tag)?;
    let reference = image.reference.clone();
    images::import(&[image])?;
    cache::remove(&folder.join("target"))?;
    Ok(Some(Earlier { chart: folder.join("charts/reindex-operator"), image: reference }))
}

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(arguments);
    git
}

/// Ends the operator and waits until another is ready.
pub fn restart() -> Result<()> {
    let deployment = format!("deployment/{RELEASE}");
    kubectl::run(&["rollout", "restart", &deployment, "--namespace", NAMESPACE])?;
    kubectl::wait_for_rollout(NAMESPACE, &deployment, Duration::from_secs(120))
}

/// Has so many operators run: 0 or 1. Waits until one that should run is ready.
pub fn scale(replicas: u32) -> Result<()> {
    let deployment = format!("deployment/{RELEASE}");
    kubectl::run(&["scale", &deployment, "--namespace", NAMESPACE, &format!("--replicas={replicas}")])?;
    kubectl::wait_for_rollout(NAMESPACE, &deployment, Duration::from_secs(120))
}

/// The address of the running operator's pod; `None` until there is exactly one that has one.
pub fn address() -> Result<Option<String>> {
    let output = "--output=jsonpath={.items[*].status.podIP}";
    let label = "--selector=app.kubernetes.io/name=reindex-operator";
    let running = "--field-selector=status.phase=Running";
    let addresses = kubectl::run(&["get", "pods", "--namespace", NAMESPACE, label, running, output])?;
    let addresses: Vec<_> = addresses.split_whitespace().collect();
    Ok(if let [address] = addresses[..] { Some(address.to_owned()) } else { None })
}

/// The layers of the image that was deployed last.
pub fn layers() -> Result<Vec<PathBuf>> {
    let binary = paths::state("bin/reindex-operator");
    let tag = cache::key(std::slice::from_ref(&binary), &[])?;
    Ok(image(&binary, &tag)?.layers)
}

/// Operators that run in pods; a process is in the groups of several hierarchies.
pub fn processes() -> BTreeSet<i32> {
    let is_operator =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "reindex-operato");
    cgroup::processes().into_iter().map(|process| process.pid).filter(is_operator).collect()
}

/// The last lines that the operator logged, for people who look for what went wrong.
pub fn log() -> String {
    let deployment = format!("deployment/{RELEASE}");
    kubectl::run(&["logs", &deployment, "--namespace", NAMESPACE, "--tail=30"])
        .unwrap_or_else(|error| format!("{error:#}"))
}

/// Builds, and takes the symbols away. The binary is kept under that name.
fn build(checkout: &Path, profile: Profile, name: &str) -> Result<PathBuf> {
    let mut build = Command::new("cargo");
    build.args(["build", "--bin", "reindex-operator"]).current_dir(checkout);
    let folder = match profile {
        Profile::Dev => Path::new("debug").to_owned(),
        Profile::Release => {
            doctor::can_compile_for(STATIC)?;
            build.args(["--release", "--target", STATIC]);
            Path::new(STATIC).join("release")
        }
    };
    progress::run("build the operator", &mut build, &paths::log("operator-build"))?;
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(checkout);
    let metadata: Value =
        serde_json::from_str(&progress::output(&mut metadata)?).context("failed to parse cargo's metadata")?;
    let target = metadata["target_directory"].as_str().context("failed to find cargo's target folder")?;
    let stripped = paths::state(name);
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&stripped);
    progress::output(strip.arg(Path::new(target).join(folder).join("reindex-operator")))?;
    Ok(stripped)
}

/// The binary, the few shared objects it needs where it is not static, and the machine's certificate authorities: what `deploy/Containerfile` makes.
fn image(binary: &Path, tag: &str) -> Result<Image> {
    let layer = layer(LAYER, tag, |root| {
        copy(binary, root, "usr/local/bin/reindex-operator")?;
        for library in libraries(binary)? {
            copy(Path::new(&library), root, library.trim_start_matches('/'))?;
        }
        let authorities = "etc/ssl/certs/ca-certificates.crt";
        let on_host = Path::new("/").join(authorities);
        if on_host.exists() {
            copy(&on_host, root, authorities)?;
        }
        Ok(())
    })?;
    Ok(Image {
        reference: format!("{REPOSITORY}:{tag}"),
        layers: vec![layer],
        entrypoint: vec!["/usr/local/bin/reindex-operator".to_owned()],
        user: "65532:65532".to_owned(),
    })
}

/// The absolute paths that `ldd` names, the loader's among them.
fn libraries(binary: &Path) -> Result<Vec<String>> {
    let text = progress::output(Command::new("ldd").arg(binary))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect())
}

fn copy(from: &Path, root: &Path, to: &str) -> Result<()> {
    let to = root.join(to);
    cache::create_dir(to.parent().expect("the path has a parent"))?;
    fs::copy(from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}

/// The chart brings the definitions of the custom resources along, and updates them.
fn install(checkout: &Path, tag: &str) -> Result<()> {
    let chart = checkout.join("charts/reindex-operator");
    kubectl::apply(&[json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    })])?;
    let mut helm = Command::new(go::HELM.binary()?);
    helm.args(["upgrade", "--install", RELEASE]).arg(chart).args(["--namespace", NAMESPACE]);
    helm.args(["--set", &format!("image.repository={REPOSITORY}"), "--set-string", &format!("image.tag={tag}")]);
    // One, whose log is the log, and whose end is seen.
    helm.args(["--set", "verification.configMaps=true", "--set", "replicas=1"]);
    helm.arg("--kubeconfig").arg(paths::kubeconfig());
    progress::run("install the chart", &mut helm, &paths::log("helm"))
}
