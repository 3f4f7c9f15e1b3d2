//! Numbers and names as people read them.

use kube::ResourceExt;

/// How many names a message lists.
const NAMED: usize = 10;

/// The first names, and how many more there are.
pub fn names<T: AsRef<str>>(names: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) -> String {
    first_names(names, NAMED)
}

/// The same with at most so many of them.
pub fn first_names<T: AsRef<str>>(
    names: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    most: usize,
) -> String {
    let names = names.into_iter();
    let more = names.len().saturating_sub(most);
    let listed: Vec<T> = names.take(most).collect();
    let listed = listed.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
    match more {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// Namespace and name of an object.
pub fn full_name(object: &impl ResourceExt) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Bytes with three digits at most: `512 B`, `2.4 KiB`, `31 GiB`.
pub fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match value < 10.0 {
        true => format!("{value:.1} {}", UNITS[unit]),
        false => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (1..=12).map(|n| format!("i{n}")).collect();
        assert_eq!(names(&all[..2]), "i1, i2");
        assert!(names(&all).ends_with("i10 and 2 more"));
    }

    #[test]
    fn bytes_are_rounded() {
        let cases =
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (40 * 1024 * 1024, "40 MiB"), (i64::MAX, "8192 PiB")];
        for (number, words) in cases {
            assert_eq!(bytes(number), words);
        }
    }
}
