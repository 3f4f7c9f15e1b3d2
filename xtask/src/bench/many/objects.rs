//! Thousands of objects: Reindexes that have finished, and Secrets that are none of the operator's business.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::apiserver::Apiserver;
use super::stub::{LARGE, Stub};
use super::swarm::Place;
use super::{NAMESPACE, place, running};
use crate::engines::namespace;
use crate::in_memory::engine::Pace;
use crate::kubectl;

/// What is in a Secret, in KiB.
const SECRET: usize = 32;

/// The objects that are there now.
pub struct Objects<'a> {
    place: Place<'a>,
    finished: usize,
    secrets: usize,
    /// What finished ones are copied from, once there is one.
    template: Option<Value>,
}

impl<'a> Objects<'a> {
    /// None, whatever an earlier run has left.
    pub async fn none(api: &'a Apiserver) -> Result<Self> {
        let mut objects = Self { place: place(api), finished: 0, secrets: 0, template: None };
        kubectl::apply(&[namespace(NAMESPACE)])?;
        objects.clear().await?;
        Ok(objects)
    }

    /// Ends with an operator that does not run, and exactly so many finished Reindexes: each is one that the operator itself brought to its
    /// end, copied under another name.
    pub async fn finished(&mut self, count: usize, stub: &Stub) -> Result<()> {
        if count < self.finished || self.secrets > 0 {
            self.clear().await?;
        }
        if count == self.finished {
            return running::stop();
        }
        let template = match self.template.take() {
            Some(template) => template,
            None => self.make_template(stub).await?,
        };
        running::stop()?;
        let names = || (self.finished..count).map(|number| format!("finished-{number:05}"));
        let path = self.place.reindexes();
        let object = |name| {
            let mut object = json!({"apiVersion": template["apiVersion"], "kind": "Reindex", "spec": template["spec"]});
            object["metadata"] = json!({"name": name, "namespace": NAMESPACE});
            object
        };
        self.place.api.post_all(&path, names().map(object)).await?;
        let status = json!({"status": template["status"]});
        self.place.api.merge_all(names().map(|name| (format!("{path}/{name}/status"), status.clone()))).await?;
        (self.finished, self.template) = (count, Some(template));
        Ok(())
    }

    /// So many Secrets, and an operator that does not run.
    pub async fn secrets(&mut self, count: usize) -> Result<()> {
        if self.finished > 0 || count < self.secrets {
            self.clear().await?;
        }
        running::stop()?;
        let data = "x".repeat(SECRET * 1024);
        let secret = |number| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": format!("others-{number:04}"), "namespace": NAMESPACE},
                "stringData": {"data": data}
            })
        };
        self.place.api.post_all(&secrets(), (self.secrets..count).map(secret)).await?;
        self.secrets = count;
        Ok(())
    }

    /// Takes everything away.
    pub async fn remove(mut self) -> Result<()> {
        self.clear().await?;
        kubectl::delete_namespace(NAMESPACE)
    }

    async fn clear(&mut self) -> Result<()> {
        // Finalizers are the operator's to take off.
        running::start()?;
        self.place.api.delete(&secrets()).await?;
        self.place.remove().await?;
        self.place.set_clusters(&[])?;
        (self.finished, self.secrets) = (0, 0);
        Ok(())
    }

    /// A Reindex that copied in a dozen ranges, one after the other: its status has about all that one ever has.
    async fn make_template(&self, stub: &Stub) -> Result<Value> {
        stub.clean();
        stub.set_pace(Pace::PerPoll(1));
        running::start()?;
        self.place.set_clusters(&stub.search_clusters())?;
        let mut reindex = self.place.reindex("template", ["src", "dst"], LARGE);
        reindex["spec"]["execution"] = json!({"partitions": 12, "parallelism": 1});
        let template = self.place.one(reindex).await?;
        self.place.set_clusters(&[])?;
        stub.set_pace(Pace::Instant);
        let partitions = template["status"]["history"]["ranges"].as_array().context("failed: it has no history")?.len();
        if partitions != 12 {
            bail!("failed: the Reindex that is to be copied has {partitions} ranges in its history");
        }
        Ok(template)
    }
}

fn secrets() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/secrets")
}
