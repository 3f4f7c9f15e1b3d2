//! Every check before anything is changed; all findings at once.

use crate::api::{
    Reindex,
    reindex::IfExists,
    reindex_status::{DryRun, PinnedDestination, PinnedIndex, PinnedSource},
};

use super::{
    alibaba_cloud::pair::{self, Pair},
    index_body,
    preflight::{self, Finding, dry_run},
    reindex::DESTINATION_BUSY,
    remote::RemoteAddress,
    script, verification,
    words::names,
};

/// Which software a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Distribution {
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    OpenSearch,
}

/// Who a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Its UUID.
    pub uuid: String,
    /// Its software.
    pub distribution: Distribution,
    /// Its major version.
    pub major: u32,
    /// Its version.
    pub version: String,
}

/// Why something can't be looked at now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Reason of a condition.
    pub reason: &'static str,
    /// What happened, and what to do.
    pub message: String,
}

/// The source index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceIndex {
    /// It does not exist.
    Absent,
    /// These indices behind the name lack a primary shard: nothing can be said about their documents.
    Red(Vec<String>),
    /// It exists.
    Found {
        /// Concrete indices behind the name.
        indices: Vec<PinnedIndex>,
        /// Those whose `_source` is switched off or filtered: they can't be copied whole.
        without_source: Vec<String>,
        /// Their mappings are not all the same.
        mappings_differ: bool,
        /// Those with replicas that don't see a refresh of the primary (OpenSearch, `replication.type: SEGMENT`).
        lagging_replicas: Vec<String>,
    },
}

/// What stands under the destination index's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExistingIndex {
    /// It is an index of that name, no alias and no data stream.
    pub concrete: bool,
    /// UID of the Reindex that made it.
    pub made_by: Option<String>,
    /// What it acknowledges is on disk (`index.translog.durability` is `request`).
    pub durable: bool,
}

/// What a look at one cluster brought.
pub type Seen<T> = Result<T, Trouble>;

/// What Validate looks at. Where access is missing nothing was connected to.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Missing SearchClusters, or such as don't admit; then the rest is empty.
    pub access: Vec<Trouble>,
    /// The source cluster.
    pub source: Option<Seen<ClusterFacts>>,
    /// The destination cluster.
    pub destination: Option<Seen<ClusterFacts>>,
    /// The source index.
    pub source_index: Option<Seen<SourceIndex>>,
    /// What stands under the destination index's name.
    pub destination_index: Option<Seen<Option<ExistingIndex>>>,
    /// Whether `destination.pipeline` exists there; None where none is named.
    pub pipeline_exists: Option<Seen<bool>>,
    /// Another unfinished Reindex that has the same destination index and came first.
    pub busy_with: Option<String>,
    /// How the destination reaches the source.
    pub remote: Option<RemoteAddress>,
    /// Whether the source redirects there. A node would follow, and show whoever asks the source's credentials.
    pub remote_redirects: bool,
    /// What the vendor says, where both are instances of Alibaba Cloud.
    pub alibaba_cloud: Option<Pair>,
    /// What was looked at beyond that, where both clusters and the source's index are there.
    pub preflight: Option<Seen<preflight::Facts>>,
    /// What only a dry run looks at.
    pub dry_run: Option<Seen<dry_run::Look>>,
}

/// What is pinned when every check passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// The source.
    pub source: PinnedSource,
    /// The destination.
    pub destination: PinnedDestination,
}

/// How many concrete indices `status.source.indices` names.
const NAMED_INDICES: usize = 32;

/// What every check came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What was found, accepted warnings included.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub unchecked: Vec<String>,
    /// What is pinned, where nothing keeps the copy from starting.
    pub validated: Option<Validated>,
    /// What a copy would do, where that was asked and nothing keeps it from starting.
    pub dry_run: Option<DryRun>,
}

/// Runs every check.
pub fn validate(reindex: &Reindex, facts: &Facts) -> Verdict {
    let findings = check(reindex, facts);
    let blocked = findings.iter().any(|finding| !finding.is_accepted(reindex));
    let sides = (reached(&facts.source), reached(&facts.destination));
    let validated = match (sides, reached(&facts.source_index), &facts.remote) {
        ((Some(source), Some(destination)), Some(SourceIndex::Found { indices, .. }), Some(remote)) if !blocked => {
            Some(pinned(source, destination, indices, remote))
        }
        _ => None,
    };
    let unchecked = reached(&facts.preflight).map_or_else(Vec::new, |facts| facts.unchecked.clone());
    let dry_run = match (&validated, reached(&facts.preflight), reached(&facts.dry_run)) {
        (Some(_), Some(seen), Some(look)) => {
            let replaces = matches!(reached(&facts.destination_index), Some(Some(_)));
            Some(dry_run::plan(reindex, seen, look, replaces))
        }
        _ => None,
    };
    Verdict { findings, unchecked, validated, dry_run }
}

fn check(reindex: &Reindex, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(invalid) = index_body::check(&reindex.spec.destination) {
        findings.push(Finding::terminal("InvalidSettings", invalid.to_string()));
    }
    findings.extend(check_script(reindex));
    findings.extend(verification::check(&reindex.spec));
    findings.extend(facts.access.iter().map(surrounding));
    findings.extend(trouble(&facts.source));
    findings.extend(trouble(&facts.destination));
    let (source, destination) = (reached(&facts.source), reached(&facts.destination));
    if let (Some(source), Some(destination)) = (source, destination) {
        findings.extend(preflight::check_versions(reindex.spec.version_policy, source, destination));
    }
    if let Some(instances) = &facts.alibaba_cloud {
        findings.extend(pair::check(instances, facts.remote.as_ref()));
        // Where both clusters were reached their own versions count.
        if source.is_none() || destination.is_none() {
            findings.extend(pair::check_versions(instances));
        }
    }
    findings.extend(check_redirect(facts));
    findings.extend(trouble(&facts.source_index));
    findings.extend(trouble(&facts.destination_index));
    findings.extend(trouble(&facts.pipeline_exists));
    findings.extend(check_pipeline(reindex, facts));
    findings.extend(check_source_index(reindex, facts));
    let same = source.zip(destination).is_some_and(|(source, destination)| source.uuid == destination.uuid)
        && is_same_index(reindex, facts);
    if same {
        let index = &reindex.spec.source.index;
        findings.push(Finding::terminal("SameIndex", format!("source and destination are the same index of the same cluster ({index}): name another destination.index")));
    } else {
        findings.extend(check_destination_index(reindex, facts));
    }
    findings.extend(trouble(&facts.preflight));
    findings.extend(trouble(&facts.dry_run));
    if let Some(facts) = reached(&facts.preflight) {
        findings.extend(preflight::check(reindex, facts));
    }
    findings
}

fn pinned(
    source: &ClusterFacts,
    destination: &ClusterFacts,
    indices: &[PinnedIndex],
    remote: &RemoteAddress,
) -> Validated {
    Validated {
        source: PinnedSource {
            cluster_uuid: source.uuid.clone(),
            version: source.version.clone(),
            indices: indices.iter().take(NAMED_INDICES).cloned().collect(),
            remote: remote.url.clone(),
        },
        destination: PinnedDestination {
            cluster_uuid: destination.uuid.clone(),
            version: destination.version.clone(),
            index_uuid: None,
            created: false,
        },
    }
}

fn check_source_index(reindex: &Reindex, facts: &Facts) -> Vec<Finding> {
    let name = &reindex.spec.source.index;
    match reached(&facts.source_index) {
        None => vec![],
        Some(SourceIndex::Absent) => vec![Finding::surrounding(
            "SourceIndexNotFound",
            format!(
                "the source has no index, alias or data stream {name}: create it, or correct source.index in a new Reindex"
            ),
        )],
        Some(SourceIndex::Red(indices)) => vec![Finding::surrounding(
            "SourceRed",
            format!(
                "the source's {} lacks a primary shard, and with it documents: bring the shard back",
                names(indices)
            ),
        )],
        Some(SourceIndex::Found { without_source, mappings_differ, indices, lagging_replicas }) => {
            let mut lagging = vec![];
            if !lagging_replicas.is_empty() {
                let names = lagging_replicas.join(", ");
                lagging.push(Finding::terminal(
                    "SegmentReplication",
                    format!("{names} has replicas with replication.type SEGMENT, which lag behind a refresh: old versions could be read. Take the replicas away (number_of_replicas: 0) while it is copied"),
                ));
            }
            let mut findings = lagging;
            findings.extend(verification::check_identity(&reindex.spec, indices.len()));
            if !without_source.is_empty() {
                let names = without_source.join(", ");
                findings.push(Finding::terminal(
                    "SourceDisabled",
                    format!(
                        "_source is disabled or filtered in the mapping of {names}: the documents can't be read whole"
                    ),
                ));
            }
            if *mappings_differ && reindex.spec.destination.mappings.is_none() {
                findings.push(Finding::terminal(
                    "MappingsDiffer",
                    format!(
                        "{name} stands for {} indices whose mappings differ: give destination.mappings",
                        indices.len()
                    ),
                ));
            }
            findings
        }
    }
}

fn check_destination_index(reindex: &Reindex, facts: &Facts) -> Option<Finding> {
    let index = &reindex.spec.destination.index;
    if let Some(other) = &facts.busy_with {
        return Some(Finding::surrounding(
            DESTINATION_BUSY,
            format!(
                "Reindex {other} has the same destination index {index} and came first: it must end before this one can begin"
            ),
        ));
    }
    let existing = reached(&facts.destination_index)?.as_ref()?;
    match reindex.spec.destination.if_exists {
        IfExists::Refuse => Some(Finding::terminal(
            "DestinationExists",
            format!(
                "the destination already has an index, alias or data stream {index} and ifExists is Refuse: delete it, or name another destination.index"
            ),
        )),
        IfExists::Append if !existing.concrete => Some(Finding::terminal(
            "DestinationNotAnIndex",
            format!(
                "{index} is an alias or data stream of the destination: ifExists Append wants the name of an index"
            ),
        )),
        IfExists::Append if !existing.durable => Some(Finding::surrounding(
            "DestinationNotDurable",
            format!(
                "the destination's {index} has an index.translog.durability other than request: a node that crashes could lose documents that count as copied. Set it to request until the Reindex is complete"
            ),
        )),
        IfExists::Replace if !existing.concrete || existing.made_by.is_none() => Some(Finding::terminal(
            "DestinationNotOurs",
            format!(
                "the destination's {index} was not made by a Reindex (nothing in its mapping's _meta says so), so ifExists Replace does not delete it: delete it yourself, or name another destination.index"
            ),
        )),
        IfExists::Append | IfExists::Replace => None,
    }
}

fn check_script(reindex: &Reindex) -> Option<Finding> {
    reindex.spec.script.as_ref().filter(|script| script::deletes(&script.source)).map(|_| {
        Finding::terminal(
            "ScriptDeletes",
            "spec.script.source sets ctx.op to 'delete', which the destination refuses with external versions: leave documents out with ctx.op = 'noop', or choose them with source.query, in a new Reindex".to_owned(),
        )
    })
}

/// It can be put there at any time, so that is waited for.
fn check_pipeline(reindex: &Reindex, facts: &Facts) -> Option<Finding> {
    let name = reindex.spec.destination.pipeline.as_deref()?;
    (reached(&facts.pipeline_exists) == Some(&false)).then(|| {
        Finding::surrounding("PipelineNotFound", format!(
                "the destination has no ingest pipeline {name}: put it there, or correct destination.pipeline in a new Reindex"
            ))
    })
}

fn is_same_index(reindex: &Reindex, facts: &Facts) -> bool {
    let (source, destination) = (&reindex.spec.source.index, &reindex.spec.destination.index);
    let behind = |indices: &[PinnedIndex]| indices.iter().any(|index| &index.name == destination);
    source == destination
        || matches!(reached(&facts.source_index), Some(SourceIndex::Found { indices, .. }) if behind(indices))
}

fn reached<T>(seen: &Option<Seen<T>>) -> Option<&T> {
    seen.as_ref().and_then(|seen| seen.as_ref().ok())
}

fn trouble<T>(seen: &Option<Seen<T>>) -> Option<Finding> {
    seen.as_ref().and_then(|seen| seen.as_ref().err()).map(surrounding)
}

/// Elasticsearch and OpenSearch follow a redirect of the first request of a reindex, to hosts that no allowlist names, and show their
/// credentials to whoever asks there (seen on 7.17 and 2.19).
fn check_redirect(facts: &Facts) -> Option<Finding> {
    let remote = facts.remote.as_ref().filter(|_| facts.remote_redirects)?;
    Some(Finding::surrounding(
        "Redirected",
        format!(
            "the source redirects to another address at {}, where the destination's nodes would read it: they would follow, with its credentials. \
             Name that address itself, in remoteEndpoint of the source or in remotes of the destination",
            remote.host_port
        ),
    ))
}

/// A finding that mends itself when its surroundings do.
pub(super) fn surrounding(trouble: &Trouble) -> Finding {
    Finding::surrounding(trouble.reason, trouble.message.clone())
}
