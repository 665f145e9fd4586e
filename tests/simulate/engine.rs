//! The discrete events: connections, pools, servers and timers. What a failure is called comes from
//! what happened here, never from how its row looks.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    io,
};

use crate::{
    clients::{self, Client},
    fleet::{Change, Does, Fleet, KeepAlive, Reuse, Speaks},
    rng::Rng,
    row::Row,
};

const SECOND: f64 = 1e6;

/// Where finished rows go, in the order of their response time.
pub(crate) trait Sink {
    fn row(&mut self, node: usize, time: i64, row: &[u8]) -> io::Result<()>;
}

/// What really happened.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Truth {
    pub rows: u64,
    pub statuses: BTreeMap<String, u64>,
    /// Failures by target group and cause.
    pub causes: BTreeMap<(String, &'static str), u64>,
    pub elb_502: u64,
    pub target_502: u64,
    pub connect_504: u64,
    pub idle_504: u64,
    pub intentional_502: u64,
    /// The highest share of failures of a five-minute window with at least five of them.
    pub windows: BTreeMap<i64, (u64, u64)>,
}

type Id = u64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrivals,
    Start { client: usize, path: usize, poller: bool },
    Stray(u8),
    Connect { request: Id, attempt: u8 },
    Send { request: Id },
    AtServer { request: Id },
    Answer { request: Id, target: usize, generation: u32 },
    Received { request: Id },
    Killed { request: Id, target: usize, generation: u32 },
    Fail { request: Id, failure: Failure },
    ServerCloses { connection: Id, epoch: u32 },
    Noticed { connection: Id },
    NodeCloses { connection: Id, epoch: u32 },
    GivesUp { request: Id },
    Change(usize),
    Learns { node: usize, target: usize, registered: bool },
    DrainEnds(usize),
    LambdaDone { request: Id },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    ConnectTimeout(&'static str),
    NotConnected(&'static str),
    Closed(&'static str),
    IdleTimeout,
}

struct Request {
    created: i64,
    client: usize,
    path: usize,
    target: Option<usize>,
    connection: Option<Id>,
    sent: Option<i64>,
    trace: [u64; 2],
    url: String,
    received: u64,
    poller: bool,
    /// In service or in the queue of the server.
    at_server: bool,
    tried: i64,
    status: u16,
    bad: Option<&'static str>,
}

struct Connection {
    node: usize,
    target: usize,
    epoch: u32,
    /// Set once the server's FIN or RST is on its way: when the node notices, and why it closed.
    closed: Option<(i64, &'static str)>,
    request: Option<Id>,
}

#[derive(Default)]
struct TargetState {
    generation: u32,
    busy: usize,
    queue: VecDeque<Id>,
    connections: BTreeSet<Id>,
    serving: BTreeSet<Id>,
    draining: bool,
    child_dies: bool,
}

pub(crate) struct Engine<'a, S: Sink> {
    fleet: Fleet,
    rng: Rng,
    fields: usize,
    limit: u64,
    sink: &'a mut S,
    now: i64,
    end: i64,
    order: u64,
    heap: BinaryHeap<Reverse<(i64, u64, Event)>>,
    clients: Vec<Client>,
    requests: HashMap<Id, Request>,
    connections: HashMap<Id, Connection>,
    pools: Vec<Vec<Vec<Id>>>,
    /// Per node and group: the targets the node knows.
    known: Vec<Vec<Vec<usize>>>,
    turn: Vec<Vec<usize>>,
    states: Vec<TargetState>,
    lambdas: Vec<usize>,
    next: Id,
    elb: String,
    certificate: String,
    line: Vec<u8>,
    truth: Truth,
}

fn micros(seconds: f64) -> i64 {
    (seconds * SECOND) as i64
}

impl<'a, S: Sink> Engine<'a, S> {
    pub(crate) fn new(fleet: Fleet, seed: u64, fields: usize, limit: u64, sink: &'a mut S) -> Self {
        let mut rng = Rng::new(seed ^ crate::rng::hash(fleet.name));
        let nodes = fleet.nodes.len();
        let pollers = fleet.traffic.pollers.map_or(0, |p| p.count);
        let mut people: Vec<Client> = (0..fleet.traffic.clients + pollers)
            .map(|n| clients::client(n, nodes, fleet.traffic.impatient, &mut rng))
            .collect();
        let targets = fleet.targets.len();
        for (n, client) in people.iter_mut().skip(fleet.traffic.clients).enumerate() {
            client.node = n % nodes;
            client.sticky = Some(n / nodes % targets.max(1));
            client.patience = None;
        }
        let known = (0..nodes)
            .map(|_| {
                (0..fleet.groups.len())
                    .map(|g| {
                        (0..targets)
                            .filter(|&t| fleet.targets[t].group == g && fleet.targets[t].registered)
                            .collect()
                    })
                    .collect()
            })
            .collect();
        Self {
            rng,
            fields,
            limit,
            sink,
            now: fleet.start,
            end: fleet.start + micros(fleet.minutes * 60.0),
            order: 0,
            heap: BinaryHeap::new(),
            clients: people,
            requests: HashMap::new(),
            connections: HashMap::new(),
            pools: vec![vec![Vec::new(); targets]; nodes],
            known,
            turn: vec![vec![0; fleet.groups.len()]; nodes],
            states: (0..targets).map(|_| TargetState::default()).collect(),
            lambdas: vec![0; fleet.groups.len()],
            next: 0,
            elb: fleet.elb(),
            certificate: fleet.certificate(),
            line: Vec::with_capacity(1024),
            truth: Truth::default(),
            fleet,
        }
    }

    fn at(&mut self, time: i64, event: Event) {
        self.order += 1;
        self.heap.push(Reverse((time.max(self.now), self.order, event)));
    }

    fn after(&mut self, delay: i64, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(crate) fn run(mut self) -> io::Result<(Truth, Fleet)> {
        let changes: Vec<_> = self.fleet.changes.iter().map(|c| c.0).collect();
        for (n, second) in changes.into_iter().enumerate() {
            self.after(micros(second), Event::Change(n));
        }
        if self.fleet.traffic.exactly.is_empty() {
            self.at(self.now, Event::Arrivals);
        }
        for (second, path) in self.fleet.traffic.exactly.clone() {
            self.after(micros(second), Event::Start { client: 0, path, poller: false });
        }
        if let Some(pollers) = self.fleet.traffic.pollers {
            for n in 0..pollers.count {
                let client = self.fleet.traffic.clients + n;
                let delay = self.rng.micros(0.0, 30.0);
                let path = self.pick_path();
                self.after(delay, Event::Start { client, path, poller: true });
            }
        }
        for stray in 0..3 {
            self.next_stray(stray);
        }
        while let Some(Reverse((time, _, event))) = self.heap.pop() {
            // What ends later is no longer in the log.
            if time >= self.end {
                break;
            }
            self.now = time;
            self.handle(event)?;
            if self.truth.rows >= self.limit {
                break;
            }
        }
        Ok((self.truth, self.fleet))
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Arrivals => self.arrivals(),
            Event::Start { client, path, poller } => self.start(client, path, poller)?,
            Event::Stray(kind) => {
                self.stray(kind)?;
                self.next_stray(kind);
            }
            Event::Connect { request, attempt } => self.connect(request, attempt),
            Event::Send { request } => self.send(request),
            Event::AtServer { request } => self.at_server(request),
            Event::Answer { request, target, generation } => {
                self.answer(request, target, generation);
            }
            Event::Received { request } => self.received(request)?,
            Event::Killed { request, target, generation } => {
                if self.states[target].generation == generation {
                    self.free_worker(target, request);
                    if let Some(connection) = self.connection_of(request) {
                        self.server_closes(connection, "worker-timeout", 0.003);
                        self.fail_soon(request, "worker-timeout");
                    }
                }
            }
            Event::Fail { request, failure } => self.fail(request, failure)?,
            Event::ServerCloses { connection, epoch } => {
                if self.connections.get(&connection).is_some_and(|c| c.epoch == epoch) {
                    self.server_closes(connection, "keepalive-race", 0.05);
                }
            }
            Event::Noticed { connection } => {
                if self.connections.get(&connection).is_some_and(|c| c.request.is_none()) {
                    self.drop_connection(connection);
                }
            }
            Event::NodeCloses { connection, epoch } => {
                let idle = |c: &Connection| c.epoch == epoch && c.request.is_none();
                if self.connections.get(&connection).is_some_and(idle) {
                    self.drop_connection(connection);
                }
            }
            Event::GivesUp { request } => self.gives_up(request)?,
            Event::Change(n) => self.change(self.fleet.changes[n].1),
            Event::Learns { node, target, registered } => self.learns(node, target, registered),
            Event::DrainEnds(target) => {
                for request in self.states[target].serving.clone() {
                    let delay = self.rng.micros(0.0, 0.003);
                    self.after(
                        delay,
                        Event::Fail { request, failure: Failure::Closed("deregistration") },
                    );
                }
            }
            Event::LambdaDone { request } => self.lambda_done(request)?,
        }
        Ok(())
    }

    // ---- clients

    fn pick_path(&mut self) -> usize {
        let weights: Vec<f64> = self.fleet.paths.iter().map(|p| p.weight).collect();
        self.rng.weighted(&weights)
    }

    fn arrivals(&mut self) {
        let client = self.rng.below(self.fleet.traffic.clients);
        if self.rng.chance(0.25) {
            clients::reconnect(&mut self.clients[client], &mut self.rng);
        }
        for n in 0..self.fleet.traffic.page.max(1) {
            let path = self.pick_path();
            let delay = if n == 0 { 0 } else { self.rng.micros(0.02, 0.15) };
            self.after(delay, Event::Start { client, path, poller: false });
        }
        let pages = self.fleet.traffic.rate / self.fleet.traffic.page.max(1) as f64;
        let wait = micros(self.rng.exponential(1.0 / pages)).max(1);
        self.after(wait, Event::Arrivals);
    }

    fn next_stray(&mut self, kind: u8) {
        let traffic = &self.fleet.traffic;
        let rate = [traffic.scanners, traffic.scanners / 3.0, traffic.redirects][usize::from(kind)];
        if rate > 0.0 {
            let wait = micros(self.rng.exponential(1.0 / rate));
            self.after(wait, Event::Stray(kind));
        }
    }

    fn url(&mut self, template: &str) -> String {
        let n = self.rng.below(90_000) + 1000;
        let h = self.rng.next() as u32;
        let path = template.replace("{n}", &n.to_string()).replace("{h}", &format!("{h:08x}"));
        format!("https://{}:443{path}", self.fleet.host)
    }

    fn start(&mut self, client: usize, path: usize, poller: bool) -> io::Result<()> {
        let method = self.fleet.paths[path].method;
        let template = self.fleet.paths[path].url;
        let url = self.url(template);
        let c = &self.clients[client];
        let mut received = 90 + url.len() as u64 + c.agent.len() as u64;
        if c.large_cookies && matches!(self.fleet.paths[path].does, Does::OversizedHeaders) {
            received += 9_000 + self.rng.next() % 4_000;
        } else {
            received += self.rng.next() % 900;
        }
        if matches!(method, "POST" | "PUT") {
            received += 200 + self.rng.next() % 3_000;
        }
        let protocol = if c.kind == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
        let patience = c.patience;
        let id = self.id();
        let trace = [self.rng.next(), self.rng.next()];
        self.requests.insert(
            id,
            Request {
                created: self.now,
                client,
                path,
                target: None,
                connection: None,
                sent: None,
                trace,
                url: format!("{method} {url} {protocol}"),
                received,
                poller,
                at_server: false,
                tried: 0,
                status: 200,
                bad: None,
            },
        );
        let group = self.fleet.paths[path].group;
        if let Does::FixedResponse(_) = self.fleet.paths[path].does {
            return self.fixed_response(id);
        }
        if self.fleet.groups[group].lambda.is_some() {
            self.lambda(id, group);
            return Ok(());
        }
        if let Some(seconds) = patience {
            let jitter = self.rng.micros(0.0, 0.01);
            self.after(micros(seconds) + jitter, Event::GivesUp { request: id });
        }
        self.forward(id, group)
    }

    fn id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    // ---- the node: choose a target, take or open a connection

    fn forward(&mut self, id: Id, group: usize) -> io::Result<()> {
        let client = self.requests[&id].client;
        let node = self.clients[client].node;
        let sticky = self.clients[client].sticky;
        let known = &self.known[node][group];
        if known.is_empty() {
            return self.no_targets(id);
        }
        let target = match sticky {
            Some(t) if known.contains(&t) => t,
            _ => {
                self.turn[node][group] += 1;
                known[self.turn[node][group] % known.len()]
            }
        };
        if self.fleet.traffic.sticky {
            self.clients[client].sticky = Some(target);
        }
        let pool = &self.pools[node][target];
        let reuse = self.fleet.reuse;
        let at = match (pool.is_empty(), reuse) {
            (true, _) => None,
            (false, Reuse::Newest) => Some(pool.len() - 1),
            (false, Reuse::Any) => Some(self.rng.below(pool.len())),
        };
        let connection = at.map(|at| self.pools[node][target].remove(at));
        if let Some(request) = self.requests.get_mut(&id) {
            request.target = Some(target);
            request.connection = connection;
            request.tried = self.now;
        }
        if let Some(connection) = connection.and_then(|c| self.connections.get_mut(&c)) {
            connection.request = Some(id);
            let delay = self.rng.micros(0.0001, 0.0009);
            self.after(delay, Event::Send { request: id });
        } else {
            self.connect(id, 0);
        }
        Ok(())
    }

    /// One way through the network; other zones are farther.
    fn one_way(&mut self, node: usize, target: usize) -> i64 {
        let far = if node % 2 == target % 2 { 0.000_15 } else { 0.000_45 };
        self.rng.micros(far, far + 0.000_15)
    }

    fn connect(&mut self, id: Id, attempt: u8) {
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let (Some(target), client) = (request.target, request.client) else {
            return;
        };
        let tried = request.tried;
        let node = self.clients[client].node;
        let way = self.one_way(node, target);
        let group = &self.fleet.groups[self.fleet.targets[target].group];
        let (https, t) = (group.https, &self.fleet.targets[target]);
        let (firewalled, host_up, listening) = (t.firewalled, t.host_up, t.listening);
        let server = t.server;
        let state = &self.states[target];
        let full = state.busy >= server.workers && state.queue.len() >= server.backlog;
        let draining = state.draining;
        if firewalled {
            let over = tried + micros(10.0) + self.rng.micros(0.0005, 0.0015);
            let failure = Failure::ConnectTimeout("blocked-port");
            self.at(over, Event::Fail { request: id, failure });
        } else if !host_up {
            let over = tried + self.rng.micros(2.98, 3.12);
            let failure = Failure::NotConnected("host-unreachable");
            self.at(over, Event::Fail { request: id, failure });
        } else if !listening {
            let over = 2 * way + self.rng.micros(0.0001, 0.0008);
            let cause = if draining { "draining-early-close" } else { "connect-refused" };
            self.after(over, Event::Fail { request: id, failure: Failure::NotConnected(cause) });
        } else if full {
            // The SYN is dropped; the kernel of the node tries again after 1, 3 and 7 seconds.
            let retry = [1.02, 3.07, 7.1].get(usize::from(attempt)).copied();
            match retry {
                Some(seconds) => {
                    let over = tried + micros(seconds) + self.rng.micros(0.0, 0.02);
                    self.at(over, Event::Connect { request: id, attempt: attempt + 1 });
                }
                None => {
                    let over = tried + micros(10.0) + self.rng.micros(0.0005, 0.0015);
                    let failure = Failure::ConnectTimeout("saturation");
                    self.at(over, Event::Fail { request: id, failure });
                }
            }
        } else if https && server.speaks == Speaks::Http {
            let over = 4 * way + self.rng.micros(0.0005, 0.003);
            let failure = Failure::NotConnected("tls-handshake");
            self.after(over, Event::Fail { request: id, failure });
        } else {
            let connection = self.id();
            let open = Connection { node, target, epoch: 0, closed: None, request: Some(id) };
            self.connections.insert(connection, open);
            self.states[target].connections.insert(connection);
            if let Some(request) = self.requests.get_mut(&id) {
                request.connection = Some(connection);
            }
            let tls = if https { 2 * way + self.rng.micros(0.001, 0.002) } else { 0 };
            let delay = 2 * way + tls + self.rng.micros(0.0001, 0.0006);
            self.after(delay, Event::Send { request: id });
        }
    }

    fn connection_of(&self, id: Id) -> Option<Id> {
        self.requests.get(&id).and_then(|r| r.connection)
    }

    fn send(&mut self, id: Id) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.sent = Some(now);
        let (Some(target), client) = (request.target, request.client) else {
            return;
        };
        let way = self.one_way(self.clients[client].node, target);
        self.after(way, Event::AtServer { request: id });
    }

    // ---- the server

    fn at_server(&mut self, id: Id) {
        let Some(connection) = self.connection_of(id) else {
            return;
        };
        let Some(target) = self.requests[&id].target else {
            return;
        };
        let Some(open) = self.connections.get_mut(&connection) else {
            return;
        };
        open.epoch += 1;
        if let Some((noticed, cause)) = open.closed {
            // Nobody is there any more: a RST comes back, behind the FIN that the node has not read yet.
            let client = self.requests[&id].client;
            let way = self.one_way(self.clients[client].node, target);
            let time = noticed.max(self.now + way);
            self.at(time, Event::Fail { request: id, failure: Failure::Closed(cause) });
            return;
        }
        let server = self.fleet.targets[target].server;
        let https = self.fleet.groups[self.fleet.targets[target].group].https;
        if server.speaks == Speaks::Tls && !https {
            self.server_closes(connection, "protocol-mismatch", 0.003);
            let delay = self.rng.micros(0.0004, 0.0016);
            let failure = Failure::Closed("protocol-mismatch");
            self.after(delay, Event::Fail { request: id, failure });
            return;
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.at_server = true;
        }
        self.states[target].serving.insert(id);
        let idle = micros(self.fleet.idle_timeout);
        let never = matches!(
            self.fleet.paths[self.requests[&id].path].does,
            Does::NeverAnswers(_) | Does::SticksInC(_)
        );
        if never {
            let late = self.rng.micros(0.0002, 0.002);
            self.after(idle + late, Event::Fail { request: id, failure: Failure::IdleTimeout });
        }
        if self.states[target].busy < server.workers {
            self.serve(id, target);
        } else {
            self.states[target].queue.push_back(id);
        }
    }

    fn serve(&mut self, id: Id, target: usize) {
        let state = &mut self.states[target];
        state.busy += 1;
        let generation = state.generation;
        let child_dies = std::mem::take(&mut state.child_dies);
        let Some(request) = self.requests.get(&id) else {
            // The client has gone, the work is still done.
            let delay = self.rng.micros(0.05, 0.2);
            self.after(delay, Event::Answer { request: id, target, generation });
            return;
        };
        let (client, path) = (request.client, request.path);
        let path = &self.fleet.paths[path];
        let (does, (median, sigma)) = (path.does, path.latency);
        let seconds = self.rng.lognormal(median, sigma).max(0.0004);
        let mut time = micros(seconds);
        let mut status = 200;
        let mut bad = None;
        if child_dies {
            bad = Some("closed-mid-request");
        }
        match does {
            Does::Answers(code) => status = code,
            Does::Malformed => bad = Some("malformed-response"),
            Does::OversizedHeaders => {
                bad = self.clients[client].large_cookies.then_some("oversized-headers");
            }
            Does::CrashesProcess(share) => {
                if self.rng.chance(share) {
                    bad = Some("crash");
                }
            }
            Does::SticksInC(share) => {
                let timeout = self.fleet.targets[target].server.worker_timeout;
                if let (true, Some((low, high))) = (self.rng.chance(share), timeout) {
                    let delay = self.rng.micros(low, high);
                    self.after(delay, Event::Killed { request: id, target, generation });
                    return;
                }
            }
            Does::NeverAnswers(share) => {
                if self.rng.chance(share) {
                    time = micros(3600.0);
                }
            }
            Does::ProxyAnswers502(share) => {
                if self.rng.chance(share) {
                    (status, time) = (502, self.rng.micros(0.0006, 0.003));
                }
            }
            Does::Fails500(share) => {
                if self.rng.chance(share) {
                    status = 500;
                }
            }
            Does::LambdaError(..) | Does::FixedResponse(_) => {}
        }
        if let Some(request) = self.requests.get_mut(&id) {
            (request.status, request.bad) = (status, bad);
        }
        self.after(time, Event::Answer { request: id, target, generation });
    }

    fn free_worker(&mut self, target: usize, id: Id) {
        let state = &mut self.states[target];
        state.busy = state.busy.saturating_sub(1);
        state.serving.remove(&id);
        if let Some(next) = self.states[target].queue.pop_front() {
            self.serve(next, target);
        }
    }

    fn answer(&mut self, id: Id, target: usize, generation: u32) {
        if self.states[target].generation != generation {
            return;
        }
        self.free_worker(target, id);
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let (bad, client, connection) = (request.bad, request.client, request.connection);
        if bad == Some("crash") {
            self.states[target].serving.insert(id);
            self.kill(target, "closed-mid-request");
            let restart = self.rng.micros(0.8, 1.6);
            let n = self.fleet.changes.len();
            self.fleet.changes.push((0.0, Change::Listen(target)));
            self.after(restart, Event::Change(n));
            return;
        }
        let way = self.one_way(self.clients[client].node, target);
        if let Some(cause) = bad {
            self.after(way, Event::Fail { request: id, failure: Failure::Closed(cause) });
            return;
        }
        self.after(way, Event::Received { request: id });
        let Some(connection) = connection else { return };
        match self.fleet.targets[target].server.keep_alive {
            KeepAlive::Off => {}
            KeepAlive::Closes(low, high) => {
                // Most close near the lower end; the rest waits for the server's own timer.
                let late = (self.rng.unit() * self.rng.unit()) * (high - low);
                let epoch = self.connections.get(&connection).map_or(0, |c| c.epoch);
                let delay = micros(low + late);
                self.after(delay, Event::ServerCloses { connection, epoch });
            }
        }
    }

    /// The server's FIN or RST leaves now; the node notices it up to `notice` seconds later.
    fn server_closes(&mut self, id: Id, cause: &'static str, notice: f64) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.closed.is_some() {
            return;
        }
        let (node, target) = (connection.node, connection.target);
        let way = self.one_way(node, target);
        let noticed = self.now + way + self.rng.micros(0.001_f64.min(notice), notice);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.closed = Some((noticed, cause));
        }
        self.at(noticed, Event::Noticed { connection: id });
    }

    fn drop_connection(&mut self, id: Id) {
        if let Some(connection) = self.connections.remove(&id) {
            self.pools[connection.node][connection.target].retain(|&c| c != id);
            self.states[connection.target].connections.remove(&id);
        }
    }

    fn fail_soon(&mut self, id: Id, cause: &'static str) {
        let delay = self.rng.micros(0.0002, 0.002);
        self.after(delay, Event::Fail { request: id, failure: Failure::Closed(cause) });
    }

    fn kill(&mut self, target: usize, cause: &'static str) {
        self.fleet.targets[target].listening = false;
        for connection in self.states[target].connections.clone() {
            self.server_closes(connection, cause, 0.05);
        }
        let state = &mut self.states[target];
        state.generation += 1;
        state.busy = 0;
        state.queue.clear();
        for request in std::mem::take(&mut state.serving) {
            self.fail_soon(request, cause);
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Kill(target) => {
                let cause = if self.states[target].draining {
                    "draining-early-close"
                } else {
                    "closed-mid-request"
                };
                self.kill(target, cause);
            }
            Change::Listen(target) => self.fleet.targets[target].listening = true,
            Change::HostUp(target, up) => self.fleet.targets[target].host_up = up,
            Change::Register(target) => self.announce(target, true),
            Change::Deregister(target) => {
                self.states[target].draining = true;
                self.announce(target, false);
                let group = self.fleet.targets[target].group;
                let delay = self.fleet.groups[group].deregistration_delay;
                self.after(micros(delay), Event::DrainEnds(target));
            }
            Change::ChildDies(target) => self.states[target].child_dies = true,
            Change::Rate(rate) => self.fleet.traffic.rate = rate,
        }
    }

    fn announce(&mut self, target: usize, registered: bool) {
        self.fleet.targets[target].registered = registered;
        let (low, high) = self.fleet.groups[self.fleet.targets[target].group].propagation;
        for node in 0..self.fleet.nodes.len() {
            let delay = self.rng.micros(low, high);
            self.after(delay, Event::Learns { node, target, registered });
        }
    }

    fn learns(&mut self, node: usize, target: usize, registered: bool) {
        let known = &mut self.known[node][self.fleet.targets[target].group];
        known.retain(|&t| t != target);
        if registered {
            known.push(target);
        } else {
            for connection in std::mem::take(&mut self.pools[node][target]) {
                self.drop_connection(connection);
            }
        }
    }

    // ---- Lambda

    fn lambda(&mut self, id: Id, group: usize) {
        let limit = self.fleet.groups[group].lambda.as_ref().map_or(0, |l| l.concurrency);
        let path = &self.fleet.paths[self.requests[&id].path];
        let (does, (median, sigma)) = (path.does, path.latency);
        let sent = self.now + self.rng.micros(0.0005, 0.009);
        let (mut bad, mut time) = (None, micros(self.rng.lognormal(median, sigma)));
        if self.lambdas[group] >= limit {
            (bad, time) = (Some("LambdaThrottling"), self.rng.micros(0.004, 0.02));
        } else if let Does::LambdaError(reason, share) = does
            && self.rng.chance(share)
        {
            bad = Some(reason);
        }
        if bad != Some("LambdaThrottling") {
            self.lambdas[group] += 1;
        }
        if let Some(request) = self.requests.get_mut(&id) {
            (request.sent, request.bad) = (Some(sent), bad);
        }
        self.at(sent + time, Event::LambdaDone { request: id });
    }

    fn lambda_done(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let group = self.fleet.paths[request.path].group;
        if request.bad != Some("LambdaThrottling") {
            self.lambdas[group] = self.lambdas[group].saturating_sub(1);
        }
        let sent = request.sent.unwrap_or(request.created);
        let waited = [Some(sent - request.created), Some(self.now - sent)];
        match request.bad {
            None => self.emit(&request, [waited[0], waited[1], Some(0)], 200, Some(200), None, "-"),
            Some(reason) => {
                let cause = match reason {
                    "LambdaThrottling" => "lambda-throttling",
                    "LambdaInvalidResponse" => "lambda-invalid-response",
                    "LambdaUnhandled" => "lambda-unhandled",
                    _ => "lambda-unknown",
                };
                self.emit(&request, [waited[0], waited[1], None], 502, None, Some(cause), reason)
            }
        }
    }

    // ---- ends of a request

    fn received(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let (Some(target), Some(sent)) = (request.target, request.sent) else {
            return Ok(());
        };
        if let Some(id) = request.connection {
            let node = self.clients[request.client].node;
            let group = self.fleet.targets[target].group;
            let keeps = !matches!(self.fleet.targets[target].server.keep_alive, KeepAlive::Off)
                && self.known[node][group].contains(&target);
            let idle = self.fleet.idle_timeout;
            match self.connections.get_mut(&id) {
                Some(connection) if keeps => {
                    connection.request = None;
                    let epoch = connection.epoch;
                    self.pools[node][target].push(id);
                    self.after(micros(idle), Event::NodeCloses { connection: id, epoch });
                }
                _ => self.drop_connection(id),
            }
        }
        let times = [Some(sent - request.created), Some(self.now - sent), Some(0)];
        let cause = (request.status == 502).then_some("target-generated");
        self.emit(&request, times, request.status, Some(request.status), cause, "-")
    }

    fn fail(&mut self, id: Id, failure: Failure) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        if let Some(connection) = request.connection {
            self.drop_connection(connection);
        }
        let since = |from: i64| Some(self.now - from);
        let sent = request.sent;
        let dispatched = sent.map(|sent| sent - request.created);
        let (times, status, cause) = match failure {
            Failure::ConnectTimeout(cause) => ([None; 3], 504, cause),
            Failure::NotConnected(cause) => ([None; 3], 502, cause),
            Failure::Closed(cause) => ([dispatched, sent.and_then(since), None], 502, cause),
            Failure::IdleTimeout => ([dispatched, None, None], 504, "idle-timeout"),
        };
        self.emit(&request, times, status, None, Some(cause), "-")
    }

    fn gives_up(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        if let Some(connection) = request.connection {
            self.drop_connection(connection);
        }
        let dispatched = request.sent.map(|sent| sent - request.created);
        self.emit(&request, [dispatched, None, None], 460, None, None, "-")
    }

    fn no_targets(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        self.emit(&request, [None; 3], 503, None, None, "-")
    }

    fn fixed_response(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let Does::FixedResponse(code) = self.fleet.paths[request.path].does else {
            return Ok(());
        };
        let cause = (code == 502).then_some("intentional-response");
        self.emit(&request, [None; 3], code, None, cause, "-")
    }

    // ---- rows

    fn emit(
        &mut self,
        request: &Request,
        times: [Option<i64>; 3],
        status: u16,
        target_status: Option<u16>,
        cause: Option<&'static str>,
        reason: &str,
    ) -> io::Result<()> {
        let fixed = matches!(self.fleet.paths[request.path].does, Does::FixedResponse(_));
        let client = &self.clients[request.client];
        let node = client.node;
        let group = &self.fleet.groups[self.fleet.paths[request.path].group];
        let sent = match status {
            460 => 0,
            _ if target_status.is_some() && status < 400 => {
                let median = if request.url.contains("/static/") { 20_000.0 } else { 2_500.0 };
                300 + self.rng.lognormal(median, 0.8) as u64
            }
            _ if target_status.is_some() => 380 + self.rng.next() % 200,
            _ if client.kind == "h2" => 277,
            _ => 272,
        };
        let row = Row {
            time: self.now,
            created: request.created,
            elb: &self.elb,
            client,
            target: request.target.map(|t| self.fleet.targets[t].endpoint.as_str()),
            times,
            elb_status: status,
            target_status,
            received: request.received,
            sent,
            request: &request.url,
            plain: false,
            malformed: false,
            group_arn: (!fixed).then_some(group.arn.as_str()),
            trace: Some(request.trace),
            certificate: &self.certificate,
            host: &self.fleet.host,
            priority: if fixed { "5" } else { group.priority },
            actions: if fixed { "fixed-response" } else { "forward" },
            redirect: "-",
            error_reason: if reason.starts_with("Lambda") { reason } else { "-" },
            classification: ("-", "-"),
            fields: self.fields,
        };
        self.line.clear();
        row.write(&mut self.line)?;
        let group = if fixed { "-" } else { group.name };
        match cause {
            Some("intentional-response") => self.truth.intentional_502 += 1,
            Some("target-generated") => self.truth.target_502 += 1,
            Some("idle-timeout") => self.truth.idle_504 += 1,
            Some(_) if status == 504 => self.truth.connect_504 += 1,
            Some(_) => self.truth.elb_502 += 1,
            None => {}
        }
        if let Some(cause) = cause {
            *self.truth.causes.entry((group.to_owned(), cause)).or_default() += 1;
        }
        let window = self.truth.windows.entry(self.now.div_euclid(300_000_000)).or_default();
        window.0 += 1;
        window.1 += u64::from(cause.is_some_and(|c| c != "intentional-response"));
        self.count(status, target_status);
        self.sink.row(node, self.now, &self.line)?;
        if request.poller {
            self.poll_again(request.client);
        }
        Ok(())
    }

    fn count(&mut self, status: u16, target_status: Option<u16>) {
        self.truth.rows += 1;
        let target = target_status.map_or_else(|| "-".to_owned(), |s| s.to_string());
        *self.truth.statuses.entry(format!("{status}/{target}")).or_default() += 1;
    }

    fn poll_again(&mut self, client: usize) {
        let Some(pollers) = self.fleet.traffic.pollers else {
            return;
        };
        let mut wait = self.rng.micros(pollers.seconds.0, pollers.seconds.1);
        if self.rng.chance(0.04) {
            wait += self.rng.micros(20.0, 90.0);
            let targets = self.fleet.targets.len();
            let sticky = self.rng.below(targets);
            let node = self.rng.below(self.fleet.nodes.len());
            let person = &mut self.clients[client];
            clients::reconnect(person, &mut self.rng);
            person.sticky = Some(sticky);
            person.node = node;
        }
        let path = self.pick_path();
        self.after(wait, Event::Start { client, path, poller: true });
    }

    /// Rows that never were a request to a target of the scenario: 0 scanner, 1 garbage, 2 redirect.
    fn stray(&mut self, kind: u8) -> io::Result<()> {
        const PROBES: &[&str] =
            &["/.env", "/wp-login.php", "/.git/config", "/actuator/health", "/phpmyadmin/"];
        let n = self.rng.below(self.fleet.traffic.clients);
        let mut client = clients::client(n * 7 + 3, self.fleet.nodes.len(), 0.0, &mut self.rng);
        let probe = PROBES[self.rng.below(PROBES.len())];
        let host = self.fleet.host.clone();
        let ip = self.fleet.nodes[client.node].clone();
        let known = self.known[client.node].first().cloned().unwrap_or_default();
        let pick = self.rng.below(known.len());
        let healthy = |t: &&usize| {
            let t = &self.fleet.targets[**t];
            t.listening && !t.firewalled && t.host_up && t.server.speaks == Speaks::Http
        };
        let target =
            known.get(pick).filter(healthy).map(|&t| self.fleet.targets[t].endpoint.clone());
        let tls_group = self.fleet.groups.first().is_some_and(|g| g.https);
        let trace = Some([self.rng.next(), self.rng.next()]);
        let took = self.rng.micros(0.001, 0.006);
        if kind == 0 {
            client.agent = "Mozilla/5.0 zgrab/0.x";
            client.kind = "https";
        }
        let mut row = Row {
            time: self.now,
            created: self.now,
            elb: &self.elb,
            client: &client,
            target: None,
            times: [None; 3],
            elb_status: 400,
            target_status: None,
            received: 0,
            sent: 272,
            request: "",
            plain: true,
            malformed: false,
            group_arn: None,
            trace: None,
            certificate: &self.certificate,
            host: &host,
            priority: "-",
            actions: "-",
            redirect: "-",
            error_reason: "-",
            classification: ("-", "-"),
            fields: self.fields,
        };
        let (request, redirect);
        match kind {
            0 => {
                let (Some(endpoint), false) = (&target, tls_group) else {
                    return Ok(());
                };
                request = format!("GET https://{host}:443{probe} HTTP/1.1");
                row.plain = false;
                row.created = self.now - took;
                row.target = Some(endpoint);
                row.times = [Some(took / 4), Some(took - took / 4), Some(0)];
                (row.elb_status, row.target_status) = (404, Some(404));
                (row.received, row.sent) = (134, 391);
                (row.group_arn, row.priority) = (Some(self.fleet.groups[0].arn.as_str()), "0");
                (row.trace, row.actions) = (trace, "forward");
            }
            1 => {
                request = format!("- http://{host}:80- -");
                row.malformed = true;
            }
            _ => {
                request = format!("GET http://{ip}:80{probe} HTTP/1.1");
                redirect = format!("https://{ip}:443{probe}");
                (row.elb_status, row.received, row.sent) = (301, 142, 329);
                (row.redirect, row.priority) = (&redirect, "0");
                (row.trace, row.actions) = (trace, "redirect");
            }
        }
        row.request = &request;
        self.line.clear();
        row.write(&mut self.line)?;
        let (status, target_status) = (row.elb_status, row.target_status);
        let node = client.node;
        self.count(status, target_status);
        self.sink.row(node, self.now, &self.line)
    }
}
