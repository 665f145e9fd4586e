//! What a probe saw, before anybody judges it.

use std::net::{IpAddr, SocketAddr};

use super::response::Response;

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    /// The address that was asked.
    pub address: SocketAddr,
    /// Other addresses of the name, which were not.
    pub other_addresses: Vec<IpAddr>,
    /// The first connection.
    pub connect: Connect,
    /// The TLS handshake, for an https URL whose port could be connected to.
    pub tls: Option<Tls>,
    /// The first request and its response.
    pub exchange: Option<Exchange>,
    /// The port speaks the other protocol, found out on a connection of its own.
    pub speaks: Option<OtherProtocol>,
    /// What became of each connection that was held idle, the first one first.
    pub kept: Vec<Kept>,
    /// Why no connection was held idle.
    pub not_kept: Option<&'static str>,
    /// Requests that were sent in all.
    pub requests: u32,
}

/// An attempt to connect.
#[derive(Debug, Clone, PartialEq)]
pub enum Connect {
    /// It stands, after so many seconds.
    Connected(f64),
    /// Something answered no, after so many seconds.
    Refused(f64),
    /// Nothing answered within the connect timeout.
    TimedOut,
    /// The network said that there is no way, after so many seconds.
    Unreachable(f64),
}

/// A TLS handshake.
#[derive(Debug, Clone, PartialEq)]
pub enum Tls {
    /// It succeeded.
    Established {
        /// How long it took.
        seconds: f64,
        /// `TLSv1.2` or `TLSv1.3`.
        protocol: String,
        /// The cipher suite.
        cipher: String,
        /// What the target presented.
        certificate: Option<Certificate>,
    },
    /// It failed.
    Failed {
        /// After so many seconds.
        seconds: f64,
        /// How.
        failure: TlsFailure,
        /// The TLS library's words.
        error: String,
    },
}

/// How a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFailure {
    /// The answer was no TLS.
    NotTls,
    /// The target sent an alert.
    Alert,
    /// No version or cipher suite in common.
    NothingInCommon,
    /// The connection ended.
    Closed,
    /// Nothing came within the handshake timeout.
    TimedOut,
    /// Anything else.
    Other,
}

/// What a target presented. A load balancer looks at none of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// DNS names in it, at most ten. Strangers' text.
    pub names: Vec<String>,
    /// It is valid for the host that was asked.
    pub covers_host: bool,
    /// Its own issuer.
    pub is_self_signed: bool,
    /// Its time is over.
    pub is_expired: bool,
    /// Its time has not begun.
    pub is_not_yet_valid: bool,
    /// The end of its time.
    pub not_after: Option<jiff::Timestamp>,
    /// Why it could not be read.
    pub unreadable: Option<String>,
}

/// A request and what came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The response.
    pub response: Response,
    /// Until its first byte.
    pub first_byte_seconds: Option<f64>,
    /// Until its last.
    pub seconds: f64,
    /// What ended it.
    pub ended: Ended,
    /// A TLS alert in place of a response.
    pub alert: Option<String>,
}

/// What ended a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was complete, or beyond understanding.
    Enough,
    /// The target closed the connection (FIN).
    Closed,
    /// The target reset the connection (RST).
    Reset,
    /// The target was silent for the idle timeout.
    Silent,
    /// It dripped for longer than the probe waits.
    TooSlow,
}

impl Ended {
    /// As the report writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enough => "stopped",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Silent => "silent",
            Self::TooSlow => "too-slow",
        }
    }
}

/// The port speaks another protocol than it was asked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherProtocol {
    /// A TLS handshake succeeds where plaintext was asked.
    Tls,
    /// Plaintext HTTP is answered where TLS was asked.
    Plaintext,
}

/// A connection that was kept after its responses.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Requests that were answered on it.
    pub requests: u32,
    /// What became of it.
    pub end: KeptEnd,
}

/// What became of a kept connection.
#[derive(Debug, Clone, PartialEq)]
pub enum KeptEnd {
    /// The target closed it, so many seconds after the end of the last response.
    Closed {
        /// Idle seconds.
        seconds: f64,
        /// By RST.
        by_reset: bool,
    },
    /// It was still open after so many idle seconds.
    Open(f64),
    /// The last response said that it would be closed.
    SaidClose,
    /// The next request on it was lost: the target closed without a response.
    RequestLost,
    /// Something else went wrong, in words.
    Failed(String),
}
