//! What Reindexes would do, before they are applied.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};

use crate::{api::Reindex, local::manifests::Manifests};

use super::{
    End, Fault, Place,
    local::{self, Run},
    show, text,
    watch::{self, Watched},
};

/// Seconds after which what is left of a plan goes by itself, if this process can't delete it.
const LEFTOVER: i64 = 600;

/// Asks the operator of a cluster: it is given a Reindex beside, which only checks, and which is deleted again.
pub async fn in_cluster(place: &Place, manifests: &Manifests) -> Result<End, Fault> {
    let mut worst = End::Well;
    for wanted in typed(manifests)? {
        let api = Api::namespaced(place.client.clone(), wanted.metadata.namespace.as_deref().unwrap_or_default());
        let name = wanted.name_any();
        let created =
            api.create(&PostParams::default(), &rehearsal(wanted)).await.map_err(Fault::kube("create the dry run"))?;
        let planned = seen(&api, &created).await;
        // Whatever was seen, nothing is left.
        let deleted = api.delete(&created.name_any(), &DeleteParams::default()).await;
        deleted.map_err(Fault::kube("delete the dry run"))?;
        let (end, mut planned) = planned?;
        planned.metadata.name = Some(name);
        show(text::plan(&planned))?;
        worst = worst.max(end);
    }
    Ok(worst)
}

/// The same with the operator of this process.
pub async fn on_this_machine(manifests: Manifests, namespace: &str) -> Result<End, Fault> {
    let mut manifests = manifests.without_kubernetes()?;
    manifests.only_plan();
    let (end, planned) = local::run(Run { manifests, state: None, exit_when_stalled: true, namespace }).await?;
    planned.iter().try_for_each(|planned| show(text::plan(planned)))?;
    Ok(end)
}

/// Watches a dry run until it has ended, or somebody interrupts.
async fn seen(api: &Api<Reindex>, created: &Reindex) -> Result<(End, Reindex), Fault> {
    let name = created.name_any();
    let watched = vec![Watched { api: api.clone(), name: name.clone() }];
    let ended = watch::ended(true);
    let end = tokio::select! {
        end = watch::watch(watched, &ended) => end?,
        interrupted = tokio::signal::ctrl_c() => { interrupted?; End::Unfinished }
    };
    Ok((end, api.get(&name).await.map_err(Fault::kube("read the dry run"))?))
}

/// The Reindex that only checks.
fn rehearsal(mut reindex: Reindex) -> Reindex {
    let metadata = &mut reindex.metadata;
    metadata.generate_name = metadata.name.take().map(|name| format!("{}-plan-", &name[..name.len().min(200)]));
    reindex.spec.dry_run = true;
    reindex.spec.ttl_seconds_after_finished = Some(LEFTOVER);
    reindex
}

/// The Reindexes of the manifests.
fn typed(manifests: &Manifests) -> Result<Vec<Reindex>, Fault> {
    let found = manifests.objects.iter().filter(|object| object["kind"] == "Reindex");
    found.map(|object| serde_json::from_value(object.clone()).map_err(Fault::Manifest)).collect()
}
