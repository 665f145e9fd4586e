//! Evidence and facts → checks and causes → one diagnosis.

mod case;
pub mod causes;
mod chance;
pub mod checks;
pub mod command;
pub mod error_reasons;
pub mod facts;
pub mod figures;
pub mod keep_alive;
pub mod metrics;
pub mod network;
pub mod onset;
pub mod patterns;
pub mod pictures;
pub mod probes;
pub mod rows;
#[cfg(test)]
pub(crate) mod sample_case;
pub mod server_defaults;
pub mod trickle;
mod witness;
mod zones;

use serde::Serialize;

pub use case::TargetState;
pub use facts::{Fact, Facts, Gap};
pub use figures::{Figures, KeepAliveEstimate, KeepAliveTimer};
pub use onset::{Onset, Shape};
pub use patterns::Patterns;
pub use pictures::Pictures;
pub use trickle::is_told;
pub use witness::{Errors, Unconnected, covers};

pub use crate::detection::Kind;

use crate::{
    access_log::{ObjectKey, ObjectKind, ReadReport},
    detection::Evidence,
    numbers::{count, plural},
};
pub use checks::{CheckResult, Outcome as CheckOutcome};

/// Everything that a check or a cause may look at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the rows say.
    pub evidence: &'a Evidence,
    /// What AWS says.
    pub facts: &'a Facts,
    /// What the evidence adds up to.
    pub patterns: &'a Patterns,
}

/// The version of the JSON form. Names are added, never changed.
pub const SCHEMA_VERSION: &str = "1";

/// What is published: one incident of one target group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA_VERSION`].
    pub schema_version: &'static str,
    /// The version of alb502.
    pub tool_version: &'static str,
    /// `alb502-` and 12 hexadecimal digits: the same for every message of one incident.
    pub incident_id: String,
    /// Spike or trickle.
    pub kind: Kind,
    /// Where in its life the incident is.
    pub phase: Phase,
    /// The same in a sentence; `None` on the command line, which remembers nothing.
    pub status: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The first line that a person reads.
    pub summary: String,
    /// The same; in a message it is what [`crate::notification::chat::text`] makes for relays.
    pub text: String,
    /// The load balancer.
    pub load_balancer: LoadBalancerName,
    /// The target group; `None` for requests that were never forwarded.
    pub target_group: Option<TargetGroupName>,
    /// The time of the incident.
    pub window: TimeSpan,
    /// Rows of the target group in the window that count.
    pub requests: u64,
    /// Rows among them that failed.
    pub failures: u64,
    /// 502 made by the load balancer.
    pub elb_502: u64,
    /// 502 made by the target.
    pub target_502: u64,
    /// 504 after the connect timeout.
    pub connect_504: u64,
    /// 504 after the idle timeout.
    pub idle_504: u64,
    /// 502 answered on purpose by a rule.
    pub intentional_502: u64,
    /// Failures as a fraction of the requests, 0 to 1.
    pub rate: f64,
    /// Most likely first. The shares of all causes sum to 1.
    pub causes: Vec<RankedCause>,
    /// Every check, in the order of the table.
    pub checks: Vec<CheckResult>,
    /// Why the targets are Healthy all the same; `None` when they are not.
    pub why_healthy: Option<String>,
    /// Figures for machines.
    pub facts: Figures,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
    /// A few failed rows.
    pub samples: Vec<Sample>,
    /// How well the log could be read.
    pub parser: ParserReport,
    /// The objects or files that were read, at most [`MAX_OBJECTS`].
    pub objects: Vec<ObjectReport>,
    /// What to think of the numbers when not everything could be read; `None` when it could.
    #[serde(skip)]
    pub partial: Option<String>,
}

/// How many objects a diagnosis lists.
pub const MAX_OBJECTS: usize = 50;

/// Where in its life an incident is. The command line always says opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Told for the first time.
    Opened,
    /// Another leading cause, or ten times the rate.
    Changed,
    /// Still there.
    Ongoing,
    /// Over.
    Resolved,
}

impl Phase {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Changed => "changed",
            Self::Ongoing => "ongoing",
            Self::Resolved => "resolved",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// One request in ten fails, or none succeeds.
    Critical,
    /// Less.
    Warning,
    /// A trickle, a resolved incident, 502s on purpose.
    Info,
}

/// How sure a cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// A guess that fits.
    Low,
    /// The likeliest of several.
    Medium,
    /// Nothing else fits.
    High,
}

/// A load balancer by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadBalancerName {
    /// `app/name/id`, as in the log.
    pub id: String,
    /// The name in the middle.
    pub name: String,
    /// Its ARN, when account and region are known.
    pub arn: Option<String>,
    /// 12 digits.
    pub account: Option<String>,
    /// The region.
    pub region: Option<String>,
}

/// A target group by its names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetGroupName {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TimeSpan {
    /// RFC 3339, UTC.
    pub start: jiff::Timestamp,
    /// RFC 3339, UTC.
    pub end: jiff::Timestamp,
}

/// One cause of the incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankedCause {
    /// See the table of causes.
    pub id: String,
    /// In words.
    pub title: String,
    /// Why the targets still show healthy. Told once, of the first cause.
    #[serde(skip)]
    pub why_healthy: Option<&'static str>,
    /// How sure.
    pub confidence: Confidence,
    /// The fraction of the failures that it explains, 0 to 1.
    pub share: f64,
    /// What speaks for it.
    pub evidence: Vec<Statement>,
    /// What speaks against it.
    pub against: Vec<Statement>,
    /// What to do, first things first.
    pub fixes: Vec<Fix>,
}

/// A sentence with its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The sentence, numbers included.
    pub text: String,
    /// How many.
    pub count: Option<u64>,
    /// Of how many.
    pub of: Option<u64>,
}

impl Statement {
    /// A sentence without a count.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), count: None, of: None }
    }

    /// A sentence about `count` of `of`; the text says the numbers as well.
    pub fn counted(count: u64, of: u64, text: impl Into<String>) -> Self {
        Self { text: text.into(), count: Some(count), of: Some(of) }
    }
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What and why.
    pub text: String,
    /// How.
    pub command: Option<String>,
}

impl Fix {
    /// Something to do without a command.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), command: None }
    }

    /// Something to do with a command.
    pub fn with(text: impl Into<String>, command: impl Into<String>) -> Self {
        Self { text: text.into(), command: Some(command.into()) }
    }
}

/// One failed row for a person to look at: never the client's address, never the query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// When the load balancer answered.
    pub time: jiff::Timestamp,
    /// The method.
    pub method: Option<String>,
    /// Query cut, ids folded.
    pub path: Option<String>,
    /// `ip:port`.
    pub target: Option<String>,
    /// The three processing times in seconds.
    pub times: [Option<f64>; 3],
    /// To find the request in the application's own logs.
    pub trace_id: Option<String>,
    /// Where the row stands.
    pub object: String,
}

/// How well the log could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ParserReport {
    /// Lines read.
    pub lines: u64,
    /// Rows among them.
    pub entries: u64,
    /// Lines that are no rows.
    pub malformed: u64,
    /// Rows with fields that alb502 does not know.
    pub unknown_fields: u64,
    /// Objects or files that these lines are of. The list of objects says it too, as long as it is whole.
    #[serde(skip)]
    pub objects: u64,
}

/// One object or file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectReport {
    /// `s3://bucket/key` or the path.
    pub name: String,
    /// What kind of log it is.
    pub kind: String,
    /// The load-balancer node that wrote it.
    pub node: Option<String>,
    /// Lines read.
    pub lines: u64,
    /// Rows among them.
    pub entries: u64,
    /// Lines that are no rows.
    pub malformed: u64,
    /// Why it could not be read to its end, or why it was not read at all.
    pub error: Option<String>,
}

impl ParserReport {
    /// Adds what the reading of one object says.
    pub fn add(&mut self, report: &ReadReport) {
        self.lines = self.lines.saturating_add(report.lines);
        self.entries = self.entries.saturating_add(report.entries);
        self.malformed = self.malformed.saturating_add(report.malformed);
        self.unknown_fields = self.unknown_fields.saturating_add(report.unknown_fields);
        self.objects = self.objects.saturating_add(u64::from(0 < report.lines));
    }
}

impl ObjectReport {
    /// What is published of one object.
    pub fn of(name: String, key: &ObjectKey, report: &ReadReport, error: Option<String>) -> Self {
        // Rows decide what a loose file is, whatever its name.
        let is_access_log = 0 < report.entries;
        Self {
            name,
            kind: if is_access_log { ObjectKind::AccessLog } else { key.kind }.to_string(),
            node: key.node.clone(),
            lines: report.lines,
            entries: report.entries,
            malformed: report.malformed,
            error,
        }
    }

    /// True when it could not be read to its end: rows of it are missing.
    pub fn is_damaged(&self) -> bool {
        self.error.as_ref().is_some_and(|error| !error.starts_with("skipped"))
    }
}

impl Diagnosis {
    /// The same diagnosis as a message of an incident that has a life: its id, its phase, and the phase
    /// in a sentence.
    #[must_use]
    pub fn in_phase(mut self, incident_id: &str, phase: Phase, status: String) -> Self {
        let word = match phase {
            Phase::Opened => "",
            Phase::Changed => "Changed: ",
            Phase::Ongoing => "Ongoing: ",
            Phase::Resolved => "Over: ",
        };
        self.summary.insert_str(0, word);
        self.text.clone_from(&self.summary);
        if phase == Phase::Resolved {
            self.severity = Severity::Info;
        }
        self.incident_id = incident_id.to_owned();
        self.phase = phase;
        self.status = Some(status);
        self
    }

    /// The same diagnosis where the rate that is to be believed, 0 to 1, is lower than that of the rows at
    /// hand, because more requests are still to come.
    #[must_use]
    pub fn tempered(mut self, rate: f64) -> Self {
        if self.severity == Severity::Critical && rate < CRITICAL_RATE {
            self.severity = Severity::Warning;
        }
        self
    }
}

/// A load balancer writes no such line. A few come with a file that was cut or put together by hand; one in
/// twenty is another matter.
const MALFORMED_ONE_IN: u64 = 20;

/// What to think of the numbers when not everything could be read.
pub(crate) fn partial(reading: &Reading) -> Option<String> {
    let damaged = reading.objects.iter().filter(|object| object.is_damaged()).count() as u64;
    let parser = &reading.parser;
    let what = if 0 < damaged {
        let objects = plural(reading.objects.len() as u64, "object");
        format!("{} of {objects} could not be read to the end", count(damaged))
    } else if 0 < parser.malformed && parser.lines <= parser.malformed * MALFORMED_ONE_IN {
        let lines = plural(parser.lines, "line");
        format!("{} of {lines} are no access-log entries", count(parser.malformed))
    } else {
        return None;
    };
    Some(format!("{what}: there are at least so many failures, and the rate may be another"))
}

/// What the diagnosis is told besides evidence and facts.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// How well the log could be read.
    pub parser: ParserReport,
    /// The objects that were read.
    pub objects: Vec<ObjectReport>,
}

/// How many samples a diagnosis shows.
const MAX_SAMPLES: usize = 5;

/// Decides: patterns, checks, causes, and one message.
pub fn diagnose(evidence: &Evidence, facts: &Facts, reading: &Reading) -> Diagnosis {
    let patterns = Patterns::of(evidence);
    let case = Case { evidence, facts, patterns: &patterns };
    let ranked = causes::rank(&case);
    let why_healthy = why_healthy(&case, &ranked);
    let severity = severity(evidence);
    let counts = &evidence.counts;
    let causes: Vec<RankedCause> = ranked.into_iter().map(|(_, cause)| cause).collect();
    let load_balancer = case.load_balancer_names();
    let target_group = case.target_group_names();
    let summary = summary(&case, &causes, target_group.as_ref(), &load_balancer);
    Diagnosis {
        schema_version: SCHEMA_VERSION,
        tool_version: env!("CARGO_PKG_VERSION"),
        incident_id: incident_id(
            &evidence.load_balancer,
            evidence.target_group_arn.as_deref(),
            evidence.kind,
            evidence.window.start,
        ),
        kind: evidence.kind,
        phase: Phase::Opened,
        status: None,
        severity,
        text: summary.clone(),
        summary,
        load_balancer,
        target_group,
        window: TimeSpan {
            start: timestamp(evidence.window.start),
            end: timestamp(evidence.window.end),
        },
        requests: counts.requests,
        failures: counts.failures,
        elb_502: counts.elb_502,
        target_502: counts.target_502,
        connect_504: counts.connect_504,
        idle_504: counts.idle_504,
        intentional_502: counts.intentional_502,
        rate: counts.rate(),
        checks: checks::run(&case),
        why_healthy,
        facts: Figures::of(&case),
        gaps: facts.gaps().into_iter().chain(given_up(evidence)).collect(),
        samples: samples(evidence),
        parser: reading.parser,
        objects: listed(&reading.objects),
        partial: partial(reading),
        causes,
    }
}

/// At most [`MAX_OBJECTS`], and never without the damaged ones.
fn listed(objects: &[ObjectReport]) -> Vec<ObjectReport> {
    let mut listed: Vec<&ObjectReport> = objects.iter().collect();
    if MAX_OBJECTS < listed.len() {
        listed.sort_by_key(|object| !object.is_damaged());
    }
    listed.into_iter().take(MAX_OBJECTS).cloned().collect()
}

/// The time of these microseconds since 1970. What lies outside of the years that can be written becomes
/// the nearest that can: a window at the end of the year 9999 does not end in 1970.
pub(crate) fn timestamp(micros: i64) -> jiff::Timestamp {
    let nearest = if micros < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(micros).unwrap_or(nearest)
}

/// `alb502-` and 12 hexadecimal digits of a hash over what makes an incident one: load balancer, target
/// group, kind and the start of the first window (microseconds since 1970).
pub fn incident_id(
    load_balancer: &str,
    target_group: Option<&str>,
    kind: Kind,
    start: i64,
) -> String {
    use sha2::{Digest, Sha256};
    let kind = match kind {
        Kind::Spike => "spike",
        Kind::Trickle => "trickle",
    };
    let mut hasher = Sha256::new();
    for part in [load_balancer, target_group.unwrap_or("-"), kind, &timestamp(start).to_string()] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    let hash = hasher.finalize();
    let hex: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("alb502-{hex}")
}

/// What of the log is not known, although it was read.
fn given_up(evidence: &Evidence) -> Option<Gap> {
    (0 < evidence.windows_given_up).then(|| Gap {
        fact: format!(
            "rows of {} of the incident or the hour around it",
            plural(evidence.windows_given_up, "window")
        ),
        reason: "there are more than fit into memory: only their counts are known".to_owned(),
        permission: None,
    })
}

/// One request in ten, or none left that succeeds, is an outage.
const CRITICAL_RATE: f64 = 0.1;

fn severity(evidence: &Evidence) -> Severity {
    let counts = &evidence.counts;
    if counts.failures == 0 || evidence.kind == Kind::Trickle {
        Severity::Info
    } else if CRITICAL_RATE <= counts.rate() || counts.successes == 0 {
        Severity::Critical
    } else {
        Severity::Warning
    }
}

fn summary(
    case: &Case<'_>,
    causes: &[RankedCause],
    target_group: Option<&TargetGroupName>,
    load_balancer: &LoadBalancerName,
) -> String {
    use crate::numbers::{count, percent};
    let who = target_group.map_or(load_balancer.name.as_str(), |group| group.name.as_str());
    let who = crate::neutralize::plain(who);
    let counts = &case.evidence.counts;
    let what = match causes {
        [] => "cause unknown".to_owned(),
        [first, rest @ ..] => {
            let confidence = match first.confidence {
                Confidence::High => "high",
                Confidence::Medium => "medium",
                Confidence::Low => "low",
            };
            let more = rest.iter().find(|cause| 0.1 <= cause.share && cause.id != "undetermined");
            let more = more.map_or(String::new(), |cause| format!(" Also {}.", cause.id));
            let hedge = match first.confidence {
                Confidence::Low if first.id != "undetermined" => "Perhaps: ",
                _ => "",
            };
            format!("{hedge}{} ({}, {confidence} confidence).{more}", first.title, first.id)
        }
    };
    if counts.failures == 0 {
        return format!("{who}: {what} {} answers, no failure.", count(counts.intentional_502));
    }
    let rate = match case.evidence.kind {
        Kind::Spike => format!("({})", percent(counts.rate())),
        Kind::Trickle => {
            let window = case.evidence.window;
            let seconds = (window.end - window.start) as f64 / 1e6;
            let rate = trickle::per_million(counts.rate());
            let rate = rate.unwrap_or_else(|| percent(counts.rate()));
            format!("({rate}) {}", trickle::pace(counts.failures, seconds))
        }
    };
    format!(
        "{who}: {what} {} of {} requests failed {rate}.",
        count(counts.failures),
        count(counts.requests),
    )
}

fn why_healthy(case: &Case<'_>, ranked: &[(&causes::Cause, RankedCause)]) -> Option<String> {
    use crate::numbers::count;
    let health = case.facts.target_health.known();
    if let Some(health) = health {
        let healthy = health
            .iter()
            .filter(|target| {
                target.target_health.as_ref().and_then(|health| health.state.as_deref())
                    == Some("healthy")
            })
            .count();
        let named_and_healthy =
            case.evidence.targets.iter().filter(|target| 0 < target.failures).any(|target| {
                case.target_state(&target.target)
                    == Some(TargetState::Registered("healthy".to_owned()))
            });
        // The health is known, and it is not good: then there is nothing to wonder at.
        if healthy == 0 && !health.is_empty() {
            return None;
        }
        if healthy < health.len() && !named_and_healthy && case.looks_like_lambda() != Some(true) {
            return None;
        }
    }
    let (_, first) = ranked.first()?;
    let known = match case.all_targets_healthy() {
        Some(true) => format!(
            "AWS finds {} healthy{}. ",
            match health.map_or(0, |health| health.len() as u64) {
                1 => "the target".to_owned(),
                2 => "both targets".to_owned(),
                many => format!("all {} targets", count(many)),
            },
            case.unhealthy_then().map_or("", |(_, most)| match most {
                0 => ", and CloudWatch saw none unhealthy during the incident",
                _ => " now",
            })
        ),
        _ => String::new(),
    };
    if let (false, Some((time, most @ 1..))) = (known.is_empty(), case.unhealthy_then()) {
        return Some(format!(
            "{known}But CloudWatch saw up to {} at {} UTC: the health check did see it.",
            plural(most, "unhealthy target"),
            timestamp(time).strftime("%H:%M")
        ));
    }
    let sentence = first.why_healthy.unwrap_or(
        "A health check opens a connection of its own, every few seconds, to one port and one path; \
         what fails elsewhere, or in between, it does not see.",
    );
    let difference = health_check_difference(case);
    Some(format!("{known}{}{sentence}", difference.unwrap_or_default()))
}

/// Where the health check goes another way than the requests, in a sentence.
fn health_check_difference(case: &Case<'_>) -> Option<String> {
    let group = case.target_group().filter(|group| !group.is_lambda())?;
    let protocol = group.protocol.as_deref()?;
    let check_protocol = group.health_check_protocol.as_deref().unwrap_or(protocol);
    let mut targets =
        case.evidence.targets.iter().filter(|target| 0 < target.failures).filter_map(|target| {
            crate::detection::detector::target_address(&target.target).map(|(_, port)| port)
        });
    let port = targets.next().or(group.port)?;
    let check_port = match group.health_check_port.as_deref() {
        None | Some("traffic-port") => port,
        Some(number) => number.parse().ok()?,
    };
    if protocol == check_protocol && port == check_port {
        return None;
    }
    Some(format!(
        "The health check goes to port {check_port} over {check_protocol}, the requests go to port {port} \
         over {protocol}. "
    ))
}

/// A few rows, spread over the incident.
fn samples(evidence: &Evidence) -> Vec<Sample> {
    let rows = &evidence.failures;
    let step = rows.len().div_ceil(MAX_SAMPLES).max(1);
    rows.iter()
        .step_by(step)
        .map(|row| Sample {
            time: timestamp(row.time),
            method: row.method.as_deref().map(ToOwned::to_owned),
            path: row.path.as_deref().map(ToOwned::to_owned),
            target: row.target.as_deref().map(ToOwned::to_owned),
            times: row.times,
            trace_id: row.trace_id.as_deref().map(ToOwned::to_owned),
            object: row.object.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_said_on_top() {
        let object = |error: Option<&str>| ObjectReport {
            name: "log".to_owned(),
            kind: "access log".to_owned(),
            node: None,
            lines: 1,
            entries: 1,
            malformed: 0,
            error: error.map(ToOwned::to_owned),
        };
        let skipped = object(Some("skipped: a connection log"));
        let mut objects = vec![object(None), skipped];
        objects.extend(vec![object(Some("the gzip stream ends early")); 70]);
        let of = |objects: &[ObjectReport], malformed, lines| {
            let parser = ParserReport { lines, malformed, ..ParserReport::default() };
            partial(&Reading { parser, objects: objects.to_vec() })
        };
        let rest = ": there are at least so many failures, and the rate may be another";
        for (said, objects, malformed, lines) in [
            (None, &objects[..2], 0, 0),
            (None, &objects[..2], 5, 101),
            (Some("5 of 100 lines are no access-log entries"), &objects[..2], 5, 100),
            (Some("70 of 72 objects could not be read to the end"), &objects[..], 5, 100),
        ] {
            let said = said.map(|said| format!("{said}{rest}"));
            assert_eq!(of(objects, malformed, lines), said);
        }
    }
}
