"""Lambda's Runtime API in this process: it sees to the microsecond when a function asks for an event, and
when it answers.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import queue
import subprocess
import time
from pathlib import Path

from gateway import Listener, QuietHandler

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:alb502"
# Long enough for the largest object on a slow machine.
PATIENCE = 120.0


class Connection(QuietHandler):
    """An answer is one packet."""

    wbufsize = -1

    def handle_one_request(self) -> None:
        """Takes a connection that ends in the middle of an answer for what it is, too."""
        try:
            super().handle_one_request()
        except ValueError:
            self.close_connection = True

    def body(self) -> bytes:
        """What was sent."""
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Sends everything at once."""
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class RuntimeApi:
    """Serves one function process after another."""

    def __init__(self) -> None:
        self.events: queue.Queue[bytes] = queue.Queue()
        self.polled: queue.Queue[float] = queue.Queue()
        self.answered: queue.Queue[tuple[float, str, bytes]] = queue.Queue()
        api = self

        class Handler(Connection):
            def do_GET(self) -> None:
                api.polled.put(time.perf_counter())
                event = api.events.get()
                deadline = str(int((time.time() + PATIENCE) * 1000))
                headers = [
                    (
                        "lambda-runtime-aws-request-id",
                        "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                    ),
                    ("lambda-runtime-deadline-ms", deadline),
                    ("lambda-runtime-invoked-function-arn", ARN),
                    ("content-type", "application/json"),
                ]
                self.reply(200, headers, event)

            def do_POST(self) -> None:
                body = self.body()
                api.answered.put(
                    (time.perf_counter(), self.path.rsplit("/", 1)[1], body)
                )
                self.reply(202, [], b"")

        self._server = Listener(Handler)
        self.address = self._server.url.removeprefix("http://")

    def close(self) -> None:
        """Stops listening."""
        self._server.close()


class Process:
    """A function, started; `start` is the time from there to its first question for an event."""

    def __init__(
        self, api: RuntimeApi, binary: Path, environment: dict[str, str], log: Path
    ) -> None:
        self.api = api
        # A process that was stopped may have left a question behind.
        while not api.polled.empty():
            api.polled.get_nowait()
        self._log = log.open("wb")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [binary], env=environment, stdout=self._log, stderr=subprocess.STDOUT
        )
        try:
            self.start = api.polled.get(timeout=PATIENCE) - began
        except queue.Empty:
            raise SystemExit(
                f"{binary} asked for no event:\n{log.read_text()[-2000:]}"
            ) from None
        self.start_processor = self.processor()

    def invoke(self, event: object) -> tuple[float, float]:
        """When the event was given, and when it was answered. An error ends everything."""
        given = time.perf_counter()
        self.api.events.put(json.dumps(event).encode())
        answered, kind, body = self.api.answered.get(timeout=PATIENCE)
        if kind != "response":
            raise SystemExit(
                f"the function failed: {body.decode()}\n{self.log()[-3000:]}"
            )
        self.api.polled.get(timeout=PATIENCE)
        return given, answered

    def log(self) -> str:
        """What it wrote."""
        return Path(self._log.name).read_text()

    def peak_mb(self) -> float:
        """The most memory that it had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [it for it in status.splitlines() if it.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024

    def processor(self) -> float:
        """Seconds of processor time so far."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def close(self) -> None:
        """Stops it, and lets the question that it has open go."""
        self.process.kill()
        self.process.wait()
        self._log.close()
        self.api.events.put(b"{}")
