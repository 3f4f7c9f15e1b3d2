//! Measures a group: the engines warm, the contenders in turn.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::corpus::Corpus;
use super::groups::{Contender, Copies, Grid, Group, Subject};
use super::many;
use super::method::{Method, SECONDS, Sample};
use super::report;
use super::results::{Measured, Runs, judge};
use super::world::{Route, World};
use crate::{paths, progress};

/// How many of a grid's points are measured as often as everything else.
const BEST: usize = 3;
/// The most copies that are made to warm the engines.
const WARM_UPS: usize = 6;

/// Measures a group. What fails is told in the result, and does not keep the rest from being measured.
pub async fn measure(world: Option<&World>, group: &Group, repeats: usize, scale: f64) -> Result<Measured> {
    println!("\n{}", group.title);
    let load_average = load_average()?;
    let engines = || world.context("failed: the clusters of the benchmarks don't run");
    let (grid, all) = match &group.subject {
        Subject::Copies(copies) => measure_copies(engines()?, copies, repeats, scale).await?,
        Subject::Many(scenes) => (Seconds::new(), many::measure(scenes, repeats, scale).await?),
        Subject::Tiny { copies, names } => {
            let copies = many::scaled(*copies, scale);
            (Seconds::new(), many::measure_tiny(engines()?, copies, *names, repeats).await?)
        }
    };
    let results = group.rows.iter().map(|row| judge(row, &all)).collect();
    Ok(Measured {
        name: group.name.to_owned(),
        title: group.title.to_owned(),
        measured_at: line("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        commit: line("git", &["rev-parse", "--short=10", "HEAD"])?,
        machine: report::machine(),
        load_average,
        repeats,
        grid,
        contenders: all,
        results,
    })
}

/// Seconds of each point of a grid; `None` where it failed.
type Seconds = BTreeMap<String, Option<f64>>;

async fn measure_copies(world: &World, copies: &Copies, repeats: usize, scale: f64) -> Result<(Seconds, Vec<Runs>)> {
    let corpus = copies.corpus.scaled(scale);
    corpus.load(&world.source).await?;
    warm(world, copies, &corpus).await;
    let mut contenders = copies.contenders.clone();
    let mut grid = Seconds::new();
    if let Some(points) = &copies.grid {
        let (seconds, best) = screen(world, copies, &corpus, points).await;
        grid = seconds;
        contenders.extend(best);
    }
    let names: Vec<_> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    let all = in_turn(&names, repeats, async |at| run(world, copies.route, &corpus, &contenders[at]).await).await;
    Ok((grid, all))
}

/// Repeats all of them in turn, another one first each time, so that nobody always follows the same.
pub async fn in_turn(
    names: &[&str],
    repeats: usize,
    mut run: impl AsyncFnMut(usize) -> Result<Sample, String>,
) -> Vec<Runs> {
    let mut all: Vec<_> = names.iter().map(|name| Runs::none_yet(name)).collect();
    for repeat in 0..repeats {
        println!("  repeat {} of {repeats}", repeat + 1);
        for turn in 0..all.len() {
            let at = (repeat + turn) % all.len();
            if all[at].failure.is_none() {
                all[at].add(run(at).await);
            }
        }
    }
    all
}

/// Tells what one repeat came to; a failure in one line.
pub fn told(name: &str, result: Result<Sample>) -> Result<Sample, String> {
    match result {
        Ok(sample) => {
            let words: Vec<_> = sample.iter().map(|(metric, value)| format!("{metric} {value:.2}")).collect();
            println!("    {name}: {}", words.join(", "));
            Ok(sample)
        }
        Err(error) => {
            println!("    {name}: {error:#}");
            let text = format!("{error:#}");
            Err(text.lines().next().unwrap_or_default().to_owned())
        }
    }
}

/// Copies until a copy is hardly faster than the one before: until then Java compiles, not Elasticsearch copies.
async fn warm(world: &World, copies: &Copies, corpus: &Corpus) {
    let size = copies.grid.as_ref().map_or(5000, |grid| grid.sizes[grid.sizes.len() / 2]);
    let method = Method::Raw { tasks: 2, size: Some(size) };
    let contender = Contender { name: "warming up".to_owned(), method };
    let mut last = f64::INFINITY;
    for _ in 0..WARM_UPS {
        // Whoever takes part will fail in the same way, and that is told.
        let Ok(sample) = run(world, Route::Direct, corpus, &contender).await else {
            return;
        };
        let seconds = sample[SECONDS];
        if seconds > last * 0.9 {
            return;
        }
        last = seconds;
    }
}

/// Runs every point once: the seconds of each, and the best few.
async fn screen(world: &World, copies: &Copies, corpus: &Corpus, grid: &Grid) -> (Seconds, Vec<Contender>) {
    println!("  every point of the grid once");
    let mut timed = Vec::new();
    let mut seconds = Seconds::new();
    for point in grid.points() {
        let sample = run(world, copies.route, corpus, &point).await.ok();
        let took = sample.and_then(|sample| sample.get(SECONDS).copied());
        seconds.insert(point.name.clone(), took);
        timed.extend(took.map(|took| (took, point)));
    }
    timed.sort_by(|(one, _), (another, _)| one.total_cmp(another));
    (seconds, timed.into_iter().take(BEST).map(|(_, point)| point).collect())
}

/// One repeat, told while it happens.
async fn run(world: &World, route: Route, corpus: &Corpus, contender: &Contender) -> Result<Sample, String> {
    told(&contender.name, contender.method.run(world, corpus, route).await)
}

fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").context("failed to read the load average")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().with_context(|| format!("failed to parse the load average: {text:?}"))
}

fn line(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new(program);
    let output = progress::output(command.args(arguments).current_dir(paths::checkout()?))?;
    Ok(output.trim().to_owned())
}
