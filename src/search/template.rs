//! What a cluster makes of an index that is about to be created: whether it takes it, and what its templates add.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::connect::SearchClient;
use super::error::{SearchError, bounded};
use super::name::one_index;

/// Longest reason kept of a refusal, in characters.
const REASON_LIMIT: usize = 512;

/// What templates give an index of some name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TemplateBody {
    /// Its settings, nested or flat.
    pub settings: Value,
    /// Its mapping.
    pub mappings: Value,
    /// Aliases by name.
    pub aliases: BTreeMap<String, Value>,
}

/// A composable index template (`GET _index_template`).
#[derive(Debug, Clone, PartialEq)]
pub struct IndexTemplate {
    /// Its name.
    pub name: String,
    /// For indices with such names, `*` for any run of characters.
    pub patterns: Vec<String>,
    /// Of several the highest counts.
    pub priority: i64,
    /// Such a name can only be a data stream's.
    pub data_stream: bool,
}

/// A template of the older kind (`GET _template`). All that match are put together, unless a composable one matches.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyTemplate {
    /// Its name.
    pub name: String,
    /// For indices with such names.
    pub patterns: Vec<String>,
    /// What it gives.
    pub body: TemplateBody,
}

impl SearchClient {
    /// Has the cluster work out an index of that body (`{"settings", "mappings"}`) without creating it: analysis, mapping and settings
    /// are read as they would be then (`POST _index_template/_simulate`). Why it would refuse the index, in its words; None where it
    /// would not.
    ///
    /// # Errors
    /// 400 from an engine that does not know the question; 403 without the privilege `manage_index_templates`.
    pub async fn refusal_of(&self, name: &str, body: &Value) -> Result<Option<String>, SearchError> {
        let template = json!({
            "index_patterns": [one_index(name)?],
            // Another one of the same priority and name would be refused.
            "priority": i32::MAX,
            "template": body,
        });
        let call = self.call(Method::POST, "simulated index", &["_index_template", "_simulate"]).body(template);
        match call.answer().await? {
            (200..300, _) => Ok(None),
            (400, answer) => match innermost_reason(&answer) {
                Some(reason) => Ok(Some(reason)),
                None => Err(SearchError::rejected(400, &answer)),
            },
            (status, answer) => Err(SearchError::rejected(status, &answer)),
        }
    }

    /// What the composable template of highest priority gives an index of that name
    /// (`POST _index_template/_simulate_index/{name}`).
    ///
    /// # Errors
    /// 403 without the privilege `manage_index_templates`.
    pub async fn template_of(&self, name: &str) -> Result<TemplateBody, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            template: TemplateBody,
        }
        let answer: Answer = self
            .call(Method::POST, "resolved template", &["_index_template", "_simulate_index", one_index(name)?])
            .json()
            .await?;
        Ok(answer.template)
    }

    /// Every composable template.
    ///
    /// # Errors
    /// 403 without a privilege.
    pub async fn index_templates(&self) -> Result<Vec<IndexTemplate>, SearchError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            index_templates: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
            index_template: Template,
        }
        #[derive(Deserialize)]
        struct Template {
            index_patterns: Vec<String>,
            #[serde(default)]
            priority: i64,
            #[serde(default)]
            data_stream: Option<Value>,
        }
        let answer: Answer = self
            .call(Method::GET, "index templates", &["_index_template"])
            .query(
                "filter_path",
                "index_templates.name,index_templates.index_template.index_patterns,\
                 index_templates.index_template.priority,index_templates.index_template.data_stream",
            )
            .json()
            .await?;
        Ok(answer
            .index_templates
            .into_iter()
            .map(|Named { name, index_template }| IndexTemplate {
                name,
                patterns: index_template.index_patterns,
                priority: index_template.priority,
                data_stream: index_template.data_stream.is_some(),
            })
            .collect())
    }

    /// Every template of the older kind.
    ///
    /// # Errors
    /// 403 without a privilege; 404 or 405 where the engine has none any more.
    pub async fn legacy_templates(&self) -> Result<Vec<LegacyTemplate>, SearchError> {
        #[derive(Deserialize)]
        struct Template {
            index_patterns: Vec<String>,
            #[serde(flatten)]
            body: TemplateBody,
        }
        let answer: BTreeMap<String, Template> =
            self.call(Method::GET, "legacy templates", &["_template"]).query("flat_settings", "true").json().await?;
        let of = |(name, template): (String, Template)| LegacyTemplate {
            name,
            patterns: template.index_patterns,
            body: template.body,
        };
        Ok(answer.into_iter().map(of).collect())
    }
}

/// What the innermost cause of an error says: those around it speak of a template that nobody wrote.
fn innermost_reason(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let mut error = &answer["error"];
    while error["caused_by"].is_object() {
        error = &error["caused_by"];
    }
    error["reason"].as_str().map(|reason| bounded(reason, REASON_LIMIT))
}
