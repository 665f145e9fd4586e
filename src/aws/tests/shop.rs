//! The shop of [`crate::diagnosis::sample_case`], as AWS tells it.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake_aws::{Answer, FakeAws};
use crate::diagnosis::{
    metrics::{Metric, target_group_dimension},
    sample_case::{LOAD_BALANCER_ARN, TARGET_GROUP_ARN},
};

fn page(text: &str) -> Answer {
    Answer::Pages(vec![text.to_owned()])
}

pub(super) fn attributes(pairs: &[(&str, &str)]) -> String {
    let members: String = pairs
        .iter()
        .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
        .collect();
    format!("<Attributes>{members}</Attributes>")
}

pub(super) fn listener(id: &str) -> String {
    let arn = LOAD_BALANCER_ARN.replace(":loadbalancer/", ":listener/");
    format!(
        "<member><ListenerArn>{arn}/{id}</ListenerArn><LoadBalancerArn>{LOAD_BALANCER_ARN}\
         </LoadBalancerArn><Port>443</Port><Protocol>HTTPS</Protocol><DefaultActions><member>\
         <Type>forward</Type><TargetGroupArn>{TARGET_GROUP_ARN}</TargetGroupArn></member>\
         </DefaultActions></member>"
    )
}

pub(super) fn health(id: &str, state: &str) -> String {
    format!(
        "<member><Target><Id>{id}</Id><Port>8080</Port></Target><HealthCheckPort>8080\
         </HealthCheckPort><TargetHealth><State>{state}</State></TargetHealth></member>"
    )
}

pub(super) fn healths(members: &[String]) -> String {
    format!("<TargetHealthDescriptions>{}</TargetHealthDescriptions>", members.concat())
}

pub(super) fn instance(id: &str, subnet: &str, address: &str) -> String {
    format!(
        "<item><instancesSet><item><instanceId>{id}</instanceId><vpcId>vpc-0a</vpcId>\
         <subnetId>{subnet}</subnetId><privateIpAddress>{address}</privateIpAddress>\
         <groupSet><item><groupId>sg-0web</groupId></item></groupSet>\
         <networkInterfaceSet><item><networkInterfaceId>eni-{id}</networkInterfaceId>\
         <subnetId>{subnet}</subnetId><vpcId>vpc-0a</vpcId>\
         <privateIpAddress>{address}</privateIpAddress>\
         <groupSet><item><groupId>sg-0web</groupId></item></groupSet>\
         <attachment><deviceIndex>0</deviceIndex><networkCardIndex>0</networkCardIndex></attachment>\
         </item></networkInterfaceSet></item></instancesSet></item>"
    )
}

pub(super) fn interface(id: &str, instance: &str, subnet: &str, address: &str) -> String {
    format!(
        "<item><networkInterfaceId>{id}</networkInterfaceId><subnetId>{subnet}</subnetId>\
         <vpcId>vpc-0a</vpcId><privateIpAddress>{address}</privateIpAddress>\
         <groupSet><item><groupId>sg-0web</groupId></item></groupSet><attachment>\
         <instanceId>{instance}</instanceId><deviceIndex>0</deviceIndex></attachment></item>"
    )
}

/// A security group that lets one source in on port 8080, and everything out.
pub(super) fn security_group(id: &str, source: &str) -> String {
    format!(
        "<item><groupId>{id}</groupId><groupName>{id}</groupName><vpcId>vpc-0a</vpcId>\
         <ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>8080</fromPort>\
         <toPort>8080</toPort>{source}</item></ipPermissions>\
         <ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item>\
         <cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress></item>"
    )
}

pub(super) const FROM_LOAD_BALANCER: &str =
    "<groups><item><groupId>sg-0alb</groupId></item></groups>";

/// What CloudWatch answers: two healthy targets, and besides these counts none. The incident of
/// [`crate::diagnosis::sample_case`] begins at 12:00.
pub(super) fn metrics(counts: &[(Metric, f64)]) -> Value {
    let group = target_group_dimension(TARGET_GROUP_ARN);
    let results = Metric::ALL.into_iter().map(|metric| {
        let value = match metric {
            Metric::HealthyHosts => Some(2.0),
            Metric::UnhealthyHosts => Some(0.0),
            _ => counts.iter().find(|(it, _)| *it == metric).map(|(_, value)| *value),
        };
        result(&metric.label(Some(group)).unwrap(), value, "Complete")
    });
    json!({ "MetricDataResults": results.collect::<Vec<_>>(), "Messages": [] })
}

pub(super) fn result(label: &str, value: Option<f64>, status: &str) -> Value {
    let times: Vec<&str> = value.iter().map(|_| "2026-03-01T12:01:00Z").collect();
    let values: Vec<f64> = value.into_iter().collect();
    json!({"Id": "m0", "Label": label, "Timestamps": times, "Values": values, "StatusCode": status})
}

/// The shop with two instances, all well.
pub(super) fn shop(latency: Duration) -> FakeAws {
    let aws = FakeAws::new(latency);
    let zone = |name: &str, subnet: &str| {
        format!("<member><ZoneName>{name}</ZoneName><SubnetId>{subnet}</SubnetId></member>")
    };
    let subnet = |id: &str, cidr: &str| {
        format!(
            "<item><subnetId>{id}</subnetId><vpcId>vpc-0a</vpcId><cidrBlock>{cidr}</cidrBlock>\
             <availableIpAddressCount>200</availableIpAddressCount></item>"
        )
    };
    aws.answer(
        "DescribeLoadBalancers",
        page(&format!(
            "<LoadBalancers><member><LoadBalancerArn>{LOAD_BALANCER_ARN}</LoadBalancerArn>\
             <LoadBalancerName>shop</LoadBalancerName><VpcId>vpc-0a</VpcId><Type>application</Type>\
             <State><Code>active</Code></State><SecurityGroups><member>sg-0alb</member>\
             </SecurityGroups><AvailabilityZones>{}{}</AvailabilityZones></member></LoadBalancers>",
            zone("eu-west-1a", "subnet-0a"),
            zone("eu-west-1b", "subnet-0b")
        )),
    );
    aws.answer(
        "DescribeLoadBalancerAttributes",
        page(&attributes(&[("idle_timeout.timeout_seconds", "60")])),
    );
    aws.answer("DescribeListeners", page(&format!("<Listeners>{}</Listeners>", listener("0a"))));
    aws.answer(
        "DescribeRules",
        page(&format!(
            "<Rules><member><RuleArn>{}/0a/0r</RuleArn><Priority>default</Priority><Actions><member>\
             <Type>fixed-response</Type><FixedResponseConfig><StatusCode>502</StatusCode>\
             </FixedResponseConfig></member></Actions></member></Rules>",
            LOAD_BALANCER_ARN.replace(":loadbalancer/", ":listener-rule/")
        )),
    );
    aws.answer(
        "DescribeTargetGroups",
        page(&format!(
            "<TargetGroups><member><TargetGroupArn>{TARGET_GROUP_ARN}</TargetGroupArn>\
             <TargetGroupName>shop-web</TargetGroupName><Protocol>HTTP</Protocol><Port>8080</Port>\
             <VpcId>vpc-0a</VpcId><TargetType>instance</TargetType>\
             <HealthCheckPort>traffic-port</HealthCheckPort></member></TargetGroups>"
        )),
    );
    aws.answer(
        "DescribeTargetGroupAttributes",
        page(&attributes(&[("deregistration_delay.timeout_seconds", "300")])),
    );
    aws.answer(
        "DescribeTargetHealth",
        page(&healths(&[health("i-0aa", "healthy"), health("i-0bb", "healthy")])),
    );
    aws.answer(
        "DescribeTags",
        page(&format!(
            "<TagDescriptions><member><ResourceArn>{TARGET_GROUP_ARN}</ResourceArn><Tags><member>\
             <Key>alb502:keep-alive-seconds</Key><Value>75</Value></member></Tags></member>\
             </TagDescriptions>"
        )),
    );
    aws.answer(
        "DescribeInstances",
        page(&format!(
            "<reservationSet>{}{}</reservationSet>",
            instance("i-0aa", "subnet-0c", "10.0.11.5"),
            instance("i-0bb", "subnet-0d", "10.0.12.5")
        )),
    );
    aws.answer(
        "DescribeNetworkInterfaces",
        page(&format!(
            "<networkInterfaceSet>{}{}</networkInterfaceSet>",
            interface("eni-0aa", "i-0aa", "subnet-0c", "10.0.11.5"),
            interface("eni-0bb", "i-0bb", "subnet-0d", "10.0.12.5")
        )),
    );
    aws.answer(
        "DescribeSecurityGroups",
        page(&format!(
            "<securityGroupInfo>{}{}</securityGroupInfo>",
            security_group(
                "sg-0alb",
                "<ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges>"
            ),
            security_group("sg-0web", FROM_LOAD_BALANCER)
        )),
    );
    aws.answer(
        "DescribeSubnets",
        page(&format!(
            "<subnetSet>{}{}{}{}</subnetSet>",
            subnet("subnet-0a", "10.0.1.0/24"),
            subnet("subnet-0b", "10.0.2.0/24"),
            subnet("subnet-0c", "10.0.11.0/24"),
            subnet("subnet-0d", "10.0.12.0/24")
        )),
    );
    aws.answer(
        "DescribeNetworkAcls",
        page(
            "<networkAclSet><item><networkAclId>acl-0a</networkAclId><vpcId>vpc-0a</vpcId>\
             <default>true</default><associationSet><item><subnetId>subnet-0a</subnetId></item>\
             <item><subnetId>subnet-0b</subnetId></item><item><subnetId>subnet-0c</subnetId></item>\
             <item><subnetId>subnet-0d</subnetId></item></associationSet><entrySet><item><ruleNumber>100</ruleNumber><protocol>-1</protocol>\
             <ruleAction>allow</ruleAction><egress>false</egress><cidrBlock>0.0.0.0/0</cidrBlock>\
             </item><item><ruleNumber>110</ruleNumber><protocol>6</protocol>\
             <ruleAction>deny</ruleAction><egress>true</egress><ipv6CidrBlock>::/0</ipv6CidrBlock>\
             <portRange><from>1024</from><to>65535</to></portRange></item></entrySet></item>\
             </networkAclSet>",
        ),
    );
    aws.answer("GetMetricData", page(&metrics(&[]).to_string()));
    aws.answer(
        "GetManagedPrefixListEntries",
        page("<entrySet><item><cidr>10.0.1.0/24</cidr></item></entrySet>"),
    );
    aws
}
