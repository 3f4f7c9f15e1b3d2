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

use super::{allowlist::covers, spec_hash::short_hash};

/// How long a node may take to come back with the new configuration.
pub const NODE_DEADLINE: SignedDuration = SignedDuration::from_mins(10);
/// How long an edited ConfigMap takes to reach the kubelet that mounts it into a new pod.
pub const SPREAD: SignedDuration = SignedDuration::from_secs(5);
/// How many indices a message names.
const NAMED: usize = 10;

/// A node of the search cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Persistent id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Its IP, which is its pod's.
    pub ip: String,
    /// It may vote and be elected.
    pub master_eligible: bool,
    /// Entries that it has loaded.
    pub allowlist: Vec<String>,
    /// Where it keeps its data.
    pub path_data: Vec<String>,
}

/// A copy of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its index.
    pub index: String,
    /// Its number.
    pub number: u32,
    /// Whether it is the primary.
    pub primary: bool,
    /// Whether it can be read.
    pub started: bool,
    /// Id of its node.
    pub node: Option<String>,
}

/// The search cluster, looked at closely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Id of the elected master.
    pub master: String,
    /// Its shards.
    pub shards: Vec<Shard>,
    /// Shards that are being made or moved.
    pub moving: i64,
    /// Shards without a node.
    pub unassigned: i64,
    /// `cluster.routing.allocation.enable`, persistent.
    pub allocation_enable: Option<String>,
    /// Reindex tasks that run on it, whoever started them.
    pub tasks: usize,
}

/// One node pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its StatefulSet.
    pub stateful_set: String,
    /// Replicas that are declared; None if the StatefulSet does not exist.
    pub replicas: Option<i32>,
    /// A rollout has begun and not ended, or waits for somebody.
    pub rolling_out: bool,
    /// Its configuration: `configmap/key`.
    pub config: String,
    /// Who applies that again and again.
    pub owner: Option<String>,
    /// Entries in the configuration, or why it can't be edited.
    pub entries: Result<Vec<String>, String>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// A pod of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// UID; a new one is a new pod.
    pub uid: String,
    /// IP.
    pub ip: Option<String>,
    /// It is ready, and not on its way out.
    pub ready: bool,
    /// Paths in its container that survive the pod.
    pub durable_paths: Vec<String>,
}

/// Why nothing is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Reason of a condition.
    pub reason: &'static str,
    /// What is in the way, and what to do.
    pub message: String,
}

/// What a person allowed beyond the careful default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// `allowlist.allowUnavailable`.
    pub unavailable: bool,
    /// `allowlist.interruptRunning`.
    pub interrupt: bool,
}

/// What is seen while a batch is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The search cluster; None while it can't be reached.
    pub view: Option<View>,
    /// The node pools.
    pub pools: Vec<Pool>,
    /// Copies into or out of the cluster that run, by name; read from the apiserver, not from a cache.
    pub copies: Vec<String>,
    /// The SearchCluster is being deleted.
    pub deleting: bool,
}

/// What is done after the batch was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Add the batch's entries to the configuration.
    Edit(Vec<String>),
    /// Keep replicas where they are, flush, take the node out of the vote if need be, and evict its pod.
    Restart(BatchNode, Borrowed),
    /// Put back what was changed on the cluster.
    GiveBack(Borrowed),
    /// Take these entries out of the configuration again, and put back what was changed on the cluster.
    RollBack(Vec<String>, Option<Borrowed>),
}

/// The next state of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The batch; None if it was given up before anything was touched.
    pub batch: Option<Batch>,
    /// What is done then.
    pub effect: Option<Effect>,
    /// What it waits for or does: reason and message.
    pub doing: Blocked,
}

/// Freezes a batch, if nothing is in the way.
///
/// # Errors
/// What is in the way.
pub fn freeze(
    entries: &[String],
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
    let identity: Vec<&str> =
        entries.iter().map(String::as_str).chain(nodes.iter().map(|node| node.pod_uid.as_str())).collect();
    Ok(Batch {
        id: short_hash(identity.join("\n").as_bytes()),
        entries: entries.to_vec(),
        added: None,
        phase: BatchPhase::Draining,
        generation,
        started_at: Time(now),
        finished_at: None,
        edited_at: None,
        message: None,
        unassigned_before: i32::try_from(view.unassigned).unwrap_or(i32::MAX),
        borrowed: None,
        nodes,
    })
}

/// Every rule that must hold before nodes are restarted.
fn check(view: &View, pools: &[Pool], allowed: Permissions) -> Result<(), Blocked> {
    for pool in pools {
        check_pool(pool)?;
    }
    check_membership(view, pools)?;
    if allowed.unavailable {
        return Ok(());
    }
    let lonely = without_replica(view, None);
    if !lonely.is_empty() {
        return Err(lonely_message(&lonely));
    }
    let masters = view.nodes.iter().filter(|node| node.master_eligible).count();
    if masters < 3 {
        return blocked(
            "TooFewMasters",
            format!(
                "the cluster has {masters} master-eligible nodes: with fewer than 3 a restart makes it unavailable. Add nodes, or set allowlist.allowUnavailable"
            ),
        );
    }
    Ok(())
}

fn check_pool(pool: &Pool) -> Result<(), Blocked> {
    let name = &pool.stateful_set;
    let Some(replicas) = pool.replicas else {
        return blocked("StatefulSetNotFound", format!("StatefulSet {name} (provider.statefulSets) does not exist"));
    };
    if let Some(owner) = &pool.owner {
        return blocked(
            "ConfigOwned",
            format!(
                "ConfigMap {} is applied by {owner}, which would undo an edit: the line must be committed there",
                pool.config
            ),
        );
    }
    if let Err(why) = &pool.entries {
        return blocked("ConfigNotEditable", format!("ConfigMap {}: {why}", pool.config));
    }
    if pool.rolling_out {
        return blocked(
            "RolloutPending",
            format!(
                "StatefulSet {name} has a rollout of its own that is not finished (updateRevision and currentRevision differ): restarting pods now would release it"
            ),
        );
    }
    let ready = pool.pods.iter().filter(|pod| pod.ready).count();
    if i64::from(replicas) != ready as i64 || pool.pods.len() != ready {
        return blocked("NodesNotReady", format!("{ready} of {replicas} pods of StatefulSet {name} are ready"));
    }
    Ok(())
}

fn check_membership(view: &View, pools: &[Pool]) -> Result<(), Blocked> {
    let pods: Vec<&Pod> = pools.iter().flat_map(|pool| &pool.pods).collect();
    let strangers: Vec<_> = view
        .nodes
        .iter()
        .filter(|node| !pods.iter().any(|pod| pod.ip.as_ref() == Some(&node.ip)))
        .map(|node| node.name.as_str())
        .collect();
    if !strangers.is_empty() || pods.len() != view.nodes.len() {
        return blocked(
            "NodesNotManaged",
            format!(
                "the cluster has {} nodes, provider.statefulSets {} pods; nodes without a pod there: [{}]. Name every node pool",
                view.nodes.len(),
                pods.len(),
                strangers.join(", ")
            ),
        );
    }
    for (pod, node) in
        pods.iter().filter_map(|pod| Some((pod, view.nodes.iter().find(|node| Some(&node.ip) == pod.ip.as_ref())?)))
    {
        let durable = |path: &String| pod.durable_paths.iter().any(|mount| is_below(path, mount));
        if !node.path_data.iter().all(durable) {
            return blocked(
                "EphemeralData",
                format!(
                    "pod {} keeps its data ({}) on a volume that does not survive it: a restart would lose it. Use a volumeClaimTemplate",
                    pod.name,
                    node.path_data.join(", ")
                ),
            );
        }
    }
    Ok(())
}

fn is_below(path: &str, mount: &str) -> bool {
    path == mount || path.strip_prefix(mount.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// Indices that have a primary (on `node`, if given) without a started replica on another node.
fn without_replica(view: &View, node: Option<&str>) -> BTreeSet<String> {
    let elsewhere = |primary: &Shard| {
        view.shards.iter().any(|copy| {
            !copy.primary
                && copy.started
                && copy.index == primary.index
                && copy.number == primary.number
                && copy.node != primary.node
        })
    };
    let concerned = |shard: &&Shard| shard.primary && (node.is_none() || shard.node.as_deref() == node);
    view.shards.iter().filter(concerned).filter(|shard| !elsewhere(shard)).map(|shard| shard.index.clone()).collect()
}

fn lonely_message(indices: &BTreeSet<String>) -> Blocked {
    let named: Vec<_> = indices.iter().take(NAMED).map(String::as_str).collect();
    let more = if indices.len() > NAMED { format!(" and {} more", indices.len() - NAMED) } else { String::new() };
    Blocked {
        reason: "IndexWithoutReplica",
        message: format!(
            "a restart would make these indices unavailable, as they have a shard without a started replica: {}{more}. Give them a replica, or set allowlist.allowUnavailable",
            named.join(", ")
        ),
    }
}

fn blocked<T>(reason: &'static str, message: String) -> Result<T, Blocked> {
    Err(Blocked { reason, message })
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
        BatchPhase::Done | BatchPhase::Failed => run.doing("Done", "the change has ended".into()),
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
        Step { batch: Some(self.batch), effect: None, doing: Blocked { reason, message } }
    }

    fn with(self, effect: Effect, reason: &'static str, message: String) -> Step {
        Step { batch: Some(self.batch), effect: Some(effect), doing: Blocked { reason, message } }
    }

    fn drain(mut self) -> Step {
        let Some(view) = &self.seen.view else { return self.doing("Draining", "the cluster can't be reached".into()) };
        if !self.allowed.interrupt && (!self.seen.copies.is_empty() || view.tasks > 0) {
            let names = self.seen.copies.join(", ");
            let message = format!(
                "waiting for {} running reindex tasks to end before the restart [{names}]",
                view.tasks.max(self.seen.copies.len())
            );
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
        let entries = self.batch.entries.clone();
        // Kept from the first look: after half an edit it would be too short.
        if self.batch.added.is_none() {
            self.batch.added = Some(self.missing_everywhere());
        }
        self.with(Effect::Edit(entries), "Editing", "editing the configuration".into())
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
        self.seen.pools.iter().all(|pool| pool.entries.as_ref().is_ok_and(all))
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
            let Blocked { reason, message } = lonely_message(&lonely);
            return self.doing(reason, message);
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

    fn roll_back(mut self, why: &str) -> Step {
        self.batch.phase = BatchPhase::RollingBack;
        self.batch.message = Some(why.to_owned());
        self.rolling_back()
    }

    fn rolling_back(self) -> Step {
        let message = self.batch.message.clone().unwrap_or_default();
        let effect = Effect::RollBack(self.batch.added.clone().unwrap_or_default(), self.batch.borrowed.clone());
        self.with(effect, "RollingBack", format!("{message}: putting the configuration back"))
    }
}

/// The batch after its settings were given back.
pub fn given_back(batch: &Batch) -> Batch {
    Batch { borrowed: None, ..batch.clone() }
}

/// The batch after everything was put back.
pub fn rolled_back(batch: &Batch, now: Timestamp) -> Batch {
    Batch { phase: BatchPhase::Failed, borrowed: None, finished_at: Some(Time(now)), ..batch.clone() }
}

#[cfg(test)]
mod tests;
