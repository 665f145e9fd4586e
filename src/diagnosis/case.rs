//! Names and counts that several checks and causes ask a case for.

use super::{Case, Fact, Gap, LoadBalancerName, TargetGroupName, facts::TargetGroup};
use crate::detection::{Signature, evidence::TargetEvidence};

impl<'a> Case<'a> {
    /// How many failures have this signature.
    pub fn count(&self, signature: Signature) -> u64 {
        self.evidence.signatures.get(&signature).copied().unwrap_or(0)
    }

    /// Failures after the request was sent: the connection ended without a response.
    pub fn closed(&self) -> u64 {
        self.count(Signature::ClosedEarly) + self.count(Signature::ClosedLate)
    }

    /// Failures of which the log shows that something answered: a dropped packet cannot look so.
    pub fn answered(&self) -> u64 {
        [
            Signature::TargetMade,
            Signature::NotConnected,
            Signature::ClosedEarly,
            Signature::ClosedLate,
        ]
        .into_iter()
        .map(|signature| self.count(signature))
        .sum()
    }

    /// The ARN of the load balancer, when it was read.
    pub fn load_balancer_arn(&self) -> Option<&'a str> {
        let facts = self.facts;
        facts.load_balancer.known().map(|load_balancer| load_balancer.load_balancer_arn.as_str())
    }

    /// The name of the load balancer: the middle of `app/name/id`.
    pub fn load_balancer_name(&self) -> &'a str {
        let id: &'a str = &self.evidence.load_balancer;
        id.split('/').nth(1).unwrap_or(id)
    }

    /// The ARN of the target group, as read or as the rows name it.
    pub fn target_group_arn(&self) -> Option<&'a str> {
        let (facts, evidence) = (self.facts, self.evidence);
        facts
            .target_group
            .known()
            .map(|group| group.target_group_arn.as_str())
            .or(evidence.target_group_arn.as_deref())
    }

    /// The name of the target group: `name` in `…:targetgroup/name/id`.
    pub fn target_group_name(&self) -> &'a str {
        self.target_group_arn().and_then(|arn| arn.rsplit('/').nth(1)).unwrap_or("the target group")
    }

    /// True when the target group is known to hold a Lambda function.
    pub fn is_lambda(&self) -> bool {
        self.facts.target_group.known().is_some_and(TargetGroup::is_lambda)
    }

    /// The region, from the log, else from the facts.
    pub fn region(&self) -> Option<&'a str> {
        let (facts, evidence) = (self.facts, self.evidence);
        evidence.region().or(facts.region.as_deref())
    }

    /// The account, from the log, else from the facts.
    pub fn account(&self) -> Option<&'a str> {
        let (facts, evidence) = (self.facts, self.evidence);
        evidence.account().or(facts.account.as_deref())
    }

    /// The ARN of the load balancer: as AWS says, else put together from the log.
    pub fn likely_load_balancer_arn(&self) -> Option<String> {
        match self.facts.load_balancer.known() {
            Some(load_balancer) => Some(load_balancer.load_balancer_arn.clone()),
            None => Some(self.evidence.load_balancer_arn_in(self.region()?, self.account()?)),
        }
    }

    /// The load balancer by its names.
    pub fn load_balancer_names(&self) -> LoadBalancerName {
        let id = &*self.evidence.load_balancer;
        LoadBalancerName {
            id: id.to_owned(),
            name: id.split('/').nth(1).unwrap_or(id).to_owned(),
            arn: self.likely_load_balancer_arn(),
            account: self.account().map(ToOwned::to_owned),
            region: self.region().map(ToOwned::to_owned),
        }
    }

    /// The target group by its names.
    pub fn target_group_names(&self) -> Option<TargetGroupName> {
        let arn = self.evidence.target_group_arn.as_deref()?;
        Some(TargetGroupName {
            name: arn.split('/').nth(1).unwrap_or(arn).to_owned(),
            arn: arn.to_owned(),
        })
    }

    /// The target group, when it is known.
    pub fn target_group(&self) -> Option<&TargetGroup> {
        self.facts.target_group.known()
    }

    /// Whether the target group is a Lambda function: as AWS says, else as the rows look. A Lambda
    /// group's rows never name a target.
    pub fn looks_like_lambda(&self) -> Option<bool> {
        if let Some(group) = self.target_group() {
            return Some(group.is_lambda());
        }
        if !self.evidence.targets.is_empty() {
            return Some(false);
        }
        (0 < self.evidence.successes_without_target).then_some(true)
    }

    /// Whether the load balancer speaks TLS to the targets.
    pub fn is_https_group(&self) -> Option<bool> {
        let protocol = self.target_group()?.protocol.as_deref()?;
        Some(protocol.eq_ignore_ascii_case("HTTPS"))
    }

    /// A target as the log shows it.
    pub fn target(&self, name: &str) -> Option<&TargetEvidence> {
        self.evidence.target(name)
    }

    /// True when the configuration was read before the incident, or more than an hour after it.
    pub fn facts_are_stale(&self) -> bool {
        const HOUR_MICROS: i64 = 3_600_000_000;
        let window = self.evidence.window;
        self.facts.taken_at.is_some_and(|taken| {
            let taken = taken.as_microsecond();
            taken < window.start || window.end.saturating_add(HOUR_MICROS) < taken
        })
    }

    /// The state that AWS gives a target, by the address in the log. Instance targets are found by the
    /// private address of the instance. `None` when the health is not known or the target cannot be
    /// matched; [`TargetState::NotRegistered`] when the list is known and the target is not in it.
    pub fn target_state(&self, target: &str) -> Option<TargetState> {
        let (address, port) = crate::detection::detector::target_address(target)?;
        let health = self.facts.target_health.known()?;
        let mut unresolved = false;
        for description in health {
            let registered_port =
                description.target.port.or_else(|| self.target_group().and_then(|it| it.port));
            let addresses = self.addresses_of(&description.target.id);
            unresolved |= addresses.is_none();
            if addresses.is_some_and(|list| list.contains(&address))
                && registered_port.is_none_or(|registered| registered == port)
            {
                let state =
                    TargetState::Registered(description.target_health.as_ref()?.state.clone()?);
                // A list from before its last rows does not say that it stayed.
                let last = self.target(target).map_or(i64::MIN, |target| target.last_seen);
                let older = self.facts.taken_at.is_some_and(|taken| taken.as_microsecond() < last);
                return (state.is_leaving() || !older).then_some(state);
            }
        }
        // A list from before the target appeared, or failed, does not say that it left.
        let seen = self.target(target).map_or(i64::MIN, |target| target.first_seen);
        let older = self.facts.taken_at.is_some_and(|taken| taken.as_microsecond() <= seen);
        (!unresolved && !older).then_some(TargetState::NotRegistered)
    }

    /// The addresses under which the log may name a registered target: an instance has one in IPv4, and
    /// in a target group of IPv6 the one of its primary interface.
    pub(super) fn addresses_of<'b>(&'b self, id: &'b str) -> Option<Vec<&'b str>> {
        if id.parse::<std::net::IpAddr>().is_ok() {
            return Some(vec![id]);
        }
        let instance =
            self.facts.instances.known()?.iter().find(|instance| instance.instance_id == id)?;
        let v6 = instance
            .network_interfaces
            .iter()
            .flat_map(|interface| &interface.ipv6_addresses)
            .map(|address| address.ipv6_address.as_str());
        let addresses: Vec<&str> =
            instance.private_ip_address.as_deref().into_iter().chain(v6).collect();
        (!addresses.is_empty()).then_some(addresses)
    }

    /// True when AWS says that every registered target is healthy; `None` when the health is not known
    /// or nothing is registered.
    pub fn all_targets_healthy(&self) -> Option<bool> {
        let health = self.facts.target_health.known()?;
        if health.is_empty() {
            return None;
        }
        Some(health.iter().all(|target| {
            target.target_health.as_ref().and_then(|health| health.state.as_deref())
                == Some("healthy")
        }))
    }

    /// An attribute of the load balancer as AWS writes it, or why it is not known.
    pub fn load_balancer_attribute(&self, key: &str) -> Result<&'a str, Gap> {
        attribute(&self.facts.load_balancer_attributes, key)
    }

    /// An attribute of the target group as AWS writes it, or why it is not known.
    pub fn target_group_attribute(&self, key: &str) -> Result<&'a str, Gap> {
        attribute(&self.facts.target_group_attributes, key)
    }
}

fn attribute<'a>(
    attributes: &'a Fact<std::collections::BTreeMap<String, String>>,
    key: &str,
) -> Result<&'a str, Gap> {
    match attributes {
        Fact::Unknown(gap) => Err(gap.clone()),
        Fact::Known(attributes) => attributes.get(key).map(String::as_str).ok_or_else(|| Gap {
            fact: format!("attribute {key}"),
            reason: "not among the attributes that were read".to_owned(),
            permission: None,
        }),
    }
}

/// What AWS says of a target that the log names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetState {
    /// Registered, in this state.
    Registered(String),
    /// Not registered any more.
    NotRegistered,
}

impl TargetState {
    /// Being taken out of service, or gone.
    pub fn is_leaving(&self) -> bool {
        match self {
            Self::Registered(state) => state == "draining" || state == "unused",
            Self::NotRegistered => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnosis::sample_case::{LOAD_BALANCER_ARN, SampleCase, TARGET_GROUP_ARN};

    #[test]
    fn names_come_from_facts_and_else_from_rows() {
        let mut sample = SampleCase::healthy();
        assert_eq!(sample.case().load_balancer_arn(), Some(LOAD_BALANCER_ARN));
        sample.facts = crate::diagnosis::Facts::unknown("access denied");
        let case = sample.case();
        assert_eq!(case.load_balancer_arn(), None);
        assert_eq!(case.load_balancer_name(), "shop");
        assert_eq!(case.target_group_arn(), Some(TARGET_GROUP_ARN));
        assert_eq!(case.target_group_name(), "shop-web");
        assert_eq!(case.region(), Some("eu-west-1"));
    }

    #[test]
    fn a_missing_attribute_is_a_gap_and_not_a_default() {
        let sample = SampleCase::healthy();
        let gap = sample.case().load_balancer_attribute("no.such").unwrap_err();
        assert_eq!(gap.fact, "attribute no.such");
    }
}
