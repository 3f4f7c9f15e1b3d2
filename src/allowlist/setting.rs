//! The edit of a setting in a configuration that is kept as JSON in somebody's object: the form in which it stands there is kept.
//!
//! The engines read `reindex.remote.whitelist: […]`, the same nested, and any mix of both. What is not understood for certain is
//! not touched.

use serde_json::{Map, Value, json};

use crate::plan::allowlist::{ALLOWLIST, Change, WHITELIST};

/// Where a setting stands below a configuration, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Names from the configuration down to the value: one where it is dotted, several where it is nested.
    pub path: Vec<String>,
    /// Its entries.
    pub entries: Vec<String>,
    form: Form,
}

/// How the entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `["a:1", "b:1"]`
    List,
    /// `a:1,b:1`
    Text,
    /// A text that holds a JSON list, where values can only be texts.
    ListInText,
}

impl Place {
    /// A place for a setting that does not stand anywhere yet.
    pub fn new(key: &str, form: Form) -> Place {
        Place { path: vec![key.to_owned()], entries: vec![], form }
    }

    /// The setting's name.
    pub fn name(&self) -> String {
        self.path.join(".")
    }

    /// The same place with these entries added, and those taken out.
    pub fn after(&self, change: &Change) -> Place {
        Place { entries: change.applied_to(&self.entries), ..self.clone() }
    }

    /// The same place with one entry more.
    pub fn with(&self, entry: &str) -> Place {
        self.after(&Change { add: vec![entry.to_owned()], ..Change::default() })
    }

    /// What stands there.
    pub fn value(&self) -> Value {
        match self.form {
            Form::List => json!(self.entries),
            Form::Text => json!(self.entries.join(",")),
            Form::ListInText => json!(json!(self.entries).to_string()),
        }
    }

    /// The same as lines of YAML, each indented by `indent`.
    pub fn yaml(&self, indent: usize) -> String {
        let mut text = String::new();
        for (depth, name) in self.path.iter().enumerate() {
            let value = match depth + 1 == self.path.len() {
                // JSON is YAML, and a text of JSON needs quotes that don't end it.
                true => match self.value() {
                    Value::String(value) => format!(" '{}'", value.replace('\'', "''")),
                    value => format!(" {value}"),
                },
                false => String::new(),
            };
            text += &format!("{}{name}:{value}\n", " ".repeat(indent + 2 * depth));
        }
        text
    }

    /// Its JSON pointer below the one of the configuration.
    pub fn pointer(&self, configuration: &str) -> String {
        let escaped = self.path.iter().map(|name| name.replace('~', "~0").replace('/', "~1"));
        escaped.fold(configuration.to_owned(), |pointer, name| format!("{pointer}/{name}"))
    }
}

/// Where `key` stands in a configuration, or would be put, in the form that it has there or that a `new` one gets.
///
/// # Errors
/// Why it can't be edited, for people.
pub fn find(configuration: &Value, key: &str, new: Form) -> Result<Place, String> {
    match configuration {
        Value::Null => Ok(Place::new(key, new)),
        Value::Object(settings) => Ok(standing(settings, key)?.unwrap_or_else(|| Place::new(key, new))),
        _ => Err("the configuration is not a map of settings".into()),
    }
}

/// The same where every value is a text, and None where the setting does not stand. OpenSearch reads the older name where the newer
/// does not stand: to add the newer would void the older, so whichever is there is edited.
///
/// # Errors
/// Why it can't be edited, for people.
pub fn find_text(configuration: &Value, key: &str) -> Result<Option<Place>, String> {
    let Some(settings) = configuration.as_object() else { return Ok(None) };
    let older = match key {
        ALLOWLIST => standing(settings, WHITELIST)?,
        _ => None,
    };
    Ok(standing(settings, key)?.or(older))
}

/// The dotted names of all settings of a configuration.
pub fn names(configuration: &Value) -> Vec<String> {
    let mut names = vec![];
    for (name, value) in configuration.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => names.extend(self::names(value).into_iter().map(|rest| format!("{name}.{rest}"))),
            _ => names.push(name.clone()),
        }
    }
    names
}

fn standing(settings: &Map<String, Value>, key: &str) -> Result<Option<Place>, String> {
    let mut found = vec![];
    walk(settings, key, &mut vec![], &mut found);
    let Some((path, value)) = found.pop() else { return Ok(None) };
    if !found.is_empty() {
        return Err(format!("{key} is set more than once"));
    }
    let (entries, form) =
        read(value).ok_or_else(|| format!("the value of {key} is neither a list nor a plain text"))?;
    Ok(Some(Place { path, entries, form }))
}

fn walk<'a>(
    settings: &'a Map<String, Value>,
    key: &str,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, &'a Value)>,
) {
    for (name, value) in settings {
        path.push(name.clone());
        if name == key {
            found.push((path.clone(), value));
        } else if let (Some(rest), Value::Object(inner)) =
            (key.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('.')), value)
        {
            walk(inner, rest, path, found);
        }
        path.pop();
    }
}

fn read(value: &Value) -> Option<(Vec<String>, Form)> {
    let texts = |items: &[Value]| items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let (entries, form) = match value {
        Value::Null => (vec![], Form::List),
        Value::Array(items) => (texts(items)?, Form::List),
        Value::String(text) if text.trim_start().starts_with('[') => {
            (texts(&serde_json::from_str::<Vec<Value>>(text).ok()?)?, Form::ListInText)
        }
        Value::String(text) => {
            let parts = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            (parts.map(str::to_owned).collect(), Form::Text)
        }
        _ => return None,
    };
    // `${…}` is filled in by the node.
    entries.iter().all(|entry| !entry.contains("${")).then_some((entries, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = WHITELIST;

    fn added(configuration: &Value) -> (String, Value) {
        let place = find(configuration, KEY, Form::List).unwrap();
        (place.pointer("/config"), place.with("new:9200").value())
    }

    #[test]
    fn the_form_is_kept() {
        for (configuration, pointer, value) in [
            (json!({"a": 1}), "/config/reindex.remote.whitelist", json!(["new:9200"])),
            (Value::Null, "/config/reindex.remote.whitelist", json!(["new:9200"])),
            (
                json!({"reindex.remote.whitelist": ["o:1"]}),
                "/config/reindex.remote.whitelist",
                json!(["o:1", "new:9200"]),
            ),
            (
                json!({"reindex": {"remote": {"whitelist": ["o:1"]}}}),
                "/config/reindex/remote/whitelist",
                json!(["o:1", "new:9200"]),
            ),
            (
                json!({"reindex": {"remote.whitelist": "o:1, p:2"}}),
                "/config/reindex/remote.whitelist",
                json!("o:1,p:2,new:9200"),
            ),
            (
                json!({"reindex.remote": {"whitelist": r#"["o:1"]"#}}),
                "/config/reindex.remote/whitelist",
                json!(r#"["o:1","new:9200"]"#),
            ),
            (json!({"reindex.remote.whitelist": null}), "/config/reindex.remote.whitelist", json!(["new:9200"])),
        ] {
            assert_eq!(added(&configuration), (pointer.to_owned(), value), "{configuration}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_touched() {
        for configuration in [
            json!({"reindex.remote.whitelist": "o:1", "reindex": {"remote": {"whitelist": "p:1"}}}),
            json!({"reindex.remote.whitelist": 1}),
            json!({"reindex.remote.whitelist": [1]}),
            json!({"reindex.remote.whitelist": "${ALLOWED}"}),
            json!({"reindex.remote.whitelist": "[o:1"}),
            json!([]),
        ] {
            assert!(find(&configuration, KEY, Form::List).is_err(), "{configuration}");
        }
    }

    #[test]
    fn settings_are_named_as_the_engines_read_them() {
        let mut found = names(&json!({"a.b": 1, "c": {"d.e": 2, "f": {"g": []}}}));
        found.sort();
        assert_eq!(found, ["a.b", "c.d.e", "c.f.g"]);
    }

    #[test]
    fn the_older_name_is_edited_where_it_stands() {
        let place = find_text(&json!({"reindex.remote.whitelist": "o:1"}), ALLOWLIST).unwrap().unwrap();
        assert_eq!(place.path, [WHITELIST]);
        assert_eq!(find_text(&json!({"a": "b"}), ALLOWLIST), Ok(None));
    }

    #[test]
    fn the_text_for_a_person_is_yaml_of_the_same() {
        for (configuration, wrapped) in [
            (json!({"reindex": {"remote": {"whitelist": ["o:1"]}}}), json!(["o:1", "it's:1"])),
            (json!({"reindex": {"remote": {"whitelist": "[\"o:1\"]"}}}), json!("[\"o:1\",\"it's:1\"]")),
        ] {
            let yaml = find(&configuration, KEY, Form::List).unwrap().with("it's:1").yaml(4);
            let read: Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read, json!({"reindex": {"remote": {"whitelist": wrapped}}}), "{yaml}");
        }
    }
}
