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
    for make in scenarios::ALL {
        let (_, rows) = simulate(make().name, 3, 33);
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
    for make in scenarios::ALL {
        let fleet = make();
        let (truth, _) = simulate(fleet.name, 1, 33);
        for (_, cause) in truth.causes.keys() {
            let also = matches!(
                fleet.name,
                "connect-refused" | "connect-refused-all" | "host-unreachable"
            );
            let expected = fleet.labels.contains(cause) || also && *cause == "closed-mid-request";
            assert!(expected, "{}: {cause}", fleet.name);
        }
        if fleet.name != "stray" {
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
