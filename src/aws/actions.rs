//! Every IAM action that alb502 uses: the one table behind the calls, the gaps, the template and the
//! README.

use std::fmt;

/// An IAM action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action {
    /// `service:Name`, as it stands in a policy.
    pub name: &'static str,
    /// What it may be used on.
    pub resource: Resource,
    /// What it shows, as a noun that a gap can begin with.
    pub fact: &'static str,
    /// Why alb502 needs it.
    pub reason: &'static str,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a policy can limit an action to.
///
/// Source: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html>
/// and the pages beside it for CloudWatch, DynamoDB, EC2, S3, SNS and STS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// AWS knows no resource for the action: the policy must say `*`.
    Any,
    /// Managed prefix lists.
    PrefixLists,
    /// The objects under the log prefix.
    LogObjects,
    /// The topic. Only the Lambda function publishes.
    Topic,
    /// The table of the incident ledger. Only the Lambda function remembers.
    Table,
    /// The role `ALB502_FACTS_ROLE_NAME` in every account. Only the Lambda function takes it.
    FactsRole,
    /// The bucket. Only a person who runs `alb502 attach` changes it.
    LogBucket,
    /// What the bucket holds. Only a person asks: the function is told.
    LogBucketList,
}

impl Resource {
    /// Whether the Lambda function needs actions on it.
    pub fn is_for_the_function(self) -> bool {
        !matches!(self, Self::LogBucket | Self::LogBucketList)
    }
}

impl Action {
    /// Whether a person who runs `alb502 diagnose` on AWS needs it.
    pub fn is_for_a_person(&self) -> bool {
        matches!(self.resource, Resource::Any | Resource::PrefixLists | Resource::LogBucketList)
            || *self == GET_OBJECT
    }
}

macro_rules! actions {
    ($($name:ident: $action:literal, $resource:ident, $fact:literal, $reason:literal;)*) => {
        $(pub(super) const $name: Action =
            Action { name: $action, resource: Resource::$resource, fact: $fact, reason: $reason };)*
        /// The actions, in the order of the README.
        pub const ACTIONS: &[Action] = &[$($name),*];
    };
}

actions! {
    GET_OBJECT: "s3:GetObject", LogObjects, "log object",
        "Reads the log objects.";
    GET_OBJECT_VERSION: "s3:GetObjectVersion", LogObjects, "log object",
        "The same in a bucket with versioning, where the event names a version.";
    LIST_BUCKET: "s3:ListBucket", LogBucketList, "list of log objects",
        "Finds the log objects of the time that is asked for.";
    PUBLISH: "sns:Publish", Topic, "message",
        "Publishes the diagnosis.";
    QUERY: "dynamodb:Query", Table, "ledger",
        "What other objects showed, and what was said of the target groups of a load balancer.";
    PUT_ITEM: "dynamodb:PutItem", Table, "ledger",
        "What was said of a target group, unless another copy was faster.";
    BATCH_GET_ITEM: "dynamodb:BatchGetItem", Table, "ledger",
        "Details of the objects that a diagnosis is made from.";
    BATCH_WRITE_ITEM: "dynamodb:BatchWriteItem", Table, "ledger",
        "Counts and details of an object, in one call.";
    DESCRIBE_LOAD_BALANCERS: "elasticloadbalancing:DescribeLoadBalancers", Any, "load balancer",
        "State, security groups and subnets of the load balancer.";
    DESCRIBE_LOAD_BALANCER_ATTRIBUTES: "elasticloadbalancing:DescribeLoadBalancerAttributes", Any,
        "load balancer attributes",
        "The idle timeout, which is compared with the target's keep-alive timeout.";
    DESCRIBE_LISTENERS: "elasticloadbalancing:DescribeListeners", Any, "listeners",
        "Default actions that answer 502 on purpose.";
    DESCRIBE_RULES: "elasticloadbalancing:DescribeRules", Any, "listener rules",
        "Rules that answer 502 on purpose.";
    DESCRIBE_TARGET_GROUPS: "elasticloadbalancing:DescribeTargetGroups", Any, "target group",
        "Protocol, port, target type and health check of the target group.";
    DESCRIBE_TARGET_GROUP_ATTRIBUTES: "elasticloadbalancing:DescribeTargetGroupAttributes", Any,
        "target group attributes",
        "The deregistration delay, and multi-value headers of a Lambda target group.";
    DESCRIBE_TARGET_HEALTH: "elasticloadbalancing:DescribeTargetHealth", Any, "target health",
        "Which targets are registered, on which port, and what the health check says.";
    DESCRIBE_TAGS: "elasticloadbalancing:DescribeTags", Any, "target group tags",
        "The tag alb502:keep-alive-seconds of the target group.";
    DESCRIBE_INSTANCES: "ec2:DescribeInstances", Any, "instances",
        "Address, subnet and security groups of instance targets.";
    DESCRIBE_NETWORK_INTERFACES: "ec2:DescribeNetworkInterfaces", Any, "network interfaces",
        "Subnet and security groups of IP targets.";
    DESCRIBE_SECURITY_GROUPS: "ec2:DescribeSecurityGroups", Any, "security groups",
        "Whether the rules of load balancer and targets let the traffic through.";
    DESCRIBE_SUBNETS: "ec2:DescribeSubnets", Any, "subnets",
        "Address ranges that rules are held against, and free addresses.";
    DESCRIBE_NETWORK_ACLS: "ec2:DescribeNetworkAcls", Any, "network ACLs",
        "Whether the network ACLs let the traffic and its answers through.";
    GET_METRIC_DATA: "cloudwatch:GetMetricData", Any, "metrics",
        "Tells refused connections from failed TLS handshakes, and whether log rows are missing.";
    GET_MANAGED_PREFIX_LIST_ENTRIES: "ec2:GetManagedPrefixListEntries", PrefixLists,
        "entries of prefix list",
        "The address ranges of a prefix list that a security-group rule names.";
    ASSUME_ROLE: "sts:AssumeRole", FactsRole, "role in the account of the load balancer",
        "With `FactsRoleName`: the configuration of a load balancer of another account.";
    GET_BUCKET_NOTIFICATION: "s3:GetBucketNotification", LogBucket, "notification configuration",
        "What the bucket has already, which is kept.";
    PUT_BUCKET_NOTIFICATION: "s3:PutBucketNotification", LogBucket, "notification configuration",
        "Puts in one entry, or the switch of EventBridge.";
}
