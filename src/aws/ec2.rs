//! EC2: the calls, and what the SDK's types are in the words of [`crate::diagnosis::facts`]. The only
//! file that uses `aws-sdk-ec2`, whose 1.2 million lines take most of a build.
//!
//! Everything is asked for by filter, not by id: one id that no longer exists fails a whole call by id,
//! and a target that was terminated during the incident is just what is looked at.

use std::net::IpAddr;

use aws_sdk_ec2::{
    Client,
    types::{self as sdk, Filter},
};

use super::{
    actions::{
        DESCRIBE_INSTANCES, DESCRIBE_NETWORK_ACLS, DESCRIBE_NETWORK_INTERFACES,
        DESCRIBE_SECURITY_GROUPS, DESCRIBE_SUBNETS, GET_MANAGED_PREFIX_LIST_ENTRIES,
    },
    ask::Asker,
};
use crate::diagnosis::{
    Fact,
    facts::{
        GroupIdentifier, Instance, IpPermission, IpRange, Ipv6Address, Ipv6CidrBlockAssociation,
        Ipv6Range, NetworkAcl, NetworkAclAssociation, NetworkAclEntry, NetworkInterface,
        NetworkInterfaceAttachment, PortRange, PrefixListId, PrivateIpAddress, SecurityGroup,
        Subnet, UserIdGroupPair,
    },
};

/// How many values a filter takes.
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html>, Filtering.
const MAX_FILTER_VALUES: usize = 200;

/// EC2 in one region, for one diagnosis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ec2<'a> {
    pub(super) client: &'a Client,
    pub(super) asker: &'a Asker,
}

/// One call per 200 values of a filter, all pages of each.
macro_rules! filtered {
    ($self:ident, $action:ident, $operation:ident, $name:literal, $values:expr) => {{
        let calls = $values.chunks(MAX_FILTER_VALUES).map(|values| {
            let call = $self.client.$operation().filters(filter($name, values));
            call.into_paginator().items().send().collect::<Result<Vec<_>, _>>()
        });
        $self.asker.ask_each($action, calls).await
    }};
}

impl Ec2<'_> {
    pub(super) async fn instances(&self, ids: &[String]) -> Fact<Vec<Instance>> {
        filtered!(self, DESCRIBE_INSTANCES, describe_instances, "instance-id", ids).map(
            |reservations: Vec<sdk::Reservation>| {
                reservations
                    .into_iter()
                    .flat_map(|it| it.instances.unwrap_or_default())
                    .map(Instance::from)
                    .collect()
            },
        )
    }

    /// The interfaces that have one of the addresses, in the VPC when it is known: two VPCs may use the
    /// same addresses.
    pub(super) async fn network_interfaces(
        &self,
        addresses: &[IpAddr],
        vpc: Option<&str>,
    ) -> Fact<Vec<NetworkInterface>> {
        let (v4, v6): (Vec<&IpAddr>, Vec<&IpAddr>) = addresses.iter().partition(|it| it.is_ipv4());
        let text = |list: Vec<&IpAddr>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (v4, v6) = (text(v4), text(v6));
        let chunks = v4
            .chunks(MAX_FILTER_VALUES)
            .map(|values| filter("addresses.private-ip-address", values))
            .chain(
                v6.chunks(MAX_FILTER_VALUES)
                    .map(|values| filter("ipv6-addresses.ipv6-address", values)),
            );
        let calls = chunks.map(|filter_of_addresses| {
            let of_vpc = vpc.map(|vpc| filter("vpc-id", &[vpc.to_owned()]));
            let filters: Vec<Filter> = std::iter::once(filter_of_addresses).chain(of_vpc).collect();
            let call = self.client.describe_network_interfaces().set_filters(Some(filters));
            call.into_paginator().items().send().collect::<Result<Vec<_>, _>>()
        });
        self.asker.ask_each(DESCRIBE_NETWORK_INTERFACES, calls).await.map(all)
    }

    pub(super) async fn security_groups(&self, ids: &[String]) -> Fact<Vec<SecurityGroup>> {
        filtered!(self, DESCRIBE_SECURITY_GROUPS, describe_security_groups, "group-id", ids)
            .map(all)
    }

    pub(super) async fn subnets(&self, ids: &[String]) -> Fact<Vec<Subnet>> {
        filtered!(self, DESCRIBE_SUBNETS, describe_subnets, "subnet-id", ids).map(all)
    }

    /// The network ACLs of the subnets.
    pub(super) async fn network_acls(&self, subnets: &[String]) -> Fact<Vec<NetworkAcl>> {
        filtered!(
            self,
            DESCRIBE_NETWORK_ACLS,
            describe_network_acls,
            "association.subnet-id",
            subnets
        )
        .map(all)
    }

    /// The CIDR blocks of one managed prefix list.
    pub(super) async fn prefix_list_entries(&self, id: &str) -> Fact<Vec<String>> {
        let call = self.client.get_managed_prefix_list_entries().prefix_list_id(id);
        let call = call.into_paginator().items().send().collect::<Result<Vec<_>, _>>();
        self.asker
            .ask(GET_MANAGED_PREFIX_LIST_ENTRIES, call)
            .await
            .map(|entries| entries.into_iter().filter_map(|entry| entry.cidr).collect())
    }
}

fn filter(name: &str, values: &[String]) -> Filter {
    Filter::builder().name(name).set_values(Some(values.to_vec())).build()
}

fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}

fn each<T, U: From<T>>(list: Option<Vec<T>>) -> Vec<U> {
    all(list.unwrap_or_default())
}

fn number(value: Option<i32>) -> Option<u32> {
    value.and_then(|value| u32::try_from(value).ok())
}

impl From<sdk::Instance> for Instance {
    fn from(it: sdk::Instance) -> Self {
        Self {
            instance_id: it.instance_id.unwrap_or_default(),
            private_ip_address: it.private_ip_address,
            vpc_id: it.vpc_id,
            subnet_id: it.subnet_id,
            security_groups: each(it.security_groups),
            network_interfaces: each(it.network_interfaces),
        }
    }
}

/// DescribeInstances and DescribeNetworkInterfaces tell the same in types of their own; only the latter
/// names the instance.
macro_rules! network_interface_from {
    ($interface:ty, $instance_id:expr) => {
        impl From<$interface> for NetworkInterface {
            fn from(it: $interface) -> Self {
                let addresses = it.private_ip_addresses.unwrap_or_default().into_iter();
                let v6_addresses = it.ipv6_addresses.unwrap_or_default().into_iter();
                Self {
                    network_interface_id: it.network_interface_id.unwrap_or_default(),
                    subnet_id: it.subnet_id,
                    vpc_id: it.vpc_id,
                    description: it.description,
                    private_ip_address: it.private_ip_address,
                    private_ip_addresses: addresses
                        .filter_map(|it| it.private_ip_address)
                        .map(|private_ip_address| PrivateIpAddress { private_ip_address })
                        .collect(),
                    ipv6_addresses: v6_addresses
                        .filter_map(|it| it.ipv6_address)
                        .map(|ipv6_address| Ipv6Address { ipv6_address })
                        .collect(),
                    groups: each(it.groups),
                    attachment: it.attachment.map(|it| NetworkInterfaceAttachment {
                        device_index: number(it.device_index),
                        network_card_index: number(it.network_card_index),
                        instance_id: $instance_id(it),
                    }),
                }
            }
        }
    };
}

network_interface_from!(sdk::InstanceNetworkInterface, |_| None);
network_interface_from!(sdk::NetworkInterface, instance_of);

fn instance_of(attachment: sdk::NetworkInterfaceAttachment) -> Option<String> {
    attachment.instance_id
}

impl From<sdk::GroupIdentifier> for GroupIdentifier {
    fn from(it: sdk::GroupIdentifier) -> Self {
        Self { group_id: it.group_id.unwrap_or_default(), group_name: it.group_name }
    }
}

impl From<sdk::SecurityGroup> for SecurityGroup {
    fn from(it: sdk::SecurityGroup) -> Self {
        Self {
            group_id: it.group_id.unwrap_or_default(),
            group_name: it.group_name,
            vpc_id: it.vpc_id,
            ip_permissions: each(it.ip_permissions),
            ip_permissions_egress: each(it.ip_permissions_egress),
        }
    }
}

impl From<sdk::IpPermission> for IpPermission {
    fn from(it: sdk::IpPermission) -> Self {
        Self {
            ip_protocol: it.ip_protocol.unwrap_or_default(),
            from_port: it.from_port,
            to_port: it.to_port,
            user_id_group_pairs: it
                .user_id_group_pairs
                .unwrap_or_default()
                .into_iter()
                .map(|it| UserIdGroupPair {
                    group_id: it.group_id,
                    user_id: it.user_id,
                    vpc_id: it.vpc_id,
                    vpc_peering_connection_id: it.vpc_peering_connection_id,
                    peering_status: it.peering_status,
                })
                .collect(),
            ip_ranges: it
                .ip_ranges
                .unwrap_or_default()
                .into_iter()
                .map(|it| IpRange { cidr_ip: it.cidr_ip.unwrap_or_default() })
                .collect(),
            ipv6_ranges: it
                .ipv6_ranges
                .unwrap_or_default()
                .into_iter()
                .map(|it| Ipv6Range { cidr_ipv6: it.cidr_ipv6.unwrap_or_default() })
                .collect(),
            prefix_list_ids: it
                .prefix_list_ids
                .unwrap_or_default()
                .into_iter()
                .map(|it| PrefixListId { prefix_list_id: it.prefix_list_id.unwrap_or_default() })
                .collect(),
        }
    }
}

impl From<sdk::Subnet> for Subnet {
    fn from(it: sdk::Subnet) -> Self {
        Self {
            subnet_id: it.subnet_id.unwrap_or_default(),
            vpc_id: it.vpc_id,
            cidr_block: it.cidr_block,
            ipv6_cidr_block_association_set: it
                .ipv6_cidr_block_association_set
                .unwrap_or_default()
                .into_iter()
                .filter_map(|it| it.ipv6_cidr_block)
                .map(|ipv6_cidr_block| Ipv6CidrBlockAssociation { ipv6_cidr_block })
                .collect(),
            availability_zone: it.availability_zone,
            available_ip_address_count: number(it.available_ip_address_count),
        }
    }
}

impl From<sdk::NetworkAcl> for NetworkAcl {
    fn from(it: sdk::NetworkAcl) -> Self {
        Self {
            network_acl_id: it.network_acl_id.unwrap_or_default(),
            vpc_id: it.vpc_id,
            is_default: it.is_default.unwrap_or_default(),
            associations: it
                .associations
                .unwrap_or_default()
                .into_iter()
                .map(|it| NetworkAclAssociation { subnet_id: it.subnet_id.unwrap_or_default() })
                .collect(),
            entries: each(it.entries),
        }
    }
}

impl From<sdk::NetworkAclEntry> for NetworkAclEntry {
    fn from(it: sdk::NetworkAclEntry) -> Self {
        Self {
            rule_number: number(it.rule_number).unwrap_or_default(),
            protocol: it.protocol.unwrap_or_default(),
            rule_action: it
                .rule_action
                .map(|action| action.as_str().to_owned())
                .unwrap_or_default(),
            egress: it.egress.unwrap_or_default(),
            cidr_block: it.cidr_block,
            ipv6_cidr_block: it.ipv6_cidr_block,
            port_range: it.port_range.map(|range| PortRange {
                from: range.from.unwrap_or_default(),
                to: range.to.unwrap_or_default(),
            }),
        }
    }
}
