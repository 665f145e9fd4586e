"""What goes wrong around the function, and what people get all the same."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

import incident
from cloud import Cloud
from conftest import Outcome, World
from gateway import CutBody, Request, SilentAction, SlowBody, StalledBody
from policy import described, granted

BLOCKED_PORT = "s3-blocked-port.json"

# The facts that hang on an action besides its own: no listeners, nobody whose rules could be read.
HANGING_ON = {
    "elasticloadbalancing:DescribeListeners": {"listener rules"},
    "elasticloadbalancing:DescribeTargetHealth": {"instances"},
}


def blocked_port(world: World) -> dict[str, Any]:
    """The event of the bundled incident, with its objects in place."""
    return incident.move(world.cloud, incident.event(BLOCKED_PORT))


def passed(outcome: Outcome) -> set[str]:
    """The ids of the checks that passed."""
    return {check["id"] for check in outcome.diagnosis["checks"] if check["outcome"] == "pass"}


@pytest.fixture(scope="module")
def passed_by_all(
    cloud: Cloud, role: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> set[str]:
    """The checks that pass when nothing is denied."""
    world = World(cloud, role, tmp_path_factory.mktemp("whole"))
    try:
        return passed(world.invoke(blocked_port(world)))
    finally:
        world.close()


# Prefix lists are only read where a rule names one.
@pytest.mark.parametrize("action", [it for it in described() if "PrefixList" not in it])
def test_a_denied_action_is_named_and_the_message_goes_out(
    world: World, passed_by_all: set[str], action: str
) -> None:
    """The gap has the permission; nothing passes for want of a fact."""
    name = f"without-{action.replace(':', '-')}"
    keys = world.cloud.user(name, [it for it in granted() if it != action])
    outcome = world.invoke(blocked_port(world), keys=keys)
    assert outcome.invocation.exit_code == 0, outcome.story
    gaps = outcome.diagnosis["gaps"]
    own = [gap for gap in gaps if gap["permission"] == action]
    assert {gap["reason"] for gap in own} == {"access denied"}, outcome.story
    assert {gap["fact"] for gap in gaps[1:]} <= HANGING_ON.get(action, set())
    assert action.split(":")[1] in outcome.bodies["email"].replace("\n    ", " ")
    assert passed(outcome) <= passed_by_all


def test_with_everything_denied_the_log_alone_speaks(world: World) -> None:
    """A message with what the rows show, and every permission that is missing."""
    keys = world.cloud.user("only-reads-and-publishes", ["s3:GetObject", "sns:Publish"])
    outcome = world.invoke(blocked_port(world), keys=keys)
    assert outcome.diagnosis["failures"] > 0
    # The two checks that look at nothing but rows.
    assert passed(outcome) == {"no-error-reason-given", "response-format"}
    first = outcome.diagnosis["causes"][0]
    assert first["id"] in ("blocked-port", "connect-timeout") and first["confidence"] != "high"
    assert "WHAT COULD NOT BE SEEN" in outcome.bodies["email"]


def refuses(outcome: Outcome, error_type: str, *words: str) -> None:
    """The invocation failed in this way, and says so in these words."""
    assert outcome.invocation.exit_code == 1, outcome.story
    error = outcome.invocation.error
    assert error.startswith(f"Error: {error_type}"), error
    said = "".join(error.split())
    for word in words:
        assert "".join(word.split()) in said, error


def test_a_missing_object_is_an_error_that_names_it(world: World) -> None:
    """S3 may tell of an object that was deleted since: nothing is published."""
    event = blocked_port(world)
    key = incident.keys(event)[0].replace("lhidn2ob", "gone")
    event["Records"] = [incident.one_record(event, key)]
    outcome = world.invoke(event)
    refuses(outcome, "ObjectUnreadable", f"s3://example-alb-logs/{key}")
    assert outcome.messages == []


def test_an_object_that_may_not_be_read_names_the_permission(world: World) -> None:
    """IAM is the usual reason on the first day."""
    keys = world.cloud.user("cannot-read-logs", ["sns:Publish"])
    outcome = world.invoke(blocked_port(world), keys=keys)
    refuses(outcome, "ObjectUnreadable", "access denied", "needs s3:GetObject")


def damaged(world: World, content: bytes) -> dict[str, Any]:
    """An event with one object of these bytes."""
    event = blocked_port(world)
    key = incident.keys(event)[0].replace("lhidn2ob", "damaged")
    world.cloud.put_object(key, content)
    event["Records"] = [incident.one_record(event, key)]
    return event


def test_rows_before_the_damage_count(world: World) -> None:
    """Half an object is diagnosed, marked, and an error, so that it is read again."""
    key = incident.worst(incident.event(BLOCKED_PORT))
    whole = gzip.compress(world.cloud.renamed(incident.rows(key)).encode())
    outcome = world.invoke(damaged(world, whole[: len(whole) * 3 // 4]))
    refuses(outcome, "ObjectUnreadable", "damaged.log.gz")
    assert outcome.diagnosis["objects"][0]["error"]
    assert "\nPartial        1 of 1 object" in outcome.bodies["email"]
    assert "*Partial*" in json.loads(outcome.bodies["https"])["content"]["description"]


def test_garbage_is_an_error_and_no_message(world: World) -> None:
    """What is no log at all."""
    outcome = world.invoke(damaged(world, b"\x1f\x8b\x08\x00garbage, not deflate"))
    refuses(outcome, "ObjectUnreadable", "damaged.log.gz")
    assert outcome.messages == []


def test_one_bad_record_does_not_hide_the_good_ones(world: World) -> None:
    """The good objects are diagnosed, and the error names the bad one alone."""
    event = blocked_port(world)
    good = incident.keys(event)
    bad = good[0].replace("lhidn2ob", "gone")
    event["Records"].append(incident.one_record(event, bad))
    event["Records"].append({"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}})
    outcome = world.invoke(event)
    refuses(outcome, "ObjectUnreadable", bad, "has no text as s3.object.key")
    assert not any(key in outcome.invocation.error for key in good)
    assert outcome.diagnosis["causes"][0]["id"] == "blocked-port"
    assert len(outcome.logged("object read")) == len(good)


def test_a_slow_body_is_read_to_its_end(world: World) -> None:
    """Slow is not broken."""
    event = blocked_port(world)
    event["Records"] = event["Records"][:1]
    outcome = world.invoke(event, trouble=SlowBody(pieces=10, pause=0.7))
    assert outcome.invocation.exit_code == 0, outcome.story
    assert outcome.invocation.answer["objects"] == 1
    [read] = outcome.logged("object read")
    # Longer than a call may take, longer than a body may stand still.
    assert read["duration_ms"] >= 7000
    assert outcome.actions == ["s3:GetObject"]


def test_a_body_that_stands_still_is_taken_up_again(world: World) -> None:
    """A connection that died without a word costs seconds, not the object."""
    event = blocked_port(world)
    event["Records"] = event["Records"][:1]
    trouble = StalledBody(fraction=0.5, times=1)
    outcome = world.invoke(event, trouble=trouble)
    trouble.over.set()
    assert outcome.invocation.exit_code == 0, outcome.story
    first, second = [it for it in outcome.requests if it.action == "s3:GetObject"]
    assert "range" not in first.headers and second.headers["range"].startswith("bytes=")
    [line] = outcome.logged("body broke off, taken up again")
    assert "throughput" in line["error"], line


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(world: World) -> None:
    """Two halves of two objects are no object."""
    event = blocked_port(world)
    key = incident.keys(event)[0]

    class ReplacedBody(CutBody):
        def before(self, request: Request) -> None:
            if "range" in request.headers:
                world.cloud.put_object(key, b"another")

    event["Records"] = event["Records"][:1]
    outcome = world.invoke(event, trouble=ReplacedBody(times=1))
    refuses(outcome, "ObjectUnreadable", "the object was replaced while it was read")


def test_a_body_that_breaks_off_is_taken_up_where_it_stopped(world: World) -> None:
    """With a range, from the same object."""
    event = blocked_port(world)
    event["Records"] = event["Records"][:1]
    outcome = world.invoke(event, trouble=CutBody(times=2))
    assert outcome.invocation.exit_code == 0, outcome.story
    ranges = [
        (request.headers.get("range"), "if-match" in {name.lower() for name in request.headers})
        for request in outcome.requests
        if request.action == "s3:GetObject"
    ]
    assert ranges[0] == (None, False)
    assert all(asked.startswith("bytes=") and same for asked, same in ranges[1:])
    whole = world.invoke(event)
    assert outcome.invocation.answer["entries"] == whole.invocation.answer["entries"]


def test_a_body_that_always_breaks_off_is_an_error(world: World) -> None:
    """It is not tried for ever."""
    event = blocked_port(world)
    event["Records"] = event["Records"][:1]
    outcome = world.invoke(event, trouble=CutBody(times=99))
    refuses(outcome, "ObjectUnreadable", "broke off")
    assert outcome.actions.count("s3:GetObject") <= 5


def test_when_the_deadline_nears_what_is_known_goes_out(world: World) -> None:
    """The body stands still; the message is out before the invocation ends."""
    event = blocked_port(world)
    key = world.cloud.renamed(incident.worst(incident.event(BLOCKED_PORT)))
    event["Records"] = [incident.one_record(event, key)]
    trouble = StalledBody(fraction=0.8, times=9)
    outcome = world.invoke(event, trouble=trouble, seconds=10.0)
    trouble.over.set()
    assert outcome.invocation.seconds < 10.0
    refuses(outcome, "ObjectUnreadable", "the time of the invocation was over")
    assert "\nPartial  " in outcome.bodies["email"]
    assert outcome.diagnosis["failures"] > 0


def test_a_call_without_an_answer_is_a_gap(world: World) -> None:
    """The message does not wait for one fact."""
    trouble = SilentAction("elasticloadbalancing:DescribeTargetHealth")
    outcome = world.invoke(blocked_port(world), trouble=trouble, seconds=12.0)
    trouble.over.set()
    assert outcome.invocation.exit_code == 0, outcome.story
    reasons = {gap["fact"]: gap["reason"] for gap in outcome.diagnosis["gaps"]}
    said = "no answer in the time that the invocation had left"
    assert reasons == {"target health": said, "instances": said}


def test_a_topic_that_is_gone_is_an_error_that_names_it(world: World) -> None:
    """A diagnosis that nobody gets is the worst failure."""
    arn = world.cloud.topic + "-deleted"
    outcome = world.invoke(blocked_port(world), ALB502_TOPIC_ARN=arn)
    refuses(outcome, "MessageNotPublished", arn)


def test_without_credentials_it_says_where_the_function_looks(world: World) -> None:
    """A person who runs it with AWS_PROFILE or after `aws sso login` is told what to do."""
    outcome = world.invoke(blocked_port(world), AWS_ACCESS_KEY_ID="", AWS_PROFILE="mine")
    said = "no AWS credentials were found in the environment"
    refuses(outcome, "ObjectUnreadable", said)
    assert "aws configure export-credentials --format env" in outcome.invocation.error
    assert outcome.actions == []


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ALB502_MIN_ERRORS", "0", "a whole number from 1 to 1000000"),
        ("ALB502_RATE_PERCENT", "much", "a number from 0.001 to 100"),
        ("ALB502_HTTPS_BODY", "slack", "chat or json"),
        ("ALB502_TOPIC_ARN", "", "the ARN of a standard SNS topic"),
        ("ALB502_TOPIC_ARN", "alb502", "the ARN of a standard SNS topic"),
        ("ALB502_TABLE", "my table", "the name of a DynamoDB table"),
        ("ALB502_MIN_ERROR", "7", "Did you mean ALB502_MIN_ERRORS?"),
    ],
)
def test_a_bad_setting_stops_the_start(world: World, name: str, value: str, allowed: str) -> None:
    """One line says which setting, its value, and what would be right."""
    function = world.start(**{name: value})
    assert function.process.wait(timeout=20) == 1
    [line] = function.lines()
    assert line["level"] == "ERROR"
    for word in (name, json.dumps(value), allowed):
        assert word in line["message"], line


def test_a_panic_is_a_line_of_the_log(world: World) -> None:
    """With its place, as JSON: here the runtime's client does not take the address."""
    function = world.start(AWS_LAMBDA_RUNTIME_API="no address")
    assert function.process.wait(timeout=20) != 0
    [line] = function.lines()
    assert line["level"] == "ERROR"
    assert line["message"].startswith("panic: ") and ".rs:" in line["location"]


def test_a_load_balancer_of_another_account_is_a_gap_that_says_so(world: World) -> None:
    """Central log buckets hold the logs of many accounts."""
    event = incident.event(BLOCKED_PORT)
    foreign: list[dict[str, Any]] = []
    for key in incident.keys(event):
        text = incident.rows(key).replace("123456789012", "999999999999")
        moved = incident.put(world.cloud, key.replace("123456789012", "999999999999"), text)
        foreign.append(incident.one_record(event, moved))
    outcome = world.invoke({"Records": foreign})
    assert outcome.diagnosis["load_balancer"]["account"] == "999999999999"
    reasons = {gap["reason"] for gap in outcome.diagnosis["gaps"]}
    assert len(reasons) == 1 and "999999999999" in reasons.pop()
    assert set(outcome.actions) == {"s3:GetObject", "sns:Publish"}
