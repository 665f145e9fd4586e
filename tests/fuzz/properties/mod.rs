//! What holds for any bytes. `make fuzz` looks for bytes for which it does not; `make test` runs the same on
//! the seeds and on changes of them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    sync::LazyLock,
};

use alb502::{
    access_log::{Entry, Field, ObjectKey, ObjectKind, ReadOutcome, Reader, parse::FIELD_NAMES},
    detection::{Detector, Evidence, Portion, Thresholds, portion::MAX_PACKED_BYTES},
    diagnosis::{Facts, Pictures, Reading, diagnose},
    event::{self, Event},
    local::snapshot::Snapshot,
    notification::{
        HttpsBody,
        html::{Report, html},
        render,
    },
};
use serde_json::{Value, json};

/// Names of objects: what is taken from them is what AWS writes, and what stands before the file's own
/// name only tells account and region.
pub(super) fn object_key(bytes: &[u8]) {
    let key = String::from_utf8_lossy(bytes);
    let parsed = ObjectKey::parse(&key);
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-./:".contains(&it))
    };
    assert!(parsed.load_balancer.as_deref().is_none_or(is_name), "{parsed:?}");
    assert!(parsed.region.as_deref().is_none_or(is_name), "{parsed:?}");
    let is_account = |it: &str| it.len() == 12 && it.bytes().all(|it| it.is_ascii_digit());
    assert!(parsed.account.as_deref().is_none_or(is_account), "{parsed:?}");
    let is_read = matches!(parsed.kind, ObjectKind::AccessLog | ObjectKind::Other);
    assert_eq!(parsed.skip_reason().is_none(), is_read);
    let file = |it: ObjectKey| (it.kind, it.load_balancer, it.end_time, it.node);
    let moved = ObjectKey::parse(&format!("another/folder/{key}"));
    assert_eq!(file(moved), file(parsed));
}

/// A gzip of one member, or of two, or bytes as the fuzzer writes them behind a header, so that it gets to the
/// blocks: cut anywhere, it gives the same; and what was compressed is read as it is when it was not. The first
/// byte chooses, the second how it is cut.
pub(super) fn gunzip(bytes: &[u8]) {
    let [packing, cut, rest @ ..] = bytes else { return };
    let (first, second) = rest.split_at(usize::from(*cut) * rest.len() / 255);
    let object = match packing % 3 {
        0 => gzip(rest),
        1 => [gzip(first), gzip(second)].concat(),
        _ => [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], rest].concat(),
    };
    let unpacked = cut_anywhere(&object, *cut);
    // An object that is a gzip is unpacked once: what is a gzip again is no log.
    if packing % 3 < 2 && !rest.starts_with(&[0x1f]) {
        assert_eq!(unpacked, cut_anywhere(rest, *cut));
    }
}

/// Bytes that are not compressed: cut anywhere, they give the same. The first byte chooses how they are cut.
pub(super) fn lines(bytes: &[u8]) {
    let [cut, rest @ ..] = bytes else { return };
    let _ = cut_anywhere(rest, *cut);
}

/// What is read of an object at once, which is what is read of its pieces.
fn cut_anywhere(object: &[u8], cut: u8) -> (ReadOutcome, u64) {
    let whole = read(object.chunks(object.len().max(1)));
    let mut left = object;
    let mut size = usize::from(cut);
    let pieces = std::iter::from_fn(|| {
        size = (size * 7 + 3) % 97;
        let piece = left.split_off(..(size + 1).min(left.len()))?;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(read(pieces), whole);
    let report = &whole.0.report;
    assert!(report.entries + report.malformed <= report.lines, "{report:?}");
    whole
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The outcome, and a hash over all entries.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (ReadOutcome, u64) {
    let mut hash = DefaultHasher::new();
    let mut reader = Reader::new(|entry: &Entry<'_>| {
        format!("{entry:?}").hash(&mut hash);
        entry.extra().hash(&mut hash);
    });
    let mut failed = None;
    for piece in pieces {
        let pushed = reader.push(piece).err();
        assert!(failed.is_none() || pushed == failed, "what failed once goes on failing");
        failed = pushed;
    }
    let outcome = reader.finish();
    assert!(failed.is_none() || outcome.error == failed);
    (outcome, hash.finish())
}

/// A line: what is an entry is one line of JSON with every field, and can be counted.
pub(super) fn row(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(entry) = Entry::parse(line) else { return };
    let mut out = Vec::new();
    alb502::access_log::json::write_line(&entry, &mut out).unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    let document: Value = serde_json::from_slice(&out).unwrap();
    for name in FIELD_NAMES {
        let parts = match name {
            "client_port" => &["client_ip", "client_port"][..],
            "target_port" => &["target_ip", "target_port"],
            name => &[name],
        };
        assert!(parts.iter().all(|part| document.get(part).is_some()), "{name}");
    }
    assert!(entry.raw(Field::TraceId).is_some(), "the last field that every row has");
    among_others(line, &entry);
}

/// The line between rows of the load balancer is the entry that it is alone, and can be counted.
fn among_others(line: &[u8], alone: &Entry<'_>) {
    const ROWS: u32 = 12;
    let mut log = Vec::new();
    for row in 0..ROWS {
        log.extend_from_slice(failed_row(row).as_bytes());
        log.extend_from_slice(line);
        log.push(b'\n');
    }
    let told = |entry: &Entry<'_>| {
        (format!("{entry:?}"), entry.time(), entry.request_creation_time(), entry.extra().to_vec())
    };
    let expected = told(alone);
    let mut same = 0;
    let mut detector = Detector::new(Thresholds::default());
    let source = detector.source("object", &ObjectKey::parse("object"));
    let mut reader = Reader::new(|entry: &Entry<'_>| {
        same += u32::from(told(entry) == expected);
        detector.record(source, entry);
    });
    reader.push(&log).unwrap();
    assert!(reader.finish().error.is_none());
    assert!(ROWS <= same, "{same}");
    let portions = detector.portions();
    let groups = portions.iter().flat_map(|portion| &portion.groups);
    let requests: u64 = groups.map(|it| it.counts.requests + it.counts.intentional_502).sum();
    assert_eq!(requests + detector.rows_not_judged(), u64::from(2 * ROWS));
    for it in detector.incidents() {
        let of_targets: u64 = it.targets.iter().map(|target| target.requests).sum();
        assert!(of_targets <= it.counts.requests + it.counts.intentional_502, "{it:?}");
    }
}

/// An event: what it asks for is the same in an envelope, and what it answers names what is there.
pub(super) fn event(bytes: &[u8]) {
    let Ok(payload) = serde_json::from_slice::<Value>(bytes) else { return };
    let bare = event::read(&payload);
    if let Event::Objects(arrivals) = &bare {
        let objects = &arrivals.objects;
        assert!(objects.iter().all(|it| !it.bucket.is_empty() && !it.key.is_empty()));
        for (index, object) in objects.iter().enumerate() {
            let same = |other: &event::LogObject| {
                (&other.bucket, &other.key, &other.version_id)
                    == (&object.bucket, &object.key, &object.version_id)
            };
            assert!(!objects.iter().skip(index + 1).any(same), "{object:?} stands twice");
        }
        for message in arrivals.messages.iter().flatten() {
            assert!(message.objects.iter().all(|index| *index < objects.len()));
        }
        let all = arrivals.failed_messages(|_| true);
        assert!(arrivals.failed_messages(|_| false).len() <= all.len());
        for error in &arrivals.unreadable {
            assert!(!error.to_string().contains(['\n', '\r', '\u{1b}', '\u{9b}']), "{error}");
        }
    }
    let sns =
        json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": payload.to_string()}}]});
    if let (Event::Objects(bare), Event::Objects(wrapped)) = (&bare, event::read(&sns)) {
        let is_too_deep = |it: &event::EventError| matches!(it, event::EventError::TooDeep { .. });
        let deep = wrapped.unreadable.iter().any(is_too_deep);
        assert!(deep || wrapped.objects == bare.objects, "{bare:?}\n{wrapped:?}");
    }
}

/// An incident, and a whole configuration around it: files by name.
type Case = (Evidence, Reading, Vec<(String, Vec<u8>)>);

static CASE: LazyLock<Case> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // Of the project or of this folder in it.
    let root =
        if folder.ends_with("tests/fuzz") { folder.join("../..") } else { folder.to_owned() };
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(root.join("events/local/aws"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    // Few rows: the time is for the configuration.
    let mut incidents = counted(&(0..60).map(failed_row).collect::<String>()).incidents();
    (incidents.remove(0), Reading::default(), files)
});

/// What a detector counts of these rows, all of one object.
pub(super) fn counted(rows: &str) -> Detector {
    let mut detector = Detector::new(Thresholds::default());
    let source = detector.source("object", &ObjectKey::parse("object"));
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    reader.push(rows.as_bytes()).unwrap();
    assert_eq!(reader.finish().report.malformed, 0);
    detector
}

/// Rows of the load balancer in that configuration; one of five failed.
pub(super) fn failed_row(row: u32) -> String {
    let ending = match row % 10 {
        1 => "-1 -1 -1 504 -",
        2 => "0.001 0.002 -1 502 -",
        _ => "0.001 0.018 0.000 200 200",
    };
    let time = format!("2026-11-18T02:3{}:{:02}", row / 60, row % 60);
    format!(
        "https {time}.020000Z app/shop/5c8afe59f643557e 198.51.100.7:40000 10.20.10.2{}:3000 {ending} 200 \
         300 \"GET https://shop.example.com:443/a HTTP/1.1\" \"curl/8\" - - \
         arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/994dd5471f409f9d \
         \"Root=1-0-{row}\" \"-\" \"-\" 0 {time}.000000Z \"forward\" \"-\" \"-\"\n",
        row % 4 + 1,
    )
}

/// A file of a snapshot: its name, a line break, its content, in place of the file of that name or beside
/// the others. What is said stays text.
pub(super) fn snapshot(bytes: &[u8]) {
    let (evidence, reading, files) = &*CASE;
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (name, content) = bytes.split_at(at);
    let name = String::from_utf8_lossy(name);
    let others =
        files.iter().filter(|(it, _)| *it != name).map(|(it, content)| (&**it, &content[..]));
    let config = Snapshot::parse(others.chain([(&*name, content.get(1..).unwrap_or_default())]));
    let target_group = evidence.target_group_arn.as_deref();
    let facts = config.facts(&evidence.load_balancer, target_group, evidence.window);
    let diagnosis = diagnose(evidence, &facts, reading);
    let shares: f64 = diagnosis.causes.iter().map(|it| it.share).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    let message = render(&diagnosis, HttpsBody::Chat);
    let told = [(diagnosis, Pictures::of(evidence, &facts))];
    let page = html(&Report { incidents: &told, quiet: "", reading, notes: &config.warnings });
    for shown in [&message.text, &message.json, &page, &message.subject] {
        let control = shown.chars().find(|it| it.is_control() && *it != '\n');
        assert_eq!(control, None, "{shown}");
        assert!(!shown.contains(['\u{202e}', '\u{2066}', '\u{200b}', '\u{2028}']), "{shown}");
    }
}

/// What is kept of those rows.
static PORTION: LazyLock<Portion> =
    LazyLock::new(|| counted(&(0..200).map(failed_row).collect::<String>()).portions().remove(0));

/// Kept details, after a byte that says whether they are compressed as they stand or still have to be: they are
/// refused, or they can be added, judged and kept again. True when they were read.
pub(super) fn details(bytes: &[u8]) -> bool {
    let Some((packing, rest)) = bytes.split_first() else { return false };
    let packed = if packing % 2 == 0 { zlib(rest) } else { rest.to_vec() };
    let mut detector = Detector::new(Thresholds::default());
    if let Err(error) = added(&mut detector, &packed) {
        assert!(!error.contains(char::is_control), "{error}");
        return false;
    }
    // Another object may say the same.
    added(&mut detector, &packed).unwrap();
    for incident in detector.incidents() {
        let diagnosis = diagnose(&incident, &Facts::unknown("nobody asked"), &Reading::default());
        // Together they may be less than one: rows of some kind were counted, and none of them was kept.
        let shares: f64 = diagnosis.causes.iter().map(|it| it.share).sum();
        assert!((0.0..1.0 + 1e-6).contains(&shares), "{:?}", diagnosis.causes);
    }
    for portion in detector.portions() {
        assert!(portion.details.len() <= MAX_PACKED_BYTES);
        let again = added(&mut Detector::new(Thresholds::default()), &portion.details);
        // Lies about counts add up to more than either may say.
        let is_lie = |error: &String| error.contains("more than an object can hold");
        assert!(again.as_ref().err().is_none_or(is_lie), "{again:?}");
    }
    true
}

/// Adds details of an object to its counts.
fn added(detector: &mut Detector, details: &[u8]) -> Result<(), String> {
    let Portion { load_balancer, window, groups, .. } = &*PORTION;
    let source = detector.source("object", &ObjectKey::parse("object"));
    detector.absorb_counts(load_balancer, *window, groups);
    let group = groups.iter().find_map(|it| it.target_group.as_deref());
    let done = detector.absorb_details(load_balancer, group, *window, source, details);
    done.map_err(|error| error.to_string())
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
