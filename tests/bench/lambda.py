"""Times the function of a release build from its start to its first question for an event, and from an
event to the message, against a hello-world of the same build; and writes tests/bench/lambda.md.

`make bench-lambda` builds what it needs. Programs run in turn, so that what else the machine does meets
all of them; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from bench import cpu_model, generated
from cloud import Cloud
from function import NAME, Runtime, environment
from gateway import Answer, Gateway, Trouble
from policy import granted
from replay import Recorder, Replay
from runtime_api import Process, RuntimeApi

import incident

LATENCIES = (0.0, 0.02, 0.05)
ROWS = (10_000, 100_000, 1_000_000)
# Lambda gives a whole processor at this much memory, and a part of it in proportion below.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
WHOLE_PROCESSOR_MB = 1769
MEMORY_MB = (256, 512, 1024, WHOLE_PROCESSOR_MB)
BIG_KEY = (
    "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/18/"
    "123456789012_elasticloadbalancing_eu-west-1_app.big.0123456789abcdef_"
    "20261118T0235Z_203.0.113.16_{}rows.log.gz"
)

# What stands before it in the file was written by hand.
MARKER = "<!-- measured by make bench-lambda -->"

Answers = dict[str, list[Answer]]


class World:
    """The two functions, and what they talk to."""

    def __init__(self, release: Path, folder: Path) -> None:
        self.real, self.hello = release / NAME, release / "examples" / "hello"
        self.folder, self.release = folder, release
        self.api = RuntimeApi()
        self.replay = Replay(folder)

    def variables(self, runtime: str) -> dict[str, str]:
        """The environment of a function that asks this runtime for events."""
        keys = ("AKIAEXAMPLE", "secret")
        variables = environment(runtime, "", keys, self.settings)
        del variables["AWS_ENDPOINT_URL"]
        return (
            variables
            | self.replay.endpoints
            | {"SSL_CERT_FILE": str(self.replay.roots)}
        )

    def start(self, binary: Path) -> Process:
        """A new process of one of them."""
        log = self.folder / "function.log"
        return Process(self.api, binary, self.variables(self.api.address), log)

    def record(self) -> None:
        """Asks the emulator of the tests once, for each event."""
        cloud = Cloud(self.folder / "moto.log")
        gateway = Gateway(cloud.port, cloud.secrets)
        try:
            cloud.load(incident.SNAPSHOT)
            event = incident.move(cloud, incident.event("s3-blocked-port.json"))
            worst = cloud.renamed(
                incident.worst(incident.event("s3-blocked-port.json"))
            )
            event["Records"] = [incident.one_record(event, worst)]
            events = {"incident": event}
            for rows in ROWS:
                key = BIG_KEY.format(rows)
                cloud.put_object(key, generated(self.release, rows, 33, 1).read_bytes())
                big = incident.one_record(event, key)
                events[f"{rows}"] = {"Records": [big]}
            cloud.enforce_permissions()
            keys = cloud.user("alb502", granted())
            self.settings = {
                "ALB502_TOPIC_ARN": cloud.topic,
                "ALB502_TABLE": "alb502",
                # The bundled incident is of one day.
                **incident.EVER,
            }
            self.recorded: dict[str, tuple[Any, Answers]] = {}
            for name, event in events.items():
                recorder = Recorder()
                gateway.trouble = recorder
                self.settings["ALB502_TABLE"] = cloud.new_table()
                variables = environment(
                    self.api.address, gateway.url, keys, self.settings
                )
                process = Process(
                    self.api, self.real, variables, self.folder / "recorded.log"
                )
                process.invoke(event)
                process.close()
                self.recorded[name] = (event, dict(recorder.answers))
        finally:
            gateway.trouble = Trouble()
            gateway.close()
            cloud.close()

    def close(self) -> None:
        """Stops everything."""
        self.api.close()
        self.replay.close()


def starts(world: World, rounds: int) -> str:
    """From the start of the process to the first question for an event."""
    wall: dict[Path, list[float]] = {world.hello: [], world.real: []}
    processor: dict[Path, list[float]] = {world.hello: [], world.real: []}
    peak: dict[Path, float] = {}
    for _ in range(rounds):
        for binary, times in wall.items():
            process = world.start(binary)
            times.append(process.start)
            processor[binary].append(process.start_processor)
            peak[binary] = process.peak_mb()
            process.close()
    base = median(wall[world.hello])
    table = [
        "| program | wall, ms: median | 1st to 3rd quarter | times hello-world | processor, ms | memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for binary, name in ((world.hello, "hello-world"), (world.real, "alb502")):
        low, middle, high = quantiles(wall[binary], n=4)
        table.append(
            f"| {name} | {middle * 1e3:.1f} | {low * 1e3:.1f} to {high * 1e3:.1f} |"
            f" {middle / base:.2f} | {median(processor[binary]) * 1e3:.1f} | {peak[binary]:.0f} |"
        )
    return "\n".join(table)


def messages(world: World, rounds: int) -> str:
    """From an event to the message and to the answer, for a process that is new and for one that is not."""
    event, answers = world.recorded["incident"]
    seen: dict[tuple[float, str], list[tuple[float, float, float]]] = {}
    calls = connections = 0
    echo: list[float] = []
    for _ in range(rounds):
        hello = world.start(world.hello)
        given, answered = hello.invoke(event)
        echo.append(answered - given)
        hello.close()
        for latency in LATENCIES:
            process = world.start(world.real)
            for which in ("first", "next"):
                world.replay.begin(answers, latency)
                before = process.processor()
                given, answered = process.invoke(event)
                used = process.processor() - before
                # The incident is of long ago: that it is over is said in the same breath.
                if not world.replay.published:
                    raise SystemExit(f"no message: {process.log()[-3000:]}")
                if which == "first":
                    calls, connections = (
                        len(world.replay.calls),
                        world.replay.connections,
                    )
                said = world.replay.published[0] - given
                seen.setdefault((latency, which), []).append(
                    (said, answered - given, used)
                )
            process.close()
    table = [
        "| AWS answers after | event | to the message, ms | to the answer, ms | processor, ms |",
        "|---|---|---|---|---|",
    ]
    for (latency, which), times in seen.items():
        said, answered, used = (median(it) * 1e3 for it in zip(*times, strict=True))
        table.append(
            f"| {latency * 1e3:.0f} ms | {which} | {said:.1f} | {answered:.1f} | {used:.1f} |"
        )
    return "\n".join(
        [
            f"The event is one object of the bundled incident; {calls} calls of AWS over",
            f"{connections} new TLS connections the first time. Hello-world answers its first event in",
            f"{median(echo) * 1e3:.1f} ms.",
            "",
            *table,
        ]
    )


def memory(world: World) -> str:
    """Objects of many rows: memory, and how long with the part of a processor that memory buys."""
    shares = " | ".join(f"{it:,} MB, s" for it in MEMORY_MB)
    table = [
        f"| rows | object, MB | peak memory, MB | processor, s | {shares} |",
        "|---" * (4 + len(MEMORY_MB)) + "|",
    ]
    for rows in ROWS:
        event, answers = world.recorded[f"{rows}"]
        measured = []
        for _ in range(3):
            process = world.start(world.real)
            world.replay.begin(answers, 0.0)
            process.invoke(event)
            measured.append((process.processor(), process.peak_mb()))
            process.close()
        used, peak = (median(it) for it in zip(*measured, strict=True))
        size = len(answers["s3:GetObject"][0].body) / 1e6
        waits = " | ".join(f"{used * WHOLE_PROCESSOR_MB / it:.2f}" for it in MEMORY_MB)
        table.append(f"| {rows:,} | {size:.1f} | {peak:.0f} | {used:.2f} | {waits} |")
    return "\n".join(table)


def under_the_emulator(world: World, rounds: int) -> str:
    """The event waits already when the process starts: from there to the answer, with cargo-lambda's."""
    event, answers = world.recorded["incident"]
    took: dict[Path, list[float]] = {world.hello: [], world.real: []}
    for _ in range(rounds):
        for binary, times in took.items():
            runtime = Runtime(world.folder / "cargo-lambda.log", 60.0)
            world.replay.begin(answers, 0.0)
            times.append(answered(world, runtime, binary, event))
            runtime.close()
    hello, real = (median(took[it]) * 1e3 for it in (world.hello, world.real))
    return (
        f"From the start of the process to the answer of an event that waits for it: hello-world "
        f"{hello:.0f} ms, alb502 {real:.0f} ms."
    )


def answered(world: World, runtime: Runtime, binary: Path, event: object) -> float:
    """Seconds from the start of the process to the answer."""
    connection = HTTPConnection("127.0.0.1", runtime.port, timeout=60)
    path = f"/2015-03-31/functions/{NAME}/invocations"

    def ask() -> None:
        connection.request(
            "POST", path, json.dumps(event), {"content-type": "application/json"}
        )
        reply = connection.getresponse()
        if reply.status != 200:
            print(
                f"the emulator answered {reply.status}: {reply.read().decode()}",
                file=sys.stderr,
            )

    waiting = threading.Thread(target=ask)
    waiting.start()
    time.sleep(0.3)
    variables = world.variables(runtime.address)
    began = time.perf_counter()
    process = subprocess.Popen(
        [binary], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    waiting.join(60)
    took = time.perf_counter() - began
    process.kill()
    process.wait()
    return took


def size(binary: Path) -> str:
    """Of the program, and of a zip as cargo-lambda makes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bootstrap.zip"
        with zipfile.ZipFile(
            path, "w", zipfile.ZIP_DEFLATED, compresslevel=9
        ) as packed:
            packed.write(binary, "bootstrap")
        whole, zipped = binary.stat().st_size, path.stat().st_size
    return f"{whole / 1e6:.2f} | {zipped / 1e6:.2f}"


def main() -> None:
    """Measures, and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, default=HERE / "lambda.md")
    arguments = parser.parse_args()
    release = arguments.release.absolute()
    parts: list[str] = []

    def part(title: str, measure: Callable[[], str]) -> None:
        parts.append(f"## {title}\n\n{measure()}")
        print(parts[-1], end="\n\n", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        world = World(release, Path(folder))
        try:
            world.record()
            load = os.getloadavg()[0]
            part("Start", lambda: starts(world, arguments.rounds))
            part(
                "From the event to the message",
                lambda: messages(world, arguments.rounds),
            )
            part("Memory", lambda: memory(world))
            part("Under cargo-lambda's emulator", lambda: under_the_emulator(world, 5))
        finally:
            world.close()
    sizes = [
        "| program | binary, MB | zip, MB |",
        "|---|---|---|",
        f"| hello-world | {size(world.hello)} |",
        f"| alb502 | {size(world.real)} |",
    ]
    parts.insert(0, "## Size\n\n" + "\n".join(sizes))
    head = f"{cpu_model()}, {os.cpu_count()} cores, load {load:.1f} when it began."
    head += f" {arguments.rounds} rounds; the lines of memory 3, the emulator 5."
    before, _, _ = arguments.out.read_text().partition(MARKER)
    arguments.out.write_text("\n\n".join([before + MARKER, head, *parts]) + "\n")


if __name__ == "__main__":
    main()
