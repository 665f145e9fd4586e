//! What reading one object has shown besides its entries.

use std::collections::BTreeMap;
use std::fmt;

use super::gunzip::Damage;
use super::{LineKind, Malformed};

/// So many malformed lines are described; the rest is only counted.
pub const MAX_SAMPLES: usize = 3;

/// Counts of one object, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// All lines, the empty ones too.
    pub lines: u64,
    /// Lines that are access-log entries.
    pub entries: u64,
    /// Lines that are neither entries nor empty.
    pub malformed: u64,
    /// Entries with fields after the last known one.
    pub unknown_fields: u64,
    /// The length of these lines with their line breaks, uncompressed.
    pub bytes: u64,
    /// What the lines are that are no entries. [`LineKind::AccessLog`] counts those that begin like
    /// an entry but cannot be read.
    pub kinds: BTreeMap<LineKind, u64>,
    /// The first malformed lines, at most [`MAX_SAMPLES`].
    pub samples: Vec<MalformedSample>,
}

impl ReadReport {
    /// The most frequent kind among the malformed lines.
    pub(super) fn leading_kind(&self) -> Option<LineKind> {
        self.kinds
            .iter()
            .filter(|(kind, _)| **kind != LineKind::Empty)
            .max_by_key(|(kind, count)| (**count, std::cmp::Reverse(**kind)))
            .map(|(kind, _)| *kind)
    }

    pub(super) fn count_malformed(&mut self, reason: Malformed, text: &[u8], bytes: u64) {
        self.malformed += 1;
        let kind = match reason {
            Malformed::NotAnEntry(kind) => kind,
            Malformed::TooFewFields(_) | Malformed::Time | Malformed::CarriageReturn => {
                LineKind::AccessLog
            }
            Malformed::TooLong => LineKind::of(text),
        };
        *self.kinds.entry(kind).or_default() += 1;
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(MalformedSample {
                line: self.lines,
                reason,
                hint: hint(text, bytes),
            });
        }
    }
}

/// One malformed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MalformedSample {
    /// The number of the line in the uncompressed object, from 1.
    pub line: u64,
    /// Why it is no entry.
    pub reason: Malformed,
    /// Its shape in words. Nothing that a client sent is in it.
    pub hint: String,
}

impl fmt::Display for MalformedSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} ({})", self.line, self.reason, self.hint)
    }
}

/// Describes a line without quoting it: a log line holds what strangers have sent.
fn hint(text: &[u8], bytes: u64) -> String {
    let begins = match text.first() {
        Some(byte) if byte.is_ascii_digit() => "a digit",
        Some(byte) if byte.is_ascii_alphabetic() => "a letter",
        Some(b' ' | b'\t') => "white space",
        Some(b'"') => "a quote",
        Some(byte) if byte.is_ascii_punctuation() => "a sign",
        Some(byte) if byte.is_ascii() => "a control character",
        Some(_) => "a byte that is not ASCII",
        None => "nothing",
    };
    let words = text.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).count() as u64;
    let plural = |count| if count == 1 { "" } else { "s" };
    let mut hint = format!("{bytes} byte{}", plural(bytes));
    if text.len() as u64 == bytes {
        hint.push_str(&format!(", {words} word{}", plural(words)));
    }
    hint.push_str(", begins with ");
    hint.push_str(begins);
    hint
}

/// A format of the log delivery through CloudWatch Logs, which this tool does not read.
///
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-logs.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VendedFormat {
    /// One JSON object a line.
    Json,
    /// W3C extended log format.
    W3c,
    /// Apache Parquet.
    Parquet,
}

impl fmt::Display for VendedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::W3c => "W3C",
            Self::Parquet => "Parquet",
        })
    }
}

/// Why an object could not be read, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The gzip ends too early.
    #[error(
        "the gzip ends before its last byte: the upload or download was cut off; the rows before \
         that count; fetch the object again"
    )]
    Truncated,
    /// The gzip is damaged, or something follows it.
    #[error(
        "the gzip is corrupt: a checksum or a code in it is wrong; the rows before that count; \
         fetch the object again"
    )]
    Corrupt,
    /// Bytes follow the last gzip member.
    #[error(
        "bytes follow the end of the gzip that are no gzip (zero padding or garbage); the rows \
         before them count; fetch the object again"
    )]
    TrailingBytes,
    /// There is nothing in it.
    #[error(
        "the object holds no lines; a load balancer writes none without entries, so look whether \
         the copy is complete"
    )]
    Empty,
    /// Neither gzip nor text.
    #[error(
        "neither gzip nor text: a load balancer delivers .log.gz objects; decrypt or unpack the \
         file first if it was packed in another way"
    )]
    NotGzip,
    /// A format of the log delivery through CloudWatch Logs.
    #[error(
        "an ALB log in {0} format is not supported; read the access logs that the load balancer \
         attribute access_logs.s3.enabled delivers to S3"
    )]
    UnsupportedFormat(VendedFormat),
    /// Lines, but not one entry.
    #[error("{}", not_an_access_log(*kind))]
    NotAnAccessLog {
        /// What most of the lines are.
        kind: LineKind,
    },
}

impl ReadError {
    /// True when the object is an access log of which a part is lost: the rows before the damage
    /// count, and another attempt may read more.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Truncated | Self::Corrupt | Self::TrailingBytes)
    }
}

impl From<Damage> for ReadError {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Truncated => Self::Truncated,
            Damage::Corrupt => Self::Corrupt,
            Damage::TrailingBytes => Self::TrailingBytes,
        }
    }
}

fn not_an_access_log(kind: LineKind) -> &'static str {
    match kind {
        LineKind::ConnectionLog => {
            "an ALB connection log, not an access log: it says nothing about targets; give the \
             objects without conn_log in their name"
        }
        LineKind::HealthCheckLog => {
            "an ALB health-check log, not an access log: it holds no requests of clients; give the \
             objects without health_check_log in their name"
        }
        LineKind::NetworkLoadBalancer => {
            "a Network Load Balancer log, not an ALB access log; give the objects with _app. in \
             their name"
        }
        LineKind::ClassicLoadBalancer => {
            "a Classic Load Balancer log, not an ALB access log; give the objects with _app. in \
             their name"
        }
        LineKind::AccessLog => {
            "lines that begin like ALB access-log entries, but not one can be read; look whether \
             the file was cut or rewritten"
        }
        LineKind::Empty | LineKind::Other => {
            "not an ALB access log: not one line is an entry; give the objects that the load \
             balancer delivers to S3"
        }
    }
}

/// What [`super::Reader::finish`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct ReadOutcome {
    /// What was read, before the damage if there is any.
    pub report: ReadReport,
    /// Why the object could not be read, or not to its end.
    pub error: Option<ReadError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_quotes_nothing() {
        for (text, expected) in [
            (&b""[..], "0 bytes, 0 words, begins with nothing"),
            (b"password=secret x", "17 bytes, 2 words, begins with a letter"),
            (b"{\"a\":1}", "7 bytes, 1 word, begins with a sign"),
            (b"\xff\xfe", "2 bytes, 1 word, begins with a byte that is not ASCII"),
        ] {
            assert_eq!(hint(text, text.len() as u64), expected);
        }
        assert_eq!(hint(b"abc", 9), "9 bytes, begins with a letter");
    }

    #[test]
    fn the_leading_kind_is_the_most_frequent() {
        let mut report = ReadReport::default();
        assert_eq!(report.leading_kind(), None);
        report.kinds.insert(LineKind::Empty, 9);
        report.kinds.insert(LineKind::Other, 2);
        report.kinds.insert(LineKind::ConnectionLog, 2);
        assert_eq!(report.leading_kind(), Some(LineKind::ConnectionLog));
    }
}
