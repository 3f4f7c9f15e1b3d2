//! Scenarios of the batch: a healthy cluster of three nodes, and one mutation.

use super::*;

const ENTRY: &str = "src:9200";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn strings(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|entry| (*entry).to_owned()).collect()
}

fn change() -> Change {
    Change { add: strings(&[ENTRY]), ..Change::default() }
}

/// Three nodes, each with a copy of the one index; `n-0` is master.
fn view() -> View {
    let node = |n: usize| Node {
        id: format!("id-{n}"),
        name: format!("n-{n}"),
        ip: format!("10.0.0.{n}"),
        master_eligible: true,
        allowlist: vec![],
        sources: vec![],
        path_data: strings(&["/data/d"]),
    };
    let shard = |primary, node: &str| Shard {
        index: "products".into(),
        number: 0,
        primary,
        started: true,
        node: Some(node.into()),
    };
    View {
        nodes: (0..3).map(node).collect(),
        master: "id-0".into(),
        shards: vec![shard(true, "id-1"), shard(false, "id-2")],
        ..View::default()
    }
}

fn pools() -> Vec<Pool> {
    let pod = |n: usize| Pod {
        name: format!("n-{n}"),
        uid: format!("uid-{n}"),
        ip: Some(format!("10.0.0.{n}")),
        ready: true,
        durable_paths: strings(&["/data"]),
    };
    vec![Pool {
        stateful_set: "n".into(),
        replicas: Some(3),
        rolling_out: false,
        config: "n-config/elasticsearch.yml".into(),
        owner: None,
        entries: Ok(vec![]),
        pods: (0..3).map(pod).collect(),
    }]
}

fn refused(mutate: impl Fn(&mut View, &mut Pool)) -> &'static str {
    let (mut view, mut pools) = (view(), pools());
    mutate(&mut view, &mut pools[0]);
    freeze(&change(), &view, &pools, Permissions::default(), 1, at(0))
        .map_or_else(|blocked| blocked.reason, |_| "frozen")
}

#[test]
fn a_healthy_cluster_is_frozen_with_its_master_last() {
    let batch = freeze(&change(), &view(), &pools(), Permissions::default(), 1, at(0)).unwrap();
    assert_eq!(batch.phase, BatchPhase::Draining);
    let order: Vec<_> = batch.nodes.iter().map(|node| node.pod.as_str()).collect();
    assert_eq!(order, ["n-1", "n-2", "n-0"]);
}

#[test]
fn whatever_is_in_the_way_is_named() {
    assert_eq!(refused(|_, _| {}), "frozen");
    assert_eq!(refused(|_, pool| pool.replicas = None), "StatefulSetNotFound");
    assert_eq!(refused(|_, pool| pool.owner = Some("Argo CD".into())), "ConfigOwned");
    assert_eq!(refused(|_, pool| pool.entries = Err("no".into())), "ConfigNotEditable");
    assert_eq!(refused(|_, pool| pool.rolling_out = true), "RolloutPending");
    assert_eq!(refused(|_, pool| pool.pods[0].ready = false), "NodesNotReady");
    assert_eq!(refused(|_, pool| pool.pods[0].durable_paths = strings(&["/database"])), "EphemeralData");
    assert_eq!(
        refused(|view, _| view.nodes.push(Node { ip: "10.9.9.9".into(), ..Node::default() })),
        "NodesNotManaged"
    );
    assert_eq!(refused(|view, _| view.transient_allocation = Some("none".into())), "TransientAllocation");
    assert_eq!(refused(|view, _| (view.shards[1].started, view.shards[1].node) = (false, None)), "IndexWithoutReplica");
    assert_eq!(refused(|view, _| view.nodes[1].master_eligible = false), "TooFewMasters");
}

#[test]
fn a_replica_that_is_on_its_way_needs_nobody() {
    let mut view = view();
    view.shards[1].started = false;
    let blocked = |view: &View| freeze(&change(), view, &pools(), Permissions::default(), 1, at(0)).unwrap_err();
    let waits = blocked(&view);
    assert_eq!((waits.reason, waits.passes), ("ReplicasStarting", true));
    // One more without a node, and it does not pass by itself.
    view.shards.push(Shard { number: 1, node: None, ..view.shards[1].clone() });
    let lonely = blocked(&view);
    assert_eq!((lonely.reason, lonely.passes), ("IndexWithoutReplica", false));
}

#[test]
fn an_index_that_is_being_filled_holds_nothing_up() {
    let filling = |index: &str| {
        refused(|view, _| {
            view.shards.pop();
            view.filling = [index.to_owned()].into();
        })
    };
    assert_eq!((filling("products"), filling("another")), ("frozen", "IndexWithoutReplica"));
}

#[test]
fn what_a_person_allowed_is_not_in_the_way() {
    let mut view = view();
    view.shards.pop();
    view.nodes[1].master_eligible = false;
    let allowed = Permissions { unavailable: true, ..Permissions::default() };
    assert!(freeze(&change(), &view, &pools(), allowed, 1, at(0)).is_ok());
}

/// The world that a batch acts on: effects change it as the real ones would.
struct World {
    batch: Batch,
    seen: Seen,
    now: i64,
    log: Vec<String>,
}

impl World {
    fn new() -> World {
        World::of(&change(), pools())
    }

    fn of(change: &Change, pools: Vec<Pool>) -> World {
        let batch = freeze(change, &view(), &pools, Permissions::default(), 1, at(0)).unwrap();
        World { batch, seen: Seen { view: Some(view()), pools, copies: vec![], deleting: false }, now: 0, log: vec![] }
    }

    /// One pass: the decision, then its effect; a second later the next one may follow.
    fn pass(&mut self) -> Blocked {
        self.now += 1;
        let step = advance(&self.batch, &self.seen, Permissions::default(), at(self.now));
        self.batch = step.batch.expect("the batch goes on");
        match step.effect {
            Some(Effect::Edit(change)) => {
                self.log.push("edit".into());
                if let Ok(held) = &mut self.seen.pools[0].entries {
                    *held = change.applied_to(held);
                }
            }
            Some(Effect::Restart(node, _)) => {
                self.log.push(format!("restart {}", node.pod));
                self.view().allocation_enable = Some("primaries".into());
                let pod = self.seen.pools[0].pods.iter_mut().find(|pod| pod.name == node.pod).unwrap();
                pod.uid += "-new";
                let loaded = self.seen.pools[0].entries.clone().unwrap();
                self.view().nodes.iter_mut().find(|seen| seen.id == node.id).unwrap().allowlist = loaded;
            }
            Some(Effect::GiveBack(borrowed)) => {
                self.view().allocation_enable = borrowed.allocation_enable;
                self.batch = given_back(&self.batch);
            }
            Some(Effect::RollBack(opposite, borrowed)) => {
                self.log.push("roll back".into());
                if let Ok(held) = &mut self.seen.pools[0].entries {
                    *held = opposite.applied_to(held);
                }
                if let Some(borrowed) = borrowed {
                    self.view().allocation_enable = borrowed.allocation_enable;
                }
                self.batch = rolled_back(&self.batch, at(self.now));
            }
            Some(Effect::Tidy(change)) => panic!("{change:?} has nothing to do with a restart"),
            None => {}
        }
        step.doing
    }

    fn view(&mut self) -> &mut View {
        self.seen.view.as_mut().unwrap()
    }

    fn run(&mut self, passes: usize) {
        for _ in 0..passes {
            if !self.batch.phase.closes_the_gate() {
                break;
            }
            self.pass();
        }
    }

    fn until_restarting(&mut self) {
        while !self.batch.nodes.iter().any(|node| node.state == NodeState::Restarting) {
            self.pass();
        }
    }
}

#[test]
fn each_node_is_restarted_once_and_everything_is_put_back() {
    let mut world = World::new();
    world.view().allocation_enable = Some("new_primaries".into());
    world.run(60);
    assert_eq!(world.batch.phase, BatchPhase::Done);
    assert_eq!(world.log, ["edit", "restart n-1", "restart n-2", "restart n-0"]);
    assert_eq!(world.view().allocation_enable.as_deref(), Some("new_primaries"));
    assert_eq!(world.batch.borrowed, None);
}

#[test]
fn a_running_copy_is_waited_for_unless_a_person_allowed_otherwise() {
    let mut world = World::new();
    world.seen.copies = strings(&["shop/orders"]);
    let doing = world.pass();
    assert_eq!((doing.reason, world.batch.phase), ("Draining", BatchPhase::Draining));
    assert!(doing.message.contains("shop/orders"));
    let allowed = Permissions { interrupt: true, ..Permissions::default() };
    let step = advance(&world.batch, &world.seen, allowed, at(9));
    assert_eq!(step.batch.unwrap().phase, BatchPhase::Editing);
    world.seen.copies.clear();
    world.view().tasks = 1;
    assert_eq!(world.pass().reason, "Draining", "somebody else's reindex task counts too");
}

#[test]
fn the_next_node_waits_for_the_last_ones_shards() {
    let mut world = World::new();
    world.until_restarting();
    world.view().unassigned = 1;
    world.run(20);
    assert_eq!(world.log, ["edit", "restart n-1"]);
    world.view().unassigned = 0;
    world.run(60);
    assert_eq!(world.batch.phase, BatchPhase::Done);
}

#[test]
fn a_node_whose_primary_would_be_alone_is_not_restarted() {
    let mut world = World::new();
    world.until_restarting();
    world.view().shards.push(Shard {
        index: "new".into(),
        number: 0,
        primary: true,
        started: true,
        node: Some("id-2".into()),
    });
    world.run(20);
    assert_eq!(world.log, ["edit", "restart n-1"]);
    let doing = world.pass();
    assert_eq!(doing.reason, "IndexWithoutReplica");
    assert!(doing.message.contains("new"));
}

#[test]
fn what_went_out_with_a_change_comes_back_when_it_is_taken_back() {
    let mut pools = pools();
    pools[0].entries = Ok(strings(&["own:1", "old:1"]));
    let mut world = World::of(&Change { remove: strings(&["old:1"]), ..change() }, pools);
    world.until_restarting();
    assert_eq!(world.seen.pools[0].entries, Ok(strings(&["own:1", ENTRY])));
    world.view().nodes[1].allowlist.clear();
    world.run(20);
    assert_eq!(world.batch.phase, BatchPhase::Failed);
    assert_eq!(world.seen.pools[0].entries, Ok(strings(&["own:1", "old:1"])));
}

#[test]
fn a_node_that_comes_back_wrong_stops_everything_and_the_edit_is_taken_back() {
    let wrong: [fn(&mut World); 2] =
        [|world| world.view().nodes[1].id = "another".into(), |world| world.view().nodes[1].allowlist.clear()];
    for spoil in wrong {
        let mut world = World::new();
        world.until_restarting();
        spoil(&mut world);
        world.run(20);
        assert_eq!(world.batch.phase, BatchPhase::Failed, "{:?}", world.log);
        assert_eq!(world.log, ["edit", "restart n-1", "roll back"]);
        assert_eq!(world.seen.pools[0].entries, Ok(vec![]));
        assert_eq!(world.view().allocation_enable, None);
    }
}

#[test]
fn a_node_that_does_not_come_back_in_time_stops_everything() {
    let mut world = World::new();
    world.until_restarting();
    world.seen.pools[0].pods[1].ready = false;
    world.run(5);
    assert_eq!(world.batch.phase, BatchPhase::Restarting);
    world.now += NODE_DEADLINE.as_secs();
    world.run(2);
    assert_eq!(world.batch.phase, BatchPhase::Failed);
}

#[test]
fn an_edit_that_somebody_reverts_is_not_made_again() {
    let mut world = World::new();
    world.until_restarting();
    world.seen.pools[0].entries = Ok(vec![]);
    world.run(20);
    assert_eq!(world.batch.phase, BatchPhase::Failed);
    assert_eq!(world.log.iter().filter(|line| *line == "edit").count(), 1);
}

#[test]
fn what_a_person_had_put_there_is_left_there() {
    let mut world = World::new();
    world.batch.entries = strings(&[ENTRY, "other:1"]);
    world.seen.pools[0].entries = Ok(strings(&["other:1"]));
    world.pass();
    world.pass();
    assert_eq!(world.batch.added, Some(strings(&[ENTRY])));
}

#[test]
fn an_eviction_that_was_held_back_is_tried_again() {
    let mut world = World::new();
    world.until_restarting();
    world.seen.pools[0].pods[1].uid = "uid-1".into();
    let step = advance(&world.batch, &world.seen, Permissions::default(), at(world.now + 1));
    assert!(matches!(step.effect, Some(Effect::Restart(node, _)) if node.pod == "n-1"));
}

#[test]
fn of_two_masters_the_one_that_restarts_leaves_the_vote_first() {
    let mut view = view();
    view.nodes[2].master_eligible = false;
    let allowed = Permissions { unavailable: true, ..Permissions::default() };
    let mut batch = freeze(&change(), &view, &pools(), allowed, 1, at(0)).unwrap();
    batch.phase = BatchPhase::Restarting;
    let mut pools = pools();
    pools[0].entries = Ok(strings(&[ENTRY]));
    batch.edited_at = Some(Time(at(0)));
    let seen = Seen { view: Some(view), pools, copies: vec![], deleting: false };
    let step = advance(&batch, &seen, allowed, at(60));
    assert!(matches!(step.effect, Some(Effect::Restart(_, Borrowed { voting_exclusion: true, .. }))), "{step:?}");
}

#[test]
fn deleting_the_search_cluster_puts_everything_back() {
    let mut world = World::new();
    world.until_restarting();
    world.seen.deleting = true;
    world.run(5);
    assert_eq!(world.batch.phase, BatchPhase::Failed);
    assert_eq!(world.seen.pools[0].entries, Ok(vec![]));
}

#[test]
fn a_step_that_is_forbidden_is_put_back_and_told() {
    let mut world = World::new();
    world.until_restarting();
    world.batch = forbidden(&world.batch, "failed to evict pod n-1: pods is forbidden");
    world.run(5);
    assert_eq!(world.batch.phase, BatchPhase::Failed);
    assert!(world.batch.message.unwrap().contains("pods is forbidden"));
    assert_eq!(world.seen.pools[0].entries, Ok(vec![]));
}

#[test]
fn a_config_map_from_git_is_edited_where_a_person_says_so() {
    let mut pools = pools();
    pools[0].owner = Some("Argo CD".into());
    let allowed = Permissions { override_git_ops: true, ..Permissions::default() };
    assert!(freeze(&change(), &view(), &pools, allowed, 1, at(0)).is_ok());
}
