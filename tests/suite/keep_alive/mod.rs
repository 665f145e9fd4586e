//! How good is the keep-alive timeout that is inferred from the log? A grid of simulated pools, whose
//! timeout is known: bias, how often the interval holds it, and what is claimed where there is none.
//!
//! `cargo test --test suite keep_alive -- --nocapture` prints the grid.

mod pools;

use alb502::{
    access_log::{ObjectKey, Reader},
    detection::{Detector, Thresholds},
    diagnosis::{Confidence, Diagnosis, Facts, Reading, diagnose},
};
use pools::{Breaks, Log, Pools, Reuse, Traffic};

/// Runs of each cell of the grid.
const RUNS: u64 = 3;

fn pools(traffic: Traffic, timeout: f64) -> Pools {
    Pools {
        nodes: 2,
        timeouts: vec![timeout; 3],
        scatter: 0.0,
        delay: 0.03,
        reuse: Reuse::Any,
        breaks: Breaks::Timeout,
        traffic,
        seconds: 1800.0,
    }
}

/// What the rows of a run show, all in one incident.
fn diagnosis(log: &Log) -> Option<Diagnosis> {
    // All broken rows of a run are one trickle, however few they are; where one of twenty breaks, the
    // run is one spike.
    let thresholds = Thresholds {
        rate_percent: 5.0,
        surge_factor: f64::INFINITY,
        trickle_errors: 1,
        trickle_per_million: 1.0,
        ..Thresholds::default()
    };
    let mut detector = Detector::new(thresholds);
    for (node, rows) in log.by_node.iter().enumerate() {
        let name = format!(
            "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/03/01/123456789012_\
             elasticloadbalancing_eu-west-1_app.pools.0123456789abcdef_20260301T1230Z_10.0.0.{node}_a.log.gz"
        );
        let source = detector.source(&name, &ObjectKey::parse(&name));
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        reader.push(rows.as_bytes()).unwrap();
        let _ = reader.finish();
    }
    let incidents = detector.incidents();
    let widest = incidents.iter().max_by_key(|evidence| evidence.counts.failures)?;
    Some(diagnose(widest, &Facts::unknown("not asked for"), &Reading::default()))
}

/// What came of the runs of one cell.
#[derive(Default)]
struct Tally {
    runs: u64,
    broken: u64,
    shown: u64,
    holds: u64,
    bias: f64,
    width: f64,
    /// Runs with a timer that is more than a second away from every true one.
    wrong: u64,
    /// Runs in which a race is claimed with high confidence.
    sure: u64,
    /// Runs in which a race is claimed with medium confidence.
    medium: u64,
}

impl Tally {
    fn run(cell: &Pools, seed: u64) -> Self {
        let log = cell.run(seed);
        let mut tally = Self { runs: 1, broken: log.broken, ..Self::default() };
        let Some(diagnosis) = diagnosis(&log) else { return tally };
        let said = |confidence: Confidence| {
            let mut causes = diagnosis.causes.iter();
            u64::from(causes.any(|it| it.id == "keepalive-race" && it.confidence == confidence))
        };
        (tally.sure, tally.medium) = (said(Confidence::High), said(Confidence::Medium));
        for timer in &diagnosis.facts.keep_alive_timers {
            let found = timer.estimate;
            let off = |timeout: &f64| found.best - timeout - cell.scatter / 2.0;
            let nearest = cell.timeouts.iter().min_by(|a, b| off(a).abs().total_cmp(&off(b).abs()));
            let near = nearest.filter(|it| off(it).abs() <= 1.0 && cell.breaks == Breaks::Timeout);
            match near {
                Some(timeout) if tally.shown == 0 => {
                    tally.shown = 1;
                    tally.bias = found.best - timeout;
                    tally.width = found.high - found.low;
                    tally.holds = u64::from(found.low <= *timeout && *timeout <= found.high);
                }
                Some(_) => {}
                None => tally.wrong = 1,
            }
        }
        tally
    }

    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.broken += other.broken;
        self.shown += other.shown;
        self.holds += other.holds;
        self.bias += other.bias;
        self.width += other.width;
        self.wrong += other.wrong;
        self.sure += other.sure;
        self.medium += other.medium;
    }

    fn print(&self, name: &str) {
        let mean = |sum: f64| match self.shown {
            0 => "     -".to_owned(),
            shown => format!("{:+6.2}", sum / shown as f64),
        };
        println!(
            "{name:44} {:>6.1} {:>5} {:>5} {} {} {:>5} {:>4} {:>6}",
            self.broken as f64 / self.runs as f64,
            format!("{}/{}", self.shown, self.runs),
            format!("{}/{}", self.holds, self.shown),
            mean(self.bias),
            mean(self.width),
            self.wrong,
            self.sure,
            self.medium
        );
    }
}

fn print_head(title: &str) {
    println!("\n{title}");
    println!(
        "{:44} {:>6} {:>5} {:>5} {:>6} {:>6} {:>5} {:>4} {:>6}",
        "", "broken", "shown", "holds", "bias s", "wide s", "wrong", "high", "medium"
    );
}

fn print_cells(cells: &[(String, Pools)]) -> Tally {
    let mut total = Tally::default();
    for (number, (name, cell)) in cells.iter().enumerate() {
        let mut tally = Tally::default();
        for run in 0..RUNS {
            tally.add(&Tally::run(cell, number as u64 * 1000 + run));
        }
        tally.print(name);
        total.add(&tally);
    }
    total.print("all");
    total
}

fn races() -> Vec<(String, Pools)> {
    let mut cells = Vec::new();
    // The longer the timeout, the rarer the pauses that are as long, and the longer the log.
    for (timeout, rates, seconds) in [
        (2.0, [0.5, 2.0, 8.0], 1800.0),
        (5.0, [0.5, 2.0, 4.0], 3600.0),
        (20.0, [0.2, 0.4, 0.6], 20_000.0),
    ] {
        for rate in rates {
            let cell = Pools { seconds, ..pools(Traffic::Random(rate), timeout) };
            cells.push((format!("{timeout} s, {rate}/s at random"), cell));
        }
        let page = Traffic::Pages(rates[1] / 6.0);
        cells.push((format!("{timeout} s, pages"), Pools { seconds, ..pools(page, timeout) }));
        let step = Traffic::Clients(timeout * 1.03);
        let seconds = seconds / 3.0;
        let cell = Pools { seconds, ..pools(step, timeout) };
        cells.push((format!("{timeout} s, clients in step with it"), cell));
    }
    let base = || Pools { seconds: 3600.0, ..pools(Traffic::Random(2.0), 5.0) };
    for reuse in [Reuse::Newest, Reuse::Oldest] {
        cells.push((format!("5 s, 2/s, reuse {reuse:?}"), Pools { reuse, ..base() }));
    }
    for delay in [0.002, 0.1] {
        cells.push((format!("5 s, 2/s, noticed after {delay} s"), Pools { delay, ..base() }));
    }
    for scatter in [0.3, 0.8] {
        cells.push((
            format!("5 s, 2/s, closes up to {scatter} s late"),
            Pools { scatter, ..base() },
        ));
    }
    cells.push((
        "2 s, 2/s, closes up to 0.8 s late".to_owned(),
        Pools { scatter: 0.8, ..pools(Traffic::Random(2.0), 2.0) },
    ));
    for nodes in [1, 6] {
        cells.push((format!("5 s, 2/s, {nodes} nodes"), Pools { nodes, ..base() }));
    }
    for timeouts in [vec![5.0, 75.0, 75.0], vec![5.0, 5.0, 20.0], vec![2.0, 5.0, 20.0]] {
        cells.push((format!("{timeouts:?} s, 2/s"), Pools { timeouts, ..base() }));
    }
    cells
}

fn no_races() -> Vec<(String, Pools)> {
    let mut cells = Vec::new();
    let traffics = [
        Traffic::Random(0.3),
        Traffic::Random(2.0),
        Traffic::Random(8.0),
        Traffic::Pages(0.5),
        Traffic::Clients(5.0),
        Traffic::Clients(30.0),
    ];
    for traffic in traffics {
        let rows = match traffic {
            Traffic::Random(rate) => rate * 1800.0,
            Traffic::Pages(rate) => rate * 6.0 * 1800.0,
            Traffic::Clients(period) => 6.0 * 1800.0 / period,
        };
        let breaks = Breaks::OneIn((rows / 25.0) as u64);
        let cell = Pools { breaks, ..pools(traffic, 75.0) };
        cells.push((format!("any request, {traffic:?}"), cell));
        let cell = Pools { breaks: Breaks::ReloadEvery(61.0), ..pools(traffic, 75.0) };
        cells.push((format!("reloads, {traffic:?}"), Pools { delay: 0.1, ..cell }));
    }
    cells
}

#[test]
fn the_inferred_timeout_is_right_and_none_is_claimed_where_there_is_none() {
    print_head("The targets close idle connections after a timeout");
    let races = print_cells(&races());
    print_head("Requests are broken, and no timer is at work");
    let no_races = print_cells(&no_races());
    println!(
        "\nbroken: requests per run; holds: the interval holds the timeout; bias, wide: of the best \
         estimate\nand of the interval; wrong: a timer that is not there; high, medium: a race is \
         claimed so\n"
    );
    assert!(races.runs / 2 < races.shown, "most races show their timer");
    assert!(races.shown * 9 <= races.holds * 10, "the interval holds it in nine of ten");
    assert!(races.bias.abs() <= 0.2 * races.shown as f64, "the bias is small");
    assert!(races.wrong * 50 <= races.runs, "a wrong timer in fewer than one of fifty");
    assert_eq!((no_races.wrong, no_races.sure), (0, 0), "nothing is claimed where nothing is");
}
