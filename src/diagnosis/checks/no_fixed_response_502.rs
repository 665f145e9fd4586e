//! Does a rule answer 502 on purpose? Looks at the actions of listeners and rules.
//!
//! A fixed response with status 502, often left from a maintenance window, looks to a client like a
//! broken target. The log tells them apart: such rows name the action fixed-response.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case,
    command::{Command, Value},
    facts::Action,
    network::listed,
};

/// The check.
pub const CHECK: Check =
    Check { id: "no-fixed-response-502", title: "Does no rule answer 502 on purpose?", run };

fn run(case: &Case<'_>) -> Finding {
    let name = case.load_balancer_name();
    let on_purpose = case.evidence.counts.intentional_502;
    let (listeners, rules) = (&case.facts.listeners, &case.facts.rules);
    let mut found: Vec<(String, String, &str)> = Vec::new();
    for listener in listeners.known().into_iter().flatten() {
        if answers_502(&listener.default_actions) {
            let port = listener.port.map_or_else(|| "unknown".to_owned(), |port| port.to_string());
            found.push((
                format!("the default action of the listener on port {port}"),
                listener.listener_arn.clone(),
                "listener",
            ));
        }
    }
    for rule in rules.known().into_iter().flatten() {
        // The default rule repeats the default action of its listener.
        let repeated = rule.priority.as_deref() == Some("default") && listeners.known().is_some();
        if !repeated && answers_502(&rule.actions) {
            found.push((
                format!("the rule with priority {}", rule.priority.as_deref().unwrap_or("unknown")),
                rule.rule_arn.clone(),
                "rule",
            ));
        }
    }
    if let Some((_, arn, kind)) = found.first() {
        let places: Vec<&str> = found.iter().map(|(place, ..)| place.as_str()).collect();
        let places = listed(&places, 3);
        let finding = if 0 < on_purpose {
            Finding::new(
                Outcome::Fail,
                format!(
                    "{on_purpose} rows were answered 502 on purpose: {places} of {name} does that."
                ),
            )
        } else {
            Finding::new(
                Outcome::Advice,
                format!(
                    "On {name}, {places} answers 502 on purpose; no row of this incident came from it."
                ),
            )
        };
        let show = if *kind == "rule" {
            Command::new("aws elbv2 describe-rules").flag("--rule-arns", Value::Arn(arn))
        } else {
            Command::new("aws elbv2 describe-listeners").flag("--listener-arns", Value::Arn(arn))
        };
        return finding.resource(arn.clone()).shown_by(show.region(case.region()));
    }
    if let Some(gap) = listeners.gap().or(rules.gap()) {
        return Finding::unknown(&format!("Whether a rule of {name} answers 502 on purpose"), gap);
    }
    let show = Command::new("aws elbv2 describe-listeners")
        .flag("--load-balancer-arn", Value::Arn(case.load_balancer_arn().unwrap_or_default()))
        .region(case.region());
    if 0 < on_purpose {
        return Finding::new(
            Outcome::Advice,
            format!(
                "{on_purpose} rows were answered 502 on purpose, but no rule of {name} does that now: \
                 it was removed since, or WAF answers so."
            ),
        )
        .shown_by(show);
    }
    Finding::new(
        Outcome::Pass,
        format!("No listener and no rule of {name} answers 502 on purpose."),
    )
    .shown_by(show)
}

fn answers_502(actions: &[Action]) -> bool {
    actions.iter().any(|action| {
        action.kind == "fixed-response"
            && action
                .fixed_response_config
                .as_ref()
                .and_then(|config| config.status_code.as_deref())
                == Some("502")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detection::Signature,
        diagnosis::{Fact, facts::FixedResponseConfig, sample_case::SampleCase},
    };

    fn with_fixed_response(status: &str) -> SampleCase {
        let mut sample = SampleCase::healthy();
        if let Fact::Known(rules) = &mut sample.facts.rules {
            rules[0].actions = vec![Action {
                kind: "fixed-response".to_owned(),
                target_group_arn: None,
                fixed_response_config: Some(FixedResponseConfig {
                    status_code: Some(status.to_owned()),
                }),
            }];
        }
        sample
    }

    #[test]
    fn fails_when_a_rule_does_it_and_rows_show_it() {
        let mut sample = with_fixed_response("502");
        sample.fail(Signature::Intentional, 12);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.starts_with("12 rows"));
        assert!(finding.command.unwrap().contains("listener-rule/app/shop"));
    }

    #[test]
    fn advises_when_a_rule_does_it_but_no_row_shows_it() {
        assert_eq!(run(&with_fixed_response("502").case()).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_rows_show_it_but_no_rule_does() {
        let mut sample = SampleCase::healthy();
        sample.fail(Signature::Intentional, 12);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("WAF"));
    }

    #[test]
    fn passes_when_no_rule_does_it() {
        assert_eq!(run(&SampleCase::healthy().case()).outcome, Outcome::Pass);
        assert_eq!(run(&with_fixed_response("503").case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_rules_are_denied_even_if_the_listeners_are_clean() {
        let mut sample = SampleCase::healthy();
        sample.facts.rules = SampleCase::missing("listener rules");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn a_known_rule_is_told_even_if_the_listeners_are_denied() {
        let mut sample = with_fixed_response("502");
        sample.facts.listeners = SampleCase::missing("listeners");
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }
}
