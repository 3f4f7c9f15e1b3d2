//! A world to try the operator in: an apiserver in memory, two search engines in this process, and a clock that tests turn on by hand.

pub mod apiserver;
pub mod cloud;
pub mod logs;
pub mod world;

pub use xtask::in_memory::{engine, faults};
