//! Events: one for each step of an object, for people who `kubectl describe` it; each is a line of the log, and counted.

use futures::{
    StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder},
};

use crate::{plan::report::Note, text::one_line};

use super::context::Context;

/// How many are written at once: as soon as possible, and never in the way of what they tell of.
const AT_ONCE: usize = 4;

/// Where events are told; written they are beside the passes. One follows from a write that was taken, so there is no limit: an apiserver
/// that takes the one takes the other.
#[derive(Clone)]
pub struct Events(UnboundedSender<(Event, ObjectReference)>);

/// Events that were told and are not written yet.
pub type Told = UnboundedReceiver<(Event, ObjectReference)>;

/// Where events are told, and where they come out.
pub fn events() -> (Events, Told) {
    let (events, told) = unbounded();
    (Events(events), told)
}

impl Events {
    /// Nothing is told any more: [`write()`] ends with what was.
    pub fn end(&self) {
        self.0.close_channel();
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
    // Who writes them ends only when everything does.
    let _ = ctx.events.0.unbounded_send((event, object.object_ref(&())));
}

/// Writes what is told, until nothing can be told any more.
pub async fn write(told: Told, recorder: &Recorder) {
    told.for_each_concurrent(AT_ONCE, |(event, object)| write_one(recorder, event, object)).await;
}

/// One that can't be written is logged and forgotten: nothing may hang on it.
pub async fn write_one(recorder: &Recorder, event: Event, object: ObjectReference) {
    if let Err(error) = recorder.publish(&event, &object).await {
        let ObjectReference { kind, namespace, name, uid, .. } = object;
        tracing::warn!(kind, namespace, name, uid, reason = event.reason, %error, "an event was not written");
    }
}
