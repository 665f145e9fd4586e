//! The ports on AWS: S3, ELBv2 with EC2 and CloudWatch, DynamoDB, SNS. The only folder that names an AWS SDK.

#[cfg(feature = "cli")]
mod access_logs;
pub mod actions;
mod ask;
#[cfg(feature = "cli")]
mod balancer;
#[cfg(feature = "cli")]
mod bucket;
#[cfg(feature = "cli")]
mod caller;
mod clients;
mod cloudwatch;
mod configuration;
mod deadlines;
mod ec2;
mod elbv2;
mod facts_role;
mod ledger;
mod log_store;
#[cfg(feature = "cli")]
mod saved;
mod table;
mod topic;

#[cfg(feature = "cli")]
pub use access_logs::{AccessLogs, AccessLogsError, Found, Refusal, StoredLog};
pub use actions::{ACTIONS, Action, Resource};
#[cfg(feature = "cli")]
pub use balancer::Balancer;
#[cfg(feature = "cli")]
pub use bucket::{Bucket, BucketError};
#[cfg(feature = "cli")]
pub use caller::Caller;
pub use clients::Clients;
pub use configuration::AwsConfiguration;
pub use deadlines::Deadlines;
pub use facts_role::{FACTS_ROLE_NAME, FactsRoleName, FactsRoleNameError};
pub use ledger::DynamoLedger;
pub use log_store::S3LogStore;
#[cfg(feature = "cli")]
pub use saved::Saved;
pub use table::{TABLE, TableName, TableNameError};
pub use topic::{SnsNotifier, TOPIC_ARN, TopicArn, TopicArnError};

#[cfg(test)]
mod tests;
