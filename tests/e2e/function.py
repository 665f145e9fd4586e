"""The real function under the runtime emulator of cargo-lambda."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from cloud import ACCOUNT, REGION
from gateway import Listener, QuietHandler
from processes import ROOT, free_port, program, tool, wait_for_port

# As cargo-lambda knows it: the name of the binary.
NAME = "alb502-lambda"

# The emulator asks cargo for the package around it, and builds nothing of it. It gets an empty one:
# to tell of this whole project takes cargo half a second.
PACKAGE = f"""[package]
name = "{NAME}"
edition = "2024"

[workspace]
"""


@dataclass
class Invocation:
    """What an invocation gave."""

    exit_code: int
    answer: dict[str, Any] | None
    error: str
    seconds: float


class Runtime:
    """Lambda's Runtime API: the emulator of cargo-lambda, with a deadline and an ARN like Lambda's.

    Its deadline is in 1970; this gateway puts a real one in its place. One process is all
    that a runtime serves: the emulator keeps the question of one that is gone.
    """

    def __init__(self, log: Path, seconds: float) -> None:
        self.port = free_port()
        self.seconds = seconds
        package = log.parent / "package"
        (package / "src").mkdir(parents=True, exist_ok=True)
        (package / "Cargo.toml").write_text(PACKAGE)
        (package / "src" / "main.rs").touch()
        self._log = log.open("wb")
        self._emulator = subprocess.Popen(
            [
                *(tool("cargo-lambda"), "lambda", "watch", "--only-lambda-apis"),
                *("--invoke-address", "127.0.0.1", "--invoke-port", str(self.port)),
            ],
            cwd=package,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self._emulator, log)
        runtime = self

        class Handler(QuietHandler):
            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                emulator = HTTPConnection("127.0.0.1", runtime.port)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                emulator.request(self.command, self.path, body, headers)
                response = emulator.getresponse()
                content = response.read()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    name = name.lower()
                    if name == "lambda-runtime-deadline-ms":
                        value = str(int((time.time() + runtime.seconds) * 1000))
                    elif name == "lambda-runtime-invoked-function-arn":
                        value = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:alb502"
                    if name not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = pass_on

        self._gateway = Listener(Handler)
        self.address = f"{self._gateway.url}/.rt/{NAME}"

    def close(self) -> None:
        """Stops the emulator."""
        self._gateway.close()
        # Asked politely it waits for the question that a function always has open.
        self._emulator.kill()
        self._emulator.wait()
        self._log.close()

    def invoke(self, event: object, folder: Path) -> Invocation:
        """Sends an event, as `cargo lambda invoke` does for a person."""
        path = folder / "event.json"
        path.write_text(json.dumps(event))
        started = time.monotonic()
        done = subprocess.run(
            [
                *(tool("cargo-lambda"), "lambda", "invoke", NAME, "--data-file", str(path)),
                *("--invoke-address", "127.0.0.1", "--invoke-port", str(self.port)),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        seconds = time.monotonic() - started
        answer = json.loads(done.stdout) if done.returncode == 0 else None
        return Invocation(done.returncode, answer, _unfolded(done.stderr), seconds)


def _unfolded(error: str) -> str:
    """cargo-lambda folds messages at the width of a terminal, in the middle of words."""
    return re.sub(r"\n  │ ", "", error)


def environment(
    runtime: str, aws: str, keys: tuple[str, str], settings: dict[str, str]
) -> dict[str, str]:
    """What Lambda sets for a function, and where its AWS is."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_LAMBDA_RUNTIME_API": runtime,
        "AWS_LAMBDA_FUNCTION_NAME": NAME,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": aws,
        **settings,
    }


class Function:
    """The binary `alb502-lambda` as a process, with the environment that Lambda gives it."""

    def __init__(
        self,
        aws: str,
        keys: tuple[str, str],
        folder: Path,
        *,
        seconds: float = 30.0,
        **settings: str,
    ) -> None:
        binary = program("alb502-lambda")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "function.log"
        self.runtime = Runtime(folder / "cargo-lambda.log", seconds)
        self._output = self.log.open("wb")
        self.process = subprocess.Popen(
            [binary],
            env=environment(self.runtime.address, aws, keys, settings),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def invoke(self, event: object) -> Invocation:
        """Sends an event to this function."""
        return self.runtime.invoke(event, self.folder)

    def close(self) -> None:
        """Stops the process."""
        self.process.terminate()
        self.process.wait()
        self._output.close()
        self.runtime.close()

    def lines(self) -> list[dict[str, Any]]:
        """The log so far. A line that is not JSON is an error."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]
