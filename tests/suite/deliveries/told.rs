//! What people were told, against what really happened.

use std::{collections::BTreeMap, fmt};

use alb502::{detection::Kind, diagnosis::Phase, incident::observation::windows_of, ports::Ledger};

use super::{
    drive::Outcome,
    story::{self, Object},
    world::{Message, World},
};

/// Figures of one run or of many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub runs: u64,
    pub deliveries: u64,
    pub attempts: u64,
    pub crashes: u64,
    pub parked: u64,
    pub conflicts: u64,
    pub copies: usize,
    pub errors: BTreeMap<&'static str, u64>,
    pub calls: BTreeMap<&'static str, u64>,
    /// Messages by phase.
    pub phases: BTreeMap<&'static str, u64>,
    /// Messages without the ledger.
    pub alone: u64,
    /// Messages whose sender died, or lost an answer, before it had marked them.
    pub unmarked: u64,
}

impl Figures {
    pub(crate) fn of(world: &World, outcome: &Outcome) -> Self {
        let mut figures = Self {
            runs: 1,
            deliveries: outcome.deliveries,
            attempts: world.attempts.get(),
            crashes: outcome.crashes,
            parked: outcome.parked.len() as u64,
            conflicts: world.conflicts.get(),
            copies: outcome.copies,
            errors: outcome.errors.clone(),
            calls: world.calls.borrow().clone(),
            ..Self::default()
        };
        for message in world.messages.borrow().iter() {
            if message.is_alone() {
                figures.alone += 1;
                continue;
            }
            *figures.phases.entry(message.diagnosis.phase.as_str()).or_default() += 1;
            figures.unmarked += u64::from(!message.is_marked);
        }
        figures
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.deliveries += other.deliveries;
        self.attempts += other.attempts;
        self.crashes += other.crashes;
        self.parked += other.parked;
        self.conflicts += other.conflicts;
        self.copies = self.copies.max(other.copies);
        self.alone += other.alone;
        self.unmarked += other.unmarked;
        for (sums, more) in [
            (&mut self.errors, &other.errors),
            (&mut self.calls, &other.calls),
            (&mut self.phases, &other.phases),
        ] {
            for (name, count) in more {
                *sums.entry(name).or_default() += count;
            }
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs, {} deliveries, {} attempts, at most {} at once, {} crashes, {} parked, {} \
             conflicts; errors {:?}; calls {:?}; messages {:?}, {} of them not marked, and {} alone",
            self.runs,
            self.deliveries,
            self.attempts,
            self.copies,
            self.crashes,
            self.parked,
            self.conflicts,
            self.errors,
            self.calls,
            self.phases,
            self.unmarked,
            self.alone,
        )
    }
}

/// Holds a run to what really happened: for every incident in the objects that reached the ledger one
/// opened and one resolved message, with its id and exact counts.
pub(crate) fn check(world: &World, outcome: &Outcome) -> Figures {
    let figures = Figures::of(world, outcome);
    let kept = world.kept.borrow();
    let parked: Vec<&String> = outcome.parked.iter().flat_map(|it| &it.keys).collect();
    for key in world.objects.keys() {
        assert!(kept.contains(key) || parked.contains(&key), "not in the ledger: {key}");
    }
    let kept: Vec<&Object> = kept.iter().filter_map(|key| world.objects.get(key)).collect();
    let groups: std::collections::BTreeSet<&(String, String)> =
        kept.iter().flat_map(|object| object.tallies.keys()).collect();
    let messages = world.messages.borrow();
    for of in groups {
        let windows = story::add_up(kept.iter().copied(), of);
        check_ledger(world, of, &windows);
        let told: Vec<&Message> = messages
            .iter()
            .filter(|it| it.of() == (of.0.clone(), Some(of.1.clone())) && !it.is_alone())
            .collect();
        check_story(&told, &story::incidents(&windows));
    }
    check_alone(&messages);
    figures
}

/// The ledger counts every row of every object that reached it, once, and nothing is left half done.
pub(crate) fn check_ledger(
    world: &World,
    (load_balancer, group): &(String, String),
    expected: &BTreeMap<i64, alb502::detection::spikes::Tally>,
) {
    let observations = now(world.ledger.observations(load_balancer, i64::MIN..=i64::MAX)).unwrap();
    let counted = windows_of(&observations, Some(group));
    let counted: Vec<_> =
        counted.iter().map(|(window, it)| (*window, it.requests, it.failures)).collect();
    let expected: Vec<_> =
        expected.iter().map(|(window, it)| (*window, it.requests, it.failures)).collect();
    assert_eq!(counted, expected, "counts in the ledger");
    for record in now(world.ledger.records(load_balancer)).unwrap() {
        assert!(record.lease.is_none() && record.open.is_none(), "left behind: {record:?}");
    }
}

/// The memory of the process answers at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the memory made a test wait"),
    }
}

fn check_story(told: &[&Message], incidents: &[((i64, i64), alb502::detection::spikes::Tally)]) {
    let line = |it: &&Message| {
        let it = &it.diagnosis;
        format!(
            "{} {:?} {:?} {} of {}",
            it.incident_id, it.phase, it.status, it.failures, it.requests
        )
    };
    let story = told.iter().map(line).collect::<Vec<_>>().join("\n");
    let mut ids: Vec<&str> = told.iter().map(|it| &*it.diagnosis.incident_id).collect();
    ids.dedup();
    assert_eq!(ids.len(), incidents.len(), "one id for an incident, one after the other:\n{story}");
    for (id, (_, expected)) in ids.iter().zip(incidents) {
        let told: Vec<&&Message> =
            told.iter().filter(|it| it.diagnosis.incident_id == *id).collect();
        let of = |phase: Phase| {
            told.iter().filter(move |it| it.diagnosis.phase == phase).collect::<Vec<_>>()
        };
        for phase in [Phase::Opened, Phase::Resolved] {
            let messages = of(phase);
            let marked = messages.iter().filter(|it| it.is_marked).count();
            assert_eq!(
                marked, 1,
                "{phase:?} once, and again only when it was not marked:\n{story}"
            );
        }
        for message in of(Phase::Resolved) {
            let it = &message.diagnosis;
            assert_eq!(it.kind, Kind::Spike);
            assert_eq!(
                (it.requests, it.failures),
                (expected.requests, expected.failures),
                "exact counts:\n{story}"
            );
        }
        let first = told.first().map(|it| it.diagnosis.phase);
        let last = told.last().map(|it| it.diagnosis.phase);
        assert_eq!(
            (first, last),
            (Some(Phase::Opened), Some(Phase::Resolved)),
            "from opened to resolved:\n{story}"
        );
    }
}

/// What is told without the ledger is told by a copy that the ledger has refused, once.
fn check_alone(messages: &[Message]) {
    let mut told = std::collections::BTreeSet::new();
    for message in messages.iter().filter(|it| it.is_alone()) {
        assert!(message.after_ledger_error, "{:?}", message.diagnosis.status);
        assert!(told.insert((message.attempt, message.of())), "twice in one invocation");
    }
}
