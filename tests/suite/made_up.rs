//! Rows made up at random: no mechanism behind them, only forms that a log may hold.
use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::library::Object;

/// A row made up: who, when, and how it ended.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub node: usize,
    pub target: usize,
    pub path: usize,
    /// Milliseconds into half an hour.
    pub created: i64,
    /// Milliseconds at the target.
    pub took: i64,
    pub ending: usize,
    pub traced: bool,
}

pub(crate) fn made() -> impl Strategy<Value = Made> {
    // Good rows are the most; the pauses around six seconds come often enough to be seen.
    let took = prop_oneof![6 => 1..90i64, 2 => 90..4_000i64, 1 => 29_900..31_000i64];
    let created = prop_oneof![0..1_800_000i64, (0..300i64).prop_map(|n| n * 6_020)];
    let ending = prop_oneof![4 => Just(0usize), 3 => 1..8usize];
    (0..3usize, 0..3usize, 0..4usize, created, took, ending).prop_map(
        |(node, target, path, created, took, ending)| Made {
            node,
            target,
            path,
            created,
            took,
            ending,
            traced: true,
        },
    )
}

/// 2026-11-17T02:30:00Z
const START: i64 = 1_794_882_600_000;
const NODES: [&str; 3] = ["203.0.113.7", "203.0.113.8", "203.0.113.9"];
const NAME: &str = "123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef";

fn time(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).unwrap();
    format!("{time:.6}")
}

impl Made {
    fn answered(&self) -> i64 {
        match self.ending {
            4 => self.created + 10_001,
            3 => self.created + 2,
            _ => self.created + 1 + self.took,
        }
    }

    fn row(&self) -> String {
        let took = self.took as f64 / 1e3;
        let (times, status, reason) = match self.ending {
            0 => (format!("0.001 {took:.3} 0.000"), "200 200", "-"),
            1 | 2 => (format!("0.001 {took:.3} -1"), "502 -", "-"),
            3 => ("-1 -1 -1".to_owned(), "502 -", "-"),
            4 => ("-1 -1 -1".to_owned(), "504 -", "-"),
            5 => (format!("0.001 {took:.3} 0.000"), "502 502", "-"),
            6 => (format!("0.001 {took:.3} 0.000"), "404 404", "-"),
            _ => (format!("0.001 {took:.3} -1"), "502 -", "LambdaInvalidResponse"),
        };
        let path = ["/", "/cart", "/orders/17", "/orders/18?full=1"][self.path];
        let target = format!("10.20.10.{}:3000", 21 + self.target);
        let (answered, created) = (time(START + self.answered()), time(START + self.created));
        let group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/01ab";
        // No two requests have the same, unless they are alike in everything.
        let (who, ending) = (self.node << 8 | self.target << 4 | self.path, self.ending);
        let trace = match self.traced {
            true => format!(
                "Root=1-6afbbc33-{:08x}{:08x}{who:04x}{ending:04x}",
                self.created, self.took
            ),
            false => "-".to_owned(),
        };
        format!(
            "https {answered} app/shop/0123456789abcdef 198.51.100.7:4711 {target} {times} {status} \
             300 2500 \"GET https://shop.example.com:443{path} HTTP/1.1\" \"curl/8.5.0\" \
             TLS_AES_128_GCM_SHA256 TLSv1.3 {group} \"{trace}\" \"shop.example.com\" \
             \"session-reused\" 0 {created} \"forward\" \"-\" \"{reason}\" \"{target}\" \"-\" \"-\" \
             \"-\" TID_0 \"-\" \"-\" \"-\"\n"
        )
    }
}

/// The rows as the nodes deliver them: one object for five minutes.
pub(crate) fn delivered(rows: &[Made]) -> Vec<Object> {
    let mut objects: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for row in rows {
        let minute = 30 + (row.answered() / 300_000 + 1) * 5;
        let (hour, minute) = (2 + minute / 60, minute % 60);
        let stamp = format!("20261117T{hour:02}{minute:02}Z");
        let folder = "logs/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/17";
        let name = format!("{folder}/{NAME}_{stamp}_{}_abcdefgh.log.gz", NODES[row.node]);
        objects.entry(name).or_default().extend(row.row().into_bytes());
    }
    objects.into_iter().map(|(name, bytes)| Object { name, bytes }).collect()
}
