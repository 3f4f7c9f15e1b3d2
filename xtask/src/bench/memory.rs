//! What the operator's process holds in memory.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::operator;

/// How long a new operator is left alone before it is looked at: it leads by then, and has read its objects.
pub const SETTLED: Duration = Duration::from_secs(15);
/// The line of what is held now.
pub const RESIDENT: &str = "VmRSS:";
/// How long an ended operator's process may stay.
const ENDED: Duration = Duration::from_secs(60);

/// An operator that was just started, and what it held when it had settled.
pub struct Memory {
    pid: i32,
    before: f64,
}

impl Memory {
    /// Restarts the operator and lets it settle.
    pub fn of_restarted() -> Result<Self> {
        operator::restart()?;
        let begin = Instant::now();
        let pid = loop {
            let found = operator::processes();
            match found.first() {
                Some(pid) if found.len() == 1 => break *pid,
                _ if begin.elapsed() > ENDED => bail!("failed: {} operators run", found.len()),
                _ => thread::sleep(Duration::from_millis(200)),
            }
        };
        thread::sleep(SETTLED);
        Ok(Self { pid, before: mebibytes(pid, RESIDENT)? })
    }

    /// MiB by which its peak is larger than what it held.
    pub fn growth(&self) -> Result<f64> {
        Ok(mebibytes(self.pid, "VmHWM:")? - self.before)
    }
}

/// A line of `/proc/<pid>/status`, in MiB.
pub fn mebibytes(pid: i32, line: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}: the operator ended"))?;
    let found = text.lines().find_map(|text| text.strip_prefix(line)?.split_whitespace().next()?.parse::<f64>().ok());
    Ok(found.with_context(|| format!("failed to find {line} in {path}"))? / 1024.0)
}
