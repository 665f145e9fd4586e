//! Whole pages: what stands in them, and that strangers cannot change what they are made of.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    detection::Bucket,
    diagnosis::{
        ObjectReport, ParserReport,
        pictures::{Gaps, MinuteFigure},
        probes::ProbeFigure,
    },
    notification::tests::diagnosis,
};

const HOSTILE: &str = "/\"><script>alert(1)</script><img src=x onerror=alert(2)>' style='x\u{202e}\
                       \u{200b}\u{1b}[31m</style></svg>&lt;";

fn pictures() -> Pictures {
    let minute = |number: i64, failed: u64| MinuteFigure {
        start: jiff::Timestamp::from_second(number * 60).unwrap(),
        requests: 50,
        by_cause: BTreeMap::from([("keepalive-race", failed), ("saturation", 1)]),
        before: 0,
    };
    Pictures {
        minutes: (0..30).map(|number| minute(number, number as u64 % 4)).collect(),
        answered: vec![Bucket { from: 0.016, to: 0.0175, rows: 900 }],
        failed: vec![0.0, 0.0, 0.02],
        failed_without: 2,
        gaps: Gaps {
            closed: vec![5.0, 5.01, 5.02, 5.1, 6.0],
            healthy: vec![0.1, 0.5, 1.0, 5.0, 40.0],
            closed_requests: 5,
            healthy_requests: 5,
            unknown: 1,
            is_latest: true,
        },
    }
}

/// A page whose every text of a stranger is `stranger`, and every sentence holds `words`.
fn page(stranger: &str, words: &str, incidents: usize) -> String {
    let incident = || {
        let mut diagnosis = diagnosis(stranger, words, 4);
        diagnosis.window.end = jiff::Timestamp::from_second(30 * 60).unwrap();
        (diagnosis, pictures())
    };
    let incidents: Vec<_> = (0..incidents).map(|_| incident()).collect();
    let object = ObjectReport {
        name: stranger.to_owned(),
        kind: words.to_owned(),
        node: Some(stranger.to_owned()),
        lines: 1,
        entries: 0,
        malformed: 1,
        error: Some(words.to_owned()),
    };
    let reading = Reading { parser: ParserReport::default(), objects: vec![object] };
    let quiet = format!("No incident: {words}\nMore.\n  1 x {words}\nRead.\n");
    html(&Report {
        incidents: &incidents,
        quiet: &quiet,
        reading: &reading,
        notes: &[words.to_owned()],
    })
}

/// The tags of a page with their attributes, but for what is quoted in them.
fn tags(page: &str) -> Vec<String> {
    let (head, style_and_body) = page.split_once("<style>").unwrap();
    let (_, body) = style_and_body.split_once("</style>").unwrap();
    let parts = head.split('<').chain(body.split('<')).skip(1);
    parts
        .filter_map(|part| part.split_once('>'))
        .map(|(tag, _)| {
            let outside = tag.split('"').step_by(2).collect::<Vec<_>>();
            outside.join("\"\"")
        })
        .collect()
}

/// The page of an incident whose keep-alive timeout was inferred, with probes that measured so many seconds.
fn probed(measured: &[f64], inferred: bool) -> String {
    let mut diagnosis = diagnosis("/cart", "Words.", 1);
    diagnosis.facts.keep_alive_timers.truncate(usize::from(inferred));
    diagnosis.facts.probes = measured
        .iter()
        .map(|seconds| ProbeFigure {
            keep_alive_seconds: Some(*seconds),
            ..crate::notification::probed::tests::probe("10.0.1.5:8080", "It closed.")
        })
        .collect();
    html(&Report {
        incidents: &[(diagnosis, pictures())],
        quiet: "",
        reading: &Reading::default(),
        notes: &[],
    })
}

#[test]
fn a_measured_timeout_is_marked_beside_the_inferred_one() {
    let both = probed(&[6.0], true);
    assert!(both.contains(">inferred 5 s</text>") && both.contains(">measured 6 s</text>"));
    assert!(both.contains("A probe measured a timeout of 6 s."));
    let several = probed(&[6.0, 2.0], true);
    assert!(several.contains("A probe measured a timeout of 2 s to 6 s."));
    let measured = probed(&[6.0], false);
    assert!(measured.contains(">measured 6 s</text>") && !measured.contains("inferred 5"));
    let inferred = probed(&[], true);
    assert!(inferred.contains(">timeout, about 5 s</text>") && !inferred.contains("measured"));
    assert!(!inferred.contains("<h3>Probe</h3>"));
}

#[test]
fn the_page_is_made_of_what_this_program_writes() {
    for incidents in [0, 1, 2] {
        let page = page(HOSTILE, HOSTILE, incidents);
        let names: BTreeSet<String> = tags(&page)
            .iter()
            .map(|tag| tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned())
            .collect();
        let known = "!DOCTYPE html head meta title body header main footer nav article section figure \
                     h1 h2 h3 h4 h5 p br b i small span bdi code pre a ul ol li dl div dt dd details \
                     summary table thead tbody tr th td svg rect line text desc";
        let known: BTreeSet<&str> = known.split_whitespace().collect();
        assert!(names.iter().all(|name| known.contains(&**name)), "{names:?}");
        for tag in tags(&page) {
            let attributes = tag.split(' ').skip(1).filter_map(|it| it.split_once('='));
            for (attribute, _) in attributes {
                assert!(!attribute.starts_with("on") && attribute != "style", "{tag}");
                assert!(!["src", "srcset", "action", "xlink:href"].contains(&attribute), "{tag}");
            }
        }
        for link in page.split("href=\"").skip(1) {
            assert!(link.starts_with("#incident-"), "{link}");
        }
        assert!(!page.contains("url("), "the style loads something");
        assert!(!page.chars().any(|c| c != '\n' && crate::neutralize::is_invisible(c)));
    }
}

#[test]
fn every_element_ends_where_it_should() {
    for incidents in [0, 1, 3] {
        let mut open: Vec<String> = Vec::new();
        for tag in tags(&page("/cart", "Words.", incidents)) {
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') && !["!DOCTYPE", "meta", "br"].contains(&&*name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn names_of_elements_are_told_once() {
    let page = page("/cart", "Words.", 3);
    let names: Vec<&str> =
        page.split(" id=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(names.len(), once.len(), "{names:?}");
    for labels in page.split("aria-labelledby=\"").skip(1).filter_map(|it| it.split('"').next()) {
        assert!(labels.split(' ').all(|label| once.contains(label)), "{labels}");
    }
}

#[test]
fn every_part_stands_in_the_page_the_answer_first() {
    let page = page("/cart", "Words.", 1);
    let places: Vec<Option<usize>> = [
        "<h2>",
        "What to do",
        "Why the targets still show Healthy",
        "<h3>Why<",
        "Over time",
        "Idle time before closed requests",
        "Time that targets took to answer",
        "<h3>Targets",
        "<h3>Paths",
        "<h3>Checks",
        "What could not be seen",
        "Some failed requests",
        "What was read",
    ]
    .iter()
    .map(|part| page.find(part))
    .collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    for said in [
        "keepalive-race: 43 failures",
        "other causes: 30 failures",
        "00:00 to 00:30 UTC, by minute; all failures have one scale.",
        "Inferred timeout of 4 targets: about 5 s (4.9 s to 5.2 s, 38 gaps).",
        "1 closed request had no known answer before",
        "2 of 5 failed rows have none (-1)",
        "These numbers as a table",
        ">5 s</text>",
    ] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn a_quiet_run_says_so() {
    let page = page("/cart", "0 of 100 requests failed (0 %).", 0);
    for said in [
        "<title>No incident: 0 of 100 requests failed (0 %).</title>",
        "<h2>No incident: 0 of 100 requests failed (0 %).</h2>",
        "<p>More.</p>\n<ul><li>1 x 0 of 100",
        "What was read",
    ] {
        assert!(page.contains(said), "{said}:\n{page}");
    }
}

#[test]
fn several_incidents_have_a_list_on_top() {
    let page = page("shop-web", "Words.", 3);
    assert!(page.contains("<h2>3 incidents</h2>"));
    for number in 1..=3 {
        let link = page.find(&format!("href=\"#incident-{number}\"")).unwrap();
        let incident = page.find(&format!("<article id=\"incident-{number}\"")).unwrap();
        assert!(link < page.find("<article").unwrap() && link < incident);
    }
}

#[test]
fn no_minute_and_no_time_leave_no_chart() {
    let report = Report {
        incidents: &[(diagnosis("/cart", "Words.", 1), Pictures::default())],
        quiet: "",
        reading: &Reading::default(),
        notes: &[],
    };
    let page = html(&report);
    assert!(!page.contains("Over time") && !page.contains("Idle time before"), "{page}");
    assert!(page.contains("No request of this incident has one."));
}

proptest! {
    #[test]
    fn strangers_do_not_change_what_the_page_is_made_of(
        stranger in "(?s).{0,300}",
        words in "[<>\"'&=/a-z\u{202e}\u{300} \\PC]{0,80}",
    ) {
        prop_assert_eq!(tags(&page(&stranger, &words, 2)), tags(&page("x", "y", 2)));
        prop_assert_eq!(tags(&page(&stranger, &words.replace('\n', " "), 0)), tags(&page("x", "y", 0)));
    }
}
