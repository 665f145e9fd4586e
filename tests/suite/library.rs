//! The scenario library, `tests/scenarios/`: a folder is a test.
//!
//! | in the folder | |
//! |---|---|
//! | `scenario.json` | how it was made, what really happened, what can be said about it |
//! | `logs/` | the objects as the load balancer delivers them |
//! | `snapshot/` | the configuration as the AWS CLI prints it; may be missing, or lack files |
//! | `expected.txt`, `expected.json` | the message; `UPDATE_EXPECT=1 cargo test` writes them |
//!
//! `labels` and `failures` come from the mechanism: a test of the simulator makes each log again and holds
//! them to it. `first_cause` is decided from the mechanism and the data at hand before looking at what is
//! diagnosed; where that is not it, `missed` says why.
//!
//! To add one: make the folder with its `scenario.json` (the same command line with `--describe` in
//! place of the options for the snapshot counts the `failures`), then `cargo run --example simulate --
//! --again tests/scenarios/NAME`, then `UPDATE_EXPECT=1 cargo test --test suite`, and read what was
//! written. Logs made by hand have no `simulate`.
use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use alb502::{
    access_log::{ObjectKey, Reader},
    detection::{Detector, Evidence, Thresholds},
    diagnosis::{Diagnosis, Facts, ObjectReport, Pictures, Reading, diagnose, is_told},
    local::{files, snapshot::Snapshot},
};
use serde::Deserialize;

/// What is known about a folder besides its files.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// One sentence.
    pub about: String,
    /// The command line that made the logs; null when they were made by hand.
    #[serde(rename = "simulate")]
    _simulate: Option<String>,
    /// What really happened: the mechanisms, by the name of their cause.
    pub labels: Vec<String>,
    /// Failed rows by mechanism, as the simulator counted them.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
    /// What an honest engineer could say from the data at hand; null: no incident.
    pub first_cause: Option<String>,
    /// Mechanisms, or the first cause, that are not found, each with the reason.
    #[serde(default)]
    pub missed: BTreeMap<String, String>,
    /// Causes that are said with high confidence and did not happen, each with the reason.
    #[serde(default)]
    pub overstated: BTreeMap<String, String>,
}

pub(crate) fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

pub(crate) fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        fs::read_dir(library()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

pub(crate) fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

pub(crate) fn scenario(folder: &Path) -> Result<Scenario, String> {
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

/// One object: where it lies in its scenario, and its bytes as they lie there.
#[derive(Clone)]
pub(crate) struct Object {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Object {
    /// The rows; `None` when the object is damaged.
    pub(crate) fn plain(&self) -> Option<Vec<u8>> {
        if !self.bytes.starts_with(&[0x1f, 0x8b]) {
            return Some(self.bytes.clone());
        }
        let mut plain = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(&self.bytes[..]);
        decoder.read_to_end(&mut plain).ok().map(|_| plain)
    }
}

/// The objects of a scenario, in the order of their names.
pub(crate) fn objects(folder: &Path) -> Vec<Object> {
    let mut objects: Vec<Object> = (files::find(&[folder.join("logs")]).unwrap().iter())
        .map(|file| {
            let name = file.path.strip_prefix(folder).unwrap().display().to_string();
            Object { name: name.replace('\\', "/"), bytes: fs::read(&file.path).unwrap() }
        })
        .collect();
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    objects
}

/// The configuration of a scenario.
pub(crate) fn snapshot(folder: &Path) -> Option<Snapshot> {
    let config = folder.join("snapshot");
    let snapshot = config.exists().then(|| Snapshot::load(&config).unwrap())?;
    assert_eq!(snapshot.warnings, Vec::<String>::new(), "{}", folder.display());
    Some(snapshot)
}

/// What the snapshot says to an incident.
pub(crate) fn facts(snapshot: Option<&Snapshot>, evidence: &Evidence) -> Facts {
    match snapshot {
        Some(snapshot) => snapshot.facts(
            &evidence.load_balancer,
            evidence.target_group_arn.as_deref(),
            evidence.window,
        ),
        None => Facts::unknown("neither --live nor --snapshot was given"),
    }
}

/// Reads the objects in the order given, as `alb502 diagnose` does.
pub(crate) fn read(objects: &[Object]) -> (Vec<Evidence>, Reading) {
    let thresholds = Thresholds { include_idle_timeout_504: true, ..Thresholds::default() };
    let mut detector = Detector::new(thresholds);
    let mut reading = Reading::default();
    for object in objects {
        let key = ObjectKey::parse(&object.name);
        let name = object.name.clone();
        if let Some(reason) = key.skip_reason() {
            let error = Some(format!("skipped: {reason}"));
            reading.objects.push(ObjectReport::of(name, &key, &Default::default(), error));
            continue;
        }
        let source = detector.source(&object.name, &key);
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        // What cannot be read shows in the outcome.
        let _ = reader.push(&object.bytes);
        let outcome = reader.finish();
        reading.parser.add(&outcome.report);
        let error = outcome.error.map(|error| error.to_string());
        reading.objects.push(ObjectReport::of(name, &key, &outcome.report, error));
    }
    reading.objects.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(detector.rows_not_judged(), 0);
    (detector.incidents(), reading)
}

/// `alb502 diagnose logs --snapshot snapshot`, without the command line.
pub(crate) fn diagnoses(objects: &[Object], snapshot: Option<&Snapshot>) -> Vec<Diagnosis> {
    let (incidents, reading) = read(objects);
    let diagnosed = |evidence| diagnose(evidence, &facts(snapshot, evidence), &reading);
    incidents.iter().map(diagnosed).filter(is_told).collect()
}

/// The same with `--format html`: what a page is made of.
pub(crate) fn pictured(
    objects: &[Object],
    snapshot: Option<&Snapshot>,
) -> (Vec<(Diagnosis, Pictures)>, Reading) {
    let (incidents, reading) = read(objects);
    let pictured = |evidence| {
        let facts = facts(snapshot, evidence);
        (diagnose(evidence, &facts, &reading), Pictures::of(evidence, &facts))
    };
    let told = incidents.iter().map(pictured).filter(|(diagnosis, _)| is_told(diagnosis)).collect();
    (told, reading)
}

/// A folder, what is known about it, and what is diagnosed: read once for all tests.
pub(crate) struct Told {
    pub name: String,
    pub folder: PathBuf,
    pub scenario: Scenario,
    pub diagnoses: Vec<Diagnosis>,
}

impl Told {
    /// Logs of a hundred thousand rows are read once, not once for every order they may come in.
    pub(crate) fn is_large(&self) -> bool {
        ["huge-refused", "one-in-100000", "keepalive-slow-leak"].contains(&self.name.as_str())
    }
}

/// The whole library.
pub(crate) static LIBRARY: LazyLock<Vec<Told>> = LazyLock::new(|| {
    let told = |folder: PathBuf| Told {
        name: name(&folder),
        scenario: scenario(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())),
        diagnoses: diagnoses(&objects(&folder), snapshot(&folder).as_ref()),
        folder,
    };
    let folders = folders();
    let share = folders.len().div_ceil(4);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (folders.chunks(share))
            .map(|part| scope.spawn(move || part.iter().cloned().map(told).collect::<Vec<_>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
});
