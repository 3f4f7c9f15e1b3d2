//! The plan in status as the planner works with it: ranges by number, and which of them are done.

use crate::api::reindex_status::{CopyPlan, PlannedIndex};

use super::ranges::{self, Range};

/// Every range of a plan, in order: a partition's number is its place.
///
/// None where somebody else wrote the status: then no range may be called done.
pub fn ranges(plan: &CopyPlan) -> Option<Vec<Range>> {
    let of = |index: &PlannedIndex| ranges::decode(&index.name, &index.ranges);
    let all: Option<Vec<Vec<Range>>> = plan.indices.iter().map(of).collect();
    Some(all?.into_iter().flatten().collect())
}

/// Whether range `id` is done.
pub fn is_done(plan: &CopyPlan, id: usize) -> bool {
    let digit = plan.done.as_bytes().get(id / 4).and_then(|byte| (*byte as char).to_digit(16)).unwrap_or_default();
    digit & (1 << (id % 4)) != 0
}

/// Notes that range `id` is done.
pub fn set_done(plan: &mut CopyPlan, id: usize) {
    let mut digits: Vec<u32> = plan.done.chars().map(|digit| digit.to_digit(16).unwrap_or_default()).collect();
    digits.resize(digits.len().max(id / 4 + 1), 0);
    digits[id / 4] |= 1 << (id % 4);
    plan.done = digits.into_iter().filter_map(|digit| char::from_digit(digit, 16)).collect();
}

/// Whether every range is done. A round of catching up may have found none.
pub fn all_done(plan: &CopyPlan) -> bool {
    let done =
        |ranges: Vec<Range>| (0..ranges.len()).all(|id| is_done(plan, id)) && (plan.round > 0 || !ranges.is_empty());
    ranges(plan).is_some_and(done)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(ranges: &[&str]) -> CopyPlan {
        let index = |(n, ranges): (usize, &&str)| PlannedIndex {
            name: format!("i{n}"),
            uuid: format!("u{n}"),
            history: "h".into(),
            noted: 0,
            ranges: (*ranges).to_owned(),
        };
        CopyPlan { indices: ranges.iter().enumerate().map(index).collect(), ..CopyPlan::default() }
    }

    #[test]
    fn ranges_are_numbered_over_all_indices() {
        let all = ranges(&plan(&[":5 10:6", ":7"])).unwrap();
        let names: Vec<_> = all.iter().map(|range| (range.index.as_str(), range.from, range.documents)).collect();
        assert_eq!(names, [("i0", None, 5), ("i0", Some(10), 6), ("i1", None, 7)]);
        assert_eq!(ranges(&plan(&[":5", "nonsense"])), None);
    }

    #[test]
    fn a_plan_is_done_when_its_last_range_is() {
        let mut plan = plan(&[":5 10:6", ":7"]);
        for id in [2, 0, 1] {
            assert!(!all_done(&plan));
            set_done(&mut plan, id);
        }
        assert!(all_done(&plan));
        assert!(!all_done(&CopyPlan { done: "f".into(), ..self::plan(&["nonsense"]) }));
    }

    proptest! {
        #[test]
        fn exactly_what_was_noted_is_done(ids in proptest::collection::hash_set(0usize..512, 0..100)) {
            let mut plan = CopyPlan::default();
            ids.iter().for_each(|id| set_done(&mut plan, *id));
            prop_assert!((0..600).all(|id| is_done(&plan, id) == ids.contains(&id)));
            prop_assert!(plan.done.len() <= 128);
        }
    }
}
