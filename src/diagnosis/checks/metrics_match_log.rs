//! Does the log at hand hold the 502s that CloudWatch counted? Compares HTTPCode_ELB_502_Count with the
//! rows of the same time.
//!
//! The metric has no dimension of a target group, so the rows of all target groups of the load balancer
//! are counted. A log may be one object of several nodes: fewer rows are normal, and say how much more
//! there is to see.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>

use super::{Check, Finding, Outcome};
use crate::{
    detection::Window,
    diagnosis::{
        Case, Fact,
        command::{Command, Piece, Value},
        metrics::{Metric, Metrics},
        timestamp,
    },
    numbers::count,
};

/// The check.
pub const CHECK: Check =
    Check { id: "metrics-match-log", title: "Does the log hold what CloudWatch counted?", run };

const QUESTION: &str = "Whether the log at hand holds every 502 that CloudWatch counted";

/// A row and its count may fall into neighbouring minutes, microseconds.
const EDGE: i64 = 60_000_000;

/// What best-effort logs and rounding explain beyond the edges.
const TOLERATED: f64 = 0.02;

fn run(case: &Case<'_>) -> Finding {
    let metrics = match &case.facts.metrics {
        Fact::Known(metrics) => metrics,
        Fact::Unknown(gap) => return Finding::unknown(QUESTION, gap),
    };
    let Some(counted) = metrics.sum(Metric::Elb502) else {
        return Finding::unknown(QUESTION, &metrics.gap(Metric::Elb502));
    };
    let rows = &case.evidence.load_balancer_counts;
    let name = case.load_balancer_name();
    let (in_log, in_cloudwatch) = (count(rows.elb_502), count(counted));
    // Whether the metric has the 502s that a rule answers is not documented.
    let most = rows.elb_502 + rows.intentional_502;
    let slack = edges(metrics, case.evidence.window) + (counted as f64 * TOLERATED).ceil() as u64;
    let finding = if most == 0 && counted == 0 {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} made no 502 in this time, neither in the log nor in CloudWatch."),
        );
    } else if most + slack < counted {
        Finding::new(
            Outcome::Advice,
            format!(
                "CloudWatch counted {in_cloudwatch} load-balancer 502s of {name} in this time, over all \
                 its target groups; the log at hand has {in_log}: rows of other objects or nodes are \
                 missing. That is normal for a single object, and there is more than this message shows."
            ),
        )
    } else if counted + slack < rows.elb_502 {
        Finding::new(
            Outcome::Advice,
            format!(
                "The log at hand has {in_log} load-balancer 502s of {name} in this time, CloudWatch \
                 counted {}: its last minutes may not have been in yet, or rows are here twice.",
                if counted == 0 { "none".to_owned() } else { in_cloudwatch }
            ),
        )
    } else {
        let difference =
            if counted == rows.elb_502 { "" } else { "; the edges of the minutes explain that" };
        return Finding::new(
            Outcome::Pass,
            format!(
                "The log at hand has {in_log} load-balancer 502s of {name} in this time, CloudWatch \
                 counted {in_cloudwatch}{difference}."
            ),
        );
    };
    finding.shown_by(show(case))
}

/// What the first and the last minute hold: it may belong to the neighbours.
fn edges(metrics: &Metrics, window: Window) -> u64 {
    let inside = Window { start: window.start + EDGE, end: window.end - EDGE };
    let sum = metrics.sum(Metric::Elb502).unwrap_or(0);
    sum - metrics.sum_in(Metric::Elb502, inside).unwrap_or(sum).min(sum)
}

fn show(case: &Case<'_>) -> Command {
    let mut parts = case.evidence.load_balancer.split('/').skip(1);
    let mut part = || Piece::Value(Value::Name(parts.next().unwrap_or_default()));
    let window = case.evidence.window;
    Command::new("aws cloudwatch get-metric-statistics --namespace AWS/ApplicationELB")
        .words("--metric-name HTTPCode_ELB_502_Count --statistics Sum --period 60")
        .joined(&[
            Piece::Text("--dimensions Name=LoadBalancer,Value=app/"),
            part(),
            Piece::Text("/"),
            part(),
        ])
        .flag("--start-time", Value::Time(timestamp(window.start)))
        .flag("--end-time", Value::Time(timestamp(window.end)))
        .region(case.region())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detection::Signature,
        diagnosis::{Gap, sample_case::SampleCase},
    };

    fn compared(in_log: u64, counted: u64) -> Finding {
        let mut sample = SampleCase::failing(Signature::NotConnected, in_log);
        sample.count(&[(Metric::Elb502, counted)]);
        run(&sample.case())
    }

    #[test]
    fn passes_when_they_agree() {
        assert_eq!(
            compared(310, 310).summary,
            "The log at hand has 310 load-balancer 502s of shop in this time, CloudWatch counted 310."
        );
        for counted in [304, 305, 316] {
            let finding = compared(310, counted);
            assert_eq!(finding.outcome, Outcome::Pass, "{counted}: {}", finding.summary);
        }
    }

    #[test]
    fn advises_when_the_log_has_less_and_never_calls_it_a_fault() {
        let finding = compared(310, 1240);
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(
            finding.summary.starts_with(
                "CloudWatch counted 1,240 load-balancer 502s of shop in this time, over all its target \
                 groups; the log at hand has 310: rows of other objects or nodes are missing."
            ),
            "{}",
            finding.summary
        );
        let command = finding.command.unwrap();
        assert!(command.contains("Value=app/shop/50dc6c495c0c9188"), "{command}");
        assert!(command.contains("--start-time 2026-03-01T12:00:00Z"), "{command}");
        assert_eq!(compared(310, 340).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_the_log_has_more() {
        let finding = compared(310, 0);
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("CloudWatch counted none"), "{}", finding.summary);
        assert_eq!(compared(310, 200).outcome, Outcome::Advice);
    }

    #[test]
    fn the_minutes_at_the_edges_may_belong_to_the_neighbours() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 310);
        let window = sample.evidence.window;
        sample.count_at(window.end - EDGE, &[(Metric::Elb502, 340)]);
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
        sample.count_at(window.end - 2 * EDGE, &[(Metric::Elb502, 340)]);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn rows_of_other_target_groups_and_on_purpose_are_counted() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 310);
        sample.count(&[(Metric::Elb502, 500)]);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
        sample.evidence.load_balancer_counts.elb_502 = 500;
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
        sample.evidence.load_balancer_counts.elb_502 = 310;
        sample.evidence.load_balancer_counts.intentional_502 = 190;
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn skipped_without_a_502_and_unknown_without_the_metric() {
        let mut sample = SampleCase::failing(Signature::ConnectTimeout, 40);
        sample.count(&[]);
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
        sample.count_only(&[(Metric::ConnectionErrors, 40)]);
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        let gap = Gap { permission: None, ..Gap::never_forwarded("metrics") };
        sample.facts.metrics = Fact::Unknown(gap);
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }
}
