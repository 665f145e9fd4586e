"""Programs that run beside a test: where they are, and when they are ready."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class NotReady(Exception):
    """A program is missing or did not start; says what to do."""


def tool(name: str) -> str:
    """A tool of `.ci/tools.txt`, from the folder of this Python."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise NotReady(f"{name} is not installed. Run `make tools`.")
    return str(path)


def program(name: str) -> str:
    """A program of this project, from a debug build."""
    path = TARGET / "debug" / name
    if not path.exists():
        raise NotReady(f"{path} is not built. Run `cargo build --bins`.")
    return str(path)


def environment_at(
    folder: Path, endpoint: str, keys: tuple[str, str] | None = None, region: str | None = None
) -> dict[str, str]:
    """The environment of a person at this folder, who asks AWS at this endpoint."""
    credentials = {"AWS_ACCESS_KEY_ID": keys[0], "AWS_SECRET_ACCESS_KEY": keys[1]} if keys else {}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        **credentials,
        **({"AWS_REGION": region} if region else {}),
    }


# A system gives connections ports of its own choice, from 32768 on (Linux) or 49152 (macOS). Below,
# none takes a port between the question whether it is free and the start of the server. And tests
# run in several processes: each has a thousand ports to itself.
PORTS = range(20_000, 32_000)
PORTS_OF_A_WORKER = 1_000


@cache
def _ports() -> Iterator[int]:
    """Those of this process, none of them twice; another run on this machine begins elsewhere."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = PORTS[worker * PORTS_OF_A_WORKER % len(PORTS)]
    return iter(random.sample(range(first, first + PORTS_OF_A_WORKER), PORTS_OF_A_WORKER))


def free_port() -> int:
    """A port that nobody listens on."""
    for port in _ports():
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise NotReady("No port is free.")


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the program listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise NotReady(f"{process.args} did not start:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
