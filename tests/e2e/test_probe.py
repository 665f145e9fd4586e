"""`alb502 probe` against real servers: what each does by default, and what each does wrong."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from processes import ROOT, free_port, program
from servers import Servers

SCHEMA = Draft202012Validator(json.loads((ROOT / "src/notification/schema.json").read_text()))

OK = "start('200 OK', [('Content-Length', '2')]); return [b'ok']"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Servers of this test's own."""
    servers = Servers(tmp_path)
    yield servers
    servers.close()


def probe(url: str, idle: int = 1, *more: str) -> dict[str, Any]:
    """The report of a probe."""
    arguments = ["probe", url, "--idle-timeout", f"{idle}s", "--format", "json", *more]
    done = subprocess.run(
        [program("alb502"), *arguments], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def found(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The cause of each finding, and what it would be."""
    return [(it["cause"], it["would_be"]) for it in report["findings"]]


def rules(report: dict[str, Any]) -> list[str]:
    """What the response breaks."""
    return [it["id"] for it in report["response"]["violations"]]


def plain(port: int) -> str:
    """The URL of a port."""
    return f"http://127.0.0.1:{port}/"


def closed_after(report: dict[str, Any], low: float, high: float) -> None:
    """The measured keep-alive timeout is in this span, on all three connections."""
    assert found(report) == [("keepalive-race", "502")], report
    assert low <= report["keep_alive_seconds"] <= high, report["keep_alive"]
    kept = report["keep_alive"]["connections"]
    assert [it["requests"] for it in kept] == [1, 1, 5]
    assert all(low <= it["idle_seconds"] <= high for it in kept), kept


def test_nginx_is_fine_by_default(servers: Servers) -> None:
    """75 seconds are longer than the idle timeout."""
    report = probe(plain(servers.nginx()), 2)
    assert found(report) == [] and rules(report) == []
    assert report["response"]["recognised_server"] == "nginx"
    assert report["keep_alive_seconds"] is None
    assert report["requests_sent"] == 7


def test_nginx_that_closes_after_two_seconds(servers: Servers) -> None:
    """The measured time, and nginx's own words for the fix."""
    report = probe(plain(servers.nginx("keepalive_timeout 2s;")), 5)
    closed_after(report, 1.9, 2.9)
    assert "nginx: keepalive_timeout 10s" in report["findings"][0]["fix"]


def test_nginx_that_limits_requests_says_so(servers: Servers) -> None:
    """`Connection: close` on the last response of a connection is no race."""
    report = probe(plain(servers.nginx("keepalive_requests 3;")))
    assert found(report) == []
    assert report["keep_alive"]["requests_per_connection"] == 3


def test_nginx_with_huge_headers(servers: Servers) -> None:
    """More than 32 K in lines of 4 K."""
    headers = "".join(f"add_header X-Debug-{n} {'d' * 4000};" for n in range(9))
    report = probe(plain(servers.nginx(headers)))
    assert found(report) == [("oversized-headers", "502")]
    assert rules(report) == ["head-too-large"]
    report = probe(plain(servers.nginx(headers.split("add_header X-Debug-7")[0])))
    assert found(report) == []


def test_nginx_with_tls_asked_in_plaintext(servers: Servers) -> None:
    """nginx answers 400, which a load balancer passes on: named, but no 502."""
    port = servers.nginx(tls=True)
    report = probe(plain(port))
    assert found(report) == [("protocol-mismatch", "none")]
    assert report["response"]["status"] == 400


@pytest.mark.parametrize("tls", [True, "expired"])
def test_nginx_with_tls(servers: Servers, tls: bool | str) -> None:
    """No certificate is a reason for a load balancer; what is presented is told."""
    port = servers.nginx("ssl_protocols TLSv1.2 TLSv1.3;", tls=tls)
    report = probe(f"https://127.0.0.1:{port}/")
    assert found(report) == []
    assert report["tls"]["protocol"] == "TLSv1.3"
    certificate = report["tls"]["certificate"]
    assert certificate["names"] == ["app.example.com"]
    assert certificate["self_signed"] is True and certificate["covers_host"] is False
    assert certificate["expired"] is (tls == "expired")
    assert certificate["not_after"] is not None


def test_nginx_with_tls_1_2_only(servers: Servers) -> None:
    """The older protocol is as good."""
    report = probe(f"https://127.0.0.1:{servers.nginx('ssl_protocols TLSv1.2;', tls=True)}/")
    assert found(report) == []
    assert report["tls"]["protocol"] == "TLSv1.2"


def test_nginx_in_front_of_nothing(servers: Servers) -> None:
    """The proxy on the target makes the 502."""
    nothing = f"proxy_pass http://127.0.0.1:{free_port()};"
    report = probe(plain(servers.nginx(location=nothing)))
    assert found(report) == [("target-generated", "502")]


def test_apache_closes_after_five_seconds(servers: Servers) -> None:
    """The default of Apache, and the redirect that is not followed."""
    report = probe(plain(servers.apache()), 8)
    closed_after(report, 4.9, 6.0)
    assert report["response"]["recognised_server"] == "Apache httpd"
    assert "KeepAliveTimeout 13" in report["findings"][0]["fix"]
    assert any("redirect was not followed" in note for note in report["notes"])


def test_apache_without_keep_alive(servers: Servers) -> None:
    """It says that it closes: no race."""
    report = probe(plain(servers.apache("KeepAlive Off")))
    assert found(report) == []
    assert report["keep_alive"]["requests_per_connection"] == 1
    assert report["response"]["connection_close"] is True


def test_apache_with_huge_headers(servers: Servers) -> None:
    """Four lines of 9 K."""
    headers = "".join(f'Header always set X-Debug-{n} "{"d" * 9000}"\n' for n in range(4))
    report = probe(plain(servers.apache(headers)))
    assert ("oversized-headers", "502") in found(report)
    assert rules(report) == ["head-too-large"]


def test_node_closes_after_six_seconds(servers: Servers) -> None:
    """Five seconds are promised; its timer adds one."""
    report = probe(plain(servers.node("(_, response) => response.end('ok')")), 8)
    closed_after(report, 4.9, 6.9)
    assert report["response"]["recognised_server"] == "Node.js"
    assert "server.keepAliveTimeout = 13000" in report["findings"][0]["fix"]


def test_node_with_tls_asked_in_plaintext(servers: Servers) -> None:
    """Node closes without a word: 502 on every request."""
    port = servers.node("(_, response) => response.end('ok')", tls="minVersion: 'TLSv1.2'")
    report = probe(plain(port))
    assert found(report) == [("protocol-mismatch", "502")]
    assert found(probe(f"https://127.0.0.1:{port}/")) == []


def test_node_in_plaintext_asked_for_tls(servers: Servers) -> None:
    """The other way round."""
    port = servers.node("(_, response) => response.end('ok')")
    report = probe(f"https://127.0.0.1:{port}/")
    assert found(report) == [("protocol-mismatch", "502")]
    assert report["tls"]["outcome"] == "failed"
    assert report["requests_sent"] == 1


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_node_that_wants_a_client_certificate(servers: Servers, version: str) -> None:
    """A load balancer has none; TLS 1.3 says so only after the handshake."""
    options = f"requestCert: true, rejectUnauthorized: true, maxVersion: '{version}'"
    port = servers.node("(_, response) => response.end('ok')", tls=options)
    report = probe(f"https://127.0.0.1:{port}/")
    assert found(report) == [("tls-handshake", "502")]
    asked = version == "TLSv1.3"
    assert report["tls"]["outcome"] == ("established" if asked else "failed")


@pytest.mark.parametrize(
    "settings",
    [
        "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;",
        "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-SHA;",
    ],
)
def test_nginx_with_tls_that_is_too_old(servers: Servers, settings: str) -> None:
    """A load balancer may still speak it, so the finding is not certain."""
    report = probe(f"https://127.0.0.1:{servers.nginx(settings, tls=True)}/")
    assert found(report) == [("tls-handshake", "502")]
    assert report["findings"][0]["certainty"] == "possible"


def test_node_that_writes_to_the_socket(servers: Servers) -> None:
    """What frameworks prevent, the socket does not."""
    write = "(request) => request.socket.write('oops\\nHTTP/1.1 200 OK\\r\\nBad Name: x\\r\\n"
    report = probe(plain(servers.node(write + "Content-Length: 0\\r\\n\\r\\n')")))
    assert found(report) == [("malformed-response", "502")]
    assert rules(report) == ["bytes-before-status-line", "header-name-character"]


def test_node_that_frames_twice(servers: Servers) -> None:
    """It sends both headers when code sets both."""
    handler = (
        "(_, r) => { r.setHeader('Content-Length', 2); r.setHeader('Transfer-Encoding', 'chunked');"
        " r.end('ok') }"
    )
    report = probe(plain(servers.node(handler)))
    assert found(report) == [("malformed-response", "502")]
    assert rules(report) == ["content-length-and-transfer-encoding"]


def test_node_with_a_body_that_is_too_short(servers: Servers) -> None:
    """The length promises more: AWS documents 504 for it."""
    handler = "(_, r) => { r.setHeader('Content-Length', 9); r.write('ok') }"
    report = probe(plain(servers.node(handler)))
    assert found(report) == [("idle-timeout", "504")]
    assert rules(report) == ["silent-in-body"]


def test_gunicorn_with_threads_closes_after_two_seconds(servers: Servers) -> None:
    """The default of --keep-alive."""
    report = probe(plain(servers.gunicorn(OK, "--threads", "4")), 5)
    closed_after(report, 1.9, 3.0)
    assert report["response"]["recognised_server"] == "gunicorn"


def test_gunicorn_sync_keeps_no_connection(servers: Servers) -> None:
    """The default worker says close each time."""
    report = probe(plain(servers.gunicorn(OK)))
    assert found(report) == []
    assert report["keep_alive"]["requests_per_connection"] == 1


def test_gunicorn_whose_worker_dies(servers: Servers) -> None:
    """A crash in the middle of the request."""
    report = probe(plain(servers.gunicorn("os._exit(1)")), 5)
    assert found(report) == [("closed-mid-request", "502")]
    assert rules(report) == ["closed-without-response"]


def test_gunicorn_with_a_body_that_is_too_short(servers: Servers) -> None:
    """With threads it keeps the connection, and the load balancer waits."""
    report = probe(plain(servers.gunicorn(OK.replace("'2'", "'9'"), "--threads", "4")))
    assert found(report) == [("idle-timeout", "504")]


def test_gunicorn_whose_worker_takes_too_long(servers: Servers) -> None:
    """The worker is ended after --timeout, with a word or without."""
    report = probe(plain(servers.gunicorn("__import__('time').sleep(30)", "--timeout", "1")), 20)
    assert report["response"]["status"] == 500
    assert found(report) == []


def test_uvicorn_closes_after_five_seconds(servers: Servers) -> None:
    """The default of --timeout-keep-alive."""
    head = "{'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'2')]}"
    body = "{'type': 'http.response.body', 'body': b'ok'}"
    report = probe(plain(servers.uvicorn(f"await send({head}); await send({body})")), 8)
    closed_after(report, 4.9, 6.0)
    assert "uvicorn: --timeout-keep-alive 13" in report["findings"][0]["fix"]


def test_uvicorn_with_a_body_that_is_too_short(servers: Servers) -> None:
    """It notices, and cuts the connection."""
    head = "{'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'9')]}"
    body = "{'type': 'http.response.body', 'body': b'ok'}"
    port = servers.uvicorn(f"await send({head}); await send({body})", "--http", "h11")
    report = probe(plain(port), 2)
    assert found(report) == [("closed-mid-request", "502")]
    assert rules(report) == ["closed-in-body"]


def test_a_port_that_nobody_listens_on() -> None:
    """Refused, not blocked."""
    report = probe(plain(free_port()))
    assert found(report) == [("connect-refused", "502")]
    assert "not a security group" in report["findings"][0]["why"]


def test_a_target_whose_accept_queue_is_full() -> None:
    """Linux drops what does not fit: the connection attempt is not answered, for ten seconds."""
    with socket.socket() as listener, contextlib.ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = held.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        report = probe(plain(listener.getsockname()[1]))
    assert report["connect"]["outcome"] == "timed-out"
    assert found(report) == [("connect-timeout", "504")]
    assert report["requests_sent"] == 0


def test_progress_and_proxies_are_told_beside_the_report(servers: Servers) -> None:
    """The report alone goes to standard output; a proxy of the environment is not used."""
    done = subprocess.run(
        [program("alb502"), "probe", plain(servers.nginx()), "--idle-timeout", "2s"],
        capture_output=True,
        text=True,
        env={"http_proxy": "http://127.0.0.1:9"},
        timeout=60,
    )
    assert done.returncode == 0
    assert "note: http_proxy is not used" in done.stderr
    assert "holding 3 connections idle for at most 3 s" in done.stderr
    assert done.stdout.startswith("Nothing that a load balancer objects to: GET / on 127.0.0.1:")


def rows(port: int) -> str:
    """Every tenth request was closed at once, six seconds apart from the answer before."""
    lines = []
    for number in range(200):
        second = number * 6
        time = f"2026-11-20T12:{second // 60:02}:{second % 60:02}"
        closed = number % 10 == 1
        times = "0.001 0.005 -1 502 -" if closed else "0.001 0.018 0.000 200 200"
        lines.append(
            f"http {time}.020000Z app/shop/0123456789abcdef 198.51.100.7:40000 127.0.0.1:{port} "
            f'{times} 200 300 "GET http://shop.example.com:80/a HTTP/1.1" "curl/8" - - '
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123 "
            f'"Root=1-0-{number}" "-" "-" 0 {time}.000000Z "forward" "-" "-"\n'
        )
    return "".join(lines)


def diagnosed(folder: Path, port: int, report: dict[str, Any], form: str) -> str:
    """What `alb502 diagnose --probe` says of rows of this target."""
    (folder / "probe.json").write_text(json.dumps(report))
    (folder / "access.log").write_text(rows(port))
    done = subprocess.run(
        [program("alb502"), "diagnose", "access.log", "--probe", "probe.json", "--format", form],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_probe_is_evidence_for_a_diagnosis(servers: Servers, tmp_path: Path) -> None:
    """From the probe of a real server to every form of the message: measured beats inferred."""
    port = servers.gunicorn(OK, "--threads", "4")
    report = probe(plain(port), 5)
    [diagnosis] = json.loads(diagnosed(tmp_path, port, report, "json"))["diagnoses"]
    check = next(it for it in diagnosis["checks"] if it["id"] == "keep-alive-exceeds-idle-timeout")
    assert re.search(r"measured a keep-alive timeout of 2(\.\d)? s", check["summary"]), check
    said = json.dumps(diagnosis["causes"])
    assert "The target closed idle connections after 2" in said, said

    [measured] = diagnosis["facts"]["probes"]
    assert measured["target"] == f"127.0.0.1:{port}"
    assert measured["time"] == report["time"]
    assert measured["keep_alive_seconds"] == report["keep_alive_seconds"]
    assert (measured["connect"], measured["status"]) == ("connected", 200)
    assert measured["response_valid"] is True
    assert found(measured) == [("keepalive-race", "502")]
    SCHEMA.validate(diagnosis)

    text = " ".join(diagnosed(tmp_path, port, report, "text").split())
    assert f"Probe 127.0.0.1:{port} at {report['time'][:10]} " in text, text
    assert "a valid 200; idle connections closed after 2" in text, text
    assert "keepalive-race would be a 502." in text, text

    page = diagnosed(tmp_path, port, report, "html")
    assert "<h3>Probe</h3>" in page
    assert "Idle connections closed after 2" in page
    assert ">would be a 502</span> <b>keepalive-race</b>" in page
    assert re.search(r">measured 2(\.\d)? s</text>", page)


def test_a_probe_that_finds_something_else_is_told(servers: Servers, tmp_path: Path) -> None:
    """The rows look like a race; the target answers what no load balancer takes."""
    write = "(request) => request.socket.write('oops\\nHTTP/1.1 200 OK\\r\\nBad Name: x\\r\\n"
    port = servers.node(write + "Content-Length: 0\\r\\n\\r\\n')")
    report = probe(plain(port))
    [diagnosis] = json.loads(diagnosed(tmp_path, port, report, "json"))["diagnoses"]
    [measured] = diagnosis["facts"]["probes"]
    assert measured["response_valid"] is False
    assert found(measured) == [("malformed-response", "502")]
    assert "malformed-response would be a 502." in diagnosed(tmp_path, port, report, "text")


def test_a_probe_that_was_changed_by_hand_is_refused(servers: Servers, tmp_path: Path) -> None:
    """What no probe of this server can have seen."""
    port = servers.gunicorn(OK, "--threads", "4")
    report = probe(plain(port), 5) | {"keep_alive_seconds": 600.0}
    (tmp_path / "access.log").write_text(rows(port))
    (tmp_path / "probe.json").write_text(json.dumps(report))
    done = subprocess.run(
        [program("alb502"), "diagnose", "access.log", "--probe", "probe.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    said = " ".join(done.stderr.split())
    assert f"the report of 127.0.0.1:{port} says what no probe can have seen" in said
