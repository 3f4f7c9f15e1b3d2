//! The proof that the copy is complete, and what follows where it is not.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{
    api::{
        Reindex, ReindexStatus,
        reindex::VerificationLevel,
        reindex_status::{StepName, Tuning, Verdict, VerificationResult},
    },
    plan::{
        comparison::{self, Compared},
        copy, progress,
        validate::Trouble,
        verify::{self, Proof, Target},
    },
};

use super::{
    Plan,
    copying::as_on_the_source,
    created,
    model::{Decision, Effect, Proving, Requeue, Verify},
    telling::GATE,
};

/// How long to wait for what is copied again.
const MENDING: Duration = Duration::from_secs(1);

impl Plan<'_> {
    /// The source still moves, and the next round is not due.
    pub(super) fn moving(mut self, wait: Duration) -> Decision {
        let message =
            "the source is still being written to: what changed is copied in a moment. Stop the writers to let it end";
        self.report.running(StepName::CatchUp, "SourceChanging", message);
        self.decision(None, Requeue::After(wait))
    }

    /// Documents are being compared; how far that is, is said at most every ten seconds.
    pub(super) fn proving(mut self, seen: Proving) -> Decision {
        let now = self.report.now();
        let begun = self.report.status.steps.iter().find(|step| step.name == StepName::Verify);
        let begun = begun.and_then(|step| step.started_at.as_ref()).map_or(now, |time| time.0);
        if self.is_news() {
            if let Some(progress) = &mut self.report.status.progress {
                progress.documents_verified = Some(seen.read);
                progress.observed_at = Some(Time(now));
            }
            let message = format!("comparing documents: {} of {} are read, of both sides", seen.read, seen.total);
            self.report.running(StepName::Verify, "Verifying", &message);
        }
        let wait = progress::poll_interval(now.duration_since(begun), seen.read, seen.total);
        self.decision(None, Requeue::After(wait))
    }

    /// The comparison waits for its turn: others are read, or have the scrolls.
    pub(super) fn scrolls_taken(mut self) -> Decision {
        let message = "waiting for other comparisons and copies: the operator compares only a few copies at once, and only with as many scrolls as spec.limits.maxOpenScrolls of the SearchClusters allows";
        self.report.running(StepName::Verify, "WaitingForTasks", message);
        self.decision(None, Requeue::After(GATE))
    }

    /// No smaller page helps.
    pub(super) fn too_large_to_compare(self, side: &str, limit: usize) -> Decision {
        let message = format!(
            "copied, but not compared: a document of the {side} is larger than the {} MiB that the operator reads at once. In a new Reindex, leave large fields out with source.sourceFields, or set verification.level to Identity, which reads no content, or to Sample, which seldom draws such a document",
            limit / 1024 / 1024
        );
        self.fail("DocumentTooLarge", &message)
    }

    /// What differed is being copied again; it is compared once more afterwards.
    pub(super) fn mending(mut self) -> Decision {
        self.repair_is_begun();
        self.report.running(StepName::Verify, "Repairing", "copying documents again that differ");
        self.decision(None, Requeue::After(MENDING))
    }

    /// The round is used up: its task was started, or never will be.
    fn repair_is_begun(&mut self) {
        if let Some(result) = &mut self.report.status.verification {
            result.repair_attempts = None;
        }
    }

    /// It is suspended, and no task that copies documents again runs any more: what differed is compared anew when it goes on.
    pub(super) fn repair_ended(mut self) -> Decision {
        self.no_repair_runs();
        self.decision(None, Requeue::Now)
    }

    /// What was found different stays so until it is compared again.
    pub(super) fn no_repair_runs(&mut self) {
        let result = self.report.status.verification.as_mut();
        if let Some(result) = result.filter(|result| result.verdict == Verdict::Repairing) {
            result.verdict = Verdict::Failed;
        }
    }

    /// What differs can't be copied again now, whatever that is; nothing is written, so that nothing wakes it before its time.
    pub(super) fn repair_later(self, wait: Duration) -> Decision {
        self.decision(None, Requeue::After(wait))
    }

    /// The destination refused to copy again what differs: that is no hiccup, so the round is used up.
    pub(super) fn mend_refused(mut self, trouble: &Trouble) -> Decision {
        self.repair_is_begun();
        self.wait_out(trouble)
    }

    /// Something was in the way before anything was asked for: the attempt to repair that was about to be made does not count.
    pub(super) fn withdraw_repair(&mut self) {
        let repairing = |result: &&mut VerificationResult| result.verdict == Verdict::Repairing;
        if let Some(result) = self.report.status.verification.as_mut().filter(repairing) {
            result.repair_attempts = result.repair_attempts.map(|attempts| (attempts - 1).max(0));
        }
    }

    /// Complete, or not: a doubt is never a success.
    pub(super) fn verify(mut self, seen: Verify) -> Decision {
        let status = &self.report.status;
        let (Some(result), Some(before), Some(plan)) = (&status.result, &status.checkpoint, &status.plan) else {
            let message = "status holds no result of the copy: somebody else wrote it";
            self.report.failed(StepName::Verify, "StatusDamaged", message);
            return self.decision(None, Requeue::OnChange);
        };
        let (rounds, total) = (plan.round, result.total);
        let moved = verify::moved(before, &seen.shards);
        let created = created(status);
        let target = match created {
            true => Target::Created,
            false => Target::Appended { as_on_the_source: as_on_the_source(&self.reindex.spec) },
        };
        let Some(counts) = seen.counts else {
            let more = moved.map_or(String::new(), |operations| {
                format!("; the source took at least {operations} writes that are not copied")
            });
            let source_changed = Some(moved.is_some() || rounds > 0);
            let not_asked = verify::found(VerificationLevel::None, Verdict::NotAsked);
            self.report.status.verification = Some(VerificationResult { source_changed, ..not_asked });
            self.report.complete(&format!("copied, not verified: verification.level is None{more}"));
            return self.decision(None, Requeue::OnChange);
        };
        let proof = verify::prove_counts(result, moved, rounds, target, &counts);
        let result = match proof {
            // Which documents differ says more than that their numbers do.
            Proof::Broken { result, reason: "CountMismatch", .. } if differs(&seen) => result,
            Proof::Broken { result, reason, message } => {
                let uneven = plan.uneven.as_ref().filter(|_| reason != "SourceChanging");
                let uneven = uneven.map_or(String::new(), |range| format!(" ({range})"));
                return self.disproved(result, reason, &format!("{message}{uneven}"));
            }
            Proof::Held(result) => result,
        };
        match (comparison::comparison(self.reindex, created), seen.compared) {
            (None, _) => {
                let documents = counts.destination;
                let message = match rounds {
                    _ if !created => format!("copied {total} documents into an index that was there"),
                    0 => format!("copied and counted: {documents} documents on both sides"),
                    _ => format!("copied, caught up and counted: {documents} documents on both sides"),
                };
                self.proved(result, &message)
            }
            // It was not compared, since the source moved; and now it doesn't any more.
            (Some(_), None) => self.moving(MENDING),
            (Some(comparison), Some(compared)) => {
                let result = comparison::with_documents(result, &compared);
                match compared.is_the_same() {
                    true => {
                        let message = comparison::praise(&comparison, &compared, counts.source);
                        self.proved(result, &message)
                    }
                    false => self.mend_or_tell(result, compared, seen.tuning),
                }
            }
        }
    }

    fn proved(mut self, result: VerificationResult, message: &str) -> Decision {
        // A repair that was not seen to begin did its work all the same.
        self.repair_is_begun();
        self.conclude(result);
        self.report.complete(message);
        self.decision(None, Requeue::OnChange)
    }

    fn disproved(mut self, result: VerificationResult, reason: &'static str, message: &str) -> Decision {
        self.conclude(result);
        self.report.failed(StepName::Verify, reason, message);
        self.decision(None, Requeue::OnChange)
    }

    fn conclude(&mut self, result: VerificationResult) {
        let before = self.report.status.verification.as_ref();
        self.report.status.verification = Some(VerificationResult {
            level: self.reindex.spec.verification.level,
            at: Some(Time(self.report.now())),
            repairs: before.and_then(|result| result.repairs),
            repair_attempts: before.and_then(|result| result.repair_attempts),
            ..result
        });
    }

    /// Has what differs copied again, or else written down; it fails then. What differs stands in status before.
    fn mend_or_tell(mut self, result: VerificationResult, compared: Compared, tuning: Option<Tuning>) -> Decision {
        let next = next_repair(self.reindex, &compared);
        let Repairs { rounds, attempts } = repairs(&self.report.status);
        self.conclude(result);
        if let Some(round) = next {
            let status = &mut self.report.status;
            status.tuning = status.tuning.take().or(tuning);
            if let Some(result) = &mut status.verification {
                result.verdict = Verdict::Repairing;
                (result.repairs, result.repair_attempts) = (Some(round), Some(attempts + 1));
            }
            let message = format!("{} documents differ: copying them again", compared.found());
            self.report.running(StepName::Verify, "Repairing", &message);
            self.report.note(false, "Repairing", &message);
            let effect = Effect::Mend { round, differences: compared.listed };
            return self.decision(Some(effect), Requeue::Now);
        }
        let mut message = comparison::blame(&compared, rounds);
        if attempts > 0 {
            message = format!("{message}; a repair could not be begun in {attempts} attempts");
        }
        self.report.running(StepName::Verify, "Verifying", "documents differ: writing down which");
        self.decision(Some(Effect::TellDifferences { message, differences: compared.listed }), Requeue::Now)
    }

    /// Which documents differ is written down.
    pub(super) fn differ(self, message: &str) -> Decision {
        let reason = comparison::reason(self.reindex.spec.verification.level);
        self.fail(reason, message)
    }
}

/// How often what differed was copied again, and how often the next time was begun in vain.
struct Repairs {
    rounds: i32,
    attempts: i32,
}

fn repairs(status: &ReindexStatus) -> Repairs {
    let result = status.verification.as_ref();
    let begun = result.and_then(|result| result.repairs).unwrap_or_default();
    match result.and_then(|result| result.repair_attempts) {
        Some(attempts) => Repairs { rounds: begun - 1, attempts },
        None => Repairs { rounds: begun, attempts: 0 },
    }
}

/// Whether what differs is to be copied again, and which time that is: the same once more where it could not be begun. What never can is
/// given up like a range that fails.
pub fn next_repair(reindex: &Reindex, compared: &Compared) -> Option<i32> {
    let status = reindex.status.as_ref()?;
    let Repairs { rounds, attempts } = repairs(status);
    let follows = attempts <= reindex.spec.execution.backoff_limit
        && comparison::is_repairable(reindex, compared, rounds, created(status));
    follows.then_some(rounds + 1)
}

/// How long a repair that could not be begun has to wait for its next attempt; None if it may be made.
pub fn repair_pause(status: &ReindexStatus, now: Timestamp) -> Option<Duration> {
    let tried_at = status.verification.as_ref()?.at.as_ref()?.0;
    let attempts = Some(repairs(status).attempts).filter(|attempts| *attempts > 0)?;
    let passed = Duration::try_from(now.duration_since(tried_at)).unwrap_or_default();
    copy::backoff(attempts + 1).checked_sub(passed).filter(|left| !left.is_zero())
}

fn differs(seen: &Verify) -> bool {
    seen.compared.as_ref().is_some_and(|compared| !compared.is_the_same())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        api::{
            conditions::{self, COMPLETE},
            reindex_status::DifferenceKind,
        },
        plan::reindex::{
            Observation, Outcome, Release, Stage, stage,
            tests::{at, copying, ended, failed, looked, see, settled, verified},
        },
    };

    /// Copied, and to be verified so.
    fn to_be_verified(verification: serde_json::Value) -> Reindex {
        let mut reindex = copying(1);
        reindex.spec.verification = serde_json::from_value(verification).unwrap();
        if let Some(status) = &mut reindex.status {
            status.spec_hash = Some(crate::plan::spec_hash::spec_hash(&reindex.spec));
        }
        see(&mut reindex, looked([(0, ended(6))]), 4);
        assert_eq!(stage(&reindex), Stage::Verify);
        reindex
    }

    fn lacking(id: &str) -> Compared {
        let mut compared = Compared { source_documents: 6, destination_documents: 6, ..Compared::default() };
        compared.note(DifferenceKind::Missing, id, None);
        compared
    }

    #[test]
    fn documents_that_are_the_same_complete_it_and_without_them_it_is_not() {
        let mut reindex = to_be_verified(json!({"level": "Identity"}));
        let waiting = see(&mut reindex, verified(6, 5, None), 5);
        assert!(!conditions::is_true(&waiting.status.conditions, COMPLETE), "it was not compared");
        let same = Compared { source_documents: 6, sums: Some((255, 255)), seconds: 3, ..Compared::default() };
        let decision = see(&mut reindex, verified(6, 5, Some(same)), 6);
        assert!(conditions::is_true(&decision.status.conditions, COMPLETE));
        let result = decision.status.verification.unwrap();
        assert_eq!(result.source_sum.as_deref(), Some("000000000000000000000000000000ff"));
        assert_eq!((result.verdict, result.duration_seconds, result.repairs), (Verdict::Passed, Some(3), None));
    }

    #[test]
    fn documents_that_are_named_say_more_than_numbers_that_differ() {
        let mut reindex = to_be_verified(json!({"level": "Identity"}));
        let Observation::Verify(mut seen) = verified(6, 5, Some(lacking("x"))) else { panic!("a verification") };
        seen.counts = seen.counts.map(|counts| verify::Counts { destination: 5, ..counts });
        let decision = see(&mut reindex, Observation::Verify(seen), 5);
        assert!(matches!(decision.effect, Some(Effect::TellDifferences { .. })), "{decision:?}");
    }

    #[test]
    fn what_differs_is_written_down_before_it_fails() {
        let mut reindex = to_be_verified(json!({"level": "Content"}));
        let decision = see(&mut reindex, verified(6, 5, Some(lacking("x"))), 5);
        let Some(Effect::TellDifferences { message, differences }) = decision.effect else { panic!("{decision:?}") };
        assert_eq!(differences[0].id, "x");
        let decision = settled(&mut reindex, Outcome::DifferencesTold(message), 6);
        assert_eq!(failed(&reindex), "ContentMismatch");
        let result = decision.status.verification.unwrap();
        assert_eq!((result.verdict, result.differences.unwrap().missing), (Verdict::Failed, 1));
    }

    #[test]
    fn what_differs_is_copied_again_a_few_times() {
        let mut reindex = to_be_verified(json!({"level": "Identity", "onMismatch": "Repair"}));
        for round in 1..=comparison::MOST_REPAIRS {
            let decision = see(&mut reindex, verified(6, 5, Some(lacking("x"))), 10 * i64::from(round));
            assert!(matches!(decision.effect, Some(Effect::Mend { round: n, .. }) if n == round), "{decision:?}");
            assert_eq!(decision.status.verification.unwrap().verdict, Verdict::Repairing);
            settled(&mut reindex, Outcome::Mended, 10 * i64::from(round) + 1);
            assert_eq!(stage(&reindex), Stage::Restore, "settings are put back before it is compared again");
            settled(&mut reindex, Outcome::Restored, 10 * i64::from(round) + 2);
            see(&mut reindex, Observation::Mending, 10 * i64::from(round) + 3);
            assert_eq!(stage(&reindex), Stage::Verify);
        }
        let decision = see(&mut reindex, verified(6, 5, Some(lacking("x"))), 60);
        assert!(matches!(decision.effect, Some(Effect::TellDifferences { .. })), "{decision:?}");
    }

    fn unclear() -> Outcome {
        Outcome::Unclear(Trouble { reason: "Overloaded", message: "the destination has no time".into() })
    }

    #[test]
    fn a_repair_that_could_not_be_begun_is_begun_again_and_given_up_in_the_end() {
        let mut reindex = to_be_verified(json!({"level": "Identity", "onMismatch": "Repair"}));
        let mut pauses = vec![];
        for attempt in 1..=7 {
            let second = 310 * i64::from(attempt);
            let decision = see(&mut reindex, verified(6, 5, Some(lacking("x"))), second);
            assert!(matches!(decision.effect, Some(Effect::Mend { round: 1, .. })), "{attempt}: {decision:?}");
            let result = settled(&mut reindex, unclear(), second + 1).status.verification.unwrap();
            assert_eq!(
                (result.verdict, result.repairs, result.repair_attempts),
                (Verdict::Repairing, Some(1), Some(attempt))
            );
            settled(&mut reindex, Outcome::Restored, second + 1);
            let status = reindex.status.clone().unwrap();
            pauses.push(repair_pause(&status, at(second + 1)).map_or(0, |pause| pause.as_secs()));
            assert_eq!(repair_pause(&status, at(second + 300)), None);
            let waiting = see(&mut reindex, Observation::RepairPaused(Duration::from_secs(9)), second + 2);
            assert_eq!((waiting.status, waiting.requeue), (status, Requeue::After(Duration::from_secs(9))));
        }
        assert_eq!(pauses, [1, 9, 49, 249, 299, 299, 299]);
        let decision = see(&mut reindex, verified(6, 5, Some(lacking("x"))), 2500);
        let Some(Effect::TellDifferences { message, .. }) = decision.effect else { panic!("{decision:?}") };
        assert!(message.contains("could not be begun in 7 attempts") && !message.contains("after"), "{message}");
        let again = see(&mut reindex, verified(6, 5, Some(lacking("x"))), 2501);
        assert!(
            matches!(again.effect, Some(Effect::TellDifferences { .. })),
            "interrupted, it is given up all the same"
        );
    }

    #[test]
    fn a_repair_that_was_begun_after_all_or_is_refused_takes_a_round_and_one_that_a_restart_holds_up_takes_nothing() {
        let begun = |outcome: Option<Outcome>| {
            let mut reindex = to_be_verified(json!({"level": "Identity", "onMismatch": "Repair"}));
            see(&mut reindex, verified(6, 5, Some(lacking("x"))), 10);
            match outcome {
                Some(outcome) => settled(&mut reindex, outcome, 11),
                None => see(&mut reindex, Observation::Mending, 11),
            };
            settled(&mut reindex, Outcome::Restored, 12);
            let status = reindex.status.clone().unwrap();
            assert_eq!(stage(&reindex), Stage::Verify);
            let result = status.verification.clone().unwrap();
            let seen = see(&mut reindex, verified(6, 5, Some(lacking("x"))), 1000);
            let Some(Effect::Mend { round, .. }) = seen.effect else { panic!("{seen:?}") };
            (result.repair_attempts, round, repair_pause(&status, at(11)).is_some())
        };
        assert_eq!(begun(None), (None, 2, false));
        assert_eq!(begun(Some(Outcome::Mended)), (None, 2, false));
        let refused = Trouble { reason: "Rejected", message: "no".into() };
        assert_eq!(begun(Some(Outcome::MendRefused(refused))), (None, 2, false));
        assert_eq!(begun(Some(unclear())), (Some(1), 1, true));
        assert_eq!(begun(Some(Outcome::GateClosed("n/b".into()))), (Some(0), 1, false));
        assert_eq!(begun(Some(Outcome::WindingDown)), (Some(0), 1, false));
        let away = Trouble { reason: "KubernetesError", message: "no answer".into() };
        assert_eq!(begun(Some(Outcome::NotStarted(away))), (Some(0), 1, false));
    }

    #[test]
    fn a_comparison_waits_for_scrolls_and_ends_where_a_document_is_too_large() {
        let mut reindex = to_be_verified(json!({"level": "Content"}));
        let decision = see(&mut reindex, Observation::ScrollsTaken, 5);
        let told = conditions::get(&decision.status.conditions, conditions::RECONCILING).unwrap();
        assert_eq!(told.reason, "WaitingForTasks");
        see(&mut reindex, Observation::TooLargeToCompare { side: "source", limit: 32 << 20 }, 6);
        assert_eq!(failed(&reindex), "DocumentTooLarge");
    }

    #[test]
    fn what_is_copied_again_is_cancelled_where_it_ends_meanwhile_and_finished_where_it_is_suspended() {
        let mut reindex = to_be_verified(json!({"level": "Identity", "onMismatch": "Repair"}));
        see(&mut reindex, verified(6, 5, Some(lacking("x"))), 10);
        settled(&mut reindex, Outcome::Mended, 11);
        settled(&mut reindex, Outcome::Restored, 12);
        reindex.spec.suspend = true;
        assert_eq!(stage(&reindex), Stage::Verify, "it is brought to its end");
        reindex.spec.suspend = false;
        see(&mut reindex, Observation::AccessWithdrawn("the grant is gone".into()), 13);
        assert_eq!((failed(&reindex), stage(&reindex)), ("AccessWithdrawn".into(), Stage::Release));
        let running = Release { running: vec!["n:1".into()], ..Release::default() };
        let decision = see(&mut reindex, Observation::Release(running), 14);
        assert_eq!(decision.effect, Some(Effect::CancelTasks(vec!["n:1".into()])));
        let decision = see(&mut reindex, Observation::Release(Release::default()), 15);
        assert_eq!(decision.status.verification.unwrap().verdict, Verdict::Failed);
        assert_eq!(stage(&reindex), Stage::Finished);
    }

    #[test]
    fn a_source_that_moved_is_told_apart_from_a_loss() {
        let mut reindex = to_be_verified(json!({"level": "Identity"}));
        see(&mut reindex, verified(6, 6, Some(lacking("x"))), 5);
        assert_eq!(failed(&reindex), "SourceChanging");
    }

    #[test]
    fn how_far_a_comparison_is_is_said_every_ten_seconds() {
        let mut reindex = to_be_verified(json!({"level": "Identity"}));
        let seen = |read| Observation::Proving(Proving { read, total: 12 });
        let before = reindex.status.clone();
        see(&mut reindex, seen(1), 5);
        assert_eq!(reindex.status, before);
        let decision = see(&mut reindex, seen(7), 30);
        assert_eq!(decision.status.progress.as_ref().unwrap().documents_verified, Some(7));
        let step = decision.status.steps.last().unwrap().clone();
        assert!(step.message.unwrap().contains("7 of 12"));
        let decision = see(&mut reindex, seen(8), 31);
        assert_eq!(decision.status.progress.unwrap().documents_verified, Some(7));
    }
}
