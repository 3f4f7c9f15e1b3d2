//! Copies by hand with the remote `_reindex` API: one request as Elasticsearch has it, or several over ranges of sequence
//! numbers, as a person would do it who knows how.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::corpus::Corpus;
use super::method::{SECONDS, Sample};
use super::world::{COPY, Route, World};

/// How long a copy may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Copies with so many requests; without a `size` everything is left as Elasticsearch has it.
pub async fn run(world: &World, corpus: &Corpus, route: Route, tasks: usize, size: Option<usize>) -> Result<Sample> {
    world.create(size.map(|_| "-1")).await?;
    let ranges = ranges(operations(world, corpus).await?, tasks);
    let begin = Instant::now();
    let mut running = Vec::new();
    for range in &ranges {
        let mut source = json!({"remote": world.remote(route), "index": corpus.index()});
        if let Some(size) = size {
            source["size"] = size.into();
        }
        if let (true, (from, to)) = (tasks > 1, range) {
            source["query"] = json!({"range": {"_seq_no": {"gte": from, "lt": to}}});
        }
        let request = json!({"source": source, "dest": {"index": COPY}});
        let (status, answer) =
            world.destination.request(Method::POST, "/_reindex?wait_for_completion=false", Some(&request)).await?;
        let task = answer["task"].as_str().with_context(|| format!("failed: _reindex: {status} {answer}"))?;
        running.push(task.to_owned());
    }
    for task in &running {
        wait(world, task, begin).await?;
    }
    // What isn't refreshed can't be searched: the copy isn't of use before.
    if size.is_some() {
        world.destination.request(Method::POST, &format!("/{COPY}/_refresh"), None).await?;
    }
    Ok(Sample::from([(SECONDS.to_owned(), begin.elapsed().as_secs_f64())]))
}

/// Waits until a task has ended well.
async fn wait(world: &World, task: &str, begin: Instant) -> Result<()> {
    loop {
        let answer = world.destination.get(&format!("/_tasks/{task}")).await?;
        if answer["completed"] == true {
            let failures = &answer["response"]["failures"];
            if !answer["error"].is_null() || failures.as_array().is_none_or(|failures| !failures.is_empty()) {
                bail!("failed: _reindex: {}", reason(&answer));
            }
            return Ok(());
        }
        if begin.elapsed() > LIMIT {
            bail!("failed: _reindex has not ended after {} s", LIMIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The innermost reason, which is the one that says something.
fn reason(answer: &Value) -> String {
    let mut error = &answer["error"];
    if error.is_null() {
        error = &answer["response"]["failures"][0]["cause"];
    }
    while error["caused_by"].is_object() {
        error = &error["caused_by"];
    }
    let text = error["reason"].as_str().map_or_else(|| answer.to_string(), str::to_owned);
    text.chars().take(200).collect()
}

/// How many sequence numbers the index has given out.
async fn operations(world: &World, corpus: &Corpus) -> Result<u64> {
    let index = corpus.index();
    let stats = world.source.get(&format!("/{index}/_stats?level=shards&filter_path=indices.*.shards")).await?;
    let shards = stats["indices"][&index]["shards"].as_object().context("failed to find the source's shards")?;
    let copies = shards.values().filter_map(Value::as_array).flatten();
    let largest = copies.filter_map(|copy| copy["seq_no"]["max_seq_no"].as_u64()).max();
    Ok(largest.context("failed to find the source's sequence numbers")? + 1)
}

/// `count` ranges of about the same length that together hold the numbers below `end`: begin, and the end that is out.
fn ranges(end: u64, count: usize) -> Vec<(u64, u64)> {
    let count = count as u64;
    (0..count).map(|number| (end * number / count, end * (number + 1) / count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other_from_nothing_to_the_end() {
        assert_eq!(ranges(10, 3), [(0, 3), (3, 6), (6, 10)]);
        assert_eq!(ranges(10, 1), [(0, 10)]);
    }

    #[test]
    fn the_innermost_reason_is_told() {
        let answer = json!({"error": {"reason": "outer", "caused_by": {"reason": "inner"}}});
        assert_eq!(reason(&answer), "inner");
        let answer = json!({"response": {"failures": [{"cause": {"reason": "a document"}}]}});
        assert_eq!(reason(&answer), "a document");
    }
}
