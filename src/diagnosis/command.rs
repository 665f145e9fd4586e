//! Commands that a person can paste: built from validated values only.
//!
//! A log is written by strangers, so no URL, path, host name or user agent ever becomes part of a
//! command. A value that does not match the pattern of its kind is replaced by a placeholder.

use std::fmt;

/// Lines of a command break between arguments beyond this width.
const WIDTH: usize = 72;

/// What a value must look like to stand in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// `arn:aws:elasticloadbalancing:…`
    Arn(&'a str),
    /// An id such as `sg-0a1b`, `i-0a1b`, `vpc-0a1b`, `acl-0a1b`, `pl-0a1b`, `subnet-0a1b`, `eni-0a1b`.
    Id(&'a str),
    /// The name of a load balancer or target group: letters, digits, hyphens.
    Name(&'a str),
    /// A number.
    Number(u64),
    /// A CIDR block or an address.
    Address(&'a str),
    /// An address with a port, parsed before.
    Socket(std::net::SocketAddr),
    /// A point in time.
    Time(jiff::Timestamp),
}

impl Value<'_> {
    fn is_valid(self) -> bool {
        let only = |text: &str, extra: &[u8]| {
            !text.is_empty()
                && text.len() <= 256
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
        };
        match self {
            Self::Arn(text) => text.starts_with("arn:") && only(text, b":/-_."),
            Self::Id(text) => {
                only(text, b"-") && text.contains('-') && text.as_bytes().first() != Some(&b'-')
            }
            Self::Name(text) => only(text, b"-") && text.as_bytes().first() != Some(&b'-'),
            Self::Number(_) | Self::Socket(_) | Self::Time(_) => true,
            Self::Address(text) => {
                text.parse::<ipnet::IpNet>().is_ok() || text.parse::<std::net::IpAddr>().is_ok()
            }
        }
    }

    fn placeholder(self) -> &'static str {
        match self {
            Self::Arn(_) => "'<ARN>'",
            Self::Id(_) => "'<ID>'",
            Self::Name(_) => "'<NAME>'",
            Self::Number(_) => "'<NUMBER>'",
            Self::Time(_) => "'<TIME>'",
            Self::Address(_) | Self::Socket(_) => "'<ADDRESS>'",
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_valid() {
            return f.write_str(self.placeholder());
        }
        match self {
            Self::Arn(text) | Self::Id(text) | Self::Name(text) | Self::Address(text) => {
                f.write_str(text)
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Socket(socket) => write!(f, "{socket}"),
            Self::Time(time) => write!(f, "{time}"),
        }
    }
}

/// A command under construction.
#[derive(Debug, Clone)]
pub struct Command {
    arguments: Vec<String>,
}

impl Command {
    /// Begins with fixed words, such as `aws elbv2 describe-target-health`.
    pub fn new(words: &'static str) -> Self {
        Self { arguments: vec![words.to_owned()] }
    }

    /// A flag with a validated value.
    #[must_use]
    pub fn flag(mut self, name: &'static str, value: Value<'_>) -> Self {
        self.arguments.push(format!("{name} {value}"));
        self
    }

    /// Fixed words, already quoted for the shell where needed.
    #[must_use]
    pub fn words(mut self, words: &'static str) -> Self {
        self.arguments.push(words.to_owned());
        self
    }

    /// One argument of fixed text around validated values: `Key=idle_timeout.timeout_seconds,Value=90`
    /// or `'http://10.0.1.5:8080<PATH>'`. The pieces are joined without spaces.
    #[must_use]
    pub fn joined(mut self, pieces: &[Piece<'_>]) -> Self {
        self.arguments.push(pieces.iter().map(ToString::to_string).collect());
        self
    }

    /// The region, when it is known and looks like one.
    #[must_use]
    pub fn region(self, region: Option<&str>) -> Self {
        match region {
            Some(region) => self.flag("--region", Value::Name(region)),
            None => self,
        }
    }
}

/// A piece of an argument.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// Fixed text.
    Text(&'static str),
    /// A validated value.
    Value(Value<'a>),
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Value(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for Command {
    /// On one line when it fits, else broken between arguments with a backslash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut column = 0;
        for (index, argument) in self.arguments.iter().enumerate() {
            if index == 0 {
                f.write_str(argument)?;
                column = argument.len();
            } else if column + 1 + argument.len() <= WIDTH {
                write!(f, " {argument}")?;
                column += 1 + argument.len();
            } else {
                write!(f, " \\\n  {argument}")?;
                column = 2 + argument.len();
            }
        }
        Ok(())
    }
}

impl From<Command> for String {
    fn from(command: Command) -> Self {
        command.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_between_arguments_only() {
        let command = Command::new("aws elbv2 describe-target-health").flag(
            "--target-group-arn",
            Value::Arn("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0a"),
        );
        assert_eq!(
            command.to_string(),
            "aws elbv2 describe-target-health \\\n  --target-group-arn \
             arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0a"
        );
    }

    #[test]
    fn hostile_values_become_placeholders() {
        for value in [
            Value::Arn("arn:aws:x; rm -rf /"),
            Value::Arn("$(reboot)"),
            Value::Id("sg-1`id`"),
            Value::Id("--output"),
            Value::Name("a b"),
            Value::Name("-x"),
            Value::Address("10.0.0.1;id"),
        ] {
            let command = Command::new("aws").flag("--x", value).to_string();
            assert!(command.starts_with("aws --x '<") && command.ends_with(">'"), "{command}");
        }
    }
}
