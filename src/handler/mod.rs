//! One invocation, top to bottom: read the objects, keep what they say in the ledger, and say what is to
//! be said of the incidents in it.

mod measuring;
mod reading;
mod telling;

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    access_log::{ObjectKey, ObjectKind},
    config::Config,
    embedded_metrics::Document,
    event::{self, Arrivals, Event},
    incident::{COMPLETE_AFTER_MICROS, Kept, Observation, end_of, window_of},
    local::ledger::MemoryLedger,
    ports::{Configuration, Ledger, LedgerError, LogStore, Metrics, Notifier},
};
use measuring::Measuring;
use telling::{Said, Teller};

/// Who handles an event, and when.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Microseconds since 1970. `None` for a replay: then it is the latest time in the event, or the time
    /// at which the newest rows are complete.
    pub now: Option<i64>,
    /// The request id: another attempt at the same event has the same one.
    pub owner: &'a str,
    /// When the invocation is certainly over, microseconds since 1970: until then others leave it to
    /// this one to say what it began to say.
    pub lease_until: i64,
}

/// The ports of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Ports<'a, S, C, L, N> {
    /// Where the objects are.
    pub logs: &'a S,
    /// What AWS says.
    pub configuration: &'a C,
    /// What is remembered.
    pub ledger: &'a L,
    /// Where messages go.
    pub notifier: &'a N,
    /// Where metrics go.
    pub metrics: &'a dyn Metrics,
}

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
    /// The event is a batch of SQS, which waits for the ids of the messages that failed.
    pub is_batch: bool,
}

/// What failed in an invocation, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// A diagnosis was made, and nobody was told.
    MessageNotPublished,
    /// The ledger did not answer: what was read is diagnosed by itself, and has to be counted later.
    LedgerUnavailable,
    /// An object could not be read to its end.
    ObjectUnreadable,
    /// A record of the event names no object that could be read.
    RecordUnreadable,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::MessageNotPublished,
        Self::LedgerUnavailable,
        Self::ObjectUnreadable,
        Self::RecordUnreadable,
    ];

    /// The stable name, which Lambda reports as the type of the error.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MessageNotPublished => "MessageNotPublished",
            Self::LedgerUnavailable => "LedgerUnavailable",
            Self::ObjectUnreadable => "ObjectUnreadable",
            Self::RecordUnreadable => "RecordUnreadable",
        }
    }
}

/// One thing that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of thing.
    pub kind: FailureKind,
    /// In words that name bucket and key, or the topic, or the table.
    pub text: String,
    /// The objects of the event that have to be handled again, by their index.
    pub objects: Vec<usize>,
}

/// Why an invocation fails. It is told after everything else was done, so that the other objects are
/// not lost, and so that what failed is retried.
#[derive(Default, thiserror::Error)]
pub struct HandlerError {
    /// Each failure.
    pub failures: Vec<Failure>,
    /// For a batch of SQS the ids of the messages that are to be delivered again.
    pub failed_messages: Option<Vec<String>>,
}

/// How many failures an error names; the log has them all.
const MAX_TOLD: usize = 5;

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.failures.iter().take(MAX_TOLD).map(|failure| failure.text.as_str());
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
        let worst = self.failures.iter().map(|failure| failure.kind).min();
        worst.map_or("Unknown", FailureKind::as_str)
    }
}

/// Handles one invocation.
///
/// # Errors
/// When a record, an object, the ledger or a message failed; each failure names what it is about.
pub async fn handle<S: LogStore, C: Configuration, L: Ledger, N: Notifier>(
    payload: &Value,
    config: &Config,
    invocation: &Invocation<'_>,
    ports: Ports<'_, S, C, L, N>,
) -> Result<Summary, HandlerError> {
    let mut summary = Summary::default();
    let mut failures = Vec::new();
    let arrivals = match event::read(payload) {
        Event::Foreign(reason) => {
            tracing::info!(%reason, "event passed over");
            summary.skipped = 1;
            return Ok(summary);
        }
        Event::Objects(arrivals) => arrivals,
    };
    summary.is_batch = arrivals.messages.is_some();
    for error in &arrivals.unreadable {
        tracing::error!(%error, "record not read");
        let (kind, text) = (FailureKind::RecordUnreadable, error.to_string());
        // It names no object; the message that it stands in is marked by itself.
        failures.push(Failure { kind, text, objects: Vec::new() });
    }
    for reason in &arrivals.passed_over {
        tracing::info!(%reason, "record passed over");
        summary.skipped += 1;
    }
    let mut kept = Vec::new();
    let mut observed = Vec::new();
    for (index, object) in arrivals.objects.iter().enumerate() {
        let key = ObjectKey::parse(&object.key);
        if let Some(reason) = skip_reason(&key) {
            tracing::info!(bucket = object.bucket, key = object.key, %reason, "object skipped");
            summary.skipped += 1;
            continue;
        }
        let read = reading::read(ports.logs, object, &key, config.thresholds).await;
        summary.entries += read.object.entries;
        match &read.object.error {
            None => summary.objects += 1,
            Some(error) => failures.push(Failure {
                kind: FailureKind::ObjectUnreadable,
                text: format!("{}: {error}", read.object.name()),
                objects: vec![index],
            }),
        }
        kept.extend(Observation::of(&read.object, read.portions).into_iter().map(|it| (index, it)));
        observed.push((index, read.object));
    }
    let now = invocation.now.unwrap_or_else(|| time_of(&arrivals, &kept));
    reading::log_what_is_out_of_time(&mut kept, now, config);
    let measuring = Measuring::new(ports.metrics, config.metrics, invocation.owner, now);
    let measured: Vec<(usize, Vec<Document>)> = observed
        .iter()
        .map(|(index, object)| (*index, measuring.object(*index, object, &kept)))
        .collect();
    for (load_balancer, (objects, kept)) in by_load_balancer(kept) {
        let mut said = Said::default();
        let teller = Teller {
            invocation,
            now,
            config,
            configuration: ports.configuration,
            ledger: ports.ledger,
            notifier: ports.notifier,
            measuring,
            unmerged: None,
        };
        if let Err(error) = merged(&teller, &load_balancer, &kept, &mut said).await {
            tracing::error!(load_balancer, %error, "ledger did not answer");
            alone(&teller, &error, &load_balancer, &kept, &mut said).await;
            let (kind, text) = (FailureKind::LedgerUnavailable, error.to_string());
            failures.push(Failure { kind, text, objects: objects.clone() });
        }
        summary.published += said.published;
        failures
            .extend(said.failures.into_iter().map(|it| Failure { objects: objects.clone(), ..it }));
    }
    let is_failed = |index: usize| failures.iter().any(|it| it.objects.contains(&index));
    // An object that comes again is counted when it is done with.
    for (_, documents) in measured.iter().filter(|(index, _)| !is_failed(*index)) {
        measuring.put(documents);
    }
    if failures.is_empty() {
        return Ok(summary);
    }
    let failed = arrivals
        .messages
        .as_ref()
        .map(|_| arrivals.failed_messages(is_failed).into_iter().map(ToOwned::to_owned).collect());
    Err(HandlerError { failures, failed_messages: failed })
}

/// Keeps what was observed, then says what is to be said.
async fn merged<C: Configuration, L: Ledger, N: Notifier>(
    teller: &Teller<'_, C, L, N>,
    load_balancer: &str,
    kept: &[Kept],
    said: &mut Said,
) -> Result<(), LedgerError> {
    teller.ledger.keep(kept).await?;
    let own: Vec<&Observation> = kept.iter().map(|it| &it.observation).collect();
    teller.tell(load_balancer, &own, said).await
}

/// Without a ledger the objects of this event are judged by themselves, and what they show is told at
/// once: better twice than never.
async fn alone<C: Configuration, L: Ledger, N: Notifier>(
    teller: &Teller<'_, C, L, N>,
    error: &LedgerError,
    load_balancer: &str,
    kept: &[Kept],
    said: &mut Said,
) {
    let ledger = MemoryLedger::default();
    let teller = Teller {
        invocation: teller.invocation,
        now: teller.now,
        config: teller.config,
        configuration: teller.configuration,
        ledger: &ledger,
        notifier: teller.notifier,
        measuring: teller.measuring,
        unmerged: Some(error),
    };
    if let Err(error) = merged(&teller, load_balancer, kept, said).await {
        tracing::error!(%error, "memory did not answer");
    }
}

/// What is kept of each load balancer, with the objects it comes from.
fn by_load_balancer(kept: Vec<(usize, Kept)>) -> BTreeMap<String, (Vec<usize>, Vec<Kept>)> {
    let mut by_load_balancer = BTreeMap::<String, (Vec<usize>, Vec<Kept>)>::new();
    for (index, it) in kept {
        let name = it.observation.load_balancer.to_string();
        let (objects, of_one) = by_load_balancer.entry(name).or_default();
        objects.push(index);
        of_one.push(it);
    }
    by_load_balancer
}

/// When an event was sent, for a replay: what it says itself, else when its newest rows are complete.
fn time_of(arrivals: &Arrivals, kept: &[(usize, Kept)]) -> i64 {
    let newest = kept.iter().map(|(_, it)| end_of(it.observation.window)).max();
    let complete = newest.map(|end| end.saturating_add(COMPLETE_AFTER_MICROS));
    arrivals.time.map(jiff::Timestamp::as_microsecond).or(complete).unwrap_or(0)
}

/// In a bucket notification only an object whose key says access log is read: the key is AWS's.
fn skip_reason(key: &ObjectKey) -> Option<String> {
    key.skip_reason().or_else(|| {
        (key.kind != ObjectKind::AccessLog)
            .then(|| "the key is not one of an ALB access log".to_owned())
    })
}
