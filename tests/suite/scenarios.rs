//! What each folder of the library must give: the causes, and the message word for word.
use std::{collections::BTreeSet, fs};

use alb502::{
    diagnosis::{
        Confidence, Diagnosis,
        causes::{CAUSES, LAMBDA_REASONS},
    },
    notification::text,
};
use expect_test::expect_file;

use crate::library::{LIBRARY, Object, Scenario, diagnoses, objects, scenario, snapshot};

/// A mechanism with less of the failures may go unnamed.
const NOTABLE_SHARE: f64 = 0.15;

/// A mechanism that has no cause of its own has no name to be found by.
fn is_cause(label: &str) -> bool {
    CAUSES.iter().any(|cause| cause.id == label)
        || LAMBDA_REASONS.iter().any(|reason| reason.id == label)
}

/// The same permutation for the same lines.
fn shuffle(lines: &mut [&[u8]]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for at in (1..lines.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        lines.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

/// Objects from the last to the first, the rows of each in any order. A damaged object stays as it is.
pub(crate) fn shuffled(mut objects: Vec<Object>) -> Vec<Object> {
    objects.reverse();
    for object in &mut objects {
        if let Some(plain) = object.plain() {
            let mut lines: Vec<&[u8]> = plain.split_inclusive(|byte| *byte == b'\n').collect();
            shuffle(&mut lines);
            object.bytes = lines.concat();
        }
    }
    objects
}

fn message(diagnoses: &[Diagnosis]) -> String {
    if diagnoses.is_empty() {
        return "quiet\n".to_owned();
    }
    let texts: Vec<String> = diagnoses.iter().map(text::text).collect();
    texts.join(&format!("\n{}\n\n", "=".repeat(78)))
}

fn json(diagnoses: &[Diagnosis]) -> String {
    serde_json::to_string_pretty(diagnoses).unwrap() + "\n"
}

/// What is wrong with the diagnoses, whatever the expected files say.
fn judge(scenario: &Scenario, diagnoses: &[Diagnosis]) -> Vec<String> {
    let mut wrong = Vec::new();
    let causes = || diagnoses.iter().flat_map(|diagnosis| &diagnosis.causes);
    let shares: String = causes()
        .map(|cause| format!(" {} {:.2} {:?}", cause.id, cause.share, cause.confidence))
        .collect();
    let first = diagnoses.first().and_then(|d| d.causes.first()).map(|cause| cause.id.as_str());
    let named: BTreeSet<&str> = causes().map(|cause| cause.id.as_str()).collect();
    let (mut excused, mut overstated) = (BTreeSet::new(), BTreeSet::new());

    if let (None, Some(expected)) = (first, scenario.first_cause.as_deref()) {
        if scenario.missed.contains_key(expected) {
            excused.insert(expected);
        } else {
            wrong.push("quiet, but there is an incident".to_owned());
        }
    } else if scenario.first_cause.is_none() && first.is_some() {
        wrong.push(format!("not quiet:{shares}"));
    } else if first != scenario.first_cause.as_deref() {
        let expected = scenario.first_cause.as_deref().unwrap_or_default();
        if scenario.missed.contains_key(expected) {
            excused.insert(expected);
        } else {
            wrong.push(format!("first cause is not {expected}:{shares}"));
        }
    }
    let total: u64 = scenario.failures.values().sum();
    for label in scenario.labels.iter().filter(|_| !diagnoses.is_empty()) {
        let count = scenario.failures.get(label).copied().unwrap_or(0);
        let notable = NOTABLE_SHARE <= count as f64 / total.max(1) as f64;
        if !notable || !is_cause(label) || named.contains(label.as_str()) {
            continue;
        }
        if scenario.missed.contains_key(label) {
            excused.insert(label.as_str());
        } else {
            wrong.push(format!("{label} ({count} of {total} failures) is not named:{shares}"));
        }
    }
    for cause in causes() {
        let is_label = scenario.labels.contains(&cause.id);
        if cause.confidence != Confidence::High || is_label {
            continue;
        }
        if scenario.overstated.contains_key(&cause.id) {
            overstated.insert(cause.id.as_str());
        } else {
            wrong.push(format!("sure of {}, which did not happen:{shares}", cause.id));
        }
    }
    for diagnosis in diagnoses {
        let sum: f64 = diagnosis.causes.iter().map(|cause| cause.share).sum();
        if 1e-9 < (sum - 1.0).abs() {
            wrong.push(format!("shares sum to {sum}:{shares}"));
        }
    }
    for label in scenario.missed.keys().filter(|label| !excused.contains(label.as_str())) {
        wrong.push(format!("{label} is listed as missed, but it is found:{shares}"));
    }
    for id in scenario.overstated.keys().filter(|id| !overstated.contains(id.as_str())) {
        wrong.push(format!("{id} is listed as overstated, but it is not:{shares}"));
    }
    wrong
}

#[test]
fn every_scenario_is_diagnosed_as_expected() {
    let mut problems = Vec::new();
    assert!(100 <= LIBRARY.len(), "the library is gone");
    for told in &*LIBRARY {
        let wrong = judge(&told.scenario, &told.diagnoses);
        problems.extend(wrong.iter().map(|wrong| format!("{}: {wrong}", told.name)));
        if told.scenario.about.is_empty() {
            problems.push(format!("{}: does not say what it is about", told.name));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn a_folder_with_something_else_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = scenario(folder.path()).unwrap_err();
    assert!(error.starts_with("scenario.json: "), "{error}");
    let json = r#"{"about": "a", "simulate": null, "labels": [], "first_cause": null}"#;
    fs::write(folder.path().join("scenario.json"), json).unwrap();
    assert!(scenario(folder.path()).is_ok());
    fs::write(folder.path().join("expected.text"), "").unwrap();
    assert_eq!(scenario(folder.path()).unwrap_err(), "unknown file expected.text");
}

#[test]
fn every_list_of_figures_adds_up_to_the_incident() {
    let mut lists = 0;
    for told in &*LIBRARY {
        for diagnosis in &told.diagnoses {
            let whole = serde_json::to_value(diagnosis).unwrap();
            for list in ["targets", "paths_by_failures", "methods", "nodes", "types"] {
                let rows = whole["facts"][list].as_array().unwrap();
                let sum =
                    |name: &str| rows.iter().filter_map(|row| row[name].as_u64()).sum::<u64>();
                let (found, expected) =
                    ((sum("requests"), sum("failures")), (diagnosis.requests, diagnosis.failures));
                assert!(rows.is_empty() || found == expected, "{}: {list}", told.name);
                lists += usize::from(!rows.is_empty());
            }
            let of = |signature: &str| diagnosis.facts.signatures.get(signature).copied();
            let all: u64 = diagnosis.facts.signatures.values().sum();
            assert_eq!(all - of("intentional").unwrap_or(0), diagnosis.failures, "{}", told.name);
        }
    }
    assert!(100 < lists, "{lists}");
}

#[test]
fn every_scenario_gives_the_expected_message() {
    for told in &*LIBRARY {
        expect_file![told.folder.join("expected.txt")].assert_eq(&message(&told.diagnoses));
        expect_file![told.folder.join("expected.json")].assert_eq(&json(&told.diagnoses));
    }
}

#[test]
fn neither_the_order_of_objects_nor_of_rows_changes_the_message() {
    let mut different = Vec::new();
    for told in LIBRARY.iter().filter(|told| !told.is_large()) {
        let objects = shuffled(objects(&told.folder));
        let shuffled = diagnoses(&objects, snapshot(&told.folder).as_ref());
        if message(&told.diagnoses) != message(&shuffled)
            || json(&told.diagnoses) != json(&shuffled)
        {
            let (a, b) = (json(&told.diagnoses), json(&shuffled));
            let line = a.lines().zip(b.lines()).find(|(a, b)| a != b);
            different.push(format!("{}: {line:?}", told.name));
        }
    }
    assert!(different.is_empty(), "\n{}\n", different.join("\n"));
}
