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

/// How long an event's words may be: the API allows 1024 bytes.
const MAX_BYTES: usize = 1000;
/// The same of its action.
const MAX_ACTION: usize = 128;

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
    for told in joined(notes.inspect(|note| log(ctx, object, note))) {
        ctx.events.tell(told.event(), object.object_ref(&()));
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

/// What one event tells.
struct Told {
    warning: bool,
    /// The last one's is the event's; there is always one.
    reasons: Vec<&'static str>,
    message: String,
}

impl Told {
    fn event(self) -> Event {
        let Told { warning, reasons, message } = self;
        let cut = |mut text: String, most: usize| {
            while text.len() > most {
                text.pop();
            }
            text
        };
        Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reasons.last().copied().unwrap_or_default().to_owned(),
            note: Some(cut(message, MAX_BYTES)),
            // The recorder counts those together where this is the same.
            action: cut(reasons.join(","), MAX_ACTION),
            secondary: None,
        }
    }
}

/// A small copy goes through most of its steps within a second, and many tasks are started at once: steps that are told together are told by the
/// event of the last one. A warning is never told by another's.
fn joined(notes: impl Iterator<Item = Note>) -> Vec<Told> {
    const BETWEEN: &str = "; ";
    let mut joined: Vec<Told> = Vec::new();
    let fits = |last: &Told, next: &Note| last.message.len() + BETWEEN.len() + next.message.len() <= MAX_BYTES;
    for note in notes {
        match joined.last_mut() {
            Some(last) if !last.warning && !note.warning && fits(last, &note) => {
                last.message = [last.message.as_str(), &note.message].join(BETWEEN);
                last.reasons.push(note.reason);
                last.reasons.dedup();
            }
            _ => joined.push(Told { warning: note.warning, reasons: vec![note.reason], message: note.message }),
        }
    }
    joined
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

    fn told(notes: impl IntoIterator<Item = Note>) -> Vec<Event> {
        joined(notes.into_iter()).into_iter().map(Told::event).collect()
    }

    fn words(event: &Event) -> [&str; 3] {
        [&event.action, &event.reason, event.note.as_deref().unwrap_or_default()]
    }

    #[test]
    fn steps_that_are_told_together_are_one_event_and_a_warning_is_its_own() {
        let events = told([
            note(false, "Validated", "both are there"),
            note(false, "SourceAllowed", "it may read"),
            note(true, "CopyRetried", "the task was lost"),
            note(false, "CopyStarted", "range 0"),
            note(false, "CopyStarted", "range 1"),
            note(false, "Copied", "6 documents"),
        ]);
        let expected = [
            ["Validated,SourceAllowed", "SourceAllowed", "both are there; it may read"],
            ["CopyRetried", "CopyRetried", "the task was lost"],
            ["CopyStarted,Copied", "Copied", "range 0; range 1; 6 documents"],
        ];
        assert_eq!(events.iter().map(words).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_does_not_fit_into_one_event_is_told_by_the_next() {
        let lengths = |each: usize| -> Vec<usize> {
            let events = told([(); 5].map(|()| note(false, "CopyStarted", &"x".repeat(each))));
            events.iter().map(|event| words(event)[2].len()).collect()
        };
        assert_eq!(lengths(499), [MAX_BYTES, MAX_BYTES, 499]);
        assert_eq!(lengths(500), [500; 5]);
    }

    #[test]
    fn words_are_cut_between_two_characters() {
        let cut = |text: &str| words(&told([note(true, "CopyRefused", text)])[0])[2].to_owned();
        assert_eq!(cut(&"ä".repeat(501)), "ä".repeat(500));
        assert_eq!(cut(&format!("x{}", "ä".repeat(501))).len(), 999);
    }
}
