//! How a source is cut into ranges of `_seq_no`, each of which is a task and a checkpoint of its own.
//!
//! A remote reindex can't be sliced, but its query can be narrowed: within one index every live document has exactly one
//! `_seq_no` a shard, so ranges that are disjoint and cover all numbers hold every document once, as long as nothing is
//! written. What is written meanwhile gets a higher number and is caught up with later.

use serde_json::{Value, json};

/// More ranges than this are never made: their bounds and which are done must fit into a status.
pub const MAX_RANGES: usize = 512;
/// How many counts one request asks for.
const COUNTS: i64 = 1024;

/// Some documents of one index: those whose `_seq_no` is at least `from` and below `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The concrete index.
    pub index: String,
    /// The lowest number; None is no lower bound.
    pub from: Option<i64>,
    /// The lowest number that is no longer in it; None is no upper bound.
    pub to: Option<i64>,
    /// Documents that matched in it when it was cut.
    pub documents: i64,
}

/// A number of documents between two numbers, as counted: `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The lowest number.
    pub from: i64,
    /// The lowest number that is no longer in it.
    pub to: i64,
    /// Documents that match.
    pub documents: i64,
}

/// The first buckets of an index whose numbers go from `from` to `to`, not counted yet.
pub fn first_buckets(from: i64, to: i64) -> Vec<Bucket> {
    divide(Bucket { from, to, documents: 0 }, COUNTS)
}

/// Equal pieces of a bucket, `pieces` at most and one number wide at least.
fn divide(bucket: Bucket, pieces: i64) -> Vec<Bucket> {
    let width = (bucket.to - bucket.from).max(0);
    let pieces = pieces.clamp(1, width.max(1));
    let bound = |n: i64| bucket.from + (i128::from(width) * i128::from(n) / i128::from(pieces)) as i64;
    (0..pieces).map(|n| Bucket { from: bound(n), to: bound(n + 1), documents: 0 }).collect()
}

/// Which pieces of the buckets have to be counted so that none that can be divided holds more than `limit` documents.
/// Where numbers are spread unevenly (many updates, deletes) some are much fuller than others.
pub fn too_large(buckets: &[Bucket], limit: i64) -> Vec<(usize, Vec<Bucket>)> {
    let large = |bucket: &&Bucket| bucket.documents > limit && bucket.to - bucket.from > 1;
    let count = buckets.iter().filter(large).count().max(1) as i64;
    let pieces = (COUNTS / count).max(2);
    buckets
        .iter()
        .enumerate()
        .filter(|(_, bucket)| large(bucket))
        .map(|(at, bucket)| (at, divide(*bucket, pieces)))
        .collect()
}

/// Joins neighbouring buckets to ranges of about `documents / wanted` documents: `wanted` at most, at least one. The first has no
/// lower bound unless `from` is given, the last no upper one, so that together they hold whatever the index holds.
pub fn join(index: &str, buckets: &[Bucket], wanted: usize, from: Option<i64>) -> Vec<Range> {
    let total: i64 = buckets.iter().map(|bucket| bucket.documents).sum();
    let wanted = wanted.max(1) as i64;
    let mut ranges: Vec<Range> = vec![];
    let (mut begin, mut documents, mut passed) = (from, 0, 0);
    for bucket in buckets {
        // A boundary lies where the documents so far reach the next share of the whole.
        let share = |n: i64| (i128::from(total) * i128::from(n) / i128::from(wanted)) as i64;
        let next = ranges.len() as i64 + 1;
        if documents > 0 && bucket.documents > 0 && passed + bucket.documents / 2 >= share(next) {
            ranges.push(Range { index: index.to_owned(), from: begin, to: Some(bucket.from), documents });
            (begin, documents) = (Some(bucket.from), 0);
        }
        documents += bucket.documents;
        passed += bucket.documents;
    }
    ranges.push(Range { index: index.to_owned(), from: begin, to: None, documents });
    ranges
}

/// The query that finds what is in the range and matches the user's. `alone`: the name that is searched stands for this index only.
pub fn query(range: &Range, user: Option<&Value>, alone: bool) -> Option<Value> {
    let mut filters: Vec<Value> = user.cloned().into_iter().collect();
    if !alone {
        filters.push(json!({"term": {"_index": range.index}}));
    }
    let mut bounds = json!({});
    if let Some(from) = range.from {
        bounds["gte"] = json!(from);
    }
    if let Some(to) = range.to {
        bounds["lt"] = json!(to);
    }
    if bounds != json!({}) {
        filters.push(json!({"range": {"_seq_no": bounds}}));
    }
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(json!({"bool": {"filter": filters}})),
    }
}

/// The ranges of one index as text: each `<from>:<documents>`, where `from` is the distance to the one before, and empty where the
/// first has no lower bound.
pub fn encode(ranges: &[Range]) -> String {
    let mut before = 0;
    let words = ranges.iter().map(|range| match range.from {
        Some(from) => {
            let distance = from - before;
            before = from;
            format!("{distance}:{}", range.documents)
        }
        None => format!(":{}", range.documents),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Reads what [`encode`] wrote; None is a text that it did not write.
pub fn decode(index: &str, text: &str) -> Option<Vec<Range>> {
    let mut before = 0i64;
    let mut ranges: Vec<Range> = vec![];
    for word in text.split_whitespace() {
        let (from, documents) = word.split_once(':')?;
        let from = match from {
            "" if ranges.is_empty() => None,
            distance => {
                before = before.checked_add(distance.parse().ok()?)?;
                Some(before)
            }
        };
        if let Some(last) = ranges.last_mut() {
            last.to = from;
        }
        ranges.push(Range { index: index.to_owned(), from, to: None, documents: documents.parse().ok()? });
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Counts documents at these numbers as an engine would.
    fn counted(buckets: Vec<Bucket>, numbers: &[i64]) -> Vec<Bucket> {
        let count = |bucket: &Bucket| numbers.iter().filter(|n| **n >= bucket.from && **n < bucket.to).count() as i64;
        buckets.into_iter().map(|bucket| Bucket { documents: count(&bucket), ..bucket }).collect()
    }

    /// Cuts until nothing is too large.
    fn cut(numbers: &[i64], from: i64, to: i64, limit: i64) -> Vec<Bucket> {
        let mut buckets = counted(divide(Bucket { from, to, documents: 0 }, 8), numbers);
        loop {
            let large = too_large(&buckets, limit);
            if large.is_empty() {
                return buckets;
            }
            for (at, pieces) in large.into_iter().rev() {
                buckets.splice(at..=at, counted(pieces, numbers));
            }
        }
    }

    fn holds(range: &Range, number: i64) -> bool {
        range.from.is_none_or(|from| number >= from) && range.to.is_none_or(|to| number < to)
    }

    proptest! {
        #[test]
        fn every_number_is_in_exactly_one_range(
            numbers in proptest::collection::vec(0i64..100_000, 0..300),
            wanted in 1usize..40,
            limit in 1i64..50,
            probe in -10i64..200_000,
        ) {
            let ranges = join("i", &cut(&numbers, 0, 100_000, limit), wanted, None);
            prop_assert!(ranges.len() <= wanted);
            prop_assert_eq!(ranges.iter().filter(|range| holds(range, probe)).count(), 1);
            for range in &ranges {
                let inside = numbers.iter().filter(|number| holds(range, **number)).count() as i64;
                prop_assert_eq!(inside, range.documents);
                prop_assert!(inside > 0 || numbers.is_empty(), "a task for nothing");
            }
        }

        #[test]
        fn ranges_are_about_equal(numbers in proptest::collection::hash_set(0i64..1_000_000, 200..400), wanted in 1usize..10) {
            let numbers: Vec<i64> = numbers.into_iter().collect();
            let ranges = join("i", &cut(&numbers, 0, 1_000_000, 1), wanted, None);
            prop_assert_eq!(ranges.len(), wanted);
            let share = numbers.len() as i64 / wanted as i64;
            for range in &ranges {
                prop_assert!((range.documents - share).abs() <= 2, "{} of {}", range.documents, share);
            }
        }

        #[test]
        fn what_is_written_into_status_is_read_back(
            numbers in proptest::collection::vec(0i64..1_000_000_000_000, 1..100),
            wanted in 1usize..20,
            from in proptest::option::of(0i64..1000),
        ) {
            let ranges = join("i", &cut(&numbers, 0, 1_000_000_000_000, 5), wanted, from);
            prop_assert_eq!(decode("i", &encode(&ranges)), Some(ranges));
        }
    }

    #[test]
    fn a_window_begins_where_it_is_told() {
        let buckets = counted(first_buckets(50, 100), &[50, 60, 99]);
        let ranges = join("i", &buckets, 2, Some(50));
        assert_eq!((ranges[0].from, ranges.last().unwrap().to), (Some(50), None));
    }

    #[test]
    fn one_number_can_t_be_divided() {
        assert_eq!(too_large(&[Bucket { from: 7, to: 8, documents: 99 }], 1), []);
    }

    #[test]
    fn a_query_is_narrowed_only_where_that_is_needed() {
        let whole = Range { index: "i".into(), from: None, to: None, documents: 3 };
        let user = json!({"term": {"a": 1}});
        assert_eq!(query(&whole, None, true), None);
        assert_eq!(query(&whole, Some(&user), true), Some(user.clone()));
        assert_eq!(query(&whole, None, false), Some(json!({"term": {"_index": "i"}})));
        let part = Range { from: Some(3), to: Some(9), ..whole };
        assert_eq!(
            query(&part, Some(&user), true),
            Some(json!({"bool": {"filter": [user, {"range": {"_seq_no": {"gte": 3, "lt": 9}}}]}}))
        );
    }

    #[test]
    fn a_text_that_nobody_wrote_is_not_read() {
        for text in ["x", "1", "1:x", ":1 :2", "9223372036854775807:1 1:1"] {
            assert_eq!(decode("i", text), None, "{text}");
        }
    }
}
