//! What the cluster consists of: the processes with their flags, and the files they read.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::network::{BRIDGE, CNI_NETWORK, NODE_ADDRESS, POD_NETWORK, SERVICE_NETWORK};
use crate::paths::{self, STATE};
use crate::pki::{self, Authority};
use crate::{cache, images};

/// The node's name.
pub const NODE: &str = "reindex";
/// The cgroup that all pods run under; what is in it is ours to end.
pub const CGROUP: &str = "reindex-dev";
/// The container runtime's socket.
pub const CONTAINERD_SOCKET: &str = "/var/lib/reindex-dev/run/containerd.sock";
/// The administrator's address of the apiserver.
pub const SERVER: &str = "https://127.0.0.1:26443";

/// Every port that a component listens on, and which component it is.
pub const PORTS: [(u16, &str); 11] = [
    (23790, "etcd"),
    (23800, "etcd"),
    (26443, "kube-apiserver"),
    (10257, "kube-controller-manager"),
    (10259, "kube-scheduler"),
    (10248, "kubelet"),
    (10250, "kubelet"),
    (10249, "kube-proxy"),
    (10256, "kube-proxy"),
    (8080, "coredns"),
    (8181, "coredns"),
];

/// A process of the cluster.
pub struct Component {
    /// Its name, and the name of its log and record.
    pub name: &'static str,
    /// The program it runs.
    pub program: Program,
    /// The program's arguments.
    pub arguments: Vec<String>,
}

/// Which program a component runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Debian's containerd.
    Containerd,
    /// Our multi-call binary.
    Kubernetes,
    /// Our CoreDNS.
    CoreDns,
}

/// The cluster's processes in the order in which they start.
pub fn components() -> Vec<Component> {
    let kubernetes = |name: &'static str, flags: &[&str]| Component {
        name,
        program: Program::Kubernetes,
        arguments: std::iter::once(name).chain(flags.iter().copied()).map(str::to_owned).collect(),
    };
    let service_network = format!("--service-cluster-ip-range={SERVICE_NETWORK}");
    let advertise = format!("--advertise-address={NODE_ADDRESS}");
    let node_name = format!("--hostname-override={NODE}");
    let node_address = format!("--node-ip={NODE_ADDRESS}");
    let kubelet_root = format!("--root-dir={STATE}/kubelet");
    let kubelet_certificates = format!("--cert-dir={STATE}/pki");
    vec![
        Component {
            name: "containerd",
            program: Program::Containerd,
            arguments: vec!["--config".to_owned(), format!("{STATE}/config/containerd.toml")],
        },
        kubernetes(
            "etcd",
            &[
                "--data-dir=etcd",
                "--listen-client-urls=http://127.0.0.1:23790",
                "--advertise-client-urls=http://127.0.0.1:23790",
                "--listen-peer-urls=http://127.0.0.1:23800",
                "--initial-advertise-peer-urls=http://127.0.0.1:23800",
                "--initial-cluster=default=http://127.0.0.1:23800",
                // A machine that crashes starts over anyway.
                "--unsafe-no-fsync",
            ],
        ),
        kubernetes(
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:23790",
                "--secure-port=26443",
                "--bind-address=0.0.0.0",
                &advertise,
                &service_network,
                "--cert-dir=pki",
                "--tls-cert-file=pki/apiserver.crt",
                "--tls-private-key-file=pki/apiserver.key",
                "--client-ca-file=pki/ca.crt",
                "--service-account-key-file=pki/service-account.pub",
                "--service-account-signing-key-file=pki/service-account.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                // Or `kubectl logs` and `exec` look up the node's name.
                "--kubelet-preferred-address-types=InternalIP",
                "--kubelet-client-certificate=pki/admin.crt",
                "--kubelet-client-key=pki/admin.key",
                "--audit-policy-file=config/audit-policy.json",
                "--audit-log-path=audit.log",
            ],
        ),
        kubernetes(
            "kube-controller-manager",
            &[
                "--kubeconfig=kubeconfig/controller-manager",
                "--service-account-private-key-file=pki/service-account.key",
                "--root-ca-file=pki/ca.crt",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
            ],
        ),
        kubernetes("kube-scheduler", &["--kubeconfig=kubeconfig/scheduler", "--leader-elect=false"]),
        kubernetes(
            "kubelet",
            &[
                "--config=config/kubelet.json",
                "--kubeconfig=kubeconfig/kubelet",
                &node_name,
                &node_address,
                &kubelet_root,
                &kubelet_certificates,
            ],
        ),
        kubernetes("kube-proxy", &["--config=config/kube-proxy.json"]),
        Component {
            name: "coredns",
            program: Program::CoreDns,
            arguments: vec!["-conf".to_owned(), "config/Corefile".to_owned()],
        },
    ]
}

/// The configuration files: their name below the state folder and their content.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("config/containerd.toml", containerd()),
        ("config/cni/10-reindex.conflist", cni().to_string()),
        ("config/kubelet.json", kubelet().to_string()),
        ("config/kube-proxy.json", kube_proxy().to_string()),
        ("config/audit-policy.json", audit_policy().to_string()),
        ("config/Corefile", corefile()),
    ]
}

/// `restrict_oom_score_adj`: without CAP_SYS_RESOURCE every sandbox dies otherwise. Network namespaces and runc's notes
/// below the state folder: they go with everything else that is there.
fn containerd() -> String {
    format!(
        r#"version = 2
root = "{STATE}/containerd"
state = "{STATE}/run"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{STATE}/run/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{STATE}/config/cni"
"#,
        pause = images::PAUSE
    )
}

/// `hairpinMode`: a pod that calls a Service may be sent back to itself, and the bridge would drop that.
fn cni() -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": CNI_NETWORK,
        "plugins": [{
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": true,
            "hairpinMode": true,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": format!("{STATE}/cni"),
                "ranges": [[{"subnet": POD_NETWORK, "rangeStart": "10.88.1.10"}]],
                "routes": [{"dst": "0.0.0.0/0"}]
            }
        }]
    })
}

fn kubelet() -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{STATE}/pki/ca.crt")}
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{STATE}/pki/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{STATE}/pki/kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CGROUP}"),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "failCgroupV1": false,
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%"},
        "resolvConf": "/etc/resolv.conf",
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "podLogsDir": format!("{STATE}/pod-logs"),
        "volumePluginDir": format!("{STATE}/volume-plugins"),
    })
}

/// `masqueradeAll`: two pods of one bridge would answer each other directly, past the translation of the Service's
/// address, unless the kernel shows bridged packets to the filter.
fn kube_proxy() -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": format!("{STATE}/kubeconfig/proxy")},
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NODE,
        "iptables": {"masqueradeAll": true, "minSyncPeriod": "0s"},
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
}

/// Only the operator's requests, which a test holds against its role.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": ["system:serviceaccounts:reindex-system"]},
            {"level": "None"}
        ]
    })
}

fn corefile() -> String {
    format!(
        ".:53 {{
  bind {NODE_ADDRESS}
  errors
  health {NODE_ADDRESS}:8080
  ready {NODE_ADDRESS}:8181
  kubernetes cluster.local {{
    kubeconfig {STATE}/kubeconfig/admin
    ttl 1
  }}
}}
"
    )
}

/// Writes the configuration, new certificates and the kubeconfigs that carry them.
pub fn write() -> Result<()> {
    for (name, content) in files() {
        cache::write(&paths::state(name), content)?;
    }
    let folder = paths::state("pki");
    let authority = Authority::create("reindex-dev")?;
    cache::write(&folder.join("ca.crt"), &authority.certificate)?;
    let (private, public) = pki::signing_keys()?;
    cache::write(&folder.join("service-account.key"), private)?;
    cache::write(&folder.join("service-account.pub"), public)?;
    let hosts = [
        "127.0.0.1",
        NODE_ADDRESS,
        "10.96.0.1",
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    authority.sign("kube-apiserver", &[], &hosts.map(str::to_owned))?.write(&folder, "apiserver")?;

    let node = format!("system:node:{NODE}");
    let node_hosts = [NODE.to_owned(), NODE_ADDRESS.to_owned()];
    let users: [(&str, &str, &[&str], &[String]); 5] = [
        ("admin", "admin", &["system:masters"], &[]),
        ("controller-manager", "system:kube-controller-manager", &[], &[]),
        ("scheduler", "system:kube-scheduler", &[], &[]),
        ("proxy", "system:kube-proxy", &[], &[]),
        ("kubelet", &node, &["system:nodes"], &node_hosts),
    ];
    for (file, user, groups, hosts) in users {
        let pair = authority.sign(user, groups, hosts)?;
        pair.write(&folder, file)?;
        cache::write(&paths::state("kubeconfig").join(file), kubeconfig(&folder, file).to_string())?;
    }
    Ok(())
}

/// A kubeconfig that names the certificates' files.
fn kubeconfig(pki: &Path, user: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "reindex-dev",
        "contexts": [{"name": "reindex-dev", "context": {"cluster": "reindex-dev", "user": user}}],
        "clusters": [{
            "name": "reindex-dev",
            "cluster": {"server": SERVER, "certificate-authority": pki.join("ca.crt")}
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate": pki.join(format!("{user}.crt")),
                "client-key": pki.join(format!("{user}.key"))
            }
        }]
    })
}
