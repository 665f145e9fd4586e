//! Do the security groups of the targets let the load balancer in? Looks at the inbound rules of each
//! target's primary interface, for the traffic port and for the health-check port.
//!
//! A port that is not open drops packets, which shows as a 504 after ten seconds. With another
//! health-check port open the target is Healthy and dead at once. Rows that were answered within
//! milliseconds speak against it.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-update-security-groups.html>

use super::{Check, Finding, Outcome};
use crate::{
    detection::Signature,
    diagnosis::{
        Case,
        command::{Command, Piece, Value},
        network::{self, Network, Obstacle, Reach, Route, listed},
    },
};

/// The check.
pub const CHECK: Check = Check {
    id: "security-group-allows-traffic",
    title: "Do the security groups of the targets let the load balancer in?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let network = network::network(case);
    match network.reach(|route| &route.ingress) {
        Reach::Lambda => Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: no security group stands in between."),
        ),
        Reach::Unknown(gap) => {
            let finding = Finding::unknown(
                &format!("Whether the security groups of {name} let the load balancer in"),
                &gap,
            );
            let finding = with_contradiction(finding, case);
            match network.traffic().find(|route| !route.groups.is_empty()) {
                Some(route) => finding.shown_by(show(case, &route.groups)),
                None => finding,
            }
        }
        Reach::Blocked(found) => obstructed(case, &network, &found, false),
        Reach::Partial(found) => obstructed(case, &network, &found, true),
        Reach::Open(found) => {
            let closed_checks: Vec<&Route> = found
                .iter()
                .filter_map(|(route, _)| network.health_check_of(route))
                .filter(|check| check.ingress.is_blocked())
                .collect();
            let groups: Vec<String> = groups_of(found.iter().map(|(route, _)| *route));
            let finding = if let Some(check) = closed_checks.first() {
                Finding::new(
                    Outcome::Advice,
                    format!(
                        "The traffic port of all {} targets is open ({}), but the health-check port of \
                         {} is not.",
                        found.len(),
                        found[0].1.rule,
                        check.name()
                    ),
                )
                .fixed_by(fix(case, check))
            } else {
                Finding::new(
                    Outcome::Pass,
                    format!(
                        "All {} targets let the load balancer in ({}).",
                        found.len(),
                        found[0].1.rule
                    ),
                )
            };
            with_contradiction(finding, case)
                .resource(groups.first().cloned().unwrap_or_default())
                .shown_by(show(case, &groups))
        }
    }
}

fn obstructed(
    case: &Case<'_>,
    network: &Network,
    found: &[(&Route, &Obstacle)],
    partial: bool,
) -> Finding {
    let (route, obstacle) = found[0];
    let timeouts = case.count(Signature::ConnectTimeout);
    let contradicted = network::contradiction(case).is_some();
    let outcome =
        if contradicted || (partial && timeouts == 0) { Outcome::Advice } else { Outcome::Fail };
    let names: Vec<String> = found.iter().map(|(route, _)| route.name()).collect();
    let health = match network.health_check_of(route) {
        Some(check) if check.ingress.is_allowed() => {
            format!(" The health-check port {} is open: that is how it stays Healthy.", check.port)
        }
        Some(check) if check.ingress.is_blocked() => {
            format!(" The health-check port {} is shut as well.", check.port)
        }
        _ => String::new(),
    };
    let effect = if partial {
        "only a part of the load balancer's nodes gets in"
    } else {
        "the load balancer cannot get in"
    };
    let groups = groups_of(found.iter().map(|(route, _)| *route));
    let finding = Finding::new(
        outcome,
        format!(
            "At {} of {} targets ({}) {effect}: {}.{health}",
            found.len(),
            network.traffic().count(),
            listed(&names, 3),
            obstacle.why
        ),
    );
    let finding = with_contradiction(finding, case)
        .resource(groups.first().cloned().unwrap_or_default())
        .shown_by(show(case, &groups));
    // Nobody should open a group of which the rows say that it lets requests through.
    if contradicted { finding } else { finding.fixed_by(fix(case, route)) }
}

/// "Not your security group", when the rows say so.
fn with_contradiction(mut finding: Finding, case: &Case<'_>) -> Finding {
    if let Some(text) = network::contradiction(case) {
        finding.summary.push_str(&format!(
            " The rows contradict a blocked port: {text}, so it is not your security group."
        ));
    }
    finding
}

fn groups_of<'a>(routes: impl Iterator<Item = &'a Route>) -> Vec<String> {
    let mut groups: Vec<String> = routes.flat_map(|route| route.groups.clone()).collect();
    groups.sort();
    groups.dedup();
    groups
}

fn show(case: &Case<'_>, groups: &[String]) -> Command {
    let mut command = Command::new("aws ec2 describe-security-groups --group-ids");
    for group in groups.iter().take(5) {
        command = command.joined(&[Piece::Value(Value::Id(group))]);
    }
    command.words("--query 'SecurityGroups[*].IpPermissions'").region(case.region())
}

fn fix(case: &Case<'_>, route: &Route) -> Command {
    let source = case
        .facts
        .load_balancer
        .known()
        .and_then(|load_balancer| load_balancer.security_groups.first())
        .map_or("", String::as_str);
    let group = route.groups.first().map_or("", String::as_str);
    Command::new("aws ec2 authorize-security-group-ingress")
        .flag("--group-id", Value::Id(group))
        .words("--protocol tcp")
        .flag("--port", Value::Number(u64::from(route.port)))
        .flag("--source-group", Value::Id(source))
        .region(case.region())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{facts::IpRange, sample_case::SampleCase};

    fn blocked() -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ConnectTimeout, 20);
        sample.group("sg-0web").ip_permissions[0].from_port = Some(80);
        sample.group("sg-0web").ip_permissions[0].to_port = Some(80);
        sample
    }

    #[test]
    fn fails_when_the_traffic_port_is_not_open() {
        let finding = run(&blocked().case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert_eq!(
            finding.summary,
            "At 2 of 2 targets (i-0aa:8080 (10.0.11.5) and i-0bb:8080 (10.0.12.5)) the load balancer \
             cannot get in: no rule of sg-0web lets tcp 8080 in from sg-0alb (it opens tcp 80)."
        );
        assert_eq!(finding.resource.unwrap(), "sg-0web");
        let fix = finding.fix_command.unwrap();
        assert!(
            fix.contains("--group-id sg-0web")
                && fix.contains("--port 8080")
                && fix.contains("--source-group sg-0alb"),
            "{fix}"
        );
    }

    #[test]
    fn fails_when_healthy_but_dead() {
        let mut sample = blocked();
        sample.set_health_check_port("80");
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(
            finding
                .summary
                .contains("The health-check port 80 is open: that is how it stays Healthy.")
        );
    }

    #[test]
    fn fails_when_a_part_of_the_nodes_is_shut_out_and_connections_time_out() {
        let mut sample = SampleCase::failing(Signature::ConnectTimeout, 20);
        let rule = &mut sample.group("sg-0web").ip_permissions[0];
        rule.user_id_group_pairs.clear();
        rule.ip_ranges.push(IpRange { cidr_ip: "10.0.1.0/24".to_owned() });
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("subnet-0b (10.0.2.0/24)"));
        sample.evidence.signatures.clear();
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_the_port_is_shut_but_the_rows_were_answered() {
        let mut sample = blocked();
        sample.evidence.signatures.clear();
        sample.fail(Signature::NotConnected, 20);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("it is not your security group"));
    }

    #[test]
    fn advises_when_only_the_health_check_port_is_shut() {
        let mut sample = SampleCase::healthy();
        sample.set_health_check_port("80");
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.fix_command.unwrap().contains("--port 80 "));
    }

    #[test]
    fn passes_when_the_port_is_open() {
        let finding = run(&SampleCase::failing(Signature::NotConnected, 20).case());
        assert_eq!(finding.outcome, Outcome::Pass);
        assert!(finding.summary.contains("sg-0web opens tcp 8080 to sg-0alb"));
        assert!(finding.summary.contains("it is not your security group"));
        let finding = run(&SampleCase::failing(Signature::ConnectTimeout, 20).case());
        assert_eq!(finding.outcome, Outcome::Pass);
        assert!(!finding.summary.contains("not your security group"));
    }

    #[test]
    fn unknown_when_a_target_is_outside_the_vpc() {
        let mut sample = SampleCase::healthy();
        sample.target(0).target.id = "192.168.7.7".to_owned();
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(finding.summary.contains("outside the VPC"));
    }

    #[test]
    fn unknown_when_the_groups_are_denied() {
        let mut sample = SampleCase::healthy();
        sample.facts.security_groups = SampleCase::missing("security groups");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
