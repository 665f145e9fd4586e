//! The request line of an entry, in its parts.

use memchr::{memchr, memchr2};

/// The three parts of a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// Up to the first space.
    pub method: Option<&'a [u8]>,
    /// What stands between the method and the protocol; it may hold spaces.
    pub url: Option<&'a [u8]>,
    /// The last word, when it looks like a protocol.
    pub protocol: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    /// Splits a request line: the method ends at the first space, the protocol is the last word when
    /// it reads like one, the rest is the URL.
    pub fn split(line: &'a [u8]) -> Self {
        // Nearly every line ends like this, and is cut without being searched.
        if let [head @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] =
            line
            && let Some(space) = memchr(b' ', head)
        {
            return Self::of_parts(
                head.get(..space),
                head.get(space + 1..),
                line.last_chunk::<8>().map(|it| &it[..]),
            );
        }
        let line = trim_spaces_right(line);
        let (method, rest) = match memchr(b' ', line) {
            Some(at) => (line.get(..at), line.get(at + 1..)),
            None => (Some(line), None),
        };
        let rest = rest.unwrap_or_default();
        let (head, last) = match memchr::memrchr(b' ', rest) {
            Some(at) => {
                (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default())
            }
            None => (&b""[..], rest),
        };
        let (url, protocol) = if is_protocol(last) { (head, Some(last)) } else { (rest, None) };
        Self::of_parts(method, Some(url), protocol)
    }

    fn of_parts(
        method: Option<&'a [u8]>,
        url: Option<&'a [u8]>,
        protocol: Option<&'a [u8]>,
    ) -> Self {
        let present = |part: &&[u8]| !part.is_empty() && *part != b"-";
        Self {
            method: method.filter(present),
            url: url.filter(present),
            protocol: protocol.filter(present),
        }
    }

    /// The path of the URL: from the third slash to the query. `None` when the URL has none.
    pub fn path(&self) -> Option<&'a [u8]> {
        let url = self.url?;
        let url = match memchr2(b'?', b'#', url) {
            Some(at) => url.get(..at)?,
            None => url,
        };
        let after_scheme = match url {
            [b'/', ..] => url,
            [b'h', b't', b't', b'p', b's', b':', b'/', b'/', rest @ ..]
            | [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => rest,
            _ => match memchr::memmem::find(url, b"://") {
                Some(at) => url.get(at + 3..)?,
                None => url,
            },
        };
        after_scheme.get(memchr(b'/', after_scheme)?..)
    }
}

/// `NAME/1` or `NAME/1.1`, or the `-` of a request that was never read.
fn is_protocol(word: &[u8]) -> bool {
    if word == b"-" {
        return true;
    }
    let Some(slash) = memchr(b'/', word) else {
        return false;
    };
    let name = word.get(..slash).unwrap_or_default();
    !name.is_empty()
        && name.iter().all(u8::is_ascii_alphabetic)
        && matches!(word.get(slash + 1..), Some([a] | [a, b'.', _]) if a.is_ascii_digit())
        && word.last().is_some_and(u8::is_ascii_digit)
}

fn trim_spaces_right(mut text: &[u8]) -> &[u8] {
    while let [head @ .., b' '] = text {
        text = head;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).unwrap())
    }

    #[test]
    fn splits_request_lines() {
        for (line, method, url, protocol, path) in [
            (
                "GET http://example.com:80/ HTTP/1.1",
                Some("GET"),
                Some("http://example.com:80/"),
                Some("HTTP/1.1"),
                Some("/"),
            ),
            (
                "GET https://example.com:443/a b?c=/d HTTP/1.0 ",
                Some("GET"),
                Some("https://example.com:443/a b?c=/d"),
                Some("HTTP/1.0"),
                Some("/a b"),
            ),
            (
                "POST https://[2001:db8::7]:443/x#y HTTP/2",
                Some("POST"),
                Some("https://[2001:db8::7]:443/x#y"),
                Some("HTTP/2"),
                Some("/x"),
            ),
            (
                "GET https://example.com?a=/b HTTP/1.1",
                Some("GET"),
                Some("https://example.com?a=/b"),
                Some("HTTP/1.1"),
                None,
            ),
            (
                "GET /a?b=http://c/d HTTP/1.1",
                Some("GET"),
                Some("/a?b=http://c/d"),
                Some("HTTP/1.1"),
                Some("/a"),
            ),
            (
                "--location https://example.com:443/ HTTP/1.1",
                Some("--location"),
                Some("https://example.com:443/"),
                Some("HTTP/1.1"),
                Some("/"),
            ),
            (
                "GET https://example.com:443/no-version -",
                Some("GET"),
                Some("https://example.com:443/no-version"),
                None,
                Some("/no-version"),
            ),
            ("- http://example.com:80- -", None, Some("http://example.com:80-"), None, None),
            ("- http://example.com:8080- ", None, Some("http://example.com:8080-"), None, None),
            ("- http://example.com:80-/ ", None, Some("http://example.com:80-/"), None, Some("/")),
            ("- - -", None, None, None, None),
            ("-", None, None, None, None),
            ("", None, None, None, None),
            ("GET", Some("GET"), None, None, None),
        ] {
            let request = RequestLine::split(line.as_bytes());
            assert_eq!(text(request.method), method, "{line}");
            assert_eq!(text(request.url), url, "{line}");
            assert_eq!(text(request.protocol), protocol, "{line}");
            assert_eq!(text(request.path()), path, "{line}");
        }
    }
}
