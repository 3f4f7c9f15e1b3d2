//! Finds the document that alone is more than a destination reads from a remote at once.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    api::ReindexSpec,
    search::{DocumentVersion, SearchClient, SearchError},
};

use super::repair::MOST_PAGES;

/// What both engines read of one answer of a remote; it can't be set.
const CHUNK_LIMIT: usize = 100 * 1024 * 1024;
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
    let mut pages = source.versions(&spec.source.index, query, MOST_PAGES).await?;
    let look = async {
        let mut missing = vec![];
        while missing.len() < MOST_READ
            && let Some(documents) = pages.next().await?
        {
            let held = destination.versions_of(&spec.destination.index, &documents).await?;
            let held: BTreeSet<String> = held.into_iter().map(|document| document.id).collect();
            missing.extend(documents.into_iter().filter(|document| !held.contains(&document.id)));
        }
        missing.truncate(MOST_READ);
        Ok::<_, SearchError>(missing)
    };
    let missing = look.await;
    pages.end().await;
    first_too_large(spec, source, &missing?).await
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
