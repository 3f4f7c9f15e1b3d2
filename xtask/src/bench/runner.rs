//! Measures a group: the engines warm, the contenders in turn.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::corpus::Corpus;
use super::groups::{Contender, Grid, Group};
use super::method::{Method, SECONDS, Sample};
use super::results::{Measured, Runs, judge};
use super::world::{Route, World};
use crate::{paths, progress};

/// How many of a grid's points are measured as often as everything else.
const BEST: usize = 3;
/// The most copies that are made to warm the engines.
const WARM_UPS: usize = 6;

/// Measures a group. What fails is told in the result, and does not keep the rest from being measured.
pub async fn measure(world: &World, group: &Group, repeats: usize, scale: f64) -> Result<Measured> {
    println!("\n{}", group.title);
    let load_average = load_average()?;
    let corpus = group.corpus.scaled(scale);
    corpus.load(&world.source).await?;
    warm(world, group, &corpus).await;
    let mut contenders = group.contenders.clone();
    let mut grid = BTreeMap::new();
    if let Some(points) = &group.grid {
        let (seconds, best) = screen(world, group, &corpus, points).await;
        grid = seconds;
        contenders.extend(best);
    }

    let mut all: Vec<_> = contenders
        .iter()
        .map(|contender| Runs { name: contender.name.clone(), samples: Vec::new(), failure: None })
        .collect();
    for repeat in 0..repeats {
        println!("  repeat {} of {repeats}", repeat + 1);
        // Another one begins each time, so that nobody always follows the same.
        for turn in 0..contenders.len() {
            let at = (repeat + turn) % contenders.len();
            if all[at].failure.is_some() {
                continue;
            }
            match run(world, group.route, &corpus, &contenders[at]).await {
                Ok(sample) => all[at].samples.push(sample),
                Err(failure) => all[at].failure = Some(failure),
            }
        }
    }
    let results = group.rows.iter().map(|row| judge(row, &all)).collect();
    Ok(Measured {
        name: group.name.to_owned(),
        title: group.title.to_owned(),
        measured_at: line("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        commit: line("git", &["rev-parse", "--short=10", "HEAD"])?,
        load_average,
        documents: corpus.documents,
        repeats,
        grid,
        contenders: all,
        results,
    })
}

/// Copies until a copy is hardly faster than the one before: until then Java compiles, not Elasticsearch copies.
async fn warm(world: &World, group: &Group, corpus: &Corpus) {
    let size = group.grid.as_ref().map_or(5000, |grid| grid.sizes[grid.sizes.len() / 2]);
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
async fn screen(
    world: &World,
    group: &Group,
    corpus: &Corpus,
    grid: &Grid,
) -> (BTreeMap<String, Option<f64>>, Vec<Contender>) {
    println!("  every point of the grid once");
    let mut timed = Vec::new();
    let mut seconds = BTreeMap::new();
    for point in grid.points() {
        let sample = run(world, group.route, corpus, &point).await.ok();
        let took = sample.and_then(|sample| sample.get(SECONDS).copied());
        seconds.insert(point.name.clone(), took);
        timed.extend(took.map(|took| (took, point)));
    }
    timed.sort_by(|(one, _), (another, _)| one.total_cmp(another));
    (seconds, timed.into_iter().take(BEST).map(|(_, point)| point).collect())
}

/// One repeat, told while it happens; a failure in one line.
async fn run(world: &World, route: Route, corpus: &Corpus, contender: &Contender) -> Result<Sample, String> {
    let result = contender.method.run(world, corpus, route).await;
    match result {
        Ok(sample) => {
            let words: Vec<_> = sample.iter().map(|(metric, value)| format!("{metric} {value:.2}")).collect();
            println!("    {}: {}", contender.name, words.join(", "));
            Ok(sample)
        }
        Err(error) => {
            println!("    {}: {error:#}", contender.name);
            let text = format!("{error:#}");
            Err(text.lines().next().unwrap_or_default().to_owned())
        }
    }
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
