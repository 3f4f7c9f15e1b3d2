//! The programs that the harness builds from Go modules, once a machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cache, paths, progress};

/// A Go program of the harness: a module in `xtask/<name>`.
pub struct Program {
    name: &'static str,
    /// The package to build; "." for the module's own.
    package: &'static str,
    flags: &'static [&'static str],
    is_static: bool,
}

/// etcd, every Kubernetes component and kubectl in one binary, which acts by its first argument or its name.
/// The linker flags state the version that clients parse.
pub const KUBERNETES: Program = Program {
    name: "kubernetes",
    package: ".",
    flags: &[
        "-trimpath",
        "-ldflags",
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
         -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
    ],
    is_static: false,
};

/// The cluster's DNS server.
pub const COREDNS: Program =
    Program { name: "coredns", package: ".", flags: &["-trimpath", "-ldflags", "-s -w"], is_static: false };

/// The chart installer.
pub const HELM: Program = Program {
    name: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    flags: &["-trimpath", "-ldflags", "-s -w"],
    is_static: false,
};

/// Reads objects as Flux does.
pub const KSTATUS: Program =
    Program { name: "kstatus", package: ".", flags: &["-trimpath", "-ldflags", "-s -w"], is_static: false };

/// Runs the tests of rules for Prometheus.
pub const PROMTOOL: Program = Program {
    name: "promtool",
    package: "github.com/prometheus/prometheus/cmd/promtool",
    flags: &["-trimpath", "-ldflags", "-s -w"],
    is_static: false,
};

/// The least controller that most operators are written with, to measure beside.
pub const CONTROLLER_RUNTIME: Program =
    Program { name: "controller-runtime", package: ".", flags: &["-trimpath", "-ldflags", "-s -w"], is_static: true };

/// The process that holds a pod's namespaces; alone in its image, hence static.
pub const PAUSE: Program =
    Program { name: "pause", package: ".", flags: &["-trimpath", "-ldflags", "-s -w"], is_static: true };

impl Program {
    /// The built program, from the cache when its sources and flags are unchanged.
    pub fn binary(&self) -> Result<PathBuf> {
        let folder = paths::checkout()?.join("xtask").join(self.name);
        let mut sources: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| format!("failed to read {}", folder.display()))?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        sources.sort();
        let key = cache::key(&sources, self.flags)?;
        cache::artefact(self.name, &key, |output| {
            let mut build = Command::new("go");
            build.arg("build").args(self.flags).arg("-o").arg(output).arg(self.package).current_dir(&folder);
            if self.is_static {
                build.env("CGO_ENABLED", "0");
            }
            progress::run(
                &format!("build {} (once a machine)", self.name),
                &mut build,
                &cache::root().join("logs").join(format!("{}.log", self.name)),
            )
        })
    }
}
