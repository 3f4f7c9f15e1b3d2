//! An operator that moves Elasticsearch and OpenSearch indexes between clusters with the remote `_reindex` API.
//!
//! ```text
//!  Reindex:   Validate ──► Allowlist ──► Prepare ──► Copy ──► CatchUp ──► Verify ──► Complete
//!             every        held by the   create     ranges of  what was   counts,
//!             finding      destination's the index  _seq_no,   written    sums
//!             at once      SearchCluster            each a     meanwhile
//!                                                   _reindex
//! ```
//!
//! | room | what is in it | who may be called from it |
//! |---|---|---|
//! | [`api`] | the custom resources | nobody |
//! | [`plan`] | decisions: `(object, observation, now) -> decision` | `api` |
//! | [`search`] | the HTTP client of the search engines | `http`, `telemetry` |
//! | [`verify`] | comparing the documents of two clusters | `api`, `plan`, `search` |
//! | [`alibaba_cloud`] | the client of Alibaba Cloud's API | `http` |
//! | [`allowlist`] | where the allowlist is kept, one file a provider | `api`, `plan`, `alibaba_cloud` |
//! | [`controller`] | observe → decide → write → act, one folder a kind | all |
//! | `http` | what both HTTP clients have in common | nobody |
//! | [`cli`] | the plugin of kubectl | `api`, `plan`, `local` |
//! | [`local`] | the controllers without Kubernetes: an apiserver in memory | `api`, `plan`, `controller` |
//! | [`telemetry`] | logs, metrics, probes, traces | `http` |
//! | `text` | words of others, made fit to be shown; all may call it | nobody |

pub mod alibaba_cloud;
pub mod allowlist;
pub mod api;
pub mod cli;
pub mod controller;
mod http;
pub mod local;
pub mod plan;
pub mod search;
pub mod telemetry;
mod text;
pub mod verify;

/// Of both programs where they are static. musl's own takes more than twice the processor's time to read ten thousand objects; this one takes what
/// glibc's does, in less memory, and no C needs to be compiled for it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
