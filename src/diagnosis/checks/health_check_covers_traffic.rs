//! Does the health check try what requests use? Looks at HealthCheckPort and HealthCheckProtocol
//! against port and protocol of the registered targets.
//!
//! A check on another port or by another protocol keeps a target Healthy while its traffic fails. It is
//! no cause of the failures; it is why nobody was warned.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>

use std::collections::BTreeMap;

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case, Fact,
    command::{Command, Value},
    network::listed,
};

/// The check.
pub const CHECK: Check = Check {
    id: "health-check-covers-traffic",
    title: "Does the health check use the port and protocol of the traffic?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let arn = case.target_group_arn().unwrap_or_default();
    let show = Command::new("aws elbv2 describe-target-health")
        .flag("--target-group-arn", Value::Arn(arn))
        .region(case.region());
    let group = match &case.facts.target_group {
        Fact::Known(group) => group,
        Fact::Unknown(gap) => {
            return Finding::unknown(
                &format!("Whether the health check of {name} covers its traffic"),
                gap,
            )
            .shown_by(show);
        }
    };
    if group.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: a health check invokes it like any request."),
        );
    }
    if group.health_check_enabled == Some(false) {
        return Finding::new(
            Outcome::Advice,
            format!("{name} has its health check switched off: nothing would show a dead target."),
        )
        .resource(arn)
        .shown_by(show);
    }

    let mut differences = Vec::new();
    if let (Some(check), Some(protocol)) = (&group.health_check_protocol, &group.protocol)
        && check != protocol
    {
        differences.push(format!("by {check} where requests go by {protocol}"));
    }
    let mut known = group.health_check_protocol.is_some();
    let targets = case.facts.target_health.known();
    let on_group = group.health_check_port.as_deref();
    let pairs: Vec<(String, Option<u16>, Option<&str>)> = match targets {
        Some(targets) if !targets.is_empty() => targets
            .iter()
            .map(|description| {
                (
                    description.target.id.clone(),
                    description.target.port.or(group.port),
                    description.health_check_port.as_deref().or(on_group),
                )
            })
            .collect(),
        _ => vec![(name.to_owned(), group.port, on_group)],
    };
    let mut other_ports: BTreeMap<(&str, u16), Vec<String>> = BTreeMap::new();
    for (id, traffic, check) in &pairs {
        match (traffic, check) {
            (_, Some("traffic-port")) => {}
            (Some(traffic), Some(check)) if *check == traffic.to_string() => {}
            (Some(traffic), Some(check)) => {
                other_ports.entry((check, *traffic)).or_default().push(id.clone());
            }
            _ => known = false,
        }
    }
    for ((check, traffic), ids) in &other_ports {
        // One sentence for all, as a rule: the port of a health check is one of the group.
        let whose = match ids.len() {
            all if all == pairs.len() => "requests".to_owned(),
            _ => format!("the requests of {}", listed(ids, 3)),
        };
        differences.push(format!("on port {check} where {whose} go to port {traffic}"));
    }
    let path = group.health_check_path.as_deref().unwrap_or("its path");
    if !differences.is_empty() {
        let protocol = group.protocol.as_deref().unwrap_or_default();
        return Finding::new(
            Outcome::Advice,
            format!(
                "The health check of {name} asks {} ({path}): that is how a target stays Healthy while \
                 its traffic fails. Once the cause is fixed, and not before (else every target turns \
                 unhealthy), let it take the way of the traffic.",
                differences.join(" and ")
            ),
        )
        .resource(arn)
        .shown_by(show)
        .fixed_by(
            Command::new("aws elbv2 modify-target-group")
                .flag("--target-group-arn", Value::Arn(arn))
                .words("--health-check-port traffic-port")
                .flag("--health-check-protocol", Value::Name(protocol))
                .region(case.region()),
        );
    }
    if !known {
        return Finding::new(
            Outcome::Unknown,
            format!(
                "Port and protocol of the health check of {name} are not all in its description."
            ),
        )
        .resource(arn)
        .shown_by(show);
    }
    Finding::new(
        Outcome::Pass,
        format!(
            "The health check of {name} uses the port and protocol of the traffic. It asks for {path} \
             only, on a fresh connection each time, so it sees neither other paths nor reused \
             connections."
        ),
    )
    .resource(arn)
    .shown_by(show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn advises_when_the_health_check_uses_another_port() {
        let mut sample = SampleCase::healthy();
        sample.set_health_check_port("80");
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(
            finding.summary.contains("asks on port 80 where requests go to port 8080"),
            "{}",
            finding.summary
        );
        assert!(finding.fix_command.unwrap().contains("--health-check-port traffic-port"));
    }

    #[test]
    fn advises_when_only_the_registration_differs() {
        // The group says 8080 for both, one target is registered with another port.
        let mut sample = SampleCase::healthy();
        sample.target_group().health_check_port = Some("8080".to_owned());
        sample.target(1).target.port = Some(9090);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        let text = finding.summary;
        assert!(text.contains("8080 where the requests of i-0bb go to port 9090"), "{text}");
    }

    #[test]
    fn advises_when_the_protocol_differs() {
        let mut sample = SampleCase::healthy();
        sample.target_group().health_check_protocol = Some("HTTPS".to_owned());
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_it_is_switched_off() {
        let mut sample = SampleCase::healthy();
        sample.target_group().health_check_enabled = Some(false);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_both_are_the_same() {
        let mut sample = SampleCase::healthy();
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
        sample.set_health_check_port("8080");
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn passes_when_the_registration_is_denied_but_the_group_says_traffic_port() {
        let mut sample = SampleCase::healthy();
        sample.facts.target_health = SampleCase::missing("target health");
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_group_is_denied_or_silent() {
        let mut sample = SampleCase::healthy();
        sample.target_group().health_check_port = None;
        sample.target(0).health_check_port = None;
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        sample.facts.target_group = SampleCase::missing("target group");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
