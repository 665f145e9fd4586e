//! Takes the bytes of one object as they arrive and hands on its entries. No I/O of its own.

use std::ops::ControlFlow;

use super::gunzip::{Gunzip, MAGIC};
use super::lines::{Line, LineSplitter};
use super::time::Clock;
use super::{Entry, LineKind, Malformed, ReadError, ReadOutcome, ReadReport, VendedFormat};

/// The length of a line break.
const LINE_BREAK_BYTES: u64 = 1;

/// Reads one object: push its bytes in chunks of any size, then finish.
///
/// Gzip, of one or many members, and plain text are told apart by content. However the bytes are
/// cut, the entries and the outcome are the same. Memory is bounded by the longest line
/// ([`super::lines::MAX_LINE_BYTES`]).
#[derive(Debug)]
pub struct Reader<S> {
    unpacker: Unpacker,
    rows: RowReader<S>,
    failed: Option<ReadError>,
}

impl<S: FnMut(&Entry<'_>)> Reader<S> {
    /// Starts an object; `sink` is called with each entry, in the order of the object.
    pub fn new(sink: S) -> Self {
        Self { unpacker: Unpacker::default(), rows: RowReader::new(sink), failed: None }
    }

    /// Takes the next bytes of the object.
    ///
    /// # Errors
    /// When the object cannot be read any further, and again on every later call. The caller may
    /// stop, and [`Self::finish`] tells of what was read before.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Self { unpacker, rows, failed } = self;
        let mut format = None;
        let pushed = unpacker.push(bytes, |text| match rows.push(text) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                format = Some(error);
                ControlFlow::Break(())
            }
        });
        *failed = pushed.err().or(format);
        failed.map_or(Ok(()), Err)
    }

    /// Ends the object: reads its last line and judges the whole.
    pub fn finish(self) -> ReadOutcome {
        self.rows.finish(self.failed.or_else(|| self.unpacker.finish()))
    }
}

/// The first half of a [`Reader`]: bytes of an object → text. The halves may run on two processors.
#[derive(Debug, Default)]
pub struct Unpacker {
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was pushed yet.
    #[default]
    Start,
    /// One byte was pushed, the first one of the magic number.
    HalfMagic,
    Gzip(Box<Gunzip>),
    Plain,
}

impl Unpacker {
    /// Takes the next bytes and hands on the text in them, until `text` breaks. Nothing may follow a
    /// break or an error.
    ///
    /// # Errors
    /// When the gzip is damaged; all text before the damage has been handed on.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut text: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut first = None;
        match (&self.stage, bytes) {
            (_, []) => return Ok(()),
            (Stage::Start, [byte]) if *byte == MAGIC[0] => {
                self.stage = Stage::HalfMagic;
                return Ok(());
            }
            (Stage::Start, [a, b, ..]) if [*a, *b] == MAGIC => {
                self.stage = Stage::Gzip(Box::default());
            }
            (Stage::Start, _) => self.stage = Stage::Plain,
            (Stage::HalfMagic, [byte, ..]) => {
                let is_gzip = *byte == MAGIC[1];
                self.stage = if is_gzip { Stage::Gzip(Box::default()) } else { Stage::Plain };
                first = MAGIC.get(..1);
            }
            (Stage::Gzip(_) | Stage::Plain, _) => {}
        }
        for bytes in first.into_iter().chain([bytes]) {
            let flow = match &mut self.stage {
                Stage::Gzip(gunzip) => gunzip.push(bytes, &mut text)?,
                _ => text(bytes),
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What is wrong with an object that ends here.
    pub fn finish(&self) -> Option<ReadError> {
        match &self.stage {
            Stage::Start | Stage::Plain => None,
            Stage::HalfMagic => Some(ReadError::Truncated),
            Stage::Gzip(gunzip) => gunzip.finish().err().map(ReadError::from),
        }
    }
}

/// The second half of a [`Reader`]: text of an object → entries.
#[derive(Debug)]
pub struct RowReader<S> {
    lines: LineSplitter,
    intake: Intake<S>,
}

impl<S: FnMut(&Entry<'_>)> RowReader<S> {
    /// Starts an object; `sink` is called with each entry, in the order of the object.
    pub fn new(sink: S) -> Self {
        Self { lines: LineSplitter::default(), intake: Intake::new(sink) }
    }

    /// Takes the next text of the object, cut anywhere. Nothing may follow an error.
    ///
    /// # Errors
    /// When no later line can be an entry.
    pub fn push(&mut self, text: &[u8]) -> Result<(), ReadError> {
        let Self { lines, intake } = self;
        match lines.push(text, |line| intake.take(line, LINE_BREAK_BYTES)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(format) => Err(ReadError::UnsupportedFormat(format)),
        }
    }

    /// Ends the object, which could not be read any further because of `error`: reads its last line and
    /// judges the whole.
    pub fn finish(mut self, error: Option<ReadError>) -> ReadOutcome {
        // A row that was cut in two is no row. Behind a whole gzip it is only without a line break.
        let mut error = error;
        if matches!(error, None | Some(ReadError::TrailingBytes))
            && let ControlFlow::Break(format) = self.lines.finish(|line| self.intake.take(line, 0))
        {
            error = error.or(Some(ReadError::UnsupportedFormat(format)));
        }
        self.intake.count_empty_lines();
        let error = error.or_else(|| self.intake.judge());
        ReadOutcome { report: self.intake.report, error }
    }
}

/// What happens to each line.
#[derive(Debug)]
struct Intake<S> {
    sink: S,
    clock: Clock,
    report: ReadReport,
    /// Lines of no byte, which the report hears of at the end.
    empty_lines: u64,
    /// The first line that holds anything is no text.
    binary: bool,
}

impl<S: FnMut(&Entry<'_>)> Intake<S> {
    fn new(sink: S) -> Self {
        Self {
            sink,
            clock: Clock::default(),
            report: ReadReport::default(),
            empty_lines: 0,
            binary: false,
        }
    }

    /// Breaks at a format in which no later line can be an entry.
    fn take(&mut self, line: Line<'_>, break_bytes: u64) -> ControlFlow<VendedFormat> {
        // A gigabyte of nothing but line breaks fits into a megabyte.
        if matches!(line, Line::Whole([])) {
            self.report.lines += 1;
            self.report.bytes += break_bytes;
            self.empty_lines += 1;
            return ControlFlow::Continue(());
        }
        let (text, bytes) = match line {
            Line::Whole(text) => (text, text.len() as u64),
            Line::TooLong { head, bytes } => (head, bytes),
        };
        if self.report.malformed == 0 && self.report.entries == 0 {
            if let Some(format) = vended_format(text) {
                return ControlFlow::Break(format);
            }
            self.binary = is_binary(text);
        }
        self.report.lines += 1;
        self.report.bytes += bytes + break_bytes;
        match line {
            Line::Whole(text) => self.take_whole(text),
            Line::TooLong { .. } => self.report.count_malformed(Malformed::TooLong, text, bytes),
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn take_whole(&mut self, line: &[u8]) {
        let mut entry = Entry::unread(line);
        match entry.read(&mut self.clock) {
            Ok(()) => {
                if entry.has_unknown_fields() {
                    if entry.is_several_rows() {
                        let (reason, bytes) = (Malformed::CarriageReturn, line.len() as u64);
                        return self.report.count_malformed(reason, line, bytes);
                    }
                    self.report.unknown_fields += 1;
                }
                self.report.entries += 1;
                (self.sink)(&entry);
            }
            Err(Malformed::NotAnEntry(LineKind::Empty)) => {
                *self.report.kinds.entry(LineKind::Empty).or_default() += 1;
            }
            Err(reason) => self.report.count_malformed(reason, line, line.len() as u64),
        }
    }

    fn count_empty_lines(&mut self) {
        if 0 < self.empty_lines {
            *self.report.kinds.entry(LineKind::Empty).or_default() += self.empty_lines;
        }
    }

    /// What is wrong with an object that was read to its end.
    fn judge(&self) -> Option<ReadError> {
        if 0 < self.report.entries {
            return None;
        }
        Some(match self.report.leading_kind() {
            None => ReadError::Empty,
            Some(_) if self.binary => ReadError::NotGzip,
            Some(kind) => ReadError::NotAnAccessLog { kind },
        })
    }
}

/// Judges the first line.
fn vended_format(line: &[u8]) -> Option<VendedFormat> {
    // Other comments than these stand above rows that somebody has put together by hand.
    const W3C_DIRECTIVES: [&[u8]; 6] =
        [b"#Version", b"#Fields", b"#Software", b"#Date", b"#Start-Date", b"#Remark"];
    if line.starts_with(b"{") {
        Some(VendedFormat::Json)
    } else if line.starts_with(b"PAR1") {
        Some(VendedFormat::Parquet)
    } else if W3C_DIRECTIVES.iter().any(|word| line.starts_with(word)) {
        Some(VendedFormat::W3c)
    } else {
        None
    }
}

/// True when control characters stand at the beginning of a line, as no text has them.
fn is_binary(line: &[u8]) -> bool {
    line.iter().take(64).any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};

    use super::super::lines::MAX_LINE_BYTES;
    use super::*;

    const ENTRY: &str = "http 2026-11-20T12:05:00.1Z app/a/0f 198.51.100.9:50122 - -1 -1 -1 502 - 0 272 \"GET http://example.com:80/ HTTP/1.1\" \"-\" - - - \"-\"";
    const LONGER_ENTRY: &str = "h2 2026-11-20T12:05:00.1Z app/a/0f 198.51.100.9:1 192.0.2.1:80 0.001 0.002 0.000 200 200 9 272 \"GET https://example.com:443/a\"b c\" HTTP/2.0\" \"x \\x22y\" - - - \"-\" \"-\" \"-\" 0 2026-11-20T12:05:00.0Z \"forward\" \"-\" \"-\" \"192.0.2.1:80\" \"200\" \"-\" \"-\" TID_1 \"-\" \"-\" \"-\" new";
    const CONNECTION: &str = "2026-11-20T12:05:00.1Z 198.51.100.9 36280 443 TLSv1.3 TLS_AES_128_GCM_SHA256 0.014 \"-\" - - Success TID_01";
    const HEALTH_CHECK: &str =
        "https 2026-11-20T12:05:00.1Z 0.003 192.0.2.15:8080 shop PASS 200 - app/a/0f 192.0.2.200";
    const NETWORK: &str =
        "tls 2.0 2026-11-20T12:05:00 net/a/0f 1a2b 198.51.100.9:51341 192.0.2.15:443 5 2";
    const CLASSIC: &str = "2026-11-20T12:05:00.1Z old-web 198.51.100.9:2817 192.0.2.1:80 0.000073 0.001048 0.000057 200";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, ReadOutcome) {
        let mut entries = Vec::new();
        let mut reader = Reader::new(|entry: &Entry<'_>| {
            entries.push(format!("{entry:?} {:?}", entry.extra()));
        });
        let mut failed = None;
        for chunk in chunks {
            let pushed = reader.push(chunk);
            if failed.is_some() {
                assert_eq!(pushed.err(), failed);
            }
            failed = pushed.err();
        }
        let outcome = reader.finish();
        if failed.is_some() {
            assert_eq!(outcome.error, failed);
        }
        (entries, outcome)
    }

    fn kinds(report: &ReadReport) -> Vec<(LineKind, u64)> {
        report.kinds.iter().map(|(kind, count)| (*kind, *count)).collect()
    }

    #[test]
    fn counts_what_it_reads() {
        let cut = ENTRY.get(..60).unwrap();
        let text = format!("#\n{ENTRY}\r\n\n{CONNECTION}\n{cut}\n{LONGER_ENTRY}");
        for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
            let (entries, outcome) = read([&bytes[..]]);
            assert_eq!(outcome.error, None);
            let report = outcome.report;
            assert_eq!(entries.len(), 2);
            assert_eq!(
                (report.lines, report.entries, report.malformed, report.unknown_fields),
                (6, 2, 3, 1)
            );
            assert_eq!(report.bytes, text.len() as u64);
            assert_eq!(
                kinds(&report),
                [
                    (LineKind::AccessLog, 1),
                    (LineKind::ConnectionLog, 1),
                    (LineKind::Empty, 1),
                    (LineKind::Other, 1)
                ]
            );
            let samples: Vec<String> = report.samples.iter().map(ToString::to_string).collect();
            assert_eq!(
                samples,
                [
                    "line 1: not an access-log entry (unknown) (1 byte, 1 word, begins with a sign)",
                    "line 4: not an access-log entry (ALB connection log) (105 bytes, 12 words, begins with a digit)",
                    "line 5: 6 fields, an entry has at least 18 (60 bytes, 6 words, begins with a letter)",
                ]
            );
        }
    }

    #[test]
    fn says_why_there_are_no_entries() {
        let kind = |kind| ReadError::NotAnAccessLog { kind };
        for (text, expected) in [
            (&b""[..], ReadError::Empty),
            (b"\n \r\n", ReadError::Empty),
            (CONNECTION.as_bytes(), kind(LineKind::ConnectionLog)),
            (HEALTH_CHECK.as_bytes(), kind(LineKind::HealthCheckLog)),
            (NETWORK.as_bytes(), kind(LineKind::NetworkLoadBalancer)),
            (CLASSIC.as_bytes(), kind(LineKind::ClassicLoadBalancer)),
            (b"a\nb", kind(LineKind::Other)),
            (&ENTRY.as_bytes()[..80], kind(LineKind::AccessLog)),
            (b"{\"type\":\"http\"}\n{}\n", ReadError::UnsupportedFormat(VendedFormat::Json)),
            (
                b"#Version: 1.0\n#Fields: type\nhttp\n",
                ReadError::UnsupportedFormat(VendedFormat::W3c),
            ),
            (b"PAR1\x15\x04\x15\n\0PAR1", ReadError::UnsupportedFormat(VendedFormat::Parquet)),
            (b"PK\x03\x04\x14\0\n\0", ReadError::NotGzip),
            (b"\x1f\x9d\x90", ReadError::NotGzip),
            (b"h\0t\0t\0p\0", ReadError::NotGzip),
        ] {
            for bytes in [text.to_vec(), gzip(text)] {
                for size in [1, bytes.len().max(1)] {
                    let (entries, outcome) = read(bytes.chunks(size));
                    assert_eq!(outcome.error, Some(expected), "{bytes:?}");
                    assert!(!expected.is_damage());
                    assert!(entries.is_empty());
                    assert!(!expected.to_string().is_empty());
                }
            }
        }
    }

    #[test]
    fn keeps_the_rows_before_the_damage() {
        let text = format!("{ENTRY}\n{ENTRY}");
        let whole = gzip(text.as_bytes());
        let members = [gzip(format!("{ENTRY}\n").as_bytes()), whole.clone()].concat();
        let mut wrong_checksum = members.clone();
        let at = wrong_checksum.len() - 8;
        wrong_checksum[at] ^= 1;
        for (bytes, entries, error) in [
            (members.clone(), 3, None),
            ([&whole[..], &[0; 100]].concat(), 2, Some(ReadError::TrailingBytes)),
            ([&whole[..], b"<html>"].concat(), 2, Some(ReadError::TrailingBytes)),
            // The last row has no line break: whether it is whole is not known.
            (wrong_checksum, 2, Some(ReadError::Corrupt)),
            (members[..members.len() - 1].to_vec(), 2, Some(ReadError::Truncated)),
        ] {
            for size in [1, 10, bytes.len()] {
                let (found, outcome) = read(bytes.chunks(size));
                assert_eq!(found.len(), entries, "{error:?}");
                assert_eq!(outcome.error, error);
                assert!(error.is_none_or(|error| error.is_damage()));
            }
        }
    }

    #[test]
    fn is_truncated_at_every_byte() {
        let first = gzip(format!("{ENTRY}\n").as_bytes());
        let whole = [first.clone(), gzip(format!("{LONGER_ENTRY}\n").as_bytes())].concat();
        for end in 1..whole.len() {
            let (entries, outcome) = read([&whole[..end]]);
            if end == first.len() {
                assert_eq!(outcome.error, None);
            } else {
                assert_eq!(outcome.error, Some(ReadError::Truncated), "{end}");
            }
            assert_eq!(entries.len() as u64, outcome.report.entries);
            assert!(end < first.len() || !entries.is_empty());
        }
    }

    #[test]
    fn an_over_long_line_is_malformed() {
        let long = "x".repeat(MAX_LINE_BYTES + 1);
        let text = format!("{ENTRY}\n{ENTRY}{long}\n{ENTRY}\n");
        for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
            let (entries, outcome) = read(bytes.chunks(65_536));
            assert_eq!((entries.len(), outcome.error), (2, None));
            assert_eq!(outcome.report.malformed, 1);
            assert_eq!(outcome.report.bytes, text.len() as u64);
            assert_eq!(outcome.report.samples[0].reason, Malformed::TooLong);
            assert_eq!(kinds(&outcome.report), [(LineKind::AccessLog, 1)]);
        }
    }

    /// Cuts `bytes` at these places.
    fn cut<'a>(bytes: &'a [u8], places: &[Index]) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> =
            places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        places.sort_unstable();
        let mut from = 0;
        let mut chunks = Vec::new();
        for to in places.into_iter().chain([bytes.len()]) {
            chunks.push(&bytes[from..to]);
            from = to;
        }
        chunks
    }

    #[derive(Debug, Clone)]
    enum Packing {
        Plain,
        Gzip,
        Damaged(Index, u8),
        Truncated(Index),
        Followed(Vec<u8>),
    }

    fn packing() -> impl Strategy<Value = Packing> {
        prop_oneof![
            Just(Packing::Plain),
            Just(Packing::Gzip),
            (any::<Index>(), 1_u8..).prop_map(|(at, by)| Packing::Damaged(at, by)),
            any::<Index>().prop_map(Packing::Truncated),
            proptest::collection::vec(any::<u8>(), 1..20).prop_map(Packing::Followed),
        ]
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(
            lines in proptest::collection::vec(
                select(&[ENTRY, LONGER_ENTRY, CONNECTION, HEALTH_CHECK, "", "#", "#Fields: a", "{", "\0"][..]),
                0..12,
            ),
            line_break in select(&["\n", "\r\n"][..]),
            ends in any::<bool>(),
            packing in packing(),
            members in proptest::collection::vec(any::<Index>(), 0..3),
            places in proptest::collection::vec(any::<Index>(), 0..40),
        ) {
            let mut text = lines.join(line_break);
            if ends {
                text.push_str(line_break);
            }
            let packed: Vec<u8> = cut(text.as_bytes(), &members).into_iter().flat_map(gzip).collect();
            let bytes = match packing {
                Packing::Plain => text.into_bytes(),
                Packing::Gzip => packed,
                Packing::Damaged(at, by) => {
                    let mut bytes = packed;
                    let at = at.index(bytes.len());
                    bytes[at] ^= by;
                    bytes
                }
                Packing::Truncated(at) => packed[..at.index(packed.len())].to_vec(),
                Packing::Followed(tail) => [packed, tail].concat(),
            };
            let whole = read([&bytes[..]]);
            prop_assert_eq!(read(cut(&bytes, &places)), whole.clone());
            prop_assert_eq!(read(bytes.chunks(1)), whole);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..300) {
            let gzipped = gzip(&bytes);
            let magic = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &bytes[..]].concat();
            for bytes in [&bytes, &gzipped, &magic] {
                prop_assert_eq!(read(bytes.chunks(size)), read([&bytes[..]]));
            }
        }
    }
}
