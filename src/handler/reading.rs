//! One object, from its bytes to what is kept of it.

use std::{ops::ControlFlow, time::Instant};

use super::{Kept, window_of};
use crate::{
    access_log::{ObjectKey, ReadOutcome, Reader},
    config::Config,
    detection::{Detector, Portion, Thresholds},
    event::LogObject,
    incident::{ObservedObject, start_of},
    ports::LogStore,
};

/// What one object says.
pub(super) struct Read {
    pub(super) object: ObservedObject,
    pub(super) portions: Vec<Portion>,
}

/// Streams an object through a detector of its own.
pub(super) async fn read(
    logs: &impl LogStore,
    object: &LogObject,
    key: &ObjectKey,
    thresholds: Thresholds,
) -> Read {
    let started = Instant::now();
    let mut detector = Detector::new(thresholds);
    let source = detector.source(&format!("s3://{}/{}", object.bucket, object.key), key);
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
    let not_judged = detector.rows_not_judged();
    if 0 < not_judged {
        tracing::warn!(
            bucket = object.bucket,
            key = object.key,
            rows = not_judged,
            "rows of too many times or names are not judged"
        );
    }
    Read {
        object: ObservedObject::of(&object.bucket, &object.key, &report, error.as_deref()),
        portions: detector.portions(),
    }
}

/// Windows that begin later than this after now are of a clock that is wrong: ten minutes, in
/// microseconds.
const MAX_AHEAD_MICROS: i64 = 600_000_000;

/// An object holds the rows of five minutes, and of requests that took long. More windows than this, a
/// day, are of no load balancer.
const MAX_WINDOWS: usize = 288;

/// Says which windows are too old to be published, takes those out that have not begun, and those beyond
/// [`MAX_WINDOWS`] of one object, the oldest first.
pub(super) fn log_what_is_out_of_time(kept: &mut Vec<(usize, Kept)>, now: i64, config: &Config) {
    let oldest = window_of(now.saturating_sub(config.incident_settings().max_age));
    kept.sort_by_key(|(index, it)| (*index, std::cmp::Reverse(it.observation.window)));
    let (mut of, mut number) = (usize::MAX, 0);
    kept.retain(|(index, Kept { observation: it, .. })| {
        number = if of == *index { number + 1 } else { 1 };
        of = *index;
        let is_ahead = now.saturating_add(MAX_AHEAD_MICROS) < start_of(it.window);
        let failures =
            it.groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.counts.failures));
        let (bucket, key) = (&*it.object.bucket, &*it.object.key);
        let load_balancer = &*it.load_balancer;
        let window = crate::diagnosis::timestamp(start_of(it.window)).to_string();
        if is_ahead || MAX_WINDOWS < number {
            let reason = if is_ahead { "it has not begun" } else { "the object has too many" };
            tracing::warn!(
                bucket,
                key,
                load_balancer,
                window,
                failures,
                reason,
                "window not judged"
            );
            return false;
        }
        if it.window < oldest {
            tracing::info!(
                bucket,
                key,
                load_balancer,
                window,
                failures,
                "window older than ALB502_MAX_AGE_HOURS: counted, not published"
            );
        }
        for group in it.groups.iter().filter(|group| {
            group.counts.failures == 0
                && config.thresholds.min_errors <= group.counts.intentional_502
        }) {
            tracing::info!(
                load_balancer,
                target_group = group.target_group.as_deref(),
                window,
                on_purpose = group.counts.intentional_502,
                requests = group.counts.requests,
                "502 answered on purpose"
            );
        }
        true
    });
}
