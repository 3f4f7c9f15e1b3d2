//! A change that is on its way: what its next step is, and what is told of it.

use crate::{
    api::{Batch, BatchPhase, search_cluster::Management},
    plan::{
        restart::{self, Blocked, Effect},
        retention, rollout, trust,
    },
};

use super::{Close, Configuration, Observation, Plan, proposal};

impl Plan<'_> {
    /// The next step of the change that is on its way.
    pub(super) fn go_on(&mut self, seen: &Observation) {
        let Some(batch) = self.allowlist().batch.clone() else { return };
        if seen.winding_down && !proposal::is_touched(&batch) {
            return self.look_again();
        }
        if self.is_held_back(&batch) {
            return;
        }
        let close = match &seen.close {
            Some(Ok(close)) => close,
            // The apiserver comes back by itself; what is gone or forbidden does not.
            Some(Err(trouble)) if trouble.reason == "KubernetesError" => {
                return self.hold(false, "Restarting", &trouble.message);
            }
            Some(Err(trouble)) => return self.hold(true, trouble.reason, &trouble.message),
            None => return,
        };
        let deleting = self.cluster.metadata.deletion_timestamp.is_some();
        let Close { view, configuration, copies, needed } = close;
        let mut batch = batch;
        if matches!(batch.phase, BatchPhase::Draining | BatchPhase::Editing) {
            // Needed again since it was frozen.
            batch.removes.retain(|entry| !needed.contains_key(entry));
            let missed = self.missed(close);
            if !self.takes_in(&mut batch, &missed) {
                return self.look_again();
            }
        }
        let mut step = match configuration {
            Configuration::Pools(pools) => {
                let view = view.clone().ok();
                let look = restart::Seen { view, pools: pools.clone(), copies: copies.clone(), deleting };
                restart::advance(&batch, &look, self.permissions(), self.now)
            }
            Configuration::Managed(managed) => {
                let look = rollout::Seen { view: view.as_ref().ok(), managed, copies, deleting };
                rollout::advance(&batch, &look, self.permissions(), self.now)
            }
        };
        // Nodes that mount a ConfigMap which is not there would not start.
        let trusts = matches!(&step.effect, Some(Effect::Edit(change)) if change.trust.is_some());
        if trusts && !seen.trust.as_ref().is_some_and(trust::Seen::is_ready) {
            return self.look_again();
        }
        // The cluster answers, and not all that must be known is told: by a user who lacks a right, for one.
        if let (Err(trouble), Ok(_)) = (view, &seen.reached) {
            step.doing.message = format!("{}; {}", step.doing.message, trouble.message);
        }
        self.tell(&batch, step.batch.as_ref(), &step.doing);
        if let Some(done) = step.batch.as_ref().filter(|batch| batch.phase == BatchPhase::Done) {
            self.allowlist().removed.retain(|entry| !done.entries.contains(entry));
            // Absent where somebody else had made the change already: then nothing was taken out either.
            if let Some(added) = &done.added {
                let (allowlist, removes) = (self.allowlist(), &done.removes);
                allowlist.managed.retain(|entry| !removes.contains(entry));
                retention::add(&mut allowlist.managed, added);
            }
        }
        self.effect = step.effect;
        step.batch = step.batch.map(|batch| rollout::noted(batch, self.generation));
        let phase = step.batch.as_ref().map(|batch| batch.phase);
        // Given up before anything was touched: the same change may be made later.
        let proposed = (!deleting).then_some(Batch { phase: BatchPhase::Proposed, added: None, ..batch });
        self.allowlist().batch = step.batch.or(proposed);
        match phase {
            None => self.refuse(&step.doing, seen),
            Some(phase) => {
                let stalled = phase == BatchPhase::Failed || !step.doing.passes;
                self.hold(stalled, step.doing.reason, &step.doing.message);
            }
        }
    }

    /// Adds to a change that has begun what became needed again since. Whether it may be: whoever approved of it approved of no more than
    /// it was, and once its edit was asked for it is made as it stands.
    fn takes_in(&self, batch: &mut Batch, missed: &[String]) -> bool {
        if self.cluster.spec.allowlist.management == Management::Approval {
            return batch.added.is_some() || missed.iter().all(|entry| batch.entries.contains(entry));
        }
        retention::add(&mut batch.entries, missed);
        // They were ours before.
        if let Some(added) = &mut batch.added {
            retention::add(added, missed);
        }
        true
    }

    /// The change is made anew from what is needed now.
    pub(super) fn look_again(&mut self) {
        self.set_phase(BatchPhase::Proposed);
        self.hold(false, "Pending", "the change is looked at again before anything is touched");
    }

    /// Says that a phase, or the restart of a node, has begun.
    fn tell(&mut self, before: &Batch, after: Option<&Batch>, doing: &Blocked) {
        let Some(after) = after else { return };
        let begun = after
            .nodes
            .iter()
            .zip(&before.nodes)
            .any(|(now, then)| now.state != then.state && now.started_at != then.started_at);
        if after.phase != before.phase || begun {
            let warning = matches!(after.phase, BatchPhase::RollingBack | BatchPhase::Failed);
            self.note(warning, doing.reason, &doing.message);
        }
    }
}
