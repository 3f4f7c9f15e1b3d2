//! Compares the documents of two sides.

use std::{
    cmp::Ordering,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::try_join_all;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::reindex_status::DifferenceKind,
    plan::comparison::{Compared, Comparison, How},
    search::{Pages, Scan, SearchClient, SearchError},
};

use super::{
    digest::{Digester, Document, Key},
    pace::Pace,
    sums::{Parts, Sums},
};

/// Documents in a page without content: some 500 kB.
const PAGE: u32 = 5000;
/// Documents in a page with content, or of those that are looked up, at most.
const PAGE_WITH_CONTENT: u32 = 1000;
/// Bytes that a page with content should have.
const PAGE_BYTES: u64 = 1024 * 1024;
/// Bytes that a page may have, unless it is a single document.
const MOST_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Documents whose size is looked at before.
const SAMPLE: u32 = 20;
/// Parts of a side that are read at once: without content, and with it.
pub const SLICES: (u32, u32) = (4, 2);
/// Seconds for which a throttled page may be waited for.
const PATIENCE: u32 = 60;
/// Documents that are kept where the sums differ, of both sides together.
const MOST_KEPT: u64 = 60_000;

/// One side.
#[derive(Clone)]
pub struct Side {
    /// Its cluster.
    pub client: SearchClient,
    /// Its index, alias or data stream.
    pub name: String,
    /// How many parts of it may be read at once.
    pub slices: u32,
}

/// What is compared with what.
pub struct Job {
    /// The source.
    pub source: Side,
    /// Which of its documents; None is all.
    pub query: Option<Value>,
    /// Fields that were copied: `includes` and `excludes`.
    pub fields: (Vec<String>, Vec<String>),
    /// The destination: one index.
    pub destination: Side,
    /// What of documents.
    pub comparison: Comparison,
    /// How fast, and how far it is.
    pub pace: Arc<Pace>,
}

/// Why there is no outcome. All of it may pass, but for a document that is [too large](Fault::too_large).
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A call to the source failed.
    #[error("failed to read from the source: {}", .0.public_message())]
    Source(SearchError),
    /// A call to the destination failed.
    #[error("failed to read from the destination: {}", .0.public_message())]
    Destination(SearchError),
    /// The sums differed, and nothing else did when it was looked at again.
    #[error("failed to find what differs: one side changed while it was read")]
    Unsteady,
    /// The system has no random numbers.
    #[error("failed to draw a random key")]
    NoRandomNumbers,
}

impl Fault {
    /// Reason of a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Fault::Source(error) | Fault::Destination(error) => error.reason(),
            Fault::Unsteady => "Unsteady",
            Fault::NoRandomNumbers => "NoRandomNumbers",
        }
    }

    /// The side that has more in a page than is read of an answer, and how many bytes are. It is what [`Job::run`] ends with only where a
    /// page is a single document.
    pub fn too_large(&self) -> Option<(&'static str, usize)> {
        match self {
            Fault::Source(SearchError::ResponseTooLarge { limit }) => Some(("source", *limit)),
            Fault::Destination(SearchError::ResponseTooLarge { limit }) => Some(("destination", *limit)),
            _ => None,
        }
    }
}

/// A document that is kept to be compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    id: Box<str>,
    routing: Option<Box<str>>,
    version: u64,
    hash: u128,
}

impl Kept {
    fn key(&self) -> (&str, Option<&str>) {
        (&self.id, self.routing.as_deref())
    }
}

impl Job {
    /// Compares, with pages that are made smaller where one is too large.
    ///
    /// # Errors
    /// [`Fault`]; whoever asked begins again.
    pub async fn run(&self) -> Result<Compared, Fault> {
        let begin = Instant::now();
        let mut page = self.first_page().await?;
        loop {
            self.pace.restart();
            let compared = match self.comparison.how {
                How::Sums => self.sum_up(page).await,
                How::LookUp => self.look_up(page, None).await,
                How::Sample(documents) => self.look_up(page, Some(documents)).await,
            };
            match compared {
                Err(fault) if fault.too_large().is_some() && page > 1 => page = (page / 8).max(1),
                other => {
                    let seconds = i64::try_from(begin.elapsed().as_secs()).unwrap_or(i64::MAX);
                    return other.map(|compared| Compared { seconds, ..compared });
                }
            }
        }
    }

    /// Documents in a page: by their size, and so that a page that is held back is not held back for too long.
    async fn first_page(&self) -> Result<u32, Fault> {
        let page = match self.comparison.content {
            false if self.comparison.how == How::Sums => PAGE,
            false => PAGE_WITH_CONTENT,
            true => match self.source.client.sample_sizes(&self.source.name, self.query.as_ref(), SAMPLE).await {
                Ok(sizes) => {
                    let average = sizes.iter().sum::<u64>() / (sizes.len() as u64).max(1);
                    let fits = PAGE_BYTES / average.max(1);
                    u32::try_from(fits).unwrap_or(u32::MAX).clamp(1, PAGE_WITH_CONTENT)
                }
                Err(SearchError::ResponseTooLarge { .. }) => 1,
                Err(error) => return Err(Fault::Source(error)),
            },
        };
        let page = page.min(self.largest_page().await?);
        Ok(match self.pace.limit() {
            Some(limit) => page.min((limit.saturating_mul(PATIENCE) / SLICES.0).max(1)),
            None => page,
        })
    }

    /// The most documents that both sides give at once.
    async fn largest_page(&self) -> Result<u32, Fault> {
        let (source, destination) = futures::try_join!(
            async { self.source.client.max_result_window(&self.source.name).await.map_err(Fault::Source) },
            async {
                self.destination.client.max_result_window(&self.destination.name).await.map_err(Fault::Destination)
            }
        )?;
        Ok([source, destination]
            .into_iter()
            .flatten()
            .min()
            .map_or(u32::MAX, |window| u32::try_from(window).unwrap_or(u32::MAX)))
    }

    async fn sum_up(&self, page: u32) -> Result<Compared, Fault> {
        let key = Key::random().ok_or(Fault::NoRandomNumbers)?;
        let (source, destination) = futures::try_join!(self.sum(SOURCE, key, page), self.sum(DESTINATION, key, page))?;
        let mut compared = Compared {
            source_documents: source.documents,
            destination_documents: destination.documents,
            sums: Some((source.total, destination.total)),
            ..Compared::default()
        };
        if source.equals(&destination) {
            return Ok(compared);
        }
        let (parts, all) = source.differing(&destination, MOST_KEPT);
        drop((source, destination));
        let (source, destination) =
            futures::try_join!(self.keep(SOURCE, key, page, &parts), self.keep(DESTINATION, key, page, &parts))?;
        if source == destination {
            return Err(Fault::Unsteady);
        }
        compared.more = !all;
        self.differences(&source, &destination, &mut compared);
        Ok(compared)
    }

    async fn sum(&self, side: usize, key: Key, page: u32) -> Result<Sums, Fault> {
        let (mut sums, mut digester) = (Sums::default(), Digester::new(key));
        self.read(side, page, |document| sums.add(&mut digester, document)).await?;
        Ok(sums)
    }

    /// The documents of some parts, in order.
    async fn keep(&self, side: usize, key: Key, page: u32, parts: &Parts) -> Result<Vec<Kept>, Fault> {
        let (mut kept, mut digester) = (vec![], Digester::new(key));
        let take = |document: &Document<'_>| {
            if parts.hold(&digester, document.id) {
                kept.push(Kept {
                    id: document.id.into(),
                    routing: document.routing.map(Into::into),
                    version: document.version.unwrap_or_default(),
                    hash: digester.of(document),
                });
            }
        };
        self.read(side, page, take).await?;
        kept.sort_unstable();
        Ok(kept)
    }

    /// Shows all documents of a side, as they are compared.
    async fn read(&self, number: usize, page: u32, take: impl FnMut(&Document<'_>) + Send) -> Result<(), Fault> {
        let fault = if number == SOURCE { Fault::Source } else { Fault::Destination };
        let side = if number == SOURCE { &self.source } else { &self.destination };
        let most = if self.comparison.content { SLICES.1 } else { SLICES.0 };
        let slices = side.slices.clamp(1, most);
        let begin = (0..slices).map(|id| {
            let slice = (slices > 1).then_some((id, slices));
            async move { side.client.scan(&side.name, &self.scan(number, page, slice)).await }
        });
        let parts = try_join_all(begin).await.map_err(fault)?;
        self.pace.announce(parts.iter().map(Pages::total).sum());
        let take = Mutex::new(take);
        let each = parts.into_iter().map(|mut pages| {
            let take = &take;
            async move {
                loop {
                    let read = pages
                        .next(|hit| {
                            let routing = match number {
                                SOURCE => self.comparison.routing.on_the_destination(hit.routing()),
                                _ => hit.routing(),
                            };
                            let document = Document {
                                id: &hit.id,
                                routing,
                                version: self.comparison.versions.then_some(hit.version),
                                content: self.comparison.content.then(|| hit.source().unwrap_or("{}")),
                            };
                            (take.lock().unwrap_or_else(PoisonError::into_inner))(&document);
                        })
                        .await?;
                    if read == 0 {
                        break;
                    }
                    self.pace.read(number, read).await;
                }
                pages.end().await;
                Ok::<(), SearchError>(())
            }
        });
        try_join_all(each).await.map_err(fault)?;
        Ok(())
    }

    fn scan(&self, side: usize, page: u32, slice: Option<(u32, u32)>) -> Scan<'_> {
        let content = self.comparison.content.then_some(match side {
            SOURCE => (&self.fields.0[..], &self.fields.1[..]),
            _ => (&[][..], &[][..]),
        });
        Scan {
            query: self.query.as_ref().filter(|_| side == SOURCE),
            content,
            page,
            drawn_by: None,
            slice,
            limit: most_bytes(page),
        }
    }

    /// What two sorted lists don't share.
    fn differences(&self, source: &[Kept], destination: &[Kept], compared: &mut Compared) {
        let (mut left, mut right) = (source.iter().peekable(), destination.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(source), Some(destination)) => source.key().cmp(&destination.key()),
            };
            let read = if order.is_le() { left.next() } else { None };
            let held = if order.is_ge() { right.next() } else { None };
            match (read, held) {
                (Some(read), Some(held)) => self.judge(read, held, compared),
                (Some(read), None) => compared.note(DifferenceKind::Missing, &read.id, read.routing.as_deref()),
                (None, Some(held)) => compared.note(DifferenceKind::Extra, &held.id, held.routing.as_deref()),
                (None, None) => {}
            }
        }
    }

    /// The same document on both sides.
    fn judge(&self, read: &Kept, held: &Kept, compared: &mut Compared) {
        if read.hash == held.hash {
            return;
        }
        match self.comparison.newer_is_fine && held.version > read.version {
            true => compared.newer += 1,
            false => compared.note(DifferenceKind::Different, &read.id, read.routing.as_deref()),
        }
    }

    /// Looks each document of the source up on the destination, or so many drawn at random.
    async fn look_up(&self, page: u32, drawn: Option<u32>) -> Result<Compared, Fault> {
        let key = Key::random().ok_or(Fault::NoRandomNumbers)?;
        let mut digester = Digester::new(key);
        let page = page.min(drawn.unwrap_or(u32::MAX)).max(1);
        // Any number will do, and another one each time.
        let drawn_by = drawn.map(|_| digester.of_id("") as u32 >> 1);
        let scan = Scan { drawn_by, ..self.scan(SOURCE, page, None) };
        let mut pages = self.source.client.scan(&self.source.name, &scan).await.map_err(Fault::Source)?;
        let mut left = drawn.map_or(u64::MAX, u64::from).min(pages.total());
        self.pace.announce(left);
        let mut compared = Compared::default();
        while left > 0 {
            let mut read: Vec<Kept> = vec![];
            let take = |hit: &crate::search::Hit<'_>| {
                let document = Document {
                    id: &hit.id,
                    routing: self.comparison.routing.on_the_destination(hit.routing()),
                    version: self.comparison.versions.then_some(hit.version),
                    content: self.comparison.content.then(|| hit.source().unwrap_or("{}")),
                };
                read.push(Kept {
                    id: document.id.into(),
                    routing: document.routing.map(Into::into),
                    version: hit.version,
                    hash: digester.of(&document),
                });
            };
            if pages.next(take).await.map_err(Fault::Source)? == 0 {
                break;
            }
            read.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= read.len() as u64;
            self.look_up_page(&read, page, &mut digester, &mut compared).await.map_err(Fault::Destination)?;
            self.pace.read(SOURCE, read.len()).await;
        }
        pages.end().await;
        Ok(compared)
    }

    async fn look_up_page(
        &self,
        read: &[Kept],
        page: u32,
        digester: &mut Digester,
        compared: &mut Compared,
    ) -> Result<(), SearchError> {
        let wanted: Vec<_> =
            read.iter().map(|kept| (kept.id.to_string(), kept.routing.as_deref().map(str::to_owned))).collect();
        let content = self.comparison.content;
        let take = |at: usize, held: Option<&crate::search::Hit<'_>>| {
            let read = &read[at];
            compared.source_documents += 1;
            let Some(held) = held else {
                return compared.note(DifferenceKind::Missing, &read.id, read.routing.as_deref());
            };
            compared.destination_documents += 1;
            let hash = digester.of(&Document {
                id: &held.id,
                routing: held.routing(),
                version: self.comparison.versions.then_some(held.version),
                content: content.then(|| held.source().unwrap_or("{}")),
            });
            let held = Kept { id: read.id.clone(), routing: None, version: held.version, hash };
            self.judge(read, &held, compared);
        };
        self.destination.client.look_up(&self.destination.name, &wanted, content, most_bytes(page), take).await
    }
}

const SOURCE: usize = 0;
const DESTINATION: usize = 1;

/// The most bytes of a page: a single document may have as many as are read of any answer.
fn most_bytes(page: u32) -> usize {
    if page == 1 { usize::MAX } else { MOST_PAGE_BYTES }
}
