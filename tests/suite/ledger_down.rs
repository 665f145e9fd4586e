//! When the ledger does not answer, the diagnosis still goes out: marked, and once in an invocation.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    ops::{ControlFlow, RangeInclusive},
    task::{Context, Poll, Waker},
};

use alb502::{
    config::Config,
    diagnosis::Diagnosis,
    event::LogObject,
    handler::{HandlerError, Invocation, Ports, Summary, handle},
    incident::{Kept, Observation, Record, end_of},
    local::{folder::SnapshotConfiguration, ledger::MemoryLedger},
    notification::Notification,
    ports::{Ledger, LedgerError, LogStore, LogStoreError, Notifier, NotifierError, Saved},
};
use serde_json::json;

use crate::deliveries::{
    NotMeasured,
    story::{self, FIRST_WINDOW, Part},
};

/// A world of one object, whose ledger answers a few calls and then no more.
struct World {
    rows: Vec<u8>,
    ledger: MemoryLedger,
    answers: Cell<u64>,
    asked: Cell<u64>,
    told: RefCell<Vec<(Diagnosis, Notification)>>,
}

impl World {
    fn new(rows: Vec<u8>, answers: u64) -> Self {
        Self {
            rows,
            ledger: MemoryLedger::default(),
            answers: Cell::new(answers),
            asked: Cell::new(0),
            told: RefCell::default(),
        }
    }

    fn ask(&self) -> Result<(), LedgerError> {
        self.asked.set(self.asked.get() + 1);
        let Some(left) = self.answers.get().checked_sub(1) else {
            let reason = "table alb502-ledger: not authorized".to_owned();
            return Err(LedgerError { reason, permission: Some("dynamodb:Query") });
        };
        self.answers.set(left);
        Ok(())
    }
}

impl LogStore for World {
    async fn stream(
        &self,
        _: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let _ = sink(&self.rows);
        Ok(())
    }
}

impl Notifier for World {
    async fn publish(&self, it: &Diagnosis, message: &Notification) -> Result<(), NotifierError> {
        self.told.borrow_mut().push((it.clone(), message.clone()));
        Ok(())
    }
}

impl Ledger for World {
    async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError> {
        self.ask()?;
        self.ledger.keep(kept).await
    }

    async fn records(&self, load_balancer: &str) -> Result<Vec<Record>, LedgerError> {
        self.ask()?;
        self.ledger.records(load_balancer).await
    }

    async fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError> {
        self.ask()?;
        self.ledger.observations(load_balancer, windows).await
    }

    async fn details(&self, of: &[&Observation]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        self.ask()?;
        self.ledger.details(of).await
    }

    async fn save(&self, record: &Record) -> Result<Saved, LedgerError> {
        self.ask()?;
        self.ledger.save(record).await
    }
}

/// Handles one object with these rows of two target groups.
fn handled(world: &World) -> Result<Summary, HandlerError> {
    let object = story::object(1, 0, &[]);
    let event = json!({"bucket": story::BUCKET, "key": object.key});
    let config = Config::from_lookup(|_| None).unwrap();
    let now = end_of(FIRST_WINDOW) + 60 * story::SECOND;
    let invocation =
        Invocation { now: Some(now), owner: "request", lease_until: now + 120 * story::SECOND };
    let configuration = SnapshotConfiguration(None);
    let ports = Ports {
        logs: world,
        configuration: &configuration,
        ledger: world,
        notifier: world,
        metrics: &NotMeasured,
    };
    let future = std::pin::pin!(handle(&event, &config, &invocation, ports));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the memory made the handler wait"),
    }
}

fn rows(failed: u64) -> Vec<u8> {
    let web = Part { answered: 20, failed, ..Part::default() };
    let api = Part { target_group: "shop-api", ..web.clone() };
    story::object(1, 0, &[web, api]).rows
}

/// What is told while nothing can be remembered.
pub(crate) fn told_alone() -> Vec<Diagnosis> {
    let world = World::new(rows(9), 0);
    handled(&world).unwrap_err();
    world.told.into_inner().into_iter().map(|(diagnosis, _)| diagnosis).collect()
}

#[test]
fn a_ledger_that_stops_answering_at_any_call_keeps_nothing_silent_and_says_nothing_twice() {
    let all = World::new(rows(9), u64::MAX);
    assert_eq!(handled(&all).unwrap().published, 2);
    let calls = all.asked.get();
    let mut alone = 0;
    for answers in 0..calls {
        let world = World::new(rows(9), answers);
        let error = handled(&world).unwrap_err();
        assert_eq!(error.kind(), "LedgerUnavailable", "{answers}");
        assert!(error.to_string().contains("table alb502-ledger"), "{error}");
        let told = world.told.borrow();
        let mut groups: Vec<&str> =
            told.iter().map(|(it, _)| &*it.target_group.as_ref().unwrap().name).collect();
        groups.sort_unstable();
        assert_eq!(groups, ["shop-api", "shop-web"], "each once, after {answers} answers");
        for (diagnosis, message) in told.iter() {
            assert_eq!((diagnosis.failures, diagnosis.requests), (9, 29), "{answers}");
            assert_eq!(diagnosis.causes[0].id, "connect-refused");
            let status = diagnosis.status.as_deref().unwrap();
            if !status.starts_with("alone: ") {
                assert!(status.starts_with("opened, "), "{status}");
                continue;
            }
            alone += 1;
            let gap =
                diagnosis.gaps.iter().find(|gap| gap.permission == Some("dynamodb:Query".into()));
            assert!(
                gap.is_some_and(|gap| gap.reason.contains("not authorized")),
                "{:?}",
                diagnosis.gaps
            );
            assert!(message.text.contains("the ledger did not answer"), "{}", message.text);
        }
    }
    println!("{calls} calls; {alone} messages without the ledger when each is the first to fail");
}

#[test]
fn what_is_no_incident_by_itself_stays_silent_without_the_ledger() {
    let world = World::new(rows(4), 0);
    let error = handled(&world).unwrap_err();
    assert_eq!(error.kind(), "LedgerUnavailable");
    assert_eq!(world.told.borrow().len(), 0);
}
