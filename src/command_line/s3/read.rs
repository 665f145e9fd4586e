//! The rows of the objects that were ordered, into a detector.

use std::pin::pin;

use futures_util::StreamExt as _;

use super::{Order, find::Found};
use crate::{
    access_log::{ObjectKey, Reader},
    command_line::{
        Stop, complain, note,
        progress::{Progress, rate},
    },
    detection::Detector,
    diagnosis::{ObjectReport, Reading},
    numbers::count,
};

/// Reads what was ordered. False when not all of it could be read; it is said.
pub(in crate::command_line) fn read(
    order: &Order,
    detector: &mut Detector,
    reading: &mut Reading,
) -> Result<bool, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let found = Found::of(order).await?;
        for (begin, kind) in &found.others {
            let name = format!("s3://{}/{begin}*", found.place.bucket);
            let key = ObjectKey { kind: *kind, ..ObjectKey::parse(begin) };
            let skipped = key.skip_reason().map(|reason| format!("skipped: {reason}"));
            let report = ObjectReport::of(name, &key, &Default::default(), skipped);
            reading.objects.push(report);
        }
        read_all(&found, detector, reading).await
    })
}

async fn read_all(
    found: &Found,
    detector: &mut Detector,
    reading: &mut Reading,
) -> Result<bool, Stop> {
    let Found { place, objects, .. } = found;
    let mut progress = Progress::new(objects.len());
    let mut could_read_all = true;
    let mut all_bytes = 0;
    let logs = found.logs();
    let mut pieces = pin!(logs.pieces(objects));
    for (index, object) in objects.iter().enumerate() {
        let name = format!("s3://{}/{}", place.bucket, object.key);
        let key = ObjectKey::parse(&object.key);
        let source = detector.source(&name, &key);
        let rows = reading.parser.entries;
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        let mut is_over = false;
        let mut refused = None;
        for _ in 0..object.pieces() {
            let Some(piece) = pieces.next().await else { break };
            match piece {
                // Pieces behind an error are taken from the line, and not read.
                Ok(_) if is_over => {}
                Ok(bytes) => {
                    all_bytes += bytes.len() as u64;
                    is_over = reader.push(&bytes).is_err();
                }
                Err(error) if error.is_for_all() => {
                    progress.done();
                    return Err(error.into());
                }
                Err(error) => {
                    is_over = true;
                    refused.get_or_insert(error.said);
                }
            }
            progress.show(|elapsed| {
                format!(
                    "reading object {} of {}, {}",
                    count(index as u64 + 1),
                    count(objects.len() as u64),
                    rate(all_bytes, rows, elapsed)
                )
            });
        }
        let outcome = reader.finish();
        reading.parser.add(&outcome.report);
        let error = refused.or_else(|| outcome.error.map(|error| error.to_string()));
        if let Some(error) = &error {
            complain(&format!("error: {name}: {error}"));
        }
        could_read_all &= error.is_none();
        reading.objects.push(ObjectReport::of(name, &key, &outcome.report, error));
    }
    progress.done();
    note(&format!("read {}", rate(all_bytes, reading.parser.entries, progress.elapsed())));
    Ok(could_read_all)
}
