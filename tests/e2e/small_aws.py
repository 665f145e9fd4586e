"""AWS as a soak needs it: S3, the table and the topic in this process, behind random faults.

moto answers what describes the configuration, each question once: it does not change meanwhile. For
the rest it is too slow: ten milliseconds a call, more with each item of a partition.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import urllib.parse
from collections.abc import Callable
from datetime import datetime
from typing import Any

from faults import CONFIGURATION, LEDGER, READ, Fault, Faults
from gateway import Answer, Request, Trouble
from refusals import refusal
from table import Table

JSON = [("content-type", "application/x-amz-json-1.0")]
XML = [("content-type", "text/xml")]

# The shortest time that the function gives to an answer, in seconds: to SNS (src/aws/topic.rs).
PATIENCE = 2.0


class SmallAws(Trouble):
    """What is behind the gateway."""

    def __init__(self, table: Table, faults: Faults) -> None:
        self.table, self.faults = table, faults
        self.objects: dict[str, bytes] = {}
        self.calls = 0
        # Called with each message that the topic took, and each record that the table took.
        self.published: Callable[[dict[str, Any]], None] = lambda _: None
        self.saved: Callable[[dict[str, Any]], None] = lambda _: None
        # Called with each action of the configuration that was denied.
        self.denied: Callable[[str], None] = lambda _: None
        # What went wrong in here: the function would take it for one fault more.
        self.wrong: Exception | None = None
        self._described: dict[tuple[str, bytes], Answer] = {}
        self._of_thread = threading.local()
        self._under_way = 0
        self._is_idle = threading.Condition()
        # One request at a time: what is told is held against the table as it is then.
        self._lock = threading.Lock()

    def end(self) -> list[Fault]:
        """The invocation is over: waits until each of its requests is, also those that it gave up.
        Returns what bit it."""
        self.faults.let_go()
        with self._is_idle:
            self._is_idle.wait_for(lambda: not self._under_way, timeout=60)
        return self.faults.end()

    def before(self, request: Request) -> None:
        """Sees requests that are sent again, of which the function says it in a header."""
        with self._is_idle:
            self._under_way += 1
        self._of_thread.fault = None
        if "attempt=1" not in request.headers["amz-sdk-request"]:
            self.faults.was_sent_again(request.action)

    def after(self, request: Request) -> None:
        """Sees requests that took long since they were signed. That is told in whole seconds: up to
        one too many are counted here, none too few."""
        signed = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%S%z")
        fault: Fault | None = self._of_thread.fault
        is_meant = fault is not None and "stalled" in fault.kind
        if time.time() - signed.timestamp() >= PATIENCE and not is_meant:
            self.faults.was_slow(request.action)
        with self._is_idle:
            self._under_way -= 1
            self._is_idle.notify_all()

    def instead(self, request: Request) -> Answer | None:
        """Bites, or answers."""
        try:
            return self._instead(request)
        except Exception as error:
            self.wrong = self.wrong or error
            raise

    def _instead(self, request: Request) -> Answer | None:
        fault = self._of_thread.fault = self.faults.bite(request.action)
        refused = fault.answer() if fault else None
        if fault and refused:
            if fault.kind.startswith("denied") and request.action in CONFIGURATION:
                self.denied(request.action)
            return refused
        service, _, operation = request.action.partition(":")
        with self._lock:
            self.calls += 1
            if request.action == READ:
                return self._object(request)
            if service == "dynamodb":
                left = fault is not None and fault.kind == "items left"
                return self._table(operation, request.body, items_left=left)
            if service == "sns":
                return self._publish(request)
        if service == "cloudwatch":
            # Nothing was recorded. moto would look through all its metrics each time.
            return Answer(200, JSON, b'{"MetricDataResults": [], "Messages": []}')
        known = self._described.get((request.action, request.body))
        return known and Answer(known.status, known.headers, known.body)

    def answer(self, request: Request, answer: Answer) -> Answer:
        """Hangs up where the answer is lost; remembers what moto said."""
        fault: Fault | None = self._of_thread.fault
        if fault and fault.kind.startswith("answer"):
            raise ConnectionAbortedError
        if ":Describe" in request.action and answer.status == 200:
            self._described.setdefault((request.action, request.body), answer)
        return answer

    def send(self, request: Request, body: bytes, write: Callable[[bytes], None]) -> None:
        """Writes the body, or a part of it."""
        fault: Fault | None = self._of_thread.fault
        if fault is None or not fault.kind.startswith("body"):
            return write(body)
        # Half of what is left, each time: a part that is not empty.
        write(body[: len(body) // 2])
        if "stalled" in fault.kind:
            fault.over.wait(60)
        raise ConnectionAbortedError

    def _object(self, request: Request) -> Answer:
        path = urllib.parse.unquote(request.path.partition("?")[0]).lstrip("/")
        whole = self.objects.get(path)
        if whole is None:
            return refusal(READ, 404, "NoSuchKey")
        tag = f'"{hashlib.md5(whole).hexdigest()}"'
        headers = [("etag", tag), ("content-type", "application/octet-stream")]
        asked = {name.lower(): value for name, value in request.headers.items()}
        first = re.fullmatch(r"bytes=(\d+)-", asked.get("range", ""))
        if first is None:
            return Answer(200, headers, whole)
        assert asked["if-match"] == tag, asked
        start = int(first[1])
        span = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        return Answer(206, [*headers, ("content-range", span)], whole[start:])

    def _table(self, operation: str, body: bytes, *, items_left: bool) -> Answer:
        rest = None
        if items_left:
            body, rest = _half(operation, json.loads(body), self.table.name)
        status, said = self.table.answer(operation, body)
        if rest is not None:
            said.update(rest)
        if status == 200 and operation == "PutItem":
            item = json.loads(body)["Item"]
            if item["pk"]["S"].startswith("record#"):
                self.saved(json.loads(item["record"]["S"]))
        return Answer(status, JSON, json.dumps(said).encode())

    def _publish(self, request: Request) -> Answer:
        self.published(json.loads(json.loads(request.parameters["Message"])["sqs"]))
        body = (
            "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult>"
            "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishResponse>"
        )
        return Answer(200, XML, body.encode())


def _half(operation: str, asked: dict[str, Any], table: str) -> tuple[bytes, dict[str, Any]]:
    """The request with half of its items, and the part of the answer that names the others."""
    items = asked["RequestItems"]
    if operation == "BatchWriteItem":
        half = len(items[table]) // 2
        left = {"UnprocessedItems": {table: items[table][half:]}}
        items[table] = items[table][:half]
    else:
        keys = items[table]["Keys"]
        half = len(keys) // 2
        left = {"UnprocessedKeys": {table: {**items[table], "Keys": keys[half:]}}}
        items[table]["Keys"] = keys[:half]
    assert f"dynamodb:{operation}" in LEDGER
    return json.dumps(asked).encode(), left
