//! What an apiserver checks and fills in before it takes an object: the schema of the definitions, their defaults, their rules.

use std::{collections::BTreeMap, iter};

use jsonschema::error::ValidationErrorKind;
use kube::ResourceExt;
use serde_json::{Map, Value};

use super::rules;
use crate::api::crd;

/// The definitions, ready for use.
pub struct Admission(BTreeMap<String, Definition>);

/// The definition of one kind's spec.
struct Definition {
    schema: Value,
    validator: jsonschema::Validator,
}

/// A definition of this crate that can't be used; a fault of this crate.
#[derive(Debug, thiserror::Error)]
#[error("the definition of {kind} can't be used: {why}")]
pub struct AdmissionFault {
    kind: String,
    why: String,
}

impl Admission {
    /// That of the kinds of this crate.
    ///
    /// # Errors
    /// [`AdmissionFault`].
    pub fn new() -> Result<Admission, AdmissionFault> {
        let definitions = crd::all().into_iter().map(|definition| {
            let kind = definition.name_any();
            let fault = |why: String| AdmissionFault { kind: kind.clone(), why };
            let versions = serde_json::to_value(&definition.spec.versions).map_err(|error| fault(error.to_string()))?;
            let schema = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
            let mut closed = schema.clone();
            close(&mut closed);
            let validator = jsonschema::validator_for(&closed).map_err(|error| fault(error.to_string()))?;
            Ok((kind, Definition { schema, validator }))
        });
        definitions.collect::<Result<_, _>>().map(Admission)
    }

    /// Fills in defaults, and checks the spec. `old` is what it replaces. Objects of other kinds pass.
    ///
    /// # Errors
    /// Every fault, each with its field.
    pub fn admit(&self, resource: &str, object: &mut Value, old: Option<&Value>) -> Result<(), Vec<String>> {
        let Some(Definition { schema, validator }) = self.0.get(resource) else { return Ok(()) };
        let spec = &mut object["spec"];
        complete(schema, spec);
        let faults: Vec<_> = validator.iter_errors(spec).map(|error| told(&error)).collect();
        // Rules presuppose what the schema says.
        let faults = match faults.is_empty() {
            true => rules::broken(schema, spec, old.map(|old| &old["spec"]), "spec"),
            false => faults,
        };
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// The field, what is wrong with it, and where it can be read what is right.
fn told(error: &jsonschema::ValidationError<'_>) -> String {
    let field = field(error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("{field}.{}: is missing", property.as_str().unwrap_or_default())
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let fields: Vec<_> = unexpected.iter().map(|name| format!("{field}.{name}")).collect();
            format!("{}: no such field", fields.join(", "))
        }
        _ => format!("{field}: {error}"),
    }
}

/// A place in the spec as the apiserver names it: `/access/0/roles` is `spec.access[0].roles`.
fn field(pointer: &str) -> String {
    let part = |part: &str| match part.parse::<usize>() {
        Ok(number) => format!("[{number}]"),
        Err(_) => format!(".{part}"),
    };
    iter::once("spec".to_owned()).chain(pointer.split('/').skip(1).map(part)).collect()
}

/// Defaults are filled in where a field is missing; null is the same as missing.
fn complete(schema: &Value, value: &mut Value) {
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object_mut()) {
        complete_fields(properties, fields);
    }
    if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(|item| complete(&schema["items"], item));
    }
    if let (Some(_), Some(fields)) = (schema["additionalProperties"].as_object(), value.as_object_mut()) {
        fields.values_mut().for_each(|field| complete(&schema["additionalProperties"], field));
    }
}

fn complete_fields(properties: &Map<String, Value>, fields: &mut Map<String, Value>) {
    for (name, schema) in properties {
        if fields.get(name).is_some_and(Value::is_null) {
            fields.remove(name);
        }
        if let (None, Some(default)) = (fields.get(name), schema.get("default")) {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(field) = fields.get_mut(name) {
            complete(schema, field);
        }
    }
}

/// An unknown field is a fault here: an apiserver drops it, with a warning that kubectl shows.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            let open = keys.contains_key("additionalProperties")
                || keys.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            if keys.get("properties").is_some_and(Value::is_object) && keys.contains_key("type") && !open {
                keys.insert("additionalProperties".into(), Value::Bool(false));
            }
            keys.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
