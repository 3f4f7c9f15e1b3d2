//! The provider `openSearchOperator`: an `OpenSearchCluster` object of the OpenSearch Kubernetes operator, which restarts the nodes.
//!
//! Values of its `additionalConfig` are texts; one that holds a JSON list becomes a list in `opensearch.yml`. What a node pool sets
//! itself wins over what is set for all.

use std::collections::BTreeSet;

use kube::{
    Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    api::search_cluster::{Connection, KeyRef, PasswordRef},
    plan::{
        allowlist::{ALLOWLIST, Change, WHITELIST, effective},
        restart::Blocked,
        rollout::{Managed, Progress},
        trust,
    },
};

use super::{
    gitops,
    object::Object,
    provider::ProviderError,
    setting::{self, Form, Place},
    sources::{self, Sources},
};

/// The kind's API groups. Where both are installed the operator copies from the older to the newer, and lets nobody change the older.
const GROUPS: [&str; 2] = ["opensearch.org", "opensearch.opster.io"];

/// One cluster that the operator runs.
pub struct OpenSearchOperator<'a> {
    /// Talks to the apiserver.
    pub client: &'a Client,
    /// Where the object is.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The setting.
    pub key: &'a str,
}

impl OpenSearchOperator<'_> {
    /// What is configured, how far the operator is, and what a person would write to make `change`. Whether we may is asked only where it
    /// comes to that.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn look(&self, change: &Change, before_edit: bool) -> Result<Managed, ProviderError> {
        let (target, object) = self.get().await?;
        let seen = managed(&object, self.key, change);
        if before_edit { target.changeable(seen).await } else { Ok(seen) }
    }

    /// Changes the configuration of every node.
    ///
    /// # Errors
    /// As [`Object::edit`].
    pub async fn apply(&self, change: &Change) -> Result<(), ProviderError> {
        let (target, object) = self.get().await?;
        target.edit(&object, operations(&object, self.key, change)).await
    }

    /// Authorities that the configuration lists.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn authorities(&self) -> Result<Vec<String>, ProviderError> {
        let (_, object) = self.get().await?;
        let spots = spots(&object, trust::SETTING, Form::ListInText).unwrap_or_default();
        Ok(spots.into_iter().flat_map(|spot| spot.place.entries).collect())
    }

    /// How the cluster is reached: by the Service and with the Secrets that the operator makes or is told.
    ///
    /// # Errors
    /// [`ProviderError`]
    pub async fn connection(&self) -> Result<Connection, ProviderError> {
        let (target, object) = self.get().await?;
        connection(&object, self.namespace)
            .map_err(|message| ProviderError::Unusable { object: target.title(), message })
    }

    /// The object of the newest group that has one.
    async fn get(&self) -> Result<(Object<'_>, DynamicObject), ProviderError> {
        for group in GROUPS {
            let target = self.object(group);
            if let Some(found) = target.get().await? {
                return Ok((target, found));
            }
        }
        Err(self.object(GROUPS[0]).missing())
    }

    fn object(&self, group: &str) -> Object<'_> {
        let kind = GroupVersionKind::gvk(group, "v1", "OpenSearchCluster");
        let resource = ApiResource::from_gvk_with_plural(&kind, "opensearchclusters");
        Object { client: self.client, resource, namespace: self.namespace, name: self.name }
    }
}

/// One place where the setting stands, or must be put.
struct Spot {
    /// JSON pointer of its `additionalConfig`.
    pointer: String,
    /// The node pool's position and name; None for all of them.
    pool: Option<(usize, String)>,
    place: Place,
}

/// Where entries of a setting must stand so that every node has them: in each node pool that sets its own, and for all unless each does.
fn spots(object: &DynamicObject, key: &str, new: Form) -> Result<Vec<Spot>, String> {
    let spec = &object.data["spec"];
    let pools = spec["nodePools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut spots = vec![];
    for (at, pool) in pools.iter().enumerate() {
        let name = pool["component"].as_str().unwrap_or_default().to_owned();
        let own =
            setting::find_text(&pool["additionalConfig"], key).map_err(|why| format!("node pool {name}: {why}"))?;
        spots.extend(own.map(|place| Spot {
            pointer: format!("/spec/nodePools/{at}/additionalConfig"),
            pool: Some((at, name)),
            place,
        }));
    }
    let general = &spec["general"]["additionalConfig"];
    let place = setting::find_text(general, key).map_err(|why| format!("general: {why}"))?;
    // A node gets what stands for all and for its pool together, and reads the newer name if it has both.
    let names: BTreeSet<String> = spots.iter().map(|spot| &spot.place).chain(&place).map(Place::name).collect();
    if names.len() > 1 {
        return Err(format!("it uses both {}: keep one of them", names.into_iter().collect::<Vec<_>>().join(" and ")));
    }
    let name = names.first().map_or(key, String::as_str);
    if spots.len() < pools.len() || pools.is_empty() {
        spots.push(Spot {
            pointer: "/spec/general/additionalConfig".into(),
            pool: None,
            place: place.unwrap_or_else(|| Place::new(name, new)),
        });
    }
    Ok(spots)
}

/// A setting as it stands at one place, and as it is to be.
struct Edit {
    spot: Spot,
    after: Place,
}

impl Edit {
    fn is_made(&self) -> bool {
        self.spot.place == self.after
    }
}

/// The volumes, as they are to be, and whether all of it stands already.
struct Trusting {
    settings: Vec<Edit>,
    volumes: Value,
    is_made: bool,
}

fn trusting(object: &DynamicObject, sources: &Sources<'_>) -> Result<Trusting, String> {
    let spec = &object.data["spec"];
    let authorities = spots(object, trust::SETTING, Form::ListInText)?;
    let lists = !authorities.is_empty() && authorities.iter().all(|spot| !spot.place.entries.is_empty());
    let pools = spec["nodePools"].as_array().map(Vec::as_slice).unwrap_or_default();
    for holder in pools.iter().chain([&spec["general"]]) {
        if let Some(why) = sources::conflict(&holder["additionalConfig"], lists) {
            return Err(why);
        }
    }
    let marks = spots(object, trust::MARK, Form::Text)?;
    let listed = |spot: Spot| Edit { after: spot.place.with(&sources.file()), spot };
    let marked = |spot: Spot| Edit { after: spot.place.with(sources.config_map()), spot };
    let settings: Vec<Edit> = authorities.into_iter().map(listed).chain(marks.into_iter().map(marked)).collect();
    let volumes = sources.in_additional_volumes(&spec["general"]["additionalVolumes"])?;
    let is_made = settings.iter().all(Edit::is_made) && volumes == spec["general"]["additionalVolumes"];
    Ok(Trusting { settings, volumes, is_made })
}

fn sources<'a>(object: &DynamicObject, change: &'a Change) -> Option<Sources<'a>> {
    let home = object.data["spec"]["general"]["opensearchHome"].as_str().filter(|home| !home.is_empty());
    change.trust.as_ref().map(|map| Sources::new(map, home.unwrap_or(trust::OPENSEARCH)))
}

fn managed(object: &DynamicObject, key: &str, change: &Change) -> Managed {
    let title = format!("OpenSearchCluster {}", object.name_any());
    let not_editable = |why: String| Blocked::by("ConfigNotEditable", format!("{title}: {why}"));
    let found = spots(object, key, Form::ListInText);
    let held = found.iter().flatten().flat_map(|spot| spot.place.entries.clone()).collect();
    let in_pool = |found: &Result<Vec<Spot>, String>| found.iter().flatten().any(|spot| spot.pool.is_some());
    let trusts = change.trust.is_some();
    let own = in_pool(&found)
        || (trusts && [trust::SETTING, trust::MARK].iter().any(|key| in_pool(&spots(object, key, Form::Text))));
    let configured = match found {
        Ok(spots) => Ok(effective(spots.iter().map(|spot| &spot.place.entries))),
        Err(why) => Err(not_editable(why)),
    };
    let trust = sources(object, change)
        .map_or(Ok(false), |sources| trusting(object, &sources).map(|trusting| trusting.is_made).map_err(not_editable));
    let instruction = instruction(object, key, change);
    let pools = object.data["spec"]["nodePools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let replicas: Option<Vec<u64>> = pools.iter().map(|pool| pool["replicas"].as_u64()).collect();
    let mut keys = vec![key, WHITELIST, ALLOWLIST];
    if trusts {
        keys.extend([trust::SETTING, trust::MARK]);
    }
    let keys: Vec<String> = keys.into_iter().map(|key| format!("f:{key}")).collect();
    let general: Vec<_> = keys.iter().map(|key| ["f:spec", "f:general", "f:additionalConfig", key.as_str()]).collect();
    let mut paths: Vec<&[&str]> = general.iter().map(<[&str; 4]>::as_slice).collect();
    if own {
        paths.push(&["f:spec", "f:nodePools"]);
    }
    if trusts {
        paths.push(&["f:spec", "f:general", "f:additionalVolumes"]);
    }
    Managed {
        object: title,
        configured,
        held,
        trust,
        owner: gitops::owner(&object.metadata, &paths),
        progress: progress(&object.data["status"]),
        nodes: replicas.and_then(|replicas| usize::try_from(replicas.iter().sum::<u64>()).ok()),
        instruction,
    }
}

/// The operator does not tell which generation it has seen: that it rests says little, the nodes say the rest.
fn progress(status: &Value) -> Progress {
    let phase = status["phase"].as_str().unwrap_or("unknown");
    let health = status["health"].as_str().unwrap_or("unknown");
    let busy = status["componentsStatus"].as_array().into_iter().flatten().find_map(|component| {
        let state = component["status"].as_str()?;
        let restarts =
            ["RollingRestart", "Restarter", "Upgrader", "Scaler"].contains(&component["component"].as_str()?);
        let at_it = ["InProgress", "Running", "Upgrading", "Drained", "Excluded", "Draining"].contains(&state);
        (restarts && at_it).then(|| format!("{} {state}", component["component"].as_str().unwrap_or_default()))
    });
    match (phase, busy) {
        ("RUNNING", None) if health != "red" => Progress::Steady,
        (_, Some(component)) => Progress::Rolling { message: format!("phase {phase}, {component}") },
        (_, None) => Progress::Rolling { message: format!("phase {phase}, health {health}") },
    }
}

/// Every setting of a change, as it stands and as it is to be, and the volumes where the change has any.
fn edits(object: &DynamicObject, key: &str, change: &Change) -> Result<(Vec<Edit>, Option<Value>), String> {
    let listed = spots(object, key, Form::ListInText)?;
    let mut edits: Vec<Edit> = listed.into_iter().map(|spot| Edit { after: spot.place.after(change), spot }).collect();
    let Some(sources) = sources(object, change) else { return Ok((edits, None)) };
    let trusting = trusting(object, &sources)?;
    edits.extend(trusting.settings);
    Ok((edits, Some(trusting.volumes)))
}

/// The exact text that a person commits: what stands there and what is added.
fn instruction(object: &DynamicObject, key: &str, change: &Change) -> String {
    // Where trust can't be changed the entries still can.
    let without = Change { trust: None, ..change.clone() };
    let (edits, volumes) = edits(object, key, change).or_else(|_| edits(object, key, &without)).unwrap_or_default();
    let is_shown = |edit: &&Edit| !edit.is_made() || !change.add.is_empty();
    let shown: Vec<&Edit> = edits.iter().filter(is_shown).collect();
    let lines = |pool: Option<&(usize, String)>| {
        let of = shown.iter().filter(|edit| edit.spot.pool.as_ref() == pool);
        of.map(|edit| edit.after.yaml(6)).collect::<String>()
    };
    let volume = sources(object, change)
        .filter(|_| volumes.is_some())
        .map(|sources| format!("    additionalVolumes:\n    - {}\n", sources.additional_volume()));
    let mut text = String::from("spec:\n");
    let general = lines(None);
    if !general.is_empty() || volume.is_some() {
        text += "  general:\n";
    }
    if !general.is_empty() {
        text += &format!("    additionalConfig:\n{general}");
    }
    text += volume.as_deref().unwrap_or_default();
    let pools: BTreeSet<&(usize, String)> = shown.iter().filter_map(|edit| edit.spot.pool.as_ref()).collect();
    for (at, pool) in pools.into_iter().enumerate() {
        let head = if at == 0 { "  nodePools:\n" } else { "" };
        text += &format!("{head}  - component: {}\n    additionalConfig:\n{}", pool.1, lines(Some(pool)));
    }
    text
}

/// The patch that makes a change wherever it is not made yet.
fn operations(object: &DynamicObject, key: &str, change: &Change) -> Result<Vec<Value>, String> {
    let general = &object.data["spec"]["general"];
    let (mut edits, volumes) = edits(object, key, change)?;
    edits.retain(|edit| !edit.is_made());
    let mut operations = vec![];
    if !general["additionalConfig"].is_object() && edits.iter().any(|edit| edit.spot.pool.is_none()) {
        operations.push(json!({"op": "add", "path": "/spec/general/additionalConfig", "value": {}}));
    }
    for edit in &edits {
        if let Some((at, name)) = &edit.spot.pool {
            operations.push(json!({"op": "test", "path": format!("/spec/nodePools/{at}/component"), "value": name}));
        }
        // `add` replaces what is there; that it is still what was read is tested by the object's version.
        operations
            .push(json!({"op": "add", "path": edit.after.pointer(&edit.spot.pointer), "value": edit.after.value()}));
    }
    if let Some(volumes) = volumes.filter(|volumes| *volumes != general["additionalVolumes"]) {
        operations.push(json!({"op": "add", "path": "/spec/general/additionalVolumes", "value": volumes}));
    }
    Ok(operations)
}

/// Whoever may write the object must not lead the operator, and its passwords, elsewhere than to a Service of the namespace.
fn connection(object: &DynamicObject, namespace: &str) -> Result<Connection, String> {
    let name = object.name_any();
    let spec = &object.data["spec"];
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let service = text(&spec["general"]["serviceName"]).unwrap_or_else(|| name.clone());
    let is_label = |text: &str| {
        text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !is_label(&service) {
        return Err("general.serviceName is not the name of a Service".into());
    }
    let port = spec["general"]["httpPort"].as_u64().unwrap_or(9200);
    if !(1..=65_535).contains(&port) {
        return Err("general.httpPort is not a port".into());
    }
    let http = &spec["security"]["tls"]["http"];
    let plain = http["enabled"] == false;
    let scheme = if plain { "http" } else { "https" };
    let named = text(&http["caSecret"]["name"]).or_else(|| text(&http["secret"]["name"]));
    let generated = http["generate"] == true;
    let ca = named.or_else(|| generated.then(|| format!("{name}-ca"))).filter(|_| !plain);
    Ok(Connection {
        object: format!("OpenSearchCluster {name}"),
        endpoint: format!("{scheme}://{service}.{namespace}.svc:{port}"),
        password: Some(PasswordRef {
            secret: text(&spec["security"]["config"]["adminCredentialsSecret"]["name"])
                .unwrap_or_else(|| format!("{name}-admin-password")),
            username: None,
            key: "password".into(),
        }),
        // A certificate that the operator makes carries the cluster's name, not the Service's.
        server_name: (generated && !plain && service != name).then(|| format!("{name}.{namespace}.svc")),
        ca: ca.map(|name| KeyRef { name, key: "ca.crt".into() }),
    })
}

#[cfg(test)]
mod tests;
