//! What has nodes read the authorities of sources: two settings, a volume and its mount, in the objects of operators that run nodes.

use serde_json::{Value, json};

use crate::plan::trust::{FILE, FOLDER, SETTING, folder};

use super::setting;

/// The container of a node in the pods that ECK makes.
const CONTAINER: &str = "elasticsearch";

/// What has nodes read one ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources<'a> {
    config_map: &'a str,
    /// Where it is mounted.
    folder: String,
}

impl<'a> Sources<'a> {
    /// For nodes that are installed at `home`.
    pub fn new(config_map: &'a str, home: &str) -> Sources<'a> {
        Sources { config_map, folder: folder(home) }
    }

    /// The ConfigMap, which is also the value of the node attribute [`MARK`](crate::plan::trust::MARK).
    pub fn config_map(&self) -> &str {
        self.config_map
    }

    /// The file with the authorities, as a node finds it.
    pub fn file(&self) -> String {
        format!("{}/{FILE}", self.folder)
    }

    /// The volume as a pod has it.
    pub fn volume(&self) -> Value {
        json!({"name": FOLDER, "configMap": {"name": self.config_map}})
    }

    /// Its mount as a container has it.
    pub fn mount(&self) -> Value {
        json!({"name": FOLDER, "mountPath": self.folder, "readOnly": true})
    }

    /// Volume and mount as the OpenSearch operator has them.
    pub fn additional_volume(&self) -> Value {
        json!({"name": FOLDER, "path": self.folder, "configMap": {"name": self.config_map}})
    }

    /// A node set's pod template with the volume and, in the container of the node, its mount. Everything else stays.
    ///
    /// # Errors
    /// Why it can't be added, for people.
    pub fn in_pod_template(&self, template: &Value) -> Result<Value, String> {
        let mut template = if template.is_null() { json!({}) } else { template.clone() };
        let spec = below(&mut template, "spec", json!({}))?;
        put(list(spec, "volumes")?, self.volume(), &["/name"], &["/configMap/name"])?;
        let containers = list(spec, "containers")?;
        let at = containers.iter().position(|container| container["name"] == CONTAINER).unwrap_or_else(|| {
            containers.push(json!({"name": CONTAINER}));
            containers.len() - 1
        });
        put(list(&mut containers[at], "volumeMounts")?, self.mount(), &["/mountPath"], &["/name"])?;
        Ok(template)
    }

    /// The OpenSearch operator's list of volumes with ours.
    ///
    /// # Errors
    /// Why it can't be added, for people.
    pub fn in_additional_volumes(&self, volumes: &Value) -> Result<Value, String> {
        let mut holder = json!({"additionalVolumes": volumes});
        let same = ["/name", "/path", "/configMap/name"];
        put(list(&mut holder, "additionalVolumes")?, self.additional_volume(), &["/name", "/path"], &same)?;
        Ok(holder["additionalVolumes"].take())
    }
}

/// Why a list of authorities can't be set beside what stands in a configuration.
pub fn conflict(configuration: &Value, lists_authorities: bool) -> Option<String> {
    let found = setting::names(configuration).into_iter().find(|name| {
        let trust_store = name.starts_with("reindex.ssl.truststore.");
        // Without a list it is trusted, too.
        trust_store || (!lists_authorities && name.starts_with("reindex.ssl.keystore."))
    })?;
    Some(format!(
        "{found} is set, and a store and {SETTING} exclude each other: list its authorities in {SETTING} instead, or add the sources' to it by hand and take allowlist.trustSource back"
    ))
}

fn below<'v>(parent: &'v mut Value, name: &str, empty: Value) -> Result<&'v mut Value, String> {
    let fields = parent.as_object_mut().ok_or_else(|| format!("what holds {name} is not an object"))?;
    let value = fields.entry(name).or_insert(Value::Null);
    if value.is_null() {
        *value = empty;
    }
    Ok(value)
}

fn list<'v>(parent: &'v mut Value, name: &str) -> Result<&'v mut Vec<Value>, String> {
    below(parent, name, json!([]))?.as_array_mut().ok_or_else(|| format!("{name} is not a list"))
}

/// Puts `wanted` into a list where it is not yet. No two items may have the same value at any of the `unique` pointers; one that has is
/// the wanted one if all of `decisive` are the same.
fn put(list: &mut Vec<Value>, wanted: Value, unique: &[&str], decisive: &[&str]) -> Result<(), String> {
    let same = |item: &Value, pointer: &&str| item.pointer(pointer) == wanted.pointer(pointer);
    match list.iter().find(|item| unique.iter().any(|pointer| same(item, pointer))) {
        None => list.push(wanted),
        Some(item) if decisive.iter().all(|pointer| same(item, pointer)) => {}
        Some(item) => {
            return Err(format!(
                "{item} stands where {wanted} is wanted: take it out, or give it another name and place"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources<'static> {
        Sources::new("es-1-reindex-sources", "/usr/share/elasticsearch")
    }

    const FOLDER_IN_CONFIG: &str = "/usr/share/elasticsearch/config/reindex-sources";

    #[test]
    fn a_pod_template_gets_volume_and_mount_and_keeps_the_rest() {
        let volume = json!({"name": "reindex-sources", "configMap": {"name": "es-1-reindex-sources"}});
        let mount = json!({"name": "reindex-sources", "mountPath": FOLDER_IN_CONFIG, "readOnly": true});
        let bare =
            json!({"spec": {"volumes": [volume], "containers": [{"name": "elasticsearch", "volumeMounts": [mount]}]}});
        assert_eq!(sources().in_pod_template(&Value::Null), Ok(bare.clone()));
        assert_eq!(sources().in_pod_template(&bare), Ok(bare.clone()), "it is there");
        let full = json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "nodeSelector": {"disk": "fast"},
                "volumes": [{"name": "plugins", "emptyDir": {}}],
                "initContainers": [{"name": "sysctl"}],
                "containers": [
                    {"name": "sidecar", "image": "s:1"},
                    {"name": "elasticsearch", "env": [{"name": "A", "value": "b"}], "volumeMounts": [{"name": "plugins", "mountPath": "/p"}]},
                ],
            },
        });
        let mut wanted = full.clone();
        wanted["spec"]["volumes"].as_array_mut().unwrap().push(volume);
        wanted["spec"]["containers"][1]["volumeMounts"].as_array_mut().unwrap().push(mount);
        assert_eq!(sources().in_pod_template(&full), Ok(wanted));
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        for template in [
            json!({"spec": {"volumes": [{"name": "reindex-sources", "secret": {"secretName": "s"}}]}}),
            json!({"spec": {"containers": [{"name": "elasticsearch", "volumeMounts": [{"name": "own", "mountPath": FOLDER_IN_CONFIG}]}]}}),
            json!({"spec": "text"}),
            json!({"spec": {"containers": {}}}),
        ] {
            assert!(sources().in_pod_template(&template).is_err(), "{template}");
        }
        let volumes =
            json!([{"name": "reindex-sources", "path": "/elsewhere", "configMap": {"name": "es-1-reindex-sources"}}]);
        assert!(sources().in_additional_volumes(&volumes).is_err());
    }

    #[test]
    fn the_opensearch_operator_gets_one_volume_more() {
        let own = json!({"name": "own", "path": "/own", "emptyDir": {}});
        let ours =
            json!({"name": "reindex-sources", "path": FOLDER_IN_CONFIG, "configMap": {"name": "es-1-reindex-sources"}});
        assert_eq!(sources().in_additional_volumes(&Value::Null), Ok(json!([ours])));
        let both = json!([own, ours]);
        assert_eq!(sources().in_additional_volumes(&json!([own])), Ok(both.clone()));
        assert_eq!(sources().in_additional_volumes(&both), Ok(both.clone()));
    }

    #[test]
    fn stores_that_exclude_a_list_are_named() {
        let store = json!({"reindex": {"ssl": {"truststore.path": "t.p12"}}});
        assert!(conflict(&store, true).unwrap().starts_with("reindex.ssl.truststore.path is set"));
        let keys = json!({"reindex.ssl.keystore.path": "k.p12"});
        assert!(conflict(&keys, false).is_some());
        assert_eq!(conflict(&keys, true), None, "it is not trusted beside a list");
        assert_eq!(conflict(&json!({"reindex.ssl.verification_mode": "full"}), false), None);
    }
}
