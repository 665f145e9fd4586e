//! Clocks that are wrong: rows of 1970 and 2100, and all times between them.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Row, fed};

/// Forty rows of a moment, of which half failed.
fn moment(time: &str, created: &str) -> String {
    (0..40).map(|n| Row { time, created, failed: n % 2 == 1, ..Row::default() }.line()).collect()
}

/// A time, and the window that a person is told.
const MOMENTS: [(&str, &str); 8] = [
    ("0000-01-01T00:00:00.000000Z", "0000-01-01 00:00 to 00:05 UTC"),
    ("0001-01-01T00:00:00.000000Z", "0001-01-01 00:00 to 00:05 UTC"),
    ("1969-12-31T23:57:00.000000Z", "1969-12-31 23:55 to 1970-01-01 00:00 UTC"),
    ("1970-01-01T06:00:00.000000Z", "1970-01-01 06:00 to 06:05 UTC"),
    ("2026-11-20T12:05:00.000000Z", "2026-11-20 12:05 to 12:10 UTC"),
    ("2100-02-28T23:59:60.000000Z", "2100-03-01 00:00 to 00:05 UTC"),
    ("9999-12-30T12:00:00.000000Z", "9999-12-30 12:00 to 12:05 UTC"),
    // The last that can be told: the years end there.
    ("9999-12-31T23:59:59.999999Z", "9999-12-30 22:00 to 22:00 UTC"),
];

#[test]
fn rows_of_any_time_are_told_at_their_time() {
    let log: String = MOMENTS.iter().map(|(time, _)| moment(time, time)).collect();
    for format in ["text", "json", "html"] {
        let all = log.clone();
        let arguments = ["diagnose", "-", "--format", format, "--snapshot", "events/local/aws"];
        let said = fed(&arguments, move |input| input.write_all(all.as_bytes()));
        assert_eq!(said.code, Some(0), "{}", said.errors);
        match format {
            "text" => {
                let told: Vec<&str> = said
                    .out
                    .lines()
                    .filter_map(|line| line.strip_prefix("Time           "))
                    .collect();
                assert_eq!(told, MOMENTS.map(|(_, window)| window));
            }
            "json" => {
                let document: Value = serde_json::from_str(&said.out).unwrap();
                let schema = serde_json::from_str(alb502::notification::SCHEMA).unwrap();
                let schema = jsonschema::validator_for(&schema).unwrap();
                let diagnoses = document["diagnoses"].as_array().unwrap();
                assert_eq!(diagnoses.len(), MOMENTS.len());
                assert!(diagnoses.iter().all(|it| schema.is_valid(it)));
            }
            _ => assert_eq!(said.out.matches("<article id=").count(), MOMENTS.len()),
        }
    }
}

#[test]
fn a_request_that_took_eight_thousand_years_is_one_row() {
    let (first, last) = ("0001-01-01T00:00:00.000000Z", "9999-12-30T12:00:00.000000Z");
    for (time, created) in [(first, last), (last, first), ("1970-01-01T00:00:00.0Z", last)] {
        for format in ["text", "json", "html"] {
            let log = moment(time, created);
            let said = fed(&["diagnose", "-", "--format", format], move |input| {
                input.write_all(log.as_bytes())
            });
            assert_eq!(said.code, Some(0), "{}", said.errors);
            assert!(said.out.contains("20"), "{}", said.out);
        }
    }
}

#[test]
fn processing_times_and_sizes_of_any_size() {
    let good = "0.001 0.018 0.000 200 200 200 300";
    let bad = "-1 -1 -1 502 - 200 300";
    let values = [
        ("99999999999999.999 99999999999999.999 99999999999999.999 502 -", "18446744073709551615"),
        ("9223372036854775807 9223372036854775807 9223372036854775807 502 -", "1"),
        ("1e308 1e308 1e308 502 -", "99999999999999999999999"),
        ("NaN inf -inf 502 -", "-5"),
        ("-9223372036854775808 -2 -0.5 502 -", "1e9"),
        ("0.000 0.001 -1 502 -", "18446744073709551615"),
        ("9223372036854775.807 9223372036854775.807 0.000 200 200", "18446744073709551615"),
    ];
    let mut log = String::new();
    for n in 0..60 {
        let row = Row { failed: n % 3 == 1, path: "/b", ..Row::default() }.line();
        let (ending, bytes) = values[n % values.len()];
        let other = format!("{ending} {bytes} {bytes}");
        log.push_str(&row.replace(good, &other).replace(bad, &other));
        log.push_str(&row);
    }
    for format in ["text", "json", "html"] {
        let all = log.clone();
        let said = fed(&["diagnose", "-", "--format", format], move |input| {
            input.write_all(all.as_bytes())
        });
        assert_eq!(said.code, Some(0), "{}", said.errors);
        assert!(said.out.contains("502") && !said.out.contains("NaN"), "{}", said.out);
    }
}

#[test]
fn a_log_of_more_times_than_fit_says_so() {
    // One row in each window of two hundred years.
    let said = fed(&["diagnose", "-"], |input| {
        let mut row = String::new();
        let line = Row { time: "TIME", created: "TIME", ..Row::default() }.line();
        for n in 0..60_000_i64 {
            let time = jiff::Timestamp::from_second(n * 105_120).unwrap().to_string();
            row.clear();
            write!(row, "{}", line.replace("TIME", &time)).unwrap();
            input.write_all(row.as_bytes())?;
        }
        Ok(())
    });
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.errors.contains("rows were read but not judged"), "{}", said.errors);
}
