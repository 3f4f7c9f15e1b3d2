//! A copy by the operator: from before `kubectl apply` until the object is seen to be complete.

use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::corpus::Corpus;
use super::memory::Memory;
use super::method::{Besides, GROWTH, IDLE_WRITES, OVERHEAD, PROOF, SECONDS, Sample, TOOK, WRITES};
use super::world::{COPY, NAMESPACE, Route, World};
use crate::{kubectl, operator, paths};

/// How long a copy may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// How long a finished object is watched for writes.
const IDLE: Duration = Duration::from_secs(20);

/// Applies a Reindex and waits for its end.
pub async fn run(
    world: &World,
    corpus: &Corpus,
    route: Route,
    (execution, level): (&Value, &str),
    besides: Besides,
) -> Result<Sample> {
    let memory = match besides {
        Besides::Restart => Some(Memory::of_restarted()?),
        _ => None,
    };
    let versions = Versions::watch()?;
    let object = manifest(corpus, route, execution, level);
    let log = log_length()?;
    let begin = Instant::now();
    kubectl::apply(&[object])?;
    let mut kill = (besides == Besides::Kill).then_some(Kill { half: corpus.documents as u64 / 2, asked: false });
    let mut verifying = None;
    let (end, status) = loop {
        if let Some((at, status)) = versions.next()? {
            if verifying.is_none() && is_verifying(&status) {
                verifying = Some(at);
            }
            if condition(&status, "Complete").is_some() {
                break (at, status);
            }
            if let Some(failed) = condition(&status, "Failed") {
                bail!("failed: the Reindex failed: {}: {}", failed["reason"], failed["message"]);
            }
        }
        if begin.elapsed() > LIMIT {
            bail!("failed: the Reindex is not complete after {} s\n{}", LIMIT.as_secs(), operator::log());
        }
        if let Some(kill) = &mut kill {
            kill.look(world).await?;
        }
    };
    if kill.is_some_and(|kill| !kill.asked) || world.near.spare() {
        bail!("failed: the copy ended before one of its tasks could be killed");
    }
    let seconds = end.duration_since(begin).as_secs_f64();
    let mut sample = Sample::from([(SECONDS.to_owned(), seconds)]);
    if let Some(verifying) = verifying {
        let refreshing = world.refreshing().await?;
        sample.insert(PROOF.to_owned(), end.duration_since(verifying).as_secs_f64() - refreshing);
    }
    if let Some(memory) = memory {
        sample.insert(GROWTH.to_owned(), memory.growth()?);
    }
    // With several tasks it is the sum of what they took beside each other.
    if let (true, Some(took)) = (execution["partitions"] == 1, status["result"]["took"].as_f64()) {
        sample.insert(TOOK.to_owned(), took / 1000.0);
        sample.insert(OVERHEAD.to_owned(), seconds - took / 1000.0);
    }
    if besides == Besides::CountWrites {
        // The write that completed it is logged when it is answered, a moment after it is seen.
        thread::sleep(Duration::from_secs(1));
        let finished = log_length()?;
        sample.insert(WRITES.to_owned(), writes(log, finished)? as f64);
        thread::sleep(IDLE);
        sample.insert(IDLE_WRITES.to_owned(), writes(finished, log_length()?)? as f64);
    }
    Ok(sample)
}

fn manifest(corpus: &Corpus, route: Route, execution: &Value, level: &str) -> Value {
    let mut object = json!({
        "apiVersion": "reindex.dev/v1alpha1",
        "kind": "Reindex",
        "metadata": {"name": COPY, "namespace": NAMESPACE},
        "spec": {
            "source": {"clusterRef": {"name": route.search_cluster()}, "index": corpus.index()},
            "destination": {
                "clusterRef": {"name": "dst"},
                "index": COPY,
                "settings": {"numberOfReplicas": 0}
            },
            "verification": {"level": level}
        }
    });
    if !execution.is_null() {
        object["spec"]["execution"] = execution.clone();
    }
    object
}

/// Whether the step Verify has begun.
fn is_verifying(status: &Value) -> bool {
    let steps = status["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    steps.iter().any(|step| step["name"] == "Verify")
}

/// A condition that holds.
fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// The object's versions as they come: when, and the status.
struct Versions {
    kubectl: Child,
    seen: Receiver<(Instant, Value)>,
}

impl Versions {
    /// Begins before the object exists, so that kubectl's start is not measured.
    fn watch() -> Result<Self> {
        let mut kubectl = kubectl::command()
            .args(["get", "reindexes", "--namespace", NAMESPACE, "--watch", "--output=json"])
            .arg(format!("--field-selector=metadata.name={COPY}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start kubectl get --watch")?;
        let output = kubectl.stdout.take().expect("the standard output is piped");
        let (sender, seen) = mpsc::channel();
        thread::spawn(move || {
            let objects = serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter::<Value>();
            for object in objects.map_while(Result::ok) {
                if sender.send((Instant::now(), object["status"].clone())).is_err() {
                    return;
                }
            }
        });
        thread::sleep(Duration::from_secs(1));
        Ok(Self { kubectl, seen })
    }

    /// Waits a moment for the next version.
    fn next(&self) -> Result<Option<(Instant, Value)>> {
        match self.seen.recv_timeout(Duration::from_millis(50)) {
            Ok(version) => Ok(Some(version)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("failed: kubectl get --watch ended"),
        }
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// Kills one task at half-way. Cancelling it would be a person's word, which the operator obeys; a task is killed by
/// cutting its connection to the source.
struct Kill {
    half: u64,
    asked: bool,
}

impl Kill {
    async fn look(&mut self, world: &World) -> Result<()> {
        if self.asked {
            return Ok(());
        }
        let path = format!("/{COPY}/_stats/indexing?filter_path=_all.primaries.indexing.index_total");
        // Before the index is created there is nothing to read.
        let (_, stats) = world.destination.request(reqwest::Method::GET, &path, None).await?;
        let indexed = stats["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or(0);
        if indexed >= self.half {
            world.near.cut_one();
            self.asked = true;
        }
        Ok(())
    }
}

fn log_length() -> Result<u64> {
    let log = paths::audit_log();
    Ok(fs::metadata(&log).with_context(|| format!("failed to read {}", log.display()))?.len())
}

/// How often the operator wrote to the object, by this part of the apiserver's audit log.
fn writes(begin: u64, end: u64) -> Result<usize> {
    let path = paths::audit_log();
    let mut log = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
    log.seek(SeekFrom::Start(begin)).context("failed to seek in the audit log")?;
    let mut text = String::new();
    log.take(end.saturating_sub(begin)).read_to_string(&mut text).context("failed to read the audit log")?;
    Ok(text.lines().filter(|line| serde_json::from_str(line).is_ok_and(|event| is_write(&event))).count())
}

fn is_write(event: &Value) -> bool {
    let (verb, object) = (event["verb"].as_str().unwrap_or_default(), &event["objectRef"]);
    matches!(verb, "create" | "update" | "patch" | "delete")
        && object["resource"] == "reindexes"
        && object["namespace"] == NAMESPACE
        && object["name"] == COPY
        && event["responseStatus"]["code"].as_i64().is_some_and(|code| code < 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_one_to_the_object_or_its_status_that_was_taken() {
        let event = json!({
            "verb": "patch",
            "objectRef": {"resource": "reindexes", "subresource": "status", "namespace": NAMESPACE, "name": COPY},
            "responseStatus": {"code": 200}
        });
        assert!(is_write(&event));
        for (pointer, value) in [
            ("/verb", json!("get")),
            ("/objectRef/resource", json!("leases")),
            ("/objectRef/name", json!("another")),
            ("/responseStatus/code", json!(409)),
        ] {
            let mut other = event.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!is_write(&other), "{pointer}");
        }
    }
}
