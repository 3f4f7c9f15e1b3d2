//! Whether every reason that a status or an event can have is told of, and every one that is told of can be had.

use std::{collections::BTreeSet, fs, path::Path};

/// The rooms that give reasons: words in CamelCase, as the API wants them.
const ROOMS: [&str; 5] = ["plan", "controller", "allowlist", "search", "verify"];
/// Another room, most of whose words are the vendor's: only this function gives reasons.
const CLOUD: (&str, &str) = ("src/alibaba_cloud/error.rs", "    pub fn reason(&self)");

/// What the rooms say in CamelCase that is no reason: names of kinds, of other programs' states, units.
const NO_REASONS: &[&str] = &[
    "Active",
    "Authorization",
    "Basic",
    "ConfigMap",
    "Conflict",
    "Connected",
    "Connection",
    "DoesNotExist",
    "Drained",
    "Excluded",
    "Exists",
    "Flux",
    "GiB",
    "Helm",
    "In",
    "Invalid",
    "KiB",
    "Kubernetes",
    "MiB",
    "NotIn",
    "OpenSearch",
    "PiB",
    "Pod",
    "Provider",
    "Reindex",
    "Restarter",
    "RollingRestart",
    "Running",
    "Scaler",
    "SearchClient",
    "SearchCluster",
    "Secret",
    "String",
    "TiB",
    "Tls",
    "Upgrader",
    "Upgrading",
    "WireFailure",
];

/// Tables of docs/status.md whose reasons ask something of a person, by the line above them or their head.
const ACT: [&str; 4] = [
    "### Somebody has to act (`Stalled`)",
    "Warnings stall a Reindex as well",
    "### Ended without success (`Failed`)",
    "| reason in `leftOut` |",
];

fn file(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_camel_case(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(|first| first.is_ascii_uppercase())
        && letters.next().is_some_and(|second| second.is_ascii_lowercase())
        && letters.all(|letter| letter.is_ascii_alphabetic())
}

/// The strings of a source that are one word in CamelCase.
fn words(source: &str) -> BTreeSet<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let strings = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    strings.filter(|word| is_camel_case(word)).map(str::to_owned).collect()
}

/// A source without its tests.
fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod ").next().unwrap_or_default()
}

fn add_words_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_words_below(&path, found);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            found.extend(words(without_tests(&file(path))));
        }
    }
}

/// Every word of the rooms that may be a reason.
fn in_code() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for room in ROOMS {
        add_words_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut found);
    }
    let (path, function) = CLOUD;
    let cloud = file(path);
    let (_, body) = cloud.split_once(function).unwrap_or_else(|| panic!("{path} has no reasons"));
    found.extend(words(body.split("\n    }\n").next().unwrap()));
    found
}

/// The words in CamelCase between backticks.
fn told(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).filter(|word| is_camel_case(word)).map(str::to_owned).collect()
}

/// A row of a table of reasons.
struct Row<'a> {
    /// The last line before the table that is not empty.
    above: &'a str,
    /// The table's head.
    head: &'a str,
    text: &'a str,
    reasons: BTreeSet<String>,
}

fn rows(page: &str) -> Vec<Row<'_>> {
    let (mut above, mut head) = ("", None);
    let mut rows = Vec::new();
    for text in page.lines() {
        match head {
            Some(head) if text.starts_with('|') => {
                let reasons = told(text.split('|').nth(1).unwrap_or_default());
                rows.push(Row { above, head, text, reasons });
            }
            _ if text.starts_with("| reason") => head = Some(text),
            _ => {
                head = None;
                above = if text.is_empty() { above } else { text };
            }
        }
    }
    rows
}

#[test]
fn every_reason_is_told_of() {
    let status = told(&file("docs/status.md"));
    let silent: Vec<_> =
        in_code().into_iter().filter(|it| !status.contains(it) && !NO_REASONS.contains(&it.as_str())).collect();
    assert!(
        silent.is_empty(),
        "docs/status.md must say what they mean; what is no reason goes to NO_REASONS of this file: {silent:?}"
    );
}

#[test]
fn every_reason_that_is_told_of_is_there() {
    let code = in_code();
    let status = file("docs/status.md");
    let told: BTreeSet<_> = rows(&status).into_iter().flat_map(|row| row.reasons).collect();
    assert!(told.len() > 100, "only {} were found", told.len());
    let gone: Vec<_> = told.difference(&code).collect();
    assert!(gone.is_empty(), "docs/status.md tells of what is not in the code: {gone:?}");
    let unused: Vec<_> = NO_REASONS.iter().filter(|it| !code.contains(**it)).collect();
    assert!(unused.is_empty(), "NO_REASONS names what is not in the code: {unused:?}");
}

#[test]
fn where_a_person_must_act_the_reason_leads_to_a_part_of_troubleshooting() {
    let status = file("docs/status.md");
    let troubleshooting = told(&file("docs/troubleshooting.md"));
    let rows = rows(&status);
    let is_of = |row: &Row, begin: &str| row.above.starts_with(begin) || row.head.starts_with(begin);
    for begin in ACT {
        assert!(rows.iter().any(|row| is_of(row, begin)), "docs/status.md has no table {begin:?}");
    }
    let asks = |row: &Row| ACT.iter().any(|begin| is_of(row, begin)) || row.text.contains("| Stalled |");
    let asked: BTreeSet<_> = rows.into_iter().filter(asks).flat_map(|row| row.reasons).collect();
    assert!(asked.len() > 100, "only {} were found", asked.len());
    let silent: Vec<_> = asked.difference(&troubleshooting).collect();
    assert!(silent.is_empty(), "docs/troubleshooting.md does not say where to begin: {silent:?}");
}

#[test]
fn alerts_and_the_dashboard_ask_for_reasons_that_there_are() {
    let code = in_code();
    for path in ["alerts.yaml", "dashboard.json"] {
        let text = file(format!("charts/reindex-operator/files/monitoring/{path}")).replace("\\\"", "\"");
        let asked = text.split("reason").skip(1).filter_map(|rest| {
            let value = ["=~\"", "!~\"", "=\"", "!=\""].iter().find_map(|sign| rest.strip_prefix(sign))?;
            value.split('"').next()
        });
        let asked: Vec<_> = asked.flat_map(|value| value.split('|')).collect();
        assert!(asked.contains(&"VerifyOnly"), "{path} asks for {asked:?}");
        let gone: Vec<_> = asked.into_iter().filter(|reason| !code.contains(*reason)).collect();
        assert!(gone.is_empty(), "{path} asks for what is not in the code: {gone:?}");
    }
}

#[test]
fn words_are_found_in_code_and_not_in_tests() {
    let source =
        "// \"Comment\"\nfn a() { b(\"AReason\", \"no reason\"); c(\"Reason\") }\n#[cfg(test)]\nmod tests { \"Test\" }";
    assert_eq!(words(without_tests(source)), BTreeSet::from(["Reason".to_owned()]));
    assert_eq!(told("| `Aa`, `b`, `C` | `Dd` |"), BTreeSet::from(["Aa".to_owned(), "Dd".to_owned()]));
}
