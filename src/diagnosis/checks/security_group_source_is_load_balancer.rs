//! Is the traffic port open to the load balancer by name, or to an address range? Looks at the rule
//! that lets the load balancer in.
//!
//! Nodes change address, so a range that fits today may fail tomorrow, and a wide one lets others in. A
//! reference to the load balancer's security group does neither. This is advice, never a cause.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-update-security-groups.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case,
    command::{Command, Value},
    network::{self, Reach},
};

/// The check.
pub const CHECK: Check = Check {
    id: "security-group-source-is-load-balancer",
    title: "Do the targets open their port to the load balancer's security group?",
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
        Reach::Unknown(gap) => Finding::unknown(
            &format!("By which rule the targets of {name} let the load balancer in"),
            &gap,
        ),
        Reach::Blocked(found) | Reach::Partial(found) => Finding::new(
            Outcome::Skipped,
            format!(
                "The load balancer does not get in whole, so its source is not the question: {}.",
                found[0].1.why
            ),
        ),
        Reach::Open(found) => {
            let by_range = found.iter().find(|(_, allowance)| !allowance.by_reference);
            let Some((route, allowance)) = by_range else {
                return Finding::new(
                    Outcome::Pass,
                    format!(
                        "The targets of {name} open their port to the security group of the load \
                         balancer ({}).",
                        found[0].1.rule
                    ),
                )
                .resource(found[0].0.groups.first().cloned().unwrap_or_default());
            };
            let source = case
                .facts
                .load_balancer
                .known()
                .and_then(|load_balancer| load_balancer.security_groups.first())
                .map_or("", String::as_str);
            let group = route.groups.first().map_or("", String::as_str);
            Finding::new(
                Outcome::Advice,
                format!(
                    "{} is open to an address range ({}); a reference to the load balancer's security \
                     group keeps working when its nodes change address, and lets nobody else in.",
                    route.name(),
                    allowance.rule
                ),
            )
            .resource(group)
            .shown_by(
                Command::new("aws ec2 describe-security-groups")
                    .flag("--group-ids", Value::Id(group))
                    .words("--query 'SecurityGroups[*].IpPermissions'")
                    .region(case.region()),
            )
            .fixed_by(
                Command::new("aws ec2 authorize-security-group-ingress")
                    .flag("--group-id", Value::Id(group))
                    .words("--protocol tcp")
                    .flag("--port", Value::Number(u64::from(route.port)))
                    .flag("--source-group", Value::Id(source))
                    .region(case.region()),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{facts::IpRange, sample_case::SampleCase};

    fn by_range(cidr: &str) -> SampleCase {
        let mut sample = SampleCase::healthy();
        let rule = &mut sample.group("sg-0web").ip_permissions[0];
        rule.user_id_group_pairs.clear();
        rule.ip_ranges.push(IpRange { cidr_ip: cidr.to_owned() });
        sample
    }

    #[test]
    fn advises_when_the_source_is_a_range() {
        let finding = run(&by_range("10.0.0.0/16").case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("sg-0web opens tcp 8080 to 10.0.0.0/16"));
        assert!(finding.fix_command.unwrap().contains("--source-group sg-0alb"));
    }

    #[test]
    fn passes_when_the_source_is_the_load_balancer() {
        assert_eq!(run(&SampleCase::healthy().case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_groups_are_denied() {
        let mut sample = SampleCase::healthy();
        sample.facts.security_groups = SampleCase::missing("security groups");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_when_nothing_gets_in() {
        assert_eq!(run(&by_range("10.9.0.0/16").case()).outcome, Outcome::Skipped);
    }
}
