//! A network between the two clusters: a TCP proxy that delays what it carries, and can cut a connection.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// A running proxy. It runs until the process ends, in a thread of its own: what is measured may block its own.
pub struct Proxy {
    /// Whether a connection is still to be cut.
    cut: Arc<AtomicBool>,
}

impl Proxy {
    /// Carries every connection that comes in at `listener` to `upstream`, each direction `delay` late.
    pub fn start(listener: StdListener, upstream: SocketAddr, delay: Duration) -> Result<Self> {
        listener.set_nonblocking(true).context("failed to prepare a socket")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("failed to start the proxy's runtime")?;
        let cut = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&cut);
        thread::spawn(move || runtime.block_on(serve(listener, upstream, delay, shared)));
        Ok(Self { cut })
    }

    /// Cuts the first connection whose upstream sends something from now on, in the middle of its answer: a client
    /// would open one that is cut at rest anew, and not notice.
    pub fn cut_one(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// Cuts nothing any more; returns whether a cut was still due.
    pub fn spare(&self) -> bool {
        self.cut.swap(false, Ordering::SeqCst)
    }
}

async fn serve(listener: StdListener, upstream: SocketAddr, delay: Duration, cut: Arc<AtomicBool>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        // A connection that went before it was accepted is no reason to stop.
        let Ok((downstream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(carry(downstream, upstream, delay, Arc::clone(&cut)));
    }
}

async fn carry(downstream: TcpStream, upstream: SocketAddr, delay: Duration, cut: Arc<AtomicBool>) {
    // What opening a connection over such a network takes: a way there and a way back.
    sleep(delay * 2).await;
    let Ok(upstream) = TcpStream::connect(upstream).await else {
        return;
    };
    // Each chunk goes on as it came; holding small ones back would be a second delay.
    let _ = (downstream.set_nodelay(true), upstream.set_nodelay(true));
    let (from_client, to_client) = downstream.into_split();
    let (from_server, to_server) = upstream.into_split();
    tokio::spawn(pump(from_client, to_server, delay, None));
    pump(from_server, to_client, delay, Some(cut)).await;
}

/// Carries one direction. Reading goes on while earlier chunks wait for their time, so that the delay costs time and
/// no throughput. Ends when either side does.
async fn pump(mut from: OwnedReadHalf, to: OwnedWriteHalf, delay: Duration, cut: Option<Arc<AtomicBool>>) {
    let (queue, chunks) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write_late(to, chunks));
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        if cut.as_ref().is_some_and(|cut| cut.swap(false, Ordering::SeqCst)) {
            writer.abort();
            return;
        }
        if queue.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() {
            return;
        }
    }
    drop(queue);
    let _ = writer.await;
}

async fn write_late(mut to: OwnedWriteHalf, mut chunks: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>) {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as StdStream;
    use std::time::Instant;

    use super::*;

    /// Answers each byte with ten of it.
    fn upstream() -> SocketAddr {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    while connection.read_exact(&mut byte).is_ok() {
                        let _ = connection.write_all(&[byte[0]; 10]);
                    }
                });
            }
        });
        address
    }

    fn ask(connection: &mut StdStream) -> std::io::Result<[u8; 10]> {
        let mut answer = [0; 10];
        connection.write_all(&[7])?;
        connection.read_exact(&mut answer)?;
        Ok(answer)
    }

    fn start(delay: Duration) -> (Proxy, SocketAddr) {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Proxy::start(listener, upstream(), delay).unwrap(), address)
    }

    #[test]
    fn every_question_takes_a_way_there_and_a_way_back() {
        let (_proxy, address) = start(Duration::from_millis(20));
        let mut connection = StdStream::connect(address).unwrap();
        ask(&mut connection).unwrap();
        let begin = Instant::now();
        assert_eq!(ask(&mut connection).unwrap(), [7; 10]);
        assert!(begin.elapsed() >= Duration::from_millis(40), "{:?}", begin.elapsed());
    }

    #[test]
    fn one_connection_is_cut_and_another_is_not() {
        let (proxy, address) = start(Duration::ZERO);
        let mut cut = StdStream::connect(address).unwrap();
        let mut other = StdStream::connect(address).unwrap();
        ask(&mut cut).unwrap();
        proxy.cut_one();
        assert!(ask(&mut cut).is_err());
        assert!(!proxy.spare());
        ask(&mut other).unwrap();
    }
}
