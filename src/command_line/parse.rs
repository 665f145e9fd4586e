//! `alb502 parse`: entries as JSON lines.

use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::PathBuf,
};

use clap::Args;

use super::{COULD_NOT, Stop, complain, note};
use crate::{
    access_log::{ObjectKey, Reader, json},
    local::files,
};

#[derive(Debug, Args)]
#[command(after_help = "Field names are AWS's in snake case; client and target are split into \
                        _ip and _port,\nthe request into method, url and protocol. `-` is null.\n\n\
                        Example, the slowest targets:\n  \
                        alb502 parse access.log.gz |\n    jq -r '[.target_processing_time, .target_ip, .trace_id] | @tsv' |\n    \
                        sort -gr | head")]
pub(super) struct Arguments {
    /// Access-log files, plain or gzip, or folders that hold them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let mut output = BufWriter::new(io::stdout().lock());
    let mut code = 0;
    for file in files::find(&arguments.paths)? {
        let name = file.path.display().to_string();
        if let Some(reason) = ObjectKey::parse(&name).skip_reason().filter(|_| !file.asked_for) {
            note(&format!("{name}: skipped, {reason}"));
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
            complain(&format!("{name}: {sample}"));
        }
        let more = outcome.report.malformed - outcome.report.samples.len() as u64;
        if 0 < more {
            complain(&format!("{name}: {more} more lines are malformed"));
        }
        let error = match streamed {
            Err(error) => Some(error.to_string()),
            Ok(()) => outcome.error.map(|error| error.to_string()),
        };
        if let Some(error) = error {
            complain(&format!("{name}: {error}"));
            code = COULD_NOT;
        }
    }
    output.flush()?;
    Ok(code)
}
