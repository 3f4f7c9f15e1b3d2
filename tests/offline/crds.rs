//! The CustomResourceDefinitions: committed as they are generated, safe for the apiserver, and understood by the examples.

use std::{fs, path::PathBuf};

use reindex_operator::api::{Reindex, SearchCluster, crd};
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("failed to read {path}: {error}"))
}

/// Name of the file and schema of the object, for each definition.
fn schemas() -> Vec<(String, Value)> {
    let definitions = crd::all().into_iter().map(|definition| {
        let schema = definition.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        (definition.spec.names.plural.clone(), serde_json::to_value(schema).unwrap())
    });
    definitions.collect()
}

/// A schema inside another one, by the path of its field.
struct Field<'a> {
    path: String,
    schema: &'a Value,
}

/// Every field below `schema`, items of lists and values of maps included.
fn fields<'a>(path: &str, schema: &'a Value, found: &mut Vec<Field<'a>>) {
    found.push(Field { path: path.to_owned(), schema });
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        fields(&format!("{path}.{name}"), property, found);
    }
    for (part, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[part].is_object() {
            fields(&format!("{path}{suffix}"), &schema[part], found);
        }
    }
}

/// The paths of all fields for which `wrong` holds.
fn offenders(below: &str, wrong: impl Fn(&Field<'_>) -> bool) -> Vec<String> {
    let mut offending = Vec::new();
    for (name, schema) in schemas() {
        let (start, path) = match below {
            "" => (&schema, name.clone()),
            part => (&schema["properties"][part], format!("{name}.{part}")),
        };
        let mut found = Vec::new();
        fields(&path, start, &mut found);
        offending.extend(found.into_iter().filter(|field| wrong(field)).map(|field| field.path));
    }
    offending
}

/// Kubernetes' own type, whose schema is not ours to bound; the CEL rules don't look into it.
fn is_label_selector(path: &str) -> bool {
    path.contains(".selector.")
}

#[test]
fn the_committed_definitions_are_the_generated_ones() {
    for folder in ["crds", "charts/reindex-operator/files/crds"] {
        for definition in crd::all() {
            let path = format!("{folder}/{}.yaml", definition.spec.names.plural);
            let same = read(&path).trim() == crd::to_yaml(&definition).unwrap().trim();
            assert!(same, "{path} is stale: run `make generate`");
        }
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        // By which kustomize takes them.
        let committed = files.filter(|name| name != "kustomization.yaml").count();
        assert_eq!(
            committed,
            crd::all().len(),
            "{folder} holds files that belong to no definition: run `make generate`"
        );
    }
}

#[test]
fn every_example_is_an_object_of_this_version() {
    let mut kinds = Vec::new();
    for entry in fs::read_dir(root().join("deploy/examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for document in documents {
            let kind = document["kind"].as_str().unwrap_or_default().to_owned();
            match kind.as_str() {
                "SearchCluster" => same_after_typing::<SearchCluster>(&document),
                "Reindex" => same_after_typing::<Reindex>(&document),
                _ => continue,
            }
            kinds.push(kind);
        }
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["Reindex", "SearchCluster"], "deploy/examples shows both kinds");
}

/// Nothing that the example says is lost: a field that the type doesn't know would be.
fn same_after_typing<K: serde::de::DeserializeOwned + serde::Serialize>(document: &Value) {
    let typed: K = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error} in {document:#}"));
    assert_contains(&serde_json::to_value(typed).unwrap(), document, "");
}

fn assert_contains(whole: &Value, part: &Value, path: &str) {
    match part {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| assert_contains(&whole[name], value, &format!("{path}.{name}")))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| assert_contains(&whole[i], item, &format!("{path}[{i}]")))
        }
        value => assert_eq!(whole, value, "{path} is not known to the type"),
    }
}

#[test]
fn no_number_is_unsigned() {
    // The apiserver drops formats that it doesn't know, with a warning for everybody who applies the CRD.
    let found = offenders("", |field| field.schema["format"].as_str().is_some_and(|format| format.starts_with("uint")));
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_list_is_bounded() {
    // CEL rules are charged for the longest list that could be there.
    let found = offenders("spec", |field| {
        field.schema["type"] == "array" && field.schema["maxItems"].is_null() && !is_label_selector(&field.path)
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_list_in_a_status_is_bounded() {
    let found = offenders("status", |field| field.schema["type"] == "array" && field.schema["maxItems"].is_null());
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_text_that_a_person_writes_is_bounded() {
    let found = offenders("spec", |field| {
        let schema = field.schema;
        schema["type"] == "string"
            && schema["maxLength"].is_null()
            && schema["enum"].is_null()
            && !is_label_selector(&field.path)
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_field_says_what_it_is() {
    let found = offenders("", |field| {
        let is_part_of_a_list_or_map = field.path.ends_with("[]") || field.path.ends_with("{}");
        // Their fields are described; they themselves are the object's two halves.
        let is_half = field.path.ends_with("es.status") || field.path.ends_with("ers.status");
        let described = field.schema["description"].as_str().is_some_and(|text| !text.trim().is_empty());
        !described && !is_part_of_a_list_or_map && !is_half
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_new_object_is_not_seen_yet() {
    for (name, schema) in schemas() {
        let default = &schema["properties"]["status"]["default"];
        assert_eq!(
            *default,
            serde_json::json!({"observedGeneration": -1}),
            "{name}: tools would take a new object for done"
        );
    }
}

#[test]
fn every_column_of_kubectl_get_points_at_a_field() {
    for definition in crd::all() {
        let version = &definition.spec.versions[0];
        let schema =
            serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap();
        for column in version.additional_printer_columns.iter().flatten() {
            let path = column.json_path.split("[?").next().unwrap_or_default();
            let mut field = &schema;
            for name in
                path.split('.').filter(|name| !name.is_empty() && *name != "metadata" && *name != "creationTimestamp")
            {
                field = &field["properties"][name];
            }
            assert!(
                !field.is_null(),
                "column {} of {} points at nothing: {}",
                column.name,
                definition.spec.names.plural,
                column.json_path
            );
        }
    }
}

#[test]
fn kubectl_explains_every_field() {
    let is_silent = |field: &Field<'_>| {
        // Items and values are explained by their list; the label selector is Kubernetes' own.
        let named = !field.path.ends_with("[]") && !field.path.ends_with("{}");
        named && !is_label_selector(&field.path) && field.schema["description"].as_str().is_none_or(str::is_empty)
    };
    assert_eq!(offenders("spec", is_silent), [""; 0]);
    assert_eq!(offenders("status", is_silent), [""; 0]);
}
