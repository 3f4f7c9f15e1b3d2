//! Events: an object's steps, for people who `kubectl describe` it; each step is a line of the log, and counted.

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

/// How long an event's words may be: the API allows 1024.
const MAX_BYTES: usize = 1000;

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

/// Tells what happened, one after the other. Each is a line of the log, and counted; what went well together is one event.
pub fn tell<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, notes: impl IntoIterator<Item = Note>) {
    let notes = notes.into_iter().map(|note| Note { message: one_line(&note.message), ..note });
    for note in joined(notes.inspect(|note| log(ctx, object, note))) {
        ctx.events.tell(event(note), object.object_ref(&()));
    }
}

fn log<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, note: &Note) {
    let Note { warning, reason, message } = note;
    let (kind, namespace, name, uid) = (K::kind(&()), object.namespace(), object.name_any(), object.uid());
    match warning {
        true => tracing::warn!(%kind, namespace, name, uid, reason, "{message}"),
        false => tracing::info!(%kind, namespace, name, uid, reason, "{message}"),
    }
    ctx.metrics.told(&kind, *warning, reason);
}

/// A small copy goes through most of its steps within a second, and writing an event costs an apiserver as much as writing a status: steps that are
/// told together are told by the event of the last one. A warning is never told by another's.
fn joined(notes: impl Iterator<Item = Note>) -> Vec<Note> {
    let mut joined: Vec<Note> = Vec::new();
    for note in notes {
        match joined.last_mut() {
            Some(last) if !last.warning && !note.warning && last.message.len() + note.message.len() < MAX_BYTES => {
                last.reason = note.reason;
                last.message = format!("{}; {}", last.message, note.message);
            }
            _ => joined.push(note),
        }
    }
    joined
}

fn event(note: Note) -> Event {
    let Note { warning, reason, mut message } = note;
    while message.len() > MAX_BYTES {
        message.pop();
    }
    Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.to_owned(),
        note: Some(message),
        action: reason.to_owned(),
        secondary: None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn note(warning: bool, reason: &'static str, message: &str) -> Note {
        Note { warning, reason, message: message.to_owned() }
    }

    #[test]
    fn steps_that_are_told_together_are_one_event_and_a_warning_is_its_own() {
        let told = [
            note(false, "Validated", "both are there"),
            note(false, "SourceAllowed", "it may read"),
            note(true, "CopyRetried", "the task was lost"),
            note(false, "Copied", "6 documents"),
        ];
        let expected = [
            note(false, "SourceAllowed", "both are there; it may read"),
            note(true, "CopyRetried", "the task was lost"),
            note(false, "Copied", "6 documents"),
        ];
        assert_eq!(joined(told.into_iter()), expected);
    }

    #[test]
    fn what_does_not_fit_into_one_event_is_told_by_the_next() {
        let long = "x".repeat(400);
        let told = [(); 5].map(|()| note(false, "CopyStarted", &long));
        let lengths: Vec<_> = joined(told.into_iter()).iter().map(|note| note.message.len()).collect();
        assert_eq!(lengths, [802, 802, 400]);
    }

    #[test]
    fn words_are_cut_between_two_characters() {
        let cut = event(note(true, "CopyRefused", &"ä".repeat(501))).note.unwrap_or_default();
        assert_eq!(cut, "ä".repeat(500));
        let odd = event(note(true, "CopyRefused", &format!("x{}", "ä".repeat(501)))).note.unwrap_or_default();
        assert_eq!(odd.len(), 999);
    }
}
