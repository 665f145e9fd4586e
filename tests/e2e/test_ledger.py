"""One incident is one story, whatever the order, the repetitions, the throttling and the deaths."""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import incident
from cloud import REGION, Cloud
from conftest import World
from copies import Copies, Copy, Storm
from gateway import Gateway
from policy import granted
from test_trouble import refuses
from traffic import s3_event

# Of another account: so that nothing is asked of ELBv2, which would only take time here.
OWNER = "999999999999"
MINUTES_5 = 300
REQUESTS, FAILURES = 40, 10


class Fleet:
    """Objects of one load balancer, an hour and a half ago: every window is complete."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud = cloud
        self.balancer = f"app/{name}/0123456789abcdef"
        self.group = f"arn:aws:elasticloadbalancing:{REGION}:{OWNER}:targetgroup/{name}/0123"
        self.first = int(time.time()) // MINUTES_5 - 18

    def put(self, window: int, node: int, failures: int) -> dict[str, Any]:
        """Puts the object of a node for a window, counted from the first; returns its event."""
        start = (self.first + window) * MINUTES_5
        rows = "".join(self._row(start + 5 + index, index < failures) for index in range(REQUESTS))
        end = datetime.fromtimestamp(start + MINUTES_5, timezone.utc)
        dotted = self.balancer.replace("/", ".")
        key = (
            f"AWSLogs/{OWNER}/elasticloadbalancing/{REGION}/{end:%Y/%m/%d}/{OWNER}_"
            f"elasticloadbalancing_{REGION}_{dotted}_{end:%Y%m%dT%H%MZ}_192.0.2.{node}_x.log.gz"
        )
        self.cloud.put_object(key, gzip.compress(rows.encode(), mtime=0))
        return s3_event(key)

    def _row(self, second: int, is_failure: bool) -> str:
        at = f"{datetime.fromtimestamp(second, timezone.utc):%Y-%m-%dT%H:%M:%S}"
        times = "-1 -1 -1 502 -" if is_failure else "0.001 0.018 0.000 200 200"
        return (
            f"http {at}.020000Z {self.balancer} 198.51.100.7:40000 10.0.0.1:8080 {times} 200 300 "
            f'"GET http://shop.example.com:80/a HTTP/1.1" "curl/8" - - {self.group} '
            f'"Root=1-0-{second}" "-" "-" 0 {at}.000000Z "forward" "-" "-"\n'
        )


def told(cloud: Cloud) -> list[dict[str, Any]]:
    """The diagnoses that have arrived since the last look."""
    return [json.loads(message["Message"]) for message in cloud.messages()]


def counted(cloud: Cloud, table: str) -> tuple[int, int, int]:
    """Objects, requests and failures in the table."""
    pages = cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    items = [it for page in pages for it in page["Items"]]
    counts = [it for it in items if it["pk"]["S"].startswith("observation#")]
    sums = [sum(int(it[name]["N"]) for it in counts) for name in ("requests", "failures")]
    return len(counts), sums[0], sums[1]


@pytest.fixture
def copies(cloud: Cloud, role: tuple[str, str], tmp_path: Path) -> Iterator[Copies]:
    """Copies of the function over one new table."""
    copies = Copies(cloud, role, tmp_path)
    cloud.messages()
    yield copies
    copies.close()


def test_of_many_that_write_under_a_condition_one_wins(cloud: Cloud, role: tuple[str, str]) -> None:
    """The emulator behind the gateway keeps what the ledger rests on."""
    table = cloud.new_table()
    gateway = Gateway(cloud.port, cloud.secrets)
    clients = [gateway.client("dynamodb", role) for _ in range(8)]
    together = threading.Barrier(len(clients))

    def put(client: Any, version: int) -> bool:  # noqa: ANN401
        item = {"pk": {"S": "record"}, "sk": {"S": "-"}, "version": {"N": str(version)}}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if version > 1:
            condition = {
                "ConditionExpression": "version = :before",
                "ExpressionAttributeValues": {":before": {"N": str(version - 1)}},
            }
        together.wait()
        try:
            client.put_item(TableName=table, Item=item, **condition)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ConditionalCheckFailedException"
            return False
        return True

    with ThreadPoolExecutor(len(clients)) as pool:
        for version in range(1, 21):
            won = list(pool.map(lambda client, version=version: put(client, version), clients))
            assert sum(won) == 1, f"version {version}: {won}"
    gateway.close()


def deliver_all(
    copies: list[Copy], events: list[dict[str, Any]], seed: int
) -> tuple[int, list[str]]:
    """Everything twice, shuffled, in parallel; what dies or fails is delivered again under its id.

    Returns the number of deliveries, and the errors of those that failed."""
    deliveries = [(event, f"{seed}-{index}") for index, event in enumerate(events * 2)]
    random.Random(seed).shuffle(deliveries)
    waiting = iter(deliveries)
    lock = threading.Lock()
    errors: list[str] = []
    number = 0

    def work(copy: Copy) -> None:
        nonlocal number
        while True:
            with lock:
                delivery = next(waiting, None)
            if delivery is None:
                return
            for _ in range(5):
                with lock:
                    number += 1
                done = copy.deliver(*delivery)
                if done.answer is not None:
                    break
                if done.error is None:
                    copy.start()
                else:
                    errors.append(json.dumps(done.error))
            else:
                raise AssertionError(errors)

    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(work, copies))
    return number, errors


@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_files_shuffled_twice_in_parallel_are_one_story(
    cloud: Cloud, copies: Copies, seed: int, measured: Callable[[str], None]
) -> None:
    """With a table that throttles, and copies that die in the middle."""
    fleet = Fleet(cloud, f"storm-{seed}")
    failing = [fleet.put(window, node, FAILURES) for window in range(3) for node in range(10)]
    healthy = [fleet.put(window, node, 0) for window in range(3, 6) for node in range(4)]
    storms = [
        Storm(every=5, kill=("dynamodb:BatchWriteItem", 3, True)),
        Storm(every=6, kill=("dynamodb:PutItem", 2, False)),
        Storm(every=7, kill=("dynamodb:Query", 4, True)),
        Storm(every=4, kill=("dynamodb:BatchWriteItem", 5, False)),
    ]
    running = [copies.start(storm) for storm in storms]
    started = time.monotonic()
    first, errors = deliver_all(running, failing, seed)
    opened = told(cloud)
    second, more = deliver_all(running, healthy, seed + 1000)
    closed = told(cloud)
    seconds = time.monotonic() - started
    kills = sum(storm.kills for storm in storms)
    measured(
        f"ledger, seed {seed}: {first + second} deliveries, {sum(s.refused for s in storms)} calls "
        f"throttled, {kills} kills, {len(errors + more)} failed deliveries, {seconds:.1f} s"
    )
    assert kills >= 3
    assert errors + more == []
    unmarked = sum(storm.unmarked for storm in storms)
    phases = Counter(it["phase"] for it in opened + closed)
    assert 1 <= phases["opened"] <= 1 + unmarked, phases
    assert phases["resolved"] == 1 and set(phases) == {"opened", "resolved"}, phases
    assert len({it["incident_id"] for it in opened + closed}) == 1
    [resolved] = [it for it in closed if it["phase"] == "resolved"]
    assert (resolved["requests"], resolved["failures"]) == (30 * REQUESTS, 30 * FAILURES)
    assert len([it for it in resolved["objects"] if it["node"]]) == 30
    assert counted(cloud, copies.table) == (42, 42 * REQUESTS, 30 * FAILURES)


def test_a_death_between_message_and_mark_says_it_twice_and_never_again(
    cloud: Cloud, copies: Copies
) -> None:
    """The one moment in which nobody can know whether it was said."""
    fleet = Fleet(cloud, "unmarked")
    storm = Storm(kill=("sns:Publish", 1, True))
    copy = copies.start(storm)
    event = fleet.put(0, 1, FAILURES)
    died = copy.deliver(event, "a")
    assert died.answer is None and died.error is None and storm.unmarked
    copy.start()
    other = copies.start()
    assert other.deliver(event, "b").answer["published"] == 0, "the lease is still another's"
    assert copy.deliver(event, "a").answer["published"] == 1
    assert copy.deliver(event, "a").answer["published"] == 0
    messages = told(cloud)
    assert [it["phase"] for it in messages] == ["opened", "opened"]
    assert messages[0]["incident_id"] == messages[1]["incident_id"]


def test_a_healthy_object_costs_two_calls_of_the_ledger(
    cloud: Cloud, copies: Copies, measured: Callable[[str], None]
) -> None:
    """Counted for each kind of object, and printed."""
    fleet = Fleet(cloud, "calls")
    copy = copies.start()
    calls: dict[str, Counter[str]] = {}
    for kind, window, failures, published in (
        ("healthy object", 0, 0, 0),
        ("object that opens", 1, FAILURES, 1),
        ("same object again", 1, FAILURES, 0),
        ("another one that fails", 2, FAILURES, 0),
        ("healthy one meanwhile", 3, 0, 0),
        ("second healthy one", 4, 0, 0),
        ("object that resolves", 5, 0, 1),
        ("healthy one after it", 6, 0, 0),
    ):
        copy.gateway.requests.clear()
        done = copy.deliver(fleet.put(window, 1, failures), f"{window}")
        assert done.answer["published"] == published, (kind, done)
        actions = [it.action for it in copy.gateway.requests]
        calls[kind] = Counter(it.partition(":")[2] for it in actions if it.startswith("dynamodb:"))
    measured("calls of the ledger")
    for kind, count in calls.items():
        each = ", ".join(f"{times} {name}" for name, times in sorted(count.items()))
        measured(f"  {kind:<24} {count.total():>3}  {each}")
    for kind in ("healthy object", "healthy one after it"):
        assert calls[kind] == {"BatchWriteItem": 1, "Query": 1}
    assert max(count.total() for count in calls.values()) <= 16


def alone(world: World, outcome: Any) -> None:  # noqa: ANN401
    """The diagnosis went out all the same, and says that it stands by itself."""
    assert outcome.diagnosis["causes"][0]["id"] == "blocked-port", outcome.story
    assert "alone: the ledger did not answer" in " ".join(outcome.bodies["email"].split())


@pytest.mark.parametrize("action", [it for it in granted() if it.startswith("dynamodb:")])
def test_a_ledger_that_is_denied_is_named_and_the_message_goes_out(
    world: World, action: str
) -> None:
    """Each of its actions."""
    name = f"without-{action.replace(':', '-')}"
    keys = world.cloud.user(name, [it for it in granted() if it != action])
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    outcome = world.invoke(event, keys=keys)
    refuses(outcome, "LedgerUnavailable", "access denied", f"needs {action}")
    alone(world, outcome)
    assert action in {gap["permission"] for gap in outcome.diagnosis["gaps"]}
    assert action in outcome.bodies["email"]


def test_a_table_that_is_missing_is_named_and_the_message_goes_out(world: World) -> None:
    """Deleted, or misspelt."""
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    outcome = world.invoke(event, ALB502_TABLE="no-such-table")
    refuses(outcome, "LedgerUnavailable", "table no-such-table: no such table")
    alone(world, outcome)


def test_without_a_table_each_event_is_judged_by_itself(world: World) -> None:
    """It works, and its log says once what is missing."""
    event = incident.move(world.cloud, incident.event("s3-blocked-port.json"))
    outcome = world.invoke(event, ALB502_TABLE="")
    assert outcome.invocation.exit_code == 0, outcome.story
    assert outcome.diagnosis["causes"][0]["id"] == "blocked-port"
    assert outcome.remembered == []
    [line] = [it for it in outcome.lines if it["level"] == "WARN"]
    assert line["message"].startswith("ALB502_TABLE is not set")


def test_of_a_batch_that_message_comes_back_that_failed(cloud: Cloud, copies: Copies) -> None:
    """SQS keeps the others from being delivered again."""
    fleet = Fleet(cloud, "batch")
    good, other = fleet.put(0, 1, FAILURES), fleet.put(0, 2, 0)
    bad = json.loads(json.dumps(good).replace("192.0.2.1_x", "192.0.2.3_gone"))
    records = [
        {"messageId": name, "eventSource": "aws:sqs", "body": json.dumps(event)}
        for name, event in (("good", good), ("bad", bad), ("other", other))
    ]
    copy = copies.start()
    done = copy.deliver({"Records": records}, "batch")
    assert done.answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}, done
    assert [it["phase"] for it in told(cloud)] == ["opened"]
    done = copy.deliver({"Records": records[:1]}, "batch-2")
    assert done.answer == {"batchItemFailures": []}
    assert told(cloud) == []
