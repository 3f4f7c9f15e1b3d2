//! `SearchCluster`: one Elasticsearch or OpenSearch cluster, written by the platform team.

#![expect(clippy::duplicated_attributes, reason = "columns of a table may have the same type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterRef, allowlist::AllowlistStatus, schema};

/// How to reach one Elasticsearch or OpenSearch cluster, who may use it for what, and how its reindex allowlist is managed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "reindex.dev",
    version = "v1alpha1",
    kind = "SearchCluster",
    namespaced,
    status = "SearchClusterStatus",
    shortname = "scl",
    derive = "PartialEq",
    doc = "One Elasticsearch or OpenSearch cluster: how to reach it, who may use it for what, and how its reindex allowlist is managed.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Distribution", type_ = "string", json_path = ".status.distribution"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes"),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health"),
    printcolumn(
        name = "Allowlist",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='AllowlistReady')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.endpoint) || (has(self.provider) && (has(self.provider.eck) || has(self.provider.openSearchOperator) || has(self.provider.alibabaCloud)))").message("endpoint may be left out only with a provider that knows it: eck, openSearchOperator or alibabaCloud"))]
#[x_kube(validation = Rule::new("!has(self.allowlist) || !has(self.allowlist.trustSource) || !self.allowlist.trustSource || (has(self.provider) && (has(self.provider.eck) || has(self.provider.openSearchOperator)))").message("allowlist.trustSource is possible only with the providers eck and openSearchOperator: with others, set reindex.ssl.certificate_authorities on the nodes yourself"))]
pub struct SearchClusterSpec {
    /// URL at which the operator reaches the cluster, with scheme and port, such as `https://es-1-http.search.svc:9200`. No user
    /// name, no query; a path prefix is kept. May be left out with the providers `eck` and `openSearchOperator`, where the Service that
    /// they make is used then, and `alibabaCloud`, where the instance's private address is: see `status.connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getPort() != ''").message("must be a URL with scheme http or https and a port, such as https://es-1-http.search.svc:9200"))]
    #[x_kube(validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')").message("must hold no user name, query or fragment; credentials belong in spec.auth"))]
    pub endpoint: Option<String>,

    /// URL at which other clusters reach this one as the source of a reindex. Default: `endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getPort() != ''").message("must be a URL with scheme http or https and a port, such as https://es-2.example.internal:9200"))]
    #[x_kube(validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')").message("must hold no user name, query or fragment; credentials belong in spec.auth"))]
    pub remote_endpoint: Option<String>,

    /// How this cluster, as a destination, reaches given sources, where that differs from the source's `remoteEndpoint`; for
    /// example over a private link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub remotes: Vec<Remote>,

    /// How the operator, and a destination that reads from this cluster, authenticates. Default: with the password that the provider
    /// `eck` or `openSearchOperator` keeps in a Secret; with other providers not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// TLS towards `endpoint`. Default: the operator image's trusted authorities; where `endpoint` is left out, the authority that the
    /// provider keeps in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// Who runs the cluster, which decides how its settings can be changed. Exactly one. Default: `none`.
    #[serde(default)]
    pub provider: Provider,

    /// How the cluster's allowlist of reindex sources (`reindex.remote.whitelist`, on OpenSearch 2 and later
    /// `reindex.remote.allowlist`) is managed when it is a destination.
    #[serde(default)]
    pub allowlist: Allowlist,

    /// Which namespaces may use this cluster, in which role, for which indexes. Default when absent: its own namespace, both roles,
    /// every index. When given, only what is listed. A source must also admit the namespace of the destination's SearchCluster,
    /// because the destination is sent the source's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub access: Option<Vec<AccessRule>>,

    /// How much all Reindexes together may ask of this cluster at once; namespaces share it evenly. Default: no limit. May be changed
    /// at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// How much may be asked of a cluster at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// As a destination: tasks that run at once, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_tasks: Option<i32>,
    /// As a source: scrolls that are open at once, 1 to 100000. Each task opens one on every shard that it reads, and a cluster
    /// refuses more than `search.max_open_scroll_context` (default 500) on a node. One task always may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_open_scrolls: Option<i32>,
}

/// How this cluster reaches one given source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    /// The source.
    pub cluster: ClusterRef,
    /// URL with scheme and port at which this cluster's nodes reach it. Exactly its host and port are put on the allowlist.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getPort() != ''").message("must be a URL with scheme http or https and a port"))]
    #[x_kube(validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#')").message("must hold no user name, query or fragment"))]
    pub endpoint: String,
}

/// Credentials. Exactly one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.basic) != has(self.apiKey)").message("exactly one of basic and apiKey must be set"))]
pub struct Auth {
    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicAuth>,
    /// An API key of Elasticsearch. A source's is sent to the destination as the header `Authorization` of `source.remote.headers`,
    /// which every version since 7.0 knows. OpenSearch has no API keys: use `basic` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyAuth>,
}

/// User name and password from a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// A Secret of this namespace with the keys `username` (default: `elastic`) and `password`.
    pub secret_ref: SecretRef,
}

/// An API key from a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuth {
    /// A Secret of this namespace with the key `apiKey`: the API key as Elasticsearch gives it under `encoded` (base64 of `id:key`),
    /// or its `id` and `api_key` with a colon in between.
    pub secret_ref: SecretRef,
}

/// Names a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// TLS towards a cluster's endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caRef) && has(self.insecureSkipVerify) && self.insecureSkipVerify)").message("caRef and insecureSkipVerify exclude each other: a CA that isn't checked protects nothing"))]
pub struct Tls {
    /// The certificate authority (PEM) that signed the endpoint's certificate. Only it is trusted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// The name that the endpoint's certificate must carry. Default: the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// Accept any certificate. Whoever stands in between can read the credentials: for tests only.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// Where the certificate authority is kept. Exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secret) != has(self.configMap)").message("exactly one of secret and configMap must be set"))]
pub struct CaRef {
    /// A key of a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyRef>,
    /// A key of a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyRef>,
}

/// One key of a Secret or ConfigMap of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it. Default: `ca.crt`.
    #[serde(default = "ca_crt")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_crt() -> String {
    "ca.crt".to_owned()
}

/// Who runs the cluster. At most one; none set means `none`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.statefulSets), has(self.eck), has(self.openSearchOperator), has(self.alibabaCloud), has(self.none)].filter(set, set).size() <= 1").message("exactly one provider must be set"))]
pub struct Provider {
    /// StatefulSets of this namespace whose `elasticsearch.yml` or `opensearch.yml` is kept in a ConfigMap; one entry for each node
    /// pool, together all nodes of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub stateful_sets: Option<Vec<StatefulSetPool>>,
    /// An Elasticsearch object of this namespace, run by Elastic Cloud on Kubernetes: its node sets are edited, ECK restarts the
    /// nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eck: Option<ObjectName>,
    /// An OpenSearchCluster object of this namespace, run by the OpenSearch Kubernetes operator (API group `opensearch.org`, or the
    /// older `opensearch.opster.io`): its additionalConfig is edited, that operator restarts the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_search_operator: Option<ObjectName>,
    /// A managed instance of Alibaba Cloud Elasticsearch, whose settings are changed through the vendor's API. The vendor restarts its
    /// nodes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alibaba_cloud: Option<AlibabaCloudInstance>,
    /// The operator can't change this cluster's settings: it only checks them, and says what must be added by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoProvider>,
}

impl Provider {
    /// Whether the operator can change the cluster's node settings.
    pub fn can_change(&self) -> bool {
        self.stateful_sets.is_some() || self.object().is_some()
    }

    /// What runs the cluster, for people, where it is one object: `Elasticsearch es-1`.
    pub fn object(&self) -> Option<String> {
        match self {
            Provider { eck: Some(object), .. } => Some(format!("Elasticsearch {}", object.name)),
            Provider { open_search_operator: Some(object), .. } => Some(format!("OpenSearchCluster {}", object.name)),
            Provider { alibaba_cloud: Some(instance), .. } => Some(format!("instance {}", instance.instance_id)),
            Provider { .. } => None,
        }
    }
}

/// Names an object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectName {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An instance of Alibaba Cloud Elasticsearch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AlibabaCloudInstance {
    /// Id of the instance, such as `es-cn-n6w1ptcb30009xxxx`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("must be the id of an instance, such as es-cn-n6w1ptcb30009xxxx"))]
    pub instance_id: String,
    /// Id of its region, such as `cn-hangzhou`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("must be the id of a region, such as cn-hangzhou"))]
    pub region_id: String,
    /// A Secret of this namespace with the keys `accessKeyId` and `accessKeySecret`, and `securityToken` if they are temporary. Default:
    /// the operator's own identity (RRSA, or its environment), which only SearchClusters of the namespaces that the operator was started
    /// with may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// URL of the API: https, with nothing after the port. Default: `https://elasticsearch.<regionId>.aliyuncs.com`. It is sent signed
    /// requests and, if the AccessKey is temporary, its token; never the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("isURL(self) && (url(self).getScheme() == 'https' || url(self).getHostname() in ['127.0.0.1', 'localhost'])").message("must be a URL with scheme https"))]
    pub endpoint: Option<String>,
}

/// Nothing to configure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoProvider {}

/// One node pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSetPool {
    /// Name of the StatefulSet.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where its node configuration is kept.
    pub config_map: ConfigKeyRef,
}

/// One key of a ConfigMap of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key that holds the node configuration. Default: `elasticsearch.yml`.
    #[serde(default = "elasticsearch_yml")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn elasticsearch_yml() -> String {
    "elasticsearch.yml".to_owned()
}

/// How the reindex allowlist is managed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allowlist {
    /// `Verify`: only check, and say what is missing. `Automatic`: edit the configuration; with provider `statefulSets` restart the
    /// nodes one by one, with the cluster's health looked after, with `eck` and `openSearchOperator` wait until their operator has.
    /// `Approval`: the same, once somebody has approved of the very change.
    #[serde(default)]
    pub management: Management,
    /// When changes may begin. Default: at any time. One that has begun to restart nodes is finished after the window's end, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Restart although that makes something unavailable for a while: an index has no replica, or there are fewer than three
    /// master-eligible nodes.
    #[serde(default)]
    pub allow_unavailable: bool,
    /// Restart although copies run into or out of this cluster; they are interrupted.
    #[serde(default)]
    pub interrupt_running: bool,
    /// Edit the object that holds the configuration although Argo CD, Flux or Helm applies it. Whoever does so may take the entries
    /// out again, which restarts the nodes once more. Default: no; the text to commit stands in `status.allowlist.instruction`.
    #[serde(default, rename = "overrideGitOps")]
    pub override_git_ops: bool,
    /// What becomes of an entry that the operator added when no Reindex needs it any more. `Remove` takes it out of the configuration and
    /// restarts nothing for it: it takes effect at the next restart, whoever causes that. With provider `statefulSets` and management
    /// `Automatic` the ConfigMap is edited at once, within `window`. Where an edit restarts the nodes (`eck`, `openSearchOperator`,
    /// `alibabaCloud`), and with `Approval`, it goes with the next change that is made anyway. What a person entered always stays, and
    /// with `Verify` everything does.
    #[serde(default)]
    pub retention: Retention,
    /// Have the nodes trust the certificate authorities of sources, in the same change as the entries: those that `tls.caRef` of a
    /// source's SearchCluster names, or that its provider keeps. They are put into the ConfigMap `<name>-reindex-sources` of this
    /// namespace, which the nodes mount and `reindex.ssl.certificate_authorities` names. Only with the providers `eck` and
    /// `openSearchOperator`. The nodes then trust these for every source, and public authorities only where a source needs them.
    /// Default: no.
    #[serde(default)]
    pub trust_source: bool,
}

/// Who changes the allowlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Management {
    /// A person does; the operator checks, and says which line to add.
    #[default]
    Verify,
    /// The operator does; the nodes restart one after the other.
    Automatic,
    /// The operator does, after a person has approved: the condition `AllowlistReady` says what will be changed and restarted, and the
    /// annotation `reindex.dev/approve-allowlist` with the id of that change lets it go, once.
    Approval,
}

/// What becomes of entries that nobody needs any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retention {
    /// They stay.
    #[default]
    Retain,
    /// Those that the operator added are taken out of the configuration.
    Remove,
}

/// A maintenance window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// When it opens: five fields of cron (minute, hour, day of the month, month, day of the week), such as `0 2 * * 6`.
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^\\\\S+( \\\\S+){4}$')").message("must be the five fields of cron, such as '0 2 * * 6'"))]
    pub schedule: String,
    /// How long it is open: hours or minutes, such as `4h` or `90m`.
    #[schemars(length(min = 2, max = 5))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,3}[hm]$')").message("must be whole hours or minutes, such as 4h or 90m"))]
    pub duration: String,
    /// The time zone of the schedule, by its name in the IANA database, such as `Europe/Berlin`. Default: `UTC`.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+/-]+$')").message("must be the name of a time zone, such as Europe/Berlin"))]
    pub time_zone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Which namespaces may use the cluster for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// Whom this rule admits. Default: the SearchCluster's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelection>,
    /// In which roles. Default: both.
    #[serde(default = "both_roles")]
    #[schemars(length(min = 1, max = 2))]
    pub roles: Vec<Role>,
    /// For which indexes: names with `*` as a wildcard. Default: every index.
    #[serde(default = "every_index")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 255)))]
    pub indexes: Vec<String>,
}

fn both_roles() -> Vec<Role> {
    vec![Role::Source, Role::Destination]
}

fn every_index() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Namespaces by name or by label; either admits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.names) || has(self.selector)").message("names or selector must be set; leave namespaces out to admit the SearchCluster's own"))]
pub struct NamespaceSelection {
    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// Namespaces by their labels. An empty selector admits every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What a cluster is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// Documents are read from it.
    Source,
    /// Documents are written to it.
    Destination,
}

/// What the operator sees of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchClusterStatus {
    /// The generation that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The cluster's own UUID: its identity, whatever it is called.
    #[serde(default, rename = "clusterUUID", skip_serializing_if = "Option::is_none")]
    pub cluster_uuid: Option<String>,
    /// `Elasticsearch` or `OpenSearch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Version, such as `7.17.29`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Number of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i32>,
    /// `green`, `yellow` or `red`, as the cluster says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// How the provider says that the cluster is reached; used where `spec` leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The allowlist of reindex sources, and what becomes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<AllowlistStatus>,
    /// `Ready`, `AllowlistReady`, and while they hold `Reconciling` and `Stalled`.
    #[serde(default)]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// How a provider says that its cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// What says so, such as `Elasticsearch es-1`.
    pub object: String,
    /// URL.
    pub endpoint: String,
    /// The Secret with user name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordRef>,
    /// The key of a Secret with the certificate authority. If the Secret lacks the key, the operator image's authorities are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<KeyRef>,
    /// The name that the endpoint's certificate carries, where it is another than the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// User name and password in a Secret of somebody else's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordRef {
    /// Name of the Secret.
    pub secret: String,
    /// The user's name. Default: what the Secret has under `username`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The key of the password.
    pub key: String,
}

/// Labels of a namespace, as a selector sees them.
pub type Labels = BTreeMap<String, String>;
