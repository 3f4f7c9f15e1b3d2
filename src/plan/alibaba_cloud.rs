//! Decisions about managed instances of Alibaba Cloud.
//!
//! - [`es_config`]: the edit of an instance's node configuration, of which nothing may be lost
//! - [`pair`]: whether a reindex between two instances can work

pub mod es_config;
pub mod pair;
