//! What a person approves of, as text.

use std::iter::once;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{Batch, SearchCluster, search_cluster::Window},
    plan::window::{self, Opening},
    text::one_line,
};

/// The change itself, not what a condition tells of it, which may be cut or be about something else. Each entry and each node has a line,
/// and no line is cut: all of it is approved of.
pub fn change(cluster: &SearchCluster, batch: &Batch, now: Timestamp) -> String {
    let allowlist = cluster.status.as_ref().and_then(|status| status.allowlist.as_ref());
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let key = allowlist.map_or("", |allowlist| &allowlist.key);
    let title = format!("SearchCluster {namespace}/{name}, change {} of {key}", batch.id);
    let line = |does: &str, what: &str| format!("  {does:<9}  {what}");
    let added = batch.entries.iter().map(|entry| line("adds", entry));
    let removed = batch.removes.iter().map(|entry| line("takes out", entry));
    let trusted = batch.trust.iter().map(|map| line("trusts", &format!("the authorities in ConfigMap {map}")));
    let restarted = restarts(cluster, batch).into_iter().map(|what| line("restarts", &what));
    let begins = cluster.spec.allowlist.window.iter().map(|window| line("begins", &begin(window, now)));
    let lines = once(title).chain(added).chain(removed).chain(trusted).chain(restarted).chain(begins);
    lines.map(|line| one_line(&line) + "\n").collect()
}

/// The nodes that the operator restarts; where somebody else does, the batch names none.
fn restarts(cluster: &SearchCluster, batch: &Batch) -> Vec<String> {
    match cluster.spec.provider.object() {
        Some(object) => vec![format!("every node of {object}: whoever runs it does, after the change")],
        None => batch.nodes.iter().map(|node| format!("pod {}", node.pod)).collect(),
    }
}

fn begin(window: &Window, now: Timestamp) -> String {
    let Window { schedule, duration, time_zone } = window;
    let opens = match window::opening(Some(window), now) {
        Ok(Opening::Open) => "which is open now".to_owned(),
        Ok(Opening::At(time)) => format!("which opens at {time}"),
        Err(why) => format!("which never opens: {why}"),
    };
    format!("in the maintenance window ({schedule}, {time_zone}, for {duration}), {opens}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(provider: Value, window: Value, batch: Value) -> String {
        let cluster: SearchCluster = serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster", "metadata": {"namespace": "search", "name": "es-1"},
            "spec": {"endpoint": "https://es-1:9200", "provider": provider, "allowlist": {"management": "Approval", "window": window}},
            "status": {"allowlist": {"key": "reindex.remote.whitelist", "batch": batch}},
        }))
        .unwrap();
        let batch = cluster.status.as_ref().unwrap().allowlist.as_ref().unwrap().batch.clone().unwrap();
        change(&cluster, &batch, "2026-11-27T12:00:00Z".parse().unwrap())
    }

    fn batch() -> Value {
        let node = |pod: &str| json!({"pod": pod, "name": pod, "id": pod, "podUID": pod, "state": "Pending"});
        json!({
            "id": "change-1", "entries": ["es-2:9200", "es-3:9200"], "removes": ["old:9200"], "trust": "es-1-reindex-sources",
            "phase": "Proposed", "generation": 1, "startedAt": "2026-11-25T12:00:00Z", "nodes": [node("es-1-0"), node("es-1-1")],
        })
    }

    fn stateful_sets() -> Value {
        json!({"statefulSets": [{"name": "es-1", "configMap": {"name": "es-1"}}]})
    }

    #[test]
    fn a_change_is_shown_with_all_that_it_does() {
        let window = json!({"schedule": "0 2 * * 6", "duration": "4h"});
        insta::assert_snapshot!(shown(stateful_sets(), window, batch()), @r"
        SearchCluster search/es-1, change change-1 of reindex.remote.whitelist
          adds       es-2:9200
          adds       es-3:9200
          takes out  old:9200
          trusts     the authorities in ConfigMap es-1-reindex-sources
          restarts   pod es-1-0
          restarts   pod es-1-1
          begins     in the maintenance window (0 2 * * 6, UTC, for 4h), which opens at 2026-11-28T02:00:00Z
        ");
    }

    #[test]
    fn nodes_that_somebody_else_restarts_are_told_too() {
        let mut change = batch();
        change["nodes"] = json!([]);
        let shown = shown(json!({"eck": {"name": "quickstart"}}), Value::Null, change);
        assert!(shown.contains("  restarts   every node of Elasticsearch quickstart: "), "{shown}");
        assert!(!shown.contains("begins"), "there is no window: {shown}");
    }

    #[test]
    fn many_and_long_entries_are_all_there() {
        let mut change = batch();
        change["entries"] = (0..256).map(|n| format!("{}-{n}:9200", "long".repeat(60))).collect();
        let shown = shown(stateful_sets(), Value::Null, change);
        assert_eq!(shown.lines().filter(|line| line.starts_with("  adds ") && line.ends_with(":9200")).count(), 256);
    }

    #[test]
    fn nothing_of_a_change_draws_on_the_terminal() {
        let clear = "\u{1b}[2J\r\u{9b}1m\u{202e}\n  adds  nothing";
        let mut change = batch();
        change["entries"] = json!([clear]);
        change["removes"] = json!([clear]);
        change["trust"] = json!(clear);
        change["nodes"][0]["pod"] = json!(clear);
        let shown = shown(stateful_sets(), json!({"schedule": clear, "duration": "4h"}), change);
        assert_eq!(shown.lines().count(), 7, "{shown:?}");
        assert!(!shown.contains(|c: char| c == '\u{202e}' || c.is_control() && c != '\n'), "{shown:?}");
    }
}
