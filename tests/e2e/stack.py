"""The stack of template.yaml, deployed as a person does it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from cloud import ACCOUNT, REGION
from emulator import Emulator
from processes import ROOT, program, tool

NAME = "alb502"
ARTIFACTS = "artifacts"

# For `cargo lambda build` the binary is what the tests have built already: an optimised one would
# take another ten minutes, and run no differently. Everything else goes to cargo.
CARGO = """#!/bin/sh
set -e
if [ "$1 $2" = "lambda build" ]; then
    test "$*" = "lambda build --release --bin alb502-lambda"
    mkdir -p "$CARGO_TARGET_DIR/lambda/alb502-lambda"
    cp {binary} "$CARGO_TARGET_DIR/lambda/alb502-lambda/bootstrap"
else
    exec {cargo} "$@"
fi
"""


class Stack:
    """A deployed stack, the bucket that it watches, and a queue that is subscribed to its topic."""

    def __init__(self, emulator: Emulator, folder: Path, bucket: str) -> None:
        self.emulator, self.folder, self.bucket = emulator, folder, bucket
        self.template = folder / "build" / "template.yaml"
        self.queue = ""
        s3 = emulator.client("s3")
        for name in (bucket, ARTIFACTS):
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})

    def build(self) -> None:
        """`sam build` of the real template."""
        binary = self.folder / "stripped"
        subprocess.run(["strip", "-o", binary, program("alb502-lambda")], check=True)
        cargo = shutil.which("cargo")
        path = self.folder / "bin" / "cargo"
        path.parent.mkdir()
        path.write_text(CARGO.format(binary=binary, cargo=cargo))
        path.chmod(0o755)
        home = Path.home()
        self.emulator.run(
            self.folder,
            *(tool("sam"), "build", "--template", str(ROOT / "template.yaml")),
            *("--build-dir", str(self.template.parent)),
            *("--parameter-overrides", "Architecture=x86_64"),
            PATH=f"{path.parent}:{Path(tool('sam')).parent}:{os.environ['PATH']}",
            CARGO_TARGET_DIR=str(self.folder / "cargo-target"),
            CARGO_HOME=os.environ.get("CARGO_HOME", str(home / ".cargo")),
            RUSTUP_HOME=os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
        )

    def deploy(self, **parameters: str) -> None:
        """`sam deploy`: makes the stack, or changes it."""
        # The emulator knows no saved queries, which come with the dashboard.
        fixed = {"Architecture": "x86_64", "Dashboard": "false", "LogBucket": self.bucket}
        given = {**fixed, **parameters}
        self.emulator.run(
            self.folder,
            *(tool("sam"), "deploy", "--template-file", str(self.template)),
            *("--stack-name", NAME, "--s3-bucket", ARTIFACTS),
            *("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"),
            *("--parameter-overrides", *(f"{name}={value}" for name, value in given.items())),
        )

    def subscribe(self) -> None:
        """A queue that gets the messages, in the form for machines."""
        sqs = self.emulator.client("sqs")
        self.queue = sqs.create_queue(QueueName="reader")["QueueUrl"]
        self.emulator.client("sns").subscribe(
            TopicArn=self.outputs()["TopicArn"],
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:reader",
        )

    def outputs(self) -> dict[str, str]:
        """What the stack says about itself."""
        described = self.emulator.client("cloudformation").describe_stacks(StackName=NAME)
        [stack] = described["Stacks"]
        assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), stack
        return {it["OutputKey"]: it["OutputValue"] for it in stack["Outputs"]}

    def next_command(self) -> str:
        """Does what the output NextCommand says."""
        name, *arguments = shlex.split(self.outputs()["NextCommand"])
        return self.emulator.run(self.folder, program(name), *arguments)

    def detach(self) -> str:
        """What a person does before the stack is deleted."""
        bucket = f"s3://{self.bucket}"
        return self.emulator.run(self.folder, program("alb502"), "attach", bucket, "--remove")

    def put(self, key: str, content: bytes) -> None:
        """A load balancer delivers a log object."""
        self.emulator.client("s3").put_object(Bucket=self.bucket, Key=key, Body=content)

    def message(self, seconds: float = 60) -> dict[str, Any]:
        """The next message, as soon as it is there."""
        sqs = self.emulator.client("sqs")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = sqs.receive_message(QueueUrl=self.queue, WaitTimeSeconds=5)
            for message in answer.get("Messages", []):
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
                return json.loads(json.loads(message["Body"])["Message"])
        raise AssertionError(f"no message came\n{self.story()}")

    def no_message(self) -> None:
        """Nothing has arrived. To be asked when what could have sent one is over."""
        sqs = self.emulator.client("sqs")
        assert "Messages" not in sqs.receive_message(QueueUrl=self.queue), self.story()

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The lines of the function's log with this message."""
        logs = self.emulator.client("logs")
        found = logs.filter_log_events(logGroupName=self.outputs()["LogGroupName"])["events"]
        lines = [json.loads(it["message"]) for it in found if it["message"].startswith("{")]
        return [line for line in lines if line.get("message") == message]

    def wait_for_objects(self, number: int, seconds: float = 60) -> None:
        """Until so many objects were read, and the invocations that read them are over."""
        deadline = time.monotonic() + seconds
        while len(self.lines("object read")) < number:
            assert time.monotonic() < deadline, self.story()

    def configuration(self) -> dict[str, Any]:
        """What the bucket tells to whom."""
        s3 = self.emulator.client("s3")
        answer = s3.get_bucket_notification_configuration(Bucket=self.bucket)
        answer.pop("ResponseMetadata")
        return answer

    def resources(self) -> list[str]:
        """What is there of the kinds that the stack makes, by ARN or name."""
        client = self.emulator.client
        functions = client("lambda").list_functions()["Functions"]
        rules = client("events").list_rules()["Rules"]
        queues = client("sqs").list_queues().get("QueueUrls", [])
        own = f"{NAME}-"
        return [
            *(it["FunctionArn"] for it in functions),
            *client("dynamodb").list_tables()["TableNames"],
            *(it["TopicArn"] for it in client("sns").list_topics()["Topics"] if own in str(it)),
            *(it["Arn"] for it in rules if own in it["Name"]),
            *(it for it in queues if own in it),
            *(it["AlarmName"] for it in client("cloudwatch").describe_alarms()["MetricAlarms"]),
            *(it["RoleName"] for it in client("iam").list_roles()["Roles"] if own in str(it)),
            *(it["logGroupName"] for it in client("logs").describe_log_groups()["logGroups"]),
        ]

    def delete(self) -> None:
        """`sam delete`."""
        self.emulator.run(self.folder, tool("sam"), "delete", "--stack-name", NAME, "--no-prompts")

    def story(self) -> str:
        """What the function said, for the text of a failure."""
        logs = self.emulator.client("logs")
        group = {"logGroupName": self.outputs()["LogGroupName"]}
        said = [it["message"] for it in logs.filter_log_events(**group)["events"]]
        return "\n".join(said[-40:]) + "\n" + self.emulator.story()
