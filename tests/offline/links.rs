//! Whether what the pages point to is there: files, and headings in them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use xtask::pages;

/// A page without its blocks of code, in which nothing is a link or a heading.
fn prose(page: &str) -> String {
    let mut in_code = false;
    let is_prose = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    };
    page.lines().filter(is_prose).map(|line| format!("{line}\n")).collect()
}

/// Without `code`, whose words are no links.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// Where the links of a page lead, the outside world left out.
fn links(page: &str) -> Vec<String> {
    let text = without_code(&prose(page));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).filter(|target| !target.contains("://")).collect()
}

/// The names under which a page's headings are linked to, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let text = prose(page);
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = text.lines().filter(|line| line.trim_start_matches('#').starts_with(' ') && line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
            let name: String = kept.map(|it| if it == ' ' { '-' } else { it }).collect();
            let before = seen.entry(name.clone()).or_default();
            *before += 1;
            if *before == 1 { name } else { format!("{name}-{}", *before - 1) }
        })
        .collect()
}

/// The path that a link of a page stands for; `None` where it leaves the checkout.
fn resolved(page: &str, link: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(page).parent()?.join(link).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => path.pop().then_some(())?,
            _ => {}
        }
    }
    Some(path)
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages::all().unwrap() {
        let text = read(Path::new(&page));
        for link in links(&text) {
            let (path, anchor) = link.split_once('#').map_or((link.as_str(), None), |(path, it)| (path, Some(it)));
            let target = if path.is_empty() { Some(PathBuf::from(&page)) } else { resolved(&page, path) };
            let is_there = target.is_some_and(|target| {
                root.join(&target).exists()
                    && anchor.is_none_or(|anchor| anchors(&read(&target)).iter().any(|it| it == anchor))
            });
            if !is_there {
                broken.push(format!("{page}: {link}"));
            }
            followed += 1;
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 100, "only {followed} links were found");
}

#[test]
fn links_and_headings_are_read_as_github_reads_them() {
    let page = "# It's `a` page\n## Twice\n[a](b.md#c) `[no](link)` ![d](e.svg) <https://f>\n```sh\n# no heading [x](y)\n```\n## Twice\n[g](https://h.i)\n";
    assert_eq!(links(page), ["b.md#c", "e.svg"]);
    assert_eq!(anchors(page), ["its-a-page", "twice", "twice-1"]);
    assert_eq!(resolved("docs/adr/a.md", "../../README.md"), Some(PathBuf::from("README.md")));
    assert_eq!(resolved("README.md", "../elsewhere.md"), None);
}
