//! Is the load balancer itself in order? Looks at its state.
//!
//! `active_impaired` means that it cannot get the resources to scale, which shows as errors under load.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case, Fact,
    command::{Command, Value},
};

/// The check.
pub const CHECK: Check =
    Check { id: "load-balancer-state", title: "Is the load balancer active?", run };

fn run(case: &Case<'_>) -> Finding {
    let name = case.load_balancer_name();
    let load_balancer = match &case.facts.load_balancer {
        Fact::Known(load_balancer) => load_balancer,
        Fact::Unknown(gap) => {
            return Finding::unknown(&format!("In which state {name} is"), gap);
        }
    };
    let state = load_balancer.state.as_ref();
    let because = state
        .and_then(|state| state.reason.as_deref())
        .map_or_else(String::new, |reason| format!(" ({reason})"));
    let finding = match state.and_then(|state| state.code.as_deref()) {
        None => Finding::new(
            Outcome::Unknown,
            format!("The state of {name} is not in its description."),
        ),
        Some("active") => Finding::new(Outcome::Pass, format!("{name} is active.")),
        Some("active_impaired") => Finding::new(
            Outcome::Fail,
            format!(
                "{name} is active_impaired{because}: it routes traffic but lacks the resources to \
                 scale; look at the free addresses of its subnets."
            ),
        ),
        Some("failed") => Finding::new(
            Outcome::Fail,
            format!("{name} could not be set up: its state is failed{because}."),
        ),
        Some("provisioning") => Finding::new(
            Outcome::Advice,
            format!("{name} is still being set up: its state is provisioning{because}."),
        ),
        Some(other) => Finding::new(
            Outcome::Unknown,
            format!("The state of {name} is {other}{because}, which alb502 does not know."),
        ),
    };
    let arn = &load_balancer.load_balancer_arn;
    finding.resource(arn).shown_by(
        Command::new("aws elbv2 describe-load-balancers")
            .flag("--load-balancer-arns", Value::Arn(arn))
            .words("--query 'LoadBalancers[*].State'")
            .region(case.region()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    fn in_state(code: Option<&str>) -> SampleCase {
        let mut sample = SampleCase::healthy();
        if let Fact::Known(load_balancer) = &mut sample.facts.load_balancer {
            load_balancer.state.as_mut().unwrap().code = code.map(str::to_owned);
        }
        sample
    }

    #[test]
    fn fails_when_impaired_or_failed() {
        for code in ["active_impaired", "failed"] {
            assert_eq!(run(&in_state(Some(code)).case()).outcome, Outcome::Fail);
        }
    }

    #[test]
    fn advises_when_provisioning() {
        assert_eq!(run(&in_state(Some("provisioning")).case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_active() {
        assert_eq!(run(&SampleCase::healthy().case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_denied_absent_or_new() {
        assert_eq!(run(&in_state(None).case()).outcome, Outcome::Unknown);
        assert_eq!(run(&in_state(Some("paused")).case()).outcome, Outcome::Unknown);
        let mut sample = SampleCase::healthy();
        sample.facts.load_balancer = SampleCase::missing("load balancer");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }
}
