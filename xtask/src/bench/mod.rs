//! The benchmarks: what a Reindex costs beside what else a person could do, on real clusters.
//!
//! [`groups`] says what is measured and what is to be reached, [`runner`] measures a group, [`results`] judges it,
//! [`report`] and [`chart`] write it down. [`method`] is one repeat of a copy: [`ours`] (with [`memory`]), [`raw`], [`ceiling`] or
//! [`elasticdump`]; [`many`] is the operator with many objects.

mod ceiling;
mod chart;
mod corpus;
mod elasticdump;
mod groups;
mod many;
mod memory;
mod method;
mod ours;
mod proxy;
mod raw;
mod report;
mod results;
mod runner;
mod stats;
mod world;

use anyhow::{Result, bail};
use groups::{Group, Subject};
use method::Method;
use world::World;

pub use report::rewrite_page;

use crate::operator::{self, Profile};

/// Fewer repeats than this are not published.
const LEAST_REPEATS: usize = 5;

/// How the benchmarks are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often each is measured.
    pub repeats: usize,
    /// Only groups with this in the name of the group or of one of its lines.
    pub only: Option<String>,
    /// The part of the documents that is copied.
    pub scale: f64,
    /// Leave the clusters running.
    pub keep: bool,
    /// Measure the operator that runs, not this checkout's.
    pub running_operator: bool,
}

/// Measures on the running Kubernetes; writes the results into `docs/` unless it was only a try.
pub async fn run(options: &Options) -> Result<()> {
    let all = groups::all();
    let chosen: Vec<_> = all.iter().filter(|group| is_chosen(group, options.only.as_deref())).collect();
    if chosen.is_empty() {
        let names: Vec<_> = all.iter().map(|group| group.name).collect();
        bail!("nothing to measure by that name: there are {}", names.join(", "));
    }
    if !(options.scale > 0.0 && options.scale <= 1.0) || options.repeats == 0 {
        bail!("--scale must be above 0 and at most 1, --repeats at least 1");
    }
    // What is missing is better known now than in an hour.
    if chosen.iter().any(|group| needs_elasticdump(group)) {
        elasticdump::install()?;
    }
    if !options.running_operator {
        operator::deploy(Profile::Release)?;
    }
    // What needs no engines is measured without any, and first: nothing else is there then.
    let (with, without): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|group| group.needs_engines());
    // The results name this checkout's commit.
    let is_published = options.scale == 1.0 && options.repeats >= LEAST_REPEATS && !options.running_operator;
    let measure = async |world: Option<&World>, groups: Vec<&Group>| {
        for group in groups {
            let measured = runner::measure(world, group, options.repeats, options.scale).await?;
            print!("{}", report::lines(&measured));
            if is_published {
                report::write(measured, &all)?;
            }
        }
        anyhow::Ok(())
    };
    measure(None, without).await?;
    if !with.is_empty() {
        let world = World::begin()?;
        measure(Some(&world), with).await?;
        world.clean().await?;
    }
    if !is_published {
        println!(
            "\nOnly a try (--scale, --running-operator, or fewer than {LEAST_REPEATS} repeats): nothing is written into docs."
        );
    }
    if options.keep { Ok(()) } else { world::end() }
}

fn is_chosen(group: &Group, only: Option<&str>) -> bool {
    only.is_none_or(|only| group.name.contains(only) || group.rows.iter().any(|row| row.name.contains(only)))
}

fn needs_elasticdump(group: &Group) -> bool {
    let Subject::Copies(copies) = &group.subject else { return false };
    copies.contenders.iter().any(|contender| matches!(contender.method, Method::Elasticdump { .. }))
}
