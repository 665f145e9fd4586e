//! What alb502 costs a month, computed from what is measured, as the README shows it.
use std::path::Path;

use alb502::{
    access_log::{ObjectKey, Reader},
    detection::{Detector, Thresholds},
};

/// A node writes one object every five minutes: in a month of 730 hours.
const OBJECTS: f64 = 12.0 * 730.0;

/// Dollars, on demand, in us-east-1. Sources: <https://aws.amazon.com/lambda/pricing/> (arm64),
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>, <https://aws.amazon.com/s3/pricing/>,
/// <https://aws.amazon.com/cloudwatch/pricing/>.
const GB_SECOND: f64 = 0.000_013_333_4;
const INVOCATION: f64 = 0.000_000_2;
const WRITE_UNIT: f64 = 0.000_000_625;
const READ_UNIT: f64 = 0.000_000_125;
const GET_OBJECT: f64 = 0.000_000_4;
const LOG_BYTE: f64 = 0.5e-9;

/// The template's memory, in GB.
const MEMORY: f64 = 0.5;

/// Seconds for the three calls of a healthy object (GetObject, BatchWriteItem, Query): an assumption, 100 ms
/// each.
const CALLS_SECONDS: f64 = 0.3;

/// Seconds a row at 512 MB: 1.1 microseconds measured on a whole processor (`make bench-lambda`), of which
/// 512 MB have 0.29.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const ROW_SECONDS: f64 = 1.1e-6 / 0.29;

/// What an object leaves in the log: its line, Lambda's own three, and two documents of metrics.
const LOG_BYTES: f64 = 3500.0;

/// The item of counts beside the details: one write unit, up to three target groups.
const COUNTS_BYTES: f64 = 900.0;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Bytes of the packed details of one node's object: eight targets, fifty paths, times at random.
fn details_bytes(rows: u64) -> usize {
    let mut dice = Dice(502);
    let rows: String = (0..rows)
        .map(|row| {
            let (at, took) = (dice.below(290_000), 2 + dice.below(40) * dice.below(20));
            let stamp = |millis: u64| {
                let (minute, second) = (millis / 60_000, millis / 1000 % 60);
                format!("2026-11-20T12:0{minute}:{second:02}.{:03}", millis % 1000)
            };
            format!(
                "https {}000Z app/shop/0123456789abcdef 198.51.100.7:40000 10.0.0.{}:8080 0.001 {}.{:03} \
                 0.000 200 200 300 900 \"GET https://shop.example.com:443/p{} HTTP/1.1\" \"curl/8\" - - \
                 arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/shop-web/0123 \
                 \"Root=1-{row:08x}-0\" \"-\" \"-\" 0 {}000Z \"forward\" \"-\" \"-\" \"10.0.0.1:8080\" \
                 \"200\" \"-\" \"-\"\n",
                stamp(at + took),
                1 + dice.below(8),
                took / 1000,
                took % 1000,
                dice.below(50),
                stamp(at),
            )
        })
        .collect();
    let mut detector = Detector::new(Thresholds::default());
    let source = detector.source("object", &ObjectKey::parse("object"));
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    reader.push(rows.as_bytes()).unwrap();
    assert_eq!(reader.finish().report.malformed, 0);
    let portions = detector.portions();
    assert_eq!(portions.len(), 1);
    portions[0].details.len()
}

fn table() -> String {
    let mut table = String::from(
        "| rows in five minutes | kept of an object | write units | one node | 100 nodes |\n\
         |---|---|---|---|---|\n",
    );
    for rows in [100, 1_000, 10_000] {
        let details = details_bytes(rows) as f64;
        let units = (details / 1024.0).ceil() + (COUNTS_BYTES / 1024.0).ceil();
        let seconds = CALLS_SECONDS + rows as f64 * ROW_SECONDS;
        let object = INVOCATION
            + seconds * MEMORY * GB_SECOND
            + units * WRITE_UNIT
            + READ_UNIT
            + GET_OBJECT
            + LOG_BYTES * LOG_BYTE;
        let node = object * OBJECTS;
        table.push_str(&format!(
            "| {rows} | {:.1} KB | {units} | ${node:.2} | ${:.0} |\n",
            (details + COUNTS_BYTES) / 1024.0,
            node * 100.0
        ));
    }
    table
}

#[test]
fn the_readme_shows_what_a_month_costs() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let table = table();
    println!("{table}");
    assert!(readme.contains(&table), "the README has another table than this:\n{table}");
}
