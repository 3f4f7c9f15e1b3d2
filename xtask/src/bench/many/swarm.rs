//! Many Reindexes at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::method::{SECONDS, Sample};
use super::PASS;
use super::apiserver::Apiserver;
use super::running::{self, Operator, number, percentile};
use super::stub::{SIX, Stub};
use crate::kubectl;

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(600);
/// How long after a look the next follows; the operator writes its metrics anew for each.
const PAUSE: Duration = Duration::from_millis(500);
/// How long after one Reindex the next is applied, where they come one after the other: much longer than one takes.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// How the names of copied indices begin.
pub const COPIES: &str = "many-";
/// How many documents each copy has.
pub const DOCUMENTS: usize = 6;

/// A namespace and its Reindexes.
pub struct Place<'a> {
    /// The apiserver.
    pub api: &'a Apiserver,
    /// The namespace.
    pub namespace: &'static str,
}

impl Place<'_> {
    /// Where its Reindexes are.
    pub fn reindexes(&self) -> String {
        format!("/apis/reindex.dev/v1alpha1/namespaces/{}/reindexes", self.namespace)
    }

    /// Applies so many Reindexes, and tells after how many seconds all were complete. The operator says so in its metrics: to watch that
    /// many objects would keep the machine from the work.
    pub async fn all_complete(&self, operator: &Operator, copies: usize, index: &str) -> Result<f64> {
        let objects = (0..copies).map(|number| self.reindex(&copy(number), ["src", "dst"], index));
        self.apply_and_wait(operator, copies, self.api.post_all(&self.reindexes(), objects)).await
    }

    /// The same with Reindexes that come one after the other.
    async fn complete_in_turn(&self, operator: &Operator, copies: usize, index: &str) -> Result<f64> {
        let apply = async {
            for number in 0..copies {
                let object = self.reindex(&copy(number), ["src", "dst"], index);
                self.api.post_all(&self.reindexes(), std::iter::once(object)).await?;
                tokio::time::sleep(INTERVAL).await;
            }
            Ok(())
        };
        self.apply_and_wait(operator, copies, apply).await
    }

    async fn apply_and_wait(
        &self,
        operator: &Operator,
        copies: usize,
        apply: impl Future<Output = Result<()>>,
    ) -> Result<f64> {
        let of_phase = |text: &str, phase| number(text, &format!("reindex_operator_reindexes{{phase=\"{phase}\"}}"));
        // Those of other namespaces are counted, too.
        let before = operator.metrics().text().await.context("failed to read the metrics")?;
        let begin = Instant::now();
        apply.await?;
        loop {
            let text = operator.metrics().text().await.context("failed to read the metrics: the operator ended")?;
            let seconds = begin.elapsed().as_secs_f64();
            let since = |phase| of_phase(&text, phase) - of_phase(&before, phase);
            if since("Complete") >= copies as f64 {
                return Ok(seconds);
            }
            if since("Failed") > 0.0 || begin.elapsed() > LIMIT {
                let (complete, failed) = (since("Complete"), since("Failed"));
                bail!("failed: after {seconds:.0} s {complete} Reindexes are complete and {failed} have failed");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One copy from its begin until the operator has let go of it: the object as it is then.
    pub async fn one(&self, object: Value) -> Result<Value> {
        let name = object["metadata"]["name"].as_str().context("failed: it has no name")?.to_owned();
        kubectl::apply(&[object])?;
        let what = format!("reindex/{name}");
        let wait = ["wait", "--for=condition=Complete", &what, "--namespace", self.namespace, "--timeout=300s"];
        let done = match kubectl::run(&wait) {
            Ok(_) => self.released(&name).await,
            Err(error) => Err(error),
        };
        self.remove().await?;
        done
    }

    /// The object, once nothing holds its deletion up any more.
    async fn released(&self, name: &str) -> Result<Value> {
        let released = async || {
            let object = self.api.get(&format!("{}/{name}", self.reindexes())).await?;
            Ok(object["metadata"]["finalizers"].is_null().then_some(object))
        };
        wait(&format!("{name} has no finalizers"), released).await
    }

    /// Puts these SearchClusters in the place of the namespace's others, and waits until the operator knows them.
    pub fn set_clusters(&self, objects: &[Value]) -> Result<()> {
        let namespace = ["--namespace", self.namespace];
        let delete = ["delete", "searchclusters", "--all", "--timeout=60s"];
        kubectl::run(&[&delete[..], &namespace].concat())?;
        if objects.is_empty() {
            return Ok(());
        }
        kubectl::apply(objects)?;
        let ready = ["wait", "--for=condition=Ready", "searchclusters", "--all", "--timeout=120s"];
        kubectl::run(&[&ready[..], &namespace].concat()).map(drop)
    }

    /// Deletes all Reindexes, and waits until they are gone.
    pub async fn remove(&self) -> Result<()> {
        self.api.delete(&self.reindexes()).await?;
        let gone = async || {
            let found = self.api.get(&format!("{}?limit=1", self.reindexes())).await?;
            Ok(found["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
        };
        wait("all Reindexes are gone", gone).await
    }

    /// A Reindex that says only what must be said; the copy has its name.
    pub fn reindex(&self, name: &str, [source, destination]: [&str; 2], index: &str) -> Value {
        json!({
            "apiVersion": "reindex.dev/v1alpha1",
            "kind": "Reindex",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "source": {"clusterRef": {"name": source}, "index": index},
                "destination": {"clusterRef": {"name": destination}, "index": name, "settings": {"numberOfReplicas": 0}}
            }
        })
    }
}

/// Looks from time to time until something is found.
pub async fn wait<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begin.elapsed() > LIMIT {
            bail!("failed: waited {} s until {what}", LIMIT.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How Reindexes come.
#[derive(Clone, Copy)]
pub enum Pace {
    /// All at once.
    AtOnce,
    /// One after the other.
    InTurn,
}

/// Copies between engines in memory: how long until all are complete, and how long a pass takes, without what it
/// waits for engines: that is the operator and the apiserver.
pub async fn against(place: &Place<'_>, stub: &Stub, copies: usize, pace: Pace) -> Result<Sample> {
    running::start()?;
    place.remove().await?;
    stub.clean();
    place.set_clusters(&stub.search_clusters())?;
    let operator = Operator::running().await?;
    let before = operator.metrics().text().await.context("failed to read the metrics")?;
    let seconds = match pace {
        Pace::AtOnce => place.all_complete(&operator, copies, SIX).await?,
        Pace::InTurn => place.complete_in_turn(&operator, copies, SIX).await?,
    };
    let after = operator.metrics().text().await.context("failed to read the metrics")?;
    for name in (0..copies).map(copy) {
        let found = stub.copied(&name);
        if found != DOCUMENTS {
            bail!("failed: {name} has {found} of {DOCUMENTS} documents");
        }
    }
    place.remove().await?;
    let pass = percentile(&before, &after).context("failed: no pass was counted")?;
    Ok(Sample::from([(SECONDS.to_owned(), seconds), (PASS.to_owned(), pass)]))
}

/// The name of a Reindex and of its copy.
pub fn copy(number: usize) -> String {
    format!("{COPIES}{number:04}")
}
