//! What is shown to Prometheus, and whether what is written about it is true.

use std::{collections::BTreeSet, fs, path::Path};

use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use reindex_operator::telemetry::metrics::Metrics;
use serde_json::json;

use crate::support::world::{NAMESPACE, World};

const PREFIX: &str = "reindex_operator_";
const MONITORING: &str = "charts/reindex-operator/files/monitoring";

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Shows what this world's operator holds.
fn scrape(world: &mut World) -> String {
    let ctx = world.operator_ctx();
    ctx.metrics.leads(ctx.reindexes.clone(), ctx.clusters.clone());
    ctx.metrics.text()
}

/// The same, with what passes under `kube::runtime` show, which there are none of here.
async fn scrape_all(world: &mut World) -> String {
    let ctx = world.operator_ctx();
    ctx.metrics.measured("Reindex", async {}).await;
    ctx.metrics.reconcile_failed("Reindex", "Kubernetes");
    ctx.metrics.task_end("ended");
    ctx.metrics.queued("Reindex", Some(NAMESPACE), "another");
    scrape(world)
}

/// Names of metrics, as a page says of which type each is.
fn declared(text: &str) -> BTreeSet<(String, String)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split_once(' ')).map(|(name, type_)| (name.to_owned(), type_.to_owned())).collect()
}

/// Every metric that a life shows, under the names that Prometheus stores its lines.
async fn stored() -> BTreeSet<String> {
    let mut world = World::new().await;
    world.until_copying().await;
    let names = declared(&scrape_all(&mut world).await).into_iter().flat_map(|(name, type_)| match type_.as_str() {
        "counter" => vec![format!("{name}_total")],
        "info" => vec![format!("{name}_info")],
        "histogram" => ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec(),
        _ => vec![name],
    });
    names.collect()
}

/// Names of ours that a text mentions.
fn mentioned(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with(PREFIX));
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_life_is_shown_while_it_lasts() {
    let mut world = World::new().await;
    world.until_copying().await;
    let text = scrape(&mut world);
    for line in [
        "reindex_operator_leader 1",
        r#"reindex_operator_reindexes{phase="Copying"} 1"#,
        r#"reindex_operator_reindex_documents{namespace="search",name="product-info"} 6"#,
        r#"reindex_operator_reindex_partitions_running{namespace="search",name="product-info"} 1"#,
        r#"reindex_operator_events_total{kind="Reindex",type="Normal",reason="CopyStarted"} 1"#,
        r#"reindex_operator_search_requests_total{call="reindex",status="2xx"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(
        text.contains(r#"reindex_state{namespace="search",name="product-info",phase="Copying",state="Reconciling","#)
    );

    world.end().await;
    let text = scrape(&mut world);
    assert!(text.contains(r#"reindex_operator_reindexes{phase="Complete"} 1"#), "{text}");
    assert!(!text.contains(r#"name="product-info""#), "a finished Reindex has lines of its own:\n{text}");
    assert!(text.contains(r#"events_total{kind="Reindex",type="Normal",reason="Complete"} 1"#), "{text}");
}

#[tokio::test]
async fn a_reindex_that_failed_is_shown_with_its_reason_for_an_hour() {
    let mut world = World::with(|reindex| reindex["spec"]["destination"]["index"] = json!("product_info")).await;
    world.destination.state().create("product_info", &json!({}));
    world.end().await;
    let line =
        r#"reindex_operator_reindex_failed{namespace="search",name="product-info",reason="DestinationExists"} 1"#;
    let text = scrape(&mut world);
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    world.api.age("reindexes.reindex.dev", SignedDuration::from_hours(1));
    assert!(!scrape(&mut world).contains("reindex_operator_reindex_failed{"), "failed ones that are kept add up");
}

#[tokio::test]
async fn verifications_are_counted_by_what_they_came_to() {
    let mut world = World::new().await;
    world.until_copying().await;
    assert!(!scrape(&mut world).contains("reindex_operator_verifications{"));
    world.end().await;
    let text = scrape(&mut world);
    let line = r#"reindex_operator_verifications{level="Count",verdict="Passed"} 1"#;
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[tokio::test]
async fn the_last_change_of_an_allowlist_is_shown_and_how_many_nodes_are_restarted() {
    let mut world = World::new().await;
    change_allowlist(&world);
    let text = scrape(&mut world);
    for line in [
        r#"allowlist_change{namespace="search",name="es-1",phase="Restarting"} 1"#,
        r#"allowlist_change_nodes{namespace="search",name="es-1",state="Pending"} 1"#,
        r#"allowlist_change_nodes{namespace="search",name="es-1",state="Restarting"} 0"#,
        r#"allowlist_change_nodes{namespace="search",name="es-1",state="Done"} 2"#,
    ] {
        let line = format!("{PREFIX}{line}");
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// A change that is in the middle of three nodes, as a SearchCluster's status tells it.
fn change_allowlist(world: &World) {
    let node = |number: usize, state: &str| {
        let name = format!("es-1-{number}");
        json!({"pod": name, "name": name, "id": name, "podUID": name, "state": state})
    };
    let batch = json!({
        "id": "a", "entries": ["es-2:9200"], "phase": "Restarting", "generation": 1, "startedAt": "2026-11-25T12:00:00Z",
        "nodes": [node(0, "Done"), node(1, "Done"), node(2, "Pending")],
    });
    world.change_cluster("es-1", json!({"status": {"allowlist": {"batch": batch}}}));
}

/// The line of the log with these words, by its fields.
fn logged<'a>(log: &'a str, words: &str) -> &'a str {
    log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words:?} is not in\n{log}"))
}

#[tokio::test]
async fn a_task_is_logged_with_its_object_its_range_and_its_ids() {
    let mut world = World::new().await;
    let reindex = world.until_copying().await;
    let partition = &reindex.status.as_ref().unwrap().partitions[0];
    let (uid, task) = (reindex.uid().unwrap(), partition.task.clone().unwrap());
    world.end().await;
    let log = world.logs.text();
    for words in ["a task was started", "a task has ended"] {
        let line = logged(&log, words);
        assert!(line.contains(" INFO "), "{line}");
        for field in [
            r#"kind="Reindex""#.to_owned(),
            format!("namespace={NAMESPACE:?}"),
            r#"name="product-info""#.to_owned(),
            format!("uid={uid:?}"),
            "partition=0".to_owned(),
            format!(r#"opaque_id="reindex/{uid}/0/1""#),
            format!("task={task:?}"),
        ] {
            assert!(line.contains(&field), "{field} is not in {line}");
        }
    }
    let text = scrape(&mut world);
    for line in [r#"task_starts_total{outcome="started"} 1"#, r#"task_ends_total{outcome="ended"} 1"#] {
        let line = format!("{PREFIX}{line}");
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_task_that_is_found_again_is_logged_too() {
    let mut world = World::new().await;
    let reindex = world.until_copying().await;
    let mut partitions = json!(reindex.status.unwrap().partitions);
    partitions[0]["state"] = json!("Starting");
    partitions[0]["task"].take();
    world.change_reindex(json!({"status": {"partitions": partitions}}));
    world.round().await;
    let log = world.logs.text();
    let line = logged(&log, "a task was found that had been started before");
    assert!(
        line.contains("partition=0") && line.contains("opaque_id=\"reindex/") && line.contains("task=\""),
        "{line}"
    );
}

#[tokio::test]
async fn what_somebody_should_look_after_is_logged_as_a_warning() {
    let mut world = World::new().await;
    world.change_cluster("es-1", json!({"spec": {"endpoint": "http://127.0.0.1:1"}}));
    world.until_stalled().await;
    world.round_of_cluster("es-1").await;
    let log = world.logs.text();
    let of = |kind: &str| {
        let is_it = |line: &&str| line.contains("reason=\"Unreachable\"") && line.contains(&format!("kind={kind}"));
        log.lines().find(is_it).unwrap_or_else(|| panic!("{kind} is not in\n{log}"))
    };
    for line in [of("Reindex"), of("SearchCluster")] {
        assert!(line.contains(" WARN ") && line.contains("uid="), "{line}");
    }
}

#[tokio::test]
async fn names_follow_the_conventions_and_each_is_explained() {
    let mut world = World::new().await;
    world.until_copying().await;
    let text = scrape_all(&mut world).await;
    let help: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, help)| help.len() > 5 && help.ends_with('.'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let declared = declared(&text);
    assert!(declared.len() > 15, "{declared:?}");
    for (name, type_) in declared {
        assert!(name.starts_with(PREFIX) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(help.contains(&name), "{name} is not explained");
        assert!(type_ != "histogram" || name.ends_with("_seconds"), "{name} has no base unit");
        for reserved in ["_total", "_count", "_sum", "_bucket", "_info"] {
            assert!(!name.ends_with(reserved), "{name} ends like a line of another type");
        }
    }
}

#[tokio::test]
async fn dashboards_rules_and_the_page_name_metrics_that_there_are() {
    let stored = stored().await;
    for path in [&format!("{MONITORING}/alerts.yaml"), &format!("{MONITORING}/dashboard.json")] {
        let unknown: Vec<_> = mentioned(&file(path)).difference(&stored).cloned().collect();
        assert_eq!(unknown, [""; 0], "{path} names metrics that there are not");
    }
    let explained = mentioned(&file("docs/observability.md"));
    let without_parts = |name: &String| {
        let part = ["_bucket", "_sum", "_count"].into_iter().find_map(|part| name.strip_suffix(part));
        part.unwrap_or(name).to_owned()
    };
    let shown: BTreeSet<_> = stored.iter().map(without_parts).collect();
    assert_eq!(explained, shown, "docs/observability.md and the metrics differ");
}

#[test]
fn every_alert_is_explained_and_tested() {
    let names = |text: &str, key: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.split_once(key));
        lines.map(|(_, name)| name.split([',', '}']).next().unwrap_or_default().trim().to_owned()).collect()
    };
    let alerts = names(&file(&format!("{MONITORING}/alerts.yaml")), "- alert: ");
    assert!(alerts.len() > 5, "{alerts:?}");
    assert_eq!(names(&file(&format!("{MONITORING}/alerts.test.yaml")), "alertname: "), alerts);
    let page = file("docs/observability.md");
    for alert in alerts {
        assert!(
            page.contains(&format!("| `{alert}` |")),
            "docs/observability.md does not say what to do about {alert}"
        );
    }
}

#[test]
fn whoever_stands_by_shows_no_objects() {
    let text = Metrics::new().text();
    assert!(text.contains("reindex_operator_leader 0"), "{text}");
    assert!(!text.contains("reindex_operator_reindexes"), "{text}");
}
