//! The configuration of a load balancer as the files of a snapshot.
//!
//! Written is what a check reads and nothing else: no user data of instances, which is never asked for, no
//! descriptions, and of tags only those of alb502.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    actions::DESCRIBE_TARGET_GROUPS,
    ask::Asker,
    balancer::{Balancer, failed},
    clients::Clients,
    configuration::{Gathering, Subject},
};
use crate::{
    access_log::TimeSpan,
    detection::Window,
    diagnosis::{
        Fact, Facts, Gap,
        metrics::{MetricDataResult, target_group_dimension},
    },
};

/// Tags that a check reads begin with this. Others may hold anything.
const TAGS: &str = "alb502:";

/// The files of a snapshot, before they are written.
#[derive(Debug, Default)]
pub struct Saved {
    /// By name.
    pub files: BTreeMap<String, Value>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
    /// How many target groups the load balancer has.
    pub target_groups: usize,
    /// A list under its key, for each file of which every target group adds a part.
    lists: BTreeMap<String, (&'static str, Vec<Value>)>,
}

impl Saved {
    /// Reads the configuration of a load balancer and of all its target groups, and the metrics of the
    /// span.
    ///
    /// # Errors
    /// When not even the target groups are known.
    pub async fn of(
        clients: &Clients,
        balancer: &Balancer,
        span: &TimeSpan,
    ) -> Result<Self, String> {
        let clients = clients.region(&balancer.region);
        let call = clients.elbv2.describe_target_groups().load_balancer_arn(&balancer.arn);
        let pages = call.into_paginator().items().send().collect::<Result<Vec<_>, _>>();
        let groups = pages.await.map_err(|error| failed(DESCRIBE_TARGET_GROUPS, &error))?;
        let groups: Vec<String> = groups.into_iter().filter_map(|it| it.target_group_arn).collect();
        let window =
            Window { start: span.since.as_microsecond(), end: span.until.as_microsecond() };
        let mut saved = Self { target_groups: groups.len(), ..Self::default() };
        // A load balancer without target groups has a configuration too.
        let subjects: Vec<Option<&str>> = match groups.as_slice() {
            [] => vec![None],
            groups => groups.iter().map(|arn| Some(arn.as_str())).collect(),
        };
        for target_group_arn in subjects {
            let asker = Asker::new(None);
            let subject = Subject {
                load_balancer_arn: balancer.arn.clone(),
                load_balancer: &balancer.id,
                target_group_arn,
                window,
                failing: Vec::new(),
                region: &balancer.region,
                account: &balancer.account,
            };
            let gathering = Gathering::of(&clients, &asker, &subject);
            let facts = gathering.facts().await;
            let now = facts.taken_at.unwrap_or(span.until);
            let group = target_group_arn.map(target_group_dimension);
            let metrics = gathering.cloudwatch.metrics(&balancer.id, group, window, now).await;
            saved.add(&facts, &metrics, balancer, target_group_arn);
        }
        saved.finish();
        Ok(saved)
    }

    fn add(
        &mut self,
        facts: &Facts,
        metrics: &Fact<Vec<MetricDataResult>>,
        balancer: &Balancer,
        target_group_arn: Option<&str>,
    ) {
        let name = balancer.id.split('/').nth(1).unwrap_or(&balancer.id);
        let taken_at = facts.taken_at.map(|time| time.to_string());
        self.files.insert(
            "snapshot.json".to_owned(),
            json!({ "taken_at": taken_at, "account": balancer.account, "region": balancer.region }),
        );
        self.list("describe-load-balancers", "LoadBalancers", facts.load_balancer.known());
        self.list("describe-listeners", "Listeners", facts.listeners.known().into_iter().flatten());
        self.list("describe-rules", "Rules", facts.rules.known().into_iter().flatten());
        let groups = facts.security_groups.known().into_iter().flat_map(BTreeMap::values);
        self.list("describe-security-groups", "SecurityGroups", groups);
        let interfaces = facts.network_interfaces.known().into_iter().flatten();
        self.list("describe-network-interfaces", "NetworkInterfaces", interfaces);
        let instances = facts.instances.known().into_iter().flatten();
        let reservations = instances.map(|instance| json!({ "Instances": [instance] }));
        self.list("describe-instances", "Reservations", reservations);
        self.list("describe-subnets", "Subnets", facts.subnets.known().into_iter().flatten());
        let acls = facts.network_acls.known().into_iter().flatten();
        self.list("describe-network-acls", "NetworkAcls", acls);
        if let Fact::Known(attributes) = &facts.load_balancer_attributes {
            let file = format!("describe-load-balancer-attributes.{name}");
            self.list(&file, "Attributes", pairs(attributes));
        }
        for (id, blocks) in &facts.prefix_lists {
            let file = format!("get-managed-prefix-list-entries.{id}");
            self.list(&file, "Entries", blocks.iter().map(|block| json!({ "Cidr": block })));
        }
        if let Fact::Known(results) = metrics {
            let file = format!("get-metric-data.{name}");
            self.list(&file, "MetricDataResults", results.iter().map(metric));
        }
        if let Some(arn) = target_group_arn {
            let group = arn.rsplit('/').nth(1).unwrap_or(arn);
            self.list("describe-target-groups", "TargetGroups", facts.target_group.known());
            if let Fact::Known(attributes) = &facts.target_group_attributes {
                let file = format!("describe-target-group-attributes.{group}");
                self.list(&file, "Attributes", pairs(attributes));
            }
            if let Fact::Known(targets) = &facts.target_health {
                let file = format!("describe-target-health.{group}");
                self.list(&file, "TargetHealthDescriptions", targets);
            }
            if let Fact::Known(tags) = &facts.target_group_tags {
                let own = tags.iter().filter(|(key, _)| key.starts_with(TAGS));
                let own: Vec<Value> = pairs(own).collect();
                let described = [json!({ "ResourceArn": arn, "Tags": own })];
                self.list("describe-tags", "TagDescriptions", described);
            }
        }
        // What hangs on another target group is no gap of this one.
        let gaps = facts
            .gaps()
            .into_iter()
            .filter(|gap| target_group_arn.is_some() || gap.permission.is_some());
        for gap in gaps {
            if !self.gaps.contains(&gap) {
                self.gaps.push(gap);
            }
        }
    }

    /// Adds to the list of a file, in the order of AWS. What several target groups share is written once.
    fn list<T: Serialize>(
        &mut self,
        stem: &str,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
    ) {
        let (_, list) = self.lists.entry(format!("{stem}.json")).or_insert((key, Vec::new()));
        for item in items {
            let item = without_null(serde_json::to_value(item).unwrap_or_default());
            if !list.contains(&item) {
                list.push(item);
            }
        }
    }

    /// A list is written when all of it was seen: half of a list is not the list.
    fn finish(&mut self) {
        for (file, (key, list)) in std::mem::take(&mut self.lists) {
            if !self.gaps.iter().any(|gap| hides(gap, &file)) {
                self.files.insert(file, json!({ key: list }));
            }
        }
    }
}

/// Whether a gap is about the whole of what the file would hold, or a part that was not seen.
fn hides(gap: &Gap, file: &str) -> bool {
    let stem = match gap.fact.as_str() {
        "load balancer" => "describe-load-balancers.",
        "listeners" => "describe-listeners.",
        "listener rules" => "describe-rules.",
        "target group" => "describe-target-groups.",
        "target group tags" => "describe-tags.",
        "instances" => "describe-instances.",
        "network interfaces" => "describe-network-interfaces.",
        "security groups" => "describe-security-groups.",
        "subnets" => "describe-subnets.",
        "network ACLs" => "describe-network-acls.",
        _ => return false,
    };
    file.starts_with(stem)
}

fn pairs<'a>(
    map: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = Value> {
    map.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value }))
}

fn metric(result: &MetricDataResult) -> Value {
    let time =
        |micros: &i64| Timestamp::from_microsecond(*micros).ok().map(|time| time.to_string());
    json!({
        "Label": result.label,
        "Timestamps": result.timestamps.iter().map(time).collect::<Vec<_>>(),
        "Values": result.values,
        "StatusCode": result.status_code,
    })
}

/// The AWS CLI leaves out what has no value.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        other => other,
    }
}
