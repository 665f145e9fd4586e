//! `alb502 diagnose --probe`: the reports of probes, read from files.

use std::{fs, path::PathBuf};

use super::{Stop, note};
use crate::{
    detection::Evidence,
    diagnosis::{network::socket_address, probes::Probe},
    local::files,
};

/// The reports of probes in the files.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Probe>, Stop> {
    let mut probes = Vec::new();
    for path in paths {
        let wrong = |why: String| Stop::WrongUse(format!("--probe {}: {why}", files::shown(path)));
        let text = fs::read_to_string(path).map_err(|error| {
            wrong(format!("{error}; give a file that `alb502 probe --format json` has written"))
        })?;
        probes.extend(Probe::parse(&text).map_err(wrong)?);
    }
    Ok(probes)
}

/// A probe of something else is no evidence: it is said, so that nobody takes it for one.
pub(super) fn say_unmatched(probes: &[Probe], incidents: &[Evidence]) {
    for probe in probes {
        let is_target = |incident: &Evidence| {
            incident.targets.iter().any(|it| socket_address(&it.target) == Some(probe.socket()))
        };
        if !incidents.is_empty() && !incidents.iter().any(is_target) {
            note(&format!(
                "warning: --probe: {} is no target of an incident in this log; it is not used. Probe one that the \
                 message names",
                probe.socket()
            ));
        }
    }
}
