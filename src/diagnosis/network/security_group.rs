//! Security groups: rules are ORed, there are no deny rules, and an empty list lets nothing through.
//!
//! A rule counts when its protocol is tcp or all, its port range holds the port, and its other side is a
//! security group that the other end carries, or addresses that hold the other end. Load-balancer nodes
//! change address, so a range must hold whole subnets of the load balancer.
//!
//! Sources: <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>,
//! <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html>.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Allowance, Endpoint, Obstacle, Placement, Verdict, listed, load_balancer_blocks};
use crate::diagnosis::{
    Facts, Gap,
    facts::{Fact, IpPermission, SecurityGroup, UserIdGroupPair},
};

/// Which list of a security group is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// The end that the rules must name.
struct OtherEnd {
    /// The security groups that it carries.
    groups: Result<Vec<String>, Gap>,
    /// The blocks that it stands in, with a name for each.
    blocks: Result<Vec<(String, IpNet)>, Gap>,
    ipv6: bool,
}

/// May the load balancer's nodes enter this port of the target?
pub(super) fn ingress(facts: &Facts, target: &Placement, port: u16) -> Verdict {
    let ipv6 = target.address.is_ipv6();
    judge(
        facts,
        &target.groups,
        Direction::In,
        port,
        &OtherEnd {
            groups: load_balancer_groups(facts),
            blocks: load_balancer_blocks(facts, ipv6),
            ipv6,
        },
    )
}

/// May the load balancer send to this port of the target?
pub(super) fn egress(facts: &Facts, target: &Endpoint, port: u16) -> Verdict {
    let own = match load_balancer_groups(facts) {
        Ok(own) => own,
        Err(gap) => return Verdict::Unknown(gap),
    };
    let blocks = match target.address {
        Some(address) => Ok(vec![(address.to_string(), IpNet::from(address))]),
        None => Err(match &target.placement {
            Err(gap) => gap.clone(),
            Ok(_) => Gap {
                fact: format!("address of {}", target.id),
                reason: "not in what was read".to_owned(),
                permission: None,
            },
        }),
    };
    judge(
        facts,
        &own,
        Direction::Out,
        port,
        &OtherEnd {
            groups: match &target.placement {
                Ok(placement) => Ok(placement.groups.clone()),
                Err(gap) => Err(gap.clone()),
            },
            blocks,
            ipv6: target.address.is_some_and(|address| address.is_ipv6()),
        },
    )
}

/// The security groups of the load balancer.
fn load_balancer_groups(facts: &Facts) -> Result<Vec<String>, Gap> {
    match &facts.load_balancer {
        Fact::Unknown(gap) => Err(gap.clone()),
        Fact::Known(load_balancer) if load_balancer.security_groups.is_empty() => Err(Gap {
            fact: "security groups of the load balancer".to_owned(),
            reason: "its description names none".to_owned(),
            permission: Some("elasticloadbalancing:DescribeLoadBalancers".to_owned()),
        }),
        Fact::Known(load_balancer) => Ok(load_balancer.security_groups.clone()),
    }
}

fn judge(
    facts: &Facts,
    own: &[String],
    direction: Direction,
    port: u16,
    other: &OtherEnd,
) -> Verdict {
    let all = match &facts.security_groups {
        Fact::Known(all) => all,
        Fact::Unknown(gap) => return Verdict::Unknown(gap.clone()),
    };
    // Why the answer would not be "blocked": something that might hold the missing rule.
    let mut doubt: Option<Gap> = None;
    let mut groups: Vec<&SecurityGroup> = Vec::new();
    for id in own {
        match all.get(id) {
            Some(group) => groups.push(group),
            None => {
                doubt.get_or_insert_with(|| Gap {
                    fact: format!("security group {id}"),
                    reason: "not among the security groups that were read".to_owned(),
                    permission: Some("ec2:DescribeSecurityGroups".to_owned()),
                });
            }
        }
    }
    if own.is_empty() {
        doubt.get_or_insert_with(|| Gap {
            fact: "security groups of the target".to_owned(),
            reason: "its network interface names none".to_owned(),
            permission: None,
        });
    }

    let mut stale: Vec<String> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    let mut ranges: Vec<(IpNet, String, String)> = Vec::new();
    for group in &groups {
        for permission in
            permissions(group, direction).iter().filter(|permission| covers(permission, port))
        {
            for pair in &permission.user_id_group_pairs {
                let id = pair.group_id.as_deref().unwrap_or_default();
                match &other.groups {
                    Ok(ids) if ids.iter().any(|one| one == id) => {
                        if is_live(pair) {
                            return Verdict::Allowed(Allowance {
                                rule: sentence(&group.group_id, port, id),
                                by_reference: true,
                            });
                        }
                        stale.push(id.to_owned());
                    }
                    Ok(_) => others.push(id.to_owned()),
                    Err(gap) => {
                        doubt.get_or_insert_with(|| gap.clone());
                    }
                }
            }
            collect_ranges(facts, group, permission, &mut ranges, &mut doubt);
        }
    }
    ranges.retain(|(net, ..)| matches!(net, IpNet::V6(_)) == other.ipv6);

    match &other.blocks {
        Err(gap) => {
            if let Some((_, name, group)) = ranges.iter().find(|(net, ..)| net.prefix_len() == 0) {
                return Verdict::Allowed(Allowance {
                    rule: sentence(group, port, name),
                    by_reference: false,
                });
            }
            if !ranges.is_empty() {
                doubt.get_or_insert_with(|| gap.clone());
            }
        }
        Ok(blocks) => {
            if let Some((_, name, group)) =
                ranges.iter().find(|(net, ..)| blocks.iter().all(|(_, block)| net.contains(block)))
            {
                return Verdict::Allowed(Allowance {
                    rule: sentence(group, port, name),
                    by_reference: false,
                });
            }
            let union = union(ranges.iter().map(|(net, ..)| *net));
            let missing: Vec<&(String, IpNet)> = blocks
                .iter()
                .filter(|(_, block)| !union.iter().any(|net| net.contains(block)))
                .collect();
            if missing.is_empty() {
                let names: Vec<&str> = ranges.iter().map(|(_, name, _)| name.as_str()).collect();
                return Verdict::Allowed(Allowance {
                    rule: sentence(&listed(own, 3), port, &listed(&names, 3)),
                    by_reference: false,
                });
            }
            let touched = missing.len() < blocks.len()
                || missing.iter().any(|(_, block)| union.iter().any(|net| block.contains(net)));
            if touched && doubt.is_none() {
                let names: Vec<String> =
                    missing.iter().map(|(name, block)| format!("{name} ({block})")).collect();
                return Verdict::Partial(Obstacle {
                    why: format!(
                        "{} lets tcp {port} in only from a part of the load balancer's subnets, not \
                         from the whole of {}",
                        listed(own, 3),
                        listed(&names, 3)
                    ),
                    missing_entry: None,
                });
            }
        }
    }
    if let Some(gap) = doubt {
        return Verdict::Unknown(gap);
    }
    Verdict::Blocked(Obstacle {
        why: why_blocked(&groups, direction, port, other, &stale, &others, &ranges),
        missing_entry: None,
    })
}

fn why_blocked(
    groups: &[&SecurityGroup],
    direction: Direction,
    port: u16,
    other: &OtherEnd,
    stale: &[String],
    others: &[String],
    ranges: &[(IpNet, String, String)],
) -> String {
    let own: Vec<&str> = groups.iter().map(|group| group.group_id.as_str()).collect();
    let far = match (&other.groups, &other.blocks) {
        (Ok(ids), _) if !ids.is_empty() => listed(ids, 3),
        (_, Ok(blocks)) => {
            let names: Vec<&str> = blocks.iter().map(|(name, _)| name.as_str()).collect();
            listed(&names, 3)
        }
        _ => "the other end".to_owned(),
    };
    let way = match direction {
        Direction::In => format!("lets tcp {port} in from {far}"),
        Direction::Out => format!("lets tcp {port} out to {far}"),
    };
    let mut named: Vec<String> = others.to_vec();
    named.extend(ranges.iter().map(|(_, name, _)| name.clone()));
    let detail = if !stale.is_empty() {
        format!("its reference to {} is stale: the VPC peering is not active", listed(stale, 3))
    } else if !named.is_empty() {
        format!("tcp {port} is open only for {}", listed(&named, 3))
    } else {
        let open: Vec<String> =
            groups.iter().flat_map(|group| permissions(group, direction)).map(ports_of).collect();
        if open.is_empty() {
            "it has no rule at all".to_owned()
        } else {
            format!("it opens {}", listed(&open, 4))
        }
    };
    format!("no rule of {} {way} ({detail})", listed(&own, 3))
}

fn ports_of(permission: &IpPermission) -> String {
    let protocol = match permission.ip_protocol.as_str() {
        "6" => "tcp",
        "-1" => "everything",
        other => other,
    };
    match (permission.from_port, permission.to_port) {
        (Some(from), Some(to)) if from == to => format!("{protocol} {from}"),
        (Some(from), Some(to)) => format!("{protocol} {from}-{to}"),
        _ => protocol.to_owned(),
    }
}

fn permissions(group: &SecurityGroup, direction: Direction) -> &[IpPermission] {
    match direction {
        Direction::In => &group.ip_permissions,
        Direction::Out => &group.ip_permissions_egress,
    }
}

/// True when the rule is about TCP and this port. `-1` is every protocol and port.
fn covers(permission: &IpPermission, port: u16) -> bool {
    match permission.ip_protocol.as_str() {
        "-1" => true,
        "tcp" | "6" => {
            permission.from_port.unwrap_or(0) <= i32::from(port)
                && i32::from(port) <= permission.to_port.unwrap_or(i32::from(u16::MAX))
        }
        _ => false,
    }
}

/// A reference within the VPC always counts; across a peering only while that is active. A reference
/// to a deleted group or peering stays in the list and means nothing.
fn is_live(pair: &UserIdGroupPair) -> bool {
    pair.vpc_peering_connection_id.is_none() || pair.peering_status.as_deref() == Some("active")
}

fn collect_ranges(
    facts: &Facts,
    group: &SecurityGroup,
    permission: &IpPermission,
    ranges: &mut Vec<(IpNet, String, String)>,
    doubt: &mut Option<Gap>,
) {
    let mut add = |text: &str, name: &str, doubt: &mut Option<Gap>| match text.parse::<IpNet>() {
        Ok(net) => ranges.push((net.trunc(), name.to_owned(), group.group_id.clone())),
        Err(_) => {
            doubt.get_or_insert_with(|| Gap {
                fact: format!("an address range of {}", group.group_id),
                reason: "it is not written as a CIDR block".to_owned(),
                permission: None,
            });
        }
    };
    for range in &permission.ip_ranges {
        add(&range.cidr_ip, &range.cidr_ip, doubt);
    }
    for range in &permission.ipv6_ranges {
        add(&range.cidr_ipv6, &range.cidr_ipv6, doubt);
    }
    for list in &permission.prefix_list_ids {
        match facts.prefix_lists.get(&list.prefix_list_id) {
            Some(entries) => {
                for entry in entries {
                    add(entry, &list.prefix_list_id, doubt);
                }
            }
            None => {
                doubt.get_or_insert_with(|| Gap {
                    fact: format!("entries of prefix list {}", list.prefix_list_id),
                    reason: "the list could not be expanded".to_owned(),
                    permission: Some("ec2:GetManagedPrefixListEntries".to_owned()),
                });
            }
        }
    }
}

/// The same addresses in the fewest blocks: two halves make a whole.
fn union(nets: impl Iterator<Item = IpNet>) -> Vec<IpNet> {
    let (mut v4, mut v6): (Vec<Ipv4Net>, Vec<Ipv6Net>) = (Vec::new(), Vec::new());
    for net in nets {
        match net {
            IpNet::V4(net) => v4.push(net),
            IpNet::V6(net) => v6.push(net),
        }
    }
    Ipv4Net::aggregate(&v4)
        .into_iter()
        .map(IpNet::V4)
        .chain(Ipv6Net::aggregate(&v6).into_iter().map(IpNet::V6))
        .collect()
}

fn sentence(group: &str, port: u16, other: &str) -> String {
    format!("{group} opens tcp {port} to {other}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[derive(Debug, PartialEq, Eq)]
    enum Short {
        Reference,
        Range,
        Partial,
        Blocked,
        Unknown,
    }

    fn short(verdict: &Verdict) -> Short {
        match verdict {
            Verdict::Allowed(Allowance { by_reference, .. }) if *by_reference => Short::Reference,
            Verdict::Allowed(_) => Short::Range,
            Verdict::Partial(_) => Short::Partial,
            Verdict::Blocked(_) => Short::Blocked,
            Verdict::Unknown(_) => Short::Unknown,
        }
    }

    fn placed(address: &str, groups: &[&str]) -> Placement {
        Placement {
            address: address.parse().unwrap(),
            subnet: None,
            groups: groups.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    fn with_ingress(rules: Value) -> SampleCase {
        let mut sample = SampleCase::healthy();
        sample.group("sg-0web").ip_permissions = serde_json::from_value(rules).unwrap();
        sample
    }

    /// The load balancer stands in 10.0.1.0/24 and 10.0.2.0/24 and carries sg-0alb.
    #[test]
    fn ingress_table() {
        let tcp = |from: i32, to: i32, extra: Value| {
            let mut rule = json!({"IpProtocol": "tcp", "FromPort": from, "ToPort": to});
            for (name, value) in extra.as_object().unwrap() {
                rule[name] = value.clone();
            }
            rule
        };
        let alb = json!({"UserIdGroupPairs": [{"GroupId": "sg-0alb"}]});
        let range = |cidr: &str| json!({"IpRanges": [{"CidrIp": cidr}]});
        for (name, rules, expected) in [
            ("reference", json!([tcp(8080, 8080, alb.clone())]), Short::Reference),
            ("reference, range of ports", json!([tcp(8000, 9000, alb.clone())]), Short::Reference),
            ("first port of the range", json!([tcp(8080, 9000, alb.clone())]), Short::Reference),
            ("last port of the range", json!([tcp(80, 8080, alb.clone())]), Short::Reference),
            ("one below the range", json!([tcp(8081, 9000, alb.clone())]), Short::Blocked),
            ("one above the range", json!([tcp(80, 8079, alb.clone())]), Short::Blocked),
            ("no rule", json!([]), Short::Blocked),
            (
                "all protocols",
                json!([{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-0alb"}]}]),
                Short::Reference,
            ),
            (
                "protocol by number",
                json!([{"IpProtocol": "6", "FromPort": 8080, "ToPort": 8080,
                        "UserIdGroupPairs": [{"GroupId": "sg-0alb"}]}]),
                Short::Reference,
            ),
            (
                "udp is another matter",
                json!([{"IpProtocol": "udp", "FromPort": 8080, "ToPort": 8080,
                        "UserIdGroupPairs": [{"GroupId": "sg-0alb"}]}]),
                Short::Blocked,
            ),
            (
                "another group",
                json!([tcp(8080, 8080, json!({"UserIdGroupPairs": [{"GroupId": "sg-0old"}]}))]),
                Short::Blocked,
            ),
            (
                "peered and active",
                json!([tcp(
                    8080,
                    8080,
                    json!({"UserIdGroupPairs": [{"GroupId": "sg-0alb",
                    "VpcPeeringConnectionId": "pcx-0a", "PeeringStatus": "active"}]})
                )]),
                Short::Reference,
            ),
            (
                "peered and deleted",
                json!([tcp(
                    8080,
                    8080,
                    json!({"UserIdGroupPairs": [{"GroupId": "sg-0alb",
                    "VpcPeeringConnectionId": "pcx-0a", "PeeringStatus": "deleted"}]})
                )]),
                Short::Blocked,
            ),
            ("everywhere", json!([tcp(8080, 8080, range("0.0.0.0/0"))]), Short::Range),
            ("both subnets in one", json!([tcp(8080, 8080, range("10.0.0.0/16"))]), Short::Range),
            ("one subnet of two", json!([tcp(8080, 8080, range("10.0.1.0/24"))]), Short::Partial),
            ("half a subnet", json!([tcp(8080, 8080, range("10.0.1.0/25"))]), Short::Partial),
            ("one node", json!([tcp(8080, 8080, range("10.0.1.17/32"))]), Short::Partial),
            ("another network", json!([tcp(8080, 8080, range("10.1.0.0/16"))]), Short::Blocked),
            (
                "both subnets in two rules",
                json!([
                    tcp(8080, 8080, range("10.0.1.0/24")),
                    tcp(8080, 8080, range("10.0.2.0/24"))
                ]),
                Short::Range,
            ),
            (
                "a subnet in two halves",
                json!([
                    tcp(8080, 8080, range("10.0.1.0/25")),
                    tcp(8080, 8080, range("10.0.1.128/25")),
                    tcp(8080, 8080, range("10.0.2.0/24"))
                ]),
                Short::Range,
            ),
            (
                "the other subnet on another port",
                json!([tcp(8080, 8080, range("10.0.1.0/24")), tcp(80, 80, range("10.0.2.0/24"))]),
                Short::Partial,
            ),
            (
                "IPv6 everywhere does not help IPv4",
                json!([tcp(8080, 8080, json!({"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}))]),
                Short::Blocked,
            ),
            (
                "prefix list that is known",
                json!([tcp(8080, 8080, json!({"PrefixListIds": [{"PrefixListId": "pl-0known"}]}))]),
                Short::Range,
            ),
            (
                "prefix list that is not",
                json!([tcp(8080, 8080, json!({"PrefixListIds": [{"PrefixListId": "pl-0other"}]}))]),
                Short::Unknown,
            ),
            (
                "unknown prefix list on another port",
                json!([tcp(80, 80, json!({"PrefixListIds": [{"PrefixListId": "pl-0other"}]}))]),
                Short::Blocked,
            ),
            (
                "unknown prefix list beside a reference",
                json!([tcp(
                    8080,
                    8080,
                    json!({"PrefixListIds": [{"PrefixListId": "pl-0other"}],
                    "UserIdGroupPairs": [{"GroupId": "sg-0alb"}]})
                )]),
                Short::Reference,
            ),
            (
                "unknown prefix list beside half of the subnets",
                json!([tcp(
                    8080,
                    8080,
                    json!({"PrefixListIds": [{"PrefixListId": "pl-0other"}],
                    "IpRanges": [{"CidrIp": "10.0.1.0/24"}]})
                )]),
                Short::Unknown,
            ),
            ("unreadable range", json!([tcp(8080, 8080, range("anywhere"))]), Short::Unknown),
        ] {
            let mut sample = with_ingress(rules);
            sample.facts.prefix_lists.insert(
                "pl-0known".to_owned(),
                vec!["10.0.1.0/24".to_owned(), "10.0.2.0/24".to_owned()],
            );
            let verdict = ingress(&sample.facts, &placed("10.0.11.5", &["sg-0web"]), 8080);
            assert_eq!(short(&verdict), expected, "{name}: {verdict:?}");
        }
    }

    #[test]
    fn ingress_over_ipv6() {
        for (cidr, expected) in [
            ("::/0", Short::Range),
            ("2001:db8:0:1::/64", Short::Partial),
            ("2001:db8::/48", Short::Range),
            ("2001:db9::/48", Short::Blocked),
        ] {
            let sample =
                with_ingress(json!([{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080,
                "Ipv6Ranges": [{"CidrIpv6": cidr}]}]));
            let verdict = ingress(&sample.facts, &placed("2001:db8:0:b::5", &["sg-0web"]), 8080);
            assert_eq!(short(&verdict), expected, "{cidr}: {verdict:?}");
        }
    }

    #[test]
    fn groups_are_ored_and_a_missing_one_is_a_doubt() {
        let mut sample = SampleCase::healthy();
        let target = placed("10.0.11.5", &["sg-0gone", "sg-0web"]);
        assert_eq!(short(&ingress(&sample.facts, &target, 8080)), Short::Reference);
        sample.group("sg-0web").ip_permissions.clear();
        assert_eq!(short(&ingress(&sample.facts, &target, 8080)), Short::Unknown);
    }

    #[test]
    fn without_subnets_only_a_range_of_everything_is_certain() {
        for (cidr, expected) in [("0.0.0.0/0", Short::Range), ("10.0.0.0/8", Short::Unknown)] {
            let mut sample = with_ingress(json!([{"IpProtocol": "tcp", "FromPort": 8080,
                "ToPort": 8080, "IpRanges": [{"CidrIp": cidr}]}]));
            sample.facts.subnets = SampleCase::missing("subnets");
            let verdict = ingress(&sample.facts, &placed("10.0.11.5", &["sg-0web"]), 8080);
            assert_eq!(short(&verdict), expected, "{cidr}");
        }
    }

    #[test]
    fn without_the_load_balancer_a_reference_cannot_be_judged() {
        let mut sample = SampleCase::healthy();
        sample.facts.load_balancer = SampleCase::missing("load balancer");
        let verdict = ingress(&sample.facts, &placed("10.0.11.5", &["sg-0web"]), 8080);
        assert_eq!(short(&verdict), Short::Unknown);
    }

    #[test]
    fn a_blocked_port_says_what_is_open_instead() {
        let sample = with_ingress(json!([{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
            "UserIdGroupPairs": [{"GroupId": "sg-0alb"}]}]));
        let verdict = ingress(&sample.facts, &placed("10.0.11.5", &["sg-0web"]), 8080);
        assert_eq!(
            verdict.obstacle().unwrap().why,
            "no rule of sg-0web lets tcp 8080 in from sg-0alb (it opens tcp 80)"
        );
    }

    fn endpoint(address: &str, placement: Result<Placement, Gap>) -> Endpoint {
        Endpoint {
            id: address.to_owned(),
            address: address.parse().ok(),
            port: 8080,
            health_check_port: None,
            placement,
        }
    }

    #[test]
    fn egress_table() {
        let gap = Gap {
            fact: "network interface".to_owned(),
            reason: "outside the VPC".to_owned(),
            permission: None,
        };
        let inside = Ok(placed("10.0.11.5", &["sg-0web"]));
        let rule = |port: i32, extra: Value| {
            let mut rule = json!({"IpProtocol": "tcp", "FromPort": port, "ToPort": port});
            for (name, value) in extra.as_object().unwrap() {
                rule[name] = value.clone();
            }
            json!([rule])
        };
        let web = json!({"UserIdGroupPairs": [{"GroupId": "sg-0web"}]});
        for (name, rules, placement, expected) in [
            ("group of the target", rule(8080, web.clone()), inside.clone(), Short::Reference),
            ("other port", rule(80, web.clone()), inside.clone(), Short::Blocked),
            (
                "its address",
                rule(8080, json!({"IpRanges": [{"CidrIp": "10.0.11.0/24"}]})),
                inside.clone(),
                Short::Range,
            ),
            (
                "the neighbour's address",
                rule(8080, json!({"IpRanges": [{"CidrIp": "10.0.11.6/32"}]})),
                inside.clone(),
                Short::Blocked,
            ),
            ("nothing", json!([]), inside, Short::Blocked),
            ("a group, target outside", rule(8080, web), Err(gap.clone()), Short::Unknown),
            (
                "a range, target outside",
                rule(8080, json!({"IpRanges": [{"CidrIp": "10.0.0.0/8"}]})),
                Err(gap.clone()),
                Short::Range,
            ),
            (
                "another range, target outside",
                rule(8080, json!({"IpRanges": [{"CidrIp": "172.16.0.0/12"}]})),
                Err(gap),
                Short::Blocked,
            ),
        ] {
            let mut sample = SampleCase::healthy();
            sample.group("sg-0alb").ip_permissions_egress = serde_json::from_value(rules).unwrap();
            let verdict = egress(&sample.facts, &endpoint("10.0.11.5", placement), 8080);
            assert_eq!(short(&verdict), expected, "{name}: {verdict:?}");
        }
    }
}
