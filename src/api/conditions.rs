//! The conditions that the operator sets, with their polarity, and how they are set.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::text::one_line;

/// Summary: True when a Reindex is complete, or a SearchCluster is reachable; Unknown while a Reindex runs. Positive.
pub const READY: &str = "Ready";
/// Reindex: every check before the start passed. Positive.
pub const VALIDATED: &str = "Validated";
/// Reindex: copied, and the verification that was asked for held. Positive, terminal.
pub const COMPLETE: &str = "Complete";
/// Reindex with `spec.dryRun`: every check passed, and nothing was copied. Positive, terminal; absent otherwise.
pub const PLANNED: &str = "Planned";
/// Reindex: ended without success; the reason says why. Negative, terminal.
pub const FAILED: &str = "Failed";
/// Reindex: `spec.suspend` is true, or the operator is being uninstalled, and nothing runs. Present once it was suspended.
pub const SUSPENDED: &str = "Suspended";
/// SearchCluster: the allowlist holds every entry that Reindexes need, on every node. Positive.
pub const ALLOWLIST_READY: &str = "AllowlistReady";
/// kstatus: work goes on. Present only when True.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: nothing goes on until somebody acts. Present only when True.
pub const STALLED: &str = "Stalled";

/// `True`, `False` or `Unknown`, as in `metav1.Condition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::True => "True",
            State::False => "False",
            State::Unknown => "Unknown",
        }
    }
}

/// The longest message that a condition carries, in bytes; the API allows 32,768, a status must stay readable.
pub const MAX_MESSAGE: usize = 2048;

/// Sets one condition; `lastTransitionTime` moves only when the state does.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    state: State,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    let message = bounded(message);
    let previous = conditions.iter().position(|c| c.type_ == type_);
    let last_transition_time = match previous.map(|i| &conditions[i]) {
        Some(c) if c.status == state.as_str() => c.last_transition_time.clone(),
        _ => Time(now),
    };
    let condition = Condition {
        type_: type_.to_owned(),
        status: state.as_str().to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(generation),
        last_transition_time,
    };
    match previous {
        Some(i) => conditions[i] = condition,
        None => conditions.push(condition),
    }
}

/// Removes a condition that is present only when True.
pub fn clear(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|c| c.type_ != type_);
}

/// The condition of this type, if set.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// Whether the condition is set and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    get(conditions, type_).is_some_and(|c| c.status == "True")
}

/// The message on one line of at most [`MAX_MESSAGE`] bytes, cut at a character's border.
pub fn bounded(message: &str) -> String {
    let message = one_line(message);
    if message.len() <= MAX_MESSAGE {
        return message;
    }
    let mut end = MAX_MESSAGE - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_with_the_state() {
        let mut conditions = vec![];
        set(&mut conditions, READY, State::Unknown, "Copying", "1 %", 1, at(1));
        set(&mut conditions, READY, State::Unknown, "Verifying", "2 %", 1, at(2));
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        assert_eq!(conditions[0].reason, "Verifying");
        set(&mut conditions, READY, State::True, "Complete", "", 1, at(3));
        assert_eq!(conditions[0].last_transition_time, Time(at(3)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let cut = bounded(&"ü".repeat(MAX_MESSAGE));
        assert!(cut.len() <= MAX_MESSAGE && cut.ends_with('…'));
    }

    #[test]
    fn a_message_is_one_line_that_draws_nothing() {
        assert_eq!(bounded("a\u{1b}[2J\nb"), "a [2J b");
    }
}
