//! One watch of each kind for both controllers: what it tells is kept once, without what nobody reads, and wakes who may go on.

use std::{fmt::Debug, pin::pin};

use futures::{
    StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
    stream::{self, select_all},
};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        controller::ReconcileRequest,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::telemetry::metrics::Metrics;

use super::merge::Merge;

/// Objects in one answer while all are read. Each is several times as large until it is trimmed, and what a process has taken up once it
/// seldom gives back.
const PAGE: u32 = 100;
/// `kubectl apply` keeps the whole manifest here once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Where objects to reconcile are named. They are names only, and one that waits already is not queued twice, so there is no limit.
#[derive(Clone)]
pub struct Queue<K: Resource> {
    kind: &'static str,
    names: UnboundedSender<ReconcileRequest<K>>,
    metrics: Metrics,
}

/// The objects that are named there.
pub type Queued<K> = UnboundedReceiver<ReconcileRequest<K>>;

/// A queue of objects of this kind, and its end.
pub fn queue<K: Resource>(kind: &'static str, metrics: &Metrics) -> (Queue<K>, Queued<K>) {
    let (names, queued) = unbounded();
    (Queue { kind, names, metrics: metrics.clone() }, queued)
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Queue<K> {
    /// Names every object that is there.
    pub fn add_all(&self, store: &Store<K>) {
        store.state().iter().for_each(|object| self.add(ObjectRef::from_obj(object.as_ref())));
    }

    fn add(&self, object: ObjectRef<K>) {
        self.metrics.queued(self.kind, object.namespace.as_deref(), &object.name);
        // Who reads a queue ends only when everything does.
        let _ = self.names.unbounded_send(object.into());
    }
}

/// A kind that is watched.
pub trait Watched: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static> Watched for K {}

/// Watches a kind for ever, in one namespace or several. An object that was made or changed is reconciled, and so are those of the other kind that may go on because of
/// it, or because it is gone.
pub async fn watch<K: Watched, O: Watched>(
    apis: Vec<(Option<String>, Api<K>)>,
    writer: Writer<K>,
    own: Queue<K>,
    others: Queue<O>,
    related: impl Fn(&K) -> Vec<ObjectRef<O>>,
) {
    let settings = watcher::Config::default().page_size(PAGE);
    let store = writer.as_reader();
    let mut merge = Merge::of(apis.iter().filter_map(|(namespace, _)| namespace.clone()));
    let several = apis.len() > 1;
    let watches = apis.into_iter().enumerate().map(|(number, (_, api))| {
        let told = watcher(api, settings.clone()).default_backoff().modify(trim);
        told.map(move |event| (number, event)).boxed()
    });
    let merged = select_all(watches).flat_map(|(number, event)| {
        stream::iter(match event {
            // The lists of a single watch are everything that there is.
            Ok(event) if several => merge.take(number, event, &store).into_iter().map(Ok).collect(),
            event => vec![event],
        })
    });
    let mut events = pin!(merged.reflect(writer));
    while let Some(event) = events.next().await {
        let (object, is_there) = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => (object, true),
            Ok(Event::Delete(object)) => (object, false),
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "the watch broke off and is begun again");
                continue;
            }
        };
        if is_there {
            own.add(ObjectRef::from_obj(&object));
        }
        related(&object).into_iter().for_each(|other| others.add(other));
    }
}

/// Takes away what is most of a finished object and is read by nobody here. Whatever is written is a status or a patch, in which the
/// apiserver leaves both as they are.
fn trim(object: &mut impl ResourceExt) {
    object.meta_mut().managed_fields = None;
    object.annotations_mut().remove(LAST_APPLIED);
}
