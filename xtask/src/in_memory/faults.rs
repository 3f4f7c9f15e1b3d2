//! Every call that the operator makes, and what goes wrong with one of them.

use std::{
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

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator is killed before the call has an effect.
    KilledBefore,
    /// The call does what it does, and the operator is killed before it hears the answer.
    KilledAfter,
    /// The call is answered with HTTP status 503, and has no effect.
    Refused,
    /// The call does what it does, and is answered with HTTP status 503 all the same, as by a proxy that gave up waiting.
    AnswerLost,
    /// The operator is frozen before the call has an effect, which it has when the operator thaws.
    Frozen,
}

/// Shared by the apiserver and the engines: notes every call, and makes one of them go wrong.
pub struct Faults {
    state: Mutex<State>,
    dead: watch::Sender<bool>,
    frozen: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    journal: Vec<Call>,
    /// How many calls until the fault, and the fault.
    planned: Option<(usize, Fault)>,
    /// The call that it hit.
    hit: Option<Call>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { state: Mutex::default(), dead: watch::Sender::new(false), frozen: watch::Sender::new(false) }
    }
}

impl Faults {
    /// Makes the `n`-th call from here on go wrong, counted from 1.
    pub fn plan(&self, n: usize, fault: Fault) {
        let mut state = self.state();
        state.planned = Some((n, fault));
        state.hit = None;
    }

    /// The call that went wrong; None if there were not that many.
    pub fn hit(&self) -> Option<Call> {
        self.state().hit.clone()
    }

    /// Resolves when the operator is dead. Whoever drives it drops its futures then.
    pub async fn died(&self) {
        let mut dead = self.dead.subscribe();
        // The sender lives as long as `self`.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// A new process takes over.
    pub fn revive(&self) {
        self.dead.send_replace(false);
    }

    /// Resolves when the operator is frozen. Whoever drives it lets another process take over then.
    pub async fn froze(&self) {
        let mut frozen = self.frozen.subscribe();
        let _ = frozen.wait_for(|frozen| *frozen).await;
    }

    /// The frozen process goes on.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Every call so far.
    pub fn journal(&self) -> Vec<Call> {
        self.state().journal.clone()
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.state().journal.clear();
    }

    /// Makes one call: `effect`, or `refuse` where it is refused. Never returns once the operator is dead.
    pub async fn call<T>(&self, call: Call, effect: impl FnOnce() -> T, refuse: impl FnOnce() -> T) -> T {
        if *self.dead.borrow() {
            return std::future::pending().await;
        }
        match self.enter(call) {
            None => effect(),
            Some(Fault::Refused) => refuse(),
            Some(Fault::AnswerLost) => {
                effect();
                refuse()
            }
            Some(Fault::Frozen) => {
                self.frozen.send_replace(true);
                let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
                effect()
            }
            Some(Fault::KilledBefore) => self.die().await,
            Some(Fault::KilledAfter) => {
                effect();
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.dead.send_replace(true);
        std::future::pending().await
    }

    fn enter(&self, call: Call) -> Option<Fault> {
        let mut state = self.state();
        state.journal.push(call.clone());
        let (left, fault) = state.planned.take()?;
        if left > 1 {
            state.planned = Some((left - 1, fault));
            return None;
        }
        state.hit = Some(call);
        Some(fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
