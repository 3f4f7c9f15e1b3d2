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
    has(&plan.done, id)
}

/// Notes that range `id` is done.
pub fn set_done(plan: &mut CopyPlan, id: usize) {
    set(&mut plan.done, id, true);
}

/// Notes that range `id` had conflicts.
pub fn set_conflicted(plan: &mut CopyPlan, id: usize) {
    set(&mut plan.conflicted, id, true);
}

/// Ranges that had conflicts.
pub fn conflicted(plan: &CopyPlan) -> Vec<usize> {
    (0..plan.conflicted.len() * 4).filter(|id| has(&plan.conflicted, *id)).collect()
}

/// The first range that had conflicts has none that matter.
pub fn clear_conflict(plan: &mut CopyPlan) {
    if let Some(first) = conflicted(plan).first() {
        set(&mut plan.conflicted, *first, false);
    }
}

/// Ranges that had conflicts are to be copied again.
pub fn reopen_conflicted(plan: &mut CopyPlan) {
    for id in conflicted(plan) {
        set(&mut plan.done, id, false);
    }
    plan.conflicted.clear();
}

/// Bit `id` of a hexadecimal number, lowest digit first.
fn has(bits: &str, id: usize) -> bool {
    let digit = bits.as_bytes().get(id / 4).and_then(|byte| (*byte as char).to_digit(16)).unwrap_or_default();
    digit & (1 << (id % 4)) != 0
}

fn set(bits: &mut String, id: usize, to: bool) {
    let mut digits: Vec<u32> = bits.chars().map(|digit| digit.to_digit(16).unwrap_or_default()).collect();
    digits.resize(digits.len().max(id / 4 + 1), 0);
    match to {
        true => digits[id / 4] |= 1 << (id % 4),
        false => digits[id / 4] &= !(1 << (id % 4)),
    }
    *bits = digits.into_iter().filter_map(|digit| char::from_digit(digit, 16)).collect();
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
            highest: 0,
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
        assert!(!all_done(&self::plan(&[])), "a copy has ranges");
        assert!(all_done(&CopyPlan { round: 1, ..self::plan(&[]) }), "a round may have none");
    }

    #[test]
    fn ranges_with_conflicts_are_opened_again() {
        let mut plan = plan(&[":5 10:6", ":7"]);
        (0..3).for_each(|id| set_done(&mut plan, id));
        set_conflicted(&mut plan, 1);
        assert_eq!(conflicted(&plan), [1]);
        reopen_conflicted(&mut plan);
        assert_eq!([0, 1, 2].map(|id| is_done(&plan, id)), [true, false, true]);
        assert!(conflicted(&plan).is_empty());
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
