"""The real template, deployed for real into an emulated AWS, from the log object to the message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import recent
from cloud import ACCOUNT, REGION
from emulator import Emulator
from stack import NAME, Stack

BUCKET = "deployed-alb-logs"

# What the bucket told others before.
OTHERS = {
    "QueueConfigurations": [
        {
            "Id": "thumbnails",
            "QueueArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:thumbnails",
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "images/"}]}},
        }
    ]
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Built once; each test deploys it in its way."""
    folder = tmp_path_factory.mktemp("deploy")
    emulator = Emulator(folder)
    try:
        stack = Stack(emulator, folder, BUCKET)
        emulator.client("sqs").create_queue(QueueName="thumbnails")
        stack.build()
        yield stack
    finally:
        emulator.close()


@pytest.fixture(autouse=True)
def others(stack: Stack) -> None:
    """The bucket as it was before alb502."""
    s3 = stack.emulator.client("s3")
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=OTHERS)


def test_one_incident_is_told_once(stack: Stack) -> None:
    """Deploy, do what the output says, and deliver logs: one opened, one resolved."""
    stack.deploy()
    stack.subscribe()
    stack.next_command()

    begin = recent.window(ago=7)
    key, content = recent.key(begin, "203.0.113.10"), recent.log(begin, 300, refused_each=10)
    stack.put(key, content)
    opened = stack.message()
    assert opened["phase"] == "opened"
    assert opened["target_group"]["name"] == "shop-web"
    assert (opened["failures"], opened["requests"]) == (30, 300)
    assert opened["causes"][0]["id"] == "connect-refused"

    # Once more: S3 delivers at least once.
    stack.put(key, content)
    stack.wait_for_objects(2)
    stack.no_message()

    # Three windows that are complete, with traffic and without failures.
    for ago in (6, 5, 4):
        begin = recent.window(ago)
        stack.put(recent.key(begin, "203.0.113.10"), recent.log(begin, 300))
    resolved = stack.message()
    assert resolved["phase"] == "resolved"
    assert resolved["incident_id"] == opened["incident_id"]
    assert resolved["failures"] == 30
    stack.wait_for_objects(5)
    stack.no_message()

    # Other logs and strangers' objects do not get as far as the function.
    stack.put(key.replace(".log.gz", ".txt"), b"no log")
    stack.put("elsewhere/" + key.rsplit("/", 1)[1], b"no log")
    assert stack.lines("object skipped") == []

    stack.detach()
    stack.delete()
    assert stack.resources() == []


def of_others(configuration: dict[str, Any]) -> dict[str, Any]:
    """What a bucket tells, without the entry of the stack and the switch of EventBridge."""
    kept = {}
    for kind, entries in configuration.items():
        if isinstance(entries, list):
            others = [entry for entry in entries if entry["Id"] != NAME]
            if others:
                kept[kind] = others
    return kept


def test_every_mode_is_deployed_and_attached(stack: Stack) -> None:
    """One stack, moved from mode to mode: each is attached, and others keep what they had."""
    topic = stack.emulator.client("sns").create_topic(Name="log-objects")["TopicArn"]
    stack.deploy(TriggerMode="eventbridge")
    stack.subscribe()
    assert "sends its events to EventBridge" in stack.next_command()
    assert stack.configuration()["EventBridgeConfiguration"] == {}
    assert of_others(stack.configuration()) == OTHERS

    for mode, kind, parameters in (
        ("notification", "LambdaFunctionConfigurations", {}),
        # Without ReservedConcurrency: the emulator takes numbers that are written as texts, which
        # CloudFormation makes numbers of, for texts.
        ("queue", "QueueConfigurations", {}),
        ("topic", "TopicConfigurations", {"SourceTopicArn": topic}),
    ):
        stack.deploy(TriggerMode=mode, **parameters)
        said = stack.next_command()
        assert "New objects AWSLogs/*.log.gz are told to arn:aws:" in said, said
        [entry] = [it for it in stack.configuration()[kind] if it["Id"] == NAME]
        assert of_others(stack.configuration()) == OTHERS, mode
        assert stack.configuration()["EventBridgeConfiguration"] == {}
        assert "Nothing to do" in stack.next_command(), entry
        if mode == "topic":
            # The bucket was attached to the topic; the function is subscribed to it.
            assert entry["TopicArn"] == topic
        # An incident of a load balancer of its own comes over each way.
        begin = recent.window(ago=4)
        balancer = f"shop-{mode}"
        stack.put(
            recent.key(begin, "203.0.113.10", balancer=balancer),
            recent.log(begin, 300, refused_each=10, balancer=balancer),
        )
        assert stack.message()["load_balancer"]["name"] == balancer

    stack.detach()
    stack.delete()
    assert stack.resources() == []


def test_a_new_bucket_is_made_and_stays(stack: Stack) -> None:
    """The bucket belongs to the stack, and its logs outlive it."""
    stack.deploy(TriggerMode="new-bucket", LogBucket="new-alb-logs")
    s3 = stack.emulator.client("s3")
    configuration = s3.get_bucket_notification_configuration(Bucket="new-alb-logs")
    assert configuration["EventBridgeConfiguration"] == {}
    policy = s3.get_bucket_policy(Bucket="new-alb-logs")["Policy"]
    assert "logdelivery.elasticloadbalancing.amazonaws.com" in policy
    assert "Value=new-alb-logs" in stack.outputs()["NextCommand"]
    stack.delete()
    assert stack.resources() == []
    s3.head_bucket(Bucket="new-alb-logs")
