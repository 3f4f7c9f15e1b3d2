//! `status.verification` of a Reindex.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::reindex::VerificationLevel;

/// What the verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerificationResult {
    /// What was asked for.
    pub level: VerificationLevel,
    /// Documents on the source that match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_documents: Option<i64>,
    /// Documents in the destination index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_documents: Option<i64>,
    /// Whether the source changed while it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_changed: Option<bool>,
    /// What came out.
    pub verdict: Verdict,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Seconds that the comparison of documents took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// Documents of the source that were compared one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents_compared: Option<i64>,
    /// Sum over the documents of the source, 128 bits in hexadecimal; made with a random key, so that it can be compared only with the
    /// one beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_sum: Option<String>,
    /// Sum over the documents of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_sum: Option<String>,
    /// What differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<Differences>,
    /// How often what differed was copied again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs: Option<i32>,
    /// How often the last of these repairs was begun without its task being known to have started; not there once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_attempts: Option<i32>,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Differences {
    /// Documents that the destination lacks.
    pub missing: i64,
    /// Documents that only the destination has.
    pub extra: i64,
    /// Documents that are not the same.
    pub different: i64,
    /// Whether there are more than were looked at.
    #[serde(default)]
    pub more: bool,
    /// A few of them; the first thousand stand in the ConfigMap `<name>-differences`, or in the operator's log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub examples: Vec<Difference>,
}

/// A document that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// How.
    pub kind: DifferenceKind,
    /// Its id.
    pub id: String,
    /// Its routing, where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<String>,
}

/// How a document differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum DifferenceKind {
    /// The destination lacks it.
    Missing,
    /// Only the destination has it.
    Extra,
    /// It is not the same.
    Different,
}

/// What a verification came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum Verdict {
    /// It held.
    Passed,
    /// It did not hold.
    Failed,
    /// It did not hold, and what differs is being copied again.
    Repairing,
    /// None was asked for.
    NotAsked,
}
