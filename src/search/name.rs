//! Names and path segments: a name can never reach another endpoint or more than one index.

use super::error::SearchError;

/// The name, if it can only be that of one index, alias, data stream or date-math expression (`<logs-{now/d}>`).
///
/// Encoding alone would not do: Elasticsearch decodes a path segment first and splits at commas and expands wildcards
/// afterwards. `_all` and `_search` would be endpoints, and `other:index` an index of another cluster.
pub(super) fn one_index(name: &str) -> Result<&str, SearchError> {
    let invalid = |problem| Err(SearchError::InvalidName { problem });
    if name.is_empty() {
        return invalid("it is empty");
    }
    if name.len() > 1024 {
        return invalid("it is too long");
    }
    if name.starts_with(['_', '-', '+']) {
        return invalid("it begins with '_', '-' or '+'");
    }
    if matches!(name, "." | "..") {
        return invalid("it is a path");
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return invalid("it contains white space or control characters");
    }
    if name.contains(['*', '?', ',']) {
        return invalid("it contains a wildcard or a comma");
    }
    if name.contains(['"', '\\', '#']) {
        return invalid("it contains a character that no index name may have");
    }
    let date_math = name.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    match date_math {
        Some(inner) if inner.contains(['<', '>']) => invalid("its date-math expression is not closed"),
        Some(_) => Ok(name),
        None if name.contains(['/', '<', '>', '|', ':']) => {
            invalid("it contains a character that no index name may have")
        }
        None => Ok(name),
    }
}

/// The text as one path segment: all but unreserved characters are percent-encoded.
pub(super) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                encoded.push('%');
                encoded.push(char::from(HEX[usize::from(byte >> 4)]));
                encoded.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}
