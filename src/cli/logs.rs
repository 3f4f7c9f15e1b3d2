//! What the operator logged about a Reindex.

use futures::{AsyncBufReadExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use serde_json::Value;

use crate::text::one_line;

use super::{End, Fault, Place};

/// What the chart calls the operator's pods.
const PODS: &str = "app.kubernetes.io/name=reindex-operator";

/// Writes every line about it, of every pod of the operator, oldest first in each; goes on with new ones if `follow`.
pub async fn logs(place: &Place, name: &str, operator_namespace: &str, follow: bool) -> Result<End, Fault> {
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), operator_namespace);
    let found =
        pods.list(&ListParams::default().labels(PODS)).await.map_err(Fault::kube("list the operator's pods"))?;
    if found.items.is_empty() {
        return Err(Fault::NoOperator(operator_namespace.to_owned()));
    }
    let params = LogParams { follow, ..LogParams::default() };
    let mut each = Vec::new();
    for pod in found {
        let lines = pods.log_stream(&pod.name_any(), &params).await.map_err(Fault::kube("read the operator's log"))?;
        each.push(lines.lines());
    }
    let mut lines = stream::select_all(each);
    while let Some(line) = lines.try_next().await? {
        if let Some(shown) = about(&line, &place.namespace, name) {
            println!("{shown}");
        }
    }
    Ok(End::Well)
}

/// The line for people, if it is about that Reindex; None for every other.
fn about(line: &str, namespace: &str, name: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let is = |field: &str, wanted: &str| line[field] == wanted;
    if !(is("kind", "Reindex") && is("namespace", namespace) && is("name", name)) {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let said = [text(&line["reason"]), text(&line["message"]), text(&line["error"])];
    let said: Vec<_> = said.into_iter().filter(|part| !part.is_empty()).collect();
    // An older operator may have logged words of others as they were.
    Some(one_line(&format!("{} {:<5} {}", text(&line["timestamp"]), text(&line["level"]), said.join(": "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_that_reindex_are_shown() {
        let line = r#"{"timestamp":"2026-11-25T12:00:00Z","level":"INFO","message":"copied and counted","kind":"Reindex","namespace":"search","name":"a","reason":"Complete"}"#;
        assert_eq!(about(line, "search", "a").unwrap(), "2026-11-25T12:00:00Z INFO  Complete: copied and counted");
        assert_eq!(about(line, "search", "b"), None);
        assert_eq!(about(line, "other", "a"), None);
        assert_eq!(about(&line.replace("Reindex", "SearchCluster"), "search", "a"), None);
        assert_eq!(about("not JSON", "search", "a"), None);
        let drawing = line.replace("copied and counted", "\\u001b[2J");
        assert!(about(&drawing, "search", "a").unwrap().ends_with("Complete:  [2J"));
    }
}
