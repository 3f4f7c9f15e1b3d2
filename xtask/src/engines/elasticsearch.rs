//! Elasticsearch as a StatefulSet, with real security.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{JAVA_OPTIONS, deploy, headless_service, http_service, metadata, stateful_set, wait_for_service};
use crate::pki::{Authority, Pair};
use crate::process::Process;
use crate::search::SearchClient;
use crate::search_images::ELASTICSEARCH;
use crate::{cgroup, kubectl, paths};

/// The user whose password is in the Secret `<name>-elastic`; it may do everything.
pub const USER: &str = "elastic";

/// An Elasticsearch cluster whose nodes all hold data and may all become master.
///
/// Its objects: ConfigMap `<name>-config` (key `elasticsearch.yml`), Secrets `<name>-elastic` (keys `username`,
/// `password`) and `<name>-tls` (keys `ca.crt`, `tls.crt`, `tls.key`), Service `<name>-http` (port 9200), StatefulSet
/// `<name>`. A restarted pod takes up a changed ConfigMap and keeps its data.
#[derive(Debug, Clone)]
pub struct ElasticsearchCluster {
    /// The namespace of all objects.
    pub namespace: String,
    /// The cluster's name.
    pub name: String,
    /// How many nodes.
    pub nodes: u32,
    /// The password of [`USER`].
    pub password: String,
    /// Further lines of `elasticsearch.yml`, as they are.
    pub extra_config: String,
    /// Another cluster's authority (PEM), which this one trusts when it reads from a remote.
    pub trusted_ca: Option<String>,
    /// Whether HTTP is behind TLS.
    pub tls: bool,
    /// Options of every node's Java, the heap among them.
    pub java_options: String,
}

impl ElasticsearchCluster {
    /// A cluster over TLS, without further configuration.
    pub fn new(namespace: &str, name: &str, nodes: u32) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            nodes,
            password: format!("{name}-password"),
            extra_config: String::new(),
            trusted_ca: None,
            tls: true,
            java_options: JAVA_OPTIONS.to_owned(),
        }
    }

    /// The authority (PEM) that signed this cluster's certificate.
    pub fn ca(&self) -> Result<String> {
        Ok(self.certificates()?.0)
    }

    /// Applies the cluster's manifests unless they are deployed exactly so.
    pub fn deploy(&self) -> Result<()> {
        deploy(&self.namespace, &self.name, &self.manifests()?)
    }

    /// Waits until every node has joined and the Service leads to them.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        kubectl::wait_for_rollout(&self.namespace, &format!("statefulset/{}", self.name), limit)?;
        wait_for_service(&self.namespace, &self.name, limit)
    }

    /// A client of the running cluster.
    pub fn client(&self) -> Result<SearchClient> {
        let authority = if self.tls { Some(self.ca()?) } else { None };
        let service = format!("{}-http", self.name);
        SearchClient::new(&self.namespace, &service, authority.as_deref(), Some((USER, &self.password)))
    }

    /// The cluster's objects, without the namespace.
    pub fn manifests(&self) -> Result<Vec<Value>> {
        let (authority, pair) = self.certificates()?;
        let (namespace, name) = (&self.namespace, &self.name);
        let secret = |suffix: &str, content: Value| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata(namespace, &format!("{name}-{suffix}")),
                "stringData": content
            })
        };
        let mut node_files = json!({
            "users": format!("{USER}:{}\n", password_hash(&self.password)?),
            "users_roles": format!("superuser:{USER}\n"),
        });
        if let Some(trusted) = &self.trusted_ca {
            node_files["trusted.crt"] = trusted.as_str().into();
        }
        let container = json!({
            "image": format!("docker.io/local/elasticsearch:{ELASTICSEARCH}"),
            "env": [{"name": "ES_JAVA_OPTS", "value": self.java_options}],
            "volumeMounts": [{"name": "configuration", "mountPath": "/etc/elasticsearch"}]
        });
        let configuration = json!({
            "name": "configuration",
            "projected": {"sources": [
                {"configMap": {"name": format!("{name}-config")}},
                {"secret": {"name": format!("{name}-node")}},
                {"secret": {"name": format!("{name}-tls")}}
            ]}
        });
        Ok(vec![
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata(namespace, &format!("{name}-config")),
                "data": {"elasticsearch.yml": self.configuration()}
            }),
            secret("elastic", json!({"username": USER, "password": self.password})),
            secret("tls", json!({"ca.crt": authority, "tls.crt": pair.certificate, "tls.key": pair.key})),
            secret("node", node_files),
            headless_service(namespace, name),
            http_service(namespace, name),
            stateful_set(namespace, name, self.nodes, container, vec![configuration]),
        ])
    }

    fn configuration(&self) -> String {
        let Self { name, namespace, tls, extra_config, .. } = self;
        let pods = |suffix: &str| {
            let pods: Vec<_> = (0..self.nodes).map(|number| format!("\"{name}-{number}{suffix}\"")).collect();
            pods.join(", ")
        };
        let seeds = pods(&format!(".{name}.{namespace}.svc.cluster.local"));
        let masters = pods("");
        let trusted = match self.trusted_ca {
            Some(_) => "\n# Who may be read from over TLS.\nreindex.ssl.certificate_authorities: [\"trusted.crt\"]\n",
            None => "",
        };
        format!(
            r#"# Every node of {name}. A pod copies this file when it starts.
cluster.name: {name}
node.name: ${{HOSTNAME}}
network.host: 0.0.0.0
path.data: /data
path.logs: /tmp

# How the nodes find each other, and who votes when the cluster is new.
discovery.seed_hosts: [{seeds}]
cluster.initial_master_nodes: [{masters}]

# A development machine: few memory maps, a disk that others fill.
node.store.allow_mmap: false
cluster.routing.allocation.disk.threshold_enabled: false

# The only user is in the file realm, under a name that is otherwise reserved.
xpack.security.enabled: true
xpack.security.authc.reserved_realm.enabled: false
xpack.security.transport.ssl.enabled: true
xpack.security.transport.ssl.verification_mode: certificate
xpack.security.transport.ssl.certificate_authorities: ["ca.crt"]
xpack.security.transport.ssl.certificate: tls.crt
xpack.security.transport.ssl.key: tls.key
xpack.security.http.ssl.enabled: {tls}
xpack.security.http.ssl.certificate: tls.crt
xpack.security.http.ssl.key: tls.key
{trusted}{extra_config}"#
        )
    }

    /// Gives the nodes that run a second user, who may do everything, or changes its password. They take it up within some seconds, and
    /// forget it when they are restarted.
    pub fn set_second_user(&self, user: &str, password: &str) -> Result<()> {
        let users = format!("{USER}:{}\n{user}:{}\n", password_hash(&self.password)?, password_hash(password)?);
        for root in self.running_nodes()? {
            let folder = root.join("etc/elasticsearch-node");
            for (file, text) in [("users_roles", format!("superuser:{USER},{user}\n")), ("users", users.clone())] {
                // At once: half a file would be taken up, too.
                let new = folder.join(format!("{file}.new"));
                fs::write(&new, text).with_context(|| format!("failed to write {}", new.display()))?;
                fs::rename(&new, folder.join(file)).with_context(|| format!("failed to rename {}", new.display()))?;
            }
        }
        Ok(())
    }

    /// The file systems of the nodes' containers.
    fn running_nodes(&self) -> Result<Vec<PathBuf>> {
        let is_ours = |environment: &[u8]| {
            let has = |entry: String| environment.split(|byte| *byte == 0).any(|found| found == entry.as_bytes());
            has(format!("NAMESPACE={}", self.namespace))
                && (0..self.nodes).any(|number| has(format!("POD_NAME={}-{number}", self.name)))
        };
        let folder = |process: Process| PathBuf::from(format!("/proc/{}", process.pid));
        let mut roots = Vec::new();
        for folder in cgroup::processes().into_iter().map(folder) {
            let is_java = fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim() == "java");
            if is_java && fs::read(folder.join("environ")).is_ok_and(|environment| is_ours(&environment)) {
                roots.push(folder.join("root"));
            }
        }
        // A process is in the groups of several hierarchies.
        roots.sort();
        roots.dedup();
        ensure!(roots.len() == self.nodes as usize, "failed to find {} nodes of {}: {roots:?}", self.nodes, self.name);
        Ok(roots)
    }

    /// The authority and the nodes' certificate, made once for a cluster's name and kept with the machine's state: what
    /// pods run with stays what clients trust.
    fn certificates(&self) -> Result<(String, Pair)> {
        let Self { name, namespace, .. } = self;
        let folder = paths::state("engines").join(namespace).join(name);
        let read = |file: &str| fs::read_to_string(folder.join(file));
        if let (Ok(authority), Ok(certificate), Ok(key)) = (read("ca.crt"), read("tls.crt"), read("tls.key")) {
            return Ok((authority, Pair { certificate, key }));
        }
        let authority = Authority::create(&format!("{name}.{namespace}"))?;
        let service = format!("{name}-http");
        let hosts = [
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}"),
            service,
            format!("*.{name}.{namespace}.svc.cluster.local"),
            format!("*.{name}.{namespace}.svc"),
            "localhost".to_owned(),
        ];
        let pair = authority.sign(name, &[], &hosts)?;
        pair.write(&folder, "tls")?;
        crate::cache::write(&folder.join("ca.crt"), &authority.certificate)?;
        Ok((authority.certificate, pair))
    }
}

/// The salt comes from the password, so that the same cluster renders the same every time.
fn password_hash(password: &str) -> Result<String> {
    let salt: [u8; 16] = Sha256::digest(password)[..16].try_into().expect("the digest is longer");
    let hash = bcrypt::hash_with_salt(password, 4, salt).context("failed to hash a password")?;
    Ok(hash.format_for_version(bcrypt::Version::TwoA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_come_last_and_a_trusted_authority_is_named_only_when_there_is_one() {
        let plain = ElasticsearchCluster::new("search", "es-1", 2);
        let text = plain.configuration();
        assert!(text.contains("initial_master_nodes: [\"es-1-0\", \"es-1-1\"]"), "{text}");
        assert!(!text.contains("reindex.ssl"), "{text}");

        let trusting = ElasticsearchCluster {
            trusted_ca: Some("a certificate".to_owned()),
            extra_config: "indices.id_field_data.enabled: false\n".to_owned(),
            ..plain
        };
        let text = trusting.configuration();
        assert!(text.contains("reindex.ssl.certificate_authorities: [\"trusted.crt\"]"), "{text}");
        assert!(text.ends_with("\nindices.id_field_data.enabled: false\n"), "{text}");
    }
}
