//! What Reindexes would do, before they are applied.

use http::{Request, header::CONTENT_TYPE};
use kube::{Api, Resource, ResourceExt, api::DeleteParams};
use serde_json::{Value, json};

use crate::{
    api::Reindex,
    local::manifests::{self, Manifests},
};

use super::{
    End, Fault, Place,
    local::{self, Run},
    show,
    signals::Signals,
    text,
    watch::{self, Until, Watched},
};

/// Seconds after which what is left of a plan goes by itself, if this process can't delete it.
const LEFTOVER: i64 = 600;
/// How much of a name the name of its dry run holds: an apiserver cuts what it makes a name of after 58 characters.
const NAME: usize = 50;

/// Asks the operator of a cluster: it is given a Reindex beside, which only checks, and which is deleted again.
pub async fn in_cluster(place: &Place, manifests: &Manifests) -> Result<End, Fault> {
    // Before anything is there that would be left.
    let mut signals = Signals::listen()?;
    if manifests.objects.iter().any(|object| object["kind"] == "SearchCluster") {
        eprintln!(
            "note: SearchClusters are those that the cluster has now, not those of the file; --local takes these"
        );
    }
    let mut worst = End::Well;
    for wanted in manifests.objects.iter().filter(|object| object["kind"] == "Reindex") {
        let created = create(place, &rehearsal(wanted)).await?;
        let namespace = created.namespace().unwrap_or_default();
        let (api, name) = (Api::namespaced(place.client.clone(), &namespace), created.name_any());
        let seen = tokio::select! {
            seen = seen(&api, &name) => seen.map(Some),
            () = signals.next() => Ok(None),
        };
        // Whatever was seen, nothing is left.
        api.delete(&name, &DeleteParams::default()).await.map_err(Fault::kube("delete the dry run"))?;
        let Some((end, mut planned)) = seen? else { return Ok(worst.max(End::Unfinished)) };
        planned.metadata.name = wanted["metadata"]["name"].as_str().map(str::to_owned);
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

/// Creates it as it is written. A field that the cluster doesn't know is refused: left out, it would be missing from the plan in silence.
async fn create(place: &Place, reindex: &Value) -> Result<Reindex, Fault> {
    let path = Reindex::url_path(&(), reindex["metadata"]["namespace"].as_str());
    let request = Request::post(format!("{path}?fieldValidation=Strict"))
        .header(CONTENT_TYPE, "application/json")
        .body(reindex.to_string().into_bytes())
        .map_err(kube::Error::HttpError);
    let created = match request {
        Ok(request) => place.client.request(request).await,
        Err(error) => Err(error),
    };
    created.map_err(Fault::kube("create the dry run"))
}

/// Watches a dry run until it has ended.
async fn seen(api: &Api<Reindex>, name: &str) -> Result<(End, Reindex), Fault> {
    let watched = vec![Watched { api: api.clone(), name: name.to_owned() }];
    let end = watch::watch(watched, Until::AllHaveEnded, &watch::ended(true)).await?;
    Ok((end, api.get(name).await.map_err(Fault::kube("read the dry run"))?))
}

/// The Reindex that only checks. It has no labels or annotations: by them Argo CD and others would take it for an object of theirs.
fn rehearsal(reindex: &Value) -> Value {
    let metadata = &reindex["metadata"];
    let name: String = metadata["name"].as_str().unwrap_or_default().chars().take(NAME).collect();
    let name = name.trim_end_matches(['.', '-']);
    let mut rehearsal = reindex.clone();
    rehearsal["metadata"] = json!({"namespace": metadata["namespace"], "generateName": format!("{name}-plan-")});
    manifests::make_dry_run(&mut rehearsal);
    if let Some(spec) = rehearsal.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("ttlSecondsAfterFinished".into(), json!(LEFTOVER));
    }
    rehearsal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rehearsal_of(name: &str) -> Value {
        rehearsal(&json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
            "metadata": {
                "name": name, "namespace": "search", "labels": {"argocd.argoproj.io/instance": "shop"},
                "annotations": {"argocd.argoproj.io/tracking-id": "shop:reindex.dev/Reindex:search/a"},
            },
            "spec": {"suspend": true, "unheardOf": 1},
        }))
    }

    #[test]
    fn a_dry_run_checks_at_once_and_is_nobody_elses() {
        assert_eq!(
            rehearsal_of("a"),
            json!({
                "apiVersion": "reindex.dev/v1alpha1", "kind": "Reindex",
                "metadata": {"namespace": "search", "generateName": "a-plan-"},
                "spec": {"dryRun": true, "ttlSecondsAfterFinished": LEFTOVER, "unheardOf": 1},
            })
        );
    }

    #[test]
    fn its_name_is_one_whatever_the_manifest_has() {
        let name = |of: &str| rehearsal_of(of)["metadata"]["generateName"].as_str().map(str::to_owned).unwrap();
        assert_eq!(name(&format!("{}.b", "a".repeat(49))), format!("{}-plan-", "a".repeat(49)));
        assert_eq!(name(&"ü".repeat(300)), format!("{}-plan-", "ü".repeat(50)), "an apiserver refuses it, not a panic");
    }
}
