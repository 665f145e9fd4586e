//! In which Availability Zone a target or a node of the load balancer is.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Case, facts::Subnet};
use crate::detection::detector::target_address;

impl Case<'_> {
    /// The zone of a target by its name in the log: as its registration says, else that of the only
    /// subnet of the target group's VPC that holds its address. `None` when neither is known.
    pub fn target_zone(&self, target: &str) -> Option<&str> {
        let (address, port) = target_address(target)?;
        let registered = self.facts.target_health.known().into_iter().flatten().find(|it| {
            it.target.port.is_none_or(|registered| registered == port)
                && self.addresses_of(&it.target.id).is_some_and(|list| list.contains(&address))
        });
        // `all` is what is registered for an address outside of the VPC.
        let zone = registered.and_then(|it| it.target.availability_zone.as_deref());
        if let Some(zone) = zone {
            return (zone != "all").then_some(zone);
        }
        let vpc = self.target_group()?.vpc_id.as_deref()?;
        let address = address.parse().ok()?;
        // Another VPC may use the same addresses.
        let mut subnets = self
            .facts
            .subnets
            .known()?
            .iter()
            .filter(|subnet| subnet.vpc_id.as_deref() == Some(vpc) && holds(subnet, address));
        let zone = subnets.next()?.availability_zone.as_deref();
        zone.filter(|_| subnets.next().is_none())
    }

    /// The zone of a node by its address in the name of an object: that of the load balancer's subnet
    /// that holds it. `None` when that is not known; the nodes of an internet-facing load balancer are
    /// named by their public addresses, which no subnet holds.
    pub fn node_zone(&self, node: &str) -> Option<&str> {
        let address = node.parse().ok()?;
        let zones = &self.facts.load_balancer.known()?.availability_zones;
        let subnets = self.facts.subnets.known()?;
        zones.iter().find_map(|zone| {
            let id = zone.subnet_id.as_deref()?;
            let subnet = subnets.iter().find(|subnet| subnet.subnet_id == id)?;
            let name = zone.zone_name.as_deref().or(subnet.availability_zone.as_deref());
            name.filter(|_| holds(subnet, address))
        })
    }
}

/// True when an address lies in a subnet.
fn holds(subnet: &Subnet, address: IpAddr) -> bool {
    let v6 = subnet.ipv6_cidr_block_association_set.iter().map(|it| it.ipv6_cidr_block.as_str());
    let mut blocks = subnet.cidr_block.as_deref().into_iter().chain(v6);
    blocks.any(|block| block.parse::<IpNet>().is_ok_and(|net| net.contains(&address)))
}

#[cfg(test)]
mod tests {
    use crate::diagnosis::{Fact, sample_case::SampleCase};

    const TARGET: &str = "10.0.11.5:8080";

    #[test]
    fn a_target_is_where_its_registration_or_its_subnet_says() {
        let mut sample = SampleCase::healthy();
        assert_eq!(sample.case().target_zone(TARGET), None, "no zone is known");
        if let Fact::Known(subnets) = &mut sample.facts.subnets {
            subnets[2].availability_zone = Some("eu-west-1a".to_owned());
        }
        assert_eq!(sample.case().target_zone(TARGET), Some("eu-west-1a"));
        assert_eq!(sample.case().target_zone("192.0.2.1:8080"), None);
        assert_eq!(sample.case().target_zone("others"), None);
        sample.target(0).target.availability_zone = Some("eu-west-1c".to_owned());
        assert_eq!(sample.case().target_zone(TARGET), Some("eu-west-1c"));
        sample.target(0).target.availability_zone = Some("all".to_owned());
        assert_eq!(sample.case().target_zone(TARGET), None);
        sample.target(0).target.availability_zone = None;
        if let Fact::Known(subnets) = &mut sample.facts.subnets {
            subnets.push(subnets[2].clone());
        }
        assert_eq!(sample.case().target_zone(TARGET), None, "two subnets hold it");
        sample.facts.subnets = SampleCase::missing("subnets");
        assert_eq!(sample.case().target_zone(TARGET), None);
    }

    #[test]
    fn a_node_is_where_the_subnet_of_the_load_balancer_is() {
        let mut sample = SampleCase::healthy();
        let zones = ["10.0.1.9", "10.0.2.9", "2001:db8:0:2::9", "10.0.11.5", "3.4.5.6", "unknown"]
            .map(|node| sample.case().node_zone(node).map(ToOwned::to_owned));
        let zones = zones.each_ref().map(Option::as_deref);
        let (a, b) = (Some("eu-west-1a"), Some("eu-west-1b"));
        assert_eq!(zones, [a, b, b, None, None, None]);
        sample.facts.load_balancer = SampleCase::missing("load balancer");
        assert_eq!(sample.case().node_zone("10.0.1.9"), None);
    }
}
