//! A Reindex between two writes of its status.

use crate::{
    api::Reindex,
    controller::{context::Context, error::Error, events, finalizer, status},
    plan::{
        reindex::{Decision, Effect, Requeue},
        report::Note,
    },
};

/// What was decided stands here until it is written. Only what something outside follows from, or what is waited with for long, must be:
/// decisions that only lead to the next look go to the apiserver together.
pub struct Draft {
    /// As the apiserver has it.
    written: Reindex,
    /// With the status that was decided since, and suspended while the operator is wound down.
    reindex: Reindex,
    winding_down: bool,
    /// How the writes went.
    writes: Writes,
    /// What is told of it, once it is written.
    notes: Vec<Note>,
}

/// How the writes of a reconcile went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writes {
    None,
    Some,
    /// The last one failed.
    Refused,
}

impl Draft {
    /// Nothing was decided yet.
    pub fn of(written: Reindex) -> Draft {
        Draft { reindex: written.clone(), written, winding_down: false, writes: Writes::None, notes: Vec::new() }
    }

    /// Suspends it while the operator is wound down, and no longer. Whether that is news.
    pub fn heed(&mut self, winding_down: bool) -> bool {
        let is_news = winding_down != self.winding_down;
        self.winding_down = winding_down;
        self.reindex.spec = self.written.spec.clone();
        if winding_down {
            self.reindex.spec.wind_down();
        }
        is_news
    }

    /// The object as it will be.
    pub fn reindex(&self) -> &Reindex {
        &self.reindex
    }

    /// Whether something was written, and nothing is left to be.
    pub fn is_through(&self) -> bool {
        self.writes == Writes::Some && self.reindex.status == self.written.status && self.notes.is_empty()
    }

    /// Whether a write failed.
    pub fn is_refused(&self) -> bool {
        self.writes == Writes::Refused
    }

    /// Takes a decision in, and gives back what follows from it.
    pub fn decided(&mut self, decision: Decision) -> (Option<Effect>, Requeue) {
        self.reindex.status = Some(decision.status);
        self.notes.extend(decision.notes);
        (decision.effect, decision.requeue)
    }

    /// Writes the status, then tells people: an event never speaks of what was not written.
    pub async fn write(&mut self, ctx: &Context) -> Result<(), Error> {
        if let Some(status) = &self.reindex.status {
            match status::write(&ctx.client, &self.written, status).await {
                Ok(Some(written)) => {
                    self.written = written;
                    self.reindex = self.written.clone();
                    self.heed(self.winding_down);
                    self.note_write(ctx);
                }
                Ok(None) => {}
                Err(error) => return Err(self.refused(Error::kube("write the status")(error))),
            }
        }
        events::tell(ctx, &self.reindex, self.notes.drain(..));
        Ok(())
    }

    /// Sets or removes the finalizer; what was decided waits on.
    pub async fn set_finalizer(&mut self, ctx: &Context, wanted: bool) -> Result<(), Error> {
        match finalizer::set(&ctx.client, &mut self.written, wanted).await {
            Ok(true) => {
                self.reindex.metadata = self.written.metadata.clone();
                self.note_write(ctx);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn note_write(&mut self, ctx: &Context) {
        ctx.own_writes.note(&self.written);
        self.writes = Writes::Some;
    }

    fn refused(&mut self, error: Error) -> Error {
        self.writes = Writes::Refused;
        error
    }
}
