//! How far a change of an instance is.
//!
//! Not by its status alone: right after the call the instance still reads `active`, and may still show its old configuration. So the
//! change counts as over when its own record says so, or, without a record, when the instance has been changed since (`updatedAt`) and
//! is active again. That every node has loaded the entries is asked for besides, from the nodes.

use crate::{
    api::allowlist::CloudChange,
    plan::{restart::Blocked, rollout::Progress},
};

use super::es_config::{self, EsConfig};

/// What the API says about an instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// `active`, `activating`, `inactive`, `invalid`.
    pub status: String,
    /// Changes with each change.
    pub updated_at: String,
    /// Its node configuration; None if the API does not show it.
    pub es_config: Option<EsConfig>,
    /// The record of our change, if one is under way and recorded.
    pub record: Option<Record>,
}

/// A change as the API records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `FINISHED` when it is over.
    pub state: String,
    /// How far it is, such as `60%`.
    pub process: String,
}

/// How far the instance is; `change` is ours, if one was accepted.
pub fn progress(look: &Look, change: Option<&CloudChange>) -> Progress {
    let rolling = |message: String| Progress::Rolling { message };
    match (look.status.as_str(), &look.record, change) {
        ("active", Some(record), _) if record.state.eq_ignore_ascii_case("finished") => Progress::Steady,
        ("active" | "activating", Some(record), _) => {
            rolling(format!("the change is {} ({})", record.state.to_lowercase(), record.process))
        }
        ("activating", None, _) => rolling("a change of it is under way (activating)".into()),
        ("active", None, Some(change)) if change.updated_at_before == look.updated_at => {
            rolling("the change was accepted and is not to be seen yet".into())
        }
        ("active", None, _) => Progress::Steady,
        (status @ ("inactive" | "invalid"), ..) => Progress::Failed {
            reason: "InstanceNotActive",
            message: format!("it is {status}: look into the console of Alibaba Cloud"),
        },
        // It may be one that nobody told us of and that passes.
        (status, ..) => rolling(format!("its status is {status:?}")),
    }
}

/// Entries that the configuration holds. While our change is not over the API may still show the old ones: then it counts as made.
///
/// # Errors
/// Why it can't be changed.
pub fn configured(
    look: &Look,
    key: &str,
    change: Option<&CloudChange>,
    entries: &[String],
) -> Result<Vec<String>, Blocked> {
    let mut held = es_config::entries(look.es_config.as_ref(), key)
        .map_err(|error| Blocked::by("ConfigNotEditable", error.to_string()))?;
    if change.is_some() && matches!(progress(look, change), Progress::Rolling { .. }) {
        held.extend(entries.iter().cloned());
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "reindex.remote.whitelist";

    fn change() -> CloudChange {
        CloudChange { request_id: "r".into(), updated_at_before: "t1".into() }
    }

    fn look(status: &str, updated_at: &str, record: Option<&str>) -> Look {
        Look {
            status: status.into(),
            updated_at: updated_at.into(),
            es_config: Some(EsConfig::new()),
            record: record.map(|state| Record { state: state.into(), process: "60%".into() }),
        }
    }

    fn is_over(status: &str, updated_at: &str, record: Option<&str>) -> bool {
        progress(&look(status, updated_at, record), Some(&change())) == Progress::Steady
    }

    #[test]
    fn active_alone_is_not_over() {
        assert!(!is_over("active", "t1", None), "activating is seen late");
        assert!(!is_over("active", "t2", Some("ACTIVATING")), "the record says that it is under way");
        assert!(!is_over("activating", "t2", Some("FINISHED")), "the instance says that it is under way");
        assert!(!is_over("activating", "t2", None));
    }

    #[test]
    fn a_finished_record_or_a_later_change_and_active_is_over() {
        assert!(is_over("active", "t2", Some("FINISHED")));
        assert!(is_over("active", "t1", Some("FINISHED")), "even if updatedAt does not move");
        assert!(is_over("active", "t2", None), "even if there is no record");
    }

    #[test]
    fn without_a_change_of_ours_only_others_changes_count() {
        assert_eq!(progress(&look("active", "t1", None), None), Progress::Steady);
        assert!(matches!(progress(&look("activating", "t1", None), None), Progress::Rolling { .. }));
        assert!(matches!(progress(&look("unknown", "t1", None), None), Progress::Rolling { .. }));
        for status in ["inactive", "invalid"] {
            assert!(matches!(progress(&look(status, "t1", None), None), Progress::Failed { .. }), "{status}");
        }
    }

    #[test]
    fn a_change_that_is_not_to_be_seen_yet_counts_as_made_until_it_is_over() {
        let entries = ["a:1".to_owned()];
        let configured = |look: &Look, change: Option<&CloudChange>| configured(look, KEY, change, &entries).unwrap();
        assert_eq!(configured(&look("active", "t1", None), Some(&change())), entries);
        assert_eq!(configured(&look("active", "t1", None), None), [""; 0]);
        // Over, and not there: somebody replaced it.
        assert_eq!(configured(&look("active", "t2", Some("FINISHED")), Some(&change())), [""; 0]);
        let held =
            Look { es_config: serde_json::from_value(json!({KEY: "a:1"})).unwrap(), ..look("active", "t2", None) };
        assert_eq!(configured(&held, Some(&change())), entries);
    }

    #[test]
    fn a_hidden_configuration_is_not_changed() {
        let hidden = Look { es_config: None, ..look("active", "t1", None) };
        assert_eq!(configured(&hidden, KEY, None, &[]).unwrap_err().reason, "ConfigNotEditable");
    }
}
