//! Who may use a SearchCluster for what.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::api::{
    SearchCluster,
    search_cluster::{AccessRule, Labels, Role},
};

/// A namespace that asks, with its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker<'a> {
    /// Its name.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
}

/// Whether `cluster` admits `asker` in `role` for `index`.
pub fn admits(cluster: &SearchCluster, asker: &Asker<'_>, role: Role, index: &str) -> bool {
    let own = cluster.metadata.namespace.as_deref().unwrap_or_default();
    match &cluster.spec.access {
        None => asker.namespace == own,
        Some(rules) => rules.iter().any(|rule| {
            rule.roles.contains(&role)
                && rule.indexes.iter().any(|pattern| matches_glob(pattern, index))
                && admits_namespace(rule, own, asker)
        }),
    }
}

fn admits_namespace(rule: &AccessRule, own: &str, asker: &Asker<'_>) -> bool {
    match &rule.namespaces {
        None => asker.namespace == own,
        Some(selection) => {
            selection.names.iter().any(|name| name == asker.namespace)
                || selection.selector.as_ref().is_some_and(|selector| selects(selector, asker.labels))
        }
    }
}

/// Whether a label selector matches, as the Kubernetes API defines it; an operator that is not known matches nothing.
fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|requirement| {
        let value = labels.get(&requirement.key);
        let listed = |value: &String| requirement.values.iter().flatten().any(|v| v == value);
        match requirement.operator.as_str() {
            "In" => value.is_some_and(listed),
            "NotIn" => !value.is_some_and(listed),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && expressions
}

/// Whether `text` matches a pattern in which `*` stands for any run of characters.
pub fn matches_glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn admits_in(access: Value, namespace: &str, role: Role, index: &str) -> bool {
        let cluster = serde_json::from_value(json!({
            "apiVersion": "reindex.dev/v1alpha1", "kind": "SearchCluster",
            "metadata": {"name": "es", "namespace": "search"},
            "spec": {"endpoint": "https://es:9200", "access": access},
        }))
        .unwrap();
        let labels = Labels::from([("team".into(), namespace.into())]);
        admits(&cluster, &Asker { namespace, labels: &labels }, role, index)
    }

    #[test]
    fn without_rules_only_the_own_namespace_is_admitted() {
        assert!(admits_in(Value::Null, "search", Role::Source, "a"));
        assert!(!admits_in(Value::Null, "shop", Role::Source, "a"));
    }

    #[test]
    fn rules_replace_the_default() {
        assert!(!admits_in(json!([{"namespaces": {"names": ["shop"]}}]), "search", Role::Source, "a"));
    }

    #[test]
    fn role_index_and_namespace_must_all_match() {
        let access = json!([{"namespaces": {"names": ["shop"]}, "roles": ["Source"], "indexes": ["product_*"]}]);
        assert!(admits_in(access.clone(), "shop", Role::Source, "product_info"));
        assert!(!admits_in(access.clone(), "shop", Role::Destination, "product_info"));
        assert!(!admits_in(access.clone(), "shop", Role::Source, "orders"));
        assert!(!admits_in(access, "other", Role::Source, "product_info"));
    }

    #[test]
    fn a_selector_admits_by_labels() {
        let selector = |expression| json!([{"namespaces": {"selector": {"matchExpressions": [expression]}}}]);
        let shop = |e| admits_in(selector(e), "shop", Role::Source, "a");
        assert!(shop(json!({"key": "team", "operator": "In", "values": ["shop"]})));
        assert!(!shop(json!({"key": "team", "operator": "NotIn", "values": ["shop"]})));
        assert!(shop(json!({"key": "team", "operator": "Exists"})));
        assert!(!shop(json!({"key": "team", "operator": "DoesNotExist"})));
        assert!(!shop(json!({"key": "team", "operator": "Surprise"})));
    }

    #[test]
    fn globs_match_as_on_the_command_line() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*bc", "abc", true),
            ("ab*bc", "abc", false),
            ("*b*", "abc", true),
            ("a*b*c", "acb", false),
            ("10.0.0.*:9200", "10.0.0.7:9200", true),
        ] {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
