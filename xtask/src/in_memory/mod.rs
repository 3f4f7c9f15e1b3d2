//! A search engine in memory, for what real ones don't produce on demand: faults and races in tests, and a thousand copies at once that cost
//! the engine nothing in benchmarks.

pub mod engine;
pub mod faults;
