//! `alb502 rehearse`: which messages a stretch of history would have caused.

mod chunks;
#[cfg(feature = "aws")]
mod from_s3;
mod history;
mod ledger;
mod report;

use std::{
    cell::{Cell, RefCell},
    io,
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    COULD_NOT, SettingFlags, Stop, complain, note, paint,
    progress::{Progress, rate},
    s3,
};
use crate::{
    config::Config,
    diagnosis::Diagnosis,
    handler::{self, Invocation, Ports},
    local::{folder::SnapshotConfiguration, snapshot::Snapshot},
    notification::Notification,
    numbers::{count, plural},
    ports::{Metrics, Notifier, NotifierError},
};
#[cfg(feature = "aws")]
use from_s3::rehearse_from_s3;
use history::{History, Source};
use ledger::RehearsalLedger;
use report::{Message, Report};

/// What is rehearsed of S3 when nobody says: as far back as a trickle looks. More costs time and traffic.
const DAY: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Args)]
#[command(
    after_help = "The handler of the Lambda function runs over the objects in the order in which \
                        they came: each a minute or two after the end time in its name. The rows of a \
                        file with another name come window by window. Nothing is sent, and nothing is \
                        made up after the last object: what is open then is said to be open. \
                        Objects in S3 are read one by one, and nothing is written to disk.\n\n\
                        Examples:\n  \
                        alb502 rehearse --load-balancer shop --since 7d\n  \
                        alb502 rehearse s3://example-alb-logs/prod --since 3d --until 1d\n  \
                        alb502 rehearse ./AWSLogs\n  \
                        alb502 rehearse ./AWSLogs --min-errors 20 --rate-percent 0.5\n  \
                        alb502 rehearse ./AWSLogs --snapshot ./config\n  \
                        alb502 rehearse ./AWSLogs --format json | jq -r '.messages[].sent_at'"
)]
pub(super) struct Arguments {
    /// Access-log files, plain or gzip, or folders that hold them; - is standard input. Or
    /// s3://BUCKET[/PREFIX]. A week says more than a day
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder with the configuration as the AWS CLI prints it; it makes causes surer, not messages more
    #[arg(long, value_name = "DIR")]
    snapshot: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    s3: s3::Flags,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines: {"messages": [...], "totals": {...}, ...}
    Json,
}

/// Keeps what would have been sent.
#[derive(Default)]
struct Collected {
    now: Cell<i64>,
    messages: RefCell<Vec<Message>>,
}

impl Notifier for Collected {
    async fn publish(&self, diagnosis: &Diagnosis, _: &Notification) -> Result<(), NotifierError> {
        let message = Message::of(self.now.get(), diagnosis);
        self.messages.borrow_mut().push(message);
        Ok(())
    }
}

/// A rehearsal writes no metrics.
#[derive(Debug)]
struct NoMetrics;

impl Metrics for NoMetrics {
    fn function(&self) -> &str {
        "alb502 rehearse"
    }

    fn put(&self, _: &Value) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn run(
    arguments: &Arguments,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<u8, Stop> {
    let mut config = arguments.settings.config(environment, false)?;
    config.metrics = false;
    let order = s3::order(&arguments.paths, &arguments.s3, DAY)?;
    let snapshot = match &arguments.snapshot {
        Some(folder) => Some(Snapshot::load(folder)?),
        None => None,
    };
    for warning in snapshot.iter().flat_map(|snapshot| &snapshot.warnings) {
        note(&format!("warning: {warning}"));
    }
    let rehearsal = Rehearsal {
        config,
        configuration: SnapshotConfiguration(snapshot),
        format: arguments.format,
    };
    let Some(order) = order else {
        let history = History::find(&arguments.paths)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        return runtime.block_on(rehearsal.of(&history, &history));
    };
    rehearse_from_s3(&rehearsal, &order)
}

#[cfg(not(feature = "aws"))]
fn rehearse_from_s3(_: &Rehearsal, order: &s3::Order) -> Result<u8, Stop> {
    Err(s3::not_built_in(order))
}

/// What a history is rehearsed with.
struct Rehearsal {
    config: Config,
    configuration: SnapshotConfiguration,
    format: Format,
}

impl Rehearsal {
    /// Runs the handler over the history, prints what comes of it, and returns the exit code.
    async fn of(&self, history: &History, source: &impl Source) -> Result<u8, Stop> {
        let ledger = RehearsalLedger::new(self.config.incident_settings().max_age);
        let collected = Collected::default();
        let mut code = if history.is_whole { 0 } else { COULD_NOT };
        let objects = history.deliveries.len();
        let mut progress = Progress::new(objects);
        let mut rows = 0;
        for (index, delivery) in history.deliveries.iter().enumerate() {
            progress.show(|elapsed| {
                format!(
                    "rehearsing object {} of {}, {}",
                    count(index as u64 + 1),
                    count(objects as u64),
                    rate(source.bytes(), rows, elapsed)
                )
            });
            collected.now.set(delivery.at);
            ledger.advance(delivery.at);
            let event = json!({"bucket": history::BUCKET, "key": delivery.key});
            // One after the other: nobody else waits for the lease.
            let invocation =
                Invocation { now: Some(delivery.at), owner: "rehearse", lease_until: i64::MAX };
            let ports = Ports {
                logs: source,
                configuration: &self.configuration,
                ledger: &ledger,
                notifier: &collected,
                metrics: &NoMetrics,
            };
            match handler::handle(&event, &self.config, &invocation, ports).await {
                Ok(summary) => rows += summary.entries,
                Err(error) => {
                    if let Some(stop) = source.is_over() {
                        progress.done();
                        return Err(stop);
                    }
                    let name = format!("s3://{}/{}", history::BUCKET, delivery.key);
                    complain(&format!(
                        "error: {}",
                        error.to_string().replace(&name, &delivery.name)
                    ));
                    code = COULD_NOT;
                }
            }
        }
        progress.done();
        let given_up = ledger.given_up();
        if 0 < given_up {
            note(&format!(
                "note: the details of {} had no room, mostly of healthy ones: what is counted is exact, \
                 causes of trickles may be less sure",
                plural(given_up, "object")
            ));
        }
        let report = Report::of(history, &ledger, &self.config, collected.messages.take());
        // The memory of the process always answers.
        let report = report.await.map_err(|error| Stop::WrongUse(error.to_string()))?;
        match self.format {
            Format::Text => paint::print(&report.text())?,
            Format::Json => {
                let document = serde_json::to_string_pretty(&report).map_err(io::Error::from)?;
                paint::print_plain(&(crate::neutralize::json(&document) + "\n"))?;
            }
        }
        Ok(code)
    }
}
