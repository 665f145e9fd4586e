//! A world with one ledger, one topic and many copies of the function, in which every call may fail and
//! every copy may die wherever it waits.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    ops::{ControlFlow, RangeInclusive},
    task::Poll,
};

use alb502::{
    detection::Evidence,
    diagnosis::{Diagnosis, Facts},
    event::LogObject,
    incident::{Kept, Observation, Record},
    local::ledger::MemoryLedger,
    notification::Notification,
    ports::{
        Configuration, Ledger, LedgerError, LogStore, LogStoreError, Notifier, NotifierError, Saved,
    },
};

use super::{chance::Chance, story::Object};

/// How often what goes wrong, 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A copy dies where it waits.
    pub crash: f64,
    /// A copy waits for up to three minutes: it may not live so long.
    pub stall: f64,
    /// The ledger refuses a call.
    pub throttled: f64,
    /// The ledger does what it is asked to, and the answer is lost.
    pub lost: f64,
    /// The topic refuses a message.
    pub refused: f64,
    /// The topic takes a message, and the answer is lost.
    pub lost_message: f64,
}

/// What goes wrong at one numbered step, for tests that try them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    Crash,
    /// The copy waits for a minute: others overtake it.
    Pause,
    /// The call fails: before it had its effect, or after, as the step may be.
    Failure,
}

/// A message as it went out.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub diagnosis: Diagnosis,
    /// The copy that sent it has since saved the record: it will not be said again.
    pub is_marked: bool,
    /// The ledger had refused a call of this copy before.
    pub after_ledger_error: bool,
    /// The attempt that sent it.
    pub attempt: u64,
}

impl Message {
    /// Told without the ledger.
    pub(crate) fn is_alone(&self) -> bool {
        self.diagnosis.status.as_ref().is_some_and(|status| status.starts_with("alone"))
    }

    /// Load balancer and target group.
    pub(crate) fn of(&self) -> (String, Option<String>) {
        let group = self.diagnosis.target_group.as_ref().map(|group| group.arn.clone());
        (self.diagnosis.load_balancer.id.clone(), group)
    }
}

/// What all copies share.
pub(crate) struct World {
    pub objects: BTreeMap<String, Object>,
    pub ledger: MemoryLedger,
    pub messages: RefCell<Vec<Message>>,
    /// Keys of the objects that are in the ledger.
    pub kept: RefCell<BTreeSet<String>>,
    pub chance: RefCell<Chance>,
    pub faults: Faults,
    /// Every point at which a copy waits has a number; at this one something goes wrong.
    pub mishap: Option<(u64, Mishap)>,
    pub steps: Cell<u64>,
    pub calls: RefCell<BTreeMap<&'static str, u64>>,
    pub conflicts: Cell<u64>,
    pub attempts: Cell<u64>,
}

impl World {
    pub(crate) fn new(objects: Vec<Object>, seed: u64, faults: Faults) -> Self {
        Self {
            objects: objects.into_iter().map(|it| (it.key.clone(), it)).collect(),
            ledger: MemoryLedger::default(),
            messages: RefCell::default(),
            kept: RefCell::default(),
            chance: RefCell::new(Chance::new(seed)),
            faults,
            mishap: None,
            steps: Cell::new(0),
            calls: RefCell::default(),
            conflicts: Cell::new(0),
            attempts: Cell::new(0),
        }
    }

    pub(crate) fn happens(&self, often: f64) -> bool {
        0.0 < often && self.chance.borrow_mut().happens(often)
    }
}

/// One copy of the function, as it meets the world.
pub(crate) struct Attempt<'w> {
    world: &'w World,
    number: u64,
    /// The message that it has sent and not yet marked.
    unmarked: Cell<Option<usize>>,
    has_ledger_error: Cell<bool>,
}

impl<'w> Attempt<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        world.attempts.set(world.attempts.get() + 1);
        Self {
            world,
            number: world.attempts.get(),
            unmarked: Cell::new(None),
            has_ledger_error: Cell::new(false),
        }
    }

    /// Waits once: whoever drives the copies decides when it goes on, and whether. True when this step
    /// is the one that fails.
    async fn step(&self) -> bool {
        let step = self.world.steps.get() + 1;
        self.world.steps.set(step);
        let mut asked = false;
        poll_fn(
            |_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
        self.world.mishap == Some((step, Mishap::Failure))
    }

    /// The topic has the message.
    fn take(&self, diagnosis: &Diagnosis) {
        let mut messages = self.world.messages.borrow_mut();
        let message = Message {
            diagnosis: diagnosis.clone(),
            is_marked: false,
            after_ledger_error: self.has_ledger_error.get(),
            attempt: self.number,
        };
        if !message.is_alone() {
            self.unmarked.set(Some(messages.len()));
        }
        messages.push(message);
    }

    fn count(&self, call: &'static str) {
        *self.world.calls.borrow_mut().entry(call).or_default() += 1;
    }

    async fn ledger_step(&self, often: f64, why: &str) -> Result<(), LedgerError> {
        if self.step().await || self.world.happens(often) {
            self.has_ledger_error.set(true);
            return Err(LedgerError { reason: format!("table alb502: {why}"), permission: None });
        }
        Ok(())
    }

    async fn before(&self, call: &'static str) -> Result<(), LedgerError> {
        self.count(call);
        self.ledger_step(self.world.faults.throttled, "throttled").await
    }

    async fn after(&self) -> Result<(), LedgerError> {
        self.ledger_step(self.world.faults.lost, "no answer").await
    }
}

impl LogStore for Attempt<'_> {
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        self.count("S3 GetObject");
        let fails = self.step().await;
        let Some(object) = self.world.objects.get(&object.key).filter(|_| !fails) else {
            return Err(LogStoreError("no such key".to_owned()));
        };
        let _ = sink(&object.rows);
        Ok(())
    }
}

impl Configuration for Attempt<'_> {
    async fn facts(&self, _: &Evidence) -> Facts {
        self.count("facts");
        self.step().await;
        Facts::unknown("this world has no configuration")
    }
}

impl Ledger for Attempt<'_> {
    async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError> {
        // One by one, as a database would take them.
        for it in kept {
            self.before("keep").await?;
            self.world.ledger.keep(std::slice::from_ref(it)).await?;
            self.world.kept.borrow_mut().insert(it.observation.object.key.to_string());
            self.after().await?;
        }
        Ok(())
    }

    async fn records(&self, load_balancer: &str) -> Result<Vec<Record>, LedgerError> {
        self.before("records").await?;
        let records = self.world.ledger.records(load_balancer).await?;
        self.after().await?;
        Ok(records)
    }

    async fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError> {
        self.before("observations").await?;
        let observations = self.world.ledger.observations(load_balancer, windows).await?;
        self.after().await?;
        Ok(observations)
    }

    async fn details(
        &self,
        observations: &[&Observation],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        self.before("details").await?;
        let details = self.world.ledger.details(observations).await?;
        self.after().await?;
        Ok(details)
    }

    async fn save(&self, record: &Record) -> Result<Saved, LedgerError> {
        self.before("save").await?;
        let saved = self.world.ledger.save(record).await?;
        match saved {
            Saved::Saved => {
                let mut messages = self.world.messages.borrow_mut();
                if let Some(index) = self.unmarked.get()
                    && messages[index].of()
                        == (record.load_balancer.clone(), record.target_group.clone())
                {
                    messages[index].is_marked = true;
                    self.unmarked.set(None);
                }
            }
            Saved::Conflict => self.world.conflicts.set(self.world.conflicts.get() + 1),
        }
        self.after().await?;
        Ok(saved)
    }
}

impl Notifier for Attempt<'_> {
    async fn publish(&self, diagnosis: &Diagnosis, _: &Notification) -> Result<(), NotifierError> {
        self.count("SNS Publish");
        let refused = || Err(NotifierError("the topic refused".to_owned()));
        if self.step().await || self.world.happens(self.world.faults.refused) {
            return refused();
        }
        self.take(diagnosis);
        if self.step().await || self.world.happens(self.world.faults.lost_message) {
            // It does not know that it has told: whatever it saves is no mark.
            self.unmarked.set(None);
            return refused();
        }
        Ok(())
    }
}
