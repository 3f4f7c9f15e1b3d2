//! The pages that people read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::paths;

/// Where they are, beside the checkout's own folder; what is written for a generator is elsewhere.
const FOLDERS: [&str; 4] = ["docs", "charts", "deploy", "tests/fixtures"];

/// Every Markdown file, by its path in the checkout.
pub fn all() -> Result<Vec<String>> {
    let checkout = paths::checkout()?;
    let mut pages = Vec::new();
    collect(&checkout, "", false, &mut pages)?;
    for folder in FOLDERS {
        collect(&checkout, folder, true, &mut pages)?;
    }
    pages.sort();
    Ok(pages)
}

fn collect(checkout: &Path, folder: &str, deeper: bool, pages: &mut Vec<String>) -> Result<()> {
    let context = || format!("failed to read {}", checkout.join(folder).display());
    for entry in fs::read_dir(checkout.join(folder)).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            if deeper {
                collect(checkout, &path, deeper, pages)?;
            }
        } else if path.ends_with(".md") {
            pages.push(path);
        }
    }
    Ok(())
}
