//! What CloudWatch adds to rows that do not tell by themselves.
//!
//! A refused connection and a failed TLS handshake leave the same row; CloudWatch counts them apart. Its
//! counts are of all nodes, the rows at hand may be of one, so rows may be fewer and never many more.

use super::{Case, Fact, Statement, metrics::Metric};
use crate::{
    detection::Signature,
    numbers::{count, plural},
};

/// "About as many": rows and metrics are cut at other moments, and logs are best effort.
const ABOUT: f64 = 0.8;

/// So many times more is no mixture but one thing with a stray.
const FAR_MORE: u64 = 10;

/// Errors that CloudWatch counted in the time of the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errors {
    /// TargetTLSNegotiationErrorCount.
    pub tls: u64,
    /// TargetConnectionErrorCount.
    pub connection: u64,
    /// Connect timeouts among the connection errors, as far as the rows at hand have them.
    pub timed_out: u64,
}

/// What ended the attempts to connect that show as `-1 -1 -1` within milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unconnected {
    /// TLS handshakes failed, and connections stood; or these are the larger part.
    Handshake(Errors),
    /// Connections were refused; or these are the larger part.
    Refused(Errors),
    /// CloudWatch counted neither.
    Neither(Errors),
    /// CloudWatch does not decide: a metric is not known.
    Open,
}

impl Errors {
    /// Connection errors that are no connect timeouts of the rows at hand.
    pub fn refused(self) -> u64 {
        self.connection.saturating_sub(self.timed_out)
    }

    /// One kind of error alone, or so much more of it that the other does not matter.
    pub fn is_clear(self) -> bool {
        let (less, more) = (self.tls.min(self.refused()), self.tls.max(self.refused()));
        less.saturating_mul(FAR_MORE) <= more
    }

    /// "CloudWatch counted 412 TLS negotiation errors and no connection errors."
    pub fn sentence(self) -> String {
        let timed_out = match self.timed_out {
            0 => "",
            _ => ", connect timeouts included",
        };
        format!(
            "CloudWatch counted {} and {}{timed_out}.",
            errors(self.tls, "TLS negotiation error"),
            errors(self.connection, "connection error")
        )
    }
}

/// Whether CloudWatch counted about as many as there are rows, or more: rows of other nodes may not be
/// at hand.
pub fn covers(counted: u64, rows: u64) -> bool {
    rows as f64 * ABOUT <= counted as f64
}

/// "no connection errors", "1 connection error", "412 connection errors".
fn errors(number: u64, what: &str) -> String {
    match number {
        0 => format!("no {what}s"),
        _ => plural(number, what),
    }
}

impl Case<'_> {
    /// The sum of a metric over the incident, when it is known. Spikes within a trickle are left out, as
    /// their rows are.
    pub fn metric(&self, metric: Metric) -> Option<u64> {
        self.facts.metrics.known()?.sum_outside(metric, &self.evidence.left_out)
    }

    /// What the metrics say of the connections that were not established.
    pub fn unconnected(&self) -> Unconnected {
        let (Some(tls), Some(connection)) =
            (self.metric(Metric::TlsErrors), self.metric(Metric::ConnectionErrors))
        else {
            return Unconnected::Open;
        };
        let timed_out = self.count(Signature::ConnectTimeout);
        let errors = Errors { tls, connection, timed_out };
        match (errors.tls, errors.refused()) {
            (0, 0) => Unconnected::Neither(errors),
            // A handshake begins on a connection that stands, so a tie is one of handshakes.
            (tls, refused) if refused <= tls => Unconnected::Handshake(errors),
            _ => Unconnected::Refused(errors),
        }
    }

    /// What would tell a failed handshake from a refused connection, and what it takes to see it.
    pub fn would_decide(&self) -> String {
        let what = "TargetTLSNegotiationErrorCount in CloudWatch would decide";
        let gap = match &self.facts.metrics {
            Fact::Unknown(gap) => gap.clone(),
            Fact::Known(metrics) => metrics.gap(Metric::TlsErrors),
        };
        match gap.permission {
            Some(permission) => format!("{what} (needs {permission})."),
            None if gap.reason.contains("--live") => format!("{what} (--live asks for it)."),
            None => format!("{what}."),
        }
    }

    /// How many targets were unhealthy at the worst minute of the incident, and when that minute began in
    /// microseconds since 1970.
    pub fn unhealthy_then(&self) -> Option<(i64, u64)> {
        self.facts.metrics.known()?.highest(Metric::UnhealthyHosts, &self.evidence.left_out)
    }

    /// What CloudWatch counted of a failing Lambda target, by whose fault.
    pub fn lambda_errors(&self) -> Option<Statement> {
        let user = self.metric(Metric::LambdaUserErrors)?;
        let internal = self.metric(Metric::LambdaInternalErrors)?;
        let whose = match (user, internal) {
            (0, 0) => return None,
            (_, 0) => "it is the function, its configuration or its permissions",
            (0, _) => "it is on the side of the load balancer or Lambda",
            _ => "some are the function's, some are of the load balancer or Lambda",
        };
        Some(Statement::new(format!(
            "CloudWatch counted {} as LambdaUserError and {} as LambdaInternalError: {whose}.",
            count(user),
            count(internal)
        )))
    }

    /// Whether CloudWatch counted answers of the targets with 5xx, as rows with a 502 of a target say:
    /// `Err` when it counted none, which contradicts them; `None` when it is not known.
    pub fn target_5xx(&self) -> Option<Result<Statement, Statement>> {
        Some(match self.metric(Metric::Target5xx)? {
            0 => Err(Statement::new("CloudWatch counted no answer of the targets with 5xx.")),
            counted => Ok(Statement::new(format!(
                "CloudWatch counted {} of the targets with 5xx.",
                plural(counted, "answer")
            ))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    fn case_of(tls: u64, connection: u64, timed_out: u64) -> Unconnected {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        sample.fail(Signature::ConnectTimeout, timed_out);
        sample.count(&[(Metric::TlsErrors, tls), (Metric::ConnectionErrors, connection)]);
        sample.case().unconnected()
    }

    #[test]
    fn the_larger_number_has_the_rows() {
        for (tls, connection, timed_out, expected) in [
            (40, 0, 0, "Handshake"),
            (0, 40, 0, "Refused"),
            (30, 10, 0, "Handshake"),
            (10, 30, 0, "Refused"),
            (20, 20, 0, "Handshake"),
            (0, 0, 0, "Neither"),
            // Connect timeouts are connection errors too, and leave another row.
            (0, 30, 30, "Neither"),
            (10, 30, 25, "Handshake"),
            (0, 30, 10, "Refused"),
        ] {
            let found = format!("{:?}", case_of(tls, connection, timed_out));
            assert!(found.starts_with(expected), "{tls} {connection} {timed_out}: {found}");
        }
    }

    #[test]
    fn one_metric_alone_decides_nothing() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        assert_eq!(sample.case().unconnected(), Unconnected::Open);
        sample.count_only(&[(Metric::TlsErrors, 40)]);
        assert_eq!(sample.case().unconnected(), Unconnected::Open);
    }

    #[test]
    fn cloudwatch_says_by_whose_fault_a_function_fails() {
        for (user, internal, expected) in [
            (37, 0, Some("37 as LambdaUserError and 0 as LambdaInternalError: it is the function")),
            (0, 37, Some("it is on the side of the load balancer or Lambda")),
            (30, 7, Some("some are the function's")),
            (0, 0, None),
        ] {
            let mut sample = SampleCase::failing(Signature::ErrorReason, 37);
            sample.make_lambda();
            sample.count(&[
                (Metric::LambdaUserErrors, user),
                (Metric::LambdaInternalErrors, internal),
            ]);
            let said = sample.case().lambda_errors().map(|it| it.text);
            assert_eq!(said.is_some(), expected.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
        let sample = SampleCase::failing(Signature::ErrorReason, 37);
        assert_eq!(sample.case().lambda_errors(), None);
    }

    #[test]
    fn none_counted_contradicts_rows_and_not_known_says_nothing() {
        let mut sample = SampleCase::failing(Signature::TargetMade, 43);
        assert_eq!(sample.case().target_5xx(), None);
        sample.count(&[(Metric::Target5xx, 1043)]);
        let said = sample.case().target_5xx().unwrap().unwrap();
        assert_eq!(said.text, "CloudWatch counted 1,043 answers of the targets with 5xx.");
        sample.count(&[]);
        assert!(sample.case().target_5xx().unwrap().is_err());
    }

    #[test]
    fn numbers_are_said_in_words() {
        let errors = Errors { tls: 1412, connection: 0, timed_out: 0 };
        assert_eq!(
            errors.sentence(),
            "CloudWatch counted 1,412 TLS negotiation errors and no connection errors."
        );
        let errors = Errors { tls: 1, connection: 12, timed_out: 3 };
        assert_eq!(
            errors.sentence(),
            "CloudWatch counted 1 TLS negotiation error and 12 connection errors, connect timeouts \
             included."
        );
        assert!(errors.refused() == 9 && !errors.is_clear());
        assert!(Errors { tls: 0, connection: 1, timed_out: 0 }.is_clear());
        assert!(Errors { tls: 400, connection: 40, timed_out: 0 }.is_clear());
    }
}
