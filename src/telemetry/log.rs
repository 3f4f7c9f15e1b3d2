//! The log, and how much is in it: said at the start, or by a file that is read again while the operator runs.

use std::{io, path::PathBuf, time::Duration};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

/// How often the file is read. The kubelet itself takes about a minute to bring a change of a ConfigMap into a pod.
const LOOK: Duration = Duration::from_secs(10);

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object: for machines.
    Json,
    /// Words: for people.
    Text,
}

/// Why a filter is none.
#[derive(Debug, thiserror::Error)]
pub enum FilterFault {
    /// tracing can't read it.
    #[error("failed to read it: {0}")]
    Parse(#[from] tracing_subscriber::filter::ParseError),
    /// tracing would take `inof` for the name of a module, log that one's lines and no others.
    #[error("{0:?} is no level: error, warn, info, debug, trace and off are, and MODULE=LEVEL for a module alone")]
    NoLevel(String),
}

/// Begins to log on standard output, filtered as `filter` says (`info`, `info,reindex_operator=debug`).
///
/// # Errors
/// [`FilterFault`].
#[cfg(not(feature = "otel"))]
pub fn init(filter: &str, format: Format) -> Result<Level, FilterFault> {
    let (subscriber, level) = subscriber(filter, format, io::stdout)?;
    subscriber.init();
    Ok(level)
}

/// The same, and sends traces where the environment says that they are collected. A runtime must be there, and the process's crypto provider.
///
/// # Errors
/// [`FilterFault`].
#[cfg(feature = "otel")]
pub fn init(filter: &str, format: Format) -> Result<Level, FilterFault> {
    let (subscriber, level) = subscriber(filter, format, io::stdout)?;
    let traces = super::traces::from_environment();
    subscriber.with(traces.as_ref().ok().and_then(Option::as_ref).map(super::traces::layer)).init();
    match traces {
        Ok(Some(_)) => tracing::info!("traces are sent"),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "no traces are sent"),
    }
    Ok(level)
}

/// The same for any writer, and not begun yet.
pub(crate) fn subscriber<W>(
    filter: &str,
    format: Format,
    writer: W,
) -> Result<(impl Subscriber + for<'span> LookupSpan<'span> + use<W>, Level), FilterFault>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (layer, handle) = reload::Layer::new(parsed(filter)?);
    let level = Level { handle, found: Ok(filter.trim().to_owned()) };
    // Of the lines alone: traces are what they are, whatever is logged.
    Ok((Registry::default().with(lines(format, writer).with_filter(layer)), level))
}

fn lines<S, W>(format: Format, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_target(false).with_writer(writer);
    match format {
        Format::Json => lines.json().flatten_event(true).with_span_list(false).with_current_span(false).boxed(),
        // A terminal is not what reads a pod's output.
        Format::Text => lines.with_ansi(false).boxed(),
    }
}

fn parsed(filter: &str) -> Result<EnvFilter, FilterFault> {
    let is_word = |part: &str| part.chars().all(|c| c.is_alphanumeric() || c == '_');
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    match filter.split(',').map(str::trim).find(|part| is_word(part) && !is_level(part)) {
        Some(word) => Err(FilterFault::NoLevel(word.to_owned())),
        None => Ok(EnvFilter::builder().parse(filter)?),
    }
}

/// How much is logged, which can be changed.
pub struct Level {
    handle: reload::Handle<EnvFilter, Registry>,
    /// The filter that was found last, be it one or not, or why none was.
    found: Result<String, String>,
}

impl Level {
    /// Logs, for ever, what `file` says. Where it says nothing, or nothing that can be read, what was logged before goes on being logged.
    pub async fn follow(mut self, file: PathBuf) {
        loop {
            let found = tokio::fs::read_to_string(&file).await;
            self.take(found.map_err(|error| format!("failed to read {}: {error}", file.display())));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Logs what was found from here on, and tells it, once.
    fn take(&mut self, found: Result<String, String>) {
        let found = found.map(|filter| filter.trim().to_owned());
        if found == self.found {
            return;
        }
        let read = match &found {
            Ok(filter) => parsed(filter).map(|parsed| (filter, parsed)).map_err(|fault| format!("{filter:?}: {fault}")),
            Err(error) => Err(error.clone()),
        };
        match read {
            Ok((filter, parsed)) => {
                let tell = || tracing::info!(filter, "what is logged has changed");
                // Under the filter that lets it through, if one does.
                let told = tracing::enabled!(tracing::Level::INFO);
                if told {
                    tell();
                }
                // It fails only where nothing is logged any more.
                let _ = self.handle.reload(parsed);
                if !told {
                    tell();
                }
            }
            Err(error) => tracing::warn!(error, "what is to be logged can't be read; it stays as it is"),
        }
        self.found = found;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex, MutexGuard};

    use super::*;

    /// What was logged, to be read.
    #[derive(Clone, Default)]
    pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }

        /// It, since this was asked last.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.bytes())).unwrap()
        }
    }

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Buffer {
        type Writer = Buffer;

        fn make_writer(&self) -> Buffer {
            self.clone()
        }
    }

    fn is_logged(buffer: &Buffer, log: impl Fn()) -> bool {
        buffer.text();
        log();
        !buffer.text().is_empty()
    }

    #[test]
    fn a_file_changes_what_is_logged() {
        let buffer = Buffer::default();
        let (subscriber, mut level) = subscriber("info", Format::Json, buffer.clone()).unwrap();
        let _guard = subscriber.set_default();
        let shows_debug = || is_logged(&buffer, || tracing::debug!("a detail"));
        let shows_info = || is_logged(&buffer, || tracing::info!("a step"));
        let file = |text: &str| Ok(text.to_owned());

        level.take(file("info\n"));
        assert_eq!(buffer.text(), "", "it is what --log said");
        assert!(shows_info() && !shows_debug());
        level.take(file("debug\n"));
        assert!(buffer.text().contains(r#""filter":"debug""#), "the change is told");
        assert!(shows_debug());
        for (wrong, says) in [
            (file("inof"), "\\\"inof\\\" is no level"),
            (file(""), "is no level"),
            (file("a=b=c"), "failed to read it"),
            (Err("no such file".to_owned()), "no such file"),
        ] {
            level.take(wrong.clone());
            let told = buffer.text();
            assert!(told.contains("it stays as it is") && told.contains(says), "{wrong:?}: {told}");
            level.take(wrong);
            assert_eq!(buffer.text(), "", "it is told once");
            assert!(shows_debug(), "the former filter stays");
        }
        level.take(file("warn"));
        assert!(buffer.text().contains(r#""filter":"warn""#), "the last that is told of steps");
        assert!(!shows_info());
        level.take(file("warn,reindex_operator=debug"));
        assert!(buffer.text().contains("reindex_operator=debug"), "the first that is told again");
        assert!(shows_debug());
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_is_read_again_and_again() {
        let buffer = Buffer::default();
        let (subscriber, level) = subscriber("info", Format::Text, buffer.clone()).unwrap();
        let _guard = subscriber.set_default();
        let file = std::env::temp_dir().join(format!("reindex-log-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let following = tokio::spawn(level.follow(file.clone()));
        let seen = async |words: &str| {
            let mut log = String::new();
            while !log.contains(words) {
                tokio::time::sleep(Duration::from_secs(1)).await;
                log.push_str(&buffer.text());
            }
        };
        seen("it stays as it is").await;
        for filter in ["debug", "info"] {
            std::fs::write(&file, filter).unwrap();
            seen(&format!("what is logged has changed filter=\"{filter}\"")).await;
        }
        following.abort();
        std::fs::remove_file(&file).unwrap();
    }
}
