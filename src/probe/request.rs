//! The request as a load balancer would send it, and the address that it goes to.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method, Uri};
use sha2::{Digest as _, Sha256};

/// The body of a request may be this long, in bytes: a load balancer passes on much more, but a probe is
/// one request of many.
const MAX_REQUEST_BODY: usize = 1024 * 1024;

/// Headers that say where the request ends and what becomes of the connection: the probe's own.
const OWN_HEADERS: [&str; 6] =
    ["connection", "content-length", "expect", "keep-alive", "transfer-encoding", "upgrade"];

/// Methods that change nothing on the target, and may be sent several times.
/// Source: RFC 9110, section 9.2.1.
const SAFE: [Method; 4] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];

/// What cannot be sent, and what could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct WrongRequest {
    /// The flag or argument, with its value.
    pub what: String,
    /// What is wrong with it and what is allowed.
    pub why: String,
}

fn wrong(what: impl Into<String>, why: impl Into<String>) -> WrongRequest {
    WrongRequest { what: what.into(), why: why.into() }
}

/// Where the request goes and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// TLS, as a target group of protocol HTTPS.
    pub is_tls: bool,
    /// The name or address, without brackets.
    pub host: String,
    /// The port, 1 to 65535.
    pub port: u16,
    /// As in the request line, with its query.
    pub path: String,
    /// The method.
    pub method: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request from what a person typed. `headers` are lines `Name: value`; without a method it is POST
    /// when there is a body, else GET.
    ///
    /// # Errors
    /// When a part cannot be sent: it says which, and what is allowed.
    pub fn new(
        url: &str,
        method: Option<&str>,
        headers: &[String],
        body: Option<Vec<u8>>,
    ) -> Result<Self, WrongRequest> {
        let allowed = "give a URL of http or https, with the address, port and path of a target; `alb502 probe \
             --help` has examples";
        let uri: Uri =
            url.parse().map_err(|error| wrong(url, format!("no URL ({error}); {allowed}")))?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(wrong(
                    url,
                    format!("it begins with neither http nor https; {allowed}"),
                ));
            }
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            // It is not told again: a password may be in it.
            return Err(wrong(
                "URL",
                "a user in it is not supported; give -H 'Authorization: ...'",
            ));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong(url, format!("no host; {allowed}")));
        }
        let port = match (uri.port_u16(), authority.rsplit_once(':')) {
            (Some(port @ 1..), _) => port,
            (None, Some((_, port))) if !port.contains(']') && !port.is_empty() => {
                return Err(wrong(url, "the port is not a number from 1 to 65535"));
            }
            (Some(_), _) => return Err(wrong(url, "the port is not a number from 1 to 65535")),
            (None, _) => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
        };
        let body = body.unwrap_or_default();
        if MAX_REQUEST_BODY < body.len() {
            return Err(wrong("--body", "longer than 1 MB"));
        }
        let method = match method {
            None if body.is_empty() => "GET".to_owned(),
            None => "POST".to_owned(),
            Some(method) => {
                let is_sendable =
                    method != "CONNECT" && Method::from_bytes(method.as_bytes()).is_ok();
                if !is_sendable {
                    return Err(wrong(
                        format!("--method {method}"),
                        "allowed is a method such as GET, HEAD, POST or PUT, but not CONNECT",
                    ));
                }
                method.to_owned()
            }
        };
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port,
            path: uri.path_and_query().map_or("/", |it| it.as_str()).to_owned(),
            method,
            headers: headers.iter().map(|line| header(line)).collect::<Result<_, _>>()?,
            body,
        })
    }

    /// The path without its query, which may hold secrets.
    pub fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether it may be sent several times: the method changes nothing on the target.
    pub fn is_repeatable(&self) -> bool {
        SAFE.iter().any(|method| method.as_str() == self.method)
    }

    /// The bytes on the wire. `from` is the address of the client that the load balancer would name,
    /// `trace_id` the id by which the request is found again.
    ///
    /// A load balancer sends HTTP/1.1, keeps the connection, and tells the client's address, protocol and
    /// port in the `X-Forwarded-` headers.
    /// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html>
    pub fn bytes(&self, from: IpAddr, trace_id: &str) -> Vec<u8> {
        let host = match (self.host.contains(':'), self.port) {
            (true, port) => format!("[{}]:{port}", self.host),
            (false, 80) if !self.is_tls => self.host.clone(),
            (false, 443) if self.is_tls => self.host.clone(),
            (false, port) => format!("{}:{port}", self.host),
        };
        let mut lines = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let defaults = [
            ("X-Forwarded-For", from.to_string()),
            ("X-Forwarded-Proto", "https".to_owned()),
            ("X-Forwarded-Port", "443".to_owned()),
            ("Host", host),
            ("X-Amzn-Trace-Id", trace_id.to_owned()),
            ("User-Agent", concat!("alb502-probe/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("Accept", "*/*".to_owned()),
        ];
        let is_given =
            |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let own = defaults.into_iter().filter(|(name, _)| !is_given(name));
        for (name, value) in own {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in &self.headers {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            lines.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        lines.push_str("\r\n");
        let mut bytes = lines.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A header that a person gave as `Name: value`.
fn header(line: &str) -> Result<(String, String), WrongRequest> {
    let what = || format!("-H '{}'", line.split(':').next().unwrap_or_default());
    let Some((name, value)) = line.split_once(':') else {
        return Err(wrong(what(), "no header; give it as 'Name: value'"));
    };
    let (name, value) = (name.trim(), value.trim());
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(wrong(what(), "the name of a header is letters, digits and hyphens"));
    }
    if HeaderValue::from_str(value).is_err() {
        return Err(wrong(what(), "the value holds characters that a header may not have"));
    }
    if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(wrong(
            what(),
            "the probe sends this header as a load balancer does; give another one",
        ));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// A trace id in the form of AWS: version, seconds, 24 hexadecimal digits, which no two requests share.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-request-tracing.html>
pub(super) fn trace_id(now: jiff::Timestamp, process: u32, number: u32) -> String {
    let hash = Sha256::digest(format!("{} {process} {number}", now.as_nanosecond()));
    let unique: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("Root=1-{:08x}-{unique}", now.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(url: &str) -> Result<Request, WrongRequest> {
        Request::new(url, None, &[], None)
    }

    fn lines(request: &Request) -> String {
        let bytes = request.bytes([10, 0, 0, 9].into(), "Root=1-0-0");
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_url_says_where_and_what() {
        for (url, expected) in [
            ("http://10.0.1.5:8080/health?a=b", (false, "10.0.1.5", 8080, "/health?a=b")),
            ("http://10.0.1.5", (false, "10.0.1.5", 80, "/")),
            ("https://app.internal/x", (true, "app.internal", 443, "/x")),
            ("https://[fd00::5]:8443/", (true, "fd00::5", 8443, "/")),
            ("http://[::1]", (false, "::1", 80, "/")),
            ("HTTP://a/", (false, "a", 80, "/")),
        ] {
            let request = get(url).unwrap();
            let got = (request.is_tls, &*request.host, request.port, &*request.path);
            assert_eq!(got, expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_asked_says_what_is_allowed() {
        for (url, said) in [
            ("10.0.1.5:8080", "`alb502 probe --help`"),
            ("ftp://a/", "neither http nor https"),
            ("http://", "no URL"),
            ("http:///x", "no"),
            ("http://u:p@a/", "-H 'Authorization: ...'"),
            ("http://a:0/", "1 to 65535"),
            ("http://a:65536/", "1 to 65535"),
            ("http://a b/", "no URL"),
            ("http://a/\r\nX: y", "no URL"),
        ] {
            let error = get(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
            assert!(!error.contains("u:p@"), "a password is not told: {error}");
        }
    }

    #[test]
    fn it_is_what_a_load_balancer_sends() {
        let said = lines(&get("http://10.0.1.5:8080/health").unwrap());
        assert!(
            said.starts_with("GET /health HTTP/1.1\r\nX-Forwarded-For: 10.0.0.9\r\n"),
            "{said}"
        );
        for line in [
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 443",
            "Host: 10.0.1.5:8080",
            "X-Amzn-Trace-Id: Root=1-0-0",
        ] {
            assert!(said.contains(&format!("\r\n{line}\r\n")), "{said}");
        }
        assert!(
            said.ends_with("\r\n\r\n") && !said.to_ascii_lowercase().contains("\r\nconnection:")
        );
        assert!(lines(&get("http://[::1]/").unwrap()).contains("\r\nHost: [::1]:80\r\n"));
    }

    #[test]
    fn given_headers_take_the_place_of_the_own_ones() {
        let headers = ["host: shop.example.com".to_owned(), "X-A: b: c".to_owned()];
        let request = Request::new("http://a/", None, &headers, None).unwrap();
        let said = lines(&request);
        assert!(
            said.contains("\r\nhost: shop.example.com\r\n") && said.contains("\r\nX-A: b: c\r\n")
        );
        assert!(!said.contains("Host: a"), "{said}");
        for (header, why) in [
            ("no colon", "Name: value"),
            ("a b: c", "letters, digits"),
            ("X: a\r\nY: b", "characters"),
            ("Content-Length: 5", "the probe sends"),
            ("connection: close", "the probe sends"),
            (": x", "letters"),
        ] {
            let error = Request::new("http://a/", None, &[header.to_owned()], None).unwrap_err();
            assert!(error.to_string().contains(why), "{header}: {error}");
            assert!(!error.to_string().contains("b: c"), "a value may be secret");
        }
    }

    #[test]
    fn a_body_is_posted_and_only_once() {
        let with = |method, body: &str| Request::new("http://a/", method, &[], Some(body.into()));
        let request = with(None, "x=1").unwrap();
        assert!(
            lines(&request).starts_with("POST ")
                && lines(&request).ends_with("Content-Length: 3\r\n\r\nx=1")
        );
        assert!(!request.is_repeatable());
        assert!(with(Some("GET"), "").unwrap().is_repeatable());
        assert!(lines(&with(Some("PUT"), "").unwrap()).contains("Content-Length: 0"));
        assert!(with(Some("CONNECT"), "").is_err() && with(Some("G T"), "").is_err());
        assert!(Request::new("http://a/", None, &[], Some(vec![0; MAX_REQUEST_BODY + 1])).is_err());
    }

    #[test]
    fn trace_ids_have_the_form_of_aws_and_differ() {
        let now: jiff::Timestamp = "2026-11-28T12:03:00Z".parse().unwrap();
        let id = trace_id(now, 1, 2);
        assert_eq!(id.len(), "Root=1-67891233-abcdef012345678912345678".len());
        assert!(id.starts_with("Root=1-6b0ac2f4-"), "{id}");
        assert_ne!(id, trace_id(now, 1, 3));
    }
}
