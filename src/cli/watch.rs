//! How far a Reindex is, again and again until it has ended.

use std::{
    io::{IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::watch_object;

use crate::{
    api::{Reindex, conditions},
    plan::report::is_finished,
};

use super::{End, Fault, Place, text};

/// How often a terminal is drawn anew though nothing has changed: rates and remaining times go on.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows it until it has ended. A terminal is drawn anew in place; anything else gets a line for each change.
pub async fn watch(place: &Place, name: &str) -> Result<End, Fault> {
    place.reindex(name).await?;
    let mut screen = Screen::new();
    let versions = watch_object(place.reindexes(), name).map(Some);
    let ticks = stream::unfold((), |()| async {
        tokio::time::sleep(REDRAW).await;
        Some((None, ()))
    });
    let mut seen = pin!(stream::select(versions, ticks));
    let mut last: Option<Reindex> = None;
    while let Some(version) = seen.next().await {
        match version {
            Some(Ok(Some(reindex))) => last = Some(reindex),
            Some(Ok(None)) => return Err(Fault::Deleted(name.to_owned())),
            // The watch begins anew by itself.
            Some(Err(_)) | None => {}
        }
        let Some(reindex) = &last else { continue };
        screen.show(reindex)?;
        if let Some(status) = reindex.status.as_ref().filter(|status| is_finished(status)) {
            let failed = conditions::is_true(&status.conditions, conditions::FAILED);
            return Ok(if failed { End::Otherwise } else { End::Well });
        }
    }
    Err(Fault::Deleted(name.to_owned()))
}

/// How wide a line may be here.
pub fn width() -> usize {
    terminal_size::terminal_size().map_or(text::WIDTH, |(width, _)| text::WIDTH.min(usize::from(width.0)))
}

/// Where it is shown.
struct Screen {
    is_terminal: bool,
    /// Lines that were drawn last, to be drawn over.
    drawn: usize,
    /// The line that was written last.
    line: String,
}

impl Screen {
    fn new() -> Screen {
        Screen { is_terminal: std::io::stdout().is_terminal(), drawn: 0, line: String::new() }
    }

    fn show(&mut self, reindex: &Reindex) -> Result<(), Fault> {
        let mut out = std::io::stdout().lock();
        if !self.is_terminal {
            let line = text::line(reindex);
            if line != self.line {
                writeln!(out, "{line}")?;
                self.line = line;
            }
            return Ok(());
        }
        let page = text::status(reindex, Timestamp::now(), width());
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
