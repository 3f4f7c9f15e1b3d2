//! Single documents: which versions both sides hold, and deleting some as they were seen.

use std::time::Duration;

use reqwest::Method;
use serde::de::Error as _;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::SearchError;
use super::name::one_index;
use super::scan::{Hit, Pages, Scan};

/// Documents in a page.
const PAGE: u32 = 1000;
const SLOW_TIMEOUT: Duration = Duration::from_secs(120);

/// A document without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentVersion {
    /// Its `_id`.
    pub id: String,
    /// Its routing, where it has one of its own.
    pub routing: Option<String>,
    /// Its version.
    pub version: u64,
}

impl DocumentVersion {
    fn of(hit: &Hit<'_>) -> DocumentVersion {
        DocumentVersion { id: hit.id.to_string(), routing: hit.routing().map(str::to_owned), version: hit.version }
    }
}

/// A document as an index holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its `_id`.
    pub id: String,
    /// The routing by which it was looked up.
    pub routing: Option<String>,
    /// Its version.
    pub version: u64,
    /// The write that left it so: `_seq_no` and `_primary_term`. Any later write has others.
    pub write: (u64, u64),
}

impl Held {
    /// None where the engine does not tell which write left it so.
    fn of(wanted: &DocumentVersion, hit: &Hit<'_>) -> Option<Held> {
        let DocumentVersion { id, routing, .. } = wanted;
        Some(Held { id: id.clone(), routing: routing.clone(), version: hit.version, write: hit.write? })
    }
}

/// Ids and versions of documents, a page at a time. To be [ended](VersionPages::end).
pub struct VersionPages {
    pages: Pages,
    left: usize,
    whole: bool,
}

impl VersionPages {
    /// The next page; None at the end, or where no more may be read.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed, 404 where the next page was not asked for too long.
    pub async fn next(&mut self) -> Result<Option<Vec<DocumentVersion>>, SearchError> {
        let mut documents = vec![];
        self.whole = self.pages.next(|hit| documents.push(DocumentVersion::of(hit))).await? == 0;
        if self.whole || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(documents))
    }

    /// Lets go of what the cluster keeps open. Whether every page was read.
    pub async fn end(self) -> bool {
        self.pages.end().await;
        self.whole
    }
}

impl SearchClient {
    /// Begins to read ids and versions of documents that match, at most so many pages.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed.
    pub async fn versions(
        &self,
        name: &str,
        query: Option<&Value>,
        most_pages: usize,
    ) -> Result<VersionPages, SearchError> {
        let window = self.max_result_window(name).await?.and_then(|window| u32::try_from(window).ok());
        let scan = Scan {
            query,
            content: None,
            page: window.map_or(PAGE, |window| window.min(PAGE)),
            drawn_by: None,
            slice: None,
            limit: usize::MAX,
        };
        Ok(VersionPages { pages: self.scan(name, &scan).await?, left: most_pages, whole: false })
    }

    /// Versions of these documents in one index, as they were written last, refreshed or not; those that are not there are left out.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where one could not be looked up: it may be there.
    pub async fn versions_of(&self, index: &str, documents: &[DocumentVersion]) -> Result<Vec<Held>, SearchError> {
        // The engines refuse to look nothing up.
        if documents.is_empty() {
            return Ok(vec![]);
        }
        let wanted: Vec<_> = documents.iter().map(|document| (document.id.clone(), document.routing.clone())).collect();
        let mut held = vec![];
        // The routing is not answered where the content isn't wanted.
        let take = |at: usize, hit: Option<&Hit<'_>>| held.extend(hit.map(|hit| Held::of(&documents[at], hit)));
        self.look_up(index, &wanted, false, usize::MAX, take).await?;
        let lacks = || SearchError::Decode {
            what: "look-up",
            source: serde_json::Error::custom("a document has no number of its last write"),
        };
        held.into_iter().collect::<Option<_>>().ok_or_else(lacks)
    }

    /// Whether a search that finds only this document, with these fields, has a larger answer than `limit` in bytes.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn is_larger_than(
        &self,
        name: &str,
        document: &DocumentVersion,
        (includes, excludes): (&[String], &[String]),
        limit: usize,
    ) -> Result<bool, SearchError> {
        let body = json!({
            "size": 1,
            "query": { "ids": { "values": [document.id] } },
            "_source": { "includes": includes, "excludes": excludes },
        });
        let call = self.call(Method::POST, "size", &[one_index(name)?, "_search"]);
        call.body(body).timeout(SLOW_TIMEOUT).exceeds(limit).await
    }

    /// Deletes a document as it was seen (`DELETE /{index}/_doc/{id}`). One that is not there is fine, and one that was written since stays:
    /// whoever did that, such as the next leader after this process was frozen, may have put right what was wrong with it.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_document(&self, index: &str, seen: &Held) -> Result<(), SearchError> {
        let (number, term) = seen.write;
        let mut call = self
            .call(Method::DELETE, "deletion", &[one_index(index)?, "_doc", &seen.id])
            .query("if_seq_no", &number.to_string())
            .query("if_primary_term", &term.to_string());
        if let Some(routing) = &seen.routing {
            call = call.query("routing", routing);
        }
        match call.bytes().await {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other.map(drop),
        }
    }
}
