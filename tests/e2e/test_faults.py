"""What AWS refuses, service by service, and what people are told all the same.

One process lives through all of it, as in Lambda. All faults of AWS, and where they are tested:

| fault | test |
|---|---|
| throttling and 5xx, once and to the end | here, each service; `test_ledger.py` under load |
| slow body, cut body, body that stands still | `test_trouble.py` |
| wrong region | here: the bucket; `test_ledger.py`: no such table in the region |
| access denied: configuration, metrics | `test_trouble.py`, each action, under IAM |
| access denied: ledger | `test_ledger.py`, each action, under IAM |
| access denied: object; version, message | `test_trouble.py`; here |
| access denied: prefix list, role of another account | here |
| SNS refuses, topic gone | here; `test_trouble.py` |
| deadline nearing | here: SNS; `test_trouble.py`: an object, a call; `src/aws/tests/ledger.rs` |
| all of them, at random | `test_soak.py`, `make soak` |
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import incident
from cloud import Cloud
from conftest import World
from copies import Copy, Done
from faults import CONFIGURATION, LEDGER, PUBLISH, READ, SNS_REFUSALS
from gateway import Answer, Request, SilentAction, Trouble
from refusals import BROKEN, DENIED, THROTTLED, as_said, refusal

BLOCKED_PORT = "s3-blocked-port.json"
FACTS_ROLE = "alb502-facts"
FOREIGN = "999999999999"


class Refused(Trouble):
    """These actions are refused, so many times each."""

    def __init__(self, answers: dict[str, Answer], times: int = 1000) -> None:
        self.answers, self.times = answers, times
        self.refused: Counter[str] = Counter()

    def instead(self, request: Request) -> Answer | None:
        """Refuses, or not."""
        if self.refused[request.action] == self.times or request.action not in self.answers:
            return None
        self.refused[request.action] += 1
        # The gateway may write into it.
        return replace(self.answers[request.action])


def all_say(actions: list[str], words: dict[str, tuple[int, str]], times: int = 1000) -> Refused:
    """Each action is refused in the words of its service."""
    return Refused({action: as_said(action, words) for action in actions}, times)


class Outcome:
    """What one delivery did."""

    def __init__(self, done: Done, messages: list[dict[str, Any]], asked: list[Request]) -> None:
        self.done, self.messages = done, messages
        self.asked = Counter(it.action for it in asked)
        self.emails = [
            json.loads(it.parameters["Message"])["email"] for it in asked if it.action == PUBLISH
        ]

    @property
    def diagnosis(self) -> dict[str, Any]:
        """The one message that opens the incident; the rows at hand show its end as well."""
        [message] = [it for it in self.messages if it["phase"] == "opened"]
        return message

    @property
    def gaps(self) -> dict[str, str | None]:
        """The reasons of what could not be seen, with the permission that is missing."""
        return {it["reason"]: it["permission"] for it in self.diagnosis["gaps"]}

    def fails(self, error_type: str, *words: str) -> None:
        """The invocation failed in this way, in these words."""
        assert self.done.error, self.done
        assert self.done.error["errorType"] == error_type, self.done
        for word in words:
            assert word in self.done.error["errorMessage"], self.done


class Function:
    """One process, and a ledger that forgets between two tests."""

    def __init__(self, cloud: Cloud, world: World) -> None:
        self.cloud = cloud
        self.table = cloud.new_table()
        settings = {
            "ALB502_TOPIC_ARN": cloud.topic,
            "ALB502_TABLE": self.table,
            "ALB502_FACTS_ROLE_NAME": FACTS_ROLE,
            **incident.EVER,
        }
        self.copy = Copy(cloud, world.role, world.folder, settings, Trouble())
        self._number = 0
        event = incident.move(cloud, incident.event(BLOCKED_PORT))
        key = cloud.renamed(incident.worst(incident.event(BLOCKED_PORT)))
        self.event = {"Records": [incident.one_record(event, key)]}

    def forget(self) -> None:
        """Empties the table."""
        dynamodb = self.cloud.client("dynamodb")
        for item in dynamodb.scan(TableName=self.table)["Items"]:
            key = {name: item[name] for name in ("pk", "sk")}
            dynamodb.delete_item(TableName=self.table, Key=key)
        self._number += 1

    def deliver(
        self, trouble: Trouble | None = None, event: object = None, seconds: float = 30.0
    ) -> Outcome:
        """Delivers the event of the bundled incident, or another one."""
        self.cloud.messages()
        self.copy.gateway.trouble = trouble or Trouble()
        self.copy.gateway.requests.clear()
        done = self.copy.deliver(event or self.event, f"event-{self._number}", seconds)
        told = [json.loads(it["Message"]) for it in self.cloud.messages()]
        return Outcome(done, told, list(self.copy.gateway.requests))


@pytest.fixture(scope="module")
def process(
    cloud: Cloud, role: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """The process, and that it lived to the end."""
    world = World(cloud, role, tmp_path_factory.mktemp("faults"))
    function = Function(cloud, world)
    yield function
    assert function.copy.process.poll() is None
    function.copy.close()
    world.close()


@pytest.fixture
def function(process: Function) -> Function:
    """The process, which knows of no incident."""
    process.forget()
    return process


@pytest.mark.parametrize("words", [THROTTLED, BROKEN], ids=["throttled", "5xx"])
def test_what_aws_refuses_once_is_asked_again(
    function: Function, words: dict[str, tuple[int, str]]
) -> None:
    """Each action of each service, all in one invocation: nobody notices."""
    actions = [READ, PUBLISH, *LEDGER, *CONFIGURATION]
    trouble = all_say(actions, words, times=1)
    outcome = function.deliver(trouble)
    assert outcome.done.answer and outcome.done.answer["published"] == 2, outcome.done
    assert outcome.diagnosis["gaps"] == []
    assert outcome.diagnosis["causes"][0]["id"] == "blocked-port"
    assert set(trouble.refused) == set(actions)
    assert all(outcome.asked[action] >= 2 for action in trouble.refused), outcome.asked


def reason_of(action: str, words: dict[str, tuple[int, str]]) -> str:
    """What is said of an action that was refused to the end."""
    said = words[action.partition(":")[0]][1]
    return "throttled by AWS, also after retries" if words is THROTTLED else f"AWS answered {said}"


@pytest.mark.parametrize("words", [THROTTLED, BROKEN], ids=["throttled", "5xx"])
class TestToTheEnd:
    """What AWS refuses for as long as it is asked."""

    def test_an_object_is_an_error(
        self, function: Function, words: dict[str, tuple[int, str]]
    ) -> None:
        """S3."""
        outcome = function.deliver(all_say([READ], words))
        outcome.fails("ObjectUnreadable", "s3://example-alb-logs/", reason_of(READ, words))
        assert outcome.messages == [] and outcome.asked[READ] == 3
        assert function.deliver().diagnosis["causes"][0]["id"] == "blocked-port"

    def test_a_message_is_an_error_and_goes_out_the_next_time(
        self, function: Function, words: dict[str, tuple[int, str]]
    ) -> None:
        """SNS."""
        outcome = function.deliver(all_say([PUBLISH], words))
        outcome.fails("MessageNotPublished", function.cloud.topic, reason_of(PUBLISH, words))
        assert outcome.messages == [] and outcome.asked[PUBLISH] == 3
        assert function.deliver().diagnosis["phase"] == "opened"
        assert function.deliver().messages == []

    @pytest.mark.parametrize("action", LEDGER)
    def test_without_the_table_the_message_goes_out(
        self, function: Function, words: dict[str, tuple[int, str]], action: str
    ) -> None:
        """DynamoDB: at once, and told again when the table is there."""
        outcome = function.deliver(all_say([action], words))
        outcome.fails("LedgerUnavailable", function.table, reason_of(action, words))
        assert any(reason_of(action, words) in reason for reason in outcome.gaps), outcome.gaps
        assert function.deliver().diagnosis["gaps"] == []

    def test_without_the_configuration_the_message_goes_out(
        self, function: Function, words: dict[str, tuple[int, str]]
    ) -> None:
        """ELBv2, EC2 and CloudWatch: each is a gap with its reason and no permission."""
        outcome = function.deliver(all_say(CONFIGURATION, words))
        assert outcome.done.answer and outcome.done.answer["published"] == 2, outcome.done
        services = {it.partition(":")[0]: it for it in CONFIGURATION}
        assert set(services) == {"elasticloadbalancing", "ec2", "cloudwatch"}
        for action in services.values():
            assert any(reason_of(action, words) in reason for reason in outcome.gaps), outcome.gaps
        assert set(outcome.gaps.values()) == {None}
        assert outcome.diagnosis["failures"] > 0


def test_a_key_that_is_busy_is_asked_again(function: Function) -> None:
    """SNS says so of the key of an encrypted topic, in words of its own."""
    busy = refusal(PUBLISH, 400, "KMSThrottling")
    assert function.deliver(Refused({PUBLISH: busy}, times=1)).diagnosis["phase"] == "opened"


@pytest.mark.parametrize(("status", "code"), SNS_REFUSALS, ids=[it for _, it in SNS_REFUSALS])
def test_what_sns_does_not_take_is_named_and_told_later(
    function: Function, status: int, code: str
) -> None:
    """A topic that is gone, a key that may not be used, a bad message, no permission."""
    outcome = function.deliver(Refused({PUBLISH: refusal(PUBLISH, status, code, "emulated")}))
    said = "alb502 needs sns:Publish" if code == "AuthorizationError" else f"AWS answered {code}"
    outcome.fails("MessageNotPublished", function.cloud.topic, said)
    assert outcome.asked[PUBLISH] == 1, "what will not change is not asked again"
    assert outcome.messages == []
    assert function.deliver().diagnosis["phase"] == "opened"


class Lost(SilentAction):
    """What is asked is not done, and there is no answer."""

    def before(self, request: Request) -> None:
        """Does not pass it on after the wait."""

    def instead(self, request: Request) -> Answer | None:
        """Waits until it is told to end."""
        if request.action != self.action:
            return None
        self.over.wait(60)
        raise ConnectionAbortedError


def test_when_sns_is_silent_the_invocation_ends_in_time_and_it_is_told_later(
    function: Function,
) -> None:
    """An error that says so, and not an invocation that Lambda cuts off."""
    trouble = Lost(PUBLISH)
    outcome = function.deliver(trouble, seconds=4.0)
    trouble.over.set()
    said = "no answer before the deadline of the invocation"
    outcome.fails("MessageNotPublished", function.cloud.topic, said)
    assert function.deliver().diagnosis["phase"] == "opened"


@pytest.mark.parametrize(
    ("status", "code"), [(301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")]
)
def test_a_bucket_in_another_region_is_said(function: Function, status: int, code: str) -> None:
    """S3 says it in two ways."""
    outcome = function.deliver(Refused({READ: refusal(READ, status, code)}))
    outcome.fails("ObjectUnreadable", "the bucket is in another region than the event says")
    assert outcome.asked[READ] == 1


def signed_for(request: Request) -> str:
    """The region that a request is signed for."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return headers["authorization"].split("/")[2]


def test_a_bucket_is_asked_in_the_region_of_the_event(function: Function) -> None:
    """Everything else in that of the function."""
    event = json.loads(json.dumps(function.event))
    event["Records"][0]["awsRegion"] = "us-west-2"
    outcome = function.deliver(event=event)
    assert outcome.diagnosis["causes"][0]["id"] == "blocked-port"
    regions = {
        (it.action.partition(":")[0], signed_for(it)) for it in function.copy.gateway.requests
    }
    assert ("s3", "us-west-2") in regions
    assert {region for service, region in regions if service != "s3"} == {"eu-west-1"}


def test_a_version_that_may_not_be_read_names_its_own_permission(function: Function) -> None:
    """GetObject alone does not do for a version."""
    event = json.loads(json.dumps(function.event))
    event["Records"][0]["s3"]["object"]["versionId"] = "v1"
    outcome = function.deliver(all_say(["s3:GetObjectVersion"], DENIED), event)
    outcome.fails("ObjectUnreadable", "access denied", "needs s3:GetObjectVersion")


class WithPrefixList(Refused):
    """Security groups have a rule that names a prefix list."""

    LIST = b"<prefixListIds><item><prefixListId>pl-0123456789abcdef0</prefixListId></item>"

    def answer(self, request: Request, answer: Answer) -> Answer:
        """Puts it into each rule."""
        if request.action == "ec2:DescribeSecurityGroups":
            rule = self.LIST + b"</prefixListIds></item></ipPermissions>"
            answer.body = answer.body.replace(b"<prefixListIds/></item></ipPermissions>", rule)
            assert rule in answer.body, answer.body
        return answer


def test_a_prefix_list_that_may_not_be_read_is_named_and_the_message_goes_out(
    function: Function,
) -> None:
    """The one action that is only needed where a rule names one."""
    action = "ec2:GetManagedPrefixListEntries"
    outcome = function.deliver(WithPrefixList({action: as_said(action, DENIED)}))
    assert outcome.gaps == {"access denied": action}
    email = outcome.emails[0]
    assert action in email.replace("\n    ", " ")


def test_a_role_that_may_not_be_taken_is_named_and_the_message_goes_out(
    function: Function,
) -> None:
    """A load balancer of another account: the trust policy there is the usual reason."""
    key = incident.worst(incident.event(BLOCKED_PORT))
    text = incident.rows(key).replace("123456789012", FOREIGN)
    moved = incident.put(function.cloud, key.replace("123456789012", FOREIGN), text)
    event = {"Records": [incident.one_record(function.event, moved)]}
    action = "sts:AssumeRole"
    outcome = function.deliver(all_say([action], DENIED), event)
    assert outcome.asked[action] == 2, "once for each message"
    [reason] = outcome.gaps
    assert "sts:AssumeRole" in reason and f"arn:aws:iam::{FOREIGN}:role/{FACTS_ROLE}" in reason
    email = outcome.emails[0]
    assert "sts:AssumeRole" in " ".join(email.split())
