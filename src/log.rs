//! The structured log: one JSON object a line, with `timestamp` and `level`, as Lambda's log filter
//! wants them; a line without either would count as INFO.
//!
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>

use tracing_subscriber::{
    EnvFilter,
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

/// Writes the log to `writer` from now on. `level` is one of Lambda's (TRACE to FATAL) or a filter of
/// tracing; what cannot be read is INFO.
pub(crate) fn start(
    level: Option<&str>,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) {
    let filter = match level {
        // FATAL is not a level of tracing.
        Some(level) if level.eq_ignore_ascii_case("fatal") => "error",
        Some(level) => level,
        None => "info",
    };
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // A second subscriber in one process is refused; the first one goes on.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_timer(SystemTime)
        .with_env_filter(filter)
        .with_writer(Visible(writer))
        .try_init();
}
