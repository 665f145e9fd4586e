//! Which server answers, and where it has its settings.

use super::{observed::Observations, response::Response};
use crate::diagnosis::server_defaults;

/// A server that its response gives away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Server {
    /// As people call it.
    pub name: &'static str,
    /// The beginning of its Server header, in small letters.
    sign: &'static str,
    /// How to set the keep-alive timeout; `{s}` stands for the seconds, `{ms}` for milliseconds.
    keep_alive: &'static str,
    /// How its responses get too large or wrong, where it is known.
    pub hint: Option<&'static str>,
}

const fn server(name: &'static str, sign: &'static str, keep_alive: &'static str) -> Server {
    Server { name, sign, keep_alive, hint: None }
}

/// The servers that name themselves, each by the beginning of its Server header.
/// Source: the documentation and source code of the servers named.
const NAMED: &[Server] = &[
    server("nginx", "nginx", "keepalive_timeout {s}s; in the http or server block"),
    server("nginx", "openresty", "keepalive_timeout {s}s; in the http or server block"),
    server("Tomcat", "apache-coyote", "keepAliveTimeout=\"{ms}\" on the Connector of server.xml"),
    server("Apache httpd", "apache", "KeepAliveTimeout {s}"),
    server("gunicorn", "gunicorn", "--keep-alive {s} (with worker class gthread; sync has none)"),
    server("uvicorn", "uvicorn", "--timeout-keep-alive {s}"),
    server("hypercorn", "hypercorn", "keep_alive_timeout = {s}"),
    server("waitress", "waitress", "channel_timeout={s}"),
    server(
        "Werkzeug's development server",
        "werkzeug",
        "a production server, such as gunicorn --keep-alive {s}",
    ),
    server(
        "Werkzeug's development server",
        "wsgiserver",
        "a production server, such as gunicorn --keep-alive {s}",
    ),
    server("cheroot", "cheroot", "timeout = {s}"),
    server("Tornado", "tornadoserver", "idle_connection_timeout={s}"),
    server("aiohttp", "python/3", "keepalive_timeout={s}"),
    server("Kestrel", "kestrel", "Limits.KeepAliveTimeout = TimeSpan.FromSeconds({s})"),
    server("IIS", "microsoft-iis", "connectionTimeout of the site's limits, {s} seconds"),
    server("IIS", "microsoft-httpapi", "connectionTimeout of the site's limits, {s} seconds"),
    server("Jetty", "jetty", "jetty.http.idleTimeout={ms}"),
    server("lighttpd", "lighttpd", "server.max-keep-alive-idle = {s}"),
    server("Caddy", "caddy", "servers > timeouts > idle {s}s"),
    server("Envoy", "envoy", "common_http_protocol_options.idle_timeout: {s}s"),
    server("Envoy", "istio-envoy", "common_http_protocol_options.idle_timeout: {s}s"),
    server("Puma", "puma", "persistent_timeout {s}"),
    server("WildFly", "wildfly", "no-request-timeout {ms}"),
];

const NODE: Server = Server {
    name: "Node.js",
    sign: "",
    keep_alive: "server.keepAliveTimeout = {ms}, and server.headersTimeout above it",
    hint: Some("Node.js itself refuses invalid headers: look for code that writes to the socket"),
};

/// The server behind a response: by its Server header, else by what only one server does.
pub(super) fn recognise(response: &Response) -> Option<&'static Server> {
    if let Some(header) = response.header("server") {
        let header = header.to_ascii_lowercase();
        return NAMED.iter().find(|server| header.starts_with(server.sign));
    }
    let powered = response.header("x-powered-by").unwrap_or_default();
    // Node promises its timeout, in one way of writing, and names no server.
    let is_node = matches!(powered, "Express" | "Next.js" | "NestJS")
        || (response.header("connection") == Some("keep-alive")
            && response.header("keep-alive").is_some_and(|value| {
                value
                    .strip_prefix("timeout=")
                    .is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()))
            }));
    is_node.then_some(&NODE)
}

/// Where the keep-alive timeout is to be set to so many seconds: for the server at hand, else for those
/// whose default fits what was measured.
pub(super) fn keep_alive_setting(
    server: Option<&Server>,
    measured: Option<f64>,
    enough: u64,
) -> String {
    if let Some(server) = server {
        let setting = server
            .keep_alive
            .replace("{s}", &enough.to_string())
            .replace("{ms}", &(enough * 1000).to_string());
        return format!("{}: {setting}", server.name);
    }
    let fitting: Vec<String> = measured
        .into_iter()
        .flat_map(|seconds| server_defaults::matching(seconds, seconds))
        .map(|it| format!("{}: {}", it.server, it.directive))
        .take(4)
        .collect();
    if fitting.is_empty() {
        return format!(
            "nginx keepalive_timeout {enough}s, Apache KeepAliveTimeout {enough}, Node \
             server.keepAliveTimeout = {enough}000, gunicorn --keep-alive {enough}"
        );
    }
    format!("the measured time is the default of {}", fitting.join("; of "))
}

/// The name that a response gives, a stranger's text.
pub(super) fn said_name(seen: &Observations) -> Option<String> {
    let response = &seen.exchange.as_ref()?.response;
    response.header("server").or_else(|| response.header("x-powered-by")).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::response::{End, ResponseReader};

    fn name(headers: &str) -> Option<&'static str> {
        let mut reader = ResponseReader::new("GET");
        reader.push(format!("HTTP/1.1 204 No Content\r\n{headers}\r\n\r\n").as_bytes());
        recognise(&reader.end(End::Stopped)).map(|server| server.name)
    }

    #[test]
    fn servers_are_recognised_by_what_they_say() {
        for (headers, expected) in [
            ("Server: nginx/1.22.1", Some("nginx")),
            ("server: Apache/2.4.71 (Debian)", Some("Apache httpd")),
            ("Server: gunicorn", Some("gunicorn")),
            ("server: uvicorn", Some("uvicorn")),
            ("X-Powered-By: Express", Some("Node.js")),
            ("Connection: keep-alive\r\nKeep-Alive: timeout=5", Some("Node.js")),
            ("Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100", None),
            ("Server: something\r\nX-Powered-By: Express", None),
            ("Date: today", None),
        ] {
            assert_eq!(name(headers), expected, "{headers}");
        }
    }

    #[test]
    fn a_setting_is_named_with_its_unit() {
        assert!(keep_alive_setting(Some(&NODE), None, 65).contains("keepAliveTimeout = 65000"));
        let apache = NAMED.iter().find(|server| server.sign == "apache");
        assert_eq!(keep_alive_setting(apache, None, 65), "Apache httpd: KeepAliveTimeout 65");
        assert!(keep_alive_setting(None, Some(2.0), 65).contains("gunicorn"));
        assert!(keep_alive_setting(None, Some(13.0), 65).contains("nginx keepalive_timeout 65s"));
        assert!(keep_alive_setting(None, None, 65).contains("nginx keepalive_timeout 65s"));
    }
}
