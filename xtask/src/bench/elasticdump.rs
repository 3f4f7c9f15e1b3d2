//! The program that people use without an operator: elasticdump, from npm.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::corpus::Corpus;
use super::method::{SECONDS, Sample};
use super::world::{COPY, World};
use crate::{cache, paths, progress};

/// The version that is compared with.
pub const VERSION: &str = "6.125.1";

/// The installed program, from the cache.
pub fn install() -> Result<PathBuf> {
    for tool in ["node", "npm"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            bail!(
                "{tool} is missing (runs elasticdump, which is compared with): install Node.js, or measure --only others"
            );
        }
    }
    let folder = cache::artefact("elasticdump", &cache::key(&[], &[VERSION])?, |folder| {
        cache::create_dir(folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", &format!("elasticdump@{VERSION}"), "--prefix"]).arg(folder);
        let log = cache::root().join("logs/elasticdump.log");
        progress::run("fetch elasticdump (once a machine)", &mut npm, &log)
    })?;
    Ok(folder.join("node_modules/elasticdump/bin/elasticdump"))
}

/// Copies the documents from this machine, which is also the clusters'.
pub async fn run(world: &World, corpus: &Corpus, limit: Option<usize>) -> Result<Sample> {
    let program = install()?;
    world.create(None).await?;
    let (source, destination) = world.urls()?;
    let mut dump = Command::new("node");
    dump.arg(program).arg("--type=data");
    dump.arg(format!("--input={source}/{}", corpus.index())).arg(format!("--output={destination}/{COPY}"));
    dump.args(limit.map(|limit| format!("--limit={limit}")));
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"] {
        dump.env_remove(variable);
    }
    let log = paths::log("elasticdump");
    let out = std::fs::File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let err = out.try_clone().context("failed to share a log file")?;
    let begin = Instant::now();
    let status = dump.stdin(Stdio::null()).stdout(out).stderr(err).status().context("failed to start elasticdump")?;
    let seconds = begin.elapsed().as_secs_f64();
    if !status.success() {
        bail!("failed: elasticdump: {status}\n{}", progress::tail(&log));
    }
    Ok(Sample::from([(SECONDS.to_owned(), seconds)]))
}
