//! Keep-alive timeouts that servers have by default, to name the setting behind an inferred one.
//!
//! Sources: the documentation and source code of the servers named; Node closes about one second
//! after its setting (measured on version 20).

/// A server with its setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServerDefault {
    /// The server.
    pub server: &'static str,
    /// Its default in seconds.
    pub seconds: f64,
    /// How much later than its setting it may close, in seconds: the period of its timer.
    pub late: f64,
    /// The setting.
    pub directive: &'static str,
}

const fn default(server: &'static str, seconds: f64, directive: &'static str) -> ServerDefault {
    ServerDefault { server, seconds, late: 0.3, directive }
}

/// A server that looks once a second, or waits one second more: gunicorn 2.0 to 2.8 s for 2, Node 6.0 s for
/// 5, lighttpd from 5.2 s for 5 (measured).
const fn late(
    server: &'static str,
    seconds: f64,
    late: f64,
    directive: &'static str,
) -> ServerDefault {
    ServerDefault { server, seconds, late, directive }
}

/// The servers, by timeout.
pub const SERVER_DEFAULTS: &[ServerDefault] = &[
    late("gunicorn (threads, gevent, uvicorn workers)", 2.0, 0.8, "--keep-alive"),
    late("lighttpd", 5.0, 0.9, "server.max-keep-alive-idle"),
    late("Node.js", 5.0, 1.1, "server.keepAliveTimeout (and headersTimeout above it)"),
    default("Apache httpd", 5.0, "KeepAliveTimeout"),
    default("uvicorn", 5.0, "--timeout-keep-alive"),
    default("hypercorn", 5.0, "keep_alive_timeout"),
    default("Actix Web", 5.0, "HttpServer::keep_alive"),
    default("cheroot", 10.0, "timeout"),
    default("uWebSockets.js", 10.0, "idleTimeout"),
    default("Puma before 7", 20.0, "persistent_timeout"),
    default("Tomcat (shipped server.xml)", 20.0, "keepAliveTimeout"),
    default("Jetty", 30.0, "idleTimeout"),
    default("Spring Boot on Tomcat", 60.0, "server.tomcat.keep-alive-timeout"),
    default("Undertow", 60.0, "NO_REQUEST_TIMEOUT"),
    default("Puma 7", 65.0, "persistent_timeout"),
    default("nginx (packaged)", 65.0, "keepalive_timeout"),
    default("nginx", 75.0, "keepalive_timeout"),
    default("IIS", 120.0, "connectionTimeout"),
    default("waitress", 120.0, "channel_timeout"),
    default("Kestrel", 130.0, "Limits.KeepAliveTimeout"),
];

/// The servers whose default explains a timeout inferred between `low` and `high` seconds. The gaps in
/// the log begin when the server's timer fires and reach a little further.
pub fn matching(low: f64, high: f64) -> impl Iterator<Item = &'static ServerDefault> {
    // The log cuts to the millisecond, on both ends of a gap.
    const ROUNDING: f64 = 0.03;
    SERVER_DEFAULTS.iter().filter(move |server| {
        server.seconds <= low.min(high) + ROUNDING && low <= server.seconds + server.late
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_finds_its_servers() {
        let names = |low, high| matching(low, high).map(|it| it.server).collect::<Vec<_>>();
        assert!(names(5.0, 5.1).contains(&"Apache httpd"));
        assert_eq!(names(6.0, 6.3), ["Node.js"]);
        assert_eq!(names(2.97, 3.04), Vec::<&str>::new());
        assert!(names(2.0, 2.8)[0].starts_with("gunicorn"));
        assert_eq!(names(13.0, 13.5), Vec::<&str>::new());
    }
}
