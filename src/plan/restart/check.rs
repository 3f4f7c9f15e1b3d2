//! What must hold before nodes are restarted.

use std::collections::BTreeSet;

use crate::plan::words::names;

use super::model::{Blocked, Permissions, Pod, Pool, Shard, View};

/// Every rule that must hold before nodes are restarted.
pub fn check(view: &View, pools: &[Pool], allowed: Permissions) -> Result<(), Blocked> {
    for pool in pools {
        check_pool(pool, allowed)?;
    }
    check_membership(view, pools)?;
    if let Some(value) = &view.transient_allocation {
        return blocked(
            "TransientAllocation",
            format!(
                "the cluster has the transient setting cluster.routing.allocation.enable: {value}, which would override what the restart sets. Remove it (set it to null), or make it persistent"
            ),
        );
    }
    check_availability(view, allowed)
}

/// An object that somebody applies again and again is not edited, unless a person says so.
pub fn check_owner(object: &str, owner: &str, allowed: Permissions) -> Result<(), Blocked> {
    if allowed.override_git_ops {
        return Ok(());
    }
    Err(Blocked::passing(
        "ConfigOwned",
        format!(
            "{object} is applied by {owner}, which would undo an edit: commit the change there (status.allowlist.instruction has it), or set allowlist.overrideGitOps"
        ),
    ))
}

/// Whether every index stays available while nodes restart one by one.
pub fn check_availability(view: &View, allowed: Permissions) -> Result<(), Blocked> {
    if allowed.unavailable {
        return Ok(());
    }
    let lonely = without_replica(view, None);
    if !lonely.is_empty() {
        return Err(lonely_message(view, &lonely));
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

fn check_pool(pool: &Pool, allowed: Permissions) -> Result<(), Blocked> {
    let name = &pool.stateful_set;
    let Some(replicas) = pool.replicas else {
        return blocked("StatefulSetNotFound", format!("StatefulSet {name} (provider.statefulSets) does not exist"));
    };
    if let Some(owner) = &pool.owner {
        check_owner(&format!("ConfigMap {}", pool.config), owner, allowed)?;
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

/// Why nodes may not restart yet: a copy runs, and nobody allowed to interrupt it.
pub fn undrained(view: &View, copies: &[String], allowed: Permissions) -> Option<String> {
    let runs = !copies.is_empty() || view.tasks > 0;
    (runs && !allowed.interrupt).then(|| {
        format!(
            "waiting for {} running reindex tasks to end before the restart [{}]",
            view.tasks.max(copies.len()),
            copies.join(", ")
        )
    })
}

/// Indices that have a primary (on `node`, if given) without a started replica on another node; not those that are being filled.
pub fn without_replica(view: &View, node: Option<&str>) -> BTreeSet<String> {
    let elsewhere = |primary: &Shard| {
        view.shards.iter().any(|copy| {
            !copy.primary
                && copy.started
                && copy.index == primary.index
                && copy.number == primary.number
                && copy.node != primary.node
        })
    };
    let concerned = |shard: &&Shard| {
        shard.primary && (node.is_none() || shard.node.as_deref() == node) && !view.filling.contains(&shard.index)
    };
    view.shards.iter().filter(concerned).filter(|shard| !elsewhere(shard)).map(|shard| shard.index.clone()).collect()
}

/// What these indices wait for: somebody, or their replicas, which are on their way.
pub fn lonely_message(view: &View, indices: &BTreeSet<String>) -> Blocked {
    let (starting, lonely): (BTreeSet<String>, BTreeSet<String>) =
        indices.iter().cloned().partition(|index| is_being_replicated(view, index));
    match lonely.is_empty() {
        true => Blocked::passing(
            "ReplicasStarting",
            format!("waiting until the replicas of these indices have started: {}", names(&starting)),
        ),
        false => Blocked::by(
            "IndexWithoutReplica",
            format!(
                "a restart would make these indices unavailable, as they have a shard without a started replica: {}. Give them a replica, or set allowlist.allowUnavailable",
                names(&lonely)
            ),
        ),
    }
}

/// Whether every replica has its node by now, as a moment after the index was created, or after its replicas were switched on.
fn is_being_replicated(view: &View, index: &str) -> bool {
    let mut replicas = view.shards.iter().filter(|copy| copy.index == index && !copy.primary).peekable();
    replicas.peek().is_some() && replicas.all(|copy| copy.node.is_some())
}

fn blocked<T>(reason: &'static str, message: String) -> Result<T, Blocked> {
    Err(Blocked::by(reason, message))
}
