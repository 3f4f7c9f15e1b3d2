//! Events: one for each step of an object, for people who `kubectl describe` it; each is a line of the log, and counted.

use std::time::Duration;

use futures::{
    StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
    future::join_all,
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder},
};
use tokio::time::timeout;

use crate::{plan::report::Note, text::one_line};

use super::context::Context;

/// How many are written at once. Those of one object one after the other: they keep their order, and those that repeat are counted.
const LANES: usize = 4;
/// How long one may take before the next has its turn.
const PATIENCE: Duration = Duration::from_secs(10);

type Lane = UnboundedReceiver<(Event, ObjectReference)>;

/// Where events are told; they are written beside the passes. Names and short texts of what was done are few beside what it took to do
/// it, so there is no limit.
#[derive(Clone)]
pub struct Events([UnboundedSender<(Event, ObjectReference)>; LANES]);

/// Events that were told and are not written yet.
pub type Queued = [Lane; LANES];

/// Where events are told, and where they come out.
pub fn events() -> (Events, Queued) {
    let lanes = [(); LANES].map(|()| unbounded());
    let senders = lanes.each_ref().map(|(sender, _)| sender.clone());
    (Events(senders), lanes.map(|(_, receiver)| receiver))
}

impl Events {
    fn tell(&self, event: Event, object: ObjectReference) {
        let name = object.uid.as_deref().unwrap_or_default();
        let lane = name.bytes().map(usize::from).sum::<usize>() % LANES;
        // Who writes them ends only when everything does.
        let _ = self.0[lane].unbounded_send((event, object));
    }

    /// Nothing is told any more: [`write()`] ends with what was.
    pub fn end(&self) {
        self.0.iter().for_each(UnboundedSender::close_channel);
    }
}

/// Tells it.
pub fn tell<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: Note) {
    let Note { warning, reason, message } = note;
    let mut message = one_line(&message);
    let (kind, namespace, name, uid) = (K::kind(&()), object.namespace(), object.name_any(), object.uid());
    match warning {
        true => tracing::warn!(%kind, namespace, name, uid, reason, "{message}"),
        false => tracing::info!(%kind, namespace, name, uid, reason, "{message}"),
    }
    ctx.metrics.told(&kind, warning, reason);
    // The API allows 1024 bytes.
    while message.len() > 1000 {
        message.pop();
    }
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.to_owned(),
        note: Some(message),
        action: reason.to_owned(),
        secondary: None,
    };
    ctx.events.tell(event, object.object_ref(&()));
}

/// Writes what is told, until nothing can be told any more.
pub async fn write(told: Queued, recorder: &Recorder) {
    let each = |(event, object)| write_one(recorder, event, object);
    join_all(told.map(|lane| lane.for_each(each))).await;
}

/// One that can't be written is logged and forgotten: nothing may hang on it.
pub async fn write_one(recorder: &Recorder, event: Event, object: ObjectReference) {
    let error = match timeout(PATIENCE, recorder.publish(&event, &object)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    let ObjectReference { kind, namespace, name, uid, .. } = object;
    tracing::warn!(kind, namespace, name, uid, reason = event.reason, error, "an event was not written");
}
