//! Do the network ACLs let requests and answers through? Looks at the ACLs of the load balancer's and
//! the targets' subnets, both ways.
//!
//! ACLs are stateless: the answer needs a rule of its own, to the ports 1024 to 65535. What they drop
//! shows as a 504 after ten seconds.
//!
//! Source: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case,
    command::{Command, Piece, Value},
    network::{self, MissingEntry, Reach, listed},
};

/// The check.
pub const CHECK: Check = Check {
    id: "network-acl-allows-traffic",
    title: "Do the network ACLs let requests and answers through?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let network = network::network(case);
    match network.reach(|route| &route.network_acl) {
        Reach::Lambda => Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: no network ACL stands in between."),
        ),
        Reach::Unknown(gap) => Finding::unknown(
            &format!("Whether the network ACLs let requests to {name} and their answers through"),
            &gap,
        ),
        Reach::Open(found) => {
            let finding = Finding::new(
                Outcome::Pass,
                format!(
                    "The way to all {} targets of {name} and back is open: {}.",
                    found.len(),
                    found[0].1.rule
                ),
            );
            with_show(finding, case, found[0].0.subnet.as_deref())
        }
        Reach::Blocked(ref found) | Reach::Partial(ref found) => {
            let partial = found.iter().all(|(route, _)| !route.network_acl.is_blocked());
            let contradiction = network::contradiction(case);
            let outcome = match (&contradiction, partial) {
                (Some(_), _) => Outcome::Advice,
                (None, true) if case.evidence.counts.connect_504 == 0 => Outcome::Advice,
                (None, _) => Outcome::Fail,
            };
            let names: Vec<String> = found.iter().map(|(route, _)| route.name()).collect();
            let against = contradiction
                .map_or_else(String::new, |text| format!(" The rows contradict that: {text}."));
            let (route, obstacle) = found[0];
            let mut finding = Finding::new(
                outcome,
                format!(
                    "{} {} of {} targets of {name} ({}): {}.{against}",
                    if partial {
                        "A network ACL stands in the way of some connections to"
                    } else {
                        "A network ACL cuts off"
                    },
                    found.len(),
                    network.traffic().count(),
                    listed(&names, 3),
                    obstacle.why
                ),
            );
            if let Some(entry) = &obstacle.missing_entry {
                finding = finding.resource(entry.network_acl_id.clone());
                if let Some(fix) = fix(case, entry) {
                    finding = finding.fixed_by(fix);
                }
            }
            with_show(finding, case, route.subnet.as_deref())
        }
    }
}

fn with_show(finding: Finding, case: &Case<'_>, subnet: Option<&str>) -> Finding {
    let command = Command::new("aws ec2 describe-network-acls");
    let command = match (&finding.resource, subnet) {
        (Some(id), _) => command.flag("--network-acl-ids", Value::Id(id)),
        (None, Some(subnet)) => command.joined(&[
            Piece::Text("--filters Name=association.subnet-id,Values="),
            Piece::Value(Value::Id(subnet)),
        ]),
        (None, None) => command,
    };
    finding.shown_by(command.words("--query 'NetworkAcls[*].Entries'").region(case.region()))
}

fn fix(case: &Case<'_>, entry: &MissingEntry) -> Option<Command> {
    let network = entry.network.to_string();
    let command = Command::new("aws ec2 create-network-acl-entry")
        .flag("--network-acl-id", Value::Id(&entry.network_acl_id))
        .flag("--rule-number", Value::Number(u64::from(entry.rule_number?)))
        .words(if entry.egress { "--egress" } else { "--ingress" })
        .words("--protocol 6")
        .joined(&[
            Piece::Text("--port-range From="),
            Piece::Value(Value::Number(u64::from(entry.ports.0))),
            Piece::Text(",To="),
            Piece::Value(Value::Number(u64::from(entry.ports.1))),
        ])
        .flag(
            if network.contains(':') { "--ipv6-cidr-block" } else { "--cidr-block" },
            Value::Address(&network),
        )
        .words("--rule-action allow");
    Some(command.region(case.region()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detection::Signature,
        diagnosis::{
            Fact,
            facts::{NetworkAclEntry, PortRange},
            sample_case::SampleCase,
        },
    };

    fn with_entry(entry: NetworkAclEntry) -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ConnectTimeout, 20);
        if let Fact::Known(acls) = &mut sample.facts.network_acls {
            acls[0].entries.push(entry);
        }
        sample
    }

    fn deny(number: u32, egress: bool, from: i32, to: i32) -> NetworkAclEntry {
        NetworkAclEntry {
            rule_number: number,
            protocol: "6".to_owned(),
            rule_action: "deny".to_owned(),
            egress,
            cidr_block: Some("0.0.0.0/0".to_owned()),
            ipv6_cidr_block: None,
            port_range: Some(PortRange { from, to }),
        }
    }

    #[test]
    fn fails_when_the_port_is_denied() {
        let finding = run(&with_entry(deny(50, false, 8000, 8100)).case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("acl-0a"), "{}", finding.summary);
        assert!(finding.summary.contains("rule 50"), "{}", finding.summary);
        let fix = finding.fix_command.unwrap();
        assert!(
            fix.contains("--network-acl-id acl-0a")
                && fix.contains("--rule-number 49")
                && fix.contains("--ingress")
                && fix.contains("--port-range From=8080,To=8080"),
            "{fix}"
        );
    }

    #[test]
    fn fails_when_a_part_of_the_return_ports_is_denied_and_connections_time_out() {
        let mut sample = with_entry(deny(50, true, 1024, 32767));
        if let Fact::Known(acls) = &mut sample.facts.network_acls {
            // The way there stays open.
            acls[0].entries.push(NetworkAclEntry {
                rule_action: "allow".to_owned(),
                ..deny(40, true, 8080, 8080)
            });
        }
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("drops a part of tcp 1024-65535"), "{}", finding.summary);
    }

    #[test]
    fn advises_when_the_rows_were_answered() {
        let mut sample = with_entry(deny(50, false, 8000, 8100));
        sample.evidence.signatures.clear();
        sample.fail(Signature::NotConnected, 20);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_the_denial_comes_later_or_is_about_another_port() {
        for entry in [deny(150, false, 8000, 8100), deny(50, false, 22, 22)] {
            assert_eq!(run(&with_entry(entry).case()).outcome, Outcome::Pass);
        }
    }

    #[test]
    fn unknown_when_the_acls_are_denied() {
        let mut sample = SampleCase::healthy();
        sample.facts.network_acls = SampleCase::missing("network ACLs");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
