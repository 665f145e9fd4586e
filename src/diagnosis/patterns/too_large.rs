//! Requests that are closed because they are large, on whatever path.

use crate::detection::{Evidence, FailureRow, Signature};

/// Closed requests that are larger than any that succeeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TooLarge {
    /// `received_bytes` of the smallest of them.
    pub smallest: u64,
    /// `received_bytes` of the largest successful request.
    pub largest_success: u64,
    /// How many they are.
    pub closed: u64,
    /// Closed requests at hand.
    pub of: u64,
    /// None of them has a method that sends a body.
    pub without_body: bool,
}

/// A request this large has large headers or a body, in bytes: a few KB are usual.
const MIN_BYTES: u64 = 4096;

/// Fewer may be the largest by chance.
const MIN_CLOSED: u64 = 5;

/// Nine of ten early closed requests, on several paths, are larger than every successful one.
pub(super) fn too_large(evidence: &Evidence) -> Option<TooLarge> {
    let largest_success =
        evidence.paths.iter().filter_map(|path| path.largest_success_bytes).max()?;
    let closed = || evidence.failures.iter().filter(|row| row.signature == Signature::ClosedEarly);
    let bytes = |row: &FailureRow| row.received_bytes.unwrap_or(0);
    let is_large = |row: &&FailureRow| MIN_BYTES <= bytes(row) && largest_success < bytes(row);
    let large: Vec<&FailureRow> = closed().filter(is_large).collect();
    let smallest = large.iter().map(|row| bytes(row)).min()?;
    let (of, hits) = (closed().count() as u64, large.len() as u64);
    let first = large.first()?.path.as_ref();
    let has_body =
        |row: &&FailureRow| matches!(row.method.as_deref(), Some("POST" | "PUT" | "PATCH"));
    // On one path alone its handler may be at fault.
    let several = large.iter().any(|row| row.path.as_ref() != first);
    (evidence.paths_are_complete && several && MIN_CLOSED <= hits && 9 * of <= 10 * hits).then(
        || TooLarge {
            smallest,
            largest_success,
            closed: hits,
            of,
            without_body: !large.iter().any(has_body),
        },
    )
}
