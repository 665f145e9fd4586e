//! What a scenario is made of: a load balancer, its target groups, its targets, its traffic, and what happens to them.
use crate::{
    rng::hash,
    row::{ACCOUNT, REGION},
};

/// Which idle connection a node takes out of its pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reuse {
    Newest,
    Oldest,
    Any,
}

/// When the server closes a connection that nobody uses.
#[derive(Clone, Copy)]
pub(crate) enum KeepAlive {
    /// It answers `Connection: close`.
    Off,
    /// After so many seconds, somewhere between the two.
    Closes(f64, f64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Tls,
}

/// The program behind a target.
#[derive(Clone, Copy)]
pub(crate) struct Server {
    pub keep_alive: KeepAlive,
    pub speaks: Speaks,
    /// Requests at once; more wait.
    pub workers: usize,
    /// Connections that may wait for a worker before SYNs are dropped.
    pub backlog: usize,
    /// A worker stuck outside the interpreter is killed after so many seconds.
    pub worker_timeout: Option<(f64, f64)>,
    /// A full backlog answers with a reset in place of silence (tcp_abort_on_overflow).
    pub resets_when_full: bool,
    /// The share of TLS handshakes that fail: one of the processes behind the port has no certificate.
    pub tls_fails: f64,
    /// After so many answers a worker makes room for a new one: its idle connections end unannounced.
    pub max_requests: Option<u64>,
    /// With more requests than this at once the kernel kills the process for its memory.
    pub out_of_memory: Option<usize>,
}

impl Server {
    pub(crate) const fn serving(keep_alive: KeepAlive) -> Self {
        Self {
            keep_alive,
            speaks: Speaks::Http,
            workers: 10_000,
            backlog: 100_000,
            worker_timeout: None,
            resets_when_full: false,
            tls_fails: 0.0,
            max_requests: None,
            out_of_memory: None,
        }
    }
    /// Node 20: five seconds set, six seconds kept.
    pub(crate) const NODE: Self = Self::serving(KeepAlive::Closes(6.0, 6.02));
    pub(crate) const NODE_FIXED: Self = Self::serving(KeepAlive::Closes(66.0, 66.02));
    pub(crate) const GUNICORN_THREADS: Self = Self::serving(KeepAlive::Closes(2.0, 2.8));
    pub(crate) const APACHE: Self = Self::serving(KeepAlive::Closes(5.0, 5.02));
    /// A Tomcat as it is shipped.
    pub(crate) const TOMCAT: Self = Self::serving(KeepAlive::Closes(20.0, 20.6));
    /// Spring Boot with Tomcat: as long as the load balancer's default.
    pub(crate) const SPRING: Self = Self::serving(KeepAlive::Closes(59.9, 60.5));
    pub(crate) const NGINX: Self = Self::serving(KeepAlive::Closes(75.0, 75.02));
    pub(crate) const GUNICORN_SYNC: Self = Self {
        workers: 6,
        backlog: 2048,
        worker_timeout: Some((30.0, 32.0)),
        ..Self::serving(KeepAlive::Off)
    };
}

pub(crate) struct Target {
    pub ip: String,
    pub port: u16,
    /// `ip:port`, as the log writes it.
    pub endpoint: String,
    pub group: usize,
    pub server: Server,
    pub registered: bool,
    pub listening: bool,
    pub firewalled: bool,
    pub host_up: bool,
    /// The application behind the proxy of this target is down: the proxy answers 502.
    pub app_down: bool,
    /// It closes this share of its requests without an answer.
    pub closes: f64,
}

pub(crate) struct Lambda {
    pub concurrency: usize,
}

pub(crate) struct Group {
    pub name: &'static str,
    pub arn: String,
    pub https: bool,
    /// HTTP1, HTTP2 or GRPC: what the load balancer speaks to the targets.
    pub version: &'static str,
    pub port: u16,
    pub health_check_port: u16,
    pub lambda: Option<Lambda>,
    pub deregistration_delay: f64,
    /// Seconds until a node hears of a registration or deregistration.
    pub propagation: (f64, f64),
    pub priority: &'static str,
}

/// What the program does with a request of a path. A share is a probability per request.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    Answers(u16),
    /// A response whose headers cannot be parsed.
    Malformed,
    /// More than 32 KB of response headers for clients with large cookies.
    OversizedHeaders,
    /// The same for everybody.
    OversizedHeadersForAll,
    /// A good answer with bytes behind its end: the next request on the connection reads them.
    LeavesBytes,
    /// The handler gives up after its own time and closes the connection without an answer.
    DropsConnection(f64),
    CrashesProcess(f64),
    SticksInC(f64),
    NeverAnswers(f64),
    /// nginx on the target cannot reach the application.
    ProxyAnswers502(f64),
    Fails500(f64),
    LambdaError(&'static str, f64),
    /// A listener rule answers.
    FixedResponse(u16),
    /// A custom response of WAF.
    WafAnswers(u16),
}

impl Does {
    /// What the load balancer answers in place of a target: the code, and the last action of the row.
    pub(crate) fn rule(self) -> Option<(u16, &'static str)> {
        match self {
            Self::FixedResponse(code) => Some((code, "fixed-response")),
            Self::WafAnswers(code) => Some((code, "waf")),
            _ => None,
        }
    }
}

pub(crate) struct Path {
    pub method: &'static str,
    /// `{n}` stands for a number, `{h}` for eight hexadecimal digits.
    pub url: &'static str,
    pub group: usize,
    pub weight: f64,
    /// Median seconds and spread of the answer.
    pub latency: (f64, f64),
    pub does: Does,
}

/// A page that asks again so many seconds after each answer.
#[derive(Clone, Copy)]
pub(crate) struct Pollers {
    pub count: usize,
    pub seconds: (f64, f64),
}

/// A machine that asks for the same thing so many times at once, over one HTTP/2 connection.
///
/// The times of its good rows are cut to ten milliseconds, so that they repeat: a log of 200,000 rows
/// fits into a repository.
#[derive(Clone, Copy)]
pub(crate) struct Batches {
    pub seconds: f64,
    pub size: usize,
    pub path: usize,
}

pub(crate) struct Traffic {
    pub rate: f64,
    pub clients: usize,
    pub pollers: Option<Pollers>,
    pub batches: Option<Batches>,
    /// Good rows are cut to ten milliseconds, as with [`Batches`].
    pub coarse: bool,
    /// One page view is so many requests, almost at once.
    pub page: usize,
    pub sticky: bool,
    pub scanners: f64,
    pub redirects: f64,
    pub impatient: f64,
    /// Exact arrivals (second, path) in place of the Poisson stream.
    pub exactly: Vec<(f64, usize)>,
}

#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// The process ends; whoever waits for it is cut off.
    Kill(usize),
    Listen(usize),
    HostUp(usize, bool),
    Register(usize),
    Deregister(usize),
    /// One child of the server dies with the next request.
    ChildDies(usize),
    /// A reload: connections in use end with their answer, idle ones at once.
    Reload(usize),
    AppDown(usize, bool),
    /// From now on the target closes this share of its requests without an answer.
    Closes(usize, f64),
    Wall(Wall),
    Rate(f64),
}

/// A network rule that drops packets between nodes and targets. Nodes and targets alternate between
/// two zones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// The network ACL of the second zone's targets denies the traffic port.
    Acl,
    /// The load balancer's security group lets out only the health check.
    Egress,
    /// The targets' security group admits only the subnet of the nodes in the first zone.
    OneZone,
}

impl Wall {
    /// Whether it drops the packets of a node to a target.
    pub(crate) fn stops(self, node: usize, target: usize) -> bool {
        match self {
            Self::Acl => target % 2 == 1,
            Self::Egress => true,
            Self::OneZone => node % 2 == 1,
        }
    }
}

pub(crate) struct Fleet {
    pub name: &'static str,
    pub about: &'static str,
    pub labels: Vec<&'static str>,
    pub lb: &'static str,
    pub lb_id: String,
    pub host: String,
    pub nodes: Vec<String>,
    pub idle_timeout: f64,
    pub reuse: Reuse,
    pub groups: Vec<Group>,
    pub targets: Vec<Target>,
    pub paths: Vec<Path>,
    pub traffic: Traffic,
    pub changes: Vec<(f64, Change)>,
    /// Microseconds since 1970.
    pub start: i64,
    pub minutes: f64,
}

fn first_nodes(lb: &str, n: usize) -> String {
    format!("203.0.113.{}", 10 + hash(&format!("node {n} {lb}")) % 240)
}

impl Fleet {
    pub(crate) fn new(name: &'static str, lb: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            labels: Vec::new(),
            lb,
            lb_id: format!("{:016x}", hash(&format!("lb {lb}"))),
            host: format!("{lb}.example.com"),
            nodes: (0..2).map(|n| first_nodes(lb, n)).collect(),
            idle_timeout: 60.0,
            reuse: Reuse::Newest,
            groups: Vec::new(),
            targets: Vec::new(),
            paths: Vec::new(),
            traffic: Traffic {
                rate: 2.0,
                clients: 120,
                pollers: None,
                batches: None,
                coarse: false,
                page: 1,
                sticky: false,
                scanners: 0.02,
                redirects: 0.02,
                impatient: 0.02,
                exactly: Vec::new(),
            },
            changes: Vec::new(),
            // 2026-11-17T02:30:00Z
            start: 1_794_882_600_000_000,
            minutes: 15.0,
        }
    }

    /// A load balancer under much traffic has many nodes; the first two keep their addresses.
    pub(crate) fn set_nodes(&mut self, count: usize) {
        let more = (0..).map(|n| format!("203.0.113.{}", n + 1));
        let more: Vec<String> = more.filter(|ip| !self.nodes.contains(ip)).take(count).collect();
        self.nodes.extend(more);
        self.nodes.truncate(count);
    }

    pub(crate) fn elb(&self) -> String {
        format!("app/{}/{}", self.lb, self.lb_id)
    }

    pub(crate) fn certificate(&self) -> String {
        let h = format!("{:016x}", hash(&format!("certificate {}", self.lb)));
        let id = format!(
            "{}-{}-4{}-9{}-{}{}",
            &h[..8],
            &h[8..12],
            &h[1..4],
            &h[5..8],
            &h[..8],
            &h[4..8]
        );
        format!("arn:aws:acm:{REGION}:{ACCOUNT}:certificate/{id}")
    }

    pub(crate) fn label(mut self, labels: &[&'static str]) -> Self {
        self.labels.extend(labels);
        self
    }

    pub(crate) fn group(&mut self, name: &'static str, port: u16) -> &mut Group {
        let id = format!("{:016x}", hash(&format!("target group {name}")));
        let arn =
            format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{name}/{id}");
        let priority = ["0", "10", "20", "30"][self.groups.len().min(3)];
        self.groups.push(Group {
            name,
            arn,
            https: false,
            version: "HTTP1",
            port,
            health_check_port: port,
            lambda: None,
            deregistration_delay: 300.0,
            propagation: (0.3, 2.0),
            priority,
        });
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    /// The second byte of its addresses: each load balancer has its own network.
    pub(crate) fn network(&self) -> u64 {
        match self.lb {
            "shop" => 20,
            "orders" => 30,
            other => 40 + hash(other) % 160,
        }
    }

    /// Adds targets to the last group; the addresses are constant.
    pub(crate) fn targets(&mut self, count: usize, server: Server) {
        let group = self.groups.len() - 1;
        for _ in 0..count {
            let n = self.targets.len();
            let network = self.network();
            let ip = format!("10.{network}.{}.{}", 10 + n % 2 * 10, 21 + n * 37 % 200);
            let port = self.groups[group].port;
            self.targets.push(Target {
                endpoint: format!("{ip}:{port}"),
                ip,
                port,
                group,
                server,
                registered: true,
                listening: true,
                firewalled: false,
                host_up: true,
                app_down: false,
                closes: 0.0,
            });
        }
    }

    /// Adds a path to the last group and returns its number.
    pub(crate) fn path(
        &mut self,
        method: &'static str,
        url: &'static str,
        weight: f64,
        latency: (f64, f64),
        does: Does,
    ) -> usize {
        let group = self.groups.len().saturating_sub(1);
        self.paths.push(Path { method, url, group, weight, latency, does });
        self.paths.len() - 1
    }

    pub(crate) fn at(&mut self, minute: f64, change: Change) {
        self.changes.push((minute * 60.0, change));
    }
}
