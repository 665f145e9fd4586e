//! The network of a fleet: interfaces, security groups, subnets, network ACLs.
use serde_json::{Value, json};

use super::{Shown, ZONES, id, mac, zone};
use crate::{
    fleet::{Target, Wall},
    rng::hash,
    row::ACCOUNT,
};

impl Shown<'_> {
    pub(super) fn interface(&self, number: usize, target: &Target) -> Value {
        let (group, group_name) = self.target_group(target);
        json!({
            "NetworkInterfaceId": id("eni", &target.endpoint),
            "Description": "",
            "Groups": [{"GroupId": group, "GroupName": group_name}],
            "InterfaceType": "interface",
            "Ipv6Addresses": [],
            "MacAddress": mac(&target.endpoint),
            "OwnerId": ACCOUNT,
            "PrivateIpAddress": target.ip,
            "PrivateIpAddresses": [{"Primary": true, "PrivateIpAddress": target.ip}],
            "SourceDestCheck": true,
            "Status": "in-use",
            "SubnetId": self.subnet(false, number),
            "VpcId": self.vpc(),
        })
    }

    /// Instances live on after they left the target group.
    pub(super) fn instances(&self) -> Value {
        let one = |(number, target): (usize, &Target)| {
            let (group, group_name) = self.target_group(target);
            let instance = json!({
                "InstanceId": self.instance(number),
                "InstanceType": "t4g.small",
                "Placement": {"AvailabilityZone": zone(number), "Tenancy": "default"},
                "PrivateIpAddress": target.ip,
                "State": {"Code": 16, "Name": "running"},
                "SubnetId": self.subnet(false, number),
                "VpcId": self.vpc(),
                "NetworkInterfaces": [self.interface(number, target)],
                "SecurityGroups": [{"GroupId": group, "GroupName": group_name}],
            });
            let reservation = id("r", &target.endpoint);
            json!({"ReservationId": reservation, "OwnerId": ACCOUNT, "Groups": [], "Instances": [instance]})
        };
        json!({"Reservations": self.fleet.targets.iter().enumerate().map(one).collect::<Vec<_>>()})
    }

    pub(super) fn network_interfaces(&self) -> Value {
        let (group, group_name) = self.balancer_group();
        let node = |(n, public): (usize, &String)| {
            let name = format!("{} node {n}", self.fleet.lb);
            let host = 20 + hash(&name) % 200;
            let ip = format!("10.{}.1{}.{host}", self.fleet.network(), ZONES[n % 2].1);
            json!({
                "NetworkInterfaceId": id("eni", &name),
                "Association": {"IpOwnerId": "amazon-elb", "PublicIp": public},
                "AvailabilityZone": zone(n),
                "Description": format!("ELB {}", self.fleet.elb()),
                "Groups": [{"GroupId": group, "GroupName": group_name}],
                "InterfaceType": "interface",
                "Ipv6Addresses": [],
                "MacAddress": mac(&name),
                "OwnerId": ACCOUNT,
                "PrivateIpAddress": ip,
                "PrivateIpAddresses": [{"Primary": true, "PrivateIpAddress": ip}],
                "RequesterId": "amazon-elb",
                "RequesterManaged": true,
                "SourceDestCheck": true,
                "Status": "in-use",
                "SubnetId": self.subnet(true, n),
                "VpcId": self.vpc(),
            })
        };
        let nodes = self.fleet.nodes.iter().enumerate().map(node);
        let targets = self.fleet.targets.iter().enumerate().map(|(n, target)| {
            let mut shown = self.interface(n, target);
            shown["AvailabilityZone"] = json!(zone(n));
            shown["Attachment"] = json!({
                "DeviceIndex": 0, "Status": "attached", "InstanceId": self.instance(n),
                "InstanceOwnerId": ACCOUNT,
            });
            shown
        });
        json!({"NetworkInterfaces": nodes.chain(targets).collect::<Vec<_>>()})
    }

    pub(super) fn security_groups(&self) -> Value {
        let world = json!([{"CidrIp": "0.0.0.0/0"}]);
        let everywhere = json!([{
            "IpProtocol": "-1", "UserIdGroupPairs": [], "IpRanges": world, "Ipv6Ranges": [],
            "PrefixListIds": [],
        }]);
        let shown = |id: &str, name: &str, about: String, ports: Value, out: &Value| {
            json!({
                "GroupId": id,
                "GroupName": name,
                "Description": about,
                "OwnerId": ACCOUNT,
                "VpcId": self.vpc(),
                "IpPermissions": ports,
                "IpPermissionsEgress": out,
            })
        };
        let port = |port: u16, pairs: Value, ranges: Value| {
            json!({
                "IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": pairs,
                "IpRanges": ranges, "Ipv6Ranges": [], "PrefixListIds": [],
            })
        };
        let (own, name) = self.balancer_group();
        let open = json!([port(80, json!([]), world.clone()), port(443, json!([]), world.clone())]);
        let wall = self.wall();
        let checks =
            self.fleet.groups.iter().map(|g| port(g.health_check_port, json!([]), world.clone()));
        let out = match wall {
            Some(Wall::Egress) => json!(checks.collect::<Vec<_>>()),
            _ => everywhere.clone(),
        };
        let about = format!("Load balancer of {}", self.fleet.lb);
        let mut groups = vec![shown(&own, &name, about, open, &out)];
        let mut seen = Vec::new();
        for target in &self.fleet.targets {
            let (id, name) = self.target_group(target);
            if seen.contains(&id) {
                continue;
            }
            let group = &self.fleet.groups[target.group];
            let mut ports = vec![group.health_check_port];
            if !target.firewalled && !self.options.close_port && group.port != ports[0] {
                ports.push(group.port);
            }
            if self.options.close_port && group.port == group.health_check_port {
                ports.clear();
            }
            let from = json!([{"UserId": ACCOUNT, "GroupId": own}]);
            let first_zone = json!([{"CidrIp": self.range(true, 0)}]);
            let rule = |number: u16| match wall {
                Some(Wall::OneZone) if number == group.port => {
                    port(number, json!([]), first_zone.clone())
                }
                _ => port(number, from.clone(), json!([])),
            };
            let open: Vec<Value> = ports.into_iter().map(rule).collect();
            let about = format!("Instances of {name}");
            groups.push(shown(&id, &name, about, json!(open), &everywhere));
            seen.push(id);
        }
        json!({"SecurityGroups": groups})
    }

    /// The addresses of a subnet.
    fn range(&self, public: bool, n: usize) -> String {
        let digit = if public { "1" } else { "" };
        format!("10.{}.{digit}{}.0/24", self.fleet.network(), ZONES[n].1)
    }

    pub(super) fn subnets(&self) -> Value {
        let all: Vec<Value> = [true, false]
            .into_iter()
            .flat_map(|public| (0..ZONES.len()).map(move |n| (public, n)))
            .map(|(public, n)| {
                json!({
                    "AvailabilityZone": zone(n),
                    "AvailableIpAddressCount": 237,
                    "CidrBlock": self.range(public, n),
                    "State": "available",
                    "SubnetId": self.subnet(public, n),
                    "VpcId": self.vpc(),
                    "OwnerId": ACCOUNT,
                })
            })
            .collect();
        json!({"Subnets": all})
    }

    pub(super) fn network_acls(&self) -> Value {
        let acl = id("acl", self.fleet.lb);
        let entry = |egress: bool, action: &str, number: u16| {
            json!({
                "CidrBlock": "0.0.0.0/0", "Egress": egress, "Protocol": "-1", "RuleAction": action,
                "RuleNumber": number,
            })
        };
        let entries: Vec<Value> = [true, false]
            .into_iter()
            .flat_map(|egress| [entry(egress, "allow", 100), entry(egress, "deny", 32767)])
            .collect();
        let association = |(public, n): (bool, usize), acl: &str| {
            let subnet = self.subnet(public, n);
            let association = id("aclassoc", &subnet);
            json!({"NetworkAclAssociationId": association, "NetworkAclId": acl, "SubnetId": subnet})
        };
        // The subnet whose rules were changed has an ACL of its own.
        let closed = (self.wall() == Some(Wall::Acl)).then_some((false, 1));
        let subnets =
            [true, false].into_iter().flat_map(|public| (0..ZONES.len()).map(move |n| (public, n)));
        let usual: Vec<Value> = (subnets.filter(|subnet| Some(*subnet) != closed))
            .map(|subnet| association(subnet, &acl))
            .collect();
        let mut acls = vec![json!({
            "NetworkAclId": acl,
            "Associations": usual,
            "Entries": entries,
            "IsDefault": true,
            "VpcId": self.vpc(),
            "OwnerId": ACCOUNT,
        })];
        if let Some(subnet) = closed {
            let acl = id("acl", &format!("{} closed", self.fleet.lb));
            let denied = self.fleet.groups.iter().enumerate().map(|(n, group)| {
                json!({
                    "CidrBlock": "0.0.0.0/0", "Egress": false, "Protocol": "6", "RuleAction": "deny",
                    "RuleNumber": 50 + n, "PortRange": {"From": group.port, "To": group.port},
                })
            });
            acls.push(json!({
                "NetworkAclId": acl,
                "Associations": [association(subnet, &acl)],
                "Entries": denied.chain(entries.iter().cloned()).collect::<Vec<_>>(),
                "IsDefault": false,
                "VpcId": self.vpc(),
                "OwnerId": ACCOUNT,
            }));
        }
        json!({"NetworkAcls": acls})
    }
}
