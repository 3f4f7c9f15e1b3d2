//! What the operator's user may do (Elasticsearch with security; OpenSearch has no such question).

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::connect::SearchClient;
use super::error::SearchError;
use super::name::one_index;

impl SearchClient {
    /// Those of the privileges that the user lacks, on the cluster and on an index (`POST _security/user/_has_privileges`); None where
    /// the cluster has no security, or can't be asked.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn missing_privileges(
        &self,
        cluster: &[&str],
        index: &str,
        on_index: &[&str],
    ) -> Result<Option<Vec<String>>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            cluster: BTreeMap<String, bool>,
            index: BTreeMap<String, BTreeMap<String, bool>>,
        }
        let wanted = json!({"cluster": cluster, "index": [{"names": [one_index(index)?], "privileges": on_index}]});
        let call = self.call(Method::POST, "privileges", &["_security", "user", "_has_privileges"]).body(wanted);
        let answer: Answer = match call.json().await {
            Ok(answer) => answer,
            // 400: no such API (OpenSearch, or no security), 500: security is switched off.
            Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 500)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let lacks = |(privilege, held): (&String, &bool)| (!held).then(|| privilege.clone());
        let on_cluster = answer.cluster.iter().filter_map(lacks).map(|privilege| format!("{privilege} (cluster)"));
        let on_index =
            answer.index.values().flatten().filter_map(lacks).map(|privilege| format!("{privilege} (index)"));
        Ok(Some(on_cluster.chain(on_index).collect()))
    }
}
