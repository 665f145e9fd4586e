//! Do protocol and port of the target group fit what the targets speak? Looks at Protocol,
//! ProtocolVersion and HealthCheckProtocol of the group and at the registered ports.
//!
//! A group that speaks HTTP to a port that expects TLS, or the other way round, fails on every request.
//! A port number alone is only a suspicion: it counts when no request succeeded and the failures look
//! like it.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html>

use std::collections::BTreeSet;

use super::{Check, Finding, Outcome};
use crate::{
    detection::Signature,
    diagnosis::{
        Case, Fact, Unconnected,
        command::{Command, Value},
        facts::TargetGroup,
        network::listed,
    },
};

/// The check.
pub const CHECK: Check =
    Check { id: "protocol-port-match", title: "Do protocol and port fit each other?", run };

/// Ports on which TLS is usual.
const TLS_PORTS: [u16; 2] = [443, 8443];
/// Ports on which plain HTTP is usual.
const PLAIN_PORTS: [u16; 2] = [80, 8080];

/// Something about the group that would explain failures of one form.
struct Suspicion {
    text: String,
    /// The failures look like it and nothing succeeded.
    confirmed: bool,
    /// Worth a word even without failures.
    unwise: bool,
    /// The protocol that would fit.
    instead: Option<&'static str>,
}

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let arn = case.target_group_arn().unwrap_or_default();
    let show = Command::new("aws elbv2 describe-target-groups")
        .flag("--target-group-arns", Value::Arn(arn))
        .words(
            "--query 'TargetGroups[*].{Protocol:Protocol,Version:ProtocolVersion,Port:Port,\
             HealthCheckProtocol:HealthCheckProtocol,HealthCheckPort:HealthCheckPort}'",
        )
        .region(case.region());
    let group = match &case.facts.target_group {
        Fact::Known(group) => group,
        Fact::Unknown(gap) => {
            return Finding::unknown(
                &format!("Whether protocol and port of {name} fit each other"),
                gap,
            )
            .shown_by(show);
        }
    };
    if group.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: it has no protocol and no port."),
        );
    }
    let Some(protocol) = group.protocol.as_deref() else {
        return Finding::new(
            Outcome::Unknown,
            format!("The protocol of {name} is not in its description."),
        )
        .resource(arn)
        .shown_by(show);
    };
    let ports = ports(case, group);
    let suspicions = suspicions(case, group, protocol, &ports);
    let numbers: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let spoken = format!("{name} speaks {protocol} to port {}", listed(&numbers, 4));
    let finding = if let Some(found) = suspicions.iter().find(|one| one.confirmed) {
        let failures = case.evidence.counts.failures;
        let finding = Finding::new(
            Outcome::Fail,
            format!(
                "{}, and of {} requests none succeeded while {failures} failed the way this fails. \
                 `ss -tlnp` on a target shows what listens there.",
                found.text, case.evidence.counts.requests
            ),
        );
        match found.instead {
            Some(protocol) => finding.fixed_by(replacement(case, group, protocol, &ports)),
            None => finding,
        }
    } else if let Some(found) = suspicions.iter().find(|one| one.unwise) {
        Finding::new(
            Outcome::Advice,
            format!(
                "{}; the rows and what CloudWatch counted do not look as if that were the cause ({}).",
                found.text,
                crate::numbers::plural(case.evidence.counts.successes, "successful request")
            ),
        )
    } else {
        Finding::new(Outcome::Pass, format!("{spoken}: nothing unusual."))
    };
    finding.resource(arn).shown_by(show)
}

/// The registered ports; the one of the group when the registration is not known.
fn ports(case: &Case<'_>, group: &TargetGroup) -> BTreeSet<u16> {
    let registered: BTreeSet<u16> = case
        .facts
        .target_health
        .known()
        .into_iter()
        .flatten()
        .filter_map(|description| description.target.port)
        .collect();
    if registered.is_empty() { group.port.into_iter().collect() } else { registered }
}

fn suspicions(
    case: &Case<'_>,
    group: &TargetGroup,
    protocol: &str,
    ports: &BTreeSet<u16>,
) -> Vec<Suspicion> {
    let name = case.target_group_name();
    let failures = case.evidence.counts.failures;
    let alone = case.evidence.counts.successes == 0 && 0 < failures;
    // "Nearly all": a few rows of a deployment in between do not change the picture.
    let nearly_all = |count: u64| alone && failures * 9 <= count * 10;
    let closed = nearly_all(case.closed());
    // CloudWatch may know that no handshake failed.
    let refused = nearly_all(case.count(Signature::NotConnected))
        && !matches!(case.unconnected(), Unconnected::Refused(_) | Unconnected::Neither(_));
    let unusual = |list: &[u16]| ports.iter().copied().find(|port| list.contains(port));
    let mut found = Vec::new();
    if protocol == "HTTP"
        && let Some(port) = unusual(&TLS_PORTS)
    {
        found.push(Suspicion {
            text: format!("{name} speaks plain HTTP to port {port}, where TLS is usual"),
            confirmed: closed,
            unwise: true,
            instead: Some("HTTPS"),
        });
    }
    if protocol == "HTTPS"
        && let Some(port) = unusual(&PLAIN_PORTS)
    {
        found.push(Suspicion {
            text: format!("{name} speaks TLS to port {port}, where plain HTTP is usual"),
            confirmed: refused,
            unwise: true,
            instead: Some("HTTP"),
        });
    }
    if let Some(version @ ("HTTP2" | "GRPC")) = group.protocol_version.as_deref() {
        found.push(Suspicion {
            text: format!("{name} speaks {version} to its targets, which must answer in HTTP/2"),
            confirmed: closed,
            unwise: false,
            instead: None,
        });
    }
    if group.health_check_enabled != Some(false)
        && let Some(check) = group.health_check_protocol.as_deref()
        && check != protocol
    {
        found.push(Suspicion {
            text: format!("{name} sends requests by {protocol} and health checks by {check}"),
            confirmed: closed || refused,
            unwise: true,
            instead: match check {
                "HTTPS" => Some("HTTPS"),
                "HTTP" => Some("HTTP"),
                _ => None,
            },
        });
    }
    found
}

/// The protocol of a group cannot be changed: it takes a new group.
fn replacement(
    case: &Case<'_>,
    group: &TargetGroup,
    protocol: &'static str,
    ports: &BTreeSet<u16>,
) -> Command {
    let port = ports.first().copied().or(group.port).unwrap_or_default();
    let command = Command::new("aws elbv2 create-target-group")
        .words("--name '<NEW NAME>'")
        .flag("--protocol", Value::Name(protocol))
        .flag("--port", Value::Number(u64::from(port)))
        .flag("--vpc-id", Value::Id(group.vpc_id.as_deref().unwrap_or_default()));
    match group.target_type.as_deref() {
        Some(kind) => command.flag("--target-type", Value::Name(kind)),
        None => command,
    }
    .region(case.region())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{metrics::Metric, sample_case::SampleCase};

    fn on_port(port: u16, protocol: &str) -> SampleCase {
        let mut sample = SampleCase::healthy();
        sample.target_group().port = Some(port);
        sample.target_group().protocol = Some(protocol.to_owned());
        sample.target_group().health_check_protocol = Some(protocol.to_owned());
        sample.target(0).target.port = Some(port);
        sample.target(1).target.port = Some(port);
        sample
    }

    #[test]
    fn fails_when_plain_http_meets_a_tls_port_and_nothing_succeeds() {
        let mut sample = on_port(8443, "HTTP");
        sample.without_success();
        sample.fail(Signature::ClosedEarly, 60);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("port 8443"));
        let fix = finding.fix_command.unwrap();
        assert!(fix.contains("--protocol HTTPS") && fix.contains("--port 8443 "), "{fix}");
        assert!(fix.contains("--vpc-id vpc-0a"), "{fix}");
    }

    #[test]
    fn fails_when_tls_meets_a_plain_port_and_nothing_connects() {
        let mut sample = on_port(8080, "HTTPS");
        sample.without_success();
        sample.fail(Signature::NotConnected, 60);
        assert_eq!(run(&sample.case()).outcome, Outcome::Fail);
        sample.count(&[(Metric::TlsErrors, 60)]);
        assert_eq!(run(&sample.case()).outcome, Outcome::Fail);
        // The same rows, and CloudWatch counted no handshake: nothing listens.
        sample.count(&[(Metric::ConnectionErrors, 60)]);
        assert_ne!(run(&sample.case()).outcome, Outcome::Fail);
    }

    #[test]
    fn fails_when_a_grpc_group_closes_everything() {
        let mut sample = SampleCase::healthy();
        sample.target_group().protocol_version = Some("GRPC".to_owned());
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
        sample.without_success();
        sample.fail(Signature::ClosedEarly, 60);
        assert_eq!(run(&sample.case()).outcome, Outcome::Fail);
    }

    #[test]
    fn advises_when_the_port_is_unusual_but_requests_succeed() {
        let mut sample = on_port(443, "HTTP");
        sample.fail(Signature::ClosedEarly, 60);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_failures_look_otherwise() {
        let mut sample = on_port(443, "HTTP");
        sample.without_success();
        sample.fail(Signature::ConnectTimeout, 60);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_all_requests_fail_but_protocol_and_port_fit() {
        let mut sample = SampleCase::healthy();
        sample.without_success();
        sample.fail(Signature::ClosedEarly, 60);
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_group_is_denied() {
        let mut sample = SampleCase::healthy();
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
