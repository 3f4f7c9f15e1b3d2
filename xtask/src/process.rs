//! The cluster's processes: started detached, recorded so that only they are ever ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cache;
use crate::paths;

/// Writes the shell's own line of `/proc` as the record and then becomes the component: same process id, same start
/// time, and no moment at which the component runs unrecorded.
const RECORD_AND_BECOME: &str =
    r#"cat /proc/$$/stat /proc/sys/kernel/random/boot_id >"$0.new" && mv "$0.new" "$0" && exec "$@""#;

/// Starts a component in a session of its own, so that it outlives the terminal; its output goes to its log.
pub fn start(name: &str, program: &Path, arguments: &[String]) -> Result<()> {
    cache::create_dir(&paths::state("pids"))?;
    cache::create_dir(&paths::state("logs"))?;
    let log = paths::log(name);
    let out = File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    let err = out.try_clone().context("failed to share a log file")?;
    Command::new("setsid")
        .args(["sh", "-c", RECORD_AND_BECOME])
        .arg(record(name))
        .arg(program)
        .args(arguments)
        .current_dir(paths::STATE)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !record(name).exists() {
        if Instant::now() > deadline {
            bail!("failed to start {name}: it did not record itself");
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether the recorded process of this component still runs.
pub fn is_running(name: &str) -> bool {
    fs::read_to_string(record(name)).ok().and_then(|text| Process::from_record(&text)).is_some_and(|p| p.runs())
}

/// Every recorded process that still runs, whatever component it is.
pub fn recorded() -> Vec<Process> {
    let Ok(records) = fs::read_dir(paths::state("pids")) else {
        return Vec::new();
    };
    records
        .flatten()
        .filter_map(|entry| Process::from_record(&fs::read_to_string(entry.path()).ok()?))
        .filter(Process::runs)
        .collect()
}

/// Running processes whose command line satisfies `ours`.
pub fn by_command_line(ours: impl Fn(&[String]) -> bool) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> =
                line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            ours(&words)
        })
        .filter_map(Process::of)
        .collect()
}

/// Ends these processes at once and returns when they are gone.
pub fn end(processes: &[Process]) -> Result<()> {
    for process in processes.iter().filter(|process| process.runs()) {
        if let Some(pid) = Pid::from_raw(process.pid) {
            // It may have ended since; whether it is gone is looked at below.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(left) = processes.iter().find(|process| process.runs()) {
        if Instant::now() > deadline {
            bail!("failed to end process {}", left.pid);
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn record(name: &str) -> PathBuf {
    paths::state("pids").join(name)
}

/// A process, told apart from a later one with the same id by its start time and the machine's boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Clock ticks since the machine's boot.
    start_time: u64,
    boot_id: String,
}

impl Process {
    /// The process that has this id now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Self::from_record(&format!("{}\n{boot_id}", stat.trim_end()))
    }

    /// Parses a record: the line of `/proc/PID/stat`, then the boot id.
    fn from_record(record: &str) -> Option<Self> {
        let mut lines = record.lines();
        let stat = Stat::parse(lines.next()?)?;
        let boot_id = lines.next()?.trim().to_owned();
        Some(Self { pid: stat.pid, start_time: stat.start_time, boot_id })
    }

    /// Whether this very process still runs. One that ended and waits for its parent does not run.
    fn runs(&self) -> bool {
        let ended = fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| Stat::parse(&stat))
            .is_none_or(|stat| matches!(stat.state, 'Z' | 'X'));
        !ended && Self::of(self.pid).as_ref() == Some(self)
    }
}

/// What matters of a line of `/proc/PID/stat`.
struct Stat {
    pid: i32,
    state: char,
    start_time: u64,
}

impl Stat {
    /// The command's name is in parentheses and may itself hold spaces and parentheses: the fields count from the last one.
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.rsplit_once(") ")?;
        let fields: Vec<_> = after.split_whitespace().collect();
        Some(Self {
            pid: before.split_once(' ')?.0.parse().ok()?,
            state: fields.first()?.chars().next()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 2 3\nboot-1\n";

    #[test]
    fn a_record_is_read_although_the_name_holds_parentheses() {
        let expected = Process { pid: 4242, start_time: 987_654, boot_id: "boot-1".to_owned() };
        assert_eq!(Process::from_record(RECORD), Some(expected));
    }

    #[test]
    fn this_process_runs_and_one_of_another_boot_does_not() {
        let here = Process::of(std::process::id() as i32).expect("this process is in /proc");
        assert!(here.runs());
        assert!(!Process { boot_id: "another".to_owned(), ..here.clone() }.runs());
        assert!(!Process { start_time: here.start_time + 1, ..here }.runs());
    }
}
