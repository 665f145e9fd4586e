//! Many copies of the function, late, doubled, interrupted and refused: one truthful story per incident.
//!
//! The handler of the Lambda runs over a ledger and a topic that wait before and after each effect. A
//! driver with a seed decides which copy goes on, which call fails and which copy dies. There are no
//! threads and no clock: the same seed is the same run. `ALB502_SEEDS=0..500 cargo test` tries many.

mod chance;
mod drive;
mod each_step;
mod late;
mod left_behind;
pub(crate) mod story;
mod told;
mod world;

use std::{collections::BTreeMap, io};

use alb502::{config::Config, diagnosis::Diagnosis, ports::Metrics};
use chance::Chance;
use drive::{Delivery, Outcome, run};
use serde_json::Value;
use story::{Object, SECOND};
use told::{Figures, check};
use world::{Faults, World};

/// Thirty nodes, each with an object every five minutes for an hour and a quarter.
const NODES: u64 = 30;
const WINDOWS: [i64; 3] = [3, 4, 8];

/// Nobody looks at the metrics here: they have tests of their own.
#[derive(Debug)]
pub(crate) struct NotMeasured;

impl Metrics for NotMeasured {
    fn function(&self) -> &str {
        "alb502"
    }

    fn put(&self, _: &Value) -> io::Result<()> {
        Ok(())
    }
}

fn config() -> Config {
    Config::from_lookup(|_| None).unwrap()
}

/// The objects as S3 tells of them: late by up to `latest` after the end of their window, in any order,
/// some of them twice, some together.
fn deliveries(chance: &mut Chance, objects: &[Object], latest: i64, doubled: f64) -> Vec<Delivery> {
    let mut shuffled: Vec<&Object> = objects.iter().collect();
    chance.shuffle(&mut shuffled);
    // In some runs the nodes deliver all at once, in others over minutes.
    let spread = [3 * SECOND, 60 * SECOND, latest][chance.below(3) as usize].min(latest);
    let mut deliveries: Vec<Delivery> = Vec::new();
    for object in shuffled {
        let late = (latest - spread).min(60 * SECOND) + chance.below(spread as u64) as i64;
        let at = object.end() + late;
        let together = deliveries
            .last_mut()
            .filter(|it| it.keys.len() < 3 && it.at < at && at < it.at + 60 * SECOND);
        match together {
            Some(other) if chance.happens(0.3) => {
                // The event is sent when its last object is there.
                other.at = at;
                other.keys.push(object.key.clone());
            }
            _ => {
                deliveries.push(Delivery {
                    at,
                    keys: vec![object.key.clone()],
                    failed: 0,
                    request_id: 0,
                });
            }
        }
    }
    for index in 0..deliveries.len() {
        if chance.happens(doubled) {
            let mut again = deliveries[index].clone();
            again.at += chance.below(1200 * SECOND as u64) as i64;
            deliveries.push(again);
        }
    }
    for (delivery, id) in deliveries.iter_mut().zip(1..) {
        delivery.request_id = id;
    }
    deliveries
}

/// What goes wrong in the run of a seed: every fourth is without faults, and one has them all.
fn faults(seed: u64) -> Faults {
    let dying = Faults { crash: 0.006, stall: 0.001, ..Faults::default() };
    let refusing = Faults {
        throttled: 0.006,
        lost: 0.004,
        refused: 0.15,
        lost_message: 0.1,
        ..Faults::default()
    };
    match seed % 4 {
        0 => Faults::default(),
        1 => dying,
        2 => refusing,
        _ => Faults { crash: dying.crash, stall: dying.stall, ..refusing },
    }
}

/// What happens in the run of a seed.
fn objects(seed: u64, chance: &mut Chance) -> Vec<Object> {
    match seed / 4 % 4 {
        0 => story::one_incident(chance, NODES, WINDOWS),
        1 => story::small_incident(chance),
        2 => story::two_incidents(chance),
        _ => story::several_groups(chance),
    }
}

fn one_run(seed: u64) -> (World, Outcome) {
    let mut chance = Chance::new(seed);
    let objects = objects(seed, &mut chance);
    let deliveries = deliveries(&mut chance, &objects, 540 * SECOND, 0.15);
    let world = World::new(objects, !seed, faults(seed));
    let outcome = run(&world, &config(), deliveries, 40);
    (world, outcome)
}

/// `ALB502_SEEDS=FROM..TO`, or a few.
#[expect(clippy::disallowed_methods, reason = "a test: more seeds are tried by hand")]
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("ALB502_SEEDS") else { return 0..16 };
    let (from, to) = text.split_once("..").expect("ALB502_SEEDS=FROM..TO");
    from.parse().unwrap()..to.parse().unwrap()
}

/// What is told of an incident that lasts for an hour and a half, and gets ten times worse.
pub(crate) fn a_long_incident() -> Vec<Diagnosis> {
    let part = |window: i64| {
        let (answered, failed) = match window {
            1..=14 => (200, 5),
            15..=17 => (100, 90),
            _ => (200, 0),
        };
        story::object(1, window, &[story::Part { answered, failed, ..story::Part::default() }])
    };
    let objects: Vec<Object> = (0..22).map(part).collect();
    let deliver = |(object, request_id): (&Object, u64)| Delivery {
        at: object.end() + 60 * SECOND,
        keys: vec![object.key.clone()],
        failed: 0,
        request_id,
    };
    let deliveries = objects.iter().zip(1..).map(deliver).collect();
    let world = World::new(objects, 1, Faults::default());
    run(&world, &config(), deliveries, 40);
    world.messages.into_inner().into_iter().map(|it| it.diagnosis).collect()
}

#[test]
fn thirty_nodes_delivered_anyhow_are_one_incident() {
    let mut all = Figures::default();
    for seed in seeds() {
        println!("seed {seed}");
        let (world, outcome) = one_run(seed);
        let figures = check(&world, &outcome);
        println!("  {figures}");
        all.add(&figures);
    }
    println!("all: {all}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let told = |seed: u64| {
        let (world, outcome) = one_run(seed);
        let messages = world.messages.into_inner();
        let told: Vec<_> = messages.into_iter().map(|it| (it.diagnosis, it.is_marked)).collect();
        (told, outcome.crashes, world.calls.into_inner())
    };
    let (a, b): (_, (_, _, BTreeMap<_, _>)) = (told(3), told(3));
    assert_eq!(a, b);
}
