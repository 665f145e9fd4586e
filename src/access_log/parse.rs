//! One line of an ALB access log, taken apart without copying.
//!
//! The format is a list of fields divided by spaces; texts stand in double quotes. A field may be
//! appended at any time, so what follows the last known field is kept aside and never an error.
//! A quote inside a text is written `\x22` by the load balancer; a bare `\"` is accepted as well.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>

use std::fmt;

use memchr::{memchr, memchr2};

use super::time;

/// A field of an access-log entry, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the names are the ones of the AWS documentation"
)]
pub enum Field {
    Type,
    Time,
    Elb,
    ClientPort,
    TargetPort,
    RequestProcessingTime,
    TargetProcessingTime,
    ResponseProcessingTime,
    ElbStatusCode,
    TargetStatusCode,
    ReceivedBytes,
    SentBytes,
    Request,
    UserAgent,
    SslCipher,
    SslProtocol,
    TargetGroupArn,
    TraceId,
    DomainName,
    ChosenCertArn,
    MatchedRulePriority,
    RequestCreationTime,
    ActionsExecuted,
    RedirectUrl,
    ErrorReason,
    TargetPortList,
    TargetStatusCodeList,
    Classification,
    ClassificationReason,
    ConnTraceId,
    TransformedHost,
    TransformedUri,
    RequestTransformStatus,
}

/// How many fields are known: the format of August 2025.
pub const KNOWN_FIELDS: usize = 33;

/// A row with fewer fields is malformed: the format of 2016 ended with the 18th, `trace_id`.
pub const MIN_FIELDS: usize = 18;

/// The AWS field names in snake case, in the order of the log; the index is `Field as usize`.
pub const FIELD_NAMES: [&str; KNOWN_FIELDS] = [
    "type",
    "time",
    "elb",
    "client_port",
    "target_port",
    "request_processing_time",
    "target_processing_time",
    "response_processing_time",
    "elb_status_code",
    "target_status_code",
    "received_bytes",
    "sent_bytes",
    "request",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
    "target_group_arn",
    "trace_id",
    "domain_name",
    "chosen_cert_arn",
    "matched_rule_priority",
    "request_creation_time",
    "actions_executed",
    "redirect_url",
    "error_reason",
    "target_port_list",
    "target_status_code_list",
    "classification",
    "classification_reason",
    "conn_trace_id",
    "transformed_host",
    "transformed_uri",
    "request_transform_status",
];

/// What a line is, judged by its first words. Files of other kinds lie in the same folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// An entry of an Application Load Balancer access log.
    AccessLog,
    /// An entry of an ALB connection log.
    ConnectionLog,
    /// An entry of an ALB health-check log.
    HealthCheckLog,
    /// An entry of a Network Load Balancer TLS log.
    NetworkLoadBalancer,
    /// An entry of a Classic Load Balancer log.
    ClassicLoadBalancer,
    /// Nothing but white space.
    Empty,
    /// None of these.
    Other,
}

impl LineKind {
    /// Judges a line by its first words.
    pub fn of(line: &[u8]) -> Self {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Self::Empty;
        }
        let mut words = line.split(|&byte| byte == b' ');
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        let third = words.next().unwrap_or_default();
        let Some(fourth) = words.next() else {
            return Self::Other;
        };
        if is_entry_type(first) && time::looks_like_time(second) {
            // A health-check entry has its latency where an access-log entry names the load balancer.
            return if third.contains(&b'/') || number(third).is_none() {
                Self::AccessLog
            } else {
                Self::HealthCheckLog
            };
        }
        if first == b"tls" && (second == b"1.0" || second == b"2.0") {
            return Self::NetworkLoadBalancer;
        }
        if time::looks_like_time(first) && words.next().is_some() {
            let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
            return if is_number(third) && is_number(fourth) {
                Self::ConnectionLog
            } else {
                Self::ClassicLoadBalancer
            };
        }
        Self::Other
    }
}

impl fmt::Display for LineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessLog => "ALB access log",
            Self::ConnectionLog => "ALB connection log",
            Self::HealthCheckLog => "ALB health-check log",
            Self::NetworkLoadBalancer => "Network Load Balancer log",
            Self::ClassicLoadBalancer => "Classic Load Balancer log",
            Self::Empty => "empty line",
            Self::Other => "unknown",
        })
    }
}

/// Why a line is not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The line does not begin like an access-log entry.
    #[error("not an access-log entry ({0})")]
    NotAnEntry(LineKind),
    /// Fewer fields than any format ever had.
    #[error("{0} fields, an entry has at least {MIN_FIELDS}")]
    TooFewFields(usize),
    /// Field 2 is no time.
    #[error("field 2 (time) is not a time")]
    Time,
    /// The line is longer than [`super::lines::MAX_LINE_BYTES`].
    #[error("longer than the longest line that a load balancer writes")]
    TooLong,
}

/// One entry: a view into its line.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    fields: [&'a [u8]; KNOWN_FIELDS],
    known: usize,
    extra: &'a [u8],
    time: i64,
}

impl<'a> Entry<'a> {
    /// Takes a line apart. A line break at its end is ignored.
    ///
    /// # Errors
    /// When the line is of another kind, too short, or its time cannot be read.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let line = trim_line_break(line);
        if !begins_like_an_entry(line) {
            return Err(Malformed::NotAnEntry(LineKind::of(line)));
        }
        let mut tokens = Tokens {
            fields: [b""; KNOWN_FIELDS],
            known: 0,
            extra: b"",
        };
        tokens.read(line, Quotes::Strict);
        if let Some(created) = tokens.get(Field::RequestCreationTime)
            && created != b"-"
            && !time::looks_like_time(created)
        {
            // A raw quote stood inside a text: read again, a quote ends a text only before a space.
            let mut lenient = Tokens {
                fields: [b""; KNOWN_FIELDS],
                known: 0,
                extra: b"",
            };
            lenient.read(line, Quotes::Lenient);
            if lenient
                .get(Field::RequestCreationTime)
                .is_some_and(|created| created == b"-" || time::looks_like_time(created))
            {
                tokens = lenient;
            }
        }
        if tokens.known < MIN_FIELDS {
            return Err(match LineKind::of(line) {
                LineKind::AccessLog => Malformed::TooFewFields(tokens.known),
                other => Malformed::NotAnEntry(other),
            });
        }
        let time = tokens
            .get(Field::Time)
            .and_then(time::parse_micros)
            .ok_or(Malformed::Time)?;
        Ok(Self {
            fields: tokens.fields,
            known: tokens.known,
            extra: tokens.extra,
            time,
        })
    }

    /// The bytes of a field as they stand in the log (without the quotes); `None` when the row is of
    /// an era without this field.
    pub fn raw(&self, field: Field) -> Option<&'a [u8]> {
        let index = field as usize;
        if index < self.known {
            self.fields.get(index).copied()
        } else {
            None
        }
    }

    /// The bytes of a field; `None` when it is absent, empty or `-`.
    pub fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.raw(field)
            .filter(|value| !value.is_empty() && *value != b"-")
    }

    /// When the load balancer generated the response: microseconds since 1970, UTC.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// When the load balancer received the request: microseconds since 1970, UTC.
    pub fn request_creation_time(&self) -> Option<i64> {
        self.get(Field::RequestCreationTime)
            .and_then(time::parse_micros)
    }

    /// A number in seconds, such as a processing time; `-1` stands for "not recorded".
    pub fn seconds(&self, field: Field) -> Option<f64> {
        self.get(field).and_then(number)
    }

    /// A status code; `None` when it is `-` or no number.
    pub fn status(&self, field: Field) -> Option<u16> {
        self.get(field)
            .and_then(digits)
            .and_then(|value| u16::try_from(value).ok())
    }

    /// A count of bytes; `None` when it is `-` or no number.
    pub fn bytes(&self, field: Field) -> Option<u64> {
        self.get(field).and_then(digits)
    }

    /// Method, URL and protocol of the request line; a part that is `-` is `None`.
    pub fn request(&self) -> RequestLine<'a> {
        RequestLine::split(self.raw(Field::Request).unwrap_or_default())
    }

    /// What follows the last known field, as it stands in the log.
    pub fn extra(&self) -> &'a [u8] {
        self.extra
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in FIELD_NAMES.iter().zip(self.fields).take(self.known) {
            map.entry(name, &String::from_utf8_lossy(value));
        }
        map.finish()
    }
}

/// The three parts of a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// Up to the first space.
    pub method: Option<&'a [u8]>,
    /// What stands between the method and the protocol; it may hold spaces.
    pub url: Option<&'a [u8]>,
    /// The last word, when it looks like a protocol.
    pub protocol: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    /// Splits a request line: the method ends at the first space, the protocol is the last word when
    /// it reads like one, the rest is the URL.
    pub fn split(line: &'a [u8]) -> Self {
        let line = trim_spaces_right(line);
        let (method, rest) = match memchr(b' ', line) {
            Some(at) => (line.get(..at), line.get(at + 1..)),
            None => (Some(line), None),
        };
        let rest = rest.unwrap_or_default();
        let (head, last) = match memchr::memrchr(b' ', rest) {
            Some(at) => (
                rest.get(..at).unwrap_or_default(),
                rest.get(at + 1..).unwrap_or_default(),
            ),
            None => (&b""[..], rest),
        };
        let (url, protocol) = if is_protocol(last) {
            (head, Some(last))
        } else {
            (rest, None)
        };
        let present = |part: &&[u8]| !part.is_empty() && *part != b"-";
        Self {
            method: method.filter(present),
            url: Some(url).filter(present),
            protocol: protocol.filter(present),
        }
    }

    /// The path of the URL: from the third slash to the query. `None` when the URL has none.
    pub fn path(&self) -> Option<&'a [u8]> {
        let url = self.url?;
        let after_scheme = match memchr::memmem::find(url, b"://") {
            Some(at) => url.get(at + 3..)?,
            None => url,
        };
        let path = after_scheme.get(memchr(b'/', after_scheme)?..)?;
        Some(match memchr2(b'?', b'#', path) {
            Some(at) => path.get(..at).unwrap_or(path),
            None => path,
        })
    }
}

/// Splits `ip:port` at the last colon; brackets around an IPv6 address are dropped.
/// A port that is no number stays part of the address.
pub fn endpoint(value: &[u8]) -> (&[u8], Option<u16>) {
    let Some(at) = memchr::memrchr(b':', value) else {
        return (value, None);
    };
    let (address, port) = (value.get(..at), value.get(at + 1..).and_then(digits));
    let (Some(address), Some(Ok(port))) = (address, port.map(u16::try_from)) else {
        return (value, None);
    };
    match address {
        [b'[', inner @ .., b']'] => (inner, Some(port)),
        _ => (address, Some(port)),
    }
}

/// The words of a text that may hold quotes, as [`Entry::parse`] reads them: for the unknown fields.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || next_token(&mut rest, Quotes::Strict))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// A bare quote ends the text.
    Strict,
    /// A quote ends the text only before a space or at the end of the line.
    Lenient,
}

struct Tokens<'a> {
    fields: [&'a [u8]; KNOWN_FIELDS],
    known: usize,
    extra: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn read(&mut self, line: &'a [u8], quotes: Quotes) {
        let mut rest = line;
        for slot in &mut self.fields {
            let Some(token) = next_token(&mut rest, quotes) else {
                return;
            };
            *slot = token;
            self.known += 1;
        }
        self.extra = rest;
    }

    fn get(&self, field: Field) -> Option<&'a [u8]> {
        let index = field as usize;
        if index < self.known {
            self.fields.get(index).copied()
        } else {
            None
        }
    }
}

fn next_token<'a>(rest: &mut &'a [u8], quotes: Quotes) -> Option<&'a [u8]> {
    while let [b' ', tail @ ..] = *rest {
        *rest = tail;
    }
    if let [b'"', text @ ..] = *rest {
        let end = closing_quote(text, quotes);
        *rest = text.get(end + 1..).unwrap_or_default();
        return Some(text.get(..end).unwrap_or(text));
    }
    if rest.is_empty() {
        return None;
    }
    let (token, tail) = match memchr(b' ', rest) {
        Some(at) => (rest.get(..at)?, rest.get(at..)?),
        None => (*rest, &b""[..]),
    };
    *rest = tail;
    Some(token)
}

/// The index of the quote that ends `text`, or its length when none does.
fn closing_quote(text: &[u8], quotes: Quotes) -> usize {
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|tail| memchr2(b'"', b'\\', tail)) {
        let at = from + found;
        let next = text.get(at + 1);
        match text.get(at) {
            Some(b'\\') => {
                from = if matches!(next, Some(b'"' | b'\\')) {
                    at + 2
                } else {
                    at + 1
                };
            }
            _ if quotes == Quotes::Strict || matches!(next, None | Some(b' ')) => return at,
            _ => from = at + 1,
        }
    }
    text.len()
}

fn begins_like_an_entry(line: &[u8]) -> bool {
    let Some(at) = memchr(b' ', line) else {
        return false;
    };
    let (Some(first), Some(rest)) = (line.get(..at), line.get(at + 1..)) else {
        return false;
    };
    let second = rest
        .get(..memchr(b' ', rest).unwrap_or(rest.len()))
        .unwrap_or_default();
    is_entry_type(first) && time::looks_like_time(second)
}

fn is_entry_type(word: &[u8]) -> bool {
    matches!(word, b"http" | b"https" | b"h2" | b"grpcs" | b"ws" | b"wss")
}

/// `NAME/1` or `NAME/1.1`, or the `-` of a request that was never read.
fn is_protocol(word: &[u8]) -> bool {
    if word == b"-" {
        return true;
    }
    let Some(slash) = memchr(b'/', word) else {
        return false;
    };
    let name = word.get(..slash).unwrap_or_default();
    !name.is_empty()
        && name.iter().all(u8::is_ascii_alphabetic)
        && matches!(word.get(slash + 1..), Some([a] | [a, b'.', _]) if a.is_ascii_digit())
        && word.last().is_some_and(u8::is_ascii_digit)
}

fn trim_line_break(mut line: &[u8]) -> &[u8] {
    while let [head @ .., b'\n' | b'\r'] = line {
        line = head;
    }
    line
}

fn trim_spaces_right(mut text: &[u8]) -> &[u8] {
    while let [head @ .., b' '] = text {
        text = head;
    }
    text
}

/// A whole number without a sign.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A decimal number such as `0.001` or `-1`.
fn number(text: &[u8]) -> Option<f64> {
    // The load balancer writes three decimals: nearly every value takes this road.
    if let [whole @ .., b'.', a, b, c] = text
        && let (Some(whole), Some(thousandths)) = (digits(whole), digits(&[*a, *b, *c]))
    {
        return u32::try_from(whole)
            .ok()
            .map(|whole| f64::from(whole) + thousandths as f64 / 1000.0);
    }
    std::str::from_utf8(text)
        .ok()?
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
}
