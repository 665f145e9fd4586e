//! What a load balancer may object to in a response, one row each.
//!
//! AWS documents that malformed or invalid headers, headers above the limits and a connection that ends
//! before the response give 502, and that a Content-Length larger than the body gives 504; it has no list of
//! what is malformed. So each row says how sure it is.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

pub use crate::diagnosis::probes::{Certainty, WouldBe};

/// One thing that can be wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id, public.
    pub id: &'static str,
    /// The cause that an access log would show for it.
    pub cause: &'static str,
    /// What it becomes.
    pub would_be: WouldBe,
    /// How sure that is.
    pub certainty: Certainty,
    /// What is wrong, as a sentence without its full stop.
    pub text: &'static str,
}

/// Declares the rules as constants and as one table.
macro_rules! rules {
    ($($name:ident: $id:literal, $cause:literal, $would_be:ident, $certainty:ident, $text:literal;)*) => {
        $(
            #[doc = $text]
            pub const $name: Rule = Rule {
                id: $id,
                cause: $cause,
                would_be: WouldBe::$would_be,
                certainty: Certainty::$certainty,
                text: $text,
            };
        )*
        /// Every rule.
        pub const RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    // Before and in the status line.
    TLS_BYTES: "tls-bytes", "protocol-mismatch", BadGateway, Likely,
        "the answer to plaintext is a TLS record";
    HTTP2_BYTES: "http2-bytes", "protocol-mismatch", BadGateway, Likely,
        "the answer to HTTP/1.1 is an HTTP/2 frame";
    NOT_HTTP: "not-http", "malformed-response", BadGateway, Documented,
        "there is no status line";
    BYTES_BEFORE_STATUS_LINE: "bytes-before-status-line", "malformed-response", BadGateway, Likely,
        "bytes stand before the status line";
    BLANK_LINE_BEFORE_STATUS_LINE: "blank-line-before-status-line", "malformed-response", BadGateway, Possible,
        "an empty line stands before the status line";
    STATUS_LINE_SYNTAX: "status-line-syntax", "malformed-response", BadGateway, Likely,
        "the status line is not version, space, three digits, space, reason";
    STATUS_VERSION: "status-version", "malformed-response", BadGateway, Likely,
        "the version of the status line is neither HTTP/1.1 nor HTTP/1.0";
    STATUS_CODE: "status-code", "malformed-response", BadGateway, Likely,
        "the status code is not between 100 and 599";
    STATUS_REASON: "status-reason", "malformed-response", BadGateway, Possible,
        "the reason of the status line holds a control character";
    UNEXPECTED_SWITCH: "unexpected-101", "malformed-response", BadGateway, Likely,
        "101 Switching Protocols answers a request that asked for no upgrade";
    UNEXPECTED_INTERIM: "unexpected-1xx", "malformed-response", BadGateway, Possible,
        "an interim 1xx response comes first, which the request did not ask for";
    // Headers.
    HEADER_LINE_TOO_LONG: "header-line-too-long", "oversized-headers", BadGateway, Documented,
        "a header line is longer than the 16 K (16,384 bytes) of a load balancer";
    HEAD_TOO_LARGE: "head-too-large", "oversized-headers", BadGateway, Documented,
        "the status line and the headers are longer than the 32 K (32,768 bytes) of a load balancer";
    HEADER_NO_COLON: "header-no-colon", "malformed-response", BadGateway, Documented,
        "a header line has no colon";
    HEADER_NAME_EMPTY: "header-name-empty", "malformed-response", BadGateway, Documented,
        "a header has no name";
    HEADER_NAME_SPACE: "header-name-space", "malformed-response", BadGateway, Likely,
        "a space stands between the name of a header and its colon";
    HEADER_NAME_CHARACTER: "header-name-character", "malformed-response", BadGateway, Likely,
        "the name of a header holds a character that names may not have";
    HEADER_VALUE_CONTROL: "header-value-control", "malformed-response", BadGateway, Likely,
        "the value of a header holds a control character";
    HEADER_FOLDED: "header-folded", "malformed-response", BadGateway, Likely,
        "a header goes on in a second line, which load balancers do not support";
    BARE_CARRIAGE_RETURN: "bare-carriage-return", "malformed-response", BadGateway, Likely,
        "a carriage return stands inside a line of the head";
    BARE_LINE_FEED: "bare-line-feed", "malformed-response", BadGateway, Possible,
        "a line ends in a line feed without a carriage return";
    // Framing.
    CONTENT_LENGTH_INVALID: "content-length-invalid", "malformed-response", BadGateway, Likely,
        "Content-Length is not a number";
    CONTENT_LENGTH_CONFLICT: "content-length-conflict", "malformed-response", BadGateway, Likely,
        "two values of Content-Length contradict each other";
    CONTENT_LENGTH_REPEATED: "content-length-repeated", "malformed-response", BadGateway, Possible,
        "Content-Length stands there twice";
    CONTENT_LENGTH_AND_CHUNKED: "content-length-and-transfer-encoding", "malformed-response", BadGateway, Likely,
        "both Content-Length and Transfer-Encoding are there";
    TRANSFER_ENCODING_REPEATED: "transfer-encoding-repeated", "malformed-response", BadGateway, Likely,
        "Transfer-Encoding: chunked stands there twice, as when framework and proxy both add it";
    TRANSFER_ENCODING_UNKNOWN: "transfer-encoding-unknown", "malformed-response", BadGateway, Likely,
        "Transfer-Encoding is something else than chunked";
    TRANSFER_ENCODING_HTTP_1_0: "transfer-encoding-http-1-0", "malformed-response", BadGateway, Possible,
        "Transfer-Encoding stands in a response of HTTP/1.0, which has none";
    BODY_WHERE_NONE_MAY_BE: "body-where-none-may-be", "malformed-response", BadGateway, Possible,
        "a 204 announces a body";
    CHUNK_SIZE_INVALID: "chunk-size-invalid", "malformed-response", BadGateway, Likely,
        "the size of a chunk is not a hexadecimal number";
    CHUNK_END_MISSING: "chunk-end-missing", "malformed-response", BadGateway, Likely,
        "a chunk is longer or shorter than its size says";
    TRAILER_INVALID: "trailer-invalid", "malformed-response", BadGateway, Possible,
        "a trailer after the last chunk is not a valid header";
    BYTES_AFTER_END: "bytes-after-end", "malformed-response", BadGateway, Likely,
        "bytes follow after the end of the response; the next request on the connection gets them as its \
         response";
    BYTES_WHILE_IDLE: "bytes-while-idle", "malformed-response", BadGateway, Possible,
        "bytes came on the idle connection without a request; the next request on it may get them as its \
         response";
    // How it ended.
    CLOSED_WITHOUT_RESPONSE: "closed-without-response", "closed-mid-request", BadGateway, Documented,
        "the target closed the connection without a response";
    CLOSED_IN_HEAD: "closed-in-head", "closed-mid-request", BadGateway, Documented,
        "the target closed the connection in the middle of the headers";
    CLOSED_IN_BODY: "closed-in-body", "closed-mid-request", BadGateway, Possible,
        "the target closed the connection before the end of the body; the client gets 502 when nothing was \
         passed on yet, else a cut response";
    SILENT: "silent", "idle-timeout", GatewayTimeout, Documented,
        "the target did not answer within the idle timeout";
    SILENT_IN_HEAD: "silent-in-head", "idle-timeout", GatewayTimeout, Documented,
        "the target fell silent in the middle of the headers until the idle timeout";
    SILENT_IN_BODY: "silent-in-body", "idle-timeout", GatewayTimeout, Documented,
        "the body is shorter than the response says: the target fell silent before its end until the idle \
         timeout";
}

/// A rule that a response broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: &'static Rule,
    /// Where: bytes from the beginning of the response.
    pub at: u64,
    /// What stands there, a stranger's text, shortened. Never the value of a header.
    pub quote: Option<String>,
    /// How many bytes, where the rule is about a number of them.
    pub bytes: Option<u64>,
}

/// How much of what is wrong is quoted, in bytes.
const MAX_QUOTE: usize = 48;

impl Violation {
    /// Something wrong at a place.
    pub(super) fn new(rule: &'static Rule, at: u64) -> Self {
        Self { rule, at, quote: None, bytes: None }
    }

    /// The same with what stands there.
    pub(super) fn quoting(mut self, bytes: &[u8]) -> Self {
        let short = bytes.get(..MAX_QUOTE).unwrap_or(bytes);
        self.quote = Some(String::from_utf8_lossy(short).into_owned());
        self
    }

    /// The same with a number of bytes.
    pub(super) fn of_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}
