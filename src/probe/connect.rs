//! The name, the TCP connection, and how they fail.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::{ProbeError, observed::Connect};

/// A load balancer gives up on a connection to a target after this.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The addresses of a host, the first one to be asked.
///
/// # Errors
/// When the name has no address, or nobody says within ten seconds.
pub(super) async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let failed = |reason: String| ProbeError::Name { host: host.to_owned(), reason };
    let mut found: Vec<SocketAddr> = timeout(CONNECT_TIMEOUT, lookup_host((host, port)))
        .await
        .map_err(|_| failed("no answer in 10 s".to_owned()))?
        .map_err(|error| failed(error.to_string()))?
        .collect();
    // Most targets have an address of IPv4, and a server for development listens on no other.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.dedup();
    if found.is_empty() {
        return Err(failed("it has no address".to_owned()));
    }
    Ok(found)
}

/// Connects as a load balancer does.
///
/// # Errors
/// When this machine cannot even try.
pub(super) async fn connect(
    address: SocketAddr,
) -> Result<(Connect, Option<TcpStream>), ProbeError> {
    let started = Instant::now();
    let Ok(done) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await else {
        return Ok((Connect::TimedOut, None));
    };
    let seconds = started.elapsed().as_secs_f64();
    match done {
        Ok(stream) => {
            // A small request is to leave at once.
            let _ = stream.set_nodelay(true);
            Ok((Connect::Connected(seconds), Some(stream)))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                Ok((Connect::Refused(seconds), None))
            }
            io::ErrorKind::TimedOut => Ok((Connect::TimedOut, None)),
            io::ErrorKind::HostUnreachable => Ok((Connect::Unreachable(seconds), None)),
            _ => Err(ProbeError::Local { address, reason: error.to_string() }),
        },
    }
}
