//! What does the health check say about the targets? Looks at state and reason of each.
//!
//! With only unhealthy targets the load balancer fails open and sends requests to all of them; a
//! draining target takes no new requests, but can end running ones. Healthy proves the health-check path
//! on a fresh connection and nothing else.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html>

use std::collections::BTreeMap;

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case, Fact,
    command::{Command, Value},
    facts::TargetHealthDescription,
    network::listed,
};

/// The check.
pub const CHECK: Check = Check { id: "target-health", title: "Are all targets Healthy?", run };

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let arn = case.target_group_arn().unwrap_or_default();
    let show = Command::new("aws elbv2 describe-target-health")
        .flag("--target-group-arn", Value::Arn(arn))
        .region(case.region());
    if case.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: its health says nothing about its network."),
        );
    }
    let targets = match &case.facts.target_health {
        Fact::Known(targets) => targets,
        Fact::Unknown(gap) => {
            return Finding::unknown(&format!("Whether the targets of {name} are Healthy"), gap)
                .shown_by(show);
        }
    };
    let mut by_state: BTreeMap<&str, Vec<&TargetHealthDescription>> = BTreeMap::new();
    for target in targets {
        let state = target
            .target_health
            .as_ref()
            .and_then(|health| health.state.as_deref())
            .unwrap_or("without a state");
        by_state.entry(state).or_default().push(target);
    }
    let counts: Vec<String> =
        by_state.iter().map(|(state, targets)| format!("{} {state}", targets.len())).collect();
    let counts = counts.join(", ");
    let of = |state: &str| by_state.get(state).map_or(&[][..], Vec::as_slice);
    let total = targets.len();
    let (unhealthy, healthy) = (of("unhealthy"), of("healthy").len());
    let finding = if total == 0 {
        Finding::new(Outcome::Fail, format!("{name} has no registered target."))
    } else if !unhealthy.is_empty() && healthy == 0 {
        Finding::new(
            Outcome::Fail,
            format!(
                "No target of {name} is Healthy ({counts}): the load balancer fails open and sends \
                 requests to all of them. {}.",
                named(unhealthy)
            ),
        )
    } else if !unhealthy.is_empty() {
        Finding::new(
            Outcome::Fail,
            format!(
                "{} of {total} targets of {name} are unhealthy ({counts}). {}.",
                unhealthy.len(),
                named(unhealthy)
            ),
        )
    } else if !of("draining").is_empty() {
        Finding::new(
            Outcome::Advice,
            format!(
                "{} of {total} targets of {name} are draining ({counts}): a deployment or a scale-in \
                 is under way. {}.",
                of("draining").len(),
                named(of("draining"))
            ),
        )
    } else if healthy == total {
        Finding::new(
            Outcome::Pass,
            format!(
                "All {total} targets of {name} are Healthy, which proves the health-check path and not \
                 the traffic."
            ),
        )
    } else if of("unavailable").is_empty() && of("without a state").is_empty() {
        Finding::new(
            Outcome::Advice,
            format!("Not all {total} targets of {name} are in use ({counts})."),
        )
    } else {
        Finding::new(
            Outcome::Unknown,
            format!(
                "The health check does not tell about all {total} targets of {name} ({counts})."
            ),
        )
    };
    finding.resource(arn).shown_by(show)
}

fn named(targets: &[&TargetHealthDescription]) -> String {
    let names: Vec<String> = targets
        .iter()
        .map(|target| {
            let reason = target
                .target_health
                .as_ref()
                .and_then(|health| health.reason.as_deref())
                .unwrap_or("no reason given");
            match target.target.port {
                Some(port) => format!("{}:{port} ({reason})", target.target.id),
                None => format!("{} ({reason})", target.target.id),
            }
        })
        .collect();
    listed(&names, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn fails_when_one_is_unhealthy() {
        let mut sample = SampleCase::healthy();
        sample.set_state(1, "unhealthy", Some("Target.Timeout"));
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert_eq!(
            finding.summary,
            "1 of 2 targets of shop-web are unhealthy (1 healthy, 1 unhealthy). \
             i-0bb:8080 (Target.Timeout)."
        );
    }

    #[test]
    fn fails_when_all_are_unhealthy_and_says_fail_open() {
        let mut sample = SampleCase::healthy();
        sample.set_state(0, "unhealthy", Some("Target.FailedHealthChecks"));
        sample.set_state(1, "unhealthy", Some("Target.FailedHealthChecks"));
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("fails open"));
    }

    #[test]
    fn fails_when_none_is_registered() {
        let mut sample = SampleCase::healthy();
        sample.facts.target_health = Fact::Known(Vec::new());
        assert_eq!(run(&sample.case()).outcome, Outcome::Fail);
    }

    #[test]
    fn advises_when_one_is_draining_or_initial() {
        for state in ["draining", "initial", "unused"] {
            let mut sample = SampleCase::healthy();
            sample.set_state(0, state, None);
            assert_eq!(run(&sample.case()).outcome, Outcome::Advice, "{state}");
        }
    }

    #[test]
    fn passes_when_all_are_healthy_without_overselling_it() {
        let finding = run(&SampleCase::healthy().case());
        assert_eq!(finding.outcome, Outcome::Pass);
        assert!(finding.summary.contains("not the traffic"));
    }

    #[test]
    fn unknown_when_denied_or_switched_off() {
        let mut sample = SampleCase::healthy();
        sample.set_state(0, "unavailable", Some("Target.HealthCheckDisabled"));
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        sample.target(0).target_health = None;
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
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
