//! Comparing the documents of two clusters without keeping them: what is read, how it becomes a sum, and what differs.
//!
//! | module | what it does |
//! |---|---|
//! | [`digest`] | a keyed hash of one document, with its content in one form whatever it is written like |
//! | [`sums`] | sums over many of them, in any order, and where two such sums differ |
//! | [`pace`] | how much is read a second, and how much was read |
//! | [`compare`] | both sides: summed up, and where they differ read once more; or looked up one by one |
//!
//! Memory does not grow with the number of documents: a few pages, the sums, and a bounded number of ids.

pub mod compare;
pub mod digest;
pub mod pace;
pub mod sums;

pub use compare::{Fault, Job, SLICES, Side};
pub use pace::Pace;
