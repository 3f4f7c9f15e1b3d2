use serde_json::json;

use super::*;
use crate::{
    api::{APPROVAL, Batch, allowlist::LeftOut},
    plan::{restart::Node, rollout::Progress},
};

/// With a fraction of a second, as a clock has it and a status does not keep.
const NOON: &str = "2026-11-27T12:00:00.123456789Z";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// A cluster that an operator of its own runs.
fn cluster(allowlist: serde_json::Value) -> SearchCluster {
    serde_json::from_value(json!({
        "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
        "metadata": {"name": "es-1", "namespace": "search", "generation": 1},
        "spec": {"endpoint": "https://es-1:9200", "provider": {"eck": {"name": "es-1"}}, "allowlist": allowlist},
    }))
    .unwrap()
}

/// Three nodes that have loaded nothing; these entries are needed.
fn seen(wanted: &[&str]) -> Observation {
    let node = |n: usize| Node {
        id: format!("id-{n}"),
        name: format!("es-1-{n}"),
        ip: format!("10.0.0.{n}"),
        master_eligible: true,
        allowlist: vec![],
        sources: vec![],
        path_data: vec![],
    };
    let nodes: Vec<Node> = (0..3).map(node).collect();
    let managed = Managed {
        object: "Elasticsearch es-1".into(),
        configured: Ok(vec![]),
        held: vec![],
        trust: Ok(false),
        owner: None,
        progress: Progress::Steady,
        nodes: Some(3),
        instruction: "the line".into(),
    };
    Observation {
        reached: Ok(Reached {
            uuid: "u".into(),
            distribution: "Elasticsearch".into(),
            major: 7,
            version: "7.17.29".into(),
            health: "green".into(),
            nodes: nodes.clone(),
        }),
        connection: None,
        wanted: needed(wanted),
        trust: None,
        managed_by: None,
        close: Some(Ok(Close {
            view: Ok(View { nodes, master: "id-0".into(), ..View::default() }),
            configuration: Configuration::managed(managed),
            copies: vec![],
            needed: needed(wanted),
        })),
        winding_down: false,
    }
}

fn needed(entries: &[&str]) -> Wanted {
    entries.iter().map(|entry| ((*entry).to_owned(), ["shop/copy".to_owned()].into())).collect()
}

/// Decides, and keeps the status as the apiserver would.
fn see(cluster: &mut SearchCluster, seen: &Observation, time: &str) -> Decision {
    let decision = decide(cluster, seen, at(time));
    let kept = serde_json::to_value(&decision.status).unwrap();
    cluster.status = Some(serde_json::from_value(kept).unwrap());
    decision
}

fn batch(cluster: &SearchCluster) -> Option<Batch> {
    cluster.status.as_ref()?.allowlist.as_ref()?.batch.clone()
}

fn phase(cluster: &SearchCluster) -> Option<BatchPhase> {
    batch(cluster).map(|batch| batch.phase)
}

fn told(cluster: &SearchCluster) -> (String, String) {
    let found = conditions::get(&cluster.status.as_ref().unwrap().conditions, ALLOWLIST_READY).unwrap();
    (found.reason.clone(), found.message.clone())
}

fn approve(cluster: &mut SearchCluster, id: &str) {
    cluster.metadata.annotations = Some([(APPROVAL.to_owned(), id.to_owned())].into());
}

#[test]
fn a_change_waits_for_the_approval_of_exactly_it() {
    let mut cluster = cluster(json!({"management": "Approval"}));
    let first = see(&mut cluster, &seen(&["a:9200"]), NOON);
    assert_eq!(first.notes.iter().filter(|note| note.reason == "WaitingForApproval").count(), 1, "it is told once");
    let (reason, message) = told(&cluster);
    let id = batch(&cluster).unwrap().id;
    assert_eq!((reason.as_str(), phase(&cluster)), ("WaitingForApproval", Some(BatchPhase::Proposed)));
    for part in ["a:9200", "Elasticsearch es-1", "es-1-0, es-1-1, es-1-2", &format!("{APPROVAL}={id}")] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!is_open(cluster.status.as_ref()), "copies go on meanwhile");
    // Later needs form the next change.
    let again = see(&mut cluster, &seen(&["a:9200", "b:9200"]), "2026-11-27T12:05:00Z");
    assert!(again.notes.is_empty(), "{:?}", again.notes);
    assert_eq!(batch(&cluster).unwrap().id, id);
    approve(&mut cluster, "another");
    see(&mut cluster, &seen(&["a:9200", "b:9200"]), "2026-11-27T12:06:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Proposed));
    approve(&mut cluster, &id);
    see(&mut cluster, &seen(&["a:9200", "b:9200"]), "2026-11-27T12:07:00Z");
    let begun = batch(&cluster).unwrap();
    assert_eq!((begun.phase, begun.entries, begun.id), (BatchPhase::Draining, vec!["a:9200".to_owned()], id));
}

#[test]
fn one_that_is_deleted_begins_no_change() {
    let mut cluster = cluster(json!({"management": "Automatic"}));
    cluster.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(NOON)));
    let decision = see(&mut cluster, &seen(&["a:9200"]), NOON);
    assert_eq!((batch(&cluster), decision.effect), (None, None));
    assert!(decision.notes.is_empty(), "{:?}", decision.notes);
}

#[test]
fn an_approval_is_used_up() {
    let mut cluster = cluster(json!({"management": "Approval"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let first = batch(&cluster).unwrap();
    approve(&mut cluster, &first.id);
    // It was made; later somebody takes the entry out again, and it is needed once more.
    let status = cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap();
    status.batch = Some(Batch { phase: BatchPhase::Done, ..first.clone() });
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-28T12:00:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Proposed));
    assert_ne!(batch(&cluster).unwrap().id, first.id);
}

#[test]
fn what_is_in_the_way_for_a_while_does_not_use_an_approval_up() {
    let mut cluster = cluster(json!({"management": "Approval"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let id = batch(&cluster).unwrap().id;
    approve(&mut cluster, &id);
    let mut absent = seen(&["a:9200"]);
    if let Some(Ok(Close { view: Ok(view), .. })) = &mut absent.close {
        view.nodes.pop();
    }
    see(&mut cluster, &absent, "2026-11-27T12:05:00.5Z");
    assert_eq!((told(&cluster).0.as_str(), phase(&cluster)), ("NodesNotReady", Some(BatchPhase::Proposed)));
    // It begins, and gives up before anything is touched.
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:06:00.5Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:06:02.5Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Editing));
    see(&mut cluster, &absent, "2026-11-27T12:06:04.5Z");
    assert_eq!((batch(&cluster).unwrap().id.as_str(), phase(&cluster)), (id.as_str(), Some(BatchPhase::Proposed)));
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:07:00.5Z");
    assert_eq!((batch(&cluster).unwrap().id.as_str(), phase(&cluster)), (id.as_str(), Some(BatchPhase::Draining)));
}

#[test]
fn while_the_operator_is_wound_down_no_change_begins_and_one_that_touched_nothing_waits() {
    let mut cluster = cluster(json!({"management": "Automatic"}));
    let winding_down = Observation { winding_down: true, ..seen(&["a:9200"]) };
    see(&mut cluster, &winding_down, NOON);
    assert_eq!(phase(&cluster), None);
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:05:00.5Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    see(&mut cluster, &winding_down, "2026-11-27T12:05:02.5Z");
    assert!(!is_open(cluster.status.as_ref()), "nothing was touched");
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:05:04.5Z");
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:05:06.5Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Editing));
    see(&mut cluster, &winding_down, "2026-11-27T12:05:08.5Z");
    assert!(!is_open(cluster.status.as_ref()), "nothing is edited");
    // What is touched goes on.
    let status = cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap();
    let batch = status.batch.as_mut().unwrap();
    (batch.phase, batch.added) = (BatchPhase::Editing, Some(vec!["a:9200".into()]));
    see(&mut cluster, &winding_down, "2026-11-27T12:05:10.5Z");
    assert!(is_open(cluster.status.as_ref()));
}

#[test]
fn what_waits_for_a_person_still_does_while_the_operator_is_wound_down() {
    let mut cluster = cluster(json!({"management": "Verify"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let before = cluster.status.clone().unwrap().conditions;
    assert!(conditions::is_true(&before, RECONCILING));
    see(&mut cluster, &Observation { winding_down: true, ..seen(&["a:9200"]) }, "2026-11-27T12:05:00.5Z");
    assert_eq!(cluster.status.unwrap().conditions, before);
}

#[test]
fn the_last_change_is_shown_until_the_next_one_is_proposed() {
    let mut cluster = cluster(json!({"management": "Approval"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let done = Batch { phase: BatchPhase::Done, ..batch(&cluster).unwrap() };
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().batch = Some(done.clone());
    let mut absent = seen(&["b:9200"]);
    if let Some(Ok(Close { view: Ok(view), .. })) = &mut absent.close {
        view.nodes.pop();
    }
    see(&mut cluster, &absent, "2026-11-27T12:05:00.5Z");
    assert_eq!((told(&cluster).0.as_str(), batch(&cluster)), ("NodesNotReady", Some(done.clone())));
    see(&mut cluster, &Observation { close: None, ..absent }, "2026-11-27T12:06:00.5Z");
    assert_eq!((told(&cluster).0.as_str(), batch(&cluster)), ("Pending", Some(done)));
}

#[test]
fn whoever_changes_their_mind_before_anything_is_touched_is_heard() {
    let mut cluster = cluster(json!({"management": "Approval"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let id = batch(&cluster).unwrap().id;
    approve(&mut cluster, &id);
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:05:00.5Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    cluster.metadata.annotations = None;
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:05:02.5Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Proposed));
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:05:04.5Z");
    assert_eq!((told(&cluster).0.as_str(), batch(&cluster).unwrap().id), ("WaitingForApproval", id));
}

#[test]
fn a_proposal_that_is_not_what_would_be_done_any_more_is_another_one() {
    let mut cluster = cluster(json!({"management": "Approval"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let id = batch(&cluster).unwrap().id;
    let mut replaced = seen(&["a:9200"]);
    if let Some(Ok(Close { view: Ok(view), .. })) = &mut replaced.close {
        view.nodes[2].id = "a-new-node".into();
    }
    see(&mut cluster, &replaced, "2026-11-27T12:05:00Z");
    assert_ne!(batch(&cluster).unwrap().id, id, "other nodes would be restarted");
    see(&mut cluster, &seen(&["b:9200"]), "2026-11-27T12:06:00Z");
    assert_eq!(batch(&cluster).unwrap().entries, ["b:9200"], "nobody needs the other entry any more");
    see(&mut cluster, &seen(&[]), "2026-11-27T12:07:00Z");
    assert_eq!((batch(&cluster), told(&cluster).0.as_str()), (None, "Effective"));
}

#[test]
fn a_change_waits_for_the_maintenance_window() {
    let window = json!({"schedule": "0 2 * * 6", "duration": "4h"});
    let mut cluster = cluster(json!({"management": "Automatic", "window": window}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let (reason, message) = told(&cluster);
    assert_eq!((reason.as_str(), phase(&cluster)), ("WaitingForWindow", Some(BatchPhase::Proposed)));
    assert!(message.contains("2026-11-28T02:00:00Z"), "{message}");
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-28T02:00:10Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    // A copy runs until the window is closed: the next one is waited for, and copies may begin until then.
    let mut busy = seen(&["a:9200"]);
    if let Some(Ok(close)) = &mut busy.close {
        close.copies = vec!["search/long".into()];
    }
    see(&mut cluster, &busy, "2026-11-28T05:00:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    see(&mut cluster, &busy, "2026-11-28T06:00:01Z");
    assert_eq!((phase(&cluster), told(&cluster).0.as_str()), (Some(BatchPhase::Proposed), "WaitingForWindow"));
    see(&mut cluster, &seen(&["a:9200"]), "2026-12-05T02:00:10Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    see(&mut cluster, &seen(&["a:9200"]), "2026-12-05T02:00:12Z");
    assert!(see(&mut cluster, &seen(&["a:9200"]), "2026-12-05T02:00:14Z").effect.is_some(), "it is edited");
    see(&mut cluster, &seen(&["a:9200"]), "2026-12-05T06:30:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Editing), "what has begun is finished");
}

#[test]
fn a_window_that_can_t_be_read_is_told_and_nothing_is_changed() {
    let window = json!({"schedule": "0 2 * * SOMEDAY", "duration": "4h"});
    let mut cluster = cluster(json!({"management": "Automatic", "window": window}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    let (reason, message) = told(&cluster);
    assert_eq!(reason, "InvalidWindow");
    assert!(message.contains("allowlist.window.schedule"), "{message}");
    assert!(conditions::is_true(&cluster.status.unwrap().conditions, STALLED));
}

#[test]
fn a_change_whose_answer_was_lost_keeps_the_gate_closed_until_it_is_seen() {
    let mut cluster = cluster(json!({"management": "Automatic"}));
    for time in ["2026-11-27T12:00:00Z", "2026-11-27T12:00:02Z", "2026-11-27T12:00:04Z"] {
        see(&mut cluster, &seen(&["a:9200"]), time);
    }
    assert_eq!((phase(&cluster), batch(&cluster).unwrap().added.is_some()), (Some(BatchPhase::Editing), true));
    let mut unclear = seen(&["a:9200"]);
    if let Some(Ok(Close { configuration: Configuration::Managed(managed), .. })) = &mut unclear.close {
        managed.configured = Err(Blocked::passing("CloudUnreachable", "no answer".into()));
    }
    see(&mut cluster, &unclear, "2026-11-27T12:00:30Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Editing));
    assert!(is_open(cluster.status.as_ref()), "nodes may restart by now");
    see(&mut cluster, &unclear, "2026-11-27T12:40:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Failed), "not for ever");
}

#[test]
fn an_edit_of_the_spec_before_anything_is_touched_makes_the_change_anew() {
    let mut cluster = cluster(json!({"management": "Automatic"}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    cluster.metadata.generation = Some(2);
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:00:02Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Proposed));
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:00:04Z");
    assert_eq!((phase(&cluster), batch(&cluster).unwrap().generation), (Some(BatchPhase::Draining), 2));
}

#[test]
fn a_failed_change_is_not_made_again_for_an_edit_that_came_before_it_failed() {
    let mut cluster = cluster(json!({"management": "Automatic"}));
    for time in ["2026-11-27T12:00:00Z", "2026-11-27T12:00:02Z", "2026-11-27T12:00:04Z"] {
        see(&mut cluster, &seen(&["a:9200"]), time);
    }
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().batch.as_mut().unwrap().phase = BatchPhase::RollingOut;
    cluster.metadata.generation = Some(2);
    // Somebody took the entries out again.
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:01:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Failed));
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:02:00Z");
    assert_eq!((phase(&cluster), told(&cluster).0.as_str()), (Some(BatchPhase::Failed), "RolloutFailed"));
}

/// A source with an authority of its own is needed, which the ConfigMap holds.
fn with_trust(mut seen: Observation) -> Observation {
    seen.trust =
        Some(trust::Seen { sources: vec!["search/es-2".into()], left_out: vec![], needs_nodes: true, kept: Ok(()) });
    seen
}

/// Another source is faulty.
fn leaving_out(mut seen: Observation, source: &str) -> Observation {
    let left_out =
        LeftOut { source: source.into(), reason: "AuthorityUnknown".into(), message: format!("{source} is at fault") };
    let none = trust::Seen { sources: vec![], left_out: vec![], needs_nodes: false, kept: Ok(()) };
    seen.trust.get_or_insert(none).left_out.push(left_out);
    seen
}

/// Every node has loaded these, and trusts sources if `trusts`.
fn loaded(mut seen: Observation, entries: &[&str], trusts: bool) -> Observation {
    if let Ok(reached) = &mut seen.reached {
        for node in &mut reached.nodes {
            node.allowlist = entries.iter().map(|entry| (*entry).to_owned()).collect();
            node.sources = if trusts { vec!["es-1-reindex-sources".into()] } else { vec![] };
        }
    }
    seen
}

#[test]
fn entries_and_trust_are_proposed_as_one_change() {
    let mut cluster = cluster(json!({"management": "Approval", "trustSource": true}));
    see(&mut cluster, &with_trust(seen(&["a:9200"])), NOON);
    let (reason, message) = told(&cluster);
    assert_eq!(reason, "WaitingForApproval");
    assert!(
        message.contains("adding a:9200, and trust in the authorities that ConfigMap es-1-reindex-sources holds"),
        "{message}"
    );
    let proposed = batch(&cluster).unwrap();
    assert_eq!(proposed.trust.as_deref(), Some("es-1-reindex-sources"));
    // Nobody needs it any more: it is another change.
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:01:00Z");
    let without = batch(&cluster).unwrap();
    assert_eq!(without.trust, None);
    assert_ne!(without.id, proposed.id);
}

#[test]
fn trust_alone_is_a_change_too() {
    let mut cluster = cluster(json!({"management": "Automatic", "trustSource": true}));
    let lacking = loaded(with_trust(seen(&["a:9200"])), &["a:9200"], false);
    see(&mut cluster, &lacking, NOON);
    let begun = batch(&cluster).unwrap();
    assert_eq!((begun.phase, begun.entries.len(), begun.trust.is_some()), (BatchPhase::Draining, 0, true));
    let status = cluster.status.clone().unwrap().allowlist.unwrap().trust.unwrap();
    assert_eq!((status.sources, status.effective), (vec!["search/es-2".to_owned()], false));
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().batch = None;
    see(&mut cluster, &loaded(lacking, &["a:9200"], true), "2026-11-27T12:01:00Z");
    assert_eq!((told(&cluster).0.as_str(), batch(&cluster)), ("Effective", None));
}

#[test]
fn a_faulty_source_is_named_and_holds_up_nobody() {
    let mut cluster = cluster(json!({"management": "Automatic", "trustSource": true}));
    let faulty = leaving_out(with_trust(seen(&["a:9200", "b:9200"])), "shop/es-9");
    let decision = see(&mut cluster, &faulty, NOON);
    let begun = batch(&cluster).unwrap();
    assert_eq!((begun.phase, begun.entries.len(), begun.trust.is_some()), (BatchPhase::Draining, 2, true));
    let named = |cluster: &SearchCluster| cluster.status.clone().unwrap().allowlist.unwrap().trust.unwrap().left_out;
    assert_eq!(named(&cluster)[0].source, "shop/es-9");
    let notes = |decision: &Decision| decision.notes.iter().filter(|note| note.reason == "SourceLeftOut").count();
    assert_eq!(notes(&decision), 1);
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().batch = None;
    let made = loaded(faulty.clone(), &["a:9200", "b:9200"], true);
    let decision = see(&mut cluster, &made, "2026-11-27T12:01:00Z");
    let (reason, message) = told(&cluster);
    assert_eq!((reason.as_str(), notes(&decision), batch(&cluster)), ("Effective", 0, None));
    assert!(message.contains("leftOut"), "{message}");
    // It is mended: the nodes read the ConfigMap already.
    let mended = loaded(with_trust(seen(&["a:9200", "b:9200"])), &["a:9200", "b:9200"], true);
    see(&mut cluster, &mended, "2026-11-27T12:02:00Z");
    assert_eq!((told(&cluster).0.as_str(), batch(&cluster), named(&cluster).len()), ("Effective", None, 0));
}

#[test]
fn the_entry_of_a_source_that_is_left_out_goes_on_alone() {
    let mut cluster = cluster(json!({"management": "Automatic", "trustSource": true}));
    see(&mut cluster, &leaving_out(seen(&["a:9200"]), "search/es-2"), NOON);
    let begun = batch(&cluster).unwrap();
    assert_eq!((begun.phase, begun.entries.len(), begun.trust), (BatchPhase::Draining, 1, None));
}

#[test]
fn a_config_map_that_can_t_be_kept_is_told_and_nothing_is_changed() {
    let mut cluster = cluster(json!({"management": "Automatic", "trustSource": true}));
    let mut foreign = with_trust(seen(&["a:9200"]));
    foreign.trust.as_mut().unwrap().kept = Err(Blocked::by("SourcesNotOurs", "it is somebody's".into()));
    see(&mut cluster, &foreign, NOON);
    assert_eq!((told(&cluster).0.as_str(), batch(&cluster)), ("SourcesNotOurs", None));
    see(&mut cluster, &loaded(foreign, &["a:9200"], true), "2026-11-27T12:01:00Z");
    assert_eq!(told(&cluster).0, "SourcesNotOurs", "authorities that are added later would not get there");
}

#[test]
fn nodes_are_told_of_no_config_map_that_is_not_kept() {
    let mut cluster = cluster(json!({"management": "Automatic", "trustSource": true}));
    let mut lacking = with_trust(seen(&["a:9200"]));
    see(&mut cluster, &lacking, NOON);
    see(&mut cluster, &lacking, "2026-11-27T12:00:02Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Editing));
    // Its Reindexes have ended, and nobody looks after the ConfigMap any more.
    lacking.trust = None;
    let decision = see(&mut cluster, &lacking, "2026-11-27T12:00:04Z");
    assert_eq!((decision.effect, phase(&cluster)), (None, Some(BatchPhase::Proposed)));
    let decision = see(&mut cluster, &with_trust(lacking), "2026-11-27T12:00:06Z");
    assert_eq!((decision.effect, phase(&cluster)), (None, Some(BatchPhase::Draining)), "it is begun anew");
}

#[test]
fn why_the_cluster_can_t_be_seen_closely_is_told() {
    let mut cluster = cluster(json!({"management": "Automatic"}));
    let mut unseen = seen(&["a:9200"]);
    if let Some(Ok(close)) = &mut unseen.close {
        close.view = Err(Trouble { reason: "Forbidden", message: "the user may not read _cat/shards".into() });
    }
    see(&mut cluster, &unseen, NOON);
    assert_eq!(told(&cluster), ("Forbidden".into(), "the user may not read _cat/shards".into()));
    see(&mut cluster, &seen(&["a:9200"]), "2026-11-27T12:01:00Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    see(&mut cluster, &unseen, "2026-11-27T12:02:00Z");
    assert!(told(&cluster).1.ends_with("the user may not read _cat/shards"), "{:?}", told(&cluster));
}

#[test]
fn what_nobody_needs_any_more_goes_with_the_next_change() {
    let mut cluster = cluster(json!({"management": "Approval", "retention": "Remove"}));
    see(&mut cluster, &loaded(seen(&[]), &["old:9200"], false), NOON);
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().managed = vec!["old:9200".into()];
    see(&mut cluster, &loaded(seen(&[]), &["old:9200"], false), "2026-11-27T12:01:00Z");
    assert_eq!(batch(&cluster), None, "nothing is changed for it alone");
    let missing = loaded(seen(&["a:9200"]), &["old:9200"], false);
    see(&mut cluster, &missing, "2026-11-27T12:02:00Z");
    assert!(told(&cluster).1.contains("adding a:9200, taking out old:9200 and changing"), "{:?}", told(&cluster));
    let proposed = batch(&cluster).unwrap();
    assert_eq!(proposed.removes, ["old:9200"]);
    approve(&mut cluster, &proposed.id);
    see(&mut cluster, &missing, "2026-11-27T12:03:00Z");
    // Needed again since.
    let mut again = missing.clone();
    if let Some(Ok(close)) = &mut again.close {
        close.needed = needed(&["a:9200", "old:9200"]);
    }
    for time in ["2026-11-27T12:03:02Z", "2026-11-27T12:03:04Z"] {
        let decision = see(&mut cluster, &again, time);
        if let Some(Effect::Edit(change)) = decision.effect {
            assert_eq!(change, Change { add: vec!["a:9200".into()], ..Change::default() });
            return;
        }
    }
    panic!("it is edited");
}

#[test]
fn what_was_taken_out_is_ours_no_longer() {
    let mut cluster = cluster(json!({"management": "Automatic", "retention": "Remove"}));
    see(&mut cluster, &seen(&[]), NOON);
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().managed = vec!["old:9200".into()];
    for time in ["2026-11-27T12:00:02Z", "2026-11-27T12:00:04Z", "2026-11-27T12:00:06Z"] {
        see(&mut cluster, &seen(&["a:9200"]), time);
    }
    let mut made = loaded(seen(&["a:9200"]), &["a:9200"], false);
    if let Some(Ok(Close { configuration: Configuration::Managed(managed), view, .. })) = &mut made.close {
        managed.configured = Ok(vec!["a:9200".into()]);
        view.as_mut().unwrap().nodes.iter_mut().for_each(|node| node.allowlist = vec!["a:9200".into()]);
    }
    for time in ["2026-11-27T12:00:08Z", "2026-11-27T12:00:10Z"] {
        see(&mut cluster, &made, time);
    }
    assert_eq!(phase(&cluster), Some(BatchPhase::Done));
    assert_eq!(cluster.status.unwrap().allowlist.unwrap().managed, ["a:9200"]);
}

#[test]
fn nodes_that_differ_and_who_needs_what_stand_in_the_status() {
    let mut cluster = cluster(json!({}));
    let mut half = seen(&["a:9200"]);
    if let Ok(reached) = &mut half.reached {
        reached.nodes[1].allowlist = vec!["a:9200".into()];
    }
    see(&mut cluster, &half, NOON);
    let status = cluster.status.clone().unwrap();
    let allowlist = status.allowlist.clone().unwrap();
    let lacking: Vec<_> = allowlist.lacking.iter().map(|lacks| lacks.node.as_str()).collect();
    assert_eq!(lacking, ["es-1-0", "es-1-2"]);
    assert_eq!((allowlist.needs[0].entry.as_str(), allowlist.needs[0].count), ("a:9200", 1));
    see(&mut cluster, &half, "2026-11-27T12:01:00Z");
    assert_eq!(cluster.status, Some(status), "an unchanged world is not written");
}

#[test]
fn a_source_that_is_faulty_only_now_leaves_no_nodes_to_be_told() {
    let mut cluster = cluster(json!({"management": "Automatic", "trustSource": true}));
    see(&mut cluster, &with_trust(seen(&["a:9200"])), NOON);
    see(&mut cluster, &with_trust(seen(&["a:9200"])), "2026-11-27T12:00:02Z");
    assert_eq!(phase(&cluster), Some(BatchPhase::Editing));
    let faulty = leaving_out(seen(&["a:9200"]), "search/es-2");
    let decision = see(&mut cluster, &faulty, "2026-11-27T12:00:04Z");
    assert_eq!((decision.effect, phase(&cluster)), (None, Some(BatchPhase::Proposed)));
    see(&mut cluster, &faulty, "2026-11-27T12:00:06Z");
    let begun = batch(&cluster).unwrap();
    assert_eq!((begun.phase, begun.trust), (BatchPhase::Draining, None), "it is begun anew without it");
}

#[test]
fn a_change_that_waits_for_the_window_takes_in_what_is_needed_by_then() {
    let window = json!({"schedule": "0 2 * * 6", "duration": "4h"});
    let mut cluster = cluster(json!({"management": "Automatic", "window": window}));
    see(&mut cluster, &seen(&["a:9200"]), NOON);
    see(&mut cluster, &seen(&["a:9200", "b:9200"]), "2026-11-28T02:00:10Z");
    let begun = batch(&cluster).unwrap();
    assert_eq!((begun.phase, begun.entries.len()), (BatchPhase::Draining, 2), "not two restarts in one night");
}

/// StatefulSets whose ConfigMap lacks an entry that nodes have loaded and a Reindex needs again.
fn missed(management: &str) -> (SearchCluster, Observation) {
    let mut cluster = cluster(json!({"management": management, "retention": "Remove"}));
    let provider = json!({"statefulSets": [{"name": "es-1", "configMap": {"name": "es-1-config"}}]});
    cluster.spec.provider = serde_json::from_value(provider).unwrap();
    let mut again = loaded(seen(&["a:9200", "old:9200"]), &["old:9200"], false);
    let pods = (0..3).map(|n| crate::plan::restart::Pod {
        name: format!("es-1-{n}"),
        uid: format!("uid-{n}"),
        ip: Some(format!("10.0.0.{n}")),
        ready: true,
        durable_paths: vec![],
    });
    let pool = Pool {
        stateful_set: "es-1".into(),
        replicas: Some(3),
        rolling_out: false,
        config: "es-1-config/elasticsearch.yml".into(),
        owner: None,
        entries: Ok(vec![]),
        pods: pods.collect(),
    };
    if let Some(Ok(close)) = &mut again.close {
        close.configuration = Configuration::Pools(vec![pool]);
    }
    (cluster, again)
}

/// The same while nobody needs that entry.
fn not_missed_yet(again: &Observation) -> Observation {
    let mut before = again.clone();
    before.wanted.remove("old:9200");
    if let Some(Ok(close)) = &mut before.close {
        close.needed.remove("old:9200");
    }
    before
}

fn note_as_removed(cluster: &mut SearchCluster) {
    cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap().removed = vec!["old:9200".into()];
}

#[test]
fn what_a_restart_would_take_away_is_approved_of_with_all_the_rest() {
    let (mut cluster, again) = missed("Approval");
    let before = not_missed_yet(&again);
    see(&mut cluster, &before, NOON);
    note_as_removed(&mut cluster);
    let id = batch(&cluster).unwrap().id;
    approve(&mut cluster, &id);
    see(&mut cluster, &before, "2026-11-27T12:00:02Z");
    assert_eq!(batch(&cluster).unwrap().entries, ["a:9200"]);
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    let decision = see(&mut cluster, &again, "2026-11-27T12:00:04Z");
    assert_eq!((decision.effect, phase(&cluster)), (None, Some(BatchPhase::Proposed)));
    let decision = see(&mut cluster, &again, "2026-11-27T12:00:06Z");
    let proposed = batch(&cluster).unwrap();
    assert_eq!((decision.effect, proposed.phase), (None, BatchPhase::Proposed));
    assert_eq!((told(&cluster).0.as_str(), proposed.entries.len()), ("WaitingForApproval", 2));
    assert_ne!(proposed.id, id, "that was approved of without it");
    approve(&mut cluster, &proposed.id);
    see(&mut cluster, &again, "2026-11-27T12:00:08Z");
    see(&mut cluster, &again, "2026-11-27T12:00:10Z");
    let Some(Effect::Edit(change)) = see(&mut cluster, &again, "2026-11-27T12:00:12Z").effect else { panic!() };
    assert_eq!(change.add, ["a:9200", "old:9200"]);
    // What is not known to anybody yet joins nothing that is under way.
    note_as_removed(&mut cluster);
    let status = cluster.status.as_mut().unwrap().allowlist.as_mut().unwrap();
    let touched = status.batch.as_mut().unwrap();
    (touched.entries, touched.added) = (vec!["a:9200".into()], Some(vec!["a:9200".into()]));
    see(&mut cluster, &again, "2026-11-27T12:00:14Z");
    let going_on = batch(&cluster).unwrap();
    assert_eq!((going_on.phase, going_on.entries.len()), (BatchPhase::Editing, 1));
}

#[test]
fn a_proposal_that_would_take_away_what_is_needed_again_is_another_one() {
    let (mut cluster, again) = missed("Approval");
    see(&mut cluster, &not_missed_yet(&again), NOON);
    note_as_removed(&mut cluster);
    let id = batch(&cluster).unwrap().id;
    see(&mut cluster, &again, "2026-11-27T12:00:02Z");
    let proposed = batch(&cluster).unwrap();
    assert_eq!((proposed.phase, proposed.entries.len()), (BatchPhase::Proposed, 2));
    assert_ne!(proposed.id, id);
}

#[test]
fn what_a_restart_would_take_away_goes_back_with_the_change_that_nobody_approves_of() {
    let (mut cluster, again) = missed("Automatic");
    let before = not_missed_yet(&again);
    see(&mut cluster, &before, NOON);
    note_as_removed(&mut cluster);
    assert_eq!(phase(&cluster), Some(BatchPhase::Draining));
    see(&mut cluster, &again, "2026-11-27T12:00:02Z");
    let Some(Effect::Edit(change)) = see(&mut cluster, &again, "2026-11-27T12:00:04Z").effect else { panic!() };
    assert_eq!(change.add, ["a:9200", "old:9200"], "it is needed again since");
}

#[test]
fn an_entry_is_put_back_before_a_change_begins_and_a_refusal_is_told() {
    let (mut cluster, again) = missed("Automatic");
    let mut status = SearchClusterStatus::default();
    status.allowlist.get_or_insert_default().removed = vec!["old:9200".into()];
    cluster.status = Some(status);
    let decision = see(&mut cluster, &again, NOON);
    assert!(matches!(decision.effect, Some(Effect::Tidy(_))), "{:?}", decision.effect);
    assert_eq!((decision.notes, batch(&cluster)), (vec![], None), "nothing is told before it is done");
    tidy_refused(cluster.status.as_mut().unwrap(), "no", 1, at("2026-11-27T12:00:01Z"));
    let told_then = cluster.status.clone();
    let decision = see(&mut cluster, &again, "2026-11-27T12:00:30Z");
    assert!(matches!(decision.effect, Some(Effect::Tidy(_))));
    assert_eq!((told(&cluster), &cluster.status), (("TidyRefused".into(), "no".into()), &told_then));
}
