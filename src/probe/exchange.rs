//! One request and its response on a connection, and the connection afterwards.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};

use super::{
    observed::{Ended, Exchange, KeptEnd},
    response::{End, Framing, MAX_BODY, ResponseReader},
    tls,
};

/// A connection, with or without TLS.
pub(super) trait Connection: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection for T {}

/// How the probe waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The load balancer's idle timeout: so long the target may be silent.
    pub idle_timeout: Duration,
}

/// Beyond the idle timeout a response that goes on and on is read for so long.
const MAX_DRIPPING: Duration = Duration::from_secs(60);

/// A connection is watched for so long beyond the idle timeout: a target that closes at the same moment
/// as the load balancer loses the race as often as not.
pub(super) const AT_THE_SAME_MOMENT: Duration = Duration::from_secs(1);

/// Bytes so long after the end of a response are no part of it.
const LATE: Duration = Duration::from_millis(500);

/// A response that ends the connection is watched for so long for bytes after its end.
const LINGER: Duration = Duration::from_millis(200);

/// A response with its reader, so that what comes later can be added.
pub(super) struct Answer {
    reader: ResponseReader,
    first_byte_seconds: Option<f64>,
    seconds: f64,
    ended: Ended,
    alert: Option<String>,
    ended_at: Instant,
}

impl Answer {
    /// The response is complete, and the connection may be used again.
    pub(super) fn is_reusable(&self) -> bool {
        self.reader.is_complete() && !self.reader.so_far().says_close()
    }

    /// The response is complete, and the connection will be closed.
    pub(super) fn says_close(&self) -> bool {
        let until_close = matches!(self.ended, Ended::Closed)
            && self.reader.so_far().framing == Some(Framing::UntilClose);
        (self.reader.is_complete() && self.reader.so_far().says_close()) || until_close
    }

    /// The probe stopped reading the body.
    pub(super) fn is_too_large(&self) -> bool {
        MAX_BODY <= self.reader.so_far().body_bytes && !self.reader.is_complete()
    }

    /// The connection ended before a byte of a response came.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.ended, Ended::Closed | Ended::Reset) && !self.reader.has_begun()
    }

    /// What came.
    pub(super) fn exchange(self) -> Exchange {
        let end = match self.ended {
            Ended::Closed | Ended::Reset => End::Closed,
            Ended::Silent => End::Silent,
            Ended::Enough | Ended::TooSlow => End::Stopped,
        };
        Exchange {
            response: self.reader.end(end),
            first_byte_seconds: self.first_byte_seconds,
            seconds: self.seconds,
            ended: self.ended,
            alert: self.alert,
        }
    }
}

/// Sends a request and reads its response. The target may answer before it has read all of the request.
pub(super) async fn ask(
    connection: &mut dyn Connection,
    request: &[u8],
    method: &str,
    patience: Patience,
) -> Answer {
    let started = Instant::now();
    let give_up = started + patience.idle_timeout + MAX_DRIPPING;
    let mut reader = ResponseReader::new(method);
    let mut first_byte_seconds = None;
    let mut alert = None;
    let (mut from, mut to) = tokio::io::split(connection);
    let write = async {
        to.write_all(request).await?;
        to.flush().await
    };
    tokio::pin!(write);
    let mut is_written = false;
    let mut last_byte = started;
    let mut buffer = vec![0_u8; 16 * 1024];
    let ended = loop {
        let silent = last_byte + patience.idle_timeout;
        let read = tokio::select! {
            read = timeout_at(silent.min(give_up), from.read(&mut buffer)) => read,
            // A connection that takes no more may still hold a response.
            written = &mut write, if !is_written => {
                is_written = true;
                if written.is_ok() {
                    last_byte = Instant::now();
                }
                continue;
            }
        };
        match read {
            Err(_) if silent <= give_up => break Ended::Silent,
            Err(_) => break Ended::TooSlow,
            Ok(Ok(0)) => break Ended::Closed,
            Ok(Ok(count)) => {
                last_byte = Instant::now();
                first_byte_seconds.get_or_insert((last_byte - started).as_secs_f64());
                reader.push(buffer.get(..count).unwrap_or_default());
                if reader.has_enough() {
                    break Ended::Enough;
                }
                if give_up <= last_byte {
                    break Ended::TooSlow;
                }
            }
            Ok(Err(error)) => {
                alert = tls::alert(&error);
                break if is_reset(&error) { Ended::Reset } else { Ended::Closed };
            }
        }
    };
    let ended_at = Instant::now();
    Answer {
        reader,
        first_byte_seconds,
        seconds: (ended_at - started).as_secs_f64(),
        ended,
        alert,
        ended_at,
    }
}

/// Holds the connection idle until the target closes it or the idle timeout, and a moment, has passed.
pub(super) async fn hold(
    connection: &mut dyn Connection,
    answer: &mut Answer,
    patience: Patience,
) -> KeptEnd {
    let until = answer.ended_at + patience.idle_timeout + AT_THE_SAME_MOMENT;
    match watch(connection, answer, until).await {
        Some(by_reset) => {
            KeptEnd::Closed { seconds: answer.ended_at.elapsed().as_secs_f64(), by_reset }
        }
        None => KeptEnd::Open(answer.ended_at.elapsed().as_secs_f64()),
    }
}

/// Waits a moment for bytes after the end of a response that ends the connection.
pub(super) async fn linger(connection: &mut dyn Connection, answer: &mut Answer) {
    let until = answer.ended_at + LINGER;
    let _ = watch(connection, answer, until).await;
}

/// Reads until the connection ends or the time comes; whether it ended by RST.
async fn watch(
    connection: &mut dyn Connection,
    answer: &mut Answer,
    until: Instant,
) -> Option<bool> {
    let mut buffer = vec![0_u8; 4 * 1024];
    loop {
        match timeout_at(until, connection.read(&mut buffer)).await {
            Err(_) => return None,
            Ok(Ok(0)) => return Some(false),
            Ok(Err(error)) => return Some(is_reset(&error)),
            Ok(Ok(count)) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                if answer.ended_at.elapsed() < LATE {
                    answer.reader.push(bytes);
                } else {
                    answer.reader.push_while_idle(bytes);
                }
                // An endless stream is no idle connection: nothing more is learned from it.
                if until <= Instant::now() {
                    return None;
                }
            }
        }
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
