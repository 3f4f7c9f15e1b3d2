//! What is logged on this thread, at every level.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{fmt::MakeWriter, util::SubscriberInitExt};

/// Everything but what connections say about their frames, which is most of it: the engines of the tests run on the same thread.
const FILTER: &str = "trace,hyper=info,hyper_util=info,h2=info,tokio=info,mio=info,axum=info,tower=info";

/// The log since this was made; tests run on one thread each.
pub struct Logs {
    buffer: Buffer,
    _until_dropped: DefaultGuard,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Begins to listen.
    pub fn capture() -> Logs {
        let buffer = Buffer::default();
        let guard = tracing_subscriber::fmt()
            .with_env_filter(FILTER)
            .with_writer(buffer.clone())
            .with_ansi(false)
            .set_default();
        Logs { buffer, _until_dropped: guard }
    }

    /// What was logged.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer.0.lock().unwrap()).into_owned()
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Buffer;

    fn make_writer(&'a self) -> Buffer {
        self.clone()
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
