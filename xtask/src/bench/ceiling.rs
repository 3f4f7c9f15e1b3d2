//! What the destination can take when nobody has to read anything: documents that are ready, sent with `_bulk`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::corpus::Corpus;
use super::method::{SECONDS, Sample};
use super::world::{COPY, World};

/// How many requests are on their way at a time; more than the machine has cores, so that none waits for the client.
const CONNECTIONS: usize = 4;

/// Sends every document once, with the refresh off.
pub async fn run(world: &World, corpus: &Corpus) -> Result<Sample> {
    world.create(Some("-1")).await?;
    let bodies: VecDeque<String> = corpus.bodies().collect();
    let bodies = Arc::new(Mutex::new(bodies));
    let begin = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, bodies) = (world.destination.clone(), Arc::clone(&bodies));
        senders.spawn(async move {
            while let Some(body) = take(&bodies) {
                client.bulk_into(COPY, body).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended.context("failed to send documents")??;
    }
    Ok(Sample::from([(SECONDS.to_owned(), begin.elapsed().as_secs_f64())]))
}

fn take(bodies: &Mutex<VecDeque<String>>) -> Option<String> {
    bodies.lock().ok()?.pop_front()
}
