//! Who leads, by a Lease: what one instance does about what it sees of it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;

/// How long a lease holds without being renewed. Whoever takes over waits so long, and no longer than a retry more.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long a holder that can't renew it goes on: it has stopped before another may begin.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
pub const RETRY: Duration = Duration::from_secs(2);

/// How long one look at it may take: a holder whose look hangs has time for another.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is ours: renew it.
    Renew,
    /// Nobody holds it, or its holder is gone: take it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// What follows from a lease that has been as it is for so long, by the clock of the one who looks: other clocks may be wrong.
pub fn step(lease: &LeaseSpec, unchanged: Duration, identity: &str) -> Step {
    match lease.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) if unchanged >= duration(lease) => Step::Take,
        Some(_) => Step::Wait,
    }
}

/// What its holder promised.
fn duration(lease: &LeaseSpec) -> Duration {
    lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DURATION, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: Option<&str>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(30),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn what_nobody_holds_is_taken() {
        assert_eq!(step(&LeaseSpec::default(), Duration::ZERO, "a"), Step::Take);
        assert_eq!(step(&held_by(Some("")), Duration::ZERO, "a"), Step::Take);
    }

    #[test]
    fn ones_own_is_renewed_however_old_it_is() {
        assert_eq!(step(&held_by(Some("a")), Duration::from_secs(3600), "a"), Step::Renew);
    }

    #[test]
    fn anothers_is_taken_only_when_what_its_holder_promised_is_over() {
        assert_eq!(step(&held_by(Some("b")), Duration::from_secs(29), "a"), Step::Wait);
        assert_eq!(step(&held_by(Some("b")), Duration::from_secs(30), "a"), Step::Take);
        let without = LeaseSpec { lease_duration_seconds: None, ..held_by(Some("b")) };
        assert_eq!(step(&without, DURATION - RETRY, "a"), Step::Wait);
        assert_eq!(step(&without, DURATION, "a"), Step::Take);
    }

    #[test]
    fn a_holder_stops_before_another_begins() {
        assert!(DEADLINE + RETRY < DURATION);
    }

    #[test]
    fn a_holder_whose_look_hangs_looks_again_before_it_gives_up() {
        assert!(RETRY + PATIENCE + RETRY < DEADLINE);
    }
}
