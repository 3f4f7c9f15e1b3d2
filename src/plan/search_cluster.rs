//! The decision about a SearchCluster: what is reported, and what becomes of its allowlist.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::{
    AllowlistStatus, BatchPhase, SearchCluster, SearchClusterStatus,
    allowlist::{MAX_ENTRIES, TrustStatus},
    conditions::{self, ALLOWLIST_READY, READY, RECONCILING, STALLED, State},
    search_cluster::{Connection, Management},
};

pub mod deletion;
mod open_batch;
mod proposal;

use super::{
    allowlist::{self, Change, Wanted, covers},
    report::Note,
    restart::{Blocked, Effect, Node, Permissions, Pool, View},
    retention,
    rollout::Managed,
    trust,
    validate::Trouble,
    window::{self, Opening},
};

/// What was seen of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its UUID.
    pub uuid: String,
    /// `Elasticsearch` or `OpenSearch`.
    pub distribution: String,
    /// Its major version.
    pub major: u32,
    /// Its version.
    pub version: String,
    /// `green`, `yellow` or `red`.
    pub health: String,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

impl Reached {
    /// Entries that every node has loaded.
    pub fn effective(&self) -> Vec<String> {
        allowlist::effective(self.nodes.iter().map(|node| &node.allowlist))
    }

    /// What Reindexes need and not every node has loaded, as much as one batch takes: what is beyond that waits for the next one.
    pub fn missing(&self, cluster: &SearchCluster, wanted: &Wanted, trust: Option<&trust::Seen>) -> Change {
        let effective = self.effective();
        let add = wanted.keys().filter(|entry| !covers(&effective, entry)).take(MAX_ENTRIES).cloned().collect();
        let config_map = trust::config_map(cluster);
        let lacks_trust = trust::is_missing(trust, &config_map, &self.nodes);
        Change { add, trust: lacks_trust.then_some(config_map), ..Change::default() }
    }
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The cluster, or why it can't be seen.
    pub reached: Result<Reached, Trouble>,
    /// How its provider says that it is reached, as far as is known.
    pub connection: Option<Connection>,
    /// Entries that Reindexes need, as the watch last told.
    pub wanted: Wanted,
    /// Authorities of sources that the nodes are to trust, where that is asked for and needed.
    pub trust: Option<trust::Seen>,
    /// An older SearchCluster for the same cluster, which manages it.
    pub managed_by: Option<String>,
    /// A close look, where the provider can be changed: entries are pending or a batch is open.
    pub close: Option<Result<Close, Trouble>>,
    /// The operator is about to be uninstalled: no change begins.
    pub winding_down: bool,
}

/// A close look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The search cluster, or why it can't be seen.
    pub view: Result<View, Trouble>,
    /// How its nodes are configured.
    pub configuration: Configuration,
    /// Copies into or out of it that run.
    pub copies: Vec<String>,
    /// Entries that Reindexes need; read from the apiserver, not from a cache that may not be filled yet.
    pub needed: Wanted,
}

/// How the nodes of a cluster are configured, and who restarts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// By ConfigMaps; we do.
    Pools(Vec<Pool>),
    /// By an object of somebody who restarts them.
    Managed(Box<Managed>),
}

impl Configuration {
    /// By that object.
    pub fn managed(managed: Managed) -> Configuration {
        Configuration::Managed(Box::new(managed))
    }
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to be written, before the effect.
    pub status: SearchClusterStatus,
    /// What is done then.
    pub effect: Option<Effect>,
    /// What people are told.
    pub notes: Vec<Note>,
    /// When to look again.
    pub requeue: Duration,
}

/// Decides what follows from what was seen.
pub fn decide(cluster: &SearchCluster, seen: &Observation, now: Timestamp) -> Decision {
    let mut plan = Plan::new(cluster, now);
    plan.report_reached(seen);
    let open = plan.allowlist().batch.as_ref().is_some_and(|batch| batch.phase.closes_the_gate());
    if open {
        plan.go_on(seen);
    // One that is deleted is only there for what is put back.
    } else if seen.reached.is_ok() && cluster.metadata.deletion_timestamp.is_none() {
        plan.look_after(seen);
    }
    plan.finish(seen)
}

/// Whether a batch is open, which must be put back before the object may go.
pub fn is_open(status: Option<&SearchClusterStatus>) -> bool {
    let batch = status.and_then(|status| status.allowlist.as_ref()).and_then(|allowlist| allowlist.batch.as_ref());
    batch.is_some_and(|batch| batch.phase.closes_the_gate())
}

/// Whether somebody else restarts the nodes for a batch.
pub fn is_rolling_out(status: Option<&SearchClusterStatus>) -> bool {
    let batch = status.and_then(|status| status.allowlist.as_ref()).and_then(|allowlist| allowlist.batch.as_ref());
    batch.is_some_and(|batch| batch.phase == BatchPhase::RollingOut)
}

/// The reason while the edit that takes entries out, or puts them back, is refused. It is tried again at each look.
const TIDY_REFUSED: &str = "TidyRefused";

/// The status after that edit was refused.
pub fn tidy_refused(status: &mut SearchClusterStatus, why: &str, generation: i64, now: Timestamp) {
    for type_ in [ALLOWLIST_READY, STALLED] {
        let state = if type_ == STALLED { State::True } else { State::False };
        conditions::set(&mut status.conditions, type_, state, TIDY_REFUSED, why, generation, now);
    }
    conditions::clear(&mut status.conditions, RECONCILING);
}

struct Plan<'a> {
    cluster: &'a SearchCluster,
    status: SearchClusterStatus,
    effect: Option<Effect>,
    notes: Vec<Note>,
    now: Timestamp,
    generation: i64,
    /// kstatus: Some(stalled), with reason and message.
    waiting: Option<(bool, &'static str, String)>,
}

impl<'a> Plan<'a> {
    fn new(cluster: &'a SearchCluster, now: Timestamp) -> Plan<'a> {
        let mut status = cluster.status.clone().unwrap_or_default();
        let generation = cluster.metadata.generation.unwrap_or_default();
        status.observed_generation = Some(generation);
        Plan { cluster, status, effect: None, notes: vec![], now, generation, waiting: None }
    }

    fn allowlist(&mut self) -> &mut AllowlistStatus {
        self.status.allowlist.get_or_insert_default()
    }

    fn permissions(&self) -> Permissions {
        let spec = &self.cluster.spec.allowlist;
        Permissions {
            unavailable: spec.allow_unavailable,
            interrupt: spec.interrupt_running,
            override_git_ops: spec.override_git_ops,
        }
    }

    fn report_reached(&mut self, seen: &Observation) {
        let (restarting, rolling_out) = (is_open(Some(&self.status)), is_rolling_out(Some(&self.status)));
        self.status.connection.clone_from(&seen.connection);
        match &seen.reached {
            Ok(reached) => {
                if self.status.cluster_uuid.as_ref().is_some_and(|before| *before != reached.uuid) {
                    let message = format!("another cluster answers at the endpoint now: UUID {}", reached.uuid);
                    self.note(true, "ClusterChanged", &message);
                }
                self.status.cluster_uuid = Some(reached.uuid.clone());
                self.status.distribution = Some(reached.distribution.clone());
                self.status.version = Some(reached.version.clone());
                self.status.nodes = i32::try_from(reached.nodes.len()).ok();
                self.status.health = Some(reached.health.clone());
                let mut effective = reached.effective();
                let missing = reached.missing(self.cluster, &seen.wanted, seen.trust.as_ref());
                // Those that Reindexes need stay in the list, whatever else is on a long one.
                effective
                    .sort_by_key(|entry| !seen.wanted.keys().any(|wanted| covers(std::slice::from_ref(entry), wanted)));
                effective.truncate(MAX_ENTRIES);
                let config_map = trust::config_map(self.cluster);
                let allowlist = self.allowlist();
                // It is not looked at while a change is rolled out: what stood there stands.
                let mut left_out = vec![];
                if !rolling_out {
                    let before = allowlist.trust.take();
                    allowlist.trust = seen.trust.as_ref().map(|trust| TrustStatus {
                        effective: missing.trust.is_none(),
                        sources: trust.sources.iter().take(trust::NAMED).cloned().collect(),
                        left_out: trust.left_out.iter().take(trust::NAMED).cloned().collect(),
                        config_map,
                    });
                    left_out = trust::newly_left_out(before.as_ref(), allowlist.trust.as_ref());
                }
                allowlist.key = allowlist::key(&reached.distribution, reached.major).to_owned();
                allowlist.effective = effective;
                allowlist.pending = missing.add;
                allowlist.needs = allowlist::needs(&seen.wanted);
                allowlist.lacking = allowlist::lacking(reached.nodes.iter().map(|node| (&node.name, &node.allowlist)));
                retention::forget(allowlist, &reached.nodes);
                left_out.iter().for_each(|message| self.note(true, "SourceLeftOut", message));
                let nodes = reached.nodes.len();
                let unit = if nodes == 1 { "node" } else { "nodes" };
                let message = format!("{} {}, {nodes} {unit}", reached.distribution, reached.version);
                self.condition(READY, State::True, "Reachable", &message);
            }
            Err(trouble) => {
                let before = conditions::get(&self.status.conditions, READY).map(|condition| condition.reason.clone());
                self.condition(READY, State::False, trouble.reason, &trouble.message);
                // While its nodes restart a cluster is missed for a moment: expected, and told by the batch.
                if restarting {
                    return;
                }
                if before.as_deref() != Some(trouble.reason) {
                    self.note(true, trouble.reason, &trouble.message);
                }
                self.waiting = Some((true, trouble.reason, trouble.message.clone()));
            }
        }
    }

    /// No change is on its way: is one needed, and may it be made?
    fn look_after(&mut self, seen: &Observation) {
        if !seen.winding_down {
            self.take_out(seen);
        }
        let pending = self.pending(seen);
        // It stands only as long as everything that led to it does.
        let proposed = self.allowlist().batch.take_if(|batch| batch.phase == BatchPhase::Proposed);
        self.allowlist().instruction = None;
        if self.effect.is_some() {
            let said = conditions::get(&self.status.conditions, ALLOWLIST_READY);
            if let Some(message) = said.filter(|said| said.reason == TIDY_REFUSED).map(|said| said.message.clone()) {
                return self.hold(true, TIDY_REFUSED, &message);
            }
            // One edit at a time: both would be of the same ConfigMap.
            if !pending.is_needless() {
                return self.hold(false, "Pending", "the change of the allowlist is being prepared");
            }
        }
        if pending.is_needless() && seen.trust.as_ref().is_none_or(|trust| trust.kept.is_ok()) {
            let without = match seen.trust.as_ref().is_some_and(|trust| !trust.left_out.is_empty()) {
                true => ", without the authorities that status.allowlist.trust.leftOut names",
                false => "",
            };
            let message = format!("every node has loaded what Reindexes need{without}");
            return self.condition(ALLOWLIST_READY, State::True, "Effective", &message);
        }
        if let Some(other) = &seen.managed_by {
            let message =
                format!("SearchCluster {other} stands for the same cluster, is older, and manages its allowlist");
            return self.hold(false, "ManagedByAnother", &message);
        }
        if let Some(Err(blocked)) = seen.trust.as_ref().map(|trust| &trust.kept) {
            return self.hold(!blocked.passes, blocked.reason, &blocked.message);
        }
        let failed = self
            .allowlist()
            .batch
            .clone()
            .filter(|batch| batch.phase == BatchPhase::Failed && batch.generation == self.generation);
        if let Some(batch) = failed {
            let why = batch.message.unwrap_or_default();
            let (reason, what) = match self.cluster.spec.provider.stateful_sets {
                Some(_) => ("RestartFailed", "the restart was stopped and put back"),
                None => ("RolloutFailed", "the rollout was not finished"),
            };
            let message = format!("{what}: {why}. It is tried again after the next edit of this SearchCluster's spec");
            return self.hold(true, reason, &message);
        }
        if self.cluster.spec.allowlist.management == Management::Verify || !self.cluster.spec.provider.can_change() {
            self.instruct(seen);
            let entries = "the missing entries to the configuration of every node";
            let change = trust::in_words(entries, &pending);
            let message = format!("a person must add {change}, and restart the nodes one by one");
            return self.hold(false, "VerifyOnly", &message);
        }
        // What is in the way from here on passes.
        if proposed.is_some() {
            self.allowlist().batch.clone_from(&proposed);
        }
        if seen.winding_down {
            return self.hold(false, "Pending", "the operator is being uninstalled: no change begins");
        }
        match &seen.close {
            Some(Ok(close @ Close { view: Ok(view), configuration, .. })) => {
                // What was read stays what is approved of; whoever approves of nothing gets all at once.
                let by_approval = self.cluster.spec.allowlist.management == Management::Approval;
                let missed = self.missed(close);
                let change = proposal::change(proposed.as_ref().filter(|_| by_approval), pending, &missed);
                match self.freeze(&change, view, configuration) {
                    Ok((batch, how)) => self.propose(proposed, batch, &how),
                    Err(blocked) => self.refuse(&blocked, seen),
                }
            }
            Some(Err(trouble) | Ok(Close { view: Err(trouble), .. })) => {
                self.hold(true, trouble.reason, &trouble.message);
            }
            None => self.hold(false, "Pending", "the change of the allowlist is being prepared"),
        }
    }

    /// What is needed and not in effect, and what may go with it.
    fn pending(&mut self, seen: &Observation) -> Change {
        let cluster = self.cluster;
        let allowlist = self.allowlist();
        let lacking = allowlist.trust.as_ref().filter(|trust| !trust.effective);
        let remove = match &seen.close {
            Some(Ok(close)) if !retention::is_at_once(cluster) => {
                retention::unneeded(cluster, allowlist, &close.needed)
            }
            _ => vec![],
        };
        let trust = lacking.map(|trust| trust.config_map.clone());
        let mut change = Change { add: allowlist.pending.clone(), remove, trust };
        if let (false, Some(Ok(close))) = (change.is_needless(), &seen.close) {
            retention::add(&mut change.add, &self.missed(close));
        }
        change
    }

    /// Entries that a restart would take away, since the configuration lacks by now what nodes have loaded and what is needed again.
    fn missed(&mut self, close: &Close) -> Vec<String> {
        match close.configuration {
            Configuration::Pools(_) => retention::missed(self.allowlist(), &close.needed),
            // There nothing is taken out without a restart.
            Configuration::Managed(_) => vec![],
        }
    }

    /// Takes out what nobody needs any more, or puts back what is needed again, where that restarts nothing.
    fn take_out(&mut self, seen: &Observation) {
        let Some(Ok(Close { configuration: Configuration::Pools(pools), needed, .. })) = &seen.close else { return };
        if seen.managed_by.is_some() {
            return;
        }
        let is_open = window::opening(self.cluster.spec.allowlist.window.as_ref(), self.now) == Ok(Opening::Open);
        let cluster = self.cluster;
        let allowlist = self.allowlist();
        let Some(change) = retention::at_once(cluster, allowlist, needed, pools, is_open) else { return };
        retention::begin(allowlist, &change);
        self.effect = Some(Effect::Tidy(change));
    }

    fn refuse(&mut self, blocked: &Blocked, seen: &Observation) {
        if blocked.reason == "ConfigOwned" {
            self.instruct(seen);
        }
        self.hold(!blocked.passes, blocked.reason, &blocked.message);
    }

    /// The exact text for a person.
    fn instruct(&mut self, seen: &Observation) {
        if let Some(Ok(Close { configuration: Configuration::Managed(managed), .. })) = &seen.close {
            self.allowlist().instruction = Some(managed.instruction.clone());
            return;
        }
        let sets = self.cluster.spec.provider.stateful_sets.iter().flatten();
        let places: Vec<_> =
            sets.map(|pool| format!("key {} of ConfigMap {}", pool.config_map.key, pool.config_map.name)).collect();
        let allowlist = self.allowlist();
        let line = allowlist::line(&allowlist.key, &allowlist.effective, &allowlist.pending);
        allowlist.instruction = Some(match places.is_empty() {
            true => line,
            false => format!("{line}   # in {}", places.join(", ")),
        });
    }

    /// The allowlist lacks something.
    fn hold(&mut self, stalled: bool, reason: &'static str, message: &str) {
        self.condition(ALLOWLIST_READY, State::False, reason, message);
        self.waiting.get_or_insert_with(|| (stalled, reason, message.to_owned()));
    }

    fn finish(mut self, seen: &Observation) -> Decision {
        for type_ in [RECONCILING, STALLED] {
            let wanted = self.waiting.clone().filter(|(stalled, ..)| (type_ == STALLED) == *stalled);
            match wanted {
                Some((_, reason, message)) => self.condition(type_, State::True, reason, &message),
                None => conditions::clear(&mut self.status.conditions, type_),
            }
        }
        let requeue = self.requeue(seen);
        Decision { status: self.status, effect: self.effect, notes: self.notes, requeue }
    }

    /// Soon while something is on its way, rarely while nobody needs the cluster.
    fn requeue(&self, seen: &Observation) -> Duration {
        let in_use = !seen.wanted.is_empty();
        // Somebody else's rollout takes minutes, and each look costs calls of theirs.
        if is_rolling_out(Some(&self.status)) {
            return Duration::from_secs(10);
        }
        let seconds = match (is_open(Some(&self.status)), &seen.reached, in_use) {
            (true, ..) => 2,
            (false, Err(_), true) => 10,
            (false, Err(_), false) => 60,
            (false, Ok(_), true) => 30,
            (false, Ok(_), false) => 300,
        };
        Duration::from_secs(seconds)
    }

    fn note(&mut self, warning: bool, reason: &'static str, message: &str) {
        self.notes.push(Note { warning, reason, message: message.to_owned() });
    }

    fn condition(&mut self, type_: &str, state: State, reason: &str, message: &str) {
        conditions::set(&mut self.status.conditions, type_, state, reason, message, self.generation, self.now);
    }
}

#[cfg(test)]
mod tests;
