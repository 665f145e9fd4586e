//! What `alb502 probe` saw of the targets, as evidence: `alb502 diagnose --probe probe.json`.
//!
//! A probe is of one target, one path and one moment, which may be after the incident. So it supports a
//! cause or speaks against it; it never claims a row. A measured keep-alive timeout is the one exception:
//! it beats the one that is inferred from the rows, and a disagreement is said.

mod figure;
mod report;

use super::{
    Case, Confidence, RankedCause, Statement,
    causes::{Cause, Explanation},
    network::socket_address,
};
use crate::{
    neutralize,
    numbers::{plural, seconds},
};
pub use figure::{ProbeFigure, ProbeFindingFigure};
pub use report::{Certainty, Probe, ProbedTarget, WouldBe};
use report::{ConnectOutcome, ConnectionOutcome, ProbeFinding, ProbedViolation, TlsOutcome};

/// The idle timeout of a load balancer where nobody has changed it, in seconds.
/// Source: attribute `idle_timeout.timeout_seconds`.
const DEFAULT_IDLE_TIMEOUT: u32 = 60;

/// So many probes are told one by one for a cause, and so many against it; the others are counted.
const MAX_TOLD: usize = 3;

impl Probe {
    /// `A probe at 12:03 UTC of 10.0.1.5:8080 (GET /health)`, with the day when it is none of the incident.
    fn named(&self, case: &Case<'_>) -> String {
        let day = |time: jiff::Timestamp| time.strftime("%Y-%m-%d").to_string();
        let window = case.evidence.window;
        let days = [window.start, window.end].map(|time| day(super::timestamp(time)));
        let on = match day(self.time) {
            day if days.contains(&day) => String::new(),
            other => format!("on {other} "),
        };
        format!(
            "A probe {on}at {} UTC of {} ({} {})",
            self.time.strftime("%H:%M"),
            self.socket(),
            neutralize::plain(&self.target.method),
            neutralize::plain(&self.target.path)
        )
    }

    /// It ran within a day of the incident: on call, or the morning after. What a target does at another
    /// time is told, but makes nothing more or less certain.
    fn is_of_its_time(&self, case: &Case<'_>) -> bool {
        const DAY_MICROS: i64 = 86_400_000_000;
        let (window, time) = (case.evidence.window, self.time.as_microsecond());
        window.start.saturating_sub(DAY_MICROS) <= time
            && time <= window.end.saturating_add(DAY_MICROS)
    }

    /// So long idle connections stayed open, when none was closed.
    fn held_seconds(&self) -> Option<f64> {
        let connections = &self.keep_alive.connections;
        let all_open = connections.iter().all(|it| it.outcome == ConnectionOutcome::Open);
        let shortest = connections.iter().filter_map(|it| it.idle_seconds).reduce(f64::min)?;
        (all_open && self.keep_alive_seconds.is_none()).then_some(shortest)
    }

    fn got_valid_response(&self) -> bool {
        self.response.as_ref().is_some_and(|it| {
            it.body_read_to_end && it.status.is_some() && it.violations.is_empty()
        })
    }

    /// What a client of this load balancer would get. The probe was told an idle timeout, and may have been
    /// told another one: a target that closes after it does not race with this load balancer.
    fn would_be_here(&self, finding: &ProbeFinding, case: &Case<'_>) -> WouldBe {
        let is_later = case.facts.idle_timeout_seconds().is_some_and(|idle| {
            let closed_after = self.keep_alive_seconds;
            idle < self.idle_timeout_seconds && closed_after.is_some_and(|it| f64::from(idle) < it)
        });
        match finding.cause.as_str() {
            "keepalive-race" if is_later && !self.has_lost_request() => WouldBe::Nothing,
            _ => finding.would_be,
        }
    }

    /// Why it speaks against a cause, if it does.
    fn against(&self, cause: &str, case: &Case<'_>) -> Option<String> {
        let was_valid = self.got_valid_response();
        let is_connected = self.connect.outcome == ConnectOutcome::Connected;
        let has_tls = self.tls.as_ref().is_some_and(|tls| tls.outcome == TlsOutcome::Established);
        let idle = case.facts.idle_timeout_seconds().unwrap_or(DEFAULT_IDLE_TIMEOUT);
        match cause {
            "connect-refused" | "connect-timeout" | "blocked-port" | "host-unreachable" => {
                is_connected.then(|| "could connect, from where it ran".to_owned())
            }
            "tls-handshake" => {
                (has_tls && was_valid).then(|| "got through the TLS handshake".to_owned())
            }
            "protocol-mismatch" => was_valid.then(|| {
                format!("got a valid response over {}", if has_tls { "TLS" } else { "plaintext" })
            }),
            "malformed-response" | "oversized-headers" | "closed-mid-request"
            | "worker-timeout" | "idle-timeout" => {
                was_valid.then(|| "got a complete and valid response".to_owned())
            }
            "target-generated" => {
                self.status().filter(|status| *status != 502).map(|status| format!("got {status}"))
            }
            // Who watches for less than the load balancer does has not seen who closes first.
            "keepalive-race" => {
                self.held_seconds().filter(|it| f64::from(idle) <= *it).map(|held| {
                    format!(
                        "held idle connections for {}, and the target closed none of them",
                        seconds(held)
                    )
                })
            }
            _ => None,
        }
    }
}

impl Case<'_> {
    /// The probes of targets of this incident.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.facts.probes.iter().filter(|probe| {
            let socket = probe.socket();
            self.evidence
                .targets
                .iter()
                .any(|target| socket_address(&target.target) == Some(socket))
        })
    }

    /// The shortest keep-alive timeout that a probe measured, with its probe in words.
    pub fn probed_keep_alive(&self) -> Option<(f64, String)> {
        self.probes()
            .filter_map(|probe| Some((probe.keep_alive_seconds?, probe)))
            .reduce(|first, other| if other.0 < first.0 { other } else { first })
            .map(|(measured, probe)| (measured, lower_first(&probe.named(self))))
    }

    /// What the probes say about the format of responses: broken rules, and the valid responses.
    pub fn probed_formats(&self) -> (Vec<String>, Vec<String>) {
        let (mut broken, mut valid) = (Vec::new(), Vec::new());
        for probe in self.probes() {
            let Some(response) = &probe.response else { continue };
            let of_format = |it: &&ProbedViolation| {
                matches!(it.cause.as_str(), "malformed-response" | "oversized-headers")
            };
            let texts: Vec<String> = response
                .violations
                .iter()
                .filter(of_format)
                .take(3)
                .map(|violation| sentences(&violation.text))
                .collect();
            if !texts.is_empty() {
                broken.push(format!("{} found: {}", probe.named(self), texts.join(" ")));
            } else if probe.got_valid_response() {
                valid.push(format!("{} got a valid response.", probe.named(self)));
            }
        }
        (broken, valid)
    }
}

/// Adds what the probes say for and against a cause. A finding of the same cause makes it more certain by a
/// step, the measured opposite of a keep-alive race less.
pub(super) fn weigh(case: &Case<'_>, cause: &str, said: &mut Explanation) {
    let (mut shown, mut denied) = (Vec::new(), Vec::new());
    let (mut is_shown, mut is_denied) = (false, false);
    for probe in case.probes() {
        let counts = probe.is_of_its_time(case);
        let same = |finding: &&ProbeFinding| {
            let is_blocked = cause == "blocked-port" && finding.cause == "connect-timeout";
            (finding.cause == cause || is_blocked)
                && probe.would_be_here(finding, case) != WouldBe::Nothing
        };
        if let Some(finding) = probe.findings.iter().find(same) {
            is_shown |= counts;
            shown.push(format!("{} shows it: {}", probe.named(case), sentences(&finding.why)));
        } else if let Some(why) = probe.against(cause, case) {
            is_denied |= counts;
            denied.push(format!("{} {why}.", probe.named(case)));
        }
    }
    said.confidence = match (is_shown, is_denied) {
        (true, _) => more(said.confidence),
        (false, true) if cause == "keepalive-race" => less(said.confidence),
        (false, _) => said.confidence,
    };
    tell(shown, "shows it", &mut said.evidence);
    tell(denied, "speaks against it", &mut said.against);
}

/// The first sentences, and how many more there are.
fn tell(sentences: Vec<String>, what: &str, list: &mut Vec<Statement>) {
    let more = sentences.len().saturating_sub(MAX_TOLD) as u64;
    list.extend(sentences.into_iter().take(MAX_TOLD).map(Statement::new));
    if 0 < more {
        list.push(Statement::new(format!("{}: each {what}.", plural(more, "more probe"))));
    }
}

/// Adds to the leading cause what the probes found that no row was taken for.
pub(super) fn tell_others(case: &Case<'_>, ranked: &mut [(&'static Cause, RankedCause)]) {
    let known: Vec<String> = ranked.iter().map(|(_, cause)| cause.id.clone()).collect();
    let Some((_, leading)) = ranked.first_mut() else { return };
    let mut others = Vec::new();
    for probe in case.probes() {
        for finding in &probe.findings {
            let is_told = known.contains(&finding.cause)
                || (finding.cause == "connect-timeout"
                    && known.iter().any(|id| id == "blocked-port"));
            if !is_told && probe.would_be_here(finding, case) != WouldBe::Nothing {
                others.push(format!(
                    "{} found something else, {}: {}",
                    probe.named(case),
                    finding.cause,
                    sentences(&finding.why)
                ));
            }
        }
    }
    tell(others, "found something else", &mut leading.against);
}

/// A text of a report, whose values are harmless already but which may have been edited.
fn sentences(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    neutralize::cut(&neutralize::line(text), MAX_CHARS)
}

fn lower_first(text: &str) -> String {
    text.strip_prefix("A ").map_or_else(|| text.to_owned(), |rest| format!("a {rest}"))
}

fn more(confidence: Confidence) -> Confidence {
    match confidence {
        Confidence::Low => Confidence::Medium,
        Confidence::Medium | Confidence::High => Confidence::High,
    }
}

fn less(confidence: Confidence) -> Confidence {
    match confidence {
        Confidence::High => Confidence::Medium,
        Confidence::Medium | Confidence::Low => Confidence::Low,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::{detection::Signature, diagnosis::sample_case::SampleCase};

    /// A clean report of a probe of an address, changed.
    pub(in crate::diagnosis) fn probes(
        address: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Vec<Probe> {
        let mut report = json!({
            "schema_version": "1", "tool_version": "9", "time": "2026-03-01T12:03:10Z",
            "target": {"address": address, "port": 8080, "method": "GET", "path": "/health", "new": 1},
            "idle_timeout_seconds": 60, "connect": {"outcome": "connected", "seconds": 0.001},
            "tls": null,
            "response": {"status": 200, "body_read_to_end": true, "violations": []},
            "keep_alive_seconds": null,
            "keep_alive": {"connections": [{"outcome": "open", "idle_seconds": 61.0}]},
            "findings": []
        });
        change(&mut report);
        Probe::parse(&report.to_string()).unwrap()
    }

    fn finding(cause: &str, would_be: &str) -> impl FnOnce(&mut serde_json::Value) {
        let finding = json!({
            "cause": cause, "would_be": would_be, "certainty": "likely", "why": "It was seen."
        });
        move |report| report["findings"] = json!([finding])
    }

    /// The report of a probe that was told an idle timeout, and whose target closed after so many seconds.
    pub(in crate::diagnosis) fn closing(told: u32, after: f64) -> Vec<Probe> {
        probes("10.0.11.5", |report| {
            finding("keepalive-race", "502")(report);
            report["idle_timeout_seconds"] = told.into();
            report["keep_alive_seconds"] = after.into();
            report["keep_alive"]["connections"] =
                json!([{"outcome": "closed", "idle_seconds": after}]);
        })
    }

    fn weighed(probes: Vec<Probe>, cause: &str) -> Explanation {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 8);
        sample.facts.probes = probes;
        let mut said = Explanation::new(Confidence::Medium);
        weigh(&sample.case(), cause, &mut said);
        said
    }

    #[test]
    fn a_finding_supports_its_cause() {
        let said = weighed(
            probes("10.0.11.5", finding("malformed-response", "502")),
            "malformed-response",
        );
        assert_eq!(
            said.evidence[0].text,
            "A probe at 12:03 UTC of 10.0.11.5:8080 (GET /health) shows it: It was seen."
        );
        assert_eq!(said.confidence, Confidence::High);
        assert!(said.against.is_empty());
    }

    #[test]
    fn almost_a_finding_supports_nothing() {
        let other =
            weighed(probes("10.0.11.5", finding("oversized-headers", "502")), "keepalive-race");
        let harmless =
            weighed(probes("10.0.11.5", finding("protocol-mismatch", "none")), "protocol-mismatch");
        let elsewhere = weighed(
            probes("10.0.99.9", finding("malformed-response", "502")),
            "malformed-response",
        );
        for said in [other, harmless, elsewhere.clone()] {
            assert!(said.evidence.is_empty(), "{said:?}");
        }
        assert_eq!(elsewhere, Explanation::new(Confidence::Medium));
    }

    #[test]
    fn a_clean_probe_speaks_against() {
        for (cause, words) in [
            ("malformed-response", "got a complete and valid response"),
            ("oversized-headers", "got a complete and valid response"),
            ("protocol-mismatch", "got a valid response over plaintext"),
            ("connect-refused", "could connect, from where it ran"),
            ("target-generated", "got 200"),
        ] {
            let said = weighed(probes("10.0.11.5", |_| ()), cause);
            assert!(said.against[0].text.contains(words), "{cause}: {said:?}");
            assert_eq!(said.confidence, Confidence::Medium, "{cause}");
        }
        let said = weighed(probes("10.0.11.5", |_| ()), "keepalive-race");
        assert!(said.against[0].text.contains("held idle connections for 61 s"));
        assert_eq!(said.confidence, Confidence::Low);
        assert!(weighed(closing(60, 6.0), "keepalive-race").against.is_empty());
        assert!(weighed(probes("10.0.11.5", |_| ()), "deregistration").against.is_empty());
    }

    #[test]
    fn a_probe_that_was_told_another_idle_timeout_is_held_against_the_real_one() {
        // The load balancer of the sample keeps idle connections for 60 s.
        let shows = |probes| !weighed(probes, "keepalive-race").evidence.is_empty();
        assert!(shows(closing(4000, 55.0)) && shows(closing(60, 60.4)));
        assert!(!shows(closing(4000, 75.0)), "it does not race with this load balancer");
        let held = |told: u32, seconds: f64| {
            let held = probes("10.0.11.5", |report| {
                report["idle_timeout_seconds"] = told.into();
                report["keep_alive"]["connections"][0]["idle_seconds"] = seconds.into();
            });
            weighed(held, "keepalive-race")
        };
        assert_eq!(held(4000, 61.0).confidence, Confidence::Low);
        assert_eq!(held(5, 6.0), Explanation::new(Confidence::Medium), "it has not watched enough");
    }

    #[test]
    fn a_probe_of_another_time_makes_nothing_more_certain() {
        let of = |time: &str| {
            let old = probes("10.0.11.5", |report| {
                finding("malformed-response", "502")(report);
                report["time"] = time.into();
            });
            let said = weighed(old, "malformed-response");
            (said.evidence.len(), said.confidence)
        };
        let (_, near) = of("2026-03-02T11:00:00Z");
        let (told, far) = of("2026-03-03T12:03:00Z");
        assert_eq!(told, 1, "it is told all the same");
        assert_eq!(near, more(far));
        assert_ne!(near, far);
        assert_eq!(of("1970-01-01T00:00:00Z").1, far);
    }

    #[test]
    fn a_probe_of_another_day_says_the_day() {
        let of = |time: &str| {
            let old = probes("10.0.11.5", |report| {
                finding("malformed-response", "502")(report);
                report["time"] = time.into();
            });
            weighed(old, "malformed-response").evidence[0].text.clone()
        };
        assert!(of("2026-03-01T23:59:00Z").starts_with("A probe at 23:59 UTC of"));
        assert!(of("2025-03-01T12:03:00Z").starts_with("A probe on 2025-03-01 at 12:03 UTC of"));
    }

    #[test]
    fn many_probes_are_counted() {
        let mut all = Vec::new();
        for second in 10..20 {
            all.extend(probes("10.0.11.5", |report| {
                finding("malformed-response", "502")(report);
                report["time"] = format!("2026-03-01T12:03:{second}Z").into();
            }));
        }
        let said = weighed(all, "malformed-response").evidence;
        assert_eq!(said.len(), MAX_TOLD + 1);
        assert_eq!(said[MAX_TOLD].text, "7 more probes: each shows it.");
    }
}
