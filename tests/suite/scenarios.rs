//! The scenario library, `tests/scenarios/`: a folder is a test.
//!
//! | in the folder | |
//! |---|---|
//! | `scenario.json` | how it was made, what really happened, what can be said about it |
//! | `logs/` | the objects as the load balancer delivers them |
//! | `snapshot/` | the configuration as the AWS CLI prints it; may be missing, or lack files |
//! | `expected.txt`, `expected.json` | the message; `UPDATE_EXPECT=1 cargo test` writes them |
//!
//! To add one: make the folder with its `scenario.json` (the same command line with `--describe` in
//! place of the options for the snapshot counts the `failures`), then `cargo run --example simulate --
//! --again tests/scenarios/NAME`, then `UPDATE_EXPECT=1 cargo test --test suite`, and read what was
//! written. Logs made by hand have no `simulate`.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use alb502::{
    access_log::{ObjectKey, Reader},
    detection::{Detector, Thresholds},
    diagnosis::{Confidence, Diagnosis, Facts, ObjectReport, Reading, diagnose, is_told},
    local::{files, snapshot::Snapshot},
    notification::text,
};
use expect_test::expect_file;
use serde::Deserialize;

/// What is known about a folder besides its files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// One sentence.
    about: String,
    /// The command line that made the logs; null when they were made by hand.
    #[serde(rename = "simulate")]
    _simulate: Option<String>,
    /// What really happened: the mechanisms, by the name of their cause.
    labels: Vec<String>,
    /// Failed rows by mechanism, as the simulator counted them.
    #[serde(default)]
    failures: BTreeMap<String, u64>,
    /// What an honest engineer could say from the data at hand; null: no incident.
    first_cause: Option<String>,
    /// Mechanisms, or the first cause, that are not found, each with the reason.
    #[serde(default)]
    missed: BTreeMap<String, String>,
    /// Causes that are said with high confidence and did not happen, each with the reason.
    #[serde(default)]
    overstated: BTreeMap<String, String>,
}

/// A mechanism with less of the failures may go unnamed.
const NOTABLE_SHARE: f64 = 0.15;

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(library()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

fn scenario(folder: &Path) -> Result<Scenario, String> {
    const KNOWN: [&str; 5] = ["scenario.json", "logs", "snapshot", "expected.txt", "expected.json"];
    let listed = fs::read_dir(folder).map_err(|error| format!("not a folder: {error}"))?;
    for entry in listed {
        let file = entry.map_err(|error| error.to_string())?.file_name();
        if !KNOWN.iter().any(|known| *known == file) {
            return Err(format!("unknown file {}", file.display()));
        }
    }
    let bytes = fs::read(folder.join("scenario.json"))
        .map_err(|error| format!("scenario.json: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("scenario.json: {error}"))
}

/// The order in which objects and their rows come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    AsDelivered,
    /// Objects from the last to the first, rows of each in any order.
    Shuffled,
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

fn unpacked(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    let mut plain = Vec::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        }
        false => plain = bytes,
    }
    plain
}

/// `alb502 diagnose logs --snapshot snapshot`, without the command line.
fn diagnoses(folder: &Path, order: Order) -> Vec<Diagnosis> {
    let thresholds = Thresholds { include_idle_timeout_504: true, ..Thresholds::default() };
    let mut detector = Detector::new(thresholds);
    let mut reading = Reading::default();
    let mut found = files::find(&[folder.join("logs")]).unwrap();
    if order == Order::Shuffled {
        found.reverse();
    }
    for file in found {
        let path = file.path.strip_prefix(folder).unwrap();
        let object = path.display().to_string().replace('\\', "/");
        let key = ObjectKey::parse(&object);
        if let Some(reason) = key.skip_reason() {
            let error = Some(format!("skipped: {reason}"));
            reading.objects.push(ObjectReport::of(object, &key, &Default::default(), error));
            continue;
        }
        let source = detector.source(&object, &key);
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        // What cannot be read shows in the outcome.
        let _ = match order {
            Order::AsDelivered => reader.push(&fs::read(&file.path).unwrap()),
            Order::Shuffled => {
                let plain = unpacked(&file.path);
                let mut lines: Vec<&[u8]> = plain.split_inclusive(|byte| *byte == b'\n').collect();
                shuffle(&mut lines);
                reader.push(&lines.concat())
            }
        };
        let outcome = reader.finish();
        reading.parser.add(&outcome.report);
        let error = outcome.error.map(|error| error.to_string());
        reading.objects.push(ObjectReport::of(object, &key, &outcome.report, error));
    }
    reading.objects.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(detector.rows_not_judged(), 0, "{}", folder.display());

    let config = folder.join("snapshot");
    let snapshot = config.exists().then(|| Snapshot::load(&config).unwrap());
    if let Some(snapshot) = &snapshot {
        assert_eq!(snapshot.warnings, Vec::<String>::new(), "{}", folder.display());
    }
    let facts = |evidence: &alb502::detection::Evidence| match &snapshot {
        Some(snapshot) => snapshot.facts(
            &evidence.load_balancer,
            evidence.target_group_arn.as_deref(),
            evidence.window,
        ),
        None => Facts::unknown("neither --live nor --snapshot was given"),
    };
    let incidents = detector.incidents();
    let diagnoses = incidents.iter().map(|it| diagnose(it, &facts(it), &reading));
    diagnoses.filter(is_told).collect()
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

    if let (None, true) = (first, scenario.first_cause.is_some()) {
        wrong.push("quiet, but there is an incident".to_owned());
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
        if !notable || named.contains(label.as_str()) {
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

/// Labels against first causes.
fn print_table(rows: &BTreeMap<(String, String), Vec<String>>) {
    println!("{:45} {:28} {:>3}", "what happened", "first cause", "");
    for ((labels, first), names) in rows {
        println!("{labels:45} {first:28} {:>3}  {}", names.len(), names.join(" "));
    }
}

#[test]
fn every_scenario_is_diagnosed_as_expected() {
    let mut problems = Vec::new();
    let mut table: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let folders = folders();
    assert!(20 <= folders.len(), "the library is gone");
    for folder in &folders {
        let name = name(folder);
        let scenario = match scenario(folder) {
            Ok(scenario) => scenario,
            Err(error) => {
                problems.push(format!("{name}: {error}"));
                continue;
            }
        };
        let diagnoses = diagnoses(folder, Order::AsDelivered);
        let wrong = judge(&scenario, &diagnoses);
        problems.extend(wrong.iter().map(|wrong| format!("{name}: {wrong}")));
        if scenario.about.is_empty() {
            problems.push(format!("{name}: does not say what it is about"));
        }
        let first = diagnoses.first().and_then(|diagnosis| diagnosis.causes.first());
        let first = first.map_or("quiet", |cause| cause.id.as_str()).to_owned();
        let labels = match scenario.labels.join(" + ") {
            labels if labels.is_empty() => "nothing".to_owned(),
            labels => labels,
        };
        table.entry((labels, first)).or_default().push(name);
    }
    print_table(&table);
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
    for folder in folders() {
        for diagnosis in diagnoses(&folder, Order::AsDelivered) {
            let whole = serde_json::to_value(&diagnosis).unwrap();
            for list in ["targets", "paths_by_failures", "methods", "nodes", "types"] {
                let rows = whole["facts"][list].as_array().unwrap();
                let sum =
                    |name: &str| rows.iter().filter_map(|row| row[name].as_u64()).sum::<u64>();
                let (found, expected) =
                    ((sum("requests"), sum("failures")), (diagnosis.requests, diagnosis.failures));
                assert!(rows.is_empty() || found == expected, "{}: {list}", name(&folder));
                lists += usize::from(!rows.is_empty());
            }
            let of = |signature: &str| diagnosis.facts.signatures.get(signature).copied();
            let all: u64 = diagnosis.facts.signatures.values().sum();
            assert_eq!(
                all - of("intentional").unwrap_or(0),
                diagnosis.failures,
                "{}",
                name(&folder)
            );
        }
    }
    assert!(100 < lists, "{lists}");
}

#[test]
fn every_scenario_gives_the_expected_message() {
    for folder in folders() {
        let diagnoses = diagnoses(&folder, Order::AsDelivered);
        expect_file![folder.join("expected.txt")].assert_eq(&message(&diagnoses));
        expect_file![folder.join("expected.json")].assert_eq(&json(&diagnoses));
    }
}

#[test]
fn neither_the_order_of_objects_nor_of_rows_changes_the_message() {
    let mut different = Vec::new();
    for folder in folders() {
        let delivered = diagnoses(&folder, Order::AsDelivered);
        let shuffled = diagnoses(&folder, Order::Shuffled);
        if message(&delivered) != message(&shuffled) || json(&delivered) != json(&shuffled) {
            let (a, b) = (json(&delivered), json(&shuffled));
            let line = a.lines().zip(b.lines()).find(|(a, b)| a != b);
            different.push(format!("{}: {line:?}", name(&folder)));
        }
    }
    assert!(different.is_empty(), "\n{}\n", different.join("\n"));
}
