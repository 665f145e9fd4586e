//! Who asks: the account behind the credentials.

use super::{ask::reason, clients::Clients};

/// The identity behind the credentials. STS tells it without any permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// 12 digits.
    pub account: String,
    /// The user or role.
    pub arn: String,
}

impl Caller {
    /// Asks STS, in `region` or the one of the profile.
    ///
    /// # Errors
    /// Why there is no identity, in words: no credentials, expired ones, no network.
    pub async fn of(clients: &Clients, region: Option<&str>) -> Result<Self, String> {
        let region = region.or_else(|| clients.own_region()).unwrap_or("us-east-1");
        let answer = clients.region(region).sts.get_caller_identity().send().await;
        let identity = answer.map_err(|error| reason(&error))?;
        match (identity.account, identity.arn) {
            (Some(account), Some(arn)) => Ok(Self { account, arn }),
            _ => Err("STS does not say whose credentials they are".to_owned()),
        }
    }
}
