//! The demonstration: a Reindex of six documents into another cluster, from an empty machine to the proof.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::Value;

use crate::{
    kubectl,
    operator::{self, Profile},
    paths, progress, sample,
};

const REINDEX: &str = "product-info";
/// The index that the example makes.
const COPY: &str = "dest";
const EXAMPLE: &str = "deploy/examples/product-info.yaml";
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the demonstration on the running Kubernetes; fails unless the Reindex completes and the documents are there.
pub async fn run() -> Result<()> {
    sample::deploy()?;
    operator::deploy(Profile::Dev)?;
    sample::load().await?;
    reset().await?;

    let example = paths::checkout()?.join(EXAMPLE);
    println!("\nkubectl apply -f {EXAMPLE}");
    kubectl::run(&["apply", "--filename", &example.display().to_string()])?;
    let outcome = follow();
    println!("\n{}", kubectl::run(&["get", "reindex", REINDEX, "--namespace", sample::NAMESPACE, "--output=yaml"])?);
    if outcome.is_err() {
        println!("The operator's log:\n{}", operator::log());
    }
    outcome?;
    search().await?;
    println!(
        "\nEverything keeps running. To look around:\n  export KUBECONFIG=target/cluster/kubeconfig\n  {} get reindexes,searchclusters,pods -A\n\
         To stop it: make down",
        paths::kubectl().display()
    );
    Ok(())
}

/// Takes away what an earlier run made.
async fn reset() -> Result<()> {
    let namespace = ["--namespace", sample::NAMESPACE];
    kubectl::run(&[&["delete", "reindex", REINDEX, "--ignore-not-found", "--timeout=120s"], &namespace[..]].concat())?;
    let client = sample::destination()?.client()?;
    let (status, answer) = client.request(Method::DELETE, &format!("/{COPY}"), None).await?;
    if status != 200 && status != 404 {
        bail!("failed to delete the destination index: {status} {answer}");
    }
    Ok(())
}

/// Prints the Reindex's state whenever it changes, until it ended.
fn follow() -> Result<()> {
    let mut shown = String::new();
    progress::poll("the Reindex completes", LIMIT, || {
        let reindex = kubectl::get("reindex", sample::NAMESPACE, REINDEX)?.context("failed to find the Reindex")?;
        let status = &reindex["status"];
        let state = describe(status);
        if state != shown {
            println!("  {state}");
            shown.clone_from(&state);
        }
        if has_condition(status, "Complete") {
            return Ok(Ok(()));
        }
        if has_condition(status, "Failed") {
            bail!("failed: the Reindex ended without success: {state}");
        }
        Ok(Err(state))
    })
}

/// Phase, percent, and what the current step says.
fn describe(status: &Value) -> String {
    let phase = status["phase"].as_str().unwrap_or("not seen yet");
    let percent = status["progress"]["percent"].as_i64().map(|percent| format!(" {percent} %")).unwrap_or_default();
    let steps = status["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let current = steps.iter().rfind(|step| step["startedAt"].is_string());
    let message = current
        .and_then(|step| Some(format!(": {}: {}", step["name"].as_str()?, step["message"].as_str()?)))
        .unwrap_or_default();
    format!("{phase}{percent}{message}")
}

fn has_condition(status: &Value, kind: &str) -> bool {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// The documents must be found on the destination, in all five shards.
async fn search() -> Result<()> {
    let path = format!("/{COPY}/_search");
    let client = sample::destination()?.client()?;
    client.request(Method::POST, &format!("/{COPY}/_refresh"), None).await?;
    let answer = client.get(&path).await?;
    println!("GET {path}\n{}", serde_json::to_string_pretty(&answer).context("failed to print an answer")?);
    let (documents, shards) = (&answer["hits"]["total"]["value"], &answer["_shards"]["total"]);
    if *documents != 6 || *shards != 5 {
        bail!("failed: expected 6 documents in 5 shards, found {documents} in {shards}");
    }
    println!("\n{documents} documents found in {shards} shards.");
    Ok(())
}
