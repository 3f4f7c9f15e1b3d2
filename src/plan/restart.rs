//! A change of the allowlist: from the frozen batch to the last node that has loaded it, or back.
//!
//! Pure. Every step is written into `status.allowlist.batch` before it is done; after a crash the next look finds it there, and
//! each effect may be repeated.

use std::collections::BTreeSet;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::api::{Batch, BatchNode, BatchPhase, NodeState, allowlist::Borrowed};

use super::{
    allowlist::{Change, covers},
    rollout,
    spec_hash::short_hash,
};

mod check;
mod model;

use check::{check, lonely_message, without_replica};
pub use check::{check_availability, check_owner, undrained};
pub use model::{Blocked, Effect, Node, Permissions, Pod, Pool, Seen, Shard, Step, View};

/// How long a node may take to come back with the new configuration.
pub const NODE_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// How long an edited ConfigMap takes to reach the kubelet that mounts it into a new pod.
pub const SPREAD: SignedDuration = SignedDuration::from_secs(5);
/// Freezes a batch, if nothing is in the way.
///
/// # Errors
/// What is in the way.
pub fn freeze(
    change: &Change,
    view: &View,
    pools: &[Pool],
    allowed: Permissions,
    generation: i64,
    now: Timestamp,
) -> Result<Batch, Blocked> {
    check(view, pools, allowed)?;
    let mut nodes: Vec<BatchNode> = Vec::new();
    for pod in pools.iter().flat_map(|pool| &pool.pods) {
        let node = view.nodes.iter().find(|node| Some(&node.ip) == pod.ip.as_ref());
        nodes.extend(node.map(|node| BatchNode {
            pod: pod.name.clone(),
            name: node.name.clone(),
            id: node.id.clone(),
            pod_uid: pod.uid.clone(),
            state: NodeState::Pending,
            started_at: None,
        }));
    }
    nodes.sort_by_key(|node| (node.id == view.master, node.pod.clone()));
    let pods = nodes.iter().map(|node| node.pod_uid.as_str()).collect();
    let batch = begun(change, &pods, view, generation, now);
    Ok(Batch { nodes, ..batch })
}

/// The batch that makes this change and has these restarted, as it begins. The same change has the same id: an order says nothing, as
/// another master may be elected any time.
pub(super) fn begun(
    change: &Change,
    restarted: &BTreeSet<&str>,
    view: &View,
    generation: i64,
    now: Timestamp,
) -> Batch {
    let identity: Vec<&str> = change
        .add
        .iter()
        .chain(&change.trust)
        .map(String::as_str)
        .chain(change.remove.iter().flat_map(|entry| ["without", entry.as_str()]))
        .chain(restarted.iter().copied())
        .collect();
    Batch {
        id: short_hash(identity.join("\n").as_bytes()),
        entries: change.add.clone(),
        removes: change.remove.clone(),
        trust: change.trust.clone(),
        added: None,
        phase: BatchPhase::Draining,
        generation,
        started_at: Time(now),
        finished_at: None,
        edited_at: None,
        message: None,
        unassigned_before: i32::try_from(view.unassigned).unwrap_or(i32::MAX),
        borrowed: None,
        loaded: None,
        loaded_at: None,
        cloud_change: None,
        nodes: vec![],
    }
}

/// Brings an open batch one step on.
pub fn advance(batch: &Batch, seen: &Seen, allowed: Permissions, now: Timestamp) -> Step {
    let run = Run { batch: batch.clone(), seen, allowed, now };
    if seen.deleting && batch.phase != BatchPhase::RollingBack {
        return run.roll_back("the SearchCluster is being deleted");
    }
    match batch.phase {
        BatchPhase::Draining => run.drain(),
        BatchPhase::Editing => run.edit(),
        BatchPhase::Restarting => run.restart(),
        BatchPhase::RollingBack => run.rolling_back(),
        // The provider was changed in the middle: nobody else restarts these nodes.
        BatchPhase::RollingOut => run.abandon(),
        BatchPhase::Proposed | BatchPhase::Done | BatchPhase::Failed => {
            run.doing("Done", "no change is under way".into())
        }
    }
}

struct Run<'a> {
    batch: Batch,
    seen: &'a Seen,
    allowed: Permissions,
    now: Timestamp,
}

impl Run<'_> {
    fn doing(self, reason: &'static str, message: String) -> Step {
        Step { batch: Some(self.batch), effect: None, doing: Blocked::passing(reason, message) }
    }

    fn with(self, effect: Effect, reason: &'static str, message: String) -> Step {
        Step { batch: Some(self.batch), effect: Some(effect), doing: Blocked::passing(reason, message) }
    }

    fn drain(mut self) -> Step {
        let Some(view) = &self.seen.view else { return self.doing("Draining", "the cluster can't be reached".into()) };
        if let Some(message) = undrained(view, &self.seen.copies, self.allowed) {
            return self.doing("Draining", message);
        }
        self.batch.phase = BatchPhase::Editing;
        self.doing("Editing", "editing the configuration".into())
    }

    /// Nothing is touched yet: whatever is in the way now ends the batch without a trace.
    fn edit(mut self) -> Step {
        if self.has_entries() {
            self.batch.phase = BatchPhase::Restarting;
            self.batch.edited_at = Some(Time(self.now));
            return self
                .doing("Restarting", "the configuration holds the entries; restarting the nodes one by one".into());
        }
        let Some(view) = &self.seen.view else { return self.doing("Editing", "the cluster can't be reached".into()) };
        if let Err(doing) = check(view, &self.seen.pools, self.allowed) {
            return Step { batch: None, effect: None, doing };
        }
        let change = Change::of(&self.batch);
        // Kept from the first look: after half an edit it would be too short.
        if self.batch.added.is_none() {
            self.batch.added = Some(self.missing_everywhere());
        }
        self.with(Effect::Edit(change), "Editing", "editing the configuration".into())
    }

    /// Entries that no pool's configuration holds: what a person had put there already is theirs.
    fn missing_everywhere(&self) -> Vec<String> {
        let held = |entry: &String| {
            self.seen.pools.iter().any(|pool| pool.entries.as_ref().is_ok_and(|held| held.contains(entry)))
        };
        self.batch.entries.iter().filter(|entry| !held(entry)).cloned().collect()
    }

    /// Every pool's configuration covers the batch.
    fn has_entries(&self) -> bool {
        let all = |entries: &Vec<String>| self.batch.entries.iter().all(|entry| covers(entries, entry));
        !self.seen.pools.is_empty() && self.seen.pools.iter().all(|pool| pool.entries.as_ref().is_ok_and(all))
    }

    fn restart(mut self) -> Step {
        if !self.has_entries() {
            return self.roll_back("somebody took the entries out of the configuration while the nodes were restarted");
        }
        let edited = self.batch.edited_at.as_ref().map_or(self.now, |time| time.0);
        if self.now.duration_since(edited) < SPREAD {
            return self.doing("Restarting", "the edit is spreading".into());
        }
        if let Some(at) = self.batch.nodes.iter().position(|node| node.state == NodeState::Restarting) {
            return self.await_node(at);
        }
        if let Some(borrowed) = self.batch.borrowed.clone() {
            return self.with(Effect::GiveBack(borrowed), "Restarting", "putting shard allocation back".into());
        }
        let Some(view) = &self.seen.view else {
            return self.doing("Restarting", "the cluster can't be reached".into());
        };
        if let Some(message) = self.unsettled(view) {
            return self.doing("Restarting", message);
        }
        match self.batch.nodes.iter().position(|node| node.state == NodeState::Pending) {
            Some(at) => self.begin_node(at),
            None => {
                self.batch.phase = BatchPhase::Done;
                self.batch.finished_at = Some(Time(self.now));
                self.doing("Done", "every node has loaded the entries".into())
            }
        }
    }

    /// Why the next node has to wait.
    fn unsettled(&self, view: &View) -> Option<String> {
        if view.nodes.len() != self.batch.nodes.len() {
            return Some(format!("{} of {} nodes are there", view.nodes.len(), self.batch.nodes.len()));
        }
        if view.moving > 0 || view.unassigned > i64::from(self.batch.unassigned_before) {
            return Some(format!(
                "waiting for shards: {} on the move, {} unassigned ({} before)",
                view.moving, view.unassigned, self.batch.unassigned_before
            ));
        }
        None
    }

    fn begin_node(mut self, at: usize) -> Step {
        let Some(view) = &self.seen.view else {
            return self.doing("Restarting", "the cluster can't be reached".into());
        };
        let node = self.batch.nodes[at].clone();
        let loaded = view.nodes.iter().find(|seen| seen.id == node.id);
        if loaded.is_some_and(|seen| self.batch.entries.iter().all(|entry| covers(&seen.allowlist, entry))) {
            self.batch.nodes[at].state = NodeState::Done;
            return self.doing("Restarting", format!("node {} has loaded the entries already", node.name));
        }
        let lonely = without_replica(view, Some(&node.id));
        if !self.allowed.unavailable && !lonely.is_empty() {
            return Step { batch: Some(self.batch), effect: None, doing: lonely_message(view, &lonely) };
        }
        let masters = view.nodes.iter().filter(|node| node.master_eligible).count();
        let votes = loaded.is_some_and(|seen| seen.master_eligible);
        let borrowed =
            Borrowed { allocation_enable: view.allocation_enable.clone(), voting_exclusion: masters == 2 && votes };
        self.batch.borrowed = Some(borrowed.clone());
        let begun = &mut self.batch.nodes[at];
        begun.state = NodeState::Restarting;
        begun.started_at = Some(Time(self.now));
        let (node, message) = (begun.clone(), self.progress(at));
        self.with(Effect::Restart(node, borrowed), "Restarting", message)
    }

    fn progress(&self, at: usize) -> String {
        format!("restarting node {} ({} of {})", self.batch.nodes[at].name, at + 1, self.batch.nodes.len())
    }

    fn await_node(self, at: usize) -> Step {
        let node = self.batch.nodes[at].clone();
        let begun = node.started_at.as_ref().map_or(self.now, |time| time.0);
        if self.now.duration_since(begun) >= NODE_DEADLINE {
            return self.roll_back(&format!(
                "node {} was not back after {} minutes",
                node.name,
                NODE_DEADLINE.as_mins()
            ));
        }
        let message = self.progress(at);
        let pod = self.seen.pools.iter().flat_map(|pool| &pool.pods).find(|pod| pod.name == node.pod);
        match pod {
            // Not evicted yet: a disruption budget held it back, or the operator died before it came to that.
            Some(pod) if pod.uid == node.pod_uid => match self.batch.borrowed.clone() {
                Some(borrowed) => self.with(Effect::Restart(node, borrowed), "Restarting", message),
                None => self.doing("Restarting", message),
            },
            Some(pod) if pod.ready => self.judge_node(at, pod.ip.clone(), message),
            _ => self.doing("Restarting", message),
        }
    }

    /// The pod is back: is it the same node, with the entries?
    fn judge_node(mut self, at: usize, ip: Option<String>, message: String) -> Step {
        let node = &self.batch.nodes[at];
        let back =
            self.seen.view.as_ref().and_then(|view| view.nodes.iter().find(|seen| Some(&seen.ip) == ip.as_ref()));
        match back {
            None => self.doing("Restarting", message),
            Some(seen) if seen.id != node.id => {
                let why = format!("node {} came back with another persistent id: it has lost its data", node.name);
                self.roll_back(&why)
            }
            Some(seen) if !self.batch.entries.iter().all(|entry| covers(&seen.allowlist, entry)) => {
                let why = format!(
                    "node {} came back without the entries: it does not read the ConfigMap that provider.statefulSets names",
                    node.name
                );
                self.roll_back(&why)
            }
            Some(_) => {
                self.batch.nodes[at].state = NodeState::Done;
                self.doing("Restarting", message)
            }
        }
    }

    fn abandon(mut self) -> Step {
        let why = "the provider of the SearchCluster was changed in the middle";
        self.batch = rollout::failed(&self.batch, why, self.now);
        self.doing("RolloutFailed", why.into())
    }

    fn roll_back(mut self, why: &str) -> Step {
        self.batch.phase = BatchPhase::RollingBack;
        self.batch.message = Some(why.to_owned());
        self.rolling_back()
    }

    fn rolling_back(self) -> Step {
        let message = self.batch.message.clone().unwrap_or_default();
        let opposite = match &self.batch.added {
            Some(added) => Change { add: self.batch.removes.clone(), remove: added.clone(), trust: None },
            None => Change::default(),
        };
        let effect = Effect::RollBack(opposite, self.batch.borrowed.clone());
        self.with(effect, "RollingBack", format!("{message}: putting the configuration back"))
    }
}

/// The batch after its settings were given back.
pub fn given_back(batch: &Batch) -> Batch {
    Batch { borrowed: None, ..batch.clone() }
}

/// The batch whose next step the apiserver forbids: it is put back, and says why.
pub fn forbidden(batch: &Batch, why: &str) -> Batch {
    Batch { phase: BatchPhase::RollingBack, message: Some(why.to_owned()), ..batch.clone() }
}

/// The batch after everything was put back.
pub fn rolled_back(batch: &Batch, now: Timestamp) -> Batch {
    Batch { phase: BatchPhase::Failed, borrowed: None, finished_at: Some(Time(now)), ..batch.clone() }
}

#[cfg(test)]
mod tests;
