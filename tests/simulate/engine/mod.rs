//! The discrete events: connections, pools, servers and timers. What a failure is called comes from
//! what happened here, never from how its row looks.
mod arrivals;
mod ends;
mod functions;
mod lifecycle;
mod metrics;
mod node;
mod server;
mod strays;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque},
    io,
};

use crate::{
    clients::{self, Client},
    fleet::{Fleet, Wall},
    rng::Rng,
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
    /// CloudWatch: by label and minute.
    pub metrics: Metrics,
}

pub(crate) use metrics::{Metrics, dimension};

type Id = u64;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrivals,
    Batch(usize),
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
    /// One of many that look the same in the log.
    coarse: bool,
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
    /// The server ends it with the answer under way.
    last: bool,
    /// Bytes lie in it that the next request will take for its answer.
    leftover: bool,
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
    answers: u64,
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
    wall: Option<Wall>,
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
        if fleet.traffic.batches.is_some() {
            people.extend((0..nodes * targets.max(1)).map(|n| {
                let mut machine = clients::client(n, nodes, 0.0, &mut rng);
                (machine.node, machine.sticky) = (n % nodes, Some(n / nodes % targets.max(1)));
                (machine.kind, machine.agent, machine.resumed) = ("h2", "curl/8.5.0", true);
                machine
            }));
        }
        for (n, client) in people.iter_mut().skip(fleet.traffic.clients).take(pollers).enumerate() {
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
            wall: None,
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
        if self.fleet.traffic.batches.is_some() {
            self.after(0, Event::Batch(0));
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
            Event::Batch(number) => self.batch(number)?,
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
}
