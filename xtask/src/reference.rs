//! `docs/api.md`: every field of the custom resources, from their definitions.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{cache, paths};

const DEFINITIONS: [&str; 2] = ["crds/searchclusters.yaml", "crds/reindexes.yaml"];
const HEADER: &str = "# API reference

Written by `make generate` from the definitions; do not edit. `kubectl explain reindex.spec` says the same. What the fields are for, with examples, is
in the [user guide](user-guide.md); what conditions and reasons mean, in [status](status.md).
";

/// Where it is kept.
pub fn file() -> Result<PathBuf> {
    Ok(paths::checkout()?.join("docs/api.md"))
}

/// Writes it anew.
pub fn write() -> Result<()> {
    cache::write(&file()?, page()?)
}

/// The text that it should have.
pub fn page() -> Result<String> {
    let mut page = HEADER.to_owned();
    for path in DEFINITIONS {
        let text =
            fs::read_to_string(paths::checkout()?.join(path)).with_context(|| format!("failed to read {path}"))?;
        let definition: Value = serde_saphyr::from_str(&text).with_context(|| format!("failed to parse {path}"))?;
        let version = &definition["spec"]["versions"][0];
        let (kind, group) = (text_of(&definition["spec"]["names"]["kind"]), text_of(&definition["spec"]["group"]));
        let schema = &version["schema"]["openAPIV3Schema"];
        let _ = write!(page, "\n## {kind}\n\n`apiVersion: {group}/{}`. {}\n", text_of(&version["name"]), line(schema));
        for part in ["spec", "status"] {
            let _ = write!(page, "\n### {kind}: {part}\n\n| field | type | |\n|---|---|---|\n");
            rows(&mut page, part, &schema["properties"][part]);
        }
    }
    Ok(page)
}

/// A row for each field below `path`, in the order of the definition.
fn rows(page: &mut String, path: &str, schema: &Value) {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mut said = line(field);
        if required.contains(&name.as_str()) {
            said = format!("**Required.** {said}");
        }
        for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let _ = write!(said, " Rule: {}.", cell(text_of(&rule["message"])));
        }
        if let Some(default) = field.get("default").filter(|default| !default.is_object() && !said.contains("Default:"))
        {
            let _ = write!(said, " Default: `{default}`.");
        }
        let _ = writeln!(page, "| `{path}` | {} | {said} |", type_of(field));
        rows(page, &path, field);
        rows(page, &format!("{path}[]"), &field["items"]);
        rows(page, &format!("{path}{{}}"), &field["additionalProperties"]);
    }
}

/// The type, with its values or bounds.
fn type_of(field: &Value) -> String {
    let bounds = [("minimum", "≥"), ("maximum", "≤")].into_iter();
    let bounds = bounds.filter_map(|(key, sign)| Some(format!(" {sign} {}", field[key].as_f64()?)));
    let bounds: String = bounds.collect();
    match field["enum"].as_array() {
        Some(values) => {
            let values = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`"));
            values.collect::<Vec<_>>().join(", ")
        }
        None if field["type"] == "array" => format!("list of {}", type_of(&field["items"])),
        None if field["type"].is_null() => "anything".to_owned(),
        None => format!("{}{bounds}", text_of(&field["type"])),
    }
}

/// What is said of a field, in one line.
fn line(field: &Value) -> String {
    cell(text_of(&field["description"]))
}

/// Without what would end a cell of a table, or look like HTML; code is shown as it stands.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let is_code = |part: usize| part % 2 == 1;
    let parts = line.split('`').enumerate();
    let parts = parts.map(|(at, part)| if is_code(at) { part.to_owned() } else { part.replace('<', "&lt;") });
    parts.collect::<Vec<_>>().join("`")
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
