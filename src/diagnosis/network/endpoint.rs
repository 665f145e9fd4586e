//! Which interface, address and port stands behind a registered target.
//!
//! An instance receives traffic on the primary private address of its primary interface, whatever
//! other interfaces it has; an address belongs to the interface that carries it. The port is the one of
//! the registration, which may differ from the one of the group.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html>

use std::net::{IpAddr, SocketAddr};

use crate::diagnosis::{
    Case, Facts, Gap,
    facts::{Fact, GroupIdentifier, NetworkInterface, TargetGroup, TargetHealthDescription},
};

/// A target with its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As it is registered: an instance id or an address.
    pub id: String,
    /// Its address, when it is known.
    pub address: Option<IpAddr>,
    /// The port that requests go to.
    pub port: u16,
    /// The port that the health check goes to, when it is known.
    pub health_check_port: Option<u16>,
    /// Where it stands, or why that is not known.
    pub placement: Result<Placement, Gap>,
}

/// Where a target stands in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The address that traffic goes to.
    pub address: IpAddr,
    /// The subnet of its interface.
    pub subnet: Option<String>,
    /// The security groups of its interface.
    pub groups: Vec<String>,
}

/// Reads `ip:port` as the log writes it, with or without brackets around an IPv6 address.
pub fn socket_address(target: &str) -> Option<SocketAddr> {
    if let Ok(address) = target.parse() {
        return Some(address);
    }
    let (address, port) = target.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

/// Every registered target; when the registration is not known, every target that the log names.
pub fn endpoints(case: &Case<'_>) -> Result<Vec<Endpoint>, Gap> {
    let facts = case.facts;
    let group = facts.target_group.known();
    match &facts.target_health {
        Fact::Known(targets) => targets
            .iter()
            .filter(|description| !description.target.id.starts_with("arn:"))
            .map(|description| registered(facts, group, description))
            .collect(),
        Fact::Unknown(gap) => {
            let logged: Vec<Endpoint> = case
                .evidence
                .targets
                .iter()
                .filter_map(|target| socket_address(&target.target))
                .map(|address| Endpoint {
                    id: address.ip().to_string(),
                    address: Some(address.ip()),
                    port: address.port(),
                    health_check_port: group
                        .and_then(|group| health_check_port(group, None, address.port())),
                    placement: by_address(facts, address.ip()),
                })
                .collect();
            if logged.is_empty() { Err(gap.clone()) } else { Ok(logged) }
        }
    }
}

fn registered(
    facts: &Facts,
    group: Option<&TargetGroup>,
    description: &TargetHealthDescription,
) -> Result<Endpoint, Gap> {
    let id = &description.target.id;
    let port = description.target.port.or_else(|| group.and_then(|group| group.port)).ok_or_else(
        || Gap {
            fact: format!("port of target {id}"),
            reason: "neither the registration nor the target group names one".to_owned(),
            permission: Some("elasticloadbalancing:DescribeTargetHealth".to_owned()),
        },
    )?;
    let placement = match id.parse() {
        Ok(address) => by_address(facts, address),
        Err(_) => by_instance(
            facts,
            id,
            group.and_then(|group| group.ip_address_type.as_deref()) == Some("ipv6"),
        ),
    };
    Ok(Endpoint {
        id: id.clone(),
        address: placement
            .as_ref()
            .ok()
            .map(|placement| placement.address)
            .or_else(|| id.parse().ok()),
        port,
        health_check_port: match group {
            Some(group) => health_check_port(group, description.health_check_port.as_deref(), port),
            None => description.health_check_port.as_deref().and_then(|text| text.parse().ok()),
        },
        placement,
    })
}

fn health_check_port(group: &TargetGroup, of_target: Option<&str>, traffic: u16) -> Option<u16> {
    if group.health_check_enabled == Some(false) {
        return None;
    }
    let text = of_target.or(group.health_check_port.as_deref())?;
    if text == "traffic-port" { Some(traffic) } else { text.parse().ok() }
}

/// Every interface that was read, wherever it stood.
fn interfaces(facts: &Facts) -> impl Iterator<Item = &NetworkInterface> {
    facts.network_interfaces.known().into_iter().flatten().chain(
        facts
            .instances
            .known()
            .into_iter()
            .flatten()
            .flat_map(|instance| &instance.network_interfaces),
    )
}

fn by_address(facts: &Facts, address: IpAddr) -> Result<Placement, Gap> {
    let vpc = facts.target_group.known().and_then(|group| group.vpc_id.as_deref());
    let found = interfaces(facts).find(|interface| {
        // Two VPCs may use the same addresses.
        let elsewhere = matches!((vpc, interface.vpc_id.as_deref()), (Some(a), Some(b)) if a != b);
        !elsewhere && addresses(interface).any(|own| own == address)
    });
    match (found, facts.network_interfaces.gap()) {
        (Some(interface), _) => Ok(placement(interface, address)),
        (None, Some(gap)) => Err(gap.clone()),
        (None, None) => Err(Gap {
            fact: format!("network interface of {address}"),
            reason: "no interface with this address was read: it is outside the VPC, in another \
                     account, gone, or of a prefix that an interface holds (EKS)"
                .to_owned(),
            permission: Some("ec2:DescribeNetworkInterfaces".to_owned()),
        }),
    }
}

fn by_instance(facts: &Facts, id: &str, ipv6: bool) -> Result<Placement, Gap> {
    let instance =
        facts.instances.known().into_iter().flatten().find(|instance| instance.instance_id == id);
    let of_instance = instance.into_iter().flat_map(|instance| &instance.network_interfaces);
    let of_list = facts.network_interfaces.known().into_iter().flatten().filter(|interface| {
        interface
            .attachment
            .as_ref()
            .is_some_and(|attachment| attachment.instance_id.as_deref() == Some(id))
    });
    if let Some(interface) = of_instance.chain(of_list).find(|one| is_primary(one)) {
        let address = if ipv6 {
            interface.ipv6_addresses.first().and_then(|own| own.ipv6_address.parse().ok())
        } else {
            interface.private_ip_address.as_deref().and_then(|own| own.parse().ok())
        };
        if let Some(address) = address {
            return Ok(placement(interface, address));
        }
    }
    // The groups that DescribeInstances prints at the instance are those of its primary interface.
    if let (Some(instance), false) = (instance, ipv6)
        && let Some(address) =
            instance.private_ip_address.as_deref().and_then(|own| own.parse().ok())
        && !instance.security_groups.is_empty()
    {
        return Ok(Placement {
            address,
            subnet: instance.subnet_id.clone(),
            groups: ids(&instance.security_groups),
        });
    }
    Err(match facts.instances.gap() {
        Some(gap) => gap.clone(),
        None => Gap {
            fact: format!("primary network interface of {id}"),
            reason: "not among the instances that were read: terminated, or in another account"
                .to_owned(),
            permission: Some("ec2:DescribeInstances".to_owned()),
        },
    })
}

fn is_primary(interface: &NetworkInterface) -> bool {
    interface.attachment.as_ref().is_some_and(|attachment| {
        attachment.device_index == Some(0) && attachment.network_card_index.unwrap_or(0) == 0
    })
}

fn addresses(interface: &NetworkInterface) -> impl Iterator<Item = IpAddr> {
    interface
        .private_ip_address
        .iter()
        .chain(interface.private_ip_addresses.iter().map(|own| &own.private_ip_address))
        .chain(interface.ipv6_addresses.iter().map(|own| &own.ipv6_address))
        .filter_map(|text| text.parse().ok())
}

fn placement(interface: &NetworkInterface, address: IpAddr) -> Placement {
    Placement { address, subnet: interface.subnet_id.clone(), groups: ids(&interface.groups) }
}

fn ids(groups: &[GroupIdentifier]) -> Vec<String> {
    groups.iter().map(|group| group.group_id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn targets_of_the_log_in_every_form() {
        for (text, expected) in [
            ("10.0.1.5:80", Some(("10.0.1.5", 80))),
            ("[2001:db8::1]:443", Some(("2001:db8::1", 443))),
            ("2001:db8::1:443", Some(("2001:db8::1", 443))),
            ("others", None),
            ("10.0.1.5", None),
            ("10.0.1.5:", None),
            ("10.0.1.5:70000", None),
            ("", None),
        ] {
            let found = socket_address(text);
            assert_eq!(
                found,
                expected.map(|(ip, port)| SocketAddr::new(ip.parse().unwrap(), port)),
                "{text}"
            );
        }
    }

    #[test]
    fn an_instance_is_its_primary_interface() {
        let mut sample = SampleCase::healthy();
        let Fact::Known(instances) = &mut sample.facts.instances else {
            panic!("the sample knows its instances");
        };
        // A second interface, listed first, must not be taken for the primary one.
        let mut second = instances[0].network_interfaces[0].clone();
        second.private_ip_address = Some("10.0.99.9".to_owned());
        second.attachment.as_mut().unwrap().device_index = Some(1);
        second.groups[0].group_id = "sg-0other".to_owned();
        instances[0].network_interfaces.insert(0, second);
        let found = endpoints(&sample.case()).unwrap();
        let placement = found[0].placement.as_ref().unwrap();
        assert_eq!(placement.address.to_string(), "10.0.11.5");
        assert_eq!(placement.groups, ["sg-0web"]);
    }

    #[test]
    fn the_port_of_the_registration_beats_that_of_the_group() {
        let mut sample = SampleCase::healthy();
        sample.target(0).target.port = Some(9000);
        sample.target(1).target.port = None;
        let found = endpoints(&sample.case()).unwrap();
        assert_eq!((found[0].port, found[1].port), (9000, 8080));
        assert_eq!(found[0].health_check_port, Some(8080));
    }

    #[test]
    fn an_address_without_interface_is_a_gap() {
        let mut sample = SampleCase::healthy();
        sample.target(0).target.id = "192.168.7.7".to_owned();
        let found = endpoints(&sample.case()).unwrap();
        assert_eq!(found[0].address, Some("192.168.7.7".parse().unwrap()));
        assert!(found[0].placement.as_ref().unwrap_err().reason.contains("outside the VPC"));
    }

    #[test]
    fn an_interface_of_another_vpc_is_not_taken() {
        let mut sample = SampleCase::healthy();
        sample.use_ip_targets();
        let Fact::Known(instances) = &mut sample.facts.instances else {
            panic!("the sample knows its instances");
        };
        instances.clear();
        assert!(endpoints(&sample.case()).unwrap()[0].placement.is_ok());
        let Fact::Known(interfaces) = &mut sample.facts.network_interfaces else {
            panic!("the sample knows its interfaces");
        };
        for interface in interfaces {
            interface.vpc_id = Some("vpc-0other".to_owned());
        }
        assert!(endpoints(&sample.case()).unwrap()[0].placement.is_err());
    }

    #[test]
    fn an_instance_that_was_not_read_is_a_gap() {
        let mut sample = SampleCase::healthy();
        sample.facts.instances = SampleCase::missing("instances");
        sample.facts.network_interfaces = SampleCase::missing("network interfaces");
        let found = endpoints(&sample.case()).unwrap();
        assert_eq!(found[0].placement.as_ref().unwrap_err().fact, "instances");
    }
}
