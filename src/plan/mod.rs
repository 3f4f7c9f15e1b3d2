//! What is to be done, decided without doing it: `(object, observation, now) -> decision`.
//!
//! Nothing here talks to anything. The clock is an argument, what was seen comes in as plain values, and the words that people
//! read in `status` leave with the decision. A test holds that this room imports no client, no runtime and no `async`.

pub mod access;
pub mod alibaba_cloud;
pub mod allowlist;
pub mod cleanup;
pub mod comparison;
pub mod connection;
pub mod copy;
pub mod history;
pub mod index_body;
pub mod lease;
pub mod limits;
pub mod load;
pub mod partitions;
pub mod preflight;
pub mod progress;
pub mod ranges;
pub mod reindex;
pub mod remote;
pub mod report;
pub mod restart;
pub mod retention;
pub mod rollout;
pub mod scope;
pub mod script;
pub mod search_cluster;
pub mod spec_hash;
pub mod trust;
pub mod validate;
pub mod verification;
pub mod verify;
pub mod wind_down;
pub mod window;
pub mod words;
