//! The configuration of one load balancer and one target group, in at most four rounds of calls.
//!
//! | round | calls at the same time | needs |
//! |---|---|---|
//! | 1 | load balancer, its attributes and listeners; target group, its attributes, health and tags; metrics | the ARNs, which the log gives |
//! | 2 | rules; instances and network interfaces of the targets | listeners, target health |
//! | 3 | security groups, subnets, network ACLs | what round 2 found |
//! | 4 | entries of prefix lists, where a rule names one | the rules of the security groups |
//!
//! A load balancer of another account takes one call more, before these: for a role there.
//!
//! A call that fails is a gap, and so is what hangs on it. What EC2 leaves out of an answer is one too.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
    time::Instant,
};

use jiff::Timestamp;

use super::{
    actions::{
        DESCRIBE_INSTANCES, DESCRIBE_NETWORK_ACLS, DESCRIBE_NETWORK_INTERFACES, DESCRIBE_RULES,
        DESCRIBE_SECURITY_GROUPS, DESCRIBE_SUBNETS, DESCRIBE_TAGS,
        DESCRIBE_TARGET_GROUP_ATTRIBUTES, DESCRIBE_TARGET_GROUPS, DESCRIBE_TARGET_HEALTH,
        GET_MANAGED_PREFIX_LIST_ENTRIES,
    },
    ask::Asker,
    clients::{Clients, RegionClients},
    cloudwatch::{self, CloudWatch},
    deadlines::Deadlines,
    ec2::Ec2,
    elbv2::Elbv2,
    facts_role::FactsRoleName,
};
use crate::{
    detection::{Evidence, Window, detector::target_address},
    diagnosis::{
        Fact, Facts, Gap,
        facts::{Instance, NetworkAcl, NetworkInterface, Rule, SecurityGroup, Subnet},
        metrics::target_group_dimension,
    },
    ports::Configuration,
};

/// Addresses that are taken from the log, those with most failures first: one call. The registered
/// targets are asked for beside them, however many.
const MAX_ADDRESSES_OF_THE_LOG: usize = 200;

/// The configuration as ELBv2 and EC2 tell it now.
#[derive(Debug)]
pub struct AwsConfiguration<'a> {
    /// The clients.
    pub clients: &'a Clients,
    /// Until when answers are waited for.
    pub deadlines: Deadlines,
    /// The account that asks, 12 digits, when it is known: another one's load balancer cannot be seen
    /// without a role there.
    pub account: Option<&'a str>,
    /// The role to take in the account of the load balancer, when that is another one.
    pub facts_role: Option<&'a FactsRoleName>,
}

impl Configuration for AwsConfiguration<'_> {
    async fn facts(&self, evidence: &Evidence) -> Facts {
        let load_balancer = &*evidence.load_balancer;
        let (Some(region), Some(account)) = (evidence.region(), evidence.account()) else {
            return Facts::unknown(
                "neither the rows nor the key of the object name the load balancer's account and region",
            );
        };
        let started = Instant::now();
        let asker = Asker::new(self.deadlines.ask);
        let other = self.account.filter(|own| *own != account);
        let clients = match (other, self.facts_role) {
            (None, _) => self.clients.region(region),
            (Some(own), None) => {
                tracing::warn!(load_balancer, account, own, "configuration of another account");
                return Facts::unknown(&format!(
                    "the load balancer is in account {account}; alb502 asks as account {own}, which \
                     cannot see it"
                ));
            }
            (Some(own), Some(role)) => {
                asker.round(5);
                let arn = evidence.load_balancer_arn_in(region, account);
                match role.clients(self.clients, &asker, region, &arn).await {
                    Ok(clients) => Rc::new(clients),
                    Err(reason) => {
                        tracing::warn!(load_balancer, account, own, reason, "role not taken");
                        return Facts::unknown(&reason);
                    }
                }
            }
        };
        let subject = Subject {
            load_balancer_arn: evidence.load_balancer_arn_in(region, account),
            load_balancer,
            target_group_arn: evidence.target_group_arn.as_deref(),
            window: evidence.window,
            failing: failing(evidence),
            region,
            account,
        };
        let facts = Gathering::of(&clients, &asker, &subject).facts().await;
        tracing::info!(
            load_balancer,
            target_group = evidence.target_group_arn.as_deref(),
            calls = asker.calls(),
            gaps = facts.gaps().len(),
            duration_ms = started.elapsed().as_millis() as u64,
            "configuration read"
        );
        facts
    }
}

/// Of what the configuration is read.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) load_balancer_arn: String,
    /// `app/name/id`.
    pub(super) load_balancer: &'a str,
    pub(super) target_group_arn: Option<&'a str>,
    /// The time of the metrics.
    pub(super) window: Window,
    /// Addresses that failed: they may not be registered any more.
    pub(super) failing: Vec<IpAddr>,
    pub(super) region: &'a str,
    pub(super) account: &'a str,
}

pub(super) struct Gathering<'a> {
    elbv2: Elbv2<'a>,
    ec2: Ec2<'a>,
    pub(super) cloudwatch: CloudWatch<'a>,
    subject: &'a Subject<'a>,
}

impl<'a> Gathering<'a> {
    pub(super) fn of(
        clients: &'a RegionClients,
        asker: &'a Asker,
        subject: &'a Subject<'a>,
    ) -> Self {
        Self {
            elbv2: Elbv2 { client: &clients.elbv2, asker },
            ec2: Ec2 { client: &clients.ec2, asker },
            cloudwatch: CloudWatch { client: &clients.cloudwatch, asker },
            subject,
        }
    }

    pub(super) async fn facts(&self) -> Facts {
        #[expect(clippy::disallowed_methods, reason = "a shell: what AWS says is of this moment")]
        let taken_at = Timestamp::now();
        let arn = self.subject.load_balancer_arn.as_str();
        let group_arn = self.subject.target_group_arn;
        let group = group_arn.map(target_group_dimension);
        let (load_balancer_id, window) = (self.subject.load_balancer, self.subject.window);

        let asker = self.elbv2.asker;
        asker.round(4);
        let (
            load_balancer,
            load_balancer_attributes,
            listeners,
            target_group,
            target_group_attributes,
            target_health,
            target_group_tags,
            metrics,
        ) = tokio::join!(
            self.elbv2.load_balancer(arn),
            self.elbv2.load_balancer_attributes(arn),
            self.elbv2.listeners(arn),
            of_group(group_arn, DESCRIBE_TARGET_GROUPS.fact, |arn| self.elbv2.target_group(arn)),
            of_group(group_arn, DESCRIBE_TARGET_GROUP_ATTRIBUTES.fact, |arn| {
                self.elbv2.target_group_attributes(arn)
            }),
            of_group(group_arn, DESCRIBE_TARGET_HEALTH.fact, |arn| self.elbv2.target_health(arn)),
            of_group(group_arn, DESCRIBE_TAGS.fact, |arn| self.elbv2.tags(arn)),
            self.cloudwatch.metrics(load_balancer_id, group, window, taken_at),
        );
        let mut facts = Facts {
            taken_at: Some(taken_at),
            account: Some(self.subject.account.to_owned()),
            region: Some(self.subject.region.to_owned()),
            load_balancer,
            load_balancer_attributes,
            listeners,
            target_group,
            target_group_attributes,
            target_health,
            target_group_tags,
            ..Facts::unknown("not asked for")
        };
        facts.metrics = cloudwatch::read(metrics, group, facts.target_group.known(), window);

        asker.round(3);
        (facts.rules, facts.instances, facts.network_interfaces) = tokio::join!(
            self.rules(&facts),
            self.instances(&facts),
            self.network_interfaces(&facts),
        );
        asker.round(2);
        (facts.security_groups, facts.subnets, facts.network_acls) = tokio::join!(
            self.security_groups(&facts),
            self.subnets(&facts),
            self.network_acls(&facts),
        );
        asker.round(1);
        (facts.prefix_lists, facts.other_gaps) = self.prefix_lists(&facts).await;
        facts.other_gaps.extend(self.left_out(&facts));
        facts
    }

    async fn rules(&self, facts: &Facts) -> Fact<Vec<Rule>> {
        match &facts.listeners {
            Fact::Known(listeners) => self.elbv2.rules(listeners).await,
            Fact::Unknown(gap) => Fact::Unknown(gap.of(DESCRIBE_RULES.fact)),
        }
    }

    async fn instances(&self, facts: &Facts) -> Fact<Vec<Instance>> {
        match &facts.target_health {
            Fact::Unknown(gap) => Fact::Unknown(gap.of(DESCRIBE_INSTANCES.fact)),
            Fact::Known(_) => self.ec2.instances(&instance_ids(facts)).await,
        }
    }

    async fn network_interfaces(&self, facts: &Facts) -> Fact<Vec<NetworkInterface>> {
        self.ec2.network_interfaces(&self.addresses(facts), vpc(facts)).await
    }

    /// The addresses that failed and the registered ones. The former are asked for whatever the target
    /// type: a target that left is no longer registered, and when the health or the instances may not
    /// be seen, this is the other way to the same security groups. One that left and did not fail is
    /// nobody's concern.
    fn addresses(&self, facts: &Facts) -> Vec<IpAddr> {
        let registered = facts
            .target_health
            .known()
            .into_iter()
            .flatten()
            .filter_map(|target| target.target.id.parse::<IpAddr>().ok());
        BTreeSet::from_iter(self.subject.failing.iter().copied().chain(registered))
            .into_iter()
            .collect()
    }

    async fn security_groups(&self, facts: &Facts) -> Fact<BTreeMap<String, SecurityGroup>> {
        if is_lambda(facts) {
            return Fact::Known(BTreeMap::new());
        }
        let ids = security_group_ids(facts);
        if let (true, Some(gap)) = (ids.is_empty(), facts.load_balancer.gap()) {
            return Fact::Unknown(gap.of(DESCRIBE_SECURITY_GROUPS.fact));
        }
        self.ec2
            .security_groups(&ids)
            .await
            .map(|groups| groups.into_iter().map(|group| (group.group_id.clone(), group)).collect())
    }

    async fn subnets(&self, facts: &Facts) -> Fact<Vec<Subnet>> {
        let ids = subnet_ids(facts);
        match (ids.is_empty(), facts.load_balancer.gap()) {
            (true, Some(gap)) => Fact::Unknown(gap.of(DESCRIBE_SUBNETS.fact)),
            _ => self.ec2.subnets(&ids).await,
        }
    }

    async fn network_acls(&self, facts: &Facts) -> Fact<Vec<NetworkAcl>> {
        if is_lambda(facts) {
            return Fact::Known(Vec::new());
        }
        let ids = subnet_ids(facts);
        match (ids.is_empty(), facts.load_balancer.gap()) {
            (true, Some(gap)) => Fact::Unknown(gap.of(DESCRIBE_NETWORK_ACLS.fact)),
            _ => self.ec2.network_acls(&ids).await,
        }
    }

    /// What was asked for by a filter and is not in the answer: EC2 says nothing of it.
    fn left_out(&self, facts: &Facts) -> Vec<Gap> {
        let gone = "EC2 does not name it: it is gone, or in another account";
        let mut gaps = Vec::new();
        if let Fact::Known(instances) = &facts.instances {
            let found = instances.iter().map(|it| it.instance_id.clone()).collect();
            gaps.extend(missing(DESCRIBE_INSTANCES.fact, &instance_ids(facts), &found, gone));
        }
        if facts.network_interfaces.known().is_some() {
            let asked: Vec<String> =
                self.addresses(facts).iter().map(ToString::to_string).collect();
            let found = interfaces(facts).flat_map(addresses).collect();
            gaps.extend(missing(
                DESCRIBE_NETWORK_INTERFACES.fact,
                &asked,
                &found,
                "EC2 names none in this VPC: the address is outside of it, in another account, gone, or \
                 of a prefix that an interface holds (EKS)",
            ));
        }
        if let (Fact::Known(groups), false) = (&facts.security_groups, is_lambda(facts)) {
            let found = groups.keys().cloned().collect();
            gaps.extend(missing(
                DESCRIBE_SECURITY_GROUPS.fact,
                &security_group_ids(facts),
                &found,
                gone,
            ));
        }
        if let Fact::Known(subnets) = &facts.subnets {
            let found = subnets.iter().map(|it| it.subnet_id.clone()).collect();
            gaps.extend(missing(DESCRIBE_SUBNETS.fact, &subnet_ids(facts), &found, gone));
        }
        if let (Fact::Known(acls), false) = (&facts.network_acls, is_lambda(facts)) {
            let associations = acls.iter().flat_map(|acl| &acl.associations);
            let found = associations.map(|it| it.subnet_id.clone()).collect();
            gaps.extend(missing(
                DESCRIBE_NETWORK_ACLS.fact,
                &subnet_ids(facts),
                &found,
                "EC2 names no network ACL of this subnet: it is shared by another account",
            ));
        }
        gaps
    }

    /// The prefix lists that rules name. One that cannot be expanded is left out, and is a gap.
    async fn prefix_lists(&self, facts: &Facts) -> (BTreeMap<String, Vec<String>>, Vec<Gap>) {
        let ids: BTreeSet<&str> = facts
            .security_groups
            .known()
            .into_iter()
            .flat_map(BTreeMap::values)
            .flat_map(|group| group.ip_permissions.iter().chain(&group.ip_permissions_egress))
            .flat_map(|permission| &permission.prefix_list_ids)
            .map(|list| list.prefix_list_id.as_str())
            .collect();
        let asked = ids.iter().map(|id| self.ec2.prefix_list_entries(id));
        let answers = futures_util::future::join_all(asked).await;
        let (mut lists, mut gaps) = (BTreeMap::new(), Vec::new());
        for (id, answer) in ids.into_iter().zip(answers) {
            match answer {
                Fact::Known(entries) => {
                    lists.insert(id.to_owned(), entries);
                }
                Fact::Unknown(gap) => {
                    gaps.push(gap.of(&format!("{} {id}", GET_MANAGED_PREFIX_LIST_ENTRIES.fact)));
                }
            }
        }
        (lists, gaps)
    }
}

/// The addresses that failed, those with most failures first.
fn failing(evidence: &Evidence) -> Vec<IpAddr> {
    let targets = evidence.targets.iter().filter(|target| 0 < target.failures);
    targets
        .filter_map(|target| target_address(&target.target)?.0.parse::<IpAddr>().ok())
        .take(MAX_ADDRESSES_OF_THE_LOG)
        .collect()
}

/// Asks about the target group, when there is one.
async fn of_group<'a, T, F: Future<Output = Fact<T>>>(
    arn: Option<&'a str>,
    fact: &str,
    ask: impl FnOnce(&'a str) -> F,
) -> Fact<T> {
    match arn {
        Some(arn) => ask(arn).await,
        None => Fact::Unknown(Gap::never_forwarded(fact)),
    }
}

fn is_lambda(facts: &Facts) -> bool {
    facts.target_group.known().is_some_and(|group| group.is_lambda())
}

fn vpc(facts: &Facts) -> Option<&str> {
    let of_group = facts.target_group.known().and_then(|group| group.vpc_id.as_deref());
    of_group.or_else(|| facts.load_balancer.known().and_then(|it| it.vpc_id.as_deref()))
}

/// The interfaces of the targets, as far as they were found.
fn interfaces(facts: &Facts) -> impl Iterator<Item = &NetworkInterface> {
    let of_instances =
        facts.instances.known().into_iter().flatten().flat_map(|it| &it.network_interfaces);
    facts.network_interfaces.known().into_iter().flatten().chain(of_instances)
}

fn addresses(interface: &NetworkInterface) -> Vec<String> {
    let v4 = interface.private_ip_addresses.iter().map(|it| &it.private_ip_address);
    let v6 = interface.ipv6_addresses.iter().map(|it| &it.ipv6_address);
    interface.private_ip_address.iter().chain(v4).chain(v6).cloned().collect()
}

/// The registered instances.
fn instance_ids(facts: &Facts) -> Vec<String> {
    let targets = facts.target_health.known().into_iter().flatten();
    let ids = targets.map(|target| target.target.id.clone()).filter(|id| id.starts_with("i-"));
    BTreeSet::from_iter(ids).into_iter().collect()
}

/// The security groups of the load balancer and of the targets.
fn security_group_ids(facts: &Facts) -> Vec<String> {
    let of_load_balancer =
        facts.load_balancer.known().into_iter().flat_map(|it| it.security_groups.clone());
    let of_instances = facts.instances.known().into_iter().flatten();
    let of_targets = interfaces(facts)
        .flat_map(|it| &it.groups)
        .chain(of_instances.flat_map(|it| &it.security_groups))
        .map(|group| group.group_id.clone());
    BTreeSet::from_iter(of_load_balancer.chain(of_targets)).into_iter().collect()
}

/// The subnets of the load balancer and of the targets.
fn subnet_ids(facts: &Facts) -> Vec<String> {
    let of_load_balancer = facts
        .load_balancer
        .known()
        .into_iter()
        .flat_map(|it| &it.availability_zones)
        .filter_map(|zone| zone.subnet_id.clone());
    let of_instances = facts.instances.known().into_iter().flatten();
    let of_targets = interfaces(facts)
        .filter_map(|it| it.subnet_id.clone())
        .chain(of_instances.filter_map(|it| it.subnet_id.clone()));
    BTreeSet::from_iter(of_load_balancer.chain(of_targets)).into_iter().collect()
}

/// How many ids a gap names.
const MAX_NAMED: usize = 3;

/// A gap for what was asked for and not found.
fn missing(fact: &str, asked: &[String], found: &BTreeSet<String>, why: &str) -> Option<Gap> {
    let missing: Vec<&str> =
        asked.iter().filter(|id| !found.contains(*id)).map(String::as_str).collect();
    let named = missing.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    let more = match missing.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!missing.is_empty()).then(|| Gap {
        fact: format!("{fact} of {named}{more}"),
        reason: why.to_owned(),
        permission: None,
    })
}
