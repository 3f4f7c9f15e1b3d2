//! What the operator logged about a Reindex.

use futures::{AsyncBufReadExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};
use serde_json::Value;

use crate::text::one_line;

use super::{End, Fault, Place, show};

/// What the chart calls the operator's pods.
const PODS: &str = "app.kubernetes.io/name=reindex-operator";
/// What it calls the container in them: a mesh may have put others beside it.
const CONTAINER: &str = "operator";

/// Writes every line about it, of every pod of the operator: in the order of time, or as they come if `follow`, which goes on with new ones.
/// A pod whose log can't be read, as one that has not begun, is named on standard error and left out.
pub async fn logs(place: &Place, name: &str, operator_namespace: &str, follow: bool) -> Result<End, Fault> {
    let api: Api<Pod> = Api::namespaced(place.client.clone(), operator_namespace);
    let found = api.list(&ListParams::default().labels(PODS)).await.map_err(Fault::kube("list the operator's pods"))?;
    let pods: Vec<_> = found.iter().map(ResourceExt::name_any).collect();
    if pods.is_empty() {
        return Err(Fault::NoOperator(operator_namespace.to_owned()));
    }
    let params = LogParams { follow, container: Some(CONTAINER.to_owned()), ..LogParams::default() };
    let each = pods.iter().map(|pod| {
        let log = api.log_stream(pod, &params).map_err(|error| error.to_string());
        let lines = log.map_ok(|log| log.lines().map_err(|error| error.to_string())).try_flatten_stream();
        lines.map_err(move |error| (pod, error)).boxed()
    });
    let mut lines = stream::select_all(each);
    let (mut past, mut unread) = (Vec::new(), 0);
    while let Some(line) = lines.next().await {
        match line.map(|line| about(&line, &place.namespace, name)) {
            Ok(Some(line)) if follow => show(format_args!("{}\n", line.text))?,
            Ok(Some(line)) => past.push(line),
            Ok(None) => {}
            Err((pod, error)) => {
                unread += 1;
                eprintln!("the log of pod {pod} can't be read: {}", one_line(&error));
            }
        }
    }
    // Lines of one pod stay as they were where the clock stood still.
    past.sort_by_key(|line| line.at);
    past.iter().try_for_each(|line| show(format_args!("{}\n", line.text)))?;
    match unread < pods.len() {
        true => Ok(End::Well),
        false => Err(Fault::NoLog),
    }
}

/// A line that is about the Reindex.
#[derive(Debug, PartialEq)]
struct Line {
    /// When it was logged.
    at: Option<Timestamp>,
    /// As people are shown it.
    text: String,
}

/// The line for people, if it is about that Reindex; None for every other.
fn about(line: &str, namespace: &str, name: &str) -> Option<Line> {
    let (at, text) = match serde_json::from_str(line) {
        Ok(line) => of_json(&line, namespace, name)?,
        Err(_) => of_text(line, namespace, name)?,
    };
    // An older operator may have logged words of others as they were.
    Some(Line { at: at.parse().ok(), text: one_line(&text) })
}

/// Time and words of a line in the format `json`.
fn of_json(line: &Value, namespace: &str, name: &str) -> Option<(String, String)> {
    let is = |field: &str, wanted: &str| line[field] == wanted;
    if !(is("kind", "Reindex") && is("namespace", namespace) && is("name", name)) {
        return None;
    }
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let said = ["reason", "message", "documents", "error"].map(text);
    let said: Vec<_> = said.into_iter().filter(|part| !part.is_empty()).collect();
    let at = text("timestamp");
    let shown = format!("{at} {:<5} {}", text("level"), said.join(": "));
    Some((at, shown))
}

/// The same of one in the format `text`, which is for people as it is.
fn of_text(line: &str, namespace: &str, name: &str) -> Option<(String, String)> {
    let object = format!("namespace={namespace:?} name={name:?}");
    let mentions = |kind: &str| line.contains(&format!(" kind={kind} {object}"));
    let at = line.split_whitespace().next()?;
    (mentions("Reindex") || mentions("\"Reindex\"")).then(|| (at.to_owned(), line.to_owned()))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::util::SubscriberInitExt;

    use super::*;
    use crate::telemetry::log::{Format, subscriber, tests::Buffer};

    fn shown(line: &str, namespace: &str, name: &str) -> Option<String> {
        about(line, namespace, name).map(|line| line.text)
    }

    #[test]
    fn only_lines_of_that_reindex_are_shown() {
        let line = r#"{"timestamp":"2026-11-25T12:00:00Z","level":"INFO","message":"copied and counted","kind":"Reindex","namespace":"search","name":"a","reason":"Complete"}"#;
        assert_eq!(shown(line, "search", "a").unwrap(), "2026-11-25T12:00:00Z INFO  Complete: copied and counted");
        assert_eq!(shown(line, "search", "b"), None);
        assert_eq!(shown(line, "other", "a"), None);
        assert_eq!(shown(&line.replace("Reindex", "SearchCluster"), "search", "a"), None);
        assert_eq!(shown("not JSON", "search", "a"), None);
        assert_eq!(shown("", "search", "a"), None);
        let drawing = line.replace("copied and counted", "\\u001b[2J");
        assert!(shown(&drawing, "search", "a").unwrap().ends_with("Complete:  [2J"));
    }

    /// As the operator itself writes them, as events and as passes that ended early.
    #[test]
    fn lines_of_both_formats_are_read() {
        for format in [Format::Json, Format::Text] {
            let buffer = Buffer::default();
            let _guard = subscriber("info", format, buffer.clone()).unwrap().0.set_default();
            let (kind, namespace, name) = ("Reindex", Some("search".to_owned()), "a");
            tracing::info!(%kind, namespace, name, uid = "u", reason = "Complete", "all is copied");
            tracing::warn!(kind, namespace, name, error = %"no route", "a pass ended early");
            tracing::info!(%kind, namespace, name = "ab", "another's");
            tracing::info!(kind = "SearchCluster", namespace, name, "another's");
            let log = buffer.text();
            let found: Vec<_> = log.lines().filter_map(|line| about(line, "search", "a")).collect();
            assert_eq!(found.len(), 2, "{format:?}: {log}");
            assert!(found.iter().all(|line| line.at.is_some()), "{found:?}");
            for (line, words) in found.iter().zip([["Complete", "all is copied"], ["no route", "a pass ended early"]]) {
                assert!(words.iter().all(|word| line.text.contains(word)), "{format:?}: {line:?}");
            }
        }
    }
}
