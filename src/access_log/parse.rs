//! One line of an ALB access log, taken apart without copying.
//!
//! The format is a list of fields divided by spaces; texts stand in double quotes. A field may be
//! appended at any time, so what follows the last known field is kept aside and never an error.
//! A quote inside a text is written `\x22` by the load balancer; a bare `\"` is accepted as well.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>

use std::fmt;

use memchr::memchr;

pub use super::fields::words;
use super::{
    fields::{Fields, Quotes},
    line_kind::LineKind,
    request_line::RequestLine,
    time::{self, Clock},
};

/// A field of an access-log entry, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the ones of the AWS documentation")]
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

impl Field {
    /// All of them, in the order of the log.
    pub const ALL: [Self; KNOWN_FIELDS] = [
        Self::Type,
        Self::Time,
        Self::Elb,
        Self::ClientPort,
        Self::TargetPort,
        Self::RequestProcessingTime,
        Self::TargetProcessingTime,
        Self::ResponseProcessingTime,
        Self::ElbStatusCode,
        Self::TargetStatusCode,
        Self::ReceivedBytes,
        Self::SentBytes,
        Self::Request,
        Self::UserAgent,
        Self::SslCipher,
        Self::SslProtocol,
        Self::TargetGroupArn,
        Self::TraceId,
        Self::DomainName,
        Self::ChosenCertArn,
        Self::MatchedRulePriority,
        Self::RequestCreationTime,
        Self::ActionsExecuted,
        Self::RedirectUrl,
        Self::ErrorReason,
        Self::TargetPortList,
        Self::TargetStatusCodeList,
        Self::Classification,
        Self::ClassificationReason,
        Self::ConnTraceId,
        Self::TransformedHost,
        Self::TransformedUri,
        Self::RequestTransformStatus,
    ];
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
    /// More fields than are known, and a carriage return among them: rows that somebody has joined.
    #[error("a carriage return inside the line; rows end with a line feed")]
    CarriageReturn,
    /// The line is longer than [`super::lines::MAX_LINE_BYTES`].
    #[error("longer than the longest line that a load balancer writes")]
    TooLong,
}

/// One entry: a view into its line.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    line: &'a [u8],
    fields: Fields,
    time: i64,
    created: Option<i64>,
}

impl<'a> Entry<'a> {
    /// Takes a line apart. A line break at its end is ignored.
    ///
    /// # Errors
    /// When the line is of another kind, too short, or its time cannot be read.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        let mut entry = Self::unread(line);
        entry.read(&mut Clock::default())?;
        if entry.has_unknown_fields() && entry.is_several_rows() {
            return Err(Malformed::CarriageReturn);
        }
        Ok(entry)
    }

    /// A line that is not yet taken apart.
    #[inline]
    pub(super) fn unread(line: &'a [u8]) -> Self {
        let line = trim_line_break(line);
        Self { line, fields: Fields::none_of(line), time: 0, created: None }
    }

    /// Takes the line apart, in place: to hand three hundred bytes on would cost as much as to find a
    /// quarter of them. The times of a row are mostly in the minute of the row before, which the clock knows.
    ///
    /// # Errors
    /// As [`Entry::parse`]; then the entry says nothing.
    #[inline]
    pub(super) fn read(&mut self, clock: &mut Clock) -> Result<(), Malformed> {
        let Self { line, fields, .. } = self;
        let line = *line;
        fields.read_first(line);
        let time = fields.get(line, Field::Time).and_then(|time| clock.micros(time));
        // Only a line with a time that is none needs to be looked at again: most lines have one.
        let begins_like_an_entry = match time {
            Some(_) => {
                fields.begin_bare(line) && fields.get(line, Field::Type).is_some_and(is_entry_type)
            }
            None => begins_like_an_entry(line),
        };
        if !begins_like_an_entry {
            return Err(Malformed::NotAnEntry(LineKind::of(line)));
        }
        let mut created =
            fields.get(line, Field::RequestCreationTime).map(|text| time_or_dash(text, clock));
        if created == Some(Created::Neither) {
            // A raw quote stood inside a text: read again, a quote ends a text only before a space.
            let lenient = Fields::one_by_one(line, Quotes::Lenient);
            let again =
                lenient.get(line, Field::RequestCreationTime).map(|text| time_or_dash(text, clock));
            if !matches!(again, None | Some(Created::Neither)) {
                (*fields, created) = (lenient, again);
            }
        }
        if fields.known < MIN_FIELDS {
            return Err(match LineKind::of(line) {
                LineKind::AccessLog => Malformed::TooFewFields(fields.known),
                other => Malformed::NotAnEntry(other),
            });
        }
        if let Some(Created::At(micros)) = created {
            self.created = Some(micros);
        }
        self.time = time.ok_or(Malformed::Time)?;
        Ok(())
    }

    /// The whole row as it stands in the log, without its line break.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// The bytes of a field as they stand in the log (without the quotes); `None` when the row is of
    /// an era without this field.
    #[inline(always)]
    pub fn raw(&self, field: Field) -> Option<&'a [u8]> {
        self.fields.get(self.line, field)
    }

    /// The bytes of a field; `None` when it is absent, empty or `-`.
    #[inline(always)]
    pub fn get(&self, field: Field) -> Option<&'a [u8]> {
        self.raw(field).filter(|value| !value.is_empty() && *value != b"-")
    }

    /// When the load balancer generated the response: microseconds since 1970, UTC.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// When the load balancer received the request: microseconds since 1970, UTC.
    pub fn request_creation_time(&self) -> Option<i64> {
        self.created
    }

    /// A number in seconds, such as a processing time; `-1` stands for "not recorded". What is longer
    /// than eleven days is no time of a request: the longest timeout of a load balancer is about an hour.
    #[inline(always)]
    pub fn seconds(&self, field: Field) -> Option<f64> {
        let text = self.raw(field)?;
        // The load balancer writes three decimals, and most requests take less than ten seconds. One
        // division of two exact numbers gives the very value that the text stands for.
        if let [whole, b'.', a, b, c] = text
            && let Some(millis) = four_digits([*whole, *a, *b, *c])
        {
            return Some(f64::from(millis) / 1000.0);
        }
        Some(text)
            .filter(|text| *text != b"-")
            .and_then(number)
            .filter(|seconds| seconds.abs() <= 1e6)
    }

    /// A status code; `None` when it is `-` or no number.
    #[inline(always)]
    pub fn status(&self, field: Field) -> Option<u16> {
        match self.raw(field)? {
            b"-" => None,
            [a, b, c] => four_digits([b'0', *a, *b, *c]),
            text => digits(text).and_then(|value| u16::try_from(value).ok()),
        }
    }

    /// A count of bytes; `None` when it is `-` or no number.
    #[inline(always)]
    pub fn bytes(&self, field: Field) -> Option<u64> {
        match self.raw(field)? {
            b"-" => None,
            [a, b, c] => four_digits([b'0', *a, *b, *c]).map(u64::from),
            [a, b, c, d] => four_digits([*a, *b, *c, *d]).map(u64::from),
            text => digits(text),
        }
    }

    /// Method, URL and protocol of the request line; a part that is `-` is `None`.
    pub fn request(&self) -> RequestLine<'a> {
        RequestLine::split(self.raw(Field::Request).unwrap_or_default())
    }

    /// What follows the last known field, as it stands in the log.
    pub fn extra(&self) -> &'a [u8] {
        self.fields.extra(self.line)
    }

    /// More fields than are known.
    #[inline]
    pub(super) fn has_unknown_fields(&self) -> bool {
        self.extra().iter().any(|byte| *byte != b' ')
    }

    /// What is asked of a row with more fields than are known: whether they are those of another row. A load
    /// balancer escapes a carriage return that a client sends.
    #[cold]
    pub(super) fn is_several_rows(&self) -> bool {
        memchr(b'\r', self.line).is_some()
    }

    /// The same entry with all its fields looked for: for callers that ask for several of those behind
    /// `request_creation_time`, which are looked for anew each time otherwise.
    pub fn whole(&self) -> Self {
        Self { fields: self.fields.whole(self.line), ..*self }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, field) in FIELD_NAMES.iter().zip(Field::ALL) {
            if let Some(value) = self.raw(field) {
                map.entry(name, &String::from_utf8_lossy(value));
            }
        }
        map.finish()
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Created {
    At(i64),
    /// A dash, or a time of a day that no calendar has.
    Never,
    /// Neither: the field is another one.
    Neither,
}

#[inline]
fn time_or_dash(text: &[u8], clock: &mut Clock) -> Created {
    match clock.micros(text) {
        Some(micros) => Created::At(micros),
        None if text == b"-" || time::looks_like_time(text) => Created::Never,
        None => Created::Neither,
    }
}

fn begins_like_an_entry(line: &[u8]) -> bool {
    let Some(at) = memchr(b' ', line) else {
        return false;
    };
    let (Some(first), Some(rest)) = (line.get(..at), line.get(at + 1..)) else {
        return false;
    };
    let second = rest.get(..memchr(b' ', rest).unwrap_or(rest.len())).unwrap_or_default();
    is_entry_type(first) && time::looks_like_time(second)
}

pub(super) fn is_entry_type(word: &[u8]) -> bool {
    matches!(word, b"http" | b"https" | b"h2" | b"grpcs" | b"ws" | b"wss")
}

fn trim_line_break(mut line: &[u8]) -> &[u8] {
    while let [head @ .., b'\n' | b'\r'] = line {
        line = head;
    }
    line
}

/// A number of four digits.
#[inline(always)]
fn four_digits(text: [u8; 4]) -> Option<u16> {
    // All four at once: adding carries out of whatever is above `9`, subtracting out of what is below `0`.
    let text = u32::from_le_bytes(text);
    let digits = text.wrapping_sub(0x3030_3030);
    if (text.wrapping_add(0x4646_4646) | digits) & 0x8080_8080 != 0 {
        return None;
    }
    // The first digit is the lowest byte: two pairs of digits, then the pair of these.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff;
    u16::try_from((pairs & 0xff) * 100 + (pairs >> 16)).ok()
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
pub(super) fn number(text: &[u8]) -> Option<f64> {
    if let [whole @ .., b'.', a, b, c] = text
        && let (Some(whole), Some(thousandths)) = (digits(whole), digits(&[*a, *b, *c]))
    {
        // One division of two exact numbers gives the very value that the text stands for.
        return u32::try_from(whole)
            .ok()
            .map(|whole| (u64::from(whole) * 1000 + thousandths) as f64 / 1000.0);
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A row of every known field and four that are not known yet.
    const ROW: [&str; 37] = [
        "https",
        "2026-11-20T12:05:00.123456Z",
        "app/shop-web/50dc6c495c0c9188",
        "198.51.100.9:50122",
        "192.0.2.15:8080",
        "0.001",
        "10.018",
        "-1",
        "502",
        "-",
        "410",
        "620",
        "\"GET https://shop.example.com:443/cart?id=7 HTTP/1.1\"",
        "\"agent/1.0 (a; b)\"",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLSv1.2",
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/1122334455667788",
        "\"Root=1-65e2f000-000000000000000000000001\"",
        "\"shop.example.com\"",
        "\"session-reused\"",
        "0",
        "2026-11-20T12:04:50.101000Z",
        "\"waf,forward\"",
        "\"-\"",
        "\"-\"",
        "\"192.0.2.15:8080\"",
        "\"-\"",
        "\"Acceptable\"",
        "\"SpaceInUri\"",
        "TID_00000000000000000000000000000001",
        "\"-\"",
        "\"-\"",
        "\"-\"",
        "-",
        "192.0.2.200",
        "\"two words\"",
        "\"\"",
    ];

    fn row(changes: &[(Field, &str)]) -> String {
        let mut fields = ROW;
        for (field, value) in changes {
            fields[*field as usize] = value;
        }
        fields[..KNOWN_FIELDS].join(" ")
    }

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn reads_the_rows_of_every_era() {
        for count in [18, 20, 23, 24, 25, 27, 29, 30, 33, 34, 37] {
            for line_break in ["", "\n", "\r\n"] {
                let line = format!("{}{line_break}", ROW[..count].join(" "));
                let entry = Entry::parse(line.as_bytes()).unwrap();
                let known = count.min(KNOWN_FIELDS);
                assert_eq!(entry.whole().fields.known, known, "{count}");
                for (at, expected) in ROW[..known].iter().enumerate() {
                    assert_eq!(
                        entry.raw(Field::ALL[at]),
                        Some(expected.trim_matches('"').as_bytes()),
                        "{count} {}",
                        FIELD_NAMES[at]
                    );
                }
                assert_eq!(entry.request_creation_time().is_some(), 22 <= count, "{count}");
                assert_eq!(words(entry.extra()).count(), count - known, "{count}");
            }
        }
    }

    #[test]
    fn reads_numbers_and_times() {
        let line = row(&[]);
        let entry = Entry::parse(line.as_bytes()).unwrap();
        assert_eq!(entry.seconds(Field::RequestProcessingTime), Some(0.001));
        assert_eq!(entry.seconds(Field::TargetProcessingTime), Some(10.018));
        assert_eq!(entry.seconds(Field::ResponseProcessingTime), Some(-1.0));
        assert_eq!(entry.status(Field::ElbStatusCode), Some(502));
        assert_eq!(entry.status(Field::TargetStatusCode), None);
        assert_eq!(entry.bytes(Field::SentBytes), Some(620));
        assert_eq!(
            entry.request_creation_time().map(|created| entry.time() - created),
            Some(10_022_456)
        );
        assert_eq!(entry.get(Field::RedirectUrl), None);
        assert_eq!(entry.raw(Field::RedirectUrl), Some(&b"-"[..]));
        assert!(format!("{entry:?}").contains("shop-web"));
    }

    #[test]
    fn four_digits_are_read_at_once() {
        for number in 0..=9999_u16 {
            let text = format!("{number:04}");
            assert_eq!(four_digits(text.as_bytes().try_into().unwrap()), Some(number));
        }
        for place in 0..4 {
            for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"9090";
                text[place] = byte;
                assert_eq!(four_digits(text), None, "{text:?}");
            }
        }
    }

    #[test]
    fn a_number_is_the_value_that_stands_there() {
        for (text, expected) in [
            ("0.000", Some(0.0)),
            ("1.001", Some(1.001)),
            ("8.029", Some(8.029)),
            ("4294967295.999", Some(4_294_967_295.999)),
            ("0.000021", Some(0.000_021)),
            ("-1", Some(-1.0)),
            ("-0.001", Some(-0.001)),
            ("60", Some(60.0)),
            ("nan", None),
            ("inf", None),
            ("1e999", None),
            ("1.x01", None),
            ("", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn texts_hold_what_clients_send() {
        for value in [
            "GET https://example.com:443/a?q=\\x22b\\x22 HTTP/1.1",
            "GET https://example.com:443/shell?cd /tmp;rm -rf *;x HTTP/1.1",
            "GET https://example.com:443/a\\\"b HTTP/1.1",
            "GET https://example.com:443/a\"b\"c HTTP/1.1",
            "GET https://example.com:443/\u{e9} HTTP/1.1",
            "",
        ] {
            let quoted = format!("\"{value}\"");
            for field in [Field::Request, Field::UserAgent, Field::DomainName] {
                let line = row(&[(field, &quoted)]);
                let entry = Entry::parse(line.as_bytes()).unwrap();
                assert_eq!(text(entry.raw(field)), Some(value), "{field:?}");
                assert_eq!(
                    text(entry.get(Field::RequestCreationTime)),
                    Some(ROW[Field::RequestCreationTime as usize]),
                    "{field:?} {value}"
                );
            }
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_are_kept() {
        let line = row(&[(Field::UserAgent, "\"agent\"")]).into_bytes();
        let at = memchr::memmem::find(&line, b"agent").unwrap();
        let mut line = line;
        line[at] = 0xff;
        let entry = Entry::parse(&line).unwrap();
        assert_eq!(entry.raw(Field::UserAgent), Some(&b"\xffgent"[..]));
    }

    #[test]
    fn splits_endpoints_at_the_last_colon() {
        for (value, address, port) in [
            ("192.0.2.7:80", "192.0.2.7", Some(80)),
            ("2001:db8::7:50718", "2001:db8::7", Some(50718)),
            ("[2001:db8::7]:443", "2001:db8::7", Some(443)),
            ("192.0.2.7", "192.0.2.7", None),
            ("192.0.2.7:", "192.0.2.7:", None),
            ("192.0.2.7:65536", "192.0.2.7:65536", None),
            ("-", "-", None),
            ("", "", None),
        ] {
            assert_eq!(endpoint(value.as_bytes()), (address.as_bytes(), port));
        }
    }

    #[test]
    fn tells_what_is_no_entry() {
        let bad_time = row(&[(Field::Time, "2026-02-30T00:00:00Z")]);
        let short = ROW[..17].join(" ");
        let connection = "2026-11-20T12:05:00.123456Z 198.51.100.9 36280 443 TLSv1.3 TLS_AES_128_GCM_SHA256 0.014 \"-\" - - Success TID_01";
        let classic = "2026-11-20T12:05:00.123456Z old-web 198.51.100.9:2817 192.0.2.1:80 0.000073 0.001048 0.000057 200 200 0 29 \"GET http://example.com:80/ HTTP/1.1\" \"-\" - -";
        let check = "2026-11-20T12:05:00.123456Z 0.003 192.0.2.15:8080 shop PASS 200 - app/shop-web/50dc6c495c0c9188 192.0.2.200";
        let network = "tls 2.0 2026-11-20T12:05:00 net/a/0f 1a2b 198.51.100.9:51341 192.0.2.15:443 5 2 98 246 -";
        let not = Malformed::NotAnEntry;
        for (line, expected) in [
            (bad_time.as_str(), Malformed::Time),
            (&short, Malformed::TooFewFields(17)),
            (connection, not(LineKind::ConnectionLog)),
            (classic, not(LineKind::ClassicLoadBalancer)),
            (&format!("http {check}"), not(LineKind::HealthCheckLog)),
            (&format!("https {check}"), not(LineKind::HealthCheckLog)),
            (&format!("grpc {check}"), not(LineKind::HealthCheckLog)),
            (&format!("lambda {check}"), not(LineKind::HealthCheckLog)),
            (network, not(LineKind::NetworkLoadBalancer)),
            ("", not(LineKind::Empty)),
            (" \t\r\n", not(LineKind::Empty)),
            ("# put together by hand", not(LineKind::Other)),
            ("http", not(LineKind::Other)),
            ("Enable AccessLog for ELB: app/a/0f at 2026-11-20T12:05:00Z", not(LineKind::Other)),
            ("HTTP 2026-11-20T12:05:00Z app/a/0f -", not(LineKind::Other)),
            (&[row(&[]), row(&[])].join("\r"), Malformed::CarriageReturn),
            (&[&ROW[..18].join(" "), &row(&[])[..]].join("\r"), Malformed::CarriageReturn),
        ] {
            assert_eq!(Entry::parse(line.as_bytes()).err(), Some(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            tail in "([ \"\\\\\\-a:/0-9.Z]{0,12} ?){0,40}",
        ) {
            let beginning = b"http 2026-11-20T12:05:00.1Z ";
            for line in [
                bytes.clone(),
                [&beginning[..], &bytes].concat(),
                [&beginning[..], tail.as_bytes()].concat(),
            ] {
                LineKind::of(&line);
                RequestLine::split(&line).path();
                endpoint(&line);
                if let Ok(entry) = Entry::parse(&line) {
                    entry.request_creation_time();
                    entry.request().path();
                    words(entry.extra()).count();
                    super::super::json::write_line(&entry, std::io::sink()).unwrap();
                }
            }
        }
    }
}
