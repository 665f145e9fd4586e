//! One invocation, top to bottom: read the objects, judge the rows, ask for the configuration of what
//! failed, and say it.

use std::{fmt, ops::ControlFlow, time::Instant};

use serde_json::Value;

use crate::{
    access_log::{ObjectKey, ObjectKind, ReadOutcome, Reader},
    config::Config,
    detection::{Detector, Evidence, Kind},
    diagnosis::{ObjectReport, Reading, diagnose},
    event::{self, Event, LogObject},
    notification,
    ports::{Configuration, LogStore, Notifier},
};

/// What an invocation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Objects read to their end.
    pub objects: u64,
    /// Objects and records that are not ours.
    pub skipped: u64,
    /// Rows read.
    pub entries: u64,
    /// Messages published.
    pub published: u64,
}

/// What failed in an invocation, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// A diagnosis was made, and nobody was told.
    MessageNotPublished,
    /// An object could not be read to its end.
    ObjectUnreadable,
    /// A record of the event names no object that could be read.
    RecordUnreadable,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 3] =
        [Self::MessageNotPublished, Self::ObjectUnreadable, Self::RecordUnreadable];

    /// The stable name, which Lambda reports as the type of the error.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageNotPublished => "MessageNotPublished",
            Self::ObjectUnreadable => "ObjectUnreadable",
            Self::RecordUnreadable => "RecordUnreadable",
        }
    }
}

/// Why an invocation fails. It is told after everything else was done, so that the other objects are
/// not lost, and so that what failed is retried.
#[derive(Default, thiserror::Error)]
pub struct HandlerError {
    /// Each failure in words that name bucket and key.
    pub failures: Vec<(FailureKind, String)>,
}

/// How many failures an error names; the log has them all.
const MAX_TOLD: usize = 5;

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.failures.iter().take(MAX_TOLD).map(|(_, text)| text.as_str());
        f.write_str(&told.collect::<Vec<_>>().join("; "))?;
        match self.failures.len().saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more, which the log names"),
        }
    }
}

/// As it is shown: the runtime logs it so.
impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind())
    }
}

impl HandlerError {
    /// The worst failure's name.
    pub fn kind(&self) -> &'static str {
        self.failures.iter().map(|(kind, _)| *kind).min().map_or("Unknown", FailureKind::as_str)
    }
}

/// Handles one invocation.
///
/// # Errors
/// When a record, an object or a message failed; each failure names its bucket and key.
pub async fn handle(
    payload: &Value,
    config: &Config,
    logs: &impl LogStore,
    configuration: &impl Configuration,
    notifier: &impl Notifier,
) -> Result<Summary, HandlerError> {
    let mut summary = Summary::default();
    let mut failures = Vec::new();
    let objects = match event::read(payload) {
        Event::Foreign(reason) => {
            tracing::info!(%reason, "event passed over");
            summary.skipped = 1;
            return Ok(summary);
        }
        Event::Objects(arrivals) => {
            for error in arrivals.unreadable {
                tracing::error!(%error, "record not read");
                failures.push((FailureKind::RecordUnreadable, error.to_string()));
            }
            for reason in arrivals.passed_over {
                tracing::info!(%reason, "record passed over");
                summary.skipped += 1;
            }
            arrivals.objects
        }
    };
    let mut reading = Reading::default();
    let mut detector = Detector::new(config.thresholds);
    for object in &objects {
        let key = ObjectKey::parse(&object.key);
        if let Some(reason) = skip_reason(&key) {
            tracing::info!(bucket = object.bucket, key = object.key, %reason, "object skipped");
            summary.skipped += 1;
            continue;
        }
        let report = read(logs, object, &key, &mut detector, &mut reading).await;
        summary.entries += report.entries;
        match &report.error {
            None => summary.objects += 1,
            Some(error) => {
                failures.push((FailureKind::ObjectUnreadable, format!("{}: {error}", report.name)));
            }
        }
        reading.objects.push(report);
    }
    for evidence in detector.incidents() {
        if let Err(error) = say(&evidence, &reading, config, configuration, notifier).await {
            failures.push((FailureKind::MessageNotPublished, error));
        } else {
            summary.published += u64::from(is_published(&evidence));
        }
    }
    if failures.is_empty() { Ok(summary) } else { Err(HandlerError { failures }) }
}

/// In a bucket notification only an object whose key says access log is read: the key is AWS's.
fn skip_reason(key: &ObjectKey) -> Option<String> {
    key.skip_reason().or_else(|| {
        (key.kind != ObjectKind::AccessLog)
            .then(|| "the key is not one of an ALB access log".to_owned())
    })
}

async fn read(
    logs: &impl LogStore,
    object: &LogObject,
    key: &ObjectKey,
    detector: &mut Detector,
    reading: &mut Reading,
) -> ObjectReport {
    let started = Instant::now();
    let name = format!("s3://{}/{}", object.bucket, object.key);
    let source = detector.source(&name, key);
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    let streamed = logs
        .stream(object, &mut |bytes| match reader.push(bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
        .await;
    let ReadOutcome { report, error } = reader.finish();
    // When the stream itself broke, that is the reason, not the truncation that follows from it.
    let error = match streamed {
        Err(broken) => Some(broken.to_string()),
        Ok(()) => error.map(|error| error.to_string()),
    };
    let duration_ms = started.elapsed().as_millis() as u64;
    match &error {
        None => tracing::info!(
            bucket = object.bucket,
            key = object.key,
            lines = report.lines,
            entries = report.entries,
            malformed = report.malformed,
            unknown_fields = report.unknown_fields,
            bytes = report.bytes,
            duration_ms,
            "object read"
        ),
        Some(error) => tracing::error!(
            bucket = object.bucket,
            key = object.key,
            lines = report.lines,
            entries = report.entries,
            malformed = report.malformed,
            unknown_fields = report.unknown_fields,
            bytes = report.bytes,
            duration_ms,
            error,
            "object not read to its end"
        ),
    }
    reading.parser.add(&report);
    ObjectReport::of(name, key, &report, error)
}

/// A rule that answers 502 on purpose is no incident. A trickle would be said again with every object:
/// once a day needs a memory, which is not there yet.
fn is_published(evidence: &Evidence) -> bool {
    0 < evidence.counts.failures && evidence.kind == Kind::Spike
}

async fn say(
    evidence: &Evidence,
    reading: &Reading,
    config: &Config,
    configuration: &impl Configuration,
    notifier: &impl Notifier,
) -> Result<(), String> {
    if !is_published(evidence) {
        tracing::info!(
            load_balancer = &*evidence.load_balancer,
            target_group = evidence.target_group_arn.as_deref(),
            failures = evidence.counts.failures,
            requests = evidence.counts.requests,
            on_purpose = evidence.counts.intentional_502,
            "{}",
            match evidence.kind {
                Kind::Trickle => "trickle not published",
                Kind::Spike => "502 answered on purpose",
            }
        );
        return Ok(());
    }
    let facts = configuration.facts(evidence).await;
    let diagnosis = diagnose(evidence, &facts, reading);
    let message = notification::render(&diagnosis, config.https_body);
    let published = notifier.publish(&diagnosis, &message).await;
    let cause = diagnosis.causes.first().map_or("undetermined", |cause| cause.id.as_str());
    match published {
        Ok(()) => {
            tracing::info!(
                incident_id = diagnosis.incident_id,
                cause,
                failures = diagnosis.failures,
                requests = diagnosis.requests,
                "diagnosis published"
            );
            Ok(())
        }
        Err(error) => {
            tracing::error!(
                incident_id = diagnosis.incident_id, cause, %error, "diagnosis not published"
            );
            Err(format!("diagnosis {} was not published: {error}", diagnosis.incident_id))
        }
    }
}
