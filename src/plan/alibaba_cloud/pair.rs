//! Whether a reindex between two managed instances can work. The rules are the vendor's:
//! <https://www.alibabacloud.com/help/en/es/use-cases/migrate-data-through-reindex-api>

use std::collections::BTreeSet;

use crate::plan::{
    preflight::Finding,
    remote::{self, RemoteAddress},
    validate::{Seen, surrounding},
};

/// How an instance is run, which decides its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlMode {
    /// Basic control.
    V2,
    /// Cloud-native control; only reached through PrivateLink, and only reaches out through it.
    V3,
}

impl ControlMode {
    /// From `archType`, which the vendor writes with a capital letter and without.
    pub fn parse(arch_type: &str) -> Option<ControlMode> {
        match arch_type.to_ascii_lowercase().as_str() {
            "exclusive" => Some(ControlMode::V2),
            "public" => Some(ControlMode::V3),
            _ => None,
        }
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its region.
    pub region: String,
    /// Its zones.
    pub zones: BTreeSet<String>,
    /// How it is run; None if the API said neither of the two that are known.
    pub control: Option<ControlMode>,
    /// Its version, such as `7.10_with_X-Pack`.
    pub version: String,
    /// `active` if it can be used.
    pub status: String,
}

/// A PrivateLink endpoint of the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, as the API tells it.
    pub domain: String,
    /// `Active` if it can be used.
    pub status: String,
    /// `Connected` if it can be used.
    pub connection: String,
}

/// Both sides of a Reindex.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The source.
    pub source: Seen<Instance>,
    /// The destination.
    pub destination: Seen<Instance>,
    /// PrivateLink endpoints of the destination; None if that could not be looked at anyway.
    pub endpoints: Option<Seen<Vec<Endpoint>>>,
}

/// Everything that is in the way.
pub fn check(pair: &Pair, remote: Option<&RemoteAddress>) -> Vec<Finding> {
    let endpoints = pair.endpoints.as_ref();
    let troubles =
        [pair.source.as_ref().err(), pair.destination.as_ref().err(), endpoints.and_then(|seen| seen.as_ref().err())];
    let mut findings: Vec<Finding> = troubles.into_iter().flatten().map(surrounding).collect();
    for (side, seen) in [("source", &pair.source), ("destination", &pair.destination)] {
        findings.extend(seen.as_ref().ok().and_then(|instance| check_status(side, instance)));
    }
    if let (Ok(source), Ok(destination)) = (&pair.source, &pair.destination) {
        findings.extend(check_place(source, destination));
        findings.extend(check_control(source, destination));
    }
    if let (Ok(destination), Some(Ok(endpoints)), Some(remote)) = (&pair.destination, endpoints, remote) {
        findings.extend(check_endpoint(destination, endpoints, remote));
    }
    findings
}

/// The major versions, where they differ.
pub fn check_versions(pair: &Pair) -> Option<Finding> {
    let (Ok(source), Ok(destination)) = (&pair.source, &pair.destination) else { return None };
    (major(source)? != major(destination)?).then(|| {
        Finding::terminal(
            "VersionMismatch",
            format!(
                "Alibaba Cloud supports a reindex between instances of the same major version only: the source is {}, the destination {}",
                source.version, destination.version
            ),
        )
    })
}

fn major(instance: &Instance) -> Option<u32> {
    instance.version.split('.').next()?.parse().ok()
}

fn check_status(side: &str, instance: &Instance) -> Option<Finding> {
    if instance.status == "active" {
        return None;
    }
    let what = match instance.status.as_str() {
        "activating" => "a change of it is under way; waited for",
        "inactive" => "it is frozen: settle what is due in the console",
        _ => "look into the console",
    };
    Some(Finding::surrounding(
        "InstanceNotActive",
        format!("instance {} of the {side} is {:?}, not active: {what}", instance.id, instance.status),
    ))
}

fn check_place(source: &Instance, destination: &Instance) -> Option<Finding> {
    if source.region != destination.region {
        return Some(Finding::terminal(
            "RegionMismatch",
            format!(
                "the source is in region {}, the destination in {}: a reindex works within one region and zone",
                source.region, destination.region
            ),
        ));
    }
    let joined = |zones: &BTreeSet<String>| zones.iter().cloned().collect::<Vec<_>>().join(", ");
    let known = !source.zones.is_empty() && !destination.zones.is_empty();
    (known && source.zones.is_disjoint(&destination.zones)).then(|| {
        Finding::terminal(
            "ZoneMismatch",
            format!(
                "the source is in zone {}, the destination in {}: a reindex works within one zone",
                joined(&source.zones),
                joined(&destination.zones)
            ),
        )
    })
}

/// Only what is known not to work: a mode that the API does not tell is found out by the probe.
fn check_control(source: &Instance, destination: &Instance) -> Option<Finding> {
    (source.control == Some(ControlMode::V3) && destination.control == Some(ControlMode::V2)).then(|| {
        Finding::terminal(
            "ControlModeMismatch",
            format!(
                "the source {} is run in control mode v3 (cloud-native), the destination {} in v2 (basic): a reindex works from v2 to v3, v2 to v2 and v3 to v3",
                source.id, destination.id
            ),
        )
    })
}

fn check_endpoint(destination: &Instance, endpoints: &[Endpoint], remote: &RemoteAddress) -> Option<Finding> {
    let host = remote.host_port.rsplit_once(':').map_or(remote.host_port.as_str(), |(host, _)| host);
    if !remote::is_private_link(host) && destination.control != Some(ControlMode::V3) {
        return None;
    }
    let missing = |reason, message| Some(Finding::surrounding(reason, message));
    let same = |endpoint: &&Endpoint| remote::without_zone(&endpoint.domain) == remote::without_zone(host);
    let Some(endpoint) = endpoints.iter().find(same) else {
        // How many, but not which: they tell of the account's other connections.
        return missing(
            "EndpointNotFound",
            format!(
                "instance {} of the destination reaches others through PrivateLink only, and none of its {} endpoints is {host}. Configure a private connection to the source there, and name its domain in spec.remotes of the destination's SearchCluster",
                destination.id,
                endpoints.len()
            ),
        );
    };
    if endpoint.status != "Active" || endpoint.connection != "Connected" {
        return missing(
            "EndpointNotConnected",
            format!(
                "the PrivateLink endpoint {} of instance {} is {:?} and {:?}, not Active and Connected: accept the connection at the endpoint service",
                endpoint.domain, destination.id, endpoint.status, endpoint.connection
            ),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{preflight::Gravity, validate::Trouble};

    fn instance(id: &str, control: ControlMode) -> Instance {
        Instance {
            id: id.into(),
            region: "cn-hangzhou".into(),
            zones: BTreeSet::from(["cn-hangzhou-i".to_owned()]),
            control: Some(control),
            version: "7.10_with_X-Pack".into(),
            status: "active".into(),
        }
    }

    const DOMAIN: &str = "ep-bp1x.epsrv-bp1y.cn-hangzhou.privatelink.aliyuncs.com";

    fn pair(source: ControlMode, destination: ControlMode) -> Pair {
        Pair {
            source: Ok(instance("es-2", source)),
            destination: Ok(instance("es-1", destination)),
            endpoints: Some(Ok(vec![Endpoint {
                domain: DOMAIN.into(),
                status: "Active".into(),
                connection: "Connected".into(),
            }])),
        }
    }

    fn remote(host: &str) -> RemoteAddress {
        RemoteAddress { url: format!("http://{host}:9200"), host_port: format!("{host}:9200") }
    }

    fn reasons(pair: &Pair) -> Vec<(&'static str, bool)> {
        check(pair, Some(&remote(DOMAIN)))
            .iter()
            .map(|finding| (finding.reason, finding.gravity == Gravity::Terminal))
            .collect()
    }

    fn source(pair: &mut Pair) -> &mut Instance {
        pair.source.as_mut().unwrap()
    }

    fn endpoint(pair: &mut Pair) -> &mut Endpoint {
        &mut pair.endpoints.as_mut().unwrap().as_mut().unwrap()[0]
    }

    #[test]
    fn the_control_modes_of_the_vendor_pass_and_the_other_does_not() {
        use ControlMode::{V2, V3};
        for (source, destination) in [(V2, V3), (V2, V2), (V3, V3)] {
            assert_eq!(reasons(&pair(source, destination)), [], "{source:?} {destination:?}");
        }
        assert_eq!(reasons(&pair(V3, V2)), [("ControlModeMismatch", true)]);
    }

    #[test]
    fn the_control_mode_is_read_in_either_case() {
        let read = ["exclusive", "public", "Public", "new"].map(ControlMode::parse);
        assert_eq!(read, [Some(ControlMode::V2), Some(ControlMode::V3), Some(ControlMode::V3), None]);
    }

    #[test]
    fn region_zone_and_status_are_told_all_at_once() {
        let mut seen = pair(ControlMode::V3, ControlMode::V3);
        source(&mut seen).zones = BTreeSet::from(["cn-hangzhou-h".to_owned()]);
        source(&mut seen).status = "activating".into();
        assert_eq!(reasons(&seen), [("InstanceNotActive", false), ("ZoneMismatch", true)]);
        source(&mut seen).region = "cn-shanghai".into();
        assert_eq!(reasons(&seen), [("InstanceNotActive", false), ("RegionMismatch", true)]);
    }

    #[test]
    fn one_zone_in_common_is_enough() {
        let mut seen = pair(ControlMode::V2, ControlMode::V2);
        source(&mut seen).zones.insert("cn-hangzhou-h".to_owned());
        assert_eq!(reasons(&seen), []);
    }

    #[test]
    fn major_versions_are_compared_without_what_follows() {
        let mut seen = pair(ControlMode::V2, ControlMode::V2);
        source(&mut seen).version = "7.4".into();
        assert_eq!(check_versions(&seen), None);
        source(&mut seen).version = "8.15.1_with_X-Pack".into();
        assert_eq!(check_versions(&seen).map(|finding| finding.reason), Some("VersionMismatch"));
    }

    #[test]
    fn the_remote_is_an_endpoint_in_its_regional_or_zonal_form() {
        let seen = pair(ControlMode::V3, ControlMode::V3);
        let zonal = "ep-bp1x-cn-hangzhou-i.epsrv-bp1y.cn-hangzhou.privatelink.aliyuncs.com";
        assert_eq!(check(&seen, Some(&remote(zonal))), []);
        let mut told = seen.clone();
        endpoint(&mut told).domain = zonal.into();
        assert_eq!(check(&told, Some(&remote(DOMAIN))), []);
    }

    #[test]
    fn an_endpoint_that_is_not_there_or_not_connected_is_told() {
        let mut seen = pair(ControlMode::V2, ControlMode::V2);
        let told = check(&seen, Some(&remote("ep-other.epsrv-bp1y.cn-hangzhou.privatelink.aliyuncs.com")));
        assert_eq!(told[0].reason, "EndpointNotFound");
        assert!(!told[0].message.contains(DOMAIN), "it tells of the account's other connections: {}", told[0].message);
        endpoint(&mut seen).connection = "Disconnected".into();
        assert_eq!(reasons(&seen), [("EndpointNotConnected", false)]);
    }

    #[test]
    fn only_v2_reaches_a_private_address() {
        let private = remote("es-cn-2.elasticsearch.aliyuncs.com");
        assert_eq!(check(&pair(ControlMode::V2, ControlMode::V2), Some(&private)), []);
        let told = check(&pair(ControlMode::V3, ControlMode::V3), Some(&private));
        assert_eq!((told[0].reason, told[0].gravity), ("EndpointNotFound", Gravity::Surrounding));
    }

    #[test]
    fn what_can_not_be_seen_is_told_once_for_each() {
        let trouble = |reason| Trouble { reason, message: String::new() };
        let seen =
            Pair { source: Err(trouble("A")), destination: Err(trouble("B")), endpoints: Some(Err(trouble("C"))) };
        assert_eq!(reasons(&seen), [("A", false), ("B", false), ("C", false)]);
    }
}
