//! Whether the copy is complete.

use serde_json::{Value, json};

use crate::api::reindex::VerificationLevel;
use crate::api::reindex_status::{Checkpoint, CopyResult, Verdict, VerificationResult};

use super::spec_hash::short_hash;

/// One primary shard of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardPosition {
    /// Its index.
    pub index: String,
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

/// UUID of the index of these shards; of several indices a hash of all.
pub fn uuid(shards: &[&ShardPosition]) -> String {
    let mut uuids: Vec<&str> = shards.iter().map(|shard| shard.index_uuid.as_str()).collect();
    uuids.dedup();
    match uuids.as_slice() {
        [one] => (*one).to_owned(),
        several => short_hash(several.join("\n").as_bytes()),
    }
}

/// Hash of the shards' histories: with another one sequence numbers don't compare.
pub fn history(shards: &[&ShardPosition]) -> String {
    let lines: Vec<_> = shards.iter().map(|shard| format!("{} {}", shard.shard, shard.history_uuid)).collect();
    short_hash(lines.join("\n").as_bytes())[..16].to_owned()
}

/// The number up to which every shard had taken every operation on all its copies. A range can't be narrowed to a shard, so the
/// lowest one counts: what is copied twice is harmless.
pub fn noted(shards: &[&ShardPosition]) -> i64 {
    shards.iter().map(|shard| shard.global_checkpoint).min().unwrap_or(-1)
}

/// The highest of them: above it there was nothing on any shard.
pub fn highest(shards: &[&ShardPosition]) -> i64 {
    shards.iter().map(|shard| shard.global_checkpoint).max().unwrap_or(-1)
}

/// What Count looks at: the destination first, then the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Documents in the destination index, after a refresh.
    pub destination: i64,
    /// Documents on the source that match.
    pub source: i64,
    /// Those of the destination, and of the source, of which a field is kept and not indexed; None where that is not known, or says
    /// nothing.
    pub ignored: Option<(i64, i64)>,
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

/// A result that says no more than this.
pub fn found(level: VerificationLevel, verdict: Verdict) -> VerificationResult {
    VerificationResult {
        level,
        source_documents: None,
        destination_documents: None,
        source_changed: None,
        verdict,
        at: None,
        duration_seconds: None,
        documents_compared: None,
        source_sum: None,
        destination_sum: None,
        differences: None,
        repairs: None,
        repair_attempts: None,
    }
}

/// What was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An index that was created for the copy.
    Created,
    /// An index that was there before.
    Appended {
        /// No script and no pipeline changed the documents or their number.
        as_on_the_source: bool,
    },
}

/// Compares the numbers: what the tasks read, less what a script left out, must be in the destination; and the source, which must
/// stand still (`moved` is None), must hold as many. After `rounds` of catching up documents were read more than once, so then only
/// the two sides are compared. In an index that was there before other documents may stand too, so there only what the
/// tasks read is compared, and that there are at least as many.
pub fn prove_counts(result: &CopyResult, moved: Option<i64>, rounds: i32, target: Target, counts: &Counts) -> Proof {
    let expected = match rounds {
        _ if target == Target::Appended { as_on_the_source: false } => counts.destination,
        _ if target == Target::Appended { as_on_the_source: true } => counts.destination.max(counts.source),
        0 => result.total - result.noops,
        _ => counts.source,
    };
    // Every document that is there now was read at least once; without rounds exactly once.
    let read_all = if rounds == 0 { result.total == counts.source } else { result.total >= counts.source };
    let verification = |verdict| VerificationResult {
        source_documents: Some(counts.source),
        destination_documents: Some(counts.destination),
        source_changed: Some(moved.is_some() || rounds > 0),
        ..found(VerificationLevel::Count, verdict)
    };
    let broken = |reason, message| Proof::Broken { result: verification(Verdict::Failed), reason, message };
    if let Some(operations) = moved {
        return broken(
            "SourceChanging",
            format!(
                "the source was still being written to after {rounds} rounds of catching up (catchUp.maxRounds): the copy lacks at least {operations} writes. Stop the writers (or set index.blocks.write on the source), delete the destination index, and create a new Reindex"
            ),
        );
    }
    if !read_all {
        return broken(
            "RemoteMismatch",
            format!(
                "the tasks read {} documents where the source, which stood still, has {}: the operator and the destination may see different clusters under the source's address",
                result.total, counts.source
            ),
        );
    }
    if rounds > 0 && result.noops > 0 {
        let message = "the script left out documents, and the source moved: after catching up it is not known how many are to be expected. Copy while the source stands still, or use verification.level None";
        return broken("CountMismatch", message.to_owned());
    }
    if counts.destination != expected {
        let why = match rounds {
            0 => "documents with the same _id in the source, or another writer on the destination",
            _ => {
                "documents were deleted on the source while it was copied (deletes do not travel), or there is another writer on the destination"
            }
        };
        return broken(
            "CountMismatch",
            format!("the destination has {} documents where {expected} are expected: {why}", counts.destination),
        );
    }
    if let Some((there, here)) = counts.ignored.filter(|(there, here)| there > here) {
        return broken(
            "FieldsIgnored",
            format!(
                "{there} documents of the destination have a field that it did not index (ignore_malformed, ignore_above), where the source has {here}: searches would miss them. Correct destination.mappings in a new Reindex"
            ),
        );
    }
    Proof::Held(verification(Verdict::Passed))
}

/// Which documents have a field that was kept and not indexed.
pub fn ignored(user: Option<&Value>) -> Value {
    let ignored = json!({"exists": {"field": "_ignored"}});
    match user {
        Some(user) => json!({"bool": {"filter": [user, ignored]}}),
        None => ignored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(max_seq_no: i64, global_checkpoint: i64) -> ShardPosition {
        ShardPosition {
            index: "a".into(),
            index_uuid: "i".into(),
            shard: 0,
            history_uuid: "h".into(),
            max_seq_no,
            global_checkpoint,
        }
    }

    fn reason(copied: i64, source: i64, destination: i64, moved: Option<i64>, rounds: i32) -> &'static str {
        let result = CopyResult { total: copied, created: copied, ..CopyResult::default() };
        match prove_counts(&result, moved, rounds, Target::Created, &Counts { destination, source, ignored: None }) {
            Proof::Held(_) => "Held",
            Proof::Broken { reason, .. } => reason,
        }
    }

    fn both(documents: i64) -> Counts {
        Counts { destination: documents, source: documents, ignored: None }
    }

    #[test]
    fn fields_that_only_the_destination_does_not_index_are_a_loss() {
        let result = CopyResult { total: 10, created: 10, ..CopyResult::default() };
        let prove = |ignored| prove_counts(&result, None, 0, Target::Created, &Counts { ignored, ..both(10) });
        assert!(matches!(prove(Some((2, 2))), Proof::Held(_)), "as on the source");
        assert!(matches!(prove(Some((1, 2))), Proof::Held(_)), "fewer than on the source");
        assert!(matches!(prove(Some((1, 0))), Proof::Broken { reason: "FieldsIgnored", .. }));
    }

    #[test]
    fn numbers_must_agree_and_the_source_must_have_stood_still() {
        assert_eq!(reason(10, 10, 10, None, 0), "Held");
        assert_eq!(reason(10, 10, 9, None, 0), "CountMismatch");
        assert_eq!(reason(9, 10, 9, None, 0), "RemoteMismatch");
        assert_eq!(reason(11, 10, 11, None, 0), "RemoteMismatch", "of another cluster, which has more");
        assert_eq!(reason(10, 10, 10, Some(1), 0), "SourceChanging");
    }

    #[test]
    fn what_a_script_left_out_is_not_expected() {
        let result = CopyResult { total: 10, created: 8, noops: 2, ..CopyResult::default() };
        let prove = |destination| prove_counts(&result, None, 0, Target::Created, &Counts { destination, ..both(10) });
        assert!(matches!(prove(8), Proof::Held(_)));
        assert!(matches!(prove(10), Proof::Broken { reason: "CountMismatch", .. }));
    }

    #[test]
    fn after_catching_up_the_sides_are_compared() {
        assert_eq!(reason(12, 11, 11, None, 1), "Held");
        assert_eq!(reason(12, 10, 11, None, 1), "CountMismatch");
        assert_eq!(reason(12, 11, 11, Some(3), 5), "SourceChanging");
        assert_eq!(reason(5, 11, 11, None, 1), "RemoteMismatch", "not all that is there was read");
        let result = CopyResult { total: 12, created: 11, noops: 1, ..CopyResult::default() };
        let proof = prove_counts(&result, None, 1, Target::Created, &both(11));
        assert!(
            matches!(proof, Proof::Broken { reason: "CountMismatch", .. }),
            "what the script left out may be stale"
        );
    }

    #[test]
    fn in_an_index_that_was_there_only_what_was_read_is_compared() {
        let result = CopyResult { total: 10, created: 8, updated: 2, ..CopyResult::default() };
        const APPENDED: Target = Target::Appended { as_on_the_source: true };
        let counts = Counts { destination: 99, ..both(10) };
        let few = Counts { destination: 9, ..both(10) };
        assert!(matches!(
            prove_counts(&result, None, 0, APPENDED, &few),
            Proof::Broken { reason: "CountMismatch", .. }
        ));
        let dropping = Target::Appended { as_on_the_source: false };
        assert!(matches!(prove_counts(&result, None, 0, dropping, &few), Proof::Held(_)));
        assert!(matches!(prove_counts(&result, None, 0, APPENDED, &counts), Proof::Held(_)));
        let less = Counts { source: 11, ..counts };
        assert!(matches!(
            prove_counts(&result, None, 0, APPENDED, &less),
            Proof::Broken { reason: "RemoteMismatch", .. }
        ));
    }

    #[test]
    fn an_operation_that_replicas_lacked_at_the_begin_counts_as_a_change() {
        let before = checkpoint(&[shard(9, 7)], 10);
        assert_eq!(moved(&before, &[shard(9, 9)]), Some(2));
        assert_eq!(moved(&checkpoint(&[shard(9, 9)], 10), &[shard(9, 9)]), None);
    }

    #[test]
    fn the_order_in_which_shards_are_told_is_no_change() {
        let other = ShardPosition { shard: 1, ..shard(5, 5) };
        assert_eq!(moved(&checkpoint(&[shard(9, 9), other.clone()], 10), &[other, shard(9, 9)]), None);
    }

    #[test]
    fn another_history_is_a_change() {
        let before = checkpoint(&[shard(9, 9)], 10);
        let replaced = ShardPosition { history_uuid: "other".into(), ..shard(9, 9) };
        assert_eq!(moved(&before, std::slice::from_ref(&replaced)), Some(1));
        assert_ne!(history(&[&replaced]), history(&[&shard(9, 9)]));
    }

    #[test]
    fn the_shard_that_is_furthest_behind_is_noted() {
        assert_eq!(highest(&[&shard(9, 9), &shard(7, 5)]), 9);
        assert_eq!(noted(&[&shard(9, 9), &shard(7, 5)]), 5);
        assert_eq!(noted(&[]), -1);
    }
}
