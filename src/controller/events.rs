//! Events: one for each step of an object, for people who `kubectl describe` it; each is a line of the log, and counted.

use kube::{
    Resource, ResourceExt,
    runtime::events::{Event, EventType},
};

use crate::{plan::report::Note, text::one_line};

use super::context::Context;

/// Tells it. An event that can't be written is logged and forgotten: nothing may hang on it.
pub async fn tell<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: Note) {
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
    if let Err(error) = ctx.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::warn!(%kind, namespace, name, uid, reason, %error, "an event was not written");
    }
}
