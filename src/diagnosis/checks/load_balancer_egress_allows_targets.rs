//! Do the security groups of the load balancer let it reach its targets? Looks at their outbound rules
//! for each registered target and port.
//!
//! Outbound rules are open by default; where they were narrowed, a new port or subnet of the targets is
//! easily forgotten. It shows like a blocked inbound rule: a 504 after ten seconds.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-update-security-groups.html>

use super::{Check, Finding, Outcome};
use crate::{
    detection::Signature,
    diagnosis::{
        Case,
        command::{Command, Piece, Value},
        network::{self, Reach, Route, listed},
    },
};

/// The check.
pub const CHECK: Check = Check {
    id: "load-balancer-egress-allows-targets",
    title: "Do the load balancer's security groups let it reach its targets?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.load_balancer_name();
    let groups: &[String] = case
        .facts
        .load_balancer
        .known()
        .map_or(&[], |load_balancer| &load_balancer.security_groups);
    let group = groups.first().map_or("", String::as_str);
    let network = network::network(case);
    let finding = match network.reach(|route| &route.egress) {
        Reach::Lambda => {
            return Finding::new(
                Outcome::Skipped,
                format!(
                    "{} holds a Lambda function: no security group stands in between.",
                    case.target_group_name()
                ),
            );
        }
        Reach::Unknown(gap) => Finding::unknown(
            &format!("Whether the security groups of {name} let it reach its targets"),
            &gap,
        ),
        Reach::Blocked(found) | Reach::Partial(found) => {
            let (route, obstacle) = found[0];
            let names: Vec<String> = found.iter().map(|(route, _)| route.name()).collect();
            let (outcome, against) = match network::contradiction(case) {
                Some(text) => (Outcome::Advice, format!(" The rows contradict that: {text}.")),
                None => (Outcome::Fail, String::new()),
            };
            Finding::new(
                outcome,
                format!(
                    "{name} cannot send to {} of {} targets ({}): {}.{against}",
                    found.len(),
                    network.traffic().count(),
                    listed(&names, 3),
                    obstacle.why
                ),
            )
            .fixed_by(fix(case, group, route))
        }
        Reach::Open(found) => Finding::new(
            Outcome::Pass,
            format!(
                "{name} may send to all {} targets ({}){}.",
                found.len(),
                found[0].1.rule,
                if case.count(Signature::ConnectTimeout) == 0 {
                    ""
                } else {
                    ", so its own rules do not explain the connect timeouts"
                }
            ),
        ),
    };
    let mut show = Command::new("aws ec2 describe-security-groups --group-ids");
    for group in groups.iter().take(5) {
        show = show.joined(&[Piece::Value(Value::Id(group))]);
    }
    if groups.is_empty() {
        return finding;
    }
    finding.resource(group).shown_by(
        show.words("--query 'SecurityGroups[*].IpPermissionsEgress'").region(case.region()),
    )
}

fn fix(case: &Case<'_>, group: &str, route: &Route) -> Command {
    let command = Command::new("aws ec2 authorize-security-group-egress")
        .flag("--group-id", Value::Id(group))
        .words("--ip-permissions");
    let port = Value::Number(u64::from(route.port));
    let address = route.address.map(|address| ipnet::IpNet::from(address).to_string());
    let (open, other, close) = match (route.groups.first(), &address) {
        (Some(target), _) => (",UserIdGroupPairs=[{GroupId=", Value::Id(target), "}]'"),
        (None, Some(address)) if address.contains(':') => {
            (",Ipv6Ranges=[{CidrIpv6=", Value::Address(address), "}]'")
        }
        (None, Some(address)) => (",IpRanges=[{CidrIp=", Value::Address(address), "}]'"),
        (None, None) => (",IpRanges=[{CidrIp=", Value::Address(""), "}]'"),
    };
    command
        .joined(&[
            Piece::Text("'IpProtocol=tcp,FromPort="),
            Piece::Value(port),
            Piece::Text(",ToPort="),
            Piece::Value(port),
            Piece::Text(open),
            Piece::Value(other),
            Piece::Text(close),
        ])
        .region(case.region())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Fact, facts::IpRange, sample_case::SampleCase};

    fn to(cidr: &str) -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ConnectTimeout, 20);
        sample.group("sg-0alb").ip_permissions_egress[0].ip_ranges =
            vec![IpRange { cidr_ip: cidr.to_owned() }];
        sample
    }

    #[test]
    fn fails_when_the_subnet_of_a_target_was_forgotten() {
        let finding = run(&to("10.0.11.0/24").case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(
            finding
                .summary
                .starts_with("shop cannot send to 1 of 2 targets (i-0bb:8080 (10.0.12.5))"),
            "{}",
            finding.summary
        );
        let fix = finding.fix_command.unwrap();
        assert!(
            fix.contains("FromPort=8080,ToPort=8080,UserIdGroupPairs=[{GroupId=sg-0web}]"),
            "{fix}"
        );
    }

    #[test]
    fn advises_when_the_rows_were_answered() {
        let mut sample = to("10.9.0.0/16");
        sample.evidence.signatures.clear();
        sample.fail(Signature::ClosedEarly, 20);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_everything_is_open() {
        assert_eq!(run(&to("0.0.0.0/0").case()).outcome, Outcome::Pass);
        assert_eq!(run(&to("10.0.0.0/16").case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_load_balancer_or_its_groups_are_denied() {
        let mut sample = to("0.0.0.0/0");
        sample.facts.security_groups = SampleCase::missing("security groups");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        let mut sample = to("0.0.0.0/0");
        sample.facts.load_balancer = SampleCase::missing("load balancer");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        let mut sample = to("0.0.0.0/0");
        sample.facts.target_health = Fact::Known(Vec::new());
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
