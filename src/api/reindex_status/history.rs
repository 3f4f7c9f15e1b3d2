//! `status.history` of a Reindex.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The course of a copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// How much was copied when, oldest first; of a long copy evenly thinned.
    #[serde(default)]
    #[schemars(length(max = 24))]
    pub samples: Vec<Sample>,
    /// Ranges that were copied, in the order in which they ended; of many the longest.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub ranges: Vec<CopiedRange>,
    /// How many ranges were copied in all, repeated ones each time.
    #[serde(default)]
    pub ranges_copied: i32,
}

/// How much was copied by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When.
    pub at: Time,
    /// Documents copied.
    pub documents: i64,
}

/// A range that was copied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopiedRange {
    /// 0 is the copy; higher numbers are rounds of catching up.
    pub round: i32,
    /// Its number.
    pub id: i32,
    /// The attempt that succeeded, counted from 1.
    pub attempt: i32,
    /// When that attempt began.
    pub started_at: Time,
    /// Seconds that it took.
    pub seconds: i64,
    /// Documents that it read.
    pub documents: i64,
}
