//! Comparisons of documents that go on while nobody looks: one a Reindex, in this process only. Where the process ends they are begun
//! again; they read and nothing else.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinHandle},
};

use crate::{
    plan::{comparison::Compared, reindex::Proving, validate::Trouble},
    telemetry::waits::waiting,
    verify::{Fault, Job, Pace},
};

/// Comparisons that read at once; each holds some pages in memory. The others wait, and nothing is set aside for them.
const AT_ONCE: usize = 4;
/// How long a look waits for the end: what is small is through by then.
const WAIT: Duration = Duration::from_secs(1);

/// All that go on, by the UID of their Reindex.
pub struct Proofs {
    all: Mutex<HashMap<String, Proof>>,
    turns: Arc<Semaphore>,
    open: Arc<Mutex<HashMap<String, i32>>>,
}

impl Default for Proofs {
    fn default() -> Proofs {
        Proofs { all: Mutex::default(), turns: Arc::new(Semaphore::new(AT_ONCE)), open: Arc::default() }
    }
}

/// Scrolls that a comparison may hold open, by the UUID of their cluster. They count until this is dropped.
pub struct Open {
    all: Arc<Mutex<HashMap<String, i32>>>,
    own: Vec<(String, i32)>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        for (cluster, scrolls) in &self.own {
            if let Some(open) = all.get_mut(cluster) {
                *open -= scrolls;
            }
        }
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
    /// So did this one, by a fault of this program.
    Broken(JoinError),
    /// This side has a document that alone has more bytes than are read of an answer: it never comes to an end.
    TooLarge(&'static str, usize),
}

impl Proofs {
    /// Scrolls that comparisons may hold open on a cluster.
    pub fn open_on(&self, cluster: &str) -> i32 {
        lock(&self.open).get(cluster).copied().unwrap_or_default()
    }

    /// Sets scrolls aside, as `decide` wants it, which is told how many there are on a cluster: of two that ask at once the second one sees
    /// what the first was given.
    pub fn set_aside<T>(
        &self,
        decide: impl FnOnce(&dyn Fn(&str) -> i32) -> Option<(T, Vec<(String, i32)>)>,
    ) -> Option<(T, Open)> {
        let mut all = lock(&self.open);
        let (decided, own) = decide(&|cluster: &str| all.get(cluster).copied().unwrap_or_default())?;
        for (cluster, scrolls) in &own {
            *all.entry(cluster.clone()).or_default() += scrolls;
        }
        Some((decided, Open { all: self.open.clone(), own }))
    }

    /// A turn, until it is dropped; None where others have them all, and go on for more than a moment. It is taken before scrolls are set
    /// aside: a comparison that waited with scrolls would keep copies from a cluster that it doesn't read yet.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let _waiting = waiting();
        tokio::time::timeout(WAIT, self.turns.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Begins one, in place of any other of that Reindex. Its turn and the scrolls that were set aside for it are free again when it ends,
    /// however that is.
    pub fn start(&self, uid: &str, job: Job, turn: OwnedSemaphorePermit, open: Open) {
        let pace = job.pace.clone();
        let task = tokio::spawn(async move {
            let _held = (turn, open);
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
        let _waiting = waiting();
        let look = match tokio::time::timeout(WAIT, &mut proof.task).await {
            Err(_) => Look::Running(progress(&proof.pace)),
            Ok(Ok(Ok(compared))) => {
                proof.ended = Some(compared.clone());
                Look::Ended(compared)
            }
            Ok(Ok(Err(fault))) => {
                return match fault.too_large() {
                    Some((side, limit)) => Look::TooLarge(side, limit),
                    None => Look::Failed(Trouble { reason: fault.reason(), message: fault.to_string() }),
                };
            }
            Ok(Err(broken)) => return Look::Broken(broken),
        };
        self.all().insert(uid.to_owned(), proof);
        look
    }

    /// Ends it, if one goes on, and forgets what it came to.
    pub fn stop(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Ends those whose Reindex is gone. One that goes in its own way is stopped by its last passes; one whose finalizer somebody took off by
    /// hand has none.
    pub fn keep(&self, known: &HashSet<String>) {
        self.all().retain(|uid, _| known.contains(uid));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Proof>> {
        lock(&self.all)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
