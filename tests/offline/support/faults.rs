//! Every call that the operator makes, and the moment at which it is killed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::watch;

/// One call of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `apiserver`, or the engine's name.
    pub to: String,
    /// HTTP method.
    pub verb: String,
    /// Path, without the query.
    pub path: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.to, self.verb, self.path)
    }
}

/// Whether the call at which the operator dies still has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The call was never made.
    Before,
    /// The call did what it does, and nobody heard the answer.
    After,
}

/// Shared by the apiserver and the engines: counts and notes every call, and kills the operator at one of them.
pub struct Faults {
    state: Mutex<State>,
    dead: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    journal: Vec<Call>,
    /// Calls since the last [`Faults::crash`].
    calls: usize,
    crash: Option<(Moment, usize)>,
    /// Answers to be given instead of the next calls to a path.
    refusals: BTreeMap<(String, String), (usize, u16)>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { state: Mutex::default(), dead: watch::Sender::new(false) }
    }
}

impl Faults {
    /// Kills the operator at its `n`-th call from here on, counted from 1.
    pub fn crash(&self, moment: Moment, n: usize) {
        let mut state = self.state();
        state.calls = 0;
        state.crash = Some((moment, n));
    }

    /// Answers the next `times` calls of that verb and path with this HTTP status, without executing them.
    pub fn refuse(&self, verb: &str, path: &str, times: usize, status: u16) {
        self.state().refusals.insert((verb.to_owned(), path.to_owned()), (times, status));
    }

    /// Resolves when the operator is dead. Whoever drives it drops its futures then.
    pub async fn died(&self) {
        let mut dead = self.dead.subscribe();
        // The sender lives as long as `self`.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// A new process takes over.
    pub fn revive(&self) {
        self.state().crash = None;
        self.dead.send_replace(false);
    }

    /// Every call so far.
    pub fn journal(&self) -> Vec<Call> {
        self.state().journal.clone()
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.state().journal.clear();
    }

    /// Makes one call: `effect` unless the operator dies before, `refuse` where a refusal was asked for. Never returns once the
    /// operator is dead.
    pub async fn call<T>(&self, call: Call, effect: impl FnOnce() -> T, refuse: impl FnOnce(u16) -> T) -> T {
        if *self.dead.borrow() {
            return std::future::pending().await;
        }
        let (crash, refusal) = self.enter(call);
        if crash == Some(Moment::Before) {
            self.dead.send_replace(true);
            return std::future::pending().await;
        }
        let answer = match refusal {
            Some(status) => refuse(status),
            None => effect(),
        };
        if crash == Some(Moment::After) {
            self.dead.send_replace(true);
            return std::future::pending().await;
        }
        answer
    }

    fn enter(&self, call: Call) -> (Option<Moment>, Option<u16>) {
        let mut state = self.state();
        state.calls += 1;
        let crash = state.crash.filter(|(_, n)| *n == state.calls).map(|(moment, _)| moment);
        let refusal = match state.refusals.get_mut(&(call.verb.clone(), call.path.clone())) {
            Some((times, status)) if *times > 0 => {
                *times -= 1;
                Some(*status)
            }
            _ => None,
        };
        state.journal.push(call);
        (crash, refusal)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
