//! The operator's process, and what it tells of itself.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::memory::{RESIDENT as VM_RSS, SETTLED, mebibytes};
use super::super::method::Sample;
use super::{RESIDENT, SEEN_ALL, http_client};
use crate::operator;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How long after a look the next follows.
const PAUSE: Duration = Duration::from_millis(50);

/// Ends the operator, and waits until its process is gone.
pub fn stop() -> Result<()> {
    operator::scale(0)?;
    wait("the operator ends", || Ok(operator::processes().is_empty().then_some(())))
}

/// Has one operator run.
pub fn start() -> Result<()> {
    operator::scale(1)
}

/// A running operator.
pub struct Operator {
    pid: i32,
    metrics: Metrics,
}

impl Operator {
    /// One that was just started anew.
    pub async fn started() -> Result<Self> {
        stop()?;
        start()?;
        Self::running().await
    }

    /// The one that runs.
    pub async fn running() -> Result<Self> {
        let pid = wait("the operator starts", || {
            let found = operator::processes();
            Ok(found.first().copied().filter(|_| found.len() == 1))
        })?;
        let address = wait("its pod has an address", operator::address)?;
        Ok(Self { pid, metrics: Metrics::of(format!("http://{address}:8080/metrics"))? })
    }

    /// What it tells of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits until it has looked at that many Reindexes, and until it has settled.
    pub async fn seen(&self, reindexes: usize) -> Result<Sample> {
        let passes = r#"reindex_operator_reconcile_duration_seconds_count{kind="Reindex"}"#;
        seen(self.pid, &self.metrics, passes, reindexes).await
    }
}

/// What a process says in the format of Prometheus.
pub struct Metrics {
    http: reqwest::Client,
    url: String,
}

impl Metrics {
    /// Those at this address.
    pub fn of(url: String) -> Result<Self> {
        Ok(Self { http: http_client(Duration::from_secs(10))?, url })
    }

    /// All of them; `None` while nobody answers.
    pub async fn text(&self) -> Option<String> {
        self.http.get(&self.url).send().await.ok()?.text().await.ok()
    }
}

/// The number on the first line that begins so; 0 where there is none, which is what a counter is that nothing has counted.
pub fn number(text: &str, begin: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(begin)?.split_whitespace().next()?.parse().ok());
    line.unwrap_or_default()
}

/// Waits until this number says that a process has seen all its objects, lets it settle, and tells how long it took and what it holds.
pub async fn seen(pid: i32, metrics: &Metrics, counter: &str, objects: usize) -> Result<Sample> {
    let begin = Instant::now();
    let age = loop {
        if metrics.text().await.is_some_and(|text| number(&text, counter) >= objects as f64) {
            break age(pid)?;
        }
        if begin.elapsed() > LIMIT {
            bail!("failed: {objects} objects are not all seen after {} s", LIMIT.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    };
    thread::sleep(SETTLED);
    // As a Prometheus does, which reads them all the time.
    metrics.text().await.context("failed to read the metrics")?;
    Ok(Sample::from([(SEEN_ALL.to_owned(), age), (RESIDENT.to_owned(), mebibytes(pid, VM_RSS)?)]))
}

/// Seconds since a process was started, to a hundredth.
fn age(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}: it ended"))?;
    // The program's name stands in parentheses and may hold anything; the start is the twentieth field after it.
    let started = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse::<f64>().ok());
    let uptime = fs::read_to_string("/proc/uptime").context("failed to read how long the machine runs")?;
    let uptime = uptime.split_whitespace().next().and_then(|seconds| seconds.parse::<f64>().ok());
    let (started, uptime) = started.zip(uptime).with_context(|| format!("failed to parse {path}"))?;
    // Ticks are hundredths of a second on every Linux that this runs on.
    Ok(uptime - started / 100.0)
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begin.elapsed() > LIMIT {
            bail!("failed: waited {} s until {what}", LIMIT.as_secs());
        }
        thread::sleep(PAUSE);
    }
}

/// The seconds below which 99 of 100 passes over a Reindex stayed without their waits for engines, of those between two looks: within the
/// bucket as if they were spread evenly, as Prometheus reckons.
pub fn percentile(before: &str, after: &str) -> Option<f64> {
    let buckets = |text: &str| {
        let begin = "reindex_operator_reconcile_own_duration_seconds_bucket{le=\"";
        let lines = text.lines().filter_map(|line| line.strip_prefix(begin));
        let of_reindexes = lines.filter_map(|line| line.split_once(r#"",kind="Reindex"} "#));
        of_reindexes.map(|(bound, count)| (bound.to_owned(), count.parse().unwrap_or(0.0))).collect::<Vec<(_, f64)>>()
    };
    let earlier = buckets(before);
    let count = |(bound, count): (String, f64)| {
        let before = earlier.iter().find(|(other, _)| *other == bound).map_or(0.0, |(_, before)| *before);
        (bound.parse().unwrap_or(f64::INFINITY), count - before)
    };
    let counts: Vec<(f64, f64)> = buckets(after).into_iter().map(count).collect();
    let wanted = counts.last()?.1 * 0.99;
    let at = counts.iter().position(|(_, count)| *count >= wanted && *count > 0.0)?;
    let (bound, count) = counts[at];
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { counts[at - 1] };
    Some(if bound.is_infinite() { lower } else { lower + (bound - lower) * (wanted - below) / (count - below) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(counts: [u64; 4]) -> String {
        let line = |(bound, count)| {
            format!(
                "reindex_operator_reconcile_own_duration_seconds_bucket{{le=\"{bound}\",kind=\"Reindex\"}} {count}\n"
            )
        };
        ["0.01", "0.05", "0.1", "+Inf"].into_iter().zip(counts).map(line).collect()
    }

    #[test]
    fn a_percentile_is_within_its_bucket_and_of_what_came_since() {
        let before = text([50, 50, 50, 50]);
        let microseconds = |before: &str, after: &str| percentile(before, after).map(|seconds| (seconds * 1e6).round());
        assert_eq!(microseconds("", &text([100, 100, 100, 100])), Some(9_900.0));
        assert_eq!(microseconds(&before, &text([148, 150, 150, 150])), Some(30_000.0));
        assert_eq!(microseconds(&before, &text([50, 50, 50, 150])), Some(100_000.0));
        assert_eq!(microseconds(&before, &before), None);
    }

    #[test]
    fn a_number_is_found_by_its_whole_name() {
        let text = "passes_count{kind=\"SearchCluster\"} 7\npasses_count{kind=\"Reindex\"} 12 1700000000\n";
        assert_eq!((number(text, "passes_count{kind=\"Reindex\"}"), number(text, "others")), (12.0, 0.0));
    }
}
