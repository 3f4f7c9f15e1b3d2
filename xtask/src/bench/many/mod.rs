//! The operator with many objects: what it holds in memory, how soon it has seen them all, and how fast a thousand small copies go.
//!
//! [`running`] is the operator's process, [`objects`] are those it holds, [`swarm`] are copies at once: against engines in memory ([`stub`])
//! or ([`tiny`]) real ones, beside the same calls by a plain client ([`replay`]), or the same writes to the apiserver ([`writes`]).
//! [`controller_runtime`] holds the same objects in Go.

mod apiserver;
mod controller_runtime;
mod objects;
mod replay;
mod running;
mod stub;
mod swarm;
mod tiny;
mod writes;

use std::time::Duration;

use anyhow::{Context, Result};

use super::groups::{Group, Other, Row, Shown, Subject, Target};
use super::method::{SECONDS, Sample};
use super::results::Runs;
use super::runner::{in_turn, told};
use super::world::World;
use crate::{images, operator};

use apiserver::Apiserver;
use objects::Objects;
use running::Operator;
use stub::Stub;
use swarm::{Pace, Place};
use tiny::Tiny;

/// The namespace of everything here.
const NAMESPACE: &str = "bench-many";

/// MiB that a process holds in memory, some time after it has seen all its objects.
const RESIDENT: &str = "residentMiB";
/// Seconds from a process's start until it has seen all its objects.
const SEEN_ALL: &str = "secondsUntilAllSeen";
/// Seconds that 99 of 100 passes over a Reindex stay below, without their waits for engines.
const PASS: &str = "pass99Seconds";
/// MiB of the image's layers, compressed.
const IMAGE: &str = "imageMiB";

const IDLE: &str = "Reindex operator, no objects";
const THOUSAND: &str = "Reindex operator, 1,000 finished";
const TEN_THOUSAND: &str = "Reindex operator, 10,000 finished";
const GO: &str = "controller-runtime, the same 10,000";
const ALONE: &str = "Reindex operator, no Secrets";
const SECRETS: &str = "Reindex operator, 5,000 Secrets";
const STUB: &str = "Reindex, 1,000 at once";
const STUB_WRITES: &str = "the same writes by a plain client";
const TURN: &str = "Reindex, 60 in turn";
const TURN_WRITES: &str = "the same writes, in turn";
const TINY: &str = "Reindex, 200 at once";
const CLIENT: &str = "the same calls by a plain client";
const LAYERS: &str = "Reindex operator's image";

/// One thing to look at, however often.
pub struct Scene {
    /// What people read beside its bar.
    pub name: &'static str,
    load: Load,
}

enum Load {
    /// The operator holds that many finished Reindexes.
    Finished(usize),
    /// So does the controller in Go.
    ControllerRuntime(usize),
    /// The operator runs beside that many Secrets that are none of its business.
    Secrets(usize),
    /// That many copies between engines in memory.
    Stub(usize, Pace),
    /// A plain client writes to the apiserver what the operator writes for that many copies.
    Writes(usize, Pace),
    /// The image.
    Image,
}

/// The groups of this kind.
pub fn groups() -> Vec<Group> {
    vec![image(), objects(), secrets(), stub(), one_by_one(), tiny()]
}

fn image() -> Group {
    let scenes = vec![Scene { name: LAYERS, load: Load::Image }];
    let rows = vec![row("image, MiB compressed", LAYERS, IMAGE, Target::AtMost(15.0), Other::Nothing)];
    many("image", "The image", shown(IMAGE, "MiB", "MiB compressed"), scenes, rows)
}

fn objects() -> Group {
    let resident = |what, ours, most| row(what, ours, RESIDENT, Target::AtMost(most), Other::Nothing);
    let seen = "10,000 finished Reindexes: from the process's start until each was looked at, s";
    let rows = vec![
        resident("no Reindex: resident, MiB", IDLE, 15.0),
        resident("1,000 finished Reindexes: resident, MiB", THOUSAND, 25.0),
        resident("10,000 finished Reindexes: resident, MiB", TEN_THOUSAND, 80.0),
        row(seen, TEN_THOUSAND, SEEN_ALL, Target::AtMost(10.0), Other::Nothing),
        row(
            "10,000 finished Reindexes: against controller-runtime, MiB resident",
            TEN_THOUSAND,
            RESIDENT,
            Target::Times(1.0),
            Other::One(GO),
        ),
        row(
            "10,000 finished Reindexes: against controller-runtime, s until each was looked at",
            TEN_THOUSAND,
            SEEN_ALL,
            Target::Times(1.0),
            Other::One(GO),
        ),
    ];
    let scenes = vec![
        Scene { name: IDLE, load: Load::Finished(0) },
        Scene { name: THOUSAND, load: Load::Finished(1_000) },
        Scene { name: TEN_THOUSAND, load: Load::Finished(10_000) },
        Scene { name: GO, load: Load::ControllerRuntime(10_000) },
    ];
    many("objects", "Finished Reindexes", shown(RESIDENT, "MiB", "MiB resident"), scenes, rows)
}

fn secrets() -> Group {
    let scenes =
        vec![Scene { name: ALONE, load: Load::Secrets(0) }, Scene { name: SECRETS, load: Load::Secrets(5_000) }];
    let what = "5,000 Secrets of 32 KiB that are none of its business: more resident, MiB";
    let rows = vec![row(what, SECRETS, RESIDENT, Target::More(1.0), Other::One(ALONE))];
    many("secrets", "Secrets of others", shown(RESIDENT, "MiB", "MiB resident"), scenes, rows)
}

fn stub() -> Group {
    let scenes = vec![
        Scene { name: STUB, load: Load::Stub(1_000, Pace::AtOnce) },
        Scene { name: STUB_WRITES, load: Load::Writes(1_000, Pace::AtOnce) },
    ];
    let of = |what: &str, metric, target, other| {
        row(&format!("1,000 Reindexes at once, engines in memory: {what}"), STUB, metric, target, other)
    };
    let rows = vec![
        of("all Complete, s", SECONDS, Target::AtMost(60.0), Other::Nothing),
        of("against the same writes by a plain client, s", SECONDS, Target::Times(1.3), Other::One(STUB_WRITES)),
        of("99 of 100 passes without engine time, s", PASS, Target::AtMost(0.05), Other::Nothing),
    ];
    many(
        "thousand",
        "A thousand at once",
        shown(SECONDS, "s", "Seconds for 1,000 copies of six documents"),
        scenes,
        rows,
    )
}

fn one_by_one() -> Group {
    let scenes = vec![
        Scene { name: TURN, load: Load::Stub(60, Pace::InTurn) },
        Scene { name: TURN_WRITES, load: Load::Writes(60, Pace::InTurn) },
    ];
    let of = |what: &str, target, other| {
        row(&format!("60 Reindexes, one a second, engines in memory: {what}"), TURN, PASS, target, other)
    };
    let rows = vec![
        of("99 of 100 passes without engine time, s", Target::AtMost(0.05), Other::Nothing),
        of(
            "99 of 100 passes against the same writes by a plain client, s",
            Target::Times(1.3),
            Other::One(TURN_WRITES),
        ),
    ];
    let caption = "Seconds that 99 of 100 passes stay below, without engine time, with one copy a second";
    many("in-turn", "Sixty in turn", shown(PASS, "s", caption), scenes, rows)
}

fn tiny() -> Group {
    let what = "200 Reindexes of six documents: all Complete, against the same calls by a plain client, s";
    Group {
        name: "tiny",
        title: "Two hundred small copies at once, real engines",
        shown: shown(SECONDS, "s", "Seconds for 200 copies of six documents"),
        subject: Subject::Tiny { copies: 200, names: [TINY, CLIENT] },
        rows: vec![row(what, TINY, SECONDS, Target::Times(1.3), Other::One(CLIENT))],
    }
}

fn many(name: &'static str, title: &'static str, shown: Shown, scenes: Vec<Scene>, rows: Vec<Row>) -> Group {
    Group { name, title, shown, subject: Subject::Many(scenes), rows }
}

fn shown(metric: &'static str, unit: &'static str, caption: &str) -> Shown {
    Shown { metric, unit, caption: caption.to_owned() }
}

fn row(name: &str, ours: &'static str, metric: &'static str, target: Target, other: Other) -> Row {
    Row { name: name.to_owned(), ours, other, metric, target, aim: None }
}

/// Measures one scene after the other: a scene's objects stay for all its repeats, since making ten thousand takes longer than looking at
/// them.
pub async fn measure(scenes: &[Scene], repeats: usize, scale: f64) -> Result<Vec<Runs>> {
    let stub = Stub::start()?;
    let api = Apiserver::connect()?;
    let mut objects = Objects::none(&api).await?;
    let mut all = Vec::new();
    for scene in scenes {
        println!("  {}", scene.name);
        let mut runs = Runs::none_yet(scene.name);
        if let Err(error) = scene.load.prepare(&mut objects, &stub, scale).await {
            runs.add(told(scene.name, Err(error)));
        }
        for _ in 0..repeats {
            if runs.failure.is_none() {
                runs.add(told(scene.name, scene.load.sample(&api, &stub, scale).await));
            }
        }
        all.push(runs);
    }
    objects.remove().await?;
    // Other groups find it as it was.
    running::start()?;
    Ok(all)
}

/// Measures copies between real engines and the same calls by a plain client, in turn.
pub async fn measure_tiny(world: &World, copies: usize, names: [&str; 2], repeats: usize) -> Result<Vec<Runs>> {
    let api = Apiserver::connect()?;
    let tiny = Tiny::begin(&api, world).await?;
    // Java compiles what is called often, and should have before anything counts.
    for _ in 0..2 {
        tiny.replay(copies).await?;
    }
    let runs = in_turn(&names, repeats, async |at| {
        let result = match at {
            0 => tiny.operator(copies).await,
            _ => tiny.replay(copies).await,
        };
        told(names[at], result)
    });
    Ok(runs.await)
}

impl Load {
    /// Brings the objects about; the operator stands still meanwhile, or it would work on them.
    async fn prepare(&self, objects: &mut Objects<'_>, stub: &Stub, scale: f64) -> Result<()> {
        match self {
            Load::Finished(count) | Load::ControllerRuntime(count) => {
                objects.finished(scaled(*count, scale), stub).await
            }
            Load::Secrets(count) => objects.secrets(scaled(*count, scale)).await,
            Load::Stub(..) | Load::Writes(..) | Load::Image => Ok(()),
        }
    }

    async fn sample(&self, api: &Apiserver, stub: &Stub, scale: f64) -> Result<Sample> {
        match self {
            Load::Finished(count) => Operator::started().await?.seen(scaled(*count, scale)).await,
            Load::ControllerRuntime(count) => controller_runtime::sample(scaled(*count, scale)).await,
            Load::Secrets(_) => Operator::started().await?.seen(0).await,
            Load::Stub(count, pace) => swarm::against(&place(api), stub, scaled(*count, scale), *pace).await,
            Load::Writes(count, pace) => writes::sample(&place(api), stub, scaled(*count, scale), *pace).await,
            Load::Image => {
                let layers = operator::layers()?;
                let bytes = images::compressed(&layers)?;
                Ok(Sample::from([(IMAGE.to_owned(), bytes as f64 / f64::from(1 << 20))]))
            }
        }
    }
}

/// Where everything is that needs no real engines.
fn place(api: &Apiserver) -> Place<'_> {
    Place { api, namespace: NAMESPACE }
}

/// A client of what runs on this machine, each of whose requests may take so long.
fn http_client(limit: Duration) -> Result<reqwest::Client> {
    builder(limit).build().context("failed to build an HTTP client")
}

fn builder(limit: Duration) -> reqwest::ClientBuilder {
    // Another part of the process may have chosen the same one before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(limit)
}

/// The part of so many that is measured.
pub fn scaled(count: usize, scale: f64) -> usize {
    (count as f64 * scale).ceil() as usize
}
