//! A change before it begins: what exactly it is, who approves of it, and when it may begin.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{APPROVAL, Batch, BatchPhase, search_cluster::Management},
    plan::{
        allowlist::Change,
        restart::{self, Blocked, View},
        rollout,
        spec_hash::short_hash,
        trust,
        window::{self, Opening},
        words::first_names,
    },
};

use super::{Configuration, Plan};

/// How many nodes a message names.
const NAMED: usize = 12;

/// The next change: what was proposed before, while all of it is still needed; later needs form the next one, but for entries that its
/// restart would take away (`missed`).
pub(super) fn change(proposed: Option<&Batch>, pending: Change, missed: &[String]) -> Change {
    let is_needed = |change: &Change| {
        missed.iter().all(|entry| change.add.contains(entry))
            && change.add.iter().all(|entry| pending.add.contains(entry))
            && change.remove.iter().all(|entry| pending.remove.contains(entry))
            && change.trust.iter().all(|map| pending.trust.as_ref() == Some(map))
    };
    match proposed.map(Change::of).filter(is_needed) {
        Some(change) => change,
        None => pending,
    }
}

impl Plan<'_> {
    /// The change as it would be made now, and how, in words.
    pub(super) fn freeze(
        &self,
        change: &Change,
        view: &View,
        configuration: &Configuration,
    ) -> Result<(Batch, String), Blocked> {
        let (allowed, generation, now) = (self.permissions(), self.generation, self.now);
        match configuration {
            Configuration::Pools(pools) => {
                let batch = restart::freeze(change, view, pools, allowed, generation, now)?;
                let how = format!(
                    "restarting one by one {}",
                    first_names(batch.nodes.iter().map(|node| node.pod.as_str()), NAMED)
                );
                Ok((batch, how))
            }
            Configuration::Managed(managed) => {
                let batch = rollout::freeze(change, view, managed, allowed, generation, now)?;
                let nodes: BTreeSet<&str> = view.nodes.iter().map(|node| node.name.as_str()).collect();
                let how =
                    format!("changing {}, after which {} are restarted", managed.object, first_names(nodes, NAMED));
                Ok((batch, how))
            }
        }
    }

    /// Begins the change if it may begin; else it stands as a proposal, under the same id as long as it is the same change.
    pub(super) fn propose(&mut self, proposed: Option<Batch>, fresh: Batch, how: &str) {
        let since = proposed.as_ref().unwrap_or(&fresh).started_at.clone();
        let same = proposed.filter(|before| before.id == identity(&fresh.id, &since));
        let is_new = same.is_none();
        let started_at = same.map_or(fresh.started_at.clone(), |before| before.started_at);
        let id = identity(&fresh.id, &started_at);
        let batch = Batch { id, started_at, phase: BatchPhase::Proposed, ..fresh };
        let entries = first_names(&batch.entries, NAMED);
        let added = trust::in_words(&entries, &Change::of(&batch));
        let removed = match batch.removes.is_empty() {
            true => String::new(),
            false => format!(", taking out {}", first_names(&batch.removes, NAMED)),
        };
        let change = format!("adding {added}{removed} and {how}");
        let (id, is_approved) = (batch.id.clone(), self.is_approved(&batch));
        self.allowlist().batch = Some(batch);
        if !is_approved {
            let meta = &self.cluster.metadata;
            // The command first: a long message is cut off at its end.
            let message = format!(
                "approve with `kubectl annotate searchclusters.reindex.dev {} --namespace {} --overwrite {APPROVAL}={id}`: {change}",
                meta.name.as_deref().unwrap_or_default(),
                meta.namespace.as_deref().unwrap_or_default()
            );
            if is_new {
                self.note(false, "WaitingForApproval", &message);
            }
            return self.hold(false, "WaitingForApproval", &message);
        }
        if self.is_out_of_window() {
            return;
        }
        self.note(false, "AllowlistChangeBegun", &change);
        self.set_phase(BatchPhase::Draining);
        self.hold(false, "Draining", &change);
    }

    /// A change of its own id is approved only once: a later one has another, even if it is alike.
    fn is_approved(&self, batch: &Batch) -> bool {
        let given = self.cluster.metadata.annotations.as_ref().and_then(|annotations| annotations.get(APPROVAL));
        self.cluster.spec.allowlist.management != Management::Approval || given == Some(&batch.id)
    }

    /// Whether the maintenance window keeps the change from beginning; then it is proposed, and says when it will begin.
    pub(super) fn is_out_of_window(&mut self) -> bool {
        match window::opening(self.cluster.spec.allowlist.window.as_ref(), self.now) {
            Ok(Opening::Open) => return false,
            Ok(Opening::At(time)) => {
                let message = format!("the change waits for the maintenance window, which opens at {time}");
                self.hold(false, "WaitingForWindow", &message);
            }
            Err(why) => self.hold(true, "InvalidWindow", &why),
        }
        self.set_phase(BatchPhase::Proposed);
        true
    }

    /// Whether a change that has begun, and has touched nothing yet, must not go on: then it is proposed again, under the same id.
    pub(super) fn is_held_back(&mut self, batch: &Batch) -> bool {
        if is_touched(batch) || self.cluster.metadata.deletion_timestamp.is_some() {
            return false;
        }
        // After an edit of the spec it is made anew: another provider may have to be changed now.
        let edited = batch.generation != self.generation;
        if edited || self.cluster.spec.allowlist.management == Management::Verify || !self.is_approved(batch) {
            self.look_again();
            return true;
        }
        self.is_out_of_window()
    }

    pub(super) fn set_phase(&mut self, phase: BatchPhase) {
        if let Some(batch) = &mut self.allowlist().batch {
            batch.phase = phase;
        }
    }
}

/// Whether a change that has begun has touched anything.
pub(super) fn is_touched(batch: &Batch) -> bool {
    batch.added.is_some() || !matches!(batch.phase, BatchPhase::Draining | BatchPhase::Editing)
}

/// The time makes it the only one of its kind; in whole seconds, as a status keeps it.
fn identity(change: &str, started_at: &Time) -> String {
    short_hash(format!("{change} {}", started_at.0.as_second()).as_bytes())
}
