"""Copies of the function that run at the same time, die, and are asked again under the same id."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud import ACCOUNT, REGION, Cloud
from function import environment
from gateway import Answer, Gateway, Listener, QuietHandler, Request, Trouble
from processes import program
from refusals import THROTTLED, as_said

# How long Lambda lets it run, in seconds.
TIMEOUT = 30
# Lambda ends it then. Here it has this much longer: the machine may be busy with other things.
GRACE = 60


@dataclass
class Done:
    """What became of one delivery. Neither answer nor error: the process died."""

    answer: Any = None
    error: dict[str, Any] | None = None


class Storm(Trouble):
    """Refuses one of so many requests to the table, and kills the copy at one of its requests."""

    def __init__(self, every: int = 0, kill: tuple[str, int, bool] | None = None) -> None:
        # The action, which one of them, and whether it is still done.
        self.every, self.kill = every, kill
        self.asked = self.seen = self.kills = 0
        self.copy: Copy | None = None
        self.last = ""
        # Whether the copy died after it had published, before it could say so.
        self.unmarked = False

    def instead(self, request: Request) -> Answer | None:
        """Counts, and refuses."""
        if self.kill and request.action == self.kill[0]:
            self.seen += 1
            if self.seen == self.kill[1] and not self.kill[2]:
                self._kill(request)
                return Answer(500, [], b"")
        self.last = request.action
        if not self.every or not request.action.startswith("dynamodb:"):
            return None
        self.asked += 1
        if self.asked % self.every:
            return None
        return as_said(request.action, THROTTLED)

    def answer(self, request: Request, answer: Answer) -> Answer:
        """Kills a copy before it knows that its request was done."""
        if self.kill and request.action == self.kill[0] and self.seen == self.kill[1]:
            self._kill(request)
        return answer

    def _kill(self, request: Request) -> None:
        assert self.copy and self.kill
        if self.kill[2] and request.action == "sns:Publish":
            self.unmarked = True
        if request.action == "dynamodb:PutItem" and self.last == "sns:Publish":
            self.unmarked = True
        self.kill = None
        self.kills += 1
        os.kill(self.copy.process.pid, signal.SIGKILL)
        self.copy.process.wait()

    @property
    def refused(self) -> int:
        """How many requests were refused."""
        return self.asked // self.every if self.every else 0


class Copy:
    """The binary as a process, with a Runtime API of its own.

    The emulator of cargo-lambda gives every delivery another request id, where Lambda tries an
    event again under the same one.
    """

    def __init__(
        self,
        cloud: Cloud,
        keys: tuple[str, str],
        folder: Path,
        settings: dict[str, str],
        storm: Trouble | None = None,
    ) -> None:
        self.gateway = Gateway(cloud.port, cloud.secrets)
        self.gateway.trouble = self.storm = storm or Storm()
        self._to_do: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self._done: queue.Queue[Done] = queue.Queue()
        copy = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                request_id, event, seconds = copy._to_do.get()
                self.send_response(200)
                for name, value in (
                    ("lambda-runtime-aws-request-id", request_id),
                    ("lambda-runtime-deadline-ms", str(int((time.time() + seconds) * 1000))),
                    (
                        "lambda-runtime-invoked-function-arn",
                        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:alb502",
                    ),
                    ("content-type", "application/json"),
                    ("content-length", str(len(event))),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                is_error = self.path.endswith("/error")
                copy._done.put(Done(error=said) if is_error else Done(answer=said))

        self._server = Listener(Handler)
        self._keys, self._settings = keys, settings
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "function.log"
        self._output = self.log.open("ab")
        self.start()

    def start(self) -> None:
        """Starts the process, again when it is dead."""
        runtime = self._server.url
        self.process = subprocess.Popen(
            [program("alb502-lambda")],
            env=environment(runtime, self.gateway.url, self._keys, self._settings),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        if isinstance(self.storm, Storm):
            self.storm.copy = self

    def deliver(self, event: object, request_id: str, seconds: float = TIMEOUT) -> Done:
        """Sends an event and waits for what becomes of it."""
        self._to_do.put((request_id, json.dumps(event).encode(), seconds))
        end = time.monotonic() + seconds + GRACE
        while True:
            try:
                return self._done.get(timeout=0.1)
            except queue.Empty:
                if time.monotonic() > end:
                    self.process.kill()
                    self.process.wait()
                if self.process.poll() is not None:
                    return Done()

    def close(self) -> None:
        """Stops the process."""
        self.process.kill()
        self.process.wait()
        self._output.close()
        self._server.close()
        self.gateway.close()


class Copies:
    """Copies over one table, which begins empty."""

    def __init__(self, cloud: Cloud, keys: tuple[str, str], folder: Path) -> None:
        self.table = cloud.new_table()
        self._cloud, self._keys, self._folder = cloud, keys, folder
        self._started: list[Copy] = []

    def start(self, storm: Storm | None = None) -> Copy:
        """Starts one more."""
        folder = self._folder / f"copy-{len(self._started)}"
        settings = {"ALB502_TOPIC_ARN": self._cloud.topic, "ALB502_TABLE": self.table}
        self._started.append(Copy(self._cloud, self._keys, folder, settings, storm))
        return self._started[-1]

    def close(self) -> None:
        """Stops all."""
        for copy in self._started:
            copy.close()
