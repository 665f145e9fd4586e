//! A load balancer by its name, and where its access logs are.

use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use super::{
    actions::{Action, DESCRIBE_LOAD_BALANCER_ATTRIBUTES, DESCRIBE_LOAD_BALANCERS},
    ask::{Failure, is_denied, reason},
    clients::Clients,
};
use crate::access_log::LogPlace;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};

/// An Application Load Balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balancer {
    /// Its ARN.
    pub arn: String,
    /// `app/name/id`.
    pub id: String,
    /// 12 digits.
    pub account: String,
    /// Its region, which is that of the bucket of its log too.
    pub region: String,
}

impl Balancer {
    /// Finds it by its name or ARN. An ARN names the region; a name is looked for in `region`, or in the
    /// one of the environment or profile.
    ///
    /// # Errors
    /// Why it cannot be found, with the next step.
    pub async fn find(
        clients: &Clients,
        name_or_arn: &str,
        region: Option<&str>,
    ) -> Result<Self, String> {
        if name_or_arn.is_empty() || name_or_arn.contains(char::is_whitespace) {
            return Err("give the name or the ARN of one".to_owned());
        }
        let arn = name_or_arn.starts_with("arn:").then_some(name_or_arn);
        if let Some(refused) = arn.and_then(of_something_else) {
            return Err(refused);
        }
        // As messages of alb502 write it: app/name/id.
        let name = name_or_arn.split('/').nth(1).unwrap_or(name_or_arn);
        let region = arn
            .and_then(|arn| arn.split(':').nth(3))
            .or(region)
            .or_else(|| clients.own_region())
            .filter(|region| !region.is_empty())
            .ok_or("no region is known: give --region, or set AWS_REGION")?;
        let call = clients.region(region).elbv2.describe_load_balancers();
        let call = match arn {
            Some(arn) => call.load_balancer_arns(arn),
            None => call.names(name),
        };
        let found = match call.send().await {
            Ok(output) => output.load_balancers.unwrap_or_default().into_iter().next(),
            Err(error)
                if error.code().is_some_and(|code| code.starts_with("LoadBalancerNotFound")) =>
            {
                None
            }
            Err(error) => return Err(failed(DESCRIBE_LOAD_BALANCERS, &error)),
        };
        let arn = found.and_then(|it| it.load_balancer_arn).ok_or_else(|| {
            format!(
                "there is none in {region} in this account; --region looks in another one. These are \
                 there:\n  aws elbv2 describe-load-balancers --region {region} --query \
                 'LoadBalancers[].LoadBalancerName'"
            )
        })?;
        let (account, id) = application(&arn).ok_or_else(|| {
            format!("{arn} is no Application Load Balancer: only they are diagnosed")
        })?;
        if name_or_arn.starts_with("app/") && name_or_arn != id {
            return Err(format!(
                "there is none of this id any more: {name} was made anew, as {id}. Give its name if you \
                 mean that one"
            ));
        }
        Ok(Self { id, account, region: region.to_owned(), arn })
    }

    /// Where its access log is.
    ///
    /// # Errors
    /// When it has none, with the command that turns it on; or why nobody can say.
    pub async fn logs(&self, clients: &Clients) -> Result<LogPlace, String> {
        let elbv2 = &clients.region(&self.region).elbv2;
        let call = elbv2.describe_load_balancer_attributes().load_balancer_arn(&self.arn).send();
        let output =
            call.await.map_err(|error| failed(DESCRIBE_LOAD_BALANCER_ATTRIBUTES, &error))?;
        let attributes = output.attributes.unwrap_or_default();
        let value = |key: &str| {
            let found = attributes.iter().find(|it| it.key.as_deref() == Some(key));
            found.and_then(|it| it.value.as_deref()).unwrap_or_default()
        };
        let bucket = value("access_logs.s3.bucket");
        if value("access_logs.s3.enabled") != "true" || bucket.is_empty() {
            return Err(logging_is_off(&self.arn, &self.region));
        }
        let prefix = value("access_logs.s3.prefix").trim_matches('/');
        Ok(LogPlace {
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            account: Some(self.account.clone()),
            region: Some(self.region.clone()),
        })
    }
}

pub(super) fn failed<E: Failure>(action: Action, error: &SdkError<E, HttpResponse>) -> String {
    if is_denied(error) { format!("access denied: it needs {action}") } else { reason(error) }
}

/// What is said of an ARN that is none of a load balancer.
fn of_something_else(arn: &str) -> Option<String> {
    if arn.contains(":loadbalancer/") {
        return None;
    }
    Some(if arn.contains(":targetgroup/") {
        "this is the ARN of a target group. Give one of its load balancers:\n  aws elbv2 \
         describe-target-groups --target-group-arns <ARN> --query 'TargetGroups[].LoadBalancerArns[]'"
            .to_owned()
    } else {
        "this is no ARN of a load balancer. Give its name, or \
         arn:aws:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID"
            .to_owned()
    })
}

/// The account and `app/name/id` in an ARN.
fn application(arn: &str) -> Option<(String, String)> {
    let (service, id) = arn.split_once(":loadbalancer/")?;
    let account = service.split(':').nth(4)?;
    id.starts_with("app/").then(|| (account.to_owned(), id.to_owned()))
}

fn logging_is_off(arn: &str, region: &str) -> String {
    format!(
        "its access logs are off, and nothing else says why requests failed. Turn them on, with a bucket \
         that lets Elastic Load Balancing write:\n  aws elbv2 modify-load-balancer-attributes --region \
         {region} \\\n    --load-balancer-arn {arn} \\\n    --attributes \
         Key=access_logs.s3.enabled,Value=true \\\n    Key=access_logs.s3.bucket,Value=<BUCKET>\nRequests \
         from then on are logged; the first object comes after five to ten minutes."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_application_load_balancers_have_such_logs() {
        let arn = |id: &str| {
            format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/{id}")
        };
        assert_eq!(
            application(&arn("app/shop/0a")),
            Some(("123456789012".to_owned(), "app/shop/0a".to_owned()))
        );
        assert_eq!(application(&arn("net/shop/0a")), None);
        assert_eq!(application(&arn("shop")), None);
    }

    #[test]
    fn the_arn_of_something_else_is_told_from_one_that_is_not_there() {
        let arn =
            |rest: &str| format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:{rest}");
        assert_eq!(of_something_else(&arn("loadbalancer/app/shop/0a")), None);
        let group = of_something_else(&arn("targetgroup/shop/0a")).unwrap();
        assert!(group.contains("LoadBalancerArns"), "{group}");
        assert!(
            of_something_else("arn:aws:s3:::shop").unwrap().contains("no ARN of a load balancer")
        );
    }
}
