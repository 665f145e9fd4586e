//! Does the network let the load balancer reach its targets?
//!
//! Security groups of the targets, security groups of the load balancer, and network ACLs, each judged
//! per target and port. Two things are kept apart on purpose: a rule that was read and lets nothing
//! through is [`Verdict::Blocked`]; a rule, a group or an interface that could not be read is
//! [`Verdict::Unknown`], never blocked and never open.
//!
//! A blocked port drops packets silently, so it shows as a 504 after ten seconds and never as a failure
//! within milliseconds.
//!
//! Sources: <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>,
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-update-security-groups.html>.

mod endpoint;
mod network_acl;
mod security_group;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub use endpoint::{Endpoint, Placement, endpoints, socket_address};

use super::{
    Case, Facts, Gap,
    facts::{Fact, Subnet},
};
use crate::detection::Signature;

/// What the rules say about one way to one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A rule lets the traffic through.
    Allowed(Allowance),
    /// The traffic of some nodes, or some return ports, gets through.
    Partial(Obstacle),
    /// Nothing lets it through.
    Blocked(Obstacle),
    /// Cannot be told.
    Unknown(Gap),
}

impl Verdict {
    /// The obstacle, whole or partial.
    pub fn obstacle(&self) -> Option<&Obstacle> {
        match self {
            Self::Partial(obstacle) | Self::Blocked(obstacle) => Some(obstacle),
            Self::Allowed(_) | Self::Unknown(_) => None,
        }
    }

    /// Nothing gets through.
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Blocked(_))
    }

    /// Everything gets through.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The higher, the more it decides about the whole way.
    fn weight(&self) -> u8 {
        match self {
            Self::Allowed(_) => 0,
            Self::Partial(_) => 1,
            Self::Unknown(_) => 2,
            Self::Blocked(_) => 3,
        }
    }
}

/// Why traffic gets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The rule in words: "sg-0web opens tcp 8080 to sg-0alb".
    pub rule: String,
    /// The rule names a security group of the other side, not an address range.
    pub by_reference: bool,
}

/// Why traffic does not get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// In words, without a full stop: "no rule of sg-0web lets tcp 8080 in from sg-0alb".
    pub why: String,
    /// The network ACL entry that would open the way.
    pub missing_entry: Option<MissingEntry>,
}

/// A network ACL entry that would open the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingEntry {
    /// The network ACL.
    pub network_acl_id: String,
    /// A free number in front of the rule that drops the packets; `None` when there is none.
    pub rule_number: Option<u32>,
    /// Outbound, else inbound.
    pub egress: bool,
    /// The other side.
    pub network: IpNet,
    /// First and last port.
    pub ports: (u16, u16),
}

/// What a port of a target is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Requests of clients.
    Traffic,
    /// The health check, when it uses another port.
    HealthCheck,
}

/// The way from the load balancer to one port of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target as it is registered: an instance id or an address.
    pub target: String,
    /// Its address, when it is known.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// What the port is for.
    pub purpose: Purpose,
    /// The security groups of its interface; empty when they are not known.
    pub groups: Vec<String>,
    /// The subnet of its interface.
    pub subnet: Option<String>,
    /// The inbound rules of the target's security groups.
    pub ingress: Verdict,
    /// The outbound rules of the load balancer's security groups.
    pub egress: Verdict,
    /// The network ACLs on the way, there and back.
    pub network_acl: Verdict,
}

impl Route {
    /// The verdict that decides about the whole way: blocked once is blocked.
    pub fn overall(&self) -> &Verdict {
        let mut worst = &self.ingress;
        for verdict in [&self.egress, &self.network_acl] {
            if worst.weight() < verdict.weight() {
                worst = verdict;
            }
        }
        worst
    }

    /// The target with its port, and its address when it is registered by another name.
    pub fn name(&self) -> String {
        match self.address {
            Some(address) if address.to_string() != self.target => {
                format!("{}:{} ({address})", self.target, self.port)
            }
            Some(address) => SocketAddr::new(address, self.port).to_string(),
            None => format!("{}:{}", self.target, self.port),
        }
    }
}

/// The network of one target group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// A Lambda function is invoked, not connected to.
    Lambda,
    /// The targets are not known.
    Unknown(Gap),
    /// Every registered target with its ports, or, when the registration is not known, every target
    /// that the log names.
    Judged(Vec<Route>),
}

impl Network {
    /// The way to the traffic port of a target, by `ip:port` as the log writes it. `None` when that
    /// port is not registered or nothing is known.
    pub fn to(&self, target: &str) -> Option<&Route> {
        let wanted = socket_address(target)?;
        self.traffic()
            .find(|route| route.address == Some(wanted.ip()) && route.port == wanted.port())
    }

    /// The ways to traffic ports.
    pub fn traffic(&self) -> impl Iterator<Item = &Route> {
        self.routes().iter().filter(|route| route.purpose == Purpose::Traffic)
    }

    /// The way to the health-check port of the same target, when that is another port.
    pub fn health_check_of(&self, route: &Route) -> Option<&Route> {
        self.routes().iter().find(|other| {
            other.purpose == Purpose::HealthCheck
                && other.target == route.target
                && other.address == route.address
        })
    }

    /// Every way.
    pub fn routes(&self) -> &[Route] {
        match self {
            Self::Judged(routes) => routes,
            Self::Lambda | Self::Unknown(_) => &[],
        }
    }
}

/// One way of all targets in sum: the worst that is certain comes first.
#[derive(Debug)]
pub enum Reach<'a> {
    /// A Lambda function is invoked, not connected to.
    Lambda,
    /// Nothing is known to be blocked, and something is not known.
    Unknown(Gap),
    /// These targets get nothing.
    Blocked(Vec<(&'a Route, &'a Obstacle)>),
    /// These targets get a part.
    Partial(Vec<(&'a Route, &'a Obstacle)>),
    /// Every target is reached.
    Open(Vec<(&'a Route, &'a Allowance)>),
}

impl Network {
    /// Sums up one kind of verdict, such as `|route| &route.ingress`, over the traffic ports.
    pub fn reach(&self, verdict: impl Fn(&Route) -> &Verdict) -> Reach<'_> {
        match self {
            Self::Lambda => return Reach::Lambda,
            Self::Unknown(gap) => return Reach::Unknown(gap.clone()),
            Self::Judged(_) => {}
        }
        let (mut blocked, mut partial, mut open) = (Vec::new(), Vec::new(), Vec::new());
        let mut unknown = None;
        for route in self.traffic() {
            match verdict(route) {
                Verdict::Blocked(obstacle) => blocked.push((route, obstacle)),
                Verdict::Partial(obstacle) => partial.push((route, obstacle)),
                Verdict::Allowed(allowance) => open.push((route, allowance)),
                Verdict::Unknown(gap) => {
                    unknown.get_or_insert(gap);
                }
            }
        }
        match unknown {
            _ if !blocked.is_empty() => Reach::Blocked(blocked),
            _ if !partial.is_empty() => Reach::Partial(partial),
            Some(gap) => Reach::Unknown(gap.clone()),
            None if open.is_empty() => Reach::Unknown(Gap {
                fact: "registered targets".to_owned(),
                reason: "the target group has none".to_owned(),
                permission: None,
            }),
            None => Reach::Open(open),
        }
    }
}

/// What the rows say against dropped packets, when they do: a sentence. Dropped packets show as a
/// connect timeout after ten seconds; whoever answers within milliseconds is not blocked.
pub fn contradiction(case: &Case<'_>) -> Option<String> {
    let answered = case.answered();
    let silent = case.count(Signature::ConnectTimeout) + case.count(Signature::NotConnectedLate);
    (silent == 0 && 0 < answered).then(|| {
        format!(
            "something answered in {answered} of {} failed rows and none ran into the 10 s connect \
             timeout: dropped packets do not look like that",
            case.evidence.counts.failures
        )
    })
}

/// Judges every way from the load balancer to its targets.
pub fn network(case: &Case<'_>) -> Network {
    let facts = case.facts;
    if facts.target_group.known().is_some_and(super::facts::TargetGroup::is_lambda) {
        return Network::Lambda;
    }
    let endpoints = match endpoints(case) {
        Ok(endpoints) => endpoints,
        Err(gap) => return Network::Unknown(gap),
    };
    let mut routes = Vec::new();
    for endpoint in &endpoints {
        routes.push(route(facts, endpoint, endpoint.port, Purpose::Traffic));
        if let Some(port) = endpoint.health_check_port.filter(|port| *port != endpoint.port) {
            let other = route(facts, endpoint, port, Purpose::HealthCheck);
            if !routes.contains(&other) {
                routes.push(other);
            }
        }
    }
    Network::Judged(routes)
}

fn route(facts: &Facts, endpoint: &Endpoint, port: u16, purpose: Purpose) -> Route {
    let placement = endpoint.placement.as_ref();
    Route {
        target: endpoint.id.clone(),
        address: endpoint.address,
        port,
        purpose,
        groups: placement.map_or_else(|_| Vec::new(), |placement| placement.groups.clone()),
        subnet: placement.ok().and_then(|placement| placement.subnet.clone()),
        ingress: match placement {
            Ok(placement) => security_group::ingress(facts, placement, port),
            Err(gap) => Verdict::Unknown(gap.clone()),
        },
        egress: security_group::egress(facts, endpoint, port),
        network_acl: match placement {
            Ok(placement) => network_acl::judge(facts, placement, port),
            Err(gap) => Verdict::Unknown(gap.clone()),
        },
    }
}

/// The subnets of the load balancer: its nodes change address within them, so a rule is judged
/// against all of each.
pub fn load_balancer_subnets(facts: &Facts) -> Result<Vec<&Subnet>, Gap> {
    let load_balancer = match &facts.load_balancer {
        Fact::Known(load_balancer) => load_balancer,
        Fact::Unknown(gap) => return Err(gap.clone()),
    };
    let subnets = match &facts.subnets {
        Fact::Known(subnets) => subnets,
        Fact::Unknown(gap) => return Err(gap.clone()),
    };
    let gap = |fact: String, reason: &str| Gap {
        fact,
        reason: reason.to_owned(),
        permission: Some("ec2:DescribeSubnets".to_owned()),
    };
    let found = load_balancer
        .availability_zones
        .iter()
        .filter_map(|zone| zone.subnet_id.as_deref())
        .map(|id| {
            subnets
                .iter()
                .find(|subnet| subnet.subnet_id == id)
                .ok_or_else(|| gap(format!("subnet {id}"), "not among the subnets that were read"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(gap("subnets of the load balancer".to_owned(), "its description names none"));
    }
    Ok(found)
}

/// The address blocks of a subnet in one family.
fn blocks(subnet: &Subnet, ipv6: bool) -> Vec<IpNet> {
    let texts: Vec<&str> = if ipv6 {
        subnet
            .ipv6_cidr_block_association_set
            .iter()
            .map(|association| association.ipv6_cidr_block.as_str())
            .collect()
    } else {
        subnet.cidr_block.as_deref().into_iter().collect()
    };
    texts
        .into_iter()
        .filter_map(|text| text.parse::<IpNet>().ok())
        .filter(|net| matches!(net, IpNet::V6(_)) == ipv6)
        .map(|net| net.trunc())
        .collect()
}

/// The blocks of all subnets of the load balancer, each with its subnet id.
fn load_balancer_blocks(facts: &Facts, ipv6: bool) -> Result<Vec<(String, IpNet)>, Gap> {
    let mut all = Vec::new();
    for subnet in load_balancer_subnets(facts)? {
        let blocks = blocks(subnet, ipv6);
        if blocks.is_empty() {
            return Err(Gap {
                fact: format!(
                    "{} block of subnet {}",
                    if ipv6 { "IPv6" } else { "IPv4" },
                    subnet.subnet_id
                ),
                reason: "its description names none".to_owned(),
                permission: None,
            });
        }
        all.extend(blocks.into_iter().map(|block| (subnet.subnet_id.clone(), block)));
    }
    Ok(all)
}

/// A list for a sentence: the first few and how many more.
pub(super) fn listed<T: AsRef<str>>(names: &[T], limit: usize) -> String {
    let shown: Vec<&str> = names.iter().take(limit).map(AsRef::as_ref).collect();
    let rest = names.len().saturating_sub(limit);
    match (shown.split_last(), rest) {
        (None, _) => "none".to_owned(),
        (Some(_), 1..) => format!("{} and {rest} more", shown.join(", ")),
        (Some((last, [])), 0) => (*last).to_owned(),
        (Some((last, front)), 0) => format!("{} and {last}", front.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn healthy_sample_is_allowed_everywhere() {
        let sample = SampleCase::healthy();
        let network = network(&sample.case());
        assert_eq!(network.traffic().count(), 2);
        for route in network.routes() {
            assert!(route.overall().is_allowed(), "{route:?}");
        }
    }

    #[test]
    fn the_way_to_a_logged_target_is_found_through_its_instance() {
        let sample = SampleCase::healthy();
        let network = network(&sample.case());
        assert_eq!(network.to("10.0.11.5:8080").unwrap().target, "i-0aa");
        assert!(network.to("10.0.11.5:80").is_none());
        assert!(network.to("others").is_none());
    }

    #[test]
    fn blocked_once_is_blocked() {
        let mut sample = SampleCase::healthy();
        sample.group("sg-0web").ip_permissions.clear();
        sample.facts.network_acls = SampleCase::missing("network ACLs");
        let network = network(&sample.case());
        assert!(network.to("10.0.11.5:8080").unwrap().overall().is_blocked());
    }

    #[test]
    fn one_unknown_piece_is_never_allowed() {
        let mut sample = SampleCase::healthy();
        sample.facts.network_acls = SampleCase::missing("network ACLs");
        let network = network(&sample.case());
        assert!(matches!(network.to("10.0.11.5:8080").unwrap().overall(), Verdict::Unknown(_)));
    }

    #[test]
    fn a_separate_health_check_port_is_judged_too() {
        let mut sample = SampleCase::healthy();
        sample.set_health_check_port("80");
        let network = network(&sample.case());
        let route = network.to("10.0.11.5:8080").unwrap();
        assert!(route.ingress.is_allowed());
        assert!(network.health_check_of(route).unwrap().ingress.is_blocked());
    }

    #[test]
    fn lambda_has_no_network() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(network(&sample.case()), Network::Lambda);
    }

    #[test]
    fn without_registration_the_targets_of_the_log_are_judged() {
        let mut sample = SampleCase::healthy();
        sample.facts.target_health = SampleCase::missing("target health");
        let network = network(&sample.case());
        assert!(network.to("10.0.12.5:8080").unwrap().overall().is_allowed());
    }

    #[test]
    fn answered_rows_contradict_dropped_packets_and_silent_rows_do_not() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        assert!(contradiction(&sample.case()).unwrap().contains("40 of 40 failed rows"));
        sample.fail(Signature::ConnectTimeout, 1);
        assert_eq!(contradiction(&sample.case()), None);
        assert_eq!(contradiction(&SampleCase::healthy().case()), None);
    }

    #[test]
    fn no_target_is_not_an_open_way() {
        let mut sample = SampleCase::healthy();
        sample.facts.target_health = Fact::Known(Vec::new());
        let network = network(&sample.case());
        assert!(matches!(network.reach(|route| &route.ingress), Reach::Unknown(_)));
    }

    #[test]
    fn lists_are_bounded() {
        assert_eq!(listed::<&str>(&[], 2), "none");
        assert_eq!(listed(&["a"], 2), "a");
        assert_eq!(listed(&["a", "b"], 2), "a and b");
        assert_eq!(listed(&["a", "b", "c"], 2), "a, b and 1 more");
    }
}
