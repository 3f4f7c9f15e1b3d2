//! The CustomResourceDefinitions as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt;
use serde_json::json;

use super::{Reindex, SearchCluster};

/// Every definition, in the order in which they are installed.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![born_unseen(SearchCluster::crd()), born_unseen(Reindex::crd())]
}

/// A new object has a status that says "not seen yet", or tools that read `observedGeneration` would take it for done.
fn born_unseen(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
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
