//! Finds documents that the destination holds in a higher version than the source, and deletes them there, so that they can be copied
//! again: they were deleted and created anew on the source, where a new document begins with version 1.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    search::{BulkLoadSettings, SearchClient, SearchError, documents::Held},
    telemetry::waits::waiting,
};

/// More pages of documents are not read: that would hold the object up for minutes.
pub const MOST_PAGES: usize = 1000;
/// More than so many documents are not deleted: something else is wrong then.
const MOST_STALE: usize = 10_000;

/// Deletes these documents from an index of ours, so that they can be copied again in whatever version. What was written anew before it could be
/// deleted stays: it is looked at again once it was copied again.
///
/// A deleted document's version is remembered for a while (`index.gc_deletes`), and would still be higher than the new one's: so it is
/// forgotten at once meanwhile, whoever deleted it. `settings`: the index's as they are to be again. `clock`: how long the engine's takes to move
/// at most.
///
/// # Errors
/// Those of the calls. What was deleted by then is copied again all the same.
pub async fn delete_and_forget(
    client: &SearchClient,
    index: &str,
    settings: BulkLoadSettings,
    documents: &[Held],
    clock: Duration,
) -> Result<(), SearchError> {
    let forgetful = BulkLoadSettings { gc_deletes: Some("0s".to_owned()), ..settings };
    client.set_bulk_load_settings(index, &forgetful).await?;
    for document in documents {
        client.delete_document(index, document).await?;
    }
    forget_deletions(client, index, clock).await
}

/// Has the versions of deleted documents forgotten, in an index whose `gc_deletes` is 0: that is done at a refresh, for those that were
/// deleted before the engine's clock last moved.
async fn forget_deletions(client: &SearchClient, index: &str, clock: Duration) -> Result<(), SearchError> {
    let _waiting = waiting();
    tokio::time::sleep(clock).await;
    client.refresh(index).await
}

/// Both clusters, and the index's names there.
pub struct Repair<'a> {
    /// The source.
    pub source: &'a SearchClient,
    /// Its index, alias or data stream.
    pub name: &'a str,
    /// The destination.
    pub destination: &'a SearchClient,
    /// Its index, which is ours.
    pub index: &'a str,
}

impl Repair<'_> {
    /// What is stale of the documents that the query finds. None if there are too many to look at. What is missing on the destination was deleted
    /// by an attempt that was interrupted.
    ///
    /// # Errors
    /// Those of the calls.
    pub async fn find(&self, query: Option<&Value>) -> Result<Option<Found>, SearchError> {
        // Replicas may lag behind what a task has read from the primary.
        self.source.refresh(self.name).await?;
        let mut pages = self.source.versions(self.name, query, MOST_PAGES).await?;
        let look = async {
            let mut found = Found::default();
            while found.stale.len() <= MOST_STALE
                && let Some(documents) = pages.next().await?
            {
                let held = self.destination.versions_of(self.index, &documents).await?;
                let held: BTreeMap<_, &Held> =
                    held.iter().map(|held| ((held.id.as_str(), held.routing.as_deref()), held)).collect();
                for read in &documents {
                    match held.get(&(read.id.as_str(), read.routing.as_deref())) {
                        Some(held) if held.version > read.version => found.stale.push((*held).clone()),
                        Some(_) => {}
                        None => found.missing += 1,
                    }
                }
            }
            Ok::<_, SearchError>(found)
        };
        let found = look.await;
        let whole = pages.end().await;
        Ok(Some(found?).filter(|_| whole))
    }
}

/// What the destination holds of some documents of the source.
#[derive(Default)]
pub struct Found {
    /// In a higher version.
    pub stale: Vec<Held>,
    /// Not at all.
    pub missing: usize,
}
