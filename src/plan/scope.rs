//! Which namespaces the operator works in.

use std::collections::BTreeSet;

use super::validate::Trouble;

/// The reason of what can't be used because of its namespace.
pub const NOT_WATCHED: &str = "NamespaceNotWatched";

/// The namespaces whose SearchClusters and Reindexes are worked on, and nothing else of which is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    /// These, or all where none is named. Empty names are nobody's: an environment variable that is set to nothing is one.
    pub fn of(names: impl IntoIterator<Item = String>) -> Scope {
        Scope(names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
    }

    /// The namespaces, in order; None: all.
    pub fn namespaces(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        (!self.0.is_empty()).then(|| self.0.iter().map(String::as_str))
    }

    /// Whether what is in this namespace is worked on.
    pub fn watches(&self, namespace: &str) -> bool {
        self.0.is_empty() || self.0.contains(namespace)
    }

    /// What is told of a SearchCluster that can't be used because of its namespace. It says nothing of whether there is one.
    pub fn trouble(&self, field: &str, namespace: &str, name: &str) -> Option<Trouble> {
        (!self.watches(namespace)).then(|| Trouble {
            reason: NOT_WATCHED,
            message: format!(
                "SearchCluster {namespace}/{name} ({field}.clusterRef) is in a namespace that the operator does not watch: name one of a \
                 namespace that it watches, or have {namespace} added to the chart's watchNamespaces"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Scope {
        Scope::of(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn without_names_all_is_watched() {
        for scope in [of(&[]), of(&["", " "]), Scope::default()] {
            assert!(scope.watches("search") && scope.namespaces().is_none());
            assert_eq!(scope.trouble("source", "search", "es"), None);
        }
    }

    #[test]
    fn with_names_those_are_watched_and_no_other() {
        let scope = of(&["shop", " search", "shop", ""]);
        assert_eq!(scope.namespaces().map(Iterator::collect::<Vec<_>>), Some(vec!["search", "shop"]));
        assert!(scope.watches("shop") && !scope.watches("shops") && !scope.watches(""));
        assert_eq!(scope.trouble("source", "shop", "es"), None);
        let trouble = scope.trouble("destination", "other", "es-1").unwrap();
        assert_eq!(trouble.reason, "NamespaceNotWatched");
        assert!(
            trouble.message.starts_with("SearchCluster other/es-1 (destination.clusterRef)"),
            "{}",
            trouble.message
        );
    }
}
