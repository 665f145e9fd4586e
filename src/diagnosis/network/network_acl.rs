//! Network ACLs: stateless, so each connection needs four of their decisions.
//!
//! Out of the load balancer's subnet to the port, into the target's subnet, and back out and in again to
//! the ports 1024 to 65535 that the load balancer connects from. Within one subnet no ACL acts. The
//! entry with the lowest number that matches decides; without a match the packet is dropped.
//!
//! Source: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{
    Allowance, MissingEntry, Obstacle, Placement, Verdict, blocks, listed, load_balancer_subnets,
};
use crate::diagnosis::{
    Facts, Gap,
    facts::{Fact, NetworkAcl, NetworkAclEntry},
};

/// The ports that the load balancer connects from.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>
const RETURN_PORTS: (u16, u16) = (1024, u16::MAX);

/// What an ACL does with a region of addresses and ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Allowed,
    /// Some of it is dropped, first by this rule.
    Partial(u32),
    /// All of it is dropped, first by this rule.
    Dropped(u32),
}

/// The number of the rule that drops what nothing matched.
const LAST_RULE: u32 = 32767;

/// Addresses and ports, both ends included.
#[derive(Debug, Clone, Copy)]
struct Region {
    net: IpNet,
    ports: (u16, u16),
}

/// One of the four decisions.
struct Leg<'a> {
    acl: &'a NetworkAcl,
    egress: bool,
    region: Region,
    subnet: &'a str,
}

/// Do the ACLs let requests to this port and their answers through?
pub(super) fn judge(facts: &Facts, target: &Placement, port: u16) -> Verdict {
    let acls = match &facts.network_acls {
        Fact::Known(acls) => acls,
        Fact::Unknown(gap) => return Verdict::Unknown(gap.clone()),
    };
    let subnets = match load_balancer_subnets(facts) {
        Ok(subnets) => subnets,
        Err(gap) => return Verdict::Unknown(gap),
    };
    let Some(target_subnet) = target.subnet.as_deref() else {
        return Verdict::Unknown(Gap {
            fact: format!("subnet of {}", target.address),
            reason: "its network interface names none".to_owned(),
            permission: Some("ec2:DescribeNetworkInterfaces".to_owned()),
        });
    };
    let ipv6 = target.address.is_ipv6();
    let host = IpNet::from(target.address);

    let mut dropped: Vec<Obstacle> = Vec::new();
    let mut partial: Vec<Obstacle> = Vec::new();
    let mut doubt: Option<Gap> = None;
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut ways = 0_usize;
    for subnet in subnets {
        let own = subnet.subnet_id.as_str();
        if own == target_subnet {
            ways += 1;
            continue;
        }
        for block in blocks(subnet, ipv6) {
            ways += 1;
            let mut worst = Decision::Allowed;
            let mut obstacle = None;
            let mut missing = None;
            for (at, egress, region) in [
                (own, true, Region { net: host, ports: (port, port) }),
                (target_subnet, false, Region { net: block, ports: (port, port) }),
                (target_subnet, true, Region { net: block, ports: RETURN_PORTS }),
                (own, false, Region { net: host, ports: RETURN_PORTS }),
            ] {
                match acl_of(acls, at) {
                    Err(gap) => missing = Some(gap),
                    Ok(acl) => {
                        used.insert(&acl.network_acl_id);
                        let leg = Leg { acl, egress, region, subnet: at };
                        let decision = decide(acl, egress, region);
                        if weight(worst) < weight(decision) {
                            worst = decision;
                            obstacle = Some(leg.obstacle(decision));
                        }
                    }
                }
            }
            match (worst, obstacle, missing) {
                (Decision::Dropped(_), Some(obstacle), _) => dropped.push(obstacle),
                (_, _, Some(gap)) => {
                    doubt.get_or_insert(gap);
                }
                (Decision::Partial(_), Some(obstacle), None) => partial.push(obstacle),
                _ => {}
            }
        }
    }
    if ways == 0 {
        return Verdict::Unknown(Gap {
            fact: format!(
                "{} blocks of the load balancer's subnets",
                if ipv6 { "IPv6" } else { "IPv4" }
            ),
            reason: "their descriptions name none".to_owned(),
            permission: None,
        });
    }
    let some = dropped.len() < ways;
    match (dropped.into_iter().next(), partial.into_iter().next(), doubt) {
        (Some(obstacle), ..) if !some => Verdict::Blocked(obstacle),
        (Some(obstacle), ..) | (None, Some(obstacle), _) => Verdict::Partial(obstacle),
        (None, None, Some(gap)) => Verdict::Unknown(gap),
        (None, None, None) => {
            let used: Vec<&str> = used.into_iter().collect();
            Verdict::Allowed(Allowance {
                rule: if used.is_empty() {
                    format!("the load balancer and the target share subnet {target_subnet}")
                } else {
                    format!(
                        "{} {} tcp {port} and the return ports through",
                        listed(&used, 4),
                        if used.len() == 1 { "lets" } else { "let" }
                    )
                },
                by_reference: false,
            })
        }
    }
}

fn weight(decision: Decision) -> u8 {
    match decision {
        Decision::Allowed => 0,
        Decision::Partial(_) => 1,
        Decision::Dropped(_) => 2,
    }
}

fn acl_of<'a>(acls: &'a [NetworkAcl], subnet: &str) -> Result<&'a NetworkAcl, Gap> {
    acls.iter()
        .find(|acl| acl.associations.iter().any(|association| association.subnet_id == subnet))
        .ok_or_else(|| Gap {
            fact: format!("network ACL of {subnet}"),
            reason: "not among the network ACLs that were read".to_owned(),
            permission: Some("ec2:DescribeNetworkAcls".to_owned()),
        })
}

impl Leg<'_> {
    fn obstacle(&self, decision: Decision) -> Obstacle {
        let (rule, extent) = match decision {
            Decision::Dropped(rule) => (rule, "drops"),
            Decision::Partial(rule) => (rule, "drops a part of"),
            Decision::Allowed => (LAST_RULE, "lets through"),
        };
        let ports = if self.region.ports.0 == self.region.ports.1 {
            format!("tcp {}", self.region.ports.0)
        } else {
            format!("tcp {}-{}", self.region.ports.0, self.region.ports.1)
        };
        let by =
            if rule == LAST_RULE { "no rule allows it".to_owned() } else { format!("rule {rule}") };
        Obstacle {
            why: format!(
                "{} of {} {extent} {ports} {} {} ({by})",
                self.acl.network_acl_id,
                self.subnet,
                if self.egress { "out to" } else { "in from" },
                self.region.net,
            ),
            missing_entry: Some(MissingEntry {
                network_acl_id: self.acl.network_acl_id.clone(),
                rule_number: free_number(self.acl, self.egress, rule),
                egress: self.egress,
                network: self.region.net,
                ports: self.region.ports,
            }),
        }
    }
}

/// The highest free number in front of a rule: it overrules that one and as little else as possible.
fn free_number(acl: &NetworkAcl, egress: bool, before: u32) -> Option<u32> {
    let taken: BTreeSet<u32> = acl
        .entries
        .iter()
        .filter(|entry| entry.egress == egress)
        .map(|entry| entry.rule_number)
        .collect();
    // Numbers from 32767 on are not for users.
    (1..before.min(LAST_RULE)).rev().find(|number| !taken.contains(number))
}

/// Walks the entries in the order of their numbers; what an entry matches is decided by it.
fn decide(acl: &NetworkAcl, egress: bool, region: Region) -> Decision {
    let mut entries: Vec<&NetworkAclEntry> = acl
        .entries
        .iter()
        .filter(|entry| entry.egress == egress && matches!(entry.protocol.as_str(), "6" | "-1"))
        .collect();
    entries.sort_by_key(|entry| entry.rule_number);

    let mut open = vec![region];
    let mut allowed = false;
    let mut dropped_by: Option<u32> = None;
    for entry in entries {
        let Some(net) = entry
            .cidr_block
            .as_deref()
            .or(entry.ipv6_cidr_block.as_deref())
            .and_then(|text| text.parse::<IpNet>().ok())
        else {
            continue;
        };
        let ports = match &entry.port_range {
            Some(range) if entry.protocol == "6" => (range.from, range.to),
            _ => (0, i32::from(u16::MAX)),
        };
        let mut rest = Vec::new();
        for region in open {
            match cut(region, net.trunc(), ports) {
                None => rest.push(region),
                Some(mut outside) => {
                    rest.append(&mut outside);
                    if entry.rule_action == "allow" {
                        allowed = true;
                    } else {
                        dropped_by.get_or_insert(entry.rule_number);
                    }
                }
            }
        }
        open = rest;
    }
    if !open.is_empty() {
        dropped_by.get_or_insert(LAST_RULE);
    }
    match (allowed, dropped_by) {
        (_, None) => Decision::Allowed,
        (true, Some(rule)) => Decision::Partial(rule),
        (false, Some(rule)) => Decision::Dropped(rule),
    }
}

/// What of a region lies outside an entry; `None` when they do not meet.
fn cut(region: Region, net: IpNet, ports: (i32, i32)) -> Option<Vec<Region>> {
    let inner = if net.contains(&region.net) {
        region.net
    } else if region.net.contains(&net) {
        net
    } else {
        return None;
    };
    let from = u16::try_from(ports.0.max(i32::from(region.ports.0))).ok()?;
    let to = u16::try_from(ports.1.min(i32::from(region.ports.1))).ok()?;
    if to < from {
        return None;
    }
    let mut outside: Vec<Region> =
        without(region.net, inner).into_iter().map(|net| Region { net, ..region }).collect();
    if region.ports.0 < from {
        outside.push(Region { net: inner, ports: (region.ports.0, from - 1) });
    }
    if to < region.ports.1 {
        outside.push(Region { net: inner, ports: (to + 1, region.ports.1) });
    }
    Some(outside)
}

/// A block without a block inside it, as blocks.
fn without(outer: IpNet, inner: IpNet) -> Vec<IpNet> {
    let mut rest = Vec::new();
    let mut current = outer;
    while current.prefix_len() < inner.prefix_len() {
        let Ok(halves) = current.subnets(current.prefix_len() + 1) else {
            break;
        };
        for half in halves {
            if half.contains(&inner) {
                current = half;
            } else {
                rest.push(half);
            }
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    fn acl(entries: &Value) -> NetworkAcl {
        serde_json::from_value(json!({"NetworkAclId": "acl-0a", "Entries": entries})).unwrap()
    }

    fn entry(number: u32, action: &str, cidr: &str, ports: Option<(i32, i32)>) -> Value {
        let mut entry = json!({"RuleNumber": number, "RuleAction": action, "Egress": false,
            "Protocol": if ports.is_some() { "6" } else { "-1" }});
        entry[if cidr.contains(':') { "Ipv6CidrBlock" } else { "CidrBlock" }] = json!(cidr);
        if let Some((from, to)) = ports {
            entry["PortRange"] = json!({"From": from, "To": to});
        }
        entry
    }

    #[test]
    fn decision_table() {
        let all = "0.0.0.0/0";
        for (name, entries, net, ports, expected) in [
            ("empty", json!([]), "10.0.1.0/24", (80, 80), Decision::Dropped(LAST_RULE)),
            (
                "all",
                json!([entry(100, "allow", all, None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Allowed,
            ),
            (
                "deny in front",
                json!([entry(100, "allow", all, None), entry(90, "deny", all, None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Dropped(90),
            ),
            (
                "deny behind",
                json!([entry(100, "allow", all, None), entry(110, "deny", all, None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Allowed,
            ),
            (
                "deny for another port",
                json!([entry(90, "deny", all, Some((81, 90))), entry(100, "allow", all, None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Allowed,
            ),
            (
                "deny for one address of the block",
                json!([entry(90, "deny", "10.0.1.7/32", None), entry(100, "allow", all, None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Partial(90),
            ),
            (
                "allowed in two halves",
                json!([
                    entry(90, "allow", "10.0.1.0/25", None),
                    entry(95, "allow", "10.0.1.128/25", None)
                ]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Allowed,
            ),
            (
                "allowed in one half",
                json!([entry(90, "allow", "10.0.1.0/25", None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Partial(LAST_RULE),
            ),
            (
                "return ports of Linux only",
                json!([entry(100, "allow", all, Some((32768, 60999)))]),
                "10.0.1.0/24",
                (1024, 65535),
                Decision::Partial(LAST_RULE),
            ),
            (
                "all return ports",
                json!([entry(100, "allow", all, Some((1024, 65535)))]),
                "10.0.1.0/24",
                (1024, 65535),
                Decision::Allowed,
            ),
            (
                "all return ports in two rules",
                json!([
                    entry(100, "allow", all, Some((1024, 32767))),
                    entry(110, "allow", all, Some((32768, 65535)))
                ]),
                "10.0.1.0/24",
                (1024, 65535),
                Decision::Allowed,
            ),
            (
                "IPv6 is another matter",
                json!([entry(100, "allow", "::/0", None)]),
                "10.0.1.0/24",
                (80, 80),
                Decision::Dropped(LAST_RULE),
            ),
            (
                "IPv6",
                json!([entry(90, "deny", all, None), entry(100, "allow", "::/0", None)]),
                "2001:db8::/64",
                (80, 80),
                Decision::Allowed,
            ),
        ] {
            let region = Region { net: net.parse().unwrap(), ports };
            assert_eq!(decide(&acl(&entries), false, region), expected, "{name}");
        }
    }

    #[test]
    fn udp_entries_and_the_other_direction_do_not_count() {
        let mut udp = entry(90, "deny", "0.0.0.0/0", Some((1, 65535)));
        udp["Protocol"] = json!("17");
        let mut out = entry(95, "deny", "0.0.0.0/0", None);
        out["Egress"] = json!(true);
        let acl = acl(&json!([udp, out, entry(100, "allow", "0.0.0.0/0", None)]));
        let region = Region { net: "10.0.1.0/24".parse().unwrap(), ports: (80, 80) };
        assert_eq!(decide(&acl, false, region), Decision::Allowed);
    }

    #[test]
    fn without_leaves_the_rest() {
        let rest = without("10.0.0.0/30".parse().unwrap(), "10.0.0.1/32".parse().unwrap());
        let texts: Vec<String> = rest.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.2/31", "10.0.0.0/32"]);
    }

    fn placed(subnet: &str, address: &str) -> Placement {
        Placement {
            address: address.parse().unwrap(),
            subnet: Some(subnet.to_owned()),
            groups: Vec::new(),
        }
    }

    fn with_own_acl(subnet: &str, entries: &Value) -> SampleCase {
        let mut sample = SampleCase::healthy();
        let Fact::Known(acls) = &mut sample.facts.network_acls else {
            panic!("the sample knows its network ACLs");
        };
        for acl in acls.iter_mut() {
            acl.associations.retain(|one| one.subnet_id != subnet);
        }
        acls.push(
            serde_json::from_value(json!({"NetworkAclId": "acl-0own",
                "Associations": [{"SubnetId": subnet}], "Entries": entries}))
            .unwrap(),
        );
        sample
    }

    fn both(mut entry: Value) -> [Value; 2] {
        let inbound = entry.clone();
        entry["Egress"] = json!(true);
        [inbound, entry]
    }

    #[test]
    fn the_target_subnet_without_the_port_is_blocked() {
        let [inbound, outbound] = both(entry(100, "allow", "0.0.0.0/0", Some((80, 80))));
        let back = both(entry(110, "allow", "0.0.0.0/0", Some((1024, 65535))))[1].clone();
        let sample = with_own_acl("subnet-0c", &json!([inbound, outbound, back]));
        let verdict = judge(&sample.facts, &placed("subnet-0c", "10.0.11.5"), 8080);
        let obstacle = verdict.obstacle().unwrap();
        assert!(verdict.is_blocked(), "{verdict:?}");
        assert_eq!(
            obstacle.why,
            "acl-0own of subnet-0c drops tcp 8080 in from 10.0.1.0/24 (no rule allows it)"
        );
        assert_eq!(obstacle.missing_entry.as_ref().unwrap().rule_number, Some(32766));
        assert!(judge(&sample.facts, &placed("subnet-0d", "10.0.12.5"), 8080).is_allowed());
    }

    #[test]
    fn the_way_back_counts() {
        let inbound = both(entry(100, "allow", "0.0.0.0/0", None))[0].clone();
        let sample = with_own_acl("subnet-0c", &json!([inbound]));
        let verdict = judge(&sample.facts, &placed("subnet-0c", "10.0.11.5"), 8080);
        assert!(verdict.is_blocked());
        assert!(verdict.obstacle().unwrap().why.contains("tcp 1024-65535 out to"));
    }

    #[test]
    fn one_load_balancer_subnet_of_two_is_partial() {
        let sample = with_own_acl("subnet-0a", &json!([]));
        let verdict = judge(&sample.facts, &placed("subnet-0c", "10.0.11.5"), 8080);
        assert!(matches!(verdict, Verdict::Partial(_)), "{verdict:?}");
    }

    #[test]
    fn within_one_subnet_no_acl_acts() {
        let sample = with_own_acl("subnet-0a", &json!([]));
        let verdict = judge(&sample.facts, &placed("subnet-0a", "10.0.1.50"), 8080);
        // From subnet-0b the ACL of subnet-0a still acts.
        assert!(matches!(verdict, Verdict::Partial(_)), "{verdict:?}");
    }

    #[test]
    fn a_subnet_without_known_acl_is_unknown() {
        let mut sample = SampleCase::healthy();
        let Fact::Known(acls) = &mut sample.facts.network_acls else {
            panic!("the sample knows its network ACLs");
        };
        acls[0].associations.retain(|one| one.subnet_id != "subnet-0b");
        let verdict = judge(&sample.facts, &placed("subnet-0c", "10.0.11.5"), 8080);
        assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
    }
}
