//! The command line: diagnose, parse, rehearse and invoke on local files; the probe of a target; attach a
//! bucket.

mod attach;
mod completions;
mod diagnose;
#[cfg(test)]
mod help;
mod invoke;
mod live;
mod paint;
mod parse;
mod probe;
mod probe_reports;
mod progress;
mod quiet;
mod rehearse;
mod s3;
mod say;
mod snapshot;
mod time_span;

use std::{collections::BTreeMap, io, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Config, SettingError, VariableError},
    local::{files::PathError, snapshot::SnapshotError},
};
use say::{complain, is_quiet, note};

/// Says why an AWS Application Load Balancer answers 502 while every target is Healthy.
#[derive(Debug, Parser)]
#[command(
    name = "alb502",
    version,
    arg_required_else_help = true,
    max_term_width = 78,
    after_help = "Exit codes: 0 ran, whatever it found; 1 could not do all (a damaged file); 2 wrong use \
                  (flag, setting, path); 3 an incident was found and --fail-on-incident was given.\n\n\
                  Examples:\n  \
                  alb502 diagnose --load-balancer shop --since 2h\n  \
                  alb502 diagnose ./logs --snapshot ./config\n  \
                  alb502 parse access.log.gz | head -1\n  \
                  alb502 probe http://10.0.1.5:8080/health\n  \
                  alb502 rehearse ./logs --min-errors 20\n  \
                  alb502 invoke events/s3-keepalive-race.json --local events/local"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    /// Say nothing on standard error but errors: no progress, no notes, no warnings
    #[arg(long, short, global = true)]
    quiet: bool,
    /// When to use colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    color: paint::When,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say why requests failed, from access logs: files or in S3
    Diagnose(diagnose::Arguments),
    /// Print access-log entries as JSON lines
    Parse(parse::Arguments),
    /// Say which messages a stretch of history would have caused, to set the thresholds
    Rehearse(rehearse::Arguments),
    /// Run the Lambda's handler on an event, with a folder in place of AWS
    Invoke(invoke::Arguments),
    /// Save the configuration of a load balancer as files
    Snapshot(snapshot::Arguments),
    /// Ask a target as a load balancer does, and say what a load balancer would object to
    Probe(probe::Arguments),
    /// Let a bucket tell about new access logs, and keep what else it does
    Attach(attach::Arguments),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::Arguments),
}

/// The settings as flags; each is also an environment variable.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings (flag over environment variable over default)")]
struct SettingFlags {
    /// Failures needed in a five-minute window [ALB502_MIN_ERRORS] [default: 5]
    #[arg(long, value_name = "N")]
    min_errors: Option<String>,
    /// And percentage of the requests [ALB502_RATE_PERCENT] [default: 1]
    #[arg(long, value_name = "PERCENT")]
    rate_percent: Option<String>,
    /// Or this many times the rate of the hour before [ALB502_SURGE_FACTOR] [default: 10]
    #[arg(long, value_name = "FACTOR")]
    surge_factor: Option<String>,
    /// Below a spike, failures of a target group in 24 hours that are needed at least
    /// [ALB502_TRICKLE_ERRORS] [default: 5]
    #[arg(long, value_name = "NUMBER")]
    trickle_errors: Option<String>,
    /// And failures per million requests in these 24 hours [ALB502_TRICKLE_PER_MILLION] [default: 20]
    #[arg(long, value_name = "NUMBER")]
    trickle_per_million: Option<String>,
    /// Count the 504 after the idle timeout [ALB502_INCLUDE_IDLE_TIMEOUT_504] [default: true for
    /// diagnose, false for invoke and rehearse]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    include_idle_timeout_504: Option<String>,
    /// Minutes that an incident which goes on stays silent [ALB502_COOLDOWN_MINUTES] [default: 60]
    #[arg(long, value_name = "MINUTES")]
    cooldown_minutes: Option<String>,
    /// Older rows are counted, never published [ALB502_MAX_AGE_HOURS] [default: 24]
    #[arg(long, value_name = "HOURS")]
    max_age_hours: Option<String>,
    /// What https subscribers get [ALB502_HTTPS_BODY] [default: chat]
    #[arg(long, value_name = "chat|json")]
    https_body: Option<String>,
    /// Write metrics for CloudWatch [ALB502_METRICS] [default: true]
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    metrics: Option<String>,
}

impl SettingFlags {
    /// Flag over environment variable over default.
    fn config(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
        default_include_idle_timeout_504: bool,
    ) -> Result<Config, SettingError> {
        Config::from_lookup(|variable| {
            let flag = match variable {
                "ALB502_MIN_ERRORS" => &self.min_errors,
                "ALB502_RATE_PERCENT" => &self.rate_percent,
                "ALB502_SURGE_FACTOR" => &self.surge_factor,
                "ALB502_TRICKLE_ERRORS" => &self.trickle_errors,
                "ALB502_TRICKLE_PER_MILLION" => &self.trickle_per_million,
                "ALB502_INCLUDE_IDLE_TIMEOUT_504" => &self.include_idle_timeout_504,
                "ALB502_COOLDOWN_MINUTES" => &self.cooldown_minutes,
                "ALB502_MAX_AGE_HOURS" => &self.max_age_hours,
                "ALB502_HTTPS_BODY" => &self.https_body,
                "ALB502_METRICS" => &self.metrics,
                _ => &None,
            };
            flag.clone().or_else(|| environment(variable)).or_else(|| {
                (variable == "ALB502_INCLUDE_IDLE_TIMEOUT_504" && default_include_idle_timeout_504)
                    .then(|| "true".to_owned())
            })
        })
    }
}

/// What stops a command.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("setting {0}")]
    Setting(#[from] SettingError),
    #[error("environment variable {0}")]
    Variable(#[from] VariableError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[cfg(feature = "aws")]
    #[error(
        "--live: {reason}. It takes the credentials that the AWS CLI has: try `aws sts \
         get-caller-identity`, set AWS_PROFILE, or log in with `aws sso login`"
    )]
    Credentials { reason: String },
    #[cfg(feature = "aws")]
    #[error("{0}")]
    CouldNot(String),
    #[error("{0}")]
    WrongUse(String),
    #[cfg(feature = "probe")]
    #[error(transparent)]
    Probe(#[from] crate::probe::ProbeError),
    #[error(
        "cannot write {name}: {error}. Look whether the disk is full and this user may write there, or \
         give another place"
    )]
    File { name: String, error: io::Error },
    #[error(
        "cannot write the output: {0}. Look whether the disk is full, or send it to another place"
    )]
    Output(#[from] io::Error),
}

impl Stop {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Setting(_)
            | Self::Variable(_)
            | Self::Path(_)
            | Self::Snapshot(_)
            | Self::WrongUse(_) => WRONG_USE,
            _ => COULD_NOT,
        }
    }
}

const COULD_NOT: u8 = 1;
const WRONG_USE: u8 = 2;
const INCIDENT_FOUND: u8 = 3;

/// Whether these words are a command of `alb502`, its name first. Nothing is run.
///
/// # Errors
/// What is wrong with them, and how it is used.
pub fn check(words: &[String]) -> Result<(), clap::Error> {
    CommandLine::try_parse_from(words).map(drop)
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => {
            // Help and version are no errors: clap says which stream they go to.
            let code = if error.use_stderr() { WRONG_USE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(COULD_NOT),
            };
        }
    };
    command_line.color.apply();
    say::be_quiet(command_line.quiet);
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    let environment = |name: &str| variables.get(name).cloned();
    let checked = match command_line.command {
        Command::Diagnose(_) | Command::Invoke(_) | Command::Rehearse(_) => {
            config::check_environment(variables.clone(), &[config::LOG_LEVEL]).map_err(Stop::from)
        }
        // The others have no settings: a slip in one must not keep a probe from running.
        _ => Ok(()),
    };
    let done = checked.and_then(|()| match command_line.command {
        Command::Diagnose(arguments) => diagnose::run(&arguments, &environment),
        Command::Parse(arguments) => parse::run(&arguments),
        Command::Invoke(arguments) => invoke::run(&arguments, &environment),
        Command::Snapshot(arguments) => snapshot::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments, &environment),
        Command::Rehearse(arguments) => rehearse::run(&arguments, &environment),
        Command::Attach(arguments) => attach::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    });
    match done {
        Ok(code) => ExitCode::from(code),
        // The reader of the output went away, as `| head` does.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(stop) => {
            complain(&format!("error: {stop}"));
            ExitCode::from(stop.exit_code())
        }
    }
}
