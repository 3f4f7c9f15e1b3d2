//! A keyed hash of one document.
//!
//! What is hashed is a text in which every part carries its kind and its length, so that two documents have the same only if they are
//! the same. Of an object's fields the hashes are added up: their order says nothing. Numbers are brought into one form: 1, 1.0 and 1e0
//! are alike. A number without fraction and exponent counts with all its digits; any other as the nearest 64-bit float, since that
//! is what an engine makes of it when it copies a document.

use ring::rand::{SecureRandom, SystemRandom};
use siphasher::sip128::SipHasher24;

/// Objects and arrays in one another beyond this depth are compared as text, key order included.
const DEPTH: usize = 200;

/// The key of one comparison. Nobody who writes documents knows it, so nobody can make two that are taken for one.
#[derive(Clone, Copy)]
pub struct Key(SipHasher24);

impl Key {
    /// A random one; None where the system has no random numbers.
    pub fn random() -> Option<Key> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Key::new(bytes))
    }

    /// This one.
    pub fn new(bytes: [u8; 16]) -> Key {
        Key(SipHasher24::new_with_key(&bytes))
    }

    fn hash(&self, bytes: &[u8]) -> u128 {
        self.0.hash(bytes).as_u128()
    }
}

/// What of a document is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Document<'a> {
    /// Its `_id`.
    pub id: &'a str,
    /// Its routing, where it has one of its own.
    pub routing: Option<&'a str>,
    /// Its version, where that counts.
    pub version: Option<u64>,
    /// Its content as JSON text, where that counts.
    pub content: Option<&'a str>,
}

/// Hashes documents one after the other, in the same memory.
pub struct Digester {
    key: Key,
    text: Vec<u8>,
}

impl Digester {
    /// With this key.
    pub fn new(key: Key) -> Digester {
        Digester { key, text: Vec::new() }
    }

    /// The hash of an id alone.
    pub fn of_id(&self, id: &str) -> u128 {
        self.key.hash(id.as_bytes())
    }

    /// The hash of a document.
    pub fn of(&mut self, document: &Document<'_>) -> u128 {
        self.text.clear();
        self.sized(b'i', document.id.as_bytes());
        if let Some(routing) = document.routing {
            self.sized(b'r', routing.as_bytes());
        }
        if let Some(version) = document.version {
            self.text.push(b'v');
            self.text.extend(version.to_le_bytes());
        }
        if let Some(content) = document.content {
            self.text.push(b'c');
            Content { bytes: content.as_bytes(), at: 0 }.value(self, 0);
        }
        self.key.hash(&self.text)
    }

    fn sized(&mut self, kind: u8, bytes: &[u8]) {
        self.text.push(kind);
        self.text.extend((bytes.len() as u64).to_le_bytes());
        self.text.extend(bytes);
    }

    /// Takes back what was written since `begin`, and hashes it.
    fn taken_back(&mut self, begin: usize) -> u128 {
        let hash = self.key.hash(&self.text[begin..]);
        self.text.truncate(begin);
        hash
    }
}

/// JSON text that a parser has passed already. Whatever else it is given it comes to an end, and to some hash.
struct Content<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Content<'a> {
    fn value(&mut self, to: &mut Digester, depth: usize) {
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH => {
                let begin = self.at;
                self.skip_nested();
                to.sized(b'd', &self.bytes[begin..self.at]);
            }
            Some(b'{') => self.object(to, depth),
            Some(b'[') => self.array(to, depth),
            Some(b'"') => self.string(to),
            Some(_) => self.scalar(to),
            None => {}
        }
    }

    /// The sum of its fields' hashes, and their number.
    fn object(&mut self, to: &mut Digester, depth: usize) {
        let (mut sum, mut fields) = (0u128, 0u64);
        self.at += 1;
        while let Some(next) = self.peek() {
            match next {
                b'"' => {
                    let begin = to.text.len();
                    self.string(to);
                    if self.peek() == Some(b':') {
                        self.at += 1;
                    }
                    self.value(to, depth + 1);
                    sum = sum.wrapping_add(to.taken_back(begin));
                    fields += 1;
                }
                b'}' => {
                    self.at += 1;
                    break;
                }
                _ => self.at += 1,
            }
        }
        to.text.push(b'o');
        to.text.extend(fields.to_le_bytes());
        to.text.extend(sum.to_le_bytes());
    }

    fn array(&mut self, to: &mut Digester, depth: usize) {
        to.text.push(b'[');
        self.at += 1;
        while let Some(next) = self.peek() {
            match next {
                b']' => {
                    self.at += 1;
                    break;
                }
                b',' => self.at += 1,
                _ => {
                    let before = self.at;
                    self.value(to, depth + 1);
                    // Something that is no value.
                    self.at = self.at.max(before + 1);
                }
            }
        }
        to.text.push(b']');
    }

    fn string(&mut self, to: &mut Digester) {
        let begin = self.at + 1;
        let (end, escaped) = self.end_of_string(begin);
        let raw = &self.bytes[begin..end];
        self.at = (end + 1).min(self.bytes.len());
        match escaped.then(|| serde_json::from_slice::<String>(&self.bytes[begin - 1..self.at])) {
            None => to.sized(b's', raw),
            Some(Ok(text)) => to.sized(b's', text.as_bytes()),
            // Half of a surrogate pair: no text, but an engine may hold it.
            Some(Err(_)) => to.sized(b'h', raw),
        }
    }

    /// Where the string ends that begins here, and whether something in it is escaped.
    fn end_of_string(&self, begin: usize) -> (usize, bool) {
        let (mut at, mut escaped) = (begin, false);
        while let Some(byte) = self.bytes.get(at) {
            match byte {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        (at.min(self.bytes.len()), escaped)
    }

    /// A number, true, false or null.
    fn scalar(&mut self, to: &mut Digester) {
        let rest = &self.bytes[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':' | b'"') || byte.is_ascii_whitespace();
        let word = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        self.at += word.len();
        match std::str::from_utf8(word).ok().and_then(number) {
            Some(Number::Whole(whole)) => {
                to.text.push(b'w');
                to.text.extend(whole.to_le_bytes());
            }
            Some(Number::Long(digits)) => to.sized(b'l', digits.as_bytes()),
            Some(Number::Float(float)) => {
                to.text.push(b'f');
                to.text.extend(float.to_bits().to_le_bytes());
            }
            None => to.sized(b'k', word),
        }
    }

    /// Over an object or array, however deep.
    fn skip_nested(&mut self) {
        let mut open = 0usize;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.at = (self.end_of_string(self.at).0 + 1).min(self.bytes.len()),
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    if open == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }
}

/// A number in its one form.
#[derive(Debug, PartialEq)]
enum Number {
    /// Without fraction.
    Whole(i128),
    /// Without fraction, and too long for that.
    Long(String),
    /// With a fraction.
    Float(f64),
}

/// The one form of a number; None is something else, or a float that is too large for one.
fn number(word: &str) -> Option<Number> {
    if !word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return None;
    }
    if !word.contains(['.', 'e', 'E']) {
        return Some(word.parse().map_or_else(|_| Number::Long(word.to_owned()), Number::Whole));
    }
    let float: f64 = word.parse().ok().filter(|float: &f64| float.is_finite())?;
    Some(match float.fract() == 0.0 {
        true if float.abs() < 1e38 => Number::Whole(float as i128),
        true => Number::Long(format!("{float:.0}")),
        false => Number::Float(float),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn of(content: &str) -> u128 {
        Digester::new(Key::new([7; 16])).of(&Document { id: "a", content: Some(content), ..Document::default() })
    }

    fn same(a: &str, b: &str) {
        assert_eq!(of(a), of(b), "{a} and {b}");
    }

    fn different(a: &str, b: &str) {
        assert_ne!(of(a), of(b), "{a} and {b}");
    }

    #[test]
    fn the_order_of_keys_and_white_space_say_nothing() {
        same(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#, "{ \"b\" : {\"d\":null , \"c\" :[ 1 ,2]},\n\"a\":1 }");
        same(r#"{"a":"\u00e9\n"}"#, "{\"a\":\"é\\u000a\"}");
        same("[]", " [ ] ");
    }

    #[test]
    fn everything_else_does() {
        different(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#);
        different(r#"{"a":[[1],2]}"#, r#"{"a":[1,[2]]}"#);
        different(r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#);
        different(r#"{"a":{"b":1}}"#, r#"{"a":1,"b":{}}"#);
        different(r#"{"a":null}"#, "{}");
        different(r#"{"a":[]}"#, r#"{"a":[null]}"#);
        different(r#"{"a":"1"}"#, r#"{"a":1}"#);
        different(r#"{"a":"true"}"#, r#"{"a":true}"#);
        different(r#"{"a":1}"#, r#"{"a":1,"a":1}"#);
        different(r#"{"ab":"c"}"#, r#"{"a":"bc"}"#);
        different(r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#);
    }

    #[test]
    fn a_number_is_what_it_means() {
        for word in ["1", "1.0", "1e0", "10e-1", "0.1E+1", "1.000"] {
            assert_eq!(number(word), Some(Number::Whole(1)), "{word}");
        }
        same("[0, 100]", "[-0.0, 1e2]");
        same("[0.1]", "[1e-1]");
        same("[100000000000000000000]", "[1e20]");
        assert_eq!(number("1e39"), Some(Number::Long("999999999999999939709166371603178586112".into())));
        assert_eq!(number("true"), None);
        different("[1e400]", "[2e400]");
    }

    #[test]
    fn a_long_number_counts_with_all_its_digits() {
        different("[9007199254740993]", "[9007199254740992]");
        different("[18446744073709551615]", "[18446744073709551616]");
        let long = "9".repeat(60);
        different(&format!("[{long}0]"), &format!("[{long}1]"));
        // What an engine makes of it when it copies the document.
        same("[0.1000000000000000055511151231257827]", "[0.1]");
        different("[0.30000000000000004]", "[0.3]");
    }

    #[test]
    fn what_is_too_deep_is_compared_as_text() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
        same(&deep("1"), &deep("1"));
        different(&deep("1"), &deep("2"));
        let after = |last: &str| format!("[{},{last}]", deep("\"]\""));
        different(&after("1"), &after("2"));
    }

    #[test]
    fn every_part_of_a_document_counts() {
        let all = Document { id: "a", routing: Some("r"), version: Some(1), content: Some("{}") };
        let mut digester = Digester::new(Key::new([7; 16]));
        let hash = digester.of(&all);
        assert_eq!(digester.of(&all), hash);
        for other in [
            Document { id: "b", ..all },
            Document { routing: None, ..all },
            Document { routing: Some(""), ..all },
            Document { version: Some(2), ..all },
            Document { version: None, ..all },
            Document { content: Some("[]"), ..all },
        ] {
            assert_ne!(digester.of(&other), hash, "{other:?}");
        }
        assert_ne!(Digester::new(Key::new([8; 16])).of(&all), hash, "another key");
    }

    #[test]
    fn a_part_that_looks_like_the_next_one_is_none() {
        // What stands between the two texts of the array, as the hash sees it, written into one text.
        for length in [0u64, 1] {
            let between: String = length.to_le_bytes().iter().map(|byte| format!("\\u{byte:04x}")).collect();
            different(r#"["a","b"]"#, &format!("[\"as{between}b\"]"));
        }
        different(r#"{"a":1,"a":1}"#, r#"{"a":2,"a":2}"#);
        different(r#"["a\"b"]"#, r#"["a\"c"]"#);
        same(r#"["\""]"#, r#"["\u0022"]"#);
        same("[1E0]", "[1]");
    }

    #[test]
    fn what_breaks_off_comes_to_an_end() {
        for text in ["[}", "[:1]", "{:", "\"", "\"\\", "[\"a\\", "{\"a\"", "{\"a\":", "["] {
            of(text);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// The same with every object's keys the other way round, and spaces.
    fn turned(value: &Value) -> String {
        match value {
            Value::Object(fields) => {
                let fields: Vec<_> = fields
                    .iter()
                    .rev()
                    .map(|(key, value)| format!("{} : {}", Value::from(key.as_str()), turned(value)))
                    .collect();
                format!("{{ {} }}", fields.join(" , "))
            }
            Value::Array(items) => format!("[ {} ]", items.iter().map(turned).collect::<Vec<_>>().join(" , ")),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn two_documents_have_the_same_hash_only_if_they_are_the_same(a in json(), b in json()) {
            prop_assert_eq!(of(&a.to_string()), of(&turned(&a)));
            let alike = turned(&a) == turned(&b);
            // 0 and 0.0 are written differently, and alike.
            prop_assume!(alike || a.to_string().replace(".0", "") != b.to_string().replace(".0", ""));
            prop_assert_eq!(of(&a.to_string()) == of(&b.to_string()), alike);
        }

        #[test]
        fn whatever_is_no_json_comes_to_an_end(text in ".{0,40}") {
            of(&text);
        }
    }
}
