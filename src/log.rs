//! The structured log: one JSON object a line, with `timestamp` and `level`, as Lambda's log filter
//! wants them; a line without either would count as INFO.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>

use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{MakeWriter, time::SystemTime},
};

use crate::neutralize::JsonWriter;

/// Texts of a log come from events, keys and rows: whoever reads the log on a terminal is safe from them.
struct Visible<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Visible<M> {
    type Writer = JsonWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonWriter(self.0.make_writer())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        JsonWriter(self.0.make_writer_for(meta))
    }
}

/// Writes the log to `writer` from now on. `level` is one of Lambda's (TRACE to FATAL); what cannot be read
/// is INFO. A filter by module would bring regular expressions: 0.2 MB of the function's zip.
pub(crate) fn start(
    level: Option<&str>,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) {
    let level = match level {
        // FATAL is not a level of tracing.
        Some(level) if level.eq_ignore_ascii_case("fatal") => LevelFilter::ERROR,
        Some(level) => level.parse().unwrap_or(LevelFilter::INFO),
        None => LevelFilter::INFO,
    };
    // A second subscriber in one process is refused; the first one goes on.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_timer(SystemTime)
        .with_max_level(level)
        .with_writer(Visible(writer))
        .try_init();
}
