//! A configuration snapshot: a folder of JSON as the AWS CLI prints it, one file per call.
//!
//! Files are recognised by their top-level key, several of a kind are merged. What carries no name in
//! itself carries it in the file name: `describe-target-health.shop-web.json`. A missing file is a gap,
//! and so is one that cannot be read: half of a list is not the list.

mod facts;
mod metrics;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::files;
use crate::{
    detection::Window,
    diagnosis::{
        Fact, Facts, Gap,
        facts::{
            Instance, Listener, LoadBalancer, NetworkAcl, NetworkInterface, Rule, SecurityGroup,
            Subnet, TargetGroup, TargetHealthDescription,
        },
        metrics::MetricDataResult,
    },
};

/// A snapshot taken further than this from the incident may show another configuration.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// A larger file is something else: every rule of every listener of a load balancer, of which there may be some
/// thousands, is a few megabytes as the AWS CLI prints it. Read, JSON takes up to twenty times its size.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// All files of a folder together.
const MAX_FOLDER_BYTES: u64 = 32 << 20;

/// A kind of file: what it holds, which call prints it.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// A noun for gaps.
    fact: &'static str,
    /// The beginning of the file name.
    stem: &'static str,
    /// The IAM action behind the call.
    permission: &'static str,
}

macro_rules! sources {
    ($($name:ident: $fact:literal, $stem:literal, $permission:literal;)*) => {
        $(const $name: Source = Source { fact: $fact, stem: $stem, permission: $permission };)*
        const SOURCES: &[Source] = &[$($name),*];
    };
}

// Longer stems come first, for a file is matched by the beginning of its name.
sources! {
    LOAD_BALANCER_ATTRIBUTES: "load balancer attributes", "describe-load-balancer-attributes",
        "elasticloadbalancing:DescribeLoadBalancerAttributes";
    TARGET_GROUP_ATTRIBUTES: "target group attributes", "describe-target-group-attributes",
        "elasticloadbalancing:DescribeTargetGroupAttributes";
    LOAD_BALANCERS: "load balancer", "describe-load-balancers",
        "elasticloadbalancing:DescribeLoadBalancers";
    TARGET_GROUPS: "target group", "describe-target-groups",
        "elasticloadbalancing:DescribeTargetGroups";
    TARGET_HEALTH: "target health", "describe-target-health",
        "elasticloadbalancing:DescribeTargetHealth";
    LISTENERS: "listeners", "describe-listeners", "elasticloadbalancing:DescribeListeners";
    RULES: "listener rules", "describe-rules", "elasticloadbalancing:DescribeRules";
    TAGS: "target group tags", "describe-tags", "elasticloadbalancing:DescribeTags";
    SECURITY_GROUPS: "security groups", "describe-security-groups", "ec2:DescribeSecurityGroups";
    NETWORK_INTERFACES: "network interfaces", "describe-network-interfaces",
        "ec2:DescribeNetworkInterfaces";
    INSTANCES: "instances", "describe-instances", "ec2:DescribeInstances";
    SUBNETS: "subnets", "describe-subnets", "ec2:DescribeSubnets";
    NETWORK_ACLS: "network ACLs", "describe-network-acls", "ec2:DescribeNetworkAcls";
    METRICS: "metrics", "get-metric-data", "cloudwatch:GetMetricData";
    PREFIX_LIST: "entries of a prefix list", "get-managed-prefix-list-entries",
        "ec2:GetManagedPrefixListEntries";
}

impl Source {
    fn gap(&self, reason: String) -> Gap {
        Gap { fact: self.fact.to_owned(), reason, permission: Some(self.permission.to_owned()) }
    }

    /// The file is not there, and what to do about it.
    fn missing(&self, name: Option<&str>) -> Gap {
        let file = self.file(name);
        self.gap(format!("no file {file} in the snapshot; alb502 snapshot writes it"))
    }

    fn file(&self, name: Option<&str>) -> String {
        match name {
            Some(name) => format!("{}.{name}.json", self.stem),
            None => format!("{}.json", self.stem),
        }
    }
}

/// Everything of one kind.
#[derive(Debug, Clone)]
struct Pile<T> {
    items: Vec<T>,
    files: usize,
    /// The file that could not be read: what it held is not known, so the list is not whole.
    damaged: Option<String>,
}

impl<T> Default for Pile<T> {
    fn default() -> Self {
        Self { items: Vec::new(), files: 0, damaged: None }
    }
}

impl<T: Clone> Pile<T> {
    /// The whole list, or why it is not at hand.
    fn fact(&self, source: &Source) -> Fact<Vec<T>> {
        match &self.damaged {
            Some(file) => {
                Fact::Unknown(source.gap(format!("{file} in the snapshot cannot be read")))
            }
            None if self.files == 0 => Fact::Unknown(source.missing(None)),
            None => Fact::Known(self.items.clone()),
        }
    }
}

/// Something that carries its name in the file name.
#[derive(Debug, Clone)]
struct Named<T> {
    name: Option<String>,
    /// `None` when the file could not be read.
    content: Option<T>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagDescription {
    resource_arn: String,
    #[serde(default)]
    tags: Vec<KeyValue>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reservation {
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PrefixListEntry {
    cidr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Origin {
    #[serde(default)]
    taken_at: Option<String>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    region: Option<String>,
}

/// The configuration of a load balancer as files.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Files that were not understood, each with what is wrong.
    pub warnings: Vec<String>,
    taken_at: Option<Timestamp>,
    account: Option<String>,
    region: Option<String>,
    load_balancers: Pile<LoadBalancer>,
    load_balancer_attributes: Vec<Named<Vec<KeyValue>>>,
    listeners: Pile<Listener>,
    rules: Pile<Rule>,
    target_groups: Pile<TargetGroup>,
    target_group_attributes: Vec<Named<Vec<KeyValue>>>,
    target_health: Vec<Named<Vec<TargetHealthDescription>>>,
    tags: Pile<TagDescription>,
    security_groups: Pile<SecurityGroup>,
    network_interfaces: Pile<NetworkInterface>,
    reservations: Pile<Reservation>,
    subnets: Pile<Subnet>,
    network_acls: Pile<NetworkAcl>,
    prefix_lists: BTreeMap<String, Vec<String>>,
    metrics: Vec<Named<Vec<MetricDataResult>>>,
}

/// Why a snapshot could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The folder.
    #[error(
        "{}: not a folder that can be read ({source}); a snapshot is a folder of JSON files as the AWS \
         CLI prints them, such as describe-load-balancers.json. `alb502 snapshot --load-balancer NAME` \
         makes one",
        files::shown(.path)
    )]
    Folder {
        /// What was asked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file in it.
    #[error("{} {}", files::shown(.path), files::unreadable(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What is in a file, of at most `left` bytes; or why it is not read. A device or a pipe may never end, and has
/// no length.
fn content(path: &Path, metadata: &fs::Metadata, left: u64) -> io::Result<Result<Vec<u8>, String>> {
    if !metadata.is_file() {
        return Ok(Err("not a regular file, which no answer of AWS is".to_owned()));
    }
    match files::read_at_most(path, MAX_FILE_BYTES.min(left)) {
        Err(error) if error.kind() != io::ErrorKind::FileTooLarge => Err(error),
        Err(_) if left < MAX_FILE_BYTES => Ok(Err(format!(
            "with the files before it longer than {} MB, which no configuration is",
            MAX_FOLDER_BYTES >> 20
        ))),
        Err(error) => Ok(Err(format!("{error}, which no answer of AWS is"))),
        Ok(content) => Ok(Ok(content)),
    }
}

impl Snapshot {
    /// Reads a folder: its files in the order of their names, no folders inside it.
    pub fn load(dir: &Path) -> Result<Self, SnapshotError> {
        let folder = |source| SnapshotError::Folder { path: dir.to_owned(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(folder)? {
            paths.push(entry.map_err(folder)?.path());
        }
        paths.sort();
        let mut files = Vec::new();
        let mut warnings = Vec::new();
        let mut left = MAX_FOLDER_BYTES;
        for path in paths {
            let file = |source| SnapshotError::File { path: path.clone(), source };
            let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned())
            else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let metadata = fs::metadata(&path).map_err(file)?;
            if metadata.is_dir() {
                warnings.push(format!("{name}: a folder inside a snapshot is not read"));
                continue;
            }
            let content = content(&path, &metadata, left).map_err(file)?.unwrap_or_else(|why| {
                warnings.push(format!("{name}: {why}; not read"));
                // As an empty file it is reported and counts as damaged, like any other broken file.
                Vec::new()
            });
            left = left.saturating_sub(content.len() as u64);
            files.push((name, content));
        }
        if files.is_empty() {
            warnings.push(format!(
                "{}: no file of a snapshot is in it; `alb502 snapshot --load-balancer NAME` makes one",
                files::shown(dir)
            ));
        }
        let mut snapshot = Self::parse(files);
        warnings.append(&mut snapshot.warnings);
        snapshot.warnings = warnings;
        Ok(snapshot)
    }

    /// Recognises files by their content: pairs of file name and bytes.
    pub fn parse(files: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>) -> Self {
        let mut snapshot = Self::default();
        for (name, bytes) in files {
            snapshot.add(name.as_ref(), bytes.as_ref());
        }
        snapshot
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        let mut object: Map<String, Value> = match serde_json::from_slice(bytes) {
            Ok(object) => object,
            Err(error) => {
                self.warnings.push(format!(
                    "{name}: not a JSON object ({error}); not used. {}",
                    print_anew(name)
                ));
                self.damage(name);
                return;
            }
        };
        if name == "snapshot.json" {
            self.origin(name, object);
            return;
        }
        for token in ["NextToken", "NextMarker"] {
            if object.get(token).is_some_and(|token| !token.is_null()) {
                self.warnings.push(format!(
                    "{name}: holds one page of several ({token} is set); what the others hold is missing. \
                     {}, without --max-items and --no-paginate",
                    print_anew(name)
                ));
                self.damage(name);
            }
        }
        macro_rules! pile {
            ($pile:expr, $value:expr) => {
                merge(&mut self.warnings, &mut $pile, name, $value)
            };
        }
        let named = |source: &Source| name_of(name, source);
        if let Some(value) = object.remove("LoadBalancers") {
            pile!(self.load_balancers, value);
        } else if let Some(value) = object.remove("TargetGroups") {
            pile!(self.target_groups, value);
        } else if let Some(value) = object.remove("Listeners") {
            pile!(self.listeners, value);
        } else if let Some(value) = object.remove("Rules") {
            pile!(self.rules, value);
        } else if let Some(value) = object.remove("TagDescriptions") {
            pile!(self.tags, value);
        } else if let Some(value) = object.remove("SecurityGroups") {
            pile!(self.security_groups, value);
        } else if let Some(value) = object.remove("NetworkInterfaces") {
            pile!(self.network_interfaces, value);
        } else if let Some(value) = object.remove("Reservations") {
            pile!(self.reservations, value);
        } else if let Some(value) = object.remove("Subnets") {
            pile!(self.subnets, value);
        } else if let Some(value) = object.remove("NetworkAcls") {
            pile!(self.network_acls, value);
        } else if let Some(value) = object.remove("TargetHealthDescriptions") {
            let content = read(&mut self.warnings, name, value);
            self.target_health.push(Named { name: named(&TARGET_HEALTH), content });
        } else if let Some(value) = object.remove("Entries") {
            match named(&PREFIX_LIST) {
                Some(id) => {
                    if let Some(entries) =
                        read::<Vec<PrefixListEntry>>(&mut self.warnings, name, value)
                    {
                        let entries = entries.into_iter().map(|entry| entry.cidr);
                        self.prefix_lists.entry(id).or_default().extend(entries);
                    }
                }
                None => self.warnings.push(format!(
                    "{name}: holds the entries of a prefix list but does not say of which; it should be \
                     named {}; not used",
                    PREFIX_LIST.file(Some("<pl-id>"))
                )),
            }
        } else if let Some(value) = object.remove("Attributes") {
            if name.starts_with(LOAD_BALANCER_ATTRIBUTES.stem) {
                let content = read(&mut self.warnings, name, value);
                self.load_balancer_attributes
                    .push(Named { name: named(&LOAD_BALANCER_ATTRIBUTES), content });
            } else if name.starts_with(TARGET_GROUP_ATTRIBUTES.stem) {
                let content = read(&mut self.warnings, name, value);
                self.target_group_attributes
                    .push(Named { name: named(&TARGET_GROUP_ATTRIBUTES), content });
            } else {
                self.warnings.push(format!(
                    "{name}: holds attributes but does not say of what; it should be named {} or {}; \
                     not used",
                    LOAD_BALANCER_ATTRIBUTES.file(Some("<load balancer>")),
                    TARGET_GROUP_ATTRIBUTES.file(Some("<target group>"))
                ));
            }
        } else if let Some(value) = object.remove("MetricDataResults") {
            let content = read(&mut self.warnings, name, value);
            self.metrics.push(Named { name: named(&METRICS), content });
        } else {
            self.warnings.push(format!(
                "{name}: not an answer of AWS that alb502 knows; not used. {}",
                print_anew(name)
            ));
            self.damage(name);
        }
    }

    fn origin(&mut self, name: &str, object: Map<String, Value>) {
        let origin: Origin = match serde_json::from_value(Value::Object(object)) {
            Ok(origin) => origin,
            Err(error) => {
                self.warnings.push(format!(
                    "{name}: should be {{\"taken_at\", \"account\", \"region\"}}, all text ({error}); not \
                     used"
                ));
                return;
            }
        };
        self.taken_at = origin.taken_at.and_then(|text| match text.parse() {
            Ok(time) => Some(time),
            Err(error) => {
                self.warnings.push(format!(
                    "{name}: taken_at should be a time such as 2026-03-01T12:00:00Z ({error})"
                ));
                None
            }
        });
        self.account = origin.account;
        self.region = origin.region;
    }

    /// A file that cannot be read leaves a hole in what its name says it holds.
    fn damage(&mut self, name: &str) {
        let Some(source) = SOURCES.iter().find(|source| name.starts_with(source.stem)) else {
            return;
        };
        let hole = Some(name.to_owned());
        let part = name_of(name, source);
        match source.stem {
            stem if stem == LOAD_BALANCERS.stem => self.load_balancers.damaged = hole,
            stem if stem == TARGET_GROUPS.stem => self.target_groups.damaged = hole,
            stem if stem == LISTENERS.stem => self.listeners.damaged = hole,
            stem if stem == RULES.stem => self.rules.damaged = hole,
            stem if stem == TAGS.stem => self.tags.damaged = hole,
            stem if stem == SECURITY_GROUPS.stem => self.security_groups.damaged = hole,
            stem if stem == NETWORK_INTERFACES.stem => self.network_interfaces.damaged = hole,
            stem if stem == INSTANCES.stem => self.reservations.damaged = hole,
            stem if stem == SUBNETS.stem => self.subnets.damaged = hole,
            stem if stem == NETWORK_ACLS.stem => self.network_acls.damaged = hole,
            stem if stem == TARGET_HEALTH.stem => {
                self.target_health.push(Named { name: part, content: None });
            }
            stem if stem == LOAD_BALANCER_ATTRIBUTES.stem => {
                self.load_balancer_attributes.push(Named { name: part, content: None });
            }
            stem if stem == TARGET_GROUP_ATTRIBUTES.stem => {
                self.target_group_attributes.push(Named { name: part, content: None });
            }
            stem if stem == METRICS.stem => {
                self.metrics.push(Named { name: part, content: None });
            }
            // A prefix list that is not there cannot be expanded, and the checks say so.
            _ => {}
        }
    }
}

/// What to do about a file that is of no use.
fn print_anew(name: &str) -> String {
    match SOURCES.iter().find(|source| name.starts_with(source.stem)) {
        Some(source) => {
            let service = match source.permission.split_once(':') {
                Some(("elasticloadbalancing", _)) => "elbv2",
                Some((service, _)) => service,
                None => "",
            };
            format!("Print it anew with `aws {service} {} --output json`", source.stem)
        }
        None => "Take it out of the folder, or `alb502 snapshot` makes a new one".to_owned(),
    }
}

/// `shop-web` in `describe-target-health.shop-web.json`.
fn name_of(file: &str, source: &Source) -> Option<String> {
    let rest = file.strip_prefix(source.stem)?;
    let rest = rest.strip_suffix(".json").unwrap_or(rest);
    rest.strip_prefix('.').filter(|name| !name.is_empty()).map(str::to_owned)
}

fn read<T: DeserializeOwned>(warnings: &mut Vec<String>, name: &str, value: Value) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(content) => Some(content),
        Err(error) => {
            warnings.push(format!(
                "{name}: not in the form that the AWS CLI prints ({error}); not used. {}",
                print_anew(name)
            ));
            None
        }
    }
}

fn merge<T: DeserializeOwned>(
    warnings: &mut Vec<String>,
    pile: &mut Pile<T>,
    name: &str,
    value: Value,
) {
    match read::<Vec<T>>(warnings, name, value) {
        Some(mut items) => {
            pile.items.append(&mut items);
            pile.files += 1;
        }
        None => pile.damaged = Some(name.to_owned()),
    }
}

#[cfg(test)]
mod tests;
