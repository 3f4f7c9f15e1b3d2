//! Images of the search engines: Debian with a Java runtime, and on it what Maven fetches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::images::{Image, layer};
use crate::{cache, paths, progress};

/// The Elasticsearch version.
pub const ELASTICSEARCH: &str = "7.17.29";

/// A version of OpenSearch.
struct OpenSearch {
    version: &'static str,
    /// The log4j that its server is built for.
    log4j: &'static str,
    starter: &'static str,
    base: Base,
}

/// The versions there are.
const OPENSEARCH: [OpenSearch; 3] = [
    OpenSearch { version: "3.8.0", log4j: "2.25.4", starter: "v3/SearchNode.java", base: JAVA_21 },
    OpenSearch { version: "2.19.6", log4j: "2.25.4", starter: "SearchNode.java", base: JAVA_17 },
    OpenSearch { version: "1.3.20", log4j: "2.17.1", starter: "SearchNode.java", base: JAVA_17 },
];

/// A Debian with a Java runtime.
struct Base {
    name: &'static str,
    suite: &'static str,
    package: &'static str,
}

const JAVA_17: Base = Base { name: "search-base", suite: "bookworm", package: "openjdk-17-jre-headless" };
/// OpenSearch 3 wants Java 21.
const JAVA_21: Base = Base { name: "search-base-21", suite: "trixie", package: "openjdk-21-jre-headless" };

/// What the reindex module says of itself; Maven Central has its jars but not the module around them.
const REINDEX_DESCRIPTOR: &str = "description=The Reindex module\nname=reindex\nclassname=org.elasticsearch.reindex.ReindexPlugin\n\
    java.version=1.8\nhas.native.controller=false\nextended.plugins=\n";
const REINDEX_POLICY: &str = "grant {\n  permission java.net.SocketPermission \"*\", \"connect,resolve\";\n};\n";

/// Every search engine's image.
pub fn all() -> Result<Vec<Image>> {
    let mut images = vec![Image {
        reference: format!("docker.io/local/elasticsearch:{ELASTICSEARCH}"),
        layers: vec![base(&JAVA_17)?, elasticsearch()?],
        entrypoint: vec!["/usr/local/bin/start-elasticsearch".to_owned()],
        user: String::new(),
    }];
    for engine in OPENSEARCH {
        images.push(Image {
            reference: format!("docker.io/local/opensearch:{}", engine.version),
            layers: vec![base(&engine.base)?, opensearch(&engine)?],
            entrypoint: vec!["/usr/local/bin/start-opensearch".to_owned()],
            user: String::new(),
        });
    }
    Ok(images)
}

/// A minimal Debian with Java, from the machine's own mirror.
fn base(Base { name, suite, package }: &Base) -> Result<PathBuf> {
    layer(name, &cache::key(&[], &[suite, package])?, |root| {
        let mirror = progress::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Origin: Debian",
            "Label: Debian",
        ]))?;
        let mirror =
            mirror.lines().next().context("failed to find a Debian mirror among the machine's package sources")?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", &format!("--include={package}"), suite]).arg(root).arg(mirror);
        let log = cache::root().join(format!("logs/{name}.log"));
        progress::run(&format!("bootstrap Debian with {package} (once a machine)"), &mut debootstrap, &log)?;
        for folder in ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"] {
            cache::remove(&root.join(folder))?;
        }
        Ok(())
    })
}

/// The distribution with the reindex module and our starter.
fn elasticsearch() -> Result<PathBuf> {
    let sources = paths::checkout()?.join("xtask/elasticsearch");
    let files = ["pom.xml", "SearchNode.java", "start", "log4j2.properties"].map(|name| sources.join(name));
    let key = cache::key(&files, &[ELASTICSEARCH, REINDEX_DESCRIPTOR, REINDEX_POLICY])?;
    layer("elasticsearch-layer", &key, |root| {
        let work = root.with_extension("maven");
        let version = format!("-Des.version={ELASTICSEARCH}");
        maven("Elasticsearch", &files[0], &work, &[&version])?;

        let home = root.join("usr/share/elasticsearch");
        move_to(&work.join(format!("home/elasticsearch-{ELASTICSEARCH}")), &home)?;
        let module = home.join("modules/reindex");
        move_to(&work.join("reindex-jars"), &module)?;
        let descriptor =
            format!("{REINDEX_DESCRIPTOR}version={ELASTICSEARCH}\nelasticsearch.version={ELASTICSEARCH}\n");
        cache::write(&module.join("plugin-descriptor.properties"), descriptor)?;
        cache::write(&module.join("plugin-security.policy"), REINDEX_POLICY)?;
        compile(&files[1], &home.join("lib"), &home.join("lib/starter"))?;
        copy(&files[2], &root.join("usr/local/bin/start-elasticsearch"))?;
        copy(&files[3], &home.join("config/log4j2.properties"))?;
        cache::remove(&work)
    })
}

/// The server's jars and our starter.
fn opensearch(OpenSearch { version, log4j, starter, .. }: &OpenSearch) -> Result<PathBuf> {
    let sources = paths::checkout()?.join("xtask/opensearch");
    let files = ["pom.xml", starter, "start", "log4j2.properties"].map(|name| sources.join(name));
    let key = cache::key(&files, &[version, log4j])?;
    layer(&format!("opensearch-{version}-layer"), &key, |root| {
        let work = root.with_extension("maven");
        let properties = [format!("-Dos.version={version}"), format!("-Dlog4j.version={log4j}")];
        maven(&format!("OpenSearch {version}"), &files[0], &work, &[&properties[0], &properties[1]])?;

        let home = root.join("usr/share/opensearch");
        move_to(&work.join("lib"), &home.join("lib"))?;
        compile(&files[1], &home.join("lib"), &home.join("starter"))?;
        copy(&files[2], &root.join("usr/local/bin/start-opensearch"))?;
        copy(&files[3], &home.join("starter/log4j2.properties"))?;
        cache::remove(&work)
    })
}

fn maven(what: &str, pom: &Path, work: &Path, properties: &[&str]) -> Result<()> {
    cache::remove(work)?;
    let mut command = Command::new("mvn");
    command.args(["-q", "-B", "-f"]).arg(pom).arg("package").arg(format!("-Dout={}", work.display())).args(properties);
    let log = cache::root().join("logs").join(format!("{}.log", what.to_lowercase().replace(' ', "-")));
    progress::run(&format!("fetch {what} (once a machine)"), &mut command, &log)
}

fn compile(source: &Path, jars: &Path, classes: &Path) -> Result<()> {
    let mut javac = Command::new("javac");
    javac.args(["--release", "17", "-proc:none", "-nowarn", "-cp"]).arg(format!("{}/*", jars.display()));
    progress::output(javac.arg("-d").arg(classes).arg(source)).map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    cache::create_dir(to.parent().expect("the path has a parent"))?;
    fs::copy(from, to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}

fn move_to(from: &Path, to: &Path) -> Result<()> {
    cache::create_dir(to.parent().expect("the path has a parent"))?;
    fs::rename(from, to).with_context(|| format!("failed to move {}", from.display()))
}
