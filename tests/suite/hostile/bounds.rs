//! Whatever is fed, memory stays bounded, and the answer comes.

use std::{
    io::{self, Write},
    sync::OnceLock,
};

use flate2::{Compression, GzBuilder, write::GzEncoder};

use super::{Row, Said, fed};

/// What a log may take beside the program itself: 64 MB together in a release build, which takes 7. A debug
/// build takes up to 30.
const MOST_KB: u64 = 57 * 1024;

/// What the program takes for a log of one row.
fn program_kb() -> u64 {
    static PROGRAM_KB: OnceLock<u64> = OnceLock::new();
    *PROGRAM_KB.get_or_init(|| {
        let row = |input: &mut dyn Write| input.write_all(Row::default().line().as_bytes());
        fed(&["diagnose", "-"], row).peak
    })
}

fn assert_bounded(said: &Said) {
    let log_kb = said.peak.saturating_sub(program_kb());
    assert!(0 < said.peak && log_kb <= MOST_KB, "{log_kb} KB\n{}{}", said.out, said.errors);
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn diagnosed(feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Said {
    let said = fed(&["diagnose", "-"], feed);
    assert_bounded(&said);
    said
}

/// Ten rows, of which one failed: enough of them are an incident.
fn rows() -> String {
    (0..10).map(|n| Row { failed: n == 1, ..Row::default() }.line()).collect()
}

#[test]
fn a_gzip_bomb_is_read_in_pieces() {
    // Half a gigabyte of one line, in half a megabyte; the rows before it count, the line does not.
    let said = diagnosed(|input| {
        let mut encoder = GzEncoder::new(input, Compression::fast());
        for _ in 0..10 {
            encoder.write_all(rows().as_bytes())?;
        }
        let zeros = vec![0; 1 << 20];
        for _ in 0..512 {
            encoder.write_all(&zeros)?;
        }
        encoder.finish().map(drop)
    });
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.out.contains("10 of 100 requests failed"), "{}", said.out);
    assert!(said.out.contains("1 malformed"), "{}", said.out);
}

#[test]
fn a_bomb_inside_of_a_bomb_is_no_log() {
    let inner = gzip(&vec![b'a'; 64 << 20]);
    let said = diagnosed(move |input| input.write_all(&gzip(&inner)));
    assert_eq!((said.code, said.errors.contains("neither gzip nor text")), (Some(1), true));
}

#[test]
fn members_without_end_are_one_log() {
    let (empty, filled) = (gzip(b""), gzip(rows().as_bytes()));
    let said = diagnosed(move |input| {
        for _ in 0..100 {
            input.write_all(&filled)?;
            for _ in 0..2_000 {
                input.write_all(&empty)?;
            }
        }
        Ok(())
    });
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.out.contains("100 of 1,000 requests failed"), "{}", said.out);
}

#[test]
fn the_header_of_a_member_may_be_without_end() {
    // A comment of the header ends with a zero, which never comes.
    let said = diagnosed(|input| {
        input.write_all(&[0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 3])?;
        let filler = vec![b'c'; 1 << 20];
        (0..200).try_for_each(|_| input.write_all(&filler))
    });
    assert_eq!(said.code, Some(1));
    assert!(said.errors.contains("error: standard input"), "{}", said.errors);
    let named = GzBuilder::new().filename(vec![b'n'; 60_000]).comment(vec![b'c'; 60_000]);
    let mut encoder = named.write(Vec::new(), Compression::fast());
    encoder.write_all(rows().repeat(10).as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    let said = diagnosed(move |input| input.write_all(&bytes));
    assert!(said.out.contains("10 of 100 requests failed"), "{}", said.out);
}

#[test]
fn a_line_of_100_megabytes_is_skipped() {
    for filler in [&b"x"[..], b" ", b"\"", b"\\\"", b"\0", b"\xff"] {
        let filler = filler.repeat((1 << 20) / filler.len());
        let said = diagnosed(move |input| {
            input.write_all(rows().repeat(5).as_bytes())?;
            let row = Row::default().line();
            input.write_all(row.trim_end().as_bytes())?;
            for _ in 0..100 {
                input.write_all(&filler)?;
            }
            input.write_all(b"\n")?;
            input.write_all(rows().repeat(5).as_bytes())
        });
        assert_eq!(said.code, Some(0), "{}", said.errors);
        assert!(said.out.contains("10 of 100 requests failed"), "{}", said.out);
        assert!(said.out.contains("1 malformed"), "{}", said.out);
    }
}

#[test]
fn lines_as_long_as_may_be_are_read() {
    for filler in ["x", " ", "\"", "\\\"", "\" \"", "- "] {
        let rest = filler.repeat((1 << 20) / filler.len() - 1_000);
        let said = diagnosed(move |input| {
            for row in 0..40 {
                let mut line = Row { failed: row % 2 == 1, ..Row::default() }.line();
                line.truncate(line.len() - 1);
                writeln!(input, "{line} {rest}")?;
            }
            Ok(())
        });
        assert!(said.out.contains("20 of 40 requests failed"), "{filler}: {}", said.out);
    }
}

#[test]
fn parse_prints_what_it_reads_and_keeps_nothing() {
    let said = fed(&["parse", "-"], |input| {
        let path = format!("/{}", "\u{9b}".repeat(100_000));
        let line = Row { path: &path, ..Row::default() }.line();
        (0..10).try_for_each(|_| input.write_all(line.as_bytes()))
    });
    assert_eq!((said.code, said.out.lines().count()), (Some(0), 10));
    assert_bounded(&said);
}

/// As many rows, each with a value of its own.
const ROWS: usize = 40_000;

fn different(row: impl Fn(usize) -> String + Send + 'static) -> Said {
    diagnosed(move |input| (0..ROWS).try_for_each(|n| input.write_all(row(n).as_bytes())))
}

/// A word that is like no other: ids in paths are folded where they look like ids.
fn word(n: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    [n / 17_576, n / 676, n / 26, n].into_iter().map(letter).collect()
}

fn address(n: usize) -> String {
    format!("10.{}.{}.{}:8080", n >> 16, n >> 8 & 255, n & 255)
}

/// A minute since 2026-11-01 as rows have it.
fn minute(minute: usize) -> String {
    let (day, hour) = (1 + minute / 1440, minute / 60 % 24);
    format!("2026-11-{day:02}T{hour:02}:{:02}:30.000000Z", minute % 60)
}

#[test]
fn paths_without_end() {
    let said = different(|n| {
        Row {
            path: &format!("/{}/{}", word(n), word(n * 7)),
            failed: n % 10 == 1,
            ..Row::default()
        }
        .line()
    });
    assert!(said.out.contains("4,000 of 40,000 requests failed"), "{}", said.out);
}

#[test]
fn targets_without_end() {
    let said =
        different(|n| Row { target: &address(n), failed: n % 10 == 1, ..Row::default() }.line());
    assert!(said.out.contains("4,000 of 40,000 requests failed"), "{}", said.out);
}

#[test]
fn two_weeks_in_which_nothing_comes_twice() {
    // Targets and paths are kept by name in each of up to 4,096 windows with failures.
    let rows = 60_000;
    let said = diagnosed(move |input| {
        (0..rows).try_for_each(|n| {
            let (method, path) = (word(n).to_uppercase(), format!("/{}/{}", word(n), word(n * 7)));
            let time = minute(n * 14 * 24 * 60 / rows);
            let row = Row {
                time: &time,
                created: &time,
                target: &address(n),
                path: &path,
                method: &method,
                group: ["a", "b", "c", "d", "e"][n % 5],
                failed: n.is_multiple_of(3),
                ..Row::default()
            };
            input.write_all(row.line().as_bytes())
        })
    });
    assert!(said.out.contains(" of the failures"), "{}", said.out);
}

#[test]
fn two_weeks_are_rehearsed_window_by_window() {
    // What packs the rows of a window is a third of a megabyte: once for each of 4,032 windows it is a gigabyte.
    let said = fed(&["rehearse", "-"], |input| {
        (0..14 * 24 * 60).step_by(2).try_for_each(|n| {
            let time = minute(n);
            let row = Row { time: &time, created: &time, ..Row::default() };
            input.write_all(row.line().as_bytes())
        })
    });
    assert_bounded(&said);
    assert!(said.out.contains("10,080"), "{}", said.out);
}

#[test]
fn a_hundred_target_groups_that_fail_in_every_window() {
    // As many as a load balancer has, each row with a path and a target of its own.
    let said = diagnosed(|input| {
        (0..40 * 32 * 100_usize).try_for_each(|n| {
            let time = minute(n / 3_200 * 5);
            let path = format!("/{}{}", word(n), word(n * 7));
            let group = word(n % 100);
            let row = Row {
                time: &time,
                created: &time,
                target: &address(n),
                path: &path,
                group: &group,
                failed: true,
                ..Row::default()
            };
            input.write_all(row.line().as_bytes())
        })
    });
    assert!(said.out.contains("1,280 of 1,280 requests failed"), "{}", said.out);
}

#[test]
fn target_groups_stay_apart_behind_a_flood_of_methods() {
    let said = diagnosed(|input| {
        for n in 0..20_001 {
            input.write_all(Row { method: &word(n), ..Row::default() }.line().as_bytes())?;
        }
        for n in 0..400 {
            let row = Row { group: "payments", failed: n % 10 == 0, ..Row::default() };
            input.write_all(row.line().as_bytes())?;
            input.write_all(Row { group: "images", ..Row::default() }.line().as_bytes())?;
        }
        Ok(())
    });
    assert!(said.out.contains("payments"), "{}", said.out);
    assert!(said.out.contains("40 of 400 requests failed"), "{}", said.out);
}

#[test]
fn the_latest_incident_has_its_details_however_much_was_before_it() {
    // A thousand quiet target groups in more windows than keep details, then one of them fails.
    let said = diagnosed(|input| {
        for window in 0..8 {
            let time = minute(window * 5);
            for n in 0..1_000 {
                let group = word(n);
                let row = Row { time: &time, created: &time, group: &group, ..Row::default() };
                input.write_all(row.line().as_bytes())?;
            }
        }
        let time = minute(36);
        for n in 0..40 {
            let (group, path) = (word(7), format!("/{}", word(n)));
            let row = Row {
                time: &time,
                created: &time,
                group: &group,
                path: &path,
                failed: true,
                ..Row::default()
            };
            input.write_all(row.line().as_bytes())?;
        }
        Ok(())
    });
    let text = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("40 of 41 requests failed"), "{text}");
    assert!(text.contains("connect-refused, medium confidence"), "{text}");
    assert!(text.contains("over 40 paths"), "{text}");
}

#[test]
fn methods_and_reasons_without_end() {
    let said = different(|n| {
        let (method, reason) = (word(n).to_uppercase(), format!("Reason{}", word(n)));
        Row { method: &method, reason: &reason, failed: n % 10 == 1, ..Row::default() }.line()
    });
    assert!(said.out.contains("4,000 of 40,000 requests failed"), "{}", said.out);
}

#[test]
fn target_groups_without_end_are_given_up_with_a_word() {
    let said = different(|n| Row { group: &word(n), failed: n % 2 == 1, ..Row::default() }.line());
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("rows were read but not judged"), "{}", said.errors);
}

#[test]
fn load_balancers_without_end_are_given_up_with_a_word() {
    let said = different(|n| {
        let name = format!("app/{}/0123456789abcdef", word(n));
        Row { load_balancer: &name, failed: n % 2 == 1, ..Row::default() }.line()
    });
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("rows were read but not judged"), "{}", said.errors);
}
