//! Comparisons of documents that go on while nobody looks: one a Reindex, in this process only. Where the process ends they are begun
//! again; they read and nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinHandle};

use crate::{
    plan::{comparison::Compared, reindex::Proving, validate::Trouble},
    verify::{Fault, Job, Pace},
};

/// Comparisons that read at once; each holds some pages in memory. The others wait.
const AT_ONCE: usize = 4;
/// How long a look waits for the end: what is small is through by then.
const WAIT: Duration = Duration::from_secs(1);

/// All that go on, by the UID of their Reindex.
pub struct Proofs {
    all: Mutex<HashMap<String, Proof>>,
    turns: Arc<Semaphore>,
}

impl Default for Proofs {
    fn default() -> Proofs {
        Proofs { all: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// One that goes on, or has ended. Dropping it ends it.
struct Proof {
    pace: Arc<Pace>,
    task: JoinHandle<Result<Compared, Fault>>,
    ended: Option<Compared>,
}

/// What a look found.
pub enum Look {
    /// None goes on.
    Idle,
    /// It goes on.
    Running(Proving),
    /// It came to an end. Its outcome is kept until it is [stopped](Proofs::stop).
    Ended(Compared),
    /// It came to none, and is forgotten.
    Failed(Trouble),
}

impl Proofs {
    /// Begins one, in place of any other of that Reindex.
    pub fn start(&self, uid: &str, job: Job) {
        let pace = job.pace.clone();
        let turns = self.turns.clone();
        let task = tokio::spawn(async move {
            // It is never closed.
            let _turn = turns.acquire_owned().await;
            job.run().await
        });
        self.all().insert(uid.to_owned(), Proof { pace, task, ended: None });
    }

    /// Looks, and waits a moment for the end. `limit`: how many documents a second it may read from now on.
    pub async fn look(&self, uid: &str, limit: Option<i32>) -> Look {
        let Some(mut proof) = self.all().remove(uid) else { return Look::Idle };
        proof.pace.set_limit(limit);
        if let Some(compared) = proof.ended.clone() {
            self.all().insert(uid.to_owned(), proof);
            return Look::Ended(compared);
        }
        let look = match tokio::time::timeout(WAIT, &mut proof.task).await {
            Err(_) => Look::Running(progress(&proof.pace)),
            Ok(Ok(Ok(compared))) => {
                proof.ended = Some(compared.clone());
                Look::Ended(compared)
            }
            Ok(Ok(Err(fault))) => return Look::Failed(Trouble { reason: fault.reason(), message: fault.to_string() }),
            Ok(Err(broken)) => {
                tracing::error!(%broken, "a comparison of documents broke off");
                return Look::Failed(Trouble {
                    reason: "VerificationBroken",
                    message: "the comparison of documents broke off: the operator's log says why".to_owned(),
                });
            }
        };
        self.all().insert(uid.to_owned(), proof);
        look
    }

    /// Ends it, if one goes on, and forgets what it came to.
    pub fn stop(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Proof>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn progress(pace: &Pace) -> Proving {
    let (read, total) = pace.progress();
    let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
    Proving { read: signed(read), total: signed(total) }
}

impl Drop for Proof {
    fn drop(&mut self) {
        self.task.abort();
    }
}
