//! The role through which the configuration of another account is read.

use aws_sdk_sts::config::Credentials;

use super::{
    actions::ASSUME_ROLE,
    ask::Asker,
    clients::{Clients, RegionClients},
};
use crate::diagnosis::Fact;

/// The environment variable that names the role. The template sets it; empty is none.
pub const FACTS_ROLE_NAME: &str = "ALB502_FACTS_ROLE_NAME";

/// The name of a role that exists in the account of each load balancer and trusts alb502's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsRoleName(String);

/// It is no name of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{FACTS_ROLE_NAME} is {0:?}; allowed is the name of a role without its path: 1 to 64 letters, digits \
     and _ + = , . @ -"
)]
pub struct FactsRoleNameError(String);

impl FactsRoleName {
    /// Reads the variable; `None` when there is nothing in it.
    ///
    /// Source of what is allowed: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
    ///
    /// # Errors
    /// When it is no name of a role.
    pub fn parse(name: &str) -> Result<Option<Self>, FactsRoleNameError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        match name.len() {
            0 => Ok(None),
            1..=64 if name.chars().all(is_allowed) => Ok(Some(Self(name.to_owned()))),
            _ => Err(FactsRoleNameError(name.to_owned())),
        }
    }

    /// The clients of a region in the account and partition of this load balancer, or why there are none.
    pub(super) async fn clients(
        &self,
        clients: &Clients,
        asker: &Asker,
        region: &str,
        load_balancer_arn: &str,
    ) -> Result<RegionClients, String> {
        let mut parts = load_balancer_arn.split(':').skip(1);
        let partition = parts.next().unwrap_or("aws");
        let account = parts.nth(2).unwrap_or_default();
        let arn = format!("arn:{partition}:iam::{account}:role/{}", self.0);
        let call = clients.region(region).sts.assume_role();
        let call = call.role_arn(&arn).role_session_name("alb502").send();
        let refused = |reason: &str| {
            format!(
                "the load balancer is in account {account}, and the role {arn} could not be taken: {reason}"
            )
        };
        match asker.ask(ASSUME_ROLE, call).await {
            Fact::Known(answer) => {
                let given =
                    answer.credentials.ok_or_else(|| refused("STS gave no credentials for it"))?;
                // They hold for an hour, and are used for this diagnosis alone.
                let credentials = Credentials::new(
                    given.access_key_id,
                    given.secret_access_key,
                    Some(given.session_token),
                    None,
                    "alb502",
                );
                Ok(clients.region_as(region, credentials))
            }
            Fact::Unknown(gap) if gap.permission.is_some() => Err(refused(
                "access denied. It must exist there, its trust policy must name the role of alb502, and \
                 that needs sts:AssumeRole",
            )),
            Fact::Unknown(gap) => Err(refused(&gap.reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_a_name_and_no_path() {
        assert_eq!(FactsRoleName::parse("").unwrap(), None);
        for name in ["alb502-facts", "a", &"x".repeat(64)] {
            assert_eq!(FactsRoleName::parse(name).unwrap().unwrap().0, name);
        }
        for name in ["path/role", "*", "arn:aws:iam::123456789012:role/x", " ", &"x".repeat(65)] {
            let error = FactsRoleName::parse(name).unwrap_err().to_string();
            assert!(error.contains(FACTS_ROLE_NAME) && error.contains("allowed is"), "{error}");
        }
    }
}
