//! Client of Alibaba Cloud's OpenAPI, as far as its managed Elasticsearch is concerned.
//!
//! - [`CloudClient`]: the calls on one instance (`client`, `instance`), signed (`sign`)
//! - [`AccessKey`]: what the API is shown; from a Secret, or from the operator's own [`Identity`]
//! - [`CloudError`]: what went wrong, whether it passes, and what people are told
//!
//! It knows nothing of Kubernetes. Requests carry a signature and maybe a token, never the secret.

mod access_key;
mod client;
mod error;
mod identity;
mod instance;
mod sign;

pub use access_key::AccessKey;
pub use client::CloudClient;
pub use error::{Class, CloudError, Fault, Refusal};
pub use identity::Identity;
pub use instance::{ActionRecord, Instance, NetworkConfig, VpcEndpoint, ZoneInfo};
