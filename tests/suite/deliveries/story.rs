//! What really happened: the rows of every node, and what they add up to.

use std::collections::BTreeMap;

use alb502::{
    detection::{
        Thresholds,
        spikes::{self, Tally, WindowRange},
    },
    incident::{end_of, start_of},
};

use super::chance::Chance;

pub(crate) const BUCKET: &str = "example-alb-logs";

/// The first window: 2026-11-20T12:00:00Z.
pub(crate) const FIRST_WINDOW: i64 = 1_795_176_000 / 300;

pub(crate) const SECOND: i64 = 1_000_000;

pub(crate) const REFUSED: &str = "-1 -1 -1 502 -";
pub(crate) const CLOSED: &str = "0.001 0.004 -1 502 -";
pub(crate) const ANSWERED: &str = "0.001 0.018 0.000 200 200";

/// What one object holds.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub key: String,
    pub window: i64,
    pub rows: Vec<u8>,
    /// By load balancer and target group.
    pub tallies: BTreeMap<(String, String), Tally>,
}

impl Object {
    /// When its window ends, microseconds since 1970.
    pub(crate) fn end(&self) -> i64 {
        end_of(self.window)
    }
}

/// The rows of one node, window, load balancer and target group.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    pub load_balancer: &'a str,
    pub target_group: &'a str,
    pub answered: u64,
    pub failed: u64,
    /// How the failed ones end.
    pub ending: &'a str,
}

impl Default for Part<'_> {
    fn default() -> Self {
        Self {
            load_balancer: "shop",
            target_group: "shop-web",
            answered: 10,
            failed: 0,
            ending: REFUSED,
        }
    }
}

pub(crate) fn arn(target_group: &str) -> String {
    format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{target_group}/0123")
}

pub(crate) fn id(load_balancer: &str) -> String {
    format!("app/{load_balancer}/0123456789abcdef")
}

/// The object of a node (0 to 250) for a window, counted from [`FIRST_WINDOW`].
pub(crate) fn object(node: u64, window: i64, parts: &[Part<'_>]) -> Object {
    let window = FIRST_WINDOW + window;
    let stamp = |micros: i64, form: &str| {
        jiff::Timestamp::from_microsecond(micros).unwrap().strftime(form).to_string()
    };
    let mut rows = String::new();
    let mut tallies: BTreeMap<_, Tally> = BTreeMap::new();
    for part in parts {
        let of = (id(part.load_balancer), arn(part.target_group));
        let tally = tallies.entry(of).or_default();
        tally.requests += part.answered + part.failed;
        tally.failures += part.failed;
        for row in 0..part.answered + part.failed {
            let ending = if row < part.failed { part.ending } else { ANSWERED };
            let millis = (row * 7_919 + node * 131) % 299_000;
            let at = start_of(window) + millis as i64 * 1000 + 25_000;
            let (time, created) = (at, at - 20_000);
            let form = "%Y-%m-%dT%H:%M:%S%.6fZ";
            rows.push_str(&format!(
                "http {} {} 198.51.100.7:40000 10.0.0.{}:8080 {ending} 200 300 \
                 \"GET http://shop.example.com:80/a HTTP/1.1\" \"curl/8\" - - {} \
                 \"Root=1-{window}-{node}-{row}\" \"-\" \"-\" 0 {} \"forward\" \"-\" \"-\"\n",
                stamp(time, form),
                id(part.load_balancer),
                row % 3 + 1,
                arn(part.target_group),
                stamp(created, form),
            ));
        }
    }
    let load_balancer = parts.first().map_or("shop", |part| part.load_balancer);
    let key = format!(
        "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/20/\
         123456789012_elasticloadbalancing_eu-west-1_app.{load_balancer}.0123456789abcdef_{}_\
         192.0.2.{node}_{window:08}.log.gz",
        stamp(end_of(window), "%Y%m%dT%H%MZ")
    );
    Object { key, window, rows: rows.into_bytes(), tallies }
}

/// Healthy windows, failing ones, healthy ones: every node writes an object for each.
pub(crate) fn one_incident(chance: &mut Chance, nodes: u64, windows: [i64; 3]) -> Vec<Object> {
    let [before, failing, after] = windows;
    let mut objects = Vec::new();
    for window in 0..before + failing + after {
        for node in 1..=nodes {
            let fails = (before..before + failing).contains(&window);
            let failed = if fails { chance.below(7) } else { 0 };
            let answered = 4 + chance.below(4);
            objects.push(object(node, window, &[Part { answered, failed, ..Part::default() }]));
        }
    }
    objects
}

/// Three failures each on two of thirty nodes, in one window: no object shows the incident by itself.
pub(crate) fn small_incident(chance: &mut Chance) -> Vec<Object> {
    let mut objects = Vec::new();
    let fails = [1 + chance.below(15), 16 + chance.below(15)];
    for window in 0..9 {
        for node in 1..=30 {
            let failed = if window == 2 && fails.contains(&node) { 3 } else { 0 };
            let answered = 4 + chance.below(4);
            objects.push(object(node, window, &[Part { answered, failed, ..Part::default() }]));
        }
    }
    objects
}

/// Two incidents of the same target group, an hour apart.
pub(crate) fn two_incidents(chance: &mut Chance) -> Vec<Object> {
    let mut objects = Vec::new();
    for window in 0..26 {
        for node in 1..=10 {
            let fails = [3, 4, 16, 17].contains(&window);
            let failed = if fails { chance.below(7) } else { 0 };
            let answered = 4 + chance.below(4);
            objects.push(object(node, window, &[Part { answered, failed, ..Part::default() }]));
        }
    }
    objects
}

/// Two load balancers; both target groups of the first fail, each for its own reason and in its own time,
/// and one of the second.
pub(crate) fn several_groups(chance: &mut Chance) -> Vec<Object> {
    let mut objects = Vec::new();
    for window in 0..14 {
        for node in 1..=8 {
            let mut part = |load_balancer, target_group, fails: std::ops::Range<i64>, ending| {
                let failed = if fails.contains(&window) { chance.below(7) } else { 0 };
                let answered = 4 + chance.below(4);
                Part { load_balancer, target_group, answered, failed, ending }
            };
            let shop =
                [part("shop", "shop-web", 2..5, REFUSED), part("shop", "shop-api", 3..6, CLOSED)];
            let blog =
                [part("blog", "blog-web", 2..4, REFUSED), part("blog", "blog-feed", 0..0, REFUSED)];
            objects.push(object(node, window, &shop));
            objects.push(object(100 + node, window, &blog));
        }
    }
    objects
}

/// What these objects add up to, by window, for a load balancer and target group.
pub(crate) fn add_up<'a>(
    objects: impl Iterator<Item = &'a Object>,
    of: &(String, String),
) -> BTreeMap<i64, Tally> {
    let mut windows: BTreeMap<i64, Tally> = BTreeMap::new();
    for object in objects {
        let Some(tally) = object.tallies.get(of) else { continue };
        let sum = windows.entry(object.window).or_default();
        sum.requests += tally.requests;
        sum.failures += tally.failures;
    }
    windows
}

/// The incidents in it, each with its counts.
pub(crate) fn incidents(windows: &BTreeMap<i64, Tally>) -> Vec<(WindowRange, Tally)> {
    let counted = |range: WindowRange| {
        let mut sum = Tally::default();
        for (_, tally) in windows.range(range.0..=range.1) {
            sum.requests += tally.requests;
            sum.failures += tally.failures;
        }
        (range, sum)
    };
    spikes::find(windows, &Thresholds::default(), None).into_iter().map(counted).collect()
}
