use std::{collections::BTreeMap, path::Path};

use crate::{
    engine::{Engine, Truth},
    output::Memory,
    scenarios,
};

type Rows = Vec<(usize, i64, Vec<u8>)>;

fn simulate(name: &str, seed: u64, fields: usize) -> (Truth, Rows) {
    let fleet = scenarios::named(name).unwrap();
    let mut sink = Memory { keep: true, rows: Vec::new() };
    let (truth, _) = Engine::new(fleet, seed, fields, 5000, &mut sink).run().unwrap();
    (truth, sink.rows)
}

/// Fields of a row: a quoted text is one.
fn fields(row: &[u8]) -> usize {
    let mut quoted = false;
    let space = |b: &&u8| {
        quoted ^= **b == b'"';
        **b == b' ' && !quoted
    };
    row.iter().filter(space).count() + 1
}

#[test]
fn every_row_has_all_fields_and_the_parser_reads_it() {
    for fleet in scenarios::all() {
        let (_, rows) = simulate(fleet.name, 3, 33);
        for (_, time, row) in rows {
            assert_eq!(fields(&row), 33, "{}", String::from_utf8_lossy(&row));
            let entry = alb502::access_log::Entry::parse(row.trim_ascii_end()).unwrap();
            assert_eq!(entry.time(), time);
            assert!(entry.request_creation_time().is_some_and(|created| created <= time));
        }
    }
}

#[test]
fn older_rows_have_fewer_fields() {
    for count in [29, 30] {
        let (_, rows) = simulate("healthy", 1, count);
        assert!(rows.iter().all(|(_, _, row)| fields(row) == count));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    assert_eq!(simulate("rolling-deploy", 7, 33), simulate("rolling-deploy", 7, 33));
    assert_ne!(simulate("rolling-deploy", 7, 33).1, simulate("rolling-deploy", 8, 33).1);
}

#[test]
fn rows_come_in_the_order_of_their_response() {
    let (_, rows) = simulate("saturation", 1, 33);
    assert!(rows.is_sorted_by_key(|row| row.1));
}

#[test]
fn failures_have_the_causes_of_the_scenario() {
    for fleet in scenarios::all() {
        let (truth, _) = simulate(fleet.name, 1, 33);
        for (_, cause) in truth.causes.keys() {
            let also = matches!(
                fleet.name,
                "connect-refused" | "connect-refused-all" | "host-unreachable"
            );
            let expected = fleet.labels.contains(cause) || also && *cause == "closed-mid-request";
            assert!(expected, "{}: {cause}", fleet.name);
        }
        // In the first rows of a long log nothing happens yet.
        if fleet.name != "stray" && fleet.traffic.batches.is_none() {
            for label in &fleet.labels {
                assert!(
                    truth.causes.keys().any(|(_, cause)| cause == label),
                    "{}: {label}",
                    fleet.name
                );
            }
        }
    }
}

/// What the folders of the library say is what happens when they are made again.
#[test]
fn the_library_says_what_happened() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut wrong = Vec::new();
    for folder in std::fs::read_dir(library).unwrap() {
        let folder = folder.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read(folder.join("scenario.json")).unwrap();
        let scenario: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let Some(line) = scenario["simulate"].as_str() else {
            continue;
        };
        let args = crate::arguments(line.split_whitespace().skip(1).map(str::to_owned)).unwrap();
        let fleet = args.fleet().unwrap();
        let labels = serde_json::json!(fleet.labels);
        let mut sink = Memory::default();
        let engine = Engine::new(fleet, args.seed, args.fields, u64::MAX, &mut sink);
        let (truth, _) = engine.run().unwrap();
        let mut failures = BTreeMap::new();
        for ((_, cause), count) in truth.causes {
            *failures.entry(cause).or_insert(0) += count;
        }
        if scenario["failures"] != serde_json::json!(failures) {
            wrong.push(format!("{name}: failures {failures:?}, not {}", scenario["failures"]));
        }
        if scenario["labels"] != labels {
            wrong.push(format!("{name}: labels {labels}, not {}", scenario["labels"]));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn cloudwatch_counts_what_happened_to_connections() {
    let count = |name: &str, label: &str| -> u64 {
        let (truth, _) = simulate(name, 1, 33);
        let of = |(l, counts): (&String, &BTreeMap<i64, u64>)| {
            let named = l.split(' ').next() == Some(label);
            named.then(|| counts.values().sum::<u64>())
        };
        truth.metrics.iter().find_map(of).unwrap_or(0)
    };
    let (refused, _) = simulate("connect-refused-all", 1, 33);
    let causes: BTreeMap<_, _> = refused.causes.iter().map(|((_, c), n)| (*c, *n)).collect();
    assert_eq!(
        count("connect-refused-all", "TargetConnectionErrorCount"),
        causes["connect-refused"]
    );
    assert_eq!(count("connect-refused-all", "HTTPCode_ELB_502_Count"), refused.elb_502);
    assert_eq!(count("connect-refused-all", "TargetTLSNegotiationErrorCount"), 0);
    let (handshake, _) = simulate("tls-handshake", 1, 33);
    assert_eq!(count("tls-handshake", "TargetTLSNegotiationErrorCount"), handshake.elb_502);
    let (blocked, _) = simulate("blocked-port", 1, 33);
    assert_eq!(count("blocked-port", "TargetConnectionErrorCount"), blocked.connect_504);
    assert_eq!(count("blocked-port", "HTTPCode_ELB_504_Count"), blocked.connect_504);
    assert_eq!(count("intentional-waf", "HTTPCode_ELB_502_Count"), 0);
    let (made, _) = simulate("target-generated", 1, 33);
    assert!(made.target_502 <= count("target-generated", "HTTPCode_Target_5XX_Count"));
}
