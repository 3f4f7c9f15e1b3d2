//! The operator's rights against what it did with them. Of the files with tests this one's name sorts last, so that it runs after everything that the
//! operator does.

use std::collections::BTreeSet;

use crate::rights::{asked, granted};

#[test]
fn nothing_the_operator_does_is_denied_and_nothing_it_does_not_need_is_granted() {
    let (made, denied) = asked();
    assert_eq!(denied, BTreeSet::new(), "denied");
    let unused: Vec<_> = granted().difference(&made).cloned().collect();
    assert_eq!(unused, [], "granted, but never used");
}
