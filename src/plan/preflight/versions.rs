//! Which versions can be read from which.
//!
//! | source | destination | |
//! |---|---|---|
//! | Elasticsearch n | Elasticsearch n | the same |
//! | Elasticsearch n | Elasticsearch, newer | compatible: Elastic supports reading from older versions |
//! | Elasticsearch n | Elasticsearch, older | untried: its answers have parts that the older one may not know |
//! | Elasticsearch up to 7 | OpenSearch | compatible: it counts as an older version |
//! | Elasticsearch from 8 on | OpenSearch | untried |
//! | OpenSearch n | OpenSearch n | the same |
//! | OpenSearch n | OpenSearch, newer | compatible |
//! | OpenSearch n | OpenSearch, older | untried by its makers; 3.8 into 2.19 was seen to work |
//! | OpenSearch | Elasticsearch | refused: Elasticsearch takes it for a version of itself from long ago, and breaks off |

use crate::{
    api::reindex::VersionPolicy,
    plan::validate::{ClusterFacts, Distribution},
};

use super::Finding;

/// How two versions stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// The same distribution and major version.
    Same,
    /// Its makers say that it can be read.
    Compatible,
    /// Nobody says that it can be read.
    Untried,
    /// It can't be read.
    Refused,
}

fn relation(source: &ClusterFacts, destination: &ClusterFacts) -> Relation {
    let newer_or_same = destination.major >= source.major;
    match (source.distribution, destination.distribution) {
        (Distribution::OpenSearch, Distribution::Elasticsearch) => Relation::Refused,
        (Distribution::Elasticsearch, Distribution::OpenSearch) if source.major <= 7 => Relation::Compatible,
        (Distribution::Elasticsearch, Distribution::OpenSearch) => Relation::Untried,
        _ if source.major == destination.major => Relation::Same,
        _ if newer_or_same => Relation::Compatible,
        _ => Relation::Untried,
    }
}

/// Whether the policy lets this pair pass.
pub fn check_versions(policy: VersionPolicy, source: &ClusterFacts, destination: &ClusterFacts) -> Option<Finding> {
    let relation = relation(source, destination);
    let passes = match policy {
        VersionPolicy::SameMajor => relation == Relation::Same,
        VersionPolicy::Compatible => matches!(relation, Relation::Same | Relation::Compatible),
        VersionPolicy::Any => relation != Relation::Refused,
    };
    if passes {
        return None;
    }
    let pair = format!(
        "the source runs {} {}, the destination {} {}",
        source.distribution, source.version, destination.distribution, destination.version
    );
    let what = match relation {
        Relation::Refused => {
            "Elasticsearch takes OpenSearch for an old version of itself, and can't read from it. Copy into OpenSearch"
        }
        Relation::Compatible => {
            "versionPolicy SameMajor wants the same on both sides. With Compatible this pair passes, in a new Reindex"
        }
        Relation::Same | Relation::Untried => {
            "nobody says that the one can read from the other. With versionPolicy Any it is tried all the same, in a new Reindex"
        }
    };
    let reason = match source.distribution == destination.distribution {
        true => "VersionMismatch",
        false => "DistributionMismatch",
    };
    Some(Finding::terminal(reason, format!("{pair}: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(distribution: Distribution, major: u32) -> ClusterFacts {
        ClusterFacts { uuid: "u".into(), distribution, major, version: format!("{major}.1.0") }
    }

    #[test]
    fn the_table_holds() {
        use Distribution::{Elasticsearch as E, OpenSearch as O};
        for (source, destination, expected) in [
            ((E, 7), (E, 7), Relation::Same),
            ((E, 7), (E, 8), Relation::Compatible),
            ((E, 6), (E, 9), Relation::Compatible),
            ((E, 8), (E, 7), Relation::Untried),
            ((E, 7), (O, 1), Relation::Compatible),
            ((E, 7), (O, 3), Relation::Compatible),
            ((E, 8), (O, 2), Relation::Untried),
            ((O, 2), (O, 2), Relation::Same),
            ((O, 1), (O, 3), Relation::Compatible),
            ((O, 3), (O, 2), Relation::Untried),
            ((O, 1), (E, 7), Relation::Refused),
        ] {
            let found = relation(&cluster(source.0, source.1), &cluster(destination.0, destination.1));
            assert_eq!(found, expected, "{source:?} {destination:?}");
        }
    }

    #[test]
    fn a_policy_lets_pass_what_it_names() {
        use Distribution::{Elasticsearch as E, OpenSearch as O};
        let passes = |policy, source: (Distribution, u32), destination: (Distribution, u32)| {
            check_versions(policy, &cluster(source.0, source.1), &cluster(destination.0, destination.1)).is_none()
        };
        for (policy, same, compatible, untried, refused) in [
            (VersionPolicy::SameMajor, true, false, false, false),
            (VersionPolicy::Compatible, true, true, false, false),
            (VersionPolicy::Any, true, true, true, false),
        ] {
            assert_eq!(passes(policy, (E, 7), (E, 7)), same);
            assert_eq!(passes(policy, (E, 7), (E, 8)), compatible);
            assert_eq!(passes(policy, (E, 8), (E, 7)), untried);
            assert_eq!(passes(policy, (O, 2), (E, 7)), refused);
        }
    }
}
