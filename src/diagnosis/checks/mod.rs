//! One file per check: a question to the configuration, answered with a sentence.

pub mod access_logging_enabled;
pub mod deregistration_delay_covers_requests;
pub mod health_check_covers_traffic;
pub mod keep_alive_exceeds_idle_timeout;
pub mod lambda_multi_value_headers;
pub mod load_balancer_egress_allows_targets;
pub mod load_balancer_state;
pub mod metrics_match_log;
pub mod network_acl_allows_traffic;
pub mod no_error_reason_given;
pub mod no_fixed_response_502;
pub mod protocol_port_match;
pub mod registered_ports_match_log;
pub mod response_format;
pub mod security_group_allows_traffic;
pub mod security_group_source_is_load_balancer;
pub mod subnet_free_addresses;
pub mod target_health;

use serde::Serialize;

use super::{Case, facts::Gap};

/// A check: its name and its question.
pub struct Check {
    /// Kebab case; the file has the same name.
    pub id: &'static str,
    /// What it asks, in a few words.
    pub title: &'static str,
    /// Answers from what is known.
    pub run: fn(&Case<'_>) -> Finding,
}

/// The answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// This explains (or would explain) failures.
    Fail,
    /// Unwise, but not a cause.
    Advice,
    /// Cannot be told: a fact is missing.
    Unknown,
    /// This does not explain the failures.
    Pass,
    /// Does not apply here.
    Skipped,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The answer.
    pub outcome: Outcome,
    /// One sentence with the resource and the numbers. A missing fact is named in it.
    pub summary: String,
    /// ARN or id of what was looked at.
    pub resource: Option<String>,
    /// The command that shows it.
    pub command: Option<String>,
    /// The command that fixes it.
    pub fix_command: Option<String>,
}

impl Finding {
    /// A finding without resource and commands.
    pub fn new(outcome: Outcome, summary: impl Into<String>) -> Self {
        Self { outcome, summary: summary.into(), resource: None, command: None, fix_command: None }
    }

    /// A fact is missing: the sentence says which and why.
    pub fn unknown(question: &str, gap: &Gap) -> Self {
        Self::new(
            Outcome::Unknown,
            format!("{question}: not known, {} missing ({}).", gap.fact, gap.reason),
        )
    }

    /// Names the resource.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Adds the command that shows the finding.
    #[must_use]
    pub fn shown_by(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Adds the command that fixes it.
    #[must_use]
    pub fn fixed_by(mut self, command: impl Into<String>) -> Self {
        self.fix_command = Some(command.into());
        self
    }
}

/// A finding with the name of its check, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// The check.
    pub id: &'static str,
    /// The answer.
    pub outcome: Outcome,
    /// One sentence.
    pub summary: String,
    /// ARN or id of what was looked at.
    pub resource: Option<String>,
    /// The command that shows it.
    pub command: Option<String>,
    /// The command that fixes it.
    pub fix_command: Option<String>,
}

/// Every check, in the order in which a person would ask.
pub const CHECKS: &[Check] = &[
    access_logging_enabled::CHECK,
    no_error_reason_given::CHECK,
    protocol_port_match::CHECK,
    health_check_covers_traffic::CHECK,
    registered_ports_match_log::CHECK,
    keep_alive_exceeds_idle_timeout::CHECK,
    response_format::CHECK,
    security_group_allows_traffic::CHECK,
    security_group_source_is_load_balancer::CHECK,
    load_balancer_egress_allows_targets::CHECK,
    network_acl_allows_traffic::CHECK,
    target_health::CHECK,
    deregistration_delay_covers_requests::CHECK,
    no_fixed_response_502::CHECK,
    lambda_multi_value_headers::CHECK,
    load_balancer_state::CHECK,
    subnet_free_addresses::CHECK,
    metrics_match_log::CHECK,
];

/// Asks every question.
pub fn run(case: &Case<'_>) -> Vec<CheckResult> {
    CHECKS
        .iter()
        .map(|check| {
            let finding = (check.run)(case);
            CheckResult {
                id: check.id,
                outcome: finding.outcome,
                summary: finding.summary,
                resource: finding.resource,
                command: finding.command,
                fix_command: finding.fix_command,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;
    use crate::{
        detection::Signature,
        diagnosis::{Facts, sample_case::SampleCase},
    };

    #[test]
    fn each_file_is_one_check_of_its_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnosis/checks");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "mod.rs")
            .map(|name| name.trim_end_matches(".rs").replace('_', "-"))
            .collect();
        let ids: BTreeSet<String> = CHECKS.iter().map(|check| check.id.to_owned()).collect();
        assert_eq!(ids, files);
        assert_eq!(ids.len(), CHECKS.len(), "an id stands twice");
    }

    #[test]
    fn nothing_is_wrong_with_the_healthy_sample() {
        let sample = SampleCase::healthy();
        for result in run(&sample.case()) {
            let expected = match result.id {
                "keep-alive-exceeds-idle-timeout" | "lambda-multi-value-headers" => {
                    Outcome::Skipped
                }
                "metrics-match-log" => Outcome::Unknown,
                _ => Outcome::Pass,
            };
            assert_eq!(result.outcome, expected, "{}: {}", result.id, result.summary);
        }
    }

    #[test]
    fn absence_is_not_health() {
        for signature in Signature::ALL {
            let mut sample = SampleCase::failing(signature, 20);
            sample.facts = Facts::unknown("access denied");
            for result in run(&sample.case()) {
                // These two ask the rows and nobody else.
                if matches!(result.id, "no-error-reason-given" | "response-format") {
                    continue;
                }
                assert_eq!(result.outcome, Outcome::Unknown, "{}: {}", result.id, result.summary);
                assert!(
                    result.summary.contains("access denied"),
                    "{}: {}",
                    result.id,
                    result.summary
                );
            }
        }
    }

    #[test]
    fn every_answer_is_a_sentence_and_every_command_is_filled_in() {
        for signature in Signature::ALL {
            let sample = SampleCase::failing(signature, 20);
            for result in run(&sample.case()) {
                assert!(result.summary.ends_with('.'), "{}: {}", result.id, result.summary);
                assert!(!result.summary.contains("  "), "{}", result.summary);
                for command in [result.command, result.fix_command].into_iter().flatten() {
                    for placeholder in
                        ["<ARN>", "<ID>", "<NAME>", "<NUMBER>", "<ADDRESS>", "<TIME>"]
                    {
                        assert!(!command.contains(placeholder), "{}: {command}", result.id);
                    }
                }
            }
        }
    }
}
