//! Schemas that Rust types can't express by themselves.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Any JSON object, kept as it was written. CEL can't look into it: what must not change in it is held by `status.specHash`.
pub(super) fn free_form_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// `metav1.Condition` as a list-map: one of each type.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    let items = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "items": items,
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
