//! What a run must know if it is begun again: its objects with their status, in a file. Secrets are not in it.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::store::Key;

/// The kinds that are kept. Every other one comes from the manifests again.
const KEPT: &[&str] = &["reindexes.reindex.dev", "searchclusters.reindex.dev"];

/// Why the state can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// Another run uses it.
    #[error("{0} is used by another run; wait for its end, or give this one --state of its own")]
    Used(PathBuf),
    /// It can't be read or written.
    #[error("failed to use the state file {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no state file of a run ({source}); remove it, or name another by --state")]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
}

/// The file, locked as long as this lives.
pub struct StateFile {
    path: PathBuf,
    _lock: File,
}

impl StateFile {
    /// Takes the file, and what is in it; nothing, if there is none yet.
    ///
    /// # Errors
    /// [`StateFault`]; nothing was changed.
    pub fn open(path: &Path) -> Result<(StateFile, Vec<Value>), StateFault> {
        let failed = |source| StateFault::Io { path: path.to_owned(), source };
        // The file itself is replaced at every write, and a lock of it with it.
        let lock = File::create(beside(path, "lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateFault::Used(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let objects = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| StateFault::Unreadable { path: path.to_owned(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(failed(source)),
        };
        Ok((StateFile { path: path.to_owned(), _lock: lock }, objects))
    }

    /// Replaces it by what is there now, at once and whole, if the object that changed belongs into it.
    ///
    /// # Errors
    /// The disk's; the file is as it was then.
    pub fn write(&self, changed: &Key, objects: &BTreeMap<Key, Value>) -> io::Result<()> {
        let is_kept = |key: &Key| KEPT.contains(&key.0.as_str());
        if !is_kept(changed) {
            return Ok(());
        }
        let kept: Vec<_> = objects.iter().filter(|(key, _)| is_kept(key)).map(|(_, object)| object).collect();
        let new = beside(&self.path, "new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()?;
        fs::rename(new, &self.path)
    }
}

/// The file's name with something behind it.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}
