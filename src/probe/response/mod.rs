//! Reads the raw bytes of a response as strictly as a load balancer may, cut anywhere.
//!
//! The reader is pure: it is given bytes and, at the end, how the connection ended. It keeps the head up
//! to a bound and counts the body.

mod head;
pub mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Certainty, RULES, Rule, Violation, WouldBe};

/// The longest header line that a load balancer takes, in bytes.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html>
pub const MAX_HEADER_LINE: u64 = 16 * 1024;

/// The longest head (status line and headers) that a load balancer takes, in bytes. Source: the same.
pub const MAX_HEAD: u64 = 32 * 1024;

/// Above this the head is not read to its end, in bytes.
const GIVE_UP_HEAD: u64 = 256 * 1024;

/// So much of a line is kept, in bytes.
const MAX_KEPT_LINE: usize = 20 * 1024;

/// So many headers are kept, and so many violations of one rule are told.
const MAX_KEPT_HEADERS: usize = 1000;
const MAX_TOLD: usize = 3;

/// More interim responses than this are no response at all.
const MAX_INTERIM: usize = 8;

/// The body is read up to here, in bytes.
pub const MAX_BODY: u64 = 2 * 1024 * 1024;

/// The version of a status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// Anything else.
    Other,
}

impl Version {
    /// As in a status line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Other => "HTTP/?",
        }
    }
}

/// How the end of the body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none: HEAD, 204, 304.
    NoBody,
    /// By its length in bytes.
    ContentLength(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection: it cannot be used again.
    UntilClose,
}

impl Framing {
    /// As the report writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoBody => "no-body",
            Self::ContentLength(_) => "content-length",
            Self::Chunked => "chunked",
            Self::UntilClose => "until-close",
        }
    }
}

/// A header as it came. The value is a stranger's text, and may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The name.
    pub name: String,
    /// The value without the space around it.
    pub value: String,
}

/// Why no more bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The target closed the connection (FIN, RST or the TLS close).
    Closed,
    /// The target was silent for the idle timeout.
    Silent,
    /// The probe stopped: the response was complete, or it had read enough.
    Stopped,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The version, when there was a status line.
    pub version: Option<Version>,
    /// The status, when there was a valid one.
    pub status: Option<u16>,
    /// The reason, a stranger's text.
    pub reason: String,
    /// The headers that could be read, at most 1000.
    pub headers: Vec<Header>,
    /// Bytes of the status line and headers.
    pub head_bytes: u64,
    /// Bytes of the body without the framing of chunks, as far as it was read.
    pub body_bytes: u64,
    /// How the end of the body is known; `None` when the head did not end.
    pub framing: Option<Framing>,
    /// Statuses of interim responses before it.
    pub interim: Vec<u16>,
    /// It was read to its end.
    pub is_complete: bool,
    /// The first bytes of what is no HTTP.
    pub foreign: Option<Foreign>,
    /// What is wrong with it, in the order of the bytes.
    pub violations: Vec<Violation>,
}

/// What the bytes are that are no HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A TLS record.
    Tls,
    /// An HTTP/2 frame.
    Http2,
    /// Nothing known.
    Unknown,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    }

    /// Whether the target says that it closes the connection after this response, or cannot but do so.
    pub fn says_close(&self) -> bool {
        let has = |token: &str| {
            self.headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case("connection"))
                .flat_map(|header| header.value.split(','))
                .any(|it| it.trim().eq_ignore_ascii_case(token))
        };
        has("close")
            || self.framing == Some(Framing::UntilClose)
            || (self.version == Some(Version::Http10) && !has("keep-alive"))
    }

    /// The seconds that `Keep-Alive: timeout=` promises.
    pub fn promised_seconds(&self) -> Option<f64> {
        let value = self.header("keep-alive")?;
        let timeout = value.split(',').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().trim_matches('"'))
        })?;
        timeout.parse().ok().filter(|seconds: &f64| seconds.is_finite() && 0.0 <= *seconds)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Before or in the status line.
    Start,
    Headers,
    /// So many bytes of the body are to come.
    Body(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Complete,
    /// What comes cannot be understood any more.
    Lost,
}

/// Reads one response, with the interim ones before it.
#[derive(Debug)]
pub struct ResponseReader {
    answers_head: bool,
    stage: Stage,
    /// The line at hand, up to a bound.
    line: Vec<u8>,
    /// Its whole length so far.
    line_length: u64,
    /// Bytes read of the response.
    at: u64,
    head_started: u64,
    /// Bytes that stand before the status line, with the first of them.
    garbage: Option<Vec<u8>>,
    after_end: u64,
    after_end_first: Vec<u8>,
    is_after_end_idle: bool,
    told_bare_line_feed: bool,
    response: Response,
}

impl ResponseReader {
    /// A reader for the response to a request of this method.
    pub fn new(method: &str) -> Self {
        Self {
            answers_head: method == "HEAD",
            stage: Stage::Start,
            line: Vec::new(),
            line_length: 0,
            at: 0,
            head_started: 0,
            garbage: None,
            after_end: 0,
            after_end_first: Vec::new(),
            is_after_end_idle: false,
            told_bare_line_feed: false,
            response: Response {
                version: None,
                status: None,
                reason: String::new(),
                headers: Vec::new(),
                head_bytes: 0,
                body_bytes: 0,
                framing: None,
                interim: Vec::new(),
                is_complete: false,
                foreign: None,
                violations: Vec::new(),
            },
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.take(rest).clamp(1, rest.len());
            rest = rest.get(taken..).unwrap_or_default();
            self.at += taken as u64;
        }
    }

    /// Takes bytes that came when the response had been complete for a while.
    pub fn push_while_idle(&mut self, bytes: &[u8]) {
        if self.after_end == 0 && self.is_complete() {
            self.is_after_end_idle = true;
        }
        self.push(bytes);
    }

    /// The response is there to its last byte.
    pub fn is_complete(&self) -> bool {
        self.stage == Stage::Complete
    }

    /// Nothing is gained by reading on: it is complete, over a bound, or no HTTP.
    pub fn has_enough(&self) -> bool {
        matches!(self.stage, Stage::Complete | Stage::Lost) || MAX_BODY <= self.response.body_bytes
    }

    /// Anything came at all.
    pub fn has_begun(&self) -> bool {
        0 < self.at
    }

    /// The head came to its end.
    pub fn has_head(&self) -> bool {
        self.response.framing.is_some()
    }

    /// What has been read so far, without what only the end tells.
    pub fn so_far(&self) -> &Response {
        &self.response
    }

    /// The connection ended, or the probe stops: what came.
    pub fn end(mut self, end: End) -> Response {
        if self.stage == Stage::Start && self.line_length == self.at {
            let first = std::mem::take(&mut self.line);
            self.look_for_other_protocols(&first);
            self.line = first;
        }
        if self.stage == Stage::Start && self.garbage_or_line() {
            self.lose_garbage();
        }
        let in_body = matches!(
            self.stage,
            Stage::Body(_) | Stage::ChunkSize | Stage::Chunk(_) | Stage::ChunkEnd | Stage::Trailers
        );
        let stage = self.stage;
        let rule = match (stage, end) {
            (Stage::UntilClose, End::Closed) => {
                self.stage = Stage::Complete;
                None
            }
            (Stage::Complete | Stage::Lost, _) | (_, End::Stopped) => None,
            (Stage::Start, End::Closed) if 0 < self.line_length => Some(&rules::CLOSED_IN_HEAD),
            (Stage::Start, End::Silent) if 0 < self.line_length => Some(&rules::SILENT_IN_HEAD),
            (Stage::Start, End::Closed) => Some(&rules::CLOSED_WITHOUT_RESPONSE),
            (Stage::Start, End::Silent) => Some(&rules::SILENT),
            (Stage::Headers, End::Closed) => Some(&rules::CLOSED_IN_HEAD),
            (Stage::Headers, End::Silent) => Some(&rules::SILENT_IN_HEAD),
            (_, End::Closed) if in_body => Some(&rules::CLOSED_IN_BODY),
            (_, End::Silent) => Some(&rules::SILENT_IN_BODY),
            (_, End::Closed) => None,
        };
        if let Some(rule) = rule {
            self.tell(Violation::new(rule, self.at));
        }
        if 0 < self.after_end {
            let rule = if self.is_after_end_idle {
                &rules::BYTES_WHILE_IDLE
            } else {
                &rules::BYTES_AFTER_END
            };
            let first = std::mem::take(&mut self.after_end_first);
            let at = self.at - self.after_end;
            self.tell(Violation::new(rule, at).quoting(&first).of_bytes(self.after_end));
        }
        self.response.is_complete = self.stage == Stage::Complete;
        self.response
    }

    /// Takes some of the bytes and says how many; `self.at` is where they begin.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let all = bytes.len() as u64;
        match self.stage {
            Stage::Start
            | Stage::Headers
            | Stage::ChunkSize
            | Stage::ChunkEnd
            | Stage::Trailers => self.take_line(bytes),
            Stage::Body(left) => {
                let taken = left.min(all);
                self.response.body_bytes += taken;
                self.stage = match left - taken {
                    0 => Stage::Complete,
                    left => Stage::Body(left),
                };
                taken as usize
            }
            Stage::Chunk(left) => {
                let taken = left.min(all);
                self.response.body_bytes += taken;
                self.stage = match left - taken {
                    0 => Stage::ChunkEnd,
                    left => Stage::Chunk(left),
                };
                taken as usize
            }
            Stage::UntilClose => {
                self.response.body_bytes += all;
                bytes.len()
            }
            Stage::Complete => {
                let room = 64_usize.saturating_sub(self.after_end_first.len());
                self.after_end_first.extend(bytes.iter().take(room));
                self.after_end += all;
                bytes.len()
            }
            Stage::Lost => bytes.len(),
        }
    }

    fn take_line(&mut self, bytes: &[u8]) -> usize {
        let (part, ends) = match memchr::memchr(b'\n', bytes) {
            Some(index) => (bytes.get(..=index).unwrap_or_default(), true),
            None => (bytes, false),
        };
        // What is no HTTP is recognised by its first bytes; it may have no line ends at all.
        let is_first = self.stage == Stage::Start && self.at == self.line_length;
        let part = match is_first && self.line_length < FIRST_BYTES {
            true => part.get(..(FIRST_BYTES - self.line_length) as usize).unwrap_or(part),
            false => part,
        };
        // What follows a chunk is a line end and nothing else.
        let part = match self.stage {
            Stage::ChunkEnd => part.get(..1).unwrap_or(part),
            _ => part,
        };
        // Up to the first byte above a bound and no further, wherever the bytes are cut.
        let in_head = matches!(self.stage, Stage::Start | Stage::Headers);
        let room = if in_head {
            (GIVE_UP_HEAD + 1).saturating_sub(self.at - self.head_started)
        } else {
            (MAX_HEADER_LINE + 1).saturating_sub(self.line_length)
        };
        let part = part.get(..room as usize).unwrap_or(part);
        let ends = ends && part.ends_with(b"\n");
        let room = MAX_KEPT_LINE.saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
        self.line_length += part.len() as u64;
        if is_first && FIRST_BYTES == self.line_length {
            let first = std::mem::take(&mut self.line);
            self.look_for_other_protocols(&first);
            self.line = first;
            if self.stage == Stage::Lost {
                return part.len();
            }
        }
        let until = self.at + part.len() as u64;
        if in_head && GIVE_UP_HEAD < until - self.head_started {
            if self.stage == Stage::Headers {
                self.response.head_bytes = until - self.head_started;
                self.long_line();
                self.large_head(until);
                self.stage = Stage::Lost;
            } else {
                self.lose_garbage();
            }
        } else if !in_head && MAX_HEADER_LINE < self.line_length {
            // A chunk's line or a trailer as long as this frames nothing.
            let rule = if self.stage == Stage::Trailers {
                &rules::TRAILER_INVALID
            } else {
                &rules::CHUNK_SIZE_INVALID
            };
            self.tell(Violation::new(rule, until - self.line_length).of_bytes(self.line_length));
            self.stage = Stage::Lost;
        } else if ends {
            self.line_ends(until);
        } else if self.stage == Stage::ChunkEnd && self.line != b"\r" {
            let line = std::mem::take(&mut self.line);
            let began = until - self.line_length;
            self.tell(Violation::new(&rules::CHUNK_END_MISSING, began).quoting(&line));
            self.stage = Stage::Lost;
        }
        part.len()
    }

    /// The line at hand is whole; `until` is where the next one begins.
    fn line_ends(&mut self, until: u64) {
        let began = until - self.line_length;
        if matches!(self.stage, Stage::Headers) {
            self.long_line();
        }
        let was_cut = self.line.len() < self.line_length as usize;
        let mut line = std::mem::take(&mut self.line);
        self.line_length = 0;
        if !was_cut {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            } else if !self.told_bare_line_feed && self.is_http_line(&line) {
                self.told_bare_line_feed = true;
                self.tell(Violation::new(&rules::BARE_LINE_FEED, until - 1));
            }
        }
        if matches!(self.stage, Stage::Headers) && memchr::memchr(b'\r', &line).is_some() {
            self.tell(Violation::new(&rules::BARE_CARRIAGE_RETURN, began).quoting(name_of(&line)));
        }
        match self.stage {
            Stage::Start => self.start_line(&line, began),
            Stage::Headers if line.is_empty() => self.head_ends(until),
            Stage::Headers => self.header(&line, began),
            Stage::ChunkSize => match head::chunk_size(&line) {
                Some(0) => self.stage = Stage::Trailers,
                Some(size) => self.stage = Stage::Chunk(size),
                None => {
                    self.tell(Violation::new(&rules::CHUNK_SIZE_INVALID, began).quoting(&line));
                    self.stage = Stage::Lost;
                }
            },
            Stage::ChunkEnd => self.stage = Stage::ChunkSize,
            Stage::Trailers if line.is_empty() => self.stage = Stage::Complete,
            Stage::Trailers => {
                if let (_, broken) = head::header_line(&line)
                    && !broken.is_empty()
                {
                    let told = Violation::new(&rules::TRAILER_INVALID, began);
                    self.tell(told.quoting(name_of(&line)));
                }
            }
            Stage::Body(_)
            | Stage::Chunk(_)
            | Stage::UntilClose
            | Stage::Complete
            | Stage::Lost => {}
        }
    }

    /// Whether a line is one of HTTP; what stands before the status line has no rules for its end.
    fn is_http_line(&self, line: &[u8]) -> bool {
        self.stage != Stage::Start || line.is_empty() || find_version(line).is_some()
    }

    fn start_line(&mut self, line: &[u8], began: u64) {
        if began == 0 {
            self.look_for_other_protocols(line);
            if self.stage == Stage::Lost {
                return;
            }
        }
        let Some(version_at) = find_version(line) else {
            if line.is_empty() && self.garbage.is_none() {
                self.tell(Violation::new(&rules::BLANK_LINE_BEFORE_STATUS_LINE, began));
            } else if self.garbage.is_none() {
                self.garbage = Some(line.to_vec());
            }
            return;
        };
        let (before, line) = line.split_at(version_at);
        let before = match self.garbage.take() {
            Some(garbage) => garbage,
            None => before.to_vec(),
        };
        if !before.is_empty() {
            let told = Violation::new(&rules::BYTES_BEFORE_STATUS_LINE, self.head_started);
            let bytes = began + version_at as u64 - self.head_started;
            self.tell(told.quoting(&before).of_bytes(bytes));
        }
        let said = head::status_line(line);
        for rule in said.broken {
            self.tell(Violation::new(rule, began).quoting(line));
        }
        self.response.version = Some(said.version);
        self.response.status = said.status;
        self.response.reason = said.reason;
        self.head_started = began + version_at as u64;
        self.stage = Stage::Headers;
    }

    fn header(&mut self, line: &[u8], began: u64) {
        let (header, broken) = head::header_line(line);
        for rule in broken {
            let told = Violation::new(rule, began);
            let has_value = header.is_some();
            self.tell(told.quoting(if has_value { name_of(line) } else { line }));
        }
        if let Some(header) = header
            && self.response.headers.len() < MAX_KEPT_HEADERS
        {
            self.response.headers.push(header);
        }
    }

    fn head_ends(&mut self, until: u64) {
        self.response.head_bytes = until - self.head_started;
        self.large_head(until);
        // Without a status nothing else tells what it is: as after 200.
        let status = self.response.status.unwrap_or(200);
        if status == 101 {
            self.tell(Violation::new(&rules::UNEXPECTED_SWITCH, self.head_started));
            self.response.framing = Some(Framing::UntilClose);
            self.stage = Stage::Lost;
            return;
        }
        if (100..200).contains(&status) {
            let told = Violation::new(&rules::UNEXPECTED_INTERIM, self.head_started);
            self.tell(told.quoting(status.to_string().as_bytes()));
            self.response.interim.push(status);
            self.response.headers.clear();
            self.response.status = None;
            self.response.version = None;
            self.response.head_bytes = 0;
            self.head_started = until;
            self.stage = match self.response.interim.len() < MAX_INTERIM {
                true => Stage::Start,
                false => Stage::Lost,
            };
            return;
        }
        let version = self.response.version.unwrap_or(Version::Other);
        let (framing, broken) =
            head::framing(version, status, self.answers_head, &self.response.headers);
        for rule in broken {
            self.tell(Violation::new(rule, self.head_started));
        }
        self.response.framing = Some(framing);
        self.stage = match framing {
            Framing::NoBody | Framing::ContentLength(0) => Stage::Complete,
            Framing::ContentLength(length) => Stage::Body(length),
            Framing::Chunked => Stage::ChunkSize,
            Framing::UntilClose => Stage::UntilClose,
        };
    }

    /// Tells a header line above the limit.
    fn long_line(&mut self) {
        if MAX_HEADER_LINE < self.line_length {
            let told = Violation::new(&rules::HEADER_LINE_TOO_LONG, self.head_started);
            let told = told.quoting(name_of(&self.line)).of_bytes(self.line_length);
            self.tell(told);
        }
    }

    /// Tells a head above the limit, whose end or last byte at hand is before `until`.
    fn large_head(&mut self, until: u64) {
        let bytes = until - self.head_started;
        if MAX_HEAD < bytes {
            self.tell(Violation::new(&rules::HEAD_TOO_LARGE, self.head_started).of_bytes(bytes));
        }
    }

    /// Whether anything but empty lines came in place of a status line.
    fn garbage_or_line(&self) -> bool {
        self.garbage.is_some() || (!self.line.is_empty() && !is_beginning_of_version(&self.line))
    }

    /// Looks at the very first bytes.
    fn look_for_other_protocols(&mut self, first: &[u8]) {
        match first {
            // Content type 20 to 23 and version 3.x. Source: RFC 8446, section 5.1.
            [20..=23, 3, ..] => self.lose(Foreign::Tls, first),
            // A SETTINGS frame on stream 0, the first of each connection. Source: RFC 9113, section 6.5.
            [0, 0, _, 4, 0 | 1, 0, 0, 0, 0, ..] => self.lose(Foreign::Http2, first),
            _ => {}
        }
    }

    /// What comes is no HTTP/1; it begins so.
    fn lose(&mut self, foreign: Foreign, first: &[u8]) {
        let rule = match foreign {
            Foreign::Tls => &rules::TLS_BYTES,
            Foreign::Http2 => &rules::HTTP2_BYTES,
            Foreign::Unknown => &rules::NOT_HTTP,
        };
        self.tell(Violation::new(rule, self.head_started).quoting(first));
        self.response.foreign = Some(foreign);
        self.stage = Stage::Lost;
    }

    fn lose_garbage(&mut self) {
        let first = match self.garbage.take() {
            Some(garbage) => garbage,
            None => std::mem::take(&mut self.line),
        };
        self.lose(Foreign::Unknown, &first);
    }

    fn tell(&mut self, violation: Violation) {
        let same = self.response.violations.iter().filter(|it| it.rule == violation.rule).count();
        if same < MAX_TOLD {
            self.response.violations.push(violation);
        }
    }
}

/// So many bytes tell TLS and HTTP/2 from HTTP/1.
const FIRST_BYTES: u64 = 9;

/// The part of a header line that may be shown.
fn name_of(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b':').next().unwrap_or_default()
}

/// Where a version begins in a line: at its beginning in any case of letters, else as `HTTP/1`.
fn find_version(line: &[u8]) -> Option<usize> {
    if line.get(..5).is_some_and(|first| first.eq_ignore_ascii_case(b"HTTP/")) {
        return Some(0);
    }
    let at = memchr::memmem::find(line, b"HTTP/1.")?;
    // HTML that talks about HTTP/1.1 is no status line: three digits have to follow.
    let code = line.get(at + 8..at + 12)?;
    (code.first() == Some(&b' ') && code.iter().skip(1).all(u8::is_ascii_digit)).then_some(at)
}

/// The connection ended within the first word, which may have become a version.
fn is_beginning_of_version(line: &[u8]) -> bool {
    let length = line.len().min(5);
    line.get(..length)
        .is_some_and(|first| first.eq_ignore_ascii_case(b"HTTP/".get(..length).unwrap_or_default()))
}
