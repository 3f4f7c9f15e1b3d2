//! Manifests as they would be applied, made ready for a run without Kubernetes.

use std::collections::BTreeSet;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::store::key_of;
use crate::api::{GROUP, VERSION};

/// Why manifests can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// It is no YAML.
    #[error("{file} is no YAML: {why}")]
    NotYaml {
        /// Where.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// An object without a kind or a name.
    #[error("{file}, document {number}: {field} is missing")]
    Incomplete {
        /// Where.
        file: String,
        /// Which one, counted from 1; empty ones are not counted.
        number: usize,
        /// What is missing.
        field: &'static str,
    },
    /// A kind of this operator in a version that it does not know.
    #[error("{what}: apiVersion {found:?} is not known here; write {GROUP}/{VERSION}")]
    Version {
        /// Kind and name.
        what: String,
        /// What stands there.
        found: String,
    },
    /// Two objects of the same name.
    #[error("{0} is given twice")]
    Twice(String),
    /// A Secret's value that is no base64.
    #[error("{what}: data.{key} is no base64 of text; write it below stringData as it is, or encode it")]
    NotBase64 {
        /// Kind and name.
        what: String,
        /// Which.
        key: String,
    },
    /// Only Kubernetes knows where the cluster is.
    #[error("{what}: spec.endpoint is missing; without Kubernetes there is no provider that could tell it")]
    NoEndpoint {
        /// Kind and name.
        what: String,
    },
    /// There is nothing to do.
    #[error("there is no Reindex in {0}")]
    NoReindex(String),
}

/// What is run.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The objects, as an apiserver is sent them.
    pub objects: Vec<Value>,
    /// What is done differently from what they say.
    pub notes: Vec<String>,
}

impl Manifests {
    /// From files, each a name and its text. What names no namespace is in `namespace`.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub fn read(files: &[(String, String)], namespace: &str) -> Result<Manifests, ManifestFault> {
        let mut manifests = Manifests::default();
        for (file, text) in files {
            let documents: Vec<Value> = serde_saphyr::from_multiple(text)
                .map_err(|error| ManifestFault::NotYaml { file: file.clone(), why: error.to_string() })?;
            for (at, document) in documents.into_iter().enumerate() {
                for object in unlisted(document) {
                    manifests.take(object, namespace, file, at + 1)?;
                }
            }
        }
        if manifests.reindexes().is_empty() {
            let names: Vec<_> = files.iter().map(|(file, _)| file.as_str()).collect();
            return Err(ManifestFault::NoReindex(names.join(", ")));
        }
        Ok(manifests)
    }

    /// The same for a run without Kubernetes: what it doesn't need is left out, what an apiserver would add is added.
    ///
    /// # Errors
    /// [`ManifestFault`].
    pub fn without_kubernetes(self) -> Result<Manifests, ManifestFault> {
        let mut ready = Manifests { objects: Vec::new(), notes: self.notes };
        for object in self.objects {
            let what = title(&object);
            match object["kind"].as_str().unwrap_or_default() {
                "Namespace" | "ConfigMap" | "Reindex" => ready.objects.push(object),
                "Secret" => ready.objects.push(plain_secret(object, &what)?),
                "SearchCluster" => {
                    let cluster = ready.without_provider(object, &what)?;
                    ready.objects.push(cluster);
                }
                _ => ready.notes.push(format!("{what} is not needed for a run without Kubernetes, and left out")),
            }
        }
        ready.add_namespaces();
        Ok(ready)
    }

    /// Namespace and name of every Reindex.
    pub fn reindexes(&self) -> Vec<(String, String)> {
        let found = self.objects.iter().filter(|object| object["kind"] == "Reindex");
        found.map(|object| (meta(object, "namespace"), meta(object, "name"))).collect()
    }

    /// The Reindexes only check, and say what they would do.
    pub fn only_plan(&mut self) {
        self.objects.iter_mut().filter(|object| object["kind"] == "Reindex").for_each(make_dry_run);
    }

    fn take(&mut self, object: Value, namespace: &str, file: &str, number: usize) -> Result<(), ManifestFault> {
        let missing = |field| ManifestFault::Incomplete { file: file.to_owned(), number, field };
        let kind = object["kind"].as_str().ok_or_else(|| missing("kind"))?;
        object["metadata"]["name"].as_str().ok_or_else(|| missing("metadata.name"))?;
        let found = object["apiVersion"].as_str().ok_or_else(|| missing("apiVersion"))?;
        let is_ours = ["Reindex", "SearchCluster"].contains(&kind) && found.starts_with(&format!("{GROUP}/"));
        if is_ours && found != format!("{GROUP}/{VERSION}") {
            return Err(ManifestFault::Version { what: title(&object), found: found.to_owned() });
        }
        let namespace = (kind != "Namespace").then_some(namespace);
        let object = declared(object, namespace);
        if self.objects.iter().any(|other| key_of(other) == key_of(&object)) {
            return Err(ManifestFault::Twice(title(&object)));
        }
        self.objects.push(object);
        Ok(())
    }

    /// Nobody here may change a cluster's settings or restart its nodes: the allowlist is verified only.
    fn without_provider(&mut self, mut cluster: Value, what: &str) -> Result<Value, ManifestFault> {
        let spec = &mut cluster["spec"];
        if spec["endpoint"].is_null() {
            return Err(ManifestFault::NoEndpoint { what: what.to_owned() });
        }
        let Some(spec) = spec.as_object_mut() else { return Ok(cluster) };
        spec.remove("provider");
        let allowlist = spec.remove("allowlist").unwrap_or_default();
        if !allowlist["management"].is_null() && allowlist["management"] != "Verify" {
            let management = &allowlist["management"];
            self.notes.push(format!(
                "{what}: allowlist.management is {management}, but a run without Kubernetes changes no cluster's settings: it only verifies"
            ));
        }
        Ok(cluster)
    }

    /// Every object's namespace exists.
    fn add_namespaces(&mut self) {
        let is_namespace = |object: &&Value| object["kind"] == "Namespace";
        let given: BTreeSet<_> = self.objects.iter().filter(is_namespace).map(|object| meta(object, "name")).collect();
        let used: BTreeSet<_> = self.objects.iter().map(|object| meta(object, "namespace")).collect();
        self.objects.extend(
            used.difference(&given)
                .filter(|name| !name.is_empty())
                .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})),
        );
        for object in self.objects.iter_mut().filter(|object| object["kind"] == "Namespace") {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(meta(object, "name"));
        }
    }
}

/// The Reindex only checks, at once: one that is to begin suspended would never say what it would do.
pub fn make_dry_run(reindex: &mut Value) {
    if let Some(spec) = reindex.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("dryRun".into(), json!(true));
        spec.remove("suspend");
    }
}

fn title(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap_or_default(), meta(object, "name"))
}

fn meta(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

/// The objects of a document: none, one, or those of a List.
fn unlisted(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut fields) if fields.get("kind") == Some(&json!("List")) => match fields.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        one => vec![one],
    }
}

/// What a person may say of an object; the rest is an apiserver's to say.
fn declared(mut object: Value, namespace: Option<&str>) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "labels", "annotations"] {
        let given = object["metadata"][field].take();
        if !given.is_null() {
            metadata.insert(field.to_owned(), given);
        }
    }
    match namespace {
        Some(namespace) => drop(metadata.entry("namespace").or_insert_with(|| json!(namespace))),
        None => drop(metadata.remove("namespace")),
    }
    if let Some(fields) = object.as_object_mut() {
        fields.insert("metadata".into(), Value::Object(metadata));
        fields.remove("status");
    }
    object
}

/// `stringData` becomes `data`, as an apiserver makes it.
fn plain_secret(mut secret: Value, what: &str) -> Result<Value, ManifestFault> {
    let Some(fields) = secret.as_object_mut() else { return Ok(secret) };
    let mut data = Map::new();
    for (key, value) in fields.remove("data").as_ref().and_then(Value::as_object).into_iter().flatten() {
        let encoded = value.as_str().map(|text| text.split_whitespace().collect::<String>());
        let encoded = encoded.filter(|encoded| BASE64_STANDARD.decode(encoded).is_ok());
        let not_base64 = || ManifestFault::NotBase64 { what: what.to_owned(), key: key.clone() };
        data.insert(key.clone(), Value::String(encoded.ok_or_else(not_base64)?));
    }
    for (key, value) in fields.remove("stringData").as_ref().and_then(Value::as_object).into_iter().flatten() {
        data.insert(key.clone(), Value::String(BASE64_STANDARD.encode(value.as_str().unwrap_or_default())));
    }
    fields.insert("data".into(), Value::Object(data));
    Ok(secret)
}
