//! `--live`: the configuration as AWS tells it now, with the credentials of the person.

use super::Stop;
use crate::{detection::Evidence, diagnosis::Facts};

/// Refuses in a build without AWS, before anything is read.
pub(super) fn is_built_in() -> Result<(), Stop> {
    if cfg!(feature = "aws") {
        Ok(())
    } else {
        Err(Stop::WrongUse(
            "--live: this build cannot ask AWS. `make build` makes one that can; --snapshot DIR works \
             in every build."
                .to_owned(),
        ))
    }
}

#[cfg(not(feature = "aws"))]
pub(super) fn facts(_: &[Evidence]) -> Result<Vec<Facts>, Stop> {
    is_built_in().map(|()| Vec::new())
}

/// The facts of each incident. Without an incident nothing is asked, and no credentials are needed.
#[cfg(feature = "aws")]
pub(super) fn facts(incidents: &[Evidence]) -> Result<Vec<Facts>, Stop> {
    use super::note;
    use crate::{
        aws::{AwsConfiguration, Caller, Clients, Deadlines},
        numbers::plural,
        ports::Configuration as _,
    };

    if incidents.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let clients = Clients::load().await;
        let region = incidents.iter().find_map(Evidence::region);
        let Caller { account, arn } =
            Caller::of(&clients, region).await.map_err(|reason| Stop::Credentials { reason })?;
        note(&format!(
            "asking AWS for the configuration of {} as {arn}",
            plural(incidents.len() as u64, "target group")
        ));
        let configuration = AwsConfiguration {
            clients: &clients,
            deadlines: Deadlines::default(),
            account: Some(&account),
            facts_role: None,
        };
        let mut facts = Vec::new();
        for evidence in incidents {
            facts.push(configuration.facts(evidence).await);
        }
        Ok(facts)
    })
}
