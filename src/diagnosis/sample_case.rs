//! A shop behind a load balancer, all well: tests take it and break one thing.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{
    Case, Fact, Facts, Gap, Patterns,
    facts::{SecurityGroup, TargetGroup, TargetHealthDescription},
    metrics::{Metric, MetricDataResult, Metrics, Subject, target_group_dimension},
};
use crate::detection::{
    Counts, Evidence, FailureRow, Kind, Pauses, Signature, Window,
    evidence::{Quantiles, TargetEvidence},
};

/// The load balancer of the sample.
pub(crate) const LOAD_BALANCER_ARN: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/50dc6c495c0c9188";
/// The target group of the sample.
pub(crate) const TARGET_GROUP_ARN: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/73e2d6bc24d8a067";

/// The parts of a case, owned.
pub(crate) struct SampleCase {
    pub(crate) evidence: Evidence,
    pub(crate) facts: Facts,
    pub(crate) patterns: Patterns,
}

impl SampleCase {
    /// Two instances on port 8080 behind subnets a and b; a hundred requests, none failed.
    pub(crate) fn healthy() -> Self {
        Self { evidence: evidence(), facts: facts(), patterns: Patterns::default() }
    }

    /// The same with failures of one signature, half of them on either target.
    pub(crate) fn failing(signature: Signature, count: u64) -> Self {
        let mut sample = Self::healthy();
        sample.fail(signature, count);
        sample
    }

    pub(crate) fn case(&self) -> Case<'_> {
        Case { evidence: &self.evidence, facts: &self.facts, patterns: &self.patterns }
    }

    /// Adds failures of one signature, half of them on either target.
    pub(crate) fn fail(&mut self, signature: Signature, count: u64) {
        *self.evidence.signatures.entry(signature).or_default() += count;
        let counts = &mut self.evidence.counts;
        if signature == Signature::Intentional {
            counts.intentional_502 += count;
            return;
        }
        counts.requests += count;
        counts.failures += count;
        match signature {
            Signature::ConnectTimeout => counts.connect_504 += count,
            Signature::IdleTimeout => counts.idle_504 += count,
            Signature::TargetMade => counts.target_502 += count,
            _ => counts.elb_502 += count,
        }
        self.evidence.load_balancer_counts = *counts;
        if signature == Signature::NoTarget || signature == Signature::ErrorReason {
            return;
        }
        for (index, target) in self.evidence.targets.iter_mut().enumerate() {
            let share = if index == 0 { count - count / 2 } else { count / 2 };
            target.requests += share;
            target.failures += share;
            *target.signatures.entry(signature).or_default() += share;
        }
    }

    /// Rows for the failures of one signature, that many seconds long.
    pub(crate) fn write_rows(&mut self, signature: Signature, elapsed: f64) {
        let start = self.evidence.window.start;
        for target in &self.evidence.targets {
            let count = target.of(signature);
            self.evidence.failures.extend((0..count).map(|index| FailureRow {
                time: start + index as i64 * 1_000_000,
                created: None,
                signature,
                elapsed: Some(elapsed),
                times: [Some(-1.0); 3],
                target: Some(Arc::clone(&target.target)),
                path: Some(Arc::from("/")),
                method: Some(Arc::from("GET")),
                node: Arc::from("192.0.2.1"),
                error_reason: None,
                received_bytes: None,
                trace_id: None,
                object: Arc::from("log"),
                gaps: Box::default(),
                after: None,
            }));
        }
    }

    /// No request succeeded.
    pub(crate) fn without_success(&mut self) {
        self.evidence.counts.requests -= self.evidence.counts.successes;
        self.evidence.counts.successes = 0;
        for target in &mut self.evidence.targets {
            target.requests -= target.successes;
            target.successes = 0;
        }
    }

    /// A fact that nobody could read.
    pub(crate) fn missing<T>(fact: &str) -> Fact<T> {
        Fact::Unknown(Gap {
            fact: fact.to_owned(),
            reason: "access denied".to_owned(),
            permission: None,
        })
    }

    pub(crate) fn group(&mut self, id: &str) -> &mut SecurityGroup {
        match &mut self.facts.security_groups {
            Fact::Known(groups) => groups.get_mut(id).unwrap(),
            Fact::Unknown(_) => panic!("the security groups are not known"),
        }
    }

    pub(crate) fn target_group(&mut self) -> &mut TargetGroup {
        match &mut self.facts.target_group {
            Fact::Known(group) => group,
            Fact::Unknown(_) => panic!("the target group is not known"),
        }
    }

    pub(crate) fn target(&mut self, index: usize) -> &mut TargetHealthDescription {
        match &mut self.facts.target_health {
            Fact::Known(targets) => &mut targets[index],
            Fact::Unknown(_) => panic!("the target health is not known"),
        }
    }

    pub(crate) fn set_state(&mut self, index: usize, state: &str, reason: Option<&str>) {
        let health = self.target(index).target_health.as_mut().unwrap();
        health.state = Some(state.to_owned());
        health.reason = reason.map(str::to_owned);
    }

    pub(crate) fn set_health_check_port(&mut self, port: &str) {
        self.target_group().health_check_port = Some(port.to_owned());
        for index in 0..2 {
            self.target(index).health_check_port = Some(port.to_owned());
        }
    }

    pub(crate) fn set_load_balancer_attribute(&mut self, key: &str, value: &str) {
        if let Fact::Known(attributes) = &mut self.facts.load_balancer_attributes {
            attributes.insert(key.to_owned(), value.to_owned());
        }
    }

    pub(crate) fn set_target_group_attribute(&mut self, key: &str, value: &str) {
        if let Fact::Known(attributes) = &mut self.facts.target_group_attributes {
            attributes.insert(key.to_owned(), value.to_owned());
        }
    }

    /// The same targets, registered by address.
    pub(crate) fn use_ip_targets(&mut self) {
        self.target_group().target_type = Some("ip".to_owned());
        self.target(0).target.id = "10.0.11.5".to_owned();
        self.target(1).target.id = "10.0.12.5".to_owned();
    }

    /// What CloudWatch counted: these, and zero of everything else.
    pub(crate) fn count(&mut self, counts: &[(Metric, u64)]) {
        self.count_at(self.evidence.window.start + 120_000_000, counts);
    }

    /// The same in the minute that begins at `time`, in microseconds since 1970.
    pub(crate) fn count_at(&mut self, time: i64, counts: &[(Metric, u64)]) {
        self.answer(time, |metric| {
            let counted = counts.iter().find(|(it, _)| *it == metric).map(|(_, count)| *count);
            match metric {
                Metric::HealthyHosts => Some(counted.unwrap_or(2)),
                _ => counted.or(Some(0)),
            }
        });
    }

    /// What CloudWatch counted: these, and nothing is known of anything else.
    pub(crate) fn count_only(&mut self, counts: &[(Metric, u64)]) {
        self.answer(self.evidence.window.start, |metric| {
            counts.iter().find(|(it, _)| *it == metric).map(|(_, count)| *count)
        });
    }

    fn answer(&mut self, time: i64, value: impl Fn(Metric) -> Option<u64>) {
        let window = self.evidence.window;
        let group = self.evidence.target_group_arn.clone();
        let subject = Subject {
            target_group: group.as_deref().map(target_group_dimension),
            is_lambda: self.facts.target_group.known().map(TargetGroup::is_lambda),
        };
        let results: Vec<MetricDataResult> = Metric::ALL
            .into_iter()
            .filter_map(|metric| Some((metric.label(subject.target_group)?, value(metric)?)))
            .map(|(label, value)| MetricDataResult {
                label,
                // What is zero is not reported.
                timestamps: (0 < value).then_some(time).into_iter().collect(),
                values: (0 < value).then_some(value as f64).into_iter().collect(),
                status_code: Some("Complete".to_owned()),
            })
            .collect();
        self.facts.metrics = Metrics::of(&results, &subject, window);
    }

    /// The target is a Lambda function.
    pub(crate) fn make_lambda(&mut self) {
        let group = self.target_group();
        group.target_type = Some("lambda".to_owned());
        group.protocol = None;
        group.port = None;
        self.facts.target_health = Fact::Known(
            serde_json::from_value(json!([{
                "Target": {"Id": "arn:aws:lambda:eu-west-1:123456789012:function:shop"},
                "TargetHealth": {"State": "unavailable", "Reason": "Target.HealthCheckDisabled"}
            }]))
            .unwrap(),
        );
        self.evidence.targets.clear();
    }
}

fn evidence() -> Evidence {
    // 2026-03-01T12:00:00Z, five minutes.
    let start = 1_772_366_400_000_000;
    let window = Window { start, end: start + 300_000_000 };
    let target = |name: &str| TargetEvidence {
        target: Arc::from(name),
        requests: 50,
        failures: 0,
        successes: 50,
        signatures: BTreeMap::new(),
        first_seen: window.start,
        last_seen: window.end,
        first_success: Some(window.start),
        last_success: Some(window.end),
        first_failure: None,
        last_failure: None,
        last_start: Some(window.end),
        slow_connects: 0,
        refused_pairs: 0,
        refused_pairs_with_answers: 0,
    };
    Evidence {
        kind: Kind::Spike,
        load_balancer: Arc::from("app/shop/50dc6c495c0c9188"),
        account: None,
        region: None,
        target_group_arn: Some(Arc::from(TARGET_GROUP_ARN)),
        window,
        left_out: Vec::new(),
        span: window,
        counts: Counts { requests: 100, successes: 100, ..Counts::default() },
        around: Counts::default(),
        load_balancer_counts: Counts::default(),
        signatures: BTreeMap::new(),
        targets: vec![target("10.0.11.5:8080"), target("10.0.12.5:8080")],
        successes_without_target: 0,
        paths: Vec::new(),
        paths_are_complete: true,
        windows_given_up: 0,
        nodes: Vec::new(),
        methods: Vec::new(),
        types: Vec::new(),
        error_reasons: Vec::new(),
        failures: Vec::new(),
        success_seconds: Some(Quantiles { p50: 0.05, p99: 0.8 }),
        success_distribution: None,
        success_buckets: Vec::new(),
        minutes: Vec::new(),
        pauses: Pauses::default(),
    }
}

fn facts() -> Facts {
    let interface = |id: &str, instance: &str, subnet: &str, address: &str| {
        json!({
            "NetworkInterfaceId": id, "SubnetId": subnet, "VpcId": "vpc-0a",
            "PrivateIpAddress": address, "Groups": [{"GroupId": "sg-0web"}],
            "Attachment": {"InstanceId": instance, "DeviceIndex": 0, "NetworkCardIndex": 0}
        })
    };
    let first = interface("eni-0aa", "i-0aa", "subnet-0c", "10.0.11.5");
    let second = interface("eni-0bb", "i-0bb", "subnet-0d", "10.0.12.5");
    let instance = |id: &str, interface: &serde_json::Value| {
        json!({
            "InstanceId": id, "VpcId": "vpc-0a", "PrivateIpAddress": interface["PrivateIpAddress"],
            "SubnetId": interface["SubnetId"], "SecurityGroups": [{"GroupId": "sg-0web"}],
            "NetworkInterfaces": [interface]
        })
    };
    let subnet = |id: &str, cidr: &str, ipv6: &str| {
        json!({
            "SubnetId": id, "VpcId": "vpc-0a", "CidrBlock": cidr, "AvailableIpAddressCount": 200,
            "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": ipv6}]
        })
    };
    let attributes = |pairs: &[(&str, &str)]| {
        Fact::Known(
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        )
    };
    Facts {
        taken_at: None,
        account: Some("123456789012".to_owned()),
        region: Some("eu-west-1".to_owned()),
        load_balancer: known(json!({
            "LoadBalancerArn": LOAD_BALANCER_ARN, "LoadBalancerName": "shop",
            "Scheme": "internet-facing", "VpcId": "vpc-0a", "State": {"Code": "active"},
            "Type": "application", "SecurityGroups": ["sg-0alb"], "IpAddressType": "ipv4",
            "AvailabilityZones": [
                {"ZoneName": "eu-west-1a", "SubnetId": "subnet-0a"},
                {"ZoneName": "eu-west-1b", "SubnetId": "subnet-0b"}
            ]
        })),
        load_balancer_attributes: attributes(&[
            ("idle_timeout.timeout_seconds", "60"),
            ("access_logs.s3.enabled", "true"),
            ("access_logs.s3.bucket", "shop-logs"),
        ]),
        listeners: known(json!([{
            "ListenerArn": format!("{}/0a", LOAD_BALANCER_ARN.replace(":loadbalancer/", ":listener/")),
            "LoadBalancerArn": LOAD_BALANCER_ARN, "Port": 443, "Protocol": "HTTPS",
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": TARGET_GROUP_ARN}]
        }])),
        rules: known(json!([{
            "RuleArn": format!("{}/0a/0b", LOAD_BALANCER_ARN.replace(":loadbalancer/", ":listener-rule/")),
            "Priority": "1",
            "Actions": [{"Type": "forward", "TargetGroupArn": TARGET_GROUP_ARN}]
        }])),
        target_group: known(json!({
            "TargetGroupArn": TARGET_GROUP_ARN, "TargetGroupName": "shop-web", "Protocol": "HTTP",
            "ProtocolVersion": "HTTP1", "Port": 8080, "VpcId": "vpc-0a", "HealthCheckEnabled": true,
            "HealthCheckProtocol": "HTTP", "HealthCheckPort": "traffic-port",
            "HealthCheckPath": "/health", "HealthCheckIntervalSeconds": 30,
            "UnhealthyThresholdCount": 2, "TargetType": "instance", "IpAddressType": "ipv4",
            "LoadBalancerArns": [LOAD_BALANCER_ARN]
        })),
        target_group_attributes: attributes(&[
            ("deregistration_delay.timeout_seconds", "300"),
            ("stickiness.enabled", "false"),
        ]),
        target_health: known(json!([
            {"Target": {"Id": "i-0aa", "Port": 8080}, "HealthCheckPort": "8080",
             "TargetHealth": {"State": "healthy"}},
            {"Target": {"Id": "i-0bb", "Port": 8080}, "HealthCheckPort": "8080",
             "TargetHealth": {"State": "healthy"}}
        ])),
        target_group_tags: attributes(&[("team", "shop")]),
        security_groups: known(json!({
            "sg-0alb": {"GroupId": "sg-0alb", "VpcId": "vpc-0a",
                "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
                    "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
                "IpPermissionsEgress": [{"IpProtocol": "-1",
                    "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]},
            "sg-0web": {"GroupId": "sg-0web", "VpcId": "vpc-0a",
                "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080,
                    "UserIdGroupPairs": [{"GroupId": "sg-0alb", "UserId": "123456789012"}]}]}
        })),
        network_interfaces: known(json!([first, second])),
        instances: known(json!([instance("i-0aa", &first), instance("i-0bb", &second)])),
        subnets: known(json!([
            subnet("subnet-0a", "10.0.1.0/24", "2001:db8:0:1::/64"),
            subnet("subnet-0b", "10.0.2.0/24", "2001:db8:0:2::/64"),
            subnet("subnet-0c", "10.0.11.0/24", "2001:db8:0:b::/64"),
            subnet("subnet-0d", "10.0.12.0/24", "2001:db8:0:c::/64"),
        ])),
        network_acls: known(json!([{
            "NetworkAclId": "acl-0a", "VpcId": "vpc-0a", "IsDefault": true,
            "Associations": [{"SubnetId": "subnet-0a"}, {"SubnetId": "subnet-0b"},
                {"SubnetId": "subnet-0c"}, {"SubnetId": "subnet-0d"}],
            "Entries": [
                {"RuleNumber": 100, "Protocol": "-1", "RuleAction": "allow", "Egress": false,
                 "CidrBlock": "0.0.0.0/0"},
                {"RuleNumber": 100, "Protocol": "-1", "RuleAction": "allow", "Egress": true,
                 "CidrBlock": "0.0.0.0/0"}
            ]
        }])),
        metrics: SampleCase::missing(Metrics::FACT),
        prefix_lists: BTreeMap::new(),
        probes: Vec::new(),
        other_gaps: Vec::new(),
    }
}

fn known<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Fact<T> {
    Fact::Known(serde_json::from_value(value).unwrap())
}
