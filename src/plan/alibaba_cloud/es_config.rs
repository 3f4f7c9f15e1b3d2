//! The allowlist inside an instance's `esConfig`.
//!
//! The API replaces the whole map, so every edit is a copy of it with one value changed. How a list has to be written is nowhere
//! documented beyond an example of the console (`["h:9200"]`): the form that is there is kept.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::plan::allowlist::Change;

/// Node settings by their full names.
pub type EsConfig = BTreeMap<String, Value>;

/// Why a list can't be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EsConfigError {
    /// The API gave no `esConfig`. To take it for an empty one would reset every setting.
    #[error("the API does not show the instance's node configuration (esConfig), so nothing can be added to it")]
    Hidden,
    /// The value has a form that is not known.
    #[error("{key} in the instance's node configuration is no list that could be added to: correct it in the console")]
    UnknownForm {
        /// The setting.
        key: String,
    },
    /// The setting's group is written as an object, which the API is not known to do.
    #[error("the instance's node configuration holds {group} as an object: add the entries in the console")]
    Nested {
        /// The first part of the setting's name.
        group: String,
    },
}

/// How a list is written.
enum Form {
    Array,
    /// A text with brackets, such as `["h:9200"]`.
    Brackets,
    /// A text with commas.
    Commas,
}

/// The entries under `key`.
///
/// # Errors
/// [`EsConfigError`]
pub fn entries(config: Option<&EsConfig>, key: &str) -> Result<Vec<String>, EsConfigError> {
    read(config, key).map(|(_, entries, _)| entries)
}

/// The whole configuration after a change.
///
/// # Errors
/// [`EsConfigError`]
pub fn with(config: Option<&EsConfig>, key: &str, change: &Change) -> Result<EsConfig, EsConfigError> {
    let (config, entries, form) = read(config, key)?;
    Ok(written(config, key, change.applied_to(&entries), &form))
}

fn read<'a>(config: Option<&'a EsConfig>, key: &str) -> Result<(&'a EsConfig, Vec<String>, Form), EsConfigError> {
    let config = config.ok_or(EsConfigError::Hidden)?;
    let unknown = || EsConfigError::UnknownForm { key: key.to_owned() };
    let group = key.split('.').next().unwrap_or_default();
    if config.get(group).is_some_and(Value::is_object) {
        return Err(EsConfigError::Nested { group: group.to_owned() });
    }
    let (entries, form) = match config.get(key) {
        None | Some(Value::Null) => (vec![], Form::Brackets),
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            (texts.collect::<Option<Vec<_>>>().ok_or_else(unknown)?, Form::Array)
        }
        Some(Value::String(text)) if text.trim().is_empty() => (vec![], Form::Brackets),
        // Brackets as in YAML, of which JSON is a part.
        Some(Value::String(text)) if text.trim().starts_with('[') => {
            (serde_saphyr::from_str(text).map_err(|_| unknown())?, Form::Brackets)
        }
        Some(Value::String(text)) => (
            text.split(',').map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()).collect(),
            Form::Commas,
        ),
        Some(_) => return Err(unknown()),
    };
    Ok((config, entries, form))
}

fn written(config: &EsConfig, key: &str, entries: Vec<String>, form: &Form) -> EsConfig {
    let mut config = config.clone();
    if entries.is_empty() {
        config.remove(key);
        return config;
    }
    let value = match form {
        Form::Array => Value::from(entries),
        Form::Brackets => Value::from(Value::from(entries).to_string()),
        Form::Commas => Value::from(entries.join(",")),
    };
    config.insert(key.to_owned(), value);
    config
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KEY: &str = "reindex.remote.whitelist";

    fn config(value: Value) -> EsConfig {
        serde_json::from_value(value).unwrap()
    }

    fn adding(entries: &[&str]) -> Change {
        Change { add: entries.iter().map(|entry| (*entry).to_owned()).collect(), ..Change::default() }
    }

    #[test]
    fn what_is_taken_out_leaves_everything_else() {
        let before = config(json!({KEY: "[\"a:1\",\"b:1\"]", "http.max_content_length": "7mb"}));
        let change = Change { remove: vec!["a:1".to_owned()], ..adding(&["c:1"]) };
        let after = config(json!({KEY: "[\"b:1\",\"c:1\"]", "http.max_content_length": "7mb"}));
        assert_eq!(with(Some(&before), KEY, &change), Ok(after));
    }

    fn added(value: Value) -> Value {
        let mut all = config(json!({"action.auto_create_index": "true", "http.max_content_length": 7}));
        all.insert(KEY.to_owned(), value);
        let mut merged = with(Some(&all), KEY, &adding(&["b:9200"])).unwrap();
        let list = merged.remove(KEY).unwrap();
        all.remove(KEY);
        assert_eq!(merged, all, "every other setting is as it was");
        list
    }

    #[test]
    fn the_form_that_is_there_is_kept() {
        assert_eq!(added(json!(["a:9200"])), json!(["a:9200", "b:9200"]));
        assert_eq!(added(json!("[\"a:9200\"]")), json!("[\"a:9200\",\"b:9200\"]"));
        assert_eq!(added(json!("['a:9200', c:1]")), json!("[\"a:9200\",\"c:1\",\"b:9200\"]"));
        assert_eq!(added(json!("a:9200, c:1")), json!("a:9200,c:1,b:9200"));
        assert_eq!(added(json!("b:9200")), json!("b:9200"));
        for empty in [json!(null), json!(""), json!("[]")] {
            assert_eq!(added(empty), json!("[\"b:9200\"]"));
        }
    }

    #[test]
    fn an_empty_configuration_is_another_thing_than_a_hidden_one() {
        let entry = adding(&["b:9200"]);
        assert_eq!(with(Some(&EsConfig::new()), KEY, &entry), Ok(config(json!({KEY: "[\"b:9200\"]"}))));
        assert_eq!(with(None, KEY, &entry), Err(EsConfigError::Hidden));
    }

    #[test]
    fn what_is_not_understood_is_not_touched() {
        for value in [json!(7), json!({"a": 1}), json!([1]), json!("[*.a:9200]"), json!("[a")] {
            let config = config(json!({KEY: value}));
            assert_eq!(
                with(Some(&config), KEY, &Change::default()),
                Err(EsConfigError::UnknownForm { key: KEY.into() }),
                "{config:?}"
            );
        }
        let nested = config(json!({"reindex": {"remote": {"whitelist": ["a:1"]}}}));
        assert_eq!(entries(Some(&nested), KEY), Err(EsConfigError::Nested { group: "reindex".into() }));
    }

    proptest! {
        #[test]
        fn nothing_that_was_there_is_lost(
            others in prop::collection::btree_map("[a-z.]{1,20}", "[ -~]{0,20}", 0..8),
            present in prop::collection::vec("[a-z*]{1,8}:[0-9]{1,4}", 0..4),
            new in prop::collection::vec("[a-z*]{1,8}:[0-9]{1,4}", 0..4),
        ) {
            let mut before: EsConfig = others.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
            before.insert(KEY.to_owned(), Value::from(Value::from(present.clone()).to_string()));
            let change = Change { add: new.clone(), ..Change::default() };
            let after = with(Some(&before), KEY, &change).unwrap();
            for (key, value) in &before {
                prop_assert!(key == KEY || after.get(key) == Some(value));
            }
            let held = entries(Some(&after), KEY).unwrap();
            prop_assert!(present.iter().chain(&new).all(|entry| held.contains(entry)));
            prop_assert_eq!(with(Some(&after), KEY, &change).unwrap(), after);
        }
    }
}
