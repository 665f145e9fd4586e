//! Connection pools between load-balancer nodes and targets, event by event: what the estimator of the
//! keep-alive timeout is measured with. The log says which requests met a closed connection; this
//! knows why.

use std::fmt::Write as _;

/// How a node picks one of several idle connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Reuse {
    /// The one used last.
    Newest,
    /// The one used longest ago.
    Oldest,
    /// Any.
    Any,
}

/// What breaks requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Breaks {
    /// The targets close idle connections after their timeout.
    Timeout,
    /// One request in so many, whatever its connection did.
    OneIn(u64),
    /// Every so many seconds all idle connections of a target are closed.
    ReloadEvery(f64),
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Traffic {
    /// At random, so many a second over all nodes.
    Random(f64),
    /// Pages of six requests within a fifth of a second, so many pages a second.
    Pages(f64),
    /// For each node and target one client that asks every so many seconds, give or take a tenth.
    Clients(f64),
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Pools {
    pub(super) nodes: usize,
    /// The keep-alive timeout of each target, seconds.
    pub(super) timeouts: Vec<f64>,
    /// How much later than its timeout a target closes, at most, seconds: evenly spread.
    pub(super) scatter: f64,
    /// How long after the close a node still uses the connection, seconds.
    pub(super) delay: f64,
    pub(super) reuse: Reuse,
    pub(super) breaks: Breaks,
    pub(super) traffic: Traffic,
    /// How long the log is, seconds.
    pub(super) seconds: f64,
}

/// The rows of a run, one list for each node, and how many of them were broken.
pub(super) struct Log {
    pub(super) by_node: Vec<String>,
    pub(super) broken: u64,
}

/// The load balancer's side of every run, seconds.
pub(super) const IDLE_TIMEOUT: f64 = 60.0;

/// A small generator with a seed: the same run for the same numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// An idle connection.
#[derive(Clone, Copy)]
struct Idle {
    since: f64,
    /// When the target closes it.
    closes: f64,
}

/// When a request comes, at which node; to which target, when its client is tied to one.
type Arrival = (f64, usize, Option<usize>);

impl Pools {
    /// Runs from the seed.
    pub(super) fn run(&self, seed: u64) -> Log {
        let mut random = Random(seed);
        let mut pools: Vec<Vec<Vec<Idle>>> =
            vec![vec![Vec::new(); self.timeouts.len()]; self.nodes];
        // Connections in use: when they become idle again.
        let mut busy: Vec<(f64, usize, usize)> = Vec::new();
        let mut log = Log { by_node: vec![String::new(); self.nodes], broken: 0 };
        let mut turn = vec![0; self.nodes];
        for (id, (now, node, tied)) in self.arrivals(&mut random).into_iter().enumerate() {
            let target = tied.unwrap_or_else(|| {
                turn[node] += 1;
                turn[node] % self.timeouts.len()
            });
            let (done, still): (Vec<_>, Vec<_>) = busy.iter().partition(|(at, ..)| *at <= now);
            busy = still;
            for (since, node, target) in done {
                let closes = since + self.timeouts[target] + self.scatter * random.unit();
                pools[node][target].push(Idle { since, closes });
            }
            let pool = &mut pools[node][target];
            pool.sort_by(|a, b| a.since.total_cmp(&b.since));
            // The node has noticed what closed longer ago than the delay, and closes what is old.
            pool.retain(|idle| {
                now < self.closing(idle) + self.delay && now < idle.since + IDLE_TIMEOUT
            });
            let picked = match (self.reuse, pool.len()) {
                (_, 0) => None,
                (Reuse::Newest, _) => pool.pop(),
                (Reuse::Oldest, _) => Some(pool.remove(0)),
                (Reuse::Any, len) => Some(pool.remove(random.below(len))),
            };
            let broken = match self.breaks {
                Breaks::OneIn(many) => random.next().is_multiple_of(many),
                _ => picked.is_some_and(|idle| self.closing(&idle) <= now),
            };
            let work = 0.01 + random.exponential(0.04);
            let seconds = if broken { 0.001 + self.delay * random.unit() } else { work };
            self.row(&mut log.by_node[node], id, now, seconds, target, broken);
            log.broken += u64::from(broken);
            if !broken {
                busy.push((now + seconds, node, target));
            }
        }
        log
    }

    fn closing(&self, idle: &Idle) -> f64 {
        match self.breaks {
            Breaks::Timeout => idle.closes,
            Breaks::OneIn(_) => f64::INFINITY,
            Breaks::ReloadEvery(period) => ((idle.since / period).floor() + 1.0) * period,
        }
    }

    fn arrivals(&self, random: &mut Random) -> Vec<Arrival> {
        let mut list: Vec<Arrival> = Vec::new();
        match self.traffic {
            Traffic::Random(rate) | Traffic::Pages(rate) => {
                let each = if matches!(self.traffic, Traffic::Pages(_)) { 6 } else { 1 };
                let mut now = random.exponential(1.0 / rate);
                while now < self.seconds {
                    let node = random.below(self.nodes);
                    let first = list.len();
                    list.push((now, node, None));
                    while list.len() < first + each {
                        list.push((now + 0.02 + 0.18 * random.unit(), node, None));
                    }
                    now += random.exponential(1.0 / rate);
                }
            }
            Traffic::Clients(period) => {
                for node in 0..self.nodes {
                    for target in 0..self.timeouts.len() {
                        let mut now = period * random.unit();
                        while now < self.seconds {
                            list.push((now, node, Some(target)));
                            now += period * (0.9 + 0.2 * random.unit());
                        }
                    }
                }
            }
        }
        list.sort_by(|a, b| a.0.total_cmp(&b.0));
        list
    }

    fn row(&self, log: &mut String, id: usize, at: f64, took: f64, target: usize, broken: bool) {
        // 2026-03-01T12:00:00Z; the log cuts the arrival to the millisecond.
        let micros = |seconds: f64| 1_772_366_400_000_000 + (seconds * 1e6) as i64;
        let time = |micros: i64| jiff::Timestamp::from_microsecond(micros).unwrap();
        let (from, to) = (time(micros(at) / 1000 * 1000), time(micros(at + took)));
        let (response, status, of_target) =
            if broken { ("-1", "502", "-") } else { ("0.000", "200", "200") };
        let target_group =
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef";
        let path = ["/", "/cart", "/search", "/me", "/orders"][id % 5];
        writeln!(
            log,
            "http {to:.6} app/pools/0123456789abcdef 198.51.100.7:40000 10.0.1.{}:80 0.000 {took:.3} \
             {response} {status} {of_target} 120 300 \"GET http://pools.example:80{path} HTTP/1.1\" \
             \"-\" - - {target_group} \"Root=1-{id:08x}\" \"-\" \"-\" 0 {from:.6} \"forward\" \"-\" \"-\" \
             \"10.0.1.{}:80\" \"{of_target}\" \"-\" \"-\" TID_{id:032x}",
            10 + target,
            10 + target,
        )
        .unwrap();
    }
}
