//! What a snapshot says about one load balancer and one target group.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

impl Snapshot {
    /// What the snapshot says about one load balancer (`app/name/id`) and one target group.
    pub fn facts(
        &self,
        load_balancer_id: &str,
        target_group_arn: Option<&str>,
        window: Window,
    ) -> Facts {
        if let Some(reason) = self.is_of_another(load_balancer_id, target_group_arn) {
            let mut facts = Facts::unknown(&reason);
            facts.taken_at = self.taken_at;
            return facts;
        }
        let load_balancer = self.load_balancer(load_balancer_id);
        let target_group = self.target_group(target_group_arn);
        let account =
            self.account.clone().or_else(|| self.arn_part(load_balancer_id, target_group_arn, 4));
        let region =
            self.region.clone().or_else(|| self.arn_part(load_balancer_id, target_group_arn, 3));
        let listeners = self.listeners(load_balancer_id);
        let mut facts = Facts {
            taken_at: self.taken_at,
            account,
            region,
            load_balancer_attributes: self.load_balancer_attributes(load_balancer_id),
            rules: self.rules(load_balancer_id, listeners.known()),
            listeners,
            target_group_attributes: self.target_group_attributes(target_group_arn),
            target_health: self.target_health(target_group_arn),
            target_group_tags: self.target_group_tags(target_group_arn),
            security_groups: match self.security_groups.fact(&SECURITY_GROUPS) {
                Fact::Known(groups) => Fact::Known(
                    groups.into_iter().map(|group| (group.group_id.clone(), group)).collect(),
                ),
                Fact::Unknown(gap) => Fact::Unknown(gap),
            },
            network_interfaces: self.network_interfaces.fact(&NETWORK_INTERFACES),
            instances: match self.reservations.fact(&INSTANCES) {
                Fact::Known(reservations) => Fact::Known(
                    reservations
                        .into_iter()
                        .flat_map(|reservation| reservation.instances)
                        .collect(),
                ),
                Fact::Unknown(gap) => Fact::Unknown(gap),
            },
            subnets: self.subnets.fact(&SUBNETS),
            network_acls: self.network_acls.fact(&NETWORK_ACLS),
            metrics: self.metrics(load_balancer_id, target_group_arn, target_group.known(), window),
            prefix_lists: self.prefix_lists.clone(),
            probes: Vec::new(),
            other_gaps: self.staleness(window).into_iter().collect(),
            load_balancer,
            target_group,
        };
        self.leave_out_what_is_not_needed(&mut facts);
        facts
    }

    /// A file that a target group of this type does not need is no gap.
    fn leave_out_what_is_not_needed(&self, facts: &mut Facts) {
        fn none_needed<T: Default>(fact: &mut Fact<T>, files: usize, damaged: Option<&String>) {
            if files == 0 && damaged.is_none() {
                *fact = Fact::Known(T::default());
            }
        }
        let Some(group) = facts.target_group.known() else {
            return;
        };
        match group.target_type.as_deref() {
            Some("ip") => none_needed(
                &mut facts.instances,
                self.reservations.files,
                self.reservations.damaged.as_ref(),
            ),
            Some("lambda") => {
                none_needed(
                    &mut facts.instances,
                    self.reservations.files,
                    self.reservations.damaged.as_ref(),
                );
                none_needed(
                    &mut facts.network_interfaces,
                    self.network_interfaces.files,
                    self.network_interfaces.damaged.as_ref(),
                );
                none_needed(
                    &mut facts.network_acls,
                    self.network_acls.files,
                    self.network_acls.damaged.as_ref(),
                );
                none_needed(
                    &mut facts.security_groups,
                    self.security_groups.files,
                    self.security_groups.damaged.as_ref(),
                );
            }
            Some("instance") => {
                // DescribeInstances prints the interfaces of the instances as well.
                let of_instances: Vec<NetworkInterface> = facts
                    .instances
                    .known()
                    .into_iter()
                    .flatten()
                    .flat_map(|instance| instance.network_interfaces.clone())
                    .collect();
                if !of_instances.is_empty()
                    && self.network_interfaces.files == 0
                    && self.network_interfaces.damaged.is_none()
                {
                    facts.network_interfaces = Fact::Known(of_instances);
                }
            }
            _ => {}
        }
    }

    /// Why nothing in the snapshot may be used, when it is one of something else.
    pub(crate) fn is_of_another(
        &self,
        load_balancer_id: &str,
        target_group_arn: Option<&str>,
    ) -> Option<String> {
        for (own, index, what) in [(&self.account, 4, "account"), (&self.region, 3, "region")] {
            if let (Some(own), Some(logged)) =
                (own, target_group_arn.and_then(|arn| arn.split(':').nth(index)))
                && own != logged
            {
                return Some(format!(
                    "the snapshot is of {what} {own}, the target group is in {logged}"
                ));
            }
        }
        let load_balancers = &self.load_balancers;
        if load_balancers.damaged.is_some() || load_balancers.files == 0 {
            return None;
        }
        let found = load_balancers
            .items
            .iter()
            .any(|one| is_named(&one.load_balancer_arn, load_balancer_id));
        let group_found = target_group_arn.is_some_and(|arn| {
            self.target_groups.items.iter().any(|group| group.target_group_arn == arn)
        });
        (!found && !group_found).then(|| {
            let own: Vec<&str> = load_balancers
                .items
                .iter()
                .take(3)
                .map(|one| id_in(&one.load_balancer_arn))
                .collect();
            if own.is_empty() {
                format!("the snapshot describes no load balancer, so not {load_balancer_id}")
            } else {
                format!("the snapshot describes {}, not {load_balancer_id}", own.join(", "))
            }
        })
    }

    fn staleness(&self, window: Window) -> Option<Gap> {
        let taken_at = self.taken_at?;
        let start = Timestamp::from_microsecond(window.start).ok()?;
        let end = Timestamp::from_microsecond(window.end).ok()?;
        let (distance, side) = if taken_at < start {
            (taken_at.duration_until(start), "before")
        } else if end < taken_at {
            (end.duration_until(taken_at), "after")
        } else {
            return None;
        };
        (FRESH < distance).then(|| {
            let hours = distance.as_hours();
            let distance = if hours < 48 {
                format!("{hours} h")
            } else {
                format!("{} days", hours / 24)
            };
            Gap {
                fact: "configuration at the time of the incident".to_owned(),
                reason: format!(
                    "the snapshot was taken at {taken_at}, {distance} {side} the incident, and may show \
                     another configuration"
                ),
                permission: None,
            }
        })
    }

    fn arn_part(
        &self,
        load_balancer_id: &str,
        target_group_arn: Option<&str>,
        index: usize,
    ) -> Option<String> {
        let arn = self.arn_of(load_balancer_id).or(target_group_arn)?;
        arn.split(':').nth(index).filter(|part| !part.is_empty()).map(str::to_owned)
    }

    fn arn_of(&self, load_balancer_id: &str) -> Option<&str> {
        self.load_balancers
            .items
            .iter()
            .map(|one| one.load_balancer_arn.as_str())
            .find(|arn| is_named(arn, load_balancer_id))
    }

    fn load_balancer(&self, id: &str) -> Fact<LoadBalancer> {
        match self.load_balancers.fact(&LOAD_BALANCERS) {
            Fact::Unknown(gap) => Fact::Unknown(gap),
            Fact::Known(all) => {
                all.into_iter().find(|one| is_named(&one.load_balancer_arn, id)).map_or_else(
                    || {
                        Fact::Unknown(
                            LOAD_BALANCERS.gap(format!("no file of the snapshot describes {id}")),
                        )
                    },
                    Fact::Known,
                )
            }
        }
    }

    fn load_balancer_attributes(&self, id: &str) -> Fact<BTreeMap<String, String>> {
        // A load balancer of the same name but another id is another one.
        if 0 < self.load_balancers.files
            && self.load_balancers.damaged.is_none()
            && self.arn_of(id).is_none()
        {
            return Fact::Unknown(
                LOAD_BALANCER_ATTRIBUTES.gap(format!("no file of the snapshot describes {id}")),
            );
        }
        attributes(pick(
            &self.load_balancer_attributes,
            load_balancer_name(id),
            self.is_alone(id),
            &LOAD_BALANCER_ATTRIBUTES,
            "load balancer",
        ))
    }

    /// Whether the snapshot describes this load balancer and no other.
    pub(super) fn is_alone(&self, id: &str) -> bool {
        let described: BTreeSet<&str> =
            self.load_balancers.items.iter().map(|one| one.load_balancer_arn.as_str()).collect();
        described.len() == 1 && described.iter().all(|arn| is_named(arn, id))
    }

    /// Each load balancer that took a request has a listener, so an empty list is a missing file.
    fn listeners(&self, id: &str) -> Fact<Vec<Listener>> {
        match self.listeners.fact(&LISTENERS) {
            Fact::Unknown(gap) => Fact::Unknown(gap),
            Fact::Known(all) => {
                let part = format!(":listener/{id}/");
                let own: Vec<Listener> = all
                    .into_iter()
                    .filter(|listener| listener.listener_arn.contains(&part))
                    .collect();
                if own.is_empty() {
                    Fact::Unknown(
                        LISTENERS.gap(format!("no file of the snapshot holds a listener of {id}")),
                    )
                } else {
                    Fact::Known(own)
                }
            }
        }
    }

    /// Each listener has a default rule, so a listener without any is a missing file.
    fn rules(&self, id: &str, listeners: Option<&Vec<Listener>>) -> Fact<Vec<Rule>> {
        let own: Vec<Rule> = match self.rules.fact(&RULES) {
            Fact::Unknown(gap) => return Fact::Unknown(gap),
            Fact::Known(all) => {
                let part = format!(":listener-rule/{id}/");
                all.into_iter().filter(|rule| rule.rule_arn.contains(&part)).collect()
            }
        };
        if own.is_empty() {
            return Fact::Unknown(
                RULES.gap(format!("no file of the snapshot holds a rule of {id}")),
            );
        }
        let without = listeners.into_iter().flatten().find(|listener| {
            let prefix =
                format!("{}/", listener.listener_arn.replace(":listener/", ":listener-rule/"));
            !own.iter().any(|rule| rule.rule_arn.starts_with(&prefix))
        });
        match without {
            Some(listener) => Fact::Unknown(RULES.gap(format!(
                "no file of the snapshot holds the rules of the listener {}",
                listener.port.map_or_else(
                    || listener.listener_arn.clone(),
                    |port| format!("on port {port}")
                )
            ))),
            None => Fact::Known(own),
        }
    }

    fn target_group(&self, arn: Option<&str>) -> Fact<TargetGroup> {
        let Some(arn) = arn else {
            return Fact::Unknown(Gap::never_forwarded(TARGET_GROUPS.fact));
        };
        match self.target_groups.fact(&TARGET_GROUPS) {
            Fact::Unknown(gap) => Fact::Unknown(gap),
            Fact::Known(all) => {
                all.into_iter().find(|group| group.target_group_arn == arn).map_or_else(
                    || Fact::Unknown(self.no_such_group(&TARGET_GROUPS, arn)),
                    Fact::Known,
                )
            }
        }
    }

    fn no_such_group(&self, source: &Source, arn: &str) -> Gap {
        source.gap(format!("no file of the snapshot describes {arn}"))
    }

    /// The name of the group, when files of that name are about it: another account may have a group of
    /// the same name.
    fn group_name<'a>(
        &self,
        source: &Source,
        arn: Option<&'a str>,
    ) -> Result<(&'a str, bool), Gap> {
        let arn = arn.ok_or_else(|| Gap::never_forwarded(source.fact))?;
        let name = arn.rsplit('/').nth(1).unwrap_or(arn);
        let all: BTreeSet<&str> =
            self.target_groups.items.iter().map(|group| group.target_group_arn.as_str()).collect();
        if 0 < self.target_groups.files
            && self.target_groups.damaged.is_none()
            && !all.contains(arn)
        {
            return Err(self.no_such_group(source, arn));
        }
        Ok((name, all.len() == 1))
    }

    fn target_group_attributes(&self, arn: Option<&str>) -> Fact<BTreeMap<String, String>> {
        let source = &TARGET_GROUP_ATTRIBUTES;
        attributes(self.group_name(source, arn).and_then(|(name, alone)| {
            pick(&self.target_group_attributes, name, alone, source, "target group")
        }))
    }

    fn target_health(&self, arn: Option<&str>) -> Fact<Vec<TargetHealthDescription>> {
        let source = &TARGET_HEALTH;
        match self.group_name(source, arn).and_then(|(name, alone)| {
            pick(&self.target_health, name, alone, source, "target group")
        }) {
            Ok(targets) => Fact::Known(targets.clone()),
            Err(gap) => Fact::Unknown(gap),
        }
    }

    fn target_group_tags(&self, arn: Option<&str>) -> Fact<BTreeMap<String, String>> {
        let Some(arn) = arn else {
            return Fact::Unknown(Gap::never_forwarded(TAGS.fact));
        };
        match self.tags.fact(&TAGS) {
            Fact::Unknown(gap) => Fact::Unknown(gap),
            Fact::Known(all) => {
                all.into_iter().find(|description| description.resource_arn == arn).map_or_else(
                    || Fact::Unknown(self.no_such_group(&TAGS, arn)),
                    |description| Fact::Known(map(description.tags)),
                )
            }
        }
    }
}

/// The file of this name; without one, the file without a name when there is only one thing that it can
/// be about.
fn pick<'a, T>(
    files: &'a [Named<T>],
    name: &str,
    alone: bool,
    source: &Source,
    what: &str,
) -> Result<&'a T, Gap> {
    let named: Vec<&Named<T>> =
        files.iter().filter(|file| file.name.as_deref() == Some(name)).collect();
    let unnamed: Vec<&Named<T>> = files.iter().filter(|file| file.name.is_none()).collect();
    let candidates = if named.is_empty() { &unnamed } else { &named };
    if named.is_empty() && !unnamed.is_empty() && !alone {
        return Err(source.gap(format!(
            "{} in the snapshot does not say of which {what} it is; it should be named {}",
            source.file(None),
            source.file(Some(name))
        )));
    }
    match candidates.as_slice() {
        [] => Err(source.missing(Some(name))),
        several if several.iter().any(|file| file.content.is_none()) => Err(source.gap(format!(
            "{} in the snapshot cannot be read",
            source.file(several[0].name.as_deref())
        ))),
        [first, ..] => first.content.as_ref().ok_or_else(|| source.missing(Some(name))),
    }
}

fn attributes(found: Result<&Vec<KeyValue>, Gap>) -> Fact<BTreeMap<String, String>> {
    match found {
        Ok(pairs) => Fact::Known(map(pairs.clone())),
        Err(gap) => Fact::Unknown(gap),
    }
}

fn map(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()
}

/// `name` in `app/name/id`: what files are called by.
pub(super) fn load_balancer_name(id: &str) -> &str {
    id.split('/').nth(1).unwrap_or(id)
}

/// `app/name/id` in an ARN of a load balancer.
fn id_in(arn: &str) -> &str {
    arn.split_once(":loadbalancer/").map_or(arn, |(_, id)| id)
}

fn is_named(arn: &str, id: &str) -> bool {
    id_in(arn) == id
}
