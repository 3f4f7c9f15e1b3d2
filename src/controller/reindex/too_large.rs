//! Finds the document that alone is more than a destination reads from a remote at once.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    api::ReindexSpec,
    search::{DocumentVersion, SearchClient, SearchError},
};

/// What both engines read of one answer of a remote; it can't be set.
const CHUNK_LIMIT: usize = 100 * 1024 * 1024;
/// Documents in a page of ids.
const PAGE: u32 = 1000;
/// More pages are not read: that would hold the object up for minutes.
const MOST_PAGES: usize = 1000;
/// So many documents are read to see how large they are. The first is nearly always it.
const MOST_READ: usize = 50;

/// The id of the first document that the query finds on the source, that the destination lacks, and that is too large.
///
/// A task reads documents in the order of a scroll, and ends at the first that is too large: it is the first of those that are missing
/// on the destination, unless the source was merged meanwhile.
pub async fn find(
    spec: &ReindexSpec,
    source: &SearchClient,
    destination: &SearchClient,
    query: Option<&Value>,
) -> Result<Option<String>, SearchError> {
    let name = &spec.source.index;
    let mut page = source.first_versions(name, query, PAGE).await?;
    let scroll = page.scroll_id.clone();
    let look = async {
        let mut missing = vec![];
        for _ in 0..MOST_PAGES {
            if page.documents.is_empty() || missing.len() >= MOST_READ {
                break;
            }
            let held = destination.versions_of(&spec.destination.index, &page.documents).await?;
            let held: BTreeSet<String> = held.into_iter().map(|document| document.id).collect();
            missing.extend(page.documents.into_iter().filter(|document| !held.contains(&document.id)));
            page = source.next_versions(&page.scroll_id).await?;
        }
        Ok::<_, SearchError>(missing)
    };
    let missing = look.await;
    source.end_versions(&scroll).await;
    let missing = missing?;
    first_too_large(spec, source, &missing[..missing.len().min(MOST_READ)]).await
}

async fn first_too_large(
    spec: &ReindexSpec,
    source: &SearchClient,
    documents: &[DocumentVersion],
) -> Result<Option<String>, SearchError> {
    let fields = spec.source.source_fields.clone().unwrap_or_default();
    for document in documents {
        let fields = (fields.includes.as_slice(), fields.excludes.as_slice());
        if source.is_larger_than(&spec.source.index, document, fields, CHUNK_LIMIT).await? {
            return Ok(Some(document.id.clone()));
        }
    }
    Ok(None)
}
