//! Sums over documents: the same in whatever order they come, and of the same size however many they are.

use super::digest::{Digester, Document};

/// Parts that documents fall into by their id, each with a sum of its own: where two sides differ only those parts are looked at again
/// in which they do. At a billion documents one has some 60,000.
pub const PARTS: usize = 1 << 14;

/// Sums of one side.
pub struct Sums {
    /// How many documents.
    pub documents: u64,
    /// Of all.
    pub total: u128,
    parts: Box<[u128]>,
    counts: Box<[u32]>,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums {
            documents: 0,
            total: 0,
            parts: vec![0; PARTS].into_boxed_slice(),
            counts: vec![0; PARTS].into_boxed_slice(),
        }
    }
}

impl Sums {
    /// Adds one document. A sum, not an exclusive or: one that comes twice does not cancel itself out.
    pub fn add(&mut self, digester: &mut Digester, document: &Document<'_>) {
        let hash = digester.of(document);
        let part = part(digester, document.id);
        self.documents += 1;
        self.total = self.total.wrapping_add(hash);
        self.parts[part] = self.parts[part].wrapping_add(hash);
        self.counts[part] = self.counts[part].saturating_add(1);
    }

    /// Whether both are sums of the same documents.
    pub fn equals(&self, other: &Sums) -> bool {
        (self.documents, self.total) == (other.documents, other.total)
    }

    /// Parts in which the two differ, as many as hold no more than `most` documents on both sides together, at least one; and whether
    /// these are all.
    pub fn differing(&self, other: &Sums, most: u64) -> (Parts, bool) {
        let (mut parts, mut documents, mut found) = (vec![false; PARTS], 0, 0);
        for at in 0..PARTS {
            if (self.parts[at], self.counts[at]) == (other.parts[at], other.counts[at]) {
                continue;
            }
            documents += u64::from(self.counts[at]) + u64::from(other.counts[at]);
            if found > 0 && documents > most {
                return (Parts(parts), false);
            }
            parts[at] = true;
            found += 1;
        }
        (Parts(parts), true)
    }
}

/// Some of the parts.
pub struct Parts(Vec<bool>);

impl Parts {
    /// Whether a document of this id is in one of them.
    pub fn hold(&self, digester: &Digester, id: &str) -> bool {
        self.0[part(digester, id)]
    }
}

fn part(digester: &Digester, id: &str) -> usize {
    digester.of_id(id) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verify::digest::Key;

    fn digester() -> Digester {
        Digester::new(Key::new([3; 16]))
    }

    fn sums(documents: &[(u32, u64)]) -> Sums {
        let (mut sums, mut digester) = (Sums::default(), digester());
        for (id, version) in documents {
            let document = Document { id: &id.to_string(), version: Some(*version), ..Document::default() };
            sums.add(&mut digester, &document);
        }
        sums
    }

    proptest! {
        #[test]
        fn the_order_says_nothing(mut documents in prop::collection::vec((0u32..50, 1u64..3), 1..60), by in 0usize..60) {
            let before = sums(&documents);
            let by = by % documents.len();
            documents.rotate_left(by);
            prop_assert!(before.equals(&sums(&documents)));
        }

        #[test]
        fn one_that_is_lost_added_doubled_or_changed_is_seen_and_its_part_is_known(
            documents in prop::collection::vec((0u32..1000, 1u64..3), 2..60), at in 0usize..60, kind in 0usize..4,
        ) {
            let before = sums(&documents);
            let mut changed = documents.clone();
            let at = at % changed.len();
            let id = match kind {
                0 => changed.remove(at).0,
                1 => { changed.push((5000, 1)); 5000 }
                2 => { changed.push(changed[at]); changed[at].0 }
                _ => { changed[at].1 += 1; changed[at].0 }
            };
            let after = sums(&changed);
            prop_assert!(!before.equals(&after));
            let (parts, all) = before.differing(&after, 1000);
            prop_assert!(all);
            prop_assert!(parts.hold(&digester(), &id.to_string()));
            prop_assert_eq!(parts.0.iter().filter(|part| **part).count(), 1);
        }
    }

    #[test]
    fn documents_that_come_twice_on_both_sides_don_t_cancel_each_other_out() {
        let (ones, twos) = (sums(&[(1, 1), (1, 1)]), sums(&[(1, 2), (1, 2)]));
        assert_eq!((ones.documents, twos.documents), (2, 2));
        assert!(!ones.equals(&twos));
        let (parts, _) = ones.differing(&twos, 1000);
        assert!(parts.hold(&digester(), "1"));
    }

    #[test]
    fn no_more_is_looked_at_than_may_be_kept_but_always_something() {
        let many: Vec<_> = (0..1000).map(|id| (id, 1)).collect();
        let (full, empty) = (sums(&many), Sums::default());
        let held = |most| {
            let (parts, all) = full.differing(&empty, most);
            (many.iter().filter(|(id, _)| parts.hold(&digester(), &id.to_string())).count(), all)
        };
        assert_eq!(held(1000), (1000, true));
        assert!((1..=3).contains(&held(0).0));
        assert!(held(100).0 <= 100 && !held(100).1);
    }
}
