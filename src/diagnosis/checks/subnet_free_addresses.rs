//! Has the load balancer room to grow? Looks at the free addresses of its subnets.
//!
//! A load balancer takes addresses for new nodes as traffic grows, and AWS asks for at least eight free
//! ones in each of its subnets. Without them it stops growing and answers errors under load.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case,
    command::{Command, Piece, Value},
    network::{listed, load_balancer_subnets},
};

/// The check.
pub const CHECK: Check = Check {
    id: "subnet-free-addresses",
    title: "Do the load balancer's subnets have free addresses?",
    run,
};

/// What AWS asks for in each subnet.
const FREE_ADDRESSES: u32 = 8;

fn run(case: &Case<'_>) -> Finding {
    let name = case.load_balancer_name();
    let question = format!("Whether the subnets of {name} have free addresses");
    let subnets = match load_balancer_subnets(case.facts) {
        Ok(subnets) => subnets,
        Err(gap) => return Finding::unknown(&question, &gap),
    };
    let mut show = Command::new("aws ec2 describe-subnets --subnet-ids");
    for subnet in subnets.iter().take(6) {
        show = show.joined(&[Piece::Value(Value::Id(&subnet.subnet_id))]);
    }
    let show =
        show.words("--query 'Subnets[*].[SubnetId,AvailableIpAddressCount]'").region(case.region());
    let short: Vec<String> = subnets
        .iter()
        .filter_map(|subnet| {
            subnet
                .available_ip_address_count
                .filter(|free| *free < FREE_ADDRESSES)
                .map(|free| format!("{} ({free} free)", subnet.subnet_id))
        })
        .collect();
    let empty = subnets.iter().any(|subnet| subnet.available_ip_address_count == Some(0));
    let impaired = case
        .facts
        .load_balancer
        .known()
        .and_then(|load_balancer| load_balancer.state.as_ref())
        .and_then(|state| state.code.as_deref())
        == Some("active_impaired");
    let finding = if !short.is_empty() {
        let (outcome, so) = if impaired {
            (Outcome::Fail, "and it is active_impaired already")
        } else if empty {
            (Outcome::Fail, "so it cannot grow")
        } else {
            (Outcome::Advice, "so it may not grow with the traffic")
        };
        Finding::new(
            outcome,
            format!(
                "{name} has fewer than {FREE_ADDRESSES} free addresses in {}, {so}.",
                listed(&short, 3)
            ),
        )
    } else if let Some(subnet) =
        subnets.iter().find(|subnet| subnet.available_ip_address_count.is_none())
    {
        Finding::new(
            Outcome::Unknown,
            format!("{question}: the count of {} is not in its description.", subnet.subnet_id),
        )
    } else {
        let least = subnets
            .iter()
            .filter_map(|subnet| subnet.available_ip_address_count)
            .min()
            .unwrap_or_default();
        Finding::new(
            Outcome::Pass,
            format!(
                "Each of the {} subnets of {name} has {least} or more free addresses.",
                subnets.len()
            ),
        )
    };
    finding.shown_by(show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Fact, sample_case::SampleCase};

    fn with_free(count: Option<u32>) -> SampleCase {
        let mut sample = SampleCase::healthy();
        if let Fact::Known(subnets) = &mut sample.facts.subnets {
            subnets[1].available_ip_address_count = count;
        }
        sample
    }

    #[test]
    fn fails_when_a_subnet_is_full_or_the_load_balancer_impaired() {
        assert_eq!(run(&with_free(Some(0)).case()).outcome, Outcome::Fail);
        let mut sample = with_free(Some(7));
        if let Fact::Known(load_balancer) = &mut sample.facts.load_balancer {
            load_balancer.state.as_mut().unwrap().code = Some("active_impaired".to_owned());
        }
        assert_eq!(run(&sample.case()).outcome, Outcome::Fail);
    }

    #[test]
    fn advises_when_seven_are_free() {
        let finding = run(&with_free(Some(7)).case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("subnet-0b (7 free)"));
    }

    #[test]
    fn passes_when_eight_are_free_whatever_the_targets_have() {
        let mut sample = with_free(Some(8));
        if let Fact::Known(subnets) = &mut sample.facts.subnets {
            subnets[3].available_ip_address_count = Some(0);
        }
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_count_is_absent_or_denied() {
        assert_eq!(run(&with_free(None).case()).outcome, Outcome::Unknown);
        let mut sample = SampleCase::healthy();
        sample.facts.subnets = SampleCase::missing("subnets");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }
}
