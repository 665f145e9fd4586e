//! Each rule with its twin: what breaks it, and what almost does.

use proptest::prelude::*;

use super::*;

fn read_as(method: &str, bytes: &[u8], end: End) -> Response {
    let mut reader = ResponseReader::new(method);
    reader.push(bytes);
    reader.end(end)
}

fn read(bytes: impl AsRef<[u8]>) -> Response {
    read_as("GET", bytes.as_ref(), End::Closed)
}

fn broken(response: &Response) -> Vec<&'static str> {
    let mut ids: Vec<&str> = response.violations.iter().map(|it| it.rule.id).collect();
    ids.dedup();
    ids
}

/// A response with these headers and an empty body.
fn with(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// A response with these headers, and this body.
fn framed(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}")
}

#[test]
fn valid_responses_break_no_rule() {
    for (bytes, framing, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Framing::ContentLength(2), 2),
        ("HTTP/1.1 200 \r\ncontent-length:2\r\n\r\nok", Framing::ContentLength(2), 2),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Framing::ContentLength(0), 0),
        ("HTTP/1.1 599 x\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n", Framing::ContentLength(0), 0),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            Framing::Chunked,
            2,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nA;x=y\r\n0123456789\r\n000\r\nT: v\r\n\r\n",
            Framing::Chunked,
            10,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", Framing::NoBody, 0),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Framing::NoBody, 0),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Framing::NoBody, 0),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", Framing::UntilClose, 13),
        ("HTTP/1.0 200 OK\r\nX: \x41\tb\u{e4}\r\n\r\n", Framing::UntilClose, 0),
    ] {
        let response = read(bytes);
        assert_eq!(broken(&response), Vec::<&str>::new(), "{bytes:?}");
        assert_eq!(response.framing, Some(framing), "{bytes:?}");
        assert_eq!(response.body_bytes, body, "{bytes:?}");
        assert!(response.is_complete, "{bytes:?}");
    }
}

#[test]
fn what_comes_before_the_headers() {
    for (bytes, ids) in [
        (b"\x15\x03\x01\x00\x02\x02\x0a".to_vec(), vec!["tls-bytes"]),
        (b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03".to_vec(), vec!["tls-bytes"]),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03".to_vec(), vec!["http2-bytes"]),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), vec!["not-http"]),
        (b"<html>it said HTTP/1.1 here</html>\n".to_vec(), vec!["not-http"]),
        (vec![b'x'; 300_000], vec!["not-http"]),
        (b"debug\nHTTP/1.1 204 \r\n\r\n".to_vec(), vec!["bytes-before-status-line"]),
        (b"debugHTTP/1.1 204 \r\n\r\n".to_vec(), vec!["bytes-before-status-line"]),
        (b"\r\nHTTP/1.1 204 \r\n\r\n".to_vec(), vec!["blank-line-before-status-line"]),
        (b"http/1.1 204 \r\n\r\n".to_vec(), vec!["status-version"]),
        (b"HTTP/2 204 \r\n\r\n".to_vec(), vec!["status-version"]),
        (b"HTTP/1.1  204 OK\r\n\r\n".to_vec(), vec!["status-line-syntax"]),
        (b"HTTP/1.1 OK\r\n\r\n".to_vec(), vec!["status-line-syntax"]),
        (b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(), vec!["status-line-syntax"]),
        (b"HTTP/1.1\r\n\r\n".to_vec(), vec!["status-line-syntax"]),
        (b"HTTP/1.1 600 x\r\n\r\n".to_vec(), vec!["status-code"]),
        (b"HTTP/1.1 099 x\r\n\r\n".to_vec(), vec!["status-code"]),
        (b"HTTP/1.1 204 a\x01b\r\n\r\n".to_vec(), vec!["status-reason"]),
        (b"HTTP/1.1 101 x\r\n\r\nbytes".to_vec(), vec!["unexpected-101"]),
        (
            b"HTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 204 x\r\n\r\n".to_vec(),
            vec!["unexpected-1xx"],
        ),
        (b"HTTP/1.1 204 OK\n\n".to_vec(), vec!["bare-line-feed"]),
    ] {
        let shown = String::from_utf8_lossy(&bytes).chars().take(60).collect::<String>();
        assert_eq!(broken(&read(&bytes)), ids, "{shown:?}");
    }
    let response =
        read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((response.interim, response.status), (vec![100], Some(201)));
    let endless = read("HTTP/1.1 100 Continue\r\n\r\n".repeat(100));
    assert_eq!(endless.interim.len(), MAX_INTERIM);
}

#[test]
fn headers() {
    for (line, ids) in [
        ("No colon here\r\n", vec!["header-no-colon"]),
        (": value\r\n", vec!["header-name-empty"]),
        ("X-A : b\r\n", vec!["header-name-space"]),
        ("X A: b\r\n", vec!["header-name-character"]),
        ("X(A): b\r\n", vec!["header-name-character"]),
        ("X-\u{e4}: b\r\n", vec!["header-name-character"]),
        ("X_A.b!: c\r\n", vec![]),
        ("X-A: b\x00c\r\n", vec!["header-value-control"]),
        ("X-A: b\x7fc\r\n", vec!["header-value-control"]),
        ("X-A: b\tc: d\u{fc}\r\n", vec![]),
        ("X-A: b\r\n  c\r\n", vec!["header-folded"]),
        ("X-A: b\rX-B: c\r\n", vec!["bare-carriage-return"]),
        ("X-A: b\nX-B: c\n", vec!["bare-line-feed"]),
    ] {
        assert_eq!(broken(&read(with(line))), ids, "{line:?}");
    }
}

#[test]
fn sizes_at_the_limits() {
    let line = |bytes: usize| format!("X-A: {}\r\n", "a".repeat(bytes - 7));
    for (bytes, ids) in [(16 * 1024, vec![]), (16 * 1024 + 1, vec!["header-line-too-long"])] {
        assert_eq!(broken(&read(with(&line(bytes)))), ids, "{bytes}");
    }
    let rest = with("").len();
    let head = |bytes: usize| with(&(line(16 * 1024) + &line(bytes - rest - 16 * 1024)));
    for (bytes, ids) in [(32 * 1024, vec![]), (32 * 1024 + 1, vec!["head-too-large"])] {
        let response = read(head(bytes));
        assert_eq!(response.head_bytes, bytes as u64);
        assert_eq!(broken(&response), ids, "{bytes}");
    }
    // An endless head is given up, and told all the same.
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-A: b\r\n".repeat(100_000));
    assert_eq!(broken(&read(endless)), ["head-too-large"]);
    let endless = format!("HTTP/1.1 200 OK\r\nSet-Cookie: {}", "secret".repeat(100_000));
    let response = read(endless);
    assert_eq!(broken(&response), ["header-line-too-long", "head-too-large"]);
    assert_eq!(response.violations[0].quote.as_deref(), Some("Set-Cookie"));
}

#[test]
fn framing_of_the_body() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (headers, body, ids) in [
        ("Content-Length: x\r\n", "", vec!["content-length-invalid"]),
        ("Content-Length: -1\r\n", "", vec!["content-length-invalid"]),
        ("Content-Length: +1\r\n", "a", vec!["content-length-invalid"]),
        ("Content-Length:\r\n", "", vec!["content-length-invalid"]),
        ("Content-Length: 99999999999999999999999\r\n", "", vec!["content-length-invalid"]),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", "a", vec!["content-length-conflict"]),
        ("Content-Length: 1, 2\r\n", "a", vec!["content-length-conflict"]),
        ("Content-Length: 1\r\ncontent-length: 1\r\n", "a", vec!["content-length-repeated"]),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            vec!["content-length-and-transfer-encoding"],
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            vec!["transfer-encoding-repeated"],
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            "0\r\n\r\n",
            vec!["transfer-encoding-repeated"],
        ),
        ("Transfer-Encoding: gzip\r\n", "abc", vec!["transfer-encoding-unknown"]),
        (chunked, "x\r\n", vec!["chunk-size-invalid"]),
        (chunked, "0x2\r\nok\r\n0\r\n\r\n", vec!["chunk-size-invalid"]),
        (chunked, "-2\r\nok\r\n0\r\n\r\n", vec!["chunk-size-invalid"]),
        (chunked, "\r\n", vec!["chunk-size-invalid"]),
        (chunked, "11111111111111111\r\n", vec!["chunk-size-invalid"]),
        (chunked, "2\r\nokay\r\n0\r\n\r\n", vec!["chunk-end-missing"]),
        (chunked, "2\r\nok0\r\n\r\n", vec!["chunk-end-missing"]),
        (chunked, "2\nok\n0\n\n", vec!["bare-line-feed"]),
        (chunked, "0\r\nno trailer\r\n\r\n", vec!["trailer-invalid"]),
        ("Content-Length: 2\r\n", "okay", vec!["bytes-after-end"]),
        (chunked, "0\r\n\r\n\r\n", vec!["bytes-after-end"]),
    ] {
        assert_eq!(broken(&read(framed(headers, body))), ids, "{headers:?} {body:?}");
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(broken(&read(old)), ["transfer-encoding-http-1-0"]);
    let no_content = "HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(broken(&read(no_content)), ["body-where-none-may-be", "bytes-after-end"]);
    let head = "HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(broken(&read_as("HEAD", head.as_bytes(), End::Stopped)), Vec::<&str>::new());
    let head = format!("{head}ok");
    let response = read_as("HEAD", head.as_bytes(), End::Stopped);
    assert_eq!(broken(&response), ["bytes-after-end"]);
    assert_eq!(response.violations[0].bytes, Some(2));
    assert_eq!(response.violations[0].at, head.len() as u64 - 2);
}

#[test]
fn ends_at_each_stage() {
    for (bytes, closed, silent) in [
        ("", "closed-without-response", "silent"),
        ("HTT", "closed-in-head", "silent-in-head"),
        ("HTTP/1.1 200 OK\r\nX-A: ", "closed-in-head", "silent-in-head"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "closed-in-body", "silent-in-body"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "closed-in-body",
            "silent-in-body",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
            "closed-in-body",
            "silent-in-body",
        ),
    ] {
        assert_eq!(broken(&read_as("GET", bytes.as_bytes(), End::Closed)), [closed], "{bytes:?}");
        assert_eq!(broken(&read_as("GET", bytes.as_bytes(), End::Silent)), [silent], "{bytes:?}");
        assert_eq!(broken(&read_as("GET", bytes.as_bytes(), End::Stopped)), Vec::<&str>::new());
    }
    let until_close = "HTTP/1.1 200 OK\r\n\r\nok";
    let response = read_as("GET", until_close.as_bytes(), End::Silent);
    assert_eq!(broken(&response), ["silent-in-body"]);
    assert!(!response.is_complete);
}

#[test]
fn bytes_on_the_idle_connection_are_told_apart() {
    let mut reader = ResponseReader::new("GET");
    reader.push(with("").as_bytes());
    assert!(reader.is_complete() && reader.has_enough());
    reader.push_while_idle(b"HTTP/1.1 408 Request Timeout\r\n\r\n");
    let response = reader.end(End::Closed);
    assert_eq!(broken(&response), ["bytes-while-idle"]);
    assert_eq!(response.status, Some(200));
    assert!(response.violations[0].quote.as_deref().unwrap().starts_with("HTTP/1.1 408"));
}

#[test]
fn a_connection_ends_when_the_response_says_so() {
    for (bytes, says) in [
        ("HTTP/1.1 204 x\r\n\r\n", false),
        ("HTTP/1.1 204 x\r\nConnection: Close\r\n\r\n", true),
        ("HTTP/1.1 204 x\r\nConnection: x, close\r\n\r\n", true),
        ("HTTP/1.1 204 x\r\nConnection: closed\r\n\r\n", false),
        ("HTTP/1.0 204 x\r\n\r\n", true),
        ("HTTP/1.0 204 x\r\nConnection: Keep-Alive\r\n\r\n", false),
        ("HTTP/1.1 200 x\r\n\r\n", true),
    ] {
        assert_eq!(read(bytes).says_close(), says, "{bytes:?}");
    }
    for (value, promised) in [
        ("timeout=5", Some(5.0)),
        ("max=100, Timeout=\"72\"", Some(72.0)),
        ("timeout=x", None),
        ("timeout=inf", None),
        ("max=100", None),
    ] {
        let response = read(with(&format!("Keep-Alive: {value}\r\n")));
        assert_eq!(response.promised_seconds(), promised, "{value}");
    }
}

#[test]
fn the_table_of_rules_is_complete() {
    let ids: std::collections::BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids.len(), RULES.len(), "an id stands twice");
    let source = include_str!("tests.rs");
    for rule in RULES {
        assert!(source.contains(&format!("\"{}\"", rule.id)), "{} has no test", rule.id);
        let known = crate::diagnosis::causes::CAUSES.iter().any(|cause| cause.id == rule.cause);
        assert!(known, "{}: no cause {}", rule.id, rule.cause);
    }
}

#[test]
fn what_is_above_a_bound_is_left_at_the_same_byte_however_it_is_cut() {
    let chunked = framed("Transfer-Encoding: chunked\r\n", &"1".repeat(100_000));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-A: b\r\n".repeat(100_000));
    let garbage = "no HTTP\n".repeat(100_000);
    for bytes in [chunked, endless, garbage] {
        let whole = read(&bytes);
        for size in [1000, 16_384, 77_777] {
            let mut reader = ResponseReader::new("GET");
            bytes.as_bytes().chunks(size).for_each(|part| reader.push(part));
            assert_eq!(reader.end(End::Closed), whole, "{size}: {}", &bytes[..60]);
        }
    }
}

/// Pieces of responses, right and wrong.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.0 500 x\n",
        b"HTTP/1.1 103 x\r\n\r\n",
        b"HTTP/",
        b"\r\n",
        b"\n",
        b"\r",
        b": ",
        b" folded\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"x",
        b"\x00",
        b"\x15\x03\x01",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    ];
    prop_oneof![
        8 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (1_usize..40_000).prop_map(|length| vec![b'a'; length]),
    ]
}

proptest! {
    #[test]
    fn where_the_bytes_are_cut_does_not_matter(
        pieces in proptest::collection::vec(piece(), 0..14),
        cuts in proptest::collection::vec(1_usize..50, 1..20),
        end in proptest::sample::select(vec![End::Closed, End::Silent, End::Stopped]),
        method in proptest::sample::select(vec!["GET", "HEAD"]),
    ) {
        let bytes = pieces.concat();
        let whole = read_as(method, &bytes, end);
        let mut reader = ResponseReader::new(method);
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            let Some((first, after)) = rest.split_at_checked(*cut.min(&rest.len())) else { break };
            if first.is_empty() {
                break;
            }
            reader.push(first);
            rest = after;
        }
        prop_assert_eq!(reader.end(end), whole);
    }
}
