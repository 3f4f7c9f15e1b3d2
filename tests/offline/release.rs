//! What a release is made from: that it names things which are there, and that one version is one version.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_crate_and_the_chart_have_one_version() {
    let chart = yaml("charts/reindex-operator/Chart.yaml");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert!(file("CHANGELOG.md").contains(&format!("\n## {} (", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_workflows_name_files_that_are_there() {
    for workflow in [".github/workflows/ci.yaml", ".github/workflows/release.yaml"] {
        assert!(yaml(workflow)["jobs"].is_object(), "{workflow}");
        let text = file(workflow);
        for path in [
            "deploy/Containerfile",
            "charts/reindex-operator",
            "deploy/krew/reindex.yaml",
            "deploy/kustomization.yaml",
            ".ci/run",
            "LICENSE",
        ] {
            assert!(!text.contains(path) || root().join(path).exists(), "{path} of {workflow}");
        }
    }
    let release = file(".github/workflows/release.yaml");
    for platform in yaml("deploy/krew/reindex.yaml")["spec"]["platforms"].as_array().unwrap() {
        let labels = &platform["selector"]["matchLabels"];
        let system = format!("{}_{}", labels["os"].as_str().unwrap(), labels["arch"].as_str().unwrap());
        assert!(release.contains(&format!("system: {system},")), "{system} is not built");
        assert_eq!(platform["sha256"], format!("{{SHA256_{system}}}"));
        assert!(release.contains(&format!("{{SHA256_{system}}}|$(sum {system})")), "{system} has no sum");
    }
}

/// The step of a job of the release workflow that `is` finds.
fn step(workflow: &Value, job: &str, is: impl Fn(&Value) -> bool) -> Value {
    let steps = workflow["jobs"][job]["steps"].as_array().unwrap_or_else(|| panic!("no job {job}"));
    steps.iter().find(|step| is(step)).unwrap_or_else(|| panic!("{job} has no such step")).clone()
}

/// Runs a step as a runner does, and says what it has put out.
fn run(step: &Value, folder: &Path, environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let output = folder.join("output");
    fs::write(&output, "").unwrap();
    let script = step["run"].as_str().expect("a step that runs something");
    let status = Command::new("bash")
        .args(["-e", "-c", script])
        .current_dir(folder)
        .envs(environment)
        .env("GITHUB_OUTPUT", &output)
        .status()
        .expect("bash runs");
    assert!(status.success(), "{script}");
    let text = fs::read_to_string(&output).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// With `${{ prefix.NAME }}` replaced.
fn expanded(text: &str, prefix: &str, values: &BTreeMap<String, String>) -> String {
    values
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{{ {prefix}.{name} }}}}"), value))
}

/// The environment of a job, from the outputs of the job `names`.
fn environment(workflow: &Value, job: &str, names: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let environment = workflow["jobs"][job]["env"].as_object().unwrap_or_else(|| panic!("{job} has no environment"));
    environment
        .iter()
        .map(|(name, value)| (name.clone(), expanded(value.as_str().unwrap(), "needs.names.outputs", names)))
        .collect()
}

/// The workflow's own steps, run in a copy of what they change.
#[test]
fn what_is_released_asks_for_the_image_that_is_pushed() {
    let workflow = yaml(".github/workflows/release.yaml");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
    let changed =
        ["charts/reindex-operator/values.yaml", "charts/reindex-operator/README.md", "deploy/kustomization.yaml"];
    for path in changed {
        let copy = folder.join(path);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, file(path)).unwrap();
    }

    let version = env!("CARGO_PKG_VERSION");
    let given = [("GITHUB_REPOSITORY_OWNER", "An-Owner".to_owned()), ("GITHUB_REF_NAME", format!("v{version}"))];
    let given = given.map(|(name, value)| (name.to_owned(), value)).into();
    let names = run(&step(&workflow, "names", |step| step["id"] == "names"), &folder, &given);
    assert_eq!(names["charts"], "oci://ghcr.io/an-owner/charts");

    let of_image = environment(&workflow, "image", &names);
    let steps = workflow["jobs"]["image"]["steps"].as_array().unwrap();
    let position = |is: &dyn Fn(&Value) -> bool| steps.iter().position(is).expect("such a step");
    let tried = position(&|step| step["name"] == "It runs, on both processors");
    let named = position(&|step| step["run"].as_str().is_some_and(|run| run.contains("--tag \"$IMAGE:$VERSION\"")));
    assert!(tried < named, "an image that does not run would have the release's name");
    let tags = &steps[position(&|step| step["id"] == "build")]["with"]["tags"];
    let pushed = format!("{}:{}", of_image["IMAGE"], of_image["VERSION"]);
    assert_ne!(expanded(tags.as_str().unwrap(), "env", &of_image), pushed, "it has that name before it was tried");
    assert_eq!(pushed, format!("ghcr.io/an-owner/reindex-operator:{version}"));

    let naming = "The chart and the plain manifests ask for the image that was pushed";
    let of_release = environment(&workflow, "release", &names);
    run(&step(&workflow, "release", |step| step["name"] == naming), &folder, &of_release);
    let [values, readme, kustomization] = changed.map(|path| fs::read_to_string(folder.join(path)).unwrap());
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    assert_eq!(values["image"]["tag"], "", "the chart's own version is asked for");
    let repository = values["image"]["repository"].as_str().unwrap();
    assert_eq!(format!("{repository}:{version}"), pushed);
    assert!(readme.contains(&format!("| `image.repository` | `{repository}` |")), "{readme}");
    let kustomization: Value = serde_saphyr::from_str(&kustomization).unwrap();
    let image = &kustomization["images"][0];
    assert_eq!(format!("{}:{}", image["newName"].as_str().unwrap(), image["newTag"].as_str().unwrap()), pushed);
}

/// What each artefact is signed by, and said of where it comes from.
#[test]
fn what_is_released_is_signed_listed_and_checked() {
    let workflow = yaml(".github/workflows/release.yaml");
    let runs = |job: &str, words: &str| {
        step(&workflow, job, |step| step["run"].as_str().is_some_and(|run| run.contains(words)))
    };
    let uses = |job: &str, action: &str| {
        step(&workflow, job, |step| step["uses"].as_str().is_some_and(|uses| uses.starts_with(action)))
    };
    uses("names", "EmbarkStudios/cargo-deny-action@");
    runs("image", "cosign sign --yes \"$IMAGE@${{ steps.build.outputs.digest }}\"");
    let build = uses("image", "docker/build-push-action@")["with"].clone();
    assert_eq!((&build["sbom"], &build["provenance"]), (&Value::from(true), &Value::from("mode=max")));
    let digest = uses("image", "actions/attest-build-provenance@")["with"]["subject-digest"].clone();
    assert_eq!(digest, "${{ steps.build.outputs.digest }}");
    let chart = runs("release", "cosign sign --yes \"${CHARTS#oci://}/reindex-operator@$DIGEST\"");
    assert_eq!(chart["env"]["DIGEST"], "${{ steps.chart.outputs.digest }}");
    assert_eq!(runs("release", "helm push")["id"], "chart");
    runs("release", "for file in artifacts/*; do cosign sign-blob");
    let listed = uses("release", "anchore/sbom-action@")["with"]["output-file"].clone();
    assert_eq!(listed, "artifacts/sbom.spdx.json");
    let attested = uses("release", "actions/attest-build-provenance@")["with"]["subject-path"].clone();
    for kind in ["*.tar.gz", "*.tgz", "*.yaml"] {
        assert!(attested.as_str().unwrap().contains(kind), "{kind} is said nothing of");
    }
    // Whatever else the build leaves there is no artefact of ours.
    let fetched = uses("release", "actions/download-artifact@")["with"]["pattern"].clone();
    let uploaded = uses("plugin", "actions/upload-artifact@")["with"]["name"].clone();
    assert!(uploaded.as_str().unwrap().starts_with(fetched.as_str().unwrap().trim_end_matches('*')));
}

/// The image and the plugin for Linux are the same kind of program, for the same processors.
#[test]
fn what_is_built_for_linux_is_static() {
    let workflow = yaml(".github/workflows/release.yaml");
    let containerfile = file("deploy/Containerfile");
    let configuration = file(".cargo/config.toml");
    let matrix = workflow["jobs"]["plugin"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let of_plugin: BTreeSet<_> = matrix
        .iter()
        .filter_map(|entry| Some((entry["system"].as_str()?.strip_prefix("linux_")?, entry["target"].as_str()?)))
        .collect();
    assert_eq!(
        of_plugin,
        BTreeSet::from([("amd64", "x86_64-unknown-linux-musl"), ("arm64", "aarch64-unknown-linux-musl")])
    );
    for (architecture, target) in &of_plugin {
        let processor = target.split('-').next().unwrap();
        assert!(containerfile.contains(&format!("{architecture}) processor={processor} ")), "{architecture}");
        assert!(configuration.contains(&format!("[target.{target}]\nlinker = \"rust-lld\"")), "{target}");
    }
    let platforms = step(&workflow, "image", |step| step["id"] == "build")["with"]["platforms"].clone();
    let of_image: BTreeSet<_> =
        platforms.as_str().unwrap().split(',').filter_map(|it| it.strip_prefix("linux/")).collect();
    assert_eq!(of_image, of_plugin.into_iter().map(|(architecture, _)| architecture).collect());
    let (_, image) = containerfile.split_once("\nFROM scratch\n").expect("an image of nothing but ours");
    assert_eq!(image.matches("COPY ").count(), 1, "one layer");
}

/// What `deny.toml` forbids must not be in what is built, whatever else uses the lock file.
#[test]
fn there_is_one_tls_one_http_and_one_time_stack() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges=normal,build",
            "--prefix=none",
            "--format={p}",
            "--package=reindex-operator",
        ])
        // Crates of a feature that was not asked for may not have been fetched.
        .args(cfg!(feature = "otel").then_some("--features=otel"))
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let found: BTreeSet<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(found.contains("rustls") && found.contains("jiff"), "the tree was read");
    for forbidden in ["openssl-sys", "native-tls", "aws-lc-sys", "chrono"] {
        assert!(!found.contains(forbidden), "{forbidden}");
    }
    assert!(!text.lines().any(|line| line.starts_with("hyper v0.")), "an old HTTP stack");
}
