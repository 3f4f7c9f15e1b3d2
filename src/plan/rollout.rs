//! A change of the allowlist where somebody else restarts the nodes: ECK, the OpenSearch operator, a cloud.
//!
//! Pure. The batch is the one of [`restart`](super::restart), with other steps: drain, change the configuration once, and wait until
//! every node has loaded it and the provider says that its rollout is over. What is wrong on the way is told and left as it is: to
//! take the entries out again would restart every node once more, on a cluster that is in trouble already.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::api::{Batch, BatchPhase};

use super::{
    allowlist::{Change, covers},
    restart::{self, Blocked, Effect, Node, Permissions, Step, View, check_availability, check_owner, undrained},
};

/// How long a rollout may bring the entries to no further node.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(30);

/// A configuration that somebody else brings to the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// What holds it, for people: `Elasticsearch es-1`.
    pub object: String,
    /// Entries that the configuration of every node holds, or why it can't be changed. A provider that shows a change only later
    /// counts one that is on its way as made.
    pub configured: Result<Vec<String>, Blocked>,
    /// Entries that the configuration of any node holds.
    pub held: Vec<String>,
    /// Whether the configuration of every node reads the authorities of sources, where that is asked for, or why it can't be made to.
    pub trust: Result<bool, Blocked>,
    /// Who applies the object again and again.
    pub owner: Option<String>,
    /// How far the provider is.
    pub progress: Progress,
    /// Nodes that are declared; None if the provider doesn't say. Without it a node that is absent is not missed.
    pub nodes: Option<usize>,
    /// The exact text that a person commits instead.
    pub instruction: String,
}

/// How far a provider is in bringing its configuration to the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has nothing to do.
    Steady,
    /// It is at it.
    Rolling {
        /// What it says, without a time in it.
        message: String,
    },
    /// It is at it and waits for something on the cluster: it may go on by itself, or a person must see to it.
    Stuck {
        /// CamelCase, stable.
        reason: &'static str,
        /// What it says, without a time in it.
        message: String,
    },
    /// It has stopped, and a person must look.
    Failed {
        /// CamelCase, stable.
        reason: &'static str,
        /// What it says.
        message: String,
    },
}

impl Progress {
    /// What it says, while nodes may restart any moment.
    fn under_way(&self) -> Option<&str> {
        match self {
            Progress::Rolling { message } | Progress::Stuck { message, .. } => Some(message),
            Progress::Steady | Progress::Failed { .. } => None,
        }
    }
}

/// What is seen while a batch is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The search cluster; None while it can't be reached.
    pub view: Option<&'a View>,
    /// Its configuration.
    pub managed: &'a Managed,
    /// Copies into or out of the cluster that run.
    pub copies: &'a [String],
    /// The SearchCluster is being deleted.
    pub deleting: bool,
}

/// Freezes a batch, if nothing is in the way.
///
/// # Errors
/// What is in the way.
pub fn freeze(
    change: &Change,
    view: &View,
    managed: &Managed,
    allowed: Permissions,
    generation: i64,
    now: Timestamp,
) -> Result<Batch, Blocked> {
    check(change, view, managed, allowed)?;
    let nodes = view.nodes.iter().map(|node| node.id.as_str()).collect();
    Ok(restart::begun(change, &nodes, view, generation, now))
}

/// Every rule that must hold before the configuration is changed.
fn check(change: &Change, view: &View, managed: &Managed, allowed: Permissions) -> Result<(), Blocked> {
    if let Err(blocked) = &managed.configured {
        return Err(blocked.clone());
    }
    if let (Some(_), Err(blocked)) = (&change.trust, &managed.trust) {
        return Err(blocked.clone());
    }
    match &managed.progress {
        Progress::Steady => {}
        Progress::Rolling { message } => {
            let message = format!("waiting for a rollout of {} that is under way: {message}", managed.object);
            return Err(Blocked::passing("RolloutInProgress", message));
        }
        Progress::Stuck { reason, message } | Progress::Failed { reason, message } => {
            return Err(Blocked::by(reason, format!("{}: {message}", managed.object)));
        }
    }
    if let Some(owner) = &managed.owner {
        check_owner(&managed.object, owner, allowed)?;
    }
    if let Some(declared) = managed.nodes.filter(|declared| view.nodes.len() < *declared) {
        let message = format!("{} of {declared} nodes of {} are there", view.nodes.len(), managed.object);
        return Err(Blocked::by("NodesNotReady", message));
    }
    check_availability(view, allowed)
}

/// Brings an open batch one step on.
pub fn advance(batch: &Batch, seen: &Seen<'_>, allowed: Permissions, now: Timestamp) -> Step {
    let run = Run { batch: batch.clone(), seen, allowed, now };
    match batch.phase {
        // Nothing was changed yet.
        BatchPhase::Draining if seen.deleting => run.give_up(deleting()),
        BatchPhase::Draining => run.drain(),
        BatchPhase::Editing => run.edit(),
        BatchPhase::RollingOut => run.wait(),
        // The provider of the SearchCluster was changed in the middle.
        BatchPhase::Restarting | BatchPhase::RollingBack => run.abandon(),
        BatchPhase::Proposed | BatchPhase::Done | BatchPhase::Failed => {
            run.doing("Done", "no change is under way".into())
        }
    }
}

/// The batch after the configuration was changed.
pub fn applied(batch: &Batch, now: Timestamp) -> Batch {
    Batch { phase: BatchPhase::RollingOut, edited_at: Some(Time(now)), ..batch.clone() }
}

/// The batch that was stopped. What was changed stays.
pub fn failed(batch: &Batch, why: &str, now: Timestamp) -> Batch {
    Batch {
        phase: BatchPhase::Failed,
        message: Some(why.to_owned()),
        finished_at: Some(Time(now)),
        borrowed: None,
        ..batch.clone()
    }
}

/// The batch as it is kept. One that failed is made again after the next edit of the spec; whoever edited it before that did not ask for
/// it.
pub fn noted(batch: Batch, generation: i64) -> Batch {
    match batch.phase {
        BatchPhase::Failed => Batch { generation, ..batch },
        _ => batch,
    }
}

fn deleting() -> Blocked {
    Blocked::passing("Deleting", "the SearchCluster is being deleted".into())
}

struct Run<'a> {
    batch: Batch,
    seen: &'a Seen<'a>,
    allowed: Permissions,
    now: Timestamp,
}

impl Run<'_> {
    fn doing(self, reason: &'static str, message: String) -> Step {
        Step { batch: Some(self.batch), effect: None, doing: Blocked::passing(reason, message) }
    }

    fn give_up(self, doing: Blocked) -> Step {
        Step { batch: None, effect: None, doing }
    }

    fn fail(mut self, why: &str) -> Step {
        self.batch = failed(&self.batch, why, self.now);
        self.doing("RolloutFailed", why.to_owned())
    }

    fn drain(mut self) -> Step {
        let Some(view) = self.seen.view else { return self.doing("Draining", "the cluster can't be reached".into()) };
        if let Some(message) = undrained(view, self.seen.copies, self.allowed) {
            return self.doing("Draining", message);
        }
        self.batch.phase = BatchPhase::Editing;
        let message = format!("changing {}", self.seen.managed.object);
        self.doing("Editing", message)
    }

    fn edit(mut self) -> Step {
        let change = Change::of(&self.batch);
        if self.holds(&change) {
            self.batch = applied(&self.batch, self.now);
            let message = format!("{} holds the change; waiting for its rollout", self.seen.managed.object);
            return self.doing("RollingOut", message);
        }
        if self.seen.deleting {
            return self.give_up(deleting());
        }
        if let Some(message) = self.is_unclear() {
            let since = self.batch.edited_at.as_ref().map_or(self.now, |time| time.0);
            return match self.now.duration_since(since) >= PATIENCE {
                true => self.fail(&format!("it can't be seen whether the change was made: {message}")),
                false => self.doing("Editing", message),
            };
        }
        let Some(view) = self.seen.view else { return self.doing("Editing", "the cluster can't be reached".into()) };
        if let Err(doing) = check(&change, view, self.seen.managed, self.allowed) {
            return self.give_up(doing);
        }
        // Kept from the first look, as what was there before.
        if self.batch.added.is_none() {
            let held = &self.seen.managed.held;
            self.batch.added = Some(change.add.iter().filter(|entry| !held.contains(entry)).cloned().collect());
            self.batch.edited_at = Some(Time(self.now));
        }
        let doing = Blocked::passing("Editing", format!("changing {}", self.seen.managed.object));
        Step { batch: Some(self.batch), effect: Some(Effect::Edit(change)), doing }
    }

    /// Why it is not known whether the change was made that was asked for: its answer got lost, and nodes may restart by now.
    fn is_unclear(&self) -> Option<String> {
        self.batch.added.as_ref()?;
        match &self.seen.managed.configured {
            Err(blocked) => Some(blocked.message.clone()),
            Ok(_) => {
                let message = self.seen.managed.progress.under_way()?;
                Some(format!("{}: {message}", self.seen.managed.object))
            }
        }
    }

    /// The change is made. It is never made again, whatever becomes of it.
    fn wait(mut self) -> Step {
        let object = &self.seen.managed.object;
        if self.seen.deleting {
            return self.fail("the SearchCluster was deleted; what was changed stays");
        }
        if self.is_taken_back() {
            let why = format!("somebody took the change out of {object} again while it was rolled out");
            return self.fail_at_rest(&why);
        }
        if let Progress::Failed { reason, message } = &self.seen.managed.progress {
            let why = format!("{object} has stopped ({reason}): {message}");
            return self.fail(&why);
        }
        let (loaded, nodes) = self.loaded();
        if self.seen.view.is_some() {
            let now = i32::try_from(loaded).unwrap_or(i32::MAX);
            if self.batch.loaded.is_none_or(|before| now > before) {
                self.batch.loaded_at = Some(Time(self.now));
            }
            self.batch.loaded = Some(now);
        }
        if loaded == nodes && nodes > 0 && self.seen.managed.progress == Progress::Steady {
            self.batch.phase = BatchPhase::Done;
            self.batch.finished_at = Some(Time(self.now));
            self.batch.message = None;
            return self.doing("Done", "every node has loaded the change".into());
        }
        if let Some(why) = self.batch.message.clone() {
            return self.fail_at_rest(&why);
        }
        let state = match &self.seen.managed.configured {
            Err(blocked) => &blocked.message,
            Ok(_) => self.seen.managed.progress.under_way().unwrap_or("it says that it has nothing to do"),
        };
        let message = match self.seen.view {
            Some(_) => format!("{loaded} of {nodes} nodes have loaded the change; {object}: {state}"),
            None => format!("the cluster can't be reached; {object}: {state}"),
        };
        let since = self.batch.loaded_at.as_ref().or(self.batch.edited_at.as_ref()).map_or(self.now, |time| time.0);
        match self.now.duration_since(since) >= PATIENCE {
            true => self.fail_at_rest(&format!(
                "the rollout came to no further node within {} minutes: {message}",
                PATIENCE.as_mins()
            )),
            false => self.doing("RollingOut", message),
        }
    }

    /// It has failed. But while the provider is at it nodes may restart, and no copy begins, unless copies may be interrupted.
    fn fail_at_rest(mut self, why: &str) -> Step {
        match self.seen.managed.progress.under_way() {
            Some(message) if !self.allowed.interrupt => {
                let object = &self.seen.managed.object;
                let told = format!(
                    "{why}. While {object} is at it nodes may restart, and no copy begins (unless allowlist.interruptRunning is set): {message}"
                );
                self.batch.message = Some(why.to_owned());
                Step { batch: Some(self.batch), effect: None, doing: Blocked::by("RolloutFailed", told) }
            }
            _ => self.fail(why),
        }
    }

    /// Nodes that have loaded the change, and all nodes; a node that restarts right now is absent, and counts as one without it.
    fn loaded(&self) -> (usize, usize) {
        let nodes = self.seen.view.map(|view| view.nodes.as_slice()).unwrap_or_default();
        let has_all = |node: &&Node| {
            self.batch.entries.iter().all(|entry| covers(&node.allowlist, entry))
                && self.batch.trust.iter().all(|map| node.sources.contains(map))
        };
        let loaded = nodes.iter().filter(has_all).count();
        (loaded, self.seen.managed.nodes.unwrap_or_default().max(nodes.len()))
    }

    /// Whether the configuration is as the change makes it.
    fn holds(&self, change: &Change) -> bool {
        let covered = |entries: &Vec<String>| change.add.iter().all(|entry| covers(entries, entry));
        let trusts = change.trust.is_none() || self.seen.managed.trust == Ok(true);
        trusts && self.seen.managed.configured.as_ref().is_ok_and(covered)
    }

    /// Whether the configuration can be read, and is not as the change made it.
    fn is_taken_back(&self) -> bool {
        let managed = self.seen.managed;
        let is_read = managed.configured.is_ok() && (self.batch.trust.is_none() || managed.trust.is_ok());
        is_read && !self.holds(&Change::of(&self.batch))
    }

    fn abandon(self) -> Step {
        const WHY: &str = "the provider of the SearchCluster was changed in the middle";
        match self.batch.borrowed.clone() {
            Some(borrowed) => {
                let doing = Blocked::passing("RollingBack", format!("{WHY}: putting shard allocation back"));
                Step { batch: Some(self.batch), effect: Some(Effect::GiveBack(borrowed)), doing }
            }
            None => self.fail(WHY),
        }
    }
}

#[cfg(test)]
mod tests;
