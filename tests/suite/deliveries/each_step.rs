//! A small story, with one mishap at each single step in turn.

use super::{
    config,
    drive::{Delivery, Outcome, run},
    story::{self, Object, SECOND},
    told::{Figures, check},
    world::{Faults, Mishap, World},
};

/// Two nodes; one healthy window, some that fail, six healthy ones and more.
fn objects(failing: i64) -> Vec<Object> {
    (0..9)
        .flat_map(|window| {
            let failed = if (1..1 + failing).contains(&window) { 4 } else { 0 };
            let part = story::Part { answered: 20, failed, ..story::Part::default() };
            [1, 2].map(|node| story::object(node, window, std::slice::from_ref(&part)))
        })
        .collect()
}

/// One after the other, the second node half a minute after the first.
fn deliveries(objects: &[Object]) -> Vec<Delivery> {
    let one = |(object, index): (&Object, u64)| Delivery {
        at: object.end() + 60 * SECOND + (index % 2) as i64 * 30 * SECOND,
        keys: vec![object.key.clone()],
        failed: 0,
        request_id: index,
    };
    objects.iter().zip(0..).map(one).collect()
}

fn with(failing: i64, mishap: Option<(u64, Mishap)>, retried: bool) -> (World, Outcome) {
    let objects = objects(failing);
    let mut deliveries = deliveries(&objects);
    if !retried {
        // No attempt is left.
        for delivery in &mut deliveries {
            delivery.failed = 2;
        }
    }
    let mut world = World::new(objects, 1, Faults::default());
    world.mishap = mishap;
    let outcome = run(&world, &config(), deliveries, 40);
    (world, outcome)
}

fn each_step(failing: i64, mishap: Mishap, retried: bool) {
    let (world, outcome) = with(failing, None, retried);
    let quiet = check(&world, &outcome);
    let steps = world.steps.get();
    let mut all = Figures::default();
    for step in 1..=steps {
        let (world, outcome) = with(failing, Some((step, mishap)), retried);
        let failed = outcome.crashes + outcome.errors.values().sum::<u64>();
        assert!(failed <= 1, "one mishap, {failed} failures");
        println!("{mishap:?} at step {step}");
        all.add(&check(&world, &outcome));
    }
    println!("{mishap:?} at each of {steps} steps, retried: {retried}; without: {quiet}; {all}");
}

#[test]
fn a_crash_at_any_step_loses_nothing() {
    each_step(2, Mishap::Crash, true);
}

#[test]
fn a_crash_at_any_step_that_nobody_repeats_loses_no_incident() {
    each_step(2, Mishap::Crash, false);
}

#[test]
fn a_failure_of_any_call_loses_nothing() {
    each_step(2, Mishap::Failure, true);
}

#[test]
fn a_failure_of_any_call_that_nobody_repeats_loses_no_incident() {
    each_step(2, Mishap::Failure, false);
}

#[test]
fn a_copy_that_is_overtaken_at_any_step_loses_nothing() {
    // Neither object of the one window is an incident by itself.
    each_step(1, Mishap::Pause, true);
    each_step(2, Mishap::Pause, true);
}
