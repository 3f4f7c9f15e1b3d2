//! How far Reindexes are, again and again until they have ended.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, runtime::watcher::watch_object};

use crate::{
    api::{
        Reindex,
        conditions::{self, FAILED},
    },
    plan::report::{is_finished, waits_for_person},
};

use super::{End, Fault, text};

/// How often a terminal is drawn anew though nothing has changed: rates and remaining times go on.
const REDRAW: Duration = Duration::from_secs(1);

/// One of those that are watched.
pub struct Watched {
    /// Where it is.
    pub api: Api<Reindex>,
    /// Its name.
    pub name: String,
}

/// Shows them until `end` says of each how it ended. A terminal is drawn anew in place; anything else gets a line for each change.
/// Returns the worst end.
pub async fn watch(watched: Vec<Watched>, end: &impl Fn(&Reindex) -> Option<End>) -> Result<End, Fault> {
    let mut screen = Screen::new(watched.len());
    let names: Vec<_> = watched.iter().map(|watched| watched.name.clone()).collect();
    let versions = watched
        .into_iter()
        .enumerate()
        .map(|(at, Watched { api, name })| watch_object(api, &name).map(move |version| Some((at, version))).boxed());
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(REDRAW).await;
        Some((None, ()))
    });
    let mut seen = pin!(stream::select(stream::select_all(versions), ticks));
    let mut last: BTreeMap<usize, Reindex> = BTreeMap::new();
    while let Some(version) = seen.next().await {
        match version {
            Some((at, Ok(Some(reindex)))) => drop(last.insert(at, reindex)),
            Some((at, Ok(None))) => return Err(Fault::Deleted(names[at].clone())),
            // The watch begins anew by itself.
            Some((_, Err(_))) | None => {}
        }
        screen.show(&last)?;
        let ends: Option<Vec<_>> = last.values().map(end).collect();
        if let Some(worst) = ends.filter(|ends| ends.len() == names.len()).and_then(|ends| ends.into_iter().max()) {
            return Ok(worst);
        }
    }
    Err(Fault::Deleted(names.join(", ")))
}

/// What says how a Reindex ended, None while it has not; with `when_stalled` it has ended, too, where it waits for a person.
pub fn ended(when_stalled: bool) -> impl Fn(&Reindex) -> Option<End> {
    move |reindex| {
        let status = reindex.status.as_ref()?;
        match is_finished(status) {
            true if conditions::is_true(&status.conditions, FAILED) => Some(End::Otherwise),
            true => Some(End::Well),
            false => (when_stalled && waits_for_person(status)).then_some(End::Unfinished),
        }
    }
}

/// How wide a line may be here.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(text::WIDTH, |(width, _)| text::WIDTH.min(usize::from(width.0)))
}

/// Where they are shown.
struct Screen {
    is_terminal: bool,
    /// Lines that were drawn last, to be drawn over.
    drawn: usize,
    /// The line that was written last of each.
    lines: BTreeMap<usize, String>,
    /// Whether a line must say which one it is of.
    names: bool,
}

impl Screen {
    fn new(count: usize) -> Screen {
        Screen { is_terminal: std::io::stdout().is_terminal(), drawn: 0, lines: BTreeMap::new(), names: count > 1 }
    }

    fn show(&mut self, seen: &BTreeMap<usize, Reindex>) -> Result<(), Fault> {
        if self.is_terminal { self.draw(seen) } else { self.write(seen) }
    }

    fn write(&mut self, seen: &BTreeMap<usize, Reindex>) -> Result<(), Fault> {
        let mut out = std::io::stdout().lock();
        for (at, reindex) in seen {
            let mut line = text::line(reindex);
            if self.names {
                line = format!("{}: {line}", text::name(reindex));
            }
            if self.lines.get(at) != Some(&line) {
                writeln!(out, "{line}")?;
                self.lines.insert(*at, line);
            }
        }
        Ok(())
    }

    fn draw(&mut self, seen: &BTreeMap<usize, Reindex>) -> Result<(), Fault> {
        let mut out = std::io::stdout().lock();
        let page: String = seen.values().map(|reindex| text::status(reindex, Timestamp::now(), width())).collect();
        if self.drawn > 0 {
            // Up to the first line, and away with all below.
            write!(out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        write!(out, "{page}")?;
        out.flush()?;
        self.drawn = page.lines().count();
        Ok(())
    }
}
