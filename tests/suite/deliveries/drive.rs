//! Who runs when: copies of the function side by side, one step of one of them at a time.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use alb502::{
    config::Config,
    handler::{HandlerError, Invocation, Ports, Summary, handle},
};
use serde_json::{Value, json};

use super::{
    NotMeasured,
    story::{BUCKET, SECOND},
    world::{Attempt, Mishap, World},
};

/// As many copies run at once, at most.
const COPIES: usize = 40;

/// A copy is ended after so long: the timeout of the function.
const TIMEOUT: i64 = 120 * SECOND;

/// Lambda tries an event again after a minute, and after two more.
const RETRIES: [i64; 2] = [60 * SECOND, 120 * SECOND];

/// An event on its way.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// When it arrives, microseconds since 1970.
    pub at: i64,
    pub keys: Vec<String>,
    /// Attempts that failed.
    pub failed: usize,
    /// The same for every attempt.
    pub request_id: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub deliveries: u64,
    pub crashes: u64,
    pub errors: BTreeMap<&'static str, u64>,
    /// Deliveries that were given up.
    pub parked: Vec<Delivery>,
    /// Most copies at once.
    pub copies: usize,
    /// Messages that the summaries speak of.
    pub published: u64,
}

type Handling<'w> = Pin<Box<dyn Future<Output = Result<Summary, HandlerError>> + 'w>>;

struct Running<'w> {
    future: Handling<'w>,
    delivery: Delivery,
    deadline: i64,
    wakes: i64,
}

fn event(keys: &[String]) -> Value {
    let record = |key: &String| {
        json!({"eventVersion": "2.4", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}})
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
}

fn start<'w>(world: &'w World, config: &'w Config, delivery: Delivery, now: i64) -> Running<'w> {
    let payload = event(&delivery.keys);
    let owner = format!("request-{}", delivery.request_id);
    let deadline = now + TIMEOUT;
    let future = Box::pin(async move {
        let attempt = Attempt::new(world);
        let ports = Ports {
            logs: &attempt,
            configuration: &attempt,
            ledger: &attempt,
            notifier: &attempt,
            metrics: &NotMeasured,
        };
        let invocation = Invocation { now: Some(now), owner: &owner, lease_until: deadline };
        handle(&payload, config, &invocation, ports).await
    });
    Running { future, delivery, deadline, wakes: now }
}

/// Runs all deliveries to their end.
pub(crate) fn run(
    world: &World,
    config: &Config,
    deliveries: Vec<Delivery>,
    copies: usize,
) -> Outcome {
    let mut outcome = Outcome { deliveries: deliveries.len() as u64, ..Outcome::default() };
    let mut order = 0_u64;
    let mut queue: BTreeMap<(i64, u64), Delivery> = BTreeMap::new();
    for delivery in deliveries {
        order += 1;
        queue.insert((delivery.at, order), delivery);
    }
    let mut running: Vec<Running<'_>> = Vec::new();
    let mut now = 0;
    let below = |end: u64| world.chance.borrow_mut().below(end);
    loop {
        while running.len() < copies.min(COPIES)
            && let Some(entry) = queue.first_entry().filter(|entry| entry.key().0 <= now)
        {
            running.push(start(world, config, entry.remove(), now));
        }
        outcome.copies = outcome.copies.max(running.len());
        let awake: Vec<usize> =
            (0..running.len()).filter(|index| running[*index].wakes <= now).collect();
        if awake.is_empty() {
            let wakes = running.iter().map(|it| it.wakes).min();
            let may_start = running.len() < copies.min(COPIES);
            let arrives = queue.keys().next().map(|key| key.0).filter(|_| may_start);
            let Some(next) = [wakes, arrives].into_iter().flatten().min() else { break };
            now = now.max(next);
            continue;
        }
        let index = awake[below(awake.len() as u64) as usize];
        // A call takes up to 300 ms, and those of the others pass at the same time.
        now += 1 + below(300_000) as i64 / awake.len() as i64;
        let steps = world.steps.get();
        let is_over = running[index].deadline <= now || world.happens(world.faults.crash);
        let polled = match is_over {
            true => None,
            false => {
                let mut context = Context::from_waker(Waker::noop());
                Some(running[index].future.as_mut().poll(&mut context))
            }
        };
        let befalls = |it: Mishap| {
            world.mishap.is_some_and(|(step, mishap)| {
                mishap == it && (steps + 1..=world.steps.get()).contains(&step)
            })
        };
        match polled {
            Some(Poll::Pending) if !befalls(Mishap::Crash) => {
                if befalls(Mishap::Pause) {
                    running[index].wakes = now + 60 * SECOND;
                } else if world.happens(world.faults.stall) {
                    running[index].wakes = now + below(180) as i64 * SECOND;
                }
                continue;
            }
            Some(Poll::Ready(Ok(summary))) => {
                outcome.published += summary.published;
                running.swap_remove(index);
                continue;
            }
            Some(Poll::Ready(Err(ref error))) => {
                *outcome.errors.entry(error.kind()).or_default() += 1;
            }
            Some(Poll::Pending) | None => outcome.crashes += 1,
        }
        // The future is dropped wherever it stands.
        let mut delivery = running.swap_remove(index).delivery;
        match RETRIES.get(delivery.failed) {
            Some(wait) => {
                delivery.failed += 1;
                order += 1;
                queue.insert((now + wait, order), delivery);
            }
            None => outcome.parked.push(delivery),
        }
    }
    outcome
}
