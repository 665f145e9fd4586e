"""An HTTP gateway between the function and AWS: it writes down every request, and makes the trouble
that an emulator does not make."""

from __future__ import annotations

import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

import monitoring
from cloud import REGION

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class Request:
    """What the function asked for."""

    action: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False, default=b"")


@dataclass
class Answer:
    """What goes back, whole or as the trouble wants it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


# moto looks at a condition and writes without a lock in between: so one request at a time.
ONE_AT_A_TIME = threading.Lock()


class Trouble:
    """Passes everything on. Subclasses do otherwise for the requests that they are about."""

    def instead(self, request: Request) -> Answer | None:
        """What is answered without passing the request on."""

    def before(self, request: Request) -> None:
        """Called before the request is passed on."""

    def after(self, request: Request) -> None:
        """Called when the request is over, also where it could not be answered."""

    def answer(self, request: Request, answer: Answer) -> Answer:
        """May change the answer."""
        return answer

    def send(self, request: Request, body: bytes, write: Callable[[bytes], None]) -> None:
        """Writes the body."""
        write(body)


class SlowBody(Trouble):
    """GetObject comes in so many pieces, each after a pause."""

    def __init__(self, pieces: int, pause: float) -> None:
        self.pieces, self.pause = pieces, pause

    def send(self, request: Request, body: bytes, write: Callable[[bytes], None]) -> None:
        """Writes piece after piece."""
        if request.action != "s3:GetObject":
            return write(body)
        # Rounded up: with the rest in one piece more, the length would say how long it takes.
        size = -(-len(body) // self.pieces)
        for start in range(0, len(body), size):
            time.sleep(self.pause)
            write(body[start : start + size])
        return None


class CutBody(Trouble):
    """The body of GetObject breaks off in the middle, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def send(self, request: Request, body: bytes, write: Callable[[bytes], None]) -> None:
        """Writes a half and hangs up."""
        if request.action != "s3:GetObject" or self.left == 0:
            return write(body)
        self.left -= 1
        write(body[: len(body) // 2])
        raise ConnectionAbortedError


class StalledBody(Trouble):
    """So many times GetObject sends this fraction of the body, and then nothing."""

    def __init__(self, fraction: float, times: int) -> None:
        self.fraction, self.left = fraction, times
        self.over = threading.Event()

    def send(self, request: Request, body: bytes, write: Callable[[bytes], None]) -> None:
        """Writes the first part and waits until it is told to end."""
        if request.action != "s3:GetObject" or self.left == 0:
            return write(body)
        self.left -= 1
        write(body[: int(len(body) * self.fraction)])
        self.over.wait(60)
        raise ConnectionAbortedError


class SilentAction(Trouble):
    """One action does not answer until it is told to end."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.over = threading.Event()

    def before(self, request: Request) -> None:
        """Waits."""
        if request.action == self.action:
            self.over.wait(60)


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps connections open, and says nothing when the other side hangs up."""

    protocol_version = "HTTP/1.1"
    # Head and body are written one after the other: the second does not wait for the answer to
    # the first.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Writes no access log."""

    def handle_one_request(self) -> None:
        """Takes a connection that ends for what it is."""
        try:
            super().handle_one_request()
        except (ConnectionError, HTTPException, TimeoutError):
            self.close_connection = True


class Listener(ThreadingHTTPServer):
    """Answers on a free port, each connection in a thread, until it is closed."""

    daemon_threads = True
    # Connections that wait to be taken; one too many would come again after a second.
    request_queue_size = 128
    # How often it looks whether it is closed, in seconds: by default twice a second, for which
    # every test would wait.
    LOOKS = 0.02

    def __init__(self, handler: type[QuietHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(self.LOOKS,), daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self.shutdown()
        self.server_close()


class Gateway:
    """Listens on a port of its own and passes requests on to AWS."""

    def __init__(self, port_of_aws: int, secrets: dict[str, str]) -> None:
        self.requests: list[Request] = []
        self.trouble = Trouble()
        gateway = self

        class Handler(QuietHandler):
            def pass_on(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                request = Request(
                    action_of(self.command, self.path, self.headers, body),
                    self.path,
                    dict(urllib.parse.parse_qsl(body.decode("latin-1"))),
                    dict(self.headers),
                    body,
                )
                gateway.requests.append(request)
                trouble = gateway.trouble
                try:
                    trouble.before(request)
                    self.answer(request, trouble)
                finally:
                    trouble.after(request)

            def answer(self, request: Request, trouble: Trouble) -> None:
                # The signature covers the host: it goes on as it came.
                headers = dict(self.headers)
                path, body = self.path, request.body
                if request.action == "sns:Publish":
                    body, headers = _signed_anew(request, secrets)
                is_cbor = path.startswith(monitoring.OPERATION)
                if is_cbor:
                    signer = _credentials(request, secrets)
                    body, headers = monitoring.request_as_json(
                        path, body, request.headers, signer, "eu-west-1"
                    )
                    path = "/"
                answer = trouble.instead(request)
                if answer is None:
                    is_table = request.action.startswith("dynamodb:")
                    with ONE_AT_A_TIME if is_table else nullcontext():
                        upstream = HTTPConnection("127.0.0.1", port_of_aws, timeout=60)
                        upstream.request(self.command, path, body, headers)
                        response = upstream.getresponse()
                        answer = Answer(response.status, response.getheaders(), response.read())
                        upstream.close()
                if is_cbor:
                    answer.headers = [("smithy-protocol", "rpc-v2-cbor")]
                    answer.body = monitoring.answer_as_cbor(answer.status, answer.body)
                answer = trouble.answer(request, answer)
                self.send_response(answer.status)
                for name, value in answer.headers:
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                trouble.send(request, answer.body, self.wfile.write)

            do_GET = do_POST = do_PUT = do_HEAD = pass_on

        self._server = Listener(Handler)
        self.url = self._server.url

    def client(self, service: str, keys: tuple[str, str]) -> Any:  # noqa: ANN401
        """A client that asks through it, and asks once."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=Config(retries={"total_max_attempts": 1}),
        )

    def close(self) -> None:
        """Stops listening."""
        self._server.close()


def _signed_anew(request: Request, secrets: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """The same request with a signature that moto can check.

    moto puts the body together again from its parameters, in Python's way of encoding them, and a
    long text with line breaks comes out differently. AWS checks the bytes.
    """
    form = "application/x-www-form-urlencoded"
    host = {"Host": request.headers["host"], "Content-Type": form}
    anew = AWSRequest("POST", f"http://{host['Host']}/", data=request.parameters, headers=host)
    SigV4Auth(_credentials(request, secrets), "sns", REGION).add_auth(anew)
    prepared = anew.prepare()
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    return body, dict(prepared.headers)


def _credentials(request: Request, secrets: dict[str, str]) -> Credentials:
    """Whose request it is."""
    key = request.headers["authorization"].split("Credential=")[1].split("/")[0]
    return Credentials(key, secrets.get(key, "unknown"))


# By the version that the Query protocol names.
SERVICES = {
    "2010-03-31": "sns",
    "2011-06-15": "sts",
    "2015-12-01": "elasticloadbalancing",
    "2016-11-15": "ec2",
}
# By a word of the query.
OF_S3 = {
    ("GET", "list-type"): "s3:ListBucket",
    ("GET", "versionId"): "s3:GetObjectVersion",
    ("GET", "notification"): "s3:GetBucketNotification",
    ("PUT", "notification"): "s3:PutBucketNotification",
}


def action_of(method: str, path: str, headers: Message, body: bytes) -> str:
    """The IAM action of a request."""
    _, is_table, action = headers.get("x-amz-target", "").partition("DynamoDB_20120810.")
    if is_table:
        return f"dynamodb:{action}"
    if path.startswith(monitoring.OPERATION):
        return monitoring.POLICY + path.removeprefix(monitoring.OPERATION)
    parameters = dict(urllib.parse.parse_qsl(body.decode("latin-1")))
    if "Action" in parameters:
        service = SERVICES.get(parameters.get("Version", ""), parameters.get("Version", "?"))
        return f"{service}:{parameters['Action']}"
    query = urllib.parse.parse_qs(path.partition("?")[2], keep_blank_values=True)
    of_s3 = [OF_S3[method, word] for word in query if (method, word) in OF_S3]
    return (of_s3 or ["s3:GetObject" if method == "GET" else f"s3:{method} {path}"])[0]
