//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::json;

use super::{Reindex, SearchCluster};

/// Every definition, in the order in which they are installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    [SearchCluster::crd(), Reindex::crd()].into_iter().map(with_status).collect()
}

/// A new object has a status that says "not seen yet", or tools that read `observedGeneration` would take it for done. The operator alone
/// writes it, always as a whole: to note for each field who did would make the object nearly half as large again.
fn with_status(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let status = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
            .and_then(|schema| schema.properties.as_mut())
            .and_then(|properties| properties.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(json!({"observedGeneration": -1})));
            status.nullable = None;
            status.x_kubernetes_map_type = Some("atomic".to_owned());
        }
    }
    crd
}

/// The definitions as one YAML text, as committed under `crds/`.
///
/// # Errors
/// Never for the definitions of this crate; the serializer's error is passed on.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}
