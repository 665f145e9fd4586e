//! Is the access log switched on? Looks at the attribute `access_logs.s3.enabled`.
//!
//! A load balancer without access log leaves no rows to tell one 502 from another by.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case,
    command::{Command, Value},
};

/// The check.
pub const CHECK: Check = Check {
    id: "access-logging-enabled",
    title: "Does the load balancer write an access log?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.load_balancer_name();
    let arn = case.load_balancer_arn().unwrap_or_default();
    let show = Command::new("aws elbv2 describe-load-balancer-attributes")
        .flag("--load-balancer-arn", Value::Arn(arn))
        .words("--query 'Attributes[?starts_with(Key,`access_logs.s3`)]'")
        .region(case.region());
    let finding = match case.load_balancer_attribute("access_logs.s3.enabled") {
        Err(gap) => Finding::unknown(&format!("Whether {name} writes an access log"), &gap),
        Ok("true") => Finding::new(
            Outcome::Pass,
            match case.load_balancer_attribute("access_logs.s3.bucket") {
                Ok(bucket) if !bucket.is_empty() => {
                    format!("{name} writes its access log to the bucket {bucket}.")
                }
                _ => format!("{name} writes an access log."),
            },
        ),
        Ok(_) => Finding::new(
            Outcome::Advice,
            format!(
                "{name} writes no access log now (access_logs.s3.enabled is not true): these rows were \
                 written before, and the next incident will leave none."
            ),
        )
        .fixed_by(
            Command::new("aws elbv2 modify-load-balancer-attributes")
                .flag("--load-balancer-arn", Value::Arn(arn))
                .words("--attributes Key=access_logs.s3.enabled,Value=true")
                .words("'Key=access_logs.s3.bucket,Value=<BUCKET>'")
                .region(case.region()),
        ),
    };
    named(finding, case.load_balancer_arn()).shown_by(show)
}

fn named(finding: Finding, arn: Option<&str>) -> Finding {
    match arn {
        Some(arn) => finding.resource(arn),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn advises_when_the_log_is_off() {
        let mut sample = SampleCase::healthy();
        sample.set_load_balancer_attribute("access_logs.s3.enabled", "false");
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.fix_command.unwrap().contains("loadbalancer/app/shop"));
    }

    #[test]
    fn passes_when_the_log_is_on() {
        let finding = run(&SampleCase::healthy().case());
        assert_eq!(finding.outcome, Outcome::Pass);
        assert_eq!(finding.summary, "shop writes its access log to the bucket shop-logs.");
    }

    #[test]
    fn unknown_when_the_attributes_are_denied_or_lack_the_key() {
        let mut sample = SampleCase::healthy();
        sample.facts.load_balancer_attributes = crate::diagnosis::Fact::Known([].into());
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        sample.facts.load_balancer_attributes = SampleCase::missing("load balancer attributes");
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(finding.summary.contains("access denied"));
    }
}
