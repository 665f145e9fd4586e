//! Talks to a target the way the load balancer does, and says what a load balancer would object to.
//!
//! | file | what it does |
//! |---|---|
//! | `request` | the request as a load balancer sends it (pure) |
//! | `connect`, `tls`, `exchange` | the network: connect, handshake, ask, hold |
//! | [`response`] | the raw response, byte by byte (pure) |
//! | [`observed`] | what was seen |
//! | `findings`, `servers` | what it means, and the fix for the server at hand (pure) |
//! | `report`, `text` | for machines and for people (pure) |
//!
//! Everything has a timeout, the body is read up to a bound, no redirect is followed, no proxy is used,
//! and at most [`MAX_REQUESTS`] requests are sent.

mod connect;
mod exchange;
mod findings;
pub mod observed;
mod report;
mod request;
pub mod response;
mod servers;
mod text;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use exchange::{Answer, Connection, Patience};
use observed::{Connect, Ended, Kept, KeptEnd, Observations, OtherProtocol, Tls};
use tls::Handshakes;
use tokio::net::TcpStream;

pub use connect::CONNECT_TIMEOUT;
pub use report::{Finding, Report};
pub use request::{Request, WrongRequest};

/// Requests that are sent at most: one, one on a second connection, five on a third, and one to learn
/// which protocol the port speaks instead.
pub const MAX_REQUESTS: u32 = 8;

/// So many requests are sent on the connection that is used several times.
const SEVERAL: u32 = 5;

/// Whoever answers in the other protocol does so at once.
const OTHER_PROTOCOL_TIMEOUT: Duration = Duration::from_secs(5);

/// How a target is to be probed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to ask.
    pub request: Request,
    /// The load balancer's idle timeout, 1 to 4000 seconds.
    pub idle_timeout: Duration,
    /// The time of the probe.
    pub now: jiff::Timestamp,
    /// A number that tells this process from others, for trace ids.
    pub process: u32,
}

/// What keeps a probe from running: nothing was learned about the target.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The name leads nowhere.
    #[error("{host}: the name cannot be looked up ({reason}). Give an address, as a target has")]
    Name {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// The connection failed for a reason that lies on this machine.
    #[error(
        "{address}: this machine cannot connect ({reason}). Run the probe where a route leads to the \
         target: in its VPC, or on it"
    )]
    Local {
        /// The target.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error(
        "TLS cannot be set up on this machine ({0}). Run the probe on another one, or ask over http://"
    )]
    Tls(String),
}

/// What is going on, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The target is connected to and asked.
    Asking,
    /// Connections are held idle, so many of them, for at most so many seconds.
    Holding {
        /// Connections.
        connections: usize,
        /// Seconds.
        seconds: u64,
    },
}

/// Probes a target.
///
/// # Errors
/// When nothing could be learned about the target.
pub async fn probe(plan: &Plan, told: &dyn Fn(Step)) -> Result<Report, ProbeError> {
    told(Step::Asking);
    let request = &plan.request;
    let addresses = connect::addresses(&request.host, request.port).await?;
    let Some((address, others)) = addresses.split_first() else {
        let reason = "it has no address".to_owned();
        return Err(ProbeError::Name { host: request.host.clone(), reason });
    };
    let mut visit = Visit {
        plan,
        address: *address,
        patience: Patience { idle_timeout: plan.idle_timeout },
        handshakes: Handshakes::new(&request.host, plan.now)?,
        requests: std::cell::Cell::new(0),
    };
    let mut seen = visit.first(told).await?;
    seen.other_addresses = others.iter().map(SocketAddr::ip).collect();
    seen.requests = visit.requests.get();
    Ok(report::report(plan, &seen))
}

/// One probe of one address.
struct Visit<'a> {
    plan: &'a Plan,
    address: SocketAddr,
    patience: Patience,
    handshakes: Handshakes,
    requests: std::cell::Cell<u32>,
}

impl Visit<'_> {
    /// Connects, asks, and holds the connection and others beside it.
    async fn first(&mut self, told: &dyn Fn(Step)) -> Result<Observations, ProbeError> {
        let (connect, stream) = connect::connect(self.address).await?;
        let mut seen = Observations {
            address: self.address,
            other_addresses: Vec::new(),
            connect,
            tls: None,
            exchange: None,
            speaks: None,
            kept: Vec::new(),
            not_kept: None,
            requests: 0,
        };
        let Some(stream) = stream else { return Ok(seen) };
        let from = local_address(&stream);
        let mut connection: Box<dyn Connection> = if self.plan.request.is_tls {
            let (tls, stream) = self.handshakes.shake(stream).await;
            seen.tls = Some(tls);
            match stream {
                Some(stream) => Box::new(stream),
                None => {
                    seen.speaks = self.speaks_plaintext().await;
                    return Ok(seen);
                }
            }
        } else {
            Box::new(stream)
        };
        let mut answer = self.ask(connection.as_mut(), from, self.patience).await;
        if answer.is_reusable() {
            let first = self.hold_first(connection.as_mut(), &mut answer);
            if self.plan.request.is_repeatable() {
                told(Step::Holding { connections: 3, seconds: self.plan.idle_timeout.as_secs() });
                let (one, two, three) = tokio::join!(first, self.another(1), self.another(SEVERAL));
                seen.kept = [Some(one), two, three].into_iter().flatten().collect();
            } else {
                told(Step::Holding { connections: 1, seconds: self.plan.idle_timeout.as_secs() });
                seen.kept = vec![first.await];
            }
        } else if answer.says_close() {
            exchange::linger(connection.as_mut(), &mut answer).await;
            seen.not_kept =
                Some("the target closes the connection after each response and says so");
        } else if answer.is_too_large() {
            seen.not_kept = Some("the body is longer than the probe reads");
        } else {
            seen.not_kept = Some("the first response is not complete");
        }
        drop(connection);
        let exchange = answer.exchange();
        if !self.plan.request.is_tls && may_want_tls(&exchange) {
            seen.speaks = self.speaks_tls().await;
        }
        seen.exchange = Some(exchange);
        Ok(seen)
    }

    async fn ask(
        &self,
        connection: &mut dyn Connection,
        from: IpAddr,
        patience: Patience,
    ) -> Answer {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let request = &self.plan.request;
        let trace_id = request::trace_id(self.plan.now, self.plan.process, number);
        let bytes = request.bytes(from, &trace_id);
        exchange::ask(connection, &bytes, &request.method, patience).await
    }

    async fn hold_first(&self, connection: &mut dyn Connection, answer: &mut Answer) -> Kept {
        let end = exchange::hold(connection, answer, self.patience).await;
        Kept { requests: 1, end }
    }

    /// Another connection, asked so many times and held.
    async fn another(&self, requests: u32) -> Option<Kept> {
        let failed =
            |requests, words: &str| Some(Kept { requests, end: KeptEnd::Failed(words.to_owned()) });
        let stream = match connect::connect(self.address).await {
            Ok((Connect::Connected(_), Some(stream))) => stream,
            Ok((Connect::Refused(_), _)) => return failed(0, "the connection was refused"),
            Ok((Connect::TimedOut, _)) => return failed(0, "the connection was not answered"),
            _ => return failed(0, "the connection failed"),
        };
        let from = local_address(&stream);
        let mut connection: Box<dyn Connection> = if self.plan.request.is_tls {
            match self.handshakes.shake(stream).await {
                (_, Some(stream)) => Box::new(stream),
                (_, None) => return failed(0, "the TLS handshake failed"),
            }
        } else {
            Box::new(stream)
        };
        for done in 1..=requests {
            let mut answer = self.ask(connection.as_mut(), from, self.patience).await;
            if answer.says_close() {
                return Some(Kept { requests: done, end: KeptEnd::SaidClose });
            }
            if !answer.is_reusable() {
                return match answer.is_lost() && 1 < done {
                    true => Some(Kept { requests: done - 1, end: KeptEnd::RequestLost }),
                    false => failed(done - 1, "its response was not complete"),
                };
            }
            if done == requests {
                let end = exchange::hold(connection.as_mut(), &mut answer, self.patience).await;
                return Some(Kept { requests, end });
            }
        }
        None
    }

    /// Whether the port that was asked in plaintext takes a TLS handshake.
    async fn speaks_tls(&self) -> Option<OtherProtocol> {
        let (_, stream) = connect::connect(self.address).await.ok()?;
        let (tls, _) = self.handshakes.shake(stream?).await;
        matches!(tls, Tls::Established { .. }).then_some(OtherProtocol::Tls)
    }

    /// Whether the port that was asked for TLS answers plaintext HTTP.
    async fn speaks_plaintext(&self) -> Option<OtherProtocol> {
        let (_, stream) = connect::connect(self.address).await.ok()?;
        let mut stream = stream?;
        let from = local_address(&stream);
        let patience =
            Patience { idle_timeout: self.patience.idle_timeout.min(OTHER_PROTOCOL_TIMEOUT) };
        let exchange = self.ask(&mut stream, from, patience).await.exchange();
        // A TLS server answers plaintext with a 400 in plaintext.
        exchange
            .response
            .status
            .is_some_and(|status| status != 400)
            .then_some(OtherProtocol::Plaintext)
    }
}

/// A server of TLS answers plaintext with 400, with an alert, or not at all.
fn may_want_tls(exchange: &observed::Exchange) -> bool {
    let response = &exchange.response;
    response.status == Some(400)
        || response.foreign == Some(response::Foreign::Tls)
        || (matches!(exchange.ended, Ended::Closed | Ended::Reset) && response.status.is_none())
}

fn local_address(stream: &TcpStream) -> IpAddr {
    stream.local_addr().map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip())
}
