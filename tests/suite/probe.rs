//! `alb502 probe` against targets that misbehave in every way, on sockets of this process.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::command_line::alb502;

/// What a target does with a connection.
type Serve = fn(&mut TcpStream);

/// A target on a port of its own, which serves each connection on a thread until the test ends.
struct Target {
    address: std::net::SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Target {
    fn start(serve: Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream.unwrap();
                thread::spawn(move || serve(&mut stream));
            }
        });
        Self { address, connections }
    }

    fn url(&self) -> String {
        format!("http://{}/orders?token=secret", self.address)
    }
}

/// Reads a request; its head, or nothing when the connection ended.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

fn send(stream: &mut TcpStream, bytes: &[u8]) {
    // The probe may have enough before the end.
    let _ = stream.write_all(bytes);
}

/// Waits until the other side closes.
fn stay(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Answers each request so.
fn answer_all(stream: &mut TcpStream, response: &[u8]) {
    while request(stream).is_some() {
        send(stream, response);
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

fn probe(url: &str, more: &[&str]) -> (Output, Value) {
    let arguments = [&["probe", url, "--idle-timeout", "1s", "--format", "json"], more].concat();
    let output = alb502(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, report)
}

fn ids(list: &Value, name: &str) -> Vec<String> {
    let of = |it: &Value| it[name].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(of).collect()
}

/// A name, what the target does, the findings as `cause would-be`, and the rules that its response breaks.
type Case = (&'static str, Serve, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    ("well-behaved", |stream| answer_all(stream, OK), &[], &[]),
    (
        "says close and closes",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        },
        &[],
        &[],
    ),
    (
        "HTTP/1.0 until the connection closes",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.0 200 OK\r\n\r\nbody");
        },
        &[],
        &[],
    ),
    (
        "closes after each response and does not say so",
        |stream| {
            request(stream);
            send(stream, OK);
        },
        &["keepalive-race 502"],
        &[],
    ),
    (
        "closes idle connections",
        |stream| {
            stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
            answer_all(stream, OK);
        },
        &["keepalive-race 502"],
        &[],
    ),
    (
        "loses the third request of a connection",
        |stream| {
            for _ in 0..2 {
                request(stream);
                send(stream, OK);
            }
            request(stream);
        },
        &["keepalive-race 502"],
        &[],
    ),
    (
        "announces the end of a connection after two requests",
        |stream| {
            request(stream);
            send(stream, OK);
            if request(stream).is_some() {
                send(stream, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            }
        },
        &[],
        &[],
    ),
    (
        "closes without a response",
        |stream| {
            request(stream);
        },
        &["closed-mid-request 502"],
        &["closed-without-response"],
    ),
    (
        "resets",
        |stream| {
            // What has come and is not read makes the system reset.
            let _ = stream.peek(&mut [0]);
        },
        &["closed-mid-request 502"],
        &["closed-without-response"],
    ),
    (
        "closes in the head",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\nContent-");
        },
        &["closed-mid-request 502"],
        &["closed-in-head"],
    ),
    (
        "closes in the body",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok");
        },
        &["closed-mid-request 502"],
        &["closed-in-body"],
    ),
    (
        "closes between chunks",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
        },
        &["closed-mid-request 502"],
        &["closed-in-body"],
    ),
    ("never answers", stay, &["idle-timeout 504"], &["silent"]),
    (
        "falls silent in the head",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\n");
            stay(stream);
        },
        &["idle-timeout 504"],
        &["silent-in-head"],
    ),
    (
        "promises a longer body than it has",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok");
            stay(stream);
        },
        &["idle-timeout 504"],
        &["silent-in-body"],
    ),
    (
        "prints before the status line",
        |stream| answer_all(stream, b"debug: 1\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        &["malformed-response 502"],
        &["bytes-before-status-line"],
    ),
    (
        "is no HTTP",
        |stream| {
            send(stream, b"220 mail.example.com ESMTP\r\n");
            stay(stream);
        },
        &["malformed-response 502"],
        &["not-http"],
    ),
    (
        "speaks HTTP/2",
        |stream| {
            request(stream);
            send(stream, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80");
            stay(stream);
        },
        &["protocol-mismatch 502"],
        &["http2-bytes"],
    ),
    (
        "writes bad headers",
        |stream| {
            answer_all(
                stream,
                b"HTTP/1.1 200 OK\r\nno colon\r\nX-A : b\r\nX-B: c\0d\r\n folded\r\nContent-Length: 0\r\n\r\n",
            );
        },
        &["malformed-response 502"],
        &["header-no-colon", "header-name-space", "header-value-control", "header-folded"],
    ),
    (
        "sends 33 K of cookies",
        |stream| {
            let cookie = format!("Set-Cookie: {}\r\n", "c".repeat(11_000));
            let head = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", cookie.repeat(3));
            answer_all(stream, head.as_bytes());
        },
        &["oversized-headers 502"],
        &["head-too-large"],
    ),
    (
        "frames twice",
        |stream| {
            answer_all(
                stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\
                  Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            );
        },
        &["malformed-response 502"],
        &["content-length-and-transfer-encoding", "transfer-encoding-repeated"],
    ),
    (
        "frames chunks wrongly",
        |stream| {
            answer_all(
                stream,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nlonger\r\n",
            );
        },
        &["malformed-response 502"],
        &["chunk-end-missing"],
    ),
    (
        "sends a body after 204 that poisons the next request",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 204 No Content\r\n\r\nleft over");
            stay(stream);
        },
        &["malformed-response 502"],
        &["bytes-after-end"],
    ),
    (
        "says 408 on the idle connection",
        |stream| {
            stream.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
            answer_all(stream, OK);
            send(stream, b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
        },
        &["keepalive-race 502", "malformed-response 502"],
        &["bytes-while-idle"],
    ),
    (
        "switches protocols unasked",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
            stay(stream);
        },
        &["malformed-response 502"],
        &["unexpected-101"],
    ),
    (
        "answers 502 itself",
        |stream| answer_all(stream, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"),
        &["target-generated 502"],
        &[],
    ),
    (
        "answers 500, which is passed on",
        |stream| answer_all(stream, b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n"),
        &[],
        &[],
    ),
    (
        "answers plaintext with 400 without being TLS",
        |stream| answer_all(stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        &[],
        &[],
    ),
    (
        "sends more than is read",
        |stream| {
            request(stream);
            send(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n");
            send(stream, &vec![b'x'; 5_000_000]);
        },
        &[],
        &[],
    ),
];

#[test]
fn every_misbehaviour_is_named() {
    let tests: Vec<_> = CASES
        .iter()
        .map(|(name, serve, findings, rules)| {
            thread::spawn(move || {
                let target = Target::start(*serve);
                let (output, report) = probe(&target.url(), &[]);
                assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
                let causes = ids(&report["findings"], "cause");
                let would_be = ids(&report["findings"], "would_be");
                let found: Vec<String> = causes
                    .iter()
                    .zip(would_be)
                    .map(|(cause, it)| format!("{cause} {it}"))
                    .collect();
                assert_eq!(found, *findings, "{name}: {report:#}");
                assert_eq!(
                    ids(&report["response"]["violations"], "id"),
                    *rules,
                    "{name}: {report:#}"
                );
                assert!(report["requests_sent"].as_u64().unwrap() <= 8, "{name}");
                for finding in report["findings"].as_array().unwrap() {
                    assert!(finding["why"].as_str().unwrap().ends_with('.'), "{finding}");
                    assert!(finding["fix"].as_str().unwrap().ends_with('.'), "{finding}");
                }
                assert!(!output.stdout.windows(6).any(|it| it == b"secret"), "{name}: the query");
            })
        })
        .collect();
    for test in tests {
        test.join().unwrap();
    }
}

#[test]
fn the_measured_keep_alive_is_that_of_the_target() {
    let closes: Serve = |stream| {
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        answer_all(stream, OK);
    };
    let (_, report) = probe(&Target::start(closes).url(), &[]);
    let measured = report["keep_alive_seconds"].as_f64().unwrap();
    assert!((0.45..1.0).contains(&measured), "{report:#}");
    let kept = report["keep_alive"]["connections"].as_array().unwrap();
    assert_eq!(
        kept.iter().map(|it| it["requests"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 1, 5]
    );
    assert!(kept.iter().all(|it| it["outcome"] == "closed"), "{report:#}");

    let stays: Serve = |stream| answer_all(stream, OK);
    let (_, report) = probe(&Target::start(stays).url(), &[]);
    assert_eq!(report["keep_alive_seconds"], Value::Null);
    assert_eq!(report["keep_alive"]["connections"][0]["outcome"], "open");
}

#[test]
fn a_method_that_changes_something_is_sent_once() {
    let target = Target::start(|stream| answer_all(stream, OK));
    let (_, report) = probe(&target.url(), &["--body", "x"]);
    assert_eq!(report["target"]["method"], "POST");
    assert_eq!(report["requests_sent"], 1);
    assert_eq!(target.connections.load(Ordering::SeqCst), 1);
    assert_eq!(report["keep_alive"]["connections"].as_array().unwrap().len(), 1);
    let target = Target::start(|stream| answer_all(stream, OK));
    let (_, report) = probe(&target.url(), &[]);
    assert_eq!(report["requests_sent"], 7);
}

#[test]
fn the_request_is_that_of_a_load_balancer() {
    let target = Target::start(|stream| {
        let head = request(stream).unwrap();
        let right = head.starts_with("GET /orders?token=secret HTTP/1.1\r\n")
            && [
                "X-Forwarded-For: 127.0.0.1",
                "X-Forwarded-Proto: https",
                "X-Amzn-Trace-Id: Root=1-",
            ]
            .iter()
            .all(|line| head.contains(line))
            && head.contains("\r\nHost: shop.example.com\r\n");
        let status = if right { "200 OK" } else { "500 wrong" };
        send(
            stream,
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        );
    });
    let (_, report) = probe(&target.url(), &["-H", "Host: shop.example.com"]);
    assert_eq!(report["response"]["status"], 200, "{report:#}");
}

#[test]
fn a_closed_port_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (output, report) = probe(&format!("http://{address}/"), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(ids(&report["findings"], "cause"), ["connect-refused"]);
    assert_eq!(report["connect"]["outcome"], "refused");
    assert_eq!(report["response"], Value::Null);
    assert_eq!(report["requests_sent"], 0);
}

#[test]
fn plaintext_on_a_port_that_was_asked_for_tls_is_named() {
    let target = Target::start(|stream| {
        // What is no request gets no response, as of a server that reads lines.
        let mut first = [0];
        if stream.peek(&mut first).is_ok() && first[0] == b'G' {
            answer_all(stream, OK);
        }
    });
    let (_, report) = probe(&target.url().replace("http:", "https:"), &[]);
    assert_eq!(ids(&report["findings"], "cause"), ["protocol-mismatch"], "{report:#}");
    assert_eq!(report["tls"]["outcome"], "failed");
    // The twin: neither the one nor the other.
    let (_, report) = probe(&Target::start(|_| {}).url().replace("http:", "https:"), &[]);
    assert_eq!(ids(&report["findings"], "cause"), ["tls-handshake"], "{report:#}");
}

#[test]
fn the_report_for_people_fits_and_shows_nothing_hostile() {
    let hostile: Serve = |stream| {
        answer_all(
            stream,
            b"HTTP/1.1 200 \x1b[31mred\x1b[0m\r\nServer: \x1b]0;title\x07<!channel> http://evil.test/x\r\n\
              \xe2\x80\xaeX y@evil.test: 1\r\nContent-Length: 0\r\n\r\nGET http://evil.test/ \x1b[2J",
        );
    };
    let url = Target::start(hostile).url();
    let output = alb502(&["probe", &url, "--idle-timeout", "1s"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("The target's response is not valid HTTP"), "{said}");
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    assert!(!said.contains("http://evil") && !said.contains("y@evil"), "{said}");
    for line in said.lines() {
        assert!(line.chars().count() <= 78, "{line}");
    }
    for words in [
        "FINDING 1  malformed-response, would be 502 (likely)",
        "header-name-character",
        "\n  Do: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn wrong_use_says_what_is_allowed_and_asks_nobody() {
    let target = Target::start(|stream| answer_all(stream, OK));
    let url = target.url();
    for (arguments, said) in [
        (vec!["probe", "10.0.1.5:8080"], "neither http nor https"),
        (vec!["probe", &url, "--idle-timeout", "0s"], "--idle-timeout 0s: allowed is"),
        (vec!["probe", &url, "-H", "Connection: close"], "the probe sends this header"),
        (vec!["probe", &url, "--method", "G T"], "--method G T: allowed is"),
        (vec!["probe", &url, "--body", "@/no/such"], "Give a file"),
        (vec!["probe", &url, "--format", "html"], "text, json"),
        (vec!["probe"], "URL"),
    ] {
        let output = alb502(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = in_one_line(&output.stderr);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    assert_eq!(target.connections.load(Ordering::SeqCst), 0);
    let output = alb502(&["probe", "http://no-such-host.invalid/"]);
    assert_eq!(output.status.code(), Some(1));
    let error = in_one_line(&output.stderr);
    assert!(error.contains("no-such-host.invalid") && error.contains("Give an address"), "{error}");
}

/// What was said, wherever its lines break.
fn in_one_line(said: &[u8]) -> String {
    String::from_utf8_lossy(said).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A message without its numbers and line breaks.
fn words(text: &str) -> String {
    let mut words = String::new();
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        let is_number =
            c.is_ascii_digit() || (words.ends_with('#') && matches!(c, '.' | ',' | ':'));
        match (is_number, words.ends_with('#')) {
            (true, true) => {}
            (true, false) => words.push('#'),
            (false, _) => words.push(c),
        }
    }
    words.replace(" ms", " s").replace("less than #", "#")
}

#[test]
fn the_readme_shows_what_the_probe_prints() {
    let target = Target::start(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        answer_all(
            stream,
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
              Content-Length: 3\r\n\r\nok\n",
        );
    });
    let url = format!("http://{}/health", target.address);
    let output = alb502(&["probe", &url, "--idle-timeout", "1s"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let readme = crate::tidy::read("README.md");
    let shown = readme
        .split("<!-- probe:begin")
        .nth(1)
        .and_then(|it| it.split("```text\n").nth(1))
        .and_then(|it| it.split("```").next())
        .unwrap();
    assert_eq!(words(&said), words(shown), "the README should show:\n{said}");
}
