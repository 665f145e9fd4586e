//! `alb502 diagnose`: why requests failed, from access-log files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{
    COULD_NOT, INCIDENT_FOUND, SettingFlags, Stop, complain, live, note, paint, probe_reports,
    progress::Progress,
    quiet::{Quiet, quiet},
    s3, say,
    time_span::TWO_HOURS,
};
use crate::{
    access_log::{ObjectKey, ReadError, RowReader},
    detection::{Detector, Evidence},
    diagnosis::{Diagnosis, Facts, ObjectReport, Pictures, Reading, diagnose, is_told},
    event::{self, Event},
    local::{
        copies::copies,
        files::{self, LogFile},
        read_ahead::ReadAhead,
        snapshot::Snapshot,
    },
    neutralize,
    notification::{
        html::{Report, html},
        text,
    },
    numbers::plural,
};

#[derive(Debug, Args)]
#[command(after_help = "Without --live and --snapshot the log alone is judged, and what the \
                        configuration would decide is named. --live asks AWS with the credentials \
                        that the AWS CLI has; it only reads. A snapshot is a folder of files as \
                        the AWS CLI prints them; alb502 snapshot makes one, or\n  aws elbv2 describe-target-groups > \
                        config/describe-target-groups.json\n\n\
                        Examples:\n  \
                        alb502 diagnose --load-balancer shop\n  \
                        alb502 diagnose s3://example-alb-logs/prod --since 3h --until 1h --live\n  \
                        alb502 diagnose access.log.gz\n  \
                        alb502 diagnose access.log.gz --live\n  \
                        aws s3 cp s3://example-alb-logs/KEY - | alb502 diagnose -\n  \
                        alb502 diagnose ./AWSLogs --snapshot ./config --format json\n  \
                        alb502 diagnose ./AWSLogs --probe probe.json\n  \
                        alb502 diagnose ./AWSLogs --live --format html --output report.html")]
pub(super) struct Arguments {
    /// Access-log files, plain or gzip, or folders that hold them; - is standard input; or
    /// s3://BUCKET[/PREFIX]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder with the configuration as the AWS CLI prints it
    #[arg(long, value_name = "DIR")]
    snapshot: Option<PathBuf>,
    /// Ask AWS for the configuration as it is now, with the credentials of the AWS CLI
    #[arg(long, conflicts_with = "snapshot")]
    live: bool,
    /// A report of `alb502 probe --format json` as evidence (repeat it for several targets)
    #[arg(long, value_name = "FILE")]
    probe: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write to this file instead of standard output; a file that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Exit with 3 when an incident is found
    #[arg(long)]
    fail_on_incident: bool,
    #[command(flatten)]
    s3: s3::Flags,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Why nothing is known of the configuration.
const NO_CONFIGURATION: &str = "neither --live nor --snapshot was given";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines: {"diagnoses": [...], "objects": [...]}
    Json,
    /// For a browser, a colleague or a printer: one file with pictures, which loads nothing
    Html,
}

#[derive(Serialize)]
struct Output<'a> {
    diagnoses: Vec<&'a Diagnosis>,
    objects: &'a [ObjectReport],
}

pub(super) fn run(
    arguments: &Arguments,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<u8, Stop> {
    let config = arguments.settings.config(environment, true)?;
    let order = s3::order(&arguments.paths, &arguments.s3, TWO_HOURS)?;
    let is_live = arguments.live || (arguments.s3.is_whole() && arguments.snapshot.is_none());
    if arguments.live {
        live::is_built_in()?;
    }
    if let Some(file) = &arguments.output {
        can_be_written(file)?;
        let on_disk = if order.is_none() { &arguments.paths[..] } else { &[] };
        is_no_input(file, on_disk, &arguments.probe)?;
    }
    let snapshot = match &arguments.snapshot {
        Some(folder) => Some(Snapshot::load(folder)?),
        None => None,
    };
    for warning in snapshot.iter().flat_map(|snapshot| &snapshot.warnings) {
        note(&format!("warning: {warning}"));
    }
    let probes = probe_reports::read(&arguments.probe)?;
    let mut detector = Detector::new(config.thresholds);
    let mut reading = Reading::default();
    let could_read_all = match &order {
        Some(order) => s3::read(order, &mut detector, &mut reading)?,
        None => read(&arguments.paths, &mut detector, &mut reading)?,
    };

    let incidents = detector.incidents();
    let mut facts: Vec<Facts> = if is_live {
        live::facts(&incidents)?
    } else {
        let of_snapshot = |evidence: &Evidence| match &snapshot {
            Some(snapshot) => snapshot.facts(
                &evidence.load_balancer,
                evidence.target_group_arn.as_deref(),
                evidence.window,
            ),
            None => Facts::unknown(NO_CONFIGURATION),
        };
        incidents.iter().map(of_snapshot).collect()
    };
    for facts in &mut facts {
        facts.probes.clone_from(&probes);
    }
    let told: Vec<(&Evidence, &Facts, Diagnosis)> = incidents
        .iter()
        .zip(&facts)
        .map(|(evidence, facts)| (evidence, facts, diagnose(evidence, facts, &reading)))
        .filter(|(_, _, diagnosis)| is_told(diagnosis))
        .collect();
    let mut notes = Vec::new();
    let judged: Vec<&Evidence> = told.iter().map(|(evidence, _, _)| *evidence).collect();
    notes.extend(probe_reports::unmatched(&probes, &judged));
    notes.extend(snapshot.iter().flat_map(|snapshot| of_another(snapshot, &judged)));
    let not_judged = detector.rows_not_judged();
    if 0 < not_judged {
        notes.push(format!(
            "warning: {} were read but not judged: more times or target groups than fit into memory",
            plural(not_judged, "row")
        ));
    }
    let idle = told.iter().any(|(_, _, diagnosis)| 0 < diagnosis.idle_504);
    if idle && config.thresholds.include_idle_timeout_504 && arguments.format != Format::Json {
        notes.push(
            "note: 504s after the idle timeout are counted; the Lambda function counts them only with \
             ALB502_INCLUDE_IDLE_TIMEOUT_504=true"
                .to_owned(),
        );
    }
    let quiet = || {
        quiet(&Quiet {
            detector: &detector,
            incidents: &incidents,
            thresholds: &config.thresholds,
            reading: &reading,
            could_read_all,
        })
    };
    let diagnoses = || told.iter().map(|(_, _, diagnosis)| diagnosis);
    let document = match arguments.format {
        Format::Json => {
            let output = Output { diagnoses: diagnoses().collect(), objects: &reading.objects };
            let document = serde_json::to_string_pretty(&output).map_err(io::Error::from)?;
            neutralize::json(&document) + "\n"
        }
        Format::Html => {
            let warnings = snapshot.iter().flat_map(|snapshot| &snapshot.warnings);
            let warnings = warnings.map(|warning| format!("warning: {warning}"));
            let notes: Vec<String> = notes.iter().cloned().chain(warnings).collect();
            let incidents: Vec<(Diagnosis, Pictures)> = told
                .iter()
                .map(|(evidence, facts, it)| (it.clone(), Pictures::of(evidence, facts)))
                .collect();
            let quiet = quiet();
            html(&Report { incidents: &incidents, quiet: &quiet, reading: &reading, notes: &notes })
        }
        Format::Text if told.is_empty() => quiet(),
        Format::Text => {
            let texts: Vec<String> = diagnoses().map(text::text).collect();
            texts.join(&format!("\n{}\n\n", "=".repeat(78)))
        }
    };
    for line in &notes {
        note(line);
    }
    match (&arguments.output, arguments.format) {
        (None, Format::Text) => paint::print(&document)?,
        (file, _) => write(&document, file.as_deref())?,
    }
    let incident = diagnoses().any(|diagnosis| 0 < diagnosis.failures);
    Ok(match (could_read_all, arguments.fail_on_incident && incident) {
        (_, true) => INCIDENT_FOUND,
        (false, false) => COULD_NOT,
        (true, false) => 0,
    })
}

/// Stops before the work where its result would have no place.
fn can_be_written(file: &Path) -> Result<(), Stop> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if file.is_dir() {
        return Err(Stop::WrongUse(format!(
            "--output {}: this is a folder; give a file in it",
            files::shown(file)
        )));
    }
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(Stop::WrongUse(format!(
            "--output {}: give a file in a folder that is there",
            files::shown(file)
        )));
    }
    Ok(())
}

/// Stops before the work where its result would take the place of what it is made of.
fn is_no_input(output: &Path, logs: &[PathBuf], probes: &[PathBuf]) -> Result<(), Stop> {
    // A file that is not there yet takes no other's place: then nothing has to be looked through.
    let Ok(file) = fs::canonicalize(output) else { return Ok(()) };
    let logs = if logs.is_empty() { Vec::new() } else { files::find(logs)? };
    let mut inputs = logs.iter().map(|log| &log.path).chain(probes);
    if inputs.any(|input| fs::canonicalize(input).is_ok_and(|it| it == file)) {
        return Err(Stop::WrongUse(format!(
            "--output {}: this file is to be read; give another one",
            files::shown(output)
        )));
    }
    Ok(())
}

/// Writes to the file, or to standard output.
fn write(document: &str, file: Option<&Path>) -> Result<(), Stop> {
    let Some(file) = file else {
        let mut output = io::stdout().lock();
        output.write_all(document.as_bytes())?;
        return Ok(output.flush()?);
    };
    let name = files::shown(file);
    match fs::write(file, document) {
        Ok(()) => {
            note(&format!("written: {name}"));
            Ok(())
        }
        Err(error) => Err(Stop::File { name, error }),
    }
}

/// A snapshot of something else is no configuration of an incident: it is said, so that nobody waits for
/// checks that cannot come. Once for each load balancer.
fn of_another(snapshot: &Snapshot, incidents: &[&Evidence]) -> Vec<String> {
    let mut reasons = BTreeMap::new();
    for it in incidents {
        let group = it.target_group_arn.as_deref();
        if let Some(reason) = snapshot.is_of_another(&it.load_balancer, group) {
            reasons.entry(&it.load_balancer).or_insert(reason);
        }
    }
    let warning = |reason| {
        format!(
            "warning: --snapshot is not used for an incident: {reason}. `alb502 snapshot --load-balancer \
             NAME` saves the right one"
        )
    };
    reasons.into_values().map(warning).collect()
}

/// What is said of an event in the place of a log.
const AN_EVENT: &str = "it looks like an event, which names access logs and holds none. Give the logs, or run \
                        the event: `alb502 invoke EVENT --local DIR`";

/// An event is not larger: Lambda takes 6 MB of one.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(super) const MAX_EVENT_BYTES: u64 = 6 << 20;

/// Whether a file, which is no log, is an event of what the function hears.
fn is_event(file: &Path) -> bool {
    let is_small = |it: fs::Metadata| it.is_file() && it.len() <= MAX_EVENT_BYTES;
    if !file.metadata().is_ok_and(is_small) {
        return false;
    }
    let content = fs::read(file).unwrap_or_default();
    let event = serde_json::from_slice(&content);
    event.is_ok_and(|event| matches!(event::read(&event), Event::Objects(_)))
}

/// Reads every file. False when one could not be read to its end; it is said.
fn read(paths: &[PathBuf], detector: &mut Detector, reading: &mut Reading) -> Result<bool, Stop> {
    let files = files::find(paths)?;
    say::waiting_for_input(&files);
    let is_read =
        |file: &LogFile| file.asked_for || ObjectKey::parse(&file.name()).skip_reason().is_none();
    let copies = copies(files.iter().filter(|file| is_read(file)).map(|file| file.path.as_path()));
    let wanted = files
        .iter()
        .filter(|file| is_read(file) && !copies.contains_key(file.path.as_path()))
        .map(|file| file.path.clone())
        .collect();
    let mut ahead = ReadAhead::of(wanted);
    let mut progress = Progress::new(files.len());
    let mut could_read_all = true;
    let mut told = BTreeSet::new();
    for (index, file) in files.iter().enumerate() {
        let name = file.name();
        let key = ObjectKey::parse(&name);
        if let Some(reason) = key.skip_reason().filter(|_| !is_read(file)) {
            reading.objects.push(ObjectReport::of(
                name,
                &key,
                &Default::default(),
                Some(format!("skipped: {reason}")),
            ));
            continue;
        }
        if let Some(first) = copies.get(file.path.as_path()) {
            let first = files::shown(first);
            note(&format!(
                "warning: {} is the same as {first} and is not counted again",
                file.shown()
            ));
            let skipped = Some(format!("skipped: the same as {first}"));
            reading.objects.push(ObjectReport::of(name, &key, &Default::default(), skipped));
            continue;
        }
        let source = detector.source(&name, &key);
        let mut rows = RowReader::new(|entry| detector.record(source, entry));
        let mut format = None;
        let unpacked = ahead.next(|text, bytes_read| {
            progress.update(index + 1, bytes_read);
            format = rows.push(text).err();
            if format.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let (damage, streamed) = match unpacked {
            Ok(damage) => (damage, Ok(())),
            // The file may go on: its last line counts only when a line break ends it.
            Err(error) => (Some(ReadError::Truncated), Err(error)),
        };
        let outcome = rows.finish(format.or(damage));
        reading.parser.add(&outcome.report);
        // In a folder a file of another kind is no error; asked for by name it is.
        let other = outcome.error.as_ref().is_some_and(|error| !error.is_damage());
        let error = match streamed {
            Err(error) => Some(files::unreadable(&error)),
            Ok(()) if other && file.asked_for && is_event(&file.path) => Some(AN_EVENT.to_owned()),
            Ok(()) => outcome.error.map(|error| error.to_string()),
        };
        if let Some(error) = &error {
            // What many files have in common is said once.
            let said = if told.insert(error.clone()) { error.as_str() } else { "the same" };
            complain(&format!("error: {}: {said}", file.shown()));
            could_read_all &= other && !file.asked_for;
        }
        reading.objects.push(ObjectReport::of(name, &key, &outcome.report, error));
    }
    progress.done();
    Ok(could_read_all)
}
