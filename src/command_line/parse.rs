//! `alb502 parse`: entries as JSON lines.

use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use clap::Args;

use super::{COULD_NOT, Stop, complain, note, say};
use crate::{
    access_log::{ObjectKey, Reader, json},
    local::files,
};

#[derive(Debug, Args)]
#[command(after_help = "Field names are AWS's in snake case; client and target are split into \
                        _ip and _port, the request into method, url and protocol. `-` is null.\n\n\
                        Examples (the second one: the slowest targets):\n  \
                        aws s3 cp s3://example-alb-logs/KEY - | alb502 parse - | head -1\n  \
                        alb502 parse access.log.gz |\n    jq -r '[.target_processing_time, .target_ip, .trace_id] | @tsv' |\n    \
                        sort -gr | head")]
pub(super) struct Arguments {
    /// Access-log files, plain or gzip, or folders that hold them; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let mut output = BufWriter::new(io::stdout().lock());
    let mut code = 0;
    let files = files::find(&arguments.paths)?;
    say::waiting_for_input(&files);
    for file in files {
        let key = ObjectKey::parse(&file.name());
        let name = file.shown();
        if let Some(reason) = key.skip_reason().filter(|_| !file.asked_for) {
            note(&format!("note: {name}: skipped, {reason}"));
            continue;
        }
        let mut written = Ok(());
        let mut reader = Reader::new(|entry| {
            if written.is_ok() {
                written = json::write_line(entry, &mut output);
            }
        });
        let streamed = files::stream(&file.path, &mut |bytes| match reader.push(bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        let outcome = reader.finish();
        written?;
        for sample in &outcome.report.samples {
            note(&format!("warning: {name}: {sample}"));
        }
        let more = outcome.report.malformed - outcome.report.samples.len() as u64;
        if 0 < more {
            note(&format!("warning: {name}: {more} more lines are malformed"));
        }
        let error = match streamed {
            Err(error) => Some(files::unreadable(&error)),
            Ok(()) => outcome.error.map(|error| error.to_string()),
        };
        if let Some(error) = error {
            complain(&format!("error: {name}: {error}"));
            code = COULD_NOT;
        }
    }
    output.flush()?;
    Ok(code)
}
