//! The page for a change ticket: what stands in it, and how a real browser shows it.

use std::{path::PathBuf, process::Command};

use k8s_openapi::jiff::Timestamp;
use reindex_operator::{api::Reindex, cli::report};
use serde_json::{Value, json};

/// A Reindex that has ended, with everything that a page can show.
fn copied() -> Value {
    let samples: Vec<_> = (0..38)
        .map(|at| json!({"at": time(12 + at * 3), "documents": (at * at * 900).min(1_234_567)}))
        .chain([json!({"at": time(130), "documents": 1_234_567})])
        .collect();
    let ranges: Vec<_> = (0..12)
        .map(|id| json!({"round": 0, "id": id, "attempt": if id == 7 { 2 } else { 1 }, "startedAt": time(12 + id / 4 * 38), "seconds": 30 + id % 4 * 3, "documents": 102_880}))
        .collect();
    json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
        "metadata": {"namespace": "search", "name": "product-info", "uid": "0b8fb4bc-5f3e-4a26-9e0c-1d4b3e8a7c55"},
        "spec": {"source": {"clusterRef": {"name": "es-2"}, "index": "product_info", "query": {"match": {"a": "<b>"}}},
                 "destination": {"clusterRef": {"name": "es-1"}, "index": "dest", "settings": {"numberOfShards": 5, "numberOfReplicas": 1}}},
        "status": {
            "phase": "Complete", "startTime": time(0), "completionTime": time(151),
            "source": {"clusterUUID": "YE9oGzlISkSfJiFVeL4H4w", "version": "7.17.29", "remote": "es-2-http.search.svc:9200", "indices": [{"name": "product_info", "uuid": "8pAbzZ2vQ6mEZlYkB4pQxw"}]},
            "destination": {"clusterUUID": "q0nBaVqgTRi5pXrJ4Sgk5g", "version": "7.17.29", "indexUUID": "w0fJ0hP2QyqVbLhvCq9F1w", "created": true},
            "steps": [
                {"name": "Validate", "state": "Succeeded", "startedAt": time(0), "finishedAt": time(1), "message": "source es-2 (7.17.29), destination es-1 (7.17.29)"},
                {"name": "Allowlist", "state": "Succeeded", "startedAt": time(1), "finishedAt": time(2), "message": "every node of the destination may read from the source"},
                {"name": "Copy", "state": "Succeeded", "startedAt": time(12), "finishedAt": time(130), "message": "copied 1234567 documents"},
                {"name": "Verify", "state": "Succeeded", "startedAt": time(130), "finishedAt": time(151)},
            ],
            "progress": {"documentsTotal": 1_234_567, "documentsCopied": 1_234_567, "percent": 100, "partitionsTotal": 12, "partitionsDone": 12, "documentsPerSecond": 10_462},
            "history": {"samples": samples, "ranges": ranges, "rangesCopied": 12},
            "result": {"took": 402_000, "timedOut": false, "total": 1_234_567, "created": 1_234_567, "updated": 0, "deleted": 0, "batches": 494,
                       "versionConflicts": 0, "noops": 0, "retries": {"bulk": 0, "search": 0}, "throttledMillis": 0, "requestsPerSecond": -1.0,
                       "throttledUntilMillis": 0, "failures": [{"id": "<script>alert(1)</script>", "status": 400, "reason": "\"quoted\" & <i>marked</i>"}]},
            "verification": {"level": "Content", "verdict": "Passed", "sourceDocuments": 1_234_567, "destinationDocuments": 1_234_567, "sourceChanged": false,
                             "at": time(151), "durationSeconds": 21, "documentsCompared": 1_234_567, "sourceSum": "5f0c1d0be9a6c0c3a1f7", "destinationSum": "5f0c1d0be9a6c0c3a1f7"},
            "preflight": {"findings": [{"reason": "ClockSkew", "severity": "Warning", "message": "the clocks are 3 s apart", "accepted": true}]},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "Complete", "message": "copied and proved: 1234567 documents on both sides", "lastTransitionTime": time(151)},
                {"type": "Complete", "status": "True", "reason": "Complete", "message": "copied and proved: 1234567 documents on both sides", "lastTransitionTime": time(151)},
            ],
        },
    })
}

fn time(second: i64) -> String {
    Timestamp::from_second(1_795_608_000 + second).unwrap().to_string()
}

fn page(reindex: Value) -> String {
    let reindex: Reindex = serde_json::from_value(reindex).unwrap();
    report::page(&reindex, Timestamp::from_second(1_795_609_000).unwrap()).unwrap()
}

#[test]
fn what_moved_how_and_what_proves_it_is_in_the_page() {
    let page = page(copied());
    for part in [
        "search/product-info",
        "product_info of es-2 to dest of es-1",
        "1,234,567",
        "2 m 31 s",
        "YE9oGzlISkSfJiFVeL4H4w",
        "q0nBaVqgTRi5pXrJ4Sgk5g",
        "es-2-http.search.svc:9200",
        "range 7, attempt 2: 102,880 documents in 39 s",
        "5f0c1d0be9a6c0c3a1f7",
        "Content: Passed",
        "ClockSkew",
        "numberOfShards: 5",
        "0b8fb4bc-5f3e-4a26-9e0c-1d4b3e8a7c55",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert_eq!(page.matches("class=\"track\"").count(), 12);
}

#[test]
fn it_needs_nothing_but_itself_and_runs_nothing() {
    let page = page(copied());
    for outside in ["<script", "src=", "href=", "url(", "@import", "<i>marked"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("&#60;script&#62;alert(1)") && page.contains("&#38;"), "it is escaped");
}

#[test]
fn there_is_a_page_of_every_state() {
    let mut new = copied();
    new["status"] = json!({"observedGeneration": -1});
    let text = page(new);
    assert!(
        text.contains("the operator has not seen it yet")
            && !text.contains("Throughput")
            && !text.contains("<h2>Ranges")
    );
    let mut failed = copied();
    failed["status"]["conditions"] = json!([{"type": "Failed", "status": "True", "reason": "ReindexFailed", "message": "7 documents were refused", "lastTransitionTime": time(9)}]);
    failed["status"]["phase"] = json!("Failed");
    failed["status"]["history"]["samples"] = json!([{"at": time(1), "documents": 0}]);
    failed["status"]["history"]["rangesCopied"] = json!(512);
    let text = page(failed);
    assert!(text.contains("phase bad") && text.contains("7 documents were refused") && !text.contains("Throughput"));
    assert!(text.contains("the 12 that took longest, of 512"));
}

#[test]
fn a_running_copy_shows_the_ranges_that_run_until_now_and_why_others_are_tried_again() {
    let mut running = copied();
    running["status"]["completionTime"] = Value::Null;
    running["status"]["partitions"] = json!([
        {"id": 12, "attempt": 1, "state": "Running", "startedAt": time(940)},
        {"id": 13, "attempt": 2, "state": "Waiting", "startedAt": time(1010), "message": "the task was lost"},
    ]);
    let text = page(running.clone());
    assert_eq!((text.matches("class=\"track\"").count(), text.matches("class=\"runs\"").count()), (13, 1));
    for part in
        ["range 12: not copied yet", "range 13, attempt 2", "the task was lost", "<span>2026-11-25 12:16:40 UTC</span>"]
    {
        assert!(text.contains(part), "{part} is missing");
    }
    running["status"]["history"] = Value::Null;
    assert_eq!(page(running).matches("class=\"track\"").count(), 1, "none is copied yet");
}

#[test]
fn a_dry_run_shows_what_a_copy_would_do() {
    let mut planned = copied();
    planned["status"] = json!({
        "phase": "Planned",
        "dryRun": {"allowlist": "is so already", "index": "dest is created", "documents": 1_234_567, "bytes": 3_221_225_472_i64,
                   "partitions": 24, "parallelism": 8, "batchSize": 1000, "estimatedSeconds": 754},
        "preflight": {"unchecked": ["the pipeline can't be read"]},
    });
    let text = page(planned);
    for part in ["1,234,567, 3.0 GiB on disk", "24, 8 at once", "12 m 34 s", "the pipeline can&#39;t be read"] {
        assert!(text.contains(part), "{part} is missing");
    }
}

/// How a browser shows a page of that width.
struct Shown {
    /// How wide the page wants to be.
    width: i64,
    /// Its background.
    background: String,
    /// Heights of what is drawn, and the size of the smallest text.
    drawn: i64,
    smallest: f64,
}

/// A folder of the target's, which screenshots stay in.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Opens the page in a frame of that width; a headless window can't be as narrow as a phone.
fn show(page: &str, width: u32, dark: bool) -> Shown {
    let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        "<body style='margin:0'><iframe id=f style='border:0;width:{width}px;height:3200px' srcdoc=\"{escaped}\"></iframe><script>
        f.onload = () => {{
            const d = f.contentDocument, all = [...d.body.querySelectorAll('*')];
            const text = all.filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()));
            document.body.dataset.seen = JSON.stringify({{
                width: d.documentElement.scrollWidth, background: getComputedStyle(d.body).backgroundColor,
                drawn: [...d.querySelectorAll('path.edge, .track i')].filter(e => e.getBoundingClientRect().width > 0).length,
                smallest: Math.min(...text.map(e => parseFloat(getComputedStyle(e).fontSize))),
            }});
        }};</script>"
    );
    let name = format!("{width}-{}", if dark { "dark" } else { "light" });
    let file = folder().join(format!("{name}.html"));
    std::fs::write(&file, frame).unwrap();
    let chromium = |extra: &[String]| {
        let profile = folder().join(format!("profile-{name}"));
        let output = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--blink-settings=preferredColorScheme={}", if dark { 0 } else { 1 }))
            .args(extra)
            .arg(format!("file://{}", file.display()))
            .output()
            .expect("chromium runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    chromium(&[
        format!("--window-size={},3200", width.max(500)),
        format!("--screenshot={}", folder().join(format!("{name}.png")).display()),
    ]);
    let dom = chromium(&["--dump-dom".to_owned()]);
    let seen = dom.split("data-seen=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let seen: Value =
        serde_json::from_str(&seen.replace("&quot;", "\"")).unwrap_or_else(|error| panic!("{error}: {dom}"));
    Shown {
        width: seen["width"].as_i64().unwrap(),
        background: seen["background"].as_str().unwrap().to_owned(),
        drawn: seen["drawn"].as_i64().unwrap(),
        smallest: seen["smallest"].as_f64().unwrap(),
    }
}

#[test]
fn a_real_browser_shows_it_on_a_phone_and_in_the_dark() {
    if Command::new("chromium").arg("--version").output().is_err() {
        eprintln!("skipped: there is no chromium");
        return;
    }
    let page = page(copied());
    let (phone, dark, desk) = (show(&page, 360, false), show(&page, 360, true), show(&page, 1200, false));
    for (shown, width) in [(&phone, 360), (&dark, 360), (&desk, 1200)] {
        assert!(shown.width <= width, "it is {} wide in {width}", shown.width);
        assert_eq!(shown.drawn, 13, "a curve and twelve bars");
        assert!(shown.smallest >= 12.0, "text of {} px can't be read", shown.smallest);
    }
    assert_eq!(phone.background, "rgb(255, 255, 255)");
    assert_eq!(dark.background, "rgb(18, 22, 29)");
}
