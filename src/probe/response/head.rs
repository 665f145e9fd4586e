//! The lines of a response's head, and how its headers frame the body.

use super::{
    Framing, Header, Version,
    rules::{self, Rule},
};

/// What a status line says, with what is wrong in it.
pub(super) struct StatusLine {
    pub version: Version,
    pub status: Option<u16>,
    pub reason: String,
    pub broken: Vec<&'static Rule>,
}

/// Reads a status line, which begins with `HTTP/` in any case of letters.
pub(super) fn status_line(line: &[u8]) -> StatusLine {
    let mut broken = Vec::new();
    let (version, rest) = split(line, b' ');
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => {
            broken.push(&rules::STATUS_VERSION);
            Version::Other
        }
    };
    let (code, reason) = match rest {
        Some(rest) => split(rest, b' '),
        None => (&b""[..], None),
    };
    let is_three_digits = code.len() == 3 && code.iter().all(u8::is_ascii_digit);
    let status: Option<u16> = if is_three_digits {
        std::str::from_utf8(code).ok().and_then(|code| code.parse().ok())
    } else {
        broken.push(&rules::STATUS_LINE_SYNTAX);
        None
    };
    if status.is_some_and(|status| !(100..=599).contains(&status)) {
        broken.push(&rules::STATUS_CODE);
    }
    let reason = reason.unwrap_or_default();
    if reason.iter().any(|byte| is_control(*byte)) {
        broken.push(&rules::STATUS_REASON);
    }
    StatusLine {
        version,
        status,
        reason: String::from_utf8_lossy(reason.get(..MAX_REASON).unwrap_or(reason)).into_owned(),
        broken,
    }
}

/// A reason longer than this is cut for the report, in bytes.
const MAX_REASON: usize = 80;

/// Reads one header line: the header, if it can be told from what is wrong.
pub(super) fn header_line(line: &[u8]) -> (Option<Header>, Vec<&'static Rule>) {
    if line.first().is_some_and(|first| is_blank(*first)) {
        return (None, vec![&rules::HEADER_FOLDED]);
    }
    let (name, Some(value)) = split(line, b':') else {
        return (None, vec![&rules::HEADER_NO_COLON]);
    };
    let mut broken = Vec::new();
    let trimmed = name.trim_ascii_end();
    if trimmed.is_empty() {
        broken.push(&rules::HEADER_NAME_EMPTY);
    } else if trimmed.len() < name.len() {
        broken.push(&rules::HEADER_NAME_SPACE);
    }
    if !trimmed.iter().all(|byte| is_name(*byte)) {
        broken.push(&rules::HEADER_NAME_CHARACTER);
    }
    // A carriage return has a rule of its own.
    if value.iter().any(|byte| is_control(*byte) && *byte != b'\r') {
        broken.push(&rules::HEADER_VALUE_CONTROL);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (Some(Header { name: text(trimmed), value: text(value.trim_ascii()) }), broken)
}

/// How the body is delimited, with what is wrong in the headers that say so.
pub(super) fn framing(
    version: Version,
    status: u16,
    answers_head: bool,
    headers: &[Header],
) -> (Framing, Vec<&'static Rule>) {
    let mut broken = Vec::new();
    let values = |name: &'static str| {
        headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .flat_map(|header| header.value.split(','))
            .map(str::trim)
    };
    let codings: Vec<String> = values("transfer-encoding").map(str::to_ascii_lowercase).collect();
    let lengths: Vec<&str> = values("content-length").collect();
    let length = length(&lengths, &mut broken);
    let has_coding = !codings.is_empty();
    if has_coding && !lengths.is_empty() {
        broken.push(&rules::CONTENT_LENGTH_AND_CHUNKED);
    }
    let chunked = codings.iter().filter(|coding| *coding == "chunked").count();
    if 1 < chunked {
        broken.push(&rules::TRANSFER_ENCODING_REPEATED);
    }
    if chunked < codings.len() {
        broken.push(&rules::TRANSFER_ENCODING_UNKNOWN);
    }
    if has_coding && version == Version::Http10 {
        broken.push(&rules::TRANSFER_ENCODING_HTTP_1_0);
    }
    if status == 204 && (has_coding || length.is_some_and(|length| 0 < length)) {
        broken.push(&rules::BODY_WHERE_NONE_MAY_BE);
    }
    let framing = if answers_head || matches!(status, 204 | 304) {
        Framing::NoBody
    } else if codings.last().is_some_and(|last| last == "chunked") {
        Framing::Chunked
    } else if has_coding {
        Framing::UntilClose
    } else {
        length.map_or(Framing::UntilClose, Framing::ContentLength)
    };
    (framing, broken)
}

/// The first valid length.
fn length(values: &[&str], broken: &mut Vec<&'static Rule>) -> Option<u64> {
    let is_number =
        |value: &&&str| !value.is_empty() && value.bytes().all(|it| it.is_ascii_digit());
    let numbers: Vec<u64> =
        values.iter().filter(is_number).filter_map(|value| value.parse().ok()).collect();
    if numbers.len() < values.len() {
        broken.push(&rules::CONTENT_LENGTH_INVALID);
    }
    let first = numbers.first().copied();
    if numbers.iter().any(|number| Some(*number) != first) {
        broken.push(&rules::CONTENT_LENGTH_CONFLICT);
    } else if 1 < numbers.len() {
        broken.push(&rules::CONTENT_LENGTH_REPEATED);
    }
    first
}

/// The size in a chunk's first line; extensions after `;` are passed over.
pub(super) fn chunk_size(line: &[u8]) -> Option<u64> {
    let (size, _) = split(line, b';');
    let size = size.trim_ascii_end();
    let is_hex = (1..=16).contains(&size.len()) && size.iter().all(u8::is_ascii_hexdigit);
    if !is_hex {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

fn split(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, bytes) {
        Some(index) => (bytes.get(..index).unwrap_or_default(), bytes.get(index + 1..)),
        None => (bytes, None),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Control characters, the tabulator aside.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// What a header name consists of.
/// Source: RFC 9110, section 5.6.2 (token).
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
