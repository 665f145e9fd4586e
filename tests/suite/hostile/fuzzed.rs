//! What `make fuzz` looks for, on its seeds and on changes of them.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use flate2::read::ZlibDecoder;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

#[path = "../../fuzz/properties/mod.rs"]
mod properties;

#[cfg(feature = "probe")]
use alb502::probe::response;
#[cfg(feature = "probe")]
#[path = "../../fuzz/properties/probe_response.rs"]
mod probe_response;

/// One change: where, and what is put in place of how much.
type Change = (prop::sample::Index, usize, Vec<u8>);

fn change() -> impl Strategy<Value = Change> {
    let bytes = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..4),
        2 => prop::sample::select(vec![
            "\0", "\n", "\"", " ", "\\\"", "-", "-1", "99999999999999999999", "1e308", "NaN", "..",
            "/", "{", "[", "null", "\u{1b}[31m", "\u{202e}", "\u{9b}", "\u{1f}\u{8b}", "\r\n", "%00",
            "9999-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "::1", "0.0.0.0/0",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => (any::<u8>(), 0..5_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    (any::<prop::sample::Index>(), 0..12_usize, bytes)
}

fn changed(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (at, length, by) in changes {
        let at = at.index(bytes.len() + 1);
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, by.iter().copied());
    }
    bytes
}

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target)
}

fn holds(target: &str, cases: u32, property: impl Fn(&[u8])) {
    let mut paths: Vec<_> =
        fs::read_dir(seeds(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(3 <= seeds.len());
    property(b"");
    seeds.iter().for_each(|seed| property(seed));
    let config = ProptestConfig {
        cases,
        // The same bytes each time: what fails here fails everywhere.
        rng_seed: RngSeed::Fixed(502),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let bytes = (prop::sample::select(seeds), prop::collection::vec(change(), 1..8))
        .prop_map(|(seed, changes)| changed(&seed, &changes));
    let run = TestRunner::new(config).run(&bytes, |bytes| {
        property(&bytes);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn the_name_of_an_object() {
    holds("object_key", 2000, properties::object_key);
}

#[test]
fn a_compressed_object() {
    holds("gunzip", 1000, properties::gunzip);
}

#[test]
fn lines_as_they_are() {
    holds("lines", 1000, properties::lines);
}

#[test]
fn a_row() {
    holds("row", 1000, properties::row);
}

#[test]
fn an_event() {
    holds("event", 1000, properties::event);
}

#[test]
fn a_file_of_a_snapshot() {
    // A diagnosis with its page is a tenth of a second.
    holds("snapshot", 60, properties::snapshot);
}

#[test]
fn what_is_kept_of_an_object() {
    let folder = seeds("details");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, seed) in kept() {
            fs::write(folder.join(name), seed).unwrap();
        }
    }
    let (mut changed, mut read) = (0, 0);
    for (name, _) in kept() {
        let seed = fs::read(folder.join(name)).unwrap();
        assert!(
            properties::details(&seed),
            "{name} cannot be read: UPDATE_EXPECT=1 writes it anew"
        );
        // All of them would be a minute.
        for at in (1..seed.len()).step_by(11) {
            let mut lying = seed.clone();
            lying[at] ^= [0x01, 0x7f, 0x10][at % 3];
            changed += 1;
            read += usize::from(properties::details(&lying));
        }
    }
    assert!(changed < 2 * read, "{read} of {changed}");
    // A byte more or less moves all that follow: nearly all of these are refused.
    holds("details", 1000, |bytes| {
        properties::details(bytes);
    });
}

/// What is kept of some rows, with the byte before it that says how it stands there.
fn kept() -> [(&'static str, Vec<u8>); 4] {
    let of = |change: fn(u32, String) -> String| {
        let rows: String = (0..120).map(|it| change(it, properties::failed_row(it))).collect();
        properties::counted(&rows).portions().remove(0).details
    };
    let plain = |packed: &[u8]| {
        let mut plain = vec![0];
        ZlibDecoder::new(packed).read_to_end(&mut plain).unwrap();
        plain
    };
    let one = of(|_, row| row);
    // Two target groups, many methods, paths and reasons, traces with something before the id.
    let several = of(|number, row| {
        let word = ["GET", "POST", "PROPFIND", "\\xe9"][number as usize % 4];
        let row =
            row.replace("\"GET", &format!("\"{word}")).replace(":443/a", &format!(":443/{word}"));
        let row = row.replace("Root=1", "Self=1-0-a;Root=1");
        match number % 3 {
            0 => row.replace("shop-web", "shop-api"),
            1 => row.replace("\"forward\" \"-\" \"-\"", "\"forward\" \"-\" \"LambdaUnhandled\""),
            _ => row,
        }
    });
    // All that is left when nothing fits: no names, more paths than are told apart, no target group.
    let nothing = [&[0], &plain(&one)[1..2], &[0, 0, 0, 1, 0]].concat();
    let packed = [&[1], &one[..]].concat();
    [("one", plain(&one)), ("several", plain(&several)), ("nothing", nothing), ("packed", packed)]
}

#[cfg(feature = "probe")]
#[test]
fn the_response_of_a_target() {
    holds("probe_response", 1000, probe_response::probe_response);
}
