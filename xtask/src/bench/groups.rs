//! What is measured, and what it is held against.

use serde_json::{Value, json};

use super::corpus::{Corpus, LARGE, MEDIUM, SIX, SMALL};
use super::many::{self, Scene};
use super::method::{Besides, GROWTH, IDLE_WRITES, Method, OVERHEAD, PROOF, RATE, SECONDS, WRITES};
use super::world::Route;

/// The operator with nothing said in `spec.execution`.
pub const OURS: &str = "Reindex, defaults";
const ONE: &str = "Reindex, one partition";
const UNDISTURBED: &str = "Reindex, eight tasks";
const KILLED: &str = "Reindex, eight tasks, one of them killed";
const IDENTITY: &str = "Reindex, level Identity";
const CONTENT: &str = "Reindex, level Content";
/// The level that a Reindex has where nobody says another.
const COUNT: &str = "Count";
/// R of the issue.
const RAW: &str = "_reindex, defaults";
const CEILING: &str = "_bulk client, no reading";
const DUMP: &str = "elasticdump, defaults";
const DUMP_10000: &str = "elasticdump --limit=10000";
/// How the names of a grid's points begin.
pub const GRID: &str = "by hand: ";

/// Measurements that are compared with each other.
pub struct Group {
    /// Its name: that of its picture too.
    pub name: &'static str,
    /// What people read above the picture.
    pub title: &'static str,
    /// What its picture shows: the number of a sample, its unit, and what people read below the title.
    pub shown: Shown,
    /// What is measured.
    pub subject: Subject,
    /// What is asked.
    pub rows: Vec<Row>,
}

/// What a picture shows.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which of the numbers of a sample.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What people read below the title.
    pub caption: String,
}

/// What is measured.
pub enum Subject {
    /// One copy at a time, by the operator and by others in turn.
    Copies(Copies),
    /// The operator with many objects, and no real engines.
    Many(Vec<Scene>),
    /// Copies of six documents at once.
    Tiny {
        /// How many.
        copies: usize,
        /// What people read beside the operator's bar, and beside that of the client that sends the same calls.
        names: [&'static str; 2],
    },
}

/// One copy at a time.
pub struct Copies {
    /// What is copied.
    pub corpus: Corpus,
    /// On which way.
    pub route: Route,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// Points of which the best take part too.
    pub grid: Option<Grid>,
}

impl Group {
    /// A group of copies.
    fn of_copies(name: &'static str, title: &'static str, copies: Copies, rows: Vec<Row>) -> Self {
        let caption = format!("Seconds for {} documents", copies.corpus.documents);
        let shown = Shown { metric: SECONDS, unit: "s", caption };
        Self { name, title, shown, subject: Subject::Copies(copies), rows }
    }

    /// Whether its copies are between the two real clusters.
    pub fn needs_engines(&self) -> bool {
        match &self.subject {
            Subject::Copies(_) | Subject::Tiny { .. } => true,
            Subject::Many(_) => false,
        }
    }

    /// The names of those who take part from the start.
    #[cfg(test)]
    fn names(&self) -> Vec<&str> {
        match &self.subject {
            Subject::Copies(copies) => copies.contenders.iter().map(|contender| contender.name.as_str()).collect(),
            Subject::Many(scenes) => scenes.iter().map(|scene| scene.name).collect(),
            Subject::Tiny { names, .. } => names.to_vec(),
        }
    }
}

/// One who takes part.
#[derive(Clone)]
pub struct Contender {
    /// What people read beside its bar.
    pub name: String,
    /// What it does.
    pub method: Method,
}

/// Every number of tasks with every size of a batch.
pub struct Grid {
    /// Numbers of tasks.
    pub tasks: &'static [usize],
    /// Documents in a batch.
    pub sizes: &'static [usize],
}

impl Grid {
    /// Its points.
    pub fn points(&self) -> Vec<Contender> {
        let point = |tasks: usize, size: usize| Contender {
            name: format!("{GRID}{tasks} x {size}"),
            method: Method::Raw { tasks, size: Some(size) },
        };
        self.tasks.iter().flat_map(|tasks| self.sizes.iter().map(move |size| point(*tasks, *size))).collect()
    }
}

/// One line of the table.
pub struct Row {
    /// What it says.
    pub name: String,
    /// What was measured, by the contender's name.
    pub ours: &'static str,
    /// What it is compared with.
    pub other: Other,
    /// Which of the numbers of a sample.
    pub metric: &'static str,
    /// What is to be reached.
    pub target: Target,
    /// What is hoped for beyond it.
    pub aim: Option<f64>,
}

/// What a measurement is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// Nothing: the target is a number.
    Nothing,
    /// A contender.
    One(&'static str),
    /// The point of the grid with the best median.
    BestOfGrid,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// That it ends well; the other shows whether that is anything.
    Completes,
    /// At most so much.
    AtMost(f64),
    /// The other needs at least so many times as long.
    Faster(f64),
    /// At most so many times as long, or as large, as the other.
    Times(f64),
    /// At most so much more than the other.
    More(f64),
    /// At least this share of the other's rate.
    Share(f64),
}

/// Every group, in the order of the report; the names of groups and rows are what `--only` looks at.
pub fn all() -> Vec<Group> {
    let mut groups = vec![small_copy()];
    groups.extend([copy("copy-small", SMALL), copy("copy-medium", MEDIUM)]);
    groups.extend([far("far-small", SMALL), far("far-medium", MEDIUM), large()]);
    // A million take elasticdump a quarter of an hour each time.
    let few = Corpus { documents: 200_000, ..SMALL };
    groups.extend([elasticdump("elasticdump-small", few), elasticdump("elasticdump-medium", MEDIUM)]);
    groups.extend([killed(), count(), proof()]);
    groups.extend([memory("memory-few", 100_000), memory("memory-many", 2_000_000)]);
    groups.extend(many::groups());
    groups
}

fn small_copy() -> Group {
    let row = |name: &str, ours, metric, limit, aim| Row {
        name: name.to_owned(),
        ours,
        other: Other::Nothing,
        metric,
        target: Target::AtMost(limit),
        aim,
    };
    Group::of_copies(
        "small-copy",
        "Six documents, the allowlist in place",
        Copies { corpus: SIX, route: Route::Direct, contenders: vec![ours(), one(Besides::CountWrites)], grid: None },
        vec![
            row("six documents: apply to Complete, s", OURS, SECONDS, 3.0, None),
            row("six documents, one partition: beyond the task's took, s", ONE, OVERHEAD, 2.0, Some(1.0)),
            row("one partition: writes to the Reindex until Complete", ONE, WRITES, 12.0, None),
            row("one partition: writes to the Reindex in 20 s after Complete", ONE, IDLE_WRITES, 0.0, None),
        ],
    )
}

fn copy(name: &'static str, corpus: Corpus) -> Group {
    let row = |what: &str, ours, other, metric, target, aim| Row {
        name: format!("{}: {what}", documents(&corpus)),
        ours,
        other,
        metric,
        target,
        aim,
    };
    Group::of_copies(
        name,
        if corpus == SMALL { "Small documents, no added delay" } else { "Medium documents, no added delay" },
        Copies {
            corpus,
            route: Route::Direct,
            contenders: vec![ours(), raw(), contender(CEILING, Method::Ceiling), one(Besides::Nothing)],
            grid: Some(Grid { tasks: &[1, 2, 4, 8], sizes: &[1000, 2500, 5000, 10_000] }),
        },
        vec![
            row("against one raw _reindex, s", OURS, Other::One(RAW), SECONDS, Target::Faster(1.4), Some(1.7)),
            row("against the best by hand, documents/s", OURS, Other::BestOfGrid, RATE, Target::Share(0.9), None),
            row("against the ceiling, documents/s", OURS, Other::One(CEILING), RATE, Target::Share(0.5), Some(0.6)),
            row(
                "one partition: beyond the task's took, s",
                ONE,
                Other::Nothing,
                OVERHEAD,
                Target::AtMost(2.0),
                Some(1.0),
            ),
        ],
    )
}

fn far(name: &'static str, corpus: Corpus) -> Group {
    Group::of_copies(
        name,
        if corpus == SMALL { "Small documents, 50 ms each way" } else { "Medium documents, 50 ms each way" },
        Copies { corpus, route: Route::Far, contenders: vec![ours(), raw()], grid: None },
        vec![Row {
            name: format!("{}, 50 ms each way: against one raw _reindex, s", documents(&corpus)),
            ours: OURS,
            other: Other::One(RAW),
            metric: SECONDS,
            target: Target::Faster(6.0),
            aim: None,
        }],
    )
}

fn large() -> Group {
    let row = |what: &str, other, target| Row {
        name: format!("{}: {what}", documents(&LARGE)),
        ours: OURS,
        other,
        metric: SECONDS,
        target,
        aim: None,
    };
    Group::of_copies(
        "copy-large",
        "Large documents, no added delay",
        Copies {
            corpus: LARGE,
            route: Route::Direct,
            contenders: vec![ours(), raw()],
            grid: Some(Grid { tasks: &[1, 2, 4], sizes: &[25, 100, 400] }),
        },
        vec![
            row("completes with nothing tuned, s", Other::One(RAW), Target::Completes),
            row("against the best fixed batch, s", Other::BestOfGrid, Target::Times(1.3)),
        ],
    )
}

fn elasticdump(name: &'static str, corpus: Corpus) -> Group {
    let dump = |name, limit| contender(name, Method::Elasticdump { limit });
    let row = |what: &str, other, factor| Row {
        name: format!("{}: against {what}, s", documents(&corpus)),
        ours: OURS,
        other: Other::One(other),
        metric: SECONDS,
        target: Target::Faster(factor),
        aim: None,
    };
    Group::of_copies(
        name,
        if corpus.name == SMALL.name { "Small documents and elasticdump" } else { "Medium documents and elasticdump" },
        Copies {
            corpus,
            route: Route::Direct,
            contenders: vec![ours(), dump(DUMP, None), dump(DUMP_10000, Some(10_000))],
            grid: None,
        },
        vec![row("elasticdump with its defaults", DUMP, 12.0), row("elasticdump --limit=10000", DUMP_10000, 2.3)],
    )
}

fn killed() -> Group {
    let eight = || json!({"partitions": 8, "parallelism": 8});
    Group::of_copies(
        "killed-task",
        "One of eight running tasks killed at half-way",
        Copies {
            corpus: SMALL,
            route: Route::Near,
            contenders: vec![
                contender(KILLED, Method::Ours { execution: eight(), level: COUNT, besides: Besides::Kill }),
                contender(UNDISTURBED, Method::Ours { execution: eight(), level: COUNT, besides: Besides::Nothing }),
            ],
            grid: None,
        },
        vec![Row {
            name: "one of eight tasks killed at half-way: against none killed, s".to_owned(),
            ours: KILLED,
            other: Other::One(UNDISTURBED),
            metric: SECONDS,
            target: Target::Times(1.15),
            aim: None,
        }],
    )
}

/// What it costs to count.
fn count() -> Group {
    Group::of_copies(
        "count",
        "Small documents, counted",
        Copies { corpus: SMALL, route: Route::Direct, contenders: vec![ours()], grid: None },
        vec![Row {
            name: format!("{}: from the copy's end to Complete, counted, s", documents(&SMALL)),
            ours: OURS,
            other: Other::Nothing,
            metric: PROOF,
            target: Target::AtMost(1.0),
            aim: None,
        }],
    )
}

/// What it costs to prove more than numbers: the time of a whole copy with its proof, against that of a copy that is counted.
fn proof() -> Group {
    let at = |name, level| contender(name, Method::Ours { execution: Value::Null, level, besides: Besides::Nothing });
    let row = |what: &str, ours, most, aim| Row {
        name: format!("{}: {what}, s", documents(&SMALL)),
        ours,
        other: Other::One(OURS),
        metric: SECONDS,
        target: Target::Times(most),
        aim: Some(aim),
    };
    Group::of_copies(
        "proof",
        "Small documents, and what is proved of them",
        Copies {
            corpus: SMALL,
            route: Route::Direct,
            contenders: vec![ours(), at(IDENTITY, "Identity"), at(CONTENT, "Content")],
            grid: None,
        },
        vec![
            row("with its proof of every id and version", IDENTITY, 1.4, 1.3),
            row("with its proof of every document's content", CONTENT, 1.6, 1.5),
        ],
    )
}

/// What the operator holds in memory while it compares whole documents, however many.
fn memory(name: &'static str, count: usize) -> Group {
    let corpus = Corpus { documents: count, ..SMALL };
    Group::of_copies(
        name,
        if count < SMALL.documents { "Memory, few documents" } else { "Memory, many documents" },
        Copies {
            corpus,
            route: Route::Direct,
            contenders: vec![contender(
                CONTENT,
                Method::Ours { execution: Value::Null, level: "Content", besides: Besides::Restart },
            )],
            grid: None,
        },
        vec![Row {
            name: format!("{}: the operator's growth until their content is proved, MiB", documents(&corpus)),
            ours: CONTENT,
            other: Other::Nothing,
            metric: GROWTH,
            target: Target::AtMost(16.0),
            aim: None,
        }],
    )
}

fn contender(name: &str, method: Method) -> Contender {
    Contender { name: name.to_owned(), method }
}

fn ours() -> Contender {
    contender(OURS, Method::Ours { execution: Value::Null, level: COUNT, besides: Besides::Nothing })
}

fn one(besides: Besides) -> Contender {
    contender(ONE, Method::Ours { execution: json!({"partitions": 1, "parallelism": 1}), level: COUNT, besides })
}

fn raw() -> Contender {
    contender(RAW, Method::Raw { tasks: 1, size: None })
}

/// What a row calls the corpus.
fn documents(corpus: &Corpus) -> String {
    let count = match corpus.documents {
        count if count >= 1_000_000 => format!("{} M", count / 1_000_000),
        count => format!("{} k", count / 1000),
    };
    let size = match corpus.bytes {
        bytes if bytes >= 1000 => format!("{} KB", bytes as f64 / 1000.0),
        bytes => format!("{bytes} B"),
    };
    format!("{count} documents of {size}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_asks_for_somebody_who_takes_part() {
        for group in all() {
            let takes_part = |name: &str| group.names().contains(&name);
            for row in &group.rows {
                assert!(takes_part(row.ours), "{}", row.name);
                match row.other {
                    Other::Nothing => {}
                    Other::One(other) => assert!(takes_part(other), "{}", row.name),
                    Other::BestOfGrid => {
                        assert!(
                            matches!(&group.subject, Subject::Copies(copies) if copies.grid.is_some()),
                            "{}",
                            row.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn names_of_rows_tell_them_apart() {
        let mut names: Vec<_> = all().into_iter().flat_map(|group| group.rows).map(|row| row.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(documents(&SMALL), "1 M documents of 250 B");
        assert_eq!(documents(&MEDIUM), "200 k documents of 2.4 KB");
    }
}
