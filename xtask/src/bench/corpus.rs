//! The documents: made up, and the same on every machine and in every run.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::search::SearchClient;

/// How large a `_bulk` request is, in bytes.
const BODY: usize = 5_000_000;
/// How many different words there are.
const WORDS: u64 = 20_000;

/// Documents of one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corpus {
    /// What people call it, and the begin of its index's name.
    pub name: &'static str,
    /// How many documents.
    pub documents: usize,
    /// About how many bytes of JSON each has.
    pub bytes: usize,
}

/// A copy that is all overhead.
pub const SIX: Corpus = Corpus { name: "six", documents: 6, bytes: 250 };
/// Many small documents.
pub const SMALL: Corpus = Corpus { name: "small", documents: 1_000_000, bytes: 250 };
/// Documents of a usual size.
pub const MEDIUM: Corpus = Corpus { name: "medium", documents: 200_000, bytes: 2_400 };
/// Documents of which a thousand are more than `_reindex` takes in a batch.
pub const LARGE: Corpus = Corpus { name: "large", documents: 5_000, bytes: 200_000 };

impl Corpus {
    /// The same with fewer documents: for trying the harness.
    pub fn scaled(self, scale: f64) -> Self {
        let documents = (self.documents as f64 * scale).ceil() as usize;
        Self { documents: documents.clamp(self.documents.min(100), self.documents), ..self }
    }

    /// The index on the source; another number of documents is another index.
    pub fn index(&self) -> String {
        format!("{}-{}", self.name, self.documents)
    }

    /// The index's settings and mappings: one shard, as Elasticsearch makes them when nothing is said.
    pub fn definition(refresh_interval: Option<&str>) -> Value {
        let mut definition = json!({
            "settings": {"number_of_shards": 1, "number_of_replicas": 0},
            "mappings": {"properties": {
                "number": {"type": "long"},
                "category": {"type": "keyword"},
                "price": {"type": "double"},
                "created": {"type": "date"},
                "text": {"type": "text"}
            }}
        });
        if let Some(interval) = refresh_interval {
            definition["settings"]["refresh_interval"] = interval.into();
        }
        definition
    }

    /// Bodies of `_bulk` requests that together hold every document once.
    pub fn bodies(self) -> impl Iterator<Item = String> {
        let mut number = 0;
        std::iter::from_fn(move || {
            let mut body = String::new();
            while number < self.documents && body.len() < BODY {
                let _ = writeln!(body, "{{\"index\":{{\"_id\":\"{number}\"}}}}");
                self.write(number, &mut body);
                body.push('\n');
                number += 1;
            }
            (!body.is_empty()).then_some(body)
        })
    }

    /// Appends one document. Common words are common, as in a language: the index's work depends on that.
    fn write(&self, number: usize, to: &mut String) {
        let end = to.len() + self.bytes - 2;
        let mut random = Random(number as u64);
        let _ = write!(
            to,
            "{{\"number\":{number},\"category\":\"category-{}\",\"price\":{}.{:02},\"created\":\"2024-{:02}-{:02}T08:00:00Z\",\"text\":\"",
            random.below(50),
            random.below(1000),
            random.below(100),
            random.below(12) + 1,
            random.below(28) + 1,
        );
        while to.len() < end {
            let at_random = random.below(1 << 20) as f64 / f64::from(1 << 20);
            word((at_random.powi(3) * WORDS as f64) as u64, to);
            to.push(' ');
        }
        to.push_str("\"}");
    }

    /// Puts the documents on the source, unless they are there.
    pub async fn load(&self, client: &SearchClient) -> Result<()> {
        let index = self.index();
        let (status, found) = client.request(Method::GET, &format!("/{index}/_count"), None).await?;
        if status == 200 && found["count"] == self.documents {
            return Ok(());
        }
        println!("  loading {} documents of about {} bytes", self.documents, self.bytes);
        client.request(Method::DELETE, &format!("/{index}"), None).await?;
        client.put(&format!("/{index}"), &Self::definition(Some("-1"))).await?;
        for body in self.bodies() {
            client.bulk_into(&index, body).await?;
        }
        client.put(&format!("/{index}/_settings"), &json!({"index": {"refresh_interval": null}})).await?;
        client.request(Method::POST, &format!("/{index}/_refresh"), None).await?;
        client.request(Method::POST, &format!("/{index}/_flush"), None).await?;
        let found = client.get(&format!("/{index}/_count")).await?;
        if found["count"] != self.documents {
            bail!("failed to load {index}: it has {} documents", found["count"]);
        }
        at_rest(client, &index).await
    }
}

/// Waits until an index's segments are merged: the merges would take their time from what is measured.
async fn at_rest(client: &SearchClient, index: &str) -> Result<()> {
    let path = format!("/{index}/_stats/merge?filter_path=_all.primaries.merges.current");
    let deadline = std::time::Instant::now() + Duration::from_secs(300);
    loop {
        let merges = client.get(&path).await?["_all"]["primaries"]["merges"]["current"].clone();
        match merges.as_i64().context("failed to read the number of merges")? {
            0 => return Ok(()),
            left if std::time::Instant::now() > deadline => {
                bail!("failed: {index} still merges ({left}) after 300 s")
            }
            _ => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}

/// Writes the word of this rank: frequent ones are short.
fn word(rank: u64, to: &mut String) {
    const SYLLABLES: [&str; 16] =
        ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "ve"];
    let mut left = rank;
    loop {
        to.push_str(SYLLABLES[(left % 16) as usize]);
        left /= 16;
        if left == 0 {
            return;
        }
    }
}

/// SplitMix64: numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_as_large_as_they_are_said_to_be_and_the_same_every_time() {
        for corpus in [SMALL, MEDIUM, LARGE] {
            let few = corpus.scaled(0.0);
            let bodies: Vec<_> = few.bodies().collect();
            assert_eq!(bodies, few.bodies().collect::<Vec<_>>());
            let lines: Vec<_> = bodies.iter().flat_map(|body| body.lines()).collect();
            assert_eq!(lines.len(), 2 * few.documents);
            for document in lines.iter().skip(1).step_by(2) {
                assert!(document.len().abs_diff(corpus.bytes) <= 10, "{} bytes", document.len());
                serde_json::from_str::<Value>(document).unwrap();
            }
        }
    }

    #[test]
    fn scaling_leaves_enough_to_copy_and_adds_nothing() {
        assert_eq!(SMALL.scaled(0.01).documents, 10_000);
        assert_eq!(LARGE.scaled(0.001).documents, 100);
        assert_eq!(SIX.scaled(0.01).documents, 6);
        assert_eq!(SMALL.scaled(1.0), SMALL);
    }
}
