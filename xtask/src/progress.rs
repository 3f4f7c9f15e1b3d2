//! Runs commands whose noise goes to a log file, and tells how long they take.

use std::fs::{self, File};
use std::io::{IsTerminal, Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache;

/// How often a line is printed for a command that still runs when the output is not a terminal.
const REMINDER: Duration = Duration::from_secs(30);

/// Runs a long command, its output in `log`; when it fails, the error carries the log's last 30 lines.
pub fn run(title: &str, command: &mut Command, log: &Path) -> Result<()> {
    if let Some(folder) = log.parent() {
        cache::create_dir(folder)?;
    }
    let out = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
    let err = out.try_clone().context("failed to share a log file")?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .with_context(|| format!("failed to start {program}"))?;
    let mut ticker = Ticker::new(title);
    let status = loop {
        match child.try_wait().with_context(|| format!("failed to wait for {program}"))? {
            Some(status) => break status,
            None => ticker.tick(),
        }
        sleep(Duration::from_millis(100));
    };
    if !status.success() {
        ticker.fail();
        bail!("failed: {title} ({program}: {status})\n{}", tail(log));
    }
    ticker.done();
    Ok(())
}

/// Polls until `ready` gives a value, and shows for how long; `Ok(Err(what))` says what is still missing.
pub fn wait<T>(title: &str, limit: Duration, mut ready: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let mut ticker = Ticker::new(title);
    let result = poll(title, limit, || {
        let answer = ready()?;
        ticker.tick();
        Ok(answer)
    });
    match result {
        Ok(_) => ticker.done(),
        Err(_) => ticker.fail(),
    }
    result
}

/// Polls until `ready` gives a value, without a word; `Ok(Err(what))` says what is still missing.
pub fn poll<T>(title: &str, limit: Duration, mut ready: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let start = Instant::now();
    loop {
        match ready()? {
            Ok(value) => return Ok(value),
            Err(missing) if start.elapsed() > limit => {
                bail!("failed: {title}: after {} s still: {missing}", limit.as_secs());
            }
            Err(_) => sleep(Duration::from_millis(300)),
        }
    }
}

/// Runs a short command and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {program}"))?;
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("failed: {program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last 30 lines of a log and where it is.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(30)..].join("\n");
    format!("{last}\nthe whole log: {}", log.display())
}

/// One line that says what goes on and for how long.
struct Ticker {
    title: String,
    start: Instant,
    printed: Instant,
}

impl Ticker {
    fn new(title: &str) -> Self {
        let now = Instant::now();
        Self { title: title.to_owned(), start: now, printed: now }
    }

    fn tick(&mut self) {
        let elapsed = self.start.elapsed();
        if stdout().is_terminal() {
            print!("\r  {} … {} s", self.title, elapsed.as_secs());
            let _ = stdout().flush();
        } else if self.printed.elapsed() > REMINDER {
            println!("  {} … {} s", self.title, elapsed.as_secs());
            self.printed = Instant::now();
        }
    }

    fn done(&self) {
        self.end(&format!("{:.1} s", self.start.elapsed().as_secs_f32()));
    }

    fn fail(&self) {
        self.end("failed");
    }

    fn end(&self, how: &str) {
        let rewrite = if stdout().is_terminal() { "\r" } else { "" };
        println!("{rewrite}  {}: {how}      ", self.title);
    }
}
