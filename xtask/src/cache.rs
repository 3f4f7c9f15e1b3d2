//! The cache of finished artefacts, outside every checkout.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The cache folder: `$REINDEX_CACHE`, else `reindex-operator` below the user's cache folder.
pub fn root() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("REINDEX_CACHE") {
        return folder;
    }
    let base = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"));
    base.join("reindex-operator")
}

/// Returns the artefact `name` of this `key`, built by `build` at the path it is given when it is not there yet.
///
/// The result is renamed into place as a whole, so a crash in the middle leaves nothing half.
pub fn artefact(name: &str, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let finished = root().join(format!("{name}-{key}"));
    if finished.exists() {
        return Ok(finished);
    }
    let unfinished = root().join("unfinished").join(name);
    remove(&unfinished)?;
    for path in [&unfinished, &finished] {
        create_dir(path.parent().expect("the path has a parent"))?;
    }
    build(&unfinished)?;
    fs::rename(&unfinished, &finished).with_context(|| format!("failed to move {} into place", finished.display()))?;
    Ok(finished)
}

/// A short key of these files' contents and these words.
pub fn key(files: &[PathBuf], words: &[&str]) -> Result<String> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(read(file)?);
        hash.update([0]);
    }
    for word in words {
        hash.update(word.as_bytes());
        hash.update([0]);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// Creates a folder and its parents.
pub fn create_dir(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))
}

/// Reads a file as bytes.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("failed to read {}", file.display()))
}

/// Writes a file, its folder included.
pub fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = file.parent() {
        create_dir(folder)?;
    }
    fs::write(file, content).with_context(|| format!("failed to write {}", file.display()))
}

/// Removes a file or a folder with all it holds; nothing there is fine.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("failed to remove {}", path.display()))
}
