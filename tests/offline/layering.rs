//! Who may talk to whom: what a room of `src/` must not mention.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines of code below `src/<room>`, as `file:line` and text; without comments and without what follows `#[cfg(test)]`.
fn code(room: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut files);
    assert!(!files.is_empty(), "src/{room} holds no code");
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // Modules of tests stand at the end of their file, or are files of their own.
        if file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        for (number, line) in code.enumerate() {
            let line = line.split_once("//").map_or(line, |(code, _)| code);
            lines.push((format!("{}:{}", file.display(), number + 1), line.to_owned()));
        }
    }
    lines
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn assert_mentions_none(room: &str, words: &[&str]) {
    let found: Vec<_> = code(room)
        .into_iter()
        .filter_map(|(place, line)| {
            words.iter().find(|word| mentions(&line, word)).map(|word| format!("{place} mentions {word}"))
        })
        .collect();
    assert!(found.is_empty(), "src/{room} must not:\n{}", found.join("\n"));
}

/// Whether the word stands in the line by itself: `tokio` is in `tokio::spawn`, not in `tokio_like`.
fn mentions(line: &str, word: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        (word.starts_with('.') || !before.ends_with(part_of_a_name)) && !after.starts_with(part_of_a_name)
    })
}

#[test]
fn the_planner_decides_and_cannot_do() {
    assert_mentions_none(
        "plan",
        &[
            "Client",
            "kube::Client",
            "kube::Api",
            "kube::client",
            "kube::runtime",
            "kube::api",
            "Api",
            "reqwest",
            "tokio",
            "async",
            ".await",
            "crate::controller",
            "crate::search",
            "crate::alibaba_cloud",
            "crate::telemetry",
            "controller::",
            "search::",
        ],
    );
}

#[test]
fn the_planner_is_told_the_time() {
    assert_mentions_none("plan", &["Timestamp::now", "SystemTime", "Instant", "Zoned::now"]);
}

#[test]
fn the_api_is_types_only() {
    assert_mentions_none(
        "api",
        &["Client", "reqwest", "tokio", "async", ".await", "crate::controller", "crate::search", "crate::plan"],
    );
}

#[test]
fn the_client_of_the_search_engine_knows_nothing_of_kubernetes() {
    assert_mentions_none("search", &["kube", "k8s_openapi", "crate::controller", "crate::plan", "crate::api"]);
}

#[test]
fn comparing_documents_knows_nothing_of_kubernetes() {
    assert_mentions_none("verify", &["kube", "k8s_openapi", "crate::controller", "crate::alibaba_cloud"]);
}

#[test]
fn the_plugin_asks_the_apiserver_and_nobody_else() {
    assert_mentions_none("cli", &["crate::search", "crate::controller", "crate::allowlist", "crate::alibaba_cloud"]);
}

#[test]
fn the_client_of_alibaba_cloud_knows_nothing_of_kubernetes() {
    assert_mentions_none("alibaba_cloud", &["kube", "crate::controller", "crate::plan", "crate::api", "crate::search"]);
}

#[test]
fn nothing_that_runs_for_ever_may_panic() {
    for room in ["cli", "local", "plan", "controller", "search", "verify", "allowlist", "alibaba_cloud"] {
        assert_mentions_none(room, &[".unwrap", ".expect", "panic!", "todo!", "unimplemented!", "unreachable!"]);
    }
}
