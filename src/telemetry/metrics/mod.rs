//! Metrics for Prometheus, with closed sets of labels. docs/observability.md lists them, which a test holds.
//!
//! What objects say is read from the caches when somebody asks ([`objects`]), so it is never another truth than their statuses, and ends with
//! them. What happens is counted here.

mod objects;
mod queue;

use std::sync::Arc;

use kube::runtime::reflector::Store;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    api::{Reindex, SearchCluster},
    search::{Exchange, Watcher},
};

use super::waits::timed;

use objects::Objects;
use queue::Waiting;

/// Seconds of a pass or a request: from what costs nothing to the longest timeout.
const BUCKETS: [f64; 15] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 120.0];

/// Which kind of object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    kind: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Told {
    kind: String,
    r#type: &'static str,
    reason: &'static str,
}

/// What came of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Came {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    call: &'static str,
    status: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The operator's metrics. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    leader: Gauge,
    waiting: Arc<Waiting>,
    passes: Histograms<Kind>,
    own: Histograms<Kind>,
    active: Family<Kind, Gauge>,
    failures: Family<Failure, Counter>,
    events: Family<Told, Counter>,
    task_starts: Family<Came, Counter>,
    task_ends: Family<Came, Counter>,
    requests: Family<Answered, Counter>,
    request_seconds: Histograms<Asked>,
    objects: Arc<Objects>,
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("reindex_operator");
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Metrics {
            leader: Gauge::default(),
            waiting: Arc::default(),
            passes: Family::new_with_constructor(histogram),
            own: Family::new_with_constructor(histogram),
            active: Family::default(),
            failures: Family::default(),
            events: Family::default(),
            task_starts: Family::default(),
            task_ends: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            objects: Arc::default(),
            registry: Arc::default(),
        };
        registry.register("build", "The operator's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("leader", "1 while this instance leads, 0 while it stands by", metrics.leader.clone());
        let (passes, seconds) = ("Passes over an object", "Requests to search clusters until the answer began");
        registry.register_with_unit("reconcile_duration", passes, Unit::Seconds, metrics.passes.clone());
        let own = "Passes over an object, without the time in which they waited for search clusters";
        registry.register_with_unit("reconcile_own_duration", own, Unit::Seconds, metrics.own.clone());
        let queue = "Objects that a watch named and whose pass has not begun";
        registry.register("queue_depth", queue, metrics.waiting.depth());
        registry.register("reconciles_active", "Passes that go on now", metrics.active.clone());
        let failures = "Passes that ended early and were tried again";
        registry.register("reconcile_failures", failures, metrics.failures.clone());
        registry.register("events", "Steps and warnings told about objects", metrics.events.clone());
        let starts = "Attempts to start a range's task, and looks for one that may have been started";
        registry.register("task_starts", starts, metrics.task_starts.clone());
        registry.register("task_ends", "Tasks of ranges that were seen to have ended", metrics.task_ends.clone());
        registry.register("search_requests", "Requests to search clusters", metrics.requests.clone());
        registry.register_with_unit("search_request_duration", seconds, Unit::Seconds, metrics.request_seconds.clone());
        registry.register_collector(Box::new(metrics.objects.clone()));
        Metrics { registry: Arc::new(registry), ..metrics }
    }

    /// This instance leads from now on; what the caches hold is shown.
    pub fn leads(&self, reindexes: Store<Reindex>, clusters: Store<SearchCluster>) {
        self.leader.set(1);
        self.objects.show(reindexes, clusters);
    }

    /// An object of this kind is to be looked at.
    pub fn queued(&self, kind: &'static str, namespace: Option<&str>, name: &str) {
        self.waiting.add(kind, namespace, name);
    }

    /// It is looked at, or gone.
    pub fn taken(&self, kind: &'static str, namespace: Option<&str>, name: &str) {
        self.waiting.take(kind, namespace, name);
    }

    /// Runs a pass over an object of this kind, and measures it.
    pub async fn measured<T>(&self, kind: &'static str, pass: impl Future<Output = T>) -> T {
        // One that is dropped in the middle is no longer active either.
        let _active = Active::begin(self.active.get_or_create_owned(&Kind { kind }));
        let begin = std::time::Instant::now();
        let (result, waited) = timed(pass).await;
        let took = begin.elapsed();
        self.passes.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
        self.own.get_or_create(&Kind { kind }).observe(took.saturating_sub(waited).as_secs_f64());
        result
    }

    /// A pass over an object of this kind ended early.
    pub fn reconcile_failed(&self, kind: &'static str, class: &'static str) {
        self.failures.get_or_create(&Failure { kind, class }).inc();
    }

    /// People were told something. Reasons are words of the program, so they are few.
    pub fn told(&self, kind: &str, warning: bool, reason: &'static str) {
        let r#type = if warning { "Warning" } else { "Normal" };
        self.events.get_or_create(&Told { kind: kind.to_owned(), r#type, reason }).inc();
    }

    /// What came of an attempt to start a range's task, or of the look for one.
    pub fn task_start(&self, outcome: &'static str) {
        self.task_starts.get_or_create(&Came { outcome }).inc();
    }

    /// How a range's task ended.
    pub fn task_end(&self, outcome: &'static str) {
        self.task_ends.get_or_create(&Came { outcome }).inc();
    }

    /// Counts exchanges with search clusters.
    pub fn watcher(&self) -> Watcher {
        let (requests, seconds) = (self.requests.clone(), self.request_seconds.clone());
        Arc::new(move |&Exchange { call, status, took }| {
            requests.get_or_create(&Answered { call, status: class(status) }).inc();
            seconds.get_or_create(&Asked { call }).observe(took.as_secs_f64());
        })
    }

    /// In the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// Status codes by their first digit; none came where the cluster was not reached.
fn class(status: Option<u16>) -> &'static str {
    match status {
        None => "none",
        Some(200..300) => "2xx",
        Some(300..400) => "3xx",
        Some(400..500) => "4xx",
        Some(_) => "5xx",
    }
}

/// One pass that goes on.
struct Active(Gauge);

impl Active {
    fn begin(gauge: Gauge) -> Active {
        gauge.inc();
        Active(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_happens_is_counted() {
        let metrics = Metrics::new();
        metrics.measured("Reindex", async {}).await;
        metrics.reconcile_failed("Reindex", "Apiserver");
        metrics.told("Reindex", true, "NotAllowed");
        let watcher = metrics.watcher();
        watcher(&Exchange { call: "count", status: Some(429), took: Duration::from_millis(20) });
        watcher(&Exchange { call: "count", status: None, took: Duration::from_secs(5) });
        let text = metrics.text();
        for line in [
            r#"reindex_operator_build_info{version="0.1.0"} 1"#,
            r#"reindex_operator_leader 0"#,
            r#"reindex_operator_reconcile_duration_seconds_count{kind="Reindex"} 1"#,
            r#"reindex_operator_reconcile_own_duration_seconds_count{kind="Reindex"} 1"#,
            r#"reindex_operator_reconciles_active{kind="Reindex"} 0"#,
            r#"reindex_operator_reconcile_failures_total{kind="Reindex",class="Apiserver"} 1"#,
            r#"reindex_operator_events_total{kind="Reindex",type="Warning",reason="NotAllowed"} 1"#,
            r#"reindex_operator_search_requests_total{call="count",status="4xx"} 1"#,
            r#"reindex_operator_search_requests_total{call="count",status="none"} 1"#,
            r#"reindex_operator_search_request_duration_seconds_bucket{le="0.05",call="count"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_pass_that_is_dropped_is_not_active_any_more() {
        let metrics = Metrics::new();
        {
            let pass = metrics.measured("Reindex", std::future::pending::<()>());
            tokio::select! { biased; () = pass => {} () = std::future::ready(()) => {} }
        }
        assert!(metrics.text().contains(r#"reconciles_active{kind="Reindex"} 0"#));
    }
}
