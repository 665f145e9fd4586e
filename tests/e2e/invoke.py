"""The whole way of one event on this machine: `make invoke EVENT=events/s3-blocked-port.json`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import incident
from cloud import Cloud
from function import Function
from gateway import Gateway
from policy import granted
from processes import ROOT, TARGET, NotReady


def main() -> int:
    """Runs the function on an event; 0 when the invocation succeeded."""
    parser = argparse.ArgumentParser(
        description="Runs the Lambda function on an event, in an emulated AWS on this machine."
    )
    parser.add_argument("event", type=Path, help="a file of events/")
    path: Path = parser.parse_args().event
    try:
        event = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        print(f"{path}: {error}\nGive one of these:", file=sys.stderr)
        for known in sorted(incident.EVENTS.glob("*.json")):
            print(f"  make invoke EVENT={known.relative_to(ROOT)}", file=sys.stderr)
        return 2
    folder = TARGET / "invoke" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("body-*.txt"):
        old.unlink()
    try:
        return run(event, folder)
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1


def run(event: dict[str, Any] | list[Any], folder: Path) -> int:
    """Sets up the cloud, sends the event and shows what came of it."""
    step(1, "An emulated AWS (moto): S3, ELBv2, EC2, CloudWatch, IAM, SNS, SQS, DynamoDB")
    cloud = Cloud(folder / "moto.log")
    gateway = function = None
    try:
        cloud.load(incident.SNAPSHOT)
        event = incident.move(cloud, event)
        cloud.enforce_permissions()
        role = cloud.user("alb502", granted())
        gateway = Gateway(cloud.port, cloud.secrets)
        say(f"it listens on {cloud.url}, and holds what events/local/aws")
        say("describes, with ids of its own; template.yaml says what may be called")

        step(2, "The function (alb502-lambda) under the runtime emulator of cargo-lambda")
        settings = {"ALB502_TOPIC_ARN": cloud.topic, "ALB502_TABLE": cloud.new_table()}
        function = Function(gateway.url, role, folder, **settings, **incident.EVER)
        records = len(event if isinstance(event, list) else event.get("Records", [event]))
        step(3, f"The event, {records} records, sent with cargo lambda invoke")
        done = function.invoke(event)
        say(f"took {done.seconds:.2f} s, start of the function included")

        step(4, "What the function asked AWS for")
        for action, times in Counter(request.action for request in gateway.requests).items():
            say(f"{times:3} x {action}")
        step(5, "Its log")
        for line in function.lines():
            say(f"{line['level']:<5} {line['message']}{numbers(line)}")
        messages = cloud.messages()
        show(messages, gateway, folder)
        print(f"\nThe function answered {json.dumps(done.answer) if done.answer else done.error}")
        print(f"Files are in {shown(folder)}: event.json, function.log, moto.log")
        return done.exit_code
    finally:
        for it in (function, gateway, cloud):
            if it:
                it.close()


def show(messages: list[dict[str, Any]], gateway: Gateway, folder: Path) -> None:
    """The messages as their readers get them."""
    step(6, f"Messages in a queue that is subscribed to the topic: {len(messages)}")
    published = [it.parameters for it in gateway.requests if it.action == "sns:Publish"]
    for number, parameters in enumerate(published, start=1):
        bodies = json.loads(parameters["Message"])
        for protocol, body in bodies.items():
            (folder / f"body-{number}-{protocol}.txt").write_text(body)
            say(f"{len(body.encode()):7} bytes for {protocol}")
        say(f"each is in a file {shown(folder)}/body-{number}-<protocol>.txt")
        print(f"\nSubject: {parameters['Subject']}\n\n{bodies['email']}")


NUMBERS = ("entries", "malformed", "calls", "gaps", "failures", "requests", "cause", "reason")


def numbers(line: dict[str, Any]) -> str:
    """The fields of a log line that tell most."""
    told = [f"{name}={line[name]}" for name in NUMBERS if name in line]
    return f" ({', '.join(told)})" if told else ""


def shown(path: Path) -> str:
    """A path as a person would type it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def step(number: int, text: str) -> None:
    """A heading."""
    print(f"\n{number}. {text}", flush=True)


def say(text: str) -> None:
    """A line below a heading."""
    print(f"   {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
