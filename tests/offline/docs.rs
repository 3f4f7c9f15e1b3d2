//! Whether what is written about the chart is about this chart.

use std::{fs, path::Path};

use serde_json::Value;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn every_value_of_the_chart_is_checked_and_explained() {
    let values: Value = serde_saphyr::from_str(&file("charts/reindex-operator/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&file("charts/reindex-operator/values.schema.json")).unwrap();
    let page = file("docs/install.md");
    for (name, value) in values.as_object().unwrap() {
        let checked = &schema["properties"][name];
        assert!(checked.is_object(), "values.schema.json does not know {name}");
        assert!(page.contains(&format!("`{name}")), "docs/install.md does not explain {name}");
        for nested in value.as_object().into_iter().flat_map(|fields| fields.keys()) {
            let is_open = checked["additionalProperties"] != false;
            assert!(
                is_open || checked["properties"][nested].is_object(),
                "values.schema.json does not know {name}.{nested}"
            );
        }
    }
    for name in schema["properties"].as_object().unwrap().keys() {
        assert!(name == "global" || values.get(name).is_some(), "values.yaml does not have {name}");
    }
}

#[test]
fn the_reference_is_that_of_these_definitions() {
    assert!(file("docs/api.md") == xtask::reference::page().unwrap(), "docs/api.md is stale: run `make generate`");
}

#[test]
fn the_charts_readme_is_that_of_its_values() {
    let page = xtask::chart_readme::page().unwrap();
    assert!(file("charts/reindex-operator/README.md") == page, "the chart's README.md is stale: run `make generate`");
}
