//! Whether the copy is complete.

use crate::api::reindex::VerificationLevel;
use crate::api::reindex_status::{Checkpoint, CopyResult, Verdict, VerificationResult};

use super::spec_hash::short_hash;

/// One primary shard of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardPosition {
    /// UUID of its index.
    pub index_uuid: String,
    /// Its number.
    pub shard: u32,
    /// UUID of its history.
    pub history_uuid: String,
    /// The highest operation that it took.
    pub max_seq_no: i64,
    /// The highest operation that all its copies took.
    pub global_checkpoint: i64,
}

/// The source as it is now. `documents` is counted after a refresh that follows the reading of `shards`.
pub fn checkpoint(shards: &[ShardPosition], documents: i64) -> Checkpoint {
    Checkpoint {
        operations: shards.iter().map(|shard| shard.global_checkpoint + 1).sum(),
        digest: digest(shards, |shard| shard.global_checkpoint),
        documents,
    }
}

/// Operations since the checkpoint; None if the source stood still. Histories or indices that were replaced count as a change of
/// at least one.
///
/// What is compared is `max_seq_no` now with `global_checkpoint` then: an operation that a replica had not taken then may be missing
/// from what was read.
pub fn moved(before: &Checkpoint, shards: &[ShardPosition]) -> Option<i64> {
    if digest(shards, |shard| shard.max_seq_no) == before.digest {
        return None;
    }
    let now: i64 = shards.iter().map(|shard| shard.max_seq_no + 1).sum();
    Some((now - before.operations).max(1))
}

fn digest(shards: &[ShardPosition], number: impl Fn(&ShardPosition) -> i64) -> String {
    let mut sorted: Vec<_> = shards.iter().collect();
    sorted.sort();
    let lines: Vec<_> = sorted
        .iter()
        .map(|shard| format!("{} {} {} {}", shard.index_uuid, shard.shard, shard.history_uuid, number(shard)))
        .collect();
    short_hash(lines.join("\n").as_bytes())
}

/// What Count looks at, read in this order: destination, source, then the source's shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Documents in the destination index, after a refresh.
    pub destination: i64,
    /// Documents on the source that match.
    pub source: i64,
    /// The source's shards.
    pub shards: Vec<ShardPosition>,
}

/// What a verification came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// It held.
    Held(VerificationResult),
    /// It did not.
    Broken {
        /// What was found.
        result: VerificationResult,
        /// Reason of the condition.
        reason: &'static str,
        /// What differs, and what to do.
        message: String,
    },
}

/// Compares the numbers: what the task read, less what a script left out, must be in the destination; and the source, which must
/// have stood still, must hold as many.
pub fn prove_counts(result: &CopyResult, before: &Checkpoint, counts: &Counts) -> Proof {
    let moved = moved(before, &counts.shards);
    let expected = result.total - result.noops;
    let verification = |verdict| VerificationResult {
        level: VerificationLevel::Count,
        source_documents: Some(counts.source),
        destination_documents: Some(counts.destination),
        source_changed: Some(moved.is_some()),
        verdict,
    };
    let broken = |reason, message| Proof::Broken { result: verification(Verdict::Failed), reason, message };
    if let Some(operations) = moved {
        return broken(
            "SourceChanging",
            format!(
                "the source took at least {operations} writes while it was copied, so the copy may lack them. Stop the writers (or set \
                 index.blocks.write on the source), delete the destination index, and create a new Reindex"
            ),
        );
    }
    if result.total != counts.source {
        return broken(
            "RemoteMismatch",
            format!(
                "the task read {} documents where the source, which stood still, has {}: the operator and the destination may see \
                 different clusters under the source's address",
                result.total, counts.source
            ),
        );
    }
    if counts.destination != expected {
        return broken(
            "CountMismatch",
            format!(
                "the destination has {} documents where {expected} are expected: documents with the same _id in the source, or another \
                 writer on the destination",
                counts.destination
            ),
        );
    }
    Proof::Held(verification(Verdict::Passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(max_seq_no: i64, global_checkpoint: i64) -> ShardPosition {
        ShardPosition { index_uuid: "i".into(), shard: 0, history_uuid: "h".into(), max_seq_no, global_checkpoint }
    }

    fn reason(copied: i64, source: i64, destination: i64, after: ShardPosition) -> &'static str {
        let result = CopyResult { total: copied, created: copied, ..CopyResult::default() };
        let before = checkpoint(&[shard(9, 9)], 10);
        match prove_counts(&result, &before, &Counts { destination, source, shards: vec![after] }) {
            Proof::Held(_) => "Held",
            Proof::Broken { reason, .. } => reason,
        }
    }

    #[test]
    fn numbers_must_agree_and_the_source_must_have_stood_still() {
        assert_eq!(reason(10, 10, 10, shard(9, 9)), "Held");
        assert_eq!(reason(10, 10, 9, shard(9, 9)), "CountMismatch");
        assert_eq!(reason(9, 10, 9, shard(9, 9)), "RemoteMismatch");
        assert_eq!(reason(10, 10, 10, shard(10, 10)), "SourceChanging");
    }

    #[test]
    fn an_operation_that_replicas_lacked_at_the_begin_counts_as_a_change() {
        let before = checkpoint(&[shard(9, 7)], 10);
        assert_eq!(moved(&before, &[shard(9, 9)]), Some(2));
    }

    #[test]
    fn another_history_is_a_change() {
        let before = checkpoint(&[shard(9, 9)], 10);
        let replaced = ShardPosition { history_uuid: "other".into(), ..shard(9, 9) };
        assert_eq!(moved(&before, &[replaced]), Some(1));
    }
}
