//! The writes of one copy to the apiserver, as its watch and its events tell, and a client that makes them again for others: what the
//! apiserver alone needs for them.

use std::ops::RangeInclusive;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use serde_json::{Value, json};

use super::super::method::{SECONDS, Sample};
use super::apiserver::AT_ONCE;
use super::stub::{SIX, Stub};
use super::swarm::{INTERVAL, Pace, Place, copy, wait};
use super::{PASS, running};

/// The copy whose writes are recorded.
const RECORDED: &str = "many-recorded";
/// The share of copies whose writes stay below what is told: a copy has about four passes, and one of them makes the dearest writes, so that
/// 99 of 100 passes leave out as many as 96 of 100 copies.
const SHARE: f64 = 0.96;

/// How many events are written at once, beside the rest: as many as the operator writes.
const LANES: usize = 4;

/// The writes of one copy.
struct Writes<'a> {
    place: &'a Place<'a>,
    writes: Vec<Write>,
    events: Vec<Value>,
}

/// One write to the object.
enum Write {
    Finalizers(Value),
    Status(Value),
}

/// Records one copy between engines in memory, and makes its writes again for so many, while no operator runs.
pub async fn sample(place: &Place<'_>, stub: &Stub, copies: usize, pace: Pace) -> Result<Sample> {
    running::start()?;
    place.remove().await?;
    stub.clean();
    place.set_clusters(&stub.search_clusters())?;
    let writes = Writes::record(place).await?;
    running::stop()?;
    let (told, events) = unbounded();
    let (written, posted) = future::join(writes.all(copies, pace, told), writes.tell(events)).await;
    posted?;
    let (each, seconds) = written?;
    place.remove().await?;
    let below = below(SHARE, each).context("failed: nothing was written")?;
    let count = (writes.writes.len() + writes.events.len()) as f64;
    Ok(Sample::from([(SECONDS.to_owned(), seconds), (PASS.to_owned(), below), ("writesPerCopy".to_owned(), count)]))
}

impl<'a> Writes<'a> {
    async fn record(place: &'a Place<'a>) -> Result<Self> {
        let api = place.api;
        let list = api.get(&format!("{}?limit=1", place.reindexes())).await?;
        let since = list["metadata"]["resourceVersion"].as_str().context("failed: a list has no resourceVersion")?;
        let done = place.one(place.reindex(RECORDED, ["src", "dst"], SIX)).await?;
        let selector = format!("metadata.name={RECORDED}");
        let watched = api.watched(&place.reindexes(), &selector, since).await?;
        let versions: Vec<&Value> =
            watched.iter().filter(|event| event["type"] != "DELETED").map(|event| &event["object"]).collect();
        let writes = versions.windows(2).map(|pair| {
            match pair[0]["metadata"]["finalizers"] == pair[1]["metadata"]["finalizers"] {
                true => Write::Status(pair[1]["status"].clone()),
                false => Write::Finalizers(pair[1]["metadata"]["finalizers"].clone()),
            }
        });
        let writes: Vec<_> = writes.collect();
        let uid = done["metadata"]["uid"].as_str().context("failed: it has no uid")?;
        let events = recorded_events(place, uid).await?;
        let is_whole = versions.last().is_some_and(|last| last["status"] == done["status"]);
        if !is_whole {
            bail!("failed: not all of its {} writes were recorded", writes.len());
        }
        Ok(Self { place, writes, events })
    }

    /// For so many copies: how many seconds each took, and how many all of them. Events are written beside, and may come later.
    async fn all(&self, copies: usize, pace: Pace, told: UnboundedSender<Value>) -> Result<(Vec<f64>, f64)> {
        let begin = Instant::now();
        let one = |number| self.again(copy(number), &told);
        let each = match pace {
            Pace::AtOnce => stream::iter((0..copies).map(one)).buffer_unordered(AT_ONCE).try_collect().await?,
            Pace::InTurn => {
                let mut each = vec![];
                for number in 0..copies {
                    each.push(one(number).await?);
                    tokio::time::sleep(INTERVAL).await;
                }
                each
            }
        };
        Ok((each, begin.elapsed().as_secs_f64()))
    }

    async fn tell(&self, events: impl Stream<Item = Value>) -> Result<()> {
        let path = events_of(self.place);
        events
            .map(Ok)
            .try_for_each_concurrent(LANES, |event| async { self.place.api.post(&path, event).await.map(drop) })
            .await
    }

    /// Those of the pass that makes the most: from the finalizer to the last status.
    fn of_one_pass(&self) -> RangeInclusive<usize> {
        let is_status = |write: &Write| matches!(write, Write::Status(_));
        let begin = self.writes.iter().position(|write| !is_status(write));
        let end = self.writes.iter().rposition(is_status);
        begin.unwrap_or_default()..=end.unwrap_or_default()
    }

    /// For one copy, one write after the other: how many seconds those of one pass took.
    async fn again(&self, name: String, told: &UnboundedSender<Value>) -> Result<f64> {
        let (api, reindexes) = (self.place.api, self.place.reindexes());
        let renamed = |value: &Value| serde_json::from_str::<Value>(&value.to_string().replace(RECORDED, &name));
        let mut object = api.post(&reindexes, self.place.reindex(&name, ["src", "dst"], SIX)).await?;
        let path = format!("{reindexes}/{name}");
        let (measured, mut seconds) = (self.of_one_pass(), 0.0);
        for (number, write) in self.writes.iter().enumerate() {
            let begin = Instant::now();
            object = match write {
                Write::Status(status) => {
                    object["status"] = renamed(status)?;
                    api.put(&format!("{path}/status"), object).await?
                }
                Write::Finalizers(finalizers) => {
                    let version = &object["metadata"]["resourceVersion"];
                    let metadata = json!({"finalizers": finalizers, "resourceVersion": version});
                    api.merge(&path, json!({"metadata": metadata})).await?
                }
            };
            if measured.contains(&number) {
                seconds += begin.elapsed().as_secs_f64();
            }
        }
        for (number, event) in self.events.iter().enumerate() {
            let mut event = renamed(event)?;
            let uid = &object["metadata"]["uid"];
            event["metadata"] = json!({"name": format!("{name}.{}.{number}", uid.as_str().unwrap_or_default())});
            event["regarding"]["uid"] = uid.clone();
            told.unbounded_send(event).context("failed: nobody writes the events")?;
        }
        Ok(seconds)
    }
}

/// The events of the recorded copy: the operator writes them after the rest, the last one last.
async fn recorded_events(place: &Place<'_>, uid: &str) -> Result<Vec<Value>> {
    let path = format!("{}?fieldSelector=regarding.uid={uid}", events_of(place));
    let all = async || {
        let found = place.api.get(&path).await?;
        let events = found["items"].as_array().cloned().unwrap_or_default();
        Ok(events.iter().any(|event| event["reason"] == "Complete").then_some(events))
    };
    wait("an event says that the recorded copy is complete", all).await
}

fn events_of(place: &Place<'_>) -> String {
    format!("/apis/events.k8s.io/v1/namespaces/{}/events", place.namespace)
}

/// What so large a share of the numbers stays below.
fn below(share: f64, mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let at = (numbers.len() as f64 * share).ceil() as usize;
    numbers.get(at.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_numbers_stays_below() {
        let numbers = || (1..=100).rev().map(f64::from).collect();
        assert_eq!(below(0.96, numbers()), Some(96.0));
        assert_eq!(below(1.0, numbers()), Some(100.0));
        assert_eq!(below(0.5, vec![3.0]), Some(3.0));
        assert_eq!(below(0.5, vec![]), None);
    }
}
