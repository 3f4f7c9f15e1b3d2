//! Decisions about managed instances of Alibaba Cloud.
//!
//! - [`es_config`]: the edit of an instance's node configuration, of which nothing may be lost
//! - [`change`]: how far a change is, which its status alone does not tell
//! - [`pair`]: whether a reindex between two instances can work

pub mod change;
pub mod es_config;
pub mod pair;
