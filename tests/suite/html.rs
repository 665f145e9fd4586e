//! The HTML report of every scenario: it tells all failures, and the same whatever the order of rows.

use alb502::notification::html::{Report, html};

use crate::{
    library::{LIBRARY, Told, objects, pictured, snapshot},
    scenarios::shuffled,
};

fn page(told: &Told, mix: bool) -> String {
    let objects = objects(&told.folder);
    let objects = if mix { shuffled(objects) } else { objects };
    let (incidents, reading) = pictured(&objects, snapshot(&told.folder).as_ref());
    for (diagnosis, pictures) in &incidents {
        let minutes = pictures.minutes.iter();
        let shown: u64 = minutes.flat_map(|minute| minute.by_cause.values()).sum();
        let all = match diagnosis.failures {
            0 => diagnosis.intentional_502,
            failures => failures,
        };
        assert_eq!(shown, all, "{}: failures over time", told.name);
        let ids: Vec<&str> = diagnosis.causes.iter().map(|cause| &*cause.id).collect();
        let told_causes = pictures.minutes.iter().flat_map(|minute| minute.by_cause.keys());
        assert!(told_causes.into_iter().all(|id| ids.contains(id)), "{}", told.name);
    }
    html(&Report { incidents: &incidents, quiet: "No incident.", reading: &reading, notes: &[] })
}

#[test]
fn every_scenario_has_a_page() {
    let mut largest = 0;
    for told in LIBRARY.iter().filter(|told| !told.is_large()) {
        let page = page(told, false);
        let incidents = page.matches("<article id=").count();
        assert_eq!(incidents, told.diagnoses.len(), "{}", told.name);
        assert_eq!(page.contains("<h2>No incident.</h2>"), incidents == 0, "{}", told.name);
        for cause in told.diagnoses.iter().flat_map(|diagnosis| &diagnosis.causes) {
            assert!(page.contains(&format!("<b>{}</b>", cause.id)), "{}", told.name);
        }
        largest = largest.max(page.len());
    }
    // An attachment that every mail system takes.
    assert!(largest < 500_000, "{largest}");
}

#[test]
fn the_order_of_objects_and_rows_does_not_change_the_page() {
    let names =
        ["keepalive-race-node", "blocked-port", "mixed-keepalive-malformed", "lambda-throttling"];
    for told in LIBRARY.iter().filter(|told| names.contains(&&*told.name)) {
        // A row's object may be another one only in which samples of equal rank are shown.
        assert!(page(told, false) == page(told, true), "{}", told.name);
    }
}
