//! `alb502 invoke`: the Lambda's handler on an event, with a folder in place of AWS.

use std::{io, path::PathBuf};

use clap::Args;

use super::{
    COULD_NOT, SettingFlags, Stop, complain, diagnose::MAX_EVENT_BYTES, is_quiet, note, paint,
};
use crate::{
    config::LOG_LEVEL,
    handler::{self, Invocation, Ports},
    local::{
        files,
        folder::{FolderLogStore, FolderMetrics, FolderNotifier, SnapshotConfiguration},
        ledger::MemoryLedger,
        snapshot::Snapshot,
    },
    log,
    numbers::plural,
};

#[derive(Debug, Args)]
#[command(after_help = "DIR/s3/<bucket>/<key> are the objects, DIR/aws/ is a configuration \
                        snapshot (optional), DIR/out/ gets the messages, and in metrics.jsonl the \
                        metrics of the run, one document of CloudWatch's embedded metric format a line. \
                        The handler's log goes to standard error, one JSON object a line; ALB502_LOG sets its level (error, warn, info, debug, trace).\n\n\
                        Example:\n  \
                        alb502 invoke events/s3-keepalive-race.json --local events/local")]
pub(super) struct Arguments {
    /// The event as JSON, `-` for standard input
    #[arg(value_name = "EVENT")]
    event: PathBuf,
    /// The folder that stands in for AWS
    #[arg(long, value_name = "DIR")]
    local: PathBuf,
    #[command(flatten)]
    settings: SettingFlags,
}

pub(super) fn run(
    arguments: &Arguments,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<u8, Stop> {
    let config = arguments.settings.config(environment, false)?;
    let payload = event(arguments)?;
    if !arguments.local.is_dir() {
        return Err(Stop::WrongUse(format!(
            "--local {}: no such folder. It holds s3/<bucket>/<key> and, for the configuration, aws/.",
            files::shown(&arguments.local)
        )));
    }
    let aws = arguments.local.join("aws");
    let snapshot = if aws.is_dir() { Some(Snapshot::load(&aws)?) } else { None };
    // Quiet is quiet: but for what failed.
    let level = if is_quiet() {
        Some("error".to_owned())
    } else {
        environment(LOG_LEVEL).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
    };
    log::start(level.as_deref(), io::stderr);
    for warning in snapshot.iter().flat_map(|snapshot| &snapshot.warnings) {
        tracing::warn!(%warning, "snapshot");
    }
    let screen = |text: &str| paint::print(&format!("{text}\n"));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let ports = Ports {
        logs: &FolderLogStore::new(&arguments.local),
        configuration: &SnapshotConfiguration(snapshot),
        ledger: &MemoryLedger::default(),
        notifier: &FolderNotifier::new(&arguments.local, &screen),
        metrics: &FolderMetrics::new(&arguments.local),
    };
    // The event is of the past, and nobody else handles it: its own time is now.
    let invocation = Invocation { now: None, owner: "invoke", lease_until: i64::MAX };
    let done = runtime.block_on(handler::handle(&payload, &config, &invocation, ports));
    match done {
        Ok(summary) => {
            note(&format!(
                "{} read, {} skipped, {}, {} published",
                plural(summary.objects, "object"),
                summary.skipped,
                plural(summary.entries, "row"),
                plural(summary.published, "message"),
            ));
            Ok(0)
        }
        Err(error) => {
            complain(&format!(
                "error: the invocation failed: {error}. The lines of the log above say more."
            ));
            Ok(COULD_NOT)
        }
    }
}

fn event(arguments: &Arguments) -> Result<serde_json::Value, Stop> {
    let path = &arguments.event;
    let bytes = files::read_at_most(path, MAX_EVENT_BYTES).map_err(|error| {
        Stop::WrongUse(format!(
            "{}: {error}. Give a file with an event, such as events/s3-keepalive-race.json.",
            files::shown(path)
        ))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Stop::WrongUse(format!(
            "{}: not JSON ({error}). Give an S3 event, such as \
             events/s3-keepalive-race.json.",
            files::shown(path)
        ))
    })
}
