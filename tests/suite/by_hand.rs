//! How people look for the cause of 502s without this program, for comparison.
//!
//! This is our reading of the usual manual checklist, as it stands in articles and runbooks: open the
//! log, count the rows with status 502, look at `error_reason`; then look at the security group; then
//! at the health check; then suspect the keep-alive timeout. It takes the first thing that fits. We are
//! generous: somebody has told it that there is an incident, and without a single 502 (a blocked port
//! gives 504s) it looks at the configuration all the same.
use std::collections::BTreeMap;

use alb502::{
    access_log::{Entry, Field, ObjectKey},
    diagnosis::{Facts, causes::LAMBDA_REASONS, facts::IpPermission},
    local::snapshot::Snapshot,
};

use crate::library::{Object, facts, read};

/// What the checklist counts.
#[derive(Default)]
struct Rows {
    errors: u64,
    made_by_target: u64,
    no_response: u64,
    reasons: BTreeMap<String, u64>,
}

fn count(objects: &[Object]) -> Rows {
    let mut rows = Rows::default();
    for object in objects {
        if ObjectKey::parse(&object.name).skip_reason().is_some() {
            continue;
        }
        let plain = object.plain().unwrap_or_default();
        for line in plain.split(|byte| *byte == b'\n') {
            // Most rows are good: no need to take them apart.
            if memchr::memmem::find(line, b" 502 ").is_none() {
                continue;
            }
            let Ok(entry) = Entry::parse(line) else {
                continue;
            };
            if entry.status(Field::ElbStatusCode) != Some(502) {
                continue;
            }
            rows.errors += 1;
            rows.made_by_target += u64::from(entry.status(Field::TargetStatusCode) == Some(502));
            let response = entry.seconds(Field::ResponseProcessingTime);
            rows.no_response += u64::from(response.is_some_and(|seconds| seconds < 0.0));
            if let Some(reason) = entry.get(Field::ErrorReason) {
                let reason = String::from_utf8_lossy(reason).into_owned();
                *rows.reasons.entry(reason).or_default() += 1;
            }
        }
    }
    rows
}

fn admits(rule: &IpPermission, port: u16) -> bool {
    let within = |from: i32, to: i32| (from..=to).contains(&i32::from(port));
    match rule.ip_protocol.as_str() {
        "-1" => true,
        "tcp" | "6" => rule.from_port.zip(rule.to_port).is_some_and(|(from, to)| within(from, to)),
        _ => false,
    }
}

/// Whether a security group of a target has no rule for the port of the target group, whoever may come.
fn port_is_closed(facts: &Facts) -> Option<bool> {
    let port = facts.target_group.known()?.port?;
    let groups = facts.security_groups.known()?;
    let instances = facts.instances.known()?;
    Some(instances.iter().any(|instance| {
        let mut rules = (instance.security_groups.iter())
            .filter_map(|group| groups.get(&group.group_id))
            .flat_map(|group| &group.ip_permissions);
        !rules.any(|rule| admits(rule, port))
    }))
}

/// Whether the health check asks another port or in another protocol than the requests.
fn health_check_differs(facts: &Facts) -> Option<bool> {
    let group = facts.target_group.known()?;
    let other_port = group.health_check_port.as_deref()? != "traffic-port";
    Some(other_port || group.health_check_protocol != group.protocol)
}

/// The cause that the checklist ends with.
pub(crate) fn cause(objects: &[Object], snapshot: Option<&Snapshot>) -> String {
    let rows = count(objects);
    if 0 < rows.errors && rows.errors < 2 * rows.made_by_target {
        return "target-generated".to_owned();
    }
    if let Some((reason, _)) = rows.reasons.iter().max_by_key(|(_, count)| **count) {
        let known = LAMBDA_REASONS.iter().find(|known| known.code == *reason);
        return known.map_or(reason.as_str(), |known| known.id).to_owned();
    }
    // The group that fails is known to whoever looks.
    let facts = snapshot.and_then(|snapshot| {
        read(objects).0.first().map(|evidence| facts(Some(snapshot), evidence))
    });
    if facts.as_ref().and_then(port_is_closed) == Some(true) {
        return "blocked-port".to_owned();
    }
    if facts.as_ref().and_then(health_check_differs) == Some(true) {
        return "protocol-mismatch".to_owned();
    }
    if 0 < rows.no_response { "keepalive-race" } else { "undetermined" }.to_owned()
}
