//! The edit of an `elasticsearch.yml`: one setting gets entries, every other byte stays.
//!
//! The setting is found in the text as written (dotted, nested or both; as a list in either style, or as a comma-separated string)
//! and changed in place. What this module does not understand for certain it refuses to touch, and after each edit both texts are
//! parsed by a YAML parser and compared: nothing but the setting may differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Why a text is not edited. Nothing was changed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigTextError {
    /// It is no YAML.
    #[error("failed to read it as YAML")]
    NotYaml,
    /// It is not a block of settings.
    #[error(
        "failed to read it as one block of settings; flow style or several documents at the top can't be edited safely"
    )]
    NotABlock,
    /// The setting stands there twice.
    #[error("{key} is set more than once")]
    Duplicate {
        /// The setting.
        key: String,
    },
    /// Its value is not a plain list or string.
    #[error(
        "the value of {key} in line {line} is not a plain list or string (an anchor, a variable or several lines); write it as a list in one line"
    )]
    Value {
        /// The setting.
        key: String,
        /// Counts from 1.
        line: usize,
    },
    /// The edit would have changed something else.
    #[error("failed to change {key} without changing anything else; add the entry by hand")]
    Unsafe {
        /// The setting.
        key: String,
    },
}

/// The entries of the setting in this text.
///
/// # Errors
/// [`ConfigTextError::NotYaml`], or a value that is no list of strings.
pub fn entries(text: &str, key: &str) -> Result<Vec<String>, ConfigTextError> {
    let settings = parse(text)?;
    let value = settings.get(key);
    value.map_or(Ok(vec![]), |value| list(value).ok_or_else(|| ConfigTextError::Value { key: key.to_owned(), line: 0 }))
}

/// The text with these entries added to the setting; the same text if all are there.
///
/// # Errors
/// [`ConfigTextError`]
pub fn add(text: &str, key: &str, wanted: &[String]) -> Result<String, ConfigTextError> {
    let present = entries(text, key)?;
    let missing: Vec<String> = wanted.iter().filter(|entry| !present.contains(entry)).cloned().collect();
    if missing.is_empty() {
        return Ok(text.to_owned());
    }
    let expected: Vec<String> = present.iter().chain(&missing).cloned().collect();
    let edited = match Document::read(text)?.find(key)? {
        Some(place) => place.with(key, &expected, &missing)?,
        None => append(text, key, &missing),
    };
    check(text, edited, key, &expected)
}

/// The text without these entries: the inverse of [`add`]. A line that is left without entries is taken out.
///
/// # Errors
/// [`ConfigTextError`]
pub fn remove(text: &str, key: &str, unwanted: &[String]) -> Result<String, ConfigTextError> {
    let present = entries(text, key)?;
    let rest: Vec<String> = present.iter().filter(|entry| !unwanted.contains(entry)).cloned().collect();
    if rest.len() == present.len() {
        return Ok(text.to_owned());
    }
    let edited = match Document::read(text)?.find(key)? {
        Some(place) => place.without(key, &rest, unwanted)?,
        None => return Err(ConfigTextError::Unsafe { key: key.to_owned() }),
    };
    check(text, edited, key, &rest)
}

/// A new line at the end, in the text's own line ending; a missing one at the end stays missing.
fn append(text: &str, key: &str, entries: &[String]) -> String {
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let line = format!("{key}: {}", flow(entries));
    match text {
        "" => format!("{line}{ending}"),
        _ if text.ends_with('\n') => format!("{text}{line}{ending}"),
        _ => format!("{text}{ending}{line}"),
    }
}

fn flow(entries: &[String]) -> String {
    let quoted: Vec<_> = entries.iter().map(|entry| quote(entry)).collect();
    format!("[{}]", quoted.join(", "))
}

/// In double quotes: a `*` at the begin would be an alias otherwise.
fn quote(entry: &str) -> String {
    Value::from(entry).to_string()
}

fn check(before: &str, after: String, key: &str, expected: &[String]) -> Result<String, ConfigTextError> {
    let unsafe_edit = || ConfigTextError::Unsafe { key: key.to_owned() };
    let (mut old, mut new) = (parse(before)?, parse(&after).map_err(|_| unsafe_edit())?);
    old.remove(key);
    let value = new.remove(key);
    let set = |entries: &[String]| entries.iter().cloned().collect::<BTreeSet<_>>();
    let found = value.as_ref().map_or(Some(vec![]), list).ok_or_else(unsafe_edit)?;
    match old == new && set(&found) == set(expected) {
        true => Ok(after),
        false => Err(unsafe_edit()),
    }
}

/// Settings by dotted name, as Elasticsearch reads them.
fn parse(text: &str) -> Result<BTreeMap<String, Value>, ConfigTextError> {
    fn walk(prefix: &str, value: Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                    walk(&name, value, out);
                }
            }
            value => {
                out.insert(prefix.to_owned(), value);
            }
        }
    }
    let content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if !text.lines().any(content) {
        return Ok(BTreeMap::new());
    }
    let value: Value = serde_saphyr::from_str(text).map_err(|_| ConfigTextError::NotYaml)?;
    let mut out = BTreeMap::new();
    match value {
        Value::Object(_) => walk("", value, &mut out),
        Value::Null => {}
        _ => return Err(ConfigTextError::NotABlock),
    }
    Ok(out)
}

fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(vec![]),
        Value::String(text) => Some(split(text)),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// A text as its lines, with their endings.
struct Document<'a> {
    lines: Vec<&'a str>,
}

/// Where the setting stands.
struct Place<'a> {
    lines: Vec<&'a str>,
    /// Index of its line.
    at: usize,
    /// Where in that line its value begins, after the colon.
    value: usize,
}

/// How a value is written.
enum Shape {
    /// `[a, b]`, in one line: where it begins and ends in the line.
    Flow(usize, usize),
    /// `a,b`, with its quote if it has one: where it begins and ends, quotes excluded.
    Text(usize, usize),
    /// Nothing: where a value would go.
    Empty(usize),
    /// `- a` in lines of their own: their indices.
    Block(Vec<usize>),
}

impl<'a> Document<'a> {
    fn read(text: &'a str) -> Result<Document<'a>, ConfigTextError> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let content: Vec<&str> = lines.iter().map(|line| line.trim_end()).filter(|line| !is_blank(line)).collect();
        let separators = content.iter().skip(1).any(|line| line.starts_with("---") || line.starts_with("..."));
        let flow = content
            .iter()
            .find(|line| !line.starts_with("---"))
            .is_some_and(|line| line.trim_start().starts_with(['{', '[']));
        match separators || flow {
            true => Err(ConfigTextError::NotABlock),
            false => Ok(Document { lines }),
        }
    }

    /// The one place where the setting stands, under whatever nesting.
    fn find(self, key: &str) -> Result<Option<Place<'a>>, ConfigTextError> {
        let mut parents: Vec<(usize, String)> = vec![];
        let mut found = None;
        for (at, line) in self.lines.iter().enumerate() {
            let Some((indent, name, value)) = mapping_entry(line) else { continue };
            parents.retain(|(parent, _)| *parent < indent);
            parents.push((indent, name));
            let path = parents.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(".");
            if path == key && found.replace((at, value)).is_some() {
                return Err(ConfigTextError::Duplicate { key: key.to_owned() });
            }
        }
        Ok(found.map(|(at, value)| Place { lines: self.lines, at, value }))
    }
}

/// Indentation, name and begin of the value of a line `name: value`.
fn mapping_entry(line: &str) -> Option<(usize, String, usize)> {
    let trimmed = line.trim_end();
    let indent = trimmed.len() - trimmed.trim_start_matches(' ').len();
    let body = &trimmed[indent..];
    if is_blank(body) || body.starts_with("- ") || body == "-" {
        return None;
    }
    let colon = body.find(": ").or_else(|| body.ends_with(':').then(|| body.len() - 1))?;
    let name = body[..colon].trim().trim_matches(['"', '\'']).to_owned();
    Some((indent, name, indent + colon + 1))
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

impl Place<'_> {
    fn shape(&self, key: &str) -> Result<Shape, ConfigTextError> {
        let line = self.lines[self.at].trim_end();
        let refused = || ConfigTextError::Value { key: key.to_owned(), line: self.at + 1 };
        let rest = &line[self.value..];
        let begin = self.value + (rest.len() - rest.trim_start().len());
        let value = &line[begin..];
        if value.contains("${") {
            return Err(refused());
        }
        match value.chars().next() {
            None | Some('#') => self.block(key),
            Some('[') => {
                let end = value.find(']').ok_or_else(refused)?;
                after_value(&value[end + 1..]).then_some(Shape::Flow(begin, begin + end + 1)).ok_or_else(refused)
            }
            Some(quote @ ('"' | '\'')) => {
                let end = value[1..].find(quote).ok_or_else(refused)? + 1;
                after_value(&value[end + 1..]).then_some(Shape::Text(begin + 1, begin + end)).ok_or_else(refused)
            }
            Some('&' | '*' | '!' | '|' | '>' | '{') => Err(refused()),
            Some(_) => {
                let end = value.find(" #").map_or(value.len(), |at| value[..at].trim_end().len());
                Ok(Shape::Text(begin, begin + end))
            }
        }
    }

    /// Items in the lines that follow, or no value at all.
    fn block(&self, key: &str) -> Result<Shape, ConfigTextError> {
        let own = indent_of(self.lines[self.at]);
        let mut items = vec![];
        for (at, line) in self.lines.iter().enumerate().skip(self.at + 1) {
            let body = line.trim();
            if is_blank(line) {
                continue;
            }
            if indent_of(line) < own || !body.starts_with("- ") {
                break;
            }
            if body.contains("${") || body[2..].trim_start().starts_with(['&', '*', '!', '|', '>', '{', '[']) {
                return Err(ConfigTextError::Value { key: key.to_owned(), line: at + 1 });
            }
            items.push(at);
        }
        match items.is_empty() {
            true => Ok(Shape::Empty(self.value)),
            false => Ok(Shape::Block(items)),
        }
    }

    fn with(self, key: &str, all: &[String], missing: &[String]) -> Result<String, ConfigTextError> {
        let line = self.lines[self.at];
        Ok(match self.shape(key)? {
            Shape::Flow(begin, end) => {
                let inside = line[begin + 1..end - 1].trim_end();
                let added: Vec<_> = missing.iter().map(|entry| quote(entry)).collect();
                let comma = if inside.trim().is_empty() || inside.ends_with(',') { "" } else { ", " };
                self.rewrite(begin, end, &format!("[{inside}{comma}{}]", added.join(", ")))
            }
            Shape::Text(begin, end) => self.rewrite(begin, end, &all.join(",")),
            Shape::Empty(at) => self.rewrite(at, at, &format!(" {}", flow(missing))),
            Shape::Block(items) => {
                let last = items[items.len() - 1];
                let model = self.lines[last];
                let ending = if model.ends_with("\r\n") { "\r\n" } else { "\n" };
                let indent = " ".repeat(indent_of(model));
                let mut out: String = self.lines[..=last].concat();
                let complete = out.ends_with('\n');
                for entry in missing {
                    let new = format!("{indent}- {}", quote(entry));
                    out.push_str(&if complete { format!("{new}{ending}") } else { format!("{ending}{new}") });
                }
                out + &self.lines[last + 1..].concat()
            }
        })
    }

    fn without(self, key: &str, rest: &[String], unwanted: &[String]) -> Result<String, ConfigTextError> {
        let shape = self.shape(key)?;
        if rest.is_empty() && !matches!(shape, Shape::Block(_)) {
            return Ok(self.without_line());
        }
        Ok(match shape {
            Shape::Flow(begin, end) => {
                let line = self.lines[self.at];
                let items = line[begin + 1..end - 1].split(',');
                let kept: Vec<_> = items
                    .filter(|item| !unwanted.iter().any(|entry| entry == item.trim().trim_matches(['"', '\''])))
                    .collect();
                self.rewrite(begin, end, &format!("[{}]", kept.join(",")))
            }
            Shape::Text(begin, end) => self.rewrite(begin, end, &rest.join(",")),
            Shape::Empty(_) => self.lines.concat(),
            Shape::Block(items) => {
                let item = |line: &str| {
                    line.trim()[2..].split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
                };
                let dropped = |at: &usize| items.contains(at) && unwanted.contains(&item(self.lines[*at]));
                (0..self.lines.len()).filter(|at| !dropped(at)).map(|at| self.lines[at]).collect()
            }
        })
    }

    fn rewrite(&self, begin: usize, end: usize, with: &str) -> String {
        let line = self.lines[self.at];
        [&self.lines[..self.at].concat(), &line[..begin], with, &line[end..], &self.lines[self.at + 1..].concat()]
            .concat()
    }

    /// The text without the setting's line; where that was the last and had no ending, the one before loses its own.
    fn without_line(&self) -> String {
        let mut before = self.lines[..self.at].concat();
        if !self.lines[self.at].ends_with('\n') {
            before.truncate(before.trim_end_matches(['\r', '\n']).len());
        }
        before + &self.lines[self.at + 1..].concat()
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Nothing but a comment may follow a value.
fn after_value(rest: &str) -> bool {
    let rest = rest.trim_start();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "reindex.remote.whitelist";

    fn strings(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    fn added(text: &str) -> Result<String, ConfigTextError> {
        add(text, KEY, &strings(&["new:9200"]))
    }

    #[test]
    fn every_way_to_write_it_is_edited_in_place() {
        for (before, after) in [
            ("a: 1\n", "a: 1\nreindex.remote.whitelist: [\"new:9200\"]\n"),
            ("a: 1", "a: 1\nreindex.remote.whitelist: [\"new:9200\"]"),
            ("", "reindex.remote.whitelist: [\"new:9200\"]\n"),
            ("# only a comment\n", "# only a comment\nreindex.remote.whitelist: [\"new:9200\"]\n"),
            ("a: 1\r\nb: 2\r\n", "a: 1\r\nb: 2\r\nreindex.remote.whitelist: [\"new:9200\"]\r\n"),
            (
                "reindex.remote.whitelist: [\"o:1\"] # kept\nz: 1\n",
                "reindex.remote.whitelist: [\"o:1\", \"new:9200\"] # kept\nz: 1\n",
            ),
            ("reindex.remote.whitelist: []\n", "reindex.remote.whitelist: [\"new:9200\"]\n"),
            ("reindex.remote.whitelist:\n", "reindex.remote.whitelist: [\"new:9200\"]\n"),
            ("reindex.remote.whitelist: o:1,p:2\r\n", "reindex.remote.whitelist: o:1,p:2,new:9200\r\n"),
            ("reindex.remote.whitelist: \"o:1, p:2\" # c\n", "reindex.remote.whitelist: \"o:1,p:2,new:9200\" # c\n"),
            (
                "reindex.remote.whitelist:\n  - o:1 # why\n  - 'p:2'\nz: 1\n",
                "reindex.remote.whitelist:\n  - o:1 # why\n  - 'p:2'\n  - \"new:9200\"\nz: 1\n",
            ),
            ("reindex.remote.whitelist:\n- o:1\nz: 1\n", "reindex.remote.whitelist:\n- o:1\n- \"new:9200\"\nz: 1\n"),
            (
                "reindex:\n  ssl:\n    verification_mode: full\n  remote:\n    whitelist: [\"o:1\"]\nz: 1\n",
                "reindex:\n  ssl:\n    verification_mode: full\n  remote:\n    whitelist: [\"o:1\", \"new:9200\"]\nz: 1\n",
            ),
            ("reindex.remote:\n  whitelist: o:1\n", "reindex.remote:\n  whitelist: o:1,new:9200\n"),
        ] {
            assert_eq!(added(before).as_deref(), Ok(after), "{before}");
        }
    }

    #[test]
    fn an_entry_that_is_there_changes_nothing() {
        let text = "reindex.remote.whitelist: [ 'new:9200' ]  # mine\n";
        assert_eq!(added(text).as_deref(), Ok(text));
    }

    #[test]
    fn what_is_not_understood_is_not_touched() {
        for text in [
            "reindex.remote.whitelist: ${ALLOWED}\n",
            "reindex.remote.whitelist: &anchor [\"o:1\"]\n",
            "reindex.remote.whitelist: [\n  \"o:1\"\n]\n",
            "reindex.remote.whitelist: |\n  o:1\n",
            "{reindex.remote.whitelist: [\"o:1\"]}\n",
            "reindex.remote.whitelist: o:1\nreindex:\n  remote:\n    whitelist: p:2\n",
            "a: 1\n---\nb: 2\n",
            "a: [1\n",
        ] {
            assert!(added(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_added_can_be_taken_out_again() {
        for text in [
            "a: 1\n",
            "a: 1",
            "reindex.remote.whitelist: [\"o:1\"] # kept\nz: 1\n",
            "reindex.remote.whitelist: o:1,p:2\r\n",
            "reindex.remote.whitelist:\n  - o:1\nz: 1\n",
            "reindex:\n  remote:\n    whitelist: [\"o:1\"]\nz: 1\n",
        ] {
            let edited = added(text).unwrap();
            assert_eq!(remove(&edited, KEY, &strings(&["new:9200"])).as_deref(), Ok(text));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_the_setting_ever_changes(
            names in proptest::collection::vec("[a-z]{1,5}(\\.[a-z]{1,5}){0,2}", 0..6),
            entry in "[a-z*.]{1,12}:[0-9]{2,4}",
            comment in "[ a-z:\\[\\]\"'-]{0,20}",
        ) {
            let text: String = names.iter().enumerate().map(|(i, name)| format!("{name}.k{i}: v{i} # {comment}\n")).collect();
            let edited = add(&text, KEY, std::slice::from_ref(&entry)).unwrap();
            prop_assert!(edited.starts_with(&text));
            prop_assert_eq!(entries(&edited, KEY).unwrap(), vec![entry.clone()]);
            prop_assert_eq!(remove(&edited, KEY, &[entry]).unwrap(), text);
        }
    }
}
