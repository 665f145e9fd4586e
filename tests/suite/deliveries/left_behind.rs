//! What was left in the ledger long before: looked at once, and told with what is missing.

use alb502::{
    diagnosis::Phase,
    incident::{Lease, Open, Record, Told},
    ports::{Ledger as _, Saved},
};

use super::{
    config,
    drive::{Delivery, run},
    story::{self, Part, SECOND},
    told::now,
    world::{Faults, World},
};

/// Delivers the objects, one after the other, into a ledger that holds this record.
fn after(record: &Record, objects: Vec<story::Object>) -> World {
    let deliver = |(object, id): (&story::Object, u64)| Delivery {
        at: object.end() + 60 * SECOND,
        keys: vec![object.key.clone()],
        failed: 0,
        request_id: id,
    };
    let deliveries = objects.iter().zip(1..).map(deliver).collect();
    let world = World::new(objects, 1, Faults::default());
    assert_eq!(now(world.ledger.save(record)).unwrap(), Saved::Saved);
    run(&world, &config(), deliveries, 40);
    world
}

fn record() -> Record {
    let (shop, group) = (story::id("shop"), story::arn("shop-web"));
    Record { version: 1, ..Record::new(&shop, Some(&group)) }
}

#[test]
fn a_lease_without_an_incident_is_given_back_by_whoever_finds_nothing_to_say() {
    let objects: Vec<_> = (0..24).map(|it| story::object(1, it, &[Part::default()])).collect();
    // It died while it looked for a trickle: nothing is open.
    let lease = Lease { owner: "request-0".to_owned(), until: objects[0].end() };
    let world = after(&Record { lease: Some(lease), ..record() }, objects);
    assert_eq!(now(world.ledger.records(&story::id("shop"))).unwrap()[0].lease, None);
    let calls = world.calls.into_inner();
    assert_eq!((calls["records"], calls["observations"], calls["save"]), (25, 2, 1));
}

#[test]
fn an_incident_older_than_the_ledger_says_since_when_it_counts() {
    // It began a week ago; the ledger knows it from 12:00 on.
    for (began, expected) in [(-2016, Some("rows before 2026-11-20 12:00 UTC")), (0, None)] {
        let last = story::FIRST_WINDOW + 1;
        let open = Open {
            id: "alb502-000000000000".to_owned(),
            first: story::FIRST_WINDOW + began,
            last,
            told: Some(Told { at: story::object(1, 0, &[]).end(), rate: 1.0, last }),
            causes: vec!["connect-refused".to_owned()],
            reviewed: last,
            signatures: vec![0],
            attributed: 0,
            usual_rate: None,
            idle: None,
        };
        let failed = |window| if window < 2 { 9 } else { 0 };
        let part = |window| Part { failed: failed(window), ..Part::default() };
        let objects = (0..8).map(|it| story::object(1, it, &[part(it)])).collect();
        let world = after(&Record { open: Some(open), ..record() }, objects);
        let messages = world.messages.into_inner();
        let over = &messages.last().unwrap().diagnosis;
        assert_eq!((over.phase, over.failures), (Phase::Resolved, 18));
        let gap = over.gaps.iter().find(|it| it.fact.starts_with("rows"));
        assert_eq!(gap.map(|it| it.fact.as_str()), expected);
    }
}
