//! Scenarios of a rollout by somebody else: a healthy cluster of three nodes, and one mutation.

use super::*;
use crate::plan::restart::{Node, Shard};

const ENTRY: &str = "src:9200";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn entries() -> Vec<String> {
    vec![ENTRY.to_owned()]
}

fn change() -> Change {
    Change { add: entries(), ..Change::default() }
}

fn with_trust() -> Change {
    Change { trust: Some("es-1-reindex-sources".into()), ..change() }
}

fn view() -> View {
    let node =
        |n: usize| Node { id: format!("id-{n}"), name: format!("n-{n}"), master_eligible: true, ..Node::default() };
    let shard = |primary, node: &str| Shard {
        index: "products".into(),
        number: 0,
        primary,
        started: true,
        node: Some(node.into()),
    };
    View {
        nodes: (0..3).map(node).collect(),
        shards: vec![shard(true, "id-1"), shard(false, "id-2")],
        ..View::default()
    }
}

fn managed() -> Managed {
    Managed {
        object: "Elasticsearch es-1".into(),
        configured: Ok(vec![]),
        held: vec![],
        trust: Ok(false),
        owner: None,
        progress: Progress::Steady,
        nodes: Some(3),
        instruction: String::new(),
    }
}

fn rolling() -> Progress {
    Progress::Rolling { message: "ApplyingChanges".into() }
}

fn stopped() -> Progress {
    Progress::Failed { reason: "ElasticsearchInvalid", message: "no such field".into() }
}

fn stuck() -> Progress {
    Progress::Stuck { reason: "ElasticsearchStalled", message: "no room".into() }
}

/// The world that a batch acts on; somebody else rolls the nodes when the test says so.
struct World {
    batch: Option<Batch>,
    view: Option<View>,
    managed: Managed,
    copies: Vec<String>,
    deleting: bool,
    now: i64,
    edits: usize,
}

impl World {
    fn new() -> World {
        World::of(&change())
    }

    fn of(change: &Change) -> World {
        let batch = freeze(change, &view(), &managed(), Permissions::default(), 1, at(0)).unwrap();
        World {
            batch: Some(batch),
            view: Some(view()),
            managed: managed(),
            copies: vec![],
            deleting: false,
            now: 0,
            edits: 0,
        }
    }

    /// Drained and changed; the rollout has begun.
    fn rolling_out() -> World {
        World::rolling_out_with(&change())
    }

    fn rolling_out_with(change: &Change) -> World {
        let mut world = World::of(change);
        world.pass();
        world.pass();
        world.managed.progress = rolling();
        assert_eq!((world.phase(), world.edits), (Some(BatchPhase::RollingOut), 1));
        world
    }

    /// One pass: the decision, then its effect.
    fn pass(&mut self) -> Blocked {
        self.now += 1;
        let seen =
            Seen { view: self.view.as_ref(), managed: &self.managed, copies: &self.copies, deleting: self.deleting };
        let step = advance(self.batch.as_ref().unwrap(), &seen, Permissions::default(), at(self.now));
        self.batch = step.batch;
        match step.effect {
            Some(Effect::Edit(change)) => {
                self.edits += 1;
                self.managed.configured = Ok(change.add);
                self.managed.trust = Ok(change.trust.is_some());
                self.batch = self.batch.as_ref().map(|batch| applied(batch, at(self.now)));
            }
            Some(Effect::GiveBack(_)) => self.batch.as_mut().unwrap().borrowed = None,
            Some(effect) => panic!("{effect:?}"),
            None => {}
        }
        step.doing
    }

    fn load(&mut self, nodes: usize) {
        for node in self.view.as_mut().unwrap().nodes.iter_mut().take(nodes) {
            node.allowlist = entries();
        }
    }

    fn phase(&self) -> Option<BatchPhase> {
        self.batch.as_ref().map(|batch| batch.phase)
    }
}

fn refused(mutate: impl Fn(&mut View, &mut Managed)) -> &'static str {
    let (mut view, mut managed) = (view(), managed());
    mutate(&mut view, &mut managed);
    freeze(&change(), &view, &managed, Permissions::default(), 1, at(0))
        .map_or_else(|blocked| blocked.reason, |_| "frozen")
}

#[test]
fn whatever_is_in_the_way_is_named() {
    assert_eq!(refused(|_, _| {}), "frozen");
    let unmanaged = Blocked::by("Unmanaged", "paused".into());
    assert_eq!(refused(|_, managed| managed.configured = Err(unmanaged.clone())), "Unmanaged");
    assert_eq!(refused(|_, managed| managed.progress = rolling()), "RolloutInProgress");
    assert_eq!(refused(|_, managed| managed.progress = stuck()), "ElasticsearchStalled");
    assert_eq!(refused(|_, managed| managed.progress = stopped()), "ElasticsearchInvalid");
    assert_eq!(refused(|_, managed| managed.owner = Some("Argo CD".into())), "ConfigOwned");
    assert_eq!(refused(|view, _| (view.shards[1].started, view.shards[1].node) = (false, None)), "IndexWithoutReplica");
    assert_eq!(refused(|view, _| view.nodes[1].master_eligible = false), "TooFewMasters");
    assert_eq!(refused(|view, _| view.nodes.truncate(2)), "NodesNotReady");
}

#[test]
fn what_a_person_allowed_is_not_in_the_way() {
    let (mut view, mut managed) = (view(), managed());
    view.shards.clear();
    view.nodes.truncate(1);
    managed.nodes = Some(1);
    managed.owner = Some("Flux".into());
    let allowed = Permissions { unavailable: true, override_git_ops: true, ..Permissions::default() };
    assert!(freeze(&change(), &view, &managed, allowed, 1, at(0)).is_ok());
}

#[test]
fn the_change_is_made_once_and_done_when_every_node_has_it_and_the_provider_rests() {
    let mut world = World::rolling_out();
    for loaded in 0..3 {
        world.load(loaded);
        let doing = world.pass();
        assert_eq!(world.phase(), Some(BatchPhase::RollingOut));
        assert!(doing.message.starts_with(&format!("{loaded} of 3 nodes")), "{}", doing.message);
        assert!(doing.message.contains("ApplyingChanges"), "{}", doing.message);
    }
    world.load(3);
    world.pass();
    assert_eq!(world.phase(), Some(BatchPhase::RollingOut), "the provider is still at it");
    world.managed.progress = Progress::Steady;
    assert_eq!(world.pass().reason, "Done");
    assert_eq!((world.phase(), world.edits), (Some(BatchPhase::Done), 1));
    assert_eq!(world.batch.unwrap().added, Some(entries()));
}

#[test]
fn a_provider_that_rests_is_not_believed_before_every_node_has_it() {
    let mut world = World::rolling_out();
    world.managed.progress = Progress::Steady;
    world.load(2);
    world.pass();
    assert_eq!(world.phase(), Some(BatchPhase::RollingOut), "two of three");
    world.load(3);
    world.view.as_mut().unwrap().nodes.pop();
    world.pass();
    assert_eq!(world.phase(), Some(BatchPhase::RollingOut), "the third is absent");
}

#[test]
fn a_copy_is_waited_for_before_anything_is_touched() {
    let mut world = World::new();
    world.copies = vec!["shop/orders".into()];
    assert_eq!(world.pass().reason, "Draining");
    world.copies.clear();
    world.view.as_mut().unwrap().tasks = 1;
    assert_eq!(world.pass().reason, "Draining", "somebody else's reindex task counts too");
    assert_eq!(world.edits, 0);
}

#[test]
fn what_gets_in_the_way_before_the_change_ends_the_batch_without_a_trace() {
    let mut world = World::new();
    world.pass();
    world.managed.progress = rolling();
    assert_eq!(world.pass().reason, "RolloutInProgress");
    assert_eq!((world.batch, world.edits), (None, 0));
}

#[test]
fn a_change_that_somebody_reverts_is_not_made_again() {
    let mut world = World::rolling_out();
    world.managed.configured = Ok(vec![]);
    assert_eq!(world.pass().reason, "RolloutFailed");
    assert_eq!(world.phase(), Some(BatchPhase::RollingOut), "nodes restart once more, and no copy begins meanwhile");
    world.managed.progress = Progress::Steady;
    assert_eq!(world.pass().reason, "RolloutFailed");
    assert_eq!((world.phase(), world.edits), (Some(BatchPhase::Failed), 1));
}

#[test]
fn the_gate_stays_closed_while_nodes_may_still_restart_unless_copies_may_be_interrupted() {
    let mut world = World::rolling_out();
    world.pass();
    world.now += PATIENCE.as_secs();
    let doing = world.pass();
    assert_eq!((doing.reason, doing.passes, world.phase()), ("RolloutFailed", false, Some(BatchPhase::RollingOut)));
    assert!(doing.message.contains("ApplyingChanges"), "{}", doing.message);
    let (mut late, mut interrupted) = (world.batch.clone().unwrap(), world.batch.clone().unwrap());
    // Late is not never.
    world.load(3);
    world.managed.progress = Progress::Steady;
    let seen = Seen { view: world.view.as_ref(), managed: &world.managed, copies: &[], deleting: false };
    late = advance(&late, &seen, Permissions::default(), at(world.now)).batch.unwrap();
    assert_eq!((late.phase, late.message), (BatchPhase::Done, None));
    let nodes = view();
    let mut rolling = managed();
    rolling.configured = Ok(entries());
    rolling.progress = self::rolling();
    let seen = Seen { view: Some(&nodes), managed: &rolling, copies: &[], deleting: false };
    let allowed = Permissions { interrupt: true, ..Permissions::default() };
    interrupted = advance(&interrupted, &seen, allowed, at(world.now)).batch.unwrap();
    assert_eq!(interrupted.phase, BatchPhase::Failed);
}

#[test]
fn trust_and_entries_are_one_change_and_both_are_looked_for() {
    let mut world = World::rolling_out_with(&with_trust());
    world.managed.progress = Progress::Steady;
    world.load(3);
    let doing = world.pass();
    assert!(doing.message.starts_with("0 of 3 nodes"), "{}", doing.message);
    for node in &mut world.view.as_mut().unwrap().nodes {
        node.sources = vec!["es-1-reindex-sources".into()];
    }
    world.pass();
    assert_eq!((world.phase(), world.edits), (Some(BatchPhase::Done), 1));
}

#[test]
fn trust_that_somebody_takes_back_is_not_asked_for_again() {
    let mut world = World::rolling_out_with(&with_trust());
    world.managed.trust = Ok(false);
    assert_eq!(world.pass().reason, "RolloutFailed");
    assert_eq!(world.edits, 1);
}

#[test]
fn what_keeps_trust_from_being_changed_holds_up_only_a_change_that_wants_it() {
    let conflict = Managed { trust: Err(Blocked::by("ConfigNotEditable", "a store".into())), ..managed() };
    let try_it = |change: &Change| freeze(change, &view(), &conflict, Permissions::default(), 1, at(0));
    assert_eq!(try_it(&with_trust()).unwrap_err().message, "a store");
    let plain = try_it(&change()).unwrap();
    let trusting = freeze(&with_trust(), &view(), &managed(), Permissions::default(), 1, at(0)).unwrap();
    assert_ne!(plain.id, trusting.id, "an approval of one is none of the other");
}

#[test]
fn a_provider_that_stops_ends_the_batch_and_keeps_the_change() {
    let mut world = World::rolling_out();
    world.managed.progress = stopped();
    let doing = world.pass();
    assert!(
        doing.message.contains("ElasticsearchInvalid") && doing.message.contains("no such field"),
        "{}",
        doing.message
    );
    assert_eq!((world.phase(), world.managed.configured), (Some(BatchPhase::Failed), Ok(entries())));
}

#[test]
fn a_provider_that_is_stuck_is_told_and_waited_for_as_long_as_any() {
    let mut world = World::rolling_out();
    world.load(1);
    world.managed.progress = stuck();
    let doing = world.pass();
    assert_eq!((doing.reason, doing.passes, world.phase()), ("RollingOut", true, Some(BatchPhase::RollingOut)));
    assert!(doing.message.contains("1 of 3 nodes") && doing.message.contains("no room"), "{}", doing.message);
    // It goes on by itself.
    let mut later =
        World { batch: world.batch.clone(), view: world.view.clone(), now: world.now, ..World::rolling_out() };
    later.managed.configured = Ok(entries());
    later.load(3);
    later.managed.progress = Progress::Steady;
    later.pass();
    assert_eq!(later.phase(), Some(BatchPhase::Done));
    // Or it doesn't.
    world.now += PATIENCE.as_secs();
    let doing = world.pass();
    assert_eq!((doing.reason, doing.passes, world.phase()), ("RolloutFailed", false, Some(BatchPhase::RollingOut)));
    assert!(doing.message.contains("no room") && doing.message.contains("no copy begins"), "{}", doing.message);
    world.managed.progress = Progress::Steady;
    assert_eq!(world.pass().reason, "RolloutFailed");
    assert_eq!((world.phase(), world.edits), (Some(BatchPhase::Failed), 1));
}

#[test]
fn a_provider_that_is_stuck_before_the_change_keeps_it_from_being_made() {
    let mut world = World::new();
    world.pass();
    world.managed.progress = stuck();
    assert_eq!(world.pass().reason, "ElasticsearchStalled");
    assert_eq!((world.batch, world.edits), (None, 0));
}

#[test]
fn only_a_rollout_that_comes_to_no_further_node_runs_out_of_time() {
    let mut world = World::rolling_out();
    for loaded in 0..3 {
        world.load(loaded);
        world.pass();
        world.now += PATIENCE.as_secs() - 10;
        world.pass();
        assert_eq!(world.phase(), Some(BatchPhase::RollingOut), "{loaded} loaded");
    }
    world.now += 10;
    let doing = world.pass();
    assert_eq!(doing.reason, "RolloutFailed");
    assert!(doing.message.contains("2 of 3 nodes"), "{}", doing.message);
}

#[test]
fn a_cluster_that_is_away_while_its_only_node_restarts_is_waited_for() {
    let mut world = World::rolling_out();
    world.load(1);
    world.pass();
    let view = world.view.take();
    assert_eq!(world.pass().reason, "RollingOut");
    assert_eq!(world.batch.as_ref().unwrap().loaded, Some(1), "what was seen is not forgotten");
    world.view = view;
    world.load(3);
    world.managed.progress = Progress::Steady;
    world.pass();
    assert_eq!(world.phase(), Some(BatchPhase::Done));
}

#[test]
fn a_glob_that_covers_the_entry_counts() {
    let mut world = World::new();
    world.managed.configured = Ok(vec!["*:9200".into()]);
    world.pass();
    world.pass();
    assert_eq!((world.phase(), world.edits), (Some(BatchPhase::RollingOut), 0));
}

#[test]
fn deleting_the_search_cluster_lets_go_at_once() {
    let mut world = World::new();
    world.deleting = true;
    world.pass();
    assert_eq!((world.batch, world.edits), (None, 0));
    let mut world = World::rolling_out();
    world.deleting = true;
    world.pass();
    assert_eq!((world.phase(), world.managed.configured), (Some(BatchPhase::Failed), Ok(entries())));
}

#[test]
fn a_restart_of_ours_is_put_back_when_the_provider_is_changed_in_the_middle() {
    let mut world = World::new();
    let batch = world.batch.as_mut().unwrap();
    batch.phase = BatchPhase::Restarting;
    batch.borrowed = Some(crate::api::allowlist::Borrowed { allocation_enable: None, voting_exclusion: false });
    world.pass();
    assert_eq!(world.batch.as_ref().unwrap().borrowed, None);
    world.pass();
    assert_eq!(world.phase(), Some(BatchPhase::Failed));
}

#[test]
fn what_a_person_entered_in_one_node_set_only_is_not_ours() {
    let mut world = World::new();
    world.managed.held = entries();
    world.pass();
    world.pass();
    assert_eq!((world.edits, world.batch.unwrap().added), (1, Some(vec![])));
}

#[test]
fn a_configuration_that_can_t_be_read_opens_no_gate_while_nodes_may_restart() {
    let mut world = World::rolling_out();
    world.pass();
    world.managed.configured = Err(Blocked::by("ElasticsearchUnmanaged", "paused".into()));
    world.now += PATIENCE.as_secs();
    assert_eq!(world.pass().reason, "RolloutFailed");
    assert_eq!(world.phase(), Some(BatchPhase::RollingOut));
    world.managed.progress = Progress::Steady;
    world.pass();
    assert_eq!(world.phase(), Some(BatchPhase::Failed));
}
