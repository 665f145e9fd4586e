//! What was seen, judged: what would become a 502 or 504, why, and what to do.

use super::{
    exchange::AT_THE_SAME_MOMENT,
    observed::{Connect, Exchange, KeptEnd, Observations, OtherProtocol, Tls, TlsFailure},
    report::Finding,
    response::{Certainty, MAX_HEAD, Rule, Violation, WouldBe},
    servers::{self, Server},
};
use crate::{
    neutralize,
    numbers::{count, seconds},
};

/// So many seconds the target has to keep connections longer than the load balancer.
/// Source: as the check keep-alive-exceeds-idle-timeout.
const MARGIN: u64 = 5;

/// So many violations of one cause are told in words; the rest is counted.
const MAX_TOLD: usize = 4;

/// Everything found, the worst first.
pub(super) fn findings(seen: &Observations, idle_timeout: u64) -> Vec<Finding> {
    let server = seen.exchange.as_ref().and_then(|it| servers::recognise(&it.response));
    let mut found: Vec<Finding> = connect(seen).into_iter().collect();
    match other_protocol(seen) {
        Some(finding) => found.push(finding),
        None => {
            found.extend(handshake(seen));
            found.extend(seen.exchange.iter().flat_map(|it| response(it, server, idle_timeout)));
        }
    }
    found.extend(seen.exchange.as_ref().and_then(answered_502));
    found.extend(race(seen, server, idle_timeout));
    found.sort_by_key(|finding| rank(finding.would_be, finding.certainty));
    found
}

fn rank(would_be: WouldBe, certainty: Certainty) -> (u8, u8) {
    let first = match would_be {
        WouldBe::BadGateway => 0,
        WouldBe::GatewayTimeout => 1,
        WouldBe::Nothing => 2,
    };
    let second = match certainty {
        Certainty::Documented => 0,
        Certainty::Likely => 1,
        Certainty::Possible => 2,
    };
    (first, second)
}

fn finding(cause: &'static str, would_be: WouldBe, certainty: Certainty) -> Finding {
    Finding { cause, would_be, certainty, why: String::new(), fix: String::new() }
}

impl Finding {
    fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn fixed_by(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
}

fn connect(seen: &Observations) -> Option<Finding> {
    let port = seen.address.port();
    match seen.connect {
        Connect::Connected(_) => None,
        Connect::Refused(after) => Some(
            finding("connect-refused", WouldBe::BadGateway, Certainty::Documented)
                .because(format!(
                    "The connection was refused after {}: nothing listens on port {port}, or a firewall \
                     of the host rejects. It is not a security group: that would be silent.",
                    seconds(after)
                ))
                .fixed_by(format!(
                    "Start the application, or register the port that it listens on. On the target, \
                     `ss -tlnp 'sport = :{port}'` shows whether something listens, and on which address: \
                     127.0.0.1 is not reached from outside."
                )),
        ),
        Connect::TimedOut => Some(
            finding("connect-timeout", WouldBe::GatewayTimeout, Certainty::Documented)
                .because(
                    "Nothing answered the connection attempt within 10 s: a security group, a network ACL \
                     or a firewall drops it (blocked-port, when it drops the load balancer's too), the \
                     host is down, or its accept queue is full. A load balancer waits as long and \
                     answers 504, not 502.",
                )
                .fixed_by(format!(
                    "Let the target's security group allow TCP port {port} from the load balancer's. Mind \
                     that the rules may treat this machine otherwise than the load balancer."
                )),
        ),
        Connect::Unreachable(after) => Some(
            finding("host-unreachable", WouldBe::BadGateway, Certainty::Documented)
                .because(format!(
                    "The network answered after {} that the host cannot be reached.",
                    seconds(after)
                ))
                .fixed_by(
                    "Check the address, the route to it (peering, VPN, on-premises), and firewalls that \
                     answer with an ICMP message.",
                ),
        ),
    }
}

fn other_protocol(seen: &Observations) -> Option<Finding> {
    let other_group =
        "The protocol of a target group cannot be changed: make a new one with protocol";
    let response = seen.exchange.as_ref().map(|exchange| &exchange.response);
    match seen.speaks? {
        OtherProtocol::Plaintext => Some(
            finding("protocol-mismatch", WouldBe::BadGateway, Certainty::Documented)
                .because(
                    "The port speaks plaintext HTTP: the TLS handshake fails, and the same request in \
                     plaintext is answered. A target group of protocol HTTPS cannot use it.",
                )
                .fixed_by(format!("{other_group} HTTP, or turn on TLS on this port.")),
        ),
        OtherProtocol::Tls if response.is_some_and(|it| it.status == Some(400)) => Some(
            finding("protocol-mismatch", WouldBe::Nothing, Certainty::Likely)
                .because(
                    "The port speaks TLS: it answers plaintext with 400, and takes a TLS handshake. A \
                     target group of protocol HTTP passes that 400 on to every client; it is no 502.",
                )
                .fixed_by(format!("{other_group} HTTPS.")),
        ),
        OtherProtocol::Tls => Some(
            finding("protocol-mismatch", WouldBe::BadGateway, Certainty::Documented)
                .because(
                    "The port speaks TLS: it does not answer plaintext, and takes a TLS handshake. With a \
                     target group of protocol HTTP every request fails.",
                )
                .fixed_by(format!("{other_group} HTTPS, or turn off TLS on this port.")),
        ),
    }
}

fn handshake(seen: &Observations) -> Option<Finding> {
    if let Some(alert) = seen.exchange.as_ref().and_then(|exchange| exchange.alert.as_deref()) {
        return Some(
            finding("tls-handshake", WouldBe::BadGateway, Certainty::Documented)
                .because(format!(
                    "The target ended TLS in place of a response: {}.",
                    neutralize::plain(alert)
                ))
                .fixed_by(
                    "A load balancer presents no certificate to targets: let the target not require one \
                     (nginx ssl_verify_client off, Apache SSLVerifyClient none).",
                ),
        );
    }
    let Some(Tls::Failed { seconds: after, failure, error }) = &seen.tls else { return None };
    let error = neutralize::plain(error);
    let after = seconds(*after);
    let (would_be, certainty, why) = match failure {
        TlsFailure::TimedOut => (
            WouldBe::GatewayTimeout,
            Certainty::Documented,
            "The TLS handshake did not end within 10 s. A load balancer waits as long and answers 504."
                .to_owned(),
        ),
        TlsFailure::Alert | TlsFailure::NothingInCommon => (
            WouldBe::BadGateway,
            Certainty::Possible,
            format!(
                "The TLS handshake failed after {after}: {error}. The probe offers TLS 1.2 and 1.3 with \
                 modern ciphers; a load balancer also offers older ones unless a listener's security \
                 policy is of TLS 1.3."
            ),
        ),
        TlsFailure::Closed => (
            WouldBe::BadGateway,
            Certainty::Documented,
            format!("The target ended the connection {after} into the TLS handshake ({error})."),
        ),
        TlsFailure::NotTls | TlsFailure::Other => (
            WouldBe::BadGateway,
            Certainty::Documented,
            format!("The TLS handshake failed after {after}: {error}."),
        ),
    };
    Some(finding("tls-handshake", would_be, certainty).because(why).fixed_by(
        "Let the target offer TLS 1.2 or 1.3 with an ECDHE cipher, without asking for a client \
         certificate, and check that the port is the one of TLS.",
    ))
}

/// One finding for each cause that the response shows.
fn response(
    exchange: &Exchange,
    server: Option<&'static Server>,
    idle_timeout: u64,
) -> Vec<Finding> {
    if exchange.alert.is_some() {
        return Vec::new();
    }
    let violations = &exchange.response.violations;
    let mut causes: Vec<&'static str> = Vec::new();
    for violation in violations {
        if !causes.contains(&violation.rule.cause) {
            causes.push(violation.rule.cause);
        }
    }
    causes
        .into_iter()
        .filter_map(|cause| {
            let mut of: Vec<&Violation> =
                violations.iter().filter(|violation| violation.rule.cause == cause).collect();
            of.sort_by_key(|violation| rank(violation.rule.would_be, violation.rule.certainty));
            let worst = of.first()?.rule;
            Some(
                finding(cause, worst.would_be, worst.certainty)
                    .because(words(&of, exchange, idle_timeout))
                    .fixed_by(fix(worst, server, idle_timeout)),
            )
        })
        .collect()
}

fn words(violations: &[&Violation], exchange: &Exchange, idle_timeout: u64) -> String {
    let mut told: Vec<String> =
        violations.iter().take(MAX_TOLD).map(|violation| sentence(violation)).collect();
    if MAX_TOLD < violations.len() {
        told.push(format!("And {} more.", violations.len() - MAX_TOLD));
    }
    let first = violations.first().map(|violation| violation.rule);
    if first.is_some_and(|rule| rule.cause == "closed-mid-request") {
        told.push(format!(
            "It happened {} after the request.{}",
            seconds(exchange.seconds),
            if (29.5..32.5).contains(&exchange.seconds) {
                " That is the default time of a worker of gunicorn (--timeout 30): worker-timeout."
            } else {
                ""
            }
        ));
    } else if first.is_some_and(|rule| rule.cause == "idle-timeout") {
        told.push(format!("The idle timeout is {idle_timeout} s."));
    } else if first.is_some_and(|rule| rule.certainty != Certainty::Documented) {
        told.push(
            "AWS does not list what it takes for malformed; strict parsers refuse this.".to_owned(),
        );
    }
    told.join(" ")
}

/// A violation as a sentence.
pub(super) fn sentence(violation: &Violation) -> String {
    let mut said: String = violation.rule.text.to_owned();
    if let Some(first) = said.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if let Some(bytes) = violation.bytes {
        said.push_str(&format!(" ({} bytes)", count(bytes)));
    }
    match &violation.quote {
        Some(quote) => format!("{said}: '{}'.", neutralize::plain(quote)),
        None => format!("{said}."),
    }
}

fn fix(rule: &Rule, server: Option<&Server>, idle_timeout: u64) -> String {
    let fix = match rule.id {
        "head-too-large" | "header-line-too-long" => &format!(
            "Keep the headers of a response well below {} bytes: fewer and smaller cookies, a shorter \
             Content-Security-Policy, no debug headers.",
            count(MAX_HEAD)
        ),
        "tls-bytes" => "Make a target group of protocol HTTPS, or turn off TLS on this port.",
        "http2-bytes" => {
            "Make a target group of protocol version HTTP2 (or GRPC), or serve HTTP/1.1 on this port."
        }
        "not-http" | "bytes-before-status-line" | "blank-line-before-status-line" => {
            "Look for what writes to the connection before the status line: a print for debugging, a CGI \
             without headers, or a server that is none of HTTP."
        }
        "content-length-and-transfer-encoding"
        | "transfer-encoding-repeated"
        | "content-length-conflict"
        | "content-length-repeated"
        | "transfer-encoding-unknown" => {
            "Let one place alone frame the body: take away the Content-Length or Transfer-Encoding that \
             code or a proxy adds to the server's own."
        }
        "bytes-after-end" | "body-where-none-may-be" => {
            "Send no body after 204, 304 or HEAD, and let Content-Length be the length of the body in \
             bytes, not in characters."
        }
        "bytes-while-idle" => {
            "Let the target close an idle connection without a word (a 408 here is taken for the next \
             response), and later than the load balancer does."
        }
        "chunk-size-invalid" | "chunk-end-missing" | "trailer-invalid" => {
            "Let the server write the chunks: what frames them by hand is wrong."
        }
        "silent" => &format!(
            "Answer within {idle_timeout} s: look at what the request waits for (a database, another \
             service, a lock, a full pool), or raise the idle timeout of the load balancer."
        ),
        "silent-in-head" | "silent-in-body" => {
            "Compare Content-Length with the body in bytes, and look at what the handler waits for in the \
             middle of its response."
        }
        "closed-without-response" | "closed-in-head" | "closed-in-body" => {
            "Look at the log of the application for this time: a crash, a killed or timed-out worker, or a \
             handler that closes the connection."
        }
        "unexpected-101" | "unexpected-1xx" => {
            "Send interim responses only to a request that asks for them."
        }
        _ => {
            "Set headers through the framework, and nothing by hand: a space or a control character in \
             them often comes from a value that was not checked."
        }
    };
    match server.and_then(|server| server.hint).filter(|_| rule.cause == "malformed-response") {
        Some(hint) => format!("{fix} {hint}."),
        None => fix.to_owned(),
    }
}

fn answered_502(exchange: &Exchange) -> Option<Finding> {
    (exchange.response.status == Some(502)).then(|| {
        finding("target-generated", WouldBe::BadGateway, Certainty::Documented)
            .because(
                "The target itself answered 502, which the load balancer passes on: a proxy on the target \
                 does not reach what is behind it.",
            )
            .fixed_by("Look at the error log of the proxy on the target, and at the application behind it.")
    })
}

fn race(
    seen: &Observations,
    server: Option<&'static Server>,
    idle_timeout: u64,
) -> Option<Finding> {
    let closed: Vec<f64> = closed_after(seen).collect();
    let first = closed.iter().copied().reduce(f64::min);
    let lost = seen.kept.iter().find(|kept| kept.end == KeptEnd::RequestLost);
    let enough = idle_timeout + MARGIN;
    let setting = servers::keep_alive_setting(server, first, enough);
    let fix = format!(
        "Let the target keep idle connections for {enough} s or more, longer than the load balancer's \
         {idle_timeout} s. {}.",
        upper_first(&setting)
    );
    let race = finding("keepalive-race", WouldBe::BadGateway, Certainty::Documented);
    if let Some(lost) = lost {
        return Some(
            race.because(format!(
                "After {} on one connection the target closed it without saying so (Connection: close), \
                 and the next request on it was lost.",
                crate::numbers::plural(lost.requests.into(), "response")
            ))
            .fixed_by(format!(
                "Let the target announce the last response of a connection with Connection: close. {fix}"
            )),
        );
    }
    let first = first?;
    let idle = idle_timeout as f64;
    let why = if first < AT_ONCE {
        "The target closes the connection right after its response without saying so (Connection: close). \
         A load balancer takes it for open until it sees the close: a request that it sends before is lost."
            .to_owned()
    } else if first < idle {
        format!(
            "The target closed {} after {}. A load balancer keeps idle connections for {idle_timeout} s and \
             uses them again: a request that it sends just as the target closes is lost.",
            if closed.len() == 1 { "an idle connection" } else { "idle connections" },
            seconds(first)
        )
    } else {
        format!(
            "The target closed idle connections after {}, within {} of the load balancer's idle timeout of \
             {idle_timeout} s: either may be first.",
            seconds(first),
            seconds(AT_THE_SAME_MOMENT.as_secs_f64())
        )
    };
    Some(race.because(why).fixed_by(fix))
}

/// A connection that ends so soon after its response was never meant to stay, in seconds.
const AT_ONCE: f64 = 0.1;

/// How long the connections were idle that the target closed, in seconds.
pub(super) fn closed_after(seen: &Observations) -> impl Iterator<Item = f64> {
    seen.kept.iter().filter_map(|kept| match kept.end {
        KeptEnd::Closed { seconds, .. } => Some(seconds),
        _ => None,
    })
}

fn upper_first(text: &str) -> String {
    let mut chars = text.chars();
    // nginx and uvicorn are written small.
    match chars.next() {
        Some(first) if text.starts_with("the ") => first.to_uppercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::observed::Kept;

    fn seen(connect: Connect) -> Observations {
        Observations {
            address: ([10, 0, 1, 5], 8080).into(),
            other_addresses: Vec::new(),
            connect,
            tls: None,
            exchange: None,
            speaks: None,
            kept: Vec::new(),
            not_kept: None,
            requests: 0,
        }
    }

    #[test]
    fn each_way_not_to_connect_has_its_cause() {
        for (connect, cause, would_be) in [
            (Connect::Refused(0.0), "connect-refused", WouldBe::BadGateway),
            (Connect::TimedOut, "connect-timeout", WouldBe::GatewayTimeout),
            (Connect::Unreachable(3.0), "host-unreachable", WouldBe::BadGateway),
        ] {
            let found = findings(&seen(connect), 60);
            assert_eq!((found[0].cause, found[0].would_be), (cause, would_be));
        }
        assert_eq!(findings(&seen(Connect::Connected(0.0)), 60), []);
    }

    #[test]
    fn a_race_is_within_a_moment_of_the_idle_timeout() {
        let closing = |seconds| {
            let mut seen = seen(Connect::Connected(0.0));
            seen.kept.push(Kept { requests: 1, end: KeptEnd::Open(61.0) });
            seen.kept.push(Kept { requests: 5, end: KeptEnd::Closed { seconds, by_reset: false } });
            findings(&seen, 60).first().map(|it| it.why.clone()).unwrap_or_default()
        };
        assert!(closing(0.01).contains("right after its response"));
        assert!(closing(5.0).contains("closed an idle connection after 5 s"));
        assert!(closing(60.2).contains("either may be first"));
        let mut open = seen(Connect::Connected(0.0));
        open.kept.push(Kept { requests: 1, end: KeptEnd::Open(61.0) });
        open.kept.push(Kept { requests: 2, end: KeptEnd::SaidClose });
        assert_eq!(findings(&open, 60), []);
    }

    #[test]
    fn every_cause_of_a_finding_is_one_of_the_diagnosis() {
        let known = |id: &str| crate::diagnosis::causes::CAUSES.iter().any(|cause| cause.id == id);
        for id in [
            "connect-refused",
            "connect-timeout",
            "host-unreachable",
            "protocol-mismatch",
            "tls-handshake",
            "target-generated",
            "keepalive-race",
        ] {
            assert!(known(id), "{id}");
        }
    }
}
