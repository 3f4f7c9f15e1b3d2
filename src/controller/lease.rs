//! One instance leads. Nothing hangs on that for correctness: every effect may be repeated, and every write of a status has its
//! resourceVersion. It keeps two instances from doing everything twice.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{Api, Client, ResourceExt, api::ObjectMeta};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{FIELD_MANAGER, write_params},
    plan::{
        lease::{DEADLINE, DURATION, PATIENCE, RETRY, Step, step},
        wind_down,
    },
};

/// Why the lease was not written.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("failed to read the lease: {0}")]
    Read(kube::Error),
    #[error("failed to write the lease: {0}")]
    Write(kube::Error),
    #[error("somebody else wrote the lease while it was renewed")]
    Changed,
    #[error("failed to read or write the lease: the apiserver has not answered for {} s", PATIENCE.as_secs())]
    Silence,
}

/// The candidacy of one instance.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    /// Whether the apiserver answered when it was last asked for the lease.
    in_touch: watch::Sender<bool>,
    /// Whether the lease says that the operator is about to be uninstalled.
    winding_down: watch::Sender<bool>,
    /// The lease as it was seen last, and since when it is so.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    /// `identity` must be another one for each process: a pod's name is. Whether the apiserver answers, and whether the operator is to be
    /// wound down, is told at each look.
    pub fn new(
        client: Client,
        namespace: &str,
        identity: &str,
        in_touch: watch::Sender<bool>,
        winding_down: watch::Sender<bool>,
    ) -> Candidate {
        let api = Api::namespaced(client, namespace);
        Candidate { api, identity: identity.to_owned(), in_touch, winding_down, seen: None }
    }

    /// Waits until this instance leads; for as long as that takes, be there an apiserver or not.
    pub async fn elected(&mut self) {
        loop {
            match self.look_within(PATIENCE).await {
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
            match self.look_within(PATIENCE.min(DEADLINE.saturating_sub(renewed.elapsed()))).await {
                Ok(true) => renewed = begin,
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "the lease is not renewed"),
            }
        }
    }

    /// Gives the lease back, so that the next instance need not wait for it to run out; where that fails, it has to. How often it went from
    /// one to another stays in it.
    pub async fn resign(self) {
        let given_back = async {
            match self.read().await? {
                Some(lease) if self.holds(&lease) => self.write(lease, let_go).await,
                _ => Ok(false),
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(3), given_back).await {
            tracing::warn!(%error, "the lease is not given back");
        }
    }

    /// Looks, for so long at most: a connection whose other end is gone would be waited for for ever.
    async fn look_within(&mut self, limit: Duration) -> Result<bool, Fault> {
        let looked = tokio::time::timeout(limit, self.look()).await.unwrap_or(Err(Fault::Silence));
        self.in_touch.send_replace(matches!(looked, Ok(_) | Err(Fault::Changed)));
        looked
    }

    /// Looks at the lease, and takes or renews it where that is due. Whether it is this instance's then.
    async fn look(&mut self) -> Result<bool, Fault> {
        let Some(mut lease) = self.read().await? else { return self.create().await };
        let spec = lease.spec.clone().unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let asked = wind_down::heed(lease.annotations_mut(), now.0);
        self.winding_down.send_if_modified(|before| std::mem::replace(before, asked) != asked);
        match step(&spec, self.unchanged(&spec), &self.identity) {
            Step::Wait => Ok(false),
            // Whoever else wrote it need not be one who leads now: the next look tells.
            Step::Renew => match self.write(lease, |spec| spec.renew_time = Some(now)).await? {
                true => Ok(true),
                false => Err(Fault::Changed),
            },
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
        won(self.api.create(&write_params(), &lease).await)
    }

    /// Under the resourceVersion that was read: of two who write, one is refused.
    async fn write(&self, mut lease: Lease, change: impl FnOnce(&mut LeaseSpec)) -> Result<bool, Fault> {
        change(lease.spec.get_or_insert_default());
        won(self.api.replace(FIELD_MANAGER, &write_params(), &lease).await)
    }
}

fn let_go(spec: &mut LeaseSpec) {
    *spec = LeaseSpec { lease_transitions: spec.lease_transitions, ..LeaseSpec::default() };
}

fn won(written: kube::Result<Lease>) -> Result<bool, Fault> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(Fault::Write(error)),
    }
}
