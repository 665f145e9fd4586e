"""An incident goes in by the event, a diagnosis comes out of the topic."""

from __future__ import annotations

import gzip
import json

from jsonschema import Draft202012Validator

import incident
from conftest import Outcome, World
from processes import ROOT

SCHEMA = Draft202012Validator(json.loads((ROOT / "src/notification/schema.json").read_text()))
CHAT = Draft202012Validator(json.loads((ROOT / "src/notification/chat.schema.json").read_text()))


def check_of(outcome: Outcome, check_id: str) -> dict[str, str]:
    """One check of the diagnosis."""
    return next(check for check in outcome.diagnosis["checks"] if check["id"] == check_id)


def test_a_blocked_port_is_found_with_its_security_group(world: World) -> None:
    """The whole way of one event."""
    outcome = world.invoke(incident.move(world.cloud, incident.event("s3-blocked-port.json")))
    assert outcome.invocation.exit_code == 0, outcome.story
    assert outcome.invocation.answer["published"] == 2, "opened, and resolved"
    diagnosis = outcome.diagnosis
    assert diagnosis["causes"][0]["id"] == "blocked-port", diagnosis["summary"]
    assert diagnosis["causes"][0]["confidence"] == "high"
    assert diagnosis["gaps"] == []

    names = world.cloud.names
    group = next(new for old, new in names.items() if old == "sg-064b1f1e10c36054c")
    check = check_of(outcome, "security-group-allows-traffic")
    assert check["outcome"] == "fail"
    assert group in check["summary"], check
    assert diagnosis["load_balancer"]["arn"] in names.values()
    assert diagnosis["target_group"]["arn"] in names.values()
    text = outcome.bodies["email"]
    old = [name for name in names if name in text and name not in names.values()]
    assert old == [], "ids that this cloud never gave"


def test_a_keep_alive_race_is_found_with_the_idle_timeout(world: World) -> None:
    """The other bundled incident."""
    outcome = world.invoke(incident.move(world.cloud, incident.event("s3-keepalive-race.json")))
    diagnosis = outcome.diagnosis
    assert diagnosis["causes"][0]["id"] == "keepalive-race"
    assert diagnosis["facts"]["idle_timeout_seconds"] == 60
    assert check_of(outcome, "keep-alive-exceeds-idle-timeout")["outcome"] == "fail"
    assert check_of(outcome, "security-group-allows-traffic")["outcome"] == "pass"
    assert diagnosis["why_healthy"]


def test_what_cloudwatch_counted_decides(world: World) -> None:
    """A failed handshake and a refused connection leave the same row."""
    folder = ROOT / "tests/scenarios/tls-handshake-with-metrics"
    world.cloud.load(folder / "snapshot")
    event = incident.event("s3-blocked-port.json")
    records = []
    for path in sorted((folder / "logs").rglob("*.log.gz")):
        text = gzip.decompress(path.read_bytes()).decode()
        key = incident.put(world.cloud, str(path.relative_to(folder / "logs")), text)
        records.append(incident.one_record(event, key))
    outcome = world.invoke({"Records": records})
    first = outcome.diagnosis["causes"][0]
    assert (first["id"], first["confidence"]) == ("tls-handshake", "high"), outcome.story
    email = " ".join(outcome.bodies["email"].split())
    said = "CloudWatch counted 415 TLS negotiation errors and no connection errors."
    assert said in email
    assert check_of(outcome, "metrics-match-log")["outcome"] == "pass"
    assert outcome.diagnosis["gaps"] == []


def test_each_protocol_has_its_own_body(world: World) -> None:
    """One publish, every reader."""
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    outcome = world.invoke(event)
    envelope = outcome.messages[0]
    published = outcome.published
    assert published["MessageStructure"] == "json"

    subject = envelope["Subject"]
    assert subject.isascii() and len(subject) < 100 and "\n" not in subject
    assert "blocked-port" in subject

    attributes = {name: it["Value"] for name, it in envelope["MessageAttributes"].items()}
    assert attributes == {
        "severity": outcome.diagnosis["severity"],
        "kind": "spike",
        "phase": "opened",
        "cause": "blocked-port",
        "load_balancer": "orders",
        "target_group": "orders-api",
        "account": "123456789012",
        "region": "eu-west-1",
    }

    bodies = outcome.bodies
    assert set(bodies) == {"default", "email", "email-json", "http", "https", "lambda", "sqs"}
    assert envelope["Message"] == bodies["sqs"]
    for machine in ("sqs", "lambda", "http", "email-json"):
        SCHEMA.validate(json.loads(bodies[machine]))
    chat = json.loads(bodies["https"])
    CHAT.validate(chat)
    text = json.loads(bodies["lambda"])["text"]
    assert "blocked-port" in text and "*Do*" in text and len(text) <= 3000
    assert (chat["version"], chat["source"]) == ("1.0", "custom")
    assert chat["metadata"]["threadId"] == outcome.diagnosis["incident_id"]
    email = bodies["email"]
    assert "CAUSE 1  blocked-port" in email
    commands = ("aws ", "--", "curl ")
    prose = [it for it in email.splitlines() if not it.strip().startswith(commands)]
    assert max(len(line) for line in prose) <= 78
    assert len(bodies["default"]) < 700

    outcome = world.invoke(event, ALB502_HTTPS_BODY="json")
    SCHEMA.validate(json.loads(outcome.bodies["https"]))


def test_a_healthy_log_says_nothing(world: World) -> None:
    """No failure, no configuration call, no message; two calls of the ledger."""
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    key = incident.keys(incident.event("s3-blocked-port.json"))[0]
    healthy = [row for row in incident.rows(key).splitlines(keepends=True) if " 504 - " not in row]
    event["Records"] = event["Records"][:1]
    incident.put(world.cloud, key, "".join(healthy))
    outcome = world.invoke(event)
    assert outcome.invocation.answer["objects"] == 1, outcome.story
    assert outcome.invocation.answer["entries"] > 50
    assert outcome.messages == []
    assert outcome.actions == ["s3:GetObject"]
    assert outcome.remembered == ["dynamodb:BatchWriteItem", "dynamodb:Query"]


def test_events_that_are_not_for_us_succeed(world: World) -> None:
    """Test events, foreign events, other logs: a word in the log, no call."""
    for name in ("s3-test-event.json", "s3-foreign.json", "s3-other-logs.json"):
        outcome = world.invoke(incident.move(world.cloud, incident.event(name)))
        assert outcome.invocation.exit_code == 0, outcome.story
        assert outcome.invocation.answer["skipped"] > 0
        assert outcome.requests == [] and outcome.messages == []


def test_the_log_is_json_with_time_and_level(world: World) -> None:
    """Lambda's filter reads both; a stranger's query never gets there."""
    event = incident.move(world.cloud, incident.event("s3-keepalive-race.json"))
    outcome = world.invoke(event)
    for line in outcome.lines:
        assert line["level"] in ("INFO", "WARN", "ERROR")
        assert line["timestamp"].endswith("Z")
        # Metrics are documents for CloudWatch, outside of the span of the request.
        assert "_aws" in line or line["span"]["requestId"]
    read = outcome.logged("object read")
    assert len(read) == len(event["Records"])
    assert sum(line["entries"] for line in read) == outcome.invocation.answer["entries"]
    published = outcome.logged("diagnosis published")[0]
    assert published["cause"] == "keepalive-race"
    assert published["failures"] == outcome.diagnosis["failures"]
    asked = outcome.logged("configuration read")[0]
    assert asked["gaps"] == 0
    assert asked["calls"] == len(set(outcome.actions)) - 2 + extra_rules(outcome)
    assert "?" not in json.dumps(outcome.lines)


def extra_rules(outcome: Outcome) -> int:
    """DescribeRules is called once for each listener, for each message."""
    messages = len(outcome.logged("configuration read"))
    return outcome.actions.count("elasticloadbalancing:DescribeRules") // messages - 1


def test_an_old_version_is_read(world: World) -> None:
    """In a bucket with versioning the event names the version that it is about."""
    s3 = world.cloud.client("s3")
    bucket = "versioned-alb-logs"
    location = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    for record in event["Records"]:
        key = incident.keys({"Records": [record]})[0]
        content = s3.get_object(Bucket="example-alb-logs", Key=key)["Body"].read()
        version = s3.put_object(Bucket=bucket, Key=key, Body=content)["VersionId"]
        s3.put_object(Bucket=bucket, Key=key, Body=b"not this one")
        record["s3"]["bucket"] = {"name": bucket}
        record["s3"]["object"]["versionId"] = version
    outcome = world.invoke(event)
    assert outcome.diagnosis["causes"][0]["id"] == "blocked-port"
