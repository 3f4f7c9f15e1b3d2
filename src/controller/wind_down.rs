//! Winding down, from both ends: what the leader does when it is asked to, and what whoever is about to take it away runs until that is done.

use std::{fmt::Debug, future::pending, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    api::{FIELD_MANAGER, write_params},
    plan::{
        lease::DURATION,
        scope::Scope,
        wind_down::{ask, is_heard, left_of_cluster, left_of_reindex},
        words::first_names,
    },
};

use super::{error::Error, scope::apis};

/// How often it is asked for, and looked how far it is.
const PAUSE: Duration = Duration::from_secs(3);
/// How long one look may take: a connection whose other end is gone would be waited for for ever.
const LOOK: Duration = Duration::from_secs(30);
/// So many of what is left are named.
const NAMED: usize = 12;
/// Objects in one answer.
const PAGE: u32 = 100;

/// Why it is not wound down.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something is left.
    #[error(
        "failed to wind down in {} s. Left: {}. Run it again when that has ended. To go without leaves it on the clusters as it is (docs/install.md, Uninstall)",
        patience.as_secs(), first_names(left, NAMED)
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
        error: String,
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
    loop {
        let looked = timeout(LOOK, look(&client, scope, &mut asking)).await;
        let left = match looked {
            Ok(left) => left.map_err(|error| error.to_string()),
            Err(_) => Err(format!("the apiserver has not answered for {} s", LOOK.as_secs())),
        };
        let is_over = begun.elapsed() >= patience;
        match left {
            Ok(left) if left.is_empty() => return Ok(()),
            Ok(left) if is_over => return Err(Fault::Left { patience, left }),
            Err(error) if is_over => return Err(Fault::Unknown { patience, error }),
            Ok(left) => tracing::info!(left = first_names(&left, NAMED), "winding down"),
            Err(error) => tracing::warn!(%error, "how far it is is not known"),
        }
        sleep(PAUSE).await;
    }
}

/// What is left. That nobody has heard yet is, too: a task may begin.
async fn look(client: &Client, scope: &Scope, asking: &mut Asking) -> Result<Vec<String>, Error> {
    if !asking.ask().await? {
        return Ok(vec!["the operator has not heard of it yet".to_owned()]);
    }
    let mut left = all(client, scope, "list the Reindexes", left_of_reindex).await?;
    left.extend(all(client, scope, "list the SearchClusters", left_of_cluster).await?);
    Ok(left)
}

/// What is left of every object of a kind. They are read some at a time: of thousands each is as large as when it ran.
async fn all<K>(
    client: &Client,
    scope: &Scope,
    action: &'static str,
    left: impl Fn(&K) -> Option<String>,
) -> Result<Vec<String>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let mut found = vec![];
    for (_, api) in apis::<K>(client, scope) {
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = match api.list(&params).await {
                // Where the definition is gone, so are the objects.
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                page => page.map_err(Error::kube(action))?,
            };
            found.extend(page.items.iter().filter_map(&left));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(found)
}

struct Asking {
    api: Api<Lease>,
    first: Option<First>,
}

/// The first asking, and how the lease was then.
struct First {
    at: Instant,
    until: Timestamp,
    renewed: Option<MicroTime>,
}

impl Asking {
    /// Asks, for as long as that holds. Whether whoever leads has heard it, or nobody leads.
    async fn ask(&mut self) -> Result<bool, Error> {
        let lease = self.api.get_opt(FIELD_MANAGER).await.map_err(Error::kube("read the lease"))?;
        let Some(mut lease) = lease else { return Ok(true) };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let is_heard = self.first.as_ref().is_some_and(|first| {
            is_heard(lease.annotations(), first.until, Timestamp::now())
                || (first.renewed == renewed && first.at.elapsed() > DURATION)
        });
        let until = ask(lease.annotations_mut(), Timestamp::now());
        match self.api.replace(FIELD_MANAGER, &write_params(), &lease).await.map_err(Error::kube("write the lease")) {
            // Renewed at this very moment. What was asked before still holds.
            Err(error) if error.is_conflict() => {}
            written => {
                written?;
                self.first.get_or_insert_with(|| First { at: Instant::now(), until, renewed });
            }
        }
        Ok(is_heard)
    }
}
