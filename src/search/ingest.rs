//! Ingest pipelines: what documents go through before they are indexed.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::de::IgnoredAny;

use super::connect::SearchClient;
use super::error::SearchError;

impl SearchClient {
    /// Whether there is an ingest pipeline of exactly that name (`GET _ingest/pipeline/{name}`).
    ///
    /// A `_reindex` with a pipeline that does not exist is accepted, and fails with the first document.
    ///
    /// # Errors
    /// [`SearchError::InvalidName`] for a name that is a path; 403 without the privilege `read_pipeline`.
    pub async fn pipeline_exists(&self, name: &str) -> Result<bool, SearchError> {
        if matches!(name, "" | "." | "..") || name.chars().any(char::is_control) {
            return Err(SearchError::InvalidName { problem: "it is no pipeline's" });
        }
        let call = self.call(Method::GET, "pipeline", &["_ingest", "pipeline", name]);
        // A wildcard or a list would find others: only the name itself counts.
        match call.json::<BTreeMap<String, IgnoredAny>>().await {
            Ok(found) => Ok(found.contains_key(name)),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
