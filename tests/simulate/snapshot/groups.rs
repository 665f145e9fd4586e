//! The target groups of a fleet: their settings, their targets' health, their tags.
use serde_json::{Value, json};

use super::{Shown, State, tags};
use crate::{
    fleet::{Group, Speaks, Target},
    row::{ACCOUNT, REGION},
};

impl Shown<'_> {
    pub(super) fn target_groups(&self) -> Value {
        let one = |(n, group): (usize, &Group)| {
            let mut shown = json!({
                "TargetGroupArn": group.arn,
                "TargetGroupName": group.name,
                "HealthCheckIntervalSeconds": 30,
                "HealthCheckTimeoutSeconds": 5,
                "HealthyThresholdCount": 5,
                "UnhealthyThresholdCount": 2,
                "HealthCheckPath": "/healthz",
                "Matcher": {"HttpCode": "200"},
                "LoadBalancerArns": [self.arn()],
            });
            let more = if group.lambda.is_some() {
                json!({
                    "TargetType": "lambda",
                    "HealthCheckEnabled": false,
                    "HealthCheckIntervalSeconds": 35,
                    "HealthCheckTimeoutSeconds": 30,
                    "HealthCheckPath": "/",
                    "IpAddressType": "ipv4",
                })
            } else {
                // The health check speaks what the target speaks, or nothing would be Healthy.
                let tls = |t: &Target| t.group == n && t.server.speaks == Speaks::Tls;
                let health = if self.fleet.targets.iter().any(tls) { "HTTPS" } else { "HTTP" };
                let port = match group.health_check_port {
                    port if port == group.port => "traffic-port".to_owned(),
                    port => port.to_string(),
                };
                json!({
                    "TargetType": "instance",
                    "Protocol": if group.https { "HTTPS" } else { "HTTP" },
                    "ProtocolVersion": group.version,
                    "Port": group.port,
                    "VpcId": self.vpc(),
                    "HealthCheckEnabled": true,
                    "HealthCheckProtocol": health,
                    "HealthCheckPort": port,
                    "IpAddressType": "ipv4",
                })
            };
            if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
                shown.extend(more);
            }
            shown
        };
        json!({"TargetGroups": self.fleet.groups.iter().enumerate().map(one).collect::<Vec<_>>()})
    }

    pub(super) fn target_group_attributes(&self, group: &Group) -> Value {
        if group.lambda.is_some() {
            return json!({"Attributes": tags(&[("lambda.multi_value_headers.enabled", "false")])});
        }
        let sticky = self.fleet.traffic.sticky.to_string();
        json!({"Attributes": tags(&[
            ("deregistration_delay.timeout_seconds", &group.deregistration_delay.to_string()),
            ("stickiness.enabled", &sticky),
            ("stickiness.type", "lb_cookie"),
            ("stickiness.lb_cookie.duration_seconds", "86400"),
            ("load_balancing.algorithm.type", "round_robin"),
            ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
            ("slow_start.duration_seconds", "0"),
        ])})
    }

    pub(super) fn target_health(&self, number: usize, group: &Group) -> Value {
        if group.lambda.is_some() {
            return json!({"TargetHealthDescriptions": [{
                "Target": {"Id": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", group.name)},
                "TargetHealth": {
                    "State": "unavailable",
                    "Reason": "Target.HealthCheckDisabled",
                    "Description": "Health checks are not enabled for this target",
                },
            }]});
        }
        let all: Vec<Value> = (self.targets())
            .filter(|(_, t, state)| t.group == number && *state != State::Gone)
            .map(|(n, t, state)| {
                let health = match state {
                    State::Healthy => json!({"State": "healthy"}),
                    _ => json!({
                        "State": "draining",
                        "Reason": "Target.DeregistrationInProgress",
                        "Description": "Target deregistration is in progress",
                    }),
                };
                json!({
                    "Target": {"Id": self.instance(n), "Port": t.port},
                    "HealthCheckPort": group.health_check_port.to_string(),
                    "TargetHealth": health,
                })
            })
            .collect();
        json!({"TargetHealthDescriptions": all})
    }

    pub(super) fn tag_descriptions(&self) -> Value {
        let all = |arn: &str, more: &[(String, String)]| {
            let mut pairs = vec![("service", self.fleet.lb), ("environment", "production")];
            pairs.extend(more.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            json!({"ResourceArn": arn, "Tags": tags(&pairs)})
        };
        let mut shown = vec![all(&self.arn(), &[])];
        shown.extend(self.fleet.groups.iter().map(|group| all(&group.arn, &self.options.tags)));
        json!({"TagDescriptions": shown})
    }
}
