"""What a person runs once for a bucket: `alb502 attach`, on a bucket that others use too.

moto does not tell whether EventBridge is switched on: that is tested in test_deploy.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud import ACCOUNT, REGION
from conftest import World
from gateway import Answer, Request, Trouble
from processes import environment_at, program

FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:alb502"
ACTIONS = ["s3:GetBucketNotification", "s3:PutBucketNotification"]


class Shared:
    """A bucket with entries of others, and a person who may attach it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.s3 = world.cloud.client("s3")
        self.name = folder.name.replace("_", "-")
        location = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=self.name, CreateBucketConfiguration=location)
        topic, queue = world.cloud.topic, f"arn:aws:sqs:{REGION}:{ACCOUNT}:alb502-reader"
        prefix = {"Name": "prefix", "Value": "images/"}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.name,
            NotificationConfiguration={
                "TopicConfigurations": [
                    {"Id": "removed", "TopicArn": topic, "Events": ["s3:ObjectRemoved:*"]}
                ],
                "QueueConfigurations": [
                    {
                        "Id": "thumbnails",
                        "QueueArn": queue,
                        "Events": ["s3:ObjectCreated:Put", "s3:ObjectCreated:Copy"],
                        "Filter": {
                            "Key": {"FilterRules": [prefix, {"Name": "suffix", "Value": ".png"}]}
                        },
                    }
                ],
                "LambdaFunctionConfigurations": [
                    {
                        "Id": "audit",
                        "LambdaFunctionArn": FUNCTION.replace("alb502", "audit"),
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "audit/"}]}},
                    }
                ],
            },
        )
        self.keys = world.cloud.user(f"{self.name}-person", ACTIONS)

    def configuration(self) -> dict[str, Any]:
        """What the bucket has."""
        answer = self.s3.get_bucket_notification_configuration(Bucket=self.name)
        answer.pop("ResponseMetadata")
        return answer

    def attach(
        self, *arguments: str, url: str = "", code: int = 0, trouble: Trouble | None = None
    ) -> str:
        """Runs the command, and returns everything that it said."""
        self.world.gateway.trouble = trouble or Trouble()
        self.world.gateway.requests = []
        done = subprocess.run(
            [program("alb502"), "attach", url or f"s3://{self.name}", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment_at(self.folder, self.world.gateway.url, self.keys, REGION),
        )
        # What is said beside the output fits a terminal: where a line breaks is no matter here.
        said = done.stdout + " ".join(done.stderr.split())
        assert done.returncode == code, said
        return said

    @property
    def writes(self) -> int:
        """How often the configuration was written in the last run."""
        return sum("Put" in request.action for request in self.world.gateway.requests)


@pytest.fixture
def shared(world: World, tmp_path: Path) -> Iterator[Shared]:
    """A bucket of this test's own."""
    shared = Shared(world, tmp_path)
    yield shared
    shared.s3.delete_bucket(Bucket=shared.name)


def test_entries_of_others_survive(shared: Shared) -> None:
    """In, again, elsewhere, and out: what was there is there."""
    before = shared.configuration()
    said = shared.attach("--function", FUNCTION, url=f"s3://{shared.name}/prod/web")
    assert f"New objects prod/web/AWSLogs/*.log.gz are told to {FUNCTION}" in said
    assert "Read back" in said and "thumbnails ->" in said
    after = shared.configuration()
    [audit, ours] = after.pop("LambdaFunctionConfigurations")
    assert [audit] == before["LambdaFunctionConfigurations"]
    assert {name: before[name] for name in after} == after
    assert (ours["Id"], ours["LambdaFunctionArn"]) == ("alb502", FUNCTION)
    assert ours["Events"] == ["s3:ObjectCreated:*"]
    rules = ours["Filter"]["Key"]["FilterRules"]
    assert {it["Name"].lower(): it["Value"] for it in rules} == {
        "prefix": "prod/web/AWSLogs/",
        "suffix": ".log.gz",
    }

    said = shared.attach("--function", FUNCTION, url=f"s3://{shared.name}/prod/web")
    assert "Nothing to do" in said and shared.writes == 0

    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:alb502-reader"
    shared.attach("--queue", queue)
    assert shared.writes == 1
    moved = shared.configuration()
    assert moved["LambdaFunctionConfigurations"] == before["LambdaFunctionConfigurations"]
    assert [it["Id"] for it in moved["QueueConfigurations"]] == ["thumbnails", "alb502"]

    said = shared.attach("--remove", "--function", FUNCTION, code=1)
    assert f"leads to {queue}: it stays" in said and shared.writes == 0
    assert "The entry alb502 is gone" in shared.attach("--remove")
    assert shared.configuration() == before
    assert "Nothing to do" in shared.attach("--remove")


def test_a_dry_run_shows_the_change_and_writes_nothing(shared: Shared) -> None:
    """In the form that the AWS CLI prints."""
    before = shared.configuration()
    said = shared.attach("--function", FUNCTION, "--id", "stack", "--dry-run")
    assert "+ LambdaFunctionConfigurations:" in said and '+     "Id": "stack"' in said
    assert "Dry run, nothing is written" in said
    assert "\n-" not in said
    assert shared.writes == 0 and shared.configuration() == before
    said = shared.attach("--eventbridge", "--dry-run")
    assert "+ EventBridgeConfiguration: {}" in said and shared.writes == 0


class Refusal(Trouble):
    """S3 answers the new configuration with this error."""

    def __init__(self, message: str) -> None:
        self.message = message

    def answer(self, request: Request, answer: Answer) -> Answer:
        """Instead of what the emulator would say."""
        if "Put" not in request.action:
            return answer
        error = f"<Error><Code>InvalidArgument</Code><Message>{self.message}</Message></Error>"
        return Answer(400, [("content-type", "application/xml")], error.encode())


def test_what_s3_refuses_is_explained(shared: Shared) -> None:
    """The emulator takes what S3 does not; the words are those of S3."""
    overlap = Refusal("Configurations overlap. Configurations on the same bucket cannot share ...")
    url = f"s3://{shared.name}/audit"
    said = shared.attach("--function", FUNCTION, url=url, code=1, trouble=overlap)
    assert "Configurations overlap" in said and "(audit -> arn:aws:lambda:" in said
    assert "TriggerMode=eventbridge" in said
    # The emulator has taken it all the same.
    shared.attach("--remove")
    invalid = Refusal("Unable to validate the following destination configurations")
    said = shared.attach("--function", FUNCTION, url=url, code=1, trouble=invalid)
    assert "may not invoke the function" in said and FUNCTION in said
    # A dry run says so before S3 does.
    shared.attach("--remove")
    said = shared.attach("--function", FUNCTION, "--dry-run", url=url)
    assert "S3 would refuse it: audit ->" in said


def test_a_missing_permission_is_named(shared: Shared) -> None:
    """Nothing is written when the reading fails."""
    iam = shared.world.cloud.user
    all_actions, bucket = shared.keys, shared.name
    shared.keys = iam(f"{bucket}-writer", ["s3:PutBucketNotification"])
    said = shared.attach("--eventbridge", code=1)
    assert "needs s3:GetBucketNotification on the bucket" in said and shared.writes == 0
    shared.keys = iam(f"{bucket}-reader", ["s3:GetBucketNotification"])
    said = shared.attach("--eventbridge", code=1)
    assert "needs s3:PutBucketNotification on the bucket" in said
    shared.keys = all_actions
    assert "EventBridge" not in str(shared.configuration())
    said = shared.attach("--eventbridge", url="s3://no-such-bucket", code=1)
    assert "there is no such bucket" in said


class Rival(Trouble):
    """Somebody writes the configuration right after us."""

    def __init__(self, shared: Shared) -> None:
        self.shared, self.as_it_was = shared, shared.configuration()

    def answer(self, request: Request, answer: Answer) -> Answer:
        """What we wrote is gone before it is read back."""
        if "Put" in request.action:
            self.shared.s3.put_bucket_notification_configuration(
                Bucket=self.shared.name, NotificationConfiguration=self.as_it_was
            )
        return answer


def test_what_somebody_else_undoes_is_told(shared: Shared) -> None:
    """S3 has no lock: reading back is how one knows."""
    said = shared.attach("--function", FUNCTION, code=1, trouble=Rival(shared))
    assert "somebody else may have written" in said and "- LambdaFunctionConfigurations:" in said
