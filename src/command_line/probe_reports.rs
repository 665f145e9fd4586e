//! `alb502 diagnose --probe`: the reports of probes, read from files.

use std::{fs::File, io::Read, path::PathBuf};

use super::Stop;
use crate::{
    detection::Evidence,
    diagnosis::{network::socket_address, probes::Probe},
    local::files,
    numbers::plural,
};

/// A report has a few kilobytes: a response's headers are not in it, and its violations are cut. So this
/// is room for every target of a load balancer, and a device that never ends does not fill the memory.
const MAX_BYTES: u64 = 16 << 20;

/// So many probes that are not used are named; the others are counted.
const MAX_NAMED: usize = 5;

/// So many targets are named that would be worth a probe: those with the most failures.
const MAX_TARGETS: usize = 3;

/// The reports of probes in the files.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Probe>, Stop> {
    let mut probes: Vec<Probe> = Vec::new();
    for path in paths {
        let wrong = |why: String| Stop::WrongUse(format!("--probe {}: {why}", files::shown(path)));
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| {
                wrong(format!("{error}; give a file that `alb502 probe --format json` has written"))
            })?;
        if MAX_BYTES < text.len() as u64 {
            return Err(wrong("larger than 16 MB, which no report of a probe is".to_owned()));
        }
        // The same file twice is no second witness.
        for probe in Probe::parse(&text).map_err(wrong)? {
            if !probes.contains(&probe) {
                probes.push(probe);
            }
        }
    }
    Ok(probes)
}

/// A probe of something else is no evidence: it is said, so that nobody takes it for one.
pub(super) fn unmatched(probes: &[Probe], incidents: &[&Evidence]) -> Option<String> {
    let is_target = |probe: &&Probe| {
        let is_its = |incident: &&Evidence| {
            incident.targets.iter().any(|it| socket_address(&it.target) == Some(probe.socket()))
        };
        incidents.iter().any(is_its)
    };
    let others: Vec<String> =
        probes.iter().filter(|it| !is_target(it)).map(|it| it.socket().to_string()).collect();
    let mut named = others.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = others.len().saturating_sub(MAX_NAMED) as u64;
    if 0 < more {
        named.push_str(&format!(" and {}", plural(more, "more target")));
    }
    let what = match (others.len(), incidents.is_empty()) {
        (0, _) => return None,
        (_, true) => "there is no incident in this log, so it is not used",
        (1, false) => "is no target of an incident in this log; it is not used",
        (_, false) => "are no targets of an incident in this log; they are not used",
    };
    Some(match incidents.is_empty() {
        true => format!("warning: --probe of {named}: {what}"),
        false => format!("warning: --probe: {named} {what}{}", targets(incidents)),
    })
}

/// Which targets to probe in place of another, by the addresses that the log has; nothing where it has none,
/// as of a Lambda function.
fn targets(incidents: &[&Evidence]) -> String {
    let mut targets = Vec::new();
    let all = incidents.iter().flat_map(|incident| &incident.targets);
    for address in all.filter_map(|it| socket_address(&it.target)) {
        if !targets.contains(&address) {
            targets.push(address);
        }
    }
    if targets.is_empty() {
        return String::new();
    }
    let named: Vec<String> = targets.iter().take(MAX_TARGETS).map(ToString::to_string).collect();
    let more = match targets.len().saturating_sub(MAX_TARGETS) as u64 {
        0 => String::new(),
        more => format!(" or one of {}", plural(more, "more target")),
    };
    format!(". Probe a target by the address that the log has: {}{more}", named.join(", "))
}
