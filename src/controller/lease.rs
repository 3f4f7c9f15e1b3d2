//! One instance leads. Nothing hangs on that for correctness: every effect may be repeated, and every write of a status has its
//! resourceVersion. It keeps two instances from doing everything twice.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::{
    api::FIELD_MANAGER,
    plan::lease::{DEADLINE, DURATION, RETRY, Step, step},
};

/// Why the lease was not written.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("failed to read the lease: {0}")]
    Read(kube::Error),
    #[error("failed to write the lease: {0}")]
    Write(kube::Error),
}

/// The candidacy of one instance.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    /// The lease as it was seen last, and since when it is so.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    /// `identity` must be another one for each process: a pod's name is.
    pub fn new(client: Client, namespace: &str, identity: &str) -> Candidate {
        Candidate { api: Api::namespaced(client, namespace), identity: identity.to_owned(), seen: None }
    }

    /// Waits until this instance leads.
    pub async fn elected(&mut self) {
        loop {
            match self.look().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "who leads is not known"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews the lease until that is no longer possible: another instance may lead then.
    pub async fn deposed(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < DEADLINE {
            tokio::time::sleep(RETRY).await;
            let begin = Instant::now();
            match tokio::time::timeout(DEADLINE.saturating_sub(renewed.elapsed()), self.look()).await {
                Ok(Ok(true)) => renewed = begin,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the lease is not renewed"),
                Err(_) => return,
            }
        }
    }

    /// Gives the lease back, so that the next instance need not wait for it to run out; where that fails, it has to.
    pub async fn resign(self) {
        let given_back = async {
            match self.read().await? {
                Some(lease) if self.holds(&lease) => self.write(lease, |spec| *spec = LeaseSpec::default()).await,
                _ => Ok(false),
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(3), given_back).await {
            tracing::warn!(%error, "the lease is not given back");
        }
    }

    /// Looks at the lease, and takes or renews it where that is due. Whether it is this instance's then.
    async fn look(&mut self) -> Result<bool, Fault> {
        let Some(lease) = self.read().await? else { return self.create().await };
        let spec = lease.spec.clone().unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        match step(&spec, self.unchanged(&spec), &self.identity) {
            Step::Wait => Ok(false),
            Step::Renew => self.write(lease, |spec| spec.renew_time = Some(now)).await,
            Step::Take => {
                let (taken, transitions) = (self.taken(now), spec.lease_transitions.unwrap_or_default());
                self.write(lease, |spec| *spec = LeaseSpec { lease_transitions: Some(transitions + 1), ..taken }).await
            }
        }
    }

    fn taken(&self, now: MicroTime) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity)
    }

    /// For how long it has been like this.
    fn unchanged(&mut self, spec: &LeaseSpec) -> Duration {
        match &self.seen {
            Some((seen, since)) if seen == spec => since.elapsed(),
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    async fn read(&self) -> Result<Option<Lease>, Fault> {
        self.api.get_opt(FIELD_MANAGER).await.map_err(Fault::Read)
    }

    async fn create(&self) -> Result<bool, Fault> {
        let metadata = ObjectMeta { name: Some(FIELD_MANAGER.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.taken(MicroTime(Timestamp::now()))) };
        won(self.api.create(&params(), &lease).await)
    }

    /// Under the resourceVersion that was read: of two who write, one is refused.
    async fn write(&self, mut lease: Lease, change: impl FnOnce(&mut LeaseSpec)) -> Result<bool, Fault> {
        change(lease.spec.get_or_insert_default());
        won(self.api.replace(FIELD_MANAGER, &params(), &lease).await)
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn won(written: kube::Result<Lease>) -> Result<bool, Fault> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(Fault::Write(error)),
    }
}
