//! What kubectl alone tells of a Reindex: `wait`, `describe`, events.

use serde_json::{Value, json};
use xtask::kubectl;

use crate::world::*;

fn wait(name: &str, condition: &str) {
    let condition = format!("--for=condition={condition}");
    let reindex = format!("reindexes.reindex.dev/{name}");
    kubectl::run(&["wait", &reindex, "-n", NAMESPACE, &condition, "--timeout=120s"]).expect("it comes");
}

/// What `describe` says once it tells of that: events are written beside the status.
fn described(name: &str, last: &str) -> String {
    let describe = ["describe", "reindexes.reindex.dev", name, "-n", NAMESPACE];
    let look = || Value::String(kubectl::run(&describe).expect("described"));
    let seen =
        wait_for(&format!("an event {last}"), look, |seen| events(seen.as_str().unwrap_or_default()).contains(last));
    seen.as_str().unwrap_or_default().to_owned()
}

/// Those of a description.
fn events(description: &str) -> &str {
    description.split_once("\nEvents:").map_or("", |(_, events)| events)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_alone_tells_how_a_copy_went() {
    allowed().await;
    apply(&reindex("story", "first"));
    wait("story", "Complete");
    let description = described("story", "Complete");
    let squeezed = description.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(squeezed.contains("Phase: Complete"), "{description}");
    let told = events(&description);
    let steps = [
        "source src (",
        "may read from the source",
        "created index story",
        "attempt 1: task",
        "copied 10 documents",
        "10 documents on",
    ];
    let found: Vec<_> =
        steps.map(|step| told.find(step).unwrap_or_else(|| panic!("{step} is not told: {told}"))).into();
    assert!(found.is_sorted(), "one after the other: {told}");
    assert!(!told.contains("Warning"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_alone_tells_why_a_copy_was_refused() {
    allowed().await;
    let mut object = reindex("story-refused", "first");
    object["spec"]["destination"]["index"] = json!("story-there");
    destination().client().expect("a client").put("/story-there", &json!({})).await.expect("created");
    apply(&object);
    wait("story-refused", "Failed");
    let description = described("story-refused", "DestinationExists");
    let told = events(&description);
    assert!(told.contains("Warning") && told.contains("story-there"), "{told}");
}
