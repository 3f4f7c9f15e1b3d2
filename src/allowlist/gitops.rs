//! Whether an object is applied again and again by somebody else, who would undo an edit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Annotations and labels by which Argo CD, Flux and Helm mark what they own. Bare `app.kubernetes.io/*` labels say nothing: people
/// write them by hand.
const MARKS: [(&str, &str); 4] = [
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
    ("meta.helm.sh/release-name", "Helm"),
];

/// Field managers that apply again and again; a plain kubectl is none.
const MANAGERS: [(&str, &str); 4] =
    [("argocd-controller", "Argo CD"), ("kustomize-controller", "Flux"), ("helm-controller", "Flux"), ("helm", "Helm")];

/// Who applies this object, or a field of it, again and again; fields as `managedFields` name them, from the top.
pub fn owner(meta: &ObjectMeta, fields: &[&[&str]]) -> Option<String> {
    let marks = meta.annotations.iter().chain(meta.labels.iter()).flatten();
    let marked = marks.filter_map(|(name, value)| {
        MARKS.iter().find(|(mark, _)| mark == name).map(|(_, tool)| format!("{tool} ({name}: {value})"))
    });
    let managed = meta.managed_fields.iter().flatten().filter_map(|entry| {
        let manager = entry.manager.as_deref()?;
        let (_, tool) = MANAGERS.iter().find(|(name, _)| *name == manager)?;
        let held = &entry.fields_v1.as_ref()?.0;
        let holds = |path: &&[&str]| path.iter().try_fold(held, |below, name| below.get(name)).is_some();
        fields.iter().any(holds).then(|| format!("{tool} (field manager {manager})"))
    });
    marked.chain(managed).next()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn owner_of(meta: Value) -> Option<String> {
        owner(&serde_json::from_value(meta).unwrap(), &[&["f:data", "f:elasticsearch.yml"]])
    }

    fn managed(manager: &str, key: &str) -> Value {
        json!({"managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {format!("f:{key}"): {}}}}]})
    }

    #[test]
    fn the_marks_of_each_tool_are_known() {
        for (meta, tool) in [
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:search/es-1-config"}}),
                "Argo CD",
            ),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "search"}}), "Flux"),
            (json!({"labels": {"helm.toolkit.fluxcd.io/name": "search"}}), "Flux"),
            (json!({"annotations": {"meta.helm.sh/release-name": "es"}}), "Helm"),
            (managed("argocd-controller", "elasticsearch.yml"), "Argo CD"),
            (managed("kustomize-controller", "elasticsearch.yml"), "Flux"),
            (managed("helm", "elasticsearch.yml"), "Helm"),
        ] {
            assert!(owner_of(meta.clone()).is_some_and(|owner| owner.starts_with(tool)), "{meta}");
        }
    }

    #[test]
    fn plain_labels_kubectl_and_other_keys_are_no_owner() {
        for meta in [
            json!({"labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "es"}}),
            managed("kubectl-client-side-apply", "elasticsearch.yml"),
            managed("argocd-controller", "jvm.options"),
            json!({}),
        ] {
            assert_eq!(owner_of(meta.clone()), None, "{meta}");
        }
    }
}
