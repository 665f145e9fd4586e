//! What `make fuzz` looks for, on its seeds and on changes of them.

use std::{fs, path::Path};

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

fn holds(target: &str, cases: u32, property: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
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
fn gzip_and_lines() {
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

#[cfg(feature = "probe")]
#[test]
fn the_response_of_a_target() {
    holds("probe_response", 1000, probe_response::probe_response);
}
