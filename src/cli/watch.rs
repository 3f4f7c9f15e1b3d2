//! How far Reindexes are, again and again until they have ended.

use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watch_object},
    },
};
use terminal_size::{Height, Width, terminal_size_of};

use crate::{
    api::{
        Reindex,
        conditions::{self, FAILED},
    },
    plan::report::{is_finished, waits_for_person},
    text::one_line,
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

/// How long several are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until each has ended: where the operator runs in this process, nobody goes on with the others after that.
    AllHaveEnded,
    /// The same, or until one can't go on; the others do, whoever watches.
    OneIsUnfinished,
}

/// How they ended, at worst, None while they are watched on; `ends` has those of all `count` that were seen by now.
fn over(ends: &[Option<End>], count: usize, until: Until) -> Option<End> {
    if ends.len() < count {
        return None;
    }
    let have_ended = ends.iter().all(Option::is_some);
    let is_unfinished = until == Until::OneIsUnfinished && ends.contains(&Some(End::Unfinished));
    ends.iter().flatten().copied().max().filter(|_| have_ended || is_unfinished)
}

/// Shows them until it is over; `end` says of each how it ended. A terminal is drawn anew in place; anything else gets a line for each
/// change. Returns the worst end.
pub async fn watch(watched: Vec<Watched>, until: Until, end: &impl Fn(&Reindex) -> Option<End>) -> Result<End, Fault> {
    let mut screen = Screen::new(watched.len());
    let names: Vec<_> = watched.iter().map(|watched| watched.name.clone()).collect();
    let versions = watched.into_iter().enumerate().map(|(at, Watched { api, name })| {
        watch_object(api, &name).default_backoff().map(move |version| Some((at, version))).boxed()
    });
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(REDRAW).await;
        Some((None, ()))
    });
    let mut seen = pin!(stream::select(stream::select_all(versions), ticks));
    let mut last: BTreeMap<usize, Reindex> = BTreeMap::new();
    while let Some(version) = seen.next().await {
        match version {
            Some((at, Ok(Some(reindex)))) => {
                last.insert(at, reindex);
                screen.trouble = None;
            }
            Some((at, Ok(None))) => return Err(Fault::Deleted(names[at].clone())),
            Some((_, Err(error))) if is_refused(&error) => return Err(Fault::Watch(error)),
            Some((_, Err(error))) => screen.tell(&error),
            None => {}
        }
        let ends: Vec<_> = last.values().map(end).collect();
        let worst = over(&ends, names.len(), until);
        screen.show(&last, worst.is_some())?;
        if let Some(worst) = worst {
            return Ok(worst);
        }
    }
    Err(Fault::Deleted(names.join(", ")))
}

/// Whether the apiserver refuses this person: trying again would not help. Every other watch begins anew by itself.
fn is_refused(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let status = match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status,
        _ => return false,
    };
    [401, 403].contains(&status.code)
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
    size().map_or(text::WIDTH, |(width, _)| text::WIDTH.min(width))
}

/// Columns and rows of the terminal that is written to; None where that is none, whatever the errors go to.
fn size() -> Option<(usize, usize)> {
    let (Width(columns), Height(rows)) = terminal_size_of(std::io::stdout())?;
    Some((columns.into(), rows.into()))
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
    /// Why the watch broke off, until there is news again.
    trouble: Option<String>,
}

impl Screen {
    fn new(count: usize) -> Screen {
        let is_terminal = std::io::stdout().is_terminal();
        Screen { is_terminal, drawn: 0, lines: BTreeMap::new(), names: count > 1, trouble: None }
    }

    /// Says that the watch broke off: on a terminal below the page, else once, on the standard error.
    fn tell(&mut self, error: &watcher::Error) {
        let trouble = one_line(&format!("the watch broke off and is begun anew: {error}"));
        if !self.is_terminal && self.trouble.as_ref() != Some(&trouble) {
            eprintln!("{trouble}");
        }
        self.trouble = Some(trouble);
    }

    fn show(&mut self, seen: &BTreeMap<usize, Reindex>, is_last: bool) -> Result<(), Fault> {
        if self.is_terminal { self.draw(seen, is_last) } else { self.write(seen) }
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

    fn draw(&mut self, seen: &BTreeMap<usize, Reindex>, is_last: bool) -> Result<(), Fault> {
        let mut out = std::io::stdout().lock();
        let width = width();
        let mut page: String = seen.values().map(|reindex| text::status(reindex, Timestamp::now(), width)).collect();
        page += &self.trouble.as_ref().map_or(String::new(), |trouble| text::wrapped(trouble, width));
        // What has scrolled away can't be drawn over. The last page may: nothing is drawn after it.
        if let Some((_, rows)) = size().filter(|_| !is_last) {
            page = text::top(&page, rows.saturating_sub(1));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_waits_for_a_person_ends_the_watch_of_all_where_others_go_on_elsewhere() {
        let (goes_on, well, waits, failed) = (None, Some(End::Well), Some(End::Unfinished), Some(End::Otherwise));
        for (ends, all, one) in [
            ([goes_on, goes_on], None, None),
            ([well, goes_on], None, None),
            ([failed, goes_on], None, None),
            ([goes_on, waits], None, waits),
            ([well, waits], waits, waits),
            ([waits, failed], failed, failed),
            ([well, well], well, well),
        ] {
            let seen = [Until::AllHaveEnded, Until::OneIsUnfinished].map(|until| over(&ends, 2, until));
            assert_eq!(seen, [all, one], "{ends:?}");
            assert_eq!(over(&ends[..1], 2, Until::OneIsUnfinished), None, "one was not seen yet");
        }
    }
}
