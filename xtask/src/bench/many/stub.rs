//! Two search engines in memory, where the operator's pod reaches them.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::NAMESPACE;
use crate::in_memory::engine::{Engine, Network, Pace};
use crate::in_memory::faults::Faults;
use crate::network::NODE_ADDRESS;

/// The index that is copied slowly, in ranges, and the one that is copied often.
pub const LARGE: &str = "large";
/// See [`LARGE`].
pub const SIX: &str = "six";

/// Both engines, in a thread of their own until the process ends.
pub struct Stub {
    source: Engine,
    destination: Engine,
}

impl Stub {
    /// Starts both.
    pub fn start() -> Result<Self> {
        let (ready, engines) = mpsc::channel();
        thread::spawn(move || serve(&ready));
        let stub: Self = engines.recv().context("failed to start the engines in memory")??;
        for (name, documents) in [(LARGE, 48), (SIX, 6)] {
            let mut source = stub.source.state();
            let index = source.create(name, &json!({"mappings": {"properties": {"title": {"type": "text"}}}}));
            for number in 0..documents {
                index.put(&number.to_string(), json!({"title": format!("Document {number}")}));
            }
            index.refresh();
        }
        stub.destination.state().allowlist = vec![stub.source.host_port()];
        stub.set_pace(Pace::Instant);
        Ok(stub)
    }

    /// Their SearchClusters, `src` and `dst`.
    pub fn search_clusters(&self) -> Vec<Value> {
        [("src", &self.source), ("dst", &self.destination)]
            .map(|(name, engine)| search_cluster(name, &json!({"endpoint": engine.url()})))
            .into()
    }

    /// How fast tasks are.
    pub fn set_pace(&self, pace: Pace) {
        self.destination.state().pace = pace;
    }

    /// Forgets what was copied.
    pub fn clean(&self) {
        let mut destination = self.destination.state();
        destination.indices.clear();
        destination.lose_tasks();
    }

    /// Documents of an index of the destination.
    pub fn copied(&self, index: &str) -> usize {
        self.destination.state().indices.get(index).map_or(0, |index| index.documents.len())
    }
}

/// A SearchCluster of this name.
pub fn search_cluster(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "reindex.dev/v1alpha1",
        "kind": "SearchCluster",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec
    })
}

fn serve(ready: &Sender<Result<Stub>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error).context("failed to start a runtime"));
            return;
        }
    };
    runtime.block_on(async {
        let _ = ready.send(start().await);
        std::future::pending::<()>().await;
    });
}

async fn start() -> Result<Stub> {
    let (faults, network) = (Arc::new(Faults::default()), Network::default());
    let listen = || async {
        let bound = TcpListener::bind((NODE_ADDRESS, 0)).await;
        bound.with_context(|| format!("failed to listen at {NODE_ADDRESS}"))
    };
    let source = Engine::serve(listen().await?, "src", Arc::clone(&faults), Arc::clone(&network));
    let destination = Engine::serve(listen().await?, "dst", faults, network);
    Ok(Stub { source, destination })
}
