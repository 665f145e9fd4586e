//! How good is it? What happened in each scenario, what can be said from the data, what is said.
//!
//! `UPDATE_EXPECT=1 cargo test --test suite` writes the block into the README.
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use alb502::diagnosis::Confidence;

use crate::{
    by_hand,
    library::{LIBRARY, Told, objects, snapshot},
    tidy,
};

const BEGIN: &str = "<!-- library: written by the tests -->\n```text\n";
const END: &str = "```\n<!-- library: end -->";

/// The answers to the scenarios in which the same happened and the same can be said.
#[derive(Default)]
struct Row {
    scenarios: usize,
    right: usize,
    instead: BTreeMap<String, usize>,
    right_by_hand: usize,
    instead_by_hand: BTreeMap<String, usize>,
}

/// How often a first cause of a confidence is right, and how often wrong.
#[derive(Default)]
struct Sureness {
    right: usize,
    wrong: usize,
}

fn said(told: &Told) -> &str {
    let first = told.diagnoses.first().and_then(|diagnosis| diagnosis.causes.first());
    first.map_or("quiet", |cause| cause.id.as_str())
}

fn expected(told: &Told) -> &str {
    told.scenario.first_cause.as_deref().unwrap_or("quiet")
}

fn happened(told: &Told) -> String {
    match told.scenario.labels.as_slice() {
        [] => "nothing".to_owned(),
        labels => labels.join(" + "),
    }
}

fn counts(counts: &BTreeMap<String, usize>) -> String {
    let mut list: Vec<_> = counts.iter().collect();
    list.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let list: Vec<String> = list.iter().map(|(name, count)| format!("{name} {count}")).collect();
    list.join(", ")
}

/// Lines without the spaces at their ends.
fn line(text: &mut String, cells: std::fmt::Arguments<'_>) {
    let cells = cells.to_string();
    writeln!(text, "{}", cells.trim_end()).unwrap();
}

fn matrix() -> String {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let mut sureness: BTreeMap<Confidence, Sureness> = BTreeMap::new();
    let (mut incidents, mut right, mut right_by_hand) = (0, 0, 0);
    let (mut quiet, mut quiet_right) = (0, 0);
    for told in &*LIBRARY {
        let (expected, said) = (expected(told), said(told));
        let row = rows.entry((happened(told), expected.to_owned())).or_default();
        row.scenarios += 1;
        let is_right = said == expected;
        match is_right {
            true => row.right += 1,
            false => *row.instead.entry(said.to_owned()).or_default() += 1,
        }
        if expected == "quiet" {
            quiet += 1;
            quiet_right += usize::from(is_right);
        } else {
            incidents += 1;
            right += usize::from(is_right);
            let hand = by_hand::cause(&objects(&told.folder), snapshot(&told.folder).as_ref());
            if hand == expected {
                row.right_by_hand += 1;
                right_by_hand += 1;
            } else {
                *row.instead_by_hand.entry(hand).or_default() += 1;
            }
        }
        if let Some(cause) = told.diagnoses.first().and_then(|it| it.causes.first()) {
            let sure = sureness.entry(cause.confidence).or_default();
            match is_right {
                true => sure.right += 1,
                false => sure.wrong += 1,
            }
        }
    }
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "{:46} {:18} {:>9} {:>6} {:>7}  said instead",
            "what happened", "what can be said", "scenarios", "alb502", "by hand"
        ),
    );
    for ((happened, expected), row) in &rows {
        let hand = match expected.as_str() {
            "quiet" => String::new(),
            _ => row.right_by_hand.to_string(),
        };
        let can = if happened == expected { "the same" } else { expected };
        let instead = [("alb502", &row.instead), ("by hand", &row.instead_by_hand)]
            .into_iter()
            .filter(|(_, said)| !said.is_empty())
            .map(|(who, said)| format!("{who}: {}", counts(said)))
            .collect::<Vec<_>>()
            .join("; ");
        let (n, right) = (row.scenarios, row.right);
        line(
            &mut text,
            format_args!("{happened:46} {can:18} {n:>9} {right:>6} {hand:>7}  {instead}"),
        );
    }
    text.push('\n');
    line(
        &mut text,
        format_args!("first cause right: alb502 {right} of {incidents}, by hand {right_by_hand}"),
    );
    line(&mut text, format_args!("quiet where nothing is to be said: {quiet_right} of {quiet}"));
    text.push('\n');
    line(
        &mut text,
        format_args!("{:27} {:>5} {:>5}", "confidence of first cause", "right", "wrong"),
    );
    for (confidence, sure) in sureness.iter().rev() {
        let name = format!("{confidence:?}").to_lowercase();
        line(&mut text, format_args!("{name:27} {:>5} {:>5}", sure.right, sure.wrong));
    }
    text
}

/// What is not found, and what is said too loudly, each with its reason.
fn misses() -> String {
    let mut text = String::new();
    for told in &*LIBRARY {
        for (what, reasons) in
            [("missed", &told.scenario.missed), ("overstated", &told.scenario.overstated)]
        {
            for (cause, reason) in reasons {
                writeln!(text, "{}: {what} {cause}: {reason}", told.name).unwrap();
            }
        }
    }
    text
}

#[test]
fn the_readme_says_how_good_it_is() {
    let matrix = matrix();
    println!("{matrix}\n{}", misses());
    let readme = tidy::read("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the README has no block of the library");
    let (block, after) = rest.split_once(END).expect("the block of the library has no end");
    if block == matrix {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "the README's block of the library should be:\n{matrix}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::write(path, format!("{before}{BEGIN}{matrix}{END}{after}")).unwrap();
}
