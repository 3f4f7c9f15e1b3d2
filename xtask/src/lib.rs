//! The development harness: a one-node Kubernetes on this machine, search engines in it, and the operator.
//!
//! The binary brings things up and down; tests use [`kubectl`], [`engines`], [`search`] and [`paths`] against the
//! cluster that runs.

pub mod bench;
pub mod cache;
pub mod cgroup;
pub mod chart_readme;
pub mod clean;
pub mod cluster;
pub mod components;
pub mod demo;
pub mod doctor;
pub mod engines;
pub mod go;
pub mod images;
pub mod in_memory;
pub mod kubectl;
pub mod network;
pub mod operator;
pub mod pages;
pub mod paths;
pub mod pki;
pub mod process;
pub mod progress;
pub mod reference;
pub mod render;
pub mod sample;
pub mod search;
pub mod search_images;
pub mod suite;
