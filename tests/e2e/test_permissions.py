"""What is called is granted, and what is granted is called: for each way in which alb502 is used.

The emulator refuses what is not granted; the log of its gateway shows that nothing is spare. Which
events the function gets depends on the mode, what it calls does not: so each mode has its event
here. What Lambda itself does with the role (its log, the queues, network interfaces) and what
services do with keys is no call of alb502: tests/suite/permissions.rs holds these by name.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import incident
from cloud import ACCOUNT, BUCKET, REGION
from conftest import World
from policy import granted, of_the_readme
from processes import environment_at, program
from recent import WINDOW
from test_s3 import ends

OTHER_ACCOUNT = "210987654321"
# What STS tells everybody.
FREE = {"sts:GetCallerIdentity"}

# The bundled event that S3, EventBridge, SQS or SNS send in each mode.
MODES = {
    "eventbridge": "eventbridge-blocked-port.json",
    "notification": "s3-blocked-port.json",
    "queue": "sqs-eventbridge-blocked-port.json",
    "topic": "sns-eventbridge-blocked-port.json",
    "new-bucket": "eventbridge-blocked-port.json",
}


@pytest.fixture
def prefix_list(world: World) -> Iterator[str]:
    """A rule that names a prefix list, whose entries are one more call."""
    group = world.cloud.renamed("sg-064b1f1e10c36054c")
    ec2 = world.cloud.client("ec2")
    made = ec2.create_managed_prefix_list(
        PrefixListName="offices",
        MaxEntries=1,
        AddressFamily="IPv4",
        Entries=[{"Cidr": "192.0.2.0/24", "Description": "documentation"}],
    )["PrefixList"]["PrefixListId"]
    ports = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    rule = {**ports, "PrefixListIds": [{"PrefixListId": made}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    yield made
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])


def events(world: World, name: str) -> list[Any]:
    """The whole bundled incident as events of this shape: most shapes carry one object an event."""
    known = incident.event(name)
    whole = incident.event("s3-blocked-port.json")
    if name == "s3-blocked-port.json":
        return [incident.move(world.cloud, whole)]
    incident.move(world.cloud, whole)
    text = json.dumps(known)
    found = [it for it in incident.keys(whole) if it in text]
    if len(found) != 1:
        return [incident.move(world.cloud, known)]
    key = found[0]
    all_of_them = [text.replace(key, it) for it in incident.keys(whole)]
    return [incident.move(world.cloud, json.loads(it)) for it in all_of_them]


@pytest.mark.parametrize("mode", MODES)
def test_the_function_calls_what_its_mode_is_granted(
    world: World, prefix_list: str, mode: str
) -> None:
    """Nothing that is not granted, nothing spare."""
    function = world.start()
    for event in events(world, MODES[mode]):
        done = function.invoke(event)
        assert done.exit_code == 0, done
    called = {it.action for it in world.gateway.requests}
    # An event names a version where the bucket has versions: the next test.
    assert called | {"s3:GetObjectVersion"} == set(granted())
    assert "s3:GetObjectVersion" not in called


def test_the_function_calls_for_a_version_with_its_own_action(world: World) -> None:
    """Without the action the old version stays unread, and the error says what is missing."""
    s3 = world.cloud.client("s3")
    bucket = "permissions-of-versions"
    location = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    for record in event["Records"]:
        key = incident.keys({"Records": [record]})[0]
        content = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        version = s3.put_object(Bucket=bucket, Key=key, Body=content)["VersionId"]
        record["s3"]["bucket"] = {"name": bucket}
        record["s3"]["object"]["versionId"] = version
    outcome = world.invoke(event)
    assert outcome.invocation.exit_code == 0, outcome.story
    called = {*outcome.actions, *outcome.remembered}
    spare = {"s3:GetObject", "ec2:GetManagedPrefixListEntries"}
    assert called | spare == set(granted())
    assert not called & spare


def test_the_role_of_another_account_is_taken_only_with_its_option(world: World) -> None:
    """`FactsRoleName` grants one action, and it is used; without it nothing is asked there."""
    whole = incident.event("s3-blocked-port.json")
    record = incident.move(world.cloud, whole)["Records"][0]
    key = incident.worst(whole)
    moved = world.cloud.renamed(key).replace(ACCOUNT, OTHER_ACCOUNT)
    rows = world.cloud.renamed(incident.rows(key)).replace(ACCOUNT, OTHER_ACCOUNT)
    incident.put(world.cloud, moved, rows)
    event = {"Records": [incident.one_record({"Records": [record]}, moved)]}

    keys = world.cloud.user("alb502-of-many-accounts", granted("HasFactsRole"))
    outcome = world.invoke(event, keys=keys, ALB502_FACTS_ROLE_NAME="alb502-facts")
    assert outcome.diagnosis["load_balancer"]["account"] == OTHER_ACCOUNT
    added = set(granted("HasFactsRole")) - set(granted())
    assert added == {"sts:AssumeRole"}
    assert added <= set(outcome.actions), outcome.story
    taken = [it.parameters for it in outcome.requests if it.action == "sts:AssumeRole"]
    assert {it["RoleArn"] for it in taken} == {f"arn:aws:iam::{OTHER_ACCOUNT}:role/alb502-facts"}
    # What is asked as that role is what a person may ask.
    own = {"s3:GetObject", "sns:Publish", *added}
    assert set(outcome.actions) - own <= set(of_the_readme("person"))

    denied = world.invoke(event, ALB502_FACTS_ROLE_NAME="alb502-facts")
    assert "sts:AssumeRole" in json.dumps(denied.diagnosis["gaps"])
    without = world.invoke(event)
    assert set(without.actions) == {"s3:GetObject", "sns:Publish"}


def run(world: World, keys: tuple[str, str], *arguments: str, folder: Path) -> set[str]:
    """The actions that a command of a person calls."""
    world.gateway.requests = []
    done = subprocess.run(
        [program("alb502"), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment_at(folder, world.gateway.url, keys, REGION),
    )
    assert done.returncode == 0, done.stderr
    return {it.action for it in world.gateway.requests} - FREE


def test_a_person_calls_what_the_readme_grants(
    world: World, prefix_list: str, tmp_path: Path
) -> None:
    """`diagnose s3:// --live` needs the whole policy; `rehearse` the two first actions of it."""
    bucket = "permissions-of-a-person"
    location = {"LocationConstraint": REGION}
    world.cloud.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    logs = incident.keys(incident.event("s3-blocked-port.json"))
    for key in logs:
        rows = world.cloud.renamed(incident.rows(key)).encode()
        world.cloud.put_object(world.cloud.renamed(key), gzip.compress(rows), bucket)
    policy = of_the_readme("person")
    keys = world.cloud.user("alb502-person", policy)
    end = max(ends(key) for key in logs)
    since, until = end - timedelta(hours=1), end + WINDOW
    span = ["--since", f"{since:%Y-%m-%dT%H:%M}Z", "--until", f"{until:%Y-%m-%dT%H:%M}Z"]
    url = f"s3://{bucket}"
    called = run(world, keys, "diagnose", url, *span, "--live", folder=tmp_path)
    assert called == set(policy)
    reader = world.cloud.user("alb502-reader", policy[:2])
    assert run(world, reader, "rehearse", url, *span, folder=tmp_path) == set(policy[:2])


def test_whoever_attaches_calls_what_the_readme_grants(world: World, tmp_path: Path) -> None:
    """Reading what is there, and writing one entry."""
    bucket, s3 = "permissions-to-attach", world.cloud.client("s3")
    location = {"LocationConstraint": REGION}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    # Of a bucket that tells nobody anything, the emulator says nothing at all.
    told = {"Id": "others", "TopicArn": world.cloud.topic, "Events": ["s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [told]}
    )
    policy = of_the_readme("attach")
    keys = world.cloud.user("alb502-attaches", policy)
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:alb502"
    arguments = ("attach", f"s3://{bucket}", "--function", function)
    assert run(world, keys, *arguments, folder=tmp_path) == set(policy)
