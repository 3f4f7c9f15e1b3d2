//! Container images without a registry: layers from the cache, written as an archive straight into containerd.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::components::CONTAINERD_SOCKET;
use crate::{cache, go, paths, progress};

/// The image of the process that holds a pod's namespaces.
pub const PAUSE: &str = "docker.io/local/pause:1";

/// An image: layers in the cache and how its container starts.
pub struct Image {
    /// The name that pods use.
    pub reference: String,
    /// The layers' archives, the lowest first.
    pub layers: Vec<PathBuf>,
    /// The command of the container.
    pub entrypoint: Vec<String>,
    /// User and group as numbers; empty is root.
    pub user: String,
}

/// The pause image.
pub fn pause() -> Result<Image> {
    let binary = go::PAUSE.binary()?;
    let layer = layer("pause-layer", &cache::key(std::slice::from_ref(&binary), &[])?, |root| {
        fs::copy(&binary, root.join("pause")).context("failed to copy the pause program")?;
        Ok(())
    })?;
    Ok(Image {
        reference: PAUSE.to_owned(),
        layers: vec![layer],
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
    })
}

/// A layer of what `fill` puts into the folder it is given.
pub fn layer(name: &str, key: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    cache::artefact(name, key, |archive| {
        let root = archive.with_extension("root");
        cache::remove(&root)?;
        cache::create_dir(&root)?;
        fill(&root)?;
        progress::output(
            Command::new("tar")
                .args(["--sort=name", "--mtime=@0", "--numeric-owner", "-cf"])
                .arg(archive)
                .arg("-C")
                .arg(&root)
                .arg("."),
        )?;
        cache::remove(&root)
    })
}

/// How many bytes these layers have as a registry keeps them.
pub fn compressed(layers: &[PathBuf]) -> Result<u64> {
    let sizes = layers.iter().map(|layer| {
        let output = Command::new("gzip").arg("--stdout").arg(layer).output().context("failed to start gzip")?;
        if !output.status.success() {
            bail!("failed to compress {}: {}", layer.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout.len() as u64)
    });
    sizes.sum()
}

/// Imports those images that containerd does not have in exactly this form.
pub fn import(images: &[Image]) -> Result<()> {
    let mut missing = Vec::new();
    for image in images {
        let config = image.config()?;
        let note = note(&image.reference);
        if fs::read_to_string(&note).is_ok_and(|imported| imported == config.digest) {
            continue;
        }
        missing.push((image, config, note));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let start = Instant::now();
    let mut ctr = ctr()
        .args(["import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start ctr")?;
    let archive = ctr.stdin.take().expect("the standard input is piped");
    let written = write_archive(archive, missing.iter().map(|(image, config, _)| (*image, config)));
    let output = ctr.wait_with_output().context("failed to wait for ctr")?;
    if !output.status.success() {
        bail!("failed to import images: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    written?;
    for (image, config, note) in &missing {
        cache::write(note, &config.digest)?;
        println!("  import {}: {:.1} s", image.reference, start.elapsed().as_secs_f32());
    }
    Ok(())
}

/// Removes every image of a repository but one, from containerd and its layers from the cache: each build leaves some.
pub fn keep_only(repository: &str, layer_name: &str, tag: &str) -> Result<()> {
    let kept = format!("{repository}:{tag}");
    let references = progress::output(ctr().args(["list", "--quiet"]))?;
    for reference in references.lines().filter(|name| name.starts_with(&format!("{repository}:")) && *name != kept) {
        cache::remove(&note(reference))?;
        progress::output(ctr().args(["remove", reference]))?;
    }
    let kept = format!("{layer_name}-{tag}");
    for folder in [cache::root(), cache::root().join("digests")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(layer_name) && !name.starts_with(&kept) {
                cache::remove(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn ctr() -> Command {
    let mut ctr = Command::new("ctr");
    ctr.args(["--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", "images"]);
    ctr
}

/// Where it is noted in which form an image was imported.
fn note(reference: &str) -> PathBuf {
    paths::state("images").join(reference.replace('/', "_"))
}

/// An image's configuration and its digest, which covers the layers too.
struct Config {
    json: String,
    digest: String,
    layers: Vec<String>,
}

impl Image {
    fn config(&self) -> Result<Config> {
        let layers = self.layers.iter().map(|layer| digest(layer)).collect::<Result<Vec<_>>>()?;
        let ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{layer}")).collect();
        let json = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "User": self.user,
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
            },
            "rootfs": {"type": "layers", "diff_ids": ids}
        })
        .to_string();
        let digest = hex::encode(Sha256::digest(&json));
        Ok(Config { json, digest, layers })
    }
}

/// A layer's digest, kept next to the layer: the large ones take a second to read.
fn digest(layer: &Path) -> Result<String> {
    let name = layer.file_name().unwrap_or_default().to_string_lossy();
    let note = cache::artefact(&format!("digests/{name}"), "sha256", |note| {
        let mut hash = Sha256::new();
        let mut file = File::open(layer).with_context(|| format!("failed to open {}", layer.display()))?;
        io::copy(&mut file, &mut HashWriter(&mut hash)).context("failed to read a layer")?;
        cache::write(note, hex::encode(hash.finalize()))
    })?;
    fs::read_to_string(&note).with_context(|| format!("failed to read {}", note.display()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the archive of several images; a layer that they share is in it once.
fn write_archive<'a>(out: impl Write, images: impl Iterator<Item = (&'a Image, &'a Config)>) -> Result<()> {
    let mut archive = Builder::new(out);
    let mut manifest: Vec<Value> = Vec::new();
    let mut written = BTreeSet::new();
    for (image, config) in images {
        for (path, digest) in image.layers.iter().zip(&config.layers) {
            if written.insert(digest) {
                let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
                let size = file.metadata().context("failed to look at a layer")?.len();
                append(&mut archive, &format!("{digest}/layer.tar"), size, BufReader::with_capacity(1 << 20, file))?;
            }
        }
        let name = format!("{}.json", config.digest);
        append(&mut archive, &name, config.json.len() as u64, config.json.as_bytes())?;
        let layers: Vec<_> = config.layers.iter().map(|digest| format!("{digest}/layer.tar")).collect();
        manifest.push(json!({"Config": name, "RepoTags": [image.reference], "Layers": layers}));
    }
    let manifest = Value::from(manifest).to_string();
    append(&mut archive, "manifest.json", manifest.len() as u64, manifest.as_bytes())?;
    archive.into_inner().and_then(|mut out| out.flush()).context("failed to end an image archive")
}

fn append(archive: &mut Builder<impl Write>, name: &str, size: u64, content: impl io::Read) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).with_context(|| format!("failed to archive {name}"))
}
