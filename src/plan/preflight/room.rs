//! Whether the destination has room for the index.

use crate::{
    api::{Reindex, reindex::IfExists},
    plan::words::bytes,
};

use super::{Finding, SourceFacts};

/// The room that the destination has; None is what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// A block on all writes that is set.
    pub read_only: Option<&'static str>,
    /// A primary of some index is missing.
    pub red: bool,
    /// Shards that there are, with those that have no node; and how many may be.
    pub shards: Option<(i64, i64)>,
    /// The disks, and the watermarks where they are heeded.
    pub disks: Option<(Vec<Disk>, [Watermark; 2])>,
    /// Primaries and replicas that the index would have; None where it is there.
    pub index: Option<(i64, i64)>,
}

/// The disk of a node that holds shards, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Free ones.
    pub free: i64,
    /// All.
    pub total: i64,
}

/// How much of each disk must stay free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Watermark {
    /// A share of it, and the most bytes that this means.
    Share(f64, Option<i64>),
    /// Bytes.
    Bytes(i64),
}

impl Watermark {
    /// In the engine's words: `85%` or `0.85` may be used, or `50gb` must stay free; and the most bytes that a share means.
    pub fn parse(level: &str, max_headroom: &str) -> Option<Watermark> {
        let headroom = size(max_headroom).filter(|bytes| *bytes >= 0);
        let used = match level.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
            None => level.parse::<f64>().ok(),
        };
        match used {
            Some(used) if (0.0..=1.0).contains(&used) => Some(Watermark::Share(1.0 - used, headroom)),
            Some(_) => None,
            None => size(level).map(Watermark::Bytes),
        }
    }

    /// Bytes that may still be written to a disk.
    fn room(self, disk: Disk) -> i64 {
        let kept = match self {
            Watermark::Bytes(bytes) => bytes,
            Watermark::Share(share, headroom) => {
                let share = (disk.total as f64 * share) as i64;
                headroom.map_or(share, |most| share.min(most))
            }
        };
        (disk.free - kept).max(0)
    }
}

impl Eq for Watermark {}

/// Bytes in the engine's words, such as `50gb`.
fn size(text: &str) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let factor: f64 = match unit {
        "b" => 1.0,
        "kb" | "k" => 1024.0,
        "mb" | "m" => 1024.0 * 1024.0,
        "gb" | "g" => 1024.0 * 1024.0 * 1024.0,
        "tb" | "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "pb" | "p" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    number.trim().parse::<f64>().ok().map(|number| (number * factor) as i64)
}

pub(super) fn check(reindex: &Reindex, source: &SourceFacts, room: &Room) -> Vec<Finding> {
    let mut findings = vec![];
    if let Some(setting) = room.read_only {
        findings.push(Finding::surrounding(
            "DestinationReadOnly",
            format!("the destination takes no writes: {setting} is set there. Take it away (set it to null)"),
        ));
    }
    if room.red {
        findings.push(Finding::warning(
            "DestinationRed",
            "a primary shard of the destination is missing (its health is red): see to that first".into(),
        ));
    }
    findings.extend(check_shards(reindex, room));
    findings.extend(check_disks(reindex, source, room));
    findings
}

/// A warning: closed indices and such that are mounted may be counted otherwise by the engine.
fn check_shards(reindex: &Reindex, room: &Room) -> Option<Finding> {
    let ((there, most), (primaries, replicas)) = (room.shards?, room.index?);
    let wanted = primaries * (1 + replicas);
    // The index that is replaced goes first.
    let fits = wanted == 0 || reindex.spec.destination.if_exists == IfExists::Replace || there + wanted <= most;
    (!fits).then(|| {
        Finding::warning(
            "TooManyShards",
            format!("the index needs {wanted} shards, more than cluster.max_shards_per_node leaves the destination's nodes, which allows {most} in all: delete indices, or declare fewer shards in a new Reindex"),
        )
    })
}

/// Warnings: how large an index will be is an estimate. What is free is not said, since it changes all the time.
fn check_disks(reindex: &Reindex, source: &SourceFacts, room: &Room) -> Option<Finding> {
    // The index that is replaced makes room first.
    let (disks, [low, high]) =
        room.disks.as_ref().filter(|_| reindex.spec.destination.if_exists != IfExists::Replace)?;
    let replicas = room.index.map_or(0, |(_, replicas)| replicas);
    let needed = source.matching_bytes().saturating_mul(1 + replicas);
    let room = |mark: &Watermark| disks.iter().map(|disk| mark.room(*disk)).sum::<i64>();
    let copies = format!(
        "the documents take up about {} with {replicas} replicas, more than the destination's disks have below the",
        bytes(needed)
    );
    if needed > room(high) {
        return Some(Finding::warning(
            "DiskFull",
            format!("{copies} high watermark: make room, or declare fewer replicas in a new Reindex"),
        ));
    }
    (needed > room(low)).then(|| {
        Finding::warning("DiskNearlyFull", format!("{copies} low watermark: above it no further shard is placed"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GB: i64 = 1024 * 1024 * 1024;

    fn reindex() -> Reindex {
        serde_json::from_value(json!({"apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex", "metadata": {"name": "r"}, "spec": {
            "source": {"clusterRef": {"name": "a"}, "index": "i"}, "destination": {"clusterRef": {"name": "b"}, "index": "j"},
        }}))
        .unwrap()
    }

    fn reasons(bytes: i64, room: &Room) -> Vec<&'static str> {
        let source = SourceFacts { bytes, ..SourceFacts::default() };
        check(&reindex(), &source, room).iter().map(|finding| finding.reason).collect()
    }

    #[test]
    fn watermarks_are_read_as_the_engines_write_them() {
        let disk = Disk { free: 100 * GB, total: 1000 * GB };
        for (level, headroom, room) in [
            ("95%", "", 50 * GB),
            ("0.95", "-1", 50 * GB),
            ("60gb", "", 40 * GB),
            ("85%", "20gb", 80 * GB),
            ("85%", "", 0),
            ("0.5tb", "", 0),
        ] {
            let mark = Watermark::parse(level, headroom).unwrap();
            // What a share leaves is not exact to the byte.
            assert!((mark.room(disk) - room).abs() < 1024, "{level} {headroom}: {}", mark.room(disk));
        }
        for level in ["", "much", "150%", "7"] {
            assert_eq!(Watermark::parse(level, ""), None, "{level}");
        }
    }

    #[test]
    fn the_copies_must_fit_onto_the_disks() {
        let marks = [Watermark::Bytes(60 * GB), Watermark::Bytes(20 * GB)];
        let disks = vec![Disk { free: 100 * GB, total: 200 * GB }; 2];
        let room = Room { disks: Some((disks, marks)), index: Some((1, 1)), ..Room::default() };
        assert!(reasons(40 * GB, &room).is_empty());
        assert_eq!(reasons(41 * GB, &room), ["DiskNearlyFull"]);
        assert_eq!(reasons(81 * GB, &room), ["DiskFull"]);
        assert!(reasons(81 * GB, &Room { disks: None, ..room }).is_empty());
    }

    #[test]
    fn the_shards_must_be_allowed() {
        let room = |there| Room { shards: Some((there, 3000)), index: Some((5, 1)), ..Room::default() };
        assert!(reasons(0, &Room { index: Some((0, 1)), ..room(3001) }).is_empty(), "one that is there needs none");
        assert!(reasons(0, &room(2990)).is_empty());
        assert_eq!(reasons(0, &room(2991)), ["TooManyShards"]);
    }

    #[test]
    fn a_cluster_that_takes_no_writes_is_named() {
        let room = Room { read_only: Some("cluster.blocks.read_only"), red: true, ..Room::default() };
        assert_eq!(reasons(0, &room), ["DestinationReadOnly", "DestinationRed"]);
    }
}
