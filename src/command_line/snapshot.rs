//! `alb502 snapshot`: the configuration of a load balancer as files, for later or for a colleague.

use std::path::PathBuf;

use clap::Args;

use super::Stop;

#[derive(Debug, Args)]
#[command(
    after_help = "The files are what the AWS CLI prints, cut to what a check reads: no user data of \
                        instances, and of tags only those that begin with alb502:. Metrics are those of \
                        --since to --until.\n\n\
                        Examples:\n  \
                        alb502 snapshot --load-balancer shop\n  \
                        alb502 diagnose ./AWSLogs --snapshot ./config"
)]
pub(super) struct Arguments {
    /// The Application Load Balancer: its name or ARN
    #[arg(long, value_name = "NAME")]
    load_balancer: String,
    /// Where to: a folder that is new or empty
    #[arg(long, value_name = "DIR", default_value = "config")]
    out: PathBuf,
    /// Metrics from when: 2026-11-20T14:00:00Z, or how long ago: 2h, 90m, 1d [default: two hours before
    /// --until]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Metrics until when, likewise [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// The region of the load balancer [default: as the AWS CLI has it]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

#[cfg(not(feature = "aws"))]
pub(super) fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let Arguments { load_balancer, out: _, since: _, until: _, region: _ } = arguments;
    Err(Stop::WrongUse(format!(
        "snapshot of {load_balancer}: this build cannot talk to AWS. `make build` makes one that can."
    )))
}

/// Saves it, and says what could not be seen.
#[cfg(feature = "aws")]
pub(super) fn run(arguments: &Arguments) -> Result<u8, Stop> {
    use std::fs;

    use jiff::Timestamp;

    use super::{
        note,
        s3::could_not,
        time_span::{TWO_HOURS, time_span},
    };
    use crate::{
        aws::{Balancer, Clients, Saved},
        local::files,
        numbers::plural,
    };

    let Arguments { load_balancer, out, since, until, region } = arguments;
    #[expect(clippy::disallowed_methods, reason = "a shell: how long ago is counted from now")]
    let now = Timestamp::now();
    let span = time_span(since.as_deref(), until.as_deref(), TWO_HOURS, now);
    let span = span.map_err(Stop::WrongUse)?;
    let refused = |why: &str| {
        // Files of before would be read as well.
        Err(Stop::WrongUse(format!(
            "--out {}: {why}; give a folder that is new or empty",
            files::shown(out)
        )))
    };
    match fs::read_dir(out).map(|mut there| there.next().is_some()) {
        Ok(true) => return refused("not empty"),
        Err(_) if out.exists() => return refused("no folder that can be read"),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let saved = runtime.block_on(async {
        let clients = Clients::load().await;
        let balancer = Balancer::find(&clients, load_balancer, region.as_deref()).await?;
        Saved::of(&clients, &balancer, &span).await
    });
    let saved =
        saved.map_err(|said| could_not(format!("load balancer {load_balancer}: {said}")))?;
    let file = |name: String, error| Stop::File { name, error };
    fs::create_dir_all(out).map_err(|error| file(files::shown(out), error))?;
    for (name, content) in &saved.files {
        let path = out.join(name);
        let text = serde_json::to_string_pretty(content).map_err(std::io::Error::from)? + "\n";
        fs::write(&path, text).map_err(|error| file(files::shown(&path), error))?;
    }
    for gap in &saved.gaps {
        let permission =
            gap.permission.as_ref().map(|it| format!(" (needs {it})")).unwrap_or_default();
        note(&format!("warning: not seen: {}: {}{permission}", gap.fact, gap.reason));
    }
    if saved.target_groups == 0 {
        note(&format!(
            "warning: no rule or default action of load balancer {load_balancer} forwards to a target \
             group, so there is none in the snapshot"
        ));
    }
    note(&format!(
        "written: {} to {}",
        plural(saved.files.len() as u64, "file"),
        files::shown(out)
    ));
    Ok(0)
}
