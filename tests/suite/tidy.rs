//! What a tool can hold: tables are complete, names agree, the README is true.

use std::{collections::BTreeSet, fs, path::Path};

use alb502::{
    config::SETTINGS,
    diagnosis::{
        causes::{CAUSES, LAMBDA_REASONS},
        checks::CHECKS,
        metrics::Metric,
    },
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The files of a folder that are one check or cause each, as ids.
fn files(folder: &str, others: &[&str]) -> BTreeSet<String> {
    fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !others.contains(&name.as_str()))
        .map(|name| name.replace('_', "-"))
        .collect()
}

#[test]
fn every_check_is_a_file_and_a_row() {
    let table: BTreeSet<String> = CHECKS.iter().map(|check| check.id.to_owned()).collect();
    assert_eq!(table.len(), CHECKS.len(), "an id stands twice");
    assert_eq!(table, files("src/diagnosis/checks", &["mod"]));
}

#[test]
fn every_cause_is_a_file_and_a_row() {
    let table: BTreeSet<String> = CAUSES.iter().map(|cause| cause.id.to_owned()).collect();
    assert_eq!(table.len(), CAUSES.len(), "an id stands twice");
    assert_eq!(table, files("src/diagnosis/causes", &["mod", "words"]));
    let reasons: BTreeSet<&str> = LAMBDA_REASONS.iter().map(|reason| reason.id).collect();
    assert_eq!(reasons.len(), LAMBDA_REASONS.len(), "a reason stands twice");
}

/// The rows of the README's table whose header begins so, as they stand.
pub(crate) fn table(header: &str) -> Vec<String> {
    let readme = read("README.md");
    let mut lines = readme.lines().skip_while(|line| !line.starts_with(header));
    assert!(lines.next().is_some(), "the README has no table {header}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(ToOwned::to_owned).collect()
}

#[test]
fn the_readme_tables_are_true() {
    let settings: Vec<String> = SETTINGS
        .iter()
        .map(|it| {
            format!(
                "| `{}` | `{}` | {} | {} | {} |",
                it.variable,
                it.flag(),
                it.default,
                it.allowed,
                it.meaning
            )
        })
        .collect();
    let checks: Vec<String> =
        CHECKS.iter().map(|check| format!("| {} | {} |", check.id, check.title)).collect();
    let mut causes: Vec<String> = Vec::new();
    for cause in CAUSES {
        if cause.id == "lambda" {
            causes.extend(LAMBDA_REASONS.iter().map(|it| {
                format!("| {} | {} | `error_reason` {} | {} |", it.id, it.title, it.code, it.fix)
            }));
        } else {
            causes.push(format!("| {} | {} |", cause.id, cause.title));
        }
    }
    let metrics: Vec<String> = Metric::ALL
        .into_iter()
        .map(|it| {
            let group = if it.is_of_target_group() { "TargetGroup, " } else { "" };
            format!("| {} | {} | {group}LoadBalancer |", it.name(), it.statistic())
        })
        .collect();
    assert_same("metrics", &table("| metric |"), &metrics);
    assert_same("settings", &table("| setting |"), &settings);
    assert_same("checks", &told("| check |", 3, &checks), &checks);
    assert_same("causes", &told("| cause |", 4, &causes), &causes);
}

/// The rows of a table, each cut to as many cells as the code knows; the others are for people, and are
/// there.
fn told(header: &str, cells: usize, truth: &[String]) -> Vec<String> {
    let rows = table(header);
    let known = |row: &str| row.matches('|').count() - 1;
    let cut = |(index, row): (usize, &String)| {
        let all: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(all.len() == cells && all.iter().all(|cell| 2 < cell.len()), "{row}");
        let kept = truth.get(index).map_or(cells, |truth| known(truth));
        format!("| {} |", all[..kept].join(" | "))
    };
    rows.iter().enumerate().map(cut).collect()
}

#[test]
fn prose_of_the_readme_can_be_read_as_it_stands() {
    // What most editors and pagers show without folding. Tables and blocks cannot be broken, and a quote
    // shows a message as it is.
    const COLUMNS: usize = 110;
    let readme = read("README.md");
    let mut is_block = false;
    for (number, line) in readme.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        is_block ^= line.starts_with("```");
        if is_block || line.starts_with(['|', '>']) || line.starts_with("```") {
            continue;
        }
        assert!(line.chars().count() <= COLUMNS, "line {number} is too long:\n{line}");
        assert!(
            line.matches('`').count().is_multiple_of(2),
            "line {number} ends within a code span:\n{line}"
        );
    }
}

/// Where a link to a heading leads: lower case, hyphens for spaces, without punctuation.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    heading.chars().filter(|it| it.is_alphanumeric() || *it == '-').collect()
}

#[test]
fn links_within_the_readme_lead_to_a_heading_and_every_chapter_has_one_at_the_top() {
    let readme = read("README.md");
    let of = |level: &str| -> BTreeSet<String> {
        readme.lines().filter(|line| line.starts_with(level)).map(anchor).collect()
    };
    let links = |text: &str| -> BTreeSet<String> {
        let links = text.split("](#").skip(1).filter_map(|it| it.split(')').next());
        links.map(ToOwned::to_owned).collect()
    };
    let nowhere: Vec<String> = links(&readme).difference(&of("##")).cloned().collect();
    assert!(nowhere.is_empty(), "{nowhere:?}");
    let opening = readme.split("\n## ").next().unwrap();
    let not_listed: Vec<String> = of("## ").difference(&links(opening)).cloned().collect();
    assert!(not_listed.is_empty(), "{not_listed:?}");
}

#[cfg(feature = "cli")]
#[test]
fn the_readme_names_every_type_of_error() {
    let told: Vec<String> = table("| error type |")
        .iter()
        .map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(told, alb502::handler::FailureKind::ALL.map(|kind| kind.as_str()));
}

pub(crate) fn assert_same(name: &str, readme: &[String], truth: &[String]) {
    assert!(readme == truth, "the README's table of {name} should be:\n{}", truth.join("\n"));
}

#[test]
fn nothing_at_the_top_level_that_nobody_agreed_on() {
    let agreed = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "template.yaml",
        "events",
        "tests",
        "Makefile",
        "README.md",
        "LICENSE",
        "target",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || agreed.contains(&name.as_str()), "{name}");
    }
}

/// Every file of the project that is text.
fn texts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !["target", ".git", ".venv", ".cache", "out"].contains(&name) {
                texts(&path, found);
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn files_can_be_read_in_one_sitting_and_tests_are_never_ignored() {
    let mut found = Vec::new();
    texts(&root().join("src"), &mut found);
    for (path, text) in found.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
        assert!(code.lines().count() <= 800, "{path} has {} lines", code.lines().count());
    }
    texts(&root().join("tests"), &mut found);
    let ignored = concat!("#[ign", "ore");
    for (path, text) in found.iter().filter(|(path, _)| path.ends_with(".rs")) {
        assert!(!text.contains(ignored), "{path}");
    }
}

#[test]
fn nothing_reads_outside_of_this_folder() {
    let mut found = Vec::new();
    texts(root(), &mut found);
    let outside = concat!("../sha", "red");
    for (path, text) in found {
        assert!(!text.contains(outside), "{path}");
    }
}
