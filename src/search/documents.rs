//! Single documents: which versions both sides hold, and deleting some.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::SearchError;
use super::name::one_index;
use super::request::Shards;

/// How long a scroll is kept between two pages.
const KEEP_ALIVE: &str = "2m";
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

/// A page of a scroll.
struct VersionPage {
    /// What the next page is asked for by.
    scroll_id: String,
    /// None is the end.
    documents: Vec<DocumentVersion>,
}

#[derive(Deserialize)]
struct Scroll {
    #[serde(rename = "_scroll_id")]
    scroll_id: String,
    #[serde(rename = "_shards")]
    shards: Shards,
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_routing", default)]
    routing: Option<String>,
    #[serde(rename = "_version", default)]
    version: Option<u64>,
}

impl Scroll {
    fn page(self) -> Result<VersionPage, SearchError> {
        self.shards.none_failed()?;
        let of =
            |hit: Hit| DocumentVersion { id: hit.id, routing: hit.routing, version: hit.version.unwrap_or_default() };
        Ok(VersionPage { scroll_id: self.scroll_id, documents: self.hits.hits.into_iter().map(of).collect() })
    }
}

/// Ids and versions of documents, a page at a time. To be [ended](VersionPages::end), or the cluster keeps the scroll for two minutes.
pub struct VersionPages<'a> {
    client: &'a SearchClient,
    scroll_id: String,
    /// The first page, until it is asked for.
    ahead: Option<Vec<DocumentVersion>>,
    left: usize,
    whole: bool,
}

impl VersionPages<'_> {
    /// The next page; None at the end, or where no more may be read.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed, 404 where the scroll was not asked for too long.
    pub async fn next(&mut self) -> Result<Option<Vec<DocumentVersion>>, SearchError> {
        let documents = match self.ahead.take() {
            Some(documents) => documents,
            None => {
                let page = self.client.next_versions(&self.scroll_id).await?;
                self.scroll_id = page.scroll_id;
                page.documents
            }
        };
        self.whole = documents.is_empty();
        if self.whole || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        Ok(Some(documents))
    }

    /// Lets go of the scroll. Whether every page was read.
    pub async fn end(self) -> bool {
        self.client.end_versions(&self.scroll_id).await;
        self.whole
    }
}

impl SearchClient {
    /// Begins to read ids and versions of documents that match, in the order of a scroll, at most so many pages.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed.
    pub async fn versions(
        &self,
        name: &str,
        query: Option<&Value>,
        most_pages: usize,
    ) -> Result<VersionPages<'_>, SearchError> {
        let VersionPage { scroll_id, documents } = self.first_versions(name, query).await?;
        Ok(VersionPages { client: self, scroll_id, ahead: Some(documents), left: most_pages, whole: false })
    }

    async fn first_versions(&self, name: &str, query: Option<&Value>) -> Result<VersionPage, SearchError> {
        let mut body = json!({ "size": PAGE, "version": true, "_source": false, "sort": ["_doc"] });
        if let Some(query) = query {
            body["query"] = query.clone();
        }
        let scroll: Scroll = self
            .call(Method::POST, "versions", &[one_index(name)?, "_search"])
            .query("scroll", KEEP_ALIVE)
            .query("allow_partial_search_results", "false")
            .body(body)
            .timeout(SLOW_TIMEOUT)
            .json()
            .await?;
        scroll.page()
    }

    async fn next_versions(&self, scroll_id: &str) -> Result<VersionPage, SearchError> {
        let scroll: Scroll = self
            .call(Method::POST, "versions", &["_search", "scroll"])
            .body(json!({ "scroll": KEEP_ALIVE, "scroll_id": scroll_id }))
            .timeout(SLOW_TIMEOUT)
            .json()
            .await?;
        scroll.page()
    }

    /// Lets go of the scroll. Where that can't be done it ends by itself.
    async fn end_versions(&self, scroll_id: &str) {
        let call =
            self.call(Method::DELETE, "versions", &["_search", "scroll"]).body(json!({ "scroll_id": scroll_id }));
        if let Err(error) = call.bytes().await
            && !error.is_not_found()
        {
            tracing::debug!(%error, "a scroll was not ended; it ends by itself");
        }
    }

    /// Versions of these documents in one index, as they were written last, refreshed or not; those that are not there are left out.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn versions_of(
        &self,
        index: &str,
        documents: &[DocumentVersion],
    ) -> Result<Vec<DocumentVersion>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            docs: Vec<Found>,
        }
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            found: bool,
            #[serde(flatten)]
            hit: Hit,
        }
        let of = |document: &DocumentVersion| match &document.routing {
            Some(routing) => json!({ "_id": document.id, "routing": routing }),
            None => json!({ "_id": document.id }),
        };
        let body = json!({ "docs": documents.iter().map(of).collect::<Vec<_>>() });
        let answer: Answer = self
            .call(Method::POST, "versions", &[one_index(index)?, "_mget"])
            .query("_source", "false")
            .body(body)
            .timeout(SLOW_TIMEOUT)
            .json()
            .await?;
        let found = answer.docs.into_iter().filter(|document| document.found).map(|document| document.hit);
        Ok(found
            .map(|hit| DocumentVersion { id: hit.id, routing: hit.routing, version: hit.version.unwrap_or_default() })
            .collect())
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

    /// Deletes a document; one that is not there is fine (`DELETE /{index}/_doc/{id}`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn delete_document(&self, index: &str, document: &DocumentVersion) -> Result<(), SearchError> {
        let mut call = self.call(Method::DELETE, "deletion", &[one_index(index)?, "_doc", &document.id]);
        if let Some(routing) = &document.routing {
            call = call.query("routing", routing);
        }
        match call.bytes().await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
