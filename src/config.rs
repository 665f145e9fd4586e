//! Every setting, in one table: environment variable, flag, template parameter, default, range, reason.

use crate::{detection::Thresholds, incident, notification::HttpsBody};

/// A setting by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// `ALB502_MIN_ERRORS`; the flag is `--min-errors`, the template parameter `MinErrors`.
    pub variable: &'static str,
    /// As it is written.
    pub default: &'static str,
    /// What is allowed, in words.
    pub allowed: &'static str,
    /// What it does and why the default is what it is.
    pub meaning: &'static str,
}

/// The settings, in the order of the README.
pub const SETTINGS: &[Setting] = &[
    Setting {
        variable: "ALB502_MIN_ERRORS",
        default: "5",
        allowed: "a whole number from 1 to 1000000",
        meaning: "Failures of a target group in a five-minute window that are needed at least. Fewer \
                  than five cannot be told from chance.",
    },
    Setting {
        variable: "ALB502_RATE_PERCENT",
        default: "1",
        allowed: "a number from 0.001 to 100",
        meaning: "Failures as a percentage of the requests of the target group in the window. One in a \
                  hundred is noticed by people; a healthy service stays far below.",
    },
    Setting {
        variable: "ALB502_SURGE_FACTOR",
        default: "10",
        allowed: "a number from 2 to 1000",
        meaning: "With 50 failures or more, also this many times the rate of the preceding hour: for \
                  busy services where one percent is far too late.",
    },
    Setting {
        variable: "ALB502_TRICKLE_ERRORS",
        default: "5",
        allowed: "a whole number from 1 to 1000000",
        meaning: "Below a spike: failures of a target group in 24 hours that are needed at least. Fewer \
                  than five cannot be told from chance.",
    },
    Setting {
        variable: "ALB502_TRICKLE_PER_MILLION",
        default: "20",
        allowed: "a number from 0.001 to 1000000",
        meaning: "And failures per million requests of the target group in these 24 hours. The classic \
                  keep-alive leak is one in 20,000, which is 50 per million; one stray 502 in 100,000, \
                  which is 10, stays quiet.",
    },
    Setting {
        variable: "ALB502_INCLUDE_IDLE_TIMEOUT_504",
        default: "false",
        allowed: "true or false",
        meaning: "Whether the 504 after the idle timeout counts as a failure. Slow targets are usually \
                  another alarm's work; `alb502 diagnose` turns it on.",
    },
    Setting {
        variable: "ALB502_COOLDOWN_MINUTES",
        default: "60",
        allowed: "a whole number from 1 to 10080",
        meaning: "Minutes that an incident which goes on stays silent after a message about it. An hour \
                  is often enough to see that it still does, and seldom enough to be read.",
    },
    Setting {
        variable: "ALB502_MAX_AGE_HOURS",
        default: "24",
        allowed: "a whole number from 1 to 100000",
        meaning: "Hours after which rows are counted and logged, but never published: nobody is woken \
                  for yesterday. Larger only to replay history.",
    },
    Setting {
        variable: "ALB502_HTTPS_BODY",
        default: "chat",
        allowed: "chat or json",
        meaning: "What https subscribers of the topic get: `chat` is the Amazon Q Developer custom \
                  notification for Slack, `json` the machine form.",
    },
    Setting {
        variable: "ALB502_METRICS",
        default: "true",
        allowed: "true or false",
        meaning: "Whether metrics are written for CloudWatch. They cost about two dollars a month for the \
                  function, and thirty cents for each cause; Logs Insights counts the log without them.",
    },
];

/// What the names of all our environment variables begin with.
pub const PREFIX: &str = "ALB502_";

/// What the stack tells its function, beside the settings.
pub const STACK_VARIABLES: [&str; 3] =
    ["ALB502_TOPIC_ARN", "ALB502_TABLE", "ALB502_FACTS_ROLE_NAME"];

/// The level of the log of `alb502 invoke`. The function has `AWS_LAMBDA_LOG_LEVEL`.
pub const LOG_LEVEL: &str = "ALB502_LOG";

/// What [`LOG_LEVEL`] may be, from much to little.
const LOG_LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// The settings of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// When failures are an incident.
    pub thresholds: Thresholds,
    /// How long an incident that goes on stays silent after a message about it, in minutes; 1 to 10,080,
    /// which is a week.
    pub cooldown_minutes: u64,
    /// Rows older than this many hours are counted and logged, but never published; 1 to 100,000, which is
    /// eleven years. Larger than a day only to replay history.
    pub max_age_hours: u64,
    /// What https subscribers get.
    pub https_body: HttpsBody,
    /// Whether metrics are written for CloudWatch.
    pub metrics: bool,
}

/// A setting whose value is not allowed: the start is stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} ({flag}) is {value:?}; allowed is {allowed}")]
pub struct SettingError {
    /// The variable.
    pub variable: &'static str,
    /// What it is.
    pub value: String,
    /// What would be right.
    pub allowed: &'static str,
    /// The flag.
    pub flag: String,
}

/// An environment variable of ours that stops the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// A name that is not known: what it was to set keeps its default, and nobody would see it.
    #[error("{name} (it is {value:?}) is not known. {}", known(.nearest, .others))]
    Unknown {
        /// The name.
        name: String,
        /// What it is set to.
        value: String,
        /// The known one that is spelled most alike.
        nearest: Option<&'static str>,
        /// Those that are known.
        others: Vec<&'static str>,
    },
    /// [`LOG_LEVEL`].
    #[error("{LOG_LEVEL} is {0:?}; allowed is {levels}", levels = LOG_LEVELS.join(", "))]
    LogLevel(String),
}

fn known(nearest: &Option<&str>, others: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("Did you mean {nearest}? Else unset it"),
        None => format!("Unset it; there are {}", others.join(", ")),
    }
}

/// Names less alike than this are no slip of the fingers. The scale is Jaro's, 0 to 1; `COOLDOWN` for
/// `COOLDOWN_MINUTES` has 0.83, two words with nothing in common stay below 0.5.
const ALIKE: f64 = 0.7;

/// Checks the names of the environment: one that begins with [`PREFIX`] is a setting, of the stack, or
/// one of `beside`. Other names are not ours.
///
/// # Errors
/// The first that is none of them, or a [`LOG_LEVEL`] that is none.
pub fn check_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    beside: &[&'static str],
) -> Result<(), VariableError> {
    let settings = SETTINGS.iter().map(|setting| setting.variable);
    let all: Vec<&'static str> =
        settings.chain(STACK_VARIABLES).chain(beside.iter().copied()).collect();
    let mut ours: Vec<(String, String)> =
        variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // The environment has no order.
    ours.sort();
    for (name, value) in ours {
        if !all.contains(&name.as_str()) {
            let likeness = |known: &str| {
                strsim::jaro(
                    known.trim_start_matches(PREFIX),
                    &name.trim_start_matches(PREFIX).to_ascii_uppercase(),
                )
            };
            let nearest = all.iter().copied().filter(|known| ALIKE < likeness(known));
            let nearest = nearest.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            return Err(VariableError::Unknown { name, value, nearest, others: all });
        }
        let is_level = LOG_LEVELS.iter().any(|level| level.eq_ignore_ascii_case(value.trim()));
        if name == LOG_LEVEL && !is_level && !value.trim().is_empty() {
            return Err(VariableError::LogLevel(value));
        }
    }
    Ok(())
}

impl Config {
    /// Reads every setting through `lookup`, which is given the name of a variable. One that is not set,
    /// or empty, has its default.
    ///
    /// # Errors
    /// When a value is not allowed.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let value = |variable: &str| -> (Setting, String) {
            let setting = SETTINGS
                .iter()
                .find(|setting| setting.variable == variable)
                .copied()
                .unwrap_or(SETTINGS[0]);
            let value = lookup(variable)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| setting.default.to_owned());
            (setting, value)
        };
        Ok(Self {
            thresholds: Thresholds {
                min_errors: parsed(value("ALB502_MIN_ERRORS"), |it: &u64| {
                    (1..=1_000_000).contains(it)
                })?,
                rate_percent: parsed(value("ALB502_RATE_PERCENT"), |it: &f64| {
                    (0.001..=100.0).contains(it)
                })?,
                surge_factor: parsed(value("ALB502_SURGE_FACTOR"), |it: &f64| {
                    (2.0..=1000.0).contains(it)
                })?,
                trickle_errors: parsed(value("ALB502_TRICKLE_ERRORS"), |it: &u64| {
                    (1..=1_000_000).contains(it)
                })?,
                trickle_per_million: parsed(value("ALB502_TRICKLE_PER_MILLION"), |it: &f64| {
                    (0.001..=1_000_000.0).contains(it)
                })?,
                include_idle_timeout_504: parsed(
                    value("ALB502_INCLUDE_IDLE_TIMEOUT_504"),
                    |_: &bool| true,
                )?,
            },
            cooldown_minutes: parsed(value("ALB502_COOLDOWN_MINUTES"), |it: &u64| {
                (1..=10_080).contains(it)
            })?,
            max_age_hours: parsed(value("ALB502_MAX_AGE_HOURS"), |it: &u64| {
                (1..=100_000).contains(it)
            })?,
            https_body: match value("ALB502_HTTPS_BODY") {
                (_, value) if value == "chat" => HttpsBody::Chat,
                (_, value) if value == "json" => HttpsBody::Json,
                (setting, value) => return Err(setting.refuse(value)),
            },
            metrics: parsed(value("ALB502_METRICS"), |_: &bool| true)?,
        })
    }
}

impl Config {
    /// What decides when something is said of an incident.
    pub fn incident_settings(&self) -> incident::Settings {
        let micros =
            |minutes: u64| i64::try_from(minutes.saturating_mul(60_000_000)).unwrap_or(i64::MAX);
        incident::Settings {
            thresholds: self.thresholds,
            cooldown: micros(self.cooldown_minutes),
            max_age: micros(self.max_age_hours.saturating_mul(60)),
        }
    }
}

impl Setting {
    /// `--min-errors`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name().to_ascii_lowercase().replace('_', "-"))
    }

    /// `MinErrors`.
    pub fn parameter(&self) -> String {
        self.name()
            .split('_')
            .map(|word| {
                let (first, rest) = word.split_at(word.len().min(1));
                first.to_owned() + &rest.to_ascii_lowercase()
            })
            .collect()
    }

    fn name(&self) -> &'static str {
        self.variable.strip_prefix("ALB502_").unwrap_or(self.variable)
    }

    fn refuse(self, value: String) -> SettingError {
        SettingError { variable: self.variable, value, allowed: self.allowed, flag: self.flag() }
    }
}

fn parsed<T: std::str::FromStr>(
    (setting, value): (Setting, String),
    allowed: impl Fn(&T) -> bool,
) -> Result<T, SettingError> {
    match value.parse() {
        Ok(parsed) if allowed(&parsed) => Ok(parsed),
        _ => Err(setting.refuse(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variable: &str, value: &str) -> Result<Config, SettingError> {
        Config::from_lookup(|name| (name == variable).then(|| value.to_owned()))
    }

    #[test]
    fn defaults_are_the_thresholds_defaults() {
        let config = Config::from_lookup(|_| None).unwrap();
        assert_eq!(config.thresholds, Thresholds::default());
        assert_eq!(config.https_body, HttpsBody::Chat);
        assert!(config.metrics);
        assert_eq!((config.cooldown_minutes, config.max_age_hours), (60, 24));
    }

    #[test]
    fn values_are_read_and_bad_ones_stop_the_start() {
        assert_eq!(with("ALB502_MIN_ERRORS", " 7 ").unwrap().thresholds.min_errors, 7);
        assert_eq!(with("ALB502_HTTPS_BODY", "json").unwrap().https_body, HttpsBody::Json);
        assert!(!with("ALB502_METRICS", "false").unwrap().metrics);
        for minutes in [1, 10_080] {
            let config = with("ALB502_COOLDOWN_MINUTES", &minutes.to_string()).unwrap();
            assert_eq!(config.cooldown_minutes, minutes);
        }
        for hours in [1, 100_000] {
            let config = with("ALB502_MAX_AGE_HOURS", &hours.to_string()).unwrap();
            assert_eq!(config.max_age_hours, hours);
        }
        for (variable, value) in [
            ("ALB502_MIN_ERRORS", "0"),
            ("ALB502_MIN_ERRORS", "five"),
            ("ALB502_MIN_ERRORS", "-1"),
            ("ALB502_RATE_PERCENT", "NaN"),
            ("ALB502_RATE_PERCENT", "101"),
            ("ALB502_SURGE_FACTOR", "1"),
            ("ALB502_TRICKLE_ERRORS", "0"),
            ("ALB502_TRICKLE_PER_MILLION", "0"),
            ("ALB502_INCLUDE_IDLE_TIMEOUT_504", "yes"),
            ("ALB502_COOLDOWN_MINUTES", "0"),
            ("ALB502_COOLDOWN_MINUTES", "10081"),
            ("ALB502_COOLDOWN_MINUTES", "1h"),
            ("ALB502_MAX_AGE_HOURS", "0"),
            ("ALB502_MAX_AGE_HOURS", "100001"),
            ("ALB502_HTTPS_BODY", "html"),
            ("ALB502_METRICS", "off"),
        ] {
            let error = with(variable, value).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(variable) && message.contains(value), "{message}");
            assert!(message.contains("allowed is"), "{message}");
        }
    }

    fn checked(name: &str, value: &str) -> Result<(), String> {
        let variables = [("HOME", "/root"), ("ALB502", "1"), (name, value)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        check_environment(variables, &[LOG_LEVEL]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_that_is_not_known_stops_the_start_and_the_nearest_is_proposed() {
        for (name, nearest) in [
            ("ALB502_MIN_ERROR", "ALB502_MIN_ERRORS"),
            ("ALB502_COOLDOWN", "ALB502_COOLDOWN_MINUTES"),
            ("ALB502_min_errors", "ALB502_MIN_ERRORS"),
            ("ALB502_TOPICARN", "ALB502_TOPIC_ARN"),
            ("ALB502_LOGS", "ALB502_LOG"),
        ] {
            let error = checked(name, "7").unwrap_err();
            assert!(error.starts_with(&format!("{name} (it is \"7\") is not known")), "{error}");
            assert!(error.contains(&format!("Did you mean {nearest}?")), "{error}");
        }
        let error = checked("ALB502_X", "7").unwrap_err();
        assert!(!error.contains("Did you mean"), "{error}");
        assert!(error.contains("ALB502_MIN_ERRORS, ") && error.ends_with("ALB502_LOG"), "{error}");
        for name in SETTINGS.iter().map(|it| it.variable).chain(STACK_VARIABLES) {
            assert_eq!(checked(name, "7"), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_log_level_is_one_of_five_words() {
        for level in LOG_LEVELS.into_iter().chain(["DEBUG", "", " warn "]) {
            assert_eq!(checked(LOG_LEVEL, level), Ok(()));
        }
        let error = checked(LOG_LEVEL, "foo").unwrap_err();
        assert_eq!(error, "ALB502_LOG is \"foo\"; allowed is trace, debug, info, warn, error");
    }

    #[cfg(feature = "aws")]
    #[test]
    fn what_the_stack_tells_is_what_the_function_reads() {
        use crate::aws::{FACTS_ROLE_NAME, TABLE, TOPIC_ARN};
        assert_eq!(STACK_VARIABLES, [TOPIC_ARN, TABLE, FACTS_ROLE_NAME]);
    }

    #[test]
    fn names_follow_from_the_variable() {
        let setting = SETTINGS[5];
        assert_eq!(setting.flag(), "--include-idle-timeout-504");
        assert_eq!(setting.parameter(), "IncludeIdleTimeout504");
    }
}
