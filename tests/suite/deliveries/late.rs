//! Objects that come later than anybody waits for: counted, and said no more.

use alb502::diagnosis::Phase;

use super::{
    config,
    drive::{Delivery, run},
    story::{self, Object, Part, SECOND},
    told::check_ledger,
    world::{Faults, World},
};

const HOUR: i64 = 3600 * SECOND;

/// Six nodes; windows 2 and 3 fail.
fn objects() -> Vec<Object> {
    (0..10)
        .flat_map(|window| {
            let failed = if (2..4).contains(&window) { 3 } else { 0 };
            let part = Part { failed, ..Part::default() };
            (1..=6).map(move |node| story::object(node, window, std::slice::from_ref(&part)))
        })
        .collect()
}

/// Delivers the objects; those that are `late` only after so many hours. Gives back phase, failures and
/// requests of every message.
fn told(late: impl Fn(&Object) -> Option<i64>) -> Vec<(Phase, u64, u64)> {
    let objects = objects();
    let deliver = |(object, id): (&Object, u64)| Delivery {
        at: object.end() + 60 * SECOND + late(object).unwrap_or(0) * HOUR,
        keys: vec![object.key.clone()],
        failed: 0,
        request_id: id,
    };
    let deliveries = objects.iter().zip(1..).map(deliver).collect();
    let of = (story::id("shop"), story::arn("shop-web"));
    let all = story::add_up(objects.iter(), &of);
    let world = World::new(objects, 1, Faults::default());
    run(&world, &config(), deliveries, 40);
    check_ledger(&world, &of, &all);
    let messages = world.messages.into_inner().into_iter();
    messages.map(|it| (it.diagnosis.phase, it.diagnosis.failures, it.diagnosis.requests)).collect()
}

fn fails(object: &Object) -> bool {
    object.tallies.values().any(|tally| 0 < tally.failures)
}

fn is_of_node(object: &Object, node: u64) -> bool {
    object.key.contains(&format!("_192.0.2.{node}_"))
}

#[test]
fn objects_after_the_end_are_counted_and_silent() {
    let in_time = told(|_| None);
    assert_eq!(in_time.first().map(|it| it.0), Some(Phase::Opened));
    assert_eq!(in_time.last(), Some(&(Phase::Resolved, 36, 156)));
    let late = told(|object| (is_of_node(object, 6) && fails(object)).then_some(3));
    assert_eq!(late.last(), Some(&(Phase::Resolved, 30, 130)), "without the late ones");
    let resolved = late.iter().filter(|it| it.0 == Phase::Resolved).count();
    assert_eq!((late[0].0, resolved, late.len()), (Phase::Opened, 1, in_time.len()));
}

#[test]
fn what_comes_within_a_day_is_told_and_what_comes_later_is_not() {
    // All objects late: the incident begins and ends for those who watch now.
    let within = told(|_| Some(22));
    assert_eq!(within.first().map(|it| it.0), Some(Phase::Opened));
    assert_eq!(within.last(), Some(&(Phase::Resolved, 36, 156)));
    assert_eq!(told(|_| Some(24)), []);
}
