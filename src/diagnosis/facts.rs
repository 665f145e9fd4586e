//! What AWS says about the load balancer and the target group: gathered before, judged here.
//!
//! The shapes are the ones that the AWS API and `aws ... --output json` print, cut to what a check
//! reads. Each piece may be missing: then it is a [`Gap`], which is never "OK" and never "none".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{metrics::Metrics, probes::Probe};

/// A piece of configuration, or why it is not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact<T> {
    /// What AWS said.
    Known(T),
    /// Why nobody can say.
    Unknown(Gap),
}

impl<T> Fact<T> {
    /// The value, when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// The same fact in another form.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(form(value)),
            Self::Unknown(gap) => Fact::Unknown(gap),
        }
    }

    /// Why it is not known.
    pub fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(gap) => Some(gap),
        }
    }
}

/// Something that could not be seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    /// Which fact is missing, as a noun: "target health".
    pub fact: String,
    /// Why: "access denied", "no file describe-target-health.shop-web.json in the snapshot".
    pub reason: String,
    /// The IAM action that would show it.
    pub permission: Option<String>,
}

impl Gap {
    /// A fact about the target group, where no target group was asked.
    pub fn never_forwarded(fact: &str) -> Self {
        Self {
            fact: fact.to_owned(),
            reason: "the requests were never forwarded to a target group".to_owned(),
            permission: None,
        }
    }

    /// The same reason for another fact that hangs on the one that is missing.
    pub fn of(&self, fact: &str) -> Self {
        Self { fact: fact.to_owned(), ..self.clone() }
    }
}

/// Everything that AWS says about one load balancer and one target group. There is no `Default`:
/// who gathers must say of each piece whether it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// When the configuration was read; `None` when that is not recorded.
    pub taken_at: Option<jiff::Timestamp>,
    /// The account the configuration belongs to, 12 digits.
    pub account: Option<String>,
    /// The region the configuration belongs to.
    pub region: Option<String>,
    /// DescribeLoadBalancers.
    pub load_balancer: Fact<LoadBalancer>,
    /// DescribeLoadBalancerAttributes: key to value, both as AWS writes them.
    pub load_balancer_attributes: Fact<BTreeMap<String, String>>,
    /// DescribeListeners of this load balancer.
    pub listeners: Fact<Vec<Listener>>,
    /// DescribeRules of the listeners of this load balancer.
    pub rules: Fact<Vec<Rule>>,
    /// DescribeTargetGroups.
    pub target_group: Fact<TargetGroup>,
    /// DescribeTargetGroupAttributes: key to value, both as AWS writes them.
    pub target_group_attributes: Fact<BTreeMap<String, String>>,
    /// DescribeTargetHealth.
    pub target_health: Fact<Vec<TargetHealthDescription>>,
    /// DescribeTags of the target group: key to value.
    pub target_group_tags: Fact<BTreeMap<String, String>>,
    /// DescribeSecurityGroups by group id: the load balancer's and the targets'.
    pub security_groups: Fact<BTreeMap<String, SecurityGroup>>,
    /// DescribeNetworkInterfaces: the targets' and the load balancer's.
    pub network_interfaces: Fact<Vec<NetworkInterface>>,
    /// DescribeInstances.
    pub instances: Fact<Vec<Instance>>,
    /// DescribeSubnets.
    pub subnets: Fact<Vec<Subnet>>,
    /// DescribeNetworkAcls.
    pub network_acls: Fact<Vec<NetworkAcl>>,
    /// GetMetricData: what CloudWatch counted in the time of the incident.
    pub metrics: Fact<Metrics>,
    /// GetManagedPrefixListEntries: prefix-list id to CIDR blocks. An id that is missing here could
    /// not be expanded.
    pub prefix_lists: BTreeMap<String, Vec<String>>,
    /// What `alb502 probe` saw, of whatever targets: not from AWS, and no gap when there is none.
    pub probes: Vec<Probe>,
    /// Gaps that belong to no single piece, such as "the load balancer is in another account".
    pub other_gaps: Vec<Gap>,
}

/// What an idle timeout of a load balancer may be, in seconds.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html#connection-idle-timeout>
pub const IDLE_TIMEOUT_SECONDS: std::ops::RangeInclusive<u32> = 1..=4000;

impl Facts {
    /// Facts of which nothing is known, for one and the same reason that no permission would mend: no
    /// snapshot was given, the load balancer is in another account.
    pub fn unknown(reason: &str) -> Self {
        fn gap<T>(fact: &str, reason: &str) -> Fact<T> {
            Fact::Unknown(Gap {
                fact: fact.to_owned(),
                reason: reason.to_owned(),
                permission: None,
            })
        }
        Self {
            taken_at: None,
            account: None,
            region: None,
            load_balancer: gap("load balancer", reason),
            load_balancer_attributes: gap("load balancer attributes", reason),
            listeners: gap("listeners", reason),
            rules: gap("listener rules", reason),
            target_group: gap("target group", reason),
            target_group_attributes: gap("target group attributes", reason),
            target_health: gap("target health", reason),
            target_group_tags: gap("target group tags", reason),
            security_groups: gap("security groups", reason),
            network_interfaces: gap("network interfaces", reason),
            instances: gap("instances", reason),
            subnets: gap("subnets", reason),
            network_acls: gap("network ACLs", reason),
            metrics: gap(Metrics::FACT, reason),
            prefix_lists: BTreeMap::new(),
            probes: Vec::new(),
            other_gaps: Vec::new(),
        }
    }

    /// Every gap, in the order of the fields.
    pub fn gaps(&self) -> Vec<Gap> {
        [
            self.load_balancer.gap(),
            self.load_balancer_attributes.gap(),
            self.listeners.gap(),
            self.rules.gap(),
            self.target_group.gap(),
            self.target_group_attributes.gap(),
            self.target_health.gap(),
            self.target_group_tags.gap(),
            self.security_groups.gap(),
            self.network_interfaces.gap(),
            self.instances.gap(),
            self.subnets.gap(),
            self.network_acls.gap(),
            self.metrics.gap(),
        ]
        .into_iter()
        .flatten()
        .chain(self.metrics.known().into_iter().flat_map(Metrics::gaps))
        .chain(&self.other_gaps)
        .cloned()
        .collect()
    }

    /// The load balancer's idle timeout, one of [`IDLE_TIMEOUT_SECONDS`]; `None` when it is not known.
    /// Source: attribute `idle_timeout.timeout_seconds`.
    pub fn idle_timeout_seconds(&self) -> Option<u32> {
        self.load_balancer_attributes.known()?.get("idle_timeout.timeout_seconds")?.parse().ok()
    }

    /// The target group's deregistration delay in seconds (0 to 3600); `None` when it is not known.
    /// Source: attribute `deregistration_delay.timeout_seconds`.
    pub fn deregistration_delay_seconds(&self) -> Option<u32> {
        self.target_group_attributes
            .known()?
            .get("deregistration_delay.timeout_seconds")?
            .parse()
            .ok()
    }
}

/// A load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct LoadBalancer {
    pub load_balancer_arn: String,
    #[serde(default)]
    pub load_balancer_name: String,
    #[serde(default)]
    pub scheme: Option<String>,
    #[serde(default)]
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub state: Option<LoadBalancerState>,
    #[serde(default, rename = "Type")]
    pub kind: Option<String>,
    #[serde(default)]
    pub availability_zones: Vec<AvailabilityZone>,
    #[serde(default)]
    pub security_groups: Vec<String>,
    #[serde(default)]
    pub ip_address_type: Option<String>,
}

/// The state of a load balancer: active, provisioning, active_impaired, failed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct LoadBalancerState {
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
}

/// A zone of a load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct AvailabilityZone {
    #[serde(default)]
    pub zone_name: Option<String>,
    #[serde(default)]
    pub subnet_id: Option<String>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Listener {
    pub listener_arn: String,
    #[serde(default)]
    pub load_balancer_arn: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub protocol: Option<String>,
    #[serde(default)]
    pub ssl_policy: Option<String>,
    #[serde(default)]
    pub default_actions: Vec<Action>,
}

/// A rule of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Rule {
    pub rule_arn: String,
    #[serde(default)]
    pub priority: Option<String>,
    #[serde(default)]
    pub actions: Vec<Action>,
}

/// An action of a rule or a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Action {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(default)]
    pub target_group_arn: Option<String>,
    #[serde(default)]
    pub fixed_response_config: Option<FixedResponseConfig>,
}

/// What a fixed-response action answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct FixedResponseConfig {
    #[serde(default)]
    pub status_code: Option<String>,
}

/// A target group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct TargetGroup {
    pub target_group_arn: String,
    #[serde(default)]
    pub target_group_name: String,
    /// HTTP or HTTPS; `None` for a Lambda target group.
    #[serde(default)]
    pub protocol: Option<String>,
    /// HTTP1, HTTP2 or GRPC.
    #[serde(default)]
    pub protocol_version: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub health_check_enabled: Option<bool>,
    #[serde(default)]
    pub health_check_protocol: Option<String>,
    /// A port number, or `traffic-port`.
    #[serde(default)]
    pub health_check_port: Option<String>,
    #[serde(default)]
    pub health_check_path: Option<String>,
    #[serde(default)]
    pub health_check_interval_seconds: Option<u32>,
    #[serde(default)]
    pub unhealthy_threshold_count: Option<u32>,
    /// instance, ip, lambda or alb.
    #[serde(default)]
    pub target_type: Option<String>,
    /// ipv4 or ipv6.
    #[serde(default)]
    pub ip_address_type: Option<String>,
    #[serde(default)]
    pub load_balancer_arns: Vec<String>,
    /// The port of the target optimizer's agent, when the group uses it.
    #[serde(default)]
    pub target_control_port: Option<u16>,
}

impl TargetGroup {
    /// True for a group whose target is a Lambda function: no connection, no port, no network rules.
    pub fn is_lambda(&self) -> bool {
        self.target_type.as_deref() == Some("lambda")
    }
}

/// One registered target and its health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct TargetHealthDescription {
    pub target: TargetDescription,
    /// The port the health check goes to, a number as text.
    #[serde(default)]
    pub health_check_port: Option<String>,
    #[serde(default)]
    pub target_health: Option<TargetHealth>,
}

/// A registered target: an instance id, an address or a function ARN.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct TargetDescription {
    pub id: String,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub availability_zone: Option<String>,
}

/// The health of a target: initial, healthy, unhealthy, unused, draining, unavailable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct TargetHealth {
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct SecurityGroup {
    pub group_id: String,
    #[serde(default)]
    pub group_name: Option<String>,
    #[serde(default)]
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub ip_permissions: Vec<IpPermission>,
    #[serde(default)]
    pub ip_permissions_egress: Vec<IpPermission>,
}

/// A rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct IpPermission {
    /// tcp, udp, icmp, a number, or -1 for every protocol and port.
    #[serde(default)]
    pub ip_protocol: String,
    #[serde(default)]
    pub from_port: Option<i32>,
    #[serde(default)]
    pub to_port: Option<i32>,
    #[serde(default)]
    pub user_id_group_pairs: Vec<UserIdGroupPair>,
    #[serde(default)]
    pub ip_ranges: Vec<IpRange>,
    #[serde(default)]
    pub ipv6_ranges: Vec<Ipv6Range>,
    #[serde(default)]
    pub prefix_list_ids: Vec<PrefixListId>,
}

/// A reference to another security group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct UserIdGroupPair {
    #[serde(default)]
    pub group_id: Option<String>,
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    pub vpc_id: Option<String>,
    #[serde(default)]
    pub vpc_peering_connection_id: Option<String>,
    #[serde(default)]
    pub peering_status: Option<String>,
}

/// An IPv4 range of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct IpRange {
    #[serde(default)]
    pub cidr_ip: String,
}

/// An IPv6 range of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Ipv6Range {
    #[serde(default)]
    pub cidr_ipv6: String,
}

/// A prefix list of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct PrefixListId {
    #[serde(default)]
    pub prefix_list_id: String,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct NetworkInterface {
    pub network_interface_id: String,
    pub subnet_id: Option<String>,
    pub vpc_id: Option<String>,
    pub description: Option<String>,
    pub private_ip_address: Option<String>,
    pub private_ip_addresses: Vec<PrivateIpAddress>,
    pub ipv6_addresses: Vec<Ipv6Address>,
    pub groups: Vec<GroupIdentifier>,
    pub attachment: Option<NetworkInterfaceAttachment>,
}

/// A private address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct PrivateIpAddress {
    pub private_ip_address: String,
}

/// An IPv6 address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Ipv6Address {
    pub ipv6_address: String,
}

/// A security group that an interface carries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct GroupIdentifier {
    pub group_id: String,
    pub group_name: Option<String>,
}

/// What an interface is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct NetworkInterfaceAttachment {
    pub instance_id: Option<String>,
    pub device_index: Option<u32>,
    pub network_card_index: Option<u32>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Instance {
    pub instance_id: String,
    pub private_ip_address: Option<String>,
    pub vpc_id: Option<String>,
    pub subnet_id: Option<String>,
    pub security_groups: Vec<GroupIdentifier>,
    pub network_interfaces: Vec<NetworkInterface>,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Subnet {
    pub subnet_id: String,
    pub vpc_id: Option<String>,
    pub cidr_block: Option<String>,
    pub ipv6_cidr_block_association_set: Vec<Ipv6CidrBlockAssociation>,
    pub availability_zone: Option<String>,
    pub available_ip_address_count: Option<u32>,
}

/// An IPv6 block of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct Ipv6CidrBlockAssociation {
    pub ipv6_cidr_block: String,
}

/// A network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct NetworkAcl {
    pub network_acl_id: String,
    pub vpc_id: Option<String>,
    pub is_default: bool,
    pub associations: Vec<NetworkAclAssociation>,
    pub entries: Vec<NetworkAclEntry>,
}

/// The subnet that a network ACL guards.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct NetworkAclAssociation {
    pub subnet_id: String,
}

/// A rule of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct NetworkAclEntry {
    pub rule_number: u32,
    /// A protocol number: 6 is TCP, -1 is all.
    pub protocol: String,
    /// allow or deny.
    pub rule_action: String,
    pub egress: bool,
    pub cidr_block: Option<String>,
    pub ipv6_cidr_block: Option<String>,
    pub port_range: Option<PortRange>,
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the names are the ones of the AWS API")]
pub struct PortRange {
    pub from: i32,
    pub to: i32,
}
