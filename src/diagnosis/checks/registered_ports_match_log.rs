//! Are the targets of the rows still the registered ones? Looks at `ip:port` in the log against the
//! registered targets, instance ids resolved to their primary address.
//!
//! Rows that went to a port which is registered no more tell of a registration that has since been
//! corrected; rows to an address that is gone tell of a replaced target, so a deployment is near.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-register-targets.html>

use std::net::SocketAddr;

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case, Fact,
    command::{Command, Value},
    network::{endpoints, listed, socket_address},
};

/// The check.
pub const CHECK: Check = Check {
    id: "registered-ports-match-log",
    title: "Do the targets in the log match the registered ones?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let arn = case.target_group_arn().unwrap_or_default();
    let show = Command::new("aws elbv2 describe-target-health")
        .flag("--target-group-arn", Value::Arn(arn))
        .region(case.region());
    if case.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: its rows name no target."),
        );
    }
    let question = format!("Whether the targets in the log are the registered ones of {name}");
    if let Fact::Unknown(gap) = &case.facts.target_health {
        return Finding::unknown(&question, gap).shown_by(show);
    }
    let registered = match endpoints(case) {
        Ok(registered) => registered,
        Err(gap) => return Finding::unknown(&question, &gap).shown_by(show),
    };
    let logged: Vec<(SocketAddr, u64, u64)> = case
        .evidence
        .targets
        .iter()
        .filter_map(|target| {
            Some((socket_address(&target.target)?, target.failures, target.successes))
        })
        .collect();
    if logged.is_empty() {
        return Finding::new(Outcome::Unknown, format!("{question}: no row names a target."))
            .resource(arn)
            .shown_by(show);
    }

    let (mut moved, mut gone, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (target, failures, successes) in &logged {
        let same_address: Vec<String> = registered
            .iter()
            .filter(|endpoint| endpoint.address == Some(target.ip()))
            .map(|endpoint| endpoint.port.to_string())
            .collect();
        if same_address.iter().any(|port| *port == target.port().to_string()) {
            continue;
        }
        if same_address.is_empty() {
            gone.push(format!("{target} ({})", failed_rows(*failures)));
        } else {
            let text = format!(
                "{target} ({}; that address is now registered with port {})",
                failed_rows(*failures),
                listed(&same_address, 3)
            );
            // A port that worked is a task that was replaced, not a mistake.
            if 0 < *failures && *successes == 0 {
                wrong.push(text);
            } else {
                moved.push(text);
            }
        }
    }
    let finding = if !wrong.is_empty() {
        Finding::new(
            Outcome::Fail,
            format!(
                "Requests went to a port of {name} that never worked and is not registered any more: \
                 {}.",
                listed(&wrong, 3)
            ),
        )
    } else if !gone.is_empty() && registered.iter().any(|endpoint| endpoint.address.is_none()) {
        let unresolved: Vec<&str> = registered
            .iter()
            .filter(|endpoint| endpoint.address.is_none())
            .map(|endpoint| endpoint.id.as_str())
            .collect();
        Finding::new(
            Outcome::Unknown,
            format!(
                "{} may or may not be registered in {name}: the address of {} is not known.",
                listed(&gone, 3),
                listed(&unresolved, 3)
            ),
        )
    } else if !gone.is_empty() || !moved.is_empty() {
        gone.append(&mut moved);
        Finding::new(
            Outcome::Advice,
            format!(
                "{} of {} targets in the log are not registered in {name} any more, so they were \
                 deregistered or replaced: {}.",
                gone.len(),
                logged.len(),
                listed(&gone, 3)
            ),
        )
    } else {
        Finding::new(
            Outcome::Pass,
            format!(
                "All {} targets in the log are registered in {name} with the same port.",
                logged.len()
            ),
        )
    };
    finding.resource(arn).shown_by(show)
}

fn failed_rows(failures: u64) -> String {
    match failures {
        0 => "no failed row".to_owned(),
        some => crate::numbers::plural(some, "failed row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{detection::Signature, diagnosis::sample_case::SampleCase};

    #[test]
    fn fails_when_rows_went_to_a_port_that_never_worked() {
        let mut sample = SampleCase::healthy();
        sample.without_success();
        sample.fail(Signature::NotConnected, 40);
        sample.target(0).target.port = Some(80);
        sample.target(1).target.port = Some(80);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("10.0.11.5:8080 (20 failed rows"), "{}", finding.summary);
    }

    #[test]
    fn advises_when_the_port_worked_and_was_replaced() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        sample.target(0).target.port = Some(32768);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_a_target_is_gone() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        if let Fact::Known(targets) = &mut sample.facts.target_health {
            targets.remove(1);
        }
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("1 of 2 targets"));
        assert!(finding.summary.contains("10.0.12.5:8080"));
    }

    #[test]
    fn passes_when_all_are_registered() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
        sample.use_ip_targets();
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_an_instance_cannot_be_resolved() {
        let mut sample = SampleCase::healthy();
        sample.facts.instances = SampleCase::missing("instances");
        sample.facts.network_interfaces = SampleCase::missing("network interfaces");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn unknown_when_health_is_denied_or_no_row_names_a_target() {
        let mut sample = SampleCase::healthy();
        sample.evidence.targets.clear();
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        sample = SampleCase::healthy();
        sample.facts.target_health = SampleCase::missing("target health");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
