//! What most operators are written with, in the smallest form: a controller of controller-runtime that watches the same objects and does
//! nothing with them. Its source is `xtask/controller-runtime`.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::super::method::Sample;
use super::running::{Metrics, seen, stop};
use crate::{go, paths};

/// Where it shows its metrics.
const ADDRESS: &str = "127.0.0.1:19310";

/// Starts it as a process of this machine, waits until it has seen all objects, and ends it.
pub async fn sample(objects: usize) -> Result<Sample> {
    stop()?;
    let controller = Controller::start()?;
    let metrics = Metrics::of(format!("http://{ADDRESS}/metrics"))?;
    let passes = r#"controller_runtime_reconcile_total{controller="reindex",result="success"}"#;
    seen(controller.0.id().try_into().context("failed to read its process id")?, &metrics, passes, objects).await
}

struct Controller(Child);

impl Controller {
    fn start() -> Result<Self> {
        Command::new(go::CONTROLLER_RUNTIME.binary()?)
            .arg("--kubeconfig")
            .arg(paths::kubeconfig())
            .args(["--metrics", ADDRESS])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Controller)
            .context("failed to start the controller in Go")
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
