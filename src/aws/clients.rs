//! The SDK clients: made once per start, one set per region.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use aws_config::{
    BehaviorVersion, ConfigLoader, Region, SdkConfig,
    environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider},
    retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};

/// AWS answers a connection attempt within its region in milliseconds; a lost packet is sent again
/// after one second, so two seconds allow for one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A Describe call takes 50 to 500 ms. Ten times the slowest is no longer an answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A call with its retries. A diagnosis without one fact is worth more than one that is late.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The SDK's standard number: two retries outlast a burst of throttling, more only add to it.
const ATTEMPTS: u32 = 3;

/// Before the first retry, at most; doubled before the second. ELBv2 and EC2 refill their request
/// buckets every second, so half a second on average is where a retry begins to make sense.
const BACKOFF: Duration = Duration::from_millis(500);

/// The ledger is not one fact of many: without it nothing is merged. Five retries, of which the first
/// comes soon: DynamoDB answers in milliseconds, and refuses for as long as a partition is busy. They
/// wait a second and a half at most.
const LEDGER_ATTEMPTS: u32 = 6;
const LEDGER_BACKOFF: Duration = Duration::from_millis(50);

/// How long a body may stand still before the read starts anew where it stopped.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The clients of every region that was asked for.
#[derive(Debug)]
pub struct Clients {
    shared: SdkConfig,
    regions: RefCell<BTreeMap<String, Rc<RegionClients>>>,
}

/// The clients of one region.
#[derive(Debug)]
pub(super) struct RegionClients {
    pub(super) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(super) dynamodb: aws_sdk_dynamodb::Client,
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) elbv2: aws_sdk_elasticloadbalancingv2::Client,
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) sns: aws_sdk_sns::Client,
    pub(super) sts: aws_sdk_sts::Client,
}

impl RegionClients {
    fn of(config: &SdkConfig) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(LEDGER_ATTEMPTS)
            .with_initial_backoff(LEDGER_BACKOFF);
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).retry_config(retries);
        Self {
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            ec2: aws_sdk_ec2::Client::new(config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(config),
            s3: aws_sdk_s3::Client::new(config),
            sns: aws_sdk_sns::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
        }
    }
}

impl Clients {
    /// Credentials and region as Lambda gives them: in the environment. Where else they may be is not
    /// looked for: that would make a client, which reads the root certificates of the system, before the
    /// function asks for its first event.
    /// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
    pub async fn of_the_function() -> Self {
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(EnvironmentVariableCredentialsProvider::new())
            .region(EnvironmentVariableRegionProvider::new());
        Self::with(loader).await
    }

    /// Credentials, region and endpoints as the AWS CLI finds them: environment, profile, role.
    pub async fn load() -> Self {
        Self::with(aws_config::defaults(BehaviorVersion::v2026_01_12())).await
    }

    pub(super) async fn with(loader: ConfigLoader) -> Self {
        let shared = loader
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .retry_config(
                RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF),
            )
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled().grace_period(STALL_TIMEOUT).build(),
            )
            .load()
            .await;
        Self { shared, regions: RefCell::default() }
    }

    /// The region of the environment or profile.
    pub(super) fn own_region(&self) -> Option<&str> {
        self.shared.region().map(Region::as_ref)
    }

    /// The clients of a region. All share the credentials.
    pub(super) fn region(&self, region: &str) -> Rc<RegionClients> {
        let mut regions = self.regions.borrow_mut();
        let made = regions.entry(region.to_owned()).or_insert_with(|| {
            let config = self.shared.to_builder().region(Region::new(region.to_owned())).build();
            Rc::new(RegionClients::of(&config))
        });
        Rc::clone(made)
    }

    /// The clients of a region with other credentials.
    pub(super) fn region_as(&self, region: &str, credentials: Credentials) -> RegionClients {
        let config = self
            .shared
            .to_builder()
            .region(Region::new(region.to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        RegionClients::of(&config)
    }
}
