"""AWS as it was once: answers that the emulator gave, given again after a latency that is chosen.

The emulator of the tests takes longer for a call than AWS does, and not always the same. Its answers are
written down once, and the n-th call of an action gets the n-th of them.
"""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections import defaultdict
from http.server import ThreadingHTTPServer
from pathlib import Path

from gateway import HOP_BY_HOP, Answer, Request, Trouble, action_of
from runtime_api import Connection

# Where Debian, Ubuntu, Fedora and Amazon Linux keep the root certificates.
ROOTS = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
)
# A service is a host of its own, so each has connections of its own.
SERVICES = ("S3", "DYNAMODB", "SNS", "ELASTIC_LOAD_BALANCING_V2", "EC2", "CLOUDWATCH")
ADDRESSES = {
    service: f"127.0.0.{number}" for number, service in enumerate(SERVICES, start=1)
}


class Recorder(Trouble):
    """Writes down what is answered."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = defaultdict(list)

    def answer(self, request: Request, answer: Answer) -> Answer:
        """Changes nothing."""
        self.answers[request.action].append(answer)
        return answer


class Replay:
    """Answers over TLS, as AWS does, with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.latency = 0.0
        self.calls: list[str] = []
        self.connections = 0
        self.published: list[float] = []
        self._lock = threading.Lock()
        certificate, key = folder / "aws.pem", folder / "aws.key"
        make_certificate(certificate, key)
        # The function reads all roots of the system, as in Lambda, and this one.
        self.roots = folder / "roots.pem"
        system = next((it for it in ROOTS if it.exists()), None)
        self.roots.write_bytes(
            (system.read_bytes() if system else b"") + certificate.read_bytes()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        replay = self

        class Handler(Connection):
            def setup(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                with replay._lock:
                    replay.connections += 1
                super().setup()

            def answer(self) -> None:
                body, came = self.body(), time.perf_counter()
                action = action_of(self.command, self.path, self.headers, body)
                with replay._lock:
                    if action == "sns:Publish":
                        replay.published.append(came)
                    known = replay.answers.get(action, [])
                    number = min(replay.calls.count(action), len(known) - 1)
                    replay.calls.append(action)
                if number < 0:
                    return self.reply(500, [], f"{action} was not recorded".encode())
                time.sleep(replay.latency)
                answer = known[number]
                headers = [
                    it for it in answer.headers if it[0].lower() not in HOP_BY_HOP
                ]
                return self.reply(answer.status, headers, answer.body)

            do_GET = do_POST = do_PUT = answer

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                """A function that is stopped hangs up."""

        self.endpoints: dict[str, str] = {}
        self._servers: list[Server] = []
        for service, address in ADDRESSES.items():
            server = Server((address, 0), Handler)
            self._servers.append(server)
            self.endpoints[f"AWS_ENDPOINT_URL_{service}"] = (
                f"https://{address}:{server.server_port}"
            )
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def begin(self, answers: dict[str, list[Answer]], latency: float) -> None:
        """The next invocation gets these answers, each so many seconds late."""
        self.answers, self.latency = answers, latency
        self.calls, self.published, self.connections = [], [], 0

    def close(self) -> None:
        """Stops listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


def make_certificate(certificate: Path, key: Path) -> None:
    """Of an elliptic curve, for the addresses of the services."""
    names = ",".join(f"IP:{address}" for address in ADDRESSES.values())
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ),
            *("-nodes", "-days", "30", "-subj", "/CN=localhost"),
            *(
                "-addext",
                f"subjectAltName={names}",
                "-addext",
                "basicConstraints=CA:FALSE",
            ),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
