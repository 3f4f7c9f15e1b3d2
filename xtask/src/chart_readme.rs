//! `charts/reindex-operator/README.md`: every value of the chart, from `values.yaml`, its comments, and the schema.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{cache, paths};

const VALUES: &str = "charts/reindex-operator/values.yaml";
const SCHEMA: &str = "charts/reindex-operator/values.schema.json";
const HEADER: &str = "# Chart of the Reindex operator

Written by `make generate` from `values.yaml`, its comments and `values.schema.json`; do not edit. How it is installed, upgraded and uninstalled:
[Install](../../docs/install.md). What its rights are for: [Security model](../../docs/security-model.md).

```sh
helm install reindex-operator charts/reindex-operator --namespace reindex-system --create-namespace \\
  --set image.repository=registry.example.com/reindex-operator
```

What is not one of these values, or of another type, is refused.

| value | default | meaning |
|---|---|---|
";

/// Where it is kept.
pub fn file() -> Result<PathBuf> {
    Ok(paths::checkout()?.join("charts/reindex-operator/README.md"))
}

/// Writes it anew.
pub fn write() -> Result<()> {
    cache::write(&file()?, page()?)
}

/// The text that it should have.
pub fn page() -> Result<String> {
    let read = |path: &str| {
        fs::read_to_string(paths::checkout()?.join(path)).with_context(|| format!("failed to read {path}"))
    };
    let schema = serde_json::from_str(&read(SCHEMA)?).with_context(|| format!("failed to parse {SCHEMA}"))?;
    Ok(HEADER.to_owned() + &rows(&read(VALUES)?, &schema)?)
}

/// A row for each value, in the order of the file, with the comment above it; a group has one of its own.
fn rows(text: &str, schema: &Value) -> Result<String> {
    let values: Value = serde_saphyr::from_str(text).with_context(|| format!("failed to parse {VALUES}"))?;
    let mut table = String::new();
    let mut comment = Vec::new();
    // The keys that lead to the line, each with its indentation.
    let mut path: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        let said = line.trim_start();
        let indentation = line.len() - said.len();
        if let Some(words) = said.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let Some((key, _)) = said.split_once(':') else {
            comment.clear();
            continue;
        };
        path.retain(|(outer, _)| *outer < indentation);
        if !path.is_empty() && is_free_form(lookup(schema, &path)) {
            continue;
        }
        path.push((indentation, key));
        let name = path.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
        let value = path.iter().fold(&values, |value, (_, key)| &value[*key]);
        let meaning = comment.join(" ");
        comment.clear();
        if meaning.is_empty() {
            bail!("{VALUES}: {name} has no comment that says what it is for");
        }
        let checked = lookup(schema, &path);
        let default = match is_group(value, checked) {
            true => String::new(),
            false => format!("`{}`", shown(value)),
        };
        let _ = writeln!(table, "| `{name}` | {default} | {}{} |", cell(&meaning), choice(checked));
    }
    Ok(table)
}

/// What the schema says of a value.
fn lookup<'a>(schema: &'a Value, path: &[(usize, &str)]) -> &'a Value {
    path.iter().fold(schema, |schema, (_, key)| &schema["properties"][*key])
}

/// Whether any keys may stand in it, so that those which do are only its default.
fn is_free_form(schema: &Value) -> bool {
    !schema["properties"].is_object()
}

/// Whether it is only a name for the values below it.
fn is_group(value: &Value, schema: &Value) -> bool {
    value.is_object() && !is_free_form(schema)
}

/// A default; a string as it is, unless it would not be seen.
fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => value.to_string(),
    }
}

/// What the schema lets a value be, where it is a choice.
fn choice(schema: &Value) -> String {
    let Some(values) = schema["enum"].as_array() else { return String::new() };
    let values: Vec<_> = values.iter().map(|value| format!("`{}`", shown(value))).collect();
    format!(" One of {}.", values.join(", "))
}

/// Without what would end a cell of a table, or look like HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        serde_json::json!({"properties": {
            "image": {"properties": {"tag": {"type": "string"}, "pullPolicy": {"enum": ["Always", "Never"]}}},
            "resources": {"type": "object"},
            "replicas": {"type": "integer"},
        }})
    }

    #[test]
    fn each_value_has_its_default_and_its_comment() {
        let text = "# The image.\nimage:\n  # Which one,\n  # or none.\n  tag: \"\"\n  # When.\n  pullPolicy: Never\n\n# At most.\nresources:\n  limits:\n    memory: 1Mi\n\n# How many.\nreplicas: 1\n";
        assert_eq!(
            rows(text, &schema()).unwrap(),
            "| `image` |  | The image. |\n\
             | `image.tag` | `\"\"` | Which one, or none. |\n\
             | `image.pullPolicy` | `Never` | When. One of `Always`, `Never`. |\n\
             | `resources` | `{\"limits\":{\"memory\":\"1Mi\"}}` | At most. |\n\
             | `replicas` | `1` | How many. |\n"
        );
    }

    #[test]
    fn a_value_without_a_comment_is_named() {
        let error = rows("# How many.\nreplicas: 1\nresources: {}\n", &schema()).unwrap_err();
        assert!(error.to_string().contains("resources has no comment"), "{error}");
    }
}
