//! What the checks before a copy look at, on both clusters at once. What a user may not see, or an engine does not know, is left out
//! and told as unchecked.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    api::{Reindex, reindex::IfExists},
    plan::{
        access::matches_glob,
        index_body::{self, Owner, SourceDefinition},
        preflight::{Added, Disk, Facts, Mappings, Room, SourceFacts, Template, Watermark},
        validate::Trouble,
    },
    search::{self, Distribution, HealthStatus, IndexDefinition, SearchClient, SearchError},
};

use super::{
    convert,
    observe::signed,
    validate::{Indices, write_index},
};

/// Ids that are looked for in the other indices, for each index behind the source's name.
const SAMPLED_IDS: u32 = 500;
/// Behind more indices none are looked for.
const COMPARED_INDICES: usize = 16;
/// What the operator's user needs on the source: on the cluster, and on the index.
const ON_SOURCE: (&[&str], &[&str]) = (&["monitor"], &["read", "monitor", "view_index_metadata", "maintenance"]);
/// The same on the destination.
const ON_DESTINATION: (&[&str], &[&str]) = (&["monitor", "manage"], &["manage", "read", "write"]);

/// One side, and what could not be looked at there.
struct Look<'a> {
    side: &'static str,
    client: &'a SearchClient,
    unchecked: Vec<String>,
}

impl Look<'_> {
    /// What was seen; None where the user may not see it, or the engine does not know the question. What passes is tried again.
    fn take<T>(&mut self, what: &str, seen: Result<T, SearchError>) -> Result<Option<T>, Trouble> {
        match seen {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if error.is_retryable() => Err(convert::trouble(self.side, &error)),
            Err(error) => {
                self.unchecked.push(format!("{what} of {}: {}", self.side, error.public_message()));
                Ok(None)
            }
        }
    }

    /// By how much the clock there differs from ours.
    async fn clock(&mut self) -> Result<Option<(&'static str, SignedDuration)>, Trouble> {
        let told = self.client.clock().await;
        let now = Timestamp::now().as_millisecond();
        let told = self.take("the clock", told)?;
        Ok(told.map(|there| (self.side, SignedDuration::from_millis(there.saturating_sub(now)))))
    }

    async fn privileges(
        &mut self,
        (cluster, on_index): (&[&str], &[&str]),
        index: &str,
    ) -> Result<(&'static str, Vec<String>), Trouble> {
        let missing = self.client.missing_privileges(cluster, index, on_index).await;
        Ok((self.side, self.take("the privileges", missing)?.flatten().unwrap_or_default()))
    }
}

/// Looks at both sides at once.
///
/// # Errors
/// What passes: it is looked again then.
pub async fn look(
    reindex: &Reindex,
    source: (&SearchClient, Distribution),
    destination: (&SearchClient, Distribution),
    indices: &Indices,
    existing: Option<&IndexDefinition>,
) -> Result<Facts, Trouble> {
    let read = write_index(&reindex.spec.source.index, indices);
    let definition = SourceDefinition {
        mappings: read.map(|index| index.mappings.clone()).unwrap_or_default(),
        settings: read.map(|index| index.settings["index"].clone()).unwrap_or_default(),
    };
    let (from, to) = futures::try_join!(
        look_at_source(reindex, source, indices),
        look_at_destination(reindex, destination, &definition, existing)
    )?;
    let mut facts = to;
    facts.source = from.source;
    facts.lacking.extend(from.lacking);
    facts.clocks.extend(from.clocks);
    facts.unchecked.extend(from.unchecked);
    Ok(facts)
}

async fn look_at_source(
    reindex: &Reindex,
    (client, distribution): (&SearchClient, Distribution),
    indices: &Indices,
) -> Result<Facts, Trouble> {
    let mut look = Look { side: "the source", client, unchecked: vec![] };
    let (name, query) = (&reindex.spec.source.index, reindex.spec.source.query.as_ref());
    let (size, matching) = futures::join!(client.index_size(name), client.count(name, query));
    let size = look.take("the size", size)?.unwrap_or_default();
    let source = SourceFacts {
        matching: look.take("the number of documents", matching)?.map(signed),
        documents: signed(size.documents),
        bytes: signed(size.bytes),
        routed: match reindex.spec.destination.routing.as_str() {
            "discard" => look.take("routings", client.count(name, Some(&routed(query))).await)?.map(signed),
            _ => None,
        },
        twice: twice(&mut look, reindex, indices).await?,
        ..settings(indices)
    };
    let lacking = match distribution {
        Distribution::Elasticsearch => vec![look.privileges(ON_SOURCE, name).await?],
        Distribution::OpenSearch => vec![],
    };
    let clocks = look.clock().await?.into_iter().collect();
    Ok(Facts { source, lacking, clocks, unchecked: look.unchecked, ..Facts::default() })
}

/// Documents that match, and have a routing of their own.
fn routed(query: Option<&Value>) -> Value {
    let filter: Vec<Value> =
        [Some(json!({"exists": {"field": "_routing"}})), query.cloned()].into_iter().flatten().collect();
    json!({"bool": {"filter": filter}})
}

/// An index of which other ones hold ids as well, of a sample.
async fn twice(look: &mut Look<'_>, reindex: &Reindex, indices: &Indices) -> Result<Option<String>, Trouble> {
    if !(2..=COMPARED_INDICES).contains(&indices.len()) {
        return Ok(None);
    }
    let (name, query) = (&reindex.spec.source.index, reindex.spec.source.query.as_ref());
    let window = settings(indices).max_result_window.and_then(|window| u32::try_from(window).ok());
    let sampled = window.map_or(SAMPLED_IDS, |window| window.min(SAMPLED_IDS));
    for index in indices.keys() {
        let found = look.client.has_repeated_ids(name, query, index, sampled).await;
        match look.take("ids that several indices hold", found)? {
            Some(true) => return Ok(Some(index.clone())),
            Some(false) => {}
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// What the indices' settings and mappings tell.
fn settings(indices: &Indices) -> SourceFacts {
    let named = |is: &dyn Fn(&IndexDefinition) -> bool| -> Vec<String> {
        indices.iter().filter(|(_, index)| is(index)).map(|(name, _)| name.clone()).collect()
    };
    let is = |index: &IndexDefinition, setting: &str, value: &str| index.setting(setting) == Some(value);
    let frozen = |index: &IndexDefinition| {
        ["frozen", "search.throttled", "store.snapshot.partial"].iter().any(|setting| is(index, setting, "true"))
    };
    SourceFacts {
        frozen: named(&frozen),
        mounted: named(&|index| is(index, "store.type", "snapshot") && !frozen(index)),
        synthetic: named(&|index| {
            let said = index.setting("mapping.source.mode").or(index.mappings["_source"]["mode"].as_str());
            match said {
                Some(mode) => mode.eq_ignore_ascii_case("synthetic"),
                // Both make it up unless somebody says otherwise.
                None => is(index, "mode", "logsdb") || is(index, "mode", "time_series"),
            }
        }),
        time_series: named(&|index| is(index, "mode", "time_series")),
        max_result_window: indices.values().filter_map(|index| index.setting("max_result_window")?.parse().ok()).min(),
        ..SourceFacts::default()
    }
}

async fn look_at_destination(
    reindex: &Reindex,
    (client, distribution): (&SearchClient, Distribution),
    definition: &SourceDefinition,
    existing: Option<&IndexDefinition>,
) -> Result<Facts, Trouble> {
    let mut look = Look { side: "the destination", client, unchecked: vec![] };
    let spec = &reindex.spec.destination;
    let is_created = existing.is_none() || spec.if_exists != IfExists::Append;
    let body = is_created.then(|| index_body::index_body(spec, definition, &Owner::of(reindex)));
    let (limits, health, disks) = futures::join!(client.limits(), client.health(), client.disks());
    let (limits, health) = (look.take("the cluster's settings", limits)?, look.take("the health", health)?);
    let disks = look.take("the disks", disks)?.unwrap_or_default();
    let room = room(limits.as_ref(), health.as_ref(), &disks, body.as_ref(), existing);
    let (mut refused, mut template) = (None, None);
    if let Some(body) = &body {
        let asked = client.refusal_of(&spec.index, body).await;
        refused = look.take("whether it takes the index", asked)?.flatten();
        template = template_of(&mut look, &spec.index, body).await?;
    }
    let lacking = match distribution {
        Distribution::Elasticsearch => vec![look.privileges(ON_DESTINATION, &spec.index).await?],
        Distribution::OpenSearch => vec![],
    };
    let mapping = match (&body, existing) {
        (Some(body), _) => body["mappings"].clone(),
        (None, existing) => existing.map(|index| index.mappings.clone()).unwrap_or_default(),
    };
    let pipelines = existing.into_iter().flat_map(|index| {
        index_body::PIPELINES.into_iter().filter_map(|name| Some((name.to_owned(), index.setting(name)?.to_owned())))
    });
    Ok(Facts {
        room,
        body,
        refused,
        template,
        mappings: Some(Mappings { source: definition.mappings.clone(), destination: mapping }),
        pipelines: pipelines.collect(),
        lacking,
        clocks: look.clock().await?.into_iter().collect(),
        unchecked: look.unchecked,
        source: SourceFacts::default(),
    })
}

fn room(
    limits: Option<&search::ClusterLimits>,
    health: Option<&search::Health>,
    disks: &[search::NodeDisk],
    body: Option<&Value>,
    existing: Option<&IndexDefinition>,
) -> Room {
    let number = |setting: &Value| setting.as_i64().or(setting.as_str().and_then(|text| text.parse().ok()));
    let index = match (body, existing) {
        (Some(body), _) => {
            let settings = &body["settings"]["index"];
            Some((
                number(&settings["number_of_shards"]).unwrap_or(1),
                number(&settings["number_of_replicas"]).unwrap_or(1),
            ))
        }
        (None, Some(index)) => Some((0, index.number_of_replicas().map_or(1, i64::from))),
        (None, None) => None,
    };
    let shards = limits.zip(health).and_then(|(limits, health)| {
        let most = limits.shards_per_node? * disks.len() as u64;
        Some((signed(health.active_shards + health.unassigned_shards + health.initializing_shards), signed(most)))
    });
    let watermark = |mark: &search::Watermark| Watermark::parse(&mark.level, &mark.max_headroom);
    let marks = limits
        .filter(|limits| limits.disk_threshold)
        .and_then(|limits| Some([watermark(&limits.low)?, watermark(&limits.high)?]));
    Room {
        read_only: limits.and_then(|limits| limits.read_only),
        red: health.is_some_and(|health| health.status == HealthStatus::Red),
        shards: shards.filter(|(_, most)| *most > 0),
        disks: marks.filter(|_| !disks.is_empty()).map(|marks| {
            let disk = |disk: &search::NodeDisk| Disk { free: signed(disk.free), total: signed(disk.total) };
            (disks.iter().map(disk).collect(), marks)
        }),
        index,
    }
}

/// What the templates that match would give the index. One composable template counts, the one of highest priority; only where none
/// matches do those of the older kind.
async fn template_of(look: &mut Look<'_>, name: &str, body: &Value) -> Result<Option<Template>, Trouble> {
    let matches = |patterns: &[String]| patterns.iter().any(|pattern| matches_glob(pattern, name));
    let Some(composable) = look.take("the index templates", look.client.index_templates().await)? else {
        return Ok(None);
    };
    let first =
        composable.iter().filter(|template| matches(&template.patterns)).max_by_key(|template| template.priority);
    let (names, data_stream, bodies) = match first {
        Some(template) => {
            let resolved = look.take("the index template", look.client.template_of(name).await)?;
            (vec![template.name.clone()], template.data_stream, resolved.into_iter().collect::<Vec<_>>())
        }
        None => {
            let legacy = look.client.legacy_templates().await;
            let legacy = look.take("the templates of the older kind", legacy)?.unwrap_or_default();
            let all = legacy.into_iter().filter(|template| matches(&template.patterns));
            let (names, bodies): (Vec<_>, Vec<_>) = all.map(|template| (template.name, template.body)).unzip();
            (names, false, bodies)
        }
    };
    if names.is_empty() {
        return Ok(None);
    }
    let mut template = Template { names, data_stream, declared: Added::of(body), ..Template::default() };
    for given in bodies {
        template.add(given.aliases.into_keys(), &given.settings, &given.mappings);
    }
    Ok(Some(template))
}
