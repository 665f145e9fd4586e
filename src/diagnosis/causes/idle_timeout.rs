//! idle-timeout: the target took the request and stayed silent until the load balancer's idle timeout.
//!
//! A 504 with `target_processing_time` -1 after the idle timeout.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement, facts::IDLE_TIMEOUT_SECONDS},
    numbers::seconds,
};

pub(super) const CAUSE: Cause = Cause {
    id: "idle-timeout",
    title: "The target stays silent until the load balancer's idle timeout",
    why_healthy: Some(
        "The health check asks one cheap path; it says nothing of a path that waits for a slow \
         dependency.",
    ),
    claim,
    explain,
};

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    (row.signature == Signature::IdleTimeout).then(|| Strength::Certain.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let median = claimed.median(|row| row.elapsed);
    let declared = case.facts.idle_timeout_seconds().map(f64::from);
    // The log shows the idle timeout and a few milliseconds; two seconds cover a slow upload.
    let agrees = median.zip(declared).map(|(seen, set)| (seen - set).abs() <= 2.0);
    // A timeout is the same for every row.
    let near = claimed.rows_where(|row| {
        row.elapsed.zip(median).is_some_and(|(elapsed, median)| (elapsed - median).abs() <= 2.0)
    });
    let together = claimed.at_hand() * 8 <= near * 10;
    // The times of a row are rounded to milliseconds each.
    let shortest = f64::from(*IDLE_TIMEOUT_SECONDS.start()) - 0.01;
    let is_shorter = median.is_some_and(|median| median < shortest);
    let mut said = Explanation::new(match agrees {
        _ if is_shorter => Confidence::Low,
        Some(true) => Confidence::High,
        None if together => Confidence::High,
        Some(false) | None => Confidence::Medium,
    });
    said.evidence.push(words::of_failures(
        claimed,
        "504, the request was sent and no response came (target_processing_time -1).",
    ));
    if let Some(median) = median {
        said.evidence.push(Statement::new(format!(
            "They took {} (median).{}",
            seconds(median),
            declared.map_or(String::new(), |set| format!(
                " The load balancer's idle timeout is {}.",
                seconds(set)
            ))
        )));
    }
    if is_shorter {
        said.against.push(Statement::new(
            "No idle timeout is shorter than 1 s: something else ended these requests.",
        ));
    }
    if agrees == Some(false) {
        said.against.push(Statement::new("The time does not agree with the idle timeout."));
    }
    said.evidence.extend(words::spread(case, claimed));
    said.fixes.push(Fix::new(
        "Find what the slow paths wait for (database, other service) at the times of the samples; \
         answer within the idle timeout, or raise it if the work is meant to take so long.",
    ));
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Time a path from the samples on the target itself.",
    ));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn what_is_shorter_than_any_idle_timeout_is_none() {
        // The sample's idle timeout is 60 s.
        for (elapsed, confidence, is_none) in [
            (60.0, Confidence::High, false),
            (0.995, Confidence::Medium, false),
            (0.98, Confidence::Low, true),
        ] {
            let mut sample = SampleCase::failing(Signature::IdleTimeout, 20);
            sample.write_rows(Signature::IdleTimeout, elapsed);
            let claimed = Claimed {
                id: CAUSE.id,
                rows: sample.evidence.failures.iter().collect(),
                count: 20,
                of: 20,
            };
            let said = explain(&sample.case(), &claimed);
            let told = said.against.iter().any(|it| it.text.contains("No idle timeout is shorter"));
            assert_eq!((said.confidence, told), (confidence, is_none), "{elapsed}");
        }
    }
}
