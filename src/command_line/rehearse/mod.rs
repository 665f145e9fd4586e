//! `alb502 rehearse`: which messages a stretch of history would have caused.

mod history;
mod report;

use std::{
    cell::{Cell, RefCell},
    io,
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{COULD_NOT, SettingFlags, Stop, complain, note, paint, progress::Progress};
use crate::{
    diagnosis::Diagnosis,
    handler::{self, Invocation, Ports},
    local::{files, folder::SnapshotConfiguration, ledger::MemoryLedger, snapshot::Snapshot},
    notification::Notification,
    ports::{Metrics, Notifier, NotifierError},
};
use history::History;
use report::{Message, Report};

#[derive(Debug, Args)]
#[command(
    after_help = "The handler of the Lambda function runs over the objects in the order in which \
                        they came: each a minute or two after the end time in its name. The rows of a \
                        file with another name come window by window. Nothing is sent, and nothing is \
                        made up after the last object: what is open then is said to be open.\n\n\
                        Examples:\n  \
                        alb502 rehearse ./AWSLogs\n  \
                        alb502 rehearse ./AWSLogs --min-errors 20 --rate-percent 0.5\n  \
                        alb502 rehearse ./AWSLogs --snapshot ./config\n  \
                        alb502 rehearse ./AWSLogs --format json | jq -r '.messages[].sent_at'"
)]
pub(super) struct Arguments {
    /// Access-log files, plain or gzip, or folders that hold them; - is standard input. A week says more
    /// than a day
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder with the configuration as the AWS CLI prints it; it makes causes surer, not messages more
    #[arg(long, value_name = "DIR")]
    snapshot: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
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
    let snapshot = match &arguments.snapshot {
        Some(folder) => Some(Snapshot::load(folder)?),
        None => None,
    };
    for warning in snapshot.iter().flat_map(|snapshot| &snapshot.warnings) {
        note(&format!("warning: {warning}"));
    }
    let history = History::find(&arguments.paths)?;
    let ledger = MemoryLedger::default();
    let collected = Collected::default();
    let configuration = SnapshotConfiguration(snapshot);
    let mut code = if history.is_whole { 0 } else { COULD_NOT };
    let mut progress = Progress::new(history.deliveries.len());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for (index, delivery) in history.deliveries.iter().enumerate() {
        progress.update(index + 1, 0);
        collected.now.set(delivery.at);
        let event = json!({"bucket": history::BUCKET, "key": delivery.key});
        // One after the other: nobody else waits for the lease.
        let invocation =
            Invocation { now: Some(delivery.at), owner: "rehearse", lease_until: i64::MAX };
        let ports = Ports {
            logs: &history,
            configuration: &configuration,
            ledger: &ledger,
            notifier: &collected,
            metrics: &NoMetrics,
        };
        if let Err(error) = runtime.block_on(handler::handle(&event, &config, &invocation, ports)) {
            let name = format!("s3://{}/{}", history::BUCKET, delivery.key);
            let file = files::shown(&delivery.file);
            complain(&format!("error: {}", error.to_string().replace(&name, &file)));
            code = COULD_NOT;
        }
    }
    progress.done();
    let messages = collected.messages.take();
    let report =
        runtime.block_on(Report::of(&history, &ledger, &config, messages)).map_err(|error| {
            // The memory of the process always answers.
            Stop::WrongUse(error.to_string())
        })?;
    match arguments.format {
        Format::Text => paint::print(&report.text())?,
        Format::Json => {
            let document = serde_json::to_string_pretty(&report).map_err(io::Error::from)?;
            paint::print_plain(&(document + "\n"))?;
        }
    }
    Ok(code)
}
