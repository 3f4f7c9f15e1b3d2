//! What happens to an installation while it copies: it is upgraded, taken away, cut off from the apiserver, stripped of its rights.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use k8s_openapi::jiff::Timestamp;
use reindex_operator::plan::wind_down;
use serde_json::{Value, json};
use xtask::{go, kubectl, operator, paths};

use crate::{rights, world::*};

const DEPLOYMENT: &str = "deployment/reindex-operator";

fn helm(arguments: &[&str]) -> String {
    try_helm(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// What it says, well or not.
fn try_helm(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(go::HELM.binary().expect("helm"))
        .args(arguments)
        .args(["--namespace", operator::NAMESPACE, "--kubeconfig"])
        .arg(paths::kubeconfig())
        .output()
        .expect("helm runs");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/reindex-operator");

fn rolled_out() {
    kubectl::wait_for_rollout(operator::NAMESPACE, DEPLOYMENT, Duration::from_secs(120)).expect("it is ready");
}

/// Puts the chart back as the other tests want it, whatever happens.
pub struct Installed {
    image: String,
}

impl Installed {
    /// As it is installed now.
    pub fn now() -> Installed {
        let path = "jsonpath={.spec.template.spec.containers[0].image}";
        Installed {
            image: kubectl::run(&["get", DEPLOYMENT, "-n", operator::NAMESPACE, "-o", path]).expect("the image"),
        }
    }

    /// Installs or upgrades the chart, also where other tools installed its objects.
    pub fn install(&self, more: &[&str]) {
        install(CHART, &self.image, more);
    }
}

fn install(chart: &str, image: &str, more: &[&str]) {
    let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
    let (repository, tag) = (format!("image.repository={repository}"), format!("image.tag={tag}"));
    let mut arguments = vec!["upgrade", "--install", "reindex-operator"];
    arguments.extend([chart, "--take-ownership", "--set", &repository, "--set-string", &tag]);
    arguments.extend(["--set", "verification.configMaps=true", "--set", "replicas=1"]);
    arguments.extend(more);
    helm(&arguments);
    rolled_out();
}

/// Who asked for it has what they wanted: sooner than by itself it is over.
fn no_longer_wound_down() {
    let over = format!("{}-", wind_down::UNTIL);
    if kubectl::get("lease", operator::NAMESPACE, "reindex-operator").expect("kubectl answers").is_none() {
        return;
    }
    kubectl::run(&["annotate", "lease", "reindex-operator", "-n", operator::NAMESPACE, &over]).expect("annotated");
}

/// Whether an uninstall has failed.
fn is_half_uninstalled() -> bool {
    helm(&["list", "--all", "--output", "json"]).contains("\"uninstalling\"")
}

/// What was being uninstalled is installed again.
fn rolled_back() {
    let history = helm(&["history", "reindex-operator", "--output", "json"]);
    let history: Vec<Value> = serde_json::from_str(&history).expect("JSON");
    let revision = history.last().expect("a revision")["revision"].to_string();
    helm(&["rollback", "reindex-operator", &revision]);
}

impl Drop for Installed {
    fn drop(&mut self) {
        // Whose rules for pods are strict.
        let namespace = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/namespace.yaml");
        kubectl::run(&["apply", "--server-side", "--force-conflicts", "-f", namespace]).expect("its namespace");
        // No upgrade would begin.
        if is_half_uninstalled() {
            rolled_back();
        }
        no_longer_wound_down();
        // Of the plain manifests, whose two replicas have one; the tests' chart has not.
        let name = "poddisruptionbudget/reindex-operator";
        kubectl::run(&["delete", name, "-n", operator::NAMESPACE, "--ignore-not-found"]).expect("deleted");
        self.install(&[]);
        kubectl::apply(&search_clusters()).expect("the SearchClusters");
    }
}

/// Every range was copied, and no document was written twice. An attempt that was cut off before its task began has a number, too.
pub fn each_document_once(name: &str) {
    let status = get("reindex", name)["status"].clone();
    assert_eq!(status["history"]["rangesCopied"], status["progress"]["partitionsTotal"], "{status:#}");
    let result = &status["result"];
    let counts = ["created", "updated", "versionConflicts"].map(|count| result[count].as_u64());
    assert_eq!(counts, [Some(DOCUMENTS as u64), Some(0), Some(0)], "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_goes_on_with_the_copy_and_what_was_uninstalled_can_come_back() {
    allowed().await;
    let installed = Installed::now();
    copying_in("upgraded", 6).await;
    installed.install(&["--set", "podAnnotations.upgraded=yes"]);
    complete("upgraded", DOCUMENTS as i64);
    each_document_once("upgraded");

    copying_in("uninstalled", 6).await;
    without_rights(|| helm(&["uninstall", "reindex-operator", "--wait"]));
    nothing_is_left_of("uninstalled").await;
    // The definitions stay, and the objects with them.
    is_wound_down("uninstalled");

    kustomized(&installed.image);
    no_longer_wound_down();
    complete("uninstalled", DOCUMENTS as i64);
    each_document_once("uninstalled");

    // What kubectl installed has no hooks: the page's command.
    copying_in("taken-away", 6).await;
    wound_down_by_hand();
    kubectl::run(&["delete", DEPLOYMENT, "-n", operator::NAMESPACE, "--wait"]).expect("it goes");
    nothing_is_left_of("taken-away").await;
    is_wound_down("taken-away");
    // Nothing holds them.
    let folder = overlay_folder();
    let delete = ["delete", "-k", folder.to_str().expect("text"), "--ignore-not-found", "--timeout=120s"];
    without_rights(|| kubectl::run(&delete).expect("all goes"));
    let kinds = kubectl::run(&["api-resources", "--api-group=reindex.dev", "-o", "name"]).expect("the kinds");
    assert_eq!(kinds.trim(), "", "the definitions go along");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_that_fails_deletes_nothing_and_the_pages_ways_out_of_it_work() {
    allowed().await;
    let installed = Installed::now();
    installed.install(&["--set", "windDown.patienceSeconds=15"]);
    begun("not-to-be-repeated", |spec| {
        // The end of such a range is waited for.
        spec["destination"]["opType"] = json!("Create");
        spec["execution"] = json!({"batchSize": 20, "partitions": 1, "requestsPerSecond": DOCUMENTS / 45});
    })
    .await;
    let refused = try_helm(&["uninstall", "reindex-operator", "--wait"]).expect_err("the hook fails");
    assert!(refused.contains("reindex-operator-wind-down"), "{refused}");
    assert!(is_half_uninstalled());
    let logs = ["logs", "job/reindex-operator-wind-down", "-n", operator::NAMESPACE];
    assert!(kubectl::run(&logs).expect("its log").contains("not-to-be-repeated"));
    rolled_out();
    rolled_back();
    assert!(!is_half_uninstalled());
    without_rights(|| {
        let refused = try_helm(&["uninstall", "reindex-operator", "--wait"]);
        // It may have ended by now.
        if refused.is_err() {
            wound_down_by_hand();
            helm(&["uninstall", "reindex-operator", "--wait"]);
        }
    });
    nothing_is_left_of("not-to-be-repeated").await;
    installed.install(&[]);
    no_longer_wound_down();
    complete("not-to-be-repeated", DOCUMENTS as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_that_are_deleted_at_once_leave_nothing_behind() {
    allowed().await;
    copying_in("deleted-along", 6).await;
    let finalizers = || get("searchcluster", "dst")["metadata"]["finalizers"].clone();
    wait_for("what holds the SearchCluster", finalizers, |seen| seen != &Value::Null);
    // The worse order.
    kubectl::run(&["delete", "searchclusters.reindex.dev", "--all", "-n", NAMESPACE, "--wait=false"]).expect("deleted");
    let gone = kubectl::run(&["delete", "reindex", "deleted-along", "-n", NAMESPACE, "--timeout=90s"]);
    // Whatever is asserted, the others need them.
    kubectl::run(&["wait", "searchclusters.reindex.dev", "--all", "-n", NAMESPACE, "--for=delete", "--timeout=150s"])
        .expect("they go");
    kubectl::apply(&search_clusters()).expect("the SearchClusters");
    gone.expect("it goes");
    nothing_is_left_of("deleted-along").await;
    for name in ["deleted-along", "dst"] {
        let selector = format!("--field-selector=reason=CleanupGivenUp,involvedObject.name={name}");
        let events = kubectl::run(&["get", "events", "-n", NAMESPACE, &selector, "-o", "name"]).expect("events");
        assert_eq!(events.trim(), "", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_from_the_last_release_goes_on_with_the_copy() {
    let Some(earlier) = operator::earlier().expect("built") else {
        // `make test` says so.
        return;
    };
    let installed = Installed::now();
    kubectl::run(&["delete", "reindexes.reindex.dev,searchclusters.reindex.dev", "--all", "-n", NAMESPACE])
        .expect("they go");
    without_rights(|| helm(&["uninstall", "reindex-operator", "--wait"]));
    no_longer_wound_down();
    install(earlier.chart.to_str().expect("text"), &earlier.image, &[]);
    kubectl::apply(&search_clusters()).expect("the SearchClusters");
    allowed().await;
    copying_in("begun-before", 6).await;
    installed.install(&[]);
    complete("begun-before", DOCUMENTS as i64);
    each_document_once("begun-before");
}

/// The page's command.
fn wound_down_by_hand() {
    let program = ["/usr/local/bin/reindex-operator", "wind-down", "--patience-seconds", "600"];
    let exec = ["exec", DEPLOYMENT, "-n", operator::NAMESPACE, "--"];
    kubectl::run(&[&exec[..], &program].concat()).expect("wound down");
}

/// It is suspended, and says why; what a person wrote stands.
fn is_wound_down(name: &str) {
    let reindex = get("reindex", name);
    assert_eq!(reindex["status"]["phase"], "Suspended", "{reindex:#}");
    assert!(condition(&reindex, "Suspended").2.contains("uninstalled"), "{reindex:#}");
    assert_ne!(reindex["spec"]["suspend"], true);
    assert_eq!(reindex["metadata"]["finalizers"], Value::Null);
}

/// No task runs on the destination, and nothing of the index or of the cluster is as it was only for the copy or for a restart.
async fn nothing_is_left_of(name: &str) {
    let client = destination().client().expect("a client");
    let tasks = client.get("/_tasks?actions=*reindex&group_by=none").await.expect("the tasks");
    assert_eq!(tasks["tasks"], json!([]));
    let settings = client.get(&format!("/{name}/_settings?flat_settings=true")).await.expect("the index's settings");
    let settings = &settings[name]["settings"];
    assert_eq!(settings["index.number_of_replicas"], "1", "{settings:#}");
    assert_eq!(settings["index.refresh_interval"], Value::Null, "{settings:#}");
    let settings = client.get("/_cluster/settings?flat_settings=true").await.expect("the cluster's settings");
    for lasting in ["persistent", "transient"] {
        assert_eq!(settings[lasting]["cluster.routing.allocation.enable"], Value::Null, "{settings:#}");
    }
}

/// Takes the operator away; its rights go before it, and it may ask for something in between.
fn without_rights<T>(uninstall: impl FnOnce() -> T) {
    let begin = Timestamp::now();
    uninstall();
    // A pod that ends is listed until it has ended.
    wait_for("an end of all that was installed", what_is_left, |left| left.as_array().is_some_and(Vec::is_empty));
    rights::taken_away(begin, Timestamp::now());
}

/// Names of the chart's objects in the operator's namespace and in none; the lease is the operator's own.
fn what_is_left() -> Value {
    let kinds = "all,serviceaccount,configmap,poddisruptionbudget,networkpolicy,role,rolebinding,clusterrole,clusterrolebinding";
    let listed = ["get", kinds, "-n", operator::NAMESPACE, "-o", "name"];
    let names = kubectl::run(&listed).expect("listed");
    names.lines().filter(|name| name.contains("reindex-operator")).collect()
}

/// Where a kustomization of the plain manifests stands.
fn overlay_folder() -> PathBuf {
    paths::kubeconfig().with_file_name("kustomized")
}

/// Installs the plain manifests, with the image of this checkout.
fn kustomized(image: &str) {
    let folder = overlay_folder();
    fs::create_dir_all(&folder).expect("a folder");
    let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
    // Kustomize takes no absolute paths.
    let up: String = folder.components().skip(1).map(|_| "../").collect();
    let overlay = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [format!("{up}{}/deploy", env!("CARGO_MANIFEST_DIR").trim_start_matches('/'))],
        "images": [{"name": "reindex-operator", "newName": repository, "newTag": tag}],
    });
    fs::write(folder.join("kustomization.yaml"), overlay.to_string()).expect("written");
    let folder = folder.to_str().expect("text");
    kubectl::run(&["apply", "--server-side", "--force-conflicts", "-k", folder]).expect("applied");
    rolled_out();
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_taken_away_and_put_back_cost_no_document() {
    allowed().await;
    copying_in("without-rights", 6).await;
    let binding =
        kubectl::get("clusterrolebinding", "", "reindex-operator").expect("kubectl answers").expect("a binding");
    let begin = Timestamp::now();
    kubectl::run(&["delete", "clusterrolebinding", "reindex-operator"]).expect("deleted");
    let log =
        || Value::String(kubectl::run(&["logs", DEPLOYMENT, "-n", operator::NAMESPACE, "--since=60s"]).expect("a log"));
    // Of the Reindex: a SearchCluster may be first.
    let tells = |seen: &Value| {
        let mut lines = seen.as_str().unwrap_or_default().lines();
        lines.any(|line| line.contains("without-rights") && line.contains("is forbidden") && line.contains("cannot"))
    };
    // Whatever is asserted, the others need them.
    let told = std::panic::catch_unwind(|| wait_for("a word about it", log, tells));
    let mut binding = binding;
    binding["metadata"] = json!({"name": "reindex-operator", "labels": binding["metadata"]["labels"], "annotations": binding["metadata"]["annotations"]});
    apply(&binding);
    complete("without-rights", DOCUMENTS as i64);
    rights::taken_away(begin, Timestamp::now());
    told.expect("it is told");
    each_document_once("without-rights");
}

/// Lets the apiserver go on, whatever happens.
struct Stopped(String);

impl Stopped {
    fn stop() -> Stopped {
        let record = fs::read_to_string(paths::state("pids/kube-apiserver")).expect("its record");
        let pid = record.split_whitespace().next().expect("a process").to_owned();
        signal(&pid, "-STOP");
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(&self.0, "-CONT");
    }
}

fn signal(pid: &str, signal: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_without_apiserver_costs_no_document() {
    copying_in("without-apiserver", 6).await;
    let stopped = Stopped::stop();
    std::thread::sleep(Duration::from_secs(60));
    drop(stopped);
    wait_for(
        "the apiserver",
        || kubectl::run(&["get", "--raw", "/readyz"]).map_or(Value::Null, Value::String),
        |seen| seen == "ok",
    );
    complete("without-apiserver", DOCUMENTS as i64);
    each_document_once("without-apiserver");
}
