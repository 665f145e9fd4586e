//! ELBv2: the calls, and what the SDK's types are in the words of [`crate::diagnosis::facts`].

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::{Client, types as sdk};

use super::{
    actions::{
        DESCRIBE_LISTENERS, DESCRIBE_LOAD_BALANCER_ATTRIBUTES, DESCRIBE_LOAD_BALANCERS,
        DESCRIBE_RULES, DESCRIBE_TAGS, DESCRIBE_TARGET_GROUP_ATTRIBUTES, DESCRIBE_TARGET_GROUPS,
        DESCRIBE_TARGET_HEALTH,
    },
    ask::Asker,
};
use crate::diagnosis::{
    Fact, Gap,
    facts::{
        Action, AvailabilityZone, FixedResponseConfig, Listener, LoadBalancer, LoadBalancerState,
        Rule, TargetDescription, TargetGroup, TargetHealth, TargetHealthDescription,
    },
};

/// ELBv2 in one region, for one diagnosis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elbv2<'a> {
    pub(super) client: &'a Client,
    pub(super) asker: &'a Asker,
}

impl Elbv2<'_> {
    pub(super) async fn load_balancer(&self, arn: &str) -> Fact<LoadBalancer> {
        let call = self.client.describe_load_balancers().load_balancer_arns(arn).send();
        match self.asker.ask(DESCRIBE_LOAD_BALANCERS, call).await {
            Fact::Known(output) => {
                let found = output.load_balancers.unwrap_or_default().into_iter().next();
                found.map_or_else(
                    || absent(DESCRIBE_LOAD_BALANCERS.fact),
                    |it| Fact::Known(it.into()),
                )
            }
            Fact::Unknown(gap) => Fact::Unknown(gap),
        }
    }

    pub(super) async fn load_balancer_attributes(
        &self,
        arn: &str,
    ) -> Fact<BTreeMap<String, String>> {
        let call = self.client.describe_load_balancer_attributes().load_balancer_arn(arn).send();
        self.asker.ask(DESCRIBE_LOAD_BALANCER_ATTRIBUTES, call).await.map(|output| {
            let attributes = output.attributes.unwrap_or_default();
            pairs(attributes.into_iter().map(|it| (it.key, it.value)))
        })
    }

    pub(super) async fn listeners(&self, arn: &str) -> Fact<Vec<Listener>> {
        let pages = self.client.describe_listeners().load_balancer_arn(arn).into_paginator();
        let call = pages.items().send().collect::<Result<Vec<_>, _>>();
        self.asker.ask(DESCRIBE_LISTENERS, call).await.map(all)
    }

    pub(super) async fn rules(&self, listeners: &[Listener]) -> Fact<Vec<Rule>> {
        let calls = listeners.iter().map(|listener| {
            let call = self.client.describe_rules().listener_arn(&listener.listener_arn);
            call.into_paginator().items().send().collect::<Result<Vec<_>, _>>()
        });
        self.asker.ask_each(DESCRIBE_RULES, calls).await.map(all)
    }

    pub(super) async fn target_group(&self, arn: &str) -> Fact<TargetGroup> {
        let call = self.client.describe_target_groups().target_group_arns(arn).send();
        match self.asker.ask(DESCRIBE_TARGET_GROUPS, call).await {
            Fact::Known(output) => {
                let found = output.target_groups.unwrap_or_default().into_iter().next();
                found.map_or_else(
                    || absent(DESCRIBE_TARGET_GROUPS.fact),
                    |it| Fact::Known(it.into()),
                )
            }
            Fact::Unknown(gap) => Fact::Unknown(gap),
        }
    }

    pub(super) async fn target_group_attributes(
        &self,
        arn: &str,
    ) -> Fact<BTreeMap<String, String>> {
        let call = self.client.describe_target_group_attributes().target_group_arn(arn).send();
        self.asker.ask(DESCRIBE_TARGET_GROUP_ATTRIBUTES, call).await.map(|output| {
            let attributes = output.attributes.unwrap_or_default();
            pairs(attributes.into_iter().map(|it| (it.key, it.value)))
        })
    }

    pub(super) async fn target_health(&self, arn: &str) -> Fact<Vec<TargetHealthDescription>> {
        let call = self.client.describe_target_health().target_group_arn(arn).send();
        self.asker
            .ask(DESCRIBE_TARGET_HEALTH, call)
            .await
            .map(|output| all(output.target_health_descriptions.unwrap_or_default()))
    }

    /// The tags of one resource.
    pub(super) async fn tags(&self, arn: &str) -> Fact<BTreeMap<String, String>> {
        let call = self.client.describe_tags().resource_arns(arn).send();
        self.asker.ask(DESCRIBE_TAGS, call).await.map(|output| {
            let descriptions = output.tag_descriptions.unwrap_or_default();
            let tags = descriptions.into_iter().flat_map(|it| it.tags.unwrap_or_default());
            pairs(tags.map(|it| (it.key, it.value)))
        })
    }
}

/// An answer without the thing that was asked for by its ARN. AWS gives an error instead; should it
/// not, nothing is known.
fn absent<T>(fact: &str) -> Fact<T> {
    Fact::Unknown(Gap {
        fact: fact.to_owned(),
        reason: "the answer of AWS does not hold it".to_owned(),
        permission: None,
    })
}

fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}

fn pairs(list: impl Iterator<Item = (Option<String>, Option<String>)>) -> BTreeMap<String, String> {
    list.filter_map(|(key, value)| Some((key?, value.unwrap_or_default()))).collect()
}

fn port(number: Option<i32>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}

fn word(value: Option<impl AsRef<str>>) -> Option<String> {
    value.map(|value| value.as_ref().to_owned())
}

impl From<sdk::LoadBalancer> for LoadBalancer {
    fn from(it: sdk::LoadBalancer) -> Self {
        Self {
            load_balancer_arn: it.load_balancer_arn.unwrap_or_default(),
            load_balancer_name: it.load_balancer_name.unwrap_or_default(),
            scheme: word(it.scheme.as_ref().map(sdk::LoadBalancerSchemeEnum::as_str)),
            vpc_id: it.vpc_id,
            state: it.state.map(|state| LoadBalancerState {
                code: word(state.code.as_ref().map(sdk::LoadBalancerStateEnum::as_str)),
                reason: state.reason,
            }),
            kind: word(it.r#type.as_ref().map(sdk::LoadBalancerTypeEnum::as_str)),
            availability_zones: it
                .availability_zones
                .unwrap_or_default()
                .into_iter()
                .map(|zone| AvailabilityZone {
                    zone_name: zone.zone_name,
                    subnet_id: zone.subnet_id,
                })
                .collect(),
            security_groups: it.security_groups.unwrap_or_default(),
            ip_address_type: word(it.ip_address_type.as_ref().map(sdk::IpAddressType::as_str)),
        }
    }
}

impl From<sdk::Listener> for Listener {
    fn from(it: sdk::Listener) -> Self {
        Self {
            listener_arn: it.listener_arn.unwrap_or_default(),
            load_balancer_arn: it.load_balancer_arn,
            port: port(it.port),
            protocol: word(it.protocol.as_ref().map(sdk::ProtocolEnum::as_str)),
            ssl_policy: it.ssl_policy,
            default_actions: all(it.default_actions.unwrap_or_default()),
        }
    }
}

impl From<sdk::Rule> for Rule {
    fn from(it: sdk::Rule) -> Self {
        Self {
            rule_arn: it.rule_arn.unwrap_or_default(),
            priority: it.priority,
            actions: all(it.actions.unwrap_or_default()),
        }
    }
}

impl From<sdk::Action> for Action {
    fn from(it: sdk::Action) -> Self {
        Self {
            kind: word(it.r#type.as_ref().map(sdk::ActionTypeEnum::as_str)).unwrap_or_default(),
            target_group_arn: it.target_group_arn,
            fixed_response_config: it
                .fixed_response_config
                .map(|config| FixedResponseConfig { status_code: config.status_code }),
        }
    }
}

impl From<sdk::TargetGroup> for TargetGroup {
    fn from(it: sdk::TargetGroup) -> Self {
        let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok());
        Self {
            target_group_arn: it.target_group_arn.unwrap_or_default(),
            target_group_name: it.target_group_name.unwrap_or_default(),
            protocol: word(it.protocol.as_ref().map(sdk::ProtocolEnum::as_str)),
            protocol_version: it.protocol_version,
            port: port(it.port),
            vpc_id: it.vpc_id,
            health_check_enabled: it.health_check_enabled,
            health_check_protocol: word(
                it.health_check_protocol.as_ref().map(sdk::ProtocolEnum::as_str),
            ),
            health_check_port: it.health_check_port,
            health_check_path: it.health_check_path,
            health_check_interval_seconds: number(it.health_check_interval_seconds),
            unhealthy_threshold_count: number(it.unhealthy_threshold_count),
            target_type: word(it.target_type.as_ref().map(sdk::TargetTypeEnum::as_str)),
            ip_address_type: word(
                it.ip_address_type.as_ref().map(sdk::TargetGroupIpAddressTypeEnum::as_str),
            ),
            load_balancer_arns: it.load_balancer_arns.unwrap_or_default(),
            target_control_port: port(it.target_control_port),
        }
    }
}

impl From<sdk::TargetHealthDescription> for TargetHealthDescription {
    fn from(it: sdk::TargetHealthDescription) -> Self {
        let (id, number, zone) =
            it.target.map_or((None, None, None), |it| (it.id, it.port, it.availability_zone));
        Self {
            target: TargetDescription {
                id: id.unwrap_or_default(),
                port: port(number),
                availability_zone: zone,
            },
            health_check_port: it.health_check_port,
            target_health: it.target_health.map(|health| TargetHealth {
                state: word(health.state.as_ref().map(sdk::TargetHealthStateEnum::as_str)),
                reason: word(health.reason.as_ref().map(sdk::TargetHealthReasonEnum::as_str)),
                description: health.description,
            }),
        }
    }
}
