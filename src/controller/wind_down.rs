//! Winding down, from both ends: what the leader does when it is asked to, and what whoever is about to take it away runs until that is done.

use std::{fmt::Debug, future::pending, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    api::FIELD_MANAGER,
    plan::{
        lease::DURATION,
        scope::Scope,
        wind_down::{ask, left},
    },
};

use super::{error::Error, scope::list};

/// How often it is asked for, and looked how far it is.
const PAUSE: Duration = Duration::from_secs(3);
/// So many looks in a row find nothing left: what a pass had decided just before it heard is written by then.
const QUIET_LOOKS: usize = 2;

/// Why it is not wound down.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something is left.
    #[error(
        "failed to wind down in {} s. Left: {}. Run it again when that has ended, or go without: what is left stays as it is then",
        patience.as_secs(), left.join("; ")
    )]
    Left {
        /// How long it was waited for.
        patience: Duration,
        /// What.
        left: Vec<String>,
    },
    /// What is left is not known.
    #[error("failed to see within {} s whether anything is left: {error}", patience.as_secs())]
    Unknown {
        /// How long it was tried.
        patience: Duration,
        /// The last trouble.
        error: Error,
    },
}

/// Has every object looked at again when the operator is to be wound down, and when it no longer is.
pub async fn heed(mut winding_down: watch::Receiver<bool>, look_at_all: impl Fn()) {
    while winding_down.changed().await.is_ok() {
        match *winding_down.borrow_and_update() {
            true => tracing::info!("winding down: every Reindex is suspended, and no restart begins"),
            false => tracing::info!("not winding down any more"),
        }
        look_at_all();
    }
    pending().await
}

/// Asks the operator of this namespace to wind down, and waits until nothing is left to be ended or put back in `scope`.
///
/// # Errors
/// Something is left after `patience`, or it is not known what.
pub async fn wind_down(client: Client, namespace: &str, scope: &Scope, patience: Duration) -> Result<(), Fault> {
    let begun = Instant::now();
    let mut asking = Asking { api: Api::namespaced(client.clone(), namespace), first: None };
    let mut quiet = 0;
    loop {
        let seen = look(&client, scope, &mut asking).await;
        quiet = match &seen {
            Ok(Seen { heard: true, left }) if left.is_empty() => quiet + 1,
            _ => 0,
        };
        if quiet == QUIET_LOOKS {
            return Ok(());
        }
        match seen {
            Ok(Seen { left, .. }) if begun.elapsed() >= patience && !left.is_empty() => {
                return Err(Fault::Left { patience, left });
            }
            Err(error) if begun.elapsed() >= patience => return Err(Fault::Unknown { patience, error }),
            Ok(seen) => tracing::info!(heard = seen.heard, left = seen.left.join("; "), "winding down"),
            Err(error) => tracing::warn!(%error, "how far it is is not known"),
        }
        sleep(PAUSE).await;
    }
}

struct Seen {
    heard: bool,
    left: Vec<String>,
}

async fn look(client: &Client, scope: &Scope, asking: &mut Asking) -> Result<Seen, Error> {
    let heard = asking.ask().await?;
    let reindexes = all(client, scope, "list the Reindexes").await?;
    let clusters = all(client, scope, "list the SearchClusters").await?;
    Ok(Seen { heard, left: left(&reindexes, &clusters) })
}

/// Every object of a kind; where its definition is gone, so are the objects.
async fn all<K>(client: &Client, scope: &Scope, action: &'static str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    match list(client, scope, action).await {
        Err(Error::Kube { source: kube::Error::Api(status), .. }) if status.code == 404 => Ok(vec![]),
        listed => listed,
    }
}

struct Asking {
    api: Api<Lease>,
    /// When it was first asked for, and when the lease had been renewed then.
    first: Option<(Instant, Option<MicroTime>)>,
}

impl Asking {
    /// Asks, for as long as that holds. Whether whoever leads has heard an earlier asking: nobody renews the lease without having read
    /// it; and where it is not renewed, nobody leads.
    async fn ask(&mut self) -> Result<bool, Error> {
        let lease = self.api.get_opt(FIELD_MANAGER).await.map_err(Error::kube("read the lease"))?;
        let Some(mut lease) = lease else { return Ok(true) };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        ask(lease.annotations_mut(), Timestamp::now());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.api.replace(FIELD_MANAGER, &params, &lease).await.map_err(Error::kube("write the lease")) {
            // Renewed at this very moment. What was asked before still holds.
            Err(error) if error.is_conflict() => {}
            written => {
                written?;
                self.first.get_or_insert_with(|| (Instant::now(), renewed.clone()));
            }
        }
        Ok(self.first.as_ref().is_some_and(|(since, before)| *before != renewed || since.elapsed() > DURATION))
    }
}
