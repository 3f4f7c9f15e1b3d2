//! Every document behind a name, a page at a time. A page is looked at where it lies: nothing is copied out of it that nobody wants.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::SearchError;
use super::name::one_index;
use super::request::Shards;
use super::survey::{in_random_order, or_all};

/// How long a scroll is kept between two pages: a page may be held back for a while, so that no more is read than somebody allows.
const KEEP_ALIVE: &str = "5m";
const SLOW_TIMEOUT: Duration = Duration::from_secs(120);
/// What is wanted of a page without content; the rest is twice as much.
const WITHOUT_CONTENT: &str = "_scroll_id,_shards.total,_shards.successful,_shards.failed,_shards.failures,hits.total,\
                               hits.hits._id,hits.hits._routing,hits.hits._version";

/// What is read.
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    /// Only documents that match; all without one.
    pub query: Option<&'a Value>,
    /// `_source`, narrowed to these `includes` and `excludes`; None leaves it where it is.
    pub content: Option<(&'a [String], &'a [String])>,
    /// Documents in a page.
    pub page: u32,
    /// In an order drawn by this number, instead of the order in which they lie.
    pub drawn_by: Option<u32>,
    /// Which of how many disjoint parts. Up to the number of shards a part costs nothing more than its share.
    pub slice: Option<(u32, u32)>,
    /// The most bytes of a page.
    pub limit: usize,
}

/// A document, as it lies in its page.
#[derive(Debug, Deserialize)]
pub struct Hit<'a> {
    /// Its `_id`.
    #[serde(rename = "_id", borrow)]
    pub id: Cow<'a, str>,
    #[serde(rename = "_routing", borrow, default)]
    routing: Option<Text<'a>>,
    /// Its version, 0 where none is told.
    #[serde(rename = "_version", default)]
    pub version: u64,
    /// The write that left it so, `_seq_no` and `_primary_term`; only of what was looked up.
    #[serde(skip)]
    pub write: Option<(u64, u64)>,
    #[serde(rename = "_source", borrow, default)]
    source: Option<&'a RawValue>,
}

impl Hit<'_> {
    /// Its routing, where it has one of its own.
    pub fn routing(&self) -> Option<&str> {
        self.routing.as_ref().map(|text| &*text.0)
    }

    /// Its content as JSON text, where that was asked for and is kept.
    pub fn source(&self) -> Option<&str> {
        self.source.map(RawValue::get)
    }
}

/// Text that is borrowed where it needs no unescaping, in an `Option` too.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(rename = "_scroll_id", borrow)]
    scroll_id: Cow<'a, str>,
    #[serde(rename = "_shards")]
    shards: Shards,
    // Without hits nothing of it is left by the filter.
    #[serde(default, borrow)]
    hits: Hits<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Hits<'a> {
    total: Total,
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

/// A number since Elasticsearch 7 only where that is asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Total {
    Number(u64),
    Object { value: u64 },
}

impl Default for Total {
    fn default() -> Self {
        Total::Number(0)
    }
}

/// The pages of a scan. The cluster keeps something open for them: [`end`](Pages::end) lets go of it, and so does dropping them, a
/// little later.
pub struct Pages {
    client: SearchClient,
    scroll_id: Option<String>,
    /// The first page, until it is asked for.
    ahead: Option<Vec<u8>>,
    limit: usize,
    read: u64,
    total: u64,
}

impl Pages {
    /// Documents that match in this part, as the cluster counted them at the begin.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Shows each document of the next page to `take`, and returns how many there were; 0 is the end.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed, or where the end came before [`total`](Pages::total); 404 where the scroll
    /// was not asked for too long.
    pub async fn next(&mut self, mut take: impl FnMut(&Hit<'_>)) -> Result<usize, SearchError> {
        let body = match self.ahead.take() {
            Some(body) => body,
            None => {
                let scroll_id = self.scroll_id.clone().unwrap_or_default();
                self.client
                    .call(Method::POST, "scan", &["_search", "scroll"])
                    .body(json!({ "scroll": KEEP_ALIVE, "scroll_id": scroll_id }))
                    .timeout(SLOW_TIMEOUT)
                    .limit(self.limit)
                    .bytes()
                    .await?
            }
        };
        let page = read(&body)?;
        page.shards.none_failed()?;
        if self.scroll_id.as_deref() != Some(&page.scroll_id) {
            self.scroll_id = Some(page.scroll_id.into_owned());
        }
        let hits = page.hits.hits;
        hits.iter().for_each(&mut take);
        self.read += hits.len() as u64;
        if hits.is_empty() && self.read != self.total {
            // A stream that ends early would look like documents that are lost.
            return Err(SearchError::PartialShards {
                failed: 1,
                total: page.shards.total,
                kind: Some("early_end".into()),
            });
        }
        Ok(hits.len())
    }

    /// Lets go of what the cluster keeps open. Where that can't be done it ends by itself.
    pub async fn end(mut self) {
        if let Some(scroll_id) = self.scroll_id.take() {
            end(&self.client, &scroll_id).await;
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let (Some(scroll_id), Ok(runtime)) = (self.scroll_id.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let client = self.client.clone();
        runtime.spawn(async move { end(&client, &scroll_id).await });
    }
}

fn read(body: &[u8]) -> Result<Page<'_>, SearchError> {
    serde_json::from_slice(body).map_err(|source| SearchError::Decode { what: "scan", source })
}

async fn end(client: &SearchClient, scroll_id: &str) {
    let call = client.call(Method::DELETE, "scan", &["_search", "scroll"]).body(json!({ "scroll_id": scroll_id }));
    if let Err(error) = call.bytes().await
        && !error.is_not_found()
    {
        tracing::debug!(%error, "a scroll was not ended; it ends by itself");
    }
}

impl SearchClient {
    /// Begins to read the documents behind a name, as the last refresh shows them.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where a shard failed or has no copy; [`SearchError::ResponseTooLarge`] where the first page has
    /// more bytes than the limit.
    pub async fn scan(&self, name: &str, scan: &Scan<'_>) -> Result<Pages, SearchError> {
        let mut call = self
            .call(Method::POST, "scan", &[one_index(name)?, "_search"])
            .reading()
            .query("scroll", KEEP_ALIVE)
            .query("allow_partial_search_results", "false");
        if scan.content.is_none() {
            call = call.query("filter_path", WITHOUT_CONTENT);
        }
        let body = call.body(body(scan)).timeout(SLOW_TIMEOUT).limit(scan.limit).bytes().await?;
        let page = read(&body)?;
        let (scroll_id, total) = (page.scroll_id.to_string(), page.hits.total);
        let complete = page.shards.all_answered();
        let total = match total {
            Total::Number(total) | Total::Object { value: total } => total,
        };
        let (client, scroll_id) = (self.clone(), Some(scroll_id));
        let pages = Pages { client, scroll_id, ahead: Some(body), limit: scan.limit, read: 0, total };
        complete.map(|()| pages)
    }

    /// Shows the documents of one index that have these ids and routings, as they were written last, refreshed or not, in the order in
    /// which they were asked for; None is one that is not there.
    ///
    /// # Errors
    /// [`SearchError::PartialShards`] where one could not be looked up: it may be there.
    pub async fn look_up(
        &self,
        index: &str,
        wanted: &[(String, Option<String>)],
        content: bool,
        limit: usize,
        mut take: impl FnMut(usize, Option<&Hit<'_>>),
    ) -> Result<(), SearchError> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            docs: Vec<Found<'a>>,
        }
        #[derive(Deserialize)]
        struct Found<'a> {
            #[serde(default)]
            found: bool,
            #[serde(default)]
            error: Option<Value>,
            #[serde(rename = "_id", borrow)]
            id: Cow<'a, str>,
            #[serde(rename = "_routing", borrow, default)]
            routing: Option<Text<'a>>,
            #[serde(rename = "_version", default)]
            version: u64,
            #[serde(rename = "_seq_no")]
            number: Option<u64>,
            #[serde(rename = "_primary_term")]
            term: Option<u64>,
            #[serde(rename = "_source", borrow, default)]
            source: Option<&'a RawValue>,
        }
        let of = |(id, routing): &(String, Option<String>)| match routing {
            Some(routing) => json!({ "_id": id, "routing": routing }),
            None => json!({ "_id": id }),
        };
        let docs: Vec<Value> = wanted.iter().map(of).collect();
        let body = self
            .call(Method::POST, "look-up", &[one_index(index)?, "_mget"])
            .reading()
            .query("_source", if content { "true" } else { "false" })
            .body(json!({ "docs": docs }))
            .timeout(SLOW_TIMEOUT)
            .limit(limit)
            .bytes()
            .await?;
        let decode = |source| SearchError::Decode { what: "look-up", source };
        let answer: Answer<'_> = serde_json::from_slice(&body).map_err(decode)?;
        if answer.docs.len() != wanted.len() {
            return Err(decode(serde::de::Error::custom("a document is missing in the answer")));
        }
        for (at, document) in answer.docs.into_iter().enumerate() {
            if let Some(error) = document.error {
                let kind = error["type"].as_str().map(|kind| kind.chars().take(100).collect());
                return Err(SearchError::PartialShards { failed: 1, total: 1, kind });
            }
            let Found { found, id, routing, version, number, term, source, .. } = document;
            let hit = Hit { id, routing, version, write: number.zip(term), source };
            take(at, found.then_some(&hit));
        }
        Ok(())
    }
}

fn body(scan: &Scan<'_>) -> Value {
    let mut body = json!({ "size": scan.page, "version": true });
    body["_source"] = match scan.content {
        None => json!(false),
        Some((includes, excludes)) => json!({ "includes": includes, "excludes": excludes }),
    };
    match scan.drawn_by {
        None => {
            body["sort"] = json!(["_doc"]);
            if let Some(query) = scan.query {
                body["query"] = query.clone();
            }
        }
        Some(seed) => {
            let chance = json!({ "seed": seed, "field": "_seq_no" });
            body["query"] = in_random_order(&or_all(scan.query), &chance);
        }
    }
    if let Some((id, max)) = scan.slice {
        body["slice"] = json!({ "id": id, "max": max });
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_where_it_lies() {
        let body = br#"{"_scroll_id":"s","_shards":{"total":2,"successful":2,"failed":0},"hits":{"total":{"value":2,"relation":"eq"},
            "hits":[{"_id":"a","_version":3,"_source":{"n": 1.0}},{"_id":"b\"","_routing":"r","_version":1}]}}"#;
        let page = read(body).unwrap();
        let seen: Vec<_> =
            page.hits.hits.iter().map(|hit| (&*hit.id, hit.routing(), hit.version, hit.source())).collect();
        assert_eq!(seen, [("a", None, 3, Some("{\"n\": 1.0}")), ("b\"", Some("r"), 1, None)]);
        assert!(matches!(page.hits.hits[0].id, Cow::Borrowed("a")));
        assert!(matches!(page.hits.total, Total::Object { value: 2 }));
    }

    #[test]
    fn the_end_is_a_page_of_which_the_filter_leaves_no_hits() {
        let page = read(br#"{"_scroll_id":"s","_shards":{"total":1,"successful":1,"failed":0}}"#).unwrap();
        assert!(page.hits.hits.is_empty());
        assert!(read(b"{}").is_err(), "something else than a page");
    }

    #[test]
    fn a_scan_asks_for_what_is_wanted_and_no_more() {
        let scan = Scan { query: None, content: None, page: 5, drawn_by: None, slice: Some((1, 2)), limit: 100 };
        let expected =
            json!({"size": 5, "version": true, "_source": false, "sort": ["_doc"], "slice": {"id": 1, "max": 2}});
        assert_eq!(body(&scan), expected);
        let query = json!({"term": {"a": 1}});
        let fields = (&["a".to_owned()][..], &[][..]);
        let drawn = Scan { query: Some(&query), content: Some(fields), drawn_by: Some(7), slice: None, ..scan.clone() };
        let body = body(&drawn);
        assert_eq!(body["_source"], json!({"includes": ["a"], "excludes": []}));
        assert_eq!(body["query"]["function_score"]["query"], query);
        assert_eq!(body.get("sort"), None);
    }
}
