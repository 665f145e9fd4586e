//! The subject of an email.

use crate::{
    diagnosis::{Diagnosis, Kind, Phase, Severity},
    numbers::{count, percent},
};

/// SNS takes fewer than 100 characters, ASCII, no line breaks.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
pub const MAX_SUBJECT: usize = 99;

/// AWS allows 32 characters in the name of a target group or a load balancer.
const MAX_NAME: usize = 32;

/// `alb502 CRITICAL shop-web: keepalive-race, 41 of 1,204 failed (3.4 %)`.
pub fn subject(diagnosis: &Diagnosis) -> String {
    let word = match (diagnosis.phase, diagnosis.severity) {
        (Phase::Resolved, _) => "RESOLVED",
        (_, Severity::Critical) => "CRITICAL",
        (_, Severity::Warning) => "WARNING",
        (_, Severity::Info) => "INFO",
    };
    let who = diagnosis
        .target_group
        .as_ref()
        .map_or(diagnosis.load_balancer.name.as_str(), |group| group.name.as_str());
    let cause = diagnosis.causes.first().map_or("undetermined", |cause| cause.id.as_str());
    let kind = if diagnosis.kind == Kind::Trickle { "trickle of " } else { "" };
    // The numbers stand behind the name: a name that is none must not push them out.
    let who: String = who.chars().take(MAX_NAME).collect();
    let what = if diagnosis.failures == 0 {
        format!("{} answered on purpose", count(diagnosis.intentional_502))
    } else {
        format!(
            "{} of {} failed ({})",
            count(diagnosis.failures),
            count(diagnosis.requests),
            percent(diagnosis.rate)
        )
    };
    format!("alb502 {word} {who}: {kind}{cause}, {what}")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .take(MAX_SUBJECT)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notification::tests::diagnosis;

    #[test]
    fn a_subject_says_how_bad_who_why_and_how_many() {
        let mut diagnosis = diagnosis("shop-web", "Words.", 1);
        let usual = "alb502 WARNING shop-web: keepalive-race, 40 of 2,539 failed (1.6 %)";
        assert_eq!(subject(&diagnosis), usual);
        diagnosis.phase = Phase::Resolved;
        assert!(subject(&diagnosis).starts_with("alb502 RESOLVED shop-web: "));
        diagnosis.kind = Kind::Trickle;
        assert!(subject(&diagnosis).contains(": trickle of keepalive-race, "));
        (diagnosis.failures, diagnosis.intentional_502) = (0, 1234);
        assert!(subject(&diagnosis).ends_with(", 1,234 answered on purpose"));
    }

    #[test]
    fn the_longest_names_leave_room_for_the_numbers() {
        let mut diagnosis = diagnosis(&"n".repeat(200), "Words.", 1);
        diagnosis.causes[0].id = "lambda-load-balancer-invalid".to_owned();
        assert!(subject(&diagnosis).contains(", 40 of 2,539 "), "{}", subject(&diagnosis));
    }

    proptest! {
        #[test]
        fn sns_takes_every_subject(name in ".*", cause in ".*", failures: u64, rate: f64) {
            let mut diagnosis = diagnosis(&name, "Words.", 1);
            diagnosis.causes[0].id = cause;
            (diagnosis.failures, diagnosis.rate) = (failures, rate);
            let subject = subject(&diagnosis);
            prop_assert!(subject.len() <= MAX_SUBJECT);
            prop_assert!(subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(subject.starts_with("alb502 "));
        }
    }
}
