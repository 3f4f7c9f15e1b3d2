//! Events: one for each step of an object, for people who `kubectl describe` it.

use kube::{Resource, runtime::events::Event};

pub use kube::runtime::events::EventType;

use super::context::Context;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// A step, or something to look after.
    pub type_: EventType,
    /// CamelCase, stable.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Tells it. An event that can't be written is logged and forgotten: nothing may hang on it.
pub async fn publish<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: &Note) {
    // The API allows 1024 bytes.
    let mut message = note.message.clone();
    while message.len() > 1000 {
        message.pop();
    }
    let event = Event {
        type_: note.type_,
        reason: note.reason.to_owned(),
        note: Some(message),
        action: note.reason.to_owned(),
        secondary: None,
    };
    if let Err(error) = ctx.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::warn!(reason = note.reason, %error, "an event was not written");
    }
}
